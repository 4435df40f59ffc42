// Package searchtest is the contract of search.Engine as tests. Every engine
// passes it; what it does not test is not promised.
package searchtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"evb/search"
)

// Factory makes an empty engine that lives in dir and is closed by the suite.
type Factory func(t testing.TB, dir string) search.Engine

// Run runs the contract suite.
func Run(t *testing.T, factory Factory) {
	tests := map[string]func(*testing.T, search.Engine){
		"a document is found when Apply returns":                      testVisible,
		"the last operation on a document wins":                       testLastWins,
		"nobody sees anything without tenant or scopes":               testNoPrincipal,
		"scopes and tenant limit hits, totals, facets, suggestions":   testRights,
		"many scopes see what few scopes see":                         testManyScopes,
		"facets and totals equal a count by hand":                     testFacets,
		"pages neither repeat nor lose documents while others change": testPages,
		"a cursor of another query is refused":                        testCursorBound,
		"applying the same operations again changes nothing":          testReplay,
		"documents nobody may see change nothing":                     testNonInterference,
		"a rebuild swaps without an empty answer":                     testRebuild,
		"filing moves a document and leaves no second one":            testFiling,
		"a cancelled context ends a call":                             testCancelled,
		"a closed engine says so":                                     testClosed,
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			e := factory(t, t.TempDir())
			defer func() {
				if err := e.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			f(t, e)
		})
	}
}

var (
	everyone = search.Principal{Tenant: "stadt", ReadAll: true}
	clerk    = search.Principal{Tenant: "stadt", Scopes: []string{"s1", "s2"}}
)

func apply(t require, e search.Engine, cursor string, ops ...search.Op) {
	t.Helper()
	var c []byte
	if cursor != "" {
		c = []byte(cursor)
	}
	if err := e.Apply(context.Background(), ops, c); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

// require is what testing.T and rapid.T have in common.
type require interface {
	Helper()
	Fatalf(format string, args ...any)
}

func find(t require, e search.Engine, q search.Query) search.Page {
	t.Helper()
	p, err := e.Search(context.Background(), q)
	if err != nil {
		t.Fatalf("search %#v: %v", q.Where, err)
	}
	return p
}

func word(w string) search.Node { return search.Word{Text: w} }

func ids(p search.Page) []string {
	out := []string{}
	for _, it := range p.Items {
		out = append(out, it.ID)
	}
	return out
}

func expectIDs(t require, p search.Page, want ...string) {
	t.Helper()
	got := ids(p)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || p.Total != len(want) {
		t.Fatalf("got %v (total %d), want %v", got, p.Total, want)
	}
}

func testVisible(t *testing.T, e search.Engine) {
	ctx := context.Background()
	if c, err := e.AppliedCursor(ctx); err != nil || c != nil {
		t.Fatalf("an empty engine has cursor %q, %v", c, err)
	}
	day := time.Date(2024, 10, 7, 0, 0, 0, 0, time.UTC)
	d := search.Doc{
		Tenant: "stadt", ID: "d1", AkteID: "a1", VorgangID: "v1", Subject: "Bauantrag Gartenweg", Text: "Wir bauen einen Zaun.",
		DocumentType: "antrag", Unit: "FB61", Aktenzeichen: []string{"61/5-BA-338202/24"}, Sender: "Erika Muster", State: "filed",
		ReceivedOn: day, Scopes: []string{"s1"}, SubmittedBy: "e.wolf",
	}
	apply(t, e, "c1", search.PutOp(d))
	if c, err := e.AppliedCursor(ctx); err != nil || string(c) != "c1" {
		t.Fatalf("cursor is %q, %v", c, err)
	}
	apply(t, e, "", search.PutOp(search.Doc{Tenant: "stadt", ID: "d2", Text: "Zaun"}))
	if c, _ := e.AppliedCursor(ctx); string(c) != "c1" {
		t.Fatalf("nil cursor moved the cursor to %q", c)
	}
	p := find(t, e, search.Query{Principal: clerk, Where: word("Zaun"), Highlight: search.Highlight{Off: true}})
	want := search.Item{
		ID: "d1", AkteID: "a1", VorgangID: "v1", Subject: d.Subject, DocumentType: "antrag", Unit: "FB61", Year: 2024,
		Aktenzeichen: d.Aktenzeichen, Sender: d.Sender, State: "filed", ReceivedOn: day, SubmittedBy: "e.wolf",
	}
	if diff := gocmp.Diff([]search.Item{want}, p.Items); diff != "" {
		t.Fatalf("items (-want +got):\n%s", diff)
	}
	apply(t, e, "c2", search.DeleteOp("stadt", "d1"), search.DeleteOp("stadt", "never"))
	expectIDs(t, find(t, e, search.Query{Principal: clerk, Where: word("Zaun")}))
	if s, err := e.Stats(ctx); err != nil || s.Documents != 1 || s.Stale {
		t.Fatalf("stats %+v, %v", s, err)
	}
	if err := e.Apply(ctx, []search.Op{search.PutOp(search.Doc{Tenant: "stadt"})}, nil); !errors.Is(err, search.ErrDoc) {
		t.Fatalf("a document without id: %v", err)
	}
}

func testLastWins(t *testing.T, e search.Engine) {
	put := func(text string) search.Op {
		return search.PutOp(search.Doc{Tenant: "stadt", ID: "d", Text: text})
	}
	apply(t, e, "1", put("Apfel"), put("Birne"), search.DeleteOp("stadt", "d"), put("Kirsche"))
	expectIDs(t, find(t, e, search.Query{Principal: everyone, Where: word("Birne"), Exact: true}))
	expectIDs(t, find(t, e, search.Query{Principal: everyone, Where: word("Kirsche")}), "d")
	apply(t, e, "2", put("Traube"), search.DeleteOp("stadt", "d"))
	expectIDs(t, find(t, e, search.Query{Principal: everyone}))
}

func testNoPrincipal(t *testing.T, e search.Engine) {
	apply(t, e, "1", search.PutOp(search.Doc{Tenant: "stadt", ID: "d", Subject: "Zaunbau", Text: "Zaun", Scopes: []string{"s1"}, Unit: "FB61"}))
	for _, p := range []search.Principal{
		{}, {Tenant: "stadt"}, {Tenant: "stadt", Scopes: []string{}}, {ReadAll: true}, {Scopes: []string{"s1"}},
		{Tenant: "stadt", Scopes: []string{""}}, {Tenant: "eigenbetrieb", ReadAll: true}, {Tenant: "eigenbetrieb", Scopes: []string{"s1"}},
	} {
		for _, n := range []search.Node{nil, word("Zaun"), search.Not{Of: word("Apfel")}, search.FieldIs{Field: "unit", Values: []string{"FB61"}}} {
			got := find(t, e, search.Query{Principal: p, Where: n, Facets: []search.FacetRequest{{Facet: search.FacetUnit}}})
			if got.Total != 0 || len(got.Items) != 0 || len(got.Facets[search.FacetUnit]) != 0 {
				t.Fatalf("%+v with %#v sees %+v", p, n, got)
			}
		}
		if s, err := e.Suggest(context.Background(), p, "zau", 5); err != nil || len(s) != 0 {
			t.Fatalf("%+v is suggested %v, %v", p, s, err)
		}
	}
}

func testRights(t *testing.T, e search.Engine) {
	for i, sc := range [][]string{{"s1"}, {"s2", "s9"}, {"s9"}, nil} {
		apply(t, e, "1", search.PutOp(search.Doc{
			Tenant: "stadt", ID: "d" + strconv.Itoa(i), Subject: "Zaunanlage" + string(rune('a'+i)), Text: "Zaun", Scopes: sc, Unit: "U" + strconv.Itoa(i),
		}))
	}
	apply(t, e, "1", search.PutOp(search.Doc{Tenant: "eigenbetrieb", ID: "d0", Text: "Zaun", Scopes: []string{"s1"}, Unit: "fremd"}))
	q := search.Query{Principal: clerk, Where: word("Zaun"), Facets: []search.FacetRequest{{Facet: search.FacetUnit}}}
	p := find(t, e, q)
	expectIDs(t, p, "d0", "d1")
	want := []search.FacetValue{{Value: "U0", Count: 1}, {Value: "U1", Count: 1}}
	if diff := gocmp.Diff(want, p.Facets[search.FacetUnit]); diff != "" {
		t.Fatalf("facet (-want +got):\n%s", diff)
	}
	s, err := e.Suggest(context.Background(), clerk, "zaunan", 10)
	slices.Sort(s)
	if err != nil || !slices.Equal(s, []string{"Zaunanlagea", "Zaunanlageb"}) {
		t.Fatalf("suggested %v, %v", s, err)
	}
	q.Principal = everyone
	expectIDs(t, find(t, e, q), "d0", "d1", "d2", "d3")
	// The word stands only in a document that the clerk may not see: no
	// correction may lead there.
	apply(t, e, "2", search.PutOp(search.Doc{Tenant: "stadt", ID: "secret", Text: "Kündigungsschutzklage", Scopes: []string{"s9"}}))
	p = find(t, e, search.Query{Principal: clerk, Where: word("Kündigungsschutzklge")})
	if p.Total != 0 || len(p.Corrections) != 0 {
		t.Fatalf("corrected to a hidden word: %+v", p)
	}
}

func testManyScopes(t *testing.T, e search.Engine) {
	var ops []search.Op
	for i := range 300 {
		ops = append(ops, search.PutOp(search.Doc{
			Tenant: "stadt", ID: fmt.Sprintf("d%03d", i), Text: "Zaun Nummer " + strconv.Itoa(i%7), Scopes: []string{"scope" + strconv.Itoa(i)},
		}))
	}
	apply(t, e, "1", ops...)
	many := search.Principal{Tenant: "stadt"}
	for i := range 3000 {
		if i != 5 {
			many.Scopes = append(many.Scopes, "scope"+strconv.Itoa(i))
		}
	}
	for _, n := range []search.Node{nil, word("Zaun"), search.And{word("Zaun"), word("3")}} {
		all := find(t, e, search.Query{Principal: everyone, Where: n, Limit: 200})
		got := find(t, e, search.Query{Principal: many, Where: n, Limit: 200})
		want := all.Total
		if n == nil || n == word("Zaun") {
			want--
		}
		if got.Total != want {
			t.Fatalf("%#v: total %d, want %d", n, got.Total, want)
		}
	}
	only := search.Principal{Tenant: "stadt"}
	for i := 1000; i < 3000; i++ {
		only.Scopes = append(only.Scopes, "scope"+strconv.Itoa(i))
	}
	expectIDs(t, find(t, e, search.Query{Principal: only, Where: word("Zaun")}))
}

// some documents with values that can be counted by hand.
func sample(n int) []search.Doc {
	words := []string{"Zaun", "Hecke", "Garage", "Terrasse", "Carport"}
	docs := make([]search.Doc, n)
	for i := range docs {
		docs[i] = search.Doc{
			Tenant: "stadt", ID: fmt.Sprintf("d%04d", i), Subject: words[i*7%5], Text: words[i%5] + " und " + words[i*3%5],
			DocumentType: "t" + strconv.Itoa(i%4), Unit: "U" + strconv.Itoa(i%6), State: []string{"captured", "filed"}[i%2],
			Scopes: []string{"s" + strconv.Itoa(i%3)}, Year: 2020 + i%5,
			ReceivedOn: time.Date(2020+i%5, time.Month(1+i%12), 1+i%28, 0, 0, 0, 0, time.UTC),
		}
		if i%3 == 0 {
			docs[i].AkteID = "a" + strconv.Itoa(i%9)
		}
	}
	return docs
}

func puts(docs []search.Doc) []search.Op {
	ops := make([]search.Op, len(docs))
	for i, d := range docs {
		ops[i] = search.PutOp(d)
	}
	return ops
}

func testFacets(t *testing.T, e search.Engine) {
	docs := sample(400)
	apply(t, e, "1", puts(docs)...)
	rapid.Check(t, func(t *rapid.T) {
		q := search.Query{
			Principal: search.Principal{Tenant: "stadt", Scopes: rapid.SliceOfDistinct(rapid.SampledFrom([]string{"s0", "s1", "s2", "s3"}), rapid.ID[string]).Draw(t, "scopes")},
			Filters: search.Filters{
				Unit:         rapid.SliceOfN(rapid.SampledFrom([]string{"U0", "U1", "U5", "U9"}), 0, 2).Draw(t, "unit"),
				Year:         rapid.SliceOfN(rapid.IntRange(2019, 2025), 0, 2).Draw(t, "year"),
				DocumentType: rapid.SliceOfN(rapid.SampledFrom([]string{"t0", "t1"}), 0, 1).Draw(t, "type"),
				State:        rapid.SliceOfN(rapid.SampledFrom([]string{"filed"}), 0, 1).Draw(t, "state"),
			},
			Facets: []search.FacetRequest{
				{Facet: search.FacetUnit}, {Facet: search.FacetYear}, {Facet: search.FacetDocumentType}, {Facet: search.FacetState},
			},
		}
		if rapid.Bool().Draw(t, "from") {
			q.Filters.ReceivedFrom = time.Date(2021, 6, 1, 0, 0, 0, 0, time.UTC)
			q.Filters.ReceivedTo = time.Date(2023, 6, 30, 0, 0, 0, 0, time.UTC)
		}
		total := 0
		counts := map[search.Facet]map[string]int{
			search.FacetUnit: {}, search.FacetYear: {}, search.FacetDocumentType: {}, search.FacetState: {},
		}
		for _, d := range docs {
			if !slices.Contains(q.Principal.Scopes, d.Scopes[0]) || !in(q.Filters.Unit, d.Unit) || !in(q.Filters.Year, d.Year) ||
				!in(q.Filters.DocumentType, d.DocumentType) || !in(q.Filters.State, d.State) ||
				!q.Filters.ReceivedFrom.IsZero() && (d.ReceivedOn.Before(q.Filters.ReceivedFrom) || d.ReceivedOn.After(q.Filters.ReceivedTo)) {
				continue
			}
			total++
			counts[search.FacetUnit][d.Unit]++
			counts[search.FacetYear][strconv.Itoa(d.Year)]++
			counts[search.FacetDocumentType][d.DocumentType]++
			counts[search.FacetState][d.State]++
		}
		p := find(t, e, q)
		want := map[search.Facet][]search.FacetValue{}
		for f, m := range counts {
			want[f] = []search.FacetValue{}
			for v, n := range m {
				want[f] = append(want[f], search.FacetValue{Value: v, Count: n})
			}
			slices.SortFunc(want[f], func(a, b search.FacetValue) int {
				return cmp.Or(b.Count-a.Count, cmp.Compare(a.Value, b.Value))
			})
		}
		if diff := gocmp.Diff(want, p.Facets); diff != "" || p.Total != total {
			t.Fatalf("total %d, want %d; facets (-want +got):\n%s", p.Total, total, diff)
		}
	})
}

func in[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

func testPages(t *testing.T, e search.Engine) {
	docs := sample(230)
	for _, sort := range []search.Sort{search.SortRelevance, search.SortNewest, search.SortOldest} {
		apply(t, e, "1", puts(docs)...)
		want := map[string]bool{}
		for _, d := range docs {
			if d.Scopes[0] != "s0" {
				want[d.ID] = true
			}
		}
		q := search.Query{Principal: clerk, Where: search.Not{Of: word("nirgends")}, Sort: sort, Limit: 17}
		if sort == search.SortRelevance {
			q.Where = word("Zaun")
			for id := range want {
				delete(want, id)
			}
			for _, it := range find(t, e, search.Query{Principal: clerk, Where: q.Where, Limit: 200}).Items {
				want[it.ID] = true
			}
		}
		seen := map[string]bool{}
		var last search.Item
		for page := 0; ; page++ {
			p := find(t, e, q)
			for _, it := range p.Items {
				if seen[it.ID] {
					t.Fatalf("%s: %s came twice", sort, it.ID)
				}
				if !want[it.ID] && it.ID[0] == 'd' {
					t.Fatalf("%s: %s does not belong here", sort, it.ID)
				}
				seen[it.ID] = true
				if sort == search.SortNewest && !last.ReceivedOn.IsZero() && it.ReceivedOn.After(last.ReceivedOn) ||
					sort == search.SortOldest && it.ReceivedOn.Before(last.ReceivedOn) {
					t.Fatalf("%s: %v after %v", sort, it.ReceivedOn, last.ReceivedOn)
				}
				last = it
			}
			if p.Next == "" {
				break
			}
			q.Cursor = p.Next
			// Others come and go between the pages, and the documents are
			// indexed anew without a change.
			apply(t, e, "2", search.PutOp(search.Doc{Tenant: "stadt", ID: "x" + strconv.Itoa(page), Text: "Zaun Zaun", Scopes: []string{"s9"}}),
				search.DeleteOp("stadt", "x"+strconv.Itoa(page-3)), search.PutOp(docs[page*13%len(docs)]))
		}
		for id := range want {
			if !seen[id] {
				t.Fatalf("%s: %s was lost", sort, id)
			}
		}
	}
}

func testCursorBound(t *testing.T, e search.Engine) {
	apply(t, e, "1", puts(sample(60))...)
	q := search.Query{Principal: everyone, Where: word("Zaun"), Limit: 5}
	q.Cursor = find(t, e, q).Next
	if q.Cursor == "" {
		t.Fatal("no next page")
	}
	for name, change := range map[string]func(*search.Query){
		"words":   func(q *search.Query) { q.Where = word("Hecke") },
		"filter":  func(q *search.Query) { q.Filters.Unit = []string{"U1"} },
		"sort":    func(q *search.Query) { q.Sort = search.SortNewest },
		"tenant":  func(q *search.Query) { q.Principal.Tenant = "eigenbetrieb" },
		"damaged": func(q *search.Query) { q.Cursor = q.Cursor[1:] },
		"garbage": func(q *search.Query) { q.Cursor = "%%%" },
	} {
		other := q
		change(&other)
		_, err := e.Search(context.Background(), other)
		var qe *search.QueryError
		if !errors.As(err, &qe) || qe.Code != search.CodeBadCursor {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testReplay(t *testing.T, e search.Engine) {
	ops := append(puts(sample(50)), search.DeleteOp("stadt", "d0003"))
	q := search.Query{Principal: clerk, Where: word("Zaun"), Limit: 200, Facets: []search.FacetRequest{{Facet: search.FacetUnit}}}
	apply(t, e, "1", ops...)
	before := find(t, e, q)
	apply(t, e, "1", ops...)
	apply(t, e, "1", ops[10:]...)
	if diff := gocmp.Diff(before, find(t, e, q)); diff != "" {
		t.Fatalf("replay changed (-before +after):\n%s", diff)
	}
	if s, err := e.Stats(context.Background()); err != nil || s.Documents != 49 {
		t.Fatalf("%d documents, %v", s.Documents, err)
	}
}

func testNonInterference(t *testing.T, e search.Engine) {
	words := []string{"Grundsteuerbescheid", "Steuer", "Zaun", "Zäune", "Zahn", "Bauantrag", "61/5-BA-338202/24", "07.10.2009", "Meier", "Meyer"}
	text := rapid.Custom(func(t *rapid.T) string {
		s := ""
		for _, w := range rapid.SliceOfN(rapid.SampledFrom(words), 0, 6).Draw(t, "words") {
			s += w + " "
		}
		return s
	})
	for i := range 25 {
		apply(t, e, "0", search.PutOp(search.Doc{
			Tenant: "stadt", ID: fmt.Sprintf("v%02d", i), Subject: words[i%len(words)] + " " + words[i*3%len(words)], Text: words[i*7%len(words)] + " " + words[(i+4)%8],
			Scopes: []string{[]string{"s1", "s2", "s1"}[i%3]}, Unit: "U" + strconv.Itoa(i%2), Sender: "Absender " + words[i%3],
		}))
	}
	queries := []search.Node{nil}
	for _, s := range []string{
		"zaun", "steuer", "steuerbescheid", "zuan", "meir bauantrag", "zaun unauffindbarkeit", "bau*", `"steuer zaun"`, "-zaun", "61.5 BA 338202 2024",
		"7. Oktober 2009", "absender:meier", "grundsteuer bauantrag zahn meyer",
	} {
		n, err := search.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		queries = append(queries, n)
	}
	type view struct {
		Pages   []search.Page
		Suggest []string
	}
	look := func(t require) view {
		var v view
		for _, n := range queries {
			q := search.Query{Principal: clerk, Where: n, Limit: 6, Facets: []search.FacetRequest{{Facet: search.FacetUnit}}}
			for {
				p := find(t, e, q)
				v.Pages = append(v.Pages, p)
				if q.Cursor = p.Next; q.Cursor == "" {
					break
				}
			}
		}
		for _, s := range []string{"za", "gr", "ste", "me", "bauantrag z"} {
			got, err := e.Suggest(context.Background(), clerk, s, 10)
			if err != nil {
				t.Fatalf("suggest: %v", err)
			}
			v.Suggest = append(v.Suggest, got...)
		}
		return v
	}
	before := look(t)
	rapid.Check(t, func(t *rapid.T) {
		var ops []search.Op
		for range rapid.IntRange(1, 12).Draw(t, "n") {
			d := search.Doc{
				Tenant: rapid.SampledFrom([]string{"stadt", "eigenbetrieb"}).Draw(t, "tenant"),
				ID:     "h" + strconv.Itoa(rapid.IntRange(0, 30).Draw(t, "id")),
			}
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				ops = append(ops, search.DeleteOp(d.Tenant, d.ID))
				continue
			}
			d.Subject, d.Text, d.Sender = text.Draw(t, "subject"), text.Draw(t, "text")+" Zaunx unauffindbarkeit", "Absender"
			d.Unit = "U1"
			d.Scopes = rapid.SampledFrom([][]string{nil, {"s9"}, {"s8", "s9"}}).Draw(t, "scopes")
			if d.Tenant == "eigenbetrieb" {
				d.Scopes = []string{"s1", "s2"}
			}
			ops = append(ops, search.PutOp(d))
		}
		apply(t, e, "1", ops...)
		if diff := gocmp.Diff(before, look(t)); diff != "" {
			t.Fatalf("hidden documents changed the answer (-before +after):\n%s", diff)
		}
	})
}

// feed is a Source in memory whose cursor is the number of operations.
type feed struct {
	mu  sync.Mutex
	ops []search.Op
}

func (f *feed) Replay(ctx context.Context, cursor []byte, do func(context.Context, []search.Op, []byte) error) error {
	at, _ := strconv.Atoi(string(cursor))
	f.mu.Lock()
	ops := slices.Clone(f.ops)
	f.mu.Unlock()
	for at < len(ops) {
		to := min(at+40, len(ops))
		if err := do(ctx, ops[at:to], []byte(strconv.Itoa(to))); err != nil {
			return err
		}
		at = to
	}
	return nil
}

func testRebuild(t *testing.T, e search.Engine) {
	ctx := context.Background()
	src := &feed{ops: puts(sample(300))}
	apply(t, e, strconv.Itoa(len(src.ops)), src.ops...)
	apply(t, e, "", search.PutOp(search.Doc{Tenant: "stadt", ID: "ghost", Text: "Zaun", Scopes: []string{"s1"}}))
	q := search.Query{Principal: clerk, Where: word("Hecke"), Limit: 200, Exact: true}
	want := find(t, e, q)
	old, err := e.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := find(t, e, search.Query{Principal: clerk, Where: word("Hecke"), Limit: 5})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			p, err := e.Search(ctx, q)
			if err != nil || p.Total < want.Total {
				t.Errorf("while rebuilding: total %d of %d, %v", p.Total, want.Total, err)
				return
			}
		}
	})
	wg.Go(func() {
		// A follower goes on applying what comes.
		for i := range 30 {
			op := search.PutOp(search.Doc{Tenant: "stadt", ID: "late" + strconv.Itoa(i), Text: "Spätling", Scopes: []string{"s1"}})
			src.mu.Lock()
			src.ops = append(src.ops, op)
			n := len(src.ops)
			src.mu.Unlock()
			if err := e.Apply(ctx, []search.Op{op}, []byte(strconv.Itoa(n))); err != nil {
				t.Errorf("apply while rebuilding: %v", err)
			}
		}
	})
	if err := e.Rebuild(ctx, src); err != nil {
		t.Fatal(err)
	}
	close(stop)
	wg.Wait()
	if got := find(t, e, q); !slices.Equal(ids(got), ids(want)) {
		t.Fatalf("after rebuild %v, want %v", ids(got), ids(want))
	}
	if got := find(t, e, search.Query{Principal: clerk, Where: word("Spätling"), Limit: 100}); got.Total != 30 {
		t.Fatalf("%d of 30 documents that came during the rebuild are there", got.Total)
	}
	for _, id := range ids(find(t, e, search.Query{Principal: clerk, Where: word("Zaun"), Limit: 200})) {
		if id == "ghost" {
			t.Fatal("a document that the source does not know survived the rebuild")
		}
	}
	if now, err := e.Stats(ctx); err != nil || now.Generation == old.Generation || now.Documents != 330 {
		t.Fatalf("stats %+v, %v", now, err)
	}
	_, err = e.Search(ctx, search.Query{Principal: clerk, Where: word("Hecke"), Limit: 5, Cursor: first.Next})
	var qe *search.QueryError
	if !errors.As(err, &qe) || qe.Code != search.CodeCursorExpired {
		t.Fatalf("an old cursor: %v", err)
	}
	bad := errors.New("feed is gone")
	if err := e.Rebuild(ctx, failing{bad}); !errors.Is(err, bad) {
		t.Fatalf("a failing source: %v", err)
	}
	if got := find(t, e, q); got.Total != want.Total {
		t.Fatalf("a failed rebuild left %d hits", got.Total)
	}
}

type failing struct{ err error }

func (f failing) Replay(context.Context, []byte, func(context.Context, []search.Op, []byte) error) error {
	return f.err
}

func testFiling(t *testing.T, e search.Engine) {
	for i := range 40 {
		id := "d" + strconv.Itoa(i)
		d := search.Doc{Tenant: "stadt", ID: id, Text: "Zaun", Scopes: []string{"s1"}}
		apply(t, e, "1", search.PutOp(d))
		d.AkteID, d.VorgangID, d.Scopes = "a"+strconv.Itoa(i%4), "v1", []string{"s2"}
		apply(t, e, "2", search.PutOp(d))
	}
	p := find(t, e, search.Query{Principal: clerk, Where: word("Zaun"), Limit: 200})
	if p.Total != 40 || len(p.Items) != 40 {
		t.Fatalf("total %d, %d items", p.Total, len(p.Items))
	}
	p = find(t, e, search.Query{Principal: clerk, Filters: search.Filters{AkteID: []string{"a1"}, VorgangID: []string{"v1"}}})
	if p.Total != 10 {
		t.Fatalf("%d documents in the Akte", p.Total)
	}
	apply(t, e, "3", search.DeleteOp("stadt", "d1"))
	if p = find(t, e, search.Query{Principal: clerk, Where: word("Zaun")}); p.Total != 39 {
		t.Fatalf("%d after deleting one", p.Total)
	}
}

func testCancelled(t *testing.T, e search.Engine) {
	apply(t, e, "1", puts(sample(10))...)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Apply(ctx, puts(sample(20)), []byte("2")); !errors.Is(err, context.Canceled) {
		t.Errorf("apply: %v", err)
	}
	if c, _ := e.AppliedCursor(context.Background()); string(c) != "1" {
		t.Errorf("the cursor moved to %q", c)
	}
	if _, err := e.Search(ctx, search.Query{Principal: clerk, Where: word("Zaun")}); !errors.Is(err, context.Canceled) {
		t.Errorf("search: %v", err)
	}
}

func testClosed(t *testing.T, e search.Engine) {
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Search(context.Background(), search.Query{Principal: clerk}); !errors.Is(err, search.ErrClosed) {
		t.Errorf("search: %v", err)
	}
	if err := e.Apply(context.Background(), nil, []byte("x")); !errors.Is(err, search.ErrClosed) {
		t.Errorf("apply: %v", err)
	}
	if diff := gocmp.Diff(error(nil), e.Close(), cmpopts.EquateErrors()); diff != "" {
		t.Errorf("second close: %s", diff)
	}
}
