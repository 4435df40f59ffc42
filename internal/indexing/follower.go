package indexing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/search"
)

// Options of New. Zero fields mean their defaults.
type Options struct {
	// Node names this index among those of the installation (index_node),
	// default "local".
	Node string
	// Now is the clock of business time, default time.Now.
	Now func() time.Time
	// Log gets what people of operations should know, default none.
	Log *slog.Logger
	// Registerer takes the metrics, default none.
	Registerer prometheus.Registerer
	// Poll is how often the feed is looked at without a hint, default 200 ms.
	Poll time.Duration
	// Gather is how long facts are collected after a hint, default 50 ms.
	Gather time.Duration
	// GroupDocs is the most documents put at once, default 250.
	GroupDocs int
	// GroupBytes is the most text put at once, default 16 MiB; one longer
	// document goes alone.
	GroupBytes int
	// CacheBytes is how much text is kept, so that a move of an item does not
	// read it again, default 32 MiB.
	CacheBytes int
}

// Follower keeps one index at the state of Postgres. Safe for concurrent use;
// Run runs once.
type Follower struct {
	db      *postgres.DB
	engine  search.Engine
	texts   *texts
	o       Options
	metrics *metrics
	wake    chan struct{}
	// rebuild is asked for by Rebuild and started by Run.
	rebuild chan struct{}

	mu       sync.Mutex
	applied  map[access.Tenant]progress
	changed  chan struct{} // closed when applied moves
	state    string
	rebuildE error
	rebuilds int // asked for and not finished
}

// progress is how far a tenant is.
type progress struct {
	seq int64
	// until: every fact recorded before this moment that had a number then is
	// in the index.
	until time.Time
}

// Phases of an index (State.State).
const (
	Ready      = "ready"
	Filling    = "filling"    // for the first time; answers are incomplete
	Rebuilding = "rebuilding" // a new index is being made beside the running one
	Failed     = "failed"     // the last rebuild failed; the old index answers
)

// State describes the index to the people who run it.
type State struct {
	State        string     `json:"state"`
	Generation   string     `json:"generation"`
	Documents    uint64     `json:"documents"` // of all tenants
	Bytes        int64      `json:"bytes"`
	IndexedUntil *time.Time `json:"indexed_until"` // of the asker's tenant
	Error        string     `json:"error,omitempty"`
}

// New makes the follower of an engine. It starts nothing. The engine may have
// been opened with AllowStale: Run then rebuilds it first.
func New(db *postgres.DB, engine search.Engine, blobs *blob.Service, o Options) *Follower {
	if o.Node == "" {
		o.Node = "local"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("part", "indexing")
	def(&o.Poll, 200*time.Millisecond)
	def(&o.Gather, 50*time.Millisecond)
	def(&o.GroupDocs, 250)
	def(&o.GroupBytes, 16<<20)
	def(&o.CacheBytes, 32<<20)
	o.GroupDocs = min(o.GroupDocs, search.MaxOps)
	f := &Follower{
		db: db, engine: engine, o: o, metrics: newMetrics(o.Registerer),
		wake: make(chan struct{}, 1), rebuild: make(chan struct{}, 1),
		applied: map[access.Tenant]progress{}, changed: make(chan struct{}), state: Ready,
	}
	f.texts = newTexts(blobs, o, f.metrics)
	return f
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Wake says that facts were numbered; it has the shape of
// event.Sequencer.OnNumbered and never blocks. It is a hint only: the feed is
// looked at every Options.Poll anyway.
func (f *Follower) Wake(_ access.Tenant, stream event.Stream, _ int64) {
	if stream != event.Events {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run follows the feed until ctx ends. Trouble with the database, the bucket or
// the index is no end: it is logged, and the same facts are read again after a
// pause. A crash at any moment loses nothing (see the package comment).
func (f *Follower) Run(ctx context.Context) error {
	pause := time.Duration(0)
	for ctx.Err() == nil {
		select {
		case <-f.rebuild:
			f.runRebuild(ctx)
		default:
		}
		more, err := f.Step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, search.ErrClosed):
			return fmt.Errorf("follow the feed: %w", err)
		case errors.Is(err, search.ErrRebuildNeeded):
			f.o.Log.InfoContext(ctx, "search index is of another version and is rebuilt")
			f.requestRebuild()
			f.runRebuild(ctx)
			err = f.rebuildError()
			if err != nil {
				pause = nextPause(pause)
				f.wait(ctx, pause, false)
			}
			continue
		case err != nil:
			f.metrics.errors.Inc()
			pause = nextPause(pause)
			f.o.Log.WarnContext(ctx, "search index does not follow, trying again", "err", err, "pause", pause)
			f.wait(ctx, pause, false)
			continue
		}
		pause = 0
		if !more && f.wait(ctx, f.o.Poll, true) {
			// One fact is seldom alone: a short while later there are more,
			// and a group costs hardly more than a single document.
			f.wait(ctx, f.o.Gather, false)
		}
	}
	return nil
}

func nextPause(p time.Duration) time.Duration {
	return min(max(2*p, 100*time.Millisecond), 10*time.Second)
}

// wait sleeps, and reports whether a hint ended it early.
func (f *Follower) wait(ctx context.Context, d time.Duration, hints bool) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	var wake, rebuild chan struct{}
	if hints {
		wake, rebuild = f.wake, f.rebuild
	}
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-wake:
		return true
	case <-rebuild:
		f.requestRebuild() // put back: Run takes it
	}
	return false
}

// Step takes one group of facts of each tenant into the index and reports
// whether there were any. Run calls it in a loop; tools and tests may call it
// instead of Run, never beside it.
func (f *Follower) Step(ctx context.Context) (more bool, err error) {
	raw, err := f.engine.AppliedCursor(ctx)
	if err != nil {
		return false, err
	}
	at, ok := decode(raw)
	if !ok {
		f.setState(Filling)
		err := f.Replay(ctx, nil, f.engine.Apply)
		if err != nil {
			return false, fmt.Errorf("fill the index: %w", err)
		}
		f.setState(Ready)
		return true, nil
	}
	tenants, err := f.db.Tenants(ctx)
	if err != nil {
		return false, err
	}
	for _, t := range tenants {
		n, next, err := f.follow(ctx, access.System(t.ID, t.Slug), at, f.engine.Apply)
		if err != nil {
			return false, fmt.Errorf("tenant %s: %w", t.Slug, err)
		}
		at = next
		more = more || n == feedLimit
	}
	return more, nil
}

// feedLimit bounds the facts of one group.
const feedLimit = 500

type applyFunc = func(ctx context.Context, ops []search.Op, cursor []byte) error

// follow takes the next facts of one tenant and gives their number and the
// place after them.
func (f *Follower) follow(ctx context.Context, a access.Actor, at place, apply applyFunc) (int, place, error) {
	tenant := a.Tenant
	start := f.o.Now()
	var facts []event.Entry
	var touched touched
	err := f.db.Read(ctx, tenant, func(q postgres.Querier) (err error) {
		if facts, err = event.Feed(ctx, q, event.Events, at[tenant], feedLimit); err != nil || len(facts) == 0 {
			return err
		}
		touched, err = touchedBy(ctx, q, facts)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	if len(facts) == 0 {
		f.progress(ctx, tenant, at[tenant], start)
		return 0, at, nil
	}
	last := facts[len(facts)-1]
	next := at.with(tenant, last.Seq)
	if err := f.put(ctx, a, touched, next.encode(), apply); err != nil {
		return 0, nil, err
	}
	until := last.RecordedAt
	if len(facts) < feedLimit {
		until = start
	}
	f.metrics.facts.Add(float64(len(facts)))
	f.progress(ctx, tenant, last.Seq, until)
	return len(facts), next, nil
}

// put builds the documents, group by group, and applies them; the cursor goes
// with the last group. A crash between groups leaves some of the documents new
// and the place old: they are put again.
func (f *Follower) put(ctx context.Context, a access.Actor, ids touched, cursor []byte, apply applyFunc) error {
	group := make([]search.Op, 0, min(len(ids), f.o.GroupDocs))
	size := 0
	flush := func(cursor []byte) error {
		if len(group) == 0 && cursor == nil {
			return nil
		}
		start := time.Now()
		if err := apply(ctx, group, cursor); err != nil {
			return err
		}
		f.metrics.apply.Observe(time.Since(start).Seconds())
		f.metrics.documents.Add(float64(len(group)))
		clear(group)
		group, size = group[:0], 0
		return nil
	}
	for len(ids) > 0 {
		part := ids[:min(len(ids), f.o.GroupDocs)]
		ids = ids[len(part):]
		var rows []row
		err := f.db.Read(ctx, a.Tenant, func(q postgres.Querier) (err error) {
			rows, err = readRows(ctx, q, part)
			return err
		})
		if err != nil {
			return err
		}
		group = append(group, deletions(a.Tenant, part, rows)...)
		for _, r := range rows {
			if r.Erased {
				continue
			}
			text, err := f.texts.of(ctx, a, r)
			if err != nil {
				return fmt.Errorf("text of %s: %w", r.ID, err)
			}
			if len(group) >= f.o.GroupDocs || size > 0 && size+len(text) > f.o.GroupBytes {
				if err := flush(nil); err != nil {
					return err
				}
			}
			group = append(group, search.PutOp(r.doc(a.Tenant, text)))
			size += len(text)
		}
	}
	return flush(cursor)
}

// progress records how far a tenant is, wakes those who wait for it, and writes
// the row by which others see it, at most once a second.
func (f *Follower) progress(ctx context.Context, tenant access.Tenant, seq int64, until time.Time) {
	f.mu.Lock()
	old, known := f.applied[tenant]
	f.applied[tenant] = progress{seq: seq, until: until}
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	f.metrics.seq.WithLabelValues(TenantKey(tenant)).Set(float64(seq))
	f.metrics.until.WithLabelValues(TenantKey(tenant)).Set(float64(until.UnixMilli()) / 1000)
	if !known || old.seq != seq || f.o.Now().Sub(old.until) > time.Minute {
		if err := f.announce(ctx, tenant, seq); err != nil && ctx.Err() == nil {
			f.o.Log.WarnContext(ctx, "place of the index not recorded", "err", err)
		}
	}
}

// WaitFor waits until the index holds everything up to seq of the tenant's feed,
// or timeout is over; it reports whether it does.
func (f *Follower) WaitFor(ctx context.Context, tenant access.Tenant, seq int64, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		f.mu.Lock()
		p, changed := f.applied[tenant], f.changed
		f.mu.Unlock()
		if p.seq >= seq {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// IndexedUntil is the moment up to which the tenant's numbered facts are in the
// index, and the number of the last one; zero before the first look.
func (f *Follower) IndexedUntil(tenant access.Tenant) (time.Time, int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.applied[tenant]
	return p.until, p.seq
}

// StateOf describes the index. It is for administrators, records managers and
// auditors; others get the fault forbidden.
func (f *Follower) StateOf(ctx context.Context, a access.Actor) (State, error) {
	if !mayOperate(a) {
		return State{}, fault.New("forbidden")
	}
	stats, err := f.engine.Stats(ctx)
	if err != nil {
		return State{}, fault.Wrap(err, "search-unavailable")
	}
	until, _ := f.IndexedUntil(a.Tenant)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := State{State: f.state, Generation: stats.Generation, Documents: stats.Documents, Bytes: stats.DiskBytes}
	if !until.IsZero() {
		until = until.UTC()
		s.IndexedUntil = &until
	}
	if f.rebuilds > 0 {
		s.State = Rebuilding
	}
	if f.rebuildE != nil {
		s.Error = "search-rebuild-failed"
	}
	return s, nil
}

func mayOperate(a access.Actor) bool {
	return a.User == access.SystemUser || a.Has(access.Administrator, access.RecordsManager, access.Auditor)
}

func (f *Follower) setState(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
}
