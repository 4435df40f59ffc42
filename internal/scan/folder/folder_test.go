package folder_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evb/internal/scan/folder"
)

// write fills a folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for n, c := range files {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(c), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatAFolderHolds(t *testing.T) {
	const stream, files = "Stapel;Dokument;Trennblatt;Seiten\n", "Stapel;Dokument;Datei;Seiten\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a stream named by its id":     {map[string]string{"x.index.csv": stream + "x;1;DO-X-001;1\n", "x.pdf": "p", "x.truth.json": "{}"}, "x [x.pdf] []"},
		"a stream that is not there":   {map[string]string{"x.index.csv": stream + "x;1;DO-X-001;1\n"}, "x [] [x.pdf]"},
		"files, one missing, one more": {map[string]string{"index.csv": files + "y;1;a.pdf;1\ny;2;b.pdf;1\n", "a.pdf": "a", "c.pdf": "c", "batch.ok": "", ".hidden": "", "Thumbs.db": ""}, "y [a.pdf c.pdf+] [b.pdf]"},
		"two batches keep apart": {
			map[string]string{"a.index.csv": files + "a;1;1.pdf;1\n", "b.index.csv": files + "b;1;2.pdf;1\n", "1.pdf": "", "2.pdf": "", "3.pdf": ""},
			"a [1.pdf] []; b [2.pdf] []",
		},
		"a bad index is told": {map[string]string{"z.index.csv": files + "z;1;../a.pdf;1\n"}, "z bad"},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := folder.Read(write(t, c.files))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range all {
				if b.Err != nil {
					got = append(got, b.Name+" bad")
					continue
				}
				var names []string
				for _, f := range b.Files {
					if f.Surplus {
						f.Name += "+"
					}
					names = append(names, f.Name)
				}
				got = append(got, fmt.Sprint(b.Name, " ", names, " ", b.Missing))
			}
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("%s, want %s", s, c.want)
			}
		})
	}
}

func TestNoIndexAndNoWayOut(t *testing.T) {
	if _, err := folder.Read(t.TempDir()); !errors.Is(err, folder.ErrNone) {
		t.Errorf("%v", err)
	}
	dir := write(t, map[string]string{"index.csv": "Stapel;Dokument;Datei;Seiten\nx;1;a.pdf;1\n"})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "a.pdf")); err != nil {
		t.Fatal(err)
	}
	all, err := folder.Read(dir)
	if err != nil || len(all) != 1 || len(all[0].Missing) != 1 {
		t.Fatalf("%+v %v", all, err)
	}
	for _, name := range []string{"a.pdf", "../secret", ".."} {
		if f, err := all[0].Open(name); err == nil {
			_ = f.Close()
			t.Errorf("%s was opened", name)
		}
	}
}
