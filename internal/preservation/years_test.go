package preservation_test

import (
	"bytes"
	"context"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/preservation"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/hashtree"
	"evb/signature/tsatest"
	"evb/signature/tsp"
)

// years plays thirty years: authorities come and go, and an algorithm ends.
type years struct {
	*world
	t      *testing.T
	start  time.Time
	now    *tsatest.Authority // the one in office
	all    []*tsatest.Authority
	policy *digest.Policy
}

// unfit is the year in which SHA-256 is no longer suitable, as hash and in
// signatures.
const unfit = 20

func newYears(t *testing.T) *years {
	t.Helper()
	y := &years{world: &world{World: worldtest.New(t, options)}, t: t}
	y.start = y.Now()
	list := `{"name": "test", "title": "test", "edition": "1", "issued": "2026-01-01", "source": "made for this test", "hashes": [
        {"algorithm": "sha256", "unfit_from": "` + y.start.AddDate(unfit, 0, 0).Format(time.DateOnly) + `"}, {"algorithm": "sha512"}],
      "signatures": [{"scheme": "ecdsa", "min_bits": 256, "curves": ["P-256"]}]}`
	var err error
	y.policy, err = digest.ParsePolicy([]byte(list))
	must(t, err)
	o := preservation.Options{
		Now: y.Now, SealWait: -1, TSA: y, Revocation: y, Policy: y.policy, Rehash: y.Blobs.Rehash, Disposal: y.disposal(), Retention: 50 * 365 * 24 * time.Hour,
	}
	y.p = preservation.New(y.DB, y.Log, y.Akten, y.Store, o)
	return y
}

// at moves the clock on to a year after the start.
func (y *years) at(year int) { y.Pass(y.start.AddDate(year, 0, 0).Sub(y.Now())) }

// office makes an authority whose certificates end in a year the one that stamps.
func (y *years) office(name string, until int, alg digest.Algorithm) {
	y.now = tsatest.New(y.t, tsatest.Options{Name: name, NotBefore: y.Now().AddDate(-1, 0, 0), NotAfter: y.start.AddDate(until, 0, 0), CRLURL: "http://none.invalid/crl", Digest: alg})
	y.all = append(y.all, y.now)
}

// Stamp implements preservation.Stamper.
func (y *years) Stamp(ctx context.Context, d digest.Digest, o tsp.StampOptions) (tsp.StampResult, error) {
	at := tsp.Attempt{URL: "test:" + y.now.Certificate.Subject(), Imprint: d, Nonce: big.NewInt(1)}
	if err := o.Before(ctx, at); err != nil {
		return tsp.StampResult{}, err
	}
	token := y.now.Stamp(y.t, d, y.Now())
	o.After(ctx, at, nil)
	return tsp.StampResult{Token: token, URL: at.URL, Requests: 1}, nil
}

// Revocation implements preservation.RevocationSource.
func (y *years) Revocation(context.Context, []*cms.Certificate, time.Time) (preservation.Revocation, error) {
	return preservation.Revocation{CRLs: [][]byte{y.now.CRL(y.t, y.Now(), time.Time{}, 0)}}, nil
}

func (y *years) verifier() *ers.Verifier {
	var anchors []*cms.Certificate
	for _, a := range y.all {
		anchors = append(anchors, a.CA)
	}
	return ers.NewVerifier(ers.Options{Group: true, Anchors: anchors, At: y.Now(), Policy: y.policy})
}

func TestThirtyYearsLeaveEveryRemainingRecordValid(t *testing.T) {
	y := newYears(t)
	n := 60
	if sharedtest.Prove() {
		n = 10_000
	}
	var docs []uuid.UUID
	fill := func(n int) {
		for range n {
			docs = append(docs, y.letter("x", noise(40)))
		}
		y.sealNow(y.p)
	}
	lose := func() { // a tenth of the first n
		gone := docs[:n/10]
		docs = docs[n/10:]
		y.destroy(y.p, gone...)
	}
	check := func(want ...int) {
		t.Helper()
		ver := y.verifier()
		for _, d := range docs {
			g := y.groups(d)[0]
			y.mustVerify(ver, g)
			if want != nil {
				wantStamps(t, g.Record, want...)
			}
		}
	}
	renew := func(kind preservation.RenewalKind) {
		t.Helper()
		for _, i := range y.renew(y.p, preservation.RenewOrder{Kind: kind}) {
			if i.State != preservation.StateRenewed || i.Late != 0 || i.Missing != 0 {
				t.Fatalf("year of %s: %+v", y.Now(), i)
			}
		}
	}
	y.office("Erste", 6, digest.SHA256)
	fill(n / 2)
	y.at(4)
	fill(n - n/2)
	check(1)
	if st, err := y.p.Status(t.Context(), stadt); err != nil || len(st.Seals) != 1 || st.Seals[0].Due || st.Seals[0].Action != preservation.TimestampRenewal || st.Seals[0].Documents != n {
		t.Fatalf("year 4: %+v, %v", st.Seals, err)
	}
	y.at(5)
	y.Pass(190 * 24 * time.Hour)
	if st, err := y.p.Status(t.Context(), stadt); err != nil || !st.Seals[0].Due || st.Seals[0].Lapsed != "" {
		t.Fatalf("half a year before the end: %+v, %v", st.Seals, err)
	}
	y.office("Zweite", 16, digest.SHA256)
	renew(preservation.TimestampRenewal)
	lose()
	check(2)
	y.at(15)
	y.office("Dritte", 40, digest.SHA512)
	renew(preservation.TimestampRenewal)
	lose()
	check(3)
	y.at(unfit)
	y.Pass(-100 * 24 * time.Hour)
	if st, err := y.p.Status(t.Context(), stadt); err != nil || st.Seals[0].Action != preservation.HashtreeRenewal || !st.Seals[0].Due {
		t.Fatalf("before SHA-256 ends: %+v, %v", st.Seals, err)
	}
	renew(preservation.HashtreeRenewal)
	lose()
	check(3, 1)
	y.at(28)
	renew(preservation.TimestampRenewal)
	y.at(30)
	check(3, 2)
	y.mustCheck()
	if len(docs) != n-3*(n/10) {
		t.Errorf("%d of %d Dokumente left", len(docs), n)
	}
	y.mutate(docs)
}

// mutate changes one thing after the other in a record of two chains, three and
// two time-stamps: each is found at its place.
func (y *years) mutate(docs []uuid.UUID) {
	t := y.t
	ver := y.verifier()
	g := y.groups(docs[0])[0]
	parsed := func() [][]ers.ArchiveTimestamp {
		er, err := ers.Parse(bytes.Clone(g.Record))
		must(t, err)
		var out [][]ers.ArchiveTimestamp
		for _, c := range er.Chains {
			out = append(out, slices.Clone(c.Timestamps))
		}
		return out
	}
	record := func(chains [][]ers.ArchiveTimestamp) []byte {
		er, err := ers.FromChains(chains)
		must(t, err)
		return er.Raw
	}
	wants := func(name string, r *ers.Result, check string, chain, stamp int) {
		t.Helper()
		if r.Verdict != ers.Invalid {
			t.Errorf("%s: verdict %s", name, r.Verdict)
		}
		for _, c := range r.Failed() {
			if c.Name == check && c.Chain == chain && (c.Timestamp == stamp || stamp == 0) {
				return
			}
		}
		t.Errorf("%s: no %s at %d.%d in %+v", name, check, chain, stamp, r.Failed())
	}
	with := func(rec []byte) *ers.Result {
		v := g
		v.Record = rec
		return y.verify(ver, v, nil)
	}
	if r := with(record(parsed())); r.Verdict != ers.Valid {
		t.Fatalf("unchanged: %+v", r.Failed())
	}
	wants("document", y.verify(ver, g, func(i int, b []byte) {
		if i == 0 {
			b[0] ^= 1
		}
	}), ers.CheckCovers, 1, 1)
	for chain, stamps := range []int{3, 2} {
		for stamp := range stamps {
			for what, check := range map[string]string{"list": ers.CheckTree, "token": ers.CheckSignature} {
				c := parsed()
				ts := &c[chain][stamp]
				if what == "list" {
					if len(ts.Tree) < 2 {
						continue // two or more seals that shared a token: the leaf is the root
					}
					last := ts.Tree[len(ts.Tree)-1][0]
					ts.Raw = flip(t, ts.Raw, last)
				} else {
					ts.Raw = bytes.Clone(ts.Raw)
					ts.Raw[len(ts.Raw)-1] ^= 1 // a token ends with its signature value
				}
				r := with(record(c))
				wants(what, r, check, chain+1, stamp+1)
			}
		}
	}
	c := parsed()
	c[0][1], c[0][2] = c[0][2], c[0][1]
	wants("order", with(record(c)), ers.CheckChain, 1, 2)
	c = parsed()
	c[0] = slices.Delete(c[0], 1, 2)
	wants("missing link", with(record(c)), ers.CheckChain, 1, 2)
	c = parsed()
	c[0] = c[0][:2]
	wants("cut chain", with(record(c)), ers.CheckRehash, 2, 1)
	y.sorted(parsed, with, wants, g)
}

// sorted makes the hash-tree renewal with the sorted pair in place of the
// ordered one.
func (y *years) sorted(parsed func() [][]ers.ArchiveTimestamp, with func([]byte) *ers.Result, wants func(string, *ers.Result, string, int, int), g preservation.ArchiveVersion) {
	t := y.t
	c := parsed()
	h := digest.SHA512.New()
	sum := func(parts ...[]byte) []byte {
		h.Reset()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	er, err := ers.FromChains(c[:1])
	must(t, err)
	ha := sum(cms.Encode(0x30, er.Chains[0].Raw))
	var values [][]byte
	swapped := false
	for _, m := range g.Members {
		i := slices.IndexFunc(m.Digests, func(d digest.Digest) bool { return d.Algorithm == digest.SHA512 })
		a, b := m.Digests[i].Value, ha
		if right, err := er.RehashLeaves(digest.SHA512, [][]byte{a}); err != nil || !bytes.Equal(right[0], sum(a, b)) {
			t.Fatalf("the ordered pair is another one: %v", err)
		}
		if bytes.Compare(a, b) > 0 {
			a, b, swapped = b, a, true
		}
		values = append(values, sum(a, b))
	}
	if !swapped {
		t.Log("the pairs were sorted by chance")
		return
	}
	root, err := hashtree.Group(digest.SHA512, values)
	must(t, err)
	slices.SortFunc(values, bytes.Compare)
	ts, err := ers.NewTimestamp(digest.SHA512, []hashtree.List{values}, y.now.Stamp(t, digest.Digest{Algorithm: digest.SHA512, Value: root}, y.Now()))
	must(t, err)
	made, err := ers.FromChains([][]ers.ArchiveTimestamp{c[0], {ts}})
	must(t, err)
	wants("sorted pair", with(made.Raw), ers.CheckRehash, 2, 1)
}

// flip changes a bit of value inside raw.
func flip(t *testing.T, raw, value []byte) []byte {
	t.Helper()
	out := bytes.Clone(raw)
	i := bytes.Index(out, value)
	if i < 0 {
		t.Fatal("value not found")
	}
	out[i] ^= 1
	return out
}

func TestAMissedRenewalIsAGapAndNeverValid(t *testing.T) {
	y := newYears(t)
	y.office("Erste", 2, digest.SHA256)
	d := y.letter("x", noise(40))
	y.sealNow(y.p)
	y.at(3)
	want := func(reason string) {
		t.Helper()
		e, err := y.p.EvidenceOf(t.Context(), stadt, d)
		must(t, err)
		if e.State != preservation.Problem || e.Reason == "" {
			t.Errorf("%s: evidence %+v", reason, e)
		}
		r := y.verify(y.verifier(), y.groups(d)[0], nil)
		if r.Verdict == ers.Valid || !slices.ContainsFunc(r.Failed(), func(c ers.Check) bool { return c.Name == ers.CheckRenewal && c.Chain == 1 && c.Timestamp == 1 }) {
			t.Errorf("%s: verdict %s, %+v", reason, r.Verdict, r.Failed())
		}
	}
	want("missed")
	st, err := y.p.Status(t.Context(), stadt)
	must(t, err)
	if st.Seals[0].Lapsed != "certificate" {
		t.Errorf("status: %+v", st.Seals)
	}
	y.office("Zweite", 10, digest.SHA256)
	i := y.renew(y.p, preservation.RenewOrder{Kind: preservation.TimestampRenewal})[0]
	if i.Late != 1 || i.State != preservation.StateRenewed {
		t.Errorf("renewal: %+v", i)
	}
	want("renewed too late")
	if st, err = y.p.Status(t.Context(), stadt); err != nil || st.GapCount != 1 || st.Gaps[0].Reason != "certificate" || st.Seals[0].Lapsed != "" {
		t.Errorf("status: %+v, %v", st, err)
	}
}
