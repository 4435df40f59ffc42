package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/signature/digest"
)

// States of a blob (blob.state) and what may be wrong with one (blob.problem).
const (
	stateStaged   = "staged"
	statePresent  = "present"
	stateDeleting = "deleting"

	problemMissing = "missing"
	problemCorrupt = "corrupt"
)

// row is what Stage needs to know of a blob.
type row struct {
	ID        uuid.UUID
	SHA256    []byte
	State     string
	Problem   string
	LockUntil time.Time
}

type stageIn struct {
	tenant access.Tenant
	files  []*File
}

// wholeGroup: a database that is gone is gone for all members of a group.
func wholeGroup(err error) bool {
	return fault.Is(err, "database-unavailable") || fault.Is(err, "database-disk-full") || fault.Is(err, "commit-unknown")
}

// Rows go in by the order of their digests, so that two transactions with
// contents in common wait for each other in one direction only. An existing
// row gets a new lease, whatever its state but deleting: a present one is not
// taken for left over while somebody is about to refer to it. The end of the
// lock that goes with the put stands in the row before the put, and is that of
// whoever came first.
const sqlStage = `
    WITH f AS (
        SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bigint[], $4::bytea[]) AS x (id, sha256, size, sha512)),
    up AS (
        INSERT INTO blob AS b (tenant, id, sha256, size, state, lease_until, lock_wanted_until, created_at)
        SELECT evb_tenant(), id, sha256, size, 'staged', now() + $5::interval, $6, $7 FROM f
        ON CONFLICT (tenant, sha256) DO UPDATE SET
            lease_until = CASE WHEN b.state = 'deleting' THEN b.lease_until ELSE greatest(b.lease_until, excluded.lease_until) END,
            lock_wanted_until = CASE WHEN b.state = 'staged' THEN greatest(b.lock_wanted_until, excluded.lock_wanted_until)
                                     ELSE b.lock_wanted_until END
        RETURNING b.id, b.sha256, b.state, b.problem, b.lock_wanted_until),
    d AS (
        INSERT INTO blob_digest (tenant, blob_id, algorithm, value)
        SELECT evb_tenant(), up.id, 'sha512', f.sha512 FROM up JOIN f USING (sha256)
        ON CONFLICT DO NOTHING)
    SELECT id, sha256, state, problem, coalesce(lock_wanted_until, $6) FROM up`

// stageRows is T1 for the calls of Stage that came together.
func (s *Service) stageRows(ctx context.Context, in []stageIn) ([][]row, error) {
	out := make([][]row, len(in))
	// A group may hold several tenants; each is a transaction of its own.
	if slices.ContainsFunc(in, func(m stageIn) bool { return m.tenant != in[0].tenant }) {
		return s.stageApart(ctx, in)
	}
	all := map[[32]byte]*File{}
	for _, m := range in {
		for _, f := range m.files {
			all[f.SHA256] = f
		}
	}
	rows, err := s.upsert(ctx, in[0].tenant, all)
	if err != nil {
		return nil, err
	}
	for i, m := range in {
		out[i] = make([]row, len(m.files))
		for j, f := range m.files {
			out[i][j] = rows[f.SHA256]
		}
	}
	return out, nil
}

func (s *Service) stageApart(ctx context.Context, in []stageIn) ([][]row, error) {
	out := make([][]row, len(in))
	for i, m := range in {
		one, err := s.stageRows(ctx, []stageIn{m})
		if err != nil {
			return nil, err
		}
		out[i] = one[0]
	}
	return out, nil
}

func (s *Service) upsert(ctx context.Context, tenant access.Tenant, all map[[32]byte]*File) (map[[32]byte]row, error) {
	files := make([]*File, 0, len(all))
	for _, f := range all {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *File) int { return bytes.Compare(a.SHA256[:], b.SHA256[:]) })
	n := len(files)
	ids, short, sizes, long := make([]uuid.UUID, n), make([][]byte, n), make([]int64, n), make([][]byte, n)
	for i, f := range files {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		ids[i], short[i], sizes[i], long[i] = id, f.SHA256[:], f.Size, f.SHA512[:]
	}
	now := s.o.Now().UTC()
	lock := now.Add(s.o.PutLock).Truncate(time.Second)
	rows := make(map[[32]byte]row, n)
	err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		clear(rows)
		res, err := tx.Query(ctx, sqlStage, ids, short, sizes, long, s.o.Lease, lock, now)
		if err != nil {
			return err
		}
		got, err := pgx.CollectRows(res, pgx.RowToStructByPos[row])
		for _, r := range got {
			rows[[32]byte(r.SHA256)] = r
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stage blobs: %w", err)
	}
	return rows, nil
}

const sqlRenew = `
    UPDATE blob SET lease_until = greatest(lease_until, now() + $2::interval)
    WHERE tenant = evb_tenant() AND id = $1 AND state = 'staged'`

// In the order of the ids, against deadlocks. The lock is the one that an
// update of the sweeper waits for, and lets references be inserted beside it.
//
// The state that decides is that of l, read under the lock: everything else of
// the statement sees rows as they were when it began.
const sqlConfirm = `
    WITH l AS (
        SELECT id, state FROM blob WHERE tenant = evb_tenant() AND id = ANY ($1) ORDER BY id FOR NO KEY UPDATE),
    up AS (
        UPDATE blob b SET state = 'present', lock_actual_mode = b.lock_wanted_mode, lock_actual_until = b.lock_wanted_until
        FROM l WHERE b.tenant = evb_tenant() AND b.id = l.id AND l.state = 'staged')
    SELECT id FROM l WHERE state <> 'deleting'`

// Confirm belongs into the transaction that refers to staged blobs (step 5):
// it locks their rows, so that the sweeper cannot take one meanwhile, and makes
// them present. ErrAgain: one of them is being removed or gone; roll back and
// Stage again.
//
// The lock that the put asked for is taken as the actual one: Put returned, so
// it is in force. The job blob.lock reads it back when it prolongs it.
func Confirm(ctx context.Context, tx pgx.Tx, ids ...uuid.UUID) error {
	want := slices.Clone(ids)
	slices.SortFunc(want, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	want = slices.Compact(want)
	rows, err := tx.Query(ctx, sqlConfirm, want)
	if err != nil {
		return fmt.Errorf("confirm blobs: %w", err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("confirm blobs: %w", err)
	}
	for _, id := range want {
		if !slices.Contains(got, id) {
			return fmt.Errorf("blob %s: %w", id, ErrAgain)
		}
	}
	return nil
}

const sqlByID = `
    SELECT id, size, sha256, problem FROM blob
    WHERE tenant = evb_tenant() AND id = $1 AND state = 'present'`

// ByID describes a present blob; the fault not-found if there is none.
func ByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (Info, error) {
	var (
		info Info
		sum  []byte
	)
	err := q.QueryRow(ctx, sqlByID, id).Scan(&info.ID, &info.Size, &sum, &info.Problem)
	if errors.Is(err, pgx.ErrNoRows) {
		return Info{}, fault.Wrap(fmt.Errorf("blob %s", id), "not-found")
	}
	if err != nil {
		return Info{}, fmt.Errorf("blob %s: %w", id, err)
	}
	info.SHA256 = [32]byte(sum)
	return info, nil
}

const sqlDigests = `
    SELECT id, 'sha256', sha256 FROM blob WHERE tenant = evb_tenant() AND id = ANY ($1) AND state = 'present'
    UNION ALL
    SELECT d.blob_id, d.algorithm, d.value FROM blob_digest d
    JOIN blob b ON b.tenant = d.tenant AND b.id = d.blob_id AND b.state = 'present'
    WHERE d.tenant = evb_tenant() AND d.blob_id = ANY ($1)`

// Digests gives all digests of present blobs, SHA-256 first. A blob that is not
// present is missing from the map.
func Digests(ctx context.Context, q postgres.Querier, blobs []uuid.UUID) (map[uuid.UUID][]digest.Digest, error) {
	rows, err := q.Query(ctx, sqlDigests, blobs)
	if err != nil {
		return nil, fmt.Errorf("digests: %w", err)
	}
	out := make(map[uuid.UUID][]digest.Digest, len(blobs))
	var (
		id    uuid.UUID
		name  string
		value []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &value}, func() error {
		alg, err := digest.ParseAlgorithm(name)
		if err != nil {
			return fmt.Errorf("blob %s: %w", id, err)
		}
		d, err := digest.New(alg, slices.Clone(value))
		if err != nil {
			return fmt.Errorf("blob %s: %w", id, err)
		}
		out[id] = append(out[id], d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("digests: %w", err)
	}
	for _, ds := range out {
		slices.SortFunc(ds, func(a, b digest.Digest) int { return cmpAlgorithm(a.Algorithm, b.Algorithm) })
	}
	return out, nil
}

func cmpAlgorithm(a, b digest.Algorithm) int {
	switch {
	case a == b:
		return 0
	case a == digest.SHA256:
		return -1
	case b == digest.SHA256:
		return 1
	}
	return bytes.Compare([]byte(a), []byte(b))
}

// isReference reports that a row could not go because something refers to it.
func isReference(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23503"
}
