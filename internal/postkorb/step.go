package postkorb

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// StepAct is what somebody does on the desk with an item that is the station of
// a circulation.
type StepAct struct {
	Kind     event.Kind // ItemDone, ItemReturned or ItemForwarded
	Step     uuid.UUID
	Postkorb uuid.UUID // ItemForwarded: where it lies now
	Text     string    // remark or reason
}

// step hands an act over to the circulation that the item is a station of.
// Without circulations such an item is not ended on the desk.
func (s *Service) step(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *row, act StepAct) error {
	if s.stepped == nil {
		return fault.New("item-of-step")
	}
	act.Step = *r.step
	return s.stepped(ctx, tx, a, at, act)
}

const (
	sqlStepItem = `
    SELECT id FROM postkorb_item WHERE tenant = evb_tenant() AND step_id = $1 AND state IN ('open', 'claimed', 'waiting') FOR NO KEY UPDATE`
	sqlEndSteps = `
    WITH ended AS (
        UPDATE postkorb_item SET state = $2, claimed_by = $3, finished_at = $4::timestamptz, opened_at = coalesce(opened_at, CASE WHEN $5 THEN $4::timestamptz END), row_version = row_version + 1
        WHERE tenant = evb_tenant() AND step_id = ANY ($1) AND state IN ('open', 'claimed', 'waiting')
        RETURNING id, record_id, postkorb_id),
    dropped AS (
        UPDATE follow_up f SET fired_at = $4::timestamptz FROM ended WHERE f.tenant = evb_tenant() AND f.item_id = ended.id AND f.fired_at IS NULL)
    SELECT id, record_id, postkorb_id FROM ended`
)

// StepItem is the unfinished item of a step, held for this transaction.
type StepItem struct {
	Postkorb uuid.UUID
	Passed   bool // it was forwarded and lies no longer where the circulation put it
}

// HoldStep takes the unfinished item of a step for an act of the actor. Faults:
// item-not-yours (also when nothing of the step lies anywhere), item-assigned,
// item-taken, the last two with the name.
func (s *Service) HoldStep(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, step uuid.UUID) (StepItem, error) {
	var id uuid.UUID
	err := tx.QueryRow(ctx, sqlStepItem, step).Scan(&id)
	if missing(err) {
		return StepItem{}, fault.New("item-not-yours")
	}
	if err != nil {
		return StepItem{}, fmt.Errorf("item of a step: %w", err)
	}
	r, err := s.read(ctx, tx, a, at, id)
	if err != nil {
		return StepItem{}, err
	}
	if _, err := yours(&r, a); err != nil {
		return StepItem{}, err
	}
	return StepItem{Postkorb: r.postkorb, Passed: r.previous != nil}, nil
}

// EndSteps ends the unfinished items of steps, whoever has them, in the
// caller's transaction; opened says that the actor has looked at them. What has
// ended already stays as it is.
func (s *Service) EndSteps(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, state State, opened bool, reason string, steps ...uuid.UUID) error {
	if len(steps) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, sqlEndSteps, steps, state, a.User, at, opened)
	if err != nil {
		return fmt.Errorf("end items of steps: %w", err)
	}
	kind := ItemDone
	if state == Returned {
		kind = ItemReturned
	}
	var item, record, postkorb uuid.UUID
	var facts []event.Fact
	_, err = pgx.ForEachRow(rows, []any{&item, &record, &postkorb}, func() error {
		facts = append(facts, event.Fact{Kind: kind, Record: record, SubjectKind: "item", Subject: item, Reason: reason, Details: map[string]any{"postkorb_id": postkorb}})
		return nil
	})
	if err != nil {
		return fmt.Errorf("end items of steps: %w", err)
	}
	return s.log.Append(ctx, tx, a, at, facts...)
}

const sqlStandsInFor = `SELECT d.user_id FROM evb_deputy_postkoerbe($2, $3) d WHERE d.postkorb_id = $1 ORDER BY d.user_id`

// StandsInFor says whether the actor works in a Postkorb in person, and for whom
// the actor stands in there.
func StandsInFor(ctx context.Context, q postgres.Querier, user uuid.UUID, at time.Time, postkorb uuid.UUID) (own bool, absent []uuid.UUID, err error) {
	if err := q.QueryRow(ctx, sqlWorksIn, postkorb, user, at).Scan(&own); err != nil {
		return false, nil, fmt.Errorf("own desk: %w", err)
	}
	rows, err := q.Query(ctx, sqlStandsInFor, postkorb, user, at)
	if err != nil {
		return false, nil, fmt.Errorf("stands in for: %w", err)
	}
	absent, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	return own, absent, err
}

const sqlLoginOf = `SELECT login FROM app_user WHERE tenant = evb_tenant() AND id = $1`

// EnsurePersonal gives the personal Postkorb of a user, or makes it, named by
// the login, in the caller's transaction.
func (s *Service) EnsurePersonal(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, user uuid.UUID) (Postkorb, error) {
	p, err := OfUser(ctx, tx, user)
	if !fault.Is(err, "postkorb-unknown") {
		return p, err
	}
	var login string
	if err := tx.QueryRow(ctx, sqlLoginOf, user).Scan(&login); err != nil {
		return Postkorb{}, fmt.Errorf("login of a user: %w", err)
	}
	for _, name := range []string{login, login + " (persönlich)"} {
		id, err := s.EnsurePostkorb(ctx, tx, a, at, NewPostkorb{Name: name, Kind: Personal, User: user})
		if err != nil && !fault.Is(err, "postkorb-unknown") { // a closed one has the name
			return Postkorb{}, err
		}
		if err != nil {
			continue
		}
		if p, err = ByID(ctx, tx, id); err != nil {
			return Postkorb{}, err
		}
		if p.UserID != nil && *p.UserID == user {
			return p, nil
		}
	}
	return Postkorb{}, fault.New("postkorb-unknown")
}

// PassStep forwards the unfinished item of a step, which HoldStep took in this
// transaction, to another Postkorb. Fault: forward-to-itself.
func (s *Service) PassStep(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, step, postkorb uuid.UUID, reason string) error {
	var id uuid.UUID
	if err := tx.QueryRow(ctx, sqlStepItem, step).Scan(&id); err != nil {
		return fmt.Errorf("item of a step: %w", err)
	}
	r, err := s.read(ctx, tx, a, at, id)
	switch {
	case err != nil:
		return err
	case r.postkorb == postkorb:
		return fault.New("forward-to-itself")
	}
	p, err := ByID(ctx, tx, postkorb)
	if err != nil {
		return err
	}
	if err := s.finish(ctx, tx, a, at, &r, Done, ItemForwarded); err != nil {
		return err
	}
	d := Delivery{Record: r.record, Postkorb: p.ID, Step: step, Reason: reason, From: a.User,
		Why: Why{Code: "why-forwarded", Params: map[string]string{"person": a.DisplayName, "postkorb": r.postkorbName}}}
	if r.dueAt != nil {
		d.Due = *r.dueAt
	}
	next, err := s.deliver(ctx, tx, a, at, d, &r)
	if err != nil {
		return err
	}
	return s.note(ctx, tx, a, at, &r, ItemForwarded, reason, map[string]any{"to_postkorb_id": p.ID, "to_postkorb": p.Name, "next_id": next})
}
