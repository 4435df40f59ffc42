package akte_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func want(t *testing.T, err error, code string) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Fatalf("want fault %s, got %v", code, err)
	}
}

func read(t *testing.T, w *aktetest.Town, fn func(q postgres.Querier) error) {
	t.Helper()
	if err := w.DB.Read(t.Context(), w.Schulz.Tenant, fn); err != nil {
		t.Fatal(err)
	}
}

// kinds lists the facts about an object, oldest first.
func kinds(t *testing.T, w *aktetest.Town, record uuid.UUID) []event.Kind {
	t.Helper()
	var out []event.Kind
	read(t, w, func(q postgres.Querier) error {
		all, err := event.History(t.Context(), q, 100, record)
		for _, e := range all {
			out = append(out, e.Kind)
		}
		return err
	})
	return out
}

func TestManyDokumenteAreInsertedAtOnceAndReadBackAsGiven(t *testing.T) {
	w := aktetest.New(t)
	var docs []akte.NewDokument
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		docs = nil
		for range 50 {
			d := aktetest.Draft(t, tx, "Bauantrag")
			d.Sender, d.Aktenzeichen, d.Data = "Muster GmbH", "61/5-BA-338202/24", map[string]any{"barcode": "X1"}
			docs = append(docs, d)
		}
		docs[1].State = akte.Quarantined
		docs[2].Files = nil
		return w.Akten.InsertDokumente(t.Context(), tx, w.System(), w.Now(), docs...)
	})
	d, err := w.Akten.Dokument(t.Context(), w.System(), docs[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if d.Subject != "Bauantrag" || d.State != akte.Captured || d.Channel != akte.ChannelScan || d.Sender != "Muster GmbH" ||
		d.Aktenzeichen != "61/5-BA-338202/24" || d.VersionID != docs[0].VersionID || d.VersionNumber != 1 || !d.ReceivedOn.Equal(docs[0].ReceivedOn) {
		t.Errorf("read back: %+v", d)
	}
	if len(d.Versions) != 1 || len(d.Versions[0].Files) != 1 || d.Versions[0].Files[0].Pages != 2 || d.Versions[0].Origin != "scan" || len(d.Versions[0].Files[0].SHA256) != 32 {
		t.Errorf("versions: %+v", d.Versions)
	}
	if diff := cmp.Diff([]event.Kind{akte.DokumentReceived}, kinds(t, w, docs[0].ID)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]event.Kind{akte.DokumentQuarantined}, kinds(t, w, docs[1].ID)); diff != "" {
		t.Error(diff)
	}
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		return w.Akten.ReleaseQuarantined(t.Context(), tx, w.System(), w.Now(), docs[1].ID, "geprüft")
	})
	if d, _ := w.Akten.Dokument(t.Context(), w.System(), docs[1].ID); d.State != akte.Captured {
		t.Errorf("released: %s", d.State)
	}
	err = w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		return w.Akten.ReleaseQuarantined(t.Context(), tx, w.System(), w.Now(), docs[1].ID, "")
	})
	want(t, err, "dokument-not-quarantined")
}

func TestAnUnfiledDokumentIsSeenByNobodyButWhoReadsAllAndItsSubmitter(t *testing.T) {
	w := aktetest.New(t)
	var d akte.NewDokument
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		d = aktetest.Draft(t, tx, "geheim")
		d.SubmittedBy = w.Koch.User
		return w.Akten.InsertDokumente(t.Context(), tx, w.Koch, w.Now(), d)
	})
	for _, a := range []access.Actor{w.Schulz, w.Yilmaz, w.Meier, w.Roth, w.Nobody} {
		_, err := w.Akten.Dokument(t.Context(), a, d.ID)
		want(t, err, "not-found")
		_, err = w.Akten.File(t.Context(), a, d.ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
		want(t, err, "not-found")
	}
	for _, a := range []access.Actor{w.Koch, w.Brandt, w.Lang} {
		if _, err := w.Akten.Dokument(t.Context(), a, d.ID); err != nil {
			t.Errorf("%s: %v", a.Login, err)
		}
	}
	_, err := w.Akten.File(t.Context(), w.Brandt, d.ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	want(t, err, "read-only-role")
	filed, err := w.Akten.File(t.Context(), w.Koch, d.ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	if err != nil {
		t.Fatal(err)
	}
	if filed.State != akte.Registered || filed.VorgangReference != aktetest.NumberBau+"-01" || filed.UnitCode != "FB61" || *filed.AkteID != w.AkteBau {
		t.Errorf("filed: %+v", filed)
	}
	if _, err := w.Akten.Dokument(t.Context(), w.Schulz, d.ID); err != nil {
		t.Errorf("after filing the unit sees it: %v", err)
	}
	_, err = w.Akten.Dokument(t.Context(), w.Meier, d.ID)
	want(t, err, "not-found")
}

func TestFilingByNumberTakesTheOpenVorgangOrOpensOneOrAsks(t *testing.T) {
	w := aktetest.New(t)
	file := func(number string) (akte.Dokument, error) {
		return w.Akten.File(t.Context(), w.System(), w.Dokument(t, "Schreiben").ID, akte.FileRequest{Aktenzeichen: number})
	}
	first, err := file(aktetest.NumberBau)
	if err != nil {
		t.Fatal(err)
	}
	second, err := file("61/5 - BA - 338202 / 24")
	if err != nil {
		t.Fatal(err)
	}
	if *second.VorgangID != *first.VorgangID {
		t.Error("the open Vorgang was not used")
	}
	v2, _, err := w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteBau, Subject: "Nachtrag"})
	if err != nil {
		t.Fatal(err)
	}
	if v2.Reference != aktetest.NumberBau+"-02" || v2.Number != 2 || v2.Lifecycle != akte.Open {
		t.Errorf("second Vorgang: %+v", v2)
	}
	_, err = file(aktetest.NumberBau)
	want(t, err, "vorgang-ambiguous")
	third, err := file(v2.Reference)
	if err != nil || *third.VorgangID != v2.ID {
		t.Fatalf("by the number of a Vorgang: %v %+v", err, third.VorgangID)
	}
	for number, code := range map[string]string{
		"61/5-BA-999999/24": "akte-unknown", "77-XY-123456/24": "aktenzeichen-unit-unknown", "Rechnung 17": "aktenzeichen-malformed",
		"61/5-BA-33820/24": "aktenzeichen-malformed",
	} {
		_, err = file(number)
		want(t, err, code)
	}
	_, err = w.Akten.File(t.Context(), w.System(), first.ID, akte.FileRequest{VorgangID: v2.ID})
	want(t, err, "dokument-already-filed")
	again, err := w.Akten.File(t.Context(), w.System(), first.ID, akte.FileRequest{VorgangID: *first.VorgangID})
	if err != nil || again.RowVersion != first.RowVersion {
		t.Errorf("filing again changed something: %v", err)
	}
	_, err = w.Akten.Move(t.Context(), w.Schulz, first.ID, akte.FileRequest{VorgangID: v2.ID})
	want(t, err, "reason-needed")
	_, err = w.Akten.Move(t.Context(), w.Schulz, first.ID, akte.FileRequest{VorgangID: v2.ID, Reason: "falsch", IfVersion: first.RowVersion + 1})
	want(t, err, "stale-version")
	moved, err := w.Akten.Move(t.Context(), w.Schulz, first.ID, akte.FileRequest{VorgangID: v2.ID, Reason: "falsch abgelegt", IfVersion: first.RowVersion})
	if err != nil || *moved.VorgangID != v2.ID {
		t.Fatalf("move: %v", err)
	}
	if diff := cmp.Diff([]event.Kind{akte.DokumentReceived, akte.DokumentFiled, akte.DokumentMoved}, kinds(t, w, first.ID)); diff != "" {
		t.Error(diff)
	}
}

func TestTwentyFilersAtOnceOpenOneVorgangAndGetDifferentPositions(t *testing.T) {
	w := aktetest.New(t)
	const n = 20
	var ids [n]uuid.UUID
	for i := range ids {
		ids[i] = w.Dokument(t, "Schreiben").ID
	}
	var wg sync.WaitGroup
	errs := make([]error, n)
	got := make([]akte.Dokument, n)
	for i := range n {
		wg.Go(func() {
			got[i], errs[i] = w.Akten.File(t.Context(), w.System(), ids[i], akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, d := range got {
		if *d.VorgangID != *got[0].VorgangID {
			t.Fatal("two Vorgänge were opened")
		}
	}
	read(t, w, func(q postgres.Querier) error {
		var rows, positions int
		err := q.QueryRow(t.Context(), `SELECT count(*), count(DISTINCT position) FROM record_object WHERE tenant = evb_tenant() AND parent_id = $1`, *got[0].VorgangID).Scan(&rows, &positions)
		if rows != n || positions != n {
			t.Errorf("%d rows, %d positions", rows, positions)
		}
		return err
	})
}

func TestAClerkFilesOnlyWhereTheUnitWrites(t *testing.T) {
	w := aktetest.New(t)
	d, err := w.Akten.File(t.Context(), w.System(), w.Dokument(t, "Antrag").ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	if err != nil {
		t.Fatal(err)
	}
	wohn, _, err := w.Akten.CreateVorgang(t.Context(), w.Meier, akte.NewVorgang{AkteID: w.AkteWohn})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Akten.Move(t.Context(), w.Schulz, d.ID, akte.FileRequest{VorgangID: wohn.ID, Reason: "x"})
	want(t, err, "vorgang-not-found")
	_, err = w.Akten.Move(t.Context(), w.Schulz, d.ID, akte.FileRequest{Aktenzeichen: aktetest.NumberWohn, Reason: "x"})
	want(t, err, "akte-unknown")
	_, _, err = w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteWohn})
	want(t, err, "not-found")
	_, _, err = w.Akten.CreateVorgang(t.Context(), w.Brandt, akte.NewVorgang{AkteID: w.AkteWohn})
	want(t, err, "read-only-role")
	if _, err := w.Akten.Move(t.Context(), w.Roth, d.ID, akte.FileRequest{VorgangID: wohn.ID, Reason: "gehört zum Wohngeld"}); err != nil {
		t.Fatalf("the registry of both moves it: %v", err)
	}
	_, err = w.Akten.Dokument(t.Context(), w.Schulz, d.ID)
	want(t, err, "not-found")
}

func TestAktenGetNumbersThatAreNeverGivenTwice(t *testing.T) {
	w := aktetest.New(t)
	var wg sync.WaitGroup
	numbers := make([]string, 12)
	errs := make([]error, len(numbers))
	for i := range numbers {
		wg.Go(func() {
			k, _, err := w.Akten.CreateAkte(t.Context(), w.Schulz, akte.NewAkte{EinheitCode: "61.50", Subject: "Anbau"})
			numbers[i], errs[i] = k.Aktenzeichen, err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range numbers {
		if seen[n] || !strings.HasPrefix(n, "61/5-BA-0000") || !strings.HasSuffix(n, "/26") {
			t.Errorf("number %s (twice: %v)", n, seen[n])
		}
		seen[n] = true
	}
	_, _, err := w.Akten.CreateAkte(t.Context(), w.Schulz, akte.NewAkte{EinheitCode: "61.50", Subject: "Noch einmal", Aktenzeichen: "61/5-ba-338202/24"})
	want(t, err, "number-taken")
	_, _, err = w.Akten.CreateAkte(t.Context(), w.Schulz, akte.NewAkte{EinheitCode: "61.50", Subject: "Fremd", Aktenzeichen: "64-WG-111111/24"})
	want(t, err, "number-of-other-unit")
	_, _, err = w.Akten.CreateAkte(t.Context(), w.Schulz, akte.NewAkte{EinheitCode: "61.50", Subject: "Kurz", Aktenzeichen: "61/5-BA-1/24"})
	want(t, err, "aktenzeichen-malformed")
	_, _, err = w.Akten.CreateAkte(t.Context(), w.Schulz, akte.NewAkte{EinheitCode: "64.10", Subject: "Fremd"})
	want(t, err, "forbidden")
	_, _, err = w.Akten.CreateAkte(t.Context(), w.Schulz, akte.NewAkte{EinheitCode: "99", Subject: "Nirgends"})
	want(t, err, "einheit-not-found")
	_, _, err = w.Akten.CreateAkte(t.Context(), w.Schulz, akte.NewAkte{EinheitCode: "61.50"})
	want(t, err, "subject-needed")
	_, _, err = w.Akten.CreateAkte(t.Context(), w.Schulz, akte.NewAkte{EinheitCode: "61.50", Subject: "Papier", Medium: "003"})
	want(t, err, "paper-location-needed")
}

func TestClosingCopiesRetentionAndReopeningIsForTheRegistry(t *testing.T) {
	w := aktetest.New(t)
	d, err := w.Akten.File(t.Context(), w.System(), w.Dokument(t, "Antrag").ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Akten.CloseAkte(t.Context(), w.Schulz, w.AkteBau, "", 0)
	want(t, err, "akte-has-open-vorgaenge")
	v, err := w.Akten.Vorgang(t.Context(), w.Schulz, *d.VorgangID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Akten.CloseVorgang(t.Context(), w.Schulz, v.ID, "", v.RowVersion+1)
	want(t, err, "stale-version")
	closed, err := w.Akten.CloseVorgang(t.Context(), w.Schulz, v.ID, "erledigt", v.RowVersion)
	if err != nil {
		t.Fatal(err)
	}
	day := func(s string) time.Time { d, _ := time.Parse(time.DateOnly, s); return d }
	if closed.Lifecycle != akte.Closed || !closed.ClosedOn.Equal(day("2026-11-24")) || !closed.RetentionEnd.Equal(day("2036-12-31")) ||
		*closed.RetentionYears != 10 || closed.DisposalType != "B" || !closed.PeriodFrom.Equal(day("2026-11-20")) || !closed.TransferDue.Equal(day("2028-11-24")) {
		t.Errorf("closed: %+v", closed)
	}
	if d, _ := w.Akten.Dokument(t.Context(), w.Schulz, d.ID); d.State != akte.Filed || d.Versions[0].FrozenAt == nil {
		t.Errorf("its Dokument: %s", d.State)
	}
	subject := "anders"
	_, err = w.Akten.ChangeVorgang(t.Context(), w.Schulz, v.ID, akte.Patch{Subject: &subject}, 0)
	want(t, err, "vorgang-closed")
	_, err = w.Akten.ChangeDokument(t.Context(), w.Schulz, d.ID, akte.DokumentPatch{Subject: &subject}, 0)
	want(t, err, "dokument-closed")
	_, err = w.Akten.File(t.Context(), w.System(), w.Dokument(t, "spät").ID, akte.FileRequest{VorgangID: v.ID})
	want(t, err, "vorgang-closed")
	k, err := w.Akten.CloseAkte(t.Context(), w.Schulz, w.AkteBau, "", 0)
	if err != nil || k.Lifecycle != akte.Closed || !k.RetentionEnd.Equal(day("2036-12-31")) || !k.PeriodFrom.Equal(day("2026-11-20")) {
		t.Fatalf("akte: %v %+v", err, k)
	}
	_, err = w.Akten.File(t.Context(), w.System(), w.Dokument(t, "spät").ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	want(t, err, "akte-closed")
	_, err = w.Akten.ReopenVorgang(t.Context(), w.Roth, v.ID, "", 0)
	want(t, err, "reason-needed")
	_, err = w.Akten.ReopenVorgang(t.Context(), w.Schulz, v.ID, "Nachtrag", 0)
	want(t, err, "registry-only")
	_, err = w.Akten.ReopenVorgang(t.Context(), w.Meier, v.ID, "Nachtrag", 0)
	want(t, err, "not-found")
	_, err = w.Akten.ReopenVorgang(t.Context(), w.Roth, v.ID, "Nachtrag", 0)
	want(t, err, "akte-closed")
	if _, err = w.Akten.ReopenAkte(t.Context(), w.Roth, w.AkteBau, "Nachtrag", 0); err != nil {
		t.Fatal(err)
	}
	v, err = w.Akten.ReopenVorgang(t.Context(), w.Roth, v.ID, "Nachtrag", 0)
	if err != nil || v.Lifecycle != akte.Open || v.RetentionEnd != nil || v.ClosedOn != nil {
		t.Fatalf("reopened: %v %+v", err, v)
	}
	if d, _ := w.Akten.Dokument(t.Context(), w.Schulz, d.ID); d.State != akte.Registered {
		t.Errorf("its Dokument after reopening: %s", d.State)
	}
	if diff := cmp.Diff([]event.Kind{akte.VorgangCreated, akte.VorgangClosed, akte.VorgangReopened}, kinds(t, w, v.ID)); diff != "" {
		t.Error(diff)
	}
}

func TestVersionsAndRenditions(t *testing.T) {
	w := aktetest.New(t)
	d := w.Dokument(t, "")
	id := func() uuid.UUID { return uuid.Must(uuid.NewV7()) }
	put := func(kind string, source uuid.UUID) uuid.UUID {
		r := akte.NewRendition{ID: id(), VersionID: d.VersionID, Kind: kind, Tool: "tesseract", ToolVersion: "5", Source: source, Facts: map[string]any{"pages": 1}}
		w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
			blob, err := aktetest.Blob(t.Context(), tx)
			if err != nil {
				return err
			}
			r.Files = []akte.NewFile{{Blob: blob, Name: "text.txt", MediaType: "text/plain"}}
			return w.Akten.ReplaceRendition(t.Context(), tx, w.System(), w.Now(), r)
		})
		return r.ID
	}
	text := put(akte.Text, uuid.Nil)
	put(akte.Words, text)
	put(akte.PageImage, uuid.Nil)
	all := func() (out []string) {
		read(t, w, func(q postgres.Querier) error {
			rs, err := akte.RenditionsOf(t.Context(), q, d.VersionID)
			for _, r := range rs {
				out = append(out, r.Kind)
				if len(r.Files) != 1 {
					t.Errorf("%s has %d files", r.Kind, len(r.Files))
				}
			}
			return err
		})
		return out
	}
	if diff := cmp.Diff([]string{"original", "text", "words", "page_image"}, all()); diff != "" {
		t.Error(diff)
	}
	put(akte.Text, uuid.Nil) // what was made from the old text goes with it
	if diff := cmp.Diff([]string{"original", "page_image", "text"}, all()); diff != "" {
		t.Error(diff)
	}
	err := w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `DELETE FROM rendition WHERE tenant = evb_tenant() AND kind = 'original'`)
		return err
	})
	if err == nil {
		t.Error("an original was deleted")
	}
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		if err := w.Akten.SetRecognised(t.Context(), tx, d.ID, akte.Recognised{Subject: "Bauantrag", Sender: "Frau Beispiel", Aktenzeichen: aktetest.NumberBau}); err != nil {
			return err
		}
		if err := w.Akten.SetRecognised(t.Context(), tx, d.ID, akte.Recognised{Subject: "anders", Receiver: "Bauordnung"}); err != nil {
			return err
		}
		if err := w.Akten.SetIntakeComplete(t.Context(), tx, d.ID, w.Now()); err != nil {
			return err
		}
		return w.Akten.SetExtraction(t.Context(), tx, w.System(), w.Now(), d.ID, d.VersionID, akte.ExtractionDone, "")
	})
	got, err := w.Akten.Dokument(t.Context(), w.System(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "Bauantrag" || got.Sender != "Frau Beispiel" || got.Receiver != "Bauordnung" || got.Extraction != akte.ExtractionDone || got.IntakeCompleteAt == nil {
		t.Errorf("recognised: %+v", got)
	}
	second := id()
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		n, err := w.Akten.InsertVersion(t.Context(), tx, w.System(), w.Now(), akte.NewVersion{ID: second, DokumentID: d.ID, Origin: "rescan", Files: nil})
		if n != 2 {
			t.Errorf("number %d", n)
		}
		return err
	})
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error { // late news of version 1
		return w.Akten.SetExtraction(t.Context(), tx, w.System(), w.Now(), d.ID, d.VersionID, akte.ExtractionFailed, "file-damaged")
	})
	got, _ = w.Akten.Dokument(t.Context(), w.System(), d.ID)
	if got.VersionNumber != 2 || got.VersionID != second || got.Extraction != akte.ExtractionPending || len(got.Versions) != 2 {
		t.Errorf("second version: %+v", got)
	}
}

func TestResolve(t *testing.T) {
	w := aktetest.New(t)
	d, err := w.Akten.File(t.Context(), w.System(), w.Dokument(t, "Antrag").ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	if err != nil {
		t.Fatal(err)
	}
	read(t, w, func(q postgres.Querier) error {
		for written, want := range map[string]akte.Number{
			"61/5-BA-338202/24":    {State: akte.Known, Aktenzeichen: aktetest.NumberBau, AkteID: w.AkteBau, UnitID: w.Bauordnung, UnitCode: "FB61"},
			" 61/5-ba 33820 2/24 ": {State: akte.Known, Aktenzeichen: aktetest.NumberBau, AkteID: w.AkteBau, UnitID: w.Bauordnung, UnitCode: "FB61"},
			"6l/5-BA-3382O2/24":    {State: akte.Known, Aktenzeichen: aktetest.NumberBau, AkteID: w.AkteBau, UnitID: w.Bauordnung, UnitCode: "FB61"},
			"61/5-BA-338202/24-01": {State: akte.Known, Aktenzeichen: aktetest.NumberBau, AkteID: w.AkteBau, VorgangID: *d.VorgangID, UnitID: w.Bauordnung, UnitCode: "FB61"},
			"61/5-BA-338202/24-77": {State: akte.Known, Aktenzeichen: aktetest.NumberBau, AkteID: w.AkteBau, UnitID: w.Bauordnung, UnitCode: "FB61"},
			"64-WG-000001/24":      {State: akte.AkteUnknown, Aktenzeichen: "64-WG-000001/24", UnitID: w.Wohngeld, UnitCode: "FB64"},
			"23-GS-123456/24":      {State: akte.UnknownUnit, Aktenzeichen: "23-GS-123456/24"},
			"64-WG-00001/24":       {State: akte.Malformed},
			"":                     {State: akte.Malformed},
			"---":                  {State: akte.Malformed},
		} {
			got, err := akte.Resolve(t.Context(), q, written)
			if err != nil {
				return err
			}
			want.Written, want.Normal = written, got.Normal
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q: %s", written, diff)
			}
		}
		return nil
	})
}
