package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

// nodeName reads or makes the lasting name of the process that owns dir. The
// caller holds a lock on dir, so no two live processes share the name.
func nodeName(dir string) (string, error) {
	file := filepath.Join(dir, "node-id")
	b, err := os.ReadFile(file)
	if err == nil {
		if id, err := uuid.ParseBytes(b); err == nil {
			return id.String(), nil
		}
		return "", fmt.Errorf("%s does not hold a UUID: remove it", file)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	return id.String(), replaceFile(file, []byte(id.String()), 0o644)
}

// ServerFile tells local tools where the server of a data folder answers and
// gives them the token of the local administrator; 0600.
type ServerFile struct {
	URL        string `json:"url"`
	AdminToken string `json:"admin_token"`
	PID        int    `json:"pid"`
}

// serverFileName lies in the data folder while the server runs.
const serverFileName = "server.json"

func writeServerFile(dir string, f ServerFile) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, serverFileName), append(b, '\n'), 0o600)
}

// readServerFile gives what an earlier run wrote; zero when there is none.
func readServerFile(dir string) ServerFile {
	var f ServerFile
	b, err := os.ReadFile(filepath.Join(dir, serverFileName))
	if err == nil {
		_ = json.Unmarshal(b, &f) // a damaged file is written anew
	}
	return f
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, b []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	err = tmp.Chmod(mode)
	if err == nil {
		_, err = tmp.Write(b)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
