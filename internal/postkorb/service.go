package postkorb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// Options of New. Zero values are sound.
type Options struct {
	Now func() time.Time // nil: time.Now
	// Step takes over what is done on the desk with a station of a circulation,
	// in the transaction of the act; nil: such items cannot be ended here.
	Step func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, act StepAct) error
}

// Service holds the use cases of the desk. Safe for concurrent use.
type Service struct {
	db  *postgres.DB
	log *event.Log
	now func() time.Time

	stepped func(context.Context, pgx.Tx, access.Actor, time.Time, StepAct) error
}

// New makes the service; facts go to log.
func New(db *postgres.DB, log *event.Log, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: db, log: log, now: func() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }, stepped: o.Step}
}

func missing(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// due is how a due date is passed to Postgres; none is infinity: the column is
// NOT NULL, so that lists can page by it (decisions 6.3).
func due(t time.Time) string {
	if t.IsZero() {
		return "infinity"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

const (
	sqlDeliver = `
    INSERT INTO postkorb_item (tenant, id, postkorb_id, record_id, state, assignee_id, from_user_id, from_postkorb_id, previous_id, reason, why, received_at, due_at, step_id, notice, misdirected)
    VALUES (evb_tenant(), $1, $2, $3, 'open', $4, $5, $6, $7, $8, $9, $10, $11::text::timestamptz, $12, $13, $14)
    ON CONFLICT DO NOTHING`
	sqlUnfinished = `
    SELECT id FROM postkorb_item
    WHERE tenant = evb_tenant() AND postkorb_id = $1 AND record_id = $2 AND state IN ('open', 'claimed', 'waiting') AND step_id IS NULL`
)

// Deliver puts a record object into a Postkorb, in the caller's transaction,
// and states item.delivered. An unfinished item for it that is there already
// is given back unchanged, so a repeated job delivers once. A station of a
// circulation has an item of its own beside it. Fault: postkorb-unknown.
func (s *Service) Deliver(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, d Delivery) (uuid.UUID, error) {
	return s.deliver(ctx, tx, a, at, d, nil)
}

// deliver is Deliver with the item it follows on from.
func (s *Service) deliver(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, d Delivery, previous *row) (uuid.UUID, error) {
	why, err := json.Marshal(d.Why)
	if err != nil {
		return uuid.Nil, err
	}
	var previousID, fromPostkorb *uuid.UUID
	if previous != nil {
		previousID, fromPostkorb = &previous.id, &previous.postkorb
	}
	for {
		id, err := uuid.NewV7()
		if err != nil {
			return uuid.Nil, err
		}
		tag, err := tx.Exec(ctx, sqlDeliver, id, d.Postkorb, d.Record, ptr(d.Assignee), ptr(d.From), fromPostkorb, previousID, d.Reason, string(why), at, due(d.Due), ptr(d.Step), d.Notice, d.Misdirected)
		if c := postgres.Constraint(err); c == "postkorb_item_tenant_postkorb_id_fkey" {
			return uuid.Nil, fault.New("postkorb-unknown")
		}
		if err != nil {
			return uuid.Nil, fmt.Errorf("deliver: %w", err)
		}
		if tag.RowsAffected() == 0 {
			var there uuid.UUID
			err := tx.QueryRow(ctx, sqlUnfinished, d.Postkorb, d.Record).Scan(&there)
			if d.Step != uuid.Nil { // a station has one unfinished item, wherever it lies
				err = tx.QueryRow(ctx, sqlStepItem, d.Step).Scan(&there)
			}
			if missing(err) { // it was finished between the two statements
				continue
			}
			return there, err
		}
		return id, s.log.Append(ctx, tx, a, at, event.Fact{Kind: ItemDelivered, Record: d.Record, SubjectKind: "item", Subject: id, Reason: d.Reason, Details: map[string]any{
			"postkorb_id": d.Postkorb, "assignee_id": ptr(d.Assignee), "why": d.Why.Code, "why_params": d.Why.Params, "previous_id": previousID,
		}})
	}
}

const sqlPostkorb = `
    SELECT p.id, p.name, p.kind, p.unit_id, coalesce(u.code, ''), p.user_id, 0, 0, 0, 0, 0, false, false
    FROM postkorb p LEFT JOIN org_unit u ON u.tenant = p.tenant AND u.id = p.unit_id
    WHERE p.tenant = evb_tenant() AND p.closed_at IS NULL`

const (
	sqlByName    = sqlPostkorb + ` AND p.name = $1`
	sqlByNames   = sqlPostkorb + ` AND p.name = ANY ($1)`
	sqlByID      = sqlPostkorb + ` AND p.id = $1`
	sqlNamedOrOf = sqlPostkorb + ` AND (p.name = ANY ($1) OR p.unit_id = ANY ($2)
        OR p.unit_id IN (SELECT x.unit_id FROM postkorb x WHERE x.tenant = evb_tenant() AND x.name = ANY ($1)))
    ORDER BY p.kind = 'clearing', p.created_at, p.id`
	sqlOfUnit     = sqlPostkorb + ` AND p.unit_id = $1 AND p.kind IN ('group', 'office', 'clearing') ORDER BY p.kind = 'clearing', p.created_at, p.id LIMIT 1`
	sqlOfUser     = sqlPostkorb + ` AND p.user_id = $1 ORDER BY p.created_at, p.id LIMIT 1`
	sqlOfClearing = sqlPostkorb + ` AND p.kind = 'clearing' AND p.unit_id IS NULL`
	sqlAll        = sqlPostkorb + ` ORDER BY p.name`
)

// ByName finds a Postkorb that is not closed by its name, or gives the fault
// postkorb-unknown. Counts are not filled; no rights are asked for. The same
// holds for ByID, OfUnit, OfUser and CentralClearing.
func ByName(ctx context.Context, q postgres.Querier, name string) (Postkorb, error) {
	return onePostkorb(ctx, q, sqlByName, name)
}

// ByNames finds those of the named Postkörbe that are there and not closed.
func ByNames(ctx context.Context, q postgres.Querier, names []string) ([]Postkorb, error) {
	rows, err := q.Query(ctx, sqlByNames, names)
	if err != nil {
		return nil, fmt.Errorf("postkörbe: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Postkorb])
}

// NamedOrOf finds the Postkörbe of these names and all of these units and of the
// units of the named ones, that are not closed: for each unit its clearing ones
// last, else the oldest first (as OfUnit chooses).
func NamedOrOf(ctx context.Context, q postgres.Querier, names []string, units []uuid.UUID) ([]Postkorb, error) {
	rows, err := q.Query(ctx, sqlNamedOrOf, names, units)
	if err != nil {
		return nil, fmt.Errorf("postkörbe: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Postkorb])
}

// ByID finds a Postkorb by its id.
func ByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (Postkorb, error) {
	return onePostkorb(ctx, q, sqlByID, id)
}

// OfUnit finds the Postkorb of a unit: its oldest one for a group.
func OfUnit(ctx context.Context, q postgres.Querier, unit uuid.UUID) (Postkorb, error) {
	return onePostkorb(ctx, q, sqlOfUnit, unit)
}

// OfUser finds the personal Postkorb of a user.
func OfUser(ctx context.Context, q postgres.Querier, user uuid.UUID) (Postkorb, error) {
	return onePostkorb(ctx, q, sqlOfUser, user)
}

// CentralClearing finds the Postkorb for what nobody could be found for.
func CentralClearing(ctx context.Context, q postgres.Querier) (Postkorb, error) {
	return onePostkorb(ctx, q, sqlOfClearing)
}

func onePostkorb(ctx context.Context, q postgres.Querier, sql string, args ...any) (Postkorb, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return Postkorb{}, fmt.Errorf("postkorb: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Postkorb])
	if missing(err) {
		return Postkorb{}, fault.New("postkorb-unknown")
	}
	return p, err
}

// Targets lists every Postkorb one can forward to, by name and without counts:
// that there is a desk is no secret inside a tenant, what lies on it is.
func (s *Service) Targets(ctx context.Context, a access.Actor) (out []Postkorb, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlAll)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Postkorb])
		return err
	})
	return out, err
}

// NewPostkorb is what EnsurePostkorb makes.
type NewPostkorb struct {
	Name string
	Kind string    // Personal, Group, Office or Clearing
	Unit uuid.UUID // nil UUID: none
	User uuid.UUID // set for Personal alone
}

const (
	sqlEnsurePostkorb = `
    INSERT INTO postkorb (tenant, id, name, kind, unit_id, user_id, created_at) VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6)
    ON CONFLICT (tenant, name) DO NOTHING`
	sqlEnsureMember = `
    INSERT INTO postkorb_member (tenant, postkorb_id, user_id, valid_from)
    SELECT evb_tenant(), $1, $2, $3
    WHERE NOT EXISTS (SELECT FROM postkorb_member m WHERE m.tenant = evb_tenant() AND m.postkorb_id = $1 AND m.user_id = $2 AND m.valid_from <= $3 AND $3 < m.valid_to)`
	sqlEndMember = `
    UPDATE postkorb_member SET valid_to = $3
    WHERE tenant = evb_tenant() AND postkorb_id = $1 AND user_id = $2 AND valid_from < $3 AND $3 < valid_to`
)

// EnsurePostkorb makes the Postkorb of a name, or finds it, in the caller's
// transaction. The caller has asked for the right.
func (s *Service) EnsurePostkorb(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewPostkorb) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, err
	}
	tag, err := tx.Exec(ctx, sqlEnsurePostkorb, id, n.Name, n.Kind, ptr(n.Unit), ptr(n.User), at)
	if err != nil {
		return uuid.Nil, fmt.Errorf("postkorb %s: %w", n.Name, err)
	}
	if tag.RowsAffected() == 0 {
		p, err := ByName(ctx, tx, n.Name)
		return p.ID, err
	}
	return id, s.log.Append(ctx, tx, a, at, event.Fact{Kind: PostkorbCreated, SubjectKind: "postkorb", Subject: id, Details: map[string]any{"name": n.Name, "kind": n.Kind}})
}

// EnsureMember lets a user work in a Postkorb from at on, in the caller's
// transaction. A membership that is there stays.
func (s *Service) EnsureMember(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, postkorb, user uuid.UUID) error {
	tag, err := tx.Exec(ctx, sqlEnsureMember, postkorb, user, at)
	if err != nil {
		return fmt.Errorf("postkorb member: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: MemberAdded, SubjectKind: "postkorb", Subject: postkorb, Details: map[string]any{"user_id": user}})
}

// EndMember ends a membership at once, in the caller's transaction.
func (s *Service) EndMember(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, postkorb, user uuid.UUID) error {
	tag, err := tx.Exec(ctx, sqlEndMember, postkorb, user, at)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: MemberRemoved, SubjectKind: "postkorb", Subject: postkorb, Details: map[string]any{"user_id": user}})
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// param puts a parameter into a condition in which it is written {u}.
func param(cond, name string) string { return strings.ReplaceAll(cond, "{u}", name) }
