package preservation

import (
	"context"
	"time"

	"evb/internal/job"
)

// Kinds of jobs of this package.
const (
	Collect = "preservation.collect" // subject: a Dokument, Vorgang or Akte
	Pack    = "preservation.pack"    // periodic
	Close   = "preservation.close"   // periodic
	Stamp   = "preservation.stamp"   // subject: a seal
	Heads   = "preservation.heads"   // periodic
	Renew   = "preservation.renew"   // subject: a renewal
	Watch   = "preservation.watch"   // periodic
	Remains = "preservation.repack"  // periodic
)

// Jobs are the kinds of work of this package.
func (s *Service) Jobs() []job.Definition {
	return []job.Definition{
		{
			Kind: Collect, Queue: job.Intake, Timeout: 2 * time.Minute, Open: s.openCollect,
			Run: func(ctx context.Context, j job.Job) error { return s.CollectRecord(ctx, j.Tenant, j.Subject) },
		},
		{
			Kind: Pack, Queue: job.Bulk, Timeout: 5 * time.Minute, Every: min(s.o.PackInterval, time.Minute),
			Run: func(ctx context.Context, j job.Job) error { _, err := s.PackNow(ctx, j.Tenant); return err },
		},
		{
			Kind: Close, Queue: job.Bulk, Timeout: 10 * time.Minute, Every: min(s.o.Period, time.Minute),
			Run: func(ctx context.Context, j job.Job) error { return s.closeDue(ctx, j.Tenant) },
		},
		{
			Kind: Stamp, Queue: job.Bulk, Timeout: 5 * time.Minute, Open: openStamp,
			Run: s.runStamp,
		},
		{
			Kind: Heads, Queue: job.Bulk, Timeout: time.Minute, Every: s.o.HeadInterval,
			Run: func(ctx context.Context, j job.Job) error { return s.WriteHeads(ctx, j.Tenant) },
		},
		{
			Kind: Renew, Queue: job.Renewal, Timeout: 4 * renewSlice, Open: openRenewals,
			Run: s.runRenew,
		},
		{
			Kind: Watch, Queue: job.Bulk, Timeout: time.Minute, Every: 10 * time.Minute,
			Run: func(ctx context.Context, j job.Job) error { return s.watch(ctx, j.Tenant) },
		},
		{
			Kind: Remains, Queue: job.Bulk, Timeout: 30 * time.Minute, Every: 10 * time.Minute,
			Run: func(ctx context.Context, j job.Job) error { _, err := s.Repack(ctx, j.Tenant); return err },
		},
	}
}
