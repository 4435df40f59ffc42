package blob_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/localstack/s3d"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/storage"
	"evb/storage/layout"
	"evb/storage/s3"
)

const childEnv = "EVB_BLOB_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(s3d.ChildMain())
	}
	os.Exit(pgtest.Main(m))
}

var stadt = access.System(pgtest.Stadt, "stadt")

// world is a database, a bucket and a blob service on them.
type world struct {
	t     testing.TB
	db    *postgres.DB
	s3    *s3d.Server
	dir   string // of the S3 server
	store *s3.Store
	spool *blob.Spool
	blobs *blob.Service
}

func newWorld(t testing.TB, change ...func(*blob.Options)) *world {
	t.Helper()
	w := &world{t: t, db: pgtest.DB(t), dir: filepath.Join(t.TempDir(), "s3")}
	exe, err := os.Executable()
	must(t, err)
	w.s3, err = s3d.Start(t.Context(), s3d.Options{Dir: w.dir, Binary: exe, Env: []string{childEnv + "=1"}, Bucket: "archiv",
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := w.s3.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	w.store, err = s3.New(w.s3.Config(true))
	must(t, err)
	t.Cleanup(w.store.CloseIdle)
	w.spool, err = blob.NewSpool(filepath.Join(t.TempDir(), "spool"))
	must(t, err)
	t.Cleanup(func() { must(t, w.spool.Close()) })
	w.blobs = w.service(change...)
	return w
}

// service is a further service on the same parts.
func (w *world) service(change ...func(*blob.Options)) *blob.Service {
	o := blob.Options{Disposal: w.store}
	for _, c := range change {
		c(&o)
	}
	return blob.New(w.db, w.store, w.spool, event.NewLog(nil, nil), o)
}

// soon is a service an hour later: whatever is there is old enough.
func soon(o *blob.Options) {
	o.Now, o.Grace = func() time.Time { return time.Now().Add(time.Hour) }, time.Minute
}

// leasesOver ends every lease, as time does.
func (w *world) leasesOver() {
	w.t.Helper()
	w.exec(`UPDATE blob SET lease_until = now() - interval '1 s' WHERE tenant = evb_tenant() AND lease_until IS NOT NULL`)
}

func (w *world) take(s string) *blob.File {
	w.t.Helper()
	f, err := w.spool.Take(context.Background(), strings.NewReader(s), 0)
	must(w.t, err)
	return f
}

const sqlRefer = `
    INSERT INTO quarantine (tenant, id, blob_id, file_name, channel, code, step, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, 'x', 'api', 'x', 'x', now(), $3)`

// refer makes a row that refers to the blob: quarantine asks for nothing else.
func refer(tx pgx.Tx, id uuid.UUID) error {
	_, err := tx.Exec(context.Background(), sqlRefer, uuid.Must(uuid.NewV7()), id, access.SystemUser)
	return err
}

// keep stores a content with a reference.
func (w *world) keep(s string) uuid.UUID {
	w.t.Helper()
	f := w.take(s)
	defer f.Remove()
	var id uuid.UUID
	must(w.t, w.blobs.Store(context.Background(), stadt, []*blob.File{f}, func(tx pgx.Tx, staged []blob.Staged) error {
		id = staged[0].ID
		return refer(tx, id)
	}))
	return id
}

func (w *world) read(id uuid.UUID) string {
	w.t.Helper()
	rc, _, err := w.blobs.Open(context.Background(), stadt, id)
	must(w.t, err)
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	must(w.t, err)
	return string(b)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	must(w.t, w.db.InTx(context.Background(), pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := tx.Exec(context.Background(), sql, args...)
		return err
	}))
}

func one[T any](w *world, sql string, args ...any) T {
	w.t.Helper()
	var v T
	must(w.t, w.db.Read(context.Background(), pgtest.Stadt, func(q postgres.Querier) error {
		return q.QueryRow(context.Background(), sql, args...).Scan(&v)
	}))
	return v
}

// objects counts the content objects of the tenant.
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

// path is the file of a content in the server's folder.
func (w *world) path(f *blob.File) string {
	return filepath.Join(w.dir, "data", "archiv", string(layout.Content("stadt", f.SHA256)))
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

var _ storage.Store = (*s3.Store)(nil)
