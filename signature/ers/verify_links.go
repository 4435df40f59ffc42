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
// the time-stamp before it (RFC 4998 section 5.2, RFC 6283 section 4.2.1).
func (r *run) renewed(c, t int, s, before *stamp) {
	first := s.firstList()
	values, err := r.syntax.predecessor(s.alg, before, c-1, t-2)
	if err != nil {
		r.cannot(c, t, CheckChain, "RFC 4998 5.2", err)
		return
	}
	for _, a := range values {
		switch {
		case !contains(first, a.value):
			continue
		case a.note.DE != "":
			r.pass(c, t, "", CheckChain, "RFC 4998 5.2", Text{
				DE: "Kette %d, Zeitstempel %d: deckt den Zeitstempel davor ab, " + a.note.DE + ".",
				EN: "chain %d, time-stamp %d: covers the time-stamp before it, " + a.note.EN,
			}, c, t)
		default:
			r.pass(c, t, "", CheckChain, "RFC 4998 5.2", Text{
				DE: "Kette %d, Zeitstempel %d: deckt den Zeitstempel davor ab.",
				EN: "chain %d, time-stamp %d: covers the time-stamp before it",
			}, c, t)
		}
		return
	}
	r.fail(c, t, "", CheckChain, "RFC 4998 5.2", Text{
		DE: "Kette %d, Zeitstempel %d: Der Hashwert des Zeitstempels davor (%s) steht nicht in der ersten Liste.",
		EN: "chain %d, time-stamp %d: the hash of the time-stamp before it (%s) is not in the first list",
	}, c, t, position(c, t-1))
}

// cannot says that a value could not be computed.
func (r *run) cannot(c, t int, name, clause string, err error) {
	r.undecided(c, t, "", name, clause, Text{
		DE: "Kette %d, Zeitstempel %d: Die kanonische Form kann nicht gebildet werden: %v",
		EN: "chain %d, time-stamp %d: the canonical form cannot be computed: %v",
	}, c, t, err)
}

// rehashed checks the first list of a hash-tree renewal (RFC 4998 section 5.3,
// RFC 6283 section 4.2.2).
func (r *run) rehashed(c, t int, s *stamp) {
	want, err := r.syntax.rehash(r, s.alg, c-1)
	if err != nil {
		r.cannot(c, t, CheckRehash, "RFC 4998 5.3", err)
		return
	}
	if want.sequence == nil {
		r.covers(c, t, s, want.readings, nil)
		return
	}
	for _, a := range want.sequence {
		if !contains(s.firstList(), a.value) {
			continue
		}
		text := Text{
			DE: "Kette %d, Zeitstempel %d: deckt die Ketten davor ab.", EN: "chain %d, time-stamp %d: covers the chains before it",
		}
		if a.note.DE != "" {
			text = Text{
				DE: "Kette %d, Zeitstempel %d: deckt die Ketten davor ab, " + a.note.DE + ".",
				EN: "chain %d, time-stamp %d: covers the chains before it, " + a.note.EN,
			}
		}
		r.pass(c, t, "", CheckRehash, "RFC 4998 5.3", text, c, t)
		r.covers(c, t, s, plainReading, a.value)
		return
	}
	r.fail(c, t, "", CheckRehash, "RFC 4998 5.3", Text{
		DE: "Kette %d, Zeitstempel %d: Der Hashwert der Ketten davor steht nicht in der ersten Liste.",
		EN: "chain %d, time-stamp %d: the hash of the chains before it is not in the first list",
	}, c, t)
	r.covers(c, t, s, plainReading, nil)
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
	for _, w := range r.syntax.rootReadings() {
		if !bytes.Equal(w.root(h, s.Tree), s.token.imprint.Value) {
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

// root computes the root of a reduced hash tree in this reading.
func (w rootReading) root(h hash.Hash, lists []hashtree.List) []byte {
	var at []byte
	var buf [4][]byte
	for _, l := range lists {
		v := append(buf[:0], l...)
		if at != nil {
			v = append(v, at)
		}
		slices.SortFunc(v, bytes.Compare)
		if w.set {
			v = slices.CompactFunc(v, bytes.Equal)
		}
		if len(v) == 1 && !w.again {
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
