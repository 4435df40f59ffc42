package scan_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evb/internal/fault"
	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/postgres/pgtest"
	"evb/internal/scan"
	"evb/internal/sharedtest"
)

// page cuts one page out of a sample, as a file of its own.
func (w *world) page(name string, pages ...int) []byte {
	w.T.Helper()
	out := filepath.Join(w.T.TempDir(), "page.pdf")
	err := w.engine.Split(context.Background(), media.Source{Path: filepath.Join(mediatest.Batches(), name), Kind: media.KindPDF},
		[]media.Part{{Pages: pages, Out: out}})
	must(w.T, err)
	b, err := os.ReadFile(out)
	must(w.T, err)
	return b
}

func TestOneFilePerDocument(t *testing.T) {
	w := newWorld(t)
	a, b := w.page("dev-a.pdf", 2), w.page("dev-a.pdf", 4, 6)
	sum := sha256.Sum256(a)
	book := w.through(system, filesBatch(t, "post-1", []string{
		"1;a.pdf;1;;;27.06.2024;wolf;" + hex.EncodeToString(sum[:]),
		"2;b.pdf;3;64-WG-123456/24;Antrag;2024-06-28;;",
		"3;c.pdf;1;;;;;" + strings.Repeat("ab", 32),
		"4;nicht-da.pdf;2;;;;;",
		"5;leer.pdf;2;;;;;",
		"6;noch-a.pdf;1;;;;;",
	}, map[string][]byte{"a.pdf": a, "b.pdf": b, "c.pdf": w.page("dev-a.pdf", 8), "leer.pdf": nil, "noch-a.pdf": a, "zuviel.pdf": w.page("dev-a.pdf", 10)}))
	if book.State != scan.Attention || book.Documents != 4 || book.Form != scan.Files || book.Duplicates != 1 {
		t.Errorf("book: %s", encode(book))
	}
	balances(t, book)
	if want := (scan.Pages{In: 8, Filed: 5, Quarantined: 3}); book.Pages != want {
		t.Errorf("pages: %+v, want %+v", book.Pages, want)
	}
	var got []string
	for _, p := range book.Dokumente {
		got = append(got, fmt.Sprint(p.Position, " ", p.State, " ", p.File))
	}
	want := "1 filed a.pdf; 2 filed b.pdf; 3 quarantined c.pdf; 4 missing nicht-da.pdf; 5 quarantined leer.pdf; 6 filed noch-a.pdf; 7 filed zuviel.pdf"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("positions: %s", s)
	}
	if s := codes(book); s != "page-count-differs document-missing document-surplus" {
		t.Errorf("findings: %s", s)
	}
	quarantined := map[string]string{}
	for _, q := range book.Quarantine {
		quarantined[q.File] = q.Code
		if q.Reason == q.Code || q.ReasonEN == q.Code || strings.Contains(q.Reason+q.ReasonEN, "{") {
			t.Errorf("reason: %+v", q)
		}
	}
	if quarantined["c.pdf"] != "file-digest-differs" || quarantined["leer.pdf"] != "file-empty" || len(quarantined) != 2 {
		t.Errorf("quarantine: %v", quarantined)
	}
	if d := w.query(`SELECT m.document_type || ' ' || (m.data->>'barcode') FROM batch_document d
        JOIN record_metadata m ON m.tenant = d.tenant AND m.record_id = d.dokument_id WHERE d.tenant = evb_tenant() AND d.position = 2`); d[0] != "Antrag 64-WG-123456/24" {
		t.Errorf("data: %q", d)
	}

	// The missing file comes: handed over again the batch goes on, and only the
	// surplus document still needs a person.
	ctx := context.Background()
	must(t, w.put(system, book.ID, "nicht-da.pdf", w.page("dev-a.pdf", 2, 4)))
	if err := w.put(system, book.ID, "neu.pdf", a); !fault.Is(err, "batch-submitted") {
		t.Errorf("a new file after all: %v", err)
	}
	_, err := w.scans.Submit(ctx, system, book.ID)
	must(t, err)
	must(t, w.scans.ProcessNow(ctx, pgtest.Stadt, book.ID))
	book = w.book(system, book.ID)
	balances(t, book)
	if book.State != scan.Attention || book.Documents != 5 || book.Pages.In != 10 {
		t.Errorf("book after the missing file: %s", encode(book))
	}
	for _, f := range book.Findings {
		if f.Code == "document-missing" && !f.Resolved {
			t.Error("the missing document is still missing")
		}
	}
}

func TestAMissingFileThatComesBalancesTheBatch(t *testing.T) {
	w := newWorld(t)
	b := filesBatch(t, "post-2", []string{"1;a.pdf;1;;;;;", "2;b.pdf;1;;;;;"}, map[string][]byte{"a.pdf": w.page("dev-a.pdf", 2)})
	if len(b.Missing) != 1 {
		t.Fatalf("missing: %q", b.Missing)
	}
	book := w.through(system, b)
	if book.State != scan.Attention {
		t.Fatalf("book: %s", encode(book))
	}
	must(t, os.WriteFile(filepath.Join(b.Dir, "b.pdf"), w.page("dev-a.pdf", 4), 0o600))
	if _, err := w.scans.HandOver(context.Background(), system, b.Dir); err != nil {
		t.Fatal(err)
	}
	must(t, w.scans.ProcessNow(context.Background(), pgtest.Stadt, book.ID))
	if book = w.book(system, book.ID); book.State != scan.Balanced || book.Documents != 2 {
		t.Errorf("book: %s", encode(book))
	}
}

func TestMissingAndSurplusDocumentsOfAStreamNeedAPerson(t *testing.T) {
	w := newWorld(t)
	b := sample(t, "dev-c")
	content, err := os.ReadFile(filepath.Join(b.Dir, b.Files[0].Name))
	must(t, err)
	// Document 3 is not announced, document 9 is and does not come, document 2
	// has one page too many in the index.
	csv := string(b.CSV)
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(csv), "\n") {
		f := strings.Split(l, ";")
		switch f[1] {
		case "2":
			f[3] = "2"
		case "3":
			f[1], f[2] = "9", "DO-DEV-C-009"
		}
		lines = append(lines, strings.Join(f, ";"))
	}
	rec, err := w.scans.Create(context.Background(), system, scan.NewBatch{CSV: []byte(strings.Join(lines, "\n") + "\n")})
	must(t, err)
	id := rec.Book.ID
	must(t, w.put(system, id, "dev-c.pdf", content))
	_, err = w.scans.Submit(context.Background(), system, id)
	must(t, err)
	must(t, w.scans.ProcessNow(context.Background(), pgtest.Stadt, id))
	book := w.book(system, id)
	balances(t, book)
	if book.State != scan.Attention || book.Documents != 4 {
		t.Errorf("book: %s", encode(book))
	}
	var got []string
	for _, p := range book.Dokumente {
		got = append(got, fmt.Sprint(p.Position, " ", p.State, " ", p.SeparatorCode))
	}
	if s := strings.Join(got, "; "); s != "1 filed DO-DEV-C-001; 2 filed DO-DEV-C-002; 4 filed DO-DEV-C-004; 9 missing DO-DEV-C-009; 10 filed DO-DEV-C-003" {
		t.Errorf("positions: %s", s)
	}
	for _, c := range []string{"page-count-differs", "document-missing", "document-surplus"} {
		if !strings.Contains(codes(book), c) {
			t.Errorf("finding %s is not there: %s", c, codes(book))
		}
	}
}

func TestAStreamThatCannotBeReadIsQuarantinedWhole(t *testing.T) {
	w := newWorld(t)
	b := sample(t, "dev-c")
	content, err := os.ReadFile(filepath.Join(b.Dir, b.Files[0].Name))
	must(t, err)
	id := w.create(system, b).Book.ID
	must(t, w.put(system, id, b.Files[0].Name, content[:len(content)/2]))
	_, err = w.scans.Submit(context.Background(), system, id)
	must(t, err)
	must(t, w.scans.ProcessNow(context.Background(), pgtest.Stadt, id))
	book := w.book(system, id)
	balances(t, book)
	if book.State == scan.Processing || book.Documents != 0 && book.Pages.Quarantined == 0 || len(book.Quarantine) == 0 && book.State == scan.Balanced {
		t.Errorf("book: %s", encode(book))
	}
	t.Log(encode(book.Pages), codes(book), encode(book.Quarantine))
}

// Every file of the test data that is broken or hostile, in one batch: each one
// gets its verdict, and the two good letters among them arrive.
func TestBrokenFilesNeverStopTheOthers(t *testing.T) {
	w := newWorld(t)
	files := map[string][]byte{"aaa-gut.pdf": w.page("dev-a.pdf", 2), "zzz-gut.pdf": w.page("dev-a.pdf", 4)}
	for _, dir := range []string{"broken", "hostile"} {
		names, err := filepath.Glob(sharedtest.Path(t, "data", "intake", dir) + "/*")
		must(t, err)
		for _, n := range names {
			b, err := os.ReadFile(n)
			must(t, err)
			if len(b) > 20_000_000 || strings.HasSuffix(n, ".csv") || strings.HasSuffix(n, ".xml") {
				continue
			}
			files[strings.ReplaceAll(filepath.Base(n), "..", "_")] = b
		}
	}
	var lines []string
	n := 0
	for name := range files {
		n++
		lines = append(lines, fmt.Sprintf("%d;%s;1;;;;;", n, name))
	}
	b := filesBatch(t, "kaputt", lines, files)
	if b.Err != nil {
		t.Fatal(b.Err)
	}
	book := w.through(system, b)
	balances(t, book)
	if !book.State.Settled() || book.Documents+len(book.Quarantine) != len(files) {
		t.Errorf("%s: %d documents and %d in quarantine of %d files", book.State, book.Documents, len(book.Quarantine), len(files))
	}
	good := 0
	for _, p := range book.Dokumente {
		if strings.HasSuffix(p.File, "-gut.pdf") && p.State == "filed" {
			good++
		}
	}
	if good != 2 {
		t.Errorf("%d of the two good letters arrived", good)
	}
	for _, q := range book.Quarantine {
		if q.Reason == q.Code || q.Reason == "" || strings.Contains(q.Reason+q.ReasonEN, "{") {
			t.Errorf("reason: %+v", q)
		}
	}
	// The original bytes are kept.
	kept := w.query(`SELECT q.file_name || ' ' || encode(b.sha256, 'hex') FROM quarantine q JOIN blob b ON b.tenant = q.tenant AND b.id = q.blob_id
        WHERE q.tenant = evb_tenant() AND b.state = 'present'`)
	if len(kept) != len(book.Quarantine) {
		t.Errorf("%d of %d kept", len(kept), len(book.Quarantine))
	}
	for _, k := range kept {
		name, sum, _ := strings.Cut(k, " ")
		if s := sha256.Sum256(files[name]); hex.EncodeToString(s[:]) != sum && !bytes.Contains([]byte(k), []byte("  ")) {
			t.Errorf("%s: other bytes in quarantine", name)
		}
	}
	t.Logf("%d files, %d Dokumente, %d quarantined", len(files), book.Documents, len(book.Quarantine))
}
