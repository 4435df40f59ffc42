package ers

import (
	"bytes"
	"hash"
	"slices"
	"time"

	"evb/signature/digest"
	"evb/signature/hashtree"
)

// renewed checks the first list of a time-stamp renewal: it must hold the hash of
// the timeStamp field before it (RFC 4998 section 5.2). The bytes are hashed as
// they were found; if that does not fit, their DER re-encoding is tried, because
// some products never keep what the authority sent.
func (r *run) renewed(c, t int, s, before *stamp) {
	first := s.firstList()
	if contains(first, TimestampLeaf(s.alg, before.Token)) {
		r.pass(c, t, "", CheckChain, "RFC 4998 5.2", Text{
			DE: "Kette %d, Zeitstempel %d: deckt den Zeitstempel davor ab.",
			EN: "chain %d, time-stamp %d: covers the time-stamp before it",
		}, c, t)
		return
	}
	if der := before.token.reencoded(); der != nil && contains(first, TimestampLeaf(s.alg, der)) {
		r.pass(c, t, "", CheckChain, "RFC 4998 5.2", Text{
			DE: "Kette %d, Zeitstempel %d: deckt den Zeitstempel davor ab, aber nur nach dessen Neukodierung in DER.",
			EN: "chain %d, time-stamp %d: covers the time-stamp before it, but only after its re-encoding in DER",
		}, c, t)
		return
	}
	r.fail(c, t, "", CheckChain, "RFC 4998 5.2", Text{
		DE: "Kette %d, Zeitstempel %d: Der Hashwert des Zeitstempels davor (%s) steht nicht in der ersten Liste.",
		EN: "chain %d, time-stamp %d: the hash of the time-stamp before it (%s) is not in the first list",
	}, c, t, position(c, t-1))
}

// rehashed checks the first list of a hash-tree renewal: it must hold
// H'(H'(d) || H'(ATSC)) for each object (RFC 4998 section 5.3).
func (r *run) rehashed(c, t int, s *stamp) {
	h := s.alg.New()
	sum := func(parts ...[]byte) []byte {
		h.Reset()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	asFound := sum(r.er.sequence(c - 1))
	readings := []reading{{value: func(d []byte) []byte { return sum(d, asFound) }}}
	if der := r.reencodedSequence(c - 1); der != nil {
		again := sum(der)
		readings = append(readings, reading{
			value: func(d []byte) []byte { return sum(d, again) },
			note:  Text{DE: "aber nur nach Neukodierung der Zeitstempel in DER", EN: "but only after re-encoding the time-stamps in DER"},
		})
	}
	readings = append(readings, reading{
		value: func(d []byte) []byte {
			a, b := d, asFound
			if bytes.Compare(a, b) > 0 {
				a, b = b, a
			}
			return sum(a, b)
		},
		note:    Text{DE: "nur mit sortierten Hashwerten von Objekt und Kettenfolge", EN: "only with the hashes of object and sequence sorted"},
		refused: !r.v.opts.AcceptSorted,
	})
	r.covers(c, t, s, readings)
}

// reencodedSequence is the DER of the first n chains with all tokens re-encoded,
// or nil when that changes nothing or is not possible.
func (r *run) reencodedSequence(n int) []byte {
	changed := false
	var chains [][]byte
	for _, chain := range r.stamps[:n] {
		var timestamps [][]byte
		for _, s := range chain {
			der := s.token.reencoded()
			if der == nil {
				timestamps = append(timestamps, s.Raw)
				continue
			}
			changed = true
			body, _, _, err := readDER(s.Raw, tagSequence)
			if err != nil {
				return nil
			}
			timestamps = append(timestamps, appendTLV(nil, tagSequence, body[:len(body)-len(s.Token)], der))
		}
		chains = append(chains, chainOf(timestamps...))
	}
	if !changed {
		return nil
	}
	return appendTLV(nil, tagSequence, chains...)
}

// tree checks that the reduced hash tree leads to the imprint of the token (RFC
// 4998 section 4.3 steps 3 to 5). The second to fourth reading occur in products
// and are named.
func (r *run) tree(c, t int, s *stamp) {
	if s.token.err != nil || s.token.imprint.Algorithm != s.alg {
		return // reported elsewhere
	}
	if s.Tree == nil {
		r.pass(c, t, "", CheckTree, "RFC 4998 4.3", Text{
			DE: "Kette %d, Zeitstempel %d: kein Hashbaum, der Zeitstempel gilt dem Hashwert selbst.",
			EN: "chain %d, time-stamp %d: no hash tree, the token stamps the hash itself",
		}, c, t)
		return
	}
	h := s.alg.New()
	for _, w := range []struct {
		again, set bool
		note       Text
	}{
		{false, false, Text{}},
		{true, false, Text{", eine Liste mit einem Wert wird noch einmal gehasht", ", a list of one value is hashed again"}},
		{false, true, Text{", gleiche Werte einer Liste zählen einmal", ", equal values of a list count once"}},
		{true, true, Text{", gleiche Werte zählen einmal und einzelne werden noch einmal gehasht", ", equal values count once and single ones are hashed again"}},
	} {
		if !bytes.Equal(root(h, s.Tree, w.again, w.set), s.token.imprint.Value) {
			continue
		}
		r.pass(c, t, "", CheckTree, "RFC 4998 4.3", Text{
			DE: "Kette %d, Zeitstempel %d: Der Hashbaum (%d Listen) führt zum gestempelten Wert" + w.note.DE + ".",
			EN: "chain %d, time-stamp %d: the hash tree (%d lists) leads to the stamped value" + w.note.EN,
		}, c, t, len(s.Tree))
		return
	}
	r.fail(c, t, "", CheckTree, "RFC 4998 4.3", Text{
		DE: "Kette %d, Zeitstempel %d: Der Hashbaum führt nicht zum gestempelten Wert.",
		EN: "chain %d, time-stamp %d: the hash tree does not lead to the stamped value",
	}, c, t)
}

// root computes the root of a reduced hash tree. again: a list of one value is
// hashed once more. set: equal values of a list count once.
func root(h hash.Hash, lists []hashtree.List, again, set bool) []byte {
	var at []byte
	var buf [4][]byte
	for _, l := range lists {
		v := append(buf[:0], l...)
		if at != nil {
			v = append(v, at)
		}
		slices.SortFunc(v, bytes.Compare)
		if set {
			v = slices.CompactFunc(v, bytes.Equal)
		}
		if len(v) == 1 && !again {
			at = v[0]
			continue
		}
		h.Reset()
		for _, x := range v {
			h.Write(x)
		}
		at = h.Sum(nil)
	}
	return at
}

// clockSkew is how far the newest genTime may lie after the time of the
// verification: clocks differ.
const clockSkew = 5 * time.Minute

// order checks that genTimes do not decrease over the whole record and do not
// lie after the time of the verification (RFC 4998 section 5.3 step 3).
func (r *run) order(c, t int, s *stamp) {
	gen := s.token.genTime
	before, beforePos := r.last, r.lastPos
	r.last, r.lastPos = gen, position(c, t)
	switch {
	case !before.IsZero() && gen.Before(before):
		r.fail(c, t, "", CheckOrder, "RFC 4998 5.3", Text{
			DE: "Kette %d, Zeitstempel %d: Zeit %s liegt vor der von Zeitstempel %s (%s).",
			EN: "chain %d, time-stamp %d: time %s is before that of time-stamp %s (%s)",
		}, c, t, stampTime(gen), beforePos, stampTime(before))
	case gen.After(r.v.opts.At.Add(clockSkew)):
		r.undecided(c, t, "", CheckOrder, "RFC 4998 5.3", Text{
			DE: "Kette %d, Zeitstempel %d: Zeit %s liegt nach dem Zeitpunkt der Prüfung (%s).",
			EN: "chain %d, time-stamp %d: time %s is after the time of the verification (%s)",
		}, c, t, stampTime(gen), stampTime(r.v.opts.At))
	case !before.IsZero() && gen.Equal(before):
		r.pass(c, t, "", CheckOrder, "RFC 4998 5.3", Text{
			DE: "Kette %d, Zeitstempel %d: Zeit %s, dieselbe Sekunde wie davor.",
			EN: "chain %d, time-stamp %d: time %s, the same second as before",
		}, c, t, stampTime(gen))
	default:
		r.pass(c, t, "", CheckOrder, "RFC 4998 5.3", Text{
			DE: "Kette %d, Zeitstempel %d: Zeit %s.",
			EN: "chain %d, time-stamp %d: time %s",
		}, c, t, stampTime(gen))
	}
}

// usedAlgorithms is every hash algorithm that a record uses, oldest first.
func (er *EvidenceRecord) usedAlgorithms() []digest.Algorithm {
	var out []digest.Algorithm
	for _, c := range er.Chains {
		if alg, err := algorithmOf(c.Timestamps[0]); err == nil && !slices.Contains(out, alg) {
			out = append(out, alg)
		}
	}
	return out
}

// HashAlgorithms returns the hash algorithms of the chains, oldest first: a
// verification needs the digests of the objects in all of them.
func (er *EvidenceRecord) HashAlgorithms() []digest.Algorithm { return er.usedAlgorithms() }
