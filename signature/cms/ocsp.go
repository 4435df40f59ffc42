package cms

import (
	"bytes"
	"fmt"
	"math/big"
	"time"

	"evb/signature/digest"
)

// OCSPStatus is the status of one certificate in an OCSP answer.
type OCSPStatus int

// The statuses of RFC 6960 section 2.2.
const (
	OCSPGood OCSPStatus = iota
	OCSPRevoked
	OCSPUnknown
)

// OCSPSingle is the answer about one certificate (RFC 6960 section 4.2.1).
type OCSPSingle struct {
	HashAlgorithm                 digest.Algorithm
	IssuerNameHash, IssuerKeyHash []byte
	Serial                        *big.Int
	Status                        OCSPStatus
	Revoked                       Revoked
	// NextUpdate is zero when absent.
	ThisUpdate, NextUpdate time.Time
	// KeepsExpiredSince is of the archive-cutoff extension (RFC 6960 section
	// 4.4.4), zero when absent.
	KeepsExpiredSince time.Time
}

// OCSP is a BasicOCSPResponse (RFC 6960 section 4.2.1).
type OCSP struct {
	Raw, RawTBS []byte
	// ResponderName (encoded Name) or ResponderKeyHash (SHA-1) is set.
	ResponderName, ResponderKeyHash []byte
	ProducedAt                      time.Time
	Responses                       []OCSPSingle
	SignatureAlgorithm              AlgorithmIdentifier
	Signature                       []byte
	Certificates                    []*Certificate
}

// BasicOCSP returns the BasicOCSPResponse in b, which is one itself or an
// OCSPResponse with status successful. Errors wrap [ErrMalformed].
func BasicOCSP(b []byte) ([]byte, error) {
	t, err := readWhole(b, tagSequence)
	if err != nil {
		return nil, fmt.Errorf("OCSP: %w", err)
	}
	first, rest, err := readTLV(t.contents)
	if err != nil {
		return nil, fmt.Errorf("OCSP: %w", err)
	}
	if first.tag == tagSequence {
		return t.raw, nil
	}
	if first.tag != tagEnumerated || len(first.contents) != 1 || first.contents[0] != 0 {
		return nil, fmt.Errorf("OCSP: %w", malformed("response without success"))
	}
	explicit, err := readWhole(rest, tagContext0)
	if err != nil {
		return nil, fmt.Errorf("OCSP: %w", err)
	}
	body, err := readWhole(explicit.contents, tagSequence)
	if err != nil {
		return nil, fmt.Errorf("OCSP: %w", err)
	}
	id, rest, err := readTag(body.contents, tagOID)
	if err != nil {
		return nil, fmt.Errorf("OCSP: %w", err)
	}
	if oid, err := id.oid(); err != nil || !oid.Equal(OIDOCSPBasic) {
		return nil, fmt.Errorf("OCSP: %w", malformed("response of another type"))
	}
	inner, err := readWhole(rest, tagOctetString)
	if err != nil {
		return nil, fmt.Errorf("OCSP: %w", err)
	}
	return inner.contents, nil
}

// ParseOCSP reads a BasicOCSPResponse or an OCSPResponse; b is kept. Errors wrap
// [ErrMalformed].
func ParseOCSP(b []byte) (*OCSP, error) {
	basic, err := BasicOCSP(b)
	if err != nil {
		return nil, err
	}
	o, err := parseBasicOCSP(basic)
	if err != nil {
		return nil, fmt.Errorf("OCSP: %w", err)
	}
	return o, nil
}

func parseBasicOCSP(b []byte) (*OCSP, error) {
	outer, err := readWhole(b, tagSequence)
	if err != nil {
		return nil, err
	}
	tbs, rest, err := readTag(outer.contents, tagSequence)
	if err != nil {
		return nil, err
	}
	o := &OCSP{Raw: outer.raw, RawTBS: tbs.raw}
	alg, rest, err := readTag(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	if o.SignatureAlgorithm, err = parseAlgorithmIdentifier(alg); err != nil {
		return nil, err
	}
	bits, rest, err := readTag(rest, tagBitString)
	if err != nil {
		return nil, err
	}
	if o.Signature, err = bitStringOctets(bits); err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		if err := o.parseCertificates(rest); err != nil {
			return nil, err
		}
	}
	return o, o.parseData(tbs.contents)
}

func (o *OCSP) parseCertificates(b []byte) error {
	explicit, err := readWhole(b, tagContext0)
	if err != nil {
		return err
	}
	list, err := readWhole(explicit.contents, tagSequence)
	if err != nil {
		return err
	}
	parts, err := list.members()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if c, err := parseCertificate(p.raw); err == nil {
			o.Certificates = append(o.Certificates, c)
		}
	}
	return nil
}

func (o *OCSP) parseData(b []byte) error {
	_, _, b, err := readOptional(b, tagContext0)
	if err != nil {
		return err
	}
	id, b, err := readTLV(b)
	if err != nil {
		return err
	}
	switch id.tag {
	case tagContext1:
		name, err := readWhole(id.contents, tagSequence)
		if err != nil {
			return err
		}
		o.ResponderName = name.raw
	case 0xa2:
		hash, err := readWhole(id.contents, tagOctetString)
		if err != nil {
			return err
		}
		o.ResponderKeyHash = hash.contents
	default:
		return malformed("responder identifier")
	}
	t, b, err := readTLV(b)
	if err != nil {
		return err
	}
	if o.ProducedAt, err = t.time(); err != nil {
		return err
	}
	list, _, err := readTag(b, tagSequence)
	if err != nil {
		return err
	}
	parts, err := list.members()
	if err != nil {
		return err
	}
	for _, p := range parts {
		s, err := parseSingle(p)
		if err != nil {
			return err
		}
		o.Responses = append(o.Responses, s)
	}
	return nil
}

func parseSingle(t tlv) (OCSPSingle, error) {
	var s OCSPSingle
	certID, b, err := readTag(t.contents, tagSequence)
	if err != nil {
		return s, err
	}
	parts, err := certID.members()
	if err != nil || len(parts) != 4 || parts[1].tag != tagOctetString || parts[2].tag != tagOctetString ||
		parts[3].tag != tagInteger || len(parts[3].contents) > 64 {
		return s, malformed("certificate identifier")
	}
	alg, err := parseAlgorithmIdentifier(parts[0])
	if err != nil {
		return s, err
	}
	if s.HashAlgorithm, err = alg.Digest(); err != nil {
		s.HashAlgorithm = "" // an answer about a certificate that cannot be matched
	}
	s.IssuerNameHash, s.IssuerKeyHash, s.Serial = parts[1].contents, parts[2].contents, signedInt(parts[3].contents)
	status, b, err := readTLV(b)
	if err != nil {
		return s, err
	}
	s.Revoked.Reason = -1
	switch status.tag {
	case 0x80:
		s.Status = OCSPGood
	case tagContext1:
		s.Status = OCSPRevoked
		at, rest, err := readTLV(status.contents)
		if err != nil {
			return s, err
		}
		if s.Revoked.At, err = at.time(); err != nil {
			return s, err
		}
		if len(rest) > 0 {
			explicit, err := readWhole(rest, tagContext0)
			if err != nil {
				return s, err
			}
			reason, err := readWhole(explicit.contents, tagEnumerated)
			if err != nil || len(reason.contents) != 1 {
				return s, malformed("revocation reason")
			}
			s.Revoked.Reason = int(reason.contents[0])
		}
	case 0x82:
		s.Status = OCSPUnknown
	default:
		return s, malformed("certificate status")
	}
	at, b, err := readTLV(b)
	if err != nil {
		return s, err
	}
	if s.ThisUpdate, err = at.time(); err != nil {
		return s, err
	}
	explicit, ok, b, err := readOptional(b, tagContext0)
	if err != nil {
		return s, err
	}
	if ok {
		next, rest, err := readTLV(explicit.contents)
		if err != nil || len(rest) != 0 {
			return s, malformed("next update")
		}
		if s.NextUpdate, err = next.time(); err != nil {
			return s, err
		}
	}
	if explicit, ok, _, err = readOptional(b, tagContext1); err != nil || !ok {
		return s, err
	}
	extensions, err := parseExtensions(explicit.contents)
	if err != nil {
		return s, err
	}
	for _, e := range extensions {
		if e.OID.Equal(oidArchiveCutoff) {
			s.KeepsExpiredSince = extensionTime(e)
		}
	}
	return s, nil
}

// about reports whether the answer is about cert as issued by issuer.
func (s OCSPSingle) about(cert, issuer *Certificate) bool {
	if s.HashAlgorithm == "" || !s.HashAlgorithm.Available() || s.Serial.Cmp(cert.Serial) != 0 {
		return false
	}
	keyBits, err := subjectKeyBits(issuer)
	return err == nil && bytes.Equal(s.IssuerNameHash, digest.Of(s.HashAlgorithm, cert.RawIssuer).Value) &&
		bytes.Equal(s.IssuerKeyHash, digest.Of(s.HashAlgorithm, keyBits).Value)
}

// subjectKeyBits is the value of the key's BIT STRING without tag, length and
// unused bits, as OCSP and key identifiers hash it.
func subjectKeyBits(c *Certificate) ([]byte, error) {
	t, err := readWhole(c.RawSPKI, tagSequence)
	if err != nil {
		return nil, err
	}
	_, rest, err := readTag(t.contents, tagSequence)
	if err != nil {
		return nil, err
	}
	bits, err := readWhole(rest, tagBitString)
	if err != nil {
		return nil, err
	}
	return bitStringOctets(bits)
}

// isResponder reports whether c is the responder that the answer names.
func (o *OCSP) isResponder(c *Certificate) bool {
	if o.ResponderName != nil {
		return bytes.Equal(o.ResponderName, c.RawSubject)
	}
	bits, err := subjectKeyBits(c)
	return err == nil && bytes.Equal(o.ResponderKeyHash, digest.Of(digest.SHA1, bits).Value)
}

// CheckSignature checks that the answer is signed by the issuer of the
// certificate in question, or by a responder that the issuer certified with
// id-kp-OCSPSigning and whose certificate was valid when the answer was made
// (RFC 6960 section 4.2.2.2). Errors wrap [ErrSignature], [ErrUnsupported] or
// [ErrMalformed].
func (o *OCSP) CheckSignature(issuer *Certificate) error {
	if o.isResponder(issuer) && checkSignature(issuer, o.SignatureAlgorithm, o.RawTBS, o.Signature) == nil {
		return nil
	}
	err := fmt.Errorf("%w: no authorised OCSP responder", ErrSignature)
	for i, c := range o.Certificates {
		if i == 8 {
			break
		}
		if !o.isResponder(c) || !c.HasExtKeyUsage(OIDOCSPSigning) || !bytes.Equal(c.RawIssuer, issuer.RawSubject) || !c.ValidAt(o.ProducedAt) {
			continue
		}
		if err = c.CheckSignatureFrom(issuer); err != nil {
			continue
		}
		if err = checkSignature(c, o.SignatureAlgorithm, o.RawTBS, o.Signature); err == nil {
			return nil
		}
	}
	return err
}
