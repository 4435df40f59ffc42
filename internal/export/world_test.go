package export_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/export"
	"evb/internal/postgres"
	"evb/internal/preservation"
	"evb/internal/preservation/preservationtest"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

func TestMain(m *testing.M) { worldtest.Main(m) }

var must = sharedtest.Must

// world is a town with an authority and an export service.
type world struct {
	*worldtest.World
	proof  *preservation.Service
	tsa    *preservationtest.Authority
	export *export.Service
	dir    string // of packages on their way out
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{World: worldtest.New(t), dir: filepath.Join(t.TempDir(), "out"), tsa: preservationtest.New(t, nil)}
	w.proof = preservation.New(w.DB, w.Log, w.Akten, w.Store, preservationtest.Options(w.tsa.URL, nil))
	w.export = export.New(w.DB, w.Log, w.Akten, w.Blobs, w.proof, export.Options{Dir: w.dir})
	return w
}

// letter is a Dokument of a.schulz whose intake is over.
func (w *world) letter(subject string, contents ...string) uuid.UUID {
	w.T.Helper()
	id, version := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	w.Keep(w.Schulz, contents, func(tx pgx.Tx, files []akte.NewFile) error {
		err := w.Akten.InsertDokumente(w.T.Context(), tx, w.Schulz, time.Now(), akte.NewDokument{
			ID: id, VersionID: version, State: akte.Captured, Channel: akte.ChannelAPI, Subject: subject, Sender: "Müller & Söhne",
			ReceivedOn: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), SubmittedBy: w.Schulz.User, Files: files,
		})
		if err != nil {
			return err
		}
		return w.Decided(tx, id, version)
	})
	return id
}

func (w *world) seal() {
	w.T.Helper()
	_, err := w.proof.SealNow(context.Background(), w.System())
	must(w.T, err)
}

// accesses lists the facts of the access stream.
func (w *world) accesses() []event.Entry {
	w.T.Helper()
	ctx := context.Background()
	w.Number()
	var out []event.Entry
	w.Read(func(q postgres.Querier) (err error) {
		out, err = event.Feed(ctx, q, event.Access, 0, 1000)
		return err
	})
	return out
}
