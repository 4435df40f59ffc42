package lists_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/find"
	"evb/internal/lists"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
	"evb/search"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// list is one thing that people look at.
type list struct {
	name string
	// run reads it as the actor and gives the ids of its lines.
	run func(ctx context.Context, a access.Actor) ([]uuid.UUID, error)
	// raw reads the same lines by their keys; empty: there is nothing alike.
	raw string
	// whole are tables that it reads because it counts them.
	whole []string
}

func ids[T any](items []T, id func(T) uuid.UUID) []uuid.UUID {
	out := make([]uuid.UUID, len(items))
	for i, x := range items {
		out[i] = id(x)
	}
	return out
}

// lists are what the benchmark measures and the test below proves.
func (c *city) lists() []list {
	now := func() time.Time { return cityNow }
	read := lists.New(c.db, lists.Options{Now: now})
	desks := postkorb.New(c.db, event.NewLog(nil, nil), postkorb.Options{Now: now})
	akten := func(f lists.AktenFilter) func(context.Context, access.Actor) ([]uuid.UUID, error) {
		return func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			p, err := read.Akten(ctx, a, f, "", 50)
			return ids(p.Items, func(k akte.Akte) uuid.UUID { return k.ID }), err
		}
	}
	dokumente := func(f lists.DokumenteFilter, count bool) func(context.Context, access.Actor) ([]uuid.UUID, error) {
		return func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			p, err := read.Dokumente(ctx, a, f, "", 50, count)
			return ids(p.Items, func(d akte.Dokument) uuid.UUID { return d.ID }), err
		}
	}
	vorgaenge := func(count bool) func(context.Context, access.Actor) ([]uuid.UUID, error) {
		return func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			p, err := read.AllVorgaenge(ctx, a, "", 50, count)
			return ids(p.Items, func(v akte.Vorgang) uuid.UUID { return v.ID }), err
		}
	}
	rawAkte := akte.SQLAkte + ` WHERE o.tenant = evb_tenant() AND o.id = ANY ($1) ORDER BY k.aktenzeichen`
	rawVorgang := akte.SQLVorgang + ` WHERE o.tenant = evb_tenant() AND o.id = ANY ($1) ORDER BY v.number`
	rawDokument := akte.SQLDokument + ` WHERE o.tenant = evb_tenant() AND o.id = ANY ($1) ORDER BY o.created_at DESC`
	rawItem := `SELECT i.id, o.kind, m.subject, d.sender_name, d.received_on, i.why, i.state, i.due_at FROM postkorb_item i
        JOIN record_object o ON o.tenant = i.tenant AND o.id = i.record_id JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
        JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id WHERE i.tenant = evb_tenant() AND i.id = ANY ($1) ORDER BY i.due_at`
	finder := find.New(c.db, event.NewLog(nil, nil), answered{hits: c.hits}, current{}, find.Options{Now: now})
	return []list{
		{"postkoerbe", func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			p, err := desks.Postkoerbe(ctx, a)
			return ids(p, func(p postkorb.Postkorb) uuid.UUID { return p.ID }), err
		}, `SELECT p.* FROM postkorb p WHERE p.tenant = evb_tenant() AND p.id = ANY ($1)`, nil},
		{"items", func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			p, err := desks.Items(ctx, a, c.Desk, postkorb.Filter{}, "", 50)
			return ids(p.Items, func(i postkorb.Item) uuid.UUID { return i.ID }), err
		}, rawItem, nil},
		{"akten", akten(lists.AktenFilter{}), rawAkte, []string{"akte"}},
		{"akten of a unit", akten(lists.AktenFilter{Unit: c.unit(0)}), rawAkte, []string{"akte"}},
		{"akten by number", akten(lists.AktenFilter{Aktenzeichen: "000-BA-0"}), rawAkte, []string{"akte"}},
		{"akten by subject", akten(lists.AktenFilter{Subject: "straße 1000"}), rawAkte, []string{"akte"}},
		{"aktenplan", func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			_, err := read.Aktenplan(ctx, a)
			return nil, err
		}, "", []string{"akte"}},
		{"vorgaenge", func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			p, err := read.Vorgaenge(ctx, a, c.Akte, "", 50)
			return ids(p.Items, func(v akte.Vorgang) uuid.UUID { return v.ID }), err
		}, rawVorgang, nil},
		{"vorgaenge of all", vorgaenge(false), rawVorgang, nil},
		{"vorgaenge of all counted", vorgaenge(true), rawVorgang, []string{"record_object", "vorgang"}},
		{"dokumente", dokumente(lists.DokumenteFilter{}, false), rawDokument, nil},
		{"dokumente counted", dokumente(lists.DokumenteFilter{}, true), rawDokument, []string{"record_object"}},
		{"dokumente of a vorgang", dokumente(lists.DokumenteFilter{Vorgang: c.Vorgang}, true), rawDokument, nil},
		{"dokumente of an akte", dokumente(lists.DokumenteFilter{Akte: c.Akte}, true), rawDokument, nil},
		{"dokumente of a batch", dokumente(lists.DokumenteFilter{Batch: c.Batch}, true), rawDokument, nil},
		{"dokumente unfiled", dokumente(lists.DokumenteFilter{Unfiled: true}, true), rawDokument, nil},
		{"dokumente by state", dokumente(lists.DokumenteFilter{State: akte.Captured}, false), rawDokument, nil},
		{"history", func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			h, err := read.History(ctx, a, c.Dokument, "", 0)
			return ids(h.Items, func(l lists.HistoryLine) uuid.UUID { return l.ID }), err
		}, "", nil},
		{"search", func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			p, err := finder.Search(ctx, a, find.Params{Q: "genehmigung"})
			return ids(p.Items, func(i find.Item) uuid.UUID { return i.DokumentID }), err
		}, rawDokument, nil},
		{"tokens", func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			return nil, c.db.Read(ctx, tenant, func(q postgres.Querier) error {
				var tokens []string
				var all bool
				return q.QueryRow(ctx, access.SQLActorTokens, a.User, cityNow).Scan(&tokens, &all)
			})
		}, "", nil},
	}
}

// answered is an index that has answered already: what is measured is what
// Postgres does for a search. The index itself is measured in package search.
type answered struct {
	search.Engine
	hits []uuid.UUID
}

func (e answered) Search(context.Context, search.Query) (p search.Page, err error) {
	for _, id := range e.hits {
		p.Items = append(p.Items, search.Item{ID: id.String()})
	}
	p.Total = len(p.Items)
	return p, nil
}

// current is the place of an index that holds everything.
type current struct{}

func (current) WaitFor(context.Context, access.Tenant, int64, time.Duration) bool { return true }
func (current) IndexedUntil(access.Tenant) (time.Time, int64)                     { return cityNow, 1 }

func (c *city) unit(u int) (id uuid.UUID) {
	_ = c.super.QueryRow(context.Background(), `SELECT bench_id(1, $1)`, u).Scan(&id) // fails the first time or never
	return id
}

func (c *city) actors() map[string]access.Actor {
	return map[string]access.Actor{"many": c.Many, "one": c.One, "none": c.None, "reader": c.Reader}
}

// BenchmarkLists measures what people look at in a city of EVB_BENCH_ROWS
// Dokumente (default 1,000,000), as a clerk with 50 rights entries (many), one
// with a single membership (one), somebody without any right (none) and one who
// reads everything (reader), each beside a look-up of the same lines by their
// keys. A list whose plan reads a big table from end to end fails. -v shows
// the plans. EVB_BENCH_DIR keeps the filled database between runs.
//
//	ms/list  median of a call
//	ratio    of that to the look-up of the same lines by key
//	lines    what the list has
func BenchmarkLists(b *testing.B) {
	c := newCity(b, whole(benchRows(b, 1_000_000)))
	for _, l := range c.lists() {
		for _, who := range []string{"many", "one", "none", "reader"} {
			b.Run(fmt.Sprintf("%s/as=%s", l.name, who), func(b *testing.B) { c.measure(b, l, c.actors()[who]) })
		}
	}
}

func benchRows(b testing.TB, otherwise int) int {
	b.Helper()
	s := os.Getenv("EVB_BENCH_ROWS")
	if s == "" {
		return otherwise
	}
	rows, err := strconv.Atoi(s)
	must(b, err)
	return rows
}

// measure runs a list and its look-up by turns, so that what else the machine
// does hits both.
func (c *city) measure(b *testing.B, l list, a access.Actor) {
	ctx := b.Context()
	once := func(fn func() error) time.Duration {
		start := time.Now()
		must(b, fn())
		return time.Since(start)
	}
	var lines []uuid.UUID
	run := func() (err error) { lines, err = l.run(ctx, a); return missing(err) }
	must(b, run())
	raw := func() error {
		return c.db.Read(ctx, tenant, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, l.raw, lines)
			if err != nil {
				return err
			}
			rows.Close()
			return rows.Err()
		})
	}
	var ours, keys []time.Duration
	// The first five use plans for their parameters; later ones may use the
	// general plan, which is what a server does most of the time.
	for range max(7, 7*b.N) {
		ours = append(ours, once(run))
		if l.raw != "" {
			keys = append(keys, once(raw))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(ours), "ms/list")
	b.ReportMetric(float64(len(lines)), "lines")
	if l.raw != "" {
		b.ReportMetric(ms(keys), "ms/keys")
		b.ReportMetric(ms(ours)/ms(keys), "ratio")
	}
	b.Logf("%d lines, median %.2f ms, by keys %.2f ms", len(lines), ms(ours), ms(keys)) // stands also beside a failure
	if b.N > 1 {
		return // explained once
	}
	c.plans(b, run, false, l.whole)
}

// plans explains what fn sends and fails where a big table is read whole.
func (c *city) plans(t testing.TB, fn func() error, noSeq bool, whole []string) {
	t.Helper()
	sent, err := c.seen.during(fn)
	must(t, err)
	for _, s := range sent {
		text, seq := c.explain(t, s, noSeq, whole)
		if text != "" {
			t.Logf("%s\n%v\n%s", s.sql, s.args, text)
		}
		if len(seq) > 0 {
			t.Errorf("reads all of %v:\n%s", seq, s.sql)
		}
	}
}

// missing: what an actor does not see is a short list here, no failure.
func missing(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

func ms(d []time.Duration) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return float64(d[len(d)/2].Microseconds()) / 1000
}
