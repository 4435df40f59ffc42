package scan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/intake"
	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/postgres/pgtest"
	"evb/internal/scan"
	"evb/internal/scan/folder"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

func TestMain(m *testing.M) {
	worldtest.Main(m, mediatest.Child, worldtest.Victim("victim", victim))
}

var (
	system = access.System(pgtest.Stadt, "stadt")

	must = sharedtest.Must
)

// place says where a world is, for a process that joins it.
type place struct {
	worldtest.Place
	Upload, Folder string
}

// world is a town with intake of batches.
type world struct {
	*worldtest.World
	at     place
	engine *media.Engine
	scans  *scan.Service
	intake *intake.Service
}

// options: real time, since leases have it.
var options = worldtest.Options{Now: time.Now}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{World: worldtest.New(t, func(o *worldtest.Options) { *o = options })}
	w.at = place{Place: w.Place, Upload: filepath.Join(t.TempDir(), "upload")}
	must(t, w.open())
	t.Cleanup(func() { _ = w.engine.Close() })
	return w
}

// open makes the services under test.
func (w *world) open() (err error) {
	if w.engine, err = media.New(media.Config{CacheDir: mediatest.CacheDir()}); err != nil {
		return err
	}
	w.intake = intake.New(w.DB, w.Log, w.Akten, w.Blobs, w.engine, intake.Options{
		DigestKey: []byte("0123456789abcdef0123456789abcdef"),
		Released: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, q intake.Quarantine, d uuid.UUID) error {
			return w.scans.Released(ctx, tx, a, at, q, d)
		},
	})
	w.scans, err = scan.New(w.DB, w.Log, w.Akten, w.Blobs, w.intake, w.engine, scan.Options{UploadDir: w.at.Upload, Lease: 3 * time.Second})
	return err
}

// person makes a user with a role in the whole tenant.
func (w *world) person(login string, roles ...access.Role) access.Actor {
	w.T.Helper()
	id := uuid.Must(uuid.NewV7())
	a := access.Actor{Tenant: pgtest.Stadt, TenantSlug: "stadt", User: id, Login: login, Via: "session:test"}
	must(w.T, w.DB.InTx(context.Background(), pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := tx.Exec(context.Background(), `INSERT INTO app_user (tenant, id, login, display_name, kind) VALUES (evb_tenant(), $1, $2, $2, 'person')`, id, login)
		return err
	}))
	for _, r := range roles {
		a.Memberships = append(a.Memberships, access.Membership{Role: r})
	}
	return a
}

// sample reads one of them.
func sample(t testing.TB, id string) *folder.Batch {
	t.Helper()
	all, err := folder.Read(mediatest.Batches())
	must(t, err)
	for i := range all {
		if all[i].Name == id {
			return &all[i]
		}
	}
	t.Fatalf("no sample batch %s", id)
	return nil
}

func (w *world) create(a access.Actor, b *folder.Batch) scan.Receipt {
	w.T.Helper()
	rec, err := w.scans.Create(context.Background(), a, scan.NewBatch{CSV: b.CSV, XML: b.XML, CSVName: b.CSVName, XMLName: b.XMLName})
	must(w.T, err)
	return rec
}

// put uploads a file in one part.
func (w *world) put(a access.Actor, id uuid.UUID, name string, content []byte) error {
	n := int64(len(content))
	u, err := w.scans.PutPart(context.Background(), a, id, name, scan.Part{Length: n, Total: n}, bytes.NewReader(content))
	if err == nil && !u.Complete {
		err = fmt.Errorf("not complete: %+v", u)
	}
	return err
}

// handOver brings a batch as far as submitted.
func (w *world) handOver(a access.Actor, b *folder.Batch) scan.Book {
	w.T.Helper()
	id := w.create(a, b).Book.ID
	for _, f := range b.Files {
		content, err := os.ReadFile(filepath.Join(b.Dir, f.Name))
		must(w.T, err)
		must(w.T, w.put(a, id, f.Name, content))
	}
	book, err := w.scans.Submit(context.Background(), a, id)
	must(w.T, err)
	return book
}

// through hands a batch over and takes it apart.
func (w *world) through(a access.Actor, b *folder.Batch) scan.Book {
	w.T.Helper()
	id := w.handOver(a, b).ID
	must(w.T, w.scans.ProcessNow(context.Background(), pgtest.Stadt, id))
	return w.book(a, id)
}

func (w *world) book(a access.Actor, id uuid.UUID) scan.Book {
	w.T.Helper()
	b, err := w.scans.Batch(context.Background(), a, id)
	must(w.T, err)
	return b
}

// balances checks that every page that came in has its fate.
func balances(t testing.TB, b scan.Book) {
	t.Helper()
	p := b.Pages
	if p.Open != 0 || p.In != p.Filed+p.Separator+p.Blank+p.Quarantined+p.Attached {
		t.Errorf("the book of %s does not balance: %+v", b.BatchID, p)
	}
}

// filesBatch writes a folder with one file per document; lines are those of the
// CSV behind the batch id.
func filesBatch(t testing.TB, name string, lines []string, files map[string][]byte) *folder.Batch {
	t.Helper()
	dir := t.TempDir()
	csv := "Stapel;Dokument;Datei;Seiten;Barcode;Dokumentart;Eingangsdatum;Operator;SHA256\n"
	for _, l := range lines {
		csv += name + ";" + l + "\n"
	}
	must(t, os.WriteFile(filepath.Join(dir, "index.csv"), []byte(csv), 0o600))
	for n, b := range files {
		must(t, os.WriteFile(filepath.Join(dir, n), b, 0o600))
	}
	all, err := folder.Read(dir)
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("%d batches", len(all))
	}
	return &all[0]
}

// query gives the single columns of a statement as text, row by row.
func (w *world) query(sql string, args ...any) []string {
	w.T.Helper()
	return pgtest.Column[string](w.T, w.DB, sql, args...)
}

func codes(b scan.Book) string {
	var out []string
	for _, f := range b.Findings {
		out = append(out, f.Code)
	}
	return strings.Join(out, " ")
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
