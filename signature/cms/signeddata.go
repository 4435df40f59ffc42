package cms

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"

	"evb/signature/digest"
)

// Attribute is one signed or unsigned attribute (RFC 5652 section 5.3).
type Attribute struct {
	OID asn1.ObjectIdentifier
	// Values are the encoded members of the SET.
	Values [][]byte
	// Raw is the whole attribute.
	Raw []byte
}

// SignedData is a parsed ContentInfo of type id-signedData (RFC 5652 sections 3
// and 5). Slices point into Raw unless the content was a split string.
type SignedData struct {
	// Raw is the ContentInfo as given, without bytes behind it.
	Raw []byte
	// RawSignedData is the inner SignedData element.
	RawSignedData    []byte
	Version          int
	DigestAlgorithms []AlgorithmIdentifier
	ContentType      asn1.ObjectIdentifier
	// Content is the octets of eContent, nil when Detached.
	Content  []byte
	Detached bool
	// Certificates are those that could be read, in order; Unreadable counts the
	// others (attribute certificates, damaged ones).
	Certificates []*Certificate
	Unreadable   int
	// CRLs are the CertificateLists of the crls field, OCSPs the
	// BasicOCSPResponses in it whichever identifier announced them;
	// OtherRevocation counts entries of other kinds.
	CRLs, OCSPs     [][]byte
	OtherRevocation int
	Signers         []*SignerInfo

	head    []byte // the fields before crls, encoded
	rawCRLs tlv    // the crls element, zero when absent
	tail    []byte // signerInfos, encoded
}

// SignerInfo is one signature (RFC 5652 section 5.3).
type SignerInfo struct {
	Raw     []byte
	Version int
	// IssuerRaw and Serial identify the signer's certificate, or SubjectKeyID.
	IssuerRaw    []byte
	Serial       *big.Int
	SubjectKeyID []byte

	DigestAlgorithm    AlgorithmIdentifier
	SignatureAlgorithm AlgorithmIdentifier
	Signature          []byte
	// SignedAttributes is nil when the signature covers the content directly.
	SignedAttributes   []Attribute
	UnsignedAttributes []Attribute
	// RawSignedAttributes is the [0] element as it stands in the message.
	RawSignedAttributes []byte
}

// Parse reads a ContentInfo holding SignedData in DER or BER. b is kept and must
// not change. Bytes behind the element, more than [MaxSize] bytes and other
// content types are errors that wrap [ErrMalformed].
func Parse(b []byte) (*SignedData, error) {
	s, rest, err := ParsePrefix(b)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("signed data: %w", malformed("%d bytes behind the element", len(rest)))
	}
	return s, nil
}

// ParsePrefix is [Parse] that returns the bytes behind the element instead of
// refusing them: PDF signatures are padded with zeros.
func ParsePrefix(b []byte) (s *SignedData, rest []byte, err error) {
	s, rest, err = parseContentInfo(b)
	if err != nil {
		return nil, nil, fmt.Errorf("signed data: %w", err)
	}
	return s, rest, nil
}

func parseContentInfo(b []byte) (*SignedData, []byte, error) {
	if len(b) > MaxSize {
		return nil, nil, malformed("larger than %d bytes", MaxSize)
	}
	outer, behind, err := readTag(b, tagSequence)
	if err != nil {
		return nil, nil, err
	}
	contentType, rest, err := readTag(outer.contents, tagOID)
	if err != nil {
		return nil, nil, err
	}
	if oid, err := contentType.oid(); err != nil || !oid.Equal(OIDSignedData) {
		return nil, nil, malformed("content type is not signed data")
	}
	explicit, err := readWhole(rest, tagContext0)
	if err != nil {
		return nil, nil, err
	}
	inner, err := readWhole(explicit.contents, tagSequence)
	if err != nil {
		return nil, nil, err
	}
	s := &SignedData{Raw: outer.raw, RawSignedData: inner.raw}
	if err := s.parse(inner.contents); err != nil {
		return nil, nil, err
	}
	return s, behind, nil
}

// smallInt reads a version number.
func smallInt(b []byte) (int, []byte, error) {
	t, rest, err := readTag(b, tagInteger)
	if err != nil {
		return 0, nil, err
	}
	if len(t.contents) != 1 {
		return 0, nil, malformed("version")
	}
	return int(int8(t.contents[0])), rest, nil
}

func (s *SignedData) parse(b []byte) (err error) {
	all := b
	if s.Version, b, err = smallInt(b); err != nil {
		return err
	}
	if s.Version < 0 || s.Version > 5 {
		return malformed("signed data of version %d", s.Version)
	}
	algs, b, err := readTag(b, tagSet)
	if err != nil {
		return fmt.Errorf("digest algorithms: %w", err)
	}
	parts, err := algs.members()
	if err != nil {
		return fmt.Errorf("digest algorithms: %w", err)
	}
	for _, p := range parts {
		a, err := parseAlgorithmIdentifier(p)
		if err != nil {
			return err
		}
		s.DigestAlgorithms = append(s.DigestAlgorithms, a)
	}
	content, b, err := readTag(b, tagSequence)
	if err != nil {
		return fmt.Errorf("encapsulated content: %w", err)
	}
	if err := s.parseContent(content); err != nil {
		return fmt.Errorf("encapsulated content: %w", err)
	}
	certs, ok, b, err := readOptional(b, tagContext0)
	if err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	if ok {
		if err := s.parseCertificates(certs); err != nil {
			return fmt.Errorf("certificates: %w", err)
		}
	}
	s.head = all[:len(all)-len(b)]
	if s.rawCRLs, ok, b, err = readOptional(b, tagContext1); err != nil {
		return fmt.Errorf("crls: %w", err)
	}
	if ok {
		if err := s.parseCRLs(); err != nil {
			return fmt.Errorf("crls: %w", err)
		}
	}
	s.tail = b
	signers, err := readWhole(b, tagSet)
	if err != nil {
		return fmt.Errorf("signer infos: %w", err)
	}
	if parts, err = signers.members(); err != nil {
		return fmt.Errorf("signer infos: %w", err)
	}
	for i, p := range parts {
		si, err := parseSignerInfo(p)
		if err != nil {
			return fmt.Errorf("signer info %d: %w", i+1, err)
		}
		s.Signers = append(s.Signers, si)
	}
	return nil
}

func (s *SignedData) parseContent(t tlv) error {
	id, rest, err := readTag(t.contents, tagOID)
	if err != nil {
		return err
	}
	if s.ContentType, err = id.oid(); err != nil {
		return err
	}
	if len(rest) == 0 {
		s.Detached = true
		return nil
	}
	explicit, err := readWhole(rest, tagContext0)
	if err != nil {
		return err
	}
	inner, rest, err := readTLV(explicit.contents)
	if err != nil {
		return err
	}
	if len(rest) != 0 || inner.tag&^0x20 != tagOctetString {
		return malformed("content is not one octet string")
	}
	s.Content, err = inner.octets()
	return err
}

func (s *SignedData) parseCertificates(t tlv) error {
	parts, err := t.members()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.tag != tagSequence {
			s.Unreadable++
			continue
		}
		c, err := parseCertificate(p.raw)
		if err != nil {
			// One damaged certificate must not hide the good ones beside it.
			s.Unreadable++
			continue
		}
		s.Certificates = append(s.Certificates, c)
	}
	return nil
}

func (s *SignedData) parseCRLs() error {
	parts, err := s.rawCRLs.members()
	if err != nil {
		return err
	}
	for _, p := range parts {
		switch p.tag {
		case tagSequence:
			s.CRLs = append(s.CRLs, p.raw)
		case tagContext1:
			id, rest, err := readTag(p.contents, tagOID)
			if err != nil {
				return err
			}
			oid, err := id.oid()
			if err != nil {
				return err
			}
			info, rest, err := readTLV(rest)
			if err != nil || len(rest) != 0 {
				return malformed("other revocation information")
			}
			if !oid.Equal(OIDOCSPBasic) && !oid.Equal(OIDRevocationOCSP) {
				s.OtherRevocation++
				continue
			}
			basic, err := BasicOCSP(info.raw)
			if err != nil {
				s.OtherRevocation++
				continue
			}
			s.OCSPs = append(s.OCSPs, basic)
		default:
			return malformed("revocation information with tag %#02x", p.tag)
		}
	}
	return nil
}

func parseSignerInfo(t tlv) (*SignerInfo, error) {
	if t.tag != tagSequence {
		return nil, malformed("tag %#02x", t.tag)
	}
	si := &SignerInfo{Raw: t.raw}
	var err error
	b := t.contents
	if si.Version, b, err = smallInt(b); err != nil {
		return nil, err
	}
	sid, b, err := readTLV(b)
	if err != nil {
		return nil, err
	}
	switch sid.tag {
	case tagSequence:
		issuer, rest, err := readTag(sid.contents, tagSequence)
		if err != nil {
			return nil, err
		}
		serial, err := readWhole(rest, tagInteger)
		if err != nil || len(serial.contents) == 0 || len(serial.contents) > 64 {
			return nil, malformed("serial number")
		}
		si.IssuerRaw, si.Serial = issuer.raw, signedInt(serial.contents)
	case 0x80, 0xa0:
		if si.SubjectKeyID, err = sid.octets(); err != nil {
			return nil, err
		}
		if len(si.SubjectKeyID) == 0 {
			return nil, malformed("empty subject key identifier")
		}
	default:
		return nil, malformed("signer identifier with tag %#02x", sid.tag)
	}
	alg, b, err := readTag(b, tagSequence)
	if err != nil {
		return nil, err
	}
	if si.DigestAlgorithm, err = parseAlgorithmIdentifier(alg); err != nil {
		return nil, err
	}
	attrs, ok, b, err := readOptional(b, tagContext0)
	if err != nil {
		return nil, err
	}
	if ok {
		si.RawSignedAttributes = attrs.raw
		if si.SignedAttributes, err = parseAttributes(attrs); err != nil {
			return nil, fmt.Errorf("signed attributes: %w", err)
		}
		if len(si.SignedAttributes) == 0 {
			return nil, malformed("empty signed attributes")
		}
	}
	if alg, b, err = readTag(b, tagSequence); err != nil {
		return nil, err
	}
	if si.SignatureAlgorithm, err = parseAlgorithmIdentifier(alg); err != nil {
		return nil, err
	}
	sig, b, err := readTLV(b)
	if err != nil || sig.tag&^0x20 != tagOctetString {
		return nil, malformed("signature value")
	}
	if si.Signature, err = sig.octets(); err != nil {
		return nil, err
	}
	if attrs, ok, b, err = readOptional(b, tagContext1); err != nil {
		return nil, err
	}
	if ok {
		if si.UnsignedAttributes, err = parseAttributes(attrs); err != nil {
			return nil, fmt.Errorf("unsigned attributes: %w", err)
		}
	}
	if len(b) != 0 {
		return nil, malformed("%d bytes at the end", len(b))
	}
	return si, nil
}

func parseAttributes(t tlv) ([]Attribute, error) {
	parts, err := t.members()
	if err != nil {
		return nil, err
	}
	out := make([]Attribute, 0, len(parts))
	for _, p := range parts {
		if p.tag != tagSequence {
			return nil, malformed("attribute")
		}
		id, rest, err := readTag(p.contents, tagOID)
		if err != nil {
			return nil, err
		}
		a := Attribute{Raw: p.raw}
		if a.OID, err = id.oid(); err != nil {
			return nil, err
		}
		set, err := readWhole(rest, tagSet)
		if err != nil {
			return nil, err
		}
		values, err := set.members()
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			a.Values = append(a.Values, v.raw)
		}
		out = append(out, a)
	}
	return out, nil
}

// DER reports whether the whole message is in distinguished encoding, signed
// attributes of every signer in order included.
func (s *SignedData) DER() bool {
	if !IsDER(s.Raw) {
		return false
	}
	for _, si := range s.Signers {
		if !si.AttributesInOrder() {
			return false
		}
	}
	return true
}

// SignerCertificate returns the certificate the signer names, from those of the
// message and extra ones, by issuer (raw bytes) and serial number or by key
// identifier; nil when it is not there.
func (s *SignedData) SignerCertificate(si *SignerInfo, extra ...*Certificate) *Certificate {
	for _, list := range [][]*Certificate{s.Certificates, extra} {
		for _, c := range list {
			if si.names(c) {
				return c
			}
		}
	}
	return nil
}

func (si *SignerInfo) names(c *Certificate) bool {
	if si.SubjectKeyID != nil {
		return bytes.Equal(c.SubjectKeyID, si.SubjectKeyID)
	}
	return bytes.Equal(c.RawIssuer, si.IssuerRaw) && c.Serial.Cmp(si.Serial) == 0
}

// Digest is the hash function of the signer. Errors as of
// [AlgorithmIdentifier.Digest].
func (si *SignerInfo) Digest() (digest.Algorithm, error) { return si.DigestAlgorithm.Digest() }

// Attribute returns the only signed attribute of a type. It is an error that
// wraps [ErrMalformed] when there are several of the type, or one that has not
// exactly one value (RFC 5652 section 11); nil without error when absent.
func (si *SignerInfo) Attribute(oid asn1.ObjectIdentifier) ([]byte, error) {
	var found []byte
	for _, a := range si.SignedAttributes {
		if !a.OID.Equal(oid) {
			continue
		}
		if found != nil || len(a.Values) != 1 {
			return nil, malformed("attribute %s more than once", oid)
		}
		found = a.Values[0]
	}
	return found, nil
}

// AttributesInOrder reports whether the signed attributes stand in the order of
// DER (X.690 section 11.6) with definite lengths.
func (si *SignerInfo) AttributesInOrder() bool {
	if si.RawSignedAttributes == nil {
		return true
	}
	b := bytes.Clone(si.RawSignedAttributes)
	b[0] = tagSet
	return IsDER(b)
}
