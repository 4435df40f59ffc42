package export_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/export"
	"evb/internal/localstack/s3d"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
	"evb/signature/tsa"
	"evb/signature/tsp"
	"evb/storage/s3"
)

const s3Child = "EVB_EXPORT_S3_CHILD"

// bucket is one server for the package; contents are unique to a test.
var bucket struct {
	store *s3.Store
	dir   string
}

func TestMain(m *testing.M) {
	if os.Getenv(s3Child) != "" {
		os.Exit(s3d.ChildMain())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "evb-export-test-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	bucket.dir = filepath.Join(dir, "s3")
	srv, err := s3d.Start(context.Background(), s3d.Options{Dir: bucket.dir, Binary: exe, Env: []string{s3Child + "=1"},
		Bucket: "archiv", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer func() { _ = srv.Stop(context.Background()) }()
	if bucket.store, err = s3.New(srv.Config(false)); err != nil {
		panic(err)
	}
	defer bucket.store.CloseIdle()
	return pgtest.Main(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a town with a bucket, an authority and an export service.
type world struct {
	*aktetest.Town
	t      testing.TB
	blobs  *blob.Service
	proof  *preservation.Service
	tsa    *tsa.Server
	export *export.Service
	dir    string // of packages on their way out
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{Town: aktetest.New(t), t: t, dir: filepath.Join(t.TempDir(), "out")}
	spool, err := blob.NewSpool(filepath.Join(t.TempDir(), "spool"))
	must(t, err)
	t.Cleanup(func() { _ = spool.Close() })
	w.blobs = blob.New(w.DB, bucket.store, spool, w.Log, blob.Options{})
	w.tsa, err = tsa.Open(filepath.Join(t.TempDir(), "tsa"), tsa.Options{})
	must(t, err)
	srv := httptest.NewServer(w.tsa)
	t.Cleanup(srv.Close)
	w.proof = preservation.New(w.DB, w.Log, w.Akten, bucket.store, preservation.Options{
		SealWait:   -1,
		TSA:        &tsp.Client{Authorities: []tsp.Authority{{URL: srv.URL}}},
		Revocation: preservation.HTTPRevocation{URLs: []string{srv.URL + "/crl"}},
	})
	w.export = export.New(w.DB, w.Log, w.Akten, w.blobs, w.proof, export.Options{Dir: w.dir})
	return w
}

func (w *world) system() access.Actor { return access.System(w.Schulz.Tenant, w.Schulz.TenantSlug) }

const sqlRouted = `
    INSERT INTO routing_decision (tenant, id, dokument_id, rule, rule_version, target, why, decided_at)
    VALUES (evb_tenant(), $1, $2, 'test', 1, '{}', '{}', now())`

func (w *world) store(contents []string, fn func(tx pgx.Tx, files []akte.NewFile) error) {
	w.t.Helper()
	ctx := context.Background()
	files := make([]*blob.File, len(contents))
	for i, c := range contents {
		f, err := w.blobs.Spool().Take(ctx, strings.NewReader(c), 0)
		must(w.t, err)
		defer f.Remove()
		files[i] = f
	}
	must(w.t, w.blobs.Store(ctx, w.Schulz, files, func(tx pgx.Tx, staged []blob.Staged) error {
		out := make([]akte.NewFile, len(staged))
		for i, s := range staged {
			out[i] = akte.NewFile{Blob: s.ID, Name: "brief.txt", MediaType: "text/plain", Pages: 1}
		}
		return fn(tx, out)
	}))
}

// letter is a Dokument of a.schulz whose intake is over.
func (w *world) letter(subject string, contents ...string) uuid.UUID {
	w.t.Helper()
	ctx := context.Background()
	id, version := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	w.store(contents, func(tx pgx.Tx, files []akte.NewFile) error {
		now := time.Now()
		err := w.Akten.InsertDokumente(ctx, tx, w.Schulz, now, akte.NewDokument{
			ID: id, VersionID: version, State: akte.Captured, Channel: akte.ChannelAPI, Subject: subject, Sender: "Müller & Söhne",
			ReceivedOn: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), SubmittedBy: w.Schulz.User, Files: files,
		})
		if err != nil {
			return err
		}
		if err := w.Akten.SetExtraction(ctx, tx, w.system(), now, id, version, akte.ExtractionDone, ""); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlRouted, uuid.Must(uuid.NewV7()), id)
		return err
	})
	return id
}

func (w *world) seal() {
	w.t.Helper()
	_, err := w.proof.SealNow(context.Background(), w.system())
	must(w.t, err)
}

// accesses lists the facts of the access stream.
func (w *world) accesses() []event.Entry {
	w.t.Helper()
	ctx := context.Background()
	_, err := event.NewSequencer(w.DB, slog.New(slog.DiscardHandler), 0).Number(ctx, w.Schulz.Tenant, event.Access)
	must(w.t, err)
	var out []event.Entry
	must(w.t, w.DB.Read(ctx, w.Schulz.Tenant, func(q postgres.Querier) error {
		out, err = event.Feed(ctx, q, event.Access, 0, 1000)
		return err
	}))
	return out
}
