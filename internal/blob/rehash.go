package blob

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"evb/internal/access"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/storage"
	"evb/storage/layout"
)

// RehashReport tells how far a Rehash has come.
type RehashReport struct {
	// After is the id of the last blob that was gone through; the next call
	// starts there.
	After uuid.UUID
	// More is false when no present blob follows.
	More bool
	// Objects were read, Bytes in all; Bad of them are gone or changed.
	Objects, Bad int
	Bytes        int64
}

type rehashRow struct {
	ID      uuid.UUID
	SHA256  []byte
	Size    int64
	Problem string
	Known   []byte // the digest in the algorithm asked for
	SHA512  []byte
}

const sqlRehash = `
    SELECT b.id, b.sha256, b.size, b.problem, coalesce(d.value, ''), coalesce(e.value, '')
    FROM blob b
    LEFT JOIN blob_digest d ON d.tenant = b.tenant AND d.blob_id = b.id AND d.algorithm = $3
    LEFT JOIN blob_digest e ON e.tenant = b.tenant AND e.blob_id = b.id AND e.algorithm = 'sha512'
    WHERE b.tenant = evb_tenant() AND b.id > $1 AND b.state = 'present' AND ($4 OR d.value IS NULL AND $3 <> 'sha256')
    ORDER BY b.id LIMIT $2`

const sqlAddDigests = `
    INSERT INTO blob_digest (tenant, blob_id, algorithm, value)
    SELECT evb_tenant(), b.id, $1, x.value FROM unnest($2::uuid[], $3::bytea[]) AS x (id, value)
    JOIN blob b ON b.tenant = evb_tenant() AND b.id = x.id AND b.state = 'present'
    ON CONFLICT DO NOTHING`

// rehashBytes bounds what one call of Rehash reads before it reports.
const rehashBytes = 1 << 30

// Rehash gives present blobs behind after a digest in alg by reading their
// objects, at most n of them and about 1 GiB a call; with all it reads also those whose digest is
// known and compares it. What is read is compared with a digest from intake: a
// blob whose bytes are gone or changed is marked, as by Fixity, and gets no new
// digest. Two objects a processor are on the way at once, each as a stream.
// The digests are written in one transaction with those before After; a call
// that ends otherwise is repeated from the same place.
func (s *Service) Rehash(ctx context.Context, tenant access.Tenant, alg digest.Algorithm, after uuid.UUID, n int, all bool) (RehashReport, error) {
	rep := RehashReport{After: after}
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return rep, err
	}
	var rows []rehashRow
	err = s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		got, err := q.Query(ctx, sqlRehash, after, n, alg, all)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(got, pgx.RowToStructByPos[rehashRow])
		return err
	})
	if err != nil {
		return rep, fmt.Errorf("blobs to read: %w", err)
	}
	rep.More = len(rows) == n
	for i, r := range rows {
		if rep.Bytes += r.Size; rep.Bytes > rehashBytes && i+1 < len(rows) {
			rows, rep.More = rows[:i+1], true
			break
		}
	}
	if len(rows) == 0 {
		return rep, nil
	}
	problems, sums := make([]string, len(rows)), make([][]byte, len(rows))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i, r := range rows {
		g.Go(func() error {
			var err error
			problems[i], sums[i], err = s.rehash(gctx, a, alg, r)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return RehashReport{After: after, More: true}, err
	}
	var ids []uuid.UUID
	var values [][]byte
	for i, r := range rows {
		if problems[i] != r.Problem {
			if _, err := s.setProblem(ctx, a, r.ID, problems[i]); err != nil {
				return RehashReport{After: after, More: true}, err
			}
		}
		switch {
		case problems[i] != "":
			rep.Bad++
		case len(r.Known) == 0 && alg != digest.SHA256:
			ids, values = append(ids, r.ID), append(values, sums[i])
		}
	}
	if len(ids) > 0 {
		err = s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sqlAddDigests, alg, ids, values)
			return err
		})
		if err != nil {
			return RehashReport{After: after, More: true}, fmt.Errorf("further digests: %w", err)
		}
	}
	rep.After, rep.Objects = rows[len(rows)-1].ID, len(rows)
	return rep, nil
}

// rehash reads one object. One digest from intake is enough to know that the
// bytes are the same; where the wanted one is among them nothing else is
// computed.
func (s *Service) rehash(ctx context.Context, a access.Actor, alg digest.Algorithm, r rehashRow) (problem string, sum []byte, err error) {
	wanted := alg.New()
	known, against := r.Known, wanted
	var extra hash.Hash
	switch {
	case alg == digest.SHA256:
		known = r.SHA256
	case len(known) > 0:
	case len(r.SHA512) > 0:
		extra, known = sha512.New(), r.SHA512
	default:
		extra, known = sha256.New(), r.SHA256
	}
	to := io.Writer(wanted)
	if extra != nil {
		against, to = extra, io.MultiWriter(wanted, extra)
	}
	rc, _, err := s.store.Get(ctx, layout.Content(a.TenantSlug, [32]byte(r.SHA256)), storage.Range{})
	if errors.Is(err, storage.ErrNotFound) {
		return problemMissing, nil, nil
	}
	if err != nil {
		return "", nil, storeFault(err, "read blob %s", r.ID)
	}
	defer func() { _ = rc.Close() }()
	n, err := io.Copy(to, io.LimitReader(rc, r.Size+1))
	switch {
	case errors.Is(err, storage.ErrCorrupt):
		return problemCorrupt, nil, nil
	case errors.Is(err, storage.ErrNotFound):
		return problemMissing, nil, nil
	case err != nil:
		return "", nil, storeFault(err, "read blob %s", r.ID)
	case n != r.Size || string(against.Sum(nil)) != string(known):
		return problemCorrupt, nil, nil
	}
	return "", wanted.Sum(nil), nil
}
