package circulation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postkorb"
)

const (
	sqlTouch = `
    UPDATE circulation SET state = $2, ended_at = CASE WHEN $2 = 'running' THEN ended_at ELSE coalesce(ended_at, $3) END, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`
)

func (s *Service) touch(ctx context.Context, tx pgx.Tx, r *route) error {
	return s.set(ctx, tx, r, r.state, time.Time{})
}

func (s *Service) set(ctx context.Context, tx pgx.Tx, r *route, state State, at time.Time) error {
	var when *time.Time
	if !at.IsZero() {
		when = &at
	}
	if _, err := tx.Exec(ctx, sqlTouch, r.id, state, when); err != nil {
		return fmt.Errorf("change circulation: %w", err)
	}
	r.state = state
	r.version++
	return nil
}

// goOn is what follows an act: the row version moves, and the route goes on.
func (s *Service) goOn(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route) error {
	if err := s.touch(ctx, tx, r); err != nil {
		return err
	}
	return s.advance(ctx, tx, a, at, r)
}

// advance makes the next group current when nothing is current any more, and
// ends the circulation when nothing is left. Steps of an instance wait for
// nobody, and end with it.
func (s *Service) advance(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route) error {
	if r.state != Running {
		return nil
	}
	future, current := r.with(Future), r.with(Current)
	var next []*step
	switch {
	case r.instance != nil && r.ended == nil:
		next = future
	case len(current) > 0:
		for _, t := range future { // one that joins a group at its first work
			if t.group != 0 && !t.voided && slices.ContainsFunc(current, func(c *step) bool { return c.group == t.group && !c.voided && !c.returned }) {
				next = append(next, t)
			}
		}
	case len(future) > 0:
		for _, t := range future {
			if t == future[0] || t.group != 0 && t.group == future[0].group {
				next = append(next, t)
			}
		}
	default:
		if err := s.set(ctx, tx, r, Done, at); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: CirculationEnded, Record: r.record, SubjectKind: "circulation", Subject: r.id, Details: map[string]any{"circulation_id": r.id}})
	}
	if r.instance != nil && r.ended == nil && len(next) == 0 {
		return nil
	}
	return s.current(ctx, tx, a, at, r, next, whyStep)
}

// steers is the right to change a route: who began it, and a head of the unit
// that owns the object.
func steers(a access.Actor, r *route) bool {
	return a.User == r.createdBy || a.User == access.SystemUser || r.unit != nil && a.HasIn(*r.unit, access.Head)
}

const sqlAtWork = `
    SELECT EXISTS (SELECT FROM circulation_step s JOIN postkorb_item i ON i.tenant = s.tenant AND i.step_id = s.id AND i.state IN ('open', 'claimed', 'waiting')
        WHERE s.tenant = evb_tenant() AND s.circulation_id = $1 AND s.status = 'current' AND (i.assignee_id IS NULL OR i.assignee_id = $2)
          AND i.postkorb_id IN (SELECT evb_actor_postkoerbe($2, $3)))`

// Add puts a step into the route of a running circulation: at the end, or after
// the step n.After, before what follows that. One that joins the group that is
// current becomes current at once. Who began the circulation may add, a head of
// the unit, and who has a current step on the desk. Faults: not-found,
// stale-version, circulation-ended, circulation-of-process, step-not-found,
// circulation-not-yours, circulation-too-long, and those of stations (Start).
func (s *Service) Add(ctx context.Context, a access.Actor, id uuid.UUID, n NewStep, ifVersion int64) (Circulation, error) {
	return s.change(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, r *route, _ akte.Held, stale error) error {
		may := steers(a, r)
		if !may {
			if err := tx.QueryRow(ctx, sqlAtWork, r.id, a.User, at).Scan(&may); err != nil {
				return fmt.Errorf("add a step: %w", err)
			}
		}
		switch {
		case !may:
			return fault.New("circulation-not-yours")
		case stale != nil:
			return stale
		case r.instance != nil:
			return fault.New("circulation-of-process")
		}
		_, err := s.add(ctx, tx, a, at, r, n)
		return err
	})
}

// AddStepTx is Add in the caller's transaction, for rules and processes: it
// asks for no rights, and gives the number of the step. In a circulation with an
// instance the step is current at once.
func (s *Service) AddStepTx(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, circulation uuid.UUID, n NewStep) (number int, err error) {
	r, err := s.hold(ctx, tx, circulation)
	if err != nil {
		return 0, err
	}
	return s.add(ctx, tx, a, at, r, n)
}

const sqlMakeRoom = `
    UPDATE circulation_step SET position = position + 1, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND circulation_id = $1 AND status = 'future' AND position >= $2`

func (s *Service) add(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, n NewStep) (number int, err error) {
	if r.state != Running {
		return 0, fault.New("circulation-ended")
	}
	after := n.After
	if after != 0 {
		if _, err := r.step(after); err != nil {
			return 0, err
		}
	}
	if err := s.insert(ctx, tx, a, at, r, []NewStep{n}); err != nil {
		return 0, err
	}
	t := r.steps[len(r.steps)-1]
	if after != 0 {
		if err := s.place(ctx, tx, r, t, after); err != nil {
			return 0, err
		}
	}
	err = s.log.Append(ctx, tx, a, at, event.Fact{Kind: StepAdded, Record: r.record, SubjectKind: "circulation", Subject: r.id, Details: details(r, t)})
	if err != nil {
		return 0, err
	}
	return t.number, s.goOn(ctx, tx, a, at, r)
}

const sqlPlace = `UPDATE circulation_step SET position = $2 WHERE tenant = evb_tenant() AND id = $1`

// place moves a step that was just added behind another one and the group of
// that.
func (s *Service) place(ctx context.Context, tx pgx.Tx, r *route, t *step, after int) error {
	b, err := r.step(after)
	if err != nil {
		return err
	}
	position := b.position
	for _, o := range r.steps {
		if o != t && b.group != 0 && o.group == b.group {
			position = max(position, o.position)
		}
	}
	position++
	if _, err := tx.Exec(ctx, sqlMakeRoom, r.id, position); err != nil {
		return fmt.Errorf("place step: %w", err)
	}
	if _, err := tx.Exec(ctx, sqlPlace, t.id, position); err != nil {
		return fmt.Errorf("place step: %w", err)
	}
	return r.read(ctx, tx)
}

// Skip passes over a step that is current or comes later, with a reason, by who
// began the circulation or a head of the unit. Faults: not-found,
// step-not-found, reason-needed, circulation-not-yours, stale-version,
// circulation-ended, step-executed.
func (s *Service) Skip(ctx context.Context, a access.Actor, id uuid.UUID, number int, reason string, ifVersion int64) (Circulation, error) {
	return s.change(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, r *route, _ akte.Held, stale error) error {
		t, err := r.step(number)
		switch {
		case err != nil:
			return err
		case !steers(a, r):
			return fault.New("circulation-not-yours")
		case stale != nil:
			return stale
		}
		if err := s.skip(ctx, tx, a, at, r, t, reason); err != nil {
			return err
		}
		if err := s.tell(ctx, tx, a, at, r, t, Completed{Outcome: WasSkip, Remark: reason}); err != nil {
			return err
		}
		return s.goOn(ctx, tx, a, at, r)
	})
}

// SkipTx is Skip in the caller's transaction, for a process whose token leaves a
// step by another way (a boundary event): it asks for no rights and tells
// nobody. A step that was executed already stays as it is.
func (s *Service) SkipTx(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, circulation uuid.UUID, number int, reason string) error {
	r, err := s.hold(ctx, tx, circulation)
	if err != nil {
		return err
	}
	t, err := r.step(number)
	if err != nil || t.status == Executed || t.status == Skipped {
		return err
	}
	if err := s.skip(ctx, tx, a, at, r, t, reason); err != nil {
		return err
	}
	return s.goOn(ctx, tx, a, at, r)
}

func (s *Service) skip(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, t *step, reason string) error {
	switch {
	case r.state != Running:
		return fault.New("circulation-ended")
	case t.status == Executed || t.status == Skipped:
		return fault.New("step-executed", "number", t.number)
	}
	if err := reasoned(reason); err != nil {
		return err
	}
	if err := s.execute(ctx, tx, a, at, execution{step: t, outcome: WasSkip, remark: reason}); err != nil {
		return err
	}
	if err := s.post.EndSteps(ctx, tx, a, at, postkorb.Done, false, reason, t.id); err != nil {
		return err
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: StepSkipped, Record: r.record, SubjectKind: "circulation", Subject: r.id, Reason: reason, Details: details(r, t)})
}

func reasoned(reason string) error {
	if blank(reason) {
		return fault.New("reason-needed").With("/reason", "reason-needed")
	}
	return fault.CheckText("reason", reason, fault.MaxText)
}

// Recall ends a running circulation, with a reason: what is current leaves the
// desks, what comes later never comes. By who began it or a head of the unit.
// Faults: not-found, reason-needed, circulation-not-yours, stale-version,
// circulation-ended.
func (s *Service) Recall(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Circulation, error) {
	return s.change(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, r *route, _ akte.Held, stale error) error {
		switch {
		case !steers(a, r):
			return fault.New("circulation-not-yours")
		case stale != nil:
			return stale
		}
		current, err := s.recall(ctx, tx, a, at, r, reason)
		if err != nil {
			return err
		}
		for _, t := range current {
			if err := s.tell(ctx, tx, a, at, r, t, Completed{Outcome: WasRecall, Remark: reason}); err != nil {
				return err
			}
		}
		return nil
	})
}

// RecallTx is Recall in the caller's transaction, for a process that is
// cancelled: it asks for no rights and tells nobody. A circulation that has
// ended stays as it is.
func (s *Service) RecallTx(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, circulation uuid.UUID, reason string) error {
	r, err := s.hold(ctx, tx, circulation)
	if err != nil || r.state != Running {
		return err
	}
	_, err = s.recall(ctx, tx, a, at, r, reason)
	return err
}

func (s *Service) recall(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, reason string) (current []*step, err error) {
	if r.state != Running {
		return nil, fault.New("circulation-ended")
	}
	if err := reasoned(reason); err != nil {
		return nil, err
	}
	current = r.with(Current)
	var list []execution
	var ids []uuid.UUID
	for _, t := range append(slices.Clone(current), r.with(Future)...) {
		list, ids = append(list, execution{step: t, outcome: WasRecall, remark: reason}), append(ids, t.id)
	}
	if len(list) > 0 {
		if err := s.execute(ctx, tx, a, at, list...); err != nil {
			return nil, err
		}
	}
	if err := s.post.EndSteps(ctx, tx, a, at, postkorb.Done, false, reason, ids...); err != nil {
		return nil, err
	}
	if err := s.set(ctx, tx, r, Recalled, at); err != nil {
		return nil, err
	}
	return current, s.log.Append(ctx, tx, a, at, event.Fact{Kind: WasRecalled, Record: r.record, SubjectKind: "circulation", Subject: r.id, Reason: reason, Details: map[string]any{"circulation_id": r.id, "steps": len(list)}})
}

// EndTx ends the circulation of an instance that has ended, in the caller's
// transaction: at once when nothing is current, else with its last step. What
// ended already stays as it is.
func (s *Service) EndTx(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, circulation uuid.UUID) error {
	r, err := s.hold(ctx, tx, circulation)
	if err != nil || r.state != Running || r.ended != nil {
		return err
	}
	if _, err := tx.Exec(ctx, sqlLetEnd, r.id, at); err != nil {
		return fmt.Errorf("end circulation: %w", err)
	}
	r.ended = &at
	return s.goOn(ctx, tx, a, at, r)
}

const sqlLetEnd = `UPDATE circulation SET ended_at = $2 WHERE tenant = evb_tenant() AND id = $1`
