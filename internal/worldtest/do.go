package worldtest

import (
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
	"evb/storage"
	"evb/storage/layout"
)

// Must ends the test on an error.
func (w *World) Must(err error) { w.T.Helper(); sharedtest.Must(w.T, err) }

// Tx runs fn in a transaction of the town.
func (w *World) Tx(fn func(tx pgx.Tx) error) { w.T.Helper(); pgtest.Tx(w.T, w.DB, fn) }

// Read runs fn in a reading transaction of the town.
func (w *World) Read(fn func(q postgres.Querier) error) { w.T.Helper(); pgtest.Read(w.T, w.DB, fn) }

// Exec runs a statement as the application.
func (w *World) Exec(sql string, args ...any) { w.T.Helper(); pgtest.Exec(w.T, w.DB, sql, args...) }

// Count counts the rows of a table of the town.
func (w *World) Count(table string) int { w.T.Helper(); return pgtest.Count(w.T, w.DB, table) }

// One reads the one value of a query.
func One[T any](w *World, sql string, args ...any) T {
	w.T.Helper()
	return pgtest.One[T](w.T, w.DB, sql, args...)
}

// File puts bytes into the spool; they go with the test.
func (w *World) File(name string, r io.Reader) *blob.File {
	w.T.Helper()
	f, err := w.Spool.Take(w.T.Context(), r, 0)
	w.Must(err)
	f.Name = name
	w.T.Cleanup(f.Remove)
	return f
}

// Keep stores contents with what refers to them, in one transaction; name and
// media type are those of a text.
func (w *World) Keep(a access.Actor, contents []string, fn func(tx pgx.Tx, files []akte.NewFile) error) {
	w.T.Helper()
	files := make([]*blob.File, len(contents))
	for i, c := range contents {
		f, err := w.Spool.Take(w.T.Context(), strings.NewReader(c), 0)
		w.Must(err)
		defer f.Remove()
		files[i] = f
	}
	w.Must(w.Blobs.Store(w.T.Context(), a, files, func(tx pgx.Tx, staged []blob.Staged) error {
		out := make([]akte.NewFile, len(staged))
		for i, s := range staged {
			out[i] = akte.NewFile{Blob: s.ID, Name: "brief.txt", MediaType: "text/plain", Pages: 1}
		}
		return fn(tx, out)
	}))
}

const sqlRouted = `
    INSERT INTO routing_decision (tenant, id, dokument_id, rule, rule_version, target, why, decided_at)
    VALUES (evb_tenant(), $1, $2, 'test', 1, '{}', '{}', now())`

// Decided ends the intake of a Dokument as extraction and routing do it.
func (w *World) Decided(tx pgx.Tx, dokument, version uuid.UUID) error {
	ctx := w.T.Context()
	if err := w.Akten.SetExtraction(ctx, tx, w.System(), w.Now(), dokument, version, akte.ExtractionDone, ""); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, sqlRouted, uuid.Must(uuid.NewV7()), dokument)
	return err
}

// Content reads the bytes of a blob as somebody.
func (w *World) Content(a access.Actor, id uuid.UUID) []byte {
	w.T.Helper()
	rc, _, err := w.Blobs.Open(w.T.Context(), a, id)
	w.Must(err)
	defer func() { _ = rc.Close() }()
	b, err := io.ReadAll(rc)
	w.Must(err)
	return b
}

// Objects counts the content objects of the town.
func (w *World) Objects() int {
	w.T.Helper()
	n := 0
	for info, err := range w.Store.List(w.T.Context(), layout.TenantPrefix(w.System().TenantSlug), "") {
		w.Must(err)
		if name, err := layout.Parse(info.Key); err == nil && name.Kind == layout.KindContent {
			n++
		}
	}
	return n
}

// Path is the file of an object in the folder of the S3 server: for what only
// an attacker or a broken disk could do.
func (w *World) Path(key storage.Key) string { return filepath.Join(w.Place.Objects, string(key)) }

// Consistent fails the test for everything on which bucket and rows disagree.
func (w *World) Consistent() {
	w.T.Helper()
	found, _, err := w.Blobs.Check(w.T.Context(), w.System())
	w.Must(err)
	for _, f := range found {
		w.T.Errorf("%s: %s", f.Code, f.Text("en"))
	}
}

// Number gives all facts of all tenants their numbers.
func (w *World) Number() { w.T.Helper(); Number(w.T, w.DB) }

// Number gives all facts of a database their numbers.
func Number(t testing.TB, db *postgres.DB) {
	t.Helper()
	sequencer := event.NewSequencer(db, slog.New(slog.DiscardHandler), 0)
	for _, tenant := range []access.Tenant{pgtest.Stadt, pgtest.Eigenbetrieb} {
		for _, stream := range []event.Stream{event.Events, event.Access} {
			for n := 1; n > 0; {
				var err error
				n, err = sequencer.Number(t.Context(), tenant, stream)
				sharedtest.Must(t, err)
			}
		}
	}
}
