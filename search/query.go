package search

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	bleve "github.com/blevesearch/bleve/v2"
	bsearch "github.com/blevesearch/bleve/v2/search"
)

// maxCursor is the longest cursor that is read, in bytes.
const maxCursor = 16 << 10

// mode is how a query was changed because it found nothing as it was typed.
// It travels in the cursor, so that all pages answer the same question.
type mode struct {
	Replace map[string][]string `json:"r,omitempty"` // stem -> stems
	Words   map[string]string   `json:"w,omitempty"` // stem -> word as typed
	Drop    []string            `json:"d,omitempty"` // stems
	Relax   relaxation          `json:"x,omitempty"`
}

// relaxation says how many of the operands a document must match.
type relaxation int

const (
	needAll relaxation = iota
	needHalf
	needOne
)

func (m mode) drops() map[string]bool {
	d := make(map[string]bool, len(m.Drop))
	for _, s := range m.Drop {
		d[s] = true
	}
	return d
}

// cursor is what Page.Next holds. It names only a visible document.
type cursor struct {
	Generation string   `json:"g"`
	Query      string   `json:"q"` // fingerprint of everything but the page
	After      []string `json:"a"` // sort values of the last hit, its id last
	Mode       mode     `json:"m"`
}

func (q *Query) fingerprint() string {
	h := sha256.Sum256(fmt.Appendf(nil, "%q %#v %#v %q %t", q.Principal.Tenant, q.Where, q.Filters, q.Sort, q.Exact))
	return hex.EncodeToString(h[:8])
}

func (c cursor) encode() (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// decodeCursor checks a cursor against the query and the generation in use.
func decodeCursor(s string, q *Query, generation string) (c cursor, err error) {
	if len(s) > maxCursor {
		return c, queryErr(CodeBadCursor)
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || json.Unmarshal(b, &c) != nil || len(c.After) != 2 || c.Query != q.fingerprint() {
		return c, queryErr(CodeBadCursor)
	}
	if c.Generation != generation {
		return c, queryErr(CodeCursorExpired)
	}
	return c, nil
}

// normalise checks a query and fills in defaults.
func (q *Query) normalise() error {
	switch {
	case q.Limit == 0:
		q.Limit = DefaultLimit
	case q.Limit < 0 || q.Limit > MaxLimit:
		return queryErr(CodeLimit, "limit", strconv.Itoa(MaxLimit))
	}
	switch q.Sort {
	case "":
		q.Sort = SortRelevance
	case SortRelevance, SortNewest, SortOldest:
	default:
		return queryErr(CodeSort, "sort", string(q.Sort))
	}
	if must, _ := split(q.Where); len(must) == 0 && q.Sort == SortRelevance {
		q.Sort = SortNewest // nothing to be relevant to
	}
	q.Facets = append([]FacetRequest(nil), q.Facets...)
	for i := range q.Facets {
		f := &q.Facets[i]
		if _, ok := facetFields[f.Facet]; !ok {
			return queryErr(CodeFacet, "facet", string(f.Facet))
		}
		if f.Size == 0 {
			f.Size = 20
		}
		if f.Size < 0 || f.Size > MaxFacetSize {
			return queryErr(CodeLimit, "limit", strconv.Itoa(MaxFacetSize))
		}
	}
	if countLeaves(q.Where) > MaxQueryWords {
		return queryErr(CodeTooManyWords, "limit", strconv.Itoa(MaxQueryWords))
	}
	h := &q.Highlight
	if h.Fragments <= 0 {
		h.Fragments = 3
	}
	if h.Size <= 0 {
		h.Size = 200
	}
	h.Fragments, h.Size = min(h.Fragments, 20), min(h.Size, 2000)
	return nil
}

// Search implements Engine. A search longer than Options.SearchTimeout ends
// with context.DeadlineExceeded.
func (x *Index) Search(ctx context.Context, q Query) (page Page, err error) {
	start := time.Now()
	defer func() {
		result := "ok"
		if qe := (*QueryError)(nil); errors.As(err, &qe) {
			result = "invalid"
		} else if err != nil {
			result = "error"
		}
		x.metrics.searched(result, time.Since(start))
	}()
	if err := q.normalise(); err != nil {
		return Page{}, err
	}
	if q.Principal.Nothing() {
		page = Page{Facets: map[Facet][]FacetValue{}}
		for _, f := range q.Facets {
			page.Facets[f.Facet] = []FacetValue{}
		}
		return page, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, x.opt.SearchTimeout)
	defer cancel()
	err = x.with(func(g *generation) error {
		g.see.RLock()
		defer g.see.RUnlock()
		page, err = g.search(ctx, &q)
		return err
	})
	return page, err
}

func (g *generation) search(ctx context.Context, q *Query) (Page, error) {
	var m mode
	var after []string
	if q.Cursor != "" {
		c, err := decodeCursor(q.Cursor, q, g.id)
		if err != nil {
			return Page{}, err
		}
		m, after = c.Mode, c.After
	}
	res, err := g.run(ctx, q, m, after)
	if err != nil {
		return Page{}, err
	}
	if res.Total == 0 && after == nil && !q.Exact && q.Where != nil {
		if res, m, err = g.repair(ctx, q, res); err != nil {
			return Page{}, err
		}
	}
	return g.page(q, m, res)
}

// run asks the shards for one page and one hit more.
func (g *generation) run(ctx context.Context, q *Query, m mode, after []string) (*bleve.SearchResult, error) {
	req := bleve.NewSearchRequestOptions(&compiledQuery{
		an: g.an, where: q.Where, filters: q.Filters, who: q.Principal,
		replace: m.Replace, drop: m.drops(), relax: m.Relax,
	}, q.Limit+1, 0, false)
	byID := &bsearch.SortDocID{}
	switch q.Sort {
	case SortRelevance:
		req.SortByCustom(bsearch.SortOrder{&bsearch.SortScore{Desc: true}, byID})
	case SortNewest, SortOldest:
		req.SortByCustom(bsearch.SortOrder{&bsearch.SortField{
			Field: fDay, Type: bsearch.SortFieldAsString, Desc: q.Sort == SortNewest,
		}, byID})
	}
	req.SearchAfter = after
	req.Fields = []string{fID, fSubject, fSender, fType, fUnit, fYear, fState, fAkte, fVorgang, fBy, fDay, fNumbers}
	if !q.Highlight.Off && g.an.marker(q.Where, m.Replace).operands > 0 {
		req.Fields = append(req.Fields, fText) // else whole texts would be read to show nothing of them
	}
	for _, f := range q.Facets {
		// The largest size, so that shards do not cut what the whole would show.
		req.AddFacet(string(f.Facet), bleve.NewFacetRequest(facetFields[f.Facet], MaxFacetSize))
	}
	res, err := g.alias.SearchInContext(ctx, req)
	if err != nil {
		return nil, unwrapSearch(ctx, err)
	}
	for shard, err := range res.Status.Errors {
		// A partial answer would look like a complete one.
		return nil, fmt.Errorf("search shard %s: %w", shard, unwrapSearch(ctx, err))
	}
	return res, nil
}

// unwrapSearch prefers the context's error, which the library may word anew.
func unwrapSearch(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (g *generation) page(q *Query, m mode, res *bleve.SearchResult) (Page, error) {
	p := Page{Total: int(res.Total), Relaxed: m.Relax != needAll, Facets: map[Facet][]FacetValue{}}
	hits := res.Hits
	if len(hits) > q.Limit {
		hits = hits[:q.Limit]
		last := hits[len(hits)-1]
		c := cursor{Generation: g.id, Query: q.fingerprint(), Mode: m, After: []string{"", last.ID}}
		if q.Sort == SortRelevance {
			c.After[0] = strconv.FormatFloat(last.Score, 'g', -1, 64)
		} else {
			c.After[0] = str(last.Fields[fDay])
		}
		var err error
		if p.Next, err = c.encode(); err != nil {
			return Page{}, err
		}
	}
	var mk *marker
	if !q.Highlight.Off {
		mk = g.an.marker(q.Where, m.Replace)
	}
	for _, h := range hits {
		p.Items = append(p.Items, g.item(q, mk, h))
	}
	for _, f := range q.Facets {
		p.Facets[f.Facet] = facetValues(res.Facets[string(f.Facet)], f.Size)
	}
	for _, stem := range sortedStems(m.Replace) {
		p.Corrections = append(p.Corrections, Correction{From: m.Words[stem], To: g.spell(m.Replace[stem], p.Items)})
	}
	for _, stem := range m.Drop {
		p.Dropped = append(p.Dropped, m.Words[stem])
	}
	return p, nil
}

func sortedStems(m map[string][]string) []string {
	out := make([]string, 0, len(m))
	for s := range m {
		out = append(out, s)
	}
	sort.Strings(out)
	return out
}

// spell gives stems the spelling in which they stand in the hits.
func (g *generation) spell(stems []string, items []Item) []string {
	var out []string
	for _, s := range stems {
		found := s
	search:
		for _, it := range items {
			for _, w := range it.Marked {
				if g.an.lexeme(w).stem == s {
					found = w
					break search
				}
			}
		}
		out = append(out, found)
	}
	return out
}

func facetValues(r *bsearch.FacetResult, size int) []FacetValue {
	out := []FacetValue{}
	if r == nil || r.Terms == nil {
		return out
	}
	for _, t := range r.Terms.Terms() {
		if t.Count > 0 {
			out = append(out, FacetValue{Value: t.Term, Count: t.Count})
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Count != out[j].Count {
			return out[i].Count > out[j].Count
		}
		return out[i].Value < out[j].Value
	})
	return out[:min(size, len(out))]
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

func (g *generation) item(q *Query, mk *marker, h *bsearch.DocumentMatch) Item {
	f := h.Fields
	it := Item{
		ID: str(f[fID]), AkteID: str(f[fAkte]), VorgangID: str(f[fVorgang]), Subject: str(f[fSubject]),
		DocumentType: str(f[fType]), Unit: str(f[fUnit]), Sender: str(f[fSender]), State: str(f[fState]),
		SubmittedBy: str(f[fBy]),
	}
	it.Year, _ = strconv.Atoi(str(f[fYear]))
	if d := str(f[fDay]); d != noDay {
		it.ReceivedOn, _ = time.Parse("20060102", d)
	}
	switch v := f[fNumbers].(type) {
	case string:
		it.Aktenzeichen = []string{v}
	case []any:
		for _, n := range v {
			it.Aktenzeichen = append(it.Aktenzeichen, str(n))
		}
	}
	if it.ID == "" {
		_, it.ID, _ = strings.Cut(h.ID, "\x1f")
	}
	if mk != nil {
		mk.show(&it, it.Subject, str(f[fText]), q.Highlight)
	}
	return it
}
