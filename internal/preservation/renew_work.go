package preservation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/hashtree"
	"evb/storage"
	"evb/storage/layout"
)

var (
	pointRenewRead   = failpoint.New("renewal-read", "some objects were read for a hash-tree renewal and their digests kept")
	pointRenewBound  = failpoint.New("renewal-bound", "the seals of a renewal are fixed")
	pointChainPut    = failpoint.New("renewal-chain-put", "tree of a seal in the new algorithm in the bucket, its row without it")
	pointChainKept   = failpoint.New("renewal-chain-committed", "tree of a seal in the new algorithm kept")
	pointRenewPut    = failpoint.New("renewal-tree-put", "tree of a renewal in the bucket, not closed")
	pointRenewClosed = failpoint.New("renewal-closed", "renewal closed, not stamped")
)

// renewSlice is how long one run of the job works before it lets others have
// the queue.
const renewSlice = 5 * time.Minute

// errStopped says that a person stopped the renewal.
var errStopped = errors.New("stopped")

const sqlOpenRenewals = `
    SELECT r.id FROM renewal r
    WHERE r.tenant = evb_tenant() AND r.stopped_at IS NULL AND NOT ` + sqlIsRenewed + `
    ORDER BY r.number LIMIT $1`

func openRenewals(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlOpenRenewals, limit)
	if err != nil {
		return nil, fmt.Errorf("open renewals: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// runRenew is the job: it brings a renewal as far as it goes.
func (s *Service) runRenew(ctx context.Context, j job.Job) error {
	a, err := s.db.SystemActor(ctx, j.Tenant)
	if err != nil {
		return err
	}
	wait, err := s.WorkRenewal(ctx, a, j.Subject)
	switch {
	case fault.Is(err, "renewal-not-found"):
		return nil
	case err != nil && j.Last:
		return errors.Join(err, s.markProblem(ctx, a, ofRenewal, j.Subject, err))
	case err != nil:
		return err
	case wait > 0:
		return job.Snooze(wait)
	}
	return nil
}

// WorkRenewal brings a renewal as far as it goes and returns how long to wait
// before it can go on, 0 when it is renewed or stopped. One process works on one
// at a time. Faults: renewal-not-found, and those of the authority.
//
//  1. Hash-tree renewal: objects are read whose digest is missing, or all, in
//     the order of their ids; digests and place are kept after each part.
//     Crash: the part is read again.
//  2. One transaction: the seals it covers are fixed, each with the place in its
//     chains that it will fill. No other renewal takes them until it is done.
//  3. Hash-tree renewal: the tree of each seal in the new algorithm goes to the
//     bucket, then its root to the row. Crash: the tree is found and adopted.
//  4. The tree over all goes to the bucket. One transaction: places, root, state
//     closed. Crash: the same tree again.
//  5. As for a seal: request, token, revocation data, token in the bucket; one
//     transaction: token final, its place in the chains of all seals, state
//     renewed.
func (s *Service) WorkRenewal(ctx context.Context, a access.Actor, id uuid.UUID) (time.Duration, error) {
	var wait time.Duration
	var closed bool
	h := fnv.New32a()
	_, _ = h.Write(id[:])
	mine, err := s.elected(ctx, lockRenew, int32(h.Sum32()), false, func() (err error) { //nolint:gosec // any number will do
		wait, closed, err = s.prepareRenewal(ctx, a, id)
		return err
	})
	switch {
	case errors.Is(err, errStopped):
		return 0, nil
	case err != nil || wait > 0:
		return wait, err
	case !mine:
		return time.Second, nil
	case !closed:
		return 0, nil
	}
	// Outside of the election, which holds a connection that advance needs, too.
	return s.advance(ctx, a, ofRenewal, id, false)
}

// renewal is a row of renewal with what steers its way.
type renewal struct {
	ID        uuid.UUID
	Number    int
	Kind      RenewalKind
	Algorithm digest.Algorithm
	ReadAll   bool
	DueOnly   bool
	Stopped   bool
	ReadAfter uuid.UUID
	States    []SealState
}

func (r renewal) is(state SealState) bool { return seal{States: r.States}.is(state) }

// States of a renewal before it is stamped.
const (
	renewalRead  SealState = "read"
	renewalBound SealState = "bound"
)

const (
	sqlRenewal = `
    SELECT r.id, r.number, r.kind, r.algorithm, r.read_all, r.due_only, r.stopped_at IS NOT NULL, r.read_after,
        ARRAY(SELECT state FROM renewal_state x WHERE x.tenant = r.tenant AND x.renewal_id = r.id)
    FROM renewal r WHERE r.tenant = evb_tenant() AND r.id = $1`
	// sqlRenewalTree is sqlSeal for a closed renewal.
	sqlRenewalTree = `
    SELECT r.id, r.kind || '_renewal', r.number, r.algorithm, r.leaves, r.root,
        ARRAY(SELECT state FROM renewal_state x WHERE x.tenant = r.tenant AND x.renewal_id = r.id),
        t.id, t.token, t.gen_time, t.final_at,
        (SELECT count(*) FROM stamp_request q WHERE q.tenant = r.tenant AND q.subject_id = r.id AND q.outcome = 'lost')::int,
        (SELECT max(asked_at) FROM stamp_request q WHERE q.tenant = r.tenant AND q.subject_id = r.id)
    FROM renewal r LEFT JOIN time_stamp_token t ON t.tenant = r.tenant AND t.subject_id = r.id
    WHERE r.tenant = evb_tenant() AND r.id = $1 AND r.root IS NOT NULL`
)

func (s *Service) renewalRow(ctx context.Context, tenant access.Tenant, id uuid.UUID) (out renewal, err error) {
	err = s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlRenewal, id)
		if err != nil {
			return err
		}
		out, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[renewal])
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return out, fault.New("renewal-not-found")
	}
	return out, err
}

// prepareRenewal is steps 1 to 4. closed is false when there was nothing to do.
func (s *Service) prepareRenewal(ctx context.Context, a access.Actor, id uuid.UUID) (wait time.Duration, closed bool, err error) {
	r, err := s.renewalRow(ctx, a.Tenant, id)
	if err != nil || r.is(StateRenewed) {
		return 0, false, err
	}
	if r.is(StateClosed) {
		return 0, true, nil
	}
	until := time.Now().Add(renewSlice) // the patience of a queue, not business time
	if r.Kind == HashtreeRenewal && !r.is(renewalRead) {
		if done, err := s.readStock(ctx, a, r, until); err != nil || !done {
			return time.Second, false, err
		}
	}
	if !r.is(renewalBound) {
		n, err := s.bind(ctx, a, r)
		if err != nil || n == 0 {
			return 0, false, err
		}
		pointRenewBound.Hit()
	}
	if r.Kind == HashtreeRenewal {
		if done, err := s.chainTrees(ctx, a, r, until); err != nil || !done {
			return time.Second, false, err
		}
	} else if err := s.tokenLeaves(ctx, a, r); err != nil {
		return 0, false, err
	}
	return 0, true, s.closeRenewal(ctx, a, r)
}

// notStopped looks whether a person stopped the renewal meanwhile.
func (s *Service) notStopped(ctx context.Context, a access.Actor, id uuid.UUID) error {
	r, err := s.renewalRow(ctx, a.Tenant, id)
	if err == nil && r.Stopped {
		err = errStopped
	}
	return err
}

const (
	sqlReadOn = `
    UPDATE renewal SET read_after = $2, objects = objects + $3, bytes = bytes + $4, bad = bad + $5
    WHERE tenant = evb_tenant() AND id = $1`
	sqlNoProblem = `
    DELETE FROM renewal_state WHERE tenant = evb_tenant() AND renewal_id = $1 AND state = 'problem'`
)

// readPart is how many objects are read between two looks at the clock.
const readPart = 500

// readStock is step 1.
func (s *Service) readStock(ctx context.Context, a access.Actor, r renewal, until time.Time) (bool, error) {
	if s.o.Rehash == nil {
		return false, errors.New("preservation: no Options.Rehash")
	}
	for more := true; more; {
		if err := s.notStopped(ctx, a, r.ID); err != nil {
			return false, err
		}
		if time.Now().After(until) {
			return false, nil
		}
		rep, err := s.o.Rehash(ctx, a.Tenant, r.Algorithm, r.ReadAfter, readPart, r.ReadAll)
		if err != nil {
			return false, err
		}
		more, r.ReadAfter = rep.More, rep.After
		err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, sqlReadOn, r.ID, rep.After, rep.Objects, rep.Bytes, rep.Bad); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, sqlNoProblem, r.ID); err != nil || more {
				return err
			}
			_, err := tx.Exec(ctx, sqlInsertRenewalState, r.ID, renewalRead, s.now(), map[string]any{})
			return err
		})
		if err != nil {
			return false, fmt.Errorf("progress of renewal: %w", err)
		}
		pointRenewRead.Hit()
	}
	return true, nil
}

const (
	sqlBind = `
    INSERT INTO renewal_seal (tenant, renewal_id, seal_id, chain, position)
    SELECT evb_tenant(), $1, x.seal, x.chain, x.position FROM unnest($2::uuid[], $3::int[], $4::int[]) AS x (seal, chain, position)`
	sqlBound = `
    UPDATE renewal SET seals = $2 WHERE tenant = evb_tenant() AND id = $1`
)

// bind is step 2. With no seal left the renewal is over.
func (s *Service) bind(ctx context.Context, a access.Actor, r renewal) (int, error) {
	n := 0
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLockRenewals, lockClass, lockRenewals+int32(a.Tenant)); err != nil {
			return err
		}
		found, err := s.candidates(ctx, tx, r.Kind, r.Algorithm, r.DueOnly)
		if err != nil {
			return err
		}
		var seals []uuid.UUID
		var chains, positions []int
		for _, c := range found {
			chain, position := c.Chain, c.Position+1
			if r.Kind == HashtreeRenewal {
				chain, position = c.Chain+1, 1
			} else if c.Algorithm != r.Algorithm {
				continue
			}
			seals, chains, positions = append(seals, c.Seal), append(chains, chain), append(positions, position)
		}
		now := s.now()
		if n = len(seals); n == 0 {
			if _, err := tx.Exec(ctx, sqlInsertRenewalState, r.ID, StateRenewed, now, map[string]any{}); err != nil {
				return err
			}
			return s.log.Append(ctx, tx, a, now, event.Fact{Kind: RenewalDone, SubjectKind: "renewal", Subject: r.ID, Details: map[string]any{"number": r.Number, "seals": 0}})
		}
		if _, err := tx.Exec(ctx, sqlBind, r.ID, seals, chains, positions); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlBound, r.ID, n); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlInsertRenewalState, r.ID, renewalBound, now, map[string]any{})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("seals of renewal: %w", err)
	}
	return n, nil
}

const (
	sqlTokensToRenew = `
    SELECT t.id, t.token FROM time_stamp_token t
    WHERE t.tenant = evb_tenant() AND t.id IN (
        SELECT x.token_id FROM renewal_seal r
        JOIN ats x ON x.tenant = r.tenant AND x.seal_id = r.seal_id AND x.chain = r.chain AND x.position = r.position - 1
        WHERE r.tenant = evb_tenant() AND r.renewal_id = $1)`
	sqlTokenValues = `
    UPDATE renewal_seal r SET value = v.value
    FROM ats x JOIN unnest($2::uuid[], $3::bytea[]) AS v (token, value) ON v.token = x.token_id
    WHERE r.tenant = evb_tenant() AND r.renewal_id = $1 AND x.tenant = r.tenant AND x.seal_id = r.seal_id AND x.chain = r.chain AND x.position = r.position - 1`
)

// tokenLeaves gives each seal of a time-stamp renewal its value: the hash of the
// token before (RFC 4998 section 5.2), the same for seals that share one.
func (s *Service) tokenLeaves(ctx context.Context, a access.Actor, r renewal) error {
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sqlTokensToRenew, r.ID)
		if err != nil {
			return fmt.Errorf("tokens to renew: %w", err)
		}
		var ids []uuid.UUID
		var values [][]byte
		var id uuid.UUID
		var token []byte
		if _, err := pgx.ForEachRow(rows, []any{&id, &token}, func() error {
			ids, values = append(ids, id), append(values, ers.TimestampLeaf(r.Algorithm, token))
			return nil
		}); err != nil {
			return fmt.Errorf("tokens to renew: %w", err)
		}
		if _, err := tx.Exec(ctx, sqlTokenValues, r.ID, ids, values); err != nil {
			return fmt.Errorf("leaves of renewal: %w", err)
		}
		return nil
	})
}

const (
	sqlRenewalValues = `
    SELECT DISTINCT value FROM renewal_seal WHERE tenant = evb_tenant() AND renewal_id = $1 AND value IS NOT NULL ORDER BY value`
	sqlGivePlaces = `
    UPDATE renewal_seal r SET leaf = x.n - 1 FROM unnest($2::bytea[]) WITH ORDINALITY AS x (value, n)
    WHERE r.tenant = evb_tenant() AND r.renewal_id = $1 AND r.value = x.value`
	sqlCloseRenewal = `
    UPDATE renewal SET leaves = $2, root = $3 WHERE tenant = evb_tenant() AND id = $1`
)

// closeRenewal is step 4. Equal values, of seals that share a token, are one leaf.
func (s *Service) closeRenewal(ctx context.Context, a access.Actor, r renewal) error {
	if err := s.notStopped(ctx, a, r.ID); err != nil {
		return err
	}
	var values [][]byte
	if err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlRenewalValues, r.ID)
		if err != nil {
			return err
		}
		values, err = pgx.CollectRows(rows, pgx.RowTo[[]byte])
		return err
	}); err != nil {
		return fmt.Errorf("leaves of renewal: %w", err)
	}
	tree, err := hashtree.Build(r.Algorithm, values, arity)
	if err != nil {
		return err
	}
	if err := s.putBoth(ctx, a, tree, layout.RenewalLevels(a.TenantSlug, r.ID), layout.RenewalLeaves(a.TenantSlug, r.ID)); err != nil {
		return err
	}
	pointRenewPut.Hit()
	now := s.now()
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlGivePlaces, r.ID, values); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlCloseRenewal, r.ID, tree.Len(), tree.Root()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlInsertRenewalState, r.ID, StateClosed, now, map[string]any{}); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, now, event.Fact{Kind: RenewalClosed, SubjectKind: "renewal", Subject: r.ID,
			Details: map[string]any{"number": r.Number, "kind": string(r.Kind), "leaves": tree.Len(), "algorithm": string(r.Algorithm)}})
	})
	if err != nil {
		return fmt.Errorf("close renewal: %w", err)
	}
	pointRenewClosed.Hit()
	return nil
}

// putBoth writes a tree as its leaf list and with all levels.
func (s *Service) putBoth(ctx context.Context, a access.Actor, tree *hashtree.Tree, levelsKey, leavesKey storage.Key) error {
	lock, err := s.lock(ctx, a.Tenant)
	if err != nil {
		return err
	}
	var leaves, levels bytes.Buffer
	if _, err := tree.WriteLeaves(&leaves); err != nil {
		return err
	}
	if _, err := tree.WriteTo(&levels); err != nil {
		return err
	}
	// The list first: with it alone the tree can be built, and its conflict is
	// what tells of an earlier run.
	if _, err := s.put(ctx, leavesKey, leaves.Bytes(), lock); err != nil {
		return err
	}
	_, err = s.put(ctx, levelsKey, levels.Bytes(), lock)
	return err
}
