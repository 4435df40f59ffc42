package digest

import (
	"crypto"
	_ "crypto/md5"  // registers MD5, needed to name what a token used and refuse it by policy
	_ "crypto/sha1" // registers SHA-1 for old tokens and certificate identifiers
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"strings"

	//lint:ignore SA1019 legacy, and still to be verified
	_ "golang.org/x/crypto/ripemd160" // registers RIPEMD-160 for records of the 2000s
)

// ErrUnknownAlgorithm says that a name or object identifier stands for no hash
// function this package knows.
var ErrUnknownAlgorithm = errors.New("unknown digest algorithm")

// Algorithm names a hash function in lower case, for example "sha256". The zero
// value is not an algorithm; [Algorithm.Known] tells. Being known says nothing
// about being suitable: ask a [Policy].
type Algorithm string

// The hash functions that occur in evidence records and time-stamp tokens.
const (
	MD5       Algorithm = "md5"
	SHA1      Algorithm = "sha1"
	RIPEMD160 Algorithm = "ripemd160"
	SHA224    Algorithm = "sha224"
	SHA256    Algorithm = "sha256"
	SHA384    Algorithm = "sha384"
	SHA512    Algorithm = "sha512"
	SHA3_224  Algorithm = "sha3-224"
	SHA3_256  Algorithm = "sha3-256"
	SHA3_384  Algorithm = "sha3-384"
	SHA3_512  Algorithm = "sha3-512"
)

type algorithmInfo struct {
	size int
	hash crypto.Hash
	oid  asn1.ObjectIdentifier
}

// algorithms is written once here and only read afterwards.
var algorithms = map[Algorithm]algorithmInfo{
	MD5:       {16, crypto.MD5, asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}},
	SHA1:      {20, crypto.SHA1, asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}},
	RIPEMD160: {20, crypto.RIPEMD160, asn1.ObjectIdentifier{1, 3, 36, 3, 2, 1}},
	SHA224:    {28, crypto.SHA224, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}},
	SHA256:    {32, crypto.SHA256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}},
	SHA384:    {48, crypto.SHA384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}},
	SHA512:    {64, crypto.SHA512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}},
	SHA3_224:  {28, crypto.SHA3_224, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 7}},
	SHA3_256:  {32, crypto.SHA3_256, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8}},
	SHA3_384:  {48, crypto.SHA3_384, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 9}},
	SHA3_512:  {64, crypto.SHA3_512, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 10}},
}

// Algorithms returns every known algorithm, strongest family last.
func Algorithms() []Algorithm {
	return []Algorithm{MD5, SHA1, RIPEMD160, SHA224, SHA256, SHA384, SHA512, SHA3_224, SHA3_256, SHA3_384, SHA3_512}
}

// ParseAlgorithm reads a name in any case, with or without the hyphen of
// "SHA-256". It returns [ErrUnknownAlgorithm] for other names.
func ParseAlgorithm(name string) (Algorithm, error) {
	n := strings.ToLower(strings.TrimSpace(name))
	if a := Algorithm(n); a.Known() {
		return a, nil
	}
	// "sha-256" -> "sha256", "ripemd-160" -> "ripemd160"; the hyphen of the
	// SHA-3 family belongs to the name.
	n = strings.ReplaceAll(strings.ReplaceAll(n, "-", ""), "_", "")
	if rest, ok := strings.CutPrefix(n, "sha3"); ok && (rest == "224" || rest == "256" || rest == "512" || (rest == "384")) {
		n = "sha3-" + rest
	}
	if a := Algorithm(n); a.Known() {
		return a, nil
	}
	return "", fmt.Errorf("%w: %q", ErrUnknownAlgorithm, name)
}

// FromOID returns the algorithm with this object identifier, or
// [ErrUnknownAlgorithm].
func FromOID(oid asn1.ObjectIdentifier) (Algorithm, error) {
	for a, info := range algorithms {
		if info.oid.Equal(oid) {
			return a, nil
		}
	}
	return "", fmt.Errorf("%w: object identifier %s", ErrUnknownAlgorithm, oid)
}

// Known reports whether a is one of the constants of this package.
func (a Algorithm) Known() bool {
	_, ok := algorithms[a]
	return ok
}

// Available reports whether digests of a can be computed in this program. A
// program built in FIPS mode may know a name without being able to compute it.
func (a Algorithm) Available() bool {
	info, ok := algorithms[a]
	return ok && info.hash.Available()
}

// New returns a running hash. It panics when a is not [Algorithm.Available], as
// crypto.Hash.New does: algorithms from foreign bytes come from [FromOID] or
// [ParseAlgorithm] and are asked for availability first.
func (a Algorithm) New() hash.Hash {
	info, ok := algorithms[a]
	if !ok || !info.hash.Available() {
		panic("digest: " + string(a) + " cannot be computed")
	}
	return info.hash.New()
}

// Size is the length of a digest in bytes, 0 for an unknown algorithm.
func (a Algorithm) Size() int { return algorithms[a].size }

// OID is the object identifier used in AlgorithmIdentifier, nil for an unknown
// algorithm. The slice is shared; do not change it.
func (a Algorithm) OID() asn1.ObjectIdentifier { return algorithms[a].oid }

// Hash is the standard library's number of the function, 0 for an unknown
// algorithm.
func (a Algorithm) Hash() crypto.Hash { return algorithms[a].hash }

// String is the lower-case name.
func (a Algorithm) String() string { return string(a) }
