package blob_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
	"evb/storage/layout"
)

func TestMain(m *testing.M) { worldtest.Main(m) }

var (
	stadt = access.System(pgtest.Stadt, "stadt")

	must, wantFault = sharedtest.Must, sharedtest.WantFault
)

type world struct{ *worldtest.World }

func newWorld(t testing.TB, change ...func(*blob.Options)) *world {
	t.Helper()
	return &world{worldtest.New(t, func(o *worldtest.Options) { o.Blob = all(change) })}
}

func all(change []func(*blob.Options)) func(*blob.Options) {
	return func(o *blob.Options) {
		for _, c := range change {
			c(o)
		}
	}
}

// service is a further service on the same parts.
func (w *world) service(change ...func(*blob.Options)) *blob.Service { return w.Bytes(all(change)) }

// soon is a service an hour later: whatever is there is old enough.
func soon(o *blob.Options) {
	o.Now, o.Grace = func() time.Time { return time.Now().Add(time.Hour) }, time.Minute
}

// leasesOver ends every lease, as time does.
func (w *world) leasesOver() {
	w.T.Helper()
	w.Exec(`UPDATE blob SET lease_until = now() - interval '1 s' WHERE tenant = evb_tenant() AND lease_until IS NOT NULL`)
}

func (w *world) take(s string) *blob.File {
	w.T.Helper()
	return w.File("", strings.NewReader(s))
}

const sqlRefer = `
    INSERT INTO quarantine (tenant, id, blob_id, file_name, channel, code, step, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, 'x', 'api', 'x', 'x', now(), $3)`

// refer makes a row that refers to the blob: quarantine asks for nothing else.
func (w *world) refer(tx pgx.Tx, id uuid.UUID) error {
	_, err := tx.Exec(w.T.Context(), sqlRefer, uuid.Must(uuid.NewV7()), id, access.SystemUser)
	return err
}

// keep stores a content with a reference.
func (w *world) keep(s string) uuid.UUID {
	w.T.Helper()
	f := w.take(s)
	defer f.Remove()
	var id uuid.UUID
	must(w.T, w.Blobs.Store(w.T.Context(), stadt, []*blob.File{f}, func(tx pgx.Tx, staged []blob.Staged) error {
		id = staged[0].ID
		return w.refer(tx, id)
	}))
	return id
}

func (w *world) read(id uuid.UUID) string { w.T.Helper(); return string(w.Content(stadt, id)) }

// path is the file of a content in the server's folder.
func (w *world) path(f *blob.File) string { return w.Path(layout.Content("stadt", f.SHA256)) }
