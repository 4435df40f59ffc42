package scan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/intake"
	"evb/internal/job"
	"evb/internal/media"
	"evb/internal/postgres"
)

// Options of New. The zero value of each field means its default.
type Options struct {
	// Now is the clock of business times, default time.Now.
	Now func() time.Time
	// Log is the place of the log, default none.
	Log *slog.Logger
	// Registerer takes the metrics, default none.
	Registerer prometheus.Registerer
	// UploadDir keeps unfinished uploads. It must outlive the process and must
	// not be the spool, which is emptied at start. Required. With several
	// nodes it must be a folder all of them see, or a batch must stay with one.
	UploadDir string
	// UploadDays is after how many days without a byte an unfinished upload is
	// removed, default 7.
	UploadDays int
	// FileBytes is the largest file, default 200 MB; BatchBytes the most one
	// batch may hold, default 4 GB.
	FileBytes, BatchBytes int64
	// Scheme is that of the separator sheets of a source that names none,
	// default media.SchemeEVB.
	Scheme media.Scheme
	// Lease is how long a batch stays with a run that gave no sign of life,
	// default 1 minute.
	Lease time.Duration
	// Slice is how long one run of scan.process works before it lets others
	// go first, default 4 minutes.
	Slice time.Duration
}

// Service keeps scan batches. Safe for concurrent use.
type Service struct {
	db      *postgres.DB
	facts   *event.Log
	akten   *akte.Service
	blobs   *blob.Service
	spool   *blob.Spool
	intake  *intake.Service
	media   *media.Engine
	o       Options
	log     *slog.Logger
	metrics metrics
}

// New makes the service; Released of the result belongs into the Options of in. It makes Options.UploadDir when it is not there.
func New(db *postgres.DB, log *event.Log, akten *akte.Service, blobs *blob.Service, in *intake.Service, engine *media.Engine, o Options) (*Service, error) {
	if o.UploadDir == "" {
		return nil, errors.New("scan: a folder for unfinished uploads is needed")
	}
	if err := os.MkdirAll(o.UploadDir, 0o700); err != nil {
		return nil, fmt.Errorf("scan: upload folder: %w", err)
	}
	dir, err := filepath.Abs(o.UploadDir)
	if err != nil {
		return nil, fmt.Errorf("scan: upload folder: %w", err)
	}
	o.UploadDir = dir
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.UploadDays == 0 {
		o.UploadDays = 7
	}
	if o.FileBytes == 0 {
		o.FileBytes = 200_000_000
	}
	if o.BatchBytes == 0 {
		o.BatchBytes = 4_000_000_000
	}
	if o.Scheme == "" {
		o.Scheme = media.SchemeEVB
	}
	if o.Lease == 0 {
		o.Lease = time.Minute
	}
	if o.Slice == 0 {
		o.Slice = 4 * time.Minute
	}
	s := &Service{
		db: db, facts: log, akten: akten, blobs: blobs, spool: blobs.Spool(), intake: in, media: engine, o: o,
		log: o.Log.With("part", "scan"),
	}
	return s, s.metrics.register(o.Registerer)
}

func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

// Process is the kind of the job that takes a submitted batch apart.
const Process = "scan.process"

// Cleanup is the kind of the periodic job that removes old unfinished uploads.
const Cleanup = "scan.cleanup"

// Jobs defines the jobs of this package. scan.process follows from the fact
// batch.submitted, whose subject is the batch.
func (s *Service) Jobs() []job.Definition {
	return []job.Definition{{
		Kind: Process, Queue: job.Intake, Timeout: s.o.Slice + 2*time.Minute, Open: openBatches,
		Run: func(ctx context.Context, j job.Job) error {
			a, err := s.db.SystemActor(ctx, j.Tenant)
			if err != nil {
				return err
			}
			return s.process(ctx, a, j.Subject)
		},
	}, {
		Kind: Cleanup, Queue: job.Bulk, Every: time.Hour, MaxAttempts: 2,
		Run: func(ctx context.Context, j job.Job) error { return s.cleanup(ctx, j.Tenant) },
	}}
}

const sqlOpenBatches = `
    SELECT id FROM batch
    WHERE tenant = evb_tenant() AND state = 'processing' AND (lease_until IS NULL OR lease_until < now())
    ORDER BY submitted_at, id LIMIT $1`

func openBatches(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlOpenBatches, limit)
	if err != nil {
		return nil, fmt.Errorf("open batches: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// mayHandOver says who may bring batches.
func mayHandOver(a access.Actor) bool {
	return a.User == access.SystemUser || a.Has(access.ScanOperator, access.Service, access.Administrator)
}

// seesAll says who may see the book of every batch. A book has no content.
func seesAll(a access.Actor) bool {
	return a.User == access.SystemUser || a.Has(access.ScanOperator, access.QualityChecker, access.Registry,
		access.RecordsManager, access.Auditor, access.Administrator)
}

// handOver checks that the actor may bring something to a batch it sees.
func handOver(a access.Actor) error {
	switch {
	case mayHandOver(a):
		return nil
	case a.Has(access.Auditor, access.Reader):
		return fault.New("read-only-role")
	}
	return fault.New("forbidden")
}

type metrics struct {
	pages     *prometheus.CounterVec
	batches   *prometheus.CounterVec
	documents prometheus.Counter
	bytes     prometheus.Counter
}

func (m *metrics) register(r prometheus.Registerer) error {
	m.pages = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_scan_pages_total", Help: "Pages of scan batches by fate."}, []string{"fate"})
	m.batches = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_scan_batches_total", Help: "Scan batches by the state they settled in."}, []string{"state"})
	m.documents = prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_scan_documents_total", Help: "Dokumente made of scan batches."})
	m.bytes = prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_scan_upload_bytes_total", Help: "Bytes received for scan batches."})
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.pages, m.batches, m.documents, m.bytes} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("scan: metrics: %w", err)
		}
	}
	return nil
}
