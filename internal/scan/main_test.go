package scan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/intake"
	"evb/internal/localstack/s3d"
	"evb/internal/media"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/scan"
	"evb/internal/scan/folder"
	"evb/storage/s3"
)

// The test binary is its own S3 server, its own reader of PDFs, and the
// process that the crash tests kill.
const (
	s3Env   = "EVB_SCAN_TEST_S3"
	killEnv = "EVB_SCAN_TEST_KILL"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == media.ChildCommand:
		os.Exit(media.ChildMain(os.Args[2:], os.Stdin, os.Stdout))
	case os.Getenv(s3Env) != "":
		os.Exit(s3d.ChildMain())
	case os.Getenv(killEnv) != "":
		os.Exit(victim(os.Getenv(killEnv)))
	}
	dir, err := os.MkdirTemp("", "evb-scan-test-")
	if err != nil {
		panic(err)
	}
	cacheDir = dir
	code := pgtest.Main(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// cacheDir keeps the compiled PDFium for all tests of one run.
var cacheDir string

// parts says where a world is, for a process that joins it.
type parts struct {
	DSN, Upload, Spool, Cache, Folder string
	S3                                s3.Config
}

// world is a database, a bucket and the services on them.
type world struct {
	t      testing.TB
	at     parts
	db     *postgres.DB
	spool  *blob.Spool
	blobs  *blob.Service
	engine *media.Engine
	scans  *scan.Service
	intake *intake.Service
}

func newWorld(t testing.TB) *world {
	t.Helper()
	tmp := t.TempDir()
	exe, err := os.Executable()
	must(t, err)
	server, err := s3d.Start(t.Context(), s3d.Options{Dir: filepath.Join(tmp, "s3"), Binary: exe, Env: []string{s3Env + "=1"}, Bucket: "archiv",
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	w := &world{t: t, db: pgtest.DB(t)}
	w.at = parts{
		DSN: pgtest.AppDSN(pgtest.NameOf(w.db)), Upload: filepath.Join(tmp, "upload"), Spool: filepath.Join(tmp, "spool"), Cache: cacheDir,
		S3: server.Config(true),
	}
	must(t, w.open())
	t.Cleanup(func() {
		_ = w.engine.Close()
		_ = w.spool.Close()
	})
	return w
}

// open makes the services.
func (w *world) open() error {
	store, err := s3.New(w.at.S3)
	if err != nil {
		return err
	}
	if w.spool, err = blob.NewSpool(w.at.Spool); err != nil {
		return err
	}
	log := event.NewLog(nil, nil)
	w.blobs = blob.New(w.db, store, w.spool, log, blob.Options{Disposal: store})
	akten := akte.New(w.db, log, akte.Options{})
	if w.engine, err = media.New(media.Config{CacheDir: w.at.Cache}); err != nil {
		return err
	}
	w.intake = intake.New(w.db, log, akten, w.blobs, w.engine, intake.Options{
		DigestKey: []byte("0123456789abcdef0123456789abcdef"),
		Released: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, q intake.Quarantine, d uuid.UUID) error {
			return w.scans.Released(ctx, tx, a, at, q, d)
		},
	})
	w.scans, err = scan.New(w.db, log, akten, w.blobs, w.intake, w.engine, scan.Options{UploadDir: w.at.Upload, Lease: 3 * time.Second})
	return err
}

var system = access.System(pgtest.Stadt, "stadt")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// person makes a user with a role in the whole tenant.
func (w *world) person(login string, roles ...access.Role) access.Actor {
	w.t.Helper()
	id := uuid.Must(uuid.NewV7())
	a := access.Actor{Tenant: pgtest.Stadt, TenantSlug: "stadt", User: id, Login: login, Via: "session:test"}
	must(w.t, w.db.InTx(context.Background(), pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := tx.Exec(context.Background(), `INSERT INTO app_user (tenant, id, login, display_name, kind) VALUES (evb_tenant(), $1, $2, $2, 'person')`, id, login)
		return err
	}))
	for _, r := range roles {
		a.Memberships = append(a.Memberships, access.Membership{Role: r})
	}
	return a
}

// samples is the folder of our own sample batches.
func samples() string { return filepath.Join("..", "..", "testdata", "batches") }

// sample reads one of them.
func sample(t testing.TB, id string) *folder.Batch {
	t.Helper()
	all, err := folder.Read(samples())
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
	w.t.Helper()
	rec, err := w.scans.Create(context.Background(), a, scan.NewBatch{CSV: b.CSV, XML: b.XML, CSVName: b.CSVName, XMLName: b.XMLName})
	must(w.t, err)
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
	w.t.Helper()
	id := w.create(a, b).Book.ID
	for _, f := range b.Files {
		content, err := os.ReadFile(filepath.Join(b.Dir, f.Name))
		must(w.t, err)
		must(w.t, w.put(a, id, f.Name, content))
	}
	book, err := w.scans.Submit(context.Background(), a, id)
	must(w.t, err)
	return book
}

// through hands a batch over and takes it apart.
func (w *world) through(a access.Actor, b *folder.Batch) scan.Book {
	w.t.Helper()
	id := w.handOver(a, b).ID
	must(w.t, w.scans.ProcessNow(context.Background(), pgtest.Stadt, id))
	return w.book(a, id)
}

func (w *world) book(a access.Actor, id uuid.UUID) scan.Book {
	w.t.Helper()
	b, err := w.scans.Batch(context.Background(), a, id)
	must(w.t, err)
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

// shared gives a path below the foreign test data, or ends the test: with an
// error on the build machine, with a word elsewhere.
func shared(t testing.TB, elems ...string) string {
	t.Helper()
	root := os.Getenv("EVB_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	p := filepath.Join(append([]string{root}, elems...)...)
	if _, err := os.Stat(p); err != nil {
		if ci := os.Getenv("CI"); ci == "1" || ci == "true" {
			t.Fatalf("test data missing: %v", err)
		}
		t.Skipf("no foreign test data here: %v", err)
	}
	return p
}

// query gives the single columns of a statement as text, row by row.
func (w *world) query(sql string, args ...any) []string {
	w.t.Helper()
	var out []string
	must(w.t, w.db.Read(context.Background(), pgtest.Stadt, func(q postgres.Querier) error {
		rows, err := q.Query(context.Background(), sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	}))
	return out
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
