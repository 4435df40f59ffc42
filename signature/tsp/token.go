package tsp

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
)

// MaxTokenSize limits a token, in bytes. Real ones have 2 to 64 KiB; completed
// with large CRLs they grow to some MiB.
const MaxTokenSize = 32 << 20

// ErrToken says that bytes are not a TimeStampToken of version 1.
var ErrToken = errors.New("not a time-stamp token")

// oidQTST is the qcStatements extension by which a TSA claims to be qualified
// (EN 319 422 section 9).
var oidQTST = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 3}

// Info is the TSTInfo of a token (RFC 3161 section 2.4.2).
type Info struct {
	// Raw is the encoded TSTInfo, the signed content.
	Raw []byte
	// Policy is the TSA's policy.
	Policy asn1.ObjectIdentifier
	// Imprint is what was stamped; RawImprint is the encoded MessageImprint.
	Imprint    digest.Digest
	RawImprint []byte
	// Serial is unique per TSA, up to 160 bits.
	Serial *big.Int
	// GenTime is the time of the stamp in UTC, with fractions if the TSA gave any.
	GenTime time.Time
	// Accuracy is the stated deviation, meaningful with HasAccuracy.
	Accuracy    time.Duration
	HasAccuracy bool
	Ordering    bool
	// Nonce is nil when absent.
	Nonce *big.Int
	// TSA is the encoded GeneralName of the authority, nil when absent.
	TSA        []byte
	Extensions []cms.Extension
}

// ClaimsQualified reports whether the token says of itself that it is qualified;
// only a trusted list can confirm that.
func (i *Info) ClaimsQualified() bool {
	for _, e := range i.Extensions {
		if e.OID.Equal(oidQTST) {
			return true
		}
	}
	return false
}

// Token is a parsed TimeStampToken.
type Token struct {
	// Raw is the ContentInfo as it was given.
	Raw []byte
	// SignedData is the signed message around Info.
	SignedData *cms.SignedData
	Info       Info
}

// Parse reads a TimeStampToken in DER or BER; b is kept and must not change.
// Errors wrap [ErrToken] and, below it, cms.ErrMalformed or
// digest.ErrUnknownAlgorithm.
func Parse(b []byte) (*Token, error) {
	if len(b) > MaxTokenSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrToken, MaxTokenSize)
	}
	sd, err := cms.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if !sd.ContentType.Equal(cms.OIDTSTInfo) || sd.Detached {
		return nil, fmt.Errorf("%w: content is %s", ErrToken, sd.ContentType)
	}
	t := &Token{Raw: sd.Raw, SignedData: sd}
	if t.Info, err = parseInfo(sd.Content); err != nil {
		return nil, fmt.Errorf("%w: TSTInfo: %w", ErrToken, err)
	}
	return t, nil
}

// reader takes elements off a list of members in order.
type reader struct {
	parts []cms.Element
}

func (r *reader) next(tag byte) (cms.Element, error) {
	if len(r.parts) == 0 || r.parts[0].Tag != tag {
		return cms.Element{}, fmt.Errorf("%w: missing element %#02x", cms.ErrMalformed, tag)
	}
	e := r.parts[0]
	r.parts = r.parts[1:]
	return e, nil
}

func (r *reader) optional(tag byte) (cms.Element, bool) {
	if len(r.parts) == 0 || r.parts[0].Tag != tag {
		return cms.Element{}, false
	}
	e := r.parts[0]
	r.parts = r.parts[1:]
	return e, true
}

func (r *reader) end() error {
	if len(r.parts) != 0 {
		return fmt.Errorf("%w: unexpected element %#02x", cms.ErrMalformed, r.parts[0].Tag)
	}
	return nil
}

// sequence reads b as one SEQUENCE with nothing behind it.
func sequence(b []byte) (*reader, error) {
	e, rest, err := cms.ReadElement(b)
	if err != nil {
		return nil, err
	}
	if e.Tag != 0x30 || len(rest) != 0 {
		return nil, fmt.Errorf("%w: not one sequence", cms.ErrMalformed)
	}
	parts, err := e.Members()
	if err != nil {
		return nil, err
	}
	return &reader{parts: parts}, nil
}

func (r *reader) integer() (*big.Int, error) {
	e, err := r.next(0x02)
	if err != nil {
		return nil, err
	}
	return e.Int()
}

func (r *reader) oid() (asn1.ObjectIdentifier, error) {
	e, err := r.next(0x06)
	if err != nil {
		return nil, err
	}
	return e.OID()
}

func (r *reader) imprint() (d digest.Digest, raw []byte, err error) {
	e, err := r.next(0x30)
	if err != nil {
		return d, nil, err
	}
	parts, err := e.Members()
	if err != nil {
		return d, nil, err
	}
	if len(parts) != 2 || parts[0].Tag != 0x30 || parts[1].Tag != 0x04 {
		return d, nil, fmt.Errorf("%w: message imprint", cms.ErrMalformed)
	}
	id, err := parts[0].Algorithm()
	if err != nil {
		return d, nil, err
	}
	alg, err := id.Digest()
	if err != nil {
		return d, nil, err
	}
	d, err = digest.New(alg, parts[1].Contents)
	if err != nil {
		return d, nil, fmt.Errorf("%w: message imprint: %w", cms.ErrMalformed, err)
	}
	return d, e.Raw, nil
}

func isVersion1(v *big.Int) bool { return v.IsInt64() && v.Int64() == 1 }

func parseInfo(b []byte) (Info, error) {
	i := Info{Raw: b}
	r, err := sequence(b)
	if err != nil {
		return i, err
	}
	version, err := r.integer()
	if err != nil {
		return i, err
	}
	if !isVersion1(version) {
		return i, fmt.Errorf("%w: version %s", cms.ErrMalformed, version)
	}
	if i.Policy, err = r.oid(); err != nil {
		return i, err
	}
	if i.Imprint, i.RawImprint, err = r.imprint(); err != nil {
		return i, err
	}
	if i.Serial, err = r.integer(); err != nil {
		return i, err
	}
	t, err := r.next(0x18)
	if err != nil {
		return i, err
	}
	if i.GenTime, err = t.Time(); err != nil {
		return i, err
	}
	if a, ok := r.optional(0x30); ok {
		if i.Accuracy, err = parseAccuracy(a); err != nil {
			return i, err
		}
		i.HasAccuracy = true
	}
	if o, ok := r.optional(0x01); ok {
		i.Ordering = len(o.Contents) == 1 && o.Contents[0] != 0
	}
	if n, ok := r.optional(0x02); ok {
		if i.Nonce, err = n.Int(); err != nil {
			return i, err
		}
	}
	if n, ok := r.optional(0xa0); ok {
		i.TSA = n.Contents
	}
	if x, ok := r.optional(0xa1); ok {
		// [1] IMPLICIT Extensions: the members stand without their own SEQUENCE.
		if i.Extensions, err = cms.ParseExtensions(cms.Encode(0x30, x.Contents)); err != nil {
			return i, err
		}
	}
	return i, r.end()
}

// parseAccuracy reads seconds, [0] millis, [1] micros.
func parseAccuracy(e cms.Element) (time.Duration, error) {
	parts, err := e.Members()
	if err != nil {
		return 0, err
	}
	var d time.Duration
	units := map[byte]time.Duration{0x02: time.Second, 0x80: time.Millisecond, 0x81: time.Microsecond}
	for _, p := range parts {
		unit, ok := units[p.Tag]
		v, err := p.Int()
		if err != nil {
			return 0, err
		}
		// A year is beyond any accuracy and far from overflow.
		if !ok || v.Sign() < 0 || v.Cmp(big.NewInt(366*24*3600)) > 0 {
			return 0, fmt.Errorf("%w: accuracy", cms.ErrMalformed)
		}
		d += time.Duration(v.Int64()) * unit
	}
	return d, nil
}

// Signer returns the certificate of the token's only signer, from the token or
// from extra; nil when it is not there or there is not exactly one signer.
func (t *Token) Signer(extra ...*cms.Certificate) *cms.Certificate {
	if len(t.SignedData.Signers) != 1 {
		return nil
	}
	return t.SignedData.SignerCertificate(t.SignedData.Signers[0], extra...)
}

// CompleteWithRevocation returns the token with CRLs, and with ocspInside also
// OCSP responses, put into the crls field of its SignedData. That field is not
// signed; all signed bytes stay as they are. Without ocspInside the OCSP
// responses are left to the caller, because OpenSSL refuses tokens that hold
// them. What is inside already is not doubled, so completing twice is harmless.
func CompleteWithRevocation(token []byte, crls, ocsps [][]byte, ocspInside bool) ([]byte, error) {
	sd, err := cms.Parse(token)
	if err != nil {
		return nil, fmt.Errorf("complete token: %w", err)
	}
	if !ocspInside {
		ocsps = nil
	}
	if len(crls)+len(ocsps) == 0 {
		return token, nil
	}
	out, err := sd.WithRevocation(crls, ocsps)
	if err != nil {
		return nil, fmt.Errorf("complete token: %w", err)
	}
	return out, nil
}

// StripCRLs returns the token without the unsigned crls field, for readers that
// know no OCSP there. The result proves the same; its hash differs, so it never
// takes the place of the original in a record.
func StripCRLs(token []byte) ([]byte, error) {
	sd, err := cms.Parse(token)
	if err != nil {
		return nil, fmt.Errorf("strip token: %w", err)
	}
	return sd.WithoutRevocation()
}

// Normalise returns the token in DER and whether that changed it. What a TSA
// sends is re-encoded at most once, on arrival, and only when it is not DER; the
// caller verifies the result again and keeps that form alone (RFC 4998
// section 5.2 hashes DER).
func Normalise(token []byte) (der []byte, changed bool, err error) {
	if cms.IsDER(token) {
		return token, false, nil
	}
	der, err = cms.ToDER(token)
	if err != nil {
		return nil, false, fmt.Errorf("normalise token: %w", err)
	}
	return der, true, nil
}
