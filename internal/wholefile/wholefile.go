// Package wholefile replaces small files whole: after a crash or a power cut
// the old content is there or the new one, and never a part of either.
package wholefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Write gives path the content b and exactly the mode, whatever the umask. When
// it returns without an error, bytes and name are on the disk. Of two calls at
// once one wins whole.
func Write(path string, b []byte, mode os.FileMode) error {
	if err := renameio.WriteFile(path, b, mode, renameio.WithStaticPermissions(mode), renameio.WithTempDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// The library syncs the bytes; the name is only there when its folder is.
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
