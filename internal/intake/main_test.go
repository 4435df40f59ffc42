package intake_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/intake"
	"evb/internal/job"
	"evb/internal/localstack/s3d"
	"evb/internal/media"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/storage/layout"
	"evb/storage/s3"
)

const childEnv = "EVB_INTAKE_TEST_CHILD"

var cacheDir string // compiled PDFium, shared by the tests of one run

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == media.ChildCommand {
		os.Exit(media.ChildMain(os.Args[2:], os.Stdin, os.Stdout))
	}
	switch os.Getenv(childEnv) {
	case "s3":
		os.Exit(s3d.ChildMain())
	case "victim":
		os.Exit(victim())
	}
	dir, err := os.MkdirTemp("", "evb-intake-test-")
	if err != nil {
		panic(err)
	}
	cacheDir = dir
	code := pgtest.Main(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// textJob stands in for the extraction: a job that follows from what came in.
const textJob = "extract.text"

// parts are the services on a database and a bucket, as a process has them.
type parts struct {
	db     *postgres.DB
	store  *s3.Store
	spool  *blob.Spool
	blobs  *blob.Service
	akten  *akte.Service
	jobs   *job.Client
	engine *media.Engine
	in     *intake.Service
}

type config struct {
	spoolDir, cacheDir string
	blob               blob.Options
	intake             intake.Options
	media              media.Config
}

func newParts(db *postgres.DB, sc s3.Config, c config) (*parts, error) {
	p := &parts{db: db}
	var err error
	if p.store, err = s3.New(sc); err != nil {
		return nil, err
	}
	if p.spool, err = blob.NewSpool(c.spoolDir); err != nil {
		return nil, err
	}
	log := event.NewLog(event.Flow{akte.DokumentReceived: {textJob}, akte.DokumentReleased: {textJob}}, nil)
	p.akten = akte.New(db, log, akte.Options{})
	if c.blob.Disposal == nil {
		c.blob.Disposal = p.store
	}
	p.blobs = blob.New(db, p.store, p.spool, log, c.blob)
	c.media.CacheDir = c.cacheDir
	if p.engine, err = media.New(c.media); err != nil {
		return nil, err
	}
	p.in = intake.New(db, log, p.akten, p.blobs, p.engine, c.intake)
	defs := append(p.in.Jobs(), job.Definition{Kind: textJob, Queue: job.Intake, Run: func(context.Context, job.Job) error { return nil }})
	if p.jobs, err = job.New(db, slog.New(slog.DiscardHandler), append(defs, p.blobs.Jobs()...), job.Options{}); err != nil {
		return nil, err
	}
	log.Attach(p.jobs)
	return p, nil
}

func (p *parts) close() error {
	p.store.CloseIdle()
	_ = p.engine.Close()
	return p.spool.Close()
}

// world is a town with intake.
type world struct {
	*parts
	t    testing.TB
	town *aktetest.Town
	s3   *s3d.Server
}

func newWorld(t testing.TB, change ...func(*config)) *world {
	t.Helper()
	return worldOn(t, pgtest.DB(t), filepath.Join(t.TempDir(), "s3"), change...)
}

func worldOn(t testing.TB, db *postgres.DB, dir string, change ...func(*config)) *world {
	t.Helper()
	w := &world{t: t, town: aktetest.In(t, db, pgtest.Stadt)}
	exe, err := os.Executable()
	must(t, err)
	w.s3, err = s3d.Start(t.Context(), s3d.Options{Dir: dir, Binary: exe, Env: []string{childEnv + "=s3"}, Bucket: "archiv",
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		must(t, w.s3.Stop(ctx))
	})
	c := config{spoolDir: filepath.Join(t.TempDir(), "spool"), cacheDir: cacheDir}
	for _, f := range change {
		f(&c)
	}
	w.parts, err = newParts(db, w.s3.Config(true), c)
	must(t, err)
	t.Cleanup(func() { must(t, w.close()) })
	return w
}

func (w *world) file(name string, body []byte) *blob.File {
	w.t.Helper()
	f, err := w.spool.Take(context.Background(), bytes.NewReader(body), 0)
	must(w.t, err)
	f.Name = name
	w.t.Cleanup(f.Remove)
	return f
}

// send is a person's upload of one file.
func (w *world) send(a access.Actor, key, name string, body []byte) (intake.Receipt, error) {
	w.t.Helper()
	return w.in.Receive(context.Background(), a, intake.Submission{
		Meta: intake.Meta{Subject: "Brief"}, Files: []*blob.File{w.file(name, body)}, Key: key})
}

func (w *world) content(a access.Actor, id uuid.UUID) []byte {
	w.t.Helper()
	rc, _, err := w.blobs.Open(context.Background(), a, id)
	must(w.t, err)
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	must(w.t, err)
	return b
}

func one[T any](w *world, sql string, args ...any) T {
	w.t.Helper()
	var v T
	must(w.t, w.db.Read(context.Background(), pgtest.Stadt, func(q postgres.Querier) error {
		return q.QueryRow(context.Background(), sql, args...).Scan(&v)
	}))
	return v
}

func (w *world) count(table string) int {
	return one[int](w, "SELECT count(*) FROM "+table+" WHERE tenant = evb_tenant()")
}

func (w *world) objects() int {
	w.t.Helper()
	n := 0
	for info, err := range w.store.List(context.Background(), layout.TenantPrefix("stadt"), "") {
		must(w.t, err)
		if name, err := layout.Parse(info.Key); err == nil && name.Kind == layout.KindContent {
			n++
		}
	}
	return n
}

// clean fails when bucket and rows disagree.
func (w *world) clean() {
	w.t.Helper()
	found, err := w.blobs.Check(context.Background(), access.System(pgtest.Stadt, "stadt"))
	must(w.t, err)
	for _, f := range found {
		w.t.Errorf("%s: %s", f.Code, f.Text("en"))
	}
}

// pdf is a valid PDF of one page; words make it another content, size pads it.
func pdf(words string, size int) []byte {
	var b bytes.Buffer
	var at []int
	obj := func(s string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), s)
	}
	b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	obj("<< /Type /Catalog /Pages 2 0 R >>")
	obj("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	obj("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>")
	text := "BT /F1 12 Tf 72 720 Td (" + strings.NewReplacer("(", "", ")", "", `\`, "").Replace(words) + ") Tj ET\n"
	if pad := size - b.Len() - len(text) - 500; pad > 0 {
		text += "%" + strings.Repeat(words+" ", pad/(len(words)+1)) + "\n"
	}
	obj(fmt.Sprintf("<< /Length %d >>\nstream\n%sendstream", len(text), text))
	obj("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, o := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, xref)
	return b.Bytes()
}

// shared gives a file of the foreign test data, or ends the test.
func shared(t testing.TB, path ...string) []byte {
	t.Helper()
	root := os.Getenv("EVB_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	b, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		if ci := os.Getenv("CI"); ci == "1" || ci == "true" {
			t.Fatalf("test data missing: %v", err)
		}
		t.Skipf("no foreign test data here: %v", err)
	}
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFault(t testing.TB, err error, code string) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Fatalf("got %v, want the fault %s", err, code)
	}
}
