package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"evb/internal/access"
	"evb/internal/postgres"
)

// Queue separates work by how long a person waits for it.
type Queue string

// The queues (decisions 6.2). Hostile is the lane of files that already broke
// a worker once, so that they hold up nobody else.
const (
	Interactive Queue = "interactive"
	Intake      Queue = "intake"
	Bulk        Queue = "bulk"
	Renewal     Queue = "renewal"
	Hostile     Queue = "hostile"
)

// Job is one call of a worker.
type Job struct {
	Tenant  access.Tenant
	Subject uuid.UUID
	Attempt int  // 1 for the first
	Last    bool // no further attempt follows a failure
}

// Definition is one kind of job.
type Definition struct {
	Kind        string
	Queue       Queue
	MaxAttempts int           // 0: 8
	Timeout     time.Duration // 0: 1 minute
	// Every makes the job periodic for each tenant, with the nil subject.
	Every time.Duration
	// Open lists subjects with open work, oldest first, at most limit. The
	// reconciler enqueues those that have no live job. May be nil.
	Open func(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error)
	// Run does the work. It must be idempotent.
	Run func(ctx context.Context, j Job) error
}

// Item is a job to enqueue.
type Item struct {
	Kind    string
	Subject uuid.UUID
	RunAt   time.Time // zero: now
}

type args struct {
	kind    string
	Tenant  access.Tenant `json:"tenant"`
	Subject uuid.UUID     `json:"subject"`
}

func (a args) Kind() string { return a.kind }

type snooze struct{ d time.Duration }

func (s snooze) Error() string { return fmt.Sprintf("again in %s", s.d) }

// Snooze, returned by Run, runs the job again after d without counting it as a
// failure: something it waits for is not there yet.
func Snooze(d time.Duration) error { return snooze{d} }

type final struct{ err error }

func (f final) Error() string { return f.err.Error() }
func (f final) Unwrap() error { return f.err }

// Final, returned by Run, ends the job: another attempt would fail alike. The
// worker has written its reason to its own table before.
func Final(err error) error { return final{err} }

// Client enqueues, and with Run also works. Safe for concurrent use.
type Client struct {
	db    *postgres.DB
	log   *slog.Logger
	defs  map[string]Definition
	river *river.Client[pgx.Tx]
	work  bool
	node  string
	gone  time.Duration
	stop  time.Duration
}

// Options of New.
type Options struct {
	// Workers gives the number of workers per queue; an empty map enqueues
	// only.
	Workers map[Queue]int
	// Poll is how often queues are looked at without a hint; 0: 1 s.
	Poll time.Duration
	// Node names this process over restarts. A process that was killed leaves
	// its jobs "running"; the next one of the same name takes them back at
	// once, all others after Gone. The caller makes sure that no two processes
	// of a name live at the same time (a lock on a folder). Empty: a name of
	// its own.
	Node string
	// Gone is how long a process may be out of sight of the database before its
	// jobs are taken from it; 0: 15 s.
	Gone time.Duration
	// Stop is the time running jobs get at a clean stop; 0: 20 s.
	Stop time.Duration
}

// New makes the client for a set of kinds. Kinds that are enqueued must be
// defined, also on a node that does not work.
func New(db *postgres.DB, log *slog.Logger, defs []Definition, o Options) (*Client, error) {
	c := &Client{db: db, log: log.With("part", "job"), defs: map[string]Definition{}, work: len(o.Workers) > 0, stop: cmp.Or(o.Stop, 20*time.Second)}
	if o.Node == "" {
		o.Node = uuid.NewString()
	}
	c.node, c.gone = o.Node, cmp.Or(o.Gone, 15*time.Second)
	workers := river.NewWorkers()
	for _, d := range defs {
		if d.MaxAttempts == 0 {
			d.MaxAttempts = 8
		}
		if d.Timeout == 0 {
			d.Timeout = time.Minute
		}
		if d.Queue == "" || d.Run == nil || d.Kind == "" {
			return nil, fmt.Errorf("job %q needs a queue and a function", d.Kind)
		}
		if _, twice := c.defs[d.Kind]; twice {
			return nil, fmt.Errorf("job %q is defined twice", d.Kind)
		}
		c.defs[d.Kind] = d
		river.AddWorkerArgs(workers, args{kind: d.Kind}, &worker{def: d, log: c.log})
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	cfg := &river.Config{
		ID:                          o.Node,
		Logger:                      slog.New(complaints{c.log.Handler()}),
		FetchPollInterval:           o.Poll,
		FetchCooldown:               20 * time.Millisecond,
		CompletedJobRetentionPeriod: 10 * time.Minute,
		CancelledJobRetentionPeriod: 24 * time.Hour,
		DiscardedJobRetentionPeriod: 24 * time.Hour,
		JobTimeout:                  -1, // each kind has its own
		RescueStuckJobsAfter:        10 * time.Minute,
	}
	if c.work {
		cfg.Workers = workers
		cfg.Queues = map[string]river.QueueConfig{}
		for q, n := range o.Workers {
			cfg.Queues[string(q)] = river.QueueConfig{MaxWorkers: n}
		}
	}
	var err error
	c.river, err = river.NewClient(riverpgxv5.New(db.Pool()), cfg)
	return c, err
}

// complaints passes what the queue itself complains about; it tells every few
// seconds of nothing, too.
type complaints struct{ slog.Handler }

func (h complaints) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h complaints) WithAttrs(attrs []slog.Attr) slog.Handler {
	return complaints{h.Handler.WithAttrs(attrs)}
}

func (h complaints) WithGroup(name string) slog.Handler {
	return complaints{h.Handler.WithGroup(name)}
}

// Enqueue adds jobs in the caller's transaction: they exist exactly when what
// they follow from exists.
func (c *Client) Enqueue(ctx context.Context, tx pgx.Tx, tenant access.Tenant, items ...Item) error {
	if len(items) == 0 {
		return nil
	}
	params := make([]river.InsertManyParams, len(items))
	for i, it := range items {
		d, ok := c.defs[it.Kind]
		if !ok {
			return fmt.Errorf("job %q is not defined", it.Kind)
		}
		params[i] = river.InsertManyParams{
			Args:       args{kind: it.Kind, Tenant: tenant, Subject: it.Subject},
			InsertOpts: &river.InsertOpts{Queue: string(d.Queue), MaxAttempts: d.MaxAttempts, ScheduledAt: it.RunAt},
		}
	}
	_, err := c.river.InsertManyFastTx(ctx, tx, params)
	return err
}

type worker struct {
	river.WorkerDefaults[args]
	def Definition
	log *slog.Logger
}

// Timeout implements river.Worker.
func (w *worker) Timeout(*river.Job[args]) time.Duration { return w.def.Timeout }

// NextRetry implements river.Worker: 1, 4, 9, 16 ... seconds, at most 10 minutes.
func (w *worker) NextRetry(j *river.Job[args]) time.Time {
	d := time.Duration(j.Attempt*j.Attempt) * time.Second
	return time.Now().Add(min(d, 10*time.Minute))
}

// Work implements river.Worker.
func (w *worker) Work(ctx context.Context, j *river.Job[args]) error {
	err := w.def.Run(ctx, Job{Tenant: j.Args.Tenant, Subject: j.Args.Subject, Attempt: j.Attempt, Last: j.Attempt >= j.MaxAttempts})
	var sn snooze
	var fin final
	switch {
	case err == nil:
		return nil
	case errors.As(err, &sn):
		return river.JobSnooze(sn.d)
	case errors.As(err, &fin):
		w.log.WarnContext(ctx, "job ended without success", "kind", w.def.Kind, "tenant", j.Args.Tenant, "subject", j.Args.Subject, "err", err)
		return river.JobCancel(err)
	}
	w.log.WarnContext(ctx, "job failed", "kind", w.def.Kind, "tenant", j.Args.Tenant, "subject", j.Args.Subject, "attempt", j.Attempt, "err", err)
	return err
}

// Depth is the number of live jobs by kind and state, for metrics.
type Depth struct {
	Kind  string
	State string
	Count int64
}

const sqlDepth = `
    SELECT kind, state::text, count(*) FROM river_job
    WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'discarded') GROUP BY 1, 2 ORDER BY 1, 2`

// Depths counts live and discarded jobs.
func (c *Client) Depths(ctx context.Context) ([]Depth, error) {
	rows, err := c.db.Pool().Query(ctx, sqlDepth)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Depth])
}
