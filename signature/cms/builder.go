package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"time"

	"evb/signature/digest"
)

// ErrBuild says that a [Builder] was given values that do not make a SignedData.
var ErrBuild = errors.New("cannot build signed data")

// Builder makes a SignedData with one signer, identified by issuer and serial
// number, in DER (RFC 5652). Signed attributes are content-type, message-digest,
// signing-certificate-v2 (RFC 5035, with issuerSerial), signing-time if set, and
// Attributes. The zero value plus Content and Digest is usable; a Builder is not
// changed by signing.
type Builder struct {
	// ContentType is id-data when nil.
	ContentType asn1.ObjectIdentifier
	// Content is what is signed. With Detached it stays outside the message.
	Content  []byte
	Detached bool
	// ContentDigest replaces Content of a detached signature by its digest, for
	// content that is streamed; it must be of the algorithm Digest.
	ContentDigest digest.Digest
	// Digest is the hash of content, attributes and signing certificate.
	Digest digest.Algorithm
	// SigningTime writes the signing-time attribute unless zero (PAdES forbids
	// it, CAdES demands it).
	SigningTime time.Time
	// Attributes are further signed attributes; Raw is ignored.
	Attributes []Attribute
	// UnsignedAttributes are written as given; Raw is ignored.
	UnsignedAttributes []Attribute
	// Certificates are DER certificates of the message; the signer's is added
	// first if it is not among them.
	Certificates [][]byte
	// OmitCertificates leaves all certificates out (a time-stamp request without
	// certReq).
	OmitCertificates bool
	// CRLs are DER CertificateLists of the crls field.
	CRLs [][]byte
}

// Sign makes the message. signer holds the private key of cert: RSA gives
// RSASSA-PKCS1-v1_5, an ECDSA key ECDSA. Nothing but the signer's own randomness
// comes from random, which may be nil for signers that bring their own. Errors
// wrap [ErrBuild] or come from the signer.
func (b Builder) Sign(random io.Reader, signer crypto.Signer, cert *Certificate) ([]byte, error) {
	if !b.Digest.Available() {
		return nil, fmt.Errorf("%w: digest %q", ErrBuild, b.Digest)
	}
	contentType := b.ContentType
	if contentType == nil {
		contentType = OIDData
	}
	sigAlg, err := b.signatureAlgorithm(signer, cert)
	if err != nil {
		return nil, err
	}
	d := b.ContentDigest
	if d.IsZero() {
		d = digest.Of(b.Digest, b.Content)
	} else if d.Algorithm != b.Digest || !b.Detached {
		return nil, fmt.Errorf("%w: content digest of another algorithm, or with content inside", ErrBuild)
	}
	attrs := [][]byte{
		encodeAttribute(OIDContentType, encodeOID(contentType)),
		encodeAttribute(OIDMessageDigest, encodeTLV(tagOctetString, d.Value)),
		encodeAttribute(OIDSigningCertificateV2, b.signingCertificate(cert)),
	}
	if !b.SigningTime.IsZero() {
		attrs = append(attrs, encodeAttribute(OIDSigningTime, EncodeTime(b.SigningTime)))
	}
	for _, a := range b.Attributes {
		attrs = append(attrs, encodeAttribute(a.OID, a.Values...))
	}
	// RFC 5652 section 5.4: signed with the tag of a SET, embedded with [0].
	signed := encodeSet(tagSet, attrs)
	value, err := signer.Sign(random, digest.Of(b.Digest, signed).Value, b.Digest.Hash())
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	embedded := bytes.Clone(signed)
	embedded[0] = tagContext0

	hashAlg := EncodeDigestAlgorithm(b.Digest)
	info := [][]byte{
		{tagInteger, 1, 1},
		encodeTLV(tagSequence, cert.RawIssuer, encodeTLV(tagInteger, cert.rawSerial)),
		hashAlg, embedded, sigAlg, encodeTLV(tagOctetString, value),
	}
	if len(b.UnsignedAttributes) > 0 {
		var unsigned [][]byte
		for _, a := range b.UnsignedAttributes {
			unsigned = append(unsigned, encodeAttribute(a.OID, a.Values...))
		}
		info = append(info, encodeSet(tagContext1, unsigned))
	}
	encap := encodeOID(contentType)
	if !b.Detached {
		encap = append(encap, encodeTLV(tagContext0, encodeTLV(tagOctetString, b.Content))...)
	}
	version := byte(1)
	if !contentType.Equal(OIDData) {
		version = 3 // RFC 5652 section 5.1
	}
	parts := [][]byte{{tagInteger, 1, version}, encodeTLV(tagSet, hashAlg), encodeTLV(tagSequence, encap)}
	if !b.OmitCertificates {
		certs := b.Certificates
		if !containsBytes(certs, cert.Raw) {
			certs = append([][]byte{cert.Raw}, certs...)
		}
		parts = append(parts, encodeSet(tagContext0, certs))
	}
	if len(b.CRLs) > 0 {
		parts = append(parts, encodeSet(tagContext1, b.CRLs))
	}
	parts = append(parts, encodeTLV(tagSet, encodeTLV(tagSequence, info...)))
	return wrapSignedData(encodeTLV(tagSequence, parts...)), nil
}

func wrapSignedData(inner []byte) []byte {
	return encodeTLV(tagSequence, encodeOID(OIDSignedData), encodeTLV(tagContext0, inner))
}

// signatureAlgorithm is rsaEncryption with NULL (EN 319 142-1) or the ECDSA
// identifier of the digest.
func (b Builder) signatureAlgorithm(signer crypto.Signer, cert *Certificate) ([]byte, error) {
	key, err := cert.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBuild, err)
	}
	switch pub := signer.Public().(type) {
	case *rsa.PublicKey:
		if key.n == nil || pub.N.Cmp(key.n) != 0 {
			return nil, fmt.Errorf("%w: key and certificate differ", ErrBuild)
		}
		return encodeTLV(tagSequence, encodeOID(oidRSAEncryption), []byte{tagNull, 0}), nil
	case *ecdsa.PublicKey:
		if key.ecdsa == nil || !key.ecdsa.Equal(pub) {
			return nil, fmt.Errorf("%w: key and certificate differ", ErrBuild)
		}
		for dotted, alg := range signatureAlgorithms {
			if alg.scheme == digest.SchemeECDSA && alg.hash == b.Digest && !alg.plain {
				return encodeTLV(tagSequence, encodeOID(mustOID(dotted))), nil
			}
		}
		return nil, fmt.Errorf("%w: no ECDSA with %s", ErrBuild, b.Digest)
	default:
		return nil, fmt.Errorf("%w: a key of type %T", ErrBuild, pub)
	}
}

// signingCertificate is SigningCertificateV2 with one ESSCertIDv2. SHA-256 is
// the default and DER forbids writing a default.
func (b Builder) signingCertificate(cert *Certificate) []byte {
	var alg []byte
	if b.Digest != digest.SHA256 {
		alg = EncodeDigestAlgorithm(b.Digest)
	}
	issuerSerial := encodeTLV(tagSequence, encodeTLV(tagSequence, encodeTLV(0xa4, cert.RawIssuer)), encodeTLV(tagInteger, cert.rawSerial))
	id := encodeTLV(tagSequence, alg, encodeTLV(tagOctetString, digest.Of(b.Digest, cert.Raw).Value), issuerSerial)
	return encodeTLV(tagSequence, encodeTLV(tagSequence, id))
}

// EncodeDigestAlgorithm is the AlgorithmIdentifier of a hash without parameters
// (RFC 5754 section 2).
func EncodeDigestAlgorithm(alg digest.Algorithm) []byte {
	return encodeTLV(tagSequence, encodeOID(alg.OID()))
}

// EncodeTime is a UTCTime through 2049 and a GeneralizedTime from then on, whole
// seconds (RFC 5652 section 11.3).
func EncodeTime(t time.Time) []byte {
	t = t.UTC()
	if t.Year() >= 1950 && t.Year() < 2050 {
		return encodeTLV(0x17, []byte(t.Format("060102150405Z")))
	}
	return encodeTLV(0x18, []byte(t.Format("20060102150405Z")))
}

func encodeAttribute(oid asn1.ObjectIdentifier, values ...[]byte) []byte {
	return encodeTLV(tagSequence, encodeOID(oid), encodeSet(tagSet, values))
}

func containsBytes(list [][]byte, b []byte) bool {
	for _, l := range list {
		if bytes.Equal(l, b) {
			return true
		}
	}
	return false
}

// WithRevocation returns the message with further CRLs (DER CertificateLists)
// and OCSP responses (OCSPResponse or BasicOCSPResponse) in its crls field. That
// field is outside everything that is signed; all other fields keep their bytes,
// except that the version becomes 5 when OCSP comes in (RFC 5652 section 5.1).
// What is there already stays and is not doubled. Errors wrap [ErrMalformed].
func (s *SignedData) WithRevocation(crls, ocsps [][]byte) ([]byte, error) {
	var entries [][]byte
	if s.rawCRLs.raw != nil {
		parts, err := s.rawCRLs.members()
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			entries = append(entries, p.raw)
		}
	}
	for _, c := range crls {
		list, err := ParseCRL(c)
		if err != nil {
			return nil, err
		}
		if !containsBytes(entries, list.Raw) {
			entries = append(entries, list.Raw)
		}
	}
	version := byte(s.Version)
	for _, o := range ocsps {
		resp, err := ParseOCSP(o)
		if err != nil {
			return nil, err
		}
		version = 5
		if e := encodeTLV(tagContext1, encodeOID(OIDOCSPBasic), resp.Raw); !containsBytes(entries, e) {
			entries = append(entries, e)
		}
	}
	var field []byte
	if len(entries) > 0 {
		field = encodeSet(tagContext1, entries)
	}
	return s.rebuild(version, field)
}

// WithoutRevocation returns the message without its crls field, which OpenSSL
// cannot read when OCSP is in it. A version that only OCSP made 5 goes back to
// 3. Signed bytes stay as they are; without a crls field Raw is returned.
func (s *SignedData) WithoutRevocation() ([]byte, error) {
	if s.rawCRLs.raw == nil {
		return s.Raw, nil
	}
	version := byte(s.Version)
	if version == 5 && s.Unreadable == 0 {
		version = 3
	}
	return s.rebuild(version, nil)
}

func (s *SignedData) rebuild(version byte, crls []byte) ([]byte, error) {
	_, rest, err := readTag(s.head, tagInteger)
	if err != nil {
		return nil, err
	}
	return wrapSignedData(encodeTLV(tagSequence, []byte{tagInteger, 1, version}, rest, crls, s.tail)), nil
}

// WithUnsignedAttribute returns the message with one more unsigned attribute on
// its only signer, for example a signature-time-stamp. Errors wrap [ErrBuild]
// when there is not exactly one signer.
func (s *SignedData) WithUnsignedAttribute(oid asn1.ObjectIdentifier, value []byte) ([]byte, error) {
	if len(s.Signers) != 1 {
		return nil, fmt.Errorf("%w: %d signers", ErrBuild, len(s.Signers))
	}
	t, err := readWhole(s.Signers[0].Raw, tagSequence)
	if err != nil {
		return nil, err
	}
	parts, err := t.members()
	if err != nil {
		return nil, err
	}
	var fields [][]byte
	for i, p := range parts {
		if i == len(parts)-1 && p.tag == tagContext1 {
			break
		}
		fields = append(fields, p.raw)
	}
	attrs := [][]byte{encodeAttribute(oid, value)}
	for _, a := range s.Signers[0].UnsignedAttributes {
		attrs = append(attrs, a.Raw)
	}
	fields = append(fields, encodeSet(tagContext1, attrs))
	tail := encodeTLV(tagSet, encodeTLV(tagSequence, fields...))
	return wrapSignedData(encodeTLV(tagSequence, s.head, s.rawCRLs.raw, tail)), nil
}
