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
	"evb/internal/preservation"
)

var sqlPeek = `
    SELECT c.record_id FROM circulation c JOIN record_object o ON o.tenant = c.tenant AND o.id = c.record_id
    WHERE c.tenant = evb_tenant() AND c.id = $1 AND ` + visible("c", "o", 2, 3)

// visible is the condition that an actor sees a circulation: whoever sees its
// object, and who began it.
func visible(circulation, record string, actor, at int) string {
	return fmt.Sprintf("(%s.created_by = $%d OR %s)", circulation, actor, access.Sees(record, actor, at))
}

// change runs one act on a circulation: it takes the object, then the
// circulation, so that no version comes in between, and gives the circulation
// back as it is afterwards.
func (s *Service) change(ctx context.Context, a access.Actor, id uuid.UUID, ifVersion int64, fn func(tx pgx.Tx, at time.Time, r *route, h akte.Held, stale error) error) (c Circulation, err error) {
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		var record uuid.UUID
		err := tx.QueryRow(ctx, sqlPeek, id, a.User, at).Scan(&record)
		if missing(err) {
			return fault.New("not-found")
		}
		if err != nil {
			return fmt.Errorf("circulation: %w", err)
		}
		h, err := s.akten.HoldKnown(ctx, tx, a, at, record)
		if err != nil {
			return err
		}
		r, err := s.hold(ctx, tx, id)
		if err != nil {
			return err
		}
		var stale error
		if ifVersion != 0 && ifVersion != r.version {
			stale = fault.New("stale-version")
		}
		if err := fn(tx, at, r, h, stale); err != nil {
			return err
		}
		c, err = ByID(ctx, tx, id)
		return err
	})
	return c, err
}

// Complete executes a current step. ifVersion is the circulation's row version,
// 0 takes any: a new version of the Dokument changes it, so nobody agrees to a
// version that was not shown. Who has the item is told before a stale version.
//
// Agreed binds the current version of the Dokument and its archive version, and
// at a FinalSign freezes it. Refused needs a remark; the circulation goes back
// to who began it, as a step of its own, and what comes next waits for that
// (with an Instance the process says what follows). Faults: not-found,
// step-not-found, item-not-yours, item-assigned, item-taken, step-foreign,
// stale-version, circulation-ended, step-not-current, outcome-unknown,
// outcome-unfit, reason-needed, own-draft, already-signed, agreements-open,
// agreement-needs-dokument, dokument-closed, dokument-quarantined,
// dokument-in-work, step-takes-no-data, and those of stations when Forwarded.
func (s *Service) Complete(ctx context.Context, a access.Actor, id uuid.UUID, number int, c Completion, ifVersion int64) (Circulation, error) {
	return s.change(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, r *route, h akte.Held, stale error) error {
		t, err := r.step(number)
		if err != nil {
			return err
		}
		return s.complete(ctx, tx, a, at, r, h, t, c, stale)
	})
}

// working is the check that a step is current and the actor's.
func (s *Service) working(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, t *step, stale error) (access.Actor, error) {
	if t.status == Current {
		me, err := s.mine(ctx, tx, a, at, t)
		if err == nil {
			err = stale
		}
		return me, err
	}
	switch {
	case stale != nil:
		return a, stale
	case r.state != Running:
		return a, fault.New("circulation-ended")
	}
	return a, fault.New("step-not-current", "number", t.number)
}

func (s *Service) complete(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, h akte.Held, t *step, c Completion, stale error) error {
	if c.Outcome == "" {
		c.Outcome = Finished
	}
	if err := fault.CheckText("remark", c.Remark, fault.MaxRemark); err != nil {
		return err
	}
	me, err := s.working(ctx, tx, a, at, r, t, stale)
	if err != nil {
		return err
	}
	if err := fits(r, t, c); err != nil {
		return err
	}
	if c.Outcome == Forwarded {
		return s.forward(ctx, tx, me, at, r, t, c)
	}
	d, err := s.bound(ctx, tx, a, at, h, c)
	if err != nil {
		return err
	}
	if c.Outcome == Agreed {
		if err := s.mayAgree(ctx, tx, me, r, t, d); err != nil {
			return err
		}
	}
	x := execution{step: t, outcome: c.Outcome, remark: c.Remark, version: d.Version}
	if err := s.execute(ctx, tx, me, at, x); err != nil {
		return err
	}
	state := postkorb.Done
	if c.Outcome == Refused {
		state = postkorb.Returned
	}
	if err := s.post.EndSteps(ctx, tx, me, at, state, true, c.Remark, t.id); err != nil {
		return err
	}
	if err := s.note(ctx, tx, me, at, r, t, c, d); err != nil {
		return err
	}
	if t.kind == FinalSign && c.Outcome == Agreed {
		if err := s.akten.Freeze(ctx, tx, me, at, d.ID); err != nil {
			return err
		}
	}
	if c.Outcome == Refused && r.instance == nil {
		if err := s.sendBack(ctx, tx, me, at, r, t); err != nil {
			return err
		}
	}
	if err := s.tell(ctx, tx, me, at, r, t, Completed{Outcome: c.Outcome, Remark: c.Remark, Dokument: d.ID, Version: d.Version, Data: c.Data}); err != nil {
		return err
	}
	return s.goOn(ctx, tx, me, at, r)
}

// fits refuses outcomes that a step of the kind does not take.
func fits(r *route, t *step, c Completion) error {
	switch c.Outcome {
	case Finished:
		if t.kind == CoSign || t.kind == FinalSign {
			return fault.New("outcome-unfit", "outcome", c.Outcome, "number", t.number)
		}
	case Agreed, Forwarded:
	case Refused:
		if t.returned { // it has come back already
			return fault.New("outcome-unfit", "outcome", c.Outcome, "number", t.number)
		}
		if blank(c.Remark) {
			return fault.New("reason-needed").With("/remark", "reason-needed")
		}
	case WasSkip, WasRecall, Voided, Upheld:
		return fault.New("outcome-unfit", "outcome", c.Outcome, "number", t.number)
	default:
		return fault.New("outcome-unknown", "outcome", c.Outcome)
	}
	if len(c.Data) > 0 && r.instance == nil {
		return fault.New("step-takes-no-data")
	}
	return nil
}

const sqlOnlyDokument = `
    SELECT o.id FROM record_object o JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id
    WHERE o.tenant = evb_tenant() AND o.parent_id = $1 AND ($2::uuid IS NULL OR o.id = $2) LIMIT 2`

// bound is the Dokument whose current version an execution names: that of the
// circulation, else for a verdict the one it is about. A Refused step and a
// finished one need none.
func (s *Service) bound(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, h akte.Held, c Completion) (akte.Held, error) {
	if h.Kind == akte.KindDokument {
		if c.Dokument != uuid.Nil && c.Dokument != h.ID {
			return akte.Held{}, fault.New("agreement-needs-dokument")
		}
		return h, usable(h, c)
	}
	if c.Outcome != Agreed && c.Dokument == uuid.Nil {
		return akte.Held{}, nil
	}
	rows, err := tx.Query(ctx, sqlOnlyDokument, h.ID, ptr(c.Dokument))
	if err != nil {
		return akte.Held{}, fmt.Errorf("dokument of an agreement: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return akte.Held{}, fmt.Errorf("dokument of an agreement: %w", err)
	}
	if len(ids) != 1 {
		return akte.Held{}, fault.New("agreement-needs-dokument")
	}
	d, err := s.akten.Hold(ctx, tx, a, at, ids[0])
	if fault.Is(err, "not-found") { // an item for the Vorgang shows the Vorgang, not what has rights of its own in it
		return d, fault.New("agreement-needs-dokument")
	}
	if err != nil {
		return d, err
	}
	return d, usable(d, c)
}

func usable(d akte.Held, c Completion) error {
	switch {
	case c.Outcome != Agreed:
		return nil
	case d.State == akte.Filed:
		return fault.New("dokument-closed")
	case d.State == akte.Quarantined:
		return fault.New("dokument-quarantined")
	case d.State == akte.InWork:
		return fault.New("dokument-in-work")
	}
	return nil
}

const sqlSignedBefore = `
    SELECT EXISTS (SELECT FROM circulation_step s JOIN circulation_step_execution x ON x.tenant = s.tenant AND x.step_id = s.id AND x.outcome = 'agreed'
        WHERE s.tenant = evb_tenant() AND s.circulation_id = $1 AND s.id <> $2 AND s.second_pair AND s.kind IN ('co_sign', 'final_sign')
          AND (x.actor_id = ANY ($3) OR x.on_behalf_of = ANY ($3))
          AND NOT EXISTS (SELECT FROM circulation_step_execution v WHERE v.tenant = x.tenant AND v.voids_id = x.id))`

// mayAgree keeps the second pair of eyes another one: neither the actor nor the
// absent person may have written or submitted the version, or signed before.
func (s *Service) mayAgree(ctx context.Context, tx pgx.Tx, me access.Actor, r *route, t *step, d akte.Held) error {
	if t.kind == FinalSign {
		for _, o := range r.steps {
			if o.voided && o.status == Current && o.id != t.id {
				return fault.New("agreements-open", "number", o.number)
			}
		}
	}
	if !t.secondPair {
		return nil
	}
	if wrote(me, d) {
		return fault.New("own-draft")
	}
	var signed bool
	if err := tx.QueryRow(ctx, sqlSignedBefore, r.id, t.id, people(me)).Scan(&signed); err != nil {
		return fmt.Errorf("signed before: %w", err)
	}
	if signed {
		return fault.New("already-signed")
	}
	return nil
}

// people are who acts: the actor, and the absent person.
func people(me access.Actor) []uuid.UUID {
	if me.OnBehalfOf == uuid.Nil {
		return []uuid.UUID{me.User}
	}
	return []uuid.UUID{me.User, me.OnBehalfOf}
}

// wrote says that the version was written, or the Dokument submitted, by who
// acts.
func wrote(me access.Actor, d akte.Held) bool {
	return slices.ContainsFunc(people(me), func(u uuid.UUID) bool { return u == d.Author || d.SubmittedBy != nil && u == *d.SubmittedBy })
}

// execution is a row to be written.
type execution struct {
	step                   *step
	outcome                Outcome
	remark                 string
	version                uuid.UUID
	voids, upholds, toDesk uuid.UUID
}

const (
	sqlExecute = `
    INSERT INTO circulation_step_execution (tenant, id, step_id, outcome, remark, version_id, archive_version_id, actor_id, on_behalf_of, capacity, via,
        reason, request_id, occurred_at, recorded_at, voids_id, upholds_id, postkorb_id)
    SELECT evb_tenant(), x.id, x.step, x.outcome, x.remark, x.version, x.archive, $1, $2, $3, $4, '', $5, $6, $6, x.voids, x.upholds, x.desk
    FROM unnest($7::uuid[], $8::uuid[], $9::text[], $10::text[], $11::uuid[], $12::uuid[], $13::uuid[], $14::uuid[], $15::uuid[])
        AS x (id, step, outcome, remark, version, archive, voids, upholds, desk)`
	sqlStatus = `
    UPDATE circulation_step s SET status = x.status, row_version = s.row_version + 1
    FROM unnest($1::uuid[], $2::text[]) AS x (id, status) WHERE s.tenant = evb_tenant() AND s.id = x.id`
)

// execute writes executions and what becomes of their steps.
func (s *Service) execute(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, list ...execution) error {
	n := len(list)
	ids, steps, outcomes, remarks := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]string, n), make([]string, n)
	versions, archives, voids, upholds, desks := make([]*uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n)
	var moved []uuid.UUID
	var statuses []string
	known := map[uuid.UUID]*uuid.UUID{}
	for i, x := range list {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		ids[i], steps[i], outcomes[i], remarks[i] = id, x.step.id, string(x.outcome), x.remark
		versions[i], voids[i], upholds[i], desks[i] = ptr(x.version), ptr(x.voids), ptr(x.upholds), ptr(x.toDesk)
		if x.version != uuid.Nil {
			if _, asked := known[x.version]; !asked { // one version, nearly always
				archive, err := preservation.ArchiveVersionOf(ctx, tx, x.version)
				if err != nil {
					return err
				}
				known[x.version] = ptr(archive)
			}
			archives[i] = known[x.version]
		}
		status := Executed
		switch x.outcome {
		case Forwarded, Voided:
			continue
		case WasSkip, WasRecall:
			status = Skipped
		}
		x.step.status = status
		moved, statuses = append(moved, x.step.id), append(statuses, string(status))
	}
	var b pgx.Batch
	b.Queue(sqlExecute, a.User, ptr(a.OnBehalfOf), a.Capacity, a.Via, a.RequestID, at, ids, steps, outcomes, remarks, versions, archives, voids, upholds, desks)
	if len(moved) > 0 {
		b.Queue(sqlStatus, moved, statuses)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("execute steps: %w", err)
	}
	return nil
}

// note states the fact of an execution.
func (s *Service) note(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, t *step, c Completion, d akte.Held) error {
	kind := map[Outcome]event.Kind{Finished: StepDone, Agreed: StepAgreed, Refused: StepRefused}[c.Outcome]
	if t.kind == FinalSign && c.Outcome == Agreed {
		kind = FinalSigned
	}
	f := event.Fact{Kind: kind, Record: r.record, SubjectKind: "circulation", Subject: r.id, Reason: c.Remark, Details: details(r, t)}
	if d.ID != uuid.Nil {
		f.Details["dokument_id"], f.Details["version_id"], f.Details["version"] = d.ID, d.Version, d.VersionNumber
	}
	if c.Outcome == Agreed { // the agreement is the Dokument's, also where a Vorgang circulates
		f.Record, f.SubjectKind, f.Subject = d.ID, "dokument", d.ID
	}
	return s.log.Append(ctx, tx, a, at, f)
}

func details(r *route, t *step) map[string]any {
	return map[string]any{"circulation_id": r.id, "number": t.number, "kind": t.kind, "step_id": t.id}
}

// tell hands an execution over to the process.
func (s *Service) tell(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, t *step, done Completed) error {
	if r.instance == nil || s.completed == nil {
		return nil
	}
	done.Circulation, done.Instance, done.Record, done.Step, done.Number, done.Kind = r.id, *r.instance, r.record, t.id, t.number, t.kind
	done.OnBehalfOf, done.Again = a.OnBehalfOf, t.voided
	if err := s.completed(ctx, tx, a, at, done); err != nil {
		return err
	}
	// The process has gone on in this transaction: it may have added steps, or
	// ended the circulation.
	fresh, err := s.hold(ctx, tx, r.id)
	if err != nil {
		return err
	}
	*r = *fresh
	return nil
}

const sqlIsProgram = `SELECT kind = 'service' FROM app_user WHERE tenant = evb_tenant() AND id = $1`

// sendBack gives a refused circulation to who began it, or where that was a
// rule or a program to the unit of the object: a step that what comes next waits for.
func (s *Service) sendBack(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, t *step) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	back := &step{id: id, position: t.position, status: Future, kind: Action, instructedBy: a.User, to: Station{User: r.createdBy}, returned: true}
	var program bool
	if err := tx.QueryRow(ctx, sqlIsProgram, r.createdBy).Scan(&program); err != nil {
		return fmt.Errorf("send back: %w", err)
	}
	if program || r.createdBy == access.SystemUser {
		back.to = Station{Unit: deref(r.unit)}
		if r.unit == nil {
			back.to = Station{Function: clearing}
		}
	}
	for _, o := range r.steps {
		back.number = max(back.number, o.number)
	}
	back.number++
	if err := s.write(ctx, tx, a, at, r, []*step{back}, &t.id); err != nil {
		return err
	}
	return s.current(ctx, tx, a, at, r, []*step{back}, func(*step) postkorb.Why {
		return postkorb.Why{Code: "why-refused", Params: map[string]string{"person": a.DisplayName}}
	})
}

// clearing is the function of a step that no unit owns.
const clearing = "clearing"

func (s *Service) forward(ctx context.Context, tx pgx.Tx, me access.Actor, at time.Time, r *route, t *step, c Completion) error {
	to := []NewStep{{To: c.To}}
	if err := s.checked(ctx, tx, at, r, to); err != nil {
		return err
	}
	held, err := holders(ctx, tx, at, []Station{to[0].To})
	if err != nil {
		return err
	}
	desk, err := s.desk(ctx, tx, me, at, to[0].To, held[0])
	if err != nil {
		return err
	}
	if err := s.post.PassStep(ctx, tx, me, at, t.id, desk, c.Remark); err != nil {
		return err
	}
	return s.passed(ctx, tx, me, at, r, t, desk, c.Remark)
}

// passed writes down that a station was forwarded.
func (s *Service) passed(ctx context.Context, tx pgx.Tx, me access.Actor, at time.Time, r *route, t *step, desk uuid.UUID, remark string) error {
	if err := s.execute(ctx, tx, me, at, execution{step: t, outcome: Forwarded, remark: remark, toDesk: desk}); err != nil {
		return err
	}
	f := event.Fact{Kind: StepForwarded, Record: r.record, SubjectKind: "circulation", Subject: r.id, Reason: remark, Details: details(r, t)}
	f.Details["to_postkorb_id"] = desk
	if err := s.log.Append(ctx, tx, me, at, f); err != nil {
		return err
	}
	return s.touch(ctx, tx, r)
}

// Step is for postkorb.Options.Step: what somebody does on the desk with a
// station. Done executes it (a CoSign or FinalSign wants an outcome: fault
// outcome-unfit), Return refuses it, Forward keeps it current elsewhere.
func (s *Service) Step(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, act postkorb.StepAct) error {
	var id, record uuid.UUID
	var number int
	if err := tx.QueryRow(ctx, sqlOfStep, act.Step).Scan(&id, &record, &number); err != nil {
		return fmt.Errorf("circulation of a step: %w", err)
	}
	h, err := s.akten.HoldKnown(ctx, tx, a, at, record)
	if err != nil {
		return err
	}
	r, err := s.hold(ctx, tx, id)
	if err != nil {
		return err
	}
	t, err := r.step(number)
	if err != nil {
		return err
	}
	if act.Kind == postkorb.ItemForwarded { // its item has moved already
		return s.passed(ctx, tx, a, at, r, t, act.Postkorb, act.Text)
	}
	c := Completion{Outcome: Finished, Remark: act.Text}
	if act.Kind == postkorb.ItemReturned {
		c.Outcome = Refused
	}
	return s.complete(ctx, tx, a, at, r, h, t, c, nil)
}

const sqlOfStep = `
    SELECT c.id, c.record_id, s.number FROM circulation_step s JOIN circulation c ON c.tenant = s.tenant AND c.id = s.circulation_id
    WHERE s.tenant = evb_tenant() AND s.id = $1`
