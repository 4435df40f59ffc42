package tsp

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
)

// The names of the checks of [Verify], in the order in which they are answered.
const (
	CheckFormat             = "format"              // a TimeStampToken with exactly one signer
	CheckImprint            = "imprint"             // stamps the digest that was sent
	CheckNonce              = "nonce"               // is the answer to this request
	CheckPolicy             = "policy"              // under an accepted policy
	CheckSignerCertificate  = "signer-certificate"  // the signer's certificate is at hand
	CheckSignature          = "signature"           // message digest and signature value
	CheckSigningCertificate = "signing-certificate" // the signed attribute names that certificate
	CheckPurpose            = "purpose"             // for time-stamping alone, critically
	CheckValidity           = "validity"            // the certificate was valid at genTime
	CheckClock              = "clock"               // genTime agrees with the own clock
	CheckAlgorithms         = "algorithms"          // suitable by the given list
	CheckPath               = "path"                // certificate path to a given anchor
	CheckRevocation         = "revocation"          // nothing on the path was revoked at genTime
)

// ErrInvalid says that a token did not pass every check it was asked.
var ErrInvalid = errors.New("time-stamp token does not verify")

// VerifyOptions say what a token is asked. The zero value asks only what needs
// no knowledge beyond the token: format, signature, signing certificate, purpose
// and validity at genTime. Slices must not be changed while in use.
type VerifyOptions struct {
	// Imprint is the digest that must have been stamped; zero: not asked.
	Imprint digest.Digest
	// Nonce is that of the request; nil: not asked.
	Nonce *big.Int
	// Policies are the accepted ones; empty: not asked.
	Policies []asn1.ObjectIdentifier
	// Certificates are helpers beside those inside the token, never anchors.
	Certificates []*cms.Certificate
	// Now and MaxSkew: genTime must not differ from Now by more than MaxSkew and
	// the token's own accuracy. A zero Now: not asked.
	Now     time.Time
	MaxSkew time.Duration
	// Algorithms judges the hash of the imprint and the signature at genTime;
	// nil: not asked.
	Algorithms *digest.Policy
	// Anchors builds the path; nil or without anchors: trust is not asked.
	Anchors *cms.Verifier
	// Revocation asks with the given material and that inside the token whether
	// a certificate of the path was revoked at genTime; nil: not asked. It needs
	// a path.
	Revocation *cms.RevocationMaterial
}

// Verification is what [Verify] found.
type Verification struct {
	// Token is nil when it could not be read.
	Token *Token
	// Signer is the authority's certificate, nil when it is not at hand.
	Signer *cms.Certificate
	// Path leads from Signer to an anchor, nil when none was found or asked for.
	Path []*cms.Certificate
	// Checks are all questions that were asked, in order.
	Checks []cms.Check
}

// Result is the worst answer of all checks.
func (v *Verification) Result() cms.Result { return cms.Worst(v.Checks) }

// Err is nil when every check passed, else an error that wraps ErrInvalid and
// names the first check that failed, or the first undecided one.
func (v *Verification) Err() error {
	for _, want := range []cms.Result{cms.Fail, cms.Indeterminate} {
		for _, c := range v.Checks {
			if c.Result == want {
				return fmt.Errorf("%w: %s (%s): %s", ErrInvalid, c.Name, c.Clause, c.Detail)
			}
		}
	}
	return nil
}

func (v *Verification) add(name, clause string, result cms.Result, detail string) {
	v.Checks = append(v.Checks, cms.Check{Name: name, Clause: clause, Result: result, Detail: detail})
}

// answer adds a pass for a nil error; for others fail, or indeterminate when the
// algorithm cannot be computed here.
func (v *Verification) answer(name, clause string, err error, pass string) {
	switch {
	case err == nil:
		v.add(name, clause, cms.Pass, pass)
	case Undecided(err):
		v.add(name, clause, cms.Indeterminate, err.Error())
	default:
		v.add(name, clause, cms.Fail, err.Error())
	}
}

// Undecided reports whether an error of a signature check means that it could
// not be computed, which is no proof against the token.
func Undecided(err error) bool {
	return errors.Is(err, cms.ErrUnsupported) || errors.Is(err, digest.ErrUnknownAlgorithm)
}

// Verify asks a token everything in o, in the order of RFC 3161 section 2.2 and
// with one check for each question. It never fails: what cannot be read is the
// check format. It decides nothing by itself: no anchors means that the path is
// not asked for, and the caller says which answers he needs.
func Verify(token []byte, o VerifyOptions) *Verification {
	v := &Verification{}
	t, err := Parse(token)
	if err == nil && len(t.SignedData.Signers) != 1 {
		err = fmt.Errorf("%d signers instead of one", len(t.SignedData.Signers))
	}
	if err != nil {
		v.answer(CheckFormat, "RFC 3161 2.4.2", err, "")
		return v
	}
	v.Token = t
	v.add(CheckFormat, "RFC 3161 2.4.2", cms.Pass, "")
	v.request(o)
	if v.Signer = t.Signer(o.Certificates...); v.Signer == nil {
		v.add(CheckSignerCertificate, "RFC 3161 2.4.2", cms.Indeterminate, "the signer's certificate is neither in the token nor given")
		return v
	}
	v.add(CheckSignerCertificate, "RFC 3161 2.4.2", cms.Pass, v.Signer.Subject())
	v.answer(CheckSignature, "RFC 5652 5.4", t.CheckSignature(v.Signer), "")
	v.signingCertificate()
	v.answer(CheckPurpose, "RFC 3161 2.3", CheckTimeStampingPurpose(v.Signer), "")
	v.validity()
	v.clock(o)
	v.algorithms(o)
	v.trust(o)
	return v
}

// request compares the token with what was sent.
func (v *Verification) request(o VerifyOptions) {
	info := &v.Token.Info
	if !o.Imprint.IsZero() {
		var err error
		if !info.Imprint.Equal(o.Imprint) {
			err = fmt.Errorf("stamps %s instead of %s", info.Imprint, o.Imprint)
		}
		v.answer(CheckImprint, "RFC 3161 2.4.2", err, "")
	}
	if o.Nonce != nil {
		var err error
		switch {
		case info.Nonce == nil:
			err = errors.New("the token has no nonce")
		case info.Nonce.Cmp(o.Nonce) != 0:
			err = errors.New("the nonce is not that of the request: an answer to another one, or an old one")
		}
		v.answer(CheckNonce, "RFC 3161 2.4.2", err, "")
	}
	if len(o.Policies) > 0 {
		var err error
		if !slices.ContainsFunc(o.Policies, info.Policy.Equal) {
			err = fmt.Errorf("policy %s is not accepted", info.Policy)
		}
		v.answer(CheckPolicy, "RFC 3161 2.4.2", err, info.Policy.String())
	}
}

// CheckSignature checks message digest and signature value of the token's only
// signer by the given certificate: bytes and mathematics. Errors are those of
// cms.SignedData.VerifySigner.
func (t *Token) CheckSignature(cert *cms.Certificate) error {
	if len(t.SignedData.Signers) != 1 {
		return fmt.Errorf("%w: %d signers", ErrToken, len(t.SignedData.Signers))
	}
	return t.SignedData.VerifySigner(t.SignedData.Signers[0], cert, nil)
}

// CheckSigningCertificate checks that the signed attribute signingCertificate or
// signingCertificateV2 names cert, and returns its version. Errors are those of
// cms.SignerInfo.SigningCertificate.
func (t *Token) CheckSigningCertificate(cert *cms.Certificate) (version int, err error) {
	if len(t.SignedData.Signers) != 1 {
		return 0, fmt.Errorf("%w: %d signers", ErrToken, len(t.SignedData.Signers))
	}
	return t.SignedData.Signers[0].SigningCertificate(cert)
}

// signingCertificate demands version 2: what is asked here is a new token. Old
// ones with the SHA-1 attribute of RFC 2634 are a matter of evidence records.
func (v *Verification) signingCertificate() {
	version, err := v.Token.CheckSigningCertificate(v.Signer)
	if err == nil && version < 2 {
		err = errors.New("names its certificate by SHA-1 alone (signingCertificate version 1)")
	}
	v.answer(CheckSigningCertificate, "RFC 5816 2.2.1", err, "")
}

// ErrPurpose says that a certificate is not one of a time-stamping authority.
var ErrPurpose = errors.New("the certificate is not for time-stamping alone, critically")

// CheckTimeStampingPurpose checks that the extended key usage of cert is
// critical and id-kp-timeStamping alone (RFC 3161 section 2.3), and that a key
// usage, where there is one, is for signatures. Else the error is ErrPurpose.
func CheckTimeStampingPurpose(cert *cms.Certificate) error {
	const signs = cms.KeyUsageDigitalSignature | cms.KeyUsageContentCommitment
	if !cert.HasExtKeyUsage(cms.OIDTimeStamping) || len(cert.ExtKeyUsage) != 1 || !cert.ExtKeyUsageCritical ||
		cert.HasKeyUsage && cert.KeyUsage&signs == 0 {
		return ErrPurpose
	}
	return nil
}

func (v *Verification) validity() {
	c, at := v.Signer, v.Token.Info.GenTime
	var err error
	if !c.ValidAt(at) {
		err = fmt.Errorf("the certificate is valid from %s to %s, the time-stamp is of %s", utc(c.NotBefore), utc(c.NotAfter), utc(at))
	}
	v.answer(CheckValidity, "RFC 3161 4", err, "until "+utc(c.NotAfter))
}

func (v *Verification) clock(o VerifyOptions) {
	if o.Now.IsZero() {
		return
	}
	gen := v.Token.Info.GenTime
	off, allowed := gen.Sub(o.Now), o.MaxSkew+v.Token.Info.Accuracy
	var err error
	if off.Abs() > allowed {
		err = fmt.Errorf("genTime %s differs from the own clock %s by %s, more than %s", utc(gen), utc(o.Now), off.Round(time.Millisecond), allowed)
	}
	v.answer(CheckClock, "RFC 3161 2.2", err, fmt.Sprintf("off by %s", off.Round(time.Millisecond)))
}

func (v *Verification) algorithms(o VerifyOptions) {
	if o.Algorithms == nil {
		return
	}
	info := &v.Token.Info
	judge := func(s digest.Suitability) {
		result := map[digest.State]cms.Result{digest.Suitable: cms.Pass, digest.Unfit: cms.Fail}[s.State]
		if result == "" {
			result = cms.Indeterminate
		}
		v.add(CheckAlgorithms, "RFC 4998 4.3", result, s.String())
	}
	judge(o.Algorithms.Hash(info.Imprint.Algorithm, info.GenTime))
	key, err := v.Signer.PublicKey()
	if err == nil {
		var scheme cms.SignatureScheme
		if scheme, err = v.Token.SignedData.Signers[0].Scheme(); err == nil {
			judge(o.Algorithms.Signature(scheme.Scheme, key.Bits, key.CurveName(), scheme.Hash, info.GenTime))
			return
		}
	}
	v.answer(CheckAlgorithms, "RFC 4998 4.3", err, "")
}

// trust builds the path to an anchor and asks for revocations on it.
func (v *Verification) trust(o VerifyOptions) {
	if o.Anchors == nil || !o.Anchors.HasAnchors() {
		return
	}
	data, at := v.Token.SignedData, v.Token.Info.GenTime
	pool := append(slices.Clone(data.Certificates), o.Certificates...)
	path, err := o.Anchors.Chain(v.Signer, pool, at)
	if err != nil {
		v.answer(CheckPath, "RFC 5280 6.1", err, "")
		return
	}
	v.Path = path
	v.add(CheckPath, "RFC 5280 6.1", cms.Pass, path[len(path)-1].Subject())
	if o.Revocation == nil {
		return
	}
	material, _ := cms.NewRevocationMaterial(data.CRLs, data.OCSPs)
	material.CRLs = append(material.CRLs, o.Revocation.CRLs...)
	material.OCSPs = append(material.OCSPs, o.Revocation.OCSPs...)
	for i, c := range path[:len(path)-1] {
		s := o.Anchors.Revocation(c, path[i+1], at, material)
		if s.Result == cms.Indeterminate && c.OCSPNoCheck {
			s.Result, s.Detail = cms.Pass, c.Subject()+" needs no revocation check (ocsp-nocheck)"
		}
		v.add(CheckRevocation, "RFC 3161 4", s.Result, s.Detail)
	}
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
