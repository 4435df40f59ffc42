package extract

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/media"
	"evb/internal/postgres"
)

// Service reads versions. Safe for concurrent use.
type Service struct {
	db     *postgres.DB
	log    *event.Log
	blobs  *blob.Service
	akten  *akte.Service
	engine *media.Engine
	o      Options

	pageSeconds prometheus.Histogram
	versions    *prometheus.CounterVec

	toolMu  sync.Mutex
	toolAt  time.Time // when toolNow was asked
	toolNow Status
}

// New makes the service. It starts nothing.
func New(db *postgres.DB, log *event.Log, blobs *blob.Service, akten *akte.Service, engine *media.Engine, o Options) *Service {
	s := &Service{db: db, log: log, blobs: blobs, akten: akten, engine: engine, o: o.withDefaults()}
	s.pageSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "evb_extract_page_duration_seconds", Help: "Time to read and draw one page.", Buckets: []float64{.05, .1, .3, 1, 3, 10, 30, 100},
	})
	s.versions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evb_extract_versions_total", Help: "Versions whose reading ended, by result.",
	}, []string{"result"})
	if s.o.Registerer != nil {
		s.o.Registerer.MustRegister(s.pageSeconds, s.versions)
	}
	return s
}

func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

func (s *Service) observe(since time.Time) { s.pageSeconds.Observe(time.Since(since).Seconds()) }

func (s *Service) count(result string) { s.versions.WithLabelValues(result).Inc() }

// toolFor is how long an answer about Tesseract is believed.
const toolFor = 30 * time.Second

// tool tells whether Tesseract is there, asking at most twice a minute.
func (s *Service) tool(ctx context.Context) Status {
	s.toolMu.Lock()
	defer s.toolMu.Unlock()
	if time.Since(s.toolAt) < toolFor {
		return s.toolNow
	}
	v, err := s.engine.OCRVersion(ctx)
	var missing *media.ToolError
	switch {
	case err == nil:
		s.toolNow = Status{OCR: true, Tool: v}
	case errors.As(err, &missing):
		s.toolNow = Status{Code: CodeToolMissing, Detail: missing.Tool + ": " + missing.Detail}
	default:
		s.o.Log.WarnContext(ctx, "text recognition does not answer", "err", err)
		s.toolNow = Status{Code: CodeToolMissing, Detail: "no answer"}
	}
	s.toolAt = time.Now()
	return s.toolNow
}

// toolGone notes what a page found out.
func (s *Service) toolGone(e *media.ToolError) {
	s.toolMu.Lock()
	defer s.toolMu.Unlock()
	s.toolNow, s.toolAt = Status{Code: CodeToolMissing, Detail: e.Tool + ": " + e.Detail}, time.Now()
}

// A count over the tables of Dokumente, for people of operations only.
const sqlCounts = `
    SELECT count(*) FILTER (WHERE extraction = 'waiting'), count(*) FILTER (WHERE extraction = 'failed'), count(*) FILTER (WHERE extraction = 'pending' AND state <> 'quarantined')
    FROM dokument WHERE tenant = evb_tenant() AND extraction <> 'done'`

// Status tells whether text recognition is there, and what waits for it.
func (s *Service) Status(ctx context.Context) (Status, error) {
	st := s.tool(ctx)
	tenants, err := s.db.Tenants(ctx)
	if err != nil {
		return st, err
	}
	for _, t := range tenants {
		var waiting, failed, pending int64
		err := s.db.Read(ctx, t.ID, func(q postgres.Querier) error {
			return q.QueryRow(ctx, sqlCounts).Scan(&waiting, &failed, &pending)
		})
		if err != nil {
			return st, fmt.Errorf("count open extractions: %w", err)
		}
		st.Waiting, st.Failed, st.Pending = st.Waiting+waiting, st.Failed+failed, st.Pending+pending
	}
	return st, nil
}
