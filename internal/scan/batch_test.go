package scan_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/postgres/pgtest"
	"evb/internal/scan"
	"evb/internal/scan/folder"
)

// fates gives the book of the database in the words of the truth.
func (w *world) fates(id uuid.UUID) []string {
	return w.query(`SELECT page || ' ' || CASE fate WHEN 'filed' THEN 'content' ELSE fate END || ' ' ||
            CASE WHEN fate = 'filed' THEN position ELSE 0 END || ' ' || code
        FROM batch_page WHERE tenant = evb_tenant() AND batch_id = $1 ORDER BY page`, id)
}

func truthFates(tr mediatest.Truth) []string {
	var out []string
	for _, p := range tr.Pages {
		doc := p.Doc
		if p.Kind != "content" {
			doc = 0
		}
		out = append(out, fmt.Sprintf("%d %s %d %s", p.Page, p.Kind, doc, p.Code))
	}
	return out
}

func TestSampleBatchesGoThroughAndTheirBooksBalance(t *testing.T) {
	w := newWorld(t)
	e := w.person("e.wolf", access.ScanOperator)
	for _, c := range []struct {
		id        string
		documents int
		findings  string
	}{{"dev-a", 6, ""}, {"dev-b", 6, ""}, {"dev-c", 4, ""}, {"dev-d", 4, "page-count-differs"}} {
		t.Run(c.id, func(t *testing.T) {
			book := w.through(e, sample(t, c.id))
			if book.State != scan.Balanced || book.Documents != c.documents || len(book.Quarantine) != 0 || book.Duplicates != 0 || book.Replayed {
				t.Fatalf("book: %s", encode(book))
			}
			balances(t, book)
			if got := codes(book); !strings.Contains(got, c.findings) || c.findings == "" && got != "" {
				t.Errorf("findings %q, want %q", got, c.findings)
			}
			tr := mediatest.ReadTruth(t, c.id)
			if d := cmp.Diff(truthFates(tr), w.fates(book.ID)); d != "" {
				t.Errorf("fates (-truth +book):\n%s", d)
			}
			for _, p := range book.Dokumente {
				if p.DokumentID == nil || p.State != "filed" || p.ReceivedOn == "" || p.SeparatorCode == "" || p.FirstPage == 0 {
					t.Errorf("position: %s", encode(p))
				}
			}
			w.checkBytes(t, book)
		})
	}
}

// checkBytes reads each Dokument's file back and lets the reader count its pages.
func (w *world) checkBytes(t *testing.T, book scan.Book) {
	t.Helper()
	for _, p := range book.Dokumente {
		got := w.query(`SELECT f.blob_id || ' ' || f.file_name || ' ' || f.media_type || ' ' || f.pages || ' ' || d.channel || ' ' || d.received_on
            FROM dokument d JOIN dokument_version v ON v.tenant = d.tenant AND v.dokument_id = d.id
            JOIN rendition r ON r.tenant = v.tenant AND r.version_id = v.id AND r.kind = 'original'
            JOIN primary_file f ON f.tenant = r.tenant AND f.rendition_id = r.id
            WHERE d.tenant = evb_tenant() AND d.id = $1`, p.DokumentID)
		if len(got) != 1 {
			t.Fatalf("files of %v: %q", p.DokumentID, got)
		}
		var id, name, mt, channel, received string
		var pages int
		_, err := fmt.Sscan(got[0], &id, &name, &mt, &pages, &channel, &received)
		must(t, err)
		if channel != "scan" || received != p.ReceivedOn || name != fmt.Sprintf("%s-%03d%s", book.BatchID, p.Position, filepath.Ext(p.File)) {
			t.Errorf("dokument: %q", got[0])
		}
		f, err := w.Blobs.ToFile(context.Background(), system, uuid.MustParse(id))
		must(t, err)
		probe, err := w.engine.Probe(context.Background(), f.Path, name)
		f.Remove()
		if err != nil || probe.Pages != pages || probe.MediaType != mt || probe.Verdict != media.Accept {
			t.Errorf("file of position %d: %+v, %v", p.Position, probe, err)
		}
	}
}

func TestABatchHandedOverAgainGivesTheSameReceipt(t *testing.T) {
	w := newWorld(t)
	e, other := w.person("e.wolf", access.ScanOperator), w.person("x", access.ScanOperator)
	b := sample(t, "dev-c")
	first := w.through(e, b)
	for _, a := range []access.Actor{e, other} {
		rec := w.create(a, b)
		if rec.Created || !rec.Book.Replayed {
			t.Errorf("receipt: created %v, replayed %v", rec.Created, rec.Book.Replayed)
		}
		rec.Book.Replayed = false
		if d := cmp.Diff(first, rec.Book); d != "" {
			t.Errorf("another receipt:\n%s", d)
		}
	}
	// Files and submit again: nothing happens.
	content, err := os.ReadFile(filepath.Join(b.Dir, b.Files[0].Name))
	must(t, err)
	must(t, w.put(e, first.ID, b.Files[0].Name, content))
	again, err := w.scans.Submit(context.Background(), e, first.ID)
	must(t, err)
	if d := cmp.Diff(first, again); d != "" {
		t.Errorf("submit again changed the book:\n%s", d)
	}
	must(t, w.scans.ProcessNow(context.Background(), pgtest.Stadt, first.ID))
	if n := w.query(`SELECT count(*)::text FROM dokument WHERE tenant = evb_tenant()`); n[0] != "4" {
		t.Errorf("%s Dokumente", n[0])
	}
	if err := w.put(e, first.ID, b.Files[0].Name, []byte("other")); !fault.Is(err, "batch-file-changed") {
		t.Errorf("other bytes under the same name: %v", err)
	}
}

func TestTheSameBatchIdWithAnotherIndexIsRefused(t *testing.T) {
	w := newWorld(t)
	b := sample(t, "dev-a")
	w.create(system, b)
	_, err := w.scans.Create(context.Background(), system, scan.NewBatch{CSV: bytes.Replace(b.CSV, []byte("2024-06-27"), []byte("2024-06-28"), 1)})
	if !fault.Is(err, "batch-index-changed") {
		t.Errorf("%v", err)
	}
	_, err = w.scans.Create(context.Background(), system, scan.NewBatch{Name: "dev-z", CSV: b.CSV})
	if !fault.Is(err, "batch-name-differs") {
		t.Errorf("%v", err)
	}
}

func TestABadIndexIsToldLineByLineAndKept(t *testing.T) {
	w := newWorld(t)
	csv := "Stapel;Dokument;Datei;Seiten\nx;1;../../etc/passwd;1\nx;2;a.pdf;-3\n"
	for range 2 {
		_, err := w.scans.Create(context.Background(), system, scan.NewBatch{CSV: []byte(csv), CSVName: "x.index.csv"})
		f, ok := fault.As(err)
		if !ok || f.Code != "index-invalid" || len(f.Fields) != 2 {
			t.Fatalf("%v", err)
		}
		if f.Fields[0].Code != "index-path" || f.Fields[0].Pointer != "/x.index.csv/2/Datei" || f.Fields[1].Code != "index-number" {
			t.Errorf("fields: %+v", f.Fields)
		}
		for _, x := range f.Fields {
			for _, lang := range []string{"de", "en"} {
				if s := fault.Text(lang, x.Code, x.Params); s == x.Code || strings.Contains(s, "{") {
					t.Errorf("%s: %s", lang, s)
				}
			}
		}
	}
	_, err := w.scans.Create(context.Background(), system, scan.NewBatch{CSV: []byte("Stapel;Dokument;Datei;Seiten\nx;1;Gr\x81\xe4.pdf;1\n")})
	if f, ok := fault.As(err); !ok || f.Code != "index-invalid" || f.Fields[0].Code != "index-charset" {
		t.Errorf("charset: %v", err)
	}
	got := w.query(`SELECT file_name || ' ' || code FROM quarantine WHERE tenant = evb_tenant() ORDER BY created_at`)
	if d := cmp.Diff([]string{"x.index.csv index-path", "index.csv index-charset"}, got); d != "" {
		t.Error(d)
	}
}

func TestAnInterruptedUploadGoesOnAlsoAfterARestart(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	b := sample(t, "dev-c")
	id := w.create(system, b).Book.ID
	name := b.Files[0].Name
	content, err := os.ReadFile(filepath.Join(b.Dir, name))
	must(t, err)
	n := int64(len(content))
	third := n / 3
	if u, err := w.scans.Offset(ctx, system, id, name); err != nil || u.Offset != 0 || u.Complete {
		t.Fatalf("before: %+v %v", u, err)
	}
	u, err := w.scans.PutPart(ctx, system, id, name, scan.Part{Length: third, Total: n}, bytes.NewReader(content[:third]))
	if err != nil || u.Offset != third || u.Complete {
		t.Fatalf("first part: %+v %v", u, err)
	}
	// The line breaks in the middle of the second part.
	broken := io.MultiReader(bytes.NewReader(content[third:third+100]), errReader{io.ErrUnexpectedEOF})
	if _, err := w.scans.PutPart(ctx, system, id, name, scan.Part{Offset: third, Length: third, Total: n}, broken); err == nil {
		t.Fatal("a broken part was taken")
	}
	if _, err := w.scans.Submit(ctx, system, id); !fault.Is(err, "batch-incomplete") {
		t.Errorf("submit: %v", err)
	}
	must(t, w.engine.Close())
	w.Restart()
	must(t, w.open()) // as after a restart: the spool is empty, the upload is not
	if u, err = w.scans.Offset(ctx, system, id, name); err != nil || u.Offset != third+100 || u.Size != n {
		t.Fatalf("after the restart: %+v %v", u, err)
	}
	_, err = w.scans.PutPart(ctx, system, id, name, scan.Part{Offset: 7, Length: 1, Total: n}, strings.NewReader("x"))
	if f, ok := fault.As(err); !ok || f.Code != "batch-upload-offset" || f.Params["offset"] != fmt.Sprint(third+100) {
		t.Errorf("wrong place: %v", err)
	}
	rest := content[third+100:]
	u, err = w.scans.PutPart(ctx, system, id, name, scan.Part{Offset: third + 100, Length: int64(len(rest)), Total: n}, bytes.NewReader(rest))
	if err != nil || !u.Complete {
		t.Fatalf("rest: %+v %v", u, err)
	}
	_, err = w.scans.Submit(ctx, system, id)
	must(t, err)
	must(t, w.scans.ProcessNow(ctx, pgtest.Stadt, id))
	if book := w.book(system, id); book.State != scan.Balanced || book.Documents != 4 {
		t.Errorf("book: %s", encode(book))
	}
	left, _ := filepath.Glob(filepath.Join(w.at.Upload, "*", "*", "*"))
	if len(left) != 0 {
		t.Errorf("left in the upload folder: %q", left)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestPartsThatDoNotFitAreRefused(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	id := w.create(system, sample(t, "dev-a")).Book.ID
	put := func(name string, p scan.Part, body string) error {
		_, err := w.scans.PutPart(ctx, system, id, name, p, strings.NewReader(body))
		return err
	}
	for _, c := range []struct {
		name string
		part scan.Part
		body string
		code string
	}{
		{"../dev-a.pdf", scan.Part{Length: 1, Total: 1}, "x", "batch-file-name"},
		{"a/b.pdf", scan.Part{Length: 1, Total: 1}, "x", "batch-file-name"},
		{"other.pdf", scan.Part{Length: 1, Total: 1}, "x", "batch-file-unexpected"},
		{"dev-a.index.csv", scan.Part{Length: 252, Total: 252}, "x", "batch-file-changed"},
		{"dev-a.pdf", scan.Part{Length: 5, Total: 3}, "xxxxx", "batch-upload-range"},
		{"dev-a.pdf", scan.Part{Length: 1, Total: 300_000_000}, "x", "batch-file-too-large"},
		{"dev-a.pdf", scan.Part{Offset: 5, Length: 1, Total: 10}, "x", "batch-upload-offset"},
		{"dev-a.pdf", scan.Part{Length: 10, Total: 10}, "xxxxx", "batch-upload-cut"},
		{"dev-a.pdf", scan.Part{Length: 5, Total: 5, SHA256: make([]byte, 32)}, "xxxxx", "batch-upload-digest"},
	} {
		if c.name == "dev-a.index.csv" {
			c.part.Total = 251
			c.part.Length = 251
		}
		if err := put(c.name, c.part, c.body); !fault.Is(err, c.code) {
			t.Errorf("%s %+v: %v, want %s", c.name, c.part, err, c.code)
		}
	}
	if u, err := w.scans.Offset(ctx, system, id, "dev-a.pdf"); err != nil || u.Offset != 0 {
		t.Errorf("after a wrong digest: %+v %v", u, err)
	}
}

func TestWhoMayBringAndSeeBatches(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	e, clerk, auditor := w.person("e.wolf", access.ScanOperator), w.Schulz, w.Brandt
	service := w.person("fv-bau", access.Service)
	b := sample(t, "dev-c")
	for _, a := range []access.Actor{clerk, auditor} {
		if _, err := w.scans.Create(ctx, a, scan.NewBatch{CSV: b.CSV}); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("%s: %v", a.Login, err)
		}
	}
	id := w.create(service, b).Book.ID
	for _, a := range []access.Actor{service, e, auditor} {
		if _, err := w.scans.Batch(ctx, a, id); err != nil {
			t.Errorf("%s: %v", a.Login, err)
		}
	}
	if _, err := w.scans.Batch(ctx, clerk, id); !fault.Is(err, "not-found") {
		t.Errorf("clerk: %v", err)
	}
	if _, err := w.scans.Submit(ctx, clerk, id); !fault.Is(err, "not-found") {
		t.Errorf("clerk submits: %v", err)
	}
	if err := w.put(auditor, id, b.Files[0].Name, nil); fault.KindOf(err) != fault.Forbidden {
		t.Errorf("auditor puts: %v", err)
	}
	if err := w.put(clerk, id, b.Files[0].Name, nil); !fault.Is(err, "not-found") {
		t.Errorf("clerk puts: %v", err)
	}
	foreign := e
	foreign.Tenant, foreign.TenantSlug = pgtest.Eigenbetrieb, "eigenbetrieb"
	if _, err := w.scans.Batch(ctx, foreign, id); !fault.Is(err, "not-found") {
		t.Errorf("other tenant: %v", err)
	}
	if list, err := w.scans.List(ctx, clerk, nil, uuid.Nil, 10); err != nil || len(list) != 0 {
		t.Errorf("clerk lists: %v %v", list, err)
	}
	if list, err := w.scans.List(ctx, e, []scan.State{scan.Receiving}, uuid.Nil, 10); err != nil || len(list) != 1 {
		t.Errorf("operator lists: %v %v", list, err)
	}
}

func TestTheFolderOfTheSamplesIsRead(t *testing.T) {
	all, err := folder.Read(mediatest.Batches())
	must(t, err)
	var got []string
	for _, b := range all {
		got = append(got, fmt.Sprintf("%s %v %d %d", b.Name, b.Err, len(b.Files), len(b.Missing)))
	}
	if d := cmp.Diff([]string{"dev-a <nil> 1 0", "dev-b <nil> 1 0", "dev-c <nil> 1 0", "dev-d <nil> 1 0"}, got); d != "" {
		t.Error(d)
	}
}
