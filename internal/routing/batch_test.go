package routing_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/demo"
	"evb/internal/extract"
	"evb/internal/extract/extracttest"
	"evb/internal/fault"
	"evb/internal/media/mediatest"
	"evb/internal/postgres"
	"evb/internal/routing"
	"evb/internal/rules"
	"evb/internal/worldtest"
)

func TestMain(m *testing.M) { worldtest.Main(m, mediatest.Child) }

// world is a city whose letters are read and routed.
type world struct {
	*extracttest.World
	routing *routing.Service
	rules   *rules.Service
}

func newWorld(t testing.TB, change ...func(*extracttest.Config)) *world {
	t.Helper()
	w := &world{World: extracttest.New(t, change...)}
	city, err := demo.City()
	w.Must(err)
	w.rules, err = rules.New(w.DB, w.Log, rules.Options{StartProcess: func(context.Context, pgx.Tx, access.Actor, time.Time, rules.Start) (uuid.UUID, error) {
		return uuid.Nil, fault.New("process-not-active") // this world has none
	}})
	w.Must(err)
	w.routing = routing.New(w.DB, w.Log, w.Blobs, w.Post, routing.Options{Rules: w.rules})
	w.Tx(func(tx pgx.Tx) error {
		if _, err := w.routing.EnsureRules(t.Context(), tx, w.System(), w.Now(), routing.CityRules()); err != nil {
			return err
		}
		for _, set := range city.RuleSets {
			if _, there := w.Units[set.Unit]; !there {
				continue
			}
			if err := w.rules.Install(t.Context(), tx, w.System(), w.Now(), set); err != nil {
				return err
			}
		}
		return nil
	})
	return w
}

func (w *world) route(id uuid.UUID) routing.Decision {
	w.T.Helper()
	d, err := w.routing.Route(w.T.Context(), w.System(), id)
	w.Must(err)
	return d
}

func TestEveryLetterOfTheSampleBatchesReachesItsPostkorb(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"dev-a", "dev-b", "dev-c", "dev-d"} {
		tr := mediatest.ReadTruth(t, id)
		found, all := 0, 0
		for i, f := range w.Cut(tr) {
			truth := tr.Docs[i]
			d := w.Insert(nil, f)
			w.Must(w.Run(extract.Text, d.VersionID))
			text, err := w.Extract.Text(t.Context(), w.System(), d.ID)
			w.Must(err)
			var want []string
			for _, p := range tr.Pages {
				if p.Doc == truth.Doc && p.Kind == "content" {
					want = append(want, p.Text...)
				}
			}
			n, of := mediatest.Recall(strings.Join(want, " "), text.Text)
			found, all = found+n, all+of
			dec := w.route(d.ID)
			got := w.Dokument(d.ID)
			t.Logf("%s %d %-13s -> %-22s %-21s %s", id, truth.Doc, truth.Type, dec.Target.PostkorbName, dec.Rule, dec.Why.Text("de"))
			if dec.Target.PostkorbName != truth.Postkorb {
				t.Errorf("%s %d: %s instead of %s", id, truth.Doc, dec.Target.PostkorbName, truth.Postkorb)
			}
			if truth.Postkorb == "FB60-Umweltbeschwerden" != (dec.Target.Assignee == w.Head) {
				t.Errorf("%s %d: assigned to %s", id, truth.Doc, dec.Target.Assignee)
			}
			if got.Subject == "" || got.WrittenOn == nil || got.WrittenOn.Format("2006-01-02") != truth.Date {
				t.Errorf("%s %d: subject %q, written on %v, want %s", id, truth.Doc, got.Subject, got.WrittenOn, truth.Date)
			}
		}
		share := float64(found) / float64(all)
		t.Logf("%s: word recall %.3f", id, share)
		if share < 0.9 && id != "dev-d" || share < 0.7 {
			t.Errorf("%s: word recall %.3f", id, share)
		}
	}
}

func TestADecisionIsMadeOnce(t *testing.T) {
	w := newWorld(t)
	d := w.Insert(func(n *akte.NewDokument) { n.Aktenzeichen = "64-WG-100200/25" }, w.File("brief.txt", strings.NewReader("Guten Tag,\nhier die Unterlagen.\n")))
	if dec := w.route(d.ID); dec.Rule != "" {
		t.Fatalf("decided before it was read: %+v", dec)
	}
	w.Must(w.Run(extract.Text, d.VersionID))
	first := w.route(d.ID)
	if first.Target.PostkorbName != "FB64-Wohngeld" || first.Rule != routing.RuleIndex || first.Why.Code != "why-index-number" {
		t.Fatalf("%+v", first)
	}
	done := make(chan routing.Decision, 4)
	for range 4 {
		go func() {
			d, err := w.routing.Route(t.Context(), w.System(), d.ID)
			if err != nil {
				t.Error(err)
			}
			done <- d
		}()
	}
	for range 4 {
		if again := <-done; again.Target != first.Target {
			t.Errorf("again %+v, first %+v", again, first)
		}
	}
	w.Read(func(q postgres.Querier) error {
		var items, facts int
		if err := q.QueryRow(t.Context(), `SELECT count(*) FROM postkorb_item WHERE tenant = evb_tenant() AND record_id = $1`, d.ID).Scan(&items); err != nil {
			return err
		}
		if err := q.QueryRow(t.Context(), `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND record_id = $1 AND kind = 'dokument.routed'`, d.ID).Scan(&facts); err != nil {
			return err
		}
		if items != 1 || facts != 1 {
			t.Errorf("%d items, %d facts", items, facts)
		}
		return nil
	})
}
