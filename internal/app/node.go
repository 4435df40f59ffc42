package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"evb/internal/wholefile"
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
	return id.String(), wholefile.Write(file, []byte(id.String()), 0o644)
}
