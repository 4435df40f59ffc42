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
	"evb/internal/postgres"
	"evb/storage"
	"evb/storage/layout"
)

// ReconcileReport tells what a Reconcile found.
type ReconcileReport struct {
	Objects, Rows int
	// Orphans are objects without a row that were handed to the sweeper.
	Orphans int
	// Released are present blobs that nothing refers to any more (a rendition
	// was made anew), handed to the sweeper.
	Released int
	// Problems are present blobs without an object or with one of another size.
	Problems int
	// Suspicious says that there were more orphans than Options.Orphans and
	// none was touched.
	Suspicious bool
}

// part is what the two sides know about the contents of one prefix.
type part struct {
	objects map[[32]byte]storage.Info
	foreign []storage.Key
	rows    []rowSide
}

type rowSide struct {
	ID      uuid.UUID
	SHA256  []byte
	Size    int64
	State   string
	Problem string
	Expired bool // nobody holds a lease
	Created time.Time
	Lock    *time.Time
}

const sqlRowsOfPart = `
    SELECT id, sha256, size, state, problem, coalesce(lease_until < now(), true), created_at, lock_actual_until FROM blob
    WHERE tenant = evb_tenant() AND sha256 >= $1 AND ($2::bytea IS NULL OR sha256 < $2)
    ORDER BY sha256`

func (s *Service) part(ctx context.Context, a access.Actor, b int) (part, error) {
	p := part{objects: map[[32]byte]storage.Info{}}
	for info, err := range s.store.List(ctx, layout.ContentPrefix(a.TenantSlug, byte(b)), "") {
		if err != nil {
			return p, storeFault(err, "list objects %02x", b)
		}
		n, err := layout.Parse(info.Key)
		if err != nil || n.Kind != layout.KindContent {
			p.foreign = append(p.foreign, info.Key)
			continue
		}
		p.objects[n.SHA256] = info
	}
	var upper []byte
	if b < 255 {
		upper = []byte{byte(b + 1)}
	}
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlRowsOfPart, []byte{byte(b)}, upper)
		if err != nil {
			return err
		}
		p.rows, err = pgx.CollectRows(rows, pgx.RowToStructByPos[rowSide])
		return err
	})
	if err != nil {
		return p, fmt.Errorf("blobs %02x: %w", b, err)
	}
	return p, nil
}

type orphan struct {
	sum  [32]byte
	size int64
}

// Reconcile compares bucket and rows, prefix by prefix. An object without a row
// that is older than Options.Grace gets a staged row with an expired lease, so
// that the sweeper removes it; a present row without object, or with one of
// another size, is a problem: marked, stated as a fact, counted.
//
// A crash here leaves a part of the findings written; the next run finds the
// rest.
func (s *Service) Reconcile(ctx context.Context, tenant access.Tenant) (ReconcileReport, error) {
	var rep ReconcileReport
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return rep, err
	}
	old := s.o.Now().Add(-s.o.Grace)
	var orphans []orphan
	found := 0
	for b := range 256 {
		p, err := s.part(ctx, a, b)
		if err != nil {
			return rep, err
		}
		rep.Objects += len(p.objects)
		rep.Rows += len(p.rows)
		var idle []uuid.UUID
		for _, r := range p.rows {
			o, there := p.objects[[32]byte(r.SHA256)]
			delete(p.objects, [32]byte(r.SHA256))
			if r.State != statePresent {
				continue
			}
			if r.Expired && r.Created.Before(old) {
				idle = append(idle, r.ID)
			}
			if there && o.Size == r.Size {
				continue
			}
			bad, err := s.suspect(ctx, a, r)
			if err != nil {
				return rep, err
			}
			if bad {
				rep.Problems++
			}
		}
		for sum, o := range p.objects {
			if o.ModTime.Before(old) {
				// Of more than these none is touched: they are counted only.
				if found++; found <= s.o.Orphans {
					orphans = append(orphans, orphan{sum, o.Size})
				}
			}
		}
		n, err := s.release(ctx, a, idle)
		if err != nil {
			return rep, err
		}
		rep.Released += n
	}
	s.m.orphans.Add(float64(found))
	if found > s.o.Orphans {
		rep.Suspicious = true
		s.o.Log.ErrorContext(ctx, "more objects without a row than can be accident: was the database restored from an older backup? nothing is removed",
			"tenant_id", tenant, "objects", found, "limit", s.o.Orphans)
		err = s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
			return s.log.Append(ctx, tx, a, s.o.Now(), event.Fact{Kind: OrphansSuspicious, SubjectKind: "blob",
				Details: map[string]any{"objects": found, "limit": s.o.Orphans}})
		})
	} else {
		rep.Orphans, err = s.adoptOrphans(ctx, a, orphans)
	}
	return rep, errors.Join(err, s.countProblems(ctx, a))
}

// suspect looks at one row again that List seemed to contradict: rows and
// objects were read at different moments.
func (s *Service) suspect(ctx context.Context, a access.Actor, r rowSide) (bool, error) {
	info, there, err := s.look(ctx, a, r)
	problem := problemCorrupt
	switch {
	case err != nil:
		return false, err
	case !there:
		problem = problemMissing
	case info.Size == r.Size:
		return false, nil
	}
	found, err := s.setProblem(ctx, a, r.ID, problem)
	return found || r.Problem != "", err
}

// look asks the bucket for the object of a row.
func (s *Service) look(ctx context.Context, a access.Actor, r rowSide) (info storage.Info, there bool, err error) {
	info, err = s.store.Stat(ctx, layout.Content(a.TenantSlug, [32]byte(r.SHA256)))
	if errors.Is(err, storage.ErrNotFound) {
		return info, false, nil
	}
	return info, err == nil, storeFault(err, "look at blob %s", r.ID)
}

const sqlLockIdle = `
    SELECT id FROM blob
    WHERE tenant = evb_tenant() AND id = ANY ($1) AND state = 'present' AND coalesce(lease_until < now(), true)
    ORDER BY id FOR UPDATE SKIP LOCKED`

// Locked first, judged by a statement of its own (see sqlExpired).
const sqlRelease = `
    UPDATE blob SET state = 'staged', lease_until = now()
    WHERE tenant = evb_tenant() AND id = ANY ($1) AND NOT evb_blob_referenced(tenant, id)`

func (s *Service) release(ctx context.Context, a access.Actor, idle []uuid.UUID) (int, error) {
	if len(idle) == 0 {
		return 0, nil
	}
	var n int64
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sqlUnreferenced, idle)
		if err != nil {
			return err
		}
		if idle, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil || len(idle) == 0 {
			return err
		}
		if rows, err = tx.Query(ctx, sqlLockIdle, idle); err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, sqlRelease, ids)
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("release blobs: %w", err)
	}
	return int(n), nil
}

// Most blobs are referred to: only the others are locked.
const sqlUnreferenced = `
    SELECT x.id FROM unnest($1::uuid[]) AS x (id) WHERE NOT evb_blob_referenced(evb_tenant(), x.id)`

const sqlOrphans = `
    INSERT INTO blob (tenant, id, sha256, size, state, lease_until, created_at)
    SELECT evb_tenant(), x.id, x.sha256, x.size, 'staged', now(), $4
    FROM unnest($1::uuid[], $2::bytea[], $3::bigint[]) AS x (id, sha256, size)
    ON CONFLICT (tenant, sha256) DO NOTHING`

func (s *Service) adoptOrphans(ctx context.Context, a access.Actor, orphans []orphan) (int, error) {
	if len(orphans) == 0 {
		return 0, nil
	}
	n := len(orphans)
	ids, sums, sizes := make([]uuid.UUID, n), make([][]byte, n), make([]int64, n)
	for i, o := range orphans {
		id, err := uuid.NewV7()
		if err != nil {
			return 0, err
		}
		ids[i], sums[i], sizes[i] = id, o.sum[:], o.size
	}
	var made int64
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlOrphans, ids, sums, sizes, s.o.Now().UTC())
		made = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("rows for left-over objects: %w", err)
	}
	return int(made), nil
}

const sqlSetProblem = `
    UPDATE blob SET problem = $2
    WHERE tenant = evb_tenant() AND id = $1 AND state = 'present' AND problem <> $2`

// setProblem marks a blob, or clears the mark (""), and states it for every
// Dokument concerned. It reports whether that was news.
func (s *Service) setProblem(ctx context.Context, a access.Actor, id uuid.UUID, problem string) (bool, error) {
	news := false
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlSetProblem, id, problem)
		if err != nil {
			return err
		}
		if news = tag.RowsAffected() > 0; !news {
			return nil
		}
		of, err := dokumenteOf(ctx, tx, id)
		if err != nil {
			return err
		}
		docs := of[id]
		if len(docs) == 0 {
			docs = []uuid.UUID{uuid.Nil}
		}
		kind, details := ProblemFound, map[string]any{"problem": problem}
		if problem == "" {
			kind, details = ProblemCleared, nil
		}
		facts := make([]event.Fact, len(docs))
		for i, d := range docs {
			facts[i] = event.Fact{Kind: kind, Record: d, SubjectKind: "blob", Subject: id, Details: details}
		}
		return s.log.Append(ctx, tx, a, s.o.Now(), facts...)
	})
	if err != nil {
		return false, fmt.Errorf("mark blob %s: %w", id, err)
	}
	if news && problem != "" {
		s.o.Log.ErrorContext(ctx, "object of a present blob is not as it was stored", "blob_id", id, "problem", problem)
	}
	return news, nil
}

const sqlCountProblems = `
    SELECT problem, count(*) FROM blob WHERE tenant = evb_tenant() AND problem <> '' GROUP BY problem`

func (s *Service) countProblems(ctx context.Context, a access.Actor) error {
	counts := map[string]float64{problemMissing: 0, problemCorrupt: 0}
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlCountProblems)
		if err != nil {
			return err
		}
		var (
			problem string
			n       int64
		)
		_, err = pgx.ForEachRow(rows, []any{&problem, &n}, func() error {
			counts[problem] = float64(n)
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("count problems: %w", err)
	}
	for p, n := range counts {
		s.m.problems.WithLabelValues(a.TenantSlug, p).Set(n)
	}
	return nil
}
