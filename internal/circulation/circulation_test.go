package circulation_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/circulation"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
	"evb/internal/postkorb/postkorbtest"
	"evb/internal/sharedtest"
)

func TestMain(m *testing.M) {
	sharedtest.Walks(12)
	os.Exit(pgtest.Main(m))
}

// office is the town with Postkörbe for both units and a clearing.
type office struct {
	*aktetest.Town
	t                testing.TB
	s                *circulation.Service
	post             *postkorb.Service
	bau, wohn, clear uuid.UUID
	home             uuid.UUID // Vorgang of what is filed
	told             []circulation.Completed
}

func newOffice(t testing.TB) *office {
	t.Helper()
	w := &office{t: t}
	w.Town = aktetest.New(t)
	// The same services, which know each other.
	w.Akten = akte.New(w.DB, w.Log, akte.Options{Now: w.Now, VersionAdded: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument, version uuid.UUID, number int) error {
		return w.s.VersionAdded(ctx, tx, a, at, dokument, version, number)
	}})
	w.post = postkorb.New(w.DB, w.Log, postkorb.Options{Now: w.Now, Step: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, act postkorb.StepAct) error {
		return w.s.Step(ctx, tx, a, at, act)
	}})
	w.s = circulation.New(w.DB, w.Log, w.Akten, w.post, circulation.Options{Now: w.Now, Completed: func(_ context.Context, _ pgx.Tx, _ access.Actor, _ time.Time, c circulation.Completed) error {
		w.told = append(w.told, c)
		return nil
	}})
	d := postkorbtest.MakeTown(t, w.Town, w.post)
	w.bau, w.wohn, w.clear = d.Bau, d.Wohn, d.Clearing
	return w
}

// filed is a Dokument of the Akte of FB61, written by the system.
func (w *office) filed(subject string) uuid.UUID {
	w.t.Helper()
	d := w.Dokument(w.t, subject)
	f, err := w.Akten.File(w.t.Context(), w.System(), d.ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau, VorgangID: w.home})
	w.ok(err)
	w.home = *f.VorgangID
	return d.ID
}

// version adds a version by somebody.
func (w *office) version(a access.Actor, dokument uuid.UUID) error {
	return w.DB.InTx(w.t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		if _, err := w.Akten.VersionAllowed(w.t.Context(), tx, a, w.Now(), dokument, 0); err != nil {
			return err
		}
		blob, err := aktetest.Blob(w.t.Context(), tx)
		if err != nil {
			return err
		}
		_, err = w.Akten.InsertVersion(w.t.Context(), tx, a, w.Now(), akte.NewVersion{
			ID: uuid.Must(uuid.NewV7()), DokumentID: dokument, Origin: "edit",
			Files: []akte.NewFile{{Blob: blob, Name: "brief.pdf", MediaType: "application/pdf", Pages: 1}},
		})
		return err
	})
}

func (w *office) start(a access.Actor, record uuid.UUID, steps ...circulation.NewStep) circulation.Circulation {
	w.t.Helper()
	c, _, err := w.s.Start(w.t.Context(), a, circulation.NewCirculation{Record: record, Steps: steps})
	w.ok(err)
	return c
}

func (w *office) complete(a access.Actor, id uuid.UUID, number int, outcome circulation.Outcome) circulation.Circulation {
	w.t.Helper()
	c, err := w.s.Complete(w.t.Context(), a, id, number, circulation.Completion{Outcome: outcome, Remark: "geprüft"}, 0)
	w.ok(err)
	return c
}

func (w *office) ok(err error) {
	w.t.Helper()
	sharedtest.Must(w.t, err)
}

func (w *office) want(err error, code string) {
	w.t.Helper()
	sharedtest.WantFault(w.t, err, code)
}

func person(a access.Actor) circulation.Station { return circulation.Station{User: a.User} }

// statuses are the statuses by number of step.
func statuses(c circulation.Circulation) map[int]circulation.Status {
	out := map[int]circulation.Status{}
	for _, t := range c.Steps {
		out[t.Number] = t.Status
	}
	return out
}

func TestASerialParallelAndMixedRouteIsWalkedInOrder(t *testing.T) {
	w := newOffice(t)
	doc := w.filed("Bescheid")
	c := w.start(w.Schulz, doc,
		circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign},
		circulation.NewStep{To: circulation.Station{Unit: w.Wohngeld}, Kind: circulation.Comment, Group: 1},
		circulation.NewStep{To: person(w.Roth), Kind: circulation.Information, Group: 1},
		circulation.NewStep{To: circulation.Station{Function: "head"}, Kind: circulation.FinalSign},
	)
	check := func(want ...circulation.Status) {
		t.Helper()
		got := statuses(c)
		for i, s := range want {
			if got[i+1] != s {
				t.Fatalf("statuses %v, want %v", got, want)
			}
		}
	}
	const F, C, D = circulation.Future, circulation.Current, circulation.Executed
	check(C, F, F, F)
	c = w.complete(w.Koch, c.ID, 1, circulation.Agreed)
	check(D, C, C, F)
	c = w.complete(w.Roth, c.ID, 3, circulation.Finished)
	check(D, C, D, F)
	c = w.complete(w.Meier, c.ID, 2, circulation.Finished)
	check(D, D, D, C)
	c = w.complete(w.Yilmaz, c.ID, 4, circulation.Agreed)
	check(D, D, D, D)
	if c.State != circulation.Done || c.EndedAt == nil {
		t.Errorf("state %s", c.State)
	}
	d, err := w.Akten.Dokument(t.Context(), w.Schulz, doc)
	w.ok(err)
	if d.State != akte.Final || d.Versions[0].FrozenAt == nil {
		t.Errorf("dokument %s", d.State)
	}
	w.want(w.version(w.Schulz, doc), "dokument-final")
}
