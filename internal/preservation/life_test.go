package preservation_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
	"evb/internal/worldtest"
	"evb/signature/digest"
	"evb/signature/evidence"
	"evb/storage"
	"evb/storage/layout"
)

func opener(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func TestALetterIsCollectedSealedAndProven(t *testing.T) {
	w := newWorld(t)
	d, v := w.receive("Antrag", "erster Brief", "Anlage")
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, d))
	if got := w.groups(d); len(got) != 0 {
		t.Fatalf("collected while its intake is running: %d", len(got))
	}
	w.decided(d, v)
	for range 3 { // any number of times
		must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, d))
	}
	got := w.groups(d)
	if len(got) != 1 || got[0].Cause != preservation.CauseIntake || len(got[0].Members) != 4 || got[0].Record != nil {
		t.Fatalf("collected: %+v", got)
	}
	e, err := w.p.EvidenceOf(t.Context(), stadt, d)
	must(t, err)
	if e.State != preservation.Pending {
		t.Errorf("state before the seal: %s", e.State)
	}
	_, err = w.p.Record(t.Context(), stadt, d, uuid.Nil)
	wantFault(t, err, "evidence-pending")

	w.Number()
	r := w.sealNow(w.p)
	if len(r.Seals) != 1 || r.Seals[0].State != preservation.StateSealed || r.Documents != 1 || r.Waiting {
		t.Fatalf("report: %+v", r)
	}
	got = w.groups(d)
	ver := w.verifier()
	w.mustVerify(ver, got[0])
	if got[0].Tokens[0].CRLs == nil {
		t.Error("the token carries no revocation data")
	}
	md, err := evidence.ParseMetadata(got[0].Metadata)
	must(t, err)
	if md.Subject != "Antrag" || md.Sender != "Müller & Söhne <GmbH>" || md.ReceivedOn != "2026-11-24" || len(md.Members) != 2 || md.Members[1].File != "brief (2).txt" {
		t.Errorf("metadata: %+v", md)
	}
	record, err := w.p.Record(t.Context(), stadt, d, got[0].ID)
	must(t, err)
	if !bytes.Equal(record, got[0].Record) {
		t.Error("Record and GroupsOf differ")
	}
	_, err = w.p.Record(t.Context(), stadt, d, id())
	wantFault(t, err, "archive-version-not-found")
	e, err = w.p.EvidenceOf(t.Context(), stadt, d)
	must(t, err)
	if e.State != preservation.Sealed || e.SealID != r.Seals[0].ID || e.SealedAt.IsZero() || len(e.Algorithms) != 2 || !e.RenewBefore.After(w.Now()) {
		t.Errorf("evidence: %+v", e)
	}
	st, err := w.p.Status(t.Context(), stadt)
	must(t, err)
	if st.Open != 0 || st.InIntake != 0 || st.Unpacked != 0 || len(st.Seals) != 1 || st.Seals[0].Leaves != 2 || len(st.Unfinished) != 0 || len(st.Heads) == 0 {
		t.Errorf("status: %+v", st)
	}
	// Nothing new: nothing to seal, although sealing moved the log.
	w.Number()
	if r := w.sealNow(w.p); len(r.Seals) != 0 || r.Documents != 0 {
		t.Errorf("second call: %+v", r)
	}
	w.mustCheck()
}

func TestFilingClosingTextAndNewVersionsMakeFurtherArchiveVersions(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	d, v := w.receive("Antrag", "Brief")
	w.decided(d, v)
	w.Keep(stadt, []string{"erkannter Text"}, func(tx pgx.Tx, files []akte.NewFile) error {
		return w.Akten.ReplaceRendition(ctx, tx, stadt, w.Now(), akte.NewRendition{ID: id(), VersionID: v, Kind: akte.Text, Tool: "tesseract", ToolVersion: "5.3",
			Facts: map[string]any{"ocr": true}, Files: []akte.NewFile{{Blob: files[0].Blob, Name: "text.txt", MediaType: "text/plain"}}})
	})
	collect := func() { t.Helper(); must(t, w.p.CollectRecord(ctx, pgtest.Stadt, d)) }
	causes := func() (out []preservation.Cause) {
		for _, g := range w.groups(d) {
			out = append(out, g.Cause)
		}
		return out
	}
	want := func(all ...preservation.Cause) {
		t.Helper()
		got := causes()
		if len(got) != len(all) {
			t.Fatalf("archive versions: %v, want %v", got, all)
		}
		for i := range all {
			if got[i] != all[i] {
				t.Fatalf("archive versions: %v, want %v", got, all)
			}
		}
	}
	collect()
	want("intake", "text")
	vg := w.vorgang("61/5-BA-000001/26")
	_, err := w.Akten.File(ctx, stadt, d, akte.FileRequest{VorgangID: vg.ID})
	must(t, err)
	collect()
	collect()
	want("intake", "text", "filed")
	w.sealNow(w.p)

	// A later version, already filed: its metadata says where.
	v2 := id()
	w.Keep(stadt, []string{"Brief, zweite Fassung"}, func(tx pgx.Tx, files []akte.NewFile) error {
		_, err := w.Akten.InsertVersion(ctx, tx, stadt, w.Now(), akte.NewVersion{ID: v2, DokumentID: d, Origin: "edit", Files: files})
		return err
	})
	w.Tx(func(tx pgx.Tx) error {
		return w.Akten.SetExtraction(ctx, tx, stadt, w.Now(), d, v2, akte.ExtractionFailed, "x")
	})
	collect()
	want("intake", "text", "filed", "intake")

	vg, err = readVorgang(w, vg.ID)
	must(t, err)
	_, err = w.Akten.CloseVorgang(ctx, stadt, vg.ID, "erledigt", vg.RowVersion)
	must(t, err)
	for range 2 {
		must(t, w.p.CollectRecord(ctx, pgtest.Stadt, vg.ID)) // a Vorgang stands for its Dokumente
	}
	want("intake", "text", "filed", "intake", "closed")
	w.sealNow(w.p)
	ver := w.verifier()
	for _, g := range w.groups(d) {
		w.mustVerify(ver, g)
	}
	w.mustCheck()
	// The reconciler has nothing left.
	if n := w.openOf(preservation.Collect); n != 0 {
		t.Errorf("%d Dokumente still to collect", n)
	}
}

func readVorgang(w *world, id uuid.UUID) (v akte.Vorgang, err error) {
	w.Tx(func(tx pgx.Tx) error {
		v, err = akte.VorgangByID(context.Background(), tx, id)
		return err
	})
	return v, err
}

// openOf counts what the reconciler finds for a kind of job.
func (w *world) openOf(kind string) int {
	w.T.Helper()
	n := 0
	for _, j := range w.p.Jobs() {
		if j.Kind != kind {
			continue
		}
		w.Tx(func(tx pgx.Tx) error {
			ids, err := j.Open(context.Background(), tx, 100)
			n = len(ids)
			return err
		})
	}
	return n
}

func TestTheReconcilerFindsWhatALostQueueForgot(t *testing.T) {
	w := newWorld(t)
	d := w.letter("Antrag", "Brief")
	running, _ := w.receive("läuft noch", "Brief 2")
	if n := w.openOf(preservation.Collect); n != 1 {
		t.Fatalf("open: %d, want the one whose intake is over", n)
	}
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, d))
	if n := w.openOf(preservation.Collect); n != 0 {
		t.Fatalf("open after collecting: %d", n)
	}
	vg := w.vorgang("61/5-BA-000002/26")
	_, err := w.Akten.File(t.Context(), stadt, d, akte.FileRequest{VorgangID: vg.ID})
	must(t, err)
	if n := w.openOf(preservation.Collect); n != 1 {
		t.Fatalf("open after filing: %d", n)
	}
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, d))
	w.Pass(11 * time.Minute) // an intake that takes too long is collected as it is
	if n := w.openOf(preservation.Collect); n != 1 {
		t.Fatalf("open after 11 minutes: %d", n)
	}
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, running))
	if g := w.groups(running); len(g) != 1 {
		t.Fatalf("overdue intake: %d archive versions", len(g))
	}
}

func TestAnIntakeThatEndsAfterTheSealGetsASecondArchiveVersion(t *testing.T) {
	w := newWorld(t)
	d, v := w.receive("", "Brief ohne Betreff")
	if r := w.sealNow(w.p); r.Documents != 1 {
		t.Fatalf("sealing on demand takes what is there: %+v", r)
	}
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, d))
	if g := w.groups(d); len(g) != 1 {
		t.Fatalf("%d archive versions while intake goes on", len(g))
	}
	w.Tx(func(tx pgx.Tx) error {
		return w.Akten.SetRecognised(t.Context(), tx, d, akte.Recognised{Subject: "Carport"})
	})
	w.decided(d, v)
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, d))
	w.sealNow(w.p)
	g := w.groups(d)
	if len(g) != 2 {
		t.Fatalf("%d archive versions, want 2", len(g))
	}
	md, err := evidence.ParseMetadata(g[1].Metadata)
	must(t, err)
	if md.Subject != "Carport" || md.Extra["intake"] != nil {
		t.Errorf("metadata: %+v", md)
	}
	w.mustVerify(w.verifier(), g[1])
}

func TestWhoAsksForOneDokumentDoesNotWaitForTheOthers(t *testing.T) {
	w := newWorld(t)
	mine, _ := w.receive("Mein Brief", "Brief")
	other, _ := w.receive("Stapel von heute", "noch im Eingang")
	r, err := w.p.SealNow(t.Context(), stadt, mine)
	must(t, err)
	if r.Documents != 1 {
		t.Errorf("sealed: %+v", r)
	}
	if g := w.groups(mine); len(g) != 1 || len(g[0].Record) == 0 {
		t.Errorf("what was asked for is not sealed: %+v", g)
	}
	if g := w.groups(other); len(g) != 0 {
		t.Errorf("an intake that nobody asked about was cut short: %+v", g)
	}
}

func TestQuarantinedDokumenteAreNotSealed(t *testing.T) {
	w := newWorld(t)
	d := id()
	w.Keep(stadt, []string{"kaputt"}, func(tx pgx.Tx, files []akte.NewFile) error {
		return w.Akten.InsertDokumente(t.Context(), tx, stadt, w.Now(), akte.NewDokument{ID: d, VersionID: id(), State: akte.Quarantined, Channel: akte.ChannelAPI, Files: files})
	})
	w.Pass(time.Hour)
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, d))
	if r := w.sealNow(w.p); r.Documents != 0 || len(w.groups(d)) != 0 {
		t.Errorf("a quarantined Dokument was sealed: %+v", r)
	}
	// But the bucket knows it.
	stock, err := preservation.ReadBucket(t.Context(), w.Store, "stadt")
	must(t, err)
	if rows := stock.Snapshots["intake"]; len(rows) != 1 || !bytes.Contains(rows[0], []byte(d.String())) || !bytes.Contains(rows[0], []byte(`"sha256"`)) {
		t.Errorf("snapshot of the intake: %s", rows)
	}
}

func TestThePolicyClosesByPeriodAndBySize(t *testing.T) {
	w := newWorld(t, func(o *preservation.Options) { o.MaxLeaves = 3; o.Period = time.Hour })
	run := func() {
		t.Helper()
		for _, j := range w.p.Jobs() {
			if j.Kind == preservation.Close {
				must(t, j.Run(t.Context(), jobOf(uuid.Nil)))
			}
		}
	}
	seals := func() int {
		return worldtest.One[int](w.World, `SELECT count(*) FROM seal WHERE tenant = evb_tenant()`)
	}
	for range 2 {
		must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, w.letter("x", noise(20))))
	}
	if run(); seals() != 0 {
		t.Fatal("closed too early")
	}
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, w.letter("x", noise(20))))
	if run(); seals() != 1 {
		t.Fatalf("%d seals after 3 leaves", seals())
	}
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, w.letter("x", noise(20))))
	w.Pass(61 * time.Minute)
	if run(); seals() != 2 {
		t.Fatalf("%d seals after the period", seals())
	}
	if n := w.openOf(preservation.Stamp); n != 2 {
		t.Fatalf("%d seals to stamp", n)
	}
	for _, j := range w.p.Jobs() {
		if j.Kind == preservation.Stamp {
			for range 2 {
				must(t, j.Run(t.Context(), jobOf(worldtest.One[uuid.UUID](w.World, `
                    SELECT id FROM seal l WHERE tenant = evb_tenant() ORDER BY
                        EXISTS (SELECT FROM seal_state x WHERE x.seal_id = l.id AND x.state = 'sealed'), number LIMIT 1`))))
			}
		}
	}
	if n := w.openOf(preservation.Stamp); n != 0 {
		t.Fatalf("%d seals to stamp at the end", n)
	}
	w.mustCheck()
}

func TestOnlyThoseWhoSeeTheDokumentGetItsEvidence(t *testing.T) {
	w := newWorld(t)
	d := w.letter("geheim", "Brief")
	w.sealNow(w.p)
	stranger := access.Actor{Tenant: pgtest.Stadt, TenantSlug: "stadt", User: id(), Login: "fremd"}
	_, err := w.p.Record(t.Context(), stranger, d, uuid.Nil)
	wantFault(t, err, "not-found")
	_, err = w.p.GroupsOf(t.Context(), stranger, d)
	wantFault(t, err, "not-found")
	_, err = w.p.EvidenceOf(t.Context(), stranger, d)
	wantFault(t, err, "not-found")
	for _, call := range []func() error{
		func() error { _, err := w.p.Seals(t.Context(), stranger, 0, 0); return err },
		func() error { _, err := w.p.Seal(t.Context(), stranger, id()); return err },
		func() error { _, err := w.p.Status(t.Context(), stranger); return err },
		func() error { _, err := w.p.SealNow(t.Context(), stranger); return err },
		func() error { _, _, err := w.p.Check(t.Context(), stranger); return err },
	} {
		if err := call(); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("a stranger got %v", err)
		}
	}
	other := access.System(pgtest.Eigenbetrieb, "eigenbetrieb")
	_, err = w.p.Record(t.Context(), other, d, uuid.Nil)
	wantFault(t, err, "not-found")
	seals, err := w.p.Seals(t.Context(), other, 0, 0)
	must(t, err)
	if len(seals) != 0 {
		t.Error("another tenant sees seals")
	}
}

func TestWhatIsSealedIsLockedInTheBucket(t *testing.T) {
	w := newWorld(t)
	w.superExec("UPDATE tenant SET lock_mode = 'COMPLIANCE' WHERE id = 1")
	w.letter("x", "Brief")
	w.Number()
	w.sealNow(w.p)
	kinds := map[layout.Kind]storage.LockMode{}
	for info, err := range w.Store.List(t.Context(), layout.TenantPrefix("stadt"), "") {
		must(t, err)
		n, err := layout.Parse(info.Key)
		must(t, err)
		if n.Kind == layout.KindContent {
			continue
		}
		st, err := w.Store.Stat(t.Context(), info.Key)
		must(t, err)
		least := 3600 * 24 * time.Hour
		if n.Kind == layout.KindSnapshot {
			least = 89 * 24 * time.Hour
		}
		if st.Lock.Until.Before(w.Now().Add(least)) {
			t.Errorf("%s is locked until %s only", info.Key, st.Lock.Until)
		}
		kinds[n.Kind] = st.Lock.Mode
	}
	want := map[layout.Kind]storage.LockMode{
		layout.KindPack: storage.LockGovernance, layout.KindSnapshot: storage.LockGovernance, // words about people must be erasable
		layout.KindSealLeaves: storage.LockCompliance, layout.KindSealLevels: storage.LockCompliance, layout.KindSealToken: storage.LockCompliance, layout.KindHead: storage.LockCompliance,
	}
	for kind, mode := range want {
		if kinds[kind] != mode {
			t.Errorf("%s: lock %q, want %q", kind, kinds[kind], mode)
		}
	}
}

func TestATreeFileThatIsGoneIsBuiltAgainAndCheckNamesWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	d := w.letter("x", "Brief")
	w.letter("y", "Brief 2")
	w.Number()
	w.sealNow(w.p)
	seal := w.groups(d)[0].Seal
	codes := func() (out []string) {
		found, n, err := w.p.Check(t.Context(), stadt)
		must(t, err)
		if n < 3 { // a pack, the seal, a head
			t.Errorf("only %d things compared", n)
		}
		for _, f := range found {
			out = append(out, f.Code)
		}
		return out
	}
	if got := codes(); len(got) != 0 {
		t.Fatalf("findings in good order: %v", got)
	}
	w.remove(layout.SealLevels("stadt", seal))
	w.mustVerify(w.verifier(), w.groups(d)[0])
	w.superExec(`SET session_replication_role = replica; UPDATE archive_metadata SET body = replace(body, '"subject":"x"', '"subject":"z"')`)
	w.superExec(`UPDATE log_sequence SET chain = decode(repeat('00', 32), 'hex')`)
	w.remove(layout.SealToken("stadt", seal, 0))
	want := []string{"check-pack-entry", "check-tree-missing", "check-leaf", "check-token", "check-head-differs"}
	if got := codes(); !slices.Equal(got, want) {
		t.Errorf("findings: %v, want %v", got, want)
	}
}

func TestTreesOfAnotherAlgorithmAndFullTREsorTokensVerify(t *testing.T) {
	w := newWorld(t, func(o *preservation.Options) { o.Algorithm = digest.SHA512; o.OCSPInside = true })
	d := w.letter("x", "Brief", "Anlage")
	w.letter("y", "Brief 2")
	w.sealNow(w.p)
	g := w.groups(d)[0]
	w.mustVerify(w.verifier(), g)
	if g.Tokens[0].Imprint.Algorithm != digest.SHA512 {
		t.Errorf("imprint %s", g.Tokens[0].Imprint)
	}
	w.mustCheck()
}

func TestAnArchiveVersionThatLostAMemberDoesNotHoldUpTheOthers(t *testing.T) {
	w := newWorld(t)
	bad, good := w.letter("schlecht", "Brief"), w.letter("gut", "Brief 2")
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, bad))
	w.Exec(`DELETE FROM archive_metadata WHERE tenant = evb_tenant()`)
	w.sealNow(w.p)
	w.mustVerify(w.verifier(), w.groups(good)[0])
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM archive_version WHERE tenant = evb_tenant() AND seal_id IS NULL`); n != 1 {
		t.Errorf("%d open", n)
	}
}
