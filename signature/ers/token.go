package ers

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/tsp"
)

// token is a time-stamp token with everything about it that does not depend on
// the record it stands in.
type token struct {
	raw      []byte
	err      error // not readable as a token; then nothing else is set
	imprint  digest.Digest
	genTime  time.Time
	signer   string
	scheme   string
	notAfter time.Time

	parsed *tsp.Token
	data   *cms.SignedData
	cert   *cms.Certificate // nil when it is nowhere
	sig    outcome          // the signature, by mathematics alone

	// For the policy.
	key      *cms.PublicKey
	sigAlg   cms.SignatureScheme
	sigKnown bool

	once sync.Once
	der  []byte // re-encoded, nil when that changes nothing

	mu    sync.Mutex
	trust map[int64]trustAnswer // by the time of the next token, Unix seconds
}

// errTokenType: a time-stamp of another kind than RFC 3161 (RFC 6283 section
// 3.1.2 allows it).
var errTokenType = errors.New("not a token of RFC 3161")

// outcome is the result of a question with its sentence.
type outcome struct {
	result Outcome
	text   Text
}

func (v *Verifier) newToken(der []byte) *token {
	t := &token{raw: bytes.Clone(der)}
	parsed, err := tsp.Parse(t.raw)
	if err != nil {
		t.err = err
		return t
	}
	t.parsed, t.imprint, t.genTime, t.data = parsed, parsed.Info.Imprint, parsed.Info.GenTime, parsed.SignedData
	if len(t.data.Signers) != 1 {
		t.err = fmt.Errorf("%d signers instead of one", len(t.data.Signers))
		return t
	}
	si := t.data.Signers[0]
	t.cert = parsed.Signer(v.opts.Certificates...)
	if t.cert == nil {
		t.sig = outcome{Undecided, Text{
			DE: "das Zertifikat des Zeitstempeldienstes fehlt", EN: "the certificate of the authority is missing",
		}}
		return t
	}
	t.signer, t.notAfter = t.cert.Subject(), t.cert.NotAfter
	t.describeKey(si)
	t.sig = t.checkSignature()
	return t
}

// describeKey notes what the list of suitable algorithms will be asked.
func (t *token) describeKey(si *cms.SignerInfo) {
	key, err := t.cert.PublicKey()
	if err != nil {
		return
	}
	alg, err := si.Digest()
	if err != nil {
		return
	}
	scheme, err := si.SignatureAlgorithm.Scheme(alg)
	if err != nil {
		return
	}
	t.key, t.sigAlg, t.sigKnown = key, scheme, true
	t.scheme = fmt.Sprintf("%s %d %s", scheme.Scheme, key.Bits, scheme.Hash)
	if c := key.CurveName(); c != "" {
		t.scheme = fmt.Sprintf("%s %s %s", scheme.Scheme, c, scheme.Hash)
	}
}

// checkSignature is bytes and mathematics: content type, message digest,
// signature value, and that the signed attributes name the certificate.
func (t *token) checkSignature() outcome {
	if err := t.parsed.CheckSignature(t.cert); err != nil {
		return outcome{failOrUndecided(err), cmsText(err)}
	}
	// Old tokens name their certificate by SHA-1; here any version will do.
	if _, err := t.parsed.CheckSigningCertificate(t.cert); err != nil {
		return outcome{failOrUndecided(err), cmsText(err)}
	}
	return outcome{Pass, Text{DE: "die Signatur stimmt (" + t.scheme + ")", EN: "the signature holds (" + t.scheme + ")"}}
}

func failOrUndecided(err error) Outcome {
	if tsp.Undecided(err) {
		return Undecided
	}
	return Fail
}

// cmsText puts an error of package cms into both languages.
func cmsText(err error) Text {
	for _, m := range []struct {
		is error
		de string
	}{
		{cms.ErrDigest, "der signierte Hashwert passt nicht zum Inhalt"},
		{cms.ErrAttributeOrder, "die Signatur gilt nur für Attribute, die nicht in DER-Reihenfolge stehen"},
		{cms.ErrSigningCertificate, "das signierte Attribut signingCertificate nennt dieses Zertifikat nicht"},
		{cms.ErrSignature, "der Signaturwert stimmt nicht"},
		{cms.ErrUnsupported, "das Verfahren kann nicht gerechnet werden"},
		{cms.ErrNoChain, "kein Zertifizierungspfad zu einem Vertrauensanker"},
		{cms.ErrChain, "der Zertifizierungspfad ist nicht gültig"},
		{cms.ErrMalformed, "die Struktur ist fehlerhaft"},
	} {
		if errors.Is(err, m.is) {
			return Text{DE: m.de + " (" + err.Error() + ")", EN: err.Error()}
		}
	}
	return Text{DE: err.Error(), EN: err.Error()}
}

// reencoded is the token in DER, or nil when it is DER already or cannot be read
// so. Some products hash that form on renewals.
func (t *token) reencoded() []byte {
	t.once.Do(func() {
		if der, err := cms.ToDER(t.raw); err == nil && !bytes.Equal(der, t.raw) {
			t.der = der
		}
	})
	return t.der
}

// signature reports the token's signature.
func (r *run) signature(c, t int, s *stamp) {
	text := Text{
		DE: "Kette %d, Zeitstempel %d: %v.", EN: "chain %d, time-stamp %d: %v",
	}
	if s.token.sig.result == Pass {
		r.pass(c, t, "", CheckSignature, "RFC 3161 2.4.2", text, c, t, s.token.sig.text)
		return
	}
	r.add(c, t, "", NewCheck(CheckSignature, "RFC 3161 2.4.2", s.token.sig.result, text, c, t, s.token.sig.text))
}

// suitability judges algorithms and certificate of a token at the time of the
// next one, which is the last moment that only this token proves.
func (r *run) suitability(c, t int, s *stamp, next time.Time) {
	pol := r.v.opts.Policy
	if s.alg != "" {
		r.suits(c, t, next, pol.Hash(s.alg, next), "RFC 4998 4.3")
	}
	if s.token.sigKnown {
		k := s.token.key
		r.suits(c, t, next, pol.Signature(s.token.sigAlg.Scheme, k.Bits, k.CurveName(), s.token.sigAlg.Hash, next), "RFC 4998 5.2")
	}
	if s.token.cert == nil {
		r.undecided(c, t, "", CheckTrust, "RFC 3161 4", Text{
			DE: "Kette %d, Zeitstempel %d: Ohne Zertifikat des Zeitstempeldienstes ist Vertrauen nicht prüfbar.",
			EN: "chain %d, time-stamp %d: trust cannot be checked without the authority's certificate",
		}, c, t)
		return
	}
	for _, a := range r.v.trusted(s.token, next) {
		text := Text{DE: "Kette %d, Zeitstempel %d: %v.", EN: "chain %d, time-stamp %d: %v"}
		if a.result == Pass {
			r.pass(c, t, "", a.name, a.clause, text, c, t, a.text)
			continue
		}
		r.add(c, t, "", NewCheck(a.name, a.clause, a.result, text, c, t, a.text))
	}
}

func (r *run) suits(c, t int, at time.Time, s digest.Suitability, clause string) {
	day := at.UTC().Format(time.DateOnly)
	switch s.State {
	case digest.Suitable:
		r.pass(c, t, "", CheckAlgorithm, clause, Text{
			DE: "Kette %d, Zeitstempel %d: %s ist am %s geeignet (Liste %s).",
			EN: "chain %d, time-stamp %d: %s is suitable on %s (list %s)",
		}, c, t, s.Algorithm, day, s.Policy)
	case digest.Unfit:
		since := Text{DE: "", EN: ""}
		if !s.UnfitFrom.IsZero() {
			d := s.UnfitFrom.Format(time.DateOnly)
			since = Text{DE: " seit " + d, EN: " since " + d}
		}
		r.fail(c, t, "", CheckAlgorithm, clause, Text{
			DE: "Kette %d, Zeitstempel %d: %s ist am %s nicht geeignet%v (Liste %s).",
			EN: "chain %d, time-stamp %d: %s is unfit on %s%v (list %s)",
		}, c, t, s.Algorithm, day, since, s.Policy)
	default:
		r.undecided(c, t, "", CheckAlgorithm, clause, Text{
			DE: "Kette %d, Zeitstempel %d: Die Liste %[4]s sagt nichts über %[3]s.",
			EN: "chain %d, time-stamp %d: list %[4]s says nothing about %[3]s",
		}, c, t, s.Algorithm, s.Policy)
	}
}

// trustAnswer are the checks about the certificate of a token.
type trustAnswer []trustCheck

type trustCheck struct {
	name, clause string
	outcome
}

// trusted answers the questions about the certificate, once per token and time.
func (v *Verifier) trusted(t *token, next time.Time) trustAnswer {
	key := next.Unix()
	t.mu.Lock()
	defer t.mu.Unlock()
	if a, ok := t.trust[key]; ok {
		return a
	}
	a := v.judge(t, next)
	if t.trust == nil {
		t.trust = map[int64]trustAnswer{}
	}
	if len(t.trust) < 1024 { // a memory limit; more times mean hostile records
		t.trust[key] = a
	}
	return a
}

func (v *Verifier) judge(t *token, next time.Time) trustAnswer {
	var a trustAnswer
	say := func(name, clause string, result Outcome, text Text) {
		a = append(a, trustCheck{name, clause, outcome{result, text}})
	}
	c := t.cert
	// RFC 3161 section 2.3: extendedKeyUsage critical and timeStamping alone.
	if tsp.CheckTimeStampingPurpose(c) != nil {
		say(CheckTrust, "RFC 3161 2.3", Fail, Text{
			DE: "das Zertifikat ist nicht allein und kritisch für Zeitstempel bestimmt",
			EN: "the certificate is not for time-stamping alone, critically",
		})
	}
	if !c.ValidAt(t.genTime) {
		say(CheckTrust, "RFC 3161 4", Fail, Text{
			DE: fmt.Sprintf("das Zertifikat gilt von %s bis %s, nicht zur Zeit des Zeitstempels", stampTime(c.NotBefore), stampTime(c.NotAfter)),
			EN: fmt.Sprintf("the certificate is valid from %s to %s, not at the time of the time-stamp", stampTime(c.NotBefore), stampTime(c.NotAfter)),
		})
	}
	pool := append(slices.Clone(t.data.Certificates), v.opts.Certificates...)
	path, err := v.paths.Chain(c, pool, t.genTime)
	switch {
	case errors.Is(err, cms.ErrNoAnchors):
	case err != nil:
		say(CheckTrust, "RFC 5280 6.1", Fail, cmsText(err))
	default:
		say(CheckTrust, "RFC 5280 6.1", Pass, Text{
			DE: "Zertifizierungspfad zum Vertrauensanker " + path[len(path)-1].Subject(),
			EN: "certificate path to the trust anchor " + path[len(path)-1].Subject(),
		})
		v.revocation(t, path, next, say)
	}
	v.inTime(t, path, pool, next, say)
	return a
}

// inTime checks that the certificates were still valid when the next token was
// made: otherwise the renewal came too late and there is a gap.
func (v *Verifier) inTime(t *token, path, pool []*cms.Certificate, next time.Time, say func(string, string, Outcome, Text)) {
	const clause = "RFC 4998 5.1"
	if next.Before(t.genTime) {
		return // a matter of order, reported there
	}
	late := !t.cert.ValidAt(next)
	if path != nil && !late {
		_, err := v.paths.Chain(t.cert, pool, next)
		late = err != nil
	}
	if late {
		say(CheckRenewal, clause, Fail, Text{
			DE: fmt.Sprintf("am %s, bis wohin nur dieser Zeitstempel beweist, war sein Zertifikat (bis %s) oder eines darüber abgelaufen: Lücke", stampTime(next), stampTime(t.cert.NotAfter)),
			EN: fmt.Sprintf("at %s, up to which only this time-stamp proves, its certificate (until %s) or one above it had expired: a gap", stampTime(next), stampTime(t.cert.NotAfter)),
		})
		return
	}
	say(CheckRenewal, clause, Pass, Text{
		DE: "das Zertifikat galt noch am " + stampTime(next),
		EN: "the certificate was still valid at " + stampTime(next),
	})
}

// revocation asks for each certificate below the anchor whether it was revoked.
func (v *Verifier) revocation(t *token, path []*cms.Certificate, next time.Time, say func(string, string, Outcome, Text)) {
	const clause = "RFC 3161 4"
	inside, _ := cms.NewRevocationMaterial(t.data.CRLs, t.data.OCSPs)
	m := cms.RevocationMaterial{
		CRLs:  append(inside.CRLs, v.given.CRLs...),
		OCSPs: append(inside.OCSPs, v.given.OCSPs...),
	}
	for i, c := range path[:len(path)-1] {
		s := v.paths.Revocation(c, path[i+1], t.genTime, m)
		switch {
		case s.Result == cms.Fail, s.IsRevoked && !s.Revoked.At.After(next) && !harmless(s.Revoked.Reason):
			// RFC 3161 section 4: after a compromise no token counts unless a
			// later one proves that it is older than the revocation.
			say(CheckTrust, clause, Fail, Text{
				DE: fmt.Sprintf("%s wurde am %s gesperrt (Grund %d)", c.Subject(), stampTime(s.Revoked.At), s.Revoked.Reason),
				EN: fmt.Sprintf("%s was revoked at %s (reason %d)", c.Subject(), stampTime(s.Revoked.At), s.Revoked.Reason),
			})
		case s.Result == cms.Pass:
			say(CheckTrust, clause, Pass, Text{
				DE: fmt.Sprintf("%s war nicht gesperrt (%s vom %s)", c.Subject(), s.Source, stampTime(s.ThisUpdate)),
				EN: fmt.Sprintf("%s was not revoked (%s of %s)", c.Subject(), s.Source, stampTime(s.ThisUpdate)),
			})
		case c.OCSPNoCheck || len(c.CRLURLs) == 0 && len(c.OCSPURLs) == 0:
			say(CheckTrust, clause, Pass, Text{
				DE: c.Subject() + " nennt keine Quelle für Sperrungen, Sperrung nicht geprüft",
				EN: c.Subject() + " names no source of revocation data, revocation not checked",
			})
		default:
			say(CheckTrust, clause, Undecided, Text{
				DE: "für " + c.Subject() + " fehlen Sperrinformationen zur Zeit des Zeitstempels (" + s.Detail + ")",
				EN: "revocation data of " + c.Subject() + " at the time of the time-stamp is missing (" + s.Detail + ")",
			})
		}
	}
}

// harmless are the reasons after which earlier tokens stay good: affiliation
// changed, superseded, cessation of operation (RFC 3161 section 4 paragraph 1).
func harmless(reason int) bool { return reason == 3 || reason == 4 || reason == 5 }

func stampTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
