package storage

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// VerifyingReader passes bytes on while it computes their SHA-256, and returns
// ErrCorrupt in place of io.EOF when the digest is not the expected one. What
// was read before that must then not be used: write to a temporary place and
// rename, or compare before answering.
//
// Not safe for concurrent use.
type VerifyingReader struct {
	src  io.ReadCloser
	hash hash.Hash
	want []byte
	size int64
	n    int64
	end  error
}

// NewVerifyingReader wraps src, whose bytes should have the SHA-256 want (32
// bytes) and the given size in bytes; a negative size is not checked. It
// stops with ErrCorrupt at the first byte beyond size, so a hostile server
// cannot make a reader swallow more than was announced. Closing it closes src.
func NewVerifyingReader(src io.ReadCloser, want []byte, size int64) *VerifyingReader {
	return &VerifyingReader{src: src, hash: sha256.New(), want: want, size: size}
}

// Read implements io.Reader. At the end it returns io.EOF only if digest and
// size agree, else ErrCorrupt; errors of the source are passed on.
func (v *VerifyingReader) Read(p []byte) (int, error) {
	if v.end != nil {
		return 0, v.end
	}
	n, err := v.src.Read(p)
	v.hash.Write(p[:n])
	v.n += int64(n)
	if v.size >= 0 && v.n > v.size {
		v.end = fmt.Errorf("more than the expected %d bytes: %w", v.size, ErrCorrupt)
		return 0, v.end
	}
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		v.end = err
	case v.size >= 0 && v.n != v.size:
		v.end = fmt.Errorf("%d of %d bytes: %w", v.n, v.size, ErrCorrupt)
	case !bytes.Equal(v.hash.Sum(nil), v.want):
		v.end = fmt.Errorf("SHA-256 is %x, not %x: %w", v.hash.Sum(nil), v.want, ErrCorrupt)
	default:
		v.end = io.EOF
	}
	return n, v.end
}

// Close closes the source. It does not verify what was not read.
func (v *VerifyingReader) Close() error { return v.src.Close() }
