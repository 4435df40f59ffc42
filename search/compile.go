package search

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/blevesearch/bleve/v2/mapping"
	bsearch "github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/searcher"
	index "github.com/blevesearch/bleve_index_api"
)

// Weights of the fields, tuned on the judged queries of the development corpus.
const (
	weightText  = 1.0
	weightHead  = 0.8
	weightParts = 0.35
	weightRef   = 200 // a number or date that is the one asked for outweighs words
	weightAz    = 400 // as the number of the document's own Akte, still more
	weightDate  = 20
)

// compiler makes searchers of a query tree for one index reader.
type compiler struct {
	ctx context.Context
	r   index.IndexReader
	an  *germanAnalysis
	// replace maps the stem of a word without a hit to the stems searched instead.
	replace map[string][]string
	// drop holds stems of words that are left out.
	drop map[string]bool
}

// compiledQuery is a query of the library that runs our searchers: what Where
// wants, among what filters and the principal's rights allow.
type compiledQuery struct {
	an      *germanAnalysis
	where   Node
	filters Filters
	who     Principal
	replace map[string][]string
	drop    map[string]bool
	relax   relaxation
}

// Searcher implements the library's query interface.
func (q *compiledQuery) Searcher(ctx context.Context, r index.IndexReader, _ mapping.IndexMapping, opt bsearch.SearcherOptions) (_ bsearch.Searcher, err error) {
	c := &compiler{ctx: ctx, r: r, an: q.an, replace: q.replace, drop: q.drop}
	if q.who.Nothing() {
		return searcher.NewMatchNoneSearcher(r)
	}
	must, not := split(q.where)
	var kids []bsearch.Searcher
	closeAll := func() {
		for _, k := range kids {
			_ = k.Close()
		}
	}
	stop := 0
	for _, n := range must {
		s, err := c.node(n)
		if err != nil {
			closeAll()
			return nil, err
		}
		if s == nil {
			stop++
			continue
		}
		kids = append(kids, s)
	}
	if len(kids) == 0 && stop > 0 {
		// Only stop words: nobody means every document by "und".
		return searcher.NewMatchNoneSearcher(r)
	}
	if q.relax != needAll && len(kids) > 1 {
		need := (len(kids) + 1) / 2
		if q.relax == needOne {
			need = 1
		}
		kids = []bsearch.Searcher{newAny(kids, need, false, true)}
	}
	filters, err := c.filters(q.filters)
	kids = append(kids, filters...)
	if err != nil {
		closeAll()
		return nil, err
	}
	main, err := c.visible(kids, q.who)
	if err != nil {
		closeAll()
		return nil, err
	}
	if main, err = c.days(main, q.filters); err != nil {
		return nil, err
	}
	var nots []bsearch.Searcher
	for _, n := range not {
		s, err := c.node(n)
		if err != nil {
			_ = main.Close()
			for _, k := range nots {
				_ = k.Close()
			}
			return nil, err
		}
		if s != nil {
			nots = append(nots, s)
		}
	}
	if len(nots) == 0 {
		return main, nil
	}
	return searcher.NewBooleanSearcher(ctx, r, main, nil, newAny(nots, 1, true, false), opt)
}

// split takes a tree apart into what must and what must not match.
func split(n Node) (must, not []Node) {
	switch n := n.(type) {
	case nil:
	case And:
		for _, k := range n {
			m, x := split(k)
			must, not = append(must, m...), append(not, x...)
		}
	case Not:
		// "not (a and not b)" does not come from Parse; it is refused by
		// meaning: Not of a tree excludes documents that match all its musts.
		not = append(not, n.Of)
	default:
		must = append(must, n)
	}
	return must, not
}

// visible joins kids (all required) with the rights of who. The tenant is
// always a condition of its own. Few scopes are postings that lead the search;
// many are checked hit by hit, unless there are so many hits that joining the
// postings is cheaper.
func (c *compiler) visible(kids []bsearch.Searcher, who Principal) (bsearch.Searcher, error) {
	tenant, err := manyTerms(c.ctx, c.r, fTenant, []string{who.Tenant})
	if err != nil {
		return nil, err
	}
	least := uint64(math.MaxUint64)
	for _, k := range kids {
		least = min(least, k.Count())
	}
	kids = append(kids, tenant)
	least = min(least, tenant.Count())
	if who.ReadAll {
		return c.all(kids)
	}
	if len(who.Scopes) <= fewScopes || least > uint64(len(who.Scopes))*hitsPerScope {
		scopes, err := manyTerms(c.ctx, c.r, fScope, who.Scopes)
		if err != nil {
			return nil, err
		}
		return c.all(append(kids, scopes))
	}
	s, err := c.all(kids)
	if err != nil {
		return nil, err
	}
	mine := make(map[string]struct{}, len(who.Scopes))
	for _, t := range who.Scopes {
		mine[t] = struct{}{}
	}
	return docValueFilter(c.ctx, c.r, s, fScope, func(v []byte) bool {
		_, ok := mine[string(v)]
		return ok
	})
}

const (
	fewScopes    = 32
	hitsPerScope = 50
)

func (c *compiler) all(kids []bsearch.Searcher) (bsearch.Searcher, error) {
	if len(kids) == 1 {
		return kids[0], nil
	}
	return searcher.NewConjunctionSearcher(c.ctx, c.r, kids, bsearch.SearcherOptions{})
}

func (c *compiler) filters(f Filters) ([]bsearch.Searcher, error) {
	years := make([]string, len(f.Year))
	for i, y := range f.Year {
		years[i] = strconv.Itoa(y)
	}
	numbers := make([]string, 0, len(f.Aktenzeichen))
	for _, n := range f.Aktenzeichen {
		numbers = append(numbers, CanonicalReference(n))
	}
	var out []bsearch.Searcher
	for _, x := range []struct {
		field  string
		values []string
	}{
		{fType, f.DocumentType}, {fUnit, f.Unit}, {fYear, years}, {fAz, numbers},
		{fAkte, f.AkteID}, {fVorgang, f.VorgangID}, {fState, f.State}, {fBy, f.SubmittedBy},
	} {
		if len(x.values) == 0 {
			continue
		}
		s, err := manyTerms(c.ctx, c.r, x.field, x.values)
		if err != nil {
			return out, err
		}
		out = append(out, s)
	}
	return out, nil
}

// days narrows s to documents received in the days of the filters.
func (c *compiler) days(s bsearch.Searcher, f Filters) (bsearch.Searcher, error) {
	if f.ReceivedFrom.IsZero() && f.ReceivedTo.IsZero() {
		return s, nil
	}
	in := dayRangeFunc(ReceivedIn{From: f.ReceivedFrom, To: f.ReceivedTo})
	filtered, err := docValueFilter(c.ctx, c.r, s, fDay, in)
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return filtered, nil
}

func dayRangeFunc(n ReceivedIn) func([]byte) bool {
	from, to := "00000001", "99999999"
	if !n.From.IsZero() {
		from = dayTerm(n.From)
	}
	if !n.To.IsZero() {
		to = dayTerm(n.To)
	}
	return func(v []byte) bool { return string(v) >= from && string(v) <= to }
}

// node makes the searcher of a positive node; nil for stop words.
func (c *compiler) node(n Node) (bsearch.Searcher, error) {
	switch n := n.(type) {
	case And:
		must, not := split(n)
		var kids []bsearch.Searcher
		for _, k := range must {
			s, err := c.node(k)
			if err != nil {
				return nil, err
			}
			if s != nil {
				kids = append(kids, s)
			}
		}
		if len(kids) == 0 {
			return nil, nil
		}
		s, err := c.all(kids)
		if err != nil || len(not) == 0 {
			return s, err
		}
		var nots []bsearch.Searcher
		for _, k := range not {
			x, err := c.node(k)
			if err != nil {
				return nil, err
			}
			if x != nil {
				nots = append(nots, x)
			}
		}
		if len(nots) == 0 {
			return s, nil
		}
		return searcher.NewBooleanSearcher(c.ctx, c.r, s, nil, newAny(nots, 1, true, false), bsearch.SearcherOptions{})
	case Not:
		return nil, errNestedNot
	case Word:
		return c.word(n.Text)
	case Prefix:
		return c.prefix(n.Text)
	case Phrase:
		return c.phrase(n.Text)
	case Reference:
		return c.reference(n)
	case Date:
		return c.date(n)
	case FieldIs:
		return c.field(n)
	case ReceivedIn:
		all, err := searcher.NewMatchAllSearcher(c.ctx, c.r, 1, bsearch.SearcherOptions{})
		if err != nil {
			return nil, err
		}
		return docValueFilter(c.ctx, c.r, &flatSearcher{kid: all}, fDay, dayRangeFunc(n))
	default:
		return nil, errUnknownNode
	}
}

var (
	errNestedNot   = errors.New("search: a Not directly inside a Not")
	errUnknownNode = errors.New("search: unknown kind of node")
)

// sum joins alternatives of one thing; their scores add up.
func sum(kids ...bsearch.Searcher) bsearch.Searcher { return newAny(kids, 1, false, false) }

// word finds a word by its stem; one with separators in it as a phrase.
func (c *compiler) word(text string) (bsearch.Searcher, error) {
	ts := c.an.terms(c.an.prepare(text))
	if len(ts) == 0 {
		return nil, nil
	}
	if len(ts) > 1 {
		return c.phrase(text)
	}
	stem := string(ts[0].Term)
	if c.drop[stem] {
		return nil, nil
	}
	if to, ok := c.replace[stem]; ok {
		var kids []bsearch.Searcher
		for _, t := range to {
			s, err := c.term(t)
			if err != nil {
				return nil, err
			}
			kids = append(kids, s)
		}
		return newAny(kids, 1, true, false), nil
	}
	s, err := c.term(stem)
	if err != nil || !isYear(stem) {
		return s, err
	}
	year, err := newTermSearcher(c.ctx, c.r, fDate, stem, 1, true)
	if err != nil {
		return nil, err
	}
	return sum(s, year), nil
}

// term finds a stem in text, head and the parts of compounds.
func (c *compiler) term(stem string) (bsearch.Searcher, error) {
	idf := c.an.dict.idf(stem)
	var kids []bsearch.Searcher
	for _, f := range []struct {
		name   string
		weight float64
	}{{fText, weightText}, {fHead, weightHead}, {fParts, weightParts}} {
		s, err := newTermSearcher(c.ctx, c.r, f.name, stem, f.weight*idf*idf, false)
		if err != nil {
			return nil, err
		}
		kids = append(kids, s)
	}
	return sum(kids...), nil
}

// phrase finds words side by side in the text or the head, ranked like the
// words alone.
func (c *compiler) phrase(text string) (bsearch.Searcher, error) {
	kids := make([]bsearch.Searcher, 0, 2)
	for _, field := range []string{fText, fHead} {
		s, err := c.phraseIn(text, field)
		if err != nil || s == nil {
			return nil, err
		}
		kids = append(kids, s)
	}
	return sum(kids...), nil
}

func (c *compiler) phraseIn(text, field string) (bsearch.Searcher, error) {
	ts := c.an.terms(c.an.prepare(text))
	if len(ts) == 0 {
		return nil, nil
	}
	weight := weightText
	if field != fText {
		weight = weightHead
	}
	if len(ts) == 1 {
		idf := c.an.dict.idf(string(ts[0].Term))
		return newTermSearcher(c.ctx, c.r, field, string(ts[0].Term), weight*idf*idf, false)
	}
	first, last := ts[0].Position, ts[len(ts)-1].Position
	terms := make([][]string, last-first+1)
	var kids []bsearch.Searcher
	for _, t := range ts {
		terms[t.Position-first] = append(terms[t.Position-first], string(t.Term))
		idf := c.an.dict.idf(string(t.Term))
		s, err := newTermSearcher(c.ctx, c.r, field, string(t.Term), weight*idf*idf, false)
		if err != nil {
			return nil, err
		}
		kids = append(kids, s)
	}
	p, err := searcher.NewMultiPhraseSearcher(c.ctx, c.r, terms, 0, false, field, 1, bsearch.SearcherOptions{})
	if err != nil {
		return nil, err
	}
	return c.all(append(kids, &flatSearcher{kid: p}))
}

// prefix finds the words that begin with text. The index holds folded stems, so
// the prefix is folded and matched against them.
func (c *compiler) prefix(text string) (bsearch.Searcher, error) {
	p := c.an.fold(strings.ToLower(c.an.prepare(text)))
	terms, seen := []string{}, map[string]bool{}
	// The stem of a whole word may be shorter than the prefix.
	if st := c.an.stem(text); st != "" && strings.HasPrefix(p, st) {
		terms, seen[st] = append(terms, st), true
	}
	for _, field := range []string{fText, fHead} {
		d, err := c.r.FieldDictPrefix(field, []byte(p))
		if err != nil {
			return nil, err
		}
		for e, err := d.Next(); e != nil || err != nil; e, err = d.Next() {
			if err != nil {
				return nil, errors.Join(err, d.Close())
			}
			if !seen[e.Term] {
				seen[e.Term] = true
				terms = append(terms, e.Term)
			}
			if len(terms) > MaxExpansion {
				_ = d.Close()
				return nil, queryErr(CodePrefixTooBroad, "word", text+"*", "limit", strconv.Itoa(MaxExpansion))
			}
		}
		if err := d.Close(); err != nil {
			return nil, err
		}
	}
	if len(terms) == 0 {
		return searcher.NewMatchNoneSearcher(c.r)
	}
	var kids []bsearch.Searcher
	for _, field := range []string{fText, fHead} {
		s, err := searcher.NewMultiTermSearcher(c.ctx, c.r, terms, field, 1, unscored, false)
		if err != nil {
			return nil, err
		}
		kids = append(kids, &flatSearcher{kid: s, score: 1})
	}
	return sum(kids...), nil
}

// reference finds a number as number of the Akte, as number in the text, or as words.
func (c *compiler) reference(n Reference) (bsearch.Searcher, error) {
	var kids []bsearch.Searcher
	exact := func(canon string) error {
		for _, f := range []struct {
			name   string
			weight float64
		}{{fAz, weightAz}, {fRef, weightRef}} {
			s, err := newTermSearcher(c.ctx, c.r, f.name, canon, f.weight, true)
			if err != nil {
				return err
			}
			kids = append(kids, s)
		}
		return nil
	}
	canon := CanonicalReference(n.Text)
	if canon != "" {
		if err := exact(canon); err != nil {
			return nil, err
		}
	}
	var words bsearch.Searcher
	var err error
	if n.Loose {
		words, err = c.loose(n.Text)
	} else {
		words, err = c.phrase(n.Text)
	}
	if err != nil {
		return nil, err
	}
	if words != nil {
		kids = append(kids, words)
	}
	if len(kids) == 0 {
		return nil, nil
	}
	return sum(kids...), nil
}

// loose finds the words of a number that was typed with blanks anywhere in a
// document. Leading words may not belong to the number ("in 61 5 BA 338202 24").
func (c *compiler) loose(text string) (bsearch.Searcher, error) {
	words, err := c.node(And(plainNodes(text, false)))
	if err != nil || words == nil {
		return words, err
	}
	fields := strings.Fields(text)
	i := 0
	for i < len(fields) && !strings.ContainsAny(fields[i], "0123456789") {
		i++
	}
	if i == 0 || i == len(fields) {
		return words, nil
	}
	lead := make(And, 0, i+1)
	for _, w := range fields[:i] {
		lead = append(lead, Word{Text: w})
	}
	rest, err := c.node(append(lead, Reference{Text: strings.Join(fields[i:], " "), Loose: true}))
	if err != nil || rest == nil {
		return words, err
	}
	return sum(words, rest), nil
}

func (c *compiler) date(n Date) (bsearch.Searcher, error) {
	exact, err := newTermSearcher(c.ctx, c.r, fDate, n.term(), weightDate, true)
	if err != nil {
		return nil, err
	}
	if n.Text == "" {
		return exact, nil
	}
	words, err := c.phrase(n.Text)
	if err != nil {
		return nil, err
	}
	if words == nil {
		return exact, nil
	}
	return sum(exact, words), nil
}

func (c *compiler) field(n FieldIs) (bsearch.Searcher, error) {
	var kids []bsearch.Searcher
	for _, v := range n.Values {
		v = c.an.prepare(v)
		var s bsearch.Searcher
		var err error
		keyword := func(field string, terms ...string) {
			s, err = manyTerms(c.ctx, c.r, field, terms)
		}
		switch n.Field {
		case "subject":
			s, err = c.phraseIn(v, fSubject)
		case "sender":
			s, err = c.phraseIn(v, fSender)
		case "aktenzeichen":
			keyword(fAz, CanonicalReference(v))
		case "document_type":
			keyword(fType, v, strings.ToLower(v))
		case "unit":
			keyword(fUnit, v, strings.ToUpper(v))
		case "state":
			keyword(fState, v, strings.ToLower(v))
		case "year":
			keyword(fYear, v)
		case "akte_id":
			keyword(fAkte, v)
		case "vorgang_id":
			keyword(fVorgang, v)
		case "submitted_by":
			keyword(fBy, v)
		default:
			return nil, queryErr(CodeUnknownField, "field", n.Field, "fields", strings.Join(FieldNames(), ", "))
		}
		if err != nil {
			return nil, err
		}
		if s != nil {
			kids = append(kids, s)
		}
	}
	if len(kids) == 0 {
		return searcher.NewMatchNoneSearcher(c.r)
	}
	return newAny(kids, 1, true, false), nil
}
