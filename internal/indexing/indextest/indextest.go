// Package indextest gives the tests of the search what they need on top of
// package worldtest: an index, its follower, two Postkörbe and letters with text.
package indextest

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/event"
	"evb/internal/find"
	"evb/internal/indexing"
	"evb/internal/worldtest"
	"evb/search"
)

// World is a town with a search.
type World struct {
	*worldtest.World
	Dir      string // of the index
	Engine   *search.Index
	Follower *indexing.Follower
	Find     *find.Service
	// Numbers is a sequencer that a test may run; Number needs none.
	Numbers *event.Sequencer
	// Desk and Complaints are Postkörbe of FB61; both clerks and the head are
	// members.
	Desk, Complaints uuid.UUID
}

// New builds the world. Nothing runs in the background.
func New(t testing.TB, change ...func(*worldtest.Options)) *World {
	t.Helper()
	w := &World{World: worldtest.New(t, change...), Dir: filepath.Join(t.TempDir(), "index")}
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
	w.Tx(func(tx pgx.Tx) error {
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
	w.Keep(w.System(), []string{text}, func(tx pgx.Tx, files []akte.NewFile) error {
		err := w.Akten.ReplaceRendition(w.T.Context(), tx, w.System(), w.Now(), akte.NewRendition{
			ID: uuid.Must(uuid.NewV7()), VersionID: d.VersionID, Kind: akte.Text, Tool: "test", ToolVersion: "1",
			Files: files,
		})
		if err != nil {
			return err
		}
		return w.Akten.SetExtraction(w.T.Context(), tx, w.System(), w.Now(), d.ID, d.VersionID, akte.ExtractionDone, "")
	})
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
	w.Tx(func(tx pgx.Tx) error {
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
	w.Tx(func(tx pgx.Tx) error {
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
	w.Tx(func(tx pgx.Tx) error {
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
	w.Tx(func(tx pgx.Tx) error {
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
