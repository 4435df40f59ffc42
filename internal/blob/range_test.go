package blob_test

import (
	"io"
	"os"
	"strings"
	"testing"

	"evb/internal/fault"
)

func TestAPartOfABlobIsReadAlone(t *testing.T) {
	w := newWorld(t)
	id := w.keep("0123456789")
	part := func(offset, length int64) (string, error) {
		rc, info, err := w.Blobs.OpenRange(t.Context(), stadt, id, offset, length)
		if err != nil {
			return "", err
		}
		defer func() { _ = rc.Close() }()
		if info.Size != 10 {
			t.Errorf("size %d", info.Size)
		}
		b, err := io.ReadAll(rc)
		return string(b), err
	}
	for want, at := range map[string][2]int64{"0": {0, 1}, "345": {3, 3}, "9": {9, 1}, "0123456789": {0, 10}} {
		if got, err := part(at[0], at[1]); got != want || err != nil {
			t.Errorf("%v: %q, %v", at, got, err)
		}
	}
	f := w.take("0123456789")
	w.Must(os.WriteFile(w.path(f), []byte(strings.Repeat("x", 4)), 0o600))
	if _, err := part(2, 8); !fault.Is(err, "content-corrupt") {
		t.Errorf("an object that was cut: %v", err)
	}
}
