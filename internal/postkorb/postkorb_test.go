package postkorb_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
	"evb/internal/postkorb/postkorbtest"
	"evb/internal/sharedtest"
)

func TestMain(m *testing.M) {
	sharedtest.Walks(12)
	os.Exit(pgtest.Main(m))
}

// desk is the town with its Postkörbe: FB61 (Schulz, Koch, Yilmaz), FB64
// (Meier), Klaerung (Roth), and one of Schulz alone.
type desk struct {
	*aktetest.Town
	s                        *postkorb.Service
	bau, wohn, clear, schulz uuid.UUID
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	w := &desk{Town: aktetest.New(t)}
	w.s = postkorb.New(w.DB, w.Log, postkorb.Options{Now: w.Now})
	d := postkorbtest.MakeTown(t, w.Town, w.s)
	w.bau, w.wohn, w.clear = d.Bau, d.Wohn, d.Clearing
	w.schulz = postkorbtest.Personal(t, w.Town, w.s, w.Schulz)
	return w
}

func (w *desk) deliver(t testing.TB, d postkorb.Delivery) (item uuid.UUID) {
	t.Helper()
	if d.Record == uuid.Nil {
		d.Record = w.Dokument(t, "Schreiben").ID
	}
	if d.Why.Code == "" {
		d.Why = postkorb.Why{Code: "why-by-hand", Params: map[string]string{"person": "Test"}}
	}
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
		item, err = w.s.Deliver(t.Context(), tx, w.System(), w.Now(), d)
		return err
	})
	return item
}

var want, ok = sharedtest.WantFault, sharedtest.Must

func (w *desk) open(t testing.TB, a access.Actor, id uuid.UUID) int {
	t.Helper()
	p, err := w.s.Postkorb(t.Context(), a, id)
	ok(t, err)
	page, err := w.s.Items(t.Context(), a, id, postkorb.Filter{}, "", 0)
	ok(t, err)
	if int64(p.Open) != page.Total || len(page.Items) != p.Open {
		t.Fatalf("count %d, total %d, lines %d", p.Open, page.Total, len(page.Items))
	}
	return p.Open
}

func TestDeliveringTwiceDeliversOnce(t *testing.T) {
	w := newDesk(t)
	doc := w.Dokument(t, "Schreiben").ID
	first := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau})
	if again := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau}); again != first {
		t.Error("a second item")
	}
	var wg sync.WaitGroup
	other := w.Dokument(t, "Schreiben").ID
	ids := make([]uuid.UUID, 8)
	for i := range ids {
		wg.Go(func() {
			_ = w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) (err error) {
				ids[i], err = w.s.Deliver(t.Context(), tx, w.System(), w.Now(), postkorb.Delivery{Record: other, Postkorb: w.bau, Why: postkorb.Why{Code: "why-by-hand"}})
				return err
			})
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == uuid.Nil || id != ids[0] {
			t.Fatalf("items: %v", ids)
		}
	}
	if n := w.open(t, w.Schulz, w.bau); n != 2 {
		t.Errorf("%d open", n)
	}
	err := w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := w.s.Deliver(t.Context(), tx, w.System(), w.Now(), postkorb.Delivery{Record: doc, Postkorb: uuid.New(), Why: postkorb.Why{Code: "why-by-hand"}})
		return err
	})
	want(t, err, "postkorb-unknown")
}

func TestAnItemGivesItsObjectToTheMembersAndToNobodyElse(t *testing.T) {
	w := newDesk(t)
	doc := w.Dokument(t, "Schreiben").ID
	item := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau})
	for _, a := range []access.Actor{w.Meier, w.Roth, w.Nobody} {
		_, err := w.Akten.Dokument(t.Context(), a, doc)
		want(t, err, "not-found")
		_, err = w.s.Item(t.Context(), a, item)
		want(t, err, "not-found")
		_, err = w.s.WhyOf(t.Context(), a, item)
		want(t, err, "not-found")
		_, err = w.s.Items(t.Context(), a, w.bau, postkorb.Filter{}, "", 0)
		want(t, err, "not-found")
		_, err = w.s.Open(t.Context(), a, item, 0)
		want(t, err, "not-found")
		_, err = w.s.Forward(t.Context(), a, item, 0, postkorb.To{Postkorb: w.wohn}, "")
		want(t, err, "not-found")
		if list, err := w.s.ItemsOf(t.Context(), a, doc); err != nil || len(list) != 0 {
			t.Errorf("%s: %v %v", a.Login, list, err)
		}
	}
	for _, a := range []access.Actor{w.Schulz, w.Koch, w.Brandt} {
		_, err := w.Akten.Dokument(t.Context(), a, doc)
		ok(t, err)
	}
	_, err := w.s.Done(t.Context(), w.Brandt, item, 0, "")
	want(t, err, "item-not-yours")
	ps, err := w.s.Postkoerbe(t.Context(), w.Brandt)
	ok(t, err)
	if len(ps) != 4 || ps[0].Member {
		t.Errorf("who reads all looks at all desks and works on none: %+v", ps)
	}
	ps, err = w.s.Postkoerbe(t.Context(), w.Schulz)
	ok(t, err)
	if len(ps) != 2 || ps[0].ID != w.schulz || ps[1].ID != w.bau || ps[1].Open != 1 || ps[1].New != 1 || !ps[1].Member || ps[1].UnitCode != "FB61" {
		t.Errorf("desks: %+v", ps)
	}
	if ps, _ := w.s.Postkoerbe(t.Context(), w.Nobody); len(ps) != 0 {
		t.Errorf("nobody's desks: %+v", ps)
	}
	_, err = w.s.Done(t.Context(), w.Schulz, item, 0, "erledigt")
	ok(t, err)
	_, err = w.Akten.Dokument(t.Context(), w.Koch, doc)
	want(t, err, "not-found") // the item is finished, the object unfiled
}

func TestAnAssignedItemShowsItsLineButNotItsContent(t *testing.T) {
	w := newDesk(t)
	doc := w.Dokument(t, "Beschwerde").ID
	item := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau, Assignee: w.Yilmaz.User})
	line, err := w.s.Item(t.Context(), w.Schulz, item)
	ok(t, err)
	if line.Content || line.AssigneeName != "Cem Yilmaz" || line.Subject != "Beschwerde" {
		t.Errorf("line: %+v", line)
	}
	if n := w.open(t, w.Schulz, w.bau); n != 1 {
		t.Errorf("%d lines", n)
	}
	_, err = w.Akten.Dokument(t.Context(), w.Schulz, doc)
	want(t, err, "not-found")
	for name, act := range w.acts() {
		_, err := act(t.Context(), w.Schulz, item, 0)
		if !fault.Is(err, "item-assigned") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = w.Akten.Dokument(t.Context(), w.Yilmaz, doc)
	ok(t, err)
	_, err = w.s.Open(t.Context(), w.Yilmaz, item, line.RowVersion)
	ok(t, err)
}

// acts are all acts with valid arguments.
func (w *desk) acts() map[string]func(ctx context.Context, a access.Actor, item uuid.UUID, v int64) (postkorb.Item, error) {
	return map[string]func(ctx context.Context, a access.Actor, item uuid.UUID, v int64) (postkorb.Item, error){
		"open":  w.s.Open,
		"claim": w.s.Claim,
		"forward": func(ctx context.Context, a access.Actor, item uuid.UUID, v int64) (postkorb.Item, error) {
			return w.s.Forward(ctx, a, item, v, postkorb.To{Postkorb: w.wohn}, "")
		},
		"return": func(ctx context.Context, a access.Actor, item uuid.UUID, v int64) (postkorb.Item, error) {
			return w.s.Return(ctx, a, item, v, "falsch")
		},
		"follow-up": func(ctx context.Context, a access.Actor, item uuid.UUID, v int64) (postkorb.Item, error) {
			return w.s.FollowUp(ctx, a, item, v, w.Now().Add(time.Hour), "")
		},
		"done": func(ctx context.Context, a access.Actor, item uuid.UUID, v int64) (postkorb.Item, error) {
			return w.s.Done(ctx, a, item, v, "")
		},
		"undo": w.s.Undo,
	}
}

func TestEveryActRefusesAStaleVersion(t *testing.T) {
	w := newDesk(t)
	item := w.deliver(t, postkorb.Delivery{Postkorb: w.bau})
	line, err := w.s.Item(t.Context(), w.Schulz, item)
	ok(t, err)
	for name, act := range w.acts() {
		if _, err := act(t.Context(), w.Schulz, item, line.RowVersion+1); !fault.Is(err, "stale-version") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTwoTakeAnItemOneGetsItTheOtherIsToldWho(t *testing.T) {
	w := newDesk(t)
	for range 10 {
		item := w.deliver(t, postkorb.Delivery{Postkorb: w.bau})
		line, err := w.s.Item(t.Context(), w.Schulz, item)
		ok(t, err)
		actors := []access.Actor{w.Schulz, w.Koch}
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, a := range actors {
			wg.Go(func() { _, errs[i] = w.s.Claim(t.Context(), a, item, line.RowVersion) })
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil {
			t.Fatalf("nobody got it: %v", errs)
		}
		f, _ := fault.As(errs[1-winner])
		if f == nil || f.Code != "item-taken" || f.Params["name"] != actors[winner].DisplayName {
			t.Fatalf("the other was told %v", errs[1-winner])
		}
		for name, act := range w.acts() {
			if _, err := act(t.Context(), actors[1-winner], item, 0); !fault.Is(err, "item-taken") {
				t.Errorf("%s by the other: %v", name, err)
			}
		}
		_, err = w.s.Claim(t.Context(), actors[winner], item, 0)
		ok(t, err)
		back, err := w.s.Undo(t.Context(), actors[winner], item, 0)
		ok(t, err)
		if back.State != postkorb.Open || back.ClaimedBy != nil {
			t.Errorf("given back: %+v", back)
		}
	}
}

func TestForwardReturnAndTheWayOfAnItem(t *testing.T) {
	w := newDesk(t)
	doc := w.Dokument(t, "Antrag").ID
	due := w.Now().Add(48 * time.Hour)
	item := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau, Due: due})
	_, err := w.s.Forward(t.Context(), w.Schulz, item, 0, postkorb.To{Postkorb: w.bau}, "")
	want(t, err, "forward-to-itself")
	_, err = w.s.Forward(t.Context(), w.Schulz, item, 0, postkorb.To{User: w.Meier.User}, "")
	want(t, err, "postkorb-unknown")
	_, err = w.s.Forward(t.Context(), w.Schulz, item, 0, postkorb.To{Postkorb: w.wohn, User: w.Koch.User}, "")
	want(t, err, "person-not-in-postkorb")
	gone, err := w.s.Forward(t.Context(), w.Schulz, item, 0, postkorb.To{Postkorb: w.wohn}, "gehört zu Ihnen")
	ok(t, err)
	if gone.State != postkorb.Done || w.open(t, w.Schulz, w.bau) != 0 || w.open(t, w.Meier, w.wohn) != 1 {
		t.Errorf("forwarded: %+v", gone)
	}
	_, err = w.Akten.Dokument(t.Context(), w.Schulz, doc)
	want(t, err, "not-found")
	sent, err := w.s.Sent(t.Context(), w.Schulz, "", 0)
	ok(t, err)
	if sent.Total != 1 || sent.Items[0].Subject != "Antrag" || sent.Items[0].Content || sent.Items[0].PostkorbName != "FB64-Wohngeld" {
		t.Errorf("sent keeps the line, not the content: %+v", sent)
	}
	page, err := w.s.Items(t.Context(), w.Meier, w.wohn, postkorb.Filter{}, "", 0)
	ok(t, err)
	next := page.Items[0]
	if next.FromName != "Anna Schulz" || next.FromPostkorbName != "FB61-Bauordnung" || next.Reason != "gehört zu Ihnen" || !next.DueAt.Equal(due) || !next.Content ||
		next.Why.Text("de") != "Anna Schulz hat es aus dem Postkorb FB61-Bauordnung weitergeleitet." {
		t.Errorf("arrived: %+v", next)
	}
	_, err = w.s.Return(t.Context(), w.Meier, next.ID, 0, "  ")
	want(t, err, "reason-needed")
	_, err = w.s.Return(t.Context(), w.Meier, next.ID, next.RowVersion, "nicht zuständig")
	ok(t, err)
	page, err = w.s.Items(t.Context(), w.Koch, w.bau, postkorb.Filter{}, "", 0)
	ok(t, err)
	back := page.Items[0]
	way, err := w.s.WhyOf(t.Context(), w.Koch, back.ID)
	ok(t, err)
	var codes []string
	for _, step := range way {
		codes = append(codes, step.Why.Code+" "+step.Postkorb)
	}
	if diff := cmp.Diff([]string{"why-returned FB61-Bauordnung", "why-forwarded FB64-Wohngeld", "why-by-hand FB61-Bauordnung"}, codes); diff != "" {
		t.Error(diff)
	}
	// What a rule brought goes back to the clearing; from there it goes nowhere.
	ruled := w.deliver(t, postkorb.Delivery{Postkorb: w.wohn})
	_, err = w.s.Return(t.Context(), w.Meier, ruled, 0, "unklar")
	ok(t, err)
	page, err = w.s.Items(t.Context(), w.Roth, w.clear, postkorb.Filter{}, "", 0)
	ok(t, err)
	own := w.deliver(t, postkorb.Delivery{Postkorb: w.clear})
	_, err = w.s.Return(t.Context(), w.Roth, own, 0, "unklar")
	want(t, err, "item-has-no-sender")
	// To a person: into the personal Postkorb.
	_, err = w.s.Forward(t.Context(), w.Roth, page.Items[0].ID, 0, postkorb.To{User: w.Schulz.User}, "")
	ok(t, err)
	if w.open(t, w.Schulz, w.schulz) != 1 {
		t.Error("not in the personal Postkorb")
	}
	var got []event.Kind
	err = w.DB.Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		all, err := event.History(t.Context(), q, 100, doc)
		for _, e := range all {
			got = append(got, e.Kind)
		}
		return err
	})
	ok(t, err)
	if diff := cmp.Diff([]event.Kind{akte.DokumentReceived, "item.delivered", "item.delivered", "item.forwarded", "item.delivered", "item.returned"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUndoUntilTheOtherSideHasOpenedIt(t *testing.T) {
	w := newDesk(t)
	item := w.deliver(t, postkorb.Delivery{Postkorb: w.bau})
	_, err := w.s.Undo(t.Context(), w.Schulz, item, 0)
	want(t, err, "nothing-to-undo")
	_, err = w.s.Forward(t.Context(), w.Schulz, item, 0, postkorb.To{Postkorb: w.wohn}, "")
	ok(t, err)
	_, err = w.s.Undo(t.Context(), w.Koch, item, 0)
	want(t, err, "nothing-to-undo") // not Koch's act
	_, err = w.s.Undo(t.Context(), w.Schulz, item, 0)
	ok(t, err)
	if w.open(t, w.Schulz, w.bau) != 1 || w.open(t, w.Meier, w.wohn) != 0 {
		t.Error("undo did not bring it back")
	}
	_, err = w.s.Return(t.Context(), w.Schulz, item, 0, "unklar")
	ok(t, err)
	page, err := w.s.Items(t.Context(), w.Roth, w.clear, postkorb.Filter{}, "", 0)
	ok(t, err)
	_, err = w.s.Open(t.Context(), w.Roth, page.Items[0].ID, 0)
	ok(t, err)
	_, err = w.s.Undo(t.Context(), w.Schulz, item, 0)
	want(t, err, "undo-too-late")
	done := w.deliver(t, postkorb.Delivery{Postkorb: w.bau})
	_, err = w.s.Done(t.Context(), w.Schulz, done, 0, "")
	ok(t, err)
	_, err = w.s.Done(t.Context(), w.Schulz, done, 0, "")
	want(t, err, "item-finished")
	line, err := w.s.Undo(t.Context(), w.Schulz, done, 0)
	ok(t, err)
	if line.State != postkorb.Open || line.FinishedAt != nil {
		t.Errorf("undone: %+v", line)
	}
}

func TestAFollowUpComesBackOnceOnItsDate(t *testing.T) {
	w := newDesk(t)
	item := w.deliver(t, postkorb.Delivery{Postkorb: w.bau})
	_, err := w.s.FollowUp(t.Context(), w.Schulz, item, 0, w.Now(), "")
	want(t, err, "follow-up-past")
	when := w.Now().Add(24 * time.Hour)
	line, err := w.s.FollowUp(t.Context(), w.Schulz, item, 0, when, "Antwort abwarten")
	ok(t, err)
	if line.State != postkorb.Waiting || !line.ReturnsAt.Equal(when) || w.open(t, w.Schulz, w.bau) != 0 {
		t.Errorf("waiting: %+v", line)
	}
	fire := func() int {
		n, err := w.s.FireFollowUps(t.Context(), pgtest.Stadt)
		ok(t, err)
		return n
	}
	if fire() != 0 {
		t.Error("too early")
	}
	w.Pass(25 * time.Hour)
	var wg sync.WaitGroup
	counts := make([]int, 4)
	for i := range counts {
		wg.Go(func() { counts[i], _ = w.s.FireFollowUps(t.Context(), pgtest.Stadt) })
	}
	wg.Wait()
	if counts[0]+counts[1]+counts[2]+counts[3] != 1 || fire() != 0 || w.open(t, w.Koch, w.bau) != 1 {
		t.Errorf("came back %v times", counts)
	}
	// Taken back or done meanwhile: it does not come back.
	_, err = w.s.FollowUp(t.Context(), w.Schulz, item, 0, w.Now().Add(time.Hour), "")
	ok(t, err)
	_, err = w.s.Undo(t.Context(), w.Schulz, item, 0)
	ok(t, err)
	_, err = w.s.Done(t.Context(), w.Schulz, item, 0, "")
	ok(t, err)
	w.Pass(2 * time.Hour)
	if fire() != 0 {
		t.Error("a dropped follow-up fired")
	}
}

func TestPagesAreCompleteInOrderAndCountedExactly(t *testing.T) {
	w := newDesk(t)
	for i := range 7 {
		d := postkorb.Delivery{Postkorb: w.bau}
		if i%2 == 0 {
			d.Due = w.Now().Add(time.Duration(10-i) * time.Hour)
		}
		w.deliver(t, d)
	}
	var got []postkorb.Item
	cursor := ""
	for {
		page, err := w.s.Items(t.Context(), w.Schulz, w.bau, postkorb.Filter{}, cursor, 2)
		ok(t, err)
		if page.Total != 7 || len(page.Items) > 2 {
			t.Fatalf("total %d, %d lines", page.Total, len(page.Items))
		}
		got = append(got, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	seen := map[uuid.UUID]bool{}
	for i, g := range got {
		if seen[g.ID] {
			t.Error("a line twice")
		}
		seen[g.ID] = true
		if i > 0 && g.DueAt != nil && (got[i-1].DueAt == nil || g.DueAt.Before(*got[i-1].DueAt)) {
			t.Error("not in order of due dates")
		}
	}
	if len(got) != 7 {
		t.Errorf("%d lines", len(got))
	}
	page, err := w.s.Items(t.Context(), w.Schulz, w.bau, postkorb.Filter{DueBefore: w.Now().Add(7 * time.Hour)}, "", 0)
	ok(t, err)
	if page.Total != 2 || len(page.Items) != 2 {
		t.Errorf("due before: %d", page.Total)
	}
	_, err = w.s.Items(t.Context(), w.Schulz, w.bau, postkorb.Filter{}, "x'; DROP TABLE", 0)
	want(t, err, "cursor-invalid")
	_, err = w.s.Items(t.Context(), w.Schulz, w.bau, postkorb.Filter{State: "x"}, "", 0)
	want(t, err, "item-state-unknown")
}
