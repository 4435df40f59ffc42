package job

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/postgres"
)

// Run works until ctx ends, then lets running jobs finish for up to
// Options.Stop and cancels them after that; what was cancelled runs again at the next start.
// On a node without workers it only waits.
func (c *Client) Run(ctx context.Context) error {
	if !c.work {
		<-ctx.Done()
		return nil
	}
	sign, err := c.sign(ctx)
	if err != nil {
		return fmt.Errorf("sign of life: %w", err)
	}
	if err := c.reclaim(ctx, c.node); err != nil {
		_ = sign.Close(ctx)
		return fmt.Errorf("take back the jobs of the process before: %w", err)
	}
	// River gets a context of its own: it is stopped softly, not cancelled.
	if err := c.river.Start(context.WithoutCancel(ctx)); err != nil {
		_ = sign.Close(ctx)
		return fmt.Errorf("start queue: %w", err)
	}
	c.log.InfoContext(ctx, "worker begins", "node", c.node)
	// The sign stays until the last job has ended.
	living, die := context.WithCancel(context.WithoutCancel(ctx))
	died := make(chan struct{})
	go func() {
		defer close(died)
		c.live(living, sign)
	}()
	defer func() {
		die()
		<-died
	}()
	err = c.tick(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.stop)
	defer cancel()
	if serr := c.river.Stop(stop); serr != nil {
		hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if herr := c.river.StopAndCancel(hard); herr != nil {
			return fmt.Errorf("stop queue: %w", herr)
		}
	}
	return err
}

// tick enqueues periodic jobs and reconciles open work. Several nodes may tick
// at once: the insert is conditional on no live job.
func (c *Client) tick(ctx context.Context) error {
	next := map[string]time.Time{}
	reconcile := time.Now().Add(2 * time.Second)
	timer := time.NewTicker(500 * time.Millisecond)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-timer.C:
			full := now.After(reconcile)
			if full {
				reconcile = now.Add(time.Minute)
			}
			if err := c.round(ctx, now, next, full); err != nil && ctx.Err() == nil {
				c.log.WarnContext(ctx, "periodic work not enqueued", "err", err)
			}
		}
	}
}

func (c *Client) round(ctx context.Context, now time.Time, next map[string]time.Time, full bool) error {
	var due []Definition
	for kind, d := range c.defs {
		if d.Every > 0 && !now.Before(next[kind]) {
			due = append(due, d)
		}
	}
	if len(due) == 0 && !full {
		return nil
	}
	tenants, err := c.db.Tenants(ctx)
	if err != nil {
		return err
	}
	for _, t := range tenants {
		for _, d := range due {
			if err := c.EnqueueMissing(ctx, t.ID, d.Kind, []uuid.UUID{uuid.Nil}); err != nil {
				return err
			}
		}
		if full {
			if err := c.reconcile(ctx, t.ID); err != nil {
				return err
			}
		}
	}
	for _, d := range due {
		next[d.Kind] = now.Add(d.Every)
	}
	return nil
}

// reconcileLimit bounds how many open subjects of a kind one round looks at.
const reconcileLimit = 2000

func (c *Client) reconcile(ctx context.Context, tenant access.Tenant) error {
	for kind, d := range c.defs {
		if d.Open == nil {
			continue
		}
		var open []uuid.UUID
		err := c.db.Read(ctx, tenant, func(q postgres.Querier) error {
			var err error
			open, err = d.Open(ctx, q, reconcileLimit)
			return err
		})
		if err != nil {
			return fmt.Errorf("open work of %s: %w", kind, err)
		}
		if err := c.EnqueueMissing(ctx, tenant, kind, open); err != nil {
			return err
		}
	}
	return nil
}

const sqlLive = `
    SELECT (args ->> 'subject')::uuid FROM river_job
    WHERE kind = $1 AND state IN ('available', 'running', 'retryable', 'scheduled', 'pending')
      AND (args ->> 'tenant')::int = $2 AND (args ->> 'subject')::uuid = ANY ($3)`

// EnqueueMissing enqueues a job of the kind for each subject that has no live
// one. Two callers at once may both enqueue: jobs are idempotent.
func (c *Client) EnqueueMissing(ctx context.Context, tenant access.Tenant, kind string, subjects []uuid.UUID) error {
	if len(subjects) == 0 {
		return nil
	}
	return c.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sqlLive, kind, tenant, subjects)
		if err != nil {
			return err
		}
		live, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		has := make(map[uuid.UUID]bool, len(live))
		for _, id := range live {
			has[id] = true
		}
		var items []Item
		for _, s := range subjects {
			if !has[s] {
				items = append(items, Item{Kind: kind, Subject: s})
			}
		}
		return c.Enqueue(ctx, tx, tenant, items...)
	})
}
