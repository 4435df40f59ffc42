package blob

import (
	"context"
	"time"

	"evb/internal/job"
)

// Kinds of the periodic jobs.
const (
	JobSweep     = "blob.sweep"
	JobLock      = "blob.lock"
	JobReconcile = "blob.reconcile"
	JobFixity    = "blob.fixity"
)

// Jobs are the periodic jobs, each once per tenant and round: the sweeper, the
// object locks (step 8), the nightly comparison of bucket and rows, and the
// rolling re-hash.
func (s *Service) Jobs() []job.Definition {
	return []job.Definition{
		{Kind: JobSweep, Queue: job.Bulk, Every: 5 * time.Minute, Timeout: 30 * time.Minute, Run: func(ctx context.Context, j job.Job) error {
			_, err := s.Sweep(ctx, j.Tenant)
			return err
		}},
		{Kind: JobLock, Queue: job.Bulk, Every: 2 * time.Minute, Timeout: time.Hour, Run: func(ctx context.Context, j job.Job) error {
			_, err := s.Lock(ctx, j.Tenant)
			return err
		}},
		{Kind: JobReconcile, Queue: job.Bulk, Every: 24 * time.Hour, Timeout: 6 * time.Hour, Run: func(ctx context.Context, j job.Job) error {
			_, err := s.Reconcile(ctx, j.Tenant)
			return err
		}},
		{Kind: JobFixity, Queue: job.Bulk, Every: fixityEvery, Timeout: 3 * time.Hour, Run: func(ctx context.Context, j job.Job) error {
			_, err := s.FixityRound(ctx, j.Tenant)
			return err
		}},
	}
}
