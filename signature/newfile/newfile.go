// Package newfile writes files that were not there before, durably.
package newfile

import (
	"errors"
	"io/fs"
	"os"
)

// Write makes a file with the content b and syncs it. It fails if there is one
// of that name already. The name is durable after SyncDir of its folder.
func Write(name string, mode fs.FileMode, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// SyncDir makes the names in a folder durable.
func SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
