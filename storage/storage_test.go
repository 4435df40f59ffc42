package storage_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"evb/storage"
)

func TestVerifyingReaderPassesGoodBytesAndRefusesOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "bytes")
		sum := sha256.Sum256(b)
		read := func(b []byte, size int) ([]byte, error) {
			src := io.Reader(bytes.NewReader(b))
			switch rapid.IntRange(0, 2).Draw(t, "how it is read") {
			case 1:
				src = iotest.OneByteReader(src)
			case 2:
				src = iotest.DataErrReader(src)
			}
			return io.ReadAll(storage.NewVerifyingReader(io.NopCloser(src), sum[:], int64(size)))
		}
		if got, err := read(b, len(b)); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%d bytes: %v", len(got), err)
		}
		if _, err := read(b, -1); err != nil {
			t.Fatalf("without a size: %v", err)
		}
		if _, err := read(append(bytes.Clone(b), 0), len(b)); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("a byte more: %v", err)
		}
		if len(b) == 0 {
			return
		}
		if _, err := read(b[:len(b)-1], len(b)); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("a byte less: %v", err)
		}
		bad := bytes.Clone(b)
		bad[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := read(bad, len(b)); !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("a flipped bit: %v", err)
		}
	})
}

func TestVerifyingReaderPassesErrorsOfTheSourceOn(t *testing.T) {
	broken := errors.New("cut")
	v := storage.NewVerifyingReader(io.NopCloser(iotest.ErrReader(broken)), nil, -1)
	for range 2 {
		if _, err := v.Read(make([]byte, 1)); !errors.Is(err, broken) {
			t.Error(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

func TestKeysAreSafeOnFileSystemsAndInURLs(t *testing.T) {
	for _, k := range []storage.Key{"a", "stadt/aa/bb/cc", "_index/x/0001/root.bolt", "a-b_c.d/e", storage.Key(strings.Repeat("a", 200))} {
		if err := k.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, k := range []storage.Key{"", "/", "a/", "/a", "a//b", ".", "..", "a/../b", ".a", "a/.b", "A", "ü", "a b", "a\\b", "a\x00", "a%2f", "a?b",
		storage.Key(strings.Repeat("a", 201)), storage.Key(strings.Repeat("a/", 300) + "a")} {
		if err := k.Validate(); !errors.Is(err, storage.ErrBadKey) {
			t.Errorf("%q: %v", k, err)
		}
	}
}

func TestLocksAreCompleteOrRefused(t *testing.T) {
	now := time.Now()
	for _, l := range []storage.Lock{{}, {LegalHold: true}, {Mode: storage.LockGovernance, Until: now}, {Mode: storage.LockCompliance, Until: now, LegalHold: true}} {
		if err := l.Validate(); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
	for _, l := range []storage.Lock{{Until: now}, {Mode: storage.LockGovernance}, {Mode: "GOVERNANCE", Until: now}} {
		if l.Validate() == nil {
			t.Errorf("%+v passed", l)
		}
	}
}
