package search

import (
	"context"
	"math"

	bsearch "github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/searcher"
	index "github.com/blevesearch/bleve_index_api"
)

// The searchers of this file are why ranking does not depend on the live
// index: they weigh terms with the frozen statistics of the generation, where
// the library would take document frequencies of all tenants and all rights,
// and they add up alternatives without its penalty for alternatives that do not
// match. A searcher is used by one goroutine.

// noNorm is the part of the interface that our searchers do not need: weights
// are absolute, so no query norm is applied.
type noNorm struct{}

func (noNorm) Weight() float64      { return 0 }
func (noNorm) SetQueryNorm(float64) {}
func (noNorm) Min() int             { return 0 }
func (noNorm) Size() int            { return 256 }

// termSearcher finds the documents of one term. Score is weight × √frequency ×
// field norm, or weight alone if flat.
type termSearcher struct {
	noNorm
	reader index.TermFieldReader
	tfd    index.TermFieldDoc
	weight float64
	flat   bool
}

func newTermSearcher(ctx context.Context, r index.IndexReader, field, term string, weight float64, flat bool) (*termSearcher, error) {
	tfr, err := r.TermFieldReader(ctx, []byte(term), field, !flat, !flat, false)
	if err != nil {
		return nil, err
	}
	return &termSearcher{reader: tfr, weight: weight, flat: flat}, nil
}

func (s *termSearcher) match(ctx *bsearch.SearchContext, d *index.TermFieldDoc, err error) (*bsearch.DocumentMatch, error) {
	if d == nil || err != nil {
		return nil, err
	}
	m := ctx.DocumentMatchPool.Get()
	m.IndexInternalID = append(m.IndexInternalID, d.ID...)
	m.Score = s.weight
	if !s.flat {
		m.Score *= math.Sqrt(float64(d.Freq)) * d.Norm
	}
	return m, nil
}

func (s *termSearcher) Next(ctx *bsearch.SearchContext) (*bsearch.DocumentMatch, error) {
	d, err := s.reader.Next(s.tfd.Reset())
	return s.match(ctx, d, err)
}

func (s *termSearcher) Advance(ctx *bsearch.SearchContext, id index.IndexInternalID) (*bsearch.DocumentMatch, error) {
	d, err := s.reader.Advance(id, s.tfd.Reset())
	return s.match(ctx, d, err)
}

func (s *termSearcher) Close() error               { return s.reader.Close() }
func (s *termSearcher) Count() uint64              { return s.reader.Count() }
func (s *termSearcher) DocumentMatchPoolSize() int { return 1 }

// anySearcher finds documents that match at least need of its kids. The score
// is the sum over the matching kids, or the largest with best; with share it is
// multiplied by the share of kids that match.
type anySearcher struct {
	noNorm
	kids        []bsearch.Searcher
	cur         []*bsearch.DocumentMatch
	need        int
	best, share bool
	started     bool
}

// newAny takes over the kids. One kid is returned as it is.
func newAny(kids []bsearch.Searcher, need int, best, share bool) bsearch.Searcher {
	if len(kids) == 1 {
		return kids[0]
	}
	return &anySearcher{kids: kids, cur: make([]*bsearch.DocumentMatch, len(kids)), need: need, best: best, share: share}
}

func (s *anySearcher) start(ctx *bsearch.SearchContext) error {
	for i, k := range s.kids {
		var err error
		if s.cur[i], err = k.Next(ctx); err != nil {
			return err
		}
	}
	s.started = true
	return nil
}

func (s *anySearcher) Next(ctx *bsearch.SearchContext) (*bsearch.DocumentMatch, error) {
	if !s.started {
		if err := s.start(ctx); err != nil {
			return nil, err
		}
	}
	for {
		var low *bsearch.DocumentMatch
		for _, m := range s.cur {
			if m != nil && (low == nil || m.IndexInternalID.Compare(low.IndexInternalID) < 0) {
				low = m
			}
		}
		if low == nil {
			return nil, nil
		}
		n, score := 0, 0.0
		var keep *bsearch.DocumentMatch
		for i, m := range s.cur {
			if m == nil || (m != low && !m.IndexInternalID.Equals(low.IndexInternalID)) {
				continue
			}
			n++
			if s.best {
				score = max(score, m.Score)
			} else {
				score += m.Score
			}
			next, err := s.kids[i].Next(ctx)
			if err != nil {
				return nil, err
			}
			s.cur[i] = next
			// low stays untouched until the end of the round: it is compared with.
			if m != low {
				ctx.DocumentMatchPool.Put(m)
			}
			keep = low
		}
		if n >= s.need {
			if s.share {
				score *= float64(n) / float64(len(s.kids))
			}
			keep.Score = score
			return keep, nil
		}
		ctx.DocumentMatchPool.Put(keep)
	}
}

func (s *anySearcher) Advance(ctx *bsearch.SearchContext, id index.IndexInternalID) (*bsearch.DocumentMatch, error) {
	if !s.started {
		s.started = true
		for i, k := range s.kids {
			var err error
			if s.cur[i], err = k.Advance(ctx, id); err != nil {
				return nil, err
			}
		}
		return s.Next(ctx)
	}
	for i, m := range s.cur {
		if m == nil || m.IndexInternalID.Compare(id) >= 0 {
			continue
		}
		ctx.DocumentMatchPool.Put(m)
		var err error
		if s.cur[i], err = s.kids[i].Advance(ctx, id); err != nil {
			return nil, err
		}
	}
	return s.Next(ctx)
}

func (s *anySearcher) Close() error {
	var first error
	for _, k := range s.kids {
		if err := k.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (s *anySearcher) Count() uint64 {
	var n uint64
	for _, k := range s.kids {
		n += k.Count()
	}
	return n
}

func (s *anySearcher) DocumentMatchPoolSize() int {
	n := len(s.kids)
	for _, k := range s.kids {
		n += k.DocumentMatchPoolSize()
	}
	return n
}

// flatSearcher gives every match of kid the same score.
type flatSearcher struct {
	noNorm
	kid   bsearch.Searcher
	score float64
}

func (s *flatSearcher) Next(ctx *bsearch.SearchContext) (*bsearch.DocumentMatch, error) {
	m, err := s.kid.Next(ctx)
	if m != nil {
		m.Score = s.score
	}
	return m, err
}

func (s *flatSearcher) Advance(ctx *bsearch.SearchContext, id index.IndexInternalID) (*bsearch.DocumentMatch, error) {
	m, err := s.kid.Advance(ctx, id)
	if m != nil {
		m.Score = s.score
	}
	return m, err
}

func (s *flatSearcher) Close() error               { return s.kid.Close() }
func (s *flatSearcher) Count() uint64              { return s.kid.Count() }
func (s *flatSearcher) DocumentMatchPoolSize() int { return s.kid.DocumentMatchPoolSize() }

// unscored are options under which the library joins postings as bitmaps.
var unscored = bsearch.SearcherOptions{Score: "none"}

// manyTerms finds the documents of any of the terms, unscored.
func manyTerms(ctx context.Context, r index.IndexReader, field string, terms []string) (bsearch.Searcher, error) {
	s, err := searcher.NewMultiTermSearcher(ctx, r, terms, field, 1, unscored, false)
	if err != nil {
		return nil, err
	}
	return &flatSearcher{kid: s}, nil
}

// docValueFilter lets those matches of kid pass of which accept returns true
// for a value of the field. Its cost grows with the matches, not with the
// number of documents a principal may see.
func docValueFilter(ctx context.Context, r index.IndexReader, kid bsearch.Searcher, field string, accept func([]byte) bool) (bsearch.Searcher, error) {
	dvr, err := r.DocValueReader([]string{field})
	if err != nil {
		return nil, err
	}
	return searcher.NewFilteringSearcher(ctx, kid, func(_ *bsearch.SearchContext, d *bsearch.DocumentMatch) bool {
		ok := false
		err := dvr.VisitDocValues(d.IndexInternalID, func(_ string, term []byte) {
			ok = ok || accept(term)
		})
		// What cannot be read is not shown.
		return ok && err == nil
	}), nil
}
