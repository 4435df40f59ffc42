package find

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/indexing"
	"evb/internal/postgres"
	"evb/search"
)

// Searched is the fact in the access log: somebody who may read everything has
// searched. The words stand in its details.
const Searched event.Kind = "search.performed"

// Follower tells how far the index is; indexing.Follower is one.
type Follower interface {
	WaitFor(ctx context.Context, tenant access.Tenant, seq int64, timeout time.Duration) bool
	IndexedUntil(tenant access.Tenant) (until time.Time, seq int64)
}

// Options of New. Zero fields mean their defaults.
type Options struct {
	// Now is the clock of business time, default time.Now.
	Now func() time.Time
	// Registerer takes the metrics, default none.
	Registerer prometheus.Registerer
	// Wait is how long a search waits for what the same user wrote last,
	// default 1 s.
	Wait time.Duration
}

// Service answers searches. Safe for concurrent use.
type Service struct {
	db       *postgres.DB
	log      *event.Log
	engine   search.Engine
	follower Follower
	o        Options
	seconds  *prometheus.HistogramVec
	dropped  prometheus.Counter
}

// New makes the service.
func New(db *postgres.DB, log *event.Log, engine search.Engine, follower Follower, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wait == 0 {
		o.Wait = time.Second
	}
	s := &Service{db: db, log: log, engine: engine, follower: follower, o: o,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "evb_find_duration_seconds", Help: "Duration of searches and suggestions of people, the wait for the index and the database included.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"kind"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evb_find_unconfirmed_total", Help: "Hits of the index that the database did not confirm and that were not shown.",
		}),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.seconds, s.dropped)
	}
	return s
}

// Params are what a person asks for; zero values ask for nothing special.
// Values of one list are alternatives.
type Params struct {
	Q            string
	DocumentType []string
	Unit         []string // codes, e.g. FB61
	Year         []int
	Aktenzeichen []string // in any spelling
	State        []string
	AkteID       []string
	VorgangID    []string
	Sort         string // relevance (default), date, date_asc
	Limit        int    // 1 to 200, 0: 20
	Cursor       string
	// Exact turns off the correction of words without a hit.
	Exact bool
}

// Page is the answer, in the JSON of the contract.
type Page struct {
	Total  int              `json:"total"`
	Items  []Item           `json:"items"`
	Facets map[string][]Bin `json:"facets"`
	// NextCursor is nil on the last page.
	NextCursor *string `json:"next_cursor"`
	// IndexedUntil is the moment up to which the index holds everything.
	IndexedUntil time.Time `json:"indexed_until"`
	// Behind: what the asker wrote last is not in the index yet.
	Behind bool `json:"behind"`
	// Corrections are words that had no hit and what was looked for instead;
	// Dropped those that were left out; Relaxed: no document holds all words.
	Corrections []Correction `json:"corrections"`
	Dropped     []string     `json:"dropped"`
	Relaxed     bool         `json:"relaxed"`
}

// Item is one hit.
type Item struct {
	DokumentID   uuid.UUID  `json:"dokument_id"`
	Subject      string     `json:"subject"`
	Aktenzeichen string     `json:"aktenzeichen"`
	Highlights   []string   `json:"highlights"`   // HTML, matches within <mark>, else escaped
	SubjectHTML  string     `json:"subject_html"` // as Highlights
	Marked       []string   `json:"marked"`       // words to mark on a page image
	DocumentType string     `json:"document_type"`
	Unit         string     `json:"unit"`
	Sender       string     `json:"sender"`
	State        string     `json:"state"`
	ReceivedOn   *string    `json:"received_on"` // 2006-01-02
	VorgangID    *uuid.UUID `json:"vorgang_id"`
	AkteID       *uuid.UUID `json:"akte_id"`
}

// Bin is one value of a facet with the number of hits that have it.
type Bin struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// Correction is a word without a hit and the words found in its place.
type Correction struct {
	From string   `json:"from"`
	To   []string `json:"to"`
}

var facets = []search.FacetRequest{
	{Facet: search.FacetDocumentType}, {Facet: search.FacetUnit}, {Facet: search.FacetYear}, {Facet: search.FacetState},
}

// Search answers a question with what the actor may see. Faults: those of
// catalogue/search.json.
func (s *Service) Search(ctx context.Context, a access.Actor, p Params) (Page, error) {
	defer s.observe("search", time.Now())
	q, err := query(p)
	if err != nil {
		return Page{}, queryFault(err)
	}
	who, err := s.ask(ctx, a)
	if err != nil {
		return Page{}, err
	}
	behind := !s.caughtUp(ctx, a.Tenant, who)
	q.Principal = who.principal
	q.Facets = facets
	page, seen, err := s.confirmed(ctx, a, q)
	if err != nil {
		return Page{}, err
	}
	if missing := len(page.Items) - len(seen); missing > 0 {
		// Somebody changed rights or files a moment ago: let the index follow
		// and ask again, so that totals and facets agree with the page.
		if head, err := s.head(ctx, a.Tenant); err == nil && s.follower.WaitFor(ctx, a.Tenant, head, s.o.Wait) {
			if page, seen, err = s.confirmed(ctx, a, q); err != nil {
				return Page{}, err
			}
		}
	}
	out := s.page(page, seen)
	out.Behind = behind
	out.IndexedUntil = s.indexedUntil(a.Tenant, who, behind)
	if who.principal.ReadAll {
		if err := s.account(ctx, a, p, out.Total); err != nil {
			return Page{}, err
		}
	}
	return out, nil
}

// Suggest completes the last word of a text to words of documents that the actor
// may see, at most n.
func (s *Service) Suggest(ctx context.Context, a access.Actor, text string, n int) ([]string, error) {
	defer s.observe("suggest", time.Now())
	who, err := s.ask(ctx, a)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		n = 8
	}
	list, err := s.engine.Suggest(ctx, who.principal, text, n)
	if err != nil {
		return nil, queryFault(err)
	}
	if list == nil {
		list = []string{}
	}
	return list, nil
}

func (s *Service) observe(kind string, start time.Time) {
	s.seconds.WithLabelValues(kind).Observe(time.Since(start).Seconds())
}

func query(p Params) (search.Query, error) {
	where, err := search.Parse(p.Q)
	if err != nil {
		return search.Query{}, err
	}
	return search.Query{
		Where: where,
		Filters: search.Filters{
			DocumentType: p.DocumentType, Unit: p.Unit, Year: p.Year, Aktenzeichen: p.Aktenzeichen,
			State: p.State, AkteID: p.AkteID, VorgangID: p.VorgangID,
		},
		Sort: search.Sort(p.Sort), Limit: p.Limit, Cursor: p.Cursor, Exact: p.Exact,
	}, nil
}

// queryFault turns what the engine says into what people read.
func queryFault(err error) error {
	var qe *search.QueryError
	switch {
	case errors.As(err, &qe):
		code := qe.Code
		switch code {
		case search.CodeBadCursor:
			code = "search-cursor-invalid"
		case search.CodeCursorExpired:
			code = "search-cursor-expired"
		}
		kv := make([]any, 0, 2*len(qe.Params))
		for k, v := range qe.Params {
			kv = append(kv, k, v)
		}
		return fault.Wrap(err, code, kv...)
	case errors.Is(err, search.ErrRebuildNeeded):
		return fault.Wrap(err, "search-rebuilding")
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, "search-timeout")
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	return fault.Wrap(err, "search-unavailable")
}

// confirmed asks the index, and the database about each hit of the page.
func (s *Service) confirmed(ctx context.Context, a access.Actor, q search.Query) (search.Page, map[string]hit, error) {
	page, err := s.engine.Search(ctx, q)
	if err != nil {
		return search.Page{}, nil, queryFault(err)
	}
	ids := make([]uuid.UUID, 0, len(page.Items))
	for _, it := range page.Items {
		id, err := uuid.Parse(it.ID)
		if err != nil {
			return search.Page{}, nil, fmt.Errorf("id %q in the index: %w", it.ID, err)
		}
		ids = append(ids, id)
	}
	seen := map[string]hit{}
	if len(ids) == 0 {
		return page, seen, nil
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlSeen, ids, a.User, s.o.Now())
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[hit])
		for _, h := range list {
			seen[h.ID.String()] = h
		}
		return err
	})
	if err != nil {
		return search.Page{}, nil, fmt.Errorf("confirm hits: %w", err)
	}
	return page, seen, nil
}

// hit is what Postgres says about a Dokument that the actor sees.
type hit struct {
	ID           uuid.UUID
	Subject      string
	Aktenzeichen string
	VorgangID    *uuid.UUID
	AkteID       *uuid.UUID
	State        string
}

var sqlSeen = `
    SELECT o.id, m.subject, coalesce(k.aktenzeichen, m.data->>'aktenzeichen', m.data->'recognised'->>'aktenzeichen', ''), v.id, k.id, d.state
    FROM record_object o
    JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id
    JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    LEFT JOIN vorgang v ON v.tenant = o.tenant AND v.id = o.parent_id
    LEFT JOIN akte k ON k.tenant = o.tenant AND k.id = CASE WHEN v.akte_id IS NOT NULL THEN v.akte_id ELSE o.parent_id END
    WHERE o.tenant = evb_tenant() AND o.id = ANY ($1::uuid[]) AND ` + access.Sees("o", 2, 3)

// page builds the answer from what the index found and Postgres confirmed. What
// was not confirmed is taken out of the counts, too.
func (s *Service) page(p search.Page, seen map[string]hit) Page {
	out := Page{Total: p.Total, Items: []Item{}, Facets: map[string][]Bin{}, Relaxed: p.Relaxed, Corrections: []Correction{}, Dropped: p.Dropped}
	if out.Dropped == nil {
		out.Dropped = []string{}
	}
	if p.Next != "" {
		out.NextCursor = &p.Next
	}
	for _, c := range p.Corrections {
		out.Corrections = append(out.Corrections, Correction{From: c.From, To: c.To})
	}
	less := map[search.Facet]map[string]int{}
	for _, it := range p.Items {
		h, ok := seen[it.ID]
		if !ok {
			s.dropped.Inc()
			out.Total--
			for f, v := range map[search.Facet]string{
				search.FacetDocumentType: it.DocumentType, search.FacetUnit: it.Unit,
				search.FacetYear: fmt.Sprint(it.Year), search.FacetState: it.State,
			} {
				if less[f] == nil {
					less[f] = map[string]int{}
				}
				less[f][v]++
			}
			continue
		}
		item := Item{
			DokumentID: h.ID, Subject: h.Subject, Aktenzeichen: h.Aktenzeichen, SubjectHTML: it.SubjectHTML,
			Highlights: it.Fragments, Marked: it.Marked, DocumentType: it.DocumentType, Unit: it.Unit, Sender: it.Sender,
			State: h.State, VorgangID: h.VorgangID, AkteID: h.AkteID,
		}
		if item.Highlights == nil {
			item.Highlights = []string{}
		}
		if item.Marked == nil {
			item.Marked = []string{}
		}
		if !it.ReceivedOn.IsZero() {
			day := it.ReceivedOn.Format(time.DateOnly)
			item.ReceivedOn = &day
		}
		out.Items = append(out.Items, item)
	}
	for _, f := range facets {
		bins := []Bin{}
		for _, v := range p.Facets[f.Facet] {
			if n := v.Count - less[f.Facet][v.Value]; n > 0 {
				bins = append(bins, Bin{Value: v.Value, Count: n})
			}
		}
		out.Facets[string(f.Facet)] = bins
	}
	return out
}

// account writes the search of somebody who reads everything to the access log.
func (s *Service) account(ctx context.Context, a access.Actor, p Params, total int) error {
	details := map[string]any{"q": p.Q, "total": total}
	for k, v := range map[string][]string{"document_type": p.DocumentType, "unit": p.Unit, "aktenzeichen": p.Aktenzeichen} {
		if len(v) > 0 {
			details[k] = v
		}
	}
	if len(p.Year) > 0 {
		details["year"] = p.Year
	}
	if p.Cursor != "" {
		details["further_page"] = true
	}
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		return s.log.AppendAccess(ctx, tx, a, s.o.Now(), event.Fact{Kind: Searched, SubjectKind: "search", Details: details})
	})
}

var _ Follower = (*indexing.Follower)(nil)
