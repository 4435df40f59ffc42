package search_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"evb/search"
	"evb/search/searchtest"
)

func TestIndexKeepsTheContract(t *testing.T) {
	for name, shards := range map[string]int{"one shard": 1, "three shards": 3} {
		t.Run(name, func(t *testing.T) {
			searchtest.Run(t, func(t testing.TB, dir string) search.Engine {
				return open(t, search.Options{Dir: dir, Shards: shards})
			})
		})
	}
}

func open(t testing.TB, opt search.Options) *search.Index {
	t.Helper()
	x, err := search.Open(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	x := open(t, search.Options{Dir: t.TempDir(), Shards: 2})
	if err := x.Apply(context.Background(), []search.Op{search.PutOp(search.Doc{Tenant: "t", ID: "d"})}, []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	// The library's pool of analysis workers lives as long as the process.
	goleak.VerifyNone(t, ignore, goleak.IgnoreAnyFunction("github.com/blevesearch/bleve_index_api.analysisWorker"),
		goleak.IgnoreAnyFunction("github.com/blevesearch/bleve_index_api.AnalysisWorker"))
}
