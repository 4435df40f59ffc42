package intake_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/fault"
	"evb/internal/intake"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

func TestADocumentIsTakenInWithAllThatBelongsToIt(t *testing.T) {
	w := newWorld(t)
	body := pdf("Antrag auf Wohngeld", 5000)
	sum := sha256.Sum256(body)
	rec, err := w.in.Receive(t.Context(), w.Schulz, intake.Submission{
		Meta: intake.Meta{Subject: "Antrag", DocumentType: "antrag", Sender: "Erika Beispiel", Unit: "FB64", ReceivedOn: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
			Expected: [][32]byte{sum}, Data: map[string]any{"customer": "4711"}},
		Files: []*blob.File{w.file("antrag.pdf", body), w.file(`ordner\anlage.pdf`, pdf("Anlage", 0))}, Key: "k1"})
	must(t, err)
	if rec.State != akte.Captured || rec.SHA256 != hex.EncodeToString(sum[:]) || rec.Size != int64(len(body)) || rec.MediaType != "application/pdf" ||
		len(rec.Files) != 2 || rec.Files[0].Pages != 1 || rec.Files[1].Name != "anlage.pdf" {
		t.Fatalf("%+v", rec)
	}
	d, err := w.Akten.Dokument(t.Context(), w.Schulz, rec.ID)
	must(t, err)
	if d.Subject != "Antrag" || d.Channel != akte.ChannelAPI || d.VersionID != rec.VersionID || len(d.Versions) != 1 || len(d.Versions[0].Files) != 2 {
		t.Fatalf("%+v", d)
	}
	if !strings.Contains(string(d.Data), `"FB64"`) || !strings.Contains(string(d.Data), `"4711"`) {
		t.Errorf("data %s", d.Data)
	}
	if got := w.Content(w.Schulz, d.Versions[0].Files[0].Blob); !bytes.Equal(got, body) {
		t.Error("other bytes")
	}
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND kind = 'dokument.received' AND record_id = $1`, rec.ID); n != 1 {
		t.Errorf("%d facts", n)
	}
	var jobs int
	must(t, w.DB.Pool().QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE kind = $1 AND args ->> 'subject' = $2`, textJob, rec.VersionID.String()).Scan(&jobs))
	if jobs != 1 {
		t.Errorf("%d jobs", jobs)
	}
	if w.Count("intake_step") != 1 || w.Count("quarantine") != 0 {
		t.Error("protocol or quarantine")
	}
	w.Consistent()
}

func TestTheSameRequestGetsTheSameAnswer(t *testing.T) {
	w := newWorld(t)
	first, err := w.send(w.Schulz, "key", "a.pdf", pdf("a", 0))
	must(t, err)
	again, err := w.send(w.Schulz, "key", "a.pdf", pdf("a", 0))
	must(t, err)
	if again.ID != first.ID || !again.Replayed || first.Replayed || again.SHA256 != first.SHA256 {
		t.Errorf("first %+v, again %+v", first, again)
	}
	_, err = w.send(w.Schulz, "key", "a.pdf", pdf("another", 0))
	wantFault(t, err, "idempotency-key-reused")
	if k := fault.KindOf(err); k != fault.Invalid {
		t.Errorf("kind %s", k)
	}
	// Keys are everybody's own.
	other, err := w.send(w.Koch, "key", "a.pdf", pdf("a", 0))
	must(t, err)
	if other.ID == first.ID || other.Replayed {
		t.Error("another person got the answer")
	}
	if w.Count("dokument") != 2 || w.Count("blob") != 1 {
		t.Errorf("%d Dokumente, %d blobs", w.Count("dokument"), w.Count("blob"))
	}
}

func TestThirtyTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	body := pdf("the same letter", 20_000)
	run := func(key func(i int) string, body func(i int) []byte) ([]intake.Receipt, []error) {
		recs, errs := make([]intake.Receipt, 32), make([]error, 32)
		files := make([]*blob.File, 32)
		for i := range files {
			files[i] = w.file("a.pdf", body(i))
		}
		var wg sync.WaitGroup
		for i := range recs {
			wg.Go(func() {
				recs[i], errs[i] = w.in.Receive(context.Background(), w.Schulz, intake.Submission{Files: files[i : i+1], Key: key(i)})
			})
		}
		wg.Wait()
		return recs, errs
	}
	ids := func(recs []intake.Receipt, errs []error) map[uuid.UUID]bool {
		out := map[uuid.UUID]bool{}
		for i, r := range recs {
			must(t, errs[i])
			out[r.ID] = true
		}
		return out
	}
	same := func(int) []byte { return body }
	if got := ids(run(func(int) string { return "one key" }, same)); len(got) != 1 || w.Count("dokument") != 1 || w.Count("blob") != 1 {
		t.Fatalf("one key: %d ids, %d Dokumente, %d blobs", len(got), w.Count("dokument"), w.Count("blob"))
	}
	if got := ids(run(func(i int) string { return fmt.Sprint("key ", i) }, same)); len(got) != 32 || w.Count("dokument") != 33 || w.Count("blob") != 1 {
		t.Fatalf("32 keys: %d ids, %d Dokumente, %d blobs", len(got), w.Count("dokument"), w.Count("blob"))
	}
	if got := ids(run(func(int) string { return "" }, same)); len(got) != 32 || w.Count("blob") != 1 || w.Objects() != 1 {
		t.Fatalf("no key: %d ids", len(got))
	}
	// Two bodies with one key: one is taken in, the other told so.
	recs, errs := run(func(int) string { return "two bodies" }, func(i int) []byte { return pdf(fmt.Sprint("body ", i%2), 0) })
	taken := map[uuid.UUID]bool{}
	refused := 0
	for i := range recs {
		switch {
		case errs[i] == nil:
			taken[recs[i].ID] = true
		case fault.Is(errs[i], "idempotency-key-reused"):
			refused++
		default:
			t.Fatal(errs[i])
		}
	}
	if len(taken) != 1 || refused != 16 {
		t.Errorf("%d taken in, %d refused", len(taken), refused)
	}
	w.Consistent()
}

func TestABadMemberDoesNotFailTheOthers(t *testing.T) {
	w := newWorld(t)
	files := make([]*blob.File, 32)
	for i := range files {
		files[i] = w.file("a.pdf", pdf(fmt.Sprint("letter ", i), 0))
	}
	recs, errs := make([]intake.Receipt, 32), make([]error, 32)
	var wg sync.WaitGroup
	for i := range files {
		wg.Go(func() {
			sub := intake.Submission{Files: files[i : i+1]}
			if i%8 == 0 {
				sub.Meta.Vorgang = uuid.New() // not there: found only in the transaction
			}
			recs[i], errs[i] = w.in.Receive(context.Background(), w.Schulz, sub)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if i%8 == 0 {
			wantFault(t, err, "vorgang-not-found")
		} else {
			must(t, err)
		}
	}
	if w.Count("dokument") != 28 {
		t.Errorf("%d Dokumente", w.Count("dokument"))
	}
}

func TestDuplicatesAreToldOnlyToWhoSeesBoth(t *testing.T) {
	w := newWorld(t)
	body := pdf("a letter that comes twice", 0)
	first, err := w.send(w.Schulz, "", "a.pdf", body)
	must(t, err)
	if len(first.Duplicates) != 0 {
		t.Error("a duplicate of nothing")
	}
	own, err := w.send(w.Schulz, "", "b.pdf", body)
	must(t, err)
	if len(own.Duplicates) != 1 || own.Duplicates[0] != first.ID {
		t.Errorf("own: %v", own.Duplicates)
	}
	foreign, err := w.send(w.Meier, "", "c.pdf", body)
	must(t, err)
	if len(foreign.Duplicates) != 0 {
		t.Errorf("told a clerk of another unit: %v", foreign.Duplicates)
	}
	if w.Count("blob") != 1 || w.Count("dokument") != 3 {
		t.Error("one blob, three Dokumente")
	}
}

// bigTIFF is the header of a TIFF of 50,000 megapixels.
func hugeTIFF() []byte {
	var b bytes.Buffer
	b.WriteString("II*\x00")
	le := binary.LittleEndian
	put := func(v any) { _ = binary.Write(&b, le, v) }
	put(uint32(8))
	entries := [][3]uint32{{256, 4, 250_000}, {257, 4, 200_000}, {258, 3, 8}, {259, 3, 1}, {262, 3, 1}, {273, 4, 200}, {277, 3, 1}, {278, 4, 200_000}, {279, 4, 1000}}
	put(uint16(len(entries)))
	for _, e := range entries {
		put(uint16(e[0]))
		put(uint16(e[1]))
		put(uint32(1))
		put(e[2])
	}
	put(uint32(0))
	b.Write(make([]byte, 2000))
	return b.Bytes()
}

func TestBadInputHasAStableCodeInTwoLanguages(t *testing.T) {
	w := newWorld(t)
	good := pdf("good", 0)
	for _, c := range []struct {
		name string
		sub  intake.Submission
		code string
	}{
		{"empty file", intake.Submission{Files: []*blob.File{w.file("a.pdf", nil)}}, "file-empty"},
		{"no document", intake.Submission{Files: []*blob.File{w.file("a.pdf", []byte("%PDF-1.4\n"))}}, "no-document"},
		{"wrong hash", intake.Submission{Files: []*blob.File{w.file("a.pdf", good)}, Meta: intake.Meta{Expected: [][32]byte{{1}}}}, "hash-differs"},
		{"unknown unit", intake.Submission{Files: []*blob.File{w.file("a.pdf", good)}, Meta: intake.Meta{Unit: "FB99"}}, "unit-unknown"},
		{"path with dots", intake.Submission{Files: []*blob.File{w.file("../../etc/passwd", good)}}, "file-name-unsafe"},
		{"path with dots backwards", intake.Submission{Files: []*blob.File{w.file(`a\..\..\b.pdf`, good)}}, "file-name-unsafe"},
		{"absolute path", intake.Submission{Files: []*blob.File{w.file("/etc/passwd", good)}}, "file-name-unsafe"},
		{"drive", intake.Submission{Files: []*blob.File{w.file(`C:\x.pdf`, good)}}, "file-name-unsafe"},
		{"no file", intake.Submission{}, "no-files"},
		{"program", intake.Submission{Files: []*blob.File{w.file("a.pdf", []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00"))}}, "type-mismatch"},
		{"long key", intake.Submission{Files: []*blob.File{w.file("a.pdf", good)}, Key: strings.Repeat("k", 201)}, "idempotency-key-invalid"},
		{"long subject", intake.Submission{Files: []*blob.File{w.file("a.pdf", good)}, Meta: intake.Meta{Subject: strings.Repeat("ä", 1001)}}, "field-too-long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.in.Receive(t.Context(), w.Schulz, c.sub)
			wantFault(t, err, c.code)
			f, _ := fault.As(err)
			for _, lang := range []string{"de", "en"} {
				if s := f.Text(lang); s == "" || s == c.code || strings.Contains(s, "{") {
					t.Errorf("%s: %q", lang, s)
				}
			}
		})
	}
	if w.Count("dokument")+w.Count("blob")+w.Count("quarantine") != 0 || w.Objects() != 0 {
		t.Error("something was stored")
	}
	_, err := w.send(w.Brandt, "", "a.pdf", good)
	wantFault(t, err, "read-only-role")
}

func TestDoubtfulFilesGoIntoQuarantineWithTheirBytes(t *testing.T) {
	w := newWorld(t)
	cases := map[string]struct {
		name string
		body []byte
		code string
	}{
		"huge TIFF": {"scan.tif", hugeTIFF(), "too-many-pixels"},
		"truncated": {"a.pdf", pdf("a letter whose scan broke off", 20_000)[:9000], ""},
		"encrypted": {"b.pdf", sharedtest.Read(t, "data", "intake", "broken", "password-is-test.pdf"), "password-needed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rec, err := w.send(w.Schulz, name, c.name, c.body)
			must(t, err)
			note := rec.Files[0]
			if rec.State != akte.Quarantined || note.QuarantineID == nil || note.Messages["de"] == "" || strings.Contains(note.Messages["en"], "{") {
				t.Fatalf("%+v", rec)
			}
			if c.code != "" && note.Code != c.code {
				t.Errorf("code %s", note.Code)
			}
			q, err := w.in.QuarantineByID(t.Context(), w.Schulz, *note.QuarantineID)
			must(t, err)
			if q.State != intake.QuarantineOpen || q.DokumentID == nil || *q.DokumentID != rec.ID || q.BlobID == nil {
				t.Fatalf("%+v", q)
			}
			if !bytes.Equal(w.Content(w.Schulz, *q.BlobID), c.body) {
				t.Error("bytes differ")
			}
			for kind, want := range map[string]int{"dokument.received": 0, "dokument.quarantined": 1, "quarantine.added": 1} {
				if n := worldtest.One[int](w.World, `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND kind = $1 AND record_id = $2`, kind, rec.ID); n != want {
					t.Errorf("%s: %d", kind, n)
				}
			}
		})
	}
	var jobs int
	must(t, w.DB.Pool().QueryRow(t.Context(), `SELECT count(*) FROM river_job`).Scan(&jobs))
	if jobs != 0 {
		t.Errorf("%d jobs follow from quarantine", jobs)
	}
	w.Consistent()
}

func TestQuarantineIsLookedAtRetriedAndReleased(t *testing.T) {
	w := newWorld(t)
	checker := w.Roth // registry
	rec, err := w.in.Receive(t.Context(), w.Schulz, intake.Submission{
		Files: []*blob.File{w.file("a.tif", hugeTIFF()), w.file("b.pdf", pdf("good", 0)), w.file("c.tif", append(hugeTIFF(), 1))}})
	must(t, err)
	list := func(a access.Actor) []intake.Quarantine {
		t.Helper()
		out, next, err := w.in.QuarantineList(t.Context(), a, intake.QuarantineFilter{}, "", 0)
		must(t, err)
		if next != "" {
			t.Error("a next page")
		}
		return out
	}
	if len(list(checker)) != 2 || len(list(w.Schulz)) != 2 || len(list(w.Meier)) != 0 {
		t.Fatalf("seen: %d, %d, %d", len(list(checker)), len(list(w.Schulz)), len(list(w.Meier)))
	}
	page, next, err := w.in.QuarantineList(t.Context(), checker, intake.QuarantineFilter{}, "", 1)
	must(t, err)
	rest, end, err := w.in.QuarantineList(t.Context(), checker, intake.QuarantineFilter{}, next, 1)
	must(t, err)
	if len(page) != 1 || len(rest) != 1 || end != "" || page[0].ID == rest[0].ID {
		t.Errorf("pages %v %v %q", page, rest, end)
	}
	_, _, err = w.in.QuarantineList(t.Context(), checker, intake.QuarantineFilter{}, "nonsense", 1)
	wantFault(t, err, "quarantine-cursor-invalid")

	a, c := page[0], rest[0]
	_, err = w.in.Retry(t.Context(), w.Meier, a.ID, 0)
	wantFault(t, err, "not-found")
	_, err = w.in.Retry(t.Context(), w.Schulz, a.ID, 0)
	wantFault(t, err, "forbidden")
	tried, err := w.in.Retry(t.Context(), checker, a.ID, a.RowVersion)
	must(t, err)
	if tried.State != intake.QuarantineOpen || tried.RowVersion != a.RowVersion+1 || tried.Code != "too-many-pixels" {
		t.Errorf("%+v", tried)
	}
	_, err = w.in.Release(t.Context(), checker, a.ID, "geprüft", a.RowVersion)
	wantFault(t, err, "stale-version")
	_, err = w.in.Release(t.Context(), checker, a.ID, "  ", 0)
	wantFault(t, err, "release-reason-missing")
	_, err = w.in.Release(t.Context(), w.Schulz, a.ID, "bitte", 0)
	wantFault(t, err, "forbidden")

	state := func() string {
		return worldtest.One[string](w.World, `SELECT state FROM dokument WHERE tenant = evb_tenant() AND id = $1`, rec.ID)
	}
	out, err := w.in.Release(t.Context(), checker, a.ID, "Plan im Großformat, Papier liegt vor", 0)
	must(t, err)
	if out.State != intake.QuarantineOut || out.Resolution == "" || *out.ResolvedBy != checker.User || state() != "quarantined" {
		t.Errorf("%+v, Dokument %s", out, state())
	}
	_, err = w.in.Release(t.Context(), checker, a.ID, "noch einmal", 0)
	wantFault(t, err, "quarantine-done")
	_, err = w.in.Release(t.Context(), checker, c.ID, "ebenso", 0)
	must(t, err)
	if state() != "captured" {
		t.Errorf("Dokument %s", state())
	}
	var jobs int
	must(t, w.DB.Pool().QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE args ->> 'subject' = $1`, rec.VersionID.String()).Scan(&jobs))
	if jobs != 1 {
		t.Errorf("%d jobs follow from the release", jobs)
	}
	if len(list(checker)) != 0 {
		t.Error("still listed")
	}
}

func TestARetryWithHigherLimitsTakesTheFileIn(t *testing.T) {
	w := newWorld(t, func(c *config) { c.media.Limits.PagePoints = 100 })
	rec, err := w.send(w.Schulz, "", "a.pdf", pdf("too large for now", 0))
	must(t, err)
	if rec.State != akte.Quarantined || rec.Files[0].Code != "page-too-large" {
		t.Fatalf("%+v", rec)
	}
	q, err := w.beside(t, w.DB, config{}).in.Retry(t.Context(), w.Roth, *rec.Files[0].QuarantineID, 0)
	must(t, err)
	if q.State != intake.QuarantineDone {
		t.Errorf("%+v", q)
	}
	if s := worldtest.One[string](w.World, `SELECT state FROM dokument WHERE tenant = evb_tenant() AND id = $1`, rec.ID); s != "captured" {
		t.Errorf("Dokument %s", s)
	}
}
