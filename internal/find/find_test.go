package find_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/find"
	"evb/internal/indexing/indextest"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/worldtest"
	"evb/search"
)

func TestMain(m *testing.M) { worldtest.Main(m) }

// nothing fails if a search of the actor shows anything of a word.
func nothing(t *testing.T, w *indextest.World, a access.Actor, word string) {
	t.Helper()
	p := w.Ask(a, word)
	if p.Total != 0 || len(p.Items) != 0 {
		t.Errorf("%s finds %d by %q: %+v", a.Login, p.Total, word, p.Items)
	}
	for name, bins := range p.Facets {
		if len(bins) > 0 {
			t.Errorf("%s: facet %s by %q: %v", a.Login, name, word, bins)
		}
	}
	if len(p.Corrections) > 0 {
		t.Errorf("%s: %q is corrected to %v", a.Login, word, p.Corrections)
	}
	s, err := w.Find.Suggest(t.Context(), a, word[:len(word)-2], 10)
	if err != nil || len(s) > 0 {
		t.Errorf("%s: suggestions for %q: %v, %v", a.Login, word, s, err)
	}
	all := w.Ask(a, "")
	for _, it := range all.Items {
		if strings.Contains(strings.ToLower(it.Subject+strings.Join(it.Highlights, "")), strings.ToLower(word)) {
			t.Errorf("%s sees %q in the list of everything", a.Login, word)
		}
	}
}

// one fails unless a search of the actor shows exactly the Dokument.
func one(t *testing.T, w *indextest.World, a access.Actor, word string, dokument uuid.UUID) find.Item {
	t.Helper()
	p := w.Ask(a, word)
	if p.Total != 1 || len(p.Items) != 1 || p.Items[0].DokumentID != dokument {
		t.Fatalf("%s by %q: want %s alone, got total %d, %+v", a.Login, word, dokument, p.Total, p.Items)
	}
	return p.Items[0]
}

func TestAClerkOfAnotherUnitSeesNothingInHitsTotalsFacetsSuggestionsOrHighlights(t *testing.T) {
	w := indextest.New(t)
	d := w.Letter("Ziegenhaltung im Innenhof", "Die Nachbarin beantragt die Ziegenhaltung. Straßenverkehrsüberwachung nicht betroffen.")
	w.Sync()
	for _, a := range []access.Actor{w.Schulz, w.Meier, w.Nobody} {
		nothing(t, w, a, "Ziegenhaltung") // on nobody's desk yet
	}
	w.Deliver(d.ID, w.Desk, uuid.Nil)
	w.Sync()
	it := one(t, w, w.Schulz, "ziegen", d.ID)
	if it.Subject != "Ziegenhaltung im Innenhof" || it.Unit != "FB61" || it.ReceivedOn == nil || *it.ReceivedOn != "2026-11-20" {
		t.Errorf("item: %+v", it)
	}
	if len(it.Highlights) == 0 || !strings.Contains(it.Highlights[0], "<mark>Ziegenhaltung</mark>") {
		t.Errorf("highlights: %q", it.Highlights)
	}
	if p := w.Ask(w.Schulz, "verkehrsüberwachung"); p.Total != 1 || len(p.Facets["unit"]) != 1 || p.Facets["unit"][0] != (find.Bin{Value: "FB61", Count: 1}) ||
		len(p.Facets["year"]) != 1 || p.Facets["year"][0].Value != "2026" {
		t.Errorf("by a part of a compound: %+v", p)
	}
	if s, err := w.Find.Suggest(t.Context(), w.Schulz, "Ziegenh", 5); err != nil || len(s) == 0 {
		t.Errorf("suggestions: %v, %v", s, err)
	}
	nothing(t, w, w.Meier, "Ziegenhaltung")
	nothing(t, w, w.Nobody, "Ziegenhaltung")
	nothing(t, w, w.Roth, "Ziegenhaltung") // registry, no member of that Postkorb; the scope is unfiled
	one(t, w, w.Brandt, "Ziegenhaltung", d.ID)

	// Filed: the unit reads it through the scope, the desk is empty.
	w.End(d.ID)
	w.File(d.ID, "61/5-BA-338202/24")
	w.Sync()
	if it := one(t, w, w.Roth, "Ziegenhaltung", d.ID); it.Aktenzeichen != "61/5-BA-338202/24" || it.VorgangID == nil {
		t.Errorf("filed: %+v", it)
	}
	one(t, w, w.Koch, "61/5-BA-338202/24", d.ID)
	one(t, w, w.Koch, "61/5-ba 338202 / 24", d.ID)
	nothing(t, w, w.Meier, "Ziegenhaltung")
	if p := w.Ask(w.Meier, "61/5-BA-338202/24"); p.Total != 0 {
		t.Errorf("the number of another unit finds %d", p.Total)
	}
}

func TestAnAssignedComplaintIsSeenByTheHeadAlone(t *testing.T) {
	w := indextest.New(t)
	d := w.Letter("Beschwerde", "Der Gestank der Kläranlage ist unerträglich.")
	w.Deliver(d.ID, w.Complaints, w.Yilmaz.User)
	w.Sync()
	one(t, w, w.Yilmaz, "Gestank", d.ID)
	nothing(t, w, w.Schulz, "Gestank")
	nothing(t, w, w.Koch, "Gestank")
}

func TestForwardingMovesTheRightToFind(t *testing.T) {
	w := indextest.New(t)
	d := w.Letter("Irrläufer", "Wohnraumförderung für Familie Sonnenschein")
	w.Deliver(d.ID, w.Desk, uuid.Nil)
	w.Sync()
	one(t, w, w.Schulz, "Sonnenschein", d.ID)
	w.Deliver(d.ID, w.Complaints, w.Yilmaz.User)
	// The index does not know it yet: the database refuses already.
	if p := w.Ask(w.Schulz, "Sonnenschein"); p.Total != 0 || len(p.Items) != 0 || len(p.Facets["unit"]) != 0 {
		t.Errorf("between forwarding and indexing: %+v", p)
	}
	w.Sync()
	nothing(t, w, w.Schulz, "Sonnenschein")
	one(t, w, w.Yilmaz, "Sonnenschein", d.ID)
	w.End(d.ID)
	w.Sync()
	nothing(t, w, w.Yilmaz, "Sonnenschein")
}

func TestAnotherTenantFindsNothing(t *testing.T) {
	w := indextest.New(t)
	d := w.Letter("Mandantentrennung", "Quittenmarmelade")
	w.Deliver(d.ID, w.Desk, uuid.Nil)
	w.Sync()
	for _, a := range []access.Actor{w.Schulz, w.Brandt} {
		a.Tenant, a.TenantSlug = pgtest.Eigenbetrieb, "eigenbetrieb"
		nothing(t, w, a, "Quittenmarmelade")
	}
}

func TestWhoWroteSomethingFindsItAtOnce(t *testing.T) {
	w := indextest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	w.Numbers.OnNumbered = w.Follower.Wake
	// A machine that is short of time must not fail what is not about time.
	w.Find = find.New(w.DB, w.Log, w.Engine, w.Follower, find.Options{Now: w.Now, Wait: 20 * time.Second})
	done := make(chan error, 2)
	go func() { done <- w.Numbers.Run(ctx) }()
	go func() { done <- w.Follower.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 10 {
		d := w.LetterAs(w.Schulz, fmt.Sprintf("Selbst abgelegt %d", i), fmt.Sprintf("Stichwort%d", i))
		start := time.Now()
		p := w.Ask(w.Schulz, fmt.Sprintf("stichwort%d", i))
		if p.Total != 1 || p.Items[0].DokumentID != d || p.Behind {
			t.Fatalf("round %d: %+v", i, p)
		}
		t.Logf("round %d: found after %s", i, time.Since(start))
		if p.IndexedUntil.IsZero() {
			t.Error("no indexed_until")
		}
	}
}

func TestAnIndexThatIsBehindSaysSo(t *testing.T) {
	w := indextest.New(t)
	w.Sync()
	before := w.Ask(w.Schulz, "").IndexedUntil
	w.Pass(time.Minute)
	w.LetterAs(w.Schulz, "Neu", "Neuigkeit")
	start := time.Now()
	p := w.Ask(w.Schulz, "Neuigkeit")
	if p.Total != 0 || !p.Behind || p.IndexedUntil.After(before.Add(time.Minute)) {
		t.Errorf("%+v", p)
	}
	if wait := time.Since(start); wait > 15*time.Second {
		t.Errorf("waited %s", wait)
	}
	if p := w.Ask(w.Koch, "Neuigkeit"); p.Behind {
		t.Error("who wrote nothing is told to be behind")
	}
}

func TestASearchOfWhoReadsEverythingIsInTheAccessLog(t *testing.T) {
	w := indextest.New(t)
	d := w.Letter("Protokoll", "Suchwort")
	w.Deliver(d.ID, w.Desk, uuid.Nil)
	w.Sync()
	w.Ask(w.Schulz, "Suchwort")
	w.Ask(w.Brandt, "Suchwort")
	w.Ask(w.Lang, "Suchwort")
	var entries []event.Entry
	if _, err := w.Numbers.Number(t.Context(), pgtest.Stadt, event.Access); err != nil {
		t.Fatal(err)
	}
	if err := w.DB.Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) (err error) {
		entries, err = event.Feed(t.Context(), q, event.Access, 0, 10)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[0].Kind != find.Searched || entries[0].Actor != w.Brandt.User || entries[1].Actor != w.Lang.User ||
		!strings.Contains(*entries[0].Payload, `"q":"Suchwort"`) {
		t.Errorf("access log: %+v", entries)
	}
}

func TestPagesFollowEachOtherAndMistakesAreTold(t *testing.T) {
	w := indextest.New(t)
	want := map[uuid.UUID]bool{}
	for i := range 7 {
		d := w.Letter(fmt.Sprintf("Serie %d", i), "Serienbrief")
		w.Deliver(d.ID, w.Desk, uuid.Nil)
		want[d.ID] = true
	}
	w.Sync()
	cursor, pages := "", 0
	for {
		p, err := w.Find.Search(t.Context(), w.Schulz, find.Params{Q: "serienbrief", Limit: 3, Cursor: cursor, Sort: "date"})
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if p.Total != 7 {
			t.Errorf("total %d", p.Total)
		}
		for _, it := range p.Items {
			if !want[it.DokumentID] {
				t.Errorf("%s twice or unknown", it.DokumentID)
			}
			delete(want, it.DokumentID)
		}
		if p.NextCursor == nil {
			break
		}
		cursor = *p.NextCursor
	}
	if pages != 3 || len(want) != 0 {
		t.Errorf("%d pages, missing %v", pages, want)
	}
	for q, code := range map[string]string{
		"ab*": "query-prefix-too-short", "farbe:rot": "query-unknown-field", strings.Repeat("a ", 600): "query-too-long", "eingang:gestern": "query-bad-date",
	} {
		_, err := w.Find.Search(t.Context(), w.Schulz, find.Params{Q: q})
		if f, ok := fault.As(err); !ok || f.Code != code || f.Kind != fault.Invalid || strings.ContainsAny(f.Text("de"), "{}") || strings.ContainsAny(f.Text("en"), "{}") {
			t.Errorf("%q: %v", q, err)
		}
	}
	for p, code := range map[*find.Params]string{
		{Cursor: "Unsinn"}: "search-cursor-invalid", {Limit: 201}: "query-limit", {Sort: "farbe"}: "query-sort",
	} {
		if _, err := w.Find.Search(t.Context(), w.Schulz, *p); !fault.Is(err, code) {
			t.Errorf("%+v: %v", *p, err)
		}
	}
}

// The index and what asks it share the registry of their process.
func TestFiguresStandBesideThoseOfTheIndex(t *testing.T) {
	reg := prometheus.NewRegistry()
	engine, err := search.Open(t.Context(), search.Options{Dir: t.TempDir(), Shards: 1, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = engine.Close() }()
	find.New(nil, nil, engine, nil, find.Options{Registerer: reg}) // panics at a name that is taken
}
