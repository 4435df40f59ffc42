package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/big"

	"evb/signature/digest"
)

// ErrUnsupported says that an algorithm, curve or structure is well-formed but
// not among those this package can compute; the answer to a check is then
// indeterminate, not fail.
var ErrUnsupported = errors.New("not supported")

// ErrSignature says that a signature value does not match key and data.
var ErrSignature = errors.New("signature does not verify")

// SignatureScheme is a fully resolved signature algorithm.
type SignatureScheme struct {
	// Scheme is the family for the policy question.
	Scheme digest.Scheme
	// Hash is the function over the signed bytes.
	Hash digest.Algorithm

	mgf   digest.Algorithm // PSS
	salt  int              // PSS
	plain bool
}

// String is "rsa-pss sha256" and the like.
func (s SignatureScheme) String() string { return string(s.Scheme) + " " + string(s.Hash) }

// Scheme resolves the identifier of a signature algorithm. digestAlg is the
// digest algorithm standing beside it in a SignerInfo, "" for certificates; when
// both name a hash they must agree (RFC 5652 section 5.3, EN 319 142). Errors
// wrap [ErrUnsupported], [ErrMalformed] or digest.ErrUnknownAlgorithm.
func (a AlgorithmIdentifier) Scheme(digestAlg digest.Algorithm) (SignatureScheme, error) {
	known, ok := signatureAlgorithms[a.OID.String()]
	if !ok {
		return SignatureScheme{}, fmt.Errorf("%w: signature algorithm %s", ErrUnsupported, a.OID)
	}
	s := SignatureScheme{Scheme: known.scheme, Hash: known.hash, plain: known.plain}
	switch s.Scheme {
	case digest.SchemeRSAPSS:
		if err := s.parsePSS(a.Parameters); err != nil {
			return SignatureScheme{}, err
		}
	case digest.SchemeEd25519:
		// RFC 8419 section 3: the pure form hashes itself; SHA-512 beside it.
		s.Hash = digest.SHA512
	}
	switch {
	case s.Hash == "" && digestAlg == "":
		return SignatureScheme{}, fmt.Errorf("%w: signature algorithm %s names no hash", ErrUnsupported, a.OID)
	case s.Hash == "":
		s.Hash = digestAlg
	case digestAlg != "" && digestAlg != s.Hash:
		return SignatureScheme{}, malformed("digest algorithm %s beside a signature with %s", digestAlg, s.Hash)
	}
	if !s.Hash.Available() {
		return SignatureScheme{}, fmt.Errorf("%w: hash %s", ErrUnsupported, s.Hash)
	}
	return s, nil
}

// parsePSS reads RSASSA-PSS-params; every field has a default (RFC 4055 section
// 3.1: SHA-1, MGF1 with SHA-1, 20, 1).
func (s *SignatureScheme) parsePSS(params []byte) error {
	s.Hash, s.mgf, s.salt = digest.SHA1, digest.SHA1, 20
	if (AlgorithmIdentifier{Parameters: params}).noParameters() {
		return nil
	}
	t, err := readWhole(params, tagSequence)
	if err != nil {
		return fmt.Errorf("PSS parameters: %w", err)
	}
	fields, err := t.members()
	if err != nil {
		return fmt.Errorf("PSS parameters: %w", err)
	}
	last := byte(0)
	for _, f := range fields {
		if f.tag <= last {
			return malformed("PSS parameters out of order")
		}
		last = f.tag
		inner, rest, err := readTLV(f.contents)
		if err != nil || len(rest) != 0 {
			return malformed("PSS parameter %#02x", f.tag)
		}
		switch f.tag {
		case tagContext0:
			if s.Hash, err = hashOf(inner); err != nil {
				return err
			}
		case tagContext1:
			mgf, err := parseAlgorithmIdentifier(inner)
			if err != nil {
				return err
			}
			if !mgf.OID.Equal(oidMGF1) {
				return fmt.Errorf("%w: PSS mask function %s", ErrUnsupported, mgf.OID)
			}
			h, err := readWhole(mgf.Parameters, tagSequence)
			if err != nil {
				return fmt.Errorf("PSS mask function: %w", err)
			}
			if s.mgf, err = hashOf(h); err != nil {
				return err
			}
		case 0xa2:
			if inner.tag != tagInteger || len(inner.contents) == 0 || len(inner.contents) > 3 || inner.contents[0]&0x80 != 0 {
				return malformed("PSS salt length")
			}
			s.salt = int(new(big.Int).SetBytes(inner.contents).Int64())
		case 0xa3:
			if inner.tag != tagInteger || len(inner.contents) != 1 || inner.contents[0] != 1 {
				return malformed("PSS trailer field")
			}
		default:
			return malformed("PSS parameter %#02x", f.tag)
		}
	}
	if !s.mgf.Available() {
		return fmt.Errorf("%w: hash %s", ErrUnsupported, s.mgf)
	}
	return nil
}

func hashOf(t tlv) (digest.Algorithm, error) {
	a, err := parseAlgorithmIdentifier(t)
	if err != nil {
		return "", err
	}
	return a.Digest()
}

// Verify checks a signature over signed. It returns nil, or an error that wraps
// [ErrSignature] (does not match, or key and algorithm do not belong together)
// or [ErrUnsupported].
func (k *PublicKey) Verify(s SignatureScheme, signed, signature []byte) error {
	if s.Scheme == digest.SchemeEd25519 {
		if k.ed == nil || !ed25519.Verify(k.ed, signed, signature) {
			return ErrSignature
		}
		return nil
	}
	if !s.Hash.Available() {
		return fmt.Errorf("%w: hash %s", ErrUnsupported, s.Hash)
	}
	h := s.Hash.New()
	h.Write(signed)
	return k.VerifyDigest(s, h.Sum(nil), signature)
}

// VerifyDigest is [PublicKey.Verify] for data that was hashed already; it does
// not serve Ed25519.
func (k *PublicKey) VerifyDigest(s SignatureScheme, hash, signature []byte) error {
	if len(hash) != s.Hash.Size() {
		return fmt.Errorf("%w: hash of %d bytes", ErrSignature, len(hash))
	}
	ok := false
	switch {
	case s.Scheme == digest.SchemeRSAPKCS1 && k.n != nil && !k.PSSOnly:
		ok = k.verifyPKCS1(s.Hash, hash, signature)
	case s.Scheme == digest.SchemeRSAPSS && k.n != nil:
		ok = k.verifyPSS(s, hash, signature)
	case s.Scheme == digest.SchemeECDSA && k.Curve != nil:
		ok = k.verifyECDSA(s, hash, signature)
	case s.Scheme == digest.SchemeDSA && k.p != nil:
		ok = k.verifyDSA(hash, signature)
	default:
		return fmt.Errorf("%w: a %s key cannot make a %s signature", ErrSignature, k, s.Scheme)
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// rsaPublic is signature^e mod n as an octet string of the modulus' length. All
// values are public, so math/big's timing is of no concern.
func (k *PublicKey) rsaPublic(signature []byte) ([]byte, bool) {
	size := (k.n.BitLen() + 7) / 8
	if len(signature) != size {
		return nil, false
	}
	s := new(big.Int).SetBytes(signature)
	if s.Cmp(k.n) >= 0 {
		return nil, false
	}
	return s.Exp(s, k.e, k.n).FillBytes(make([]byte, size)), true
}

func (k *PublicKey) verifyPKCS1(alg digest.Algorithm, hash, signature []byte) bool {
	if k.rsa != nil {
		if rsa.VerifyPKCS1v15(k.rsa, alg.Hash(), hash, signature) == nil {
			return true
		}
	}
	em, ok := k.rsaPublic(signature)
	if !ok {
		return false
	}
	// RFC 8017 section 8.2.2: compare encodings; note 2 allows DigestInfo without
	// the NULL, which old signers wrote.
	oid := encodeOID(alg.OID())
	for _, null := range [][]byte{{tagNull, 0}, nil} {
		info := encodeTLV(tagSequence, encodeTLV(tagSequence, oid, null), encodeTLV(tagOctetString, hash))
		pad := len(em) - 3 - len(info)
		if pad < 8 {
			return false
		}
		want := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, pad)...)
		want = append(append(want, 0), info...)
		if subtle.ConstantTimeCompare(em, want) == 1 {
			return true
		}
	}
	return false
}

func (k *PublicKey) verifyPSS(s SignatureScheme, hash, signature []byte) bool {
	if k.rsa != nil && s.mgf == s.Hash {
		if s.salt == 0 {
			// crypto/rsa reads 0 as "detect"; the exact length is checked below.
			return k.verifyPSSBig(s, hash, signature)
		}
		return rsa.VerifyPSS(k.rsa, s.Hash.Hash(), hash, signature, &rsa.PSSOptions{SaltLength: s.salt, Hash: crypto.Hash(0)}) == nil
	}
	return k.verifyPSSBig(s, hash, signature)
}

// verifyPSSBig is EMSA-PSS-VERIFY (RFC 8017 section 9.1.2) for keys and
// parameters that crypto/rsa does not take.
func (k *PublicKey) verifyPSSBig(s SignatureScheme, hash, signature []byte) bool {
	full, ok := k.rsaPublic(signature)
	if !ok {
		return false
	}
	emBits := k.n.BitLen() - 1
	emLen := (emBits + 7) / 8
	if len(full) > emLen {
		if full[0] != 0 {
			return false
		}
		full = full[1:]
	}
	hLen := s.Hash.Size()
	if emLen < hLen+s.salt+2 || full[emLen-1] != 0xbc {
		return false
	}
	db, h := bytes.Clone(full[:emLen-hLen-1]), full[emLen-hLen-1:emLen-1]
	unused := uint(8*emLen - emBits)
	if db[0]>>(8-unused) != 0 {
		return false
	}
	mgf1(db, h, s.mgf)
	db[0] &= 0xff >> unused
	zeros := emLen - hLen - s.salt - 2
	for _, b := range db[:zeros] {
		if b != 0 {
			return false
		}
	}
	if db[zeros] != 1 {
		return false
	}
	check := s.Hash.New()
	check.Write(make([]byte, 8))
	check.Write(hash)
	check.Write(db[zeros+1:])
	return bytes.Equal(check.Sum(nil), h)
}

// mgf1 XORs the mask of RFC 8017 appendix B.2.1 onto out.
func mgf1(out, seed []byte, alg digest.Algorithm) {
	var counter [4]byte
	for done := 0; done < len(out); {
		h := alg.New()
		h.Write(seed)
		h.Write(counter[:])
		for _, b := range h.Sum(nil) {
			if done == len(out) {
				break
			}
			out[done] ^= b
			done++
		}
		for i := 3; i >= 0; i-- {
			if counter[i]++; counter[i] != 0 {
				break
			}
		}
	}
}

func (k *PublicKey) verifyECDSA(s SignatureScheme, hash, signature []byte) bool {
	if k.ecdsa != nil && !s.plain {
		return ecdsa.VerifyASN1(k.ecdsa, hash, signature)
	}
	r, v, ok := k.signaturePair(s.plain, (k.Curve.n.BitLen()+7)/8, signature)
	return ok && k.Curve.verify(k.x, k.y, hash, r, v)
}

// signaturePair reads r and s as a SEQUENCE of two integers, or in plain form as
// two strings of size octets.
func (k *PublicKey) signaturePair(plain bool, size int, signature []byte) (r, s *big.Int, ok bool) {
	if plain {
		if len(signature) != 2*size {
			return nil, nil, false
		}
		return new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]), true
	}
	t, err := readWhole(signature, tagSequence)
	if err != nil || !IsDER(signature) {
		return nil, nil, false
	}
	r, rest, err := positiveInteger(t.contents, 8*size)
	if err != nil {
		return nil, nil, false
	}
	s, rest, err = positiveInteger(rest, 8*size)
	return r, s, err == nil && len(rest) == 0
}

// verifyDSA is FIPS 186-4 section 4.7.
func (k *PublicKey) verifyDSA(hash, signature []byte) bool {
	r, s, ok := k.signaturePair(false, (k.q.BitLen()+7)/8, signature)
	if !ok || r.Cmp(k.q) >= 0 || s.Cmp(k.q) >= 0 {
		return false
	}
	w := new(big.Int).ModInverse(s, k.q)
	if w == nil {
		return false
	}
	u1, u2 := mulMod(hashToInt(hash, k.q), w, k.q), mulMod(r, w, k.q)
	v := mulMod(new(big.Int).Exp(k.g, u1, k.p), new(big.Int).Exp(k.y, u2, k.p), k.p)
	return v.Mod(v, k.q).Cmp(r) == 0
}
