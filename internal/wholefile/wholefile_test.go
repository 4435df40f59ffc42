package wholefile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"evb/internal/wholefile"
)

func TestOfManyWritersOneWinsWholeAndNothingElseIsLeft(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "secret")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := wholefile.Write(name, bytes.Repeat([]byte{byte('a' + i)}, 100_000), 0o600); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(name)
	if err != nil || len(b) != 100_000 || len(bytes.Trim(b, string(b[0]))) != 0 {
		t.Errorf("%d bytes, %v: not the content of one writer", len(b), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestAFolderThatIsNotThereIsTold(t *testing.T) {
	if err := wholefile.Write(filepath.Join(t.TempDir(), "none", "x"), nil, 0o600); err == nil {
		t.Error("written into nothing")
	}
}
