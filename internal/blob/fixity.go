package blob

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/storage"
	"evb/storage/layout"
)

// FixityReport tells what a Fixity found.
type FixityReport struct {
	Checked, Corrupt, Missing, Cleared int
	Bytes                              int64
}

// fixityBytes bounds what one run reads.
const fixityBytes = 20 << 30

type fixityRow struct {
	ID      uuid.UUID
	SHA256  []byte
	Size    int64
	Problem string
	SHA512  []byte
}

// Those with a problem first: it may have been healed; then what was not
// looked at for the longest time.
const sqlFixity = `
    SELECT b.id, b.sha256, b.size, b.problem, coalesce(d.value, '')
    FROM ((SELECT id, 0 AS turn FROM blob WHERE tenant = evb_tenant() AND problem <> '' AND state = 'present' LIMIT $1)
          UNION ALL
          (SELECT id, 1 FROM blob WHERE tenant = evb_tenant() AND state = 'present' AND problem = ''
           ORDER BY checked_at NULLS FIRST, id LIMIT $1)) x
    JOIN blob b ON b.tenant = evb_tenant() AND b.id = x.id
    LEFT JOIN blob_digest d ON d.tenant = b.tenant AND d.blob_id = b.id AND d.algorithm = 'sha512'
    ORDER BY x.turn, b.checked_at NULLS FIRST, b.id LIMIT $1`

const sqlChecked = `
    UPDATE blob SET checked_at = $2 WHERE tenant = evb_tenant() AND id = ANY ($1)`

// Fixity reads the n present blobs back that were not looked at for the longest
// time (at most 20 GiB a run) and compares both digests. What does not match is
// marked, stated as a fact of every Dokument concerned and counted; a mark whose
// cause is gone is taken back. The run itself is a fact.
func (s *Service) Fixity(ctx context.Context, tenant access.Tenant, n int) (FixityReport, error) {
	var rep FixityReport
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return rep, err
	}
	var due []fixityRow
	err = s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlFixity, n)
		if err != nil {
			return err
		}
		due, err = pgx.CollectRows(rows, pgx.RowToStructByPos[fixityRow])
		return err
	})
	if err != nil {
		return rep, fmt.Errorf("blobs to read back: %w", err)
	}
	var looked []uuid.UUID
	var failed error
	for _, r := range due {
		if rep.Bytes+r.Size > fixityBytes && rep.Checked > 0 {
			break
		}
		var problem string
		if problem, failed = s.readBack(ctx, a, r); failed != nil {
			break
		}
		rep.Checked++
		rep.Bytes += r.Size
		looked = append(looked, r.ID)
		news := false
		if problem != r.Problem {
			if news, failed = s.setProblem(ctx, a, r.ID, problem); failed != nil {
				break
			}
		}
		result := "ok"
		switch {
		case problem == problemCorrupt:
			rep.Corrupt++
			result = problem
		case problem == problemMissing:
			rep.Missing++
			result = problem
		case news:
			rep.Cleared++
		}
		s.m.checked.WithLabelValues(result).Inc()
	}
	if len(looked) > 0 {
		err = s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, sqlChecked, looked, s.o.Now().UTC()); err != nil {
				return err
			}
			return s.log.Append(ctx, tx, a, s.o.Now(), event.Fact{Kind: FixityChecked, SubjectKind: "blob", Details: map[string]any{
				"checked": rep.Checked, "corrupt": rep.Corrupt, "missing": rep.Missing, "cleared": rep.Cleared, "bytes": rep.Bytes}})
		})
		failed = errors.Join(failed, err)
	}
	return rep, errors.Join(failed, s.countProblems(ctx, a))
}

const (
	// fixityEvery is how often the job runs.
	fixityEvery = time.Hour
	// fixityFor is how long one run goes on.
	fixityFor = 50 * time.Minute
	// fixityChunk is how many blobs are looked up at once.
	fixityChunk = 1000
)

const sqlFixityLoad = `
    SELECT count(*), count(*) FILTER (WHERE coalesce(checked_at, created_at) < $1), coalesce(min(coalesce(checked_at, created_at)), $2)
    FROM blob WHERE tenant = evb_tenant() AND state = 'present'`

// FixityRound is the hourly share of the rolling re-hash: as many blobs as it
// takes to come round within Options.FixityPeriod, all at once that are over it,
// and at least Options.FixityShare, as far as 50 minutes go. How long ago the blob
// was looked at that was not for the longest time is a metric: beyond the period
// the machine is too small for it.
func (s *Service) FixityRound(ctx context.Context, tenant access.Tenant) (FixityReport, error) {
	var rep FixityReport
	now := s.o.Now()
	var all, over int
	var oldest time.Time
	if err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, sqlFixityLoad, now.Add(-s.o.FixityPeriod), now).Scan(&all, &over, &oldest)
	}); err != nil {
		return rep, fmt.Errorf("load of fixity: %w", err)
	}
	runs := max(1, int(s.o.FixityPeriod/fixityEvery))
	share := min(all, max(s.o.FixityShare, (all+runs-1)/runs, over))
	until := time.Now().Add(fixityFor) // of the machine, not business time
	for rep.Checked < share && time.Now().Before(until) {
		r, err := s.Fixity(ctx, tenant, min(fixityChunk, share-rep.Checked))
		rep.Checked += r.Checked
		rep.Corrupt += r.Corrupt
		rep.Missing += r.Missing
		rep.Cleared += r.Cleared
		rep.Bytes += r.Bytes
		if err != nil || r.Checked == 0 {
			return rep, err
		}
	}
	s.m.fixityAge.WithLabelValues(fmt.Sprint(int(tenant))).Set(now.Sub(oldest).Seconds())
	return rep, nil
}

// readBack gives the problem of a blob's bytes, or "". An error is the
// machine's, not the blob's.
func (s *Service) readBack(ctx context.Context, a access.Actor, r fixityRow) (string, error) {
	rc, _, err := s.store.Get(ctx, layout.Content(a.TenantSlug, [32]byte(r.SHA256)), storage.Range{})
	if errors.Is(err, storage.ErrNotFound) {
		return problemMissing, nil
	}
	if err != nil {
		return "", storeFault(err, "read blob %s back", r.ID)
	}
	v := storage.NewVerifyingReader(rc, r.SHA256, r.Size)
	defer func() { _ = v.Close() }()
	long := sha512.New()
	_, err = io.Copy(long, v)
	switch {
	case errors.Is(err, storage.ErrCorrupt):
		return problemCorrupt, nil
	case errors.Is(err, storage.ErrNotFound):
		return problemMissing, nil
	case err != nil:
		return "", storeFault(err, "read blob %s back", r.ID)
	case len(r.SHA512) > 0 && string(long.Sum(nil)) != string(r.SHA512):
		return problemCorrupt, nil
	}
	return "", nil
}
