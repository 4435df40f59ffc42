package s3d_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"evb/storage"
)

// A copy of a data folder has the port and the credentials of the original:
// started beside it, it must not take the other's server for its own.
func TestACopyBesideTheOriginalHasAServerOfItsOwn(t *testing.T) {
	d := dir(t)
	stop(t, start(t, d))
	e := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(e, os.DirFS(d)); err != nil {
		t.Fatal(err)
	}
	a, b := start(t, d), start(t, e)
	if a.Endpoint() == b.Endpoint() {
		t.Fatalf("both answer at %s", a.Endpoint())
	}
	key, content, o := object(1000)
	if _, err := newStore(t, b.Config(false)).Put(t.Context(), key, bytes.NewReader(content), 1000, o); err != nil {
		t.Fatal(err)
	}
	if _, err := newStore(t, a.Config(false)).Stat(t.Context(), key); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the object of the copy is in the original: %v", err)
	}
}
