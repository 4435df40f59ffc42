package cms

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Limits of one search for a path.
const (
	maxPathLength     = 10
	maxLinkChecks     = 128
	maxRememberedLink = 20_000
)

// Errors of [Verifier.Chain].
var (
	// ErrNoAnchors says that the caller gave no anchors: trust is not checked.
	ErrNoAnchors = errors.New("no trust anchors given")
	// ErrNoChain says that no path leads to an anchor with the certificates at
	// hand.
	ErrNoChain = errors.New("no certificate path to a trust anchor")
	// ErrChain says that a path leads to an anchor but a certificate in it must not
	// be used so: outside its validity, not a CA, path too long.
	ErrChain = errors.New("certificate path is not valid")
)

// Verifier builds paths to a fixed set of anchors and remembers which
// certificate signed which, so that a thousand tokens of one TSA cost one check
// of its chain. Safe for concurrent use.
type Verifier struct {
	anchors []*Certificate

	mu    sync.Mutex
	links map[link]error
}

type link struct{ child, parent [32]byte }

// NewVerifier trusts exactly these certificates; they need not be self-signed.
// Anchors are configuration: never the system's pool, never certificates out of
// the evidence itself. Without anchors every path ends in [ErrNoAnchors].
func NewVerifier(anchors []*Certificate) *Verifier {
	return &Verifier{anchors: anchors, links: map[link]error{}}
}

// HasAnchors reports whether trust can be checked at all.
func (v *Verifier) HasAnchors() bool { return len(v.anchors) > 0 }

// Anchors returns the trusted certificates; do not change the slice.
func (v *Verifier) Anchors() []*Certificate { return v.anchors }

func (v *Verifier) signed(child, parent *Certificate) error {
	k := link{[32]byte(child.Fingerprint().Value), [32]byte(parent.Fingerprint().Value)}
	v.mu.Lock()
	err, known := v.links[k]
	v.mu.Unlock()
	if known {
		return err
	}
	err = child.CheckSignatureFrom(parent)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.links) >= maxRememberedLink {
		clear(v.links) // a memory limit, not a correctness matter
	}
	v.links[k] = err
	return err
}

// Chain returns a path from leaf to an anchor, both included, in which every
// certificate but the anchor was valid at the given time (RFC 5280 section 6.1,
// shell model; the anchor's own dates are a matter of configuration). Names are
// compared as bytes. Critical extensions that are not understood, name and
// policy constraints among them, refuse the path. Revocation and purposes are
// asked separately. Errors wrap [ErrNoAnchors], [ErrNoChain] or [ErrChain].
func (v *Verifier) Chain(leaf *Certificate, pool []*Certificate, at time.Time) ([]*Certificate, error) {
	if len(v.anchors) == 0 {
		return nil, ErrNoAnchors
	}
	s := &search{v: v, pool: pool, at: at}
	if path := s.extend([]*Certificate{leaf}); path != nil {
		return path, nil
	}
	if s.reason != nil {
		return nil, s.reason
	}
	return nil, ErrNoChain
}

type search struct {
	v      *Verifier
	pool   []*Certificate
	at     time.Time
	checks int
	reason error // of the first path that reached an anchor but was refused
}

// extend tries to reach an anchor from the last certificate of path.
func (s *search) extend(path []*Certificate) []*Certificate {
	last := path[len(path)-1]
	for _, a := range s.v.anchors {
		if a.Equal(last) {
			return s.accept(path)
		}
	}
	if len(path) == maxPathLength {
		return nil
	}
	for _, a := range s.v.anchors {
		if s.issued(a, last) {
			if found := s.accept(append(path[:len(path):len(path)], a)); found != nil {
				return found
			}
		}
	}
	for _, c := range s.pool {
		if c.SelfIssued() && c.Equal(last) || contains(path, c) || !s.issued(c, last) {
			continue
		}
		if found := s.extend(append(path[:len(path):len(path)], c)); found != nil {
			return found
		}
	}
	return nil
}

func (s *search) issued(parent, child *Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) || s.checks >= maxLinkChecks {
		return false
	}
	s.checks++
	return s.v.signed(child, parent) == nil
}

func contains(path []*Certificate, c *Certificate) bool {
	for _, p := range path {
		if p.Equal(c) {
			return true
		}
	}
	return false
}

// accept applies the rules for each certificate of a complete path.
func (s *search) accept(path []*Certificate) []*Certificate {
	if err := checkPath(path, s.at); err != nil {
		if s.reason == nil {
			s.reason = err
		}
		return nil
	}
	return path
}

func checkPath(path []*Certificate, at time.Time) error {
	below := 0 // certificates below that are not self-issued, without the leaf
	for i, c := range path {
		anchor := i == len(path)-1
		if !c.ValidAt(at) && !(anchor && i > 0) {
			return fmt.Errorf("%w: %s is valid from %s to %s, not at %s", ErrChain, c.Subject(),
				c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339), at.UTC().Format(time.RFC3339))
		}
		if len(c.UnhandledCritical) > 0 && !(anchor && i > 0) {
			return fmt.Errorf("%w: %s has the critical extension %s", ErrChain, c.Subject(), c.UnhandledCritical[0])
		}
		if i == 0 {
			continue
		}
		// An anchor of version 1 has no basicConstraints; it is trusted by choice.
		if !c.IsCA && !(anchor && len(c.Extensions) == 0) {
			return fmt.Errorf("%w: %s is no CA", ErrChain, c.Subject())
		}
		if c.HasKeyUsage && c.KeyUsage&KeyUsageCertSign == 0 {
			return fmt.Errorf("%w: %s may not sign certificates", ErrChain, c.Subject())
		}
		if c.MaxPathLen >= 0 && below > c.MaxPathLen {
			return fmt.Errorf("%w: %s allows %d CAs below it", ErrChain, c.Subject(), c.MaxPathLen)
		}
		if !c.SelfIssued() {
			below++
		}
	}
	return nil
}

// RevocationStatus is what the given material says about one certificate.
type RevocationStatus struct {
	// Result is Pass (good at the time), Fail (revoked) or Indeterminate.
	Result Result
	// Revoked is set when Result is Fail, or when the certificate was revoked
	// after the time asked for; zero otherwise.
	Revoked Revoked
	// IsRevoked reports whether Revoked holds.
	IsRevoked bool
	// Source is "crl" or "ocsp", Detail one line for people.
	Source, Detail string
	// ThisUpdate is of the material that decided.
	ThisUpdate time.Time
	// Raw is that material.
	Raw []byte
}

// RevocationMaterial is what revocation questions are answered from. Parse
// errors in one piece must not hide another, so callers skip what does not
// parse.
type RevocationMaterial struct {
	CRLs  []*CRL
	OCSPs []*OCSP
}

// NewRevocationMaterial parses DER CRLs and OCSP responses; unreadable counts
// those that could not be read.
func NewRevocationMaterial(crls, ocsps [][]byte) (m RevocationMaterial, unreadable int) {
	for _, b := range crls {
		if c, err := ParseCRL(b); err == nil {
			m.CRLs = append(m.CRLs, c)
		} else {
			unreadable++
		}
	}
	for _, b := range ocsps {
		if o, err := ParseOCSP(b); err == nil {
			m.OCSPs = append(m.OCSPs, o)
		} else {
			unreadable++
		}
	}
	return m, unreadable
}

// Revocation answers whether cert, issued by issuer, was revoked at the given
// time, from the material alone (RFC 5280 section 6.3, RFC 6960). Material counts
// when it is signed by the issuer (or its responder) and speaks for the time:
// issued at or after it, or before it with nextUpdate not before it. A
// revocation anywhere outweighs absence elsewhere; the youngest material
// decides otherwise. A certificate revoked later than the time passes with
// IsRevoked set, so that callers can apply rules of their own (RFC 3161
// section 4).
func (v *Verifier) Revocation(cert, issuer *Certificate, at time.Time, m RevocationMaterial) RevocationStatus {
	best := RevocationStatus{Result: Indeterminate, Detail: "no revocation data for " + cert.Subject()}
	consider := func(s RevocationStatus) {
		switch {
		case s.Result == Indeterminate:
			if best.Result == Indeterminate {
				best = s
			}
		case best.IsRevoked && !s.IsRevoked:
		case s.IsRevoked && !best.IsRevoked, best.Result == Indeterminate, s.ThisUpdate.After(best.ThisUpdate):
			best = s
		}
	}
	for _, o := range m.OCSPs {
		for _, single := range o.Responses {
			if single.about(cert, issuer) {
				consider(o.status(single, cert, issuer, at))
			}
		}
	}
	for _, c := range m.CRLs {
		if bytes.Equal(c.RawIssuer, cert.RawIssuer) {
			consider(c.status(cert, issuer, at))
		}
	}
	return best
}

func (o *OCSP) status(single OCSPSingle, cert, issuer *Certificate, at time.Time) RevocationStatus {
	s := RevocationStatus{Result: Indeterminate, Source: "ocsp", ThisUpdate: single.ThisUpdate, Raw: o.Raw}
	if err := o.CheckSignature(issuer); err != nil {
		s.Detail = "OCSP: " + err.Error()
		return s
	}
	switch single.Status {
	case OCSPRevoked:
		return revokedStatus(s, single.Revoked, cert, at)
	case OCSPGood:
		if forgotten(single.ThisUpdate, single.KeepsExpiredSince, cert) {
			s.Detail = "OCSP answer younger than the certificate's end"
			return s
		}
		return freshStatus(s, single.NextUpdate, cert, at)
	default:
		s.Detail = "OCSP responder does not know the certificate"
		return s
	}
}

func (c *CRL) status(cert, issuer *Certificate, at time.Time) RevocationStatus {
	s := RevocationStatus{Result: Indeterminate, Source: "crl", ThisUpdate: c.ThisUpdate, Raw: c.Raw}
	if issuer.HasKeyUsage && issuer.KeyUsage&KeyUsageCRLSign == 0 {
		s.Detail = "issuer may not sign CRLs"
		return s
	}
	if err := checkSignature(issuer, c.SignatureAlgorithm, c.RawTBS, c.Signature); err != nil {
		s.Detail = "CRL: " + err.Error()
		return s
	}
	if c.Indirect {
		s.Detail = "indirect CRL"
		return s
	}
	entry, found, err := c.Lookup(cert.Serial)
	switch {
	case err != nil:
		s.Detail = err.Error()
		return s
	case found && entry.Reason != 8: // removeFromCRL
		return revokedStatus(s, entry, cert, at)
	}
	if why, ok := c.covers(cert); !ok {
		s.Detail = why
		return s
	}
	return freshStatus(s, c.NextUpdate, cert, at)
}

func revokedStatus(s RevocationStatus, r Revoked, cert *Certificate, at time.Time) RevocationStatus {
	s.Revoked, s.IsRevoked = r, true
	s.Detail = fmt.Sprintf("%s was revoked at %s (reason %d)", cert.Subject(), r.At.Format(time.RFC3339), r.Reason)
	s.Result = Fail
	if r.At.After(at) {
		s.Result = Pass
	}
	return s
}

func freshStatus(s RevocationStatus, next time.Time, cert *Certificate, at time.Time) RevocationStatus {
	if s.ThisUpdate.Before(at) && (next.IsZero() || next.Before(at)) {
		s.Detail = fmt.Sprintf("revocation data of %s is too old for %s", s.ThisUpdate.Format(time.RFC3339), at.UTC().Format(time.RFC3339))
		return s
	}
	s.Result, s.Detail = Pass, fmt.Sprintf("%s is not revoked by %s of %s", cert.Subject(), s.Source, s.ThisUpdate.Format(time.RFC3339))
	return s
}
