package postkorb_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"evb/internal/access"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
)

const sqlStandIn = `
    WITH s AS (
        INSERT INTO substitution (tenant, id, user_id, deputy_id, valid_from, valid_to) VALUES (evb_tenant(), $1, $2, $3, $4, 'infinity') RETURNING tenant, id)
    INSERT INTO substitution_postkorb (tenant, substitution_id, postkorb_id) SELECT s.tenant, s.id, x FROM s, unnest($5::uuid[]) x`

// TestRandomActsOfSeveralPeopleLoseNothing lets several people, one of them as a
// deputy, act at random on one object. After each act the object lies at most
// once on each desk, every count of everybody is that of the list, and an act
// that is taken back leaves everything as it was.
func TestRandomActsOfSeveralPeopleLoseNothing(t *testing.T) {
	w := newDesk(t)
	ctx := t.Context()
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error { // Meier stands in for Schulz, also on Schulz's own desk
		_, err := tx.Exec(ctx, sqlStandIn, uuid.Must(uuid.NewV7()), w.Schulz.User, w.Meier.User, w.Now().AddDate(0, 0, -1), []uuid.UUID{w.bau, w.schulz})
		return err
	})
	people := []access.Actor{w.Schulz, w.Koch, w.Yilmaz, w.Meier, w.Roth}
	desks := []uuid.UUID{w.bau, w.wohn, w.clear, w.schulz}
	states := []postkorb.State{postkorb.Open, postkorb.Claimed, postkorb.Waiting}

	// look is everything unfinished that everybody sees, by person and line.
	look := func(rt *rapid.T) map[string]postkorb.Item {
		out := map[string]postkorb.Item{}
		for _, a := range people {
			all, err := w.s.Postkoerbe(ctx, a)
			if err != nil {
				rt.Fatal(err)
			}
			for _, p := range all {
				n, fresh, waiting, overdue := 0, 0, 0, 0
				records := map[uuid.UUID]bool{}
				for _, state := range states {
					page, err := w.s.Items(ctx, a, p.ID, postkorb.Filter{State: state}, "", 0)
					if err != nil {
						rt.Fatal(err)
					}
					if int(page.Total) != len(page.Items) {
						rt.Fatalf("%s: total %d of %d", p.Name, page.Total, len(page.Items))
					}
					for _, i := range page.Items {
						if records[i.RecordID] {
							rt.Fatalf("%s holds an object twice", p.Name)
						}
						records[i.RecordID] = true
						if state == postkorb.Waiting {
							waiting++
						} else {
							n++
							if i.OpenedAt == nil {
								fresh++
							}
							if i.DueAt != nil && i.DueAt.Before(w.Now()) {
								overdue++
							}
						}
						i.RowVersion = 0
						out[a.Login+" "+i.ID.String()] = i
					}
				}
				if p.Open != n || p.New != fresh || p.Waiting != waiting || p.Overdue != overdue {
					rt.Fatalf("%s counts %s as %+v; the lists say %d open, %d new, %d waiting, %d overdue", a.Login, p.Name, p, n, fresh, waiting, overdue)
				}
			}
		}
		return out
	}
	rapid.Check(t, func(rt *rapid.T) {
		doc := w.Dokument(t, "Schreiben").ID
		w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: rapid.SampledFrom(desks).Draw(rt, "desk")})
		pick := func(name string) access.Actor { return rapid.SampledFrom(people).Draw(rt, name) }
		for range rapid.IntRange(1, 8).Draw(rt, "acts") {
			a := pick("who")
			lines, err := w.s.ItemsOf(ctx, a, doc)
			if err != nil {
				rt.Fatal(err)
			}
			if len(lines) == 0 {
				continue
			}
			before := look(rt)
			id := rapid.SampledFrom(lines).Draw(rt, "line").ID
			act := rapid.SampledFrom([]string{"claim", "forward", "person", "return", "done", "follow-up", "due", "assign", "open", "fire"}).Draw(rt, "act")
			switch act {
			case "claim":
				_, err = w.s.Claim(ctx, a, id, 0)
			case "forward":
				_, err = w.s.Forward(ctx, a, id, 0, postkorb.To{Postkorb: rapid.SampledFrom(desks).Draw(rt, "to")}, "")
			case "person":
				_, err = w.s.Forward(ctx, a, id, 0, postkorb.To{User: w.Schulz.User}, "")
			case "return":
				_, err = w.s.Return(ctx, a, id, 0, "falsch")
			case "done":
				_, err = w.s.Done(ctx, a, id, 0, "")
			case "follow-up":
				_, err = w.s.FollowUp(ctx, a, id, 0, w.Now().Add(time.Hour), "")
			case "due":
				_, err = w.s.SetDue(ctx, a, id, 0, w.Now().Add(30*time.Minute))
			case "assign":
				_, err = w.s.Assign(ctx, a, id, 0, pick("assignee").User, "")
			case "open":
				_, err = w.s.Open(ctx, a, id, 0)
			case "fire":
				w.Pass(2 * time.Hour)
				_, err = w.s.FireFollowUps(ctx, pgtest.Stadt)
				before = look(rt)
			}
			after := look(rt)
			if err != nil { // a refusal changes nothing
				if diff := cmp.Diff(before, after); diff != "" {
					rt.Fatalf("%s by %s was refused (%v) and changed: %s", act, a.Login, err, diff)
				}
				continue
			}
			if act == "open" || act == "fire" || !rapid.Bool().Draw(rt, "undo") || cmp.Equal(before, after) {
				continue
			}
			if _, err := w.s.Undo(ctx, a, id, 0); err != nil {
				rt.Fatalf("undo of %s by %s: %v", act, a.Login, err)
			}
			if diff := cmp.Diff(before, look(rt)); diff != "" {
				rt.Fatalf("%s by %s, taken back: %s", act, a.Login, diff)
			}
		}
		if _, err := w.s.FireFollowUps(ctx, pgtest.Stadt); err != nil {
			rt.Fatal(err)
		}
	})
}
