package scan_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"testing"

	"evb/internal/fault"
	"evb/internal/scan"
	"evb/internal/sharedtest"
)

// Every file of the test data in one batch: each gets the outcome that the
// manifest expects, with a reason in both languages and its bytes kept, and
// none keeps the others from arriving.
func TestEveryFileOfTheManifestHasTheOutcomeItExpects(t *testing.T) {
	w := newWorld(t)
	files, expect := map[string][]byte{}, map[string]string{}
	var lines []string
	alike := 0
	for line := range strings.Lines(string(sharedtest.Read(t, "data", "intake", "MANIFEST.tsv"))) {
		c := strings.Split(line, "\t")
		// The files of batches are streams and have tests of their own; what
		// archives and mails hold is not looked at here.
		if len(c) < 3 || c[0] == "file" || c[1] == "batches" || strings.HasPrefix(path.Base(c[0]), "index-") ||
			c[2] == "quarantine" && (strings.HasSuffix(c[0], ".zip") || strings.HasSuffix(c[0], ".eml")) {
			continue
		}
		// A tenth of the conformance files stands for all: to the intake they are alike.
		if c[1] == "pdfa-conformance" {
			if alike++; alike%10 != 1 {
				continue
			}
		}
		name := c[1] + "-" + path.Base(c[0])
		files[name] = sharedtest.Read(t, append([]string{"data", "intake"}, strings.Split(c[0], "/")...)...)
		expect[name] = c[2]
		if c[1] == "fuzz" || strings.Contains(c[0], "fuzz") {
			expect[name] = "either"
		}
		lines = append(lines, fmt.Sprintf("%d;%s;1;;;;;", len(lines)+1, name))
	}
	if len(files) < 120 {
		t.Fatalf("%d files", len(files))
	}
	b := filesBatch(t, "alles", lines, files)
	must(t, b.Err)
	book := w.through(system, b)
	balances(t, book)
	if book.State != scan.Balanced || book.Documents+len(book.Quarantine) != len(files) {
		t.Errorf("%s: %d documents and %d in quarantine of %d files", book.State, book.Documents, len(book.Quarantine), len(files))
	}
	why := map[string]string{}
	for _, q := range book.Quarantine {
		why[q.File] = q.Code
		if q.Reason == q.Code || q.Reason == "" || q.Reason == q.ReasonEN || strings.Contains(q.Reason+q.ReasonEN, "{") {
			t.Errorf("reason: %+v", q)
		}
	}
	for _, p := range book.Dokumente {
		want := map[string]string{"quarantine": "quarantined", "reject": "quarantined", "either": p.State}[expect[p.File]]
		if want == "" {
			want = "filed" // accept and repair
		}
		if p.State != want {
			t.Errorf("%s (%s): %s %s", p.File, expect[p.File], p.State, why[p.File])
		}
	}
	kept := 0
	for _, k := range w.query(`SELECT q.file_name || '|' || encode(b.sha256, 'hex') FROM quarantine q JOIN blob b ON b.tenant = q.tenant AND b.id = q.blob_id
        WHERE q.tenant = evb_tenant() AND b.state = 'present'`) {
		name, sum, _ := strings.Cut(k, "|")
		if s := sha256.Sum256(files[name]); hex.EncodeToString(s[:]) != sum {
			t.Errorf("%s: other bytes in quarantine", name)
		}
		kept++
	}
	if kept != len(book.Quarantine) {
		t.Errorf("%d of %d kept", kept, len(book.Quarantine))
	}
	t.Logf("%d files, %d Dokumente, %d quarantined", len(files), book.Documents, len(book.Quarantine))
}

func TestAFileThatIsRefusedStandsInTheBookAndHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	a := w.page("dev-a.pdf", 2)
	b := filesBatch(t, "post-11", []string{"1;a.pdf;1;;;;;", "2;b.pdf;1;;;;;"}, map[string][]byte{"a.pdf": a, "b.pdf": w.page("dev-a.pdf", 4), "x..y.pdf": a, "z\x07.pdf": a})
	books, err := w.scans.HandOver(ctx, system, b.Dir)
	must(t, err)
	must(t, w.scans.ProcessNow(ctx, system.Tenant, books[0].ID))
	book := w.book(system, books[0].ID)
	balances(t, book)
	if book.State != scan.Attention || book.Documents != 2 || codes(book) != "file-refused" {
		t.Fatalf("book: %s", encode(book))
	}
	if f := book.Findings[0]; !strings.Contains(f.Text, "x..y.pdf, z.pdf") || !strings.Contains(f.TextEN, "x..y.pdf, z.pdf") {
		t.Errorf("finding: %+v", f)
	}
	// Told once, however often it is tried; and nothing after the submission.
	if err := w.put(system, book.ID, "x..y.pdf", a); !fault.Is(err, "batch-file-name") {
		t.Errorf("refused again: %v", err)
	}
	if got := w.book(system, book.ID); len(got.Findings) != 1 || got.Findings[0].Params["names"] != "x..y.pdf, z.pdf" {
		t.Errorf("findings: %s", encode(got.Findings))
	}
}
