package ers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"evb/signature/digest"
	"evb/signature/hashtree"
)

// Object is one data object that a record should cover.
type Object struct {
	// Name stands in the result.
	Name string
	// Digests are known digests of the object, at most one per algorithm.
	Digests []digest.Digest
	// Open gives the bytes, from which all digests the record asks for are
	// computed; digests so computed win over Digests. nil: only Digests count, and
	// a missing one makes the result indeterminate. It is called at most once.
	Open func() (io.ReadCloser, error)
}

// Verify checks one record, RFC 4998 in DER or base64 or RFC 6283 in XML, against
// objects. It never fails: what
// cannot be read is integrity invalid with the check format. With no objects
// covers-data is undecided. Reading of objects stops when ctx ends, which leaves
// the result indeterminate. Safe for concurrent use.
func (v *Verifier) Verify(ctx context.Context, record []byte, objects []Object) *Result {
	if IsXML(record) {
		r, err := ParseXML(record)
		if err != nil {
			return Unreadable(v.opts, err)
		}
		return v.VerifyXML(ctx, r, objects)
	}
	er, err := Parse(record)
	if err != nil {
		return Unreadable(v.opts, err)
	}
	return v.VerifyRecord(ctx, er, objects)
}

// VerifyXML is Verify for a parsed record in XML. Objects that are XML are looked
// for by their canonical form in the method of the chain (RFC 6283 section 4.1.2)
// and by their bytes as they are. Certificates and revocation data of the
// CryptographicInformationList help like those of the options.
func (v *Verifier) VerifyXML(ctx context.Context, x *XMLRecord, objects []Object) *Result {
	s := xmlSyntax{x}
	if opts := s.options(v.opts); len(opts.Certificates) > len(v.opts.Certificates) || len(opts.CRLs) > len(v.opts.CRLs) || len(opts.OCSPs) > len(v.opts.OCSPs) {
		v = NewVerifier(opts)
	}
	return v.verify(ctx, s, objects)
}

// VerifyRecord is Verify for a parsed record.
func (v *Verifier) VerifyRecord(ctx context.Context, er *EvidenceRecord, objects []Object) *Result {
	return v.verify(ctx, asn1Syntax{er}, objects)
}

func (v *Verifier) verify(ctx context.Context, s syntax, objects []Object) *Result {
	r := &run{v: v, syntax: s, common: Valid, result: NewResult(v.opts)}
	r.add(0, 0, "", s.format())
	r.loadTokens()
	r.loadObjects(ctx, objects)
	for c := range r.stamps {
		r.chain(c)
	}
	for _, o := range r.objects {
		res := ObjectResult{Name: o.name, Integrity: o.integrity}
		// What breaks the record itself breaks it for every object.
		res.Integrity = worse(res.Integrity, r.common)
		for _, d := range o.digests {
			res.Digests = append(res.Digests, d)
		}
		slices.SortFunc(res.Digests, func(a, b digest.Digest) int { return cmpString(a.Algorithm, b.Algorithm) })
		r.result.Objects = append(r.result.Objects, res)
	}
	r.result.Conclude()
	return r.result
}

func cmpString[S ~string](a, b S) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// run is the state of one verification.
type run struct {
	v       *Verifier
	syntax  syntax
	result  *Result
	common  Verdict // of all checks that are not about one object
	objects []*object
	stamps  [][]stamp // per chain, per archive time-stamp
	last    time.Time // genTime of the time-stamp before
	lastPos string
}

type object struct {
	name      string
	digests   map[digest.Algorithm]digest.Digest
	canonical []canonicalForm // of XML, for records in XML
	integrity Verdict
	missed    bool // not covered by the first chain
	// unreadable: said once, so the chains stay silent about it.
	unreadable bool
}

// stamp is an archive time-stamp with its token.
type stamp struct {
	ArchiveTimestamp
	token *token
	alg   digest.Algorithm // "" when not computable or not known
}

func worse(a, b Verdict) Verdict {
	switch {
	case a == Invalid || b == Invalid:
		return Invalid
	case a == Indeterminate || b == Indeterminate:
		return Indeterminate
	}
	return Valid
}

// integrityChecks are the names whose outcome decides about integrity.
func decidesIntegrity(name string) bool {
	switch name {
	case CheckFormat, CheckCovers, CheckTree, CheckChain, CheckRehash, CheckSignature, CheckOrder:
		return true
	}
	return false
}

// add records a check and draws its consequences. c and t count from 1.
func (r *run) add(c, t int, object string, check Check) {
	check.Clause = r.syntax.clause(check.Clause)
	check.Chain, check.Timestamp, check.Object = c, t, object
	if decidesIntegrity(check.Name) && check.Result != Pass {
		v := Indeterminate
		if check.Result == Fail {
			v = Invalid
		}
		r.result.Integrity = worse(r.result.Integrity, v)
		if object == "" {
			r.common = worse(r.common, v)
		}
	}
	if check.Name == CheckTrust || check.Name == CheckRenewal {
		// Trust is a word of three: without anchors nobody asked, and what could
		// not be established is not trusted.
		if check.Result != Pass && r.result.Trust == Trusted {
			r.result.Trust = Untrusted
		}
	}
	if check.Result == Pass && r.v.opts.FindingsOnly {
		return
	}
	r.result.Checks = append(r.result.Checks, check)
}

// pass records a check that passed. The sentences are formatted only when they
// are wanted, which is what a verification of a whole stock spends its time on.
func (r *run) pass(c, t int, object, name, clause string, text Text, args ...any) {
	if r.v.opts.FindingsOnly {
		return
	}
	r.add(c, t, object, NewCheck(name, clause, Pass, text, args...))
}

func (r *run) fail(c, t int, object, name, clause string, text Text, args ...any) {
	r.add(c, t, object, NewCheck(name, clause, Fail, text, args...))
}

func (r *run) undecided(c, t int, object, name, clause string, text Text, args ...any) {
	r.add(c, t, object, NewCheck(name, clause, Undecided, text, args...))
}

// loadTokens parses every token and settles the algorithm of every archive
// time-stamp.
func (r *run) loadTokens() {
	for _, chain := range r.syntax.stamps() {
		stamps := make([]stamp, len(chain))
		for j, ts := range chain {
			s := stamp{ArchiveTimestamp: ts}
			if ts.Token == nil {
				s.token = &token{err: errTokenType}
			} else {
				s.token = r.v.token(ts.Token)
			}
			switch {
			case ts.Digest != nil:
				s.alg = ts.Digest.Algorithm
			case s.token.err == nil:
				s.alg = s.token.imprint.Algorithm
			}
			if !s.alg.Available() {
				s.alg = ""
			}
			stamps[j] = s
		}
		r.stamps = append(r.stamps, stamps)
	}
}

// loadObjects gathers for each object the digests that the chains ask for.
func (r *run) loadObjects(ctx context.Context, objects []Object) {
	var algs []digest.Algorithm
	for _, chain := range r.stamps {
		if alg := chain[0].alg; alg != "" && !slices.Contains(algs, alg) {
			algs = append(algs, alg)
		}
	}
	for _, in := range objects {
		o := &object{name: in.Name, integrity: Valid, digests: make(map[digest.Algorithm]digest.Digest, len(algs))}
		for _, d := range in.Digests {
			o.digests[d.Algorithm] = d
		}
		r.objects = append(r.objects, o)
		if in.Open == nil || len(algs) == 0 {
			continue
		}
		sums, err := r.readObject(ctx, o, in.Open, algs)
		if err != nil {
			clear(o.digests)
			o.unreadable = true
			r.objectCheck(0, 0, o, Undecided, CheckCovers, "RFC 4998 4.3", Text{
				DE: "Das Objekt ist nicht lesbar: %v", EN: "the object cannot be read: %v",
			}, err)
			continue
		}
		for _, d := range sums {
			o.digests[d.Algorithm] = d
		}
	}
	if len(objects) == 0 {
		r.undecided(0, 0, "", CheckCovers, "RFC 4998 4.3", Text{
			DE: "Es wurden keine Objekte angegeben.", EN: "no objects were given",
		})
	}
}

// contextReader stops a long copy when the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// objectCheck records a check about one object.
func (r *run) objectCheck(c, t int, o *object, result Outcome, name, clause string, text Text, args ...any) {
	switch result {
	case Pass:
		r.pass(c, t, o.name, name, clause, text, args...)
		return
	case Fail:
		o.integrity = worse(o.integrity, Invalid)
	case Undecided:
		o.integrity = worse(o.integrity, Indeterminate)
	}
	r.add(c, t, o.name, NewCheck(name, clause, result, text, args...))
}

// chain checks all archive time-stamps of chain i.
func (r *run) chain(i int) {
	chain := r.stamps[i]
	for j := range chain {
		s := &chain[j]
		c, t := i+1, j+1
		switch {
		case errors.Is(s.token.err, errTokenType):
			r.undecided(c, t, "", CheckSignature, "RFC 4998 4.1", Text{
				DE: "Kette %d, Zeitstempel %d: Das Token ist keines nach RFC 3161 und kann nicht geprüft werden.",
				EN: "chain %d, time-stamp %d: the token is not of RFC 3161 and cannot be checked",
			}, c, t)
		case s.token.err != nil:
			r.fail(c, t, "", CheckSignature, "RFC 3161 2.4.2", Text{
				DE: "Kette %d, Zeitstempel %d: Das Token ist nicht lesbar: %v",
				EN: "chain %d, time-stamp %d: the token is unreadable: %v",
			}, c, t, s.token.err)
		}
		r.algorithm(c, t, s, &chain[0])
		if s.alg != "" {
			switch {
			case j > 0:
				r.renewed(c, t, s, &chain[j-1])
			case i == 0:
				r.covers(c, t, s, nil, nil)
			default:
				r.rehashed(c, t, s)
			}
			r.tree(c, t, s)
		}
		if s.token.err == nil {
			r.order(c, t, s)
			r.signature(c, t, s)
			r.suitability(c, t, s, r.nextTime(i, j))
		}
		r.describe(c, t, s)
	}
}

// nextTime is the moment at which the next token of the record proves the state
// of this one; for the last token it is the time of the verification.
func (r *run) nextTime(i, j int) time.Time {
	var next *stamp
	switch {
	case j+1 < len(r.stamps[i]):
		next = &r.stamps[i][j+1]
	case i+1 < len(r.stamps):
		next = &r.stamps[i+1][0]
	}
	if next == nil || next.token.err != nil {
		return r.v.opts.At
	}
	return next.token.genTime
}

// algorithm checks that the hash algorithm is known, declared, the same within
// the chain and the same as in the imprint.
func (r *run) algorithm(c, t int, s, first *stamp) {
	var id AlgorithmIdentifier
	switch {
	case s.Digest != nil:
		id = *s.Digest
	case s.token.err == nil:
		id = AlgorithmIdentifier{OID: s.token.imprint.Algorithm.OID(), Algorithm: s.token.imprint.Algorithm}
	default:
		return
	}
	if s.alg == "" {
		r.undecided(c, t, "", CheckTree, "RFC 4998 4.3", Text{
			DE: "Kette %d, Zeitstempel %d: Der Hash-Algorithmus %s kann nicht berechnet werden.",
			EN: "chain %d, time-stamp %d: the hash algorithm %s cannot be computed",
		}, c, t, id)
		return
	}
	if !r.syntax.declared(id) {
		r.fail(c, t, "", CheckFormat, "RFC 4998 3.1", Text{
			DE: "Kette %d, Zeitstempel %d: Der Algorithmus %s fehlt in digestAlgorithms.",
			EN: "chain %d, time-stamp %d: algorithm %s is missing in digestAlgorithms",
		}, c, t, id)
	}
	if s.token.err == nil && s.token.imprint.Algorithm != s.alg {
		r.fail(c, t, "", CheckTree, "RFC 4998 4.1", Text{
			DE: "Kette %d, Zeitstempel %d: Der Zeitstempel nennt %s, der Hashbaum %s.",
			EN: "chain %d, time-stamp %d: the imprint uses %s, the hash tree %s",
		}, c, t, s.token.imprint.Algorithm, s.alg)
	}
	if first.alg != "" && s.alg != first.alg {
		r.fail(c, t, "", CheckChain, "RFC 4998 5.2", Text{
			DE: "Kette %d, Zeitstempel %d: Algorithmus %s in einer Kette über %s.",
			EN: "chain %d, time-stamp %d: algorithm %s within a chain over %s",
		}, c, t, s.alg, first.alg)
	}
}

// firstList is what a value must be in to be covered; without a tree it is what
// the token stamps.
func (s *stamp) firstList() hashtree.List {
	if s.Tree != nil {
		return s.Tree[0]
	}
	if s.token.err != nil {
		return nil
	}
	return hashtree.List{s.token.imprint.Value}
}

func contains(l hashtree.List, v []byte) bool {
	for _, x := range l {
		if bytes.Equal(x, v) {
			return true
		}
	}
	return false
}

// reading is one way to derive what the first list has to hold from an object's
// digest; note is empty for the one of RFC 4998.
type reading struct {
	value func(d []byte) []byte
	note  Text
	// refused readings only improve the message.
	refused bool
}

var plainReading = []reading{{value: func(d []byte) []byte { return d }}}

// covers checks that the first list holds every object and, for a group, nothing
// else (RFC 4998 section 4.3 steps 1 and 2). readings is nil for the first chain.
//
// beside is a value that the list holds beside the objects, nil for none.
func (r *run) covers(c, t int, s *stamp, readings []reading, beside []byte) {
	name, clause := CheckRehash, "RFC 4998 5.3"
	if readings == nil {
		name, clause, readings = CheckCovers, "RFC 4998 4.3", plainReading
	}
	first := s.firstList()
	var matched [][]byte
	if beside != nil {
		matched = append(matched, beside)
	}
	complete := true
	for _, o := range r.objects {
		d, ok := o.digests[s.alg]
		if !ok {
			complete = false
			if !o.unreadable {
				r.objectCheck(c, t, o, Undecided, name, clause, Text{
					DE: "Kette %d, Zeitstempel %d: Für %s fehlt ein Hashwert mit %s.",
					EN: "chain %d, time-stamp %d: no %[4]s digest of %[3]s is known",
				}, c, t, o.name, s.alg)
			}
			continue
		}
		value, how := o.match(r.chainMethod(c), first, d, readings)
		switch {
		case how == nil:
			complete = false
			r.missed(c, t, s, o, name, clause)
			continue
		case how.refused:
			complete = false
			r.objectCheck(c, t, o, Fail, name, clause, Text{
				DE: "Kette %d, Zeitstempel %d: %s wird nicht nach RFC 4998 abgedeckt, sondern " + how.note.DE + ".",
				EN: "chain %d, time-stamp %d: %s is not covered as in RFC 4998 but " + how.note.EN,
			}, c, t, o.name)
			continue
		case how.note.DE != "":
			r.objectCheck(c, t, o, Pass, name, clause, Text{
				DE: "Kette %d, Zeitstempel %d: %s ist abgedeckt, " + how.note.DE + ".",
				EN: "chain %d, time-stamp %d: %s is covered, " + how.note.EN,
			}, c, t, o.name)
		default:
			r.objectCheck(c, t, o, Pass, name, clause, Text{
				DE: "Kette %d, Zeitstempel %d: %s ist abgedeckt.",
				EN: "chain %d, time-stamp %d: %s is covered",
			}, c, t, o.name)
		}
		matched = append(matched, value)
	}
	if r.v.opts.Group && len(r.objects) > 0 && complete {
		r.groupExact(c, t, s, first, matched, name, clause)
	}
	if s.Tree == nil && len(matched) > 1 && complete && distinct(matched) > 1 {
		r.fail(c, t, "", name, clause, Text{
			DE: "Kette %d, Zeitstempel %d: Ohne Hashbaum kann nur ein Objekt abgedeckt sein.",
			EN: "chain %d, time-stamp %d: without a hash tree only one object can be covered",
		}, c, t)
	}
}

// missed reports an object that the first list does not hold. An object that the
// first chain does not hold either was never covered: then that is said, not
// that the renewal is broken.
func (r *run) missed(c, t int, s *stamp, o *object, name, clause string) {
	if name == CheckCovers {
		o.missed = true
	}
	if name == CheckRehash && !o.missed {
		r.objectCheck(c, t, o, Fail, name, clause, Text{
			DE: "Kette %d, Zeitstempel %d: Die Hashbaum-Erneuerung deckt %s mit den Ketten davor nicht ab.",
			EN: "chain %d, time-stamp %d: the hash-tree renewal does not cover %s with the chains before it",
		}, c, t, o.name)
		return
	}
	r.objectCheck(c, t, o, Fail, CheckCovers, clause, Text{
		DE: "Kette %d, Zeitstempel %d: Der Hashwert von %s (%s) steht nicht in der ersten Liste.",
		EN: "chain %d, time-stamp %d: the digest of %s (%s) is not in the first list",
	}, c, t, o.name, s.alg)
}

// groupExact checks that a group's first list holds its members and nothing
// else. Some products write equal members once, which is said.
func (r *run) groupExact(c, t int, s *stamp, first hashtree.List, matched [][]byte, name, clause string) {
	if sameValues(first, matched) {
		r.pass(c, t, "", name, clause, Text{
			DE: "Kette %d, Zeitstempel %d: Die Gruppe ist vollständig, %d Objekte.",
			EN: "chain %d, time-stamp %d: the group is complete, %d objects",
		}, c, t, len(matched))
		return
	}
	if sameValues(unique(first), unique(matched)) {
		r.pass(c, t, "", name, clause, Text{
			DE: "Kette %d, Zeitstempel %d: Die Gruppe ist vollständig, wenn gleiche Hashwerte nur einmal zählen.",
			EN: "chain %d, time-stamp %d: the group is complete when equal digests count once",
		}, c, t)
		return
	}
	r.fail(c, t, "", name, clause, Text{
		DE: "Kette %d, Zeitstempel %d: Die Gruppe hat %d Werte, angegeben sind %d Objekte: Die Gruppe ist nicht vollständig angegeben.",
		EN: "chain %d, time-stamp %d: the group has %d values but %d objects were given: the group is not complete",
	}, c, t, len(first), len(matched))
}

func sameValues(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, bytes.Compare)
	slices.SortFunc(b, bytes.Compare)
	return slices.EqualFunc(a, b, bytes.Equal)
}

func unique(l [][]byte) [][]byte {
	l = slices.Clone(l)
	slices.SortFunc(l, bytes.Compare)
	return slices.CompactFunc(l, bytes.Equal)
}

func distinct(l [][]byte) int { return len(unique(l)) }

// describe adds what a reader of the result wants to know about a time-stamp.
func (r *run) describe(c, t int, s *stamp) {
	if r.v.opts.FindingsOnly {
		return
	}
	info := TimestampInfo{Chain: c, Timestamp: t, Hash: s.alg}
	if s.token.err == nil {
		info.GenTime, info.Signer, info.Signature, info.NotAfter = s.token.genTime, s.token.signer, s.token.scheme, s.token.notAfter
	}
	r.result.Timestamps = append(r.result.Timestamps, info)
}

// position names an archive time-stamp in messages about two of them.
func position(c, t int) string { return fmt.Sprintf("%d.%d", c, t) }
