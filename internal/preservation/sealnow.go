package preservation

import (
	"context"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// longWait is the wait that SealNow does not sit through: a grace period of
// hours ends without it.
const longWait = 30 * time.Second

// SealNow closes everything there is to seal and returns when it is sealed. With
// Dokumente given it waits for these alone and collects nothing else: who wants
// the proof of one letter does not wait for the batch that is just coming in.
// Dokumente whose intake is running get Options.SealWait to finish and are then
// taken as they are. Seals that were waiting for a person go on. A grace period
// of the authority longer than 30 seconds is not waited for; the report says
// so. Faults: forbidden, and those of the authority (tsa-...), after which what
// was closed stays closed and is stamped later.
func (s *Service) SealNow(ctx context.Context, a access.Actor, dokumente ...uuid.UUID) (SealReport, error) {
	var out SealReport
	if err := maySeal(a); err != nil {
		return out, err
	}
	if s.o.TSA == nil {
		return out, fault.New("tsa-not-configured")
	}
	if err := s.collectAll(ctx, a.Tenant, dokumente); err != nil {
		return out, err
	}
	if err := s.WriteHeads(ctx, a.Tenant); err != nil {
		return out, err
	}
	if _, err := s.PackNow(ctx, a.Tenant); err != nil {
		return out, err
	}
	if err := s.closeAll(ctx, a); err != nil {
		return out, err
	}
	var open []uuid.UUID
	if err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var err error
		open, err = openStamp(ctx, q, 10_000)
		return err
	}); err != nil {
		return out, err
	}
	for _, id := range open {
		if err := s.finish(ctx, a, id, &out); err != nil {
			return out, err
		}
	}
	return out, s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		for _, id := range open {
			i, err := s.sealInfo(ctx, q, id)
			if err != nil {
				return err
			}
			var documents int
			if err := q.QueryRow(ctx, sqlDokumenteOf, id).Scan(&documents); err != nil {
				return err
			}
			out.Seals = append(out.Seals, i)
			out.ArchiveVersions += i.Leaves
			out.Documents += documents
		}
		return nil
	})
}

// finish brings one seal to its end, or to a wait that is too long.
func (s *Service) finish(ctx context.Context, a access.Actor, id uuid.UUID, out *SealReport) error {
	for {
		wait, err := s.advance(ctx, a, ofSeal, id, true)
		if err != nil || wait <= 0 {
			return err
		}
		if wait > longWait {
			until := s.now().Add(wait)
			if !out.Waiting || until.After(out.Until) {
				out.Waiting, out.Until = true, until
			}
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// closeAll closes trees until no archive version of a Dokument is open. Heads
// alone are no reason to close: sealing itself moves the log.
func (s *Service) closeAll(ctx context.Context, a access.Actor) error {
	_, err := s.elected(ctx, lockClass, lockClose+int32(a.Tenant), true, func() error {
		for {
			st, err := s.openLeaves(ctx, a.Tenant)
			if err != nil || st.Dokumente == 0 {
				return err
			}
			id, _, err := s.closeOne(ctx, a, "request")
			if err != nil || id == uuid.Nil {
				return err
			}
		}
	})
	return err
}

// collectAll collects every Dokument: at first those whose intake is over, then,
// when SealWait is over, the others; of the given ones, or of all.
func (s *Service) collectAll(ctx context.Context, tenant access.Tenant, only []uuid.UUID) error {
	deadline := time.Now().Add(s.o.SealWait) // the patience of a person, not business time
	for {
		open, err := s.collectEach(ctx, tenant, only, false)
		if err != nil || open == 0 {
			return err
		}
		if !time.Now().Before(deadline) {
			break
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	_, err := s.collectEach(ctx, tenant, only, true)
	return err
}

// collectEach collects the Dokumente in intake and returns how many have no
// archive version afterwards.
func (s *Service) collectEach(ctx context.Context, tenant access.Tenant, only []uuid.UUID, force bool) (open int, err error) {
	var after uuid.UUID
	for {
		var ids []uuid.UUID
		if err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
			var err error
			ids, err = uncollected(ctx, q, only, after, 500, !force)
			return err
		}); err != nil {
			return 0, err
		}
		if len(ids) == 0 {
			break
		}
		for _, id := range ids {
			if _, err := s.collect(ctx, tenant, id, force); err != nil {
				return 0, err
			}
		}
		after = ids[len(ids)-1]
	}
	err = s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		ids, err := uncollected(ctx, q, only, uuid.Nil, 1, false)
		open = len(ids)
		return err
	})
	return open, err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
