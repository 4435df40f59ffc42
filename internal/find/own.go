package find

import (
	"context"
	"fmt"
	"time"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/indexing"
	"evb/internal/postgres"
	"evb/search"
)

// asker is who asks and what that person wrote last.
type asker struct {
	principal search.Principal
	// last is the highest number of the asker's newest facts, unnumbered how
	// many of them have none yet.
	last       int64
	unnumbered int64
	// pending is when the oldest fact of the tenant without a number was
	// recorded; nil: there is none.
	pending *time.Time
}

// ownWrites is how far back a search looks for facts of the same user. What is
// older is in the index, or the index is so far behind that waiting is no use.
const ownWrites = 10 * time.Second

const (
	sqlOwn = `
    SELECT coalesce(max(s.seq), 0), count(*) FILTER (WHERE s.seq IS NULL)
    FROM event e LEFT JOIN log_sequence s ON s.tenant = e.tenant AND s.stream = 'event' AND s.id = e.id
    WHERE e.tenant = evb_tenant() AND e.recorded_at > $2 AND e.actor_id = $1`
	sqlOldestPending = `
    SELECT min(recorded_at) FROM log_pending WHERE tenant = evb_tenant() AND stream = 'event'`
)

// ask finds out who asks. The rights are those of this moment: nothing is kept.
func (s *Service) ask(ctx context.Context, a access.Actor) (asker, error) {
	who := asker{principal: search.Principal{Tenant: indexing.TenantKey(a.Tenant)}}
	now := s.o.Now()
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if err := q.QueryRow(ctx, access.SQLActorTokens, a.User, now).Scan(&who.principal.Scopes, &who.principal.ReadAll); err != nil {
			return fmt.Errorf("tokens of the actor: %w", err)
		}
		return s.readOwn(ctx, q, a, now, &who)
	})
	return who, err
}

func (s *Service) readOwn(ctx context.Context, q postgres.Querier, a access.Actor, now time.Time, who *asker) error {
	if err := q.QueryRow(ctx, sqlOwn, a.User, now.Add(-ownWrites)).Scan(&who.last, &who.unnumbered); err != nil {
		return fmt.Errorf("own facts: %w", err)
	}
	if err := q.QueryRow(ctx, sqlOldestPending).Scan(&who.pending); err != nil {
		return fmt.Errorf("pending facts: %w", err)
	}
	return nil
}

// caughtUp waits until the index holds what the asker wrote, at most
// Options.Wait, and reports whether it does. An index that is not there, or
// behind, is no error: the answer says so.
func (s *Service) caughtUp(ctx context.Context, tenant access.Tenant, who asker) bool {
	deadline := time.Now().Add(s.o.Wait)
	if who.unnumbered > 0 {
		// Numbers come in tens of milliseconds: every fact of now gets one
		// before any later fact, so the head of then covers them.
		last, ok := s.numbered(ctx, tenant, deadline)
		if !ok {
			return false
		}
		who.last = max(who.last, last)
	}
	return who.last == 0 || s.follower.WaitFor(ctx, tenant, who.last, time.Until(deadline))
}

// numbered waits until no fact that is pending now is without a number and
// gives the head of the feed.
func (s *Service) numbered(ctx context.Context, tenant access.Tenant, deadline time.Time) (int64, bool) {
	start := s.o.Now()
	for {
		var oldest *time.Time
		var head int64
		err := s.db.Read(ctx, tenant, func(q postgres.Querier) (err error) {
			if err = q.QueryRow(ctx, sqlOldestPending).Scan(&oldest); err != nil {
				return err
			}
			head, _, err = event.Last(ctx, q, event.Events)
			return err
		})
		if err != nil {
			return 0, false
		}
		if oldest == nil || oldest.After(start) {
			return head, true
		}
		if time.Now().After(deadline) {
			return 0, false
		}
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func (s *Service) head(ctx context.Context, tenant access.Tenant) (head int64, err error) {
	deadline := time.Now().Add(s.o.Wait)
	head, ok := s.numbered(ctx, tenant, deadline)
	if !ok {
		return 0, fault.New("search-unavailable")
	}
	return head, nil
}

// indexedUntil is honest about facts that have no number yet: the follower
// cannot know of them.
func (s *Service) indexedUntil(tenant access.Tenant, who asker, behind bool) time.Time {
	until, _ := s.follower.IndexedUntil(tenant)
	if who.pending != nil && until.After(*who.pending) && (behind || who.unnumbered == 0) {
		until = *who.pending
	}
	return until.UTC()
}
