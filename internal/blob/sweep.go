package blob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/storage"
	"evb/storage/layout"
)

var (
	afterMark   = failpoint.New("sweep-1-marked", "left-over blobs are marked deleting, their objects still there")
	afterDelete = failpoint.New("sweep-2-deleted", "an object is gone, its row still deleting")
)

// Facts of this package. The subject is the blob, the record a Dokument that
// refers to it, where there is one.
const (
	// Removed: blobs that nothing referred to are gone.
	Removed event.Kind = "blob.removed"
	// ProblemFound: the object of a present blob is missing or corrupt.
	ProblemFound event.Kind = "blob.problem_found"
	// ProblemCleared: it is there again with the right digest.
	ProblemCleared event.Kind = "blob.problem_cleared"
	// FixityChecked: a share of all blobs was read back and hashed.
	FixityChecked event.Kind = "blob.fixity_checked"
	// OrphansSuspicious: more objects without a row than can be accident.
	OrphansSuspicious event.Kind = "blob.orphans_suspicious"
)

// SweepReport tells what a Sweep did.
type SweepReport struct {
	Removed int
	// Waiting are left-over blobs whose lock nobody here may override.
	Waiting int
}

// claimed is a blob being removed, with the claim that fences off others.
type claimed struct {
	ID     uuid.UUID
	SHA256 []byte
	Claim  time.Time
}

const sweepBatch = 200

// Candidates are locked first and judged by a statement of its own: one that
// waited for a lock would judge the references as they were before it waited.
const sqlExpired = `
    SELECT id FROM blob
    WHERE tenant = evb_tenant() AND state = 'staged' AND lease_until < now() AND ($1 OR coalesce(lock_wanted_until, '-infinity') < now())
    ORDER BY lease_until LIMIT $2
    FOR UPDATE SKIP LOCKED`

const sqlMark = `
    UPDATE blob SET state = 'deleting', lease_until = now() + $2::interval
    WHERE tenant = evb_tenant() AND id = ANY ($1) AND NOT evb_blob_referenced(tenant, id)
    RETURNING id, sha256, lease_until`

// A staged blob that something refers to was referred to without Confirm: the
// alarm is raised, and fixity looks at it first.
const sqlUnconfirmed = `
    UPDATE blob SET state = 'present', problem = 'missing'
    WHERE tenant = evb_tenant() AND id = ANY ($1) AND state = 'staged'
    RETURNING id`

const sqlClaim = `
    UPDATE blob SET lease_until = now() + $1::interval
    WHERE tenant = evb_tenant() AND id IN (
        SELECT id FROM blob WHERE tenant = evb_tenant() AND state = 'deleting' AND coalesce(lease_until, '-infinity') < now()
        LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING id, sha256, lease_until`

const sqlGone = `DELETE FROM blob WHERE tenant = evb_tenant() AND id = $1 AND state = 'deleting' AND lease_until = $2`

const sqlUnmark = `
    UPDATE blob SET state = 'staged', lease_until = now() + interval '1 day'
    WHERE tenant = evb_tenant() AND id = $1 AND state = 'deleting' AND lease_until = $2`

// Sweep removes staged blobs whose lease is over and that nothing refers to:
// marks them deleting, removes the object, then the row. Killed anywhere, the
// next Sweep goes on. Several at once share the work: each removal is claimed
// for Options.Claim, and a removal that takes longer than half of that is given
// up, so that it can never hit content that came again meanwhile.
func (s *Service) Sweep(ctx context.Context, tenant access.Tenant) (SweepReport, error) {
	var rep SweepReport
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return rep, err
	}
	var failed error
	var removed []uuid.UUID
	for {
		work, more, err := s.claimLeftOver(ctx, a)
		if err != nil {
			failed = errors.Join(failed, err)
			break
		}
		// A crash here leaves marked rows with their objects: they are claimed
		// again when the claim is over.
		if len(work) > 0 {
			afterMark.Hit()
		}
		until := time.Now().Add(s.o.Claim / 2)
		for _, c := range work {
			switch err := s.remove(ctx, a, c, until); {
			case err == nil:
				removed = append(removed, c.ID)
			case errors.Is(err, storage.ErrLocked):
				rep.Waiting++
			default:
				failed = errors.Join(failed, err)
			}
		}
		if !more || ctx.Err() != nil {
			break
		}
	}
	rep.Removed = len(removed)
	if len(removed) > 0 {
		s.m.removed.Add(float64(len(removed)))
		err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
			return s.log.Append(ctx, tx, a, s.o.Now(), event.Fact{Kind: Removed, SubjectKind: "blob",
				Reason: "nothing referred to them", Details: map[string]any{"blobs": removed}})
		})
		failed = errors.Join(failed, err)
	}
	return rep, failed
}

// claimLeftOver marks a batch of expired rows, or takes over what an earlier
// sweep left marked.
func (s *Service) claimLeftOver(ctx context.Context, a access.Actor) (work []claimed, more bool, err error) {
	var alarmed []uuid.UUID
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		work, alarmed, more = nil, nil, false
		rows, err := tx.Query(ctx, sqlExpired, s.o.Disposal != nil, sweepBatch)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		more = len(ids) == sweepBatch
		if len(ids) > 0 {
			if rows, err = tx.Query(ctx, sqlMark, ids, s.o.Claim); err != nil {
				return err
			}
			if work, err = pgx.CollectRows(rows, pgx.RowToStructByPos[claimed]); err != nil {
				return err
			}
			if len(work) < len(ids) {
				if rows, err = tx.Query(ctx, sqlUnconfirmed, ids); err != nil {
					return err
				}
				if alarmed, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
					return err
				}
			}
		}
		if rows, err = tx.Query(ctx, sqlClaim, s.o.Claim, sweepBatch); err != nil {
			return err
		}
		old, err := pgx.CollectRows(rows, pgx.RowToStructByPos[claimed])
		work = append(work, old...)
		more = more || len(old) == sweepBatch
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("mark left-over blobs: %w", err)
	}
	for _, id := range alarmed {
		s.o.Log.ErrorContext(ctx, "a blob is referred to and was never confirmed", "blob_id", id)
	}
	return work, more, nil
}

// takeOver removes what a sweeper that was killed left marked.
func (s *Service) takeOver(ctx context.Context, a access.Actor) error {
	var old []claimed
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sqlClaim, s.o.Claim, sweepBatch)
		if err != nil {
			return err
		}
		old, err = pgx.CollectRows(rows, pgx.RowToStructByPos[claimed])
		return err
	})
	if err != nil {
		return fmt.Errorf("take a removal over: %w", err)
	}
	until := time.Now().Add(s.o.Claim / 2)
	for _, c := range old {
		if err := s.remove(ctx, a, c, until); err != nil && !errors.Is(err, storage.ErrLocked) {
			return err
		}
	}
	return nil
}

func (s *Service) remove(ctx context.Context, a access.Actor, c claimed, until time.Time) error {
	store, bypass := s.store, false
	if s.o.Disposal != nil {
		store, bypass = s.o.Disposal, true
	}
	dctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	if err := dctx.Err(); err != nil {
		return fmt.Errorf("remove blob %s: claim is nearly over: %w", c.ID, err)
	}
	err := store.DeleteVersions(dctx, layout.Content(a.TenantSlug, [32]byte(c.SHA256)), bypass)
	if errors.Is(err, storage.ErrLocked) {
		// Not ours to override: its content may be brought again meanwhile.
		return errors.Join(err, s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sqlUnmark, c.ID, c.Claim)
			return err
		}))
	}
	if err != nil {
		return storeFault(err, "remove blob %s", c.ID)
	}
	// A crash here leaves a row without an object: the next sweep removes it.
	afterDelete.Hit()
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlGone, c.ID, c.Claim)
		return err
	})
	if isReference(err) {
		s.o.Log.ErrorContext(ctx, "a removed blob is referred to", "blob_id", c.ID)
	}
	return err
}
