package search

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	bsearch "github.com/blevesearch/bleve/v2/search"
	index "github.com/blevesearch/bleve_index_api"
)

const (
	minSuggestLetters = 2
	// suggestPool is how many visible completions are ranked; they are the
	// first in alphabetical order.
	suggestPool = 60
	// suggestCount is up to where the hits of a completion are counted.
	suggestCount = 50
	// suggestTries is how many completions, visible or not, are tried: each is
	// a search of its own.
	suggestTries = 4096
)

// Suggest implements Engine. A suggestion is text with its last word completed;
// it has a hit among the documents that p may see, together with the words
// before it. Those with most such hits come first. Fewer than two letters give
// none, and of a beginning that many thousand words have in common only the
// first in alphabetical order are tried: another letter finds the rest.
func (x *Index) Suggest(ctx context.Context, p Principal, text string, n int) ([]string, error) {
	if n < 1 || n > MaxSuggestions {
		return nil, queryErr(CodeLimit, "limit", strconv.Itoa(MaxSuggestions))
	}
	if utf8.RuneCountInString(text) > MaxQueryRunes {
		return nil, queryErr(CodeTooLong, "limit", strconv.Itoa(MaxQueryRunes))
	}
	if p.Nothing() {
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, x.opt.SearchTimeout)
	defer cancel()
	var out []string
	err := x.with(func(g *generation) error {
		g.see.RLock()
		defer g.see.RUnlock()
		return g.readers(func(rs []index.IndexReader) (err error) {
			out, err = g.suggest(ctx, rs, p, text, n)
			return err
		})
	})
	return out, err
}

func (g *generation) suggest(ctx context.Context, rs []index.IndexReader, p Principal, text string, n int) ([]string, error) {
	text = g.an.prepare(text)
	cut := strings.LastIndexAny(text, " \t\n\"") + 1
	head, last := text[:cut], strings.ToLower(text[cut:])
	if utf8.RuneCountInString(last) < minSuggestLetters {
		return nil, nil
	}
	// What stands before may be unfinished; then only the last word counts.
	before, err := Parse(head)
	if err != nil {
		before = nil
	}
	var terms []string
	for _, r := range rs {
		d, err := r.FieldDictPrefix(fWords, []byte(last))
		if err != nil {
			return nil, err
		}
		// In alphabetical order, so the first of all are among the first of each.
		for n := 0; n < suggestTries; n++ {
			e, err := d.Next()
			if err != nil {
				return nil, errors.Join(err, d.Close())
			}
			if e == nil {
				break
			}
			terms = append(terms, e.Term)
		}
		if err := d.Close(); err != nil {
			return nil, err
		}
	}
	slices.Sort(terms)
	terms = slices.Compact(terms)
	terms = terms[:min(suggestTries, len(terms))]
	type found struct {
		text string
		hits int
	}
	byLower := map[string]*found{}
	var pool []*found
	for _, t := range terms {
		lower, shown, ok := strings.Cut(t, "\x1f")
		if !ok || lower == last {
			continue
		}
		if byLower[lower] == nil && len(pool) == suggestPool {
			break
		}
		hits, err := g.count(ctx, rs, p, suggestCount, func(c *compiler) (bsearch.Searcher, error) {
			s, err := manyTerms(c.ctx, c.r, fWords, []string{t})
			if err != nil || before == nil {
				return s, err
			}
			must, _ := split(before)
			kids := []bsearch.Searcher{s}
			for _, n := range must {
				k, err := c.node(n)
				if err != nil {
					return nil, err
				}
				if k != nil {
					kids = append(kids, k)
				}
			}
			return c.all(kids)
		})
		if qe := (*QueryError)(nil); errors.As(err, &qe) {
			return nil, nil // a prefix before is too broad: nothing to suggest
		}
		if err != nil {
			return nil, err
		}
		if hits == 0 {
			continue
		}
		if f := byLower[lower]; f != nil {
			if hits > f.hits {
				f.text, f.hits = shown, hits
			}
			continue
		}
		f := &found{shown, hits}
		byLower[lower] = f
		pool = append(pool, f)
	}
	slices.SortStableFunc(pool, func(a, b *found) int { return cmp.Compare(b.hits, a.hits) })
	out := make([]string, 0, n)
	for _, f := range pool[:min(n, len(pool))] {
		out = append(out, head+f.text)
	}
	return out, nil
}
