package blob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"evb/internal/access"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/storage"
	"evb/storage/layout"
)

var afterLock = failpoint.New("intake-8-locked", "lock set on the object, not yet recorded in its row")

// lockBatch bounds one round of Lock.
const lockBatch = 500

// A period runs on by Keep whenever less than a third of it is left, as long
// as something refers to the blob (unfiled: 90 days, rolling). A longer period
// that was given to the record is not touched before it is nearly over, and
// then goes on under GOVERNANCE.
const sqlRoll = `
    UPDATE blob SET lock_wanted_until = $1, lock_wanted_mode = CASE WHEN lock_wanted_until > $2 THEN lock_wanted_mode ELSE 'GOVERNANCE' END
    WHERE tenant = evb_tenant() AND id IN (
        SELECT id FROM blob b
        WHERE tenant = evb_tenant() AND state = 'present' AND lock_wanted_until < $3 AND evb_blob_referenced(tenant, id)
        ORDER BY lock_wanted_until LIMIT $4
        FOR NO KEY UPDATE SKIP LOCKED)`

const sqlHold = `
    UPDATE blob SET lock_wanted_hold = NOT lock_wanted_hold
    WHERE tenant = evb_tenant() AND state = 'present'
      AND lock_wanted_hold <> (id IN (SELECT blob_id FROM effective_hold WHERE tenant = evb_tenant() AND blob_id IS NOT NULL))
      AND (lock_wanted_hold OR id IN (SELECT blob_id FROM effective_hold WHERE tenant = evb_tenant() AND blob_id IS NOT NULL))`

const sqlLockOpen = `
    SELECT id, sha256, lock_wanted_mode, coalesce(lock_wanted_until, '-infinity'), lock_wanted_hold FROM blob
    WHERE tenant = evb_tenant() AND id > $1 AND state = 'present'
      AND (lock_actual_until IS DISTINCT FROM lock_wanted_until OR lock_actual_mode <> lock_wanted_mode OR lock_actual_hold <> lock_wanted_hold)
    ORDER BY id LIMIT $2`

// What the bucket has may be more than what is wanted (the same content was put
// with a longer period): then more is wanted, a period is never shortened here.
const sqlLocked = `
    UPDATE blob SET lock_actual_mode = $2, lock_actual_until = $3, lock_actual_hold = $4,
        lock_wanted_until = greatest(lock_wanted_until, $3),
        lock_wanted_mode = CASE WHEN $2 = 'COMPLIANCE' OR lock_wanted_mode = '' THEN $2 ELSE lock_wanted_mode END
    WHERE tenant = evb_tenant() AND id = $1`

type lockRow struct {
	ID     uuid.UUID
	SHA256 []byte
	Mode   string
	Until  time.Time
	Hold   bool
}

// Lock is step 8: it says what locks are wanted (rolling periods, holds),
// brings the objects to them, reads each back and records it. It gives the
// number of objects it changed. A missing object is marked as a problem; one
// that the server refuses to lock is an error after all others have theirs.
//
// A crash leaves objects locked and not recorded; the next run finds them so.
func (s *Service) Lock(ctx context.Context, tenant access.Tenant) (int, error) {
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return 0, err
	}
	if err := s.wantLocks(ctx, tenant); err != nil {
		return 0, err
	}
	var (
		done   int
		failed error
		after  uuid.UUID
	)
	for {
		var open []lockRow
		err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, sqlLockOpen, after, lockBatch)
			if err != nil {
				return err
			}
			open, err = pgx.CollectRows(rows, pgx.RowToStructByPos[lockRow])
			return err
		})
		if err != nil {
			return done, errors.Join(failed, fmt.Errorf("locks to set: %w", err))
		}
		n, err := s.lockAll(ctx, a, open)
		done, failed = done+n, errors.Join(failed, err)
		if len(open) < lockBatch || hopeless(err) || ctx.Err() != nil {
			return done, failed
		}
		after = open[len(open)-1].ID
	}
}

func (s *Service) wantLocks(ctx context.Context, tenant access.Tenant) error {
	for {
		var n int64
		err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
			now := s.o.Now().UTC()
			tag, err := tx.Exec(ctx, sqlRoll, now.Add(s.o.Keep).Truncate(time.Second), now, now.Add(s.o.Keep/3), lockBatch)
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return fmt.Errorf("prolong locks: %w", err)
		}
		if n < lockBatch {
			break
		}
	}
	err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlHold)
		return err
	})
	if err != nil {
		return fmt.Errorf("holds of blobs: %w", err)
	}
	return nil
}

// hopeless says of an error that the next object would meet it, too.
func hopeless(err error) bool {
	return fault.Is(err, "storage-unavailable") || fault.Is(err, "database-unavailable")
}

// lockAll brings each object to its lock. One that the server refuses holds up
// no other; a server that is gone is not asked about each.
func (s *Service) lockAll(ctx context.Context, a access.Actor, open []lockRow) (int, error) {
	errs := make([]error, len(open))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.o.Puts)
	for i, r := range open {
		g.Go(func() error {
			if errs[i] = gctx.Err(); errs[i] != nil {
				return nil
			}
			if errs[i] = s.lockOne(gctx, a, r); hopeless(errs[i]) {
				return errs[i]
			}
			return nil
		})
	}
	err := g.Wait()
	n := 0
	for _, e := range errs {
		if e == nil {
			n++
		} else if err == nil { // else that one says it for all
			err = e
		}
	}
	s.m.locked.Add(float64(n))
	return n, err
}

func (s *Service) lockOne(ctx context.Context, a access.Actor, r lockRow) error {
	key := layout.Content(a.TenantSlug, [32]byte(r.SHA256))
	want := storage.Lock{Mode: storage.LockMode(strings.ToLower(r.Mode)), LegalHold: r.Hold}
	if want.Mode != storage.LockNone {
		want.Until = r.Until.UTC()
	}
	err := s.store.SetLock(ctx, key, want, false)
	if err != nil && !errors.Is(err, storage.ErrLocked) && !errors.Is(err, storage.ErrNotFound) {
		return storeFault(err, "lock blob %s", r.ID)
	}
	refused := errors.Is(err, storage.ErrLocked)
	afterLock.Hit()
	info, err := s.store.Stat(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		_, err := s.setProblem(ctx, a, r.ID, problemMissing)
		return err
	}
	if err != nil {
		return storeFault(err, "lock of blob %s", r.ID)
	}
	if refused && (info.Lock.Until.Before(want.Until) || info.Lock.LegalHold != want.LegalHold) {
		return fmt.Errorf("lock blob %s: the server refused a longer lock than it has", r.ID)
	}
	var until *time.Time
	if !info.Lock.Until.IsZero() {
		until = &info.Lock.Until
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlLocked, r.ID, strings.ToUpper(string(info.Lock.Mode)), until, info.Lock.LegalHold)
		return err
	})
	if err != nil {
		return fmt.Errorf("record lock of blob %s: %w", r.ID, err)
	}
	return nil
}
