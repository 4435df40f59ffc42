package search

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	bleve "github.com/blevesearch/bleve/v2"
	bsearch "github.com/blevesearch/bleve/v2/search"
	index "github.com/blevesearch/bleve_index_api"
)

const (
	minFuzzyLetters  = 4 // shorter words have too many neighbours
	farFuzzyLetters  = 8 // from here on two errors are looked for
	maxCorrections   = 3 // words taken in place of one
	maxFuzzyDistance = 2
	// maxTries is how many neighbours of a word, visible or not, are tried:
	// each is a search of its own, and scanned texts are full of misspellings.
	maxTries = 512
)

// repair changes a query that found nothing: words without a visible hit are
// corrected, words without a correction left out, and if still no document
// holds all words, most of them are enough. Every step looks only at documents
// that the principal may see.
func (g *generation) repair(ctx context.Context, q *Query, empty *bleve.SearchResult) (*bleve.SearchResult, mode, error) {
	must, _ := split(q.Where)
	m := mode{Replace: map[string][]string{}, Words: map[string]string{}}
	operands := 0
	err := g.readers(func(rs []index.IndexReader) error {
		for _, n := range must {
			w, ok := n.(Word)
			if !ok {
				operands++
				continue
			}
			ts := g.an.terms(g.an.prepare(w.Text))
			if len(ts) != 1 {
				operands += min(len(ts), 1)
				continue
			}
			operands++
			stem := string(ts[0].Term)
			if _, done := m.Words[stem]; done {
				continue
			}
			hit, err := g.hit(ctx, rs, q.Principal, func(c *compiler) (bsearch.Searcher, error) { return c.word(w.Text) })
			if err != nil {
				return err
			}
			if hit {
				continue
			}
			to, err := g.corrections(ctx, rs, q.Principal, stem)
			if err != nil {
				return err
			}
			m.Words[stem] = w.Text
			if len(to) > 0 {
				m.Replace[stem] = to
			} else {
				m.Drop = append(m.Drop, stem)
			}
		}
		return nil
	})
	if err != nil {
		return nil, mode{}, err
	}
	if len(m.Drop) > 0 && len(m.Drop) >= operands {
		return empty, mode{}, nil // nothing is left to look for
	}
	if len(m.Words) > 0 {
		res, err := g.run(ctx, q, m, nil)
		if err != nil || res.Total > 0 {
			return res, m, err
		}
	}
	for _, m.Relax = range []relaxation{needHalf, needOne} {
		if operands-len(m.Drop) < 2 {
			break
		}
		res, err := g.run(ctx, q, m, nil)
		if err != nil || res.Total > 0 {
			return res, m, err
		}
	}
	return empty, mode{}, nil
}

// hit reports whether the principal can see a document that what finds.
func (g *generation) hit(ctx context.Context, rs []index.IndexReader, who Principal, what func(*compiler) (bsearch.Searcher, error)) (bool, error) {
	n, err := g.count(ctx, rs, who, 1, what)
	return n > 0, err
}

// count counts visible documents, up to limit.
func (g *generation) count(ctx context.Context, rs []index.IndexReader, who Principal, limit int, what func(*compiler) (bsearch.Searcher, error)) (int, error) {
	total := 0
	for _, r := range rs {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		c := &compiler{ctx: ctx, r: r, an: g.an}
		s, err := what(c)
		if err != nil {
			return 0, err
		}
		if s == nil {
			continue
		}
		kid := s
		if s, err = c.visible([]bsearch.Searcher{kid}, who); err != nil {
			return 0, errors.Join(err, kid.Close())
		}
		sctx := &bsearch.SearchContext{DocumentMatchPool: bsearch.NewDocumentMatchPool(s.DocumentMatchPoolSize()+8, 0), IndexReader: r}
		for total < limit {
			d, err := s.Next(sctx)
			if err != nil {
				return 0, errors.Join(err, s.Close())
			}
			if d == nil {
				break
			}
			sctx.DocumentMatchPool.Put(d)
			total++
		}
		if err := s.Close(); err != nil {
			return 0, err
		}
		if total >= limit {
			break
		}
	}
	return total, nil
}

// corrections are the nearest terms to a stem that stand in a visible document.
// Which of several equally near ones come first is decided by the frozen
// statistics, not by documents the principal may not see.
func (g *generation) corrections(ctx context.Context, rs []index.IndexReader, who Principal, stem string) ([]string, error) {
	letters := utf8.RuneCountInString(stem)
	if letters < minFuzzyLetters || strings.ContainsAny(stem, "0123456789") || letters > maxCompound {
		return nil, nil
	}
	most := 1
	if letters >= farFuzzyLetters {
		most = maxFuzzyDistance
	}
	type cand struct {
		term string
		dist int
	}
	seen := map[string]bool{stem: true}
	var cands []cand
	for _, r := range rs {
		fr, ok := r.(index.IndexReaderFuzzy)
		if !ok {
			continue
		}
		for _, field := range []string{fText, fParts, fHead} {
			// The automaton counts two swapped letters as two errors.
			d, err := fr.FieldDictFuzzy(field, stem, maxFuzzyDistance, "")
			if err != nil {
				return nil, err
			}
			for e, err := d.Next(); e != nil || err != nil; e, err = d.Next() {
				if err != nil {
					return nil, errors.Join(err, d.Close())
				}
				if seen[e.Term] || strings.ContainsAny(e.Term, "0123456789") {
					continue
				}
				seen[e.Term] = true
				if dist := editDistance(stem, e.Term); dist <= most {
					cands = append(cands, cand{e.Term, dist})
				}
			}
			if err := d.Close(); err != nil {
				return nil, err
			}
		}
	}
	first, _ := utf8.DecodeRuneInString(stem)
	otherStart := func(t string) int {
		if r, _ := utf8.DecodeRuneInString(t); r == first {
			return 0
		}
		return 1
	}
	slices.SortFunc(cands, func(a, b cand) int {
		return cmp.Or(a.dist-b.dist, otherStart(a.term)-otherStart(b.term),
			cmp.Compare(g.an.dict.stems[b.term], g.an.dict.stems[a.term]), strings.Compare(a.term, b.term))
	})
	var out []string
	dist := 0
	for _, c := range cands[:min(maxTries, len(cands))] {
		if len(out) > 0 && c.dist != dist {
			break
		}
		hit, err := g.hit(ctx, rs, who, func(k *compiler) (bsearch.Searcher, error) { return k.term(c.term) })
		if err != nil {
			return nil, err
		}
		if hit {
			out, dist = append(out, c.term), c.dist
			if len(out) == maxCorrections {
				break
			}
		}
	}
	return out, nil
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours (optimal string alignment).
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	prev2, prev, cur := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		cur[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(y)]
}
