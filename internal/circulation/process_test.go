package circulation_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/circulation"
	"evb/internal/fault"
	"evb/internal/postgres/pgtest"
)

func TestAProcessMovesItsCirculationAndHearsOfPeople(t *testing.T) {
	w := newOffice(t)
	ctx := t.Context()
	doc, instance := w.filed("Rechnung"), uuid.Must(uuid.NewV7())
	var c circulation.Circulation
	tx := func(fn func(tx pgx.Tx) error) { t.Helper(); w.Tx(t, pgtest.Stadt, fn) }
	tx(func(tx pgx.Tx) (err error) {
		c, err = started(ctx, tx)(w.s.StartTx(ctx, tx, w.System(), w.Now(), circulation.NewCirculation{Record: doc, Level: 4, Instance: instance}))
		return err
	})
	if c.State != circulation.Running || len(c.Steps) != 0 || c.Level != 4 {
		t.Fatalf("%+v", c)
	}
	add := func(n circulation.NewStep) (s circulation.Step) {
		t.Helper()
		tx(func(tx pgx.Tx) error {
			number, err := w.s.AddStepTx(ctx, tx, w.System(), w.Now(), c.ID, n)
			if err != nil {
				return err
			}
			now, err := circulation.ByID(ctx, tx, c.ID)
			s, _ = now.Step(number)
			return err
		})
		return s
	}
	// Current at once, each of them, whatever else is.
	check, release := add(circulation.NewStep{To: person(w.Koch)}), add(circulation.NewStep{To: circulation.Station{Unit: w.Bauordnung, Function: "head"}, Kind: circulation.FinalSign})
	if check.Status != circulation.Current || release.Status != circulation.Current || check.Number != 1 || release.Number != 2 {
		t.Fatalf("%+v, %+v", check, release)
	}
	_, err := w.s.Complete(ctx, w.Koch, c.ID, 1, circulation.Completion{Remark: "sachlich richtig", Data: json.RawMessage(`{"betrag":100}`)}, 0)
	w.ok(err)
	if n := len(w.told); n != 1 || w.told[0].Step != check.ID || w.told[0].Instance != instance || w.told[0].Outcome != circulation.Finished ||
		string(w.told[0].Data) != `{"betrag":100}` || w.told[0].Again {
		t.Fatalf("told: %+v", w.told)
	}
	// A refusal is the process's matter: nothing is sent back.
	c = w.complete(w.Yilmaz, c.ID, 2, circulation.Refused)
	if len(c.Steps) != 2 || c.State != circulation.Running || w.told[1].Outcome != circulation.Refused || w.told[1].Version == uuid.Nil {
		t.Errorf("%+v", c)
	}
	// What leaves a step by a boundary event skips it and is not told of it.
	third := add(circulation.NewStep{To: person(w.Roth), Kind: circulation.CoSign})
	tx(func(tx pgx.Tx) error {
		return w.s.SkipTx(ctx, tx, w.System(), w.Now(), c.ID, third.Number, "Frist abgelaufen")
	})
	tx(func(tx pgx.Tx) error {
		return w.s.SkipTx(ctx, tx, w.System(), w.Now(), c.ID, third.Number, "Frist abgelaufen")
	})
	fourth := add(circulation.NewStep{To: person(w.Roth), Kind: circulation.CoSign})
	c = w.complete(w.Roth, c.ID, fourth.Number, circulation.Agreed)
	tx(func(tx pgx.Tx) error { return w.s.EndTx(ctx, tx, w.System(), w.Now(), c.ID) })
	tx(func(tx pgx.Tx) error { return w.s.EndTx(ctx, tx, w.System(), w.Now(), c.ID) })
	all, err := byInstance(w, instance)
	w.ok(err)
	if len(all) != 1 || all[0].State != circulation.Done || len(w.told) != 3 {
		t.Fatalf("%+v, told %d", all, len(w.told))
	}
	// A new version: the agreement and the refusal are void, the process is told
	// that they come again, and the circulation ends by itself.
	w.ok(w.version(w.Schulz, doc))
	c = w.complete(w.Roth, c.ID, fourth.Number, circulation.Agreed)
	c = w.complete(w.Yilmaz, c.ID, 2, circulation.Agreed)
	if c.State != circulation.Done || len(w.told) != 5 || !w.told[4].Again || w.told[4].Outcome != circulation.Agreed {
		t.Errorf("%s, %+v", c.State, w.told)
	}
}

func byInstance(w *office, instance uuid.UUID) (out []circulation.Circulation, err error) {
	w.Tx(w.t, pgtest.Stadt, func(tx pgx.Tx) error {
		out, err = circulation.ByInstance(w.t.Context(), tx, instance)
		return err
	})
	return out, err
}

func TestAProcessMayRefuseWhatAPersonDoes(t *testing.T) {
	w := newOffice(t)
	ctx := t.Context()
	refusal := error(fault.New("reason-needed"))
	s := circulation.New(w.DB, w.Log, w.Akten, w.post, circulation.Options{Now: w.Now, Completed: refuse(&refusal)})
	var c circulation.Circulation
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
		c, err = started(ctx, tx)(s.StartTx(ctx, tx, w.System(), w.Now(), circulation.NewCirculation{
			Record: w.filed("Rechnung"), Level: 4, Instance: uuid.New(), Steps: []circulation.NewStep{{To: person(w.Koch)}, {To: person(w.Roth)}},
		}))
		return err
	})
	if got := statuses(c); got[1] != circulation.Current || got[2] != circulation.Current {
		t.Fatalf("%v", got)
	}
	before := w.picture()
	_, err := s.Complete(ctx, w.Koch, c.ID, 1, circulation.Completion{}, 0)
	w.want(err, "reason-needed")
	_, err = s.Recall(ctx, w.Yilmaz, c.ID, "Abbruch", 0)
	w.want(err, "reason-needed")
	refusal = errors.New("out of order")
	if _, err := s.Skip(ctx, w.Yilmaz, c.ID, 2, "entfällt", 0); err == nil || w.picture() != before {
		t.Errorf("%v", err)
	}
	refusal = nil
	c, err = s.Recall(ctx, w.Yilmaz, c.ID, "Abbruch", 0)
	w.ok(err)
	if got := statuses(c); got[1] != circulation.Skipped || got[2] != circulation.Skipped || c.State != circulation.Recalled {
		t.Errorf("%v", got)
	}
}

// refuse answers what people do with an error that the test sets.
func refuse(with *error) func(context.Context, pgx.Tx, access.Actor, time.Time, circulation.Completed) error {
	return func(context.Context, pgx.Tx, access.Actor, time.Time, circulation.Completed) error { return *with }
}

// started reads the circulation that StartTx has begun.
func started(ctx context.Context, tx pgx.Tx) func(uuid.UUID, error) (circulation.Circulation, error) {
	return func(id uuid.UUID, err error) (circulation.Circulation, error) {
		if err != nil {
			return circulation.Circulation{}, err
		}
		return circulation.ByID(ctx, tx, id)
	}
}
