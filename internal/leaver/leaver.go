// Package leaver lists the open work of a person who leaves, and moves it to
// somebody else in one transaction: items (assigned, claimed, in the personal
// Postkorb), follow-ups, stations of circulations, substitutions. Each of these
// is moved by the package that owns it, which states the facts; this one asks
// for the right. Check-outs end: what was written at is not here to be taken over.
//
// A head of a unit of the person may, and an administrator. The memberships of a
// person who has left already count as they were.
package leaver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/circulation"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/substitution"
)

// WorkMoved is the fact that the open work of a person was moved; the subject is
// the person.
const WorkMoved event.Kind = "user.work_moved"

// Counts are exact numbers of open work.
type Counts struct {
	Items         int64 `json:"items"`
	FollowUps     int64 `json:"follow_ups"`
	Steps         int64 `json:"steps"`
	Substitutions int64 `json:"substitutions"`
	CheckOuts     int64 `json:"check_outs"`
}

// Total is all of it.
func (c Counts) Total() int64 { return c.Items + c.FollowUps + c.Steps + c.Substitutions + c.CheckOuts }

// Work is the open work of a person.
type Work struct {
	Counts        Counts
	Items         []postkorb.Item     // at most postkorb.MaxPage
	FollowUps     []postkorb.FollowUp // at most postkorb.MaxPage
	Steps         []circulation.PersonStep
	Substitutions []substitution.Substitution
	CheckOuts     []akte.CheckedOut
}

// Service holds the use cases. Safe for concurrent use.
type Service struct {
	db    *postgres.DB
	log   *event.Log
	akten *akte.Service
	desks *postkorb.Service
	ways  *circulation.Service
	subs  *substitution.Service
	now   func() time.Time
}

// Options of New.
type Options struct {
	Now func() time.Time // nil: time.Now
}

// New makes the service.
func New(db *postgres.DB, log *event.Log, akten *akte.Service, desks *postkorb.Service, ways *circulation.Service, subs *substitution.Service, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: db, log: log, akten: akten, desks: desks, ways: ways, subs: subs, now: func() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }}
}

const sqlUnits = `
    SELECT coalesce(array_agg(DISTINCT m.unit_id) FILTER (WHERE m.unit_id IS NOT NULL
        AND (m.valid_from <= $2 AND $2 < m.valid_to OR u.disabled_at IS NOT NULL)), '{}')
    FROM app_user u LEFT JOIN membership m ON m.tenant = u.tenant AND m.user_id = u.id
    WHERE u.tenant = evb_tenant() AND u.id = $1 GROUP BY u.id`

// may is the right to see and move the work of a person. Faults:
// user-not-found, open-work-not-yours.
func may(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, user uuid.UUID) error {
	var units []uuid.UUID
	err := q.QueryRow(ctx, sqlUnits, user, at).Scan(&units)
	if errors.Is(err, pgx.ErrNoRows) || user == access.SystemUser {
		return fault.New("user-not-found", "user", user)
	}
	if err != nil {
		return fmt.Errorf("units of a user: %w", err)
	}
	if a.User == access.SystemUser || a.HasIn(uuid.Nil, access.Administrator) {
		return nil
	}
	for _, u := range units {
		if a.HasIn(u, access.Head) {
			return nil
		}
	}
	return fault.New("open-work-not-yours")
}

// Open lists the open work of a person. Faults: user-not-found,
// open-work-not-yours.
func (s *Service) Open(ctx context.Context, a access.Actor, user uuid.UUID) (w Work, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		at := s.now()
		if err := may(ctx, q, a, at, user); err != nil {
			return err
		}
		desk, err := s.desks.WorkOf(ctx, q, a, at, user)
		if err != nil {
			return err
		}
		w = Work{Items: desk.Items, FollowUps: desk.FollowUps}
		if w.Steps, err = circulation.StepsOf(ctx, q, user); err != nil {
			return err
		}
		if w.Substitutions, err = substitution.OfUser(ctx, q, at, user); err != nil {
			return err
		}
		if w.CheckOuts, err = akte.CheckOutsOf(ctx, q, at, user); err != nil {
			return err
		}
		w.Counts = Counts{Items: desk.ItemCount, FollowUps: desk.FollowUpCount, Steps: int64(len(w.Steps)), Substitutions: int64(len(w.Substitutions)), CheckOuts: int64(len(w.CheckOuts))}
		return nil
	})
	return w, err
}

// Count counts the open work of a person. No right is asked for.
func Count(ctx context.Context, q postgres.Querier, at time.Time, user uuid.UUID) (c Counts, err error) {
	if c.Items, c.FollowUps, err = postkorb.CountWork(ctx, q, user); err != nil {
		return c, err
	}
	steps, err := circulation.StepsOf(ctx, q, user)
	if err != nil {
		return c, err
	}
	subs, err := substitution.OfUser(ctx, q, at, user)
	if err != nil {
		return c, err
	}
	out, err := akte.CheckOutsOf(ctx, q, at, user)
	c.Steps, c.Substitutions, c.CheckOuts = int64(len(steps)), int64(len(subs)), int64(len(out))
	return c, err
}

// Left counts the open work of a person, for who has just locked that person
// out. No right is asked for.
func (s *Service) Left(ctx context.Context, a access.Actor, user uuid.UUID) (c Counts, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		c, err = Count(ctx, q, s.now(), user)
		return err
	})
	return c, err
}

const sqlSuccessor = `
    SELECT u.kind = 'person' AND u.disabled_at IS NULL FROM app_user u WHERE u.tenant = evb_tenant() AND u.id = $1`

// Move gives all open work of a person to another one, all of it or nothing, and
// says how much. Faults: reason-needed, user-not-found, open-work-not-yours,
// move-to-itself, successor-unfit (no person, or disabled).
func (s *Service) Move(ctx context.Context, a access.Actor, user, to uuid.UUID, reason string) (c Counts, err error) {
	if strings.TrimSpace(reason) == "" {
		return c, fault.New("reason-needed").With("/reason", "reason-needed")
	}
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return c, err
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		if err := may(ctx, tx, a, at, user); err != nil {
			return err
		}
		var fit bool
		err := tx.QueryRow(ctx, sqlSuccessor, to).Scan(&fit)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fault.New("user-not-found", "user", to)
		case err != nil:
			return fmt.Errorf("successor: %w", err)
		case user == to:
			return fault.New("move-to-itself")
		case !fit || to == access.SystemUser:
			return fault.New("successor-unfit")
		}
		steps, err := s.ways.MoveSteps(ctx, tx, a, at, user, to, reason)
		if err != nil {
			return err
		}
		items, follows, err := s.desks.MoveWork(ctx, tx, a, at, user, to, reason)
		if err != nil {
			return err
		}
		subs, err := s.subs.MoveWork(ctx, tx, a, at, user, to, reason)
		if err != nil {
			return err
		}
		out, err := s.akten.EndCheckOuts(ctx, tx, a, at, user, reason)
		if err != nil {
			return err
		}
		c = Counts{Items: int64(items), FollowUps: int64(follows), Steps: int64(steps), Substitutions: int64(subs), CheckOuts: int64(out)}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: WorkMoved, SubjectKind: "user", Subject: user, Reason: reason,
			Details: map[string]any{"to_user_id": to, "items": items, "follow_ups": follows, "steps": steps, "substitutions": subs, "check_outs": out}})
	})
	return c, err
}
