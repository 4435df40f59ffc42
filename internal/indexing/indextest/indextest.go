// Package indextest gives the tests of the search a small town with a bucket, an
// index and its follower: everything real, in one process.
package indextest

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
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/find"
	"evb/internal/indexing"
	"evb/internal/localstack/s3d"
	"evb/internal/postgres/pgtest"
	"evb/search"
	"evb/storage/s3"
)

const childEnv = "EVB_INDEX_TEST_S3"

// Main is TestMain of a package that uses World.
func Main(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(s3d.ChildMain())
	}
	os.Exit(pgtest.Main(m))
}

// World is a town with a search.
type World struct {
	*aktetest.Town
	T        testing.TB
	S3       *s3d.Server
	Spool    *blob.Spool
	Blobs    *blob.Service
	Dir      string // of the index
	Engine   *search.Index
	Follower *indexing.Follower
	Find     *find.Service
	Numbers  *event.Sequencer
	// Desk and Complaints are Postkörbe of FB61; both clerks and the head are
	// members.
	Desk, Complaints uuid.UUID
}

// New builds the world. Nothing runs in the background.
func New(t testing.TB) *World {
	t.Helper()
	w := &World{Town: aktetest.New(t), T: t, Dir: filepath.Join(t.TempDir(), "index")}
	exe, err := os.Executable()
	w.Must(err)
	w.S3, err = s3d.Start(t.Context(), s3d.Options{Dir: filepath.Join(t.TempDir(), "s3"), Binary: exe, Env: []string{childEnv + "=1"},
		Bucket: "archiv", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	w.Must(err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = w.S3.Stop(ctx)
	})
	cfg := w.S3.Config(true)
	cfg.CallTimeout, cfg.Attempts = 5*time.Second, 2
	store, err := s3.New(cfg)
	w.Must(err)
	t.Cleanup(store.CloseIdle)
	w.Spool, err = blob.NewSpool(filepath.Join(t.TempDir(), "spool"))
	w.Must(err)
	t.Cleanup(func() { _ = w.Spool.Close() })
	w.Blobs = blob.New(w.DB, store, w.Spool, w.Log, blob.Options{Now: w.Now})
	w.Numbers = event.NewSequencer(w.DB, slog.New(slog.DiscardHandler), 10*time.Millisecond)
	w.OpenIndex()
	t.Cleanup(func() { _ = w.Engine.Close() })
	w.Desk, w.Complaints = w.postkorb("FB61-Bauordnung"), w.postkorb("FB61-Beschwerden")
	return w
}

// OpenIndex opens the index, as a new process would.
func (w *World) OpenIndex(change ...func(*indexing.Options)) {
	w.T.Helper()
	var err error
	w.Engine, err = search.Open(context.Background(), search.Options{Dir: w.Dir, AllowStale: true, LockTimeout: 5 * time.Second})
	w.Must(err)
	w.Follow(w.Engine, change...)
}

// Follow makes a follower and a search on an engine.
func (w *World) Follow(engine search.Engine, change ...func(*indexing.Options)) {
	o := indexing.Options{Now: w.Now, Poll: 10 * time.Millisecond, Gather: time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	w.Follower = indexing.New(w.DB, engine, w.Blobs, o)
	w.Find = find.New(w.DB, w.Log, engine, w.Follower, find.Options{Now: w.Now})
}

// Must fails the test with an error.
func (w *World) Must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Number gives all facts their numbers.
func (w *World) Number() {
	w.T.Helper()
	for _, tenant := range []access.Tenant{pgtest.Stadt, pgtest.Eigenbetrieb} {
		for {
			n, err := w.Numbers.Number(w.T.Context(), tenant, event.Events)
			w.Must(err)
			if n == 0 {
				break
			}
		}
	}
}

// Sync numbers all facts and takes them into the index.
func (w *World) Sync() {
	w.T.Helper()
	w.Number()
	for more := true; more; {
		var err error
		more, err = w.Follower.Step(w.T.Context())
		w.Must(err)
	}
}

// Letter makes a Dokument with the given text as its recognised text.
func (w *World) Letter(subject, text string) akte.NewDokument {
	w.T.Helper()
	d := w.Dokument(w.T, subject)
	w.SetText(d, text)
	return d
}

// LetterOf makes a Dokument, changed before it is written, with its text.
func (w *World) LetterOf(subject, text string, change func(*akte.NewDokument)) akte.NewDokument {
	w.T.Helper()
	var d akte.NewDokument
	w.Tx(w.T, pgtest.Stadt, func(tx pgx.Tx) error {
		d = aktetest.Draft(w.T, tx, subject)
		change(&d)
		return w.Akten.InsertDokumente(w.T.Context(), tx, w.System(), w.Now(), d)
	})
	w.SetText(d, text)
	return d
}

// SetText stores the text rendition of the first version.
func (w *World) SetText(d akte.NewDokument, text string) {
	w.T.Helper()
	f, err := w.Spool.Take(w.T.Context(), strings.NewReader(text), 0)
	w.Must(err)
	defer f.Remove()
	w.Must(w.Blobs.Store(w.T.Context(), w.System(), []*blob.File{f}, func(tx pgx.Tx, staged []blob.Staged) error {
		err := w.Akten.ReplaceRendition(w.T.Context(), tx, w.System(), w.Now(), akte.NewRendition{
			ID: uuid.Must(uuid.NewV7()), VersionID: d.VersionID, Kind: akte.Text, Tool: "test", ToolVersion: "1",
			Files: []akte.NewFile{{Blob: staged[0].ID, Name: "text.txt", MediaType: "text/plain"}},
		})
		if err != nil {
			return err
		}
		return w.Akten.SetExtraction(w.T.Context(), tx, w.System(), w.Now(), d.ID, d.VersionID, akte.ExtractionDone, "")
	}))
}

const (
	sqlPostkorb = `
    INSERT INTO postkorb (tenant, id, name, kind, unit_id) VALUES (evb_tenant(), $1, $2, 'group', $3)`
	sqlMember = `
    INSERT INTO postkorb_member (tenant, postkorb_id, user_id, valid_from) VALUES (evb_tenant(), $1, $2, $3)`
	sqlItem = `
    INSERT INTO postkorb_item (tenant, id, postkorb_id, record_id, state, assignee_id, why, received_at)
    VALUES (evb_tenant(), $1, $2, $3, 'open', $4, '{"code":"test"}', $5)`
	sqlEnd = `
    UPDATE postkorb_item SET state = 'done', finished_at = $2 WHERE tenant = evb_tenant() AND record_id = $1 AND state = 'open'`
)

// postkorb makes a Postkorb of FB61 with its people.
func (w *World) postkorb(name string) uuid.UUID {
	w.T.Helper()
	id := uuid.Must(uuid.NewV7())
	w.Tx(w.T, pgtest.Stadt, func(tx pgx.Tx) error {
		if _, err := tx.Exec(w.T.Context(), sqlPostkorb, id, name, w.Bauordnung); err != nil {
			return err
		}
		for _, a := range []access.Actor{w.Schulz, w.Koch, w.Yilmaz} {
			if _, err := tx.Exec(w.T.Context(), sqlMember, id, a.User, aktetest.At.AddDate(0, -1, 0)); err != nil {
				return err
			}
		}
		return nil
	})
	return id
}

// Deliver puts a Dokument into a Postkorb, and ends the items it had: rows and
// fact as package postkorb writes them. assignee nil UUID: for all.
func (w *World) Deliver(dokument, postkorb, assignee uuid.UUID) {
	w.T.Helper()
	w.Tx(w.T, pgtest.Stadt, func(tx pgx.Tx) error {
		if _, err := tx.Exec(w.T.Context(), sqlEnd, dokument, w.Now()); err != nil {
			return err
		}
		item := uuid.Must(uuid.NewV7())
		var who *uuid.UUID
		if assignee != uuid.Nil {
			who = &assignee
		}
		if _, err := tx.Exec(w.T.Context(), sqlItem, item, postkorb, dokument, who, w.Now()); err != nil {
			return err
		}
		return w.Log.Append(w.T.Context(), tx, w.System(), w.Now(), event.Fact{Kind: "item.delivered", Record: dokument, SubjectKind: "item", Subject: item})
	})
}

// End ends all items of a Dokument.
func (w *World) End(dokument uuid.UUID) {
	w.T.Helper()
	w.Tx(w.T, pgtest.Stadt, func(tx pgx.Tx) error {
		if _, err := tx.Exec(w.T.Context(), sqlEnd, dokument, w.Now()); err != nil {
			return err
		}
		return w.Log.Append(w.T.Context(), tx, w.System(), w.Now(), event.Fact{Kind: "item.done", Record: dokument})
	})
}

// File files a Dokument, as the registry does.
func (w *World) File(dokument uuid.UUID, aktenzeichen string) {
	w.T.Helper()
	_, err := w.Akten.File(w.T.Context(), w.System(), dokument, akte.FileRequest{Aktenzeichen: aktenzeichen})
	w.Must(err)
}

// Ask searches as somebody.
func (w *World) Ask(a access.Actor, q string) find.Page {
	w.T.Helper()
	p, err := w.Find.Search(w.T.Context(), a, find.Params{Q: q})
	w.Must(err)
	return p
}

// LetterAs is a letter that somebody files into the Akte of FB61, facts and all
// by that person.
func (w *World) LetterAs(a access.Actor, subject, text string) uuid.UUID {
	w.T.Helper()
	var d akte.NewDokument
	w.Tx(w.T, a.Tenant, func(tx pgx.Tx) error {
		d = aktetest.Draft(w.T, tx, subject)
		d.SubmittedBy = a.User
		return w.Akten.InsertDokumente(w.T.Context(), tx, a, w.Now(), d)
	})
	w.SetText(d, text)
	w.Deliver(d.ID, w.Desk, uuid.Nil)
	_, err := w.Akten.File(w.T.Context(), a, d.ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	w.Must(err)
	return d.ID
}
