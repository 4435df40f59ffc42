package postkorb_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/calendar"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
)

// kinds are the facts about a record object, in order.
func (w *desk) kinds(t testing.TB, record uuid.UUID) (out []event.Kind) {
	t.Helper()
	ok(t, w.DB.Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		all, err := event.History(t.Context(), q, 200, record)
		for _, e := range all {
			out = append(out, e.Kind)
		}
		return err
	}))
	return out
}

func count(kinds []event.Kind, kind event.Kind) (n int) {
	for _, k := range kinds {
		if k == kind {
			n++
		}
	}
	return n
}

// alone gives a person a personal Postkorb.
func (w *desk) alone(t testing.TB, a access.Actor) (id uuid.UUID) {
	t.Helper()
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		p, err := w.s.EnsurePersonal(t.Context(), tx, w.System(), w.Now(), a.User)
		id = p.ID
		return err
	})
	return id
}

func (w *desk) lines(t testing.TB, a access.Actor, id uuid.UUID) []postkorb.Item {
	t.Helper()
	page, err := w.s.Items(t.Context(), a, id, postkorb.Filter{}, "", 0)
	ok(t, err)
	return page.Items
}

func TestTheHeadAssignsAndNobodyElseDoes(t *testing.T) {
	w := newDesk(t)
	doc := w.Dokument(t, "Antrag").ID
	item := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau})
	ctx := t.Context()
	for _, test := range []struct {
		who  access.Actor
		to   uuid.UUID
		v    int64
		code string
	}{
		{w.Meier, w.Koch.User, 0, "not-found"},
		{w.Brandt, w.Koch.User, 0, "item-not-yours"},
		{w.Schulz, w.Koch.User, 0, "item-not-distributed"},
		{w.Yilmaz, w.Meier.User, 0, "person-not-in-postkorb"},
		{w.Yilmaz, w.Koch.User, 99, "stale-version"},
	} {
		_, err := w.s.Assign(ctx, test.who, item, test.v, test.to, "")
		want(t, err, test.code)
	}
	_, err := w.s.Claim(ctx, w.Schulz, item, 0)
	ok(t, err)
	i, err := w.s.Assign(ctx, w.Yilmaz, item, 0, w.Koch.User, "bitte übernehmen")
	ok(t, err)
	if i.State != postkorb.Open || i.AssigneeName != "Bernd Koch" || i.ClaimedBy != nil || i.OpenedAt != nil {
		t.Errorf("assigned: %+v", i)
	}
	_, err = w.Akten.Dokument(ctx, w.Schulz, doc)
	want(t, err, "not-found") // the line, not the act
	_, err = w.s.Claim(ctx, w.Schulz, item, 0)
	want(t, err, "item-assigned")
	// Taken back as long as Koch has not opened it, exactly: Schulz has it again.
	back, err := w.s.Undo(ctx, w.Yilmaz, item, 0)
	ok(t, err)
	if back.State != postkorb.Claimed || *back.ClaimedBy != w.Schulz.User || back.AssigneeID != nil || back.OpenedAt == nil {
		t.Errorf("undone: %+v", back)
	}
	_, err = w.s.Assign(ctx, w.Yilmaz, item, 0, w.Koch.User, "")
	ok(t, err)
	_, err = w.s.Open(ctx, w.Koch, item, 0)
	ok(t, err)
	_, err = w.s.Undo(ctx, w.Yilmaz, item, 0)
	want(t, err, "undo-too-late")
	if free, err := w.s.Assign(ctx, w.Yilmaz, item, 0, uuid.Nil, ""); err != nil || free.AssigneeID != nil {
		t.Errorf("for all again: %+v %v", free, err)
	}
	_, err = w.s.Done(ctx, w.Schulz, item, 0, "")
	ok(t, err)
	_, err = w.s.Assign(ctx, w.Yilmaz, item, 0, w.Koch.User, "")
	want(t, err, "item-finished")
	clear := w.deliver(t, postkorb.Delivery{Postkorb: w.clear})
	_, err = w.s.Assign(ctx, w.Roth, clear, 0, w.Roth.User, "")
	ok(t, err) // who works in the clearing distributes it
}

func TestUndoRestoresExactlyWhatWasThere(t *testing.T) {
	w := newDesk(t)
	ctx := t.Context()
	due := w.Now().Add(72 * time.Hour).Truncate(time.Microsecond)
	item := w.deliver(t, postkorb.Delivery{Postkorb: w.bau, Due: due})
	_, err := w.s.Claim(ctx, w.Schulz, item, 0)
	ok(t, err)
	start, err := w.s.Item(ctx, w.Schulz, item)
	ok(t, err)
	acts := map[string]func() (postkorb.Item, error){
		"forward": func() (postkorb.Item, error) {
			return w.s.Forward(ctx, w.Schulz, item, 0, postkorb.To{Postkorb: w.wohn}, "")
		},
		"return":    func() (postkorb.Item, error) { return w.s.Return(ctx, w.Schulz, item, 0, "falsch") },
		"done":      func() (postkorb.Item, error) { return w.s.Done(ctx, w.Schulz, item, 0, "") },
		"follow-up": func() (postkorb.Item, error) { return w.s.FollowUp(ctx, w.Schulz, item, 0, w.Now().Add(time.Hour), "") },
		"due":       func() (postkorb.Item, error) { return w.s.SetDue(ctx, w.Schulz, item, 0, w.Now().Add(time.Hour)) },
		"no due":    func() (postkorb.Item, error) { return w.s.SetDue(ctx, w.Schulz, item, 0, time.Time{}) },
	}
	same := func(name string, want postkorb.Item) {
		t.Helper()
		back, err := w.s.Undo(ctx, w.Schulz, item, 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want.RowVersion = back.RowVersion
		if diff := cmp.Diff(want, back); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		_, err = w.s.Undo(ctx, w.Schulz, item, 0)
		if err == nil {
			t.Errorf("%s: undone twice", name)
		}
		if n := len(w.lines(t, w.Meier, w.wohn)) + len(w.lines(t, w.Roth, w.clear)); n != 0 {
			t.Errorf("%s: %d lines left elsewhere", name, n)
		}
	}
	for name, act := range acts {
		_, err := act()
		ok(t, err)
		same(name, start)
	}
	// A waiting item that is done waits again afterwards, for the same date.
	waiting, err := w.s.FollowUp(ctx, w.Schulz, item, 0, w.Now().Add(time.Hour), "später")
	ok(t, err)
	_, err = w.s.Done(ctx, w.Schulz, item, 0, "")
	ok(t, err)
	same("done while waiting", waiting)
	w.Pass(2 * time.Hour)
	if n, err := w.s.FireFollowUps(ctx, pgtest.Stadt); n != 1 || err != nil {
		t.Errorf("came back %d times, %v", n, err)
	}
	// What the other side has changed is not taken back under its hands.
	_, err = w.s.Forward(ctx, w.Schulz, item, 0, postkorb.To{Postkorb: w.wohn}, "")
	ok(t, err)
	_, err = w.s.SetDue(ctx, w.Meier, w.lines(t, w.Meier, w.wohn)[0].ID, 0, w.Now().Add(time.Hour))
	ok(t, err)
	_, err = w.s.Undo(ctx, w.Schulz, item, 0)
	want(t, err, "undo-too-late")
}

func TestWhatNobodySentComesToTheClearingAsMisdirected(t *testing.T) {
	w := newDesk(t)
	ctx := t.Context()
	doc := w.Dokument(t, "Irrläufer").ID
	item := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau, Why: postkorb.Why{Code: "why-by-hand"}})
	_, err := w.s.Return(ctx, w.Schulz, item, 0, "gehört nicht zu uns")
	ok(t, err)
	line := w.lines(t, w.Roth, w.clear)[0]
	if !line.Misdirected || line.Why.Code != "why-misdirected" || line.Reason != "gehört nicht zu uns" || line.FromName != "Anna Schulz" {
		t.Errorf("in the clearing: %+v", line)
	}
	// Sent on by a person it goes back to that desk, and is no Irrläufer.
	_, err = w.s.Forward(ctx, w.Roth, line.ID, 0, postkorb.To{Postkorb: w.wohn}, "")
	ok(t, err)
	_, err = w.s.Return(ctx, w.Meier, w.lines(t, w.Meier, w.wohn)[0].ID, 0, "auch nicht")
	ok(t, err)
	if line := w.lines(t, w.Roth, w.clear)[0]; line.Misdirected || line.Why.Code != "why-returned" {
		t.Errorf("returned: %+v", line)
	}
}

func TestADeadlineThatPassedIsToldOnceToTheHead(t *testing.T) {
	w := newDesk(t)
	ctx := t.Context()
	doc := w.Dokument(t, "Widerspruch").ID
	item := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau, Due: w.Now().Add(time.Hour)})
	own := w.deliver(t, postkorb.Delivery{Postkorb: w.bau, Assignee: w.Yilmaz.User, Due: w.Now().Add(time.Hour)})
	_, err := w.s.Claim(ctx, w.Schulz, item, 0)
	ok(t, err)
	escalate := func() (n int) {
		t.Helper()
		var wg sync.WaitGroup
		counts := make([]int, 3)
		for i := range counts {
			wg.Go(func() { counts[i], _ = w.s.Escalate(ctx, pgtest.Stadt) })
		}
		wg.Wait()
		return counts[0] + counts[1] + counts[2]
	}
	if escalate() != 0 {
		t.Error("too early")
	}
	p, err := w.s.Postkorb(ctx, w.Schulz, w.bau)
	ok(t, err)
	if p.Due != 2 || p.Overdue != 0 || p.Open != 2 || p.New != 1 {
		t.Errorf("counts: %+v", p)
	}
	w.Pass(2 * time.Hour)
	if n := escalate() + escalate(); n != 2 {
		t.Errorf("told %d times", n)
	}
	head := w.alone(t, w.Yilmaz)
	lines := w.lines(t, w.Yilmaz, head)
	if len(lines) != 1 || lines[0].RecordID != doc || lines[0].Why.Code != "why-deadline-passed-person" || lines[0].Why.Params["person"] != "Anna Schulz" || !lines[0].Content {
		t.Fatalf("the head's desk: %+v", lines)
	}
	if own := w.lines(t, w.Roth, w.clear); len(own) != 1 || !own[0].Notice || own[0].Content {
		t.Errorf("whose head is oneself: %+v", own)
	}
	p, err = w.s.Postkorb(ctx, w.Schulz, w.bau)
	ok(t, err)
	if p.Due != 0 || p.Overdue != 2 {
		t.Errorf("counts: %+v", p)
	}
	if n := count(w.kinds(t, doc), postkorb.ItemEscalated); n != 1 {
		t.Errorf("%d facts", n)
	}
	_, err = w.s.SetDue(ctx, w.Koch, item, 0, w.Now().Add(time.Hour))
	want(t, err, "item-taken")
	_, err = w.s.SetDue(ctx, w.Schulz, item, 0, w.Now())
	want(t, err, "due-past")
	line, err := w.s.SetDue(ctx, w.Schulz, item, 0, w.Now().Add(time.Hour))
	ok(t, err)
	if line.EscalatedAt != nil {
		t.Error("a new deadline was told already")
	}
	w.Pass(2 * time.Hour)
	if n := escalate(); n != 1 {
		t.Errorf("the new deadline was told %d times", n)
	}
	_, err = w.s.Done(ctx, w.Yilmaz, own, 0, "")
	ok(t, err)
	_, err = w.s.SetDue(ctx, w.Yilmaz, own, 0, w.Now().Add(time.Hour))
	want(t, err, "item-finished")
}

func TestAnObjectComesBackOnItsMorningOnceOverBothChangesOfTheClock(t *testing.T) {
	w := newDesk(t)
	ctx := t.Context()
	var c *calendar.Calendar
	ok(t, w.DB.Read(ctx, pgtest.Stadt, func(q postgres.Querier) (err error) {
		c, err = calendar.Of(ctx, q)
		return err
	}))
	docs := map[uuid.UUID]time.Time{}
	for _, day := range []string{"2027-03-27", "2027-03-28", "2027-03-29", "2027-10-30", "2027-10-31", "2027-11-01"} {
		d, err := time.Parse(time.DateOnly, day)
		ok(t, err)
		doc := w.Dokument(t, day).ID
		item := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau}) // gives Schulz the right
		f, _, err := w.s.SetFollowUp(ctx, w.Schulz, postkorb.NewFollowUp{Record: doc, When: c.Morning(d), Reason: day})
		ok(t, err)
		if f.PostkorbID != w.schulz || !f.DueAt.Equal(c.Morning(d)) || f.Subject != day {
			t.Errorf("set: %+v", f)
		}
		docs[doc] = c.Morning(d)
		_ = item
	}
	list, err := w.s.FollowUps(ctx, w.Schulz, "", 4)
	ok(t, err)
	if list.Total != 6 || len(list.Items) != 4 || list.NextCursor == "" {
		t.Errorf("list: %d of %d", len(list.Items), list.Total)
	}
	fired := func() map[uuid.UUID]bool {
		out := map[uuid.UUID]bool{}
		for _, i := range w.lines(t, w.Schulz, w.schulz) {
			out[i.RecordID] = true
		}
		return out
	}
	for _, day := range []string{"2027-03-27", "2027-03-28", "2027-03-29", "2027-10-30", "2027-10-31", "2027-11-01"} {
		d, err := time.Parse(time.DateOnly, day)
		ok(t, err)
		for _, at := range []time.Time{c.Morning(d).Add(-time.Microsecond), c.Morning(d), c.Morning(d).Add(time.Hour)} {
			w.Pass(at.Sub(w.Now()))
			again := postkorb.New(w.DB, w.Log, postkorb.Options{Now: w.Now}) // a further life
			for _, s := range []*postkorb.Service{w.s, again} {
				_, err := s.FireFollowUps(ctx, pgtest.Stadt)
				ok(t, err)
			}
			there := fired()
			for doc, due := range docs {
				if there[doc] != !due.After(at) {
					t.Errorf("at %v, due %v: there %v", at, due, there[doc])
				}
			}
		}
	}
	for doc := range docs {
		if n := count(w.kinds(t, doc), postkorb.ItemCameBack); n != 1 {
			t.Errorf("came back %d times", n)
		}
	}
}

func TestAFollowUpOnAnObjectGivesNoNewRight(t *testing.T) {
	w := newDesk(t)
	ctx := t.Context()
	doc := w.Dokument(t, "Schreiben").ID
	when := w.Now().Add(time.Hour)
	set := func(a access.Actor, n postkorb.NewFollowUp) error {
		_, _, err := w.s.SetFollowUp(ctx, a, n)
		return err
	}
	want(t, set(w.Schulz, postkorb.NewFollowUp{Record: doc, When: when}), "not-found")
	item := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.bau})
	want(t, set(w.Brandt, postkorb.NewFollowUp{Record: doc, When: when}), "read-only-role")
	want(t, set(w.Schulz, postkorb.NewFollowUp{Record: doc, When: w.Now()}), "follow-up-past")
	want(t, set(w.Schulz, postkorb.NewFollowUp{Record: doc, When: when, Postkorb: w.wohn}), "person-not-in-postkorb")
	want(t, set(w.Schulz, postkorb.NewFollowUp{Record: doc, When: when, Postkorb: uuid.New()}), "postkorb-unknown")
	ok(t, set(w.Schulz, postkorb.NewFollowUp{Record: doc, When: when, Reason: "prüfen"}))
	ok(t, set(w.Schulz, postkorb.NewFollowUp{Record: doc, When: when.Add(time.Hour), Reason: "überflüssig"}))
	list, err := w.s.FollowUps(ctx, w.Schulz, "", 0)
	ok(t, err)
	second := list.Items[1]
	want(t, w.s.DropFollowUp(ctx, w.Koch, second.ID, 0), "not-found")
	want(t, w.s.DropFollowUp(ctx, w.Schulz, second.ID, 9), "stale-version")
	ok(t, w.s.DropFollowUp(ctx, w.Schulz, second.ID, second.RowVersion))
	want(t, w.s.DropFollowUp(ctx, w.Schulz, second.ID, 0), "follow-up-over")
	// The right goes: the line comes, the content does not.
	_, err = w.s.Done(ctx, w.Schulz, item, 0, "")
	ok(t, err)
	w.Pass(3 * time.Hour)
	n, err := w.s.FireFollowUps(ctx, pgtest.Stadt)
	ok(t, err)
	lines := w.lines(t, w.Schulz, w.schulz)
	if n != 1 || len(lines) != 1 || !lines[0].Notice || lines[0].Content {
		t.Fatalf("%d, %+v", n, lines)
	}
	_, err = w.Akten.Dokument(ctx, w.Schulz, doc)
	want(t, err, "not-found")
}
