package scan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/media/mediatest"
	"evb/internal/postgres/pgtest"
	"evb/internal/scan"
	"evb/internal/scan/folder"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

// victim is the process that is killed: it does what a client and a worker do
// with one folder, from wherever the batch is.
func victim(ctx context.Context, at place) error {
	below, err := worldtest.Join(ctx, at.Place, options)
	if err != nil {
		return err
	}
	defer below.DB.Close()
	w := &world{World: below, at: at}
	if err := w.open(); err != nil {
		return err
	}
	_, err = w.bring(ctx, at.Folder)
	return errors.Join(err, w.engine.Close(), w.Close())
}

// bring hands a folder over in parts of 300 kB and takes the batch apart.
func (w *world) bring(ctx context.Context, dir string) (uuid.UUID, error) {
	all, err := folder.Read(dir)
	if err != nil {
		return uuid.Nil, err
	}
	b := all[0]
	rec, err := w.scans.Create(ctx, system, scan.NewBatch{CSV: b.CSV, XML: b.XML, CSVName: b.CSVName, XMLName: b.XMLName})
	if err != nil {
		return uuid.Nil, err
	}
	id := rec.Book.ID
	for _, f := range b.Files {
		content, err := os.ReadFile(filepath.Join(b.Dir, f.Name))
		if err != nil {
			return id, err
		}
		for {
			u, err := w.scans.Offset(ctx, system, id, f.Name)
			if err != nil {
				return id, err
			}
			if u.Complete {
				break
			}
			part := content[u.Offset:min(u.Offset+300_000, int64(len(content)))]
			_, err = w.scans.PutPart(ctx, system, id, f.Name,
				scan.Part{Offset: u.Offset, Length: int64(len(part)), Total: int64(len(content))}, bytes.NewReader(part))
			if fault.Is(err, "batch-submitted") {
				break
			}
			if err != nil {
				return id, err
			}
		}
	}
	if _, err := w.scans.Submit(ctx, system, id); err != nil {
		return id, err
	}
	return id, w.scans.ProcessNow(ctx, pgtest.Stadt, id)
}

// oneBatch is a folder with one of the samples in it.
func oneBatch(t testing.TB, id string) string {
	t.Helper()
	dir := t.TempDir()
	names, err := filepath.Glob(filepath.Join(mediatest.Batches(), id+".*"))
	must(t, err)
	for _, n := range names {
		b, err := os.ReadFile(n)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(n)), b, 0o600))
	}
	return dir
}

// kill runs the victim with a point armed and reports whether it was killed.
func (w *world) kill(point string) bool {
	w.T.Helper()
	out, err := worldtest.Command(w.T, "victim", w.at, point).CombinedOutput()
	if worldtest.Killed(err) {
		if !strings.Contains(string(out), "failpoint: ") {
			w.T.Errorf("killed by somebody else: %s", out)
		}
		return true
	}
	if err != nil {
		w.T.Fatalf("%s: %v\n%s", point, err, out)
	}
	return false
}

// What must hold after the process was killed behind every durable step, of
// this package and of the protocol below it, and the work was then repeated: the
// batch is there once, whole, with every page accounted for.
func TestKilledBehindEveryStepTheBatchGoesOn(t *testing.T) {
	w := newWorld(t)
	// Everywhere twice, and in the protocol of the bytes too, for `make prove`.
	prove := sharedtest.Prove()
	var points []string
	for _, p := range failpoint.All() {
		if strings.HasPrefix(p.Name(), "scan-") || prove && strings.HasPrefix(p.Name(), "intake-") {
			points = append(points, p.Name())
		}
	}
	if len(points) < 9 {
		t.Fatalf("points: %q", points)
	}
	b := sample(t, "dev-c")
	reached := 0
	for i, point := range points {
		// A batch of its own for each point: the same pages under another id.
		name := fmt.Sprintf("dev-c-%02d", i)
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, name+".index.csv"), bytes.ReplaceAll(b.CSV, []byte("dev-c;"), []byte(name+";")), 0o600))
		content, err := os.ReadFile(filepath.Join(b.Dir, b.Files[0].Name))
		must(t, err)
		// Other bytes, so that no blob is there already: a comment at the end.
		content = append(content, []byte("\n% "+name+"\n")...)
		must(t, os.WriteFile(filepath.Join(dir, name+".pdf"), content, 0o600))
		w.at.Folder = dir
		t.Logf("%s", point)
		if w.kill(point) {
			reached++
		} else {
			t.Logf("%s lies on another way", point)
		}
		if prove && w.kill(point+":2") {
			t.Logf("%s killed a second time", point)
		}
		id, err := w.bring(context.Background(), dir)
		if err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		book := w.book(system, id)
		if book.State != scan.Balanced || book.Documents != 4 || len(book.Quarantine) != 0 || book.Pages.Filed != 4 {
			t.Errorf("%s: %s", point, encode(book))
		}
		balances(t, book)
		if d := cmp.Diff(truthFates(mediatest.ReadTruth(t, "dev-c")), w.fates(id)); d != "" {
			t.Errorf("%s: fates:\n%s", point, d)
		}
		w.checkBytes(t, book)
	}
	if reached < 9 {
		t.Errorf("only %d of %d points were reached", reached, len(points))
	}
	n := len(points)
	for what, want := range map[string]int{
		`SELECT count(*)::text FROM batch WHERE tenant = evb_tenant() AND state = 'balanced'`:                                  n,
		`SELECT count(*)::text FROM dokument WHERE tenant = evb_tenant()`:                                                      4 * n,
		`SELECT count(*)::text FROM external_ref WHERE tenant = evb_tenant()`:                                                  4 * n,
		`SELECT count(*)::text FROM event WHERE tenant = evb_tenant() AND kind = 'dokument.received'`:                          4 * n,
		`SELECT count(*)::text FROM event WHERE tenant = evb_tenant() AND kind = 'batch.submitted'`:                            n,
		`SELECT count(*)::text FROM event WHERE tenant = evb_tenant() AND kind = 'batch.balanced'`:                             n,
		`SELECT count(*)::text FROM batch WHERE tenant = evb_tenant() AND (worker IS NOT NULL OR problem <> '')`:               0,
		`SELECT count(*)::text FROM batch_page WHERE tenant = evb_tenant() AND (fate = 'open' OR look IS NOT NULL)`:            0,
		`SELECT count(DISTINCT dokument_id)::text FROM batch_document WHERE tenant = evb_tenant() AND dokument_id IS NOT NULL`: 4 * n,
	} {
		if got := w.query(what); got[0] != fmt.Sprint(want) {
			t.Errorf("%s: %s, want %d", what, got[0], want)
		}
	}
}

func TestTwoWorkersAtOnceMakeNothingTwice(t *testing.T) {
	w := newWorld(t)
	id := w.handOver(system, sample(t, "dev-c")).ID
	done := make(chan error, 3)
	for range 3 {
		go func() { done <- w.scans.ProcessNow(context.Background(), pgtest.Stadt, id) }()
	}
	for range 3 {
		must(t, <-done)
	}
	if book := w.book(system, id); book.State != scan.Balanced || book.Documents != 4 {
		t.Errorf("book: %s", encode(book))
	}
	if n := w.query(`SELECT count(*)::text FROM dokument WHERE tenant = evb_tenant()`); n[0] != "4" {
		t.Errorf("%s Dokumente", n[0])
	}
}

func TestAWatchedFolderIsTakenOnlyWithItsFlag(t *testing.T) {
	w := newWorld(t)
	root := t.TempDir()
	dir := filepath.Join(root, "morning")
	must(t, os.Rename(oneBatch(t, "dev-c"), dir))
	bad := filepath.Join(root, "bad")
	must(t, os.Mkdir(bad, 0o700))
	must(t, os.WriteFile(filepath.Join(bad, "index.csv"), []byte("Stapel;Dokument;Datei;Seiten\nbad;1;a.pdf;0\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(bad, folder.Ready), nil, 0o600))
	round := func() { must(t, w.scans.WatchOnce(context.Background(), system, root)) }
	round()
	if n := w.query(`SELECT count(*)::text FROM batch WHERE tenant = evb_tenant()`); n[0] != "0" {
		t.Fatalf("%s batches before the flag", n[0])
	}
	if b, err := os.ReadFile(filepath.Join(bad, folder.Reason)); err != nil || !strings.Contains(string(b), "Seiten") || !strings.Contains(string(b), "index") {
		t.Errorf("reason: %s %v", b, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, folder.Ready), nil, 0o600))
	round()
	round()
	if _, err := os.Stat(filepath.Join(dir, folder.Taken)); err != nil {
		t.Error(err)
	}
	var receipt struct{ Batches []scan.Book }
	b, err := os.ReadFile(filepath.Join(dir, folder.Receipt))
	must(t, err)
	must(t, json.Unmarshal(b, &receipt))
	if len(receipt.Batches) != 1 || receipt.Batches[0].State != scan.Processing {
		t.Errorf("receipt: %s", b)
	}
	must(t, w.scans.ProcessNow(context.Background(), pgtest.Stadt, receipt.Batches[0].ID))
	if book := w.book(system, receipt.Batches[0].ID); book.State != scan.Balanced {
		t.Errorf("book: %s", encode(book))
	}
}
