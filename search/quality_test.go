package search_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	bleve "github.com/blevesearch/bleve/v2"
	_ "github.com/blevesearch/bleve/v2/analysis/lang/de"
	"github.com/blevesearch/bleve/v2/search/query"

	"evb/internal/sharedtest"
	"evb/search"
)

type judged struct {
	Kind string   `json:"kind"`
	Q    string   `json:"q"`
	Rel  []string `json:"rel"`
}

type law struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	Year int    `json:"year"`
	Type string `json:"type"`
}

// every is the share of queries and documents that the test takes; the full
// corpus with EVB_SEARCH_FULL=1.
func corpus(t *testing.T) (laws []law, queries []judged) {
	every := 8
	if os.Getenv("EVB_SEARCH_FULL") != "" {
		every = 1
	}
	f, err := os.Open(sharedtest.Path(t, "data/corpus-de/queries-dev.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	keep := map[string]bool{}
	n := map[string]int{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var q judged
		if err := json.Unmarshal(sc.Bytes(), &q); err != nil {
			t.Fatal(err)
		}
		n[q.Kind]++
		if every > 1 && n[q.Kind]%2 == 0 {
			continue
		}
		queries = append(queries, q)
		for _, r := range q.Rel {
			keep[r] = true
		}
	}
	g, err := os.Open(sharedtest.Path(t, "data/corpus-de/laws.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	zr, err := gzip.NewReader(g)
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(zr)
	sc.Buffer(nil, 16<<20)
	for i := 0; sc.Scan(); i++ {
		var l law
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		if keep[l.ID] || i%every == 0 {
			laws = append(laws, l)
		}
	}
	return laws, queries
}

func TestQualityIsNotBelowTheStockAnalyzer(t *testing.T) {
	laws, queries := corpus(t)
	ctx := context.Background()
	x, err := search.Open(ctx, search.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	start := time.Now()
	for i := 0; i < len(laws); i += 500 {
		var ops []search.Op
		for _, l := range laws[i:min(i+500, len(laws))] {
			ops = append(ops, search.PutOp(search.Doc{
				Tenant: "stadt", ID: l.ID, Text: l.Text, Year: l.Year, DocumentType: l.Type, Scopes: []string{"all"},
			}))
		}
		if err := x.Apply(ctx, ops, []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d documents, ours loaded in %v", len(laws), time.Since(start))
	start = time.Now()
	m := bleve.NewIndexMapping()
	m.DefaultMapping = bleve.NewDocumentStaticMapping()
	fm := bleve.NewTextFieldMapping()
	fm.Analyzer, fm.DocValues, fm.IncludeInAll = "de", false, false
	m.DefaultMapping.AddFieldMappingsAt("text", fm)
	stock, err := bleve.New(filepath.Join(t.TempDir(), "stock"), m)
	if err != nil {
		t.Fatal(err)
	}
	defer stock.Close()
	for i := 0; i < len(laws); i += 500 {
		b := stock.NewBatch()
		for _, l := range laws[i:min(i+500, len(laws))] {
			if err := b.Index(l.ID, map[string]any{"text": l.Text}); err != nil {
				t.Fatal(err)
			}
		}
		if err := stock.Batch(b); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("stock loaded in %v", time.Since(start))

	type sums struct {
		n, empty, stockEmpty int
		mrr, and, or         float64
	}
	by := map[string]*sums{}
	rank := func(ids []string, rel []string) float64 {
		for i, id := range ids {
			for _, r := range rel {
				if r == id {
					return 1 / float64(i+1)
				}
			}
		}
		return 0
	}
	who := search.Principal{Tenant: "stadt", Scopes: []string{"all"}}
	var took time.Duration
	for _, q := range queries {
		s := by[q.Kind]
		if s == nil {
			s = &sums{}
			by[q.Kind] = s
		}
		s.n++
		n, err := search.Parse(q.Q)
		if err != nil {
			t.Fatalf("%q: %v", q.Q, err)
		}
		begin := time.Now()
		page, err := x.Search(ctx, search.Query{Principal: who, Where: n, Limit: 10})
		took += time.Since(begin)
		if err != nil {
			t.Fatalf("%q: %v", q.Q, err)
		}
		var ids []string
		for _, it := range page.Items {
			ids = append(ids, it.ID)
		}
		s.mrr += rank(ids, q.Rel)
		if len(ids) == 0 {
			s.empty++
		}
		for _, op := range []query.MatchQueryOperator{query.MatchQueryOperatorAnd, query.MatchQueryOperatorOr} {
			mq := bleve.NewMatchQuery(q.Q)
			mq.SetField("text")
			mq.SetOperator(op)
			res, err := stock.Search(bleve.NewSearchRequestOptions(mq, 10, 0, false))
			if err != nil {
				t.Fatal(err)
			}
			ids = ids[:0]
			for _, h := range res.Hits {
				ids = append(ids, h.ID)
			}
			if op == query.MatchQueryOperatorAnd {
				s.and += rank(ids, q.Rel)
				if len(ids) == 0 {
					s.stockEmpty++
				}
			} else {
				s.or += rank(ids, q.Rel)
			}
		}
	}
	t.Logf("%d queries, %v each", len(queries), took/time.Duration(len(queries)))
	for _, k := range []string{"title", "kw3", "inflect", "compound", "umlaut", "typo"} {
		s := by[k]
		if s == nil {
			t.Fatalf("no queries of kind %s", k)
		}
		n := float64(s.n)
		t.Logf("%-9s n=%d  MRR@10 ours %.3f  stock and %.3f  or %.3f   empty ours %d stock %d",
			k, s.n, s.mrr/n, s.and/n, s.or/n, s.empty, s.stockEmpty)
		if k != "title" && s.mrr < s.and-0.01*n {
			t.Errorf("%s: MRR %.3f is below stock %.3f", k, s.mrr/n, s.and/n)
		}
	}
	if c := by["compound"]; c.mrr < 2*c.and {
		t.Errorf("compound: MRR %.3f is not twice stock's %.3f", c.mrr/float64(c.n), c.and/float64(c.n))
	}
	if c := by["typo"]; c.empty*20 > c.n {
		t.Errorf("typo: %d of %d pages are empty", c.empty, c.n)
	}
}
