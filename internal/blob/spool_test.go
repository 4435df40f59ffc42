package blob_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"evb/internal/blob"
	"evb/internal/fault"
	"evb/internal/sharedtest"
)

func newSpool(t *testing.T, dir string) *blob.Spool {
	t.Helper()
	s, err := blob.NewSpool(dir)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func entries(t *testing.T, dir string) int {
	t.Helper()
	es, err := os.ReadDir(dir)
	must(t, err)
	n := 0
	for _, e := range es {
		if e.Name() != "lock" {
			n++
		}
	}
	return n
}

func TestTakeHashesWhatItKeeps(t *testing.T) {
	s := newSpool(t, t.TempDir())
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SliceOfN(rapid.Byte(), 0, 300_000).Draw(t, "body")
		var r io.Reader = strings.NewReader(string(body))
		if rapid.Bool().Draw(t, "slow") {
			r = iotest.HalfReader(iotest.DataErrReader(r))
		}
		f, err := s.Take(context.Background(), r, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Remove()
		kept, err := os.ReadFile(f.Path)
		if err != nil || string(kept) != string(body) || f.Size != int64(len(body)) {
			t.Fatalf("kept %d of %d bytes, size %d: %v", len(kept), len(body), f.Size, err)
		}
		if f.SHA256 != sha256.Sum256(body) || f.SHA512 != sha512.Sum512(body) {
			t.Fatal("digests differ")
		}
		again, err := s.Adopt(context.Background(), f.Path)
		if err != nil || again.SHA256 != f.SHA256 || again.SHA512 != f.SHA512 || again.Size != f.Size {
			t.Fatalf("adopted otherwise: %v", err)
		}
	})
}

func TestTakeLeavesNothingOfABrokenUpload(t *testing.T) {
	s := newSpool(t, t.TempDir())
	cut := errors.New("cut")
	for name, c := range map[string]struct {
		r    io.Reader
		want func(error) bool
	}{
		"error":           {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(cut)), func(err error) bool { return errors.Is(err, cut) }},
		"unexpected end":  {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)), func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		"too large":       {strings.NewReader("0123456789abcdef"), func(err error) bool { return fault.Is(err, "upload-too-large") }},
		"cancelled":       {strings.NewReader("abc"), func(err error) bool { return errors.Is(err, context.Canceled) }},
		"at most allowed": {strings.NewReader("0123456789"), func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if name == "cancelled" {
				cancel()
			}
			f, err := s.Take(ctx, c.r, 10)
			if !c.want(err) {
				t.Fatalf("got %v", err)
			}
			f.Remove()
			if n := entries(t, s.Dir()); n != 0 {
				t.Fatalf("%d files left", n)
			}
		})
	}
}

func TestNewSpoolRemovesWhatACrashLeftAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	// A crash leaves a folder whose lock is free.
	dead := filepath.Join(dir, "p-dead")
	must(t, os.Mkdir(dead, 0o700))
	must(t, os.WriteFile(filepath.Join(dead, "b-1"), []byte("x"), 0o600))
	alive := newSpool(t, dir)
	f, err := alive.Take(t.Context(), strings.NewReader("in work"), 0)
	must(t, err)
	newSpool(t, dir)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left over: %v", err)
	}
	if _, err := os.Stat(f.Path); err != nil {
		t.Errorf("another process lost its file: %v", err)
	}
	if _, err := alive.Adopt(t.Context(), "/etc/hostname"); err == nil {
		t.Error("adopted a file from outside")
	}
}

func TestAFullDiskIsToldAndLeavesNothing(t *testing.T) {
	dir, ok := sharedtest.SmallDisk(t, "512k")
	if !ok {
		return
	}
	s := newSpool(t, dir)
	_, err := s.Take(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20)), 0)
	wantFault(t, err, "spool-full")
	if fault.KindOf(err) != fault.NoSpace {
		t.Errorf("kind %s", fault.KindOf(err))
	}
	if n := entries(t, s.Dir()); n != 0 {
		t.Fatalf("%d files left", n)
	}
	f, err := s.Take(t.Context(), strings.NewReader("fits again"), 0)
	must(t, err)
	f.Remove()
}
