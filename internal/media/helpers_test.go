package media_test

import (
	"os"
	"path/filepath"
	"testing"

	"evb/internal/media"
)

// shared gives a path below the foreign test data, or ends the test: with an
// error on the build machine, with a word elsewhere.
func shared(t testing.TB, parts ...string) string {
	t.Helper()
	root := os.Getenv("EVB_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	p := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(p); err != nil {
		if ci := os.Getenv("CI"); ci == "1" || ci == "true" {
			t.Fatalf("test data missing: %v", err)
		}
		t.Skipf("no foreign test data here: %v", err)
	}
	return p
}

// engine gives an Engine with children; compiled code is shared by all tests of
// one run.
func engine(t testing.TB, change ...func(*media.Config)) *media.Engine {
	t.Helper()
	cfg := media.Config{CacheDir: cacheDir}
	for _, c := range change {
		c(&cfg)
	}
	e, err := media.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}
