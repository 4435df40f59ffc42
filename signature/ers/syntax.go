package ers

import (
	"bytes"
	"errors"
	"strings"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/xmldoc"
)

// syntax is what a verification asks of a record: the ASN.1 form of RFC 4998 and
// the XML form of RFC 6283 hash different bytes by the same idea. Chains and
// time-stamps count from 0 here.
type syntax interface {
	// format is the check that passed when the record was read.
	format() Check
	// clause is the clause of this syntax for one of RFC 4998.
	clause(rfc4998 string) string
	// stamps are the archive time-stamps of all chains.
	stamps() [][]ArchiveTimestamp
	// declared says whether the record declares the algorithm that it uses.
	declared(AlgorithmIdentifier) bool
	// predecessor are the values one of which a time-stamp renewal must hold.
	predecessor(alg digest.Algorithm, before *stamp, c, t int) ([]alternative, error)
	// rehash is what a hash-tree renewal that begins chain c must hold.
	rehash(r *run, alg digest.Algorithm, c int) (rehash, error)
	// rootReadings are the ways to compute a root, the one of the syntax first.
	rootReadings() []rootReading
}

// alternative is a value with what its reading is called; the plain one has no
// name.
type alternative struct {
	value []byte
	note  Text
}

// rehash says how objects and earlier chains are in the first list of a renewed
// tree: together in one value per object (readings), or the chains as a value of
// their own (sequence) beside the plain digests.
type rehash struct {
	readings []reading
	sequence []alternative
}

// rootReading is a way to compute the root of a reduced hash tree: again, a list
// of one value is hashed once more; set, equal values of a list count once.
type rootReading struct {
	again, set bool
	note       Text
}

// asn1Syntax is RFC 4998.
type asn1Syntax struct{ er *EvidenceRecord }

func (asn1Syntax) format() Check {
	return NewCheck(CheckFormat, "RFC 4998 3", Pass, Text{DE: "Der Beweissatz ist lesbares DER.", EN: "the evidence record is readable DER"})
}

func (asn1Syntax) clause(s string) string { return s }

func (s asn1Syntax) stamps() [][]ArchiveTimestamp {
	out := make([][]ArchiveTimestamp, len(s.er.Chains))
	for i, c := range s.er.Chains {
		out[i] = c.Timestamps
	}
	return out
}

func (s asn1Syntax) declared(id AlgorithmIdentifier) bool { return declares(s.er.Algorithms, id) }

// predecessor: the bytes of the token are hashed as they were found; if that does
// not fit, their DER re-encoding is tried, because some products never keep what
// the authority sent.
func (asn1Syntax) predecessor(alg digest.Algorithm, before *stamp, _, _ int) ([]alternative, error) {
	out := []alternative{{value: TimestampLeaf(alg, before.Token)}}
	if der := before.token.reencoded(); der != nil {
		out = append(out, alternative{TimestampLeaf(alg, der), Text{DE: "aber nur nach dessen Neukodierung in DER", EN: "but only after its re-encoding in DER"}})
	}
	return out, nil
}

// rehash: H'(H'(d) || H'(ATSC)) for each object (RFC 4998 section 5.3).
func (s asn1Syntax) rehash(r *run, alg digest.Algorithm, c int) (rehash, error) {
	h := alg.New()
	sum := func(parts ...[]byte) []byte {
		h.Reset()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	asFound := sum(s.er.sequence(c))
	readings := []reading{{value: func(d []byte) []byte { return sum(d, asFound) }}}
	if der := r.reencodedSequence(c); der != nil {
		again := sum(der)
		readings = append(readings, reading{
			value: func(d []byte) []byte { return sum(d, again) },
			note:  Text{DE: "aber nur nach Neukodierung der Zeitstempel in DER", EN: "but only after re-encoding the time-stamps in DER"},
		})
	}
	return rehash{readings: append(readings, reading{
		value: func(d []byte) []byte {
			a, b := d, asFound
			if bytes.Compare(a, b) > 0 {
				a, b = b, a
			}
			return sum(a, b)
		},
		note:    Text{DE: "nur mit sortierten Hashwerten von Objekt und Kettenfolge", EN: "only with the hashes of object and sequence sorted"},
		refused: !r.v.opts.AcceptSorted,
	})}, nil
}

func (asn1Syntax) rootReadings() []rootReading {
	return []rootReading{
		{},
		{again: true, note: Text{", eine Liste mit einem Wert wird noch einmal gehasht", ", a list of one value is hashed again"}},
		{set: true, note: Text{", gleiche Werte einer Liste zählen einmal", ", equal values of a list count once"}},
		{again: true, set: true, note: Text{", gleiche Werte zählen einmal und einzelne werden noch einmal gehasht", ", equal values count once and single ones are hashed again"}},
	}
}

// xmlSyntax is RFC 6283.
type xmlSyntax struct{ r *XMLRecord }

func (xmlSyntax) format() Check {
	return NewCheck(CheckFormat, "RFC 6283 2.1", Pass, Text{DE: "Der Beweissatz ist lesbares XML.", EN: "the evidence record is readable XML"})
}

func (xmlSyntax) clause(s string) string {
	switch s {
	case "RFC 4998 3", "RFC 4998 3.1":
		return "RFC 6283 2.1"
	case "RFC 4998 4.1":
		return "RFC 6283 3.1"
	case "RFC 4998 4.3":
		return "RFC 6283 3.3"
	case "RFC 4998 5.1":
		return "RFC 6283 4"
	case "RFC 4998 5.2":
		return "RFC 6283 4.2.1"
	case "RFC 4998 5.3":
		return "RFC 6283 4.2.2"
	}
	return s
}

func (s xmlSyntax) stamps() [][]ArchiveTimestamp {
	out := make([][]ArchiveTimestamp, len(s.r.Chains))
	for i, c := range s.r.Chains {
		id := AlgorithmIdentifier{OID: c.Digest.OID(), Algorithm: c.Digest}
		for _, ts := range c.Timestamps {
			out[i] = append(out[i], ArchiveTimestamp{Digest: &id, Tree: ts.Tree, Token: ts.Token})
		}
	}
	return out
}

func (xmlSyntax) declared(AlgorithmIdentifier) bool { return true }

// errMethod: a canonicalisation that this program does not know.
var errMethod = errors.New("unknown canonicalisation method")

// predecessor: the canonical form of the element TimeStamp (RFC 6283 section
// 4.2.1).
func (s xmlSyntax) predecessor(alg digest.Algorithm, _ *stamp, c, t int) ([]alternative, error) {
	chain := s.r.Chains[c]
	v, err := canonicalDigest(alg, chain, chain.Timestamps[t].element)
	if err != nil {
		return nil, err
	}
	return []alternative{{value: v}}, nil
}

// rehash: the canonical form of the ArchiveTimeStampSequence as it was before
// chain c, in the method of chain c, is a value of the first list beside the
// digests of the objects (RFC 6283 section 4.2.2). White space that came with the
// later chains belongs to no rule: three ways to leave it out are tried.
func (s xmlSyntax) rehash(_ *run, alg digest.Algorithm, c int) (rehash, error) {
	later := map[xmldoc.Node]bool{}
	for _, chain := range s.r.Chains[c:] {
		later[chain.element] = true
	}
	var out rehash
	for _, w := range []struct {
		before, after bool
		note          Text
	}{
		{false, false, Text{}},
		{true, false, Text{DE: "ohne den Leerraum vor den späteren Ketten", EN: "without the white space before the later chains"}},
		{false, true, Text{DE: "ohne den Leerraum nach den späteren Ketten", EN: "without the white space after the later chains"}},
	} {
		gone := map[int]bool{}
		children := s.r.sequence.Children
		for i, n := range children {
			if !later[n] {
				continue
			}
			gone[i] = true
			if w.before && i > 0 && blank(children[i-1]) {
				gone[i-1] = true
			}
			if w.after && i+1 < len(children) && blank(children[i+1]) {
				gone[i+1] = true
			}
		}
		earlier := *s.r.sequence
		earlier.Children = nil
		for i, n := range children {
			if !gone[i] {
				earlier.Children = append(earlier.Children, n)
			}
		}
		v, err := canonicalDigest(alg, s.r.Chains[c], &earlier)
		if err != nil {
			return rehash{}, err
		}
		out.sequence = append(out.sequence, alternative{v, w.note})
	}
	return out, nil
}

func blank(n xmldoc.Node) bool {
	t, ok := n.(xmldoc.Text)
	return ok && strings.Trim(string(t), " \t\r\n") == ""
}

func canonicalDigest(alg digest.Algorithm, c XMLChain, e *xmldoc.Element) ([]byte, error) {
	if !c.Known {
		return nil, errMethod
	}
	h := alg.New()
	if err := c.Method.Element(h, e); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}

// rootReadings: only the first list can hold a single value that is not hashed
// (RFC 6283 section 3.1.1): to every later one the value before it is added.
func (xmlSyntax) rootReadings() []rootReading {
	return []rootReading{
		{},
		{set: true, note: Text{", gleiche Werte einer Liste zählen einmal", ", equal values of a list count once"}},
	}
}

// options are those of the verifier with what the record itself carries.
func (s xmlSyntax) options(o Options) Options {
	for _, c := range s.r.Chains {
		for _, ts := range c.Timestamps {
			for _, der := range ts.Certificates {
				if cert, err := cms.ParseCertificate(der); err == nil {
					o.Certificates = append(o.Certificates[:len(o.Certificates):len(o.Certificates)], cert)
				}
			}
			o.CRLs = append(o.CRLs[:len(o.CRLs):len(o.CRLs)], ts.CRLs...)
			o.OCSPs = append(o.OCSPs[:len(o.OCSPs):len(o.OCSPs)], ts.OCSPs...)
		}
	}
	return o
}
