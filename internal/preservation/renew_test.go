package preservation_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/preservation"
	"evb/internal/preservation/preservationtest"
	"evb/internal/worldtest"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/storage/layout"
)

// renew plans renewals and works on them to the end.
func (w *world) renew(p *preservation.Service, o preservation.RenewOrder) []preservation.RenewalInfo {
	w.T.Helper()
	list, err := p.Renew(w.T.Context(), stadt, o)
	must(w.T, err)
	for i := range list {
		list[i] = w.work(p, list[i].ID)
	}
	return list
}

// work brings a renewal to its end.
func (w *world) work(p *preservation.Service, id uuid.UUID) preservation.RenewalInfo {
	w.T.Helper()
	for {
		wait, err := p.WorkRenewal(w.T.Context(), stadt, id)
		must(w.T, err)
		if wait == 0 {
			break
		}
	}
	i, err := p.Renewal(w.T.Context(), stadt, id)
	must(w.T, err)
	return i
}

// stamps gives the chains of a record as numbers of time-stamps.
func stamps(t *testing.T, record []byte) (out []int) {
	t.Helper()
	er, err := ers.Parse(record)
	must(t, err)
	for _, c := range er.Chains {
		out = append(out, len(c.Timestamps))
	}
	return out
}

func wantStamps(t *testing.T, record []byte, want ...int) {
	t.Helper()
	got := stamps(t, record)
	same := len(got) == len(want)
	for i := range got {
		same = same && got[i] == want[i]
	}
	if !same {
		t.Errorf("time-stamps by chain: %v, want %v", got, want)
	}
}

func TestRenewalsOfBothKindsLeaveEveryRecordValid(t *testing.T) {
	w := newWorld(t)
	var docs []uuid.UUID
	var shared = noise(40) // the same bytes in several Dokumente
	for seal := range 3 {
		for range 3 + seal {
			docs = append(docs, w.letter("x", noise(50), shared))
		}
		w.Number() // heads are leaves, too
		w.sealNow(w.p)
	}
	all := func(want ...int) {
		t.Helper()
		ver := w.verifier()
		for _, d := range docs {
			for _, g := range w.groups(d) {
				w.mustVerify(ver, g)
				wantStamps(t, g.Record, want...)
				if n := len(stamps(t, g.Record)); g.Tokens[len(g.Tokens)-1].Chain != n {
					t.Errorf("the tokens end with chain %d of %d", g.Tokens[len(g.Tokens)-1].Chain, n)
				}
			}
		}
	}
	tokens := func() int {
		return worldtest.One[int](w.World, `SELECT count(*) FROM time_stamp_token WHERE tenant = evb_tenant()`)
	}
	all(1)

	got := w.renew(w.p, preservation.RenewOrder{Kind: preservation.TimestampRenewal})
	if len(got) != 1 || got[0].State != preservation.StateRenewed || got[0].Seals != 3 || got[0].Late != 0 || got[0].Requests != 1 {
		t.Fatalf("time-stamp renewal: %+v", got)
	}
	if tokens() != 4 {
		t.Errorf("%d tokens for 3 seals and a renewal", tokens())
	}
	all(2)
	// Now three seals share their newest token: one leaf.
	w.renew(w.p, preservation.RenewOrder{Kind: preservation.TimestampRenewal})
	if n := worldtest.One[int](w.World, `SELECT leaves FROM renewal WHERE tenant = evb_tenant() ORDER BY number DESC LIMIT 1`); n != 1 {
		t.Errorf("%d leaves for one token", n)
	}
	all(3)

	got = w.renew(w.p, preservation.RenewOrder{Kind: preservation.HashtreeRenewal})
	if len(got) != 1 || got[0].Algorithm != digest.SHA512 || got[0].Missing != 0 || got[0].Versions == 0 || got[0].Objects != 0 || got[0].Bad != 0 {
		t.Fatalf("hash-tree renewal from the digests of intake: %+v", got)
	}
	all(3, 1)
	if again := w.renew(w.p, preservation.RenewOrder{Kind: preservation.HashtreeRenewal}); len(again) != 0 {
		t.Errorf("a second hash-tree renewal to the same algorithm: %+v", again)
	}
	// A seal that came since is renewed alone.
	late := w.letter("x", noise(50))
	w.sealNow(w.p)
	got = w.renew(w.p, preservation.RenewOrder{Kind: preservation.HashtreeRenewal, ReadAll: true})
	if len(got) != 1 || got[0].Seals != 1 || int(got[0].Objects) != len(docs)+2 || got[0].Bad != 0 {
		t.Fatalf("hash-tree renewal that reads everything: %+v", got)
	}
	wantStamps(t, w.groups(late)[0].Record, 1, 1)
	all(3, 1)
	// SHA-256 and SHA-512 chains side by side: each is renewed in its own hash.
	w.renew(w.p, preservation.RenewOrder{Kind: preservation.TimestampRenewal})
	all(3, 2)
	// An algorithm that nobody computed at intake: every object is read.
	got = w.renew(w.service(func(o *preservation.Options) { o.Log = nil }), preservation.RenewOrder{Kind: preservation.HashtreeRenewal, Algorithm: digest.SHA3_384})
	if len(got) != 1 || int(got[0].Objects) != len(docs)+2 || got[0].Missing != 0 || got[0].Seals != 4 {
		t.Fatalf("hash-tree renewal to a third algorithm: %+v", got)
	}
	all(3, 2, 1)

	st, err := w.p.Status(t.Context(), stadt)
	must(t, err)
	if len(st.Seals) != 1 || st.Seals[0].Hash != digest.SHA3_384 || st.Seals[0].Seals != 4 || st.Seals[0].Documents != len(docs)+1 || st.Seals[0].Lapsed != "" || st.GapCount != 0 {
		t.Errorf("status: %+v", st.Seals)
	}
	e, err := w.p.EvidenceOf(t.Context(), stadt, docs[0])
	must(t, err)
	if e.State != preservation.Sealed || e.Algorithms[0] != "sha3-384" {
		t.Errorf("evidence: %+v", e)
	}
	w.mustCheck()
	w.mustAgree(t, docs[:2])
}

// mustAgree asks OpenSSL about every token of the records.
func (w *world) mustAgree(t *testing.T, docs []uuid.UUID) {
	t.Helper()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	writeFile(t, ca, w.tsa.CertificatePEM())
	seen := map[string]bool{}
	for _, d := range docs {
		for _, k := range w.groups(d)[0].Tokens {
			if seen[string(k.DER)] || k.Imprint.Algorithm == digest.SHA3_384 && seen["sha3"] {
				continue
			}
			seen[string(k.DER)] = true
			token := filepath.Join(dir, "t.tst")
			writeFile(t, token, k.DER)
			out, err := exec.CommandContext(t.Context(), "openssl", "ts", "-verify", "-token_in", "-in", token, "-digest", k.Imprint.Hex(), "-CAfile", ca).CombinedOutput()
			if err != nil {
				t.Errorf("chain %d, time-stamp %d: openssl: %v\n%s", k.Chain, k.Position, err, out)
			}
		}
	}
}

func TestARenewalStopsAndGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	d := w.letter("x", noise(50))
	w.sealNow(w.p)
	list, err := w.p.Renew(t.Context(), stadt, preservation.RenewOrder{Kind: preservation.HashtreeRenewal, ReadAll: true})
	must(t, err)
	i, err := w.p.StopRenewal(t.Context(), stadt, list[0].ID)
	must(t, err)
	if i = w.work(w.p, i.ID); !i.Stopped || i.State != "planned" || i.Objects != 0 {
		t.Fatalf("stopped: %+v", i)
	}
	again, err := w.p.Renew(t.Context(), stadt, preservation.RenewOrder{Kind: preservation.HashtreeRenewal})
	must(t, err)
	if len(again) != 1 || again[0].ID != i.ID || again[0].Stopped || !again[0].ReadAll {
		t.Fatalf("resumed: %+v", again)
	}
	if i = w.work(w.p, i.ID); i.State != preservation.StateRenewed {
		t.Fatalf("renewed: %+v", i)
	}
	w.mustVerify(w.verifier(), w.groups(d)[0])
	_, err = w.p.Renewal(t.Context(), stadt, id())
	wantFault(t, err, "renewal-not-found")
	_, err = w.p.Renew(t.Context(), access.Actor{Tenant: stadt.Tenant, TenantSlug: "stadt", User: id()}, preservation.RenewOrder{Kind: preservation.TimestampRenewal})
	wantFault(t, err, "forbidden")
	_, err = w.p.Renew(t.Context(), stadt, preservation.RenewOrder{Kind: preservation.TimestampRenewal, Algorithm: digest.SHA512})
	wantFault(t, err, "renewal-timestamp-keeps-algorithm")
	_, err = w.p.Renew(t.Context(), stadt, preservation.RenewOrder{Kind: preservation.HashtreeRenewal, Algorithm: digest.SHA1})
	wantFault(t, err, "renewal-algorithm-unfit")
}

// TestAChangedObjectIsAGapAndNotValid: bit rot before a renewal to an algorithm
// whose digest nobody has is told, and the record of that Dokument ends where
// its proof does.
func TestAChangedObjectIsAGapAndNotValid(t *testing.T) {
	w := newWorld(t)
	bad, good := w.letter("x", "wird zerstört"), w.letter("x", "bleibt")
	w.sealNow(w.p)
	g := w.groups(bad)[0]
	w.remove(layout.Content("stadt", [32]byte(g.Members[0].Digests[0].Value)))
	i := w.renew(w.p, preservation.RenewOrder{Kind: preservation.HashtreeRenewal, Algorithm: digest.SHA3_256})[0]
	if i.State != preservation.StateRenewed || i.Bad != 1 || i.Missing != 1 || i.Versions < 1 {
		t.Fatalf("renewal: %+v", i)
	}
	wantStamps(t, w.groups(good)[0].Record, 1, 1)
	w.mustVerify(w.verifier(), w.groups(good)[0])
	wantStamps(t, w.groups(bad)[0].Record, 1)
	e, err := w.p.EvidenceOf(t.Context(), stadt, bad)
	must(t, err)
	if e.State != preservation.Problem || e.Reason == "" {
		t.Errorf("evidence of the changed one: %+v", e)
	}
	if e, err = w.p.EvidenceOf(t.Context(), stadt, good); err != nil || e.State != preservation.Sealed {
		t.Errorf("evidence of the other: %+v, %v", e, err)
	}
	st, err := w.p.Status(t.Context(), stadt)
	must(t, err)
	if st.GapCount != 1 || st.Gaps[0].Reason != "missing" || st.Gaps[0].Versions != 1 {
		t.Errorf("gaps: %+v", st.Gaps)
	}
}

func TestKilledAtEveryStepOfARenewalNothingIsRenewedTwice(t *testing.T) {
	w := newWorld(t)
	var docs []uuid.UUID
	for range 2 {
		docs = append(docs, w.letter("x", noise(50)), w.letter("x", noise(60)))
		w.sealNow(w.p)
	}
	algorithms := []digest.Algorithm{digest.SHA512, digest.SHA3_512, digest.SHA384}
	plan := func(n int, kind preservation.RenewalKind) uuid.UUID {
		o := preservation.RenewOrder{Kind: kind}
		if kind == preservation.HashtreeRenewal {
			o.Algorithm, o.ReadAll = algorithms[n%len(algorithms)], true
		}
		list, err := w.p.Renew(t.Context(), stadt, o)
		must(t, err)
		if len(list) != 1 {
			t.Fatalf("planned: %+v", list)
		}
		return list[0].ID
	}
	hashtree := []string{"renewal-read", "renewal-bound", "renewal-chain-put", "renewal-chain-committed", "renewal-tree-put", "renewal-closed"}
	timestamp := []string{"renewal-bound", "renewal-tree-put", "preservation-stamp-asked", "preservation-stamp-answered", "preservation-stamp-committed",
		"preservation-complete-token-put", "preservation-complete-committed"}
	n := 0
	for kind, points := range map[preservation.RenewalKind][]string{preservation.HashtreeRenewal: hashtree, preservation.TimestampRenewal: timestamp} {
		for _, point := range points {
			t.Run(string(kind)+" "+point, func(t *testing.T) {
				id := plan(n, kind)
				n++
				before := worldtest.One[int](w.World, `SELECT count(*) FROM time_stamp_token WHERE tenant = evb_tenant()`)
				out, err := worldtest.Command(t, "renewer", order{Place: w.Place, TSA: w.url, Renewal: id}, point).CombinedOutput()
				if !worldtest.Killed(err) {
					t.Fatalf("not killed at %s: %v\n%s", point, err, out)
				}
				i := w.work(w.p, id)
				if i.State != preservation.StateRenewed || i.Seals != 2 || i.Missing != 0 || i.Late != 0 || i.Requests > 2 {
					t.Errorf("renewal: %+v", i)
				}
				if got := worldtest.One[int](w.World, `SELECT count(*) FROM time_stamp_token WHERE tenant = evb_tenant()`); got > before+1 {
					t.Errorf("%d tokens for one renewal", got-before)
				}
				ver := w.verifier()
				for _, d := range docs {
					w.mustVerify(ver, w.groups(d)[0])
				}
			})
		}
	}
	w.mustCheck()
}

// renewer is a worker that renews.
func renewer(ctx context.Context, o order) error {
	var parts worldtest.Options
	options(&parts)
	w, err := worldtest.Join(ctx, o.Place, parts)
	if err != nil {
		return err
	}
	defer w.DB.Close()
	po := preservationtest.Options(o.TSA, w.Now)
	po.Rehash = w.Blobs.Rehash
	p := preservation.New(w.DB, w.Log, w.Akten, w.Store, po)
	for {
		wait, err := p.WorkRenewal(ctx, stadt, o.Renewal)
		if err != nil || wait == 0 {
			return errors.Join(err, w.Close())
		}
	}
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	must(t, os.WriteFile(name, b, 0o600))
}
