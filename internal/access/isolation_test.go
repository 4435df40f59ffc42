package access_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/fault"
	"evb/internal/lists"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
)

// A clerk of another unit sees nothing: by no list, count, look-up or history.
func TestAClerkOfAnotherUnitSeesNothingOfIt(t *testing.T) {
	w := aktetest.New(t)
	ctx := t.Context()
	desks := postkorb.New(w.DB, w.Log, postkorb.Options{Now: w.Now})
	read := lists.New(w.DB, lists.Options{Now: w.Now})
	d, err := w.Akten.File(ctx, w.System(), w.Dokument(t, "Bauantrag Gartenstraße").ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	if err != nil {
		t.Fatal(err)
	}
	unfiled := w.Dokument(t, "Noch nicht abgelegt").ID
	var desk, item uuid.UUID
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
		if desk, err = desks.EnsurePostkorb(ctx, tx, w.System(), w.Now(), postkorb.NewPostkorb{Name: "FB61", Kind: postkorb.Group, Unit: w.Bauordnung}); err != nil {
			return err
		}
		if err := desks.EnsureMember(ctx, tx, w.System(), w.Now(), desk, w.Schulz.User); err != nil {
			return err
		}
		item, err = desks.Deliver(ctx, tx, w.System(), w.Now(), postkorb.Delivery{Record: unfiled, Postkorb: desk, Why: postkorb.Why{Code: "why-by-hand"}})
		return err
	})

	// what gives everything that one actor can get hold of, as words.
	what := func(a access.Actor) (out []string) {
		note := func(name string, err error, things ...string) {
			t.Helper()
			if err != nil && fault.KindOf(err) != fault.NotFound {
				t.Errorf("%s %s: %v", a.Login, name, err)
			}
			for _, s := range things {
				if s != "" {
					out = append(out, name+" "+s)
				}
			}
		}
		k, err := w.Akten.Akte(ctx, a, w.AkteBau)
		note("akte", err, k.Subject)
		v, err := w.Akten.Vorgang(ctx, a, *d.VorgangID)
		note("vorgang", err, v.Reference)
		for _, id := range []uuid.UUID{d.ID, unfiled} {
			doc, err := w.Akten.Dokument(ctx, a, id)
			note("dokument", err, doc.Subject)
			h, err := read.History(ctx, a, id, "", 0)
			for _, l := range h.Items {
				note("history", nil, l.Kind)
			}
			note("history", err)
			x, err := read.Explain(ctx, a, "", id)
			for _, r := range x.Rules {
				note("explain", nil, r.Code)
			}
			note("explain", err)
			is, err := desks.ItemsOf(ctx, a, id)
			for _, i := range is {
				note("items of", nil, i.Subject)
			}
			note("items of", err)
		}
		nodes, err := read.Aktenplan(ctx, a)
		for _, n := range nodes {
			if n.ID == w.EinheitBau && n.Akten > 0 {
				note("count in the plan", err, n.Code)
			}
		}
		for _, f := range []lists.AktenFilter{{Unit: w.Bauordnung}, {Aktenplaneinheit: w.EinheitBau}, {Aktenzeichen: "61/5-BA"}, {Subject: "Gartenstr"}} {
			ks, err := read.Akten(ctx, a, f, "", 0)
			for _, k := range ks.Items {
				note("akten", nil, k.Aktenzeichen)
			}
			if ks.Total != nil && *ks.Total > 0 {
				note("akten total", nil, "more than none")
			}
			note("akten", err)
		}
		vs, err := read.Vorgaenge(ctx, a, w.AkteBau, "", 0)
		for _, v := range vs.Items {
			note("vorgaenge", nil, v.Reference)
		}
		if vs.Total != nil && *vs.Total > 0 {
			note("vorgaenge total", nil, "more than none")
		}
		note("vorgaenge", err)
		for _, f := range []lists.DokumenteFilter{{Vorgang: *d.VorgangID}, {Akte: w.AkteBau}, {Unfiled: true}, {State: akte.Registered}, {}} {
			ds, err := read.Dokumente(ctx, a, f, "", 0, true)
			for _, d := range ds.Items {
				note("dokumente", nil, d.Subject)
			}
			if ds.Total != nil && *ds.Total > 0 {
				note("dokumente total", nil, "more than none")
			}
			note("dokumente", err)
		}
		seen, err := read.Visible(ctx, a, []uuid.UUID{d.ID, unfiled, w.AkteBau, *d.VorgangID})
		for _, id := range seen {
			note("visible", nil, id.String())
		}
		note("visible", err)
		ps, err := desks.Postkoerbe(ctx, a)
		for _, p := range ps {
			note("postkoerbe", nil, p.Name)
		}
		note("postkoerbe", err)
		i, err := desks.Item(ctx, a, item)
		note("item", err, i.Subject)
		page, err := desks.Items(ctx, a, desk, postkorb.Filter{}, "", 0)
		for _, i := range page.Items {
			note("items", nil, i.Subject)
		}
		if page.Total > 0 {
			note("items total", nil, "more than none")
		}
		note("items", err)
		sent, err := desks.Sent(ctx, a, "", 0)
		if sent.Total > 0 {
			note("sent", nil, "more than none")
		}
		note("sent", err)
		why, err := desks.WhyOf(ctx, a, item)
		for _, s := range why {
			note("why", nil, s.Why.Code)
		}
		note("why", err)
		return out
	}
	for _, a := range []access.Actor{w.Meier, w.Nobody} {
		if got := what(a); len(got) > 0 {
			t.Errorf("%s got hold of:\n%s", a.Login, strings.Join(got, "\n"))
		}
	}
	// The same questions find things for those who may: the test looks where
	// something is.
	for _, a := range []access.Actor{w.Schulz, w.Lang} {
		all := strings.Join(what(a), "\n")
		for _, name := range []string{"akte ", "vorgang ", "dokument ", "history ", "explain ", "items of ", "count in the plan ", "akten ", "akten total ", "vorgaenge ", "dokumente ",
			"dokumente total ", "visible ", "postkoerbe ", "item ", "items ", "items total ", "why "} {
			if !strings.Contains("\n"+all, "\n"+name) {
				t.Errorf("%s did not get %q", a.Login, name)
			}
		}
	}
}
