package indexing

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/search"
)

// A Follower is the source of a rebuild.
var _ search.Source = (*Follower)(nil)

// Rebuild asks for a new index beside the running one. It returns at once; Run
// makes it, and StateOf tells how it goes. One that is asked for while another
// runs follows it only if that one has not begun to read yet.
func (f *Follower) Rebuild(_ context.Context, a access.Actor) error {
	if a.User != access.SystemUser && !a.Has(access.Administrator) {
		return fault.New("forbidden")
	}
	f.mu.Lock()
	running := f.rebuilds > 0
	f.mu.Unlock()
	if running {
		return fault.New("search-rebuilding")
	}
	f.requestRebuild()
	return nil
}

func (f *Follower) requestRebuild() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rebuilds = 1
	select {
	case f.rebuild <- struct{}{}:
	default:
	}
}

// runRebuild makes the new index while this goroutine does not follow; the
// engine takes over what came meanwhile before it swaps. A crash leaves the old
// index in use, and a folder that the next start removes.
func (f *Follower) runRebuild(ctx context.Context) {
	select {
	case <-f.rebuild:
	default:
	}
	start := f.o.Now()
	f.metrics.rebuilding.Set(1)
	f.o.Log.InfoContext(ctx, "rebuild of the search index begins")
	err := f.engine.Rebuild(ctx, f)
	f.metrics.rebuilding.Set(0)
	f.mu.Lock()
	f.rebuilds, f.rebuildE, f.state = 0, err, Ready
	if err != nil {
		f.state = Failed
	}
	f.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			f.o.Log.ErrorContext(ctx, "rebuild of the search index failed, the old one stays in use", "err", err)
		}
		return
	}
	f.o.Log.InfoContext(ctx, "search index rebuilt", "duration", f.o.Now().Sub(start))
}

func (f *Follower) rebuildError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rebuildE
}

// Replay implements search.Source. From the beginning it walks over all
// Dokumente of all tenants and gives the head of the feed before the walk as the
// place, once, at the end; after a place it follows the feed to its head.
func (f *Follower) Replay(ctx context.Context, cursor []byte, apply func(ctx context.Context, ops []search.Op, cursor []byte) error) error {
	tenants, err := f.db.Tenants(ctx)
	if err != nil {
		return err
	}
	at, ok := decode(cursor)
	if ok {
		for _, t := range tenants {
			for {
				n, next, err := f.follow(ctx, access.System(t.ID, t.Slug), at, apply)
				if err != nil {
					return fmt.Errorf("tenant %s: %w", t.Slug, err)
				}
				at = next
				if n < feedLimit {
					break
				}
			}
		}
		return nil
	}
	start := f.o.Now()
	// All heads before any walk: what happens meanwhile comes with the feed.
	for _, t := range tenants {
		err := f.db.Read(ctx, t.ID, func(q postgres.Querier) error {
			seq, _, err := event.Last(ctx, q, event.Events)
			at[t.ID] = seq
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, t := range tenants {
		if err := f.walk(ctx, access.System(t.ID, t.Slug), apply); err != nil {
			return fmt.Errorf("tenant %s: %w", t.Slug, err)
		}
	}
	if err := apply(ctx, nil, at.encode()); err != nil {
		return err
	}
	for _, t := range tenants {
		f.progress(ctx, t.ID, at[t.ID], start)
	}
	return nil
}

const sqlWalk = `
    SELECT d.id FROM dokument d
    WHERE d.tenant = evb_tenant() AND d.id > $1
    ORDER BY d.id LIMIT $2`

// walk puts all Dokumente of a tenant, a page of ids at a time.
func (f *Follower) walk(ctx context.Context, a access.Actor, apply applyFunc) error {
	after := uuid.Nil
	for {
		var ids touched
		err := f.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, sqlWalk, after, f.o.GroupDocs)
			if err != nil {
				return err
			}
			ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		})
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return nil
		}
		after = ids[len(ids)-1]
		if err := f.put(ctx, a, ids, nil, apply); err != nil {
			return err
		}
	}
}
