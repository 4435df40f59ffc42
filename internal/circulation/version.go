package circulation

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/postkorb"
)

const (
	// Every verdict that still stands on an earlier version, in whatever
	// circulation; and what is running, since who looks at it looks at an earlier
	// version.
	sqlTouched = `
    SELECT c.id FROM circulation c
    WHERE c.tenant = evb_tenant() AND (c.record_id IN ($1, (SELECT o.parent_id FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $1))
        OR c.id IN (SELECT s.circulation_id FROM dokument_version v
            JOIN circulation_step_execution x ON x.tenant = v.tenant AND x.version_id = v.id
            JOIN circulation_step s ON s.tenant = x.tenant AND s.id = x.step_id
            WHERE v.tenant = evb_tenant() AND v.dokument_id = $1))
    ORDER BY c.id FOR NO KEY UPDATE`
	sqlStanding = `
    SELECT s.circulation_id, s.number, x.id, x.version_id, x.actor_id, v.number
    FROM circulation_step s
    JOIN circulation_step_execution x ON x.tenant = s.tenant AND x.step_id = s.id AND x.outcome IN ('agreed', 'refused', 'upheld')
    JOIN dokument_version v ON v.tenant = x.tenant AND v.id = x.version_id AND v.dokument_id = $2 AND v.id <> $3
    WHERE s.tenant = evb_tenant() AND s.circulation_id = ANY ($1)
      AND NOT EXISTS (SELECT FROM circulation_step_execution w WHERE w.tenant = x.tenant AND w.voids_id = x.id)
    ORDER BY s.circulation_id, s.position, s.number`
	sqlReopen = `
    UPDATE circulation_step SET status = 'future', row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = ANY ($1)`
)

// verdict is an agreement or refusal that a new version makes void.
type verdict struct {
	Circulation uuid.UUID
	Number      int
	ID          uuid.UUID
	Version     uuid.UUID
	Actor       uuid.UUID
	Shown       int // number of the version
}

// VersionAdded is for akte.Options.VersionAdded: it makes what was agreed or
// refused void in the transaction of the new version, so that no agreement ever
// shows on a version it was not given to. Its stations become current again,
// all at once; a final sign-off waits for the others. A circulation that had
// ended runs again; a recalled one only shows what has become void. Every running
// circulation of the Dokument, and of its Vorgang, gets a new row version.
func (s *Service) VersionAdded(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument, version uuid.UUID, number int) error {
	rows, err := tx.Query(ctx, sqlTouched, dokument)
	if err != nil {
		return fmt.Errorf("circulations of a version: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(ids) == 0 {
		return err
	}
	if rows, err = tx.Query(ctx, sqlStanding, ids, dokument, version); err != nil {
		return fmt.Errorf("standing agreements: %w", err)
	}
	standing, err := pgx.CollectRows(rows, pgx.RowToStructByPos[verdict])
	if err != nil {
		return fmt.Errorf("standing agreements: %w", err)
	}
	for _, id := range ids { // few: those of one Dokument
		r, err := s.hold(ctx, tx, id)
		if err != nil {
			return err
		}
		mine := slices.DeleteFunc(slices.Clone(standing), func(v verdict) bool { return v.Circulation != id })
		switch {
		case len(mine) > 0:
			err = s.void(ctx, tx, a, at, r, mine, number)
		case r.state == Running:
			err = s.touch(ctx, tx, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) void(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, verdicts []verdict, number int) error {
	var list []execution
	var facts []event.Fact
	var steps []*step
	var ids []uuid.UUID
	for _, v := range verdicts {
		t, err := r.step(v.Number)
		if err != nil {
			return err
		}
		remark := "Version " + strconv.Itoa(number)
		list = append(list, execution{step: t, outcome: Voided, remark: remark, version: v.Version, voids: v.ID})
		f := event.Fact{Kind: AgreementVoided, Record: r.record, SubjectKind: "circulation", Subject: r.id, Details: details(r, t)}
		f.Details["version"], f.Details["new_version"], f.Details["signer_id"] = v.Shown, number, v.Actor
		facts = append(facts, f)
		if !slices.Contains(steps, t) {
			steps, ids = append(steps, t), append(ids, t.id)
		}
	}
	if err := s.execute(ctx, tx, a, at, list...); err != nil {
		return err
	}
	if err := s.log.Append(ctx, tx, a, at, facts...); err != nil {
		return err
	}
	if r.state == Recalled {
		return s.touch(ctx, tx, r)
	}
	if _, err := tx.Exec(ctx, sqlReopen, ids); err != nil {
		return fmt.Errorf("reopen steps: %w", err)
	}
	var again []*step
	for _, t := range steps {
		t.status, t.voided = Future, true
		if t.kind != FinalSign {
			again = append(again, t)
		}
	}
	if err := s.set(ctx, tx, r, Running, at); err != nil {
		return err
	}
	err := s.current(ctx, tx, a, at, r, again, func(*step) postkorb.Why {
		return postkorb.Why{Code: "why-agreement-void", Params: map[string]string{"version": strconv.Itoa(number)}}
	})
	if err != nil {
		return err
	}
	return s.advance(ctx, tx, a, at, r)
}

const sqlVoidedAgreements = `
    SELECT DISTINCT ON (s.number) s.number, x.id
    FROM circulation_step s JOIN circulation_step_execution x ON x.tenant = s.tenant AND x.step_id = s.id
    WHERE s.tenant = evb_tenant() AND s.circulation_id = $1 AND s.status = 'current' AND x.outcome IN ('agreed', 'upheld', 'refused')
      AND EXISTS (SELECT FROM circulation_step_execution v WHERE v.tenant = x.tenant AND v.voids_id = x.id)
    ORDER BY s.number, x.id DESC`

// Uphold lets agreements that a new version made void stand, over the
// difference between the versions and with a reason: by the final signer of the
// circulation, where the unit of the object allows it (SetSetting). steps are
// the numbers of their stations, none: all that are current again. It is an
// execution of its own with the name of the final signer; who agreed before has
// not agreed to the new version. Who wrote that cannot uphold. Faults:
// not-found, step-foreign, stale-version, circulation-ended, uphold-not-allowed,
// nothing-to-uphold, reason-needed, own-draft.
func (s *Service) Uphold(ctx context.Context, a access.Actor, id uuid.UUID, steps []int, reason string, ifVersion int64) (Circulation, error) {
	return s.change(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, r *route, h akte.Held, stale error) error {
		me, err := s.finalSigner(ctx, tx, a, at, r)
		switch {
		case err != nil:
			return err
		case stale != nil:
			return stale
		case r.state != Running:
			return fault.New("circulation-ended")
		}
		set, err := settingOf(ctx, tx, r.unit)
		switch {
		case err != nil:
			return err
		case !set.Uphold:
			return fault.New("uphold-not-allowed")
		}
		if err := reasoned(reason); err != nil {
			return err
		}
		return s.uphold(ctx, tx, me, at, r, h, steps, reason)
	})
}

// finalSigner says that the actor may sign off a FinalSign step of the route
// that is not executed yet.
func (s *Service) finalSigner(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route) (access.Actor, error) {
	for _, t := range r.steps {
		if t.kind != FinalSign || t.status != Current && t.status != Future {
			continue
		}
		me, err := a, error(nil)
		if t.status == Current {
			me, err = s.mine(ctx, tx, a, at, t)
		} else {
			me, err = s.willBeMine(ctx, tx, a, at, t)
		}
		if err == nil {
			return me, nil
		}
		if _, refused := fault.As(err); !refused {
			return a, err
		}
	}
	return a, fault.New("step-foreign")
}

// willBeMine is mine for a step that lies nowhere yet.
func (s *Service) willBeMine(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, t *step) (access.Actor, error) {
	held, err := holders(ctx, tx, at, []Station{t.to})
	switch {
	case err != nil:
		return a, err
	case t.to.User != uuid.Nil && t.to.User == a.User, slices.Contains(held[0], a.User):
		return a, nil
	}
	var p postkorb.Postkorb
	switch {
	case t.to.User != uuid.Nil:
		p, err = postkorb.OfUser(ctx, tx, t.to.User)
	case len(held[0]) == 1:
		p, err = postkorb.OfUser(ctx, tx, held[0][0])
	default:
		p, err = postkorb.OfUnit(ctx, tx, t.to.Unit)
	}
	if err != nil {
		return a, err
	}
	own, absent, err := postkorb.StandsInFor(ctx, tx, a.User, at, p.ID)
	switch {
	case err != nil:
		return a, err
	case own && t.to.Function == "" && t.to.User == uuid.Nil:
		return a, nil
	case t.to.Function != "":
		absent = slices.DeleteFunc(absent, func(u uuid.UUID) bool { return !slices.Contains(held[0], u) })
	}
	if len(absent) > 0 {
		return a.Behalf(absent[0]), nil
	}
	return a, fault.New("step-foreign")
}

func (s *Service) uphold(ctx context.Context, tx pgx.Tx, me access.Actor, at time.Time, r *route, h akte.Held, numbers []int, reason string) error {
	rows, err := tx.Query(ctx, sqlVoidedAgreements, r.id)
	if err != nil {
		return fmt.Errorf("void agreements: %w", err)
	}
	void := map[int]uuid.UUID{}
	var number int
	var was uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&number, &was}, func() error { void[number] = was; return nil }); err != nil {
		return fmt.Errorf("void agreements: %w", err)
	}
	agreed, err := agreements(ctx, tx, r.id)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		for n, x := range void {
			if agreed[x].outcome != Refused {
				numbers = append(numbers, n)
			}
		}
		slices.Sort(numbers)
	}
	if len(numbers) == 0 {
		return fault.New("nothing-to-uphold")
	}
	slices.Sort(numbers)
	var list []execution
	var facts []event.Fact
	var ids []uuid.UUID
	for _, n := range slices.Compact(numbers) {
		t, err := r.step(n)
		if err != nil {
			return err
		}
		was := agreed[void[n]]
		if void[n] == uuid.Nil || was.outcome == Refused {
			return fault.New("nothing-to-uphold")
		}
		d := h
		if h.ID != was.dokument {
			if d, err = s.akten.HoldKnown(ctx, tx, me, at, was.dokument); err != nil {
				return err
			}
		}
		if me.User == d.Author || me.OnBehalfOf != uuid.Nil && me.OnBehalfOf == d.Author {
			return fault.New("own-draft")
		}
		list = append(list, execution{step: t, outcome: Upheld, remark: reason, version: d.Version, upholds: void[n]})
		f := event.Fact{Kind: AgreementUpheld, Record: d.ID, SubjectKind: "dokument", Subject: d.ID, Reason: reason, Details: details(r, t)}
		f.Details["version"], f.Details["version_id"], f.Details["agreed_version"], f.Details["signer_id"] = d.VersionNumber, d.Version, was.number, was.actor
		facts, ids = append(facts, f), append(ids, t.id)
	}
	if err := s.execute(ctx, tx, me, at, list...); err != nil {
		return err
	}
	if err := s.post.EndSteps(ctx, tx, me, at, postkorb.Done, false, reason, ids...); err != nil {
		return err
	}
	if err := s.log.Append(ctx, tx, me, at, facts...); err != nil {
		return err
	}
	return s.goOn(ctx, tx, me, at, r)
}

const sqlAgreements = `
    SELECT x.id, x.outcome, x.actor_id, v.dokument_id, v.number
    FROM circulation_step s JOIN circulation_step_execution x ON x.tenant = s.tenant AND x.step_id = s.id AND x.version_id IS NOT NULL
    JOIN dokument_version v ON v.tenant = x.tenant AND v.id = x.version_id
    WHERE s.tenant = evb_tenant() AND s.circulation_id = $1`

type agreement struct {
	outcome         Outcome
	actor, dokument uuid.UUID
	number          int
}

func agreements(ctx context.Context, q postgres.Querier, circulation uuid.UUID) (map[uuid.UUID]agreement, error) {
	rows, err := q.Query(ctx, sqlAgreements, circulation)
	if err != nil {
		return nil, fmt.Errorf("agreements: %w", err)
	}
	out := map[uuid.UUID]agreement{}
	var id uuid.UUID
	var x agreement
	_, err = pgx.ForEachRow(rows, []any{&id, &x.outcome, &x.actor, &x.dokument, &x.number}, func() error { out[id] = x; return nil })
	return out, err
}
