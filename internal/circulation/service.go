package circulation

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
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
	"evb/internal/postkorb"
)

// Options of New. Zero values are sound.
type Options struct {
	Now func() time.Time // nil: time.Now
	// Completed is told, in the transaction of the act, of each step that
	// somebody completed, skipped or recalled in a circulation with an instance.
	// Its error undoes the act: a fault reaches the person. Acts by the functions
	// whose name ends in Tx are the process's own and are not told. nil: nobody.
	Completed func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, done Completed) error
}

// Service holds the use cases of circulations. Safe for concurrent use.
type Service struct {
	db        *postgres.DB
	log       *event.Log
	akten     *akte.Service
	post      *postkorb.Service
	now       func() time.Time
	completed func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, done Completed) error
}

// New makes the service; facts go to log. akte.Options.VersionAdded and
// postkorb.Options.Step are to be VersionAdded and Step of this service.
func New(db *postgres.DB, log *event.Log, akten *akte.Service, post *postkorb.Service, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: db, log: log, akten: akten, post: post, completed: o.Completed, now: func() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }}
}

func missing(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

func deref(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}

func due(t time.Time) string {
	if t.IsZero() {
		return "infinity"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// route is a circulation whose row the transaction holds.
type route struct {
	id, record uuid.UUID
	level      int
	state      State
	instance   *uuid.UUID
	createdBy  uuid.UUID
	ended      *time.Time
	version    int64
	unit       *uuid.UUID // of the object
	steps      []*step    // by position
}

type step struct {
	id           uuid.UUID
	number       int
	position     int
	group        int
	status       Status
	kind         Kind
	instruction  string
	instructedBy uuid.UUID
	to           Station
	due          *time.Time
	secondPair   bool
	returned     bool
	// voided: what it was executed with does not hold any more, and it has not
	// been executed anew.
	voided bool
}

const (
	sqlHold = `
    SELECT c.id, c.record_id, c.level, c.state, c.instance_id, c.created_by, c.ended_at, c.row_version, o.unit_id
    FROM circulation c JOIN record_object o ON o.tenant = c.tenant AND o.id = c.record_id
    WHERE c.tenant = evb_tenant() AND c.id = $1 FOR NO KEY UPDATE OF c`
	sqlSteps = `
    SELECT s.id, s.number, s.position, coalesce(s.parallel_group, 0), s.status, s.kind, s.instruction, s.instructed_by,
        s.user_id, s.unit_id, s.function_name, CASE WHEN s.due_at < 'infinity' THEN s.due_at END, s.second_pair, s.returned_id IS NOT NULL,
        s.status IN ('current', 'future') AND EXISTS (SELECT FROM circulation_step_execution x
            WHERE x.tenant = s.tenant AND x.step_id = s.id AND x.outcome = 'voided')
    FROM circulation_step s WHERE s.tenant = evb_tenant() AND s.circulation_id = $1 ORDER BY s.position, s.number`
)

// hold takes the row of a circulation and reads its route.
func (s *Service) hold(ctx context.Context, tx pgx.Tx, id uuid.UUID) (*route, error) {
	r := &route{}
	err := tx.QueryRow(ctx, sqlHold, id).Scan(&r.id, &r.record, &r.level, &r.state, &r.instance, &r.createdBy, &r.ended, &r.version, &r.unit)
	if missing(err) {
		return nil, fault.New("not-found")
	}
	if err != nil {
		return nil, fmt.Errorf("hold circulation: %w", err)
	}
	return r, r.read(ctx, tx)
}

func (r *route) read(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, sqlSteps, r.id)
	if err != nil {
		return fmt.Errorf("steps: %w", err)
	}
	r.steps, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (*step, error) {
		t := &step{}
		var user, unit *uuid.UUID
		err := row.Scan(&t.id, &t.number, &t.position, &t.group, &t.status, &t.kind, &t.instruction, &t.instructedBy,
			&user, &unit, &t.to.Function, &t.due, &t.secondPair, &t.returned, &t.voided)
		t.to.User, t.to.Unit = deref(user), deref(unit)
		return t, err
	})
	if err != nil {
		return fmt.Errorf("steps: %w", err)
	}
	return nil
}

func (r *route) step(number int) (*step, error) {
	for _, t := range r.steps {
		if t.number == number {
			return t, nil
		}
	}
	return nil, fault.New("step-not-found", "number", number)
}

func (r *route) with(status Status) (out []*step) {
	for _, t := range r.steps {
		if t.status == status {
			out = append(out, t)
		}
	}
	return out
}

const sqlInsert = `
    INSERT INTO circulation (tenant, id, record_id, level, state, instance_id, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, $3, 'running', $4, $5, $6)`

// Start begins a circulation: the first station or stations become current. A
// repeated request with the same key gets the first answer (replayed). The
// actor must be able to change the object, or have submitted the Dokument that
// nobody has filed yet. Faults: not-found, read-only-role,
// circulation-record-closed, dokument-closed, dokument-quarantined,
// circulation-empty, circulation-too-long, and those of the stations:
// station-needed, user-not-found, unit-not-found, postkorb-unknown,
// station-unit-needed, station-vacant, step-kind-unknown, field-too-long.
func (s *Service) Start(ctx context.Context, a access.Actor, n NewCirculation) (c Circulation, replayed bool, err error) {
	if n.Instance != uuid.Nil {
		return c, false, fault.New("circulation-of-process")
	}
	return idempotency.Once(ctx, s.db, a, n.Key, func(tx pgx.Tx) (Circulation, uuid.UUID, error) {
		id, err := s.StartTx(ctx, tx, a, s.now(), n)
		if err != nil {
			return c, n.Record, err
		}
		c, err := ByID(ctx, tx, id)
		return c, n.Record, err
	})
}

// StartTx is Start in the caller's transaction, for rules (level 3) and
// processes (level 4); the system actor is asked for no rights, and the key is
// not looked at. With an Instance the steps are current at once, all of them,
// and there may be none.
func (s *Service) StartTx(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewCirculation) (uuid.UUID, error) {
	switch {
	case len(n.Steps) == 0 && n.Instance == uuid.Nil:
		return uuid.Nil, fault.New("circulation-empty")
	case len(n.Steps) > MaxNew:
		return uuid.Nil, fault.New("circulation-too-long", "most", MaxNew)
	}
	if n.Level == 0 {
		n.Level = 2
	}
	h, err := s.akten.Hold(ctx, tx, a, at, n.Record)
	if err != nil {
		return uuid.Nil, err
	}
	submitter := h.Parent == nil && h.SubmittedBy != nil && *h.SubmittedBy == a.User
	switch {
	case !h.Changes && !submitter:
		return uuid.Nil, fault.New("read-only-role")
	case h.Kind == akte.KindDokument && h.State == akte.Filed:
		return uuid.Nil, fault.New("dokument-closed")
	case h.Kind == akte.KindDokument && h.State == akte.Quarantined:
		return uuid.Nil, fault.New("dokument-quarantined")
	case h.Lifecycle != akte.Open && h.Lifecycle != akte.Planned:
		return uuid.Nil, fault.New("circulation-record-closed")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, err
	}
	if _, err := tx.Exec(ctx, sqlInsert, id, n.Record, n.Level, ptr(n.Instance), at, a.User); err != nil {
		return uuid.Nil, fmt.Errorf("start circulation: %w", err)
	}
	r := &route{id: id, record: n.Record, level: n.Level, state: Running, instance: ptr(n.Instance), createdBy: a.User, version: 1, unit: h.Unit}
	if err := s.insert(ctx, tx, a, at, r, n.Steps); err != nil {
		return uuid.Nil, err
	}
	err = s.log.Append(ctx, tx, a, at, event.Fact{Kind: Started, Record: n.Record, SubjectKind: "circulation", Subject: id, Details: map[string]any{
		"circulation_id": id, "level": n.Level, "steps": len(n.Steps), "instance_id": ptr(n.Instance),
	}})
	if err != nil {
		return uuid.Nil, err
	}
	return id, s.advance(ctx, tx, a, at, r)
}

const sqlInsertSteps = `
    INSERT INTO circulation_step (tenant, id, circulation_id, number, position, parallel_group, status, kind, instruction, instructed_by, instructed_at,
        user_id, unit_id, function_name, due_at, second_pair, returned_id)
    SELECT evb_tenant(), x.id, $1, x.number, x.position, nullif(x.grp, 0), 'future', x.kind, x.instruction, $2, $3,
        x.usr, x.unit, x.function, x.due::timestamptz, x.pair, x.returned
    FROM unnest($4::uuid[], $5::int[], $6::int[], $7::int[], $8::text[], $9::text[], $10::uuid[], $11::uuid[], $12::text[], $13::text[], $14::bool[], $15::uuid[])
        AS x (id, number, position, grp, kind, instruction, usr, unit, function, due, pair, returned)`

// insert writes steps as future ones at the end of the route.
func (s *Service) insert(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, steps []NewStep) error {
	if err := s.checked(ctx, tx, at, r, steps); err != nil {
		return err
	}
	number, position := 0, 0
	for _, t := range r.steps {
		number, position = max(number, t.number), max(position, t.position)
	}
	made := make([]*step, len(steps))
	for i, n := range steps {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		made[i] = &step{
			id: id, number: number + i + 1, position: position + i + 1, group: n.Group, status: Future, kind: n.Kind, instruction: n.Instruction,
			instructedBy: a.User, to: n.To, secondPair: !n.OwnDraft,
		}
		if !n.Due.IsZero() {
			made[i].due = &n.Due
		}
	}
	return s.write(ctx, tx, a, at, r, made, nil)
}

func (s *Service) write(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, made []*step, returned *uuid.UUID) error {
	n := len(made)
	ids, users, units, from := make([]uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n)
	numbers, positions, groups := make([]int, n), make([]int, n), make([]int, n)
	kinds, texts, functions, dues, pairs := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]bool, n)
	for i, t := range made {
		ids[i], users[i], units[i], from[i] = t.id, ptr(t.to.User), ptr(t.to.Unit), returned
		numbers[i], positions[i], groups[i] = t.number, t.position, t.group
		kinds[i], texts[i], functions[i], pairs[i], dues[i] = string(t.kind), t.instruction, t.to.Function, t.secondPair, "infinity"
		if t.due != nil {
			dues[i] = due(*t.due)
		}
	}
	_, err := tx.Exec(ctx, sqlInsertSteps, r.id, a.User, at, ids, numbers, positions, groups, kinds, texts, users, units, functions, dues, pairs, from)
	if err != nil {
		return fmt.Errorf("insert steps: %w", err)
	}
	r.steps = append(r.steps, made...)
	return nil
}
