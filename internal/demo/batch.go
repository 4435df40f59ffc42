package demo

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
)

// batchFiles are the letters of the demo, made by command gen.
//
//go:embed batch/*.pdf batch/*.xml
var batchFiles embed.FS

// BatchName is the id of the demo's scan batch.
const BatchName = "vorfuehrung-1"

// WriteBatch writes the demo's batch folder into dir, as a scanner would hand
// it over, with its ready flag last.
func WriteBatch(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	names, err := fs.Glob(batchFiles, "batch/*")
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := batchFiles.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o644); err != nil { //nolint:gosec // no secret
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "batch.ok"), nil, 0o644) //nolint:gosec // no secret
}
