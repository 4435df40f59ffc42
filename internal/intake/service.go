package intake

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/group"
	"evb/internal/idempotency"
	"evb/internal/job"
	"evb/internal/media"
	"evb/internal/postgres"
)

var (
	afterLook    = failpoint.New("intake-2-looked-up", "request key looked up; body in the spool only")
	afterWrite   = failpoint.New("intake-5-written", "all rows written, not yet committed")
	afterCommit  = failpoint.New("intake-6-committed", "Dokument committed, sender not yet answered")
	afterUnknown = failpoint.New("intake-7-unknown", "outcome of a commit unknown, database not yet asked")
)

// Options of New. Zero fields mean their defaults.
type Options struct {
	// Now is the clock of business time, default time.Now.
	Now func() time.Time
	// Log gets what people of operations should know, default none.
	Log *slog.Logger
	// Registerer takes the metrics, default none.
	Registerer prometheus.Registerer
	// GroupSize is the most documents that share a transaction, default 50.
	GroupSize int
	// Settle is how long Receive asks for the outcome of a broken commit,
	// default 20 s.
	Settle time.Duration
	// MaxFiles is the most files of one Dokument, default 100.
	MaxFiles int
	// DigestKey makes the digest of a request (Submission.KeyDigest) useless to
	// whoever guesses at a document's content. The same in all processes.
	DigestKey []byte
	// Released is called in the transaction in which a part of a batch leaves
	// quarantine as a Dokument, so that the batch's book can follow. nil: none.
	Released func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, q Quarantine, dokument uuid.UUID) error
}

// Service takes documents in. Safe for concurrent use.
type Service struct {
	db      *postgres.DB
	log     *event.Log
	akten   *akte.Service
	blobs   *blob.Service
	engine  *media.Engine
	o       Options
	m       *metrics
	commits *group.Group[member, outcome]
}

// New makes the service. It starts nothing.
func New(db *postgres.DB, log *event.Log, akten *akte.Service, blobs *blob.Service, engine *media.Engine, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Settle == 0 {
		o.Settle = 20 * time.Second
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = 100
	}
	s := &Service{db: db, log: log, akten: akten, blobs: blobs, engine: engine, o: o, m: newMetrics(o.Registerer)}
	s.commits = group.New(group.Options{Size: o.GroupSize, Parallel: 2, Whole: wholeGroup,
		Observe: func(n int) { s.m.group.Observe(float64(n)) }}, s.write)
	return s
}

// JobExpire is the kind of the job that forgets old request keys.
const JobExpire = "intake.expire"

// Jobs are the periodic jobs of this package.
func (s *Service) Jobs() []job.Definition {
	return []job.Definition{
		{Kind: JobExpire, Queue: job.Bulk, Every: 24 * time.Hour, Timeout: 10 * time.Minute, Run: func(ctx context.Context, j job.Job) error {
			return s.db.InTx(ctx, j.Tenant, func(tx pgx.Tx) error {
				_, err := idempotency.Expire(ctx, tx)
				return err
			})
		}},
	}
}

type metrics struct {
	received *prometheus.CounterVec
	refused  *prometheus.CounterVec
	group    prometheus.Histogram
	unknown  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		received: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_intake_documents_total",
			Help: "Dokumente taken in one by one, by their state."}, []string{"state"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_intake_refused_total",
			Help: "Files refused or put into quarantine, by code."}, []string{"verdict", "code"}),
		group: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "evb_intake_group_documents",
			Help: "Dokumente that shared a transaction.", Buckets: []float64{1, 2, 5, 10, 20, 50}}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_intake_commits_unknown_total",
			Help: "Commits whose outcome had to be asked for."}),
	}
	if reg != nil {
		reg.MustRegister(m.received, m.refused, m.group, m.unknown)
	}
	return m
}
