package cms

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"evb/signature/digest"
)

// KeyUsage bits of RFC 5280 section 4.2.1.3, bit 0 first.
const (
	KeyUsageDigitalSignature = 1 << iota
	KeyUsageContentCommitment
	KeyUsageKeyEncipherment
	KeyUsageDataEncipherment
	KeyUsageKeyAgreement
	KeyUsageCertSign
	KeyUsageCRLSign
)

// Extension is one certificate or CRL extension.
type Extension struct {
	OID      asn1.ObjectIdentifier
	Critical bool
	Value    []byte
}

// Certificate is an X.509 certificate (RFC 5280 section 4) as far as signatures
// and time-stamps need it. Slices point into Raw.
type Certificate struct {
	Raw, RawTBS         []byte
	RawIssuer           []byte
	RawSubject          []byte
	RawSPKI             []byte
	Serial              *big.Int
	rawSerial           []byte
	NotBefore, NotAfter time.Time // UTC
	SignatureAlgorithm  AlgorithmIdentifier
	Signature           []byte
	Extensions          []Extension

	// SubjectKeyID and AuthorityKeyID are nil when absent.
	SubjectKeyID, AuthorityKeyID []byte
	// KeyUsage is 0 when the extension is absent.
	KeyUsage    int
	HasKeyUsage bool
	// ExtKeyUsage lists the purposes; nil when the extension is absent.
	ExtKeyUsage         []asn1.ObjectIdentifier
	ExtKeyUsageCritical bool
	// IsCA and MaxPathLen are of basicConstraints; MaxPathLen is -1 when absent.
	IsCA       bool
	MaxPathLen int
	// CRLURLs, OCSPURLs and IssuerURLs are the http locations it names.
	CRLURLs, OCSPURLs, IssuerURLs []string
	// OCSPNoCheck: a responder certificate that needs no revocation check.
	OCSPNoCheck bool
	// UnhandledCritical are critical extensions that are not understood here.
	UnhandledCritical []asn1.ObjectIdentifier

	key func() (*PublicKey, error)
	fp  func() digest.Digest
}

// ParseCertificate reads one DER certificate; b is kept. A public key of an
// unknown kind is no error here but one of [Certificate.PublicKey]. Errors wrap
// [ErrMalformed].
func ParseCertificate(b []byte) (*Certificate, error) {
	c, err := parseCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return c, nil
}

func parseCertificate(b []byte) (*Certificate, error) {
	outer, err := readWhole(b, tagSequence)
	if err != nil {
		return nil, err
	}
	c := &Certificate{Raw: outer.raw, MaxPathLen: -1}
	tbs, rest, err := readTag(outer.contents, tagSequence)
	if err != nil {
		return nil, err
	}
	c.RawTBS = tbs.raw
	if c.SignatureAlgorithm, c.Signature, err = parseSignatureTail(rest); err != nil {
		return nil, err
	}
	rest = tbs.contents
	if _, _, rest, err = readOptional(rest, tagContext0); err != nil {
		return nil, err
	}
	serial, rest, err := readTag(rest, tagInteger)
	if err != nil || len(serial.contents) == 0 || len(serial.contents) > 64 {
		return nil, malformed("serial number")
	}
	c.rawSerial, c.Serial = serial.contents, signedInt(serial.contents)
	inner, rest, err := readTag(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	innerAlg, err := parseAlgorithmIdentifier(inner)
	if err != nil {
		return nil, err
	}
	if !innerAlg.OID.Equal(c.SignatureAlgorithm.OID) {
		return nil, malformed("two different signature algorithms")
	}
	issuer, rest, err := readTag(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	c.RawIssuer = issuer.raw
	validity, rest, err := readTag(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	times, err := validity.members()
	if err != nil || len(times) != 2 {
		return nil, malformed("validity")
	}
	if c.NotBefore, err = times[0].time(); err != nil {
		return nil, err
	}
	if c.NotAfter, err = times[1].time(); err != nil {
		return nil, err
	}
	subject, rest, err := readTag(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	c.RawSubject = subject.raw
	spki, rest, err := readTag(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	c.RawSPKI = spki.raw
	for len(rest) > 0 {
		var t tlv
		if t, rest, err = readTLV(rest); err != nil {
			return nil, err
		}
		switch t.tag {
		case 0x81, 0xa1, 0x82, 0xa2: // unique identifiers
		case 0xa3:
			if c.Extensions, err = parseExtensions(t.contents); err != nil {
				return nil, err
			}
		default:
			return nil, malformed("tag %#02x in a certificate", t.tag)
		}
	}
	if err := c.readExtensions(); err != nil {
		return nil, err
	}
	c.key = sync.OnceValues(func() (*PublicKey, error) { return ParsePublicKey(c.RawSPKI) })
	c.fp = sync.OnceValue(func() digest.Digest { return digest.Of(digest.SHA256, c.Raw) })
	return c, nil
}

// parseSignatureTail reads signatureAlgorithm and signatureValue, the end of
// certificates, CRLs and (with more behind) OCSP responses.
func parseSignatureTail(b []byte) (AlgorithmIdentifier, []byte, error) {
	alg, rest, err := readTag(b, tagSequence)
	if err != nil {
		return AlgorithmIdentifier{}, nil, err
	}
	id, err := parseAlgorithmIdentifier(alg)
	if err != nil {
		return AlgorithmIdentifier{}, nil, err
	}
	bits, err := readWhole(rest, tagBitString)
	if err != nil {
		return AlgorithmIdentifier{}, nil, err
	}
	sig, err := bitStringOctets(bits)
	return id, sig, err
}

func signedInt(b []byte) *big.Int {
	v := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return v
}

// time reads UTCTime or GeneralizedTime; fractions of a second are kept, zones
// other than Z are refused (RFC 5280 section 4.1.2.5).
func (t tlv) time() (time.Time, error) {
	s := string(t.contents)
	switch {
	case t.tag == 0x17 && len(s) <= 13:
		for _, layout := range []string{"060102150405Z", "0601021504Z"} {
			if v, err := time.Parse(layout, s); err == nil {
				if v.Year() >= 2050 {
					v = v.AddDate(-100, 0, 0)
				}
				return v, nil
			}
		}
	case t.tag == 0x18 && len(s) <= 32:
		if v, err := time.Parse("20060102150405Z", s); err == nil {
			return v, nil // a fraction is read by Parse behind the seconds
		}
	}
	return time.Time{}, malformed("time %.32q", s)
}

func parseExtensions(b []byte) ([]Extension, error) {
	list, err := readWhole(b, tagSequence)
	if err != nil {
		return nil, fmt.Errorf("extensions: %w", err)
	}
	parts, err := list.members()
	if err != nil {
		return nil, fmt.Errorf("extensions: %w", err)
	}
	out := make([]Extension, 0, len(parts))
	for _, p := range parts {
		if p.tag != tagSequence {
			return nil, malformed("extension")
		}
		id, rest, err := readTag(p.contents, tagOID)
		if err != nil {
			return nil, fmt.Errorf("extension: %w", err)
		}
		e := Extension{}
		if e.OID, err = id.oid(); err != nil {
			return nil, err
		}
		crit, ok, rest, err := readOptional(rest, tagBoolean)
		if err != nil {
			return nil, err
		}
		e.Critical = ok && len(crit.contents) == 1 && crit.contents[0] != 0
		v, err := readWhole(rest, tagOctetString)
		if err != nil {
			return nil, fmt.Errorf("extension %s: %w", e.OID, err)
		}
		e.Value = v.contents
		for _, o := range out {
			if o.OID.Equal(e.OID) {
				return nil, malformed("extension %s twice", e.OID)
			}
		}
		if len(out) == 256 {
			return nil, malformed("more than 256 extensions")
		}
		out = append(out, e)
	}
	return out, nil
}

func (c *Certificate) readExtensions() error {
	for _, e := range c.Extensions {
		var err error
		switch {
		case e.OID.Equal(oidExtSubjectKeyID):
			var t tlv
			if t, err = readWhole(e.Value, tagOctetString); err == nil {
				c.SubjectKeyID = t.contents
			}
		case e.OID.Equal(oidExtAuthorityKeyID):
			var t tlv
			if t, err = readWhole(e.Value, tagSequence); err == nil {
				var id tlv
				var ok bool
				if id, ok, _, err = readOptional(t.contents, 0x80); ok {
					c.AuthorityKeyID = id.contents
				}
			}
		case e.OID.Equal(oidExtKeyUsage):
			c.HasKeyUsage = true
			c.KeyUsage, err = parseKeyUsage(e.Value)
		case e.OID.Equal(oidExtExtKeyUsage):
			c.ExtKeyUsageCritical = e.Critical
			c.ExtKeyUsage, err = parseOIDList(e.Value)
		case e.OID.Equal(oidExtBasic):
			err = c.parseBasicConstraints(e.Value)
		case e.OID.Equal(oidExtCRLDistr):
			c.CRLURLs = httpNames(e.Value)
		case e.OID.Equal(oidExtAIA):
			c.parseAIA(e.Value)
		case e.OID.Equal(oidExtOCSPNoCheck):
			c.OCSPNoCheck = true
		case e.OID.Equal(oidExtPolicies), e.OID.Equal(oidExtSubjectAlt), e.OID.Equal(oidExtIssuerAlt), e.OID.Equal(oidExtQCStatements):
			// Understood as far as a path needs it: they narrow nothing without a
			// demand of the caller.
		case e.Critical:
			// Name constraints and policy machinery among them: better undecided
			// than wrongly trusted.
			c.UnhandledCritical = append(c.UnhandledCritical, e.OID)
		}
		if err != nil {
			return fmt.Errorf("extension %s: %w", e.OID, err)
		}
	}
	return nil
}

func parseKeyUsage(b []byte) (int, error) {
	t, err := readWhole(b, tagBitString)
	if err != nil {
		return 0, err
	}
	usage := 0
	if len(t.contents) < 1 {
		return 0, malformed("key usage")
	}
	for i := range 9 {
		if octet := 1 + i/8; octet < len(t.contents) && t.contents[octet]&(0x80>>(i%8)) != 0 {
			usage |= 1 << i
		}
	}
	return usage, nil
}

func parseOIDList(b []byte) ([]asn1.ObjectIdentifier, error) {
	t, err := readWhole(b, tagSequence)
	if err != nil {
		return nil, err
	}
	parts, err := t.members()
	if err != nil {
		return nil, err
	}
	out := make([]asn1.ObjectIdentifier, 0, len(parts))
	for _, p := range parts {
		oid, err := p.oid()
		if err != nil {
			return nil, err
		}
		out = append(out, oid)
	}
	return out, nil
}

func (c *Certificate) parseBasicConstraints(b []byte) error {
	t, err := readWhole(b, tagSequence)
	if err != nil {
		return err
	}
	ca, ok, rest, err := readOptional(t.contents, tagBoolean)
	if err != nil {
		return err
	}
	c.IsCA = ok && len(ca.contents) == 1 && ca.contents[0] != 0
	if len(rest) == 0 {
		return nil
	}
	n, err := readWhole(rest, tagInteger)
	if err != nil || len(n.contents) == 0 || len(n.contents) > 3 || n.contents[0]&0x80 != 0 {
		return malformed("path length")
	}
	c.MaxPathLen = int(new(big.Int).SetBytes(n.contents).Int64())
	return nil
}

// httpNames collects the http URIs (GeneralName [6]) anywhere in an extension.
func httpNames(b []byte) []string {
	var out []string
	var walk func(b []byte, depth int)
	walk = func(b []byte, depth int) {
		for len(b) > 0 && depth < 8 && len(out) < 16 {
			t, rest, err := readTLV(b)
			if err != nil {
				return
			}
			if t.tag == 0x86 && strings.HasPrefix(string(t.contents), "http") {
				out = append(out, string(t.contents))
			} else if t.constructed() {
				walk(t.contents, depth+1)
			}
			b = rest
		}
	}
	walk(b, 0)
	return out
}

func (c *Certificate) parseAIA(b []byte) {
	t, err := readWhole(b, tagSequence)
	if err != nil {
		return
	}
	parts, err := t.members()
	if err != nil {
		return
	}
	for _, p := range parts {
		method, rest, err := readTag(p.contents, tagOID)
		if err != nil {
			return
		}
		oid, err := method.oid()
		switch {
		case err != nil:
			return
		case oid.Equal(oidAIAOCSP):
			c.OCSPURLs = append(c.OCSPURLs, httpNames(rest)...)
		case oid.Equal(oidAIAIssuers):
			c.IssuerURLs = append(c.IssuerURLs, httpNames(rest)...)
		}
	}
}

// PublicKey is the key of the subject; the errors are those of [ParsePublicKey].
func (c *Certificate) PublicKey() (*PublicKey, error) { return c.key() }

// Fingerprint is the SHA-256 of the whole certificate.
func (c *Certificate) Fingerprint() digest.Digest { return c.fp() }

// Subject is the subject's name for people, for example "CN=TSA,O=Stadt".
func (c *Certificate) Subject() string { return NameString(c.RawSubject) }

// Issuer is the issuer's name for people.
func (c *Certificate) Issuer() string { return NameString(c.RawIssuer) }

// ValidAt reports whether t lies in the validity period, both ends included.
func (c *Certificate) ValidAt(t time.Time) bool {
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// SelfIssued reports whether issuer and subject are the same bytes.
func (c *Certificate) SelfIssued() bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// Equal reports whether both are the same bytes.
func (c *Certificate) Equal(o *Certificate) bool { return bytes.Equal(c.Raw, o.Raw) }

// HasExtKeyUsage reports whether the purpose is listed.
func (c *Certificate) HasExtKeyUsage(oid asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc(c.ExtKeyUsage, oid.Equal)
}

// NameString renders an encoded Name (RFC 5280 section 4.1.2.4), or its bytes in
// hexadecimal when it cannot be read.
func NameString(raw []byte) string {
	var rdn pkix.RDNSequence
	if rest, err := asn1.Unmarshal(raw, &rdn); err != nil || len(rest) > 0 {
		return fmt.Sprintf("%x", raw)
	}
	return rdn.String()
}

// CheckSignatureFrom checks that parent's key signed c. Errors wrap
// [ErrSignature], [ErrUnsupported] or [ErrMalformed].
func (c *Certificate) CheckSignatureFrom(parent *Certificate) error {
	return checkSignature(parent, c.SignatureAlgorithm, c.RawTBS, c.Signature)
}

func checkSignature(signer *Certificate, alg AlgorithmIdentifier, signed, signature []byte) error {
	key, err := signer.PublicKey()
	if err != nil {
		return err
	}
	scheme, err := alg.Scheme("")
	if err != nil {
		return err
	}
	return key.Verify(scheme, signed, signature)
}

// maxPEM limits the certificates of one file.
const maxPEM = 10_000

// ParseCertificates reads certificates from PEM (other blocks are skipped) or
// from one DER certificate. At least one must be there. Errors wrap
// [ErrMalformed].
func ParseCertificates(b []byte) ([]*Certificate, error) {
	if len(b) > 0 && b[0] == tagSequence {
		c, err := ParseCertificate(b)
		if err != nil {
			return nil, err
		}
		return []*Certificate{c}, nil
	}
	var out []*Certificate
	for rest := b; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if len(out) == maxPEM {
			return nil, malformed("more than %d certificates", maxPEM)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no certificate", ErrMalformed)
	}
	return out, nil
}
