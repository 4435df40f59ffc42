package ers_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/hashtree"
	"evb/signature/tsatest"
)

// at2026 is the time at which tests verify unless they say otherwise.
var at2026 = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func day(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 9, 0, 0, 0, time.UTC) }

func object(name string, b []byte) ers.Object {
	return ers.Object{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// stock is a small archive: groups of documents with their records.
type stock struct {
	t       testing.TB
	tsa     *tsatest.Authority
	alg     digest.Algorithm
	groups  [][][]byte // group, member, bytes
	records []*ers.EvidenceRecord
}

// sealed makes groups of the given sizes and seals them in one tree.
func sealed(t testing.TB, tsa *tsatest.Authority, alg digest.Algorithm, at time.Time, sizes ...int) *stock {
	t.Helper()
	s := &stock{t: t, tsa: tsa, alg: alg}
	for g, n := range sizes {
		var members [][]byte
		for m := range n {
			members = append(members, fmt.Appendf(nil, "Gruppe %d, Datei %d", g, m))
		}
		s.groups = append(s.groups, members)
	}
	var firsts [][][]byte
	for _, g := range s.groups {
		firsts = append(firsts, sums(alg, g))
	}
	s.each(alg, firsts, at, func(i int, ts ers.ArchiveTimestamp) *ers.EvidenceRecord {
		return must(ers.New(ts))(t)
	})
	return s
}

func sums(alg digest.Algorithm, docs [][]byte) [][]byte {
	var out [][]byte
	for _, d := range docs {
		out = append(out, digest.Of(alg, d).Value)
	}
	return out
}

// must returns a value that cannot fail in this test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// each seals one group of values per record in one tree and puts what build gives
// in the place of the record.
func (s *stock) each(alg digest.Algorithm, firsts [][][]byte, at time.Time, build func(int, ers.ArchiveTimestamp) *ers.EvidenceRecord) {
	s.t.Helper()
	var leaves [][]byte
	for _, f := range firsts {
		leaves = append(leaves, must(hashtree.Group(alg, f))(s.t))
	}
	tree := must(hashtree.Build(alg, leaves, 2))(s.t)
	token := s.tsa.Stamp(s.t, digest.Digest{Algorithm: alg, Value: tree.Root()}, at)
	records := make([]*ers.EvidenceRecord, len(firsts))
	for i := range firsts {
		lists := must(tree.Reduced(i, firsts[i]))(s.t)
		records[i] = build(i, must(ers.NewTimestamp(alg, lists, token))(s.t))
	}
	s.records = records
}

// renewTimestamp renews all records with one token.
func (s *stock) renewTimestamp(at time.Time) {
	s.t.Helper()
	r := ers.NewTimestampRenewal(s.alg)
	for _, er := range s.records {
		r.Add(er.Newest().Token)
	}
	root := must(r.Root())(s.t)
	token := s.tsa.Stamp(s.t, digest.Digest{Algorithm: s.alg, Value: root}, at)
	for i, er := range s.records {
		ts := must(r.Timestamp(er.Newest().Token, token))(s.t)
		s.records[i] = must(er.RenewTimestamp(ts))(s.t)
	}
}

// renewHashTree renews all records to alg with one token.
func (s *stock) renewHashTree(alg digest.Algorithm, at time.Time) {
	s.t.Helper()
	var firsts [][][]byte
	for i, er := range s.records {
		firsts = append(firsts, must(er.RehashLeaves(alg, sums(alg, s.groups[i])))(s.t))
	}
	old := s.records
	s.each(alg, firsts, at, func(i int, ts ers.ArchiveTimestamp) *ers.EvidenceRecord {
		return must(old[i].RenewHashTree(ts, sums(alg, s.groups[i])))(s.t)
	})
	s.alg = alg
}

// objects are the members of group i.
func (s *stock) objects(i int) []ers.Object {
	var out []ers.Object
	for m, b := range s.groups[i] {
		out = append(out, object(fmt.Sprintf("g%d-%d", i, m), b))
	}
	return out
}

func (s *stock) options() ers.Options {
	return ers.Options{Group: true, Anchors: []*cms.Certificate{s.tsa.CA}, At: at2026}
}

// wantValid verifies every record as a group.
func (s *stock) wantValid(opts ers.Options) {
	s.t.Helper()
	v := ers.NewVerifier(opts)
	for i, er := range s.records {
		if r := v.Verify(s.t.Context(), er.Raw, s.objects(i)); r.Verdict != ers.Valid {
			s.t.Errorf("record %d: %s: %+v", i, r.Verdict, r.Failed())
		}
	}
}
