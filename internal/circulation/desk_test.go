package circulation_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/circulation"
	"evb/internal/fault"
	"evb/internal/lists"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
)

func last(t circulation.Step) circulation.Execution { return t.Executions[len(t.Executions)-1] }

func (w *office) sees(a access.Actor, dokument uuid.UUID) bool {
	w.t.Helper()
	_, err := w.Akten.Dokument(w.t.Context(), a, dokument)
	if err != nil && !fault.Is(err, "not-found") {
		w.t.Fatal(err)
	}
	return err == nil
}

func TestAStationSeesTheObjectWhileItIsItsTurn(t *testing.T) {
	w := newOffice(t)
	doc := w.filed("Bescheid")
	c := w.start(w.Schulz, doc, circulation.NewStep{To: circulation.Station{Unit: w.Wohngeld}}, circulation.NewStep{To: person(w.Nobody)})
	if !w.sees(w.Meier, doc) || w.sees(w.Nobody, doc) {
		t.Error("who has it sees it, and nobody else")
	}
	c = w.complete(w.Meier, c.ID, 1, circulation.Finished)
	if w.sees(w.Meier, doc) || !w.sees(w.Nobody, doc) {
		t.Error("it has gone on")
	}
	_, err := w.s.Circulation(t.Context(), w.Meier, c.ID)
	w.want(err, "not-found")
	_, err = w.s.Circulation(t.Context(), w.Nobody, c.ID)
	w.ok(err)
	c = w.complete(w.Nobody, c.ID, 2, circulation.Finished)
	if w.sees(w.Nobody, doc) || c.State != circulation.Done {
		t.Error("it has ended")
	}
}

func TestADeputySignsInBothNames(t *testing.T) {
	w := newOffice(t)
	doc := w.filed("Bescheid")
	c := w.start(w.Schulz, doc, circulation.NewStep{To: person(w.Yilmaz), Kind: circulation.CoSign}, circulation.NewStep{To: circulation.Station{Function: "clerk"}})
	w.deputy(w.Yilmaz, w.Roth, w.own(w.Yilmaz))
	c = w.complete(w.Roth, c.ID, 1, circulation.Agreed)
	x := last(c.Steps[0])
	if x.ActorName != w.Roth.DisplayName || x.OnBehalfOfName != w.Yilmaz.DisplayName || x.Capacity != "substitute" {
		t.Errorf("execution: %+v", x)
	}
	h, err := lists.New(w.DB, lists.Options{Now: w.Now}).History(t.Context(), w.Schulz, doc, "", 0)
	w.ok(err)
	for _, l := range h.Items {
		if l.Kind == string(circulation.StepAgreed) && (l.Actor != w.Roth.DisplayName || l.OnBehalfOf != w.Yilmaz.DisplayName) {
			t.Errorf("history: %+v", l)
		}
	}
	// One of two clerks has it; a colleague of the same desk who is no clerk
	// may not, as deputy of a clerk she may.
	_, err = w.s.Complete(t.Context(), w.Yilmaz, c.ID, 2, circulation.Completion{}, 0)
	w.want(err, "step-foreign")
	w.deputy(w.Koch, w.Yilmaz, w.bau)
	c = w.complete(w.Yilmaz, c.ID, 2, circulation.Finished)
	if x := last(c.Steps[1]); x.OnBehalfOfName != w.Koch.DisplayName {
		t.Errorf("execution: %+v", x)
	}
	// The substitution ends to the second.
	c = w.start(w.Schulz, doc, circulation.NewStep{To: person(w.Yilmaz)})
	w.Pass(time.Hour)
	_, err = w.s.Complete(t.Context(), w.Roth, c.ID, 1, circulation.Completion{}, 0)
	w.want(err, "item-not-yours")
}

func TestOfTwoWhoCompleteAtOnceOneDoes(t *testing.T) {
	w := newOffice(t)
	for range 5 {
		c := w.start(w.Schulz, w.filed("Eilsache"), circulation.NewStep{To: circulation.Station{Unit: w.Bauordnung}, Group: 1},
			circulation.NewStep{To: circulation.Station{Unit: w.Wohngeld}, Group: 1}, circulation.NewStep{To: person(w.Roth)})
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i, a := range []access.Actor{w.Koch, w.Yilmaz, w.Meier} {
			wg.Go(func() {
				n := 1
				if i == 2 { // beside them, the other branch: the join is passed once
					n = 2
				}
				_, errs[i] = w.s.Complete(t.Context(), a, c.ID, n, circulation.Completion{}, 0)
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || errs[2] != nil {
			t.Fatalf("%v", errs)
		}
		for _, err := range errs[:2] {
			if err != nil {
				w.want(err, "step-not-current")
			}
		}
		c, err := w.s.Circulation(t.Context(), w.Schulz, c.ID)
		w.ok(err)
		if got := statuses(c); got[3] != circulation.Current || len(c.Steps[0].Executions) != 1 {
			t.Fatalf("%v", got)
		}
		if n := pgtest.One[int](t, w.DB, `SELECT count(*)::int FROM postkorb_item WHERE step_id = $1`, c.Steps[2].ID); n != 1 {
			t.Fatalf("%d items of the next step", n)
		}
	}
}

func TestTheDeskEndsForwardsAndReturnsAStation(t *testing.T) {
	w := newOffice(t)
	ctx := t.Context()
	doc := w.filed("Bescheid")
	// It lies on the desk already: the station comes beside it.
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := w.post.Deliver(ctx, tx, w.System(), w.Now(), postkorb.Delivery{Record: doc, Postkorb: w.bau, Why: postkorb.Why{Code: "why-by-hand", Params: map[string]string{"person": "x"}}})
		return err
	})
	c := w.start(w.Schulz, doc, circulation.NewStep{To: circulation.Station{Unit: w.Bauordnung}, Due: w.Now().Add(time.Hour)},
		circulation.NewStep{To: circulation.Station{Unit: w.Wohngeld}})
	first := w.itemOf(c.Steps[0].ID)
	if p, err := w.post.Postkorb(ctx, w.Koch, w.bau); err != nil || p.Open != 2 {
		t.Errorf("open %d, %v", p.Open, err)
	}
	i, err := w.post.Claim(ctx, w.Koch, first, 0)
	w.ok(err)
	if i.CirculationID == nil || *i.CirculationID != c.ID || i.StepNumber != 1 || i.DueAt == nil {
		t.Errorf("item: %+v", i)
	}
	_, err = w.post.Forward(ctx, w.Koch, first, 0, postkorb.To{Postkorb: w.clear}, "bitte dort")
	w.ok(err)
	c, err = w.s.Circulation(ctx, w.Schulz, c.ID)
	w.ok(err)
	if x := last(c.Steps[0]); c.Steps[0].Status != circulation.Current || c.Steps[0].Postkorb != "Klaerung" || x.Outcome != circulation.Forwarded || x.Postkorb != "Klaerung" {
		t.Errorf("step: %+v", c.Steps[0])
	}
	_, err = w.post.Undo(ctx, w.Koch, first, 0)
	w.want(err, "undo-of-step")
	second := w.itemOf(c.Steps[0].ID)
	_, err = w.post.FollowUp(ctx, w.Roth, second, 0, w.Now().Add(time.Hour), "abwarten")
	w.ok(err)
	_, err = w.post.Return(ctx, w.Roth, second, 0, "Irrläufer")
	w.ok(err)
	c, err = w.s.Circulation(ctx, w.Schulz, c.ID)
	w.ok(err)
	if got := statuses(c); got[1] != circulation.Executed || got[2] != circulation.Future || got[3] != circulation.Current || c.Steps[1].ReturnedFrom != 1 {
		t.Fatalf("%v", c.Steps)
	}
	w.Pass(2 * time.Hour) // the follow-up of a station that has ended does not come back
	if n, err := w.post.FireFollowUps(ctx, pgtest.Stadt); n != 0 || err != nil {
		t.Errorf("%d came back, %v", n, err)
	}
	_, err = w.post.Done(ctx, w.Schulz, w.itemOf(c.Steps[1].ID), 0, "trotzdem weiter")
	w.ok(err)
	c, err = w.s.Circulation(ctx, w.Schulz, c.ID)
	w.ok(err)
	if got := statuses(c); got[2] != circulation.Current {
		t.Errorf("%v", got)
	}
}

func TestANewVersionBeginsAnEndedCirculationAnew(t *testing.T) {
	w := newOffice(t)
	doc := w.filed("Bescheid")
	c := w.start(w.Schulz, doc, circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign}, circulation.NewStep{To: person(w.Roth)},
		circulation.NewStep{To: person(w.Yilmaz), Kind: circulation.FinalSign})
	for n, a := range []access.Actor{w.Koch, w.Roth} {
		outcome := circulation.Agreed
		if n == 1 {
			outcome = circulation.Finished
		}
		c = w.complete(a, c.ID, n+1, outcome)
	}
	c = w.complete(w.Yilmaz, c.ID, 3, circulation.Agreed)
	frozen := c.EndedAt
	// Reopened: what was signed stands until a version comes.
	_, err := w.Akten.ReopenDokument(t.Context(), w.Yilmaz, doc, "Rechenfehler", 0)
	w.ok(err)
	w.ok(w.version(w.Schulz, doc))
	c, err = w.s.Circulation(t.Context(), w.Schulz, c.ID)
	w.ok(err)
	// The final sign-off waits for who agrees anew; what was merely done stays.
	if got := statuses(c); got[1] != circulation.Current || got[2] != circulation.Executed || got[3] != circulation.Future || c.State != circulation.Running {
		t.Fatalf("%v, %s", got, c.State)
	}
	for _, i := range []int{0, 2} {
		x := c.Steps[i].Executions
		if !x[0].Void || x[0].VersionNumber != 1 || x[1].Outcome != circulation.Voided || *x[1].VoidsID != x[0].ID {
			t.Errorf("step %d: %+v", i+1, x)
		}
	}
	c = w.complete(w.Koch, c.ID, 1, circulation.Agreed)
	c = w.complete(w.Yilmaz, c.ID, 3, circulation.Agreed)
	if c.State != circulation.Done || !c.EndedAt.Equal(*frozen) || last(c.Steps[2]).VersionNumber != 2 {
		t.Errorf("%+v", c)
	}
	d, err := w.Akten.Dokument(t.Context(), w.Schulz, doc)
	w.ok(err)
	if d.State != akte.Final || d.Versions[1].FrozenAt == nil {
		t.Errorf("dokument %s", d.State)
	}
}

func TestARecalledCirculationShowsWhatHasBecomeVoid(t *testing.T) {
	w := newOffice(t)
	doc := w.filed("Bescheid")
	c := w.start(w.Schulz, doc, circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign}, circulation.NewStep{To: person(w.Roth)})
	w.complete(w.Koch, c.ID, 1, circulation.Agreed)
	_, err := w.s.Recall(t.Context(), w.Schulz, c.ID, "erledigt", 0)
	w.ok(err)
	w.ok(w.version(w.Schulz, doc))
	c, err = w.s.Circulation(t.Context(), w.Schulz, c.ID)
	w.ok(err)
	if got := statuses(c); got[1] != circulation.Executed || c.State != circulation.Recalled || !c.Steps[0].Executions[0].Void {
		t.Errorf("%v, %+v", got, c.Steps[0].Executions)
	}
}

func TestAMatterAgreesToADokumentOfIts(t *testing.T) {
	w := newOffice(t)
	doc := w.filed("Anordnung")
	c := w.start(w.Schulz, w.home, circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign}, circulation.NewStep{To: person(w.Yilmaz), Kind: circulation.FinalSign})
	c = w.complete(w.Koch, c.ID, 1, circulation.Agreed)
	if x := last(c.Steps[0]); x.DokumentID == nil || *x.DokumentID != doc || x.VersionNumber != 1 {
		t.Fatalf("%+v", x)
	}
	w.filed("Anlage") // now it has to be named
	_, err := w.s.Complete(t.Context(), w.Yilmaz, c.ID, 2, circulation.Completion{Outcome: circulation.Agreed}, 0)
	w.want(err, "agreement-needs-dokument")
	w.ok(w.version(w.Schulz, doc))
	c, err = w.s.Circulation(t.Context(), w.Schulz, c.ID)
	w.ok(err)
	if got := statuses(c); got[1] != circulation.Current || got[2] != circulation.Current {
		t.Fatalf("%v", got)
	}
	c = w.complete(w.Koch, c.ID, 1, circulation.Refused)
	c, err = w.s.Complete(t.Context(), w.Yilmaz, c.ID, 2, circulation.Completion{Outcome: circulation.Agreed, Dokument: doc}, 0)
	w.ok(err)
	if d, err := w.Akten.Dokument(t.Context(), w.Schulz, doc); err != nil || d.State != akte.Final {
		t.Errorf("%s, %v", d.State, err)
	}
}

func TestWhatWasExecutedIsNotChangedByAnybody(t *testing.T) {
	w := newOffice(t)
	c := w.start(w.Schulz, w.filed("Bescheid"), circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign}, circulation.NewStep{To: person(w.Roth)})
	w.complete(w.Koch, c.ID, 1, circulation.Agreed)
	for _, sql := range []string{
		`UPDATE circulation_step_execution SET remark = 'x'`, `DELETE FROM circulation_step_execution`, `DELETE FROM circulation_step`,
		`UPDATE circulation_step SET status = 'current' WHERE number = 1`, `UPDATE circulation_step SET instruction = 'x' WHERE number = 1`,
		`UPDATE circulation_step SET status = 'skipped' WHERE number = 1`,
	} {
		if err := w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error { _, err := tx.Exec(t.Context(), sql); return err }); err == nil {
			t.Errorf("the database let through: %s", sql)
		}
	}
}

func TestAStationWhosePlaceIsEmptyIsHandedOnAndSignedByNobodyElse(t *testing.T) {
	w := newOffice(t)
	ctx := t.Context()
	c := w.start(w.Schulz, w.filed("Bescheid"), circulation.NewStep{To: person(w.Roth)}, circulation.NewStep{To: person(w.Nobody), Kind: circulation.CoSign},
		circulation.NewStep{To: circulation.Station{Function: "head"}, Kind: circulation.FinalSign})
	pgtest.Exec(t, w.DB, `UPDATE app_user SET disabled_at = now() WHERE id = $1`, w.Nobody.User)
	c = w.complete(w.Roth, c.ID, 1, circulation.Finished)
	if c.Steps[1].Postkorb != "FB61-Bauordnung" {
		t.Fatalf("it lies in %q", c.Steps[1].Postkorb)
	}
	item := w.itemOf(c.Steps[1].ID)
	i, err := w.post.Item(ctx, w.Koch, item)
	w.ok(err)
	if i.Why.Code != "why-station-left" || i.Why.Params["person"] != w.Nobody.DisplayName {
		t.Errorf("why: %+v", i.Why)
	}
	_, err = w.s.Complete(ctx, w.Koch, c.ID, 2, circulation.Completion{Outcome: circulation.Agreed}, 0)
	w.want(err, "step-foreign")
	_, err = w.post.Forward(ctx, w.Koch, item, 0, postkorb.To{Postkorb: w.clear}, "bitte dort")
	w.ok(err)
	c = w.complete(w.Roth, c.ID, 2, circulation.Agreed)
	// The head changes while it lies there: the one who was head signs no more.
	pgtest.Exec(t, w.DB, `UPDATE membership SET valid_to = $2 WHERE user_id = $1 AND role = 'head'`, w.Yilmaz.User, w.Now())
	w.Pass(time.Second)
	_, err = w.s.Complete(ctx, w.Yilmaz, c.ID, 3, circulation.Completion{Outcome: circulation.Agreed}, 0)
	w.want(err, "step-foreign")
	_, err = w.post.Forward(ctx, w.Yilmaz, w.itemOf(c.Steps[2].ID), 0, postkorb.To{Postkorb: w.bau}, "")
	w.ok(err)
	c = w.complete(w.Koch, c.ID, 3, circulation.Agreed)
	if c.State != circulation.Done {
		t.Errorf("%s", c.State)
	}
}

func TestWhatARuleBeganComesBackToTheUnit(t *testing.T) {
	w := newOffice(t)
	for record, desk := range map[uuid.UUID]string{w.filed("Antrag"): "FB61-Bauordnung", w.Dokument(t, "ohne Einheit").ID: "Klaerung"} {
		var c circulation.Circulation
		w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
			c, err = started(t.Context(), tx)(w.s.StartTx(t.Context(), tx, w.System(), w.Now(), circulation.NewCirculation{Record: record, Level: 3, Steps: []circulation.NewStep{{To: person(w.Roth)}}}))
			return err
		})
		c = w.complete(w.Roth, c.ID, 1, circulation.Refused)
		if c.Level != 3 || c.Steps[1].Postkorb != desk || c.Steps[1].ReturnedFrom != 1 {
			t.Errorf("%+v", c.Steps[1])
		}
		who := w.Koch
		if desk == "Klaerung" {
			who = w.Roth
		}
		if c = w.complete(who, c.ID, 2, circulation.Finished); c.State != circulation.Done {
			t.Errorf("%s", c.State)
		}
	}
}
