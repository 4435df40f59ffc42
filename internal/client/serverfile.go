package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"evb/internal/wholefile"
)

// ServerFileName is the name of the file in the data folder.
const ServerFileName = "server.json"

// ErrNoServer says that no server has told its address in a data folder.
var ErrNoServer = errors.New("no server runs on this data folder")

// ReadServerFile reads DIR/server.json. A file that others can read is refused:
// its token would be no secret.
func ReadServerFile(dir string) (ServerFile, error) {
	name := filepath.Join(dir, ServerFileName)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return ServerFile{}, fmt.Errorf("%w: %s", ErrNoServer, dir)
	}
	if err != nil {
		return ServerFile{}, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return ServerFile{}, fmt.Errorf("%s is readable by others (mode %o, want 600)", name, info.Mode().Perm())
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return ServerFile{}, err
	}
	var f ServerFile
	if err := json.Unmarshal(b, &f); err != nil || f.URL == "" {
		return ServerFile{}, fmt.Errorf("%s is damaged", name)
	}
	return f, nil
}

// WriteServerFile writes DIR/server.json as a whole or not at all.
func WriteServerFile(dir string, f ServerFile) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(dir, ServerFileName), append(b, '\n'), 0o600)
}

// RemoveServerFile removes it at a clean stop. That it is gone is no error.
func RemoveServerFile(dir string) error {
	err := os.Remove(filepath.Join(dir, ServerFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// FromData makes the client of the server that runs on a data folder, as its
// local administrator. It starts none.
func FromData(dir string, o Options) (*Client, error) {
	f, err := ReadServerFile(dir)
	if err != nil {
		return nil, err
	}
	return New(f.URL, f.AdminToken, o)
}
