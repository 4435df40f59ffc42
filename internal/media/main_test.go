package media_test

import (
	"os"
	"testing"

	"evb/internal/media"
)

// TestMain makes the test binary its own child, as cmd/evb does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == media.ChildCommand {
		os.Exit(media.ChildMain(os.Args[2:], os.Stdin, os.Stdout))
	}
	dir, err := os.MkdirTemp("", "evb-media-test-")
	if err != nil {
		panic(err)
	}
	cacheDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var cacheDir string
