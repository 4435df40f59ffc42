package digest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// ErrMalformed says that a text is not of the form "sha256:" and hexadecimal
// digits of the right number.
var ErrMalformed = errors.New("malformed digest")

// Digest is a hash function and one value of it. The zero value stands for "no
// digest".
type Digest struct {
	Algorithm Algorithm
	Value     []byte
}

// Of computes the digest of b. It panics for an algorithm that is not available,
// see [Algorithm.New].
func Of(alg Algorithm, b []byte) Digest {
	h := alg.New()
	h.Write(b)
	return Digest{Algorithm: alg, Value: h.Sum(nil)}
}

// New makes a digest of an already computed value and checks its length.
func New(alg Algorithm, value []byte) (Digest, error) {
	if !alg.Known() {
		return Digest{}, fmt.Errorf("%w: %q", ErrUnknownAlgorithm, string(alg))
	}
	if len(value) != alg.Size() {
		return Digest{}, fmt.Errorf("%w: %s has %d bytes, not %d", ErrMalformed, alg, alg.Size(), len(value))
	}
	return Digest{Algorithm: alg, Value: value}, nil
}

// Parse reads the form that [Digest.String] writes. Upper-case hexadecimal is
// accepted. Errors: [ErrMalformed], [ErrUnknownAlgorithm].
func Parse(s string) (Digest, error) {
	name, hexValue, ok := strings.Cut(s, ":")
	if !ok {
		return Digest{}, fmt.Errorf("%w: no colon in %.80q", ErrMalformed, s)
	}
	alg, err := ParseAlgorithm(name)
	if err != nil {
		return Digest{}, err
	}
	if len(hexValue) != 2*alg.Size() {
		return Digest{}, fmt.Errorf("%w: %s has %d hexadecimal digits, not %d", ErrMalformed, alg, 2*alg.Size(), len(hexValue))
	}
	v, err := hex.DecodeString(hexValue)
	if err != nil {
		return Digest{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return Digest{Algorithm: alg, Value: v}, nil
}

// String is "algorithm:hex" in lower case, or "" for the zero value.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return string(d.Algorithm) + ":" + hex.EncodeToString(d.Value)
}

// Hex is the value alone in lower-case hexadecimal.
func (d Digest) Hex() string { return hex.EncodeToString(d.Value) }

// IsZero reports whether d holds no digest.
func (d Digest) IsZero() bool { return d.Algorithm == "" && len(d.Value) == 0 }

// Equal reports whether both are the same value of the same function. Digests
// are public, so the comparison is not constant-time.
func (d Digest) Equal(o Digest) bool {
	return d.Algorithm == o.Algorithm && bytes.Equal(d.Value, o.Value)
}

// MarshalText writes the form of [Digest.String].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of [Parse]; an empty text is the zero value.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = Digest{}
		return nil
	}
	v, err := Parse(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// Multi computes several digests of one stream in a single pass. It is an
// io.Writer that never fails. Not safe for concurrent use.
type Multi struct {
	algs   []Algorithm
	hashes []hash.Hash
	size   int64
}

// NewMulti starts one hash per algorithm. It panics for an algorithm that is not
// available, see [Algorithm.New].
func NewMulti(algs ...Algorithm) *Multi {
	m := &Multi{algs: append([]Algorithm(nil), algs...), hashes: make([]hash.Hash, len(algs))}
	for i, a := range algs {
		m.hashes[i] = a.New()
	}
	return m
}

// Write adds p to every digest.
func (m *Multi) Write(p []byte) (int, error) {
	for _, h := range m.hashes {
		h.Write(p)
	}
	m.size += int64(len(p))
	return len(p), nil
}

// Sums returns the digests of everything written so far in the order given to
// [NewMulti]; writing may go on afterwards.
func (m *Multi) Sums() []Digest {
	out := make([]Digest, len(m.algs))
	for i, a := range m.algs {
		out[i] = Digest{Algorithm: a, Value: m.hashes[i].Sum(nil)}
	}
	return out
}

// Sum returns the digest of one algorithm given to [NewMulti], and false when it
// was not among them.
func (m *Multi) Sum(alg Algorithm) (Digest, bool) {
	for i, a := range m.algs {
		if a == alg {
			return Digest{Algorithm: a, Value: m.hashes[i].Sum(nil)}, true
		}
	}
	return Digest{}, false
}

// Size is the number of bytes written so far.
func (m *Multi) Size() int64 { return m.size }
