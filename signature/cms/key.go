package cms

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"math/big"

	"evb/signature/digest"
)

// Limits of public keys: larger ones cost seconds of arithmetic and occur
// nowhere.
const (
	maxRSABits      = 16384
	maxDSABits      = 4096
	maxExponentBits = 4096
)

// PublicKey is a public key read from a SubjectPublicKeyInfo (RFC 5280 section
// 4.1.2.7, RFC 5480, RFC 8410).
type PublicKey struct {
	// Scheme is the family; an RSA key counts as [digest.SchemeRSAPKCS1] until a
	// signature says RSASSA-PSS.
	Scheme digest.Scheme
	// Bits is the length of the RSA or DSA modulus or of the curve's order.
	Bits int
	// Curve is nil unless Scheme is ECDSA.
	Curve *Curve
	// PSSOnly: the key was certified under id-RSASSA-PSS (RFC 4055 section 1.2).
	PSSOnly bool

	n, e    *big.Int // RSA
	rsa     *rsa.PublicKey
	x, y    *big.Int // ECDSA
	ecdsa   *ecdsa.PublicKey
	p, q, g *big.Int // DSA, y as above
	ed      ed25519.PublicKey
}

// CurveName is the name for a policy question, "" for keys without curve.
func (k *PublicKey) CurveName() string {
	if k.Curve == nil {
		return ""
	}
	return k.Curve.Name
}

// String names family and size: "rsa 3072", "ecdsa brainpoolP256r1".
func (k *PublicKey) String() string {
	switch {
	case k.Curve != nil:
		return "ecdsa " + k.Curve.Name
	case k.n != nil:
		return fmt.Sprintf("rsa %d", k.Bits)
	default:
		return fmt.Sprintf("%s %d", k.Scheme, k.Bits)
	}
}

// ParsePublicKey reads a SubjectPublicKeyInfo. Errors wrap [ErrMalformed] or
// [ErrUnsupported].
func ParsePublicKey(spki []byte) (*PublicKey, error) {
	t, err := readWhole(spki, tagSequence)
	if err != nil {
		return nil, fmt.Errorf("subject public key: %w", err)
	}
	algTLV, rest, err := readTag(t.contents, tagSequence)
	if err != nil {
		return nil, fmt.Errorf("subject public key algorithm: %w", err)
	}
	alg, err := parseAlgorithmIdentifier(algTLV)
	if err != nil {
		return nil, err
	}
	bits, err := readWhole(rest, tagBitString)
	if err != nil {
		return nil, fmt.Errorf("subject public key bits: %w", err)
	}
	key, err := bitStringOctets(bits)
	if err != nil {
		return nil, err
	}
	switch {
	case alg.OID.Equal(oidRSAEncryption):
		return parseRSA(key)
	case alg.OID.Equal(oidRSAPSS):
		k, err := parseRSA(key)
		if err == nil {
			k.PSSOnly = true
		}
		return k, err
	case alg.OID.Equal(oidECPublicKey):
		return parseEC(alg.Parameters, key)
	case alg.OID.Equal(oidDSA):
		return parseDSA(alg.Parameters, key)
	case alg.OID.Equal(oidEd25519):
		if len(key) != ed25519.PublicKeySize {
			return nil, malformed("Ed25519 key of %d bytes", len(key))
		}
		return &PublicKey{Scheme: digest.SchemeEd25519, Bits: 256, ed: ed25519.PublicKey(key)}, nil
	}
	return nil, fmt.Errorf("%w: public key algorithm %s", ErrUnsupported, alg.OID)
}

func bitStringOctets(t tlv) ([]byte, error) {
	if t.constructed() || len(t.contents) < 1 || t.contents[0] != 0 {
		return nil, malformed("bit string is not a whole number of octets")
	}
	return t.contents[1:], nil
}

// positiveInteger reads a strictly positive INTEGER of at most limit bits.
func positiveInteger(b []byte, limit int) (*big.Int, []byte, error) {
	t, rest, err := readTag(b, tagInteger)
	if err != nil {
		return nil, nil, err
	}
	if len(t.contents) == 0 || t.contents[0]&0x80 != 0 || len(t.contents) > limit/8+1 {
		return nil, nil, malformed("integer is negative or too long")
	}
	v := new(big.Int).SetBytes(t.contents)
	if v.Sign() == 0 {
		return nil, nil, malformed("integer is zero")
	}
	return v, rest, nil
}

func parseRSA(b []byte) (*PublicKey, error) {
	t, err := readWhole(b, tagSequence)
	if err != nil {
		return nil, fmt.Errorf("RSA key: %w", err)
	}
	n, rest, err := positiveInteger(t.contents, maxRSABits)
	if err != nil {
		return nil, fmt.Errorf("RSA modulus: %w", err)
	}
	e, rest, err := positiveInteger(rest, maxExponentBits)
	if err != nil {
		return nil, fmt.Errorf("RSA exponent: %w", err)
	}
	if len(rest) != 0 {
		return nil, malformed("bytes behind the RSA exponent")
	}
	if n.BitLen() < 512 || n.Bit(0) == 0 || e.Bit(0) == 0 || e.Cmp(big.NewInt(3)) < 0 || e.Cmp(n) >= 0 {
		return nil, malformed("RSA key of %d bits with an impossible modulus or exponent", n.BitLen())
	}
	k := &PublicKey{Scheme: digest.SchemeRSAPKCS1, Bits: n.BitLen(), n: n, e: e}
	// crypto/rsa is faster but refuses exponents above 2^31-1 and short keys.
	if e.BitLen() <= 31 && n.BitLen() >= 1024 {
		k.rsa = &rsa.PublicKey{N: n, E: int(e.Int64())}
	}
	return k, nil
}

func parseEC(params, key []byte) (*PublicKey, error) {
	c, err := parseCurve(params)
	if err != nil {
		return nil, err
	}
	x, y, ok := c.decodePoint(key)
	if !ok {
		return nil, malformed("public key is not a point of %s", c.Name)
	}
	k := &PublicKey{Scheme: digest.SchemeECDSA, Bits: c.Bits, Curve: c, x: x, y: y}
	if c.std != nil {
		size := (c.p.BitLen() + 7) / 8
		point := append([]byte{4}, append(x.FillBytes(make([]byte, size)), y.FillBytes(make([]byte, size))...)...)
		if k.ecdsa, err = ecdsa.ParseUncompressedPublicKey(c.std, point); err != nil {
			return nil, malformed("public key is not a point of %s", c.Name)
		}
	}
	return k, nil
}

// parseCurve reads a named curve, or explicit parameters that are those of a
// known curve in every value; other explicit curves are refused (the attack of
// CVE-2020-0601 came from a base point of the attacker's choice).
func parseCurve(params []byte) (*Curve, error) {
	t, rest, err := readTLV(params)
	if err != nil || len(rest) != 0 {
		return nil, malformed("curve parameters")
	}
	if t.tag == tagOID {
		oid, err := t.oid()
		if err != nil {
			return nil, err
		}
		if c := curveByOID(oid); c != nil {
			return c, nil
		}
		return nil, fmt.Errorf("%w: curve %s", ErrUnsupported, oid)
	}
	if t.tag != tagSequence {
		return nil, malformed("curve parameters with tag %#02x", t.tag)
	}
	parts, err := t.members()
	if err != nil || len(parts) < 5 || parts[1].tag != tagSequence || parts[2].tag != tagSequence ||
		parts[3].tag != tagOctetString || parts[4].tag != tagInteger {
		return nil, malformed("explicit curve parameters")
	}
	field, err := parts[1].members()
	if err != nil || len(field) != 2 || field[0].tag != tagOID || field[1].tag != tagInteger {
		return nil, malformed("explicit curve field")
	}
	if oid, err := field[0].oid(); err != nil || !oid.Equal(oidPrimeField) {
		return nil, fmt.Errorf("%w: explicit curve over a field that is not prime", ErrUnsupported)
	}
	coeff, err := parts[2].members()
	if err != nil || len(coeff) < 2 || coeff[0].tag != tagOctetString || coeff[1].tag != tagOctetString {
		return nil, malformed("explicit curve coefficients")
	}
	if len(parts) > 5 && (parts[5].tag != tagInteger || new(big.Int).SetBytes(parts[5].contents).Cmp(big.NewInt(1)) != 0) {
		return nil, fmt.Errorf("%w: explicit curve with a cofactor", ErrUnsupported)
	}
	num := func(t tlv) *big.Int { return new(big.Int).SetBytes(t.contents) }
	p, a, b, n := num(field[1]), num(coeff[0]), num(coeff[1]), num(parts[4])
	for _, c := range knownCurves() {
		if c.p.Cmp(p) != 0 || c.a.Cmp(a) != 0 || c.b.Cmp(b) != 0 || c.n.Cmp(n) != 0 {
			continue
		}
		if x, y, ok := c.decodePoint(parts[3].contents); ok && x.Cmp(c.x) == 0 && y.Cmp(c.y) == 0 {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: explicit curve that is none of the known ones", ErrUnsupported)
}

func parseDSA(params, key []byte) (*PublicKey, error) {
	t, err := readWhole(params, tagSequence)
	if err != nil {
		return nil, fmt.Errorf("DSA parameters: %w", err)
	}
	p, rest, err := positiveInteger(t.contents, maxDSABits)
	if err != nil {
		return nil, fmt.Errorf("DSA p: %w", err)
	}
	q, rest, err := positiveInteger(rest, 512)
	if err != nil {
		return nil, fmt.Errorf("DSA q: %w", err)
	}
	g, _, err := positiveInteger(rest, maxDSABits)
	if err != nil {
		return nil, fmt.Errorf("DSA g: %w", err)
	}
	y, rest, err := positiveInteger(key, maxDSABits)
	if err != nil || len(rest) != 0 {
		return nil, malformed("DSA public value")
	}
	if p.Bit(0) == 0 || q.Bit(0) == 0 || p.BitLen() < 512 || q.BitLen() < 160 || g.Cmp(p) >= 0 || y.Cmp(p) >= 0 {
		return nil, malformed("DSA key with impossible parameters")
	}
	return &PublicKey{Scheme: digest.SchemeDSA, Bits: p.BitLen(), p: p, q: q, g: g, y: y}, nil
}

// AlgorithmIdentifier is an object identifier with its raw parameters
// (RFC 5280 section 4.1.1.2). Absent and NULL parameters of a hash mean the same.
type AlgorithmIdentifier struct {
	OID asn1.ObjectIdentifier
	// Parameters is the encoded element, nil when absent.
	Parameters []byte
}

func parseAlgorithmIdentifier(t tlv) (AlgorithmIdentifier, error) {
	if !t.constructed() {
		return AlgorithmIdentifier{}, malformed("algorithm identifier")
	}
	first, rest, err := readTLV(t.contents)
	if err != nil {
		return AlgorithmIdentifier{}, fmt.Errorf("algorithm identifier: %w", err)
	}
	oid, err := first.oid()
	if err != nil {
		return AlgorithmIdentifier{}, err
	}
	a := AlgorithmIdentifier{OID: oid}
	if len(rest) == 0 {
		return a, nil
	}
	params, rest, err := readTLV(rest)
	if err != nil || len(rest) != 0 {
		return AlgorithmIdentifier{}, malformed("algorithm parameters")
	}
	a.Parameters = params.raw
	return a, nil
}

func (a AlgorithmIdentifier) noParameters() bool {
	return len(a.Parameters) == 0 || len(a.Parameters) == 2 && a.Parameters[0] == tagNull && a.Parameters[1] == 0
}

// Digest returns the hash function it names, when it is one without parameters.
// Errors wrap [ErrMalformed] or digest.ErrUnknownAlgorithm.
func (a AlgorithmIdentifier) Digest() (digest.Algorithm, error) {
	if !a.noParameters() {
		return "", malformed("hash %s with parameters", a.OID)
	}
	return digest.FromOID(a.OID)
}
