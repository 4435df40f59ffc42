package intake_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/blob"
	"evb/internal/fault"
	"evb/internal/intake"
	"evb/internal/worldtest"
)

// filed is a Dokument in the Vorgang of the building unit.
func (w *world) filed(words string) akte.Dokument {
	w.T.Helper()
	rec, err := w.send(w.Schulz, "", "brief.pdf", pdf(words, 0))
	must(w.T, err)
	d, err := w.Akten.File(w.T.Context(), w.Schulz, rec.ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	must(w.T, err)
	return d
}

func (w *world) version(a access.Actor, d akte.Dokument, key, name string, body []byte) (intake.Receipt, error) {
	w.T.Helper()
	return w.in.AddVersion(w.T.Context(), a, intake.NewVersion{
		Dokument: d.ID, IfVersion: d.RowVersion, Comment: "neu", Files: []*blob.File{w.file(name, body)}, Key: key,
	})
}

func (w *world) facts(record uuid.UUID) []string {
	w.T.Helper()
	return worldtest.One[[]string](w.World, `SELECT array_agg(kind ORDER BY recorded_at, id) FROM event WHERE tenant = evb_tenant() AND record_id = $1`, record)
}

func TestAFurtherVersionLeavesTheEarlierOneAsItIs(t *testing.T) {
	w := newWorld(t)
	d := w.filed("erste Fassung")
	first, second := pdf("erste Fassung", 0), pdf("zweite Fassung", 0)
	rec, err := w.version(w.Schulz, d, "v2", "brief-2.pdf", second)
	must(t, err)
	if rec.ID != d.ID || rec.Version != 2 || rec.State != akte.Registered || rec.Size != int64(len(second)) {
		t.Errorf("receipt: %+v", rec)
	}
	got, err := w.Akten.Dokument(t.Context(), w.Schulz, d.ID)
	must(t, err)
	if got.VersionNumber != 2 || got.VersionID != rec.VersionID || got.Extraction != akte.ExtractionPending || len(got.Versions) != 2 {
		t.Fatalf("dokument: %+v", got)
	}
	for i, want := range [][]byte{first, second} {
		v := got.Versions[i]
		if !bytes.Equal(w.Content(w.Schulz, v.Files[0].Blob), want) {
			t.Errorf("version %d has other bytes", v.Number)
		}
	}
	if got.Versions[1].Comment != "neu" || got.Versions[1].CreatedByName == "" {
		t.Errorf("version: %+v", got.Versions[1])
	}
	facts := w.facts(d.ID)
	if facts[len(facts)-1] != string(akte.DokumentVersionAdded) {
		t.Errorf("facts: %v", facts)
	}

	again, err := w.version(w.Schulz, d, "v2", "brief-2.pdf", second)
	must(t, err)
	if !again.Replayed || again.VersionID != rec.VersionID || again.Version != 2 {
		t.Errorf("again: %+v", again)
	}
	_, err = w.version(w.Schulz, d, "v2", "brief-2.pdf", pdf("dritte", 0))
	wantFault(t, err, "idempotency-key-reused")
	w.Consistent()
}

func TestWhoMayNotChangeADokumentAddsNoVersion(t *testing.T) {
	w := newWorld(t)
	d := w.filed("Antrag")
	before := w.Objects()
	for _, c := range []struct {
		name string
		who  access.Actor
		code string
	}{{"another unit", w.Meier, "not-found"}, {"an auditor", w.Brandt, "read-only-role"}} {
		_, err := w.version(c.who, d, "", "x.pdf", pdf(c.name, 0))
		if !fault.Is(err, c.code) {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
	}
	old := d
	must(t, errOf(w.version(w.Schulz, d, "", "2.pdf", pdf("zweite", 0))))
	_, err := w.version(w.Schulz, old, "", "3.pdf", pdf("dritte", 0))
	wantFault(t, err, "stale-version")
	old.RowVersion = 0
	must(t, errOf(w.version(w.Schulz, old, "", "3.pdf", pdf("dritte", 0))))
	if n := w.Objects(); n != before+2 {
		t.Errorf("%d objects more, want 2", n-before)
	}
	v, err := w.Akten.Vorgang(t.Context(), w.Schulz, *d.VorgangID)
	must(t, err)
	_, err = w.Akten.CloseVorgang(t.Context(), w.Schulz, v.ID, "", v.RowVersion)
	must(t, err)
	_, err = w.version(w.Schulz, old, "", "4.pdf", pdf("vierte", 0))
	wantFault(t, err, "dokument-closed")
	w.Consistent()
}

func errOf(_ intake.Receipt, err error) error { return err }

func TestAnUnusableVersionIsRefusedOrWaitsInQuarantine(t *testing.T) {
	w := newWorld(t)
	d := w.filed("Antrag")
	before := w.Objects()
	_, err := w.version(w.Schulz, d, "", "leer.pdf", nil)
	if f, ok := fault.As(err); !ok || f.Kind == fault.Internal || f.Text("de") == "" || f.Text("en") == "" {
		t.Fatalf("an empty file: %v", err)
	}
	got, err := w.Akten.Dokument(t.Context(), w.Schulz, d.ID)
	must(t, err)
	if got.RowVersion != d.RowVersion || w.Objects() != before {
		t.Errorf("something was stored: row version %d, %d objects", got.RowVersion, w.Objects())
	}

	rec, err := w.version(w.Schulz, d, "", "gross.tif", hugeTIFF())
	must(t, err)
	if rec.State != akte.Quarantined || rec.Version != 2 || rec.Files[0].Code == "" || rec.Files[0].QuarantineID == nil {
		t.Fatalf("receipt: %+v", rec)
	}
	got, err = w.Akten.Dokument(t.Context(), w.Schulz, d.ID)
	must(t, err)
	if got.State != akte.Quarantined || !bytes.Equal(w.Content(w.Schulz, got.Versions[0].Files[0].Blob), pdf("Antrag", 0)) {
		t.Errorf("dokument: %+v", got)
	}
	if slices.Contains(w.facts(d.ID), string(akte.DokumentVersionAdded)) {
		t.Error("work follows from a version that nobody has looked at")
	}
	got.RowVersion = 0
	_, err = w.version(w.Schulz, got, "", "3.pdf", pdf("dritte", 0))
	wantFault(t, err, "dokument-quarantined")

	_, err = w.in.Release(t.Context(), w.Roth, *rec.Files[0].QuarantineID, "Plan in Originalgröße", 0)
	must(t, err)
	got, err = w.Akten.Dokument(t.Context(), w.Schulz, d.ID)
	must(t, err)
	if got.State != akte.Registered || got.VersionNumber != 2 {
		t.Errorf("released: %+v", got)
	}
	w.Consistent()
}

func TestTheSameVersionSentManyTimesAtOnceIsOne(t *testing.T) {
	w := newWorld(t)
	d := w.filed("Antrag")
	body := pdf("zweite", 0)
	ids := make([]uuid.UUID, 8)
	errs := make([]error, len(ids))
	files := make([]*blob.File, len(ids))
	for i := range files {
		files[i] = w.file("2.pdf", body)
	}
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			rec, err := w.in.AddVersion(t.Context(), w.Schulz, intake.NewVersion{Dokument: d.ID, IfVersion: d.RowVersion, Files: files[i : i+1], Key: "once"})
			ids[i], errs[i] = rec.VersionID, err
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	if diff := cmp.Diff(slices.Repeat(ids[:1], len(ids)), ids); diff != "" {
		t.Errorf("several answers: %s", diff)
	}
	got, err := w.Akten.Dokument(t.Context(), w.Schulz, d.ID)
	must(t, err)
	if len(got.Versions) != 2 {
		t.Errorf("%d versions", len(got.Versions))
	}
	w.Consistent()
}
