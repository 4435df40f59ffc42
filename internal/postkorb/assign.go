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
)

// mayDistribute: who distributes a Postkorb is a head or the registry of its
// unit, and in a clearing everybody who works there.
func mayDistribute(r *row, a access.Actor) (access.Actor, error) {
	me, err := works(r, a)
	if err == nil && !r.distributes {
		err = fault.New("item-not-distributed")
	}
	return me, err
}

// Assign gives an item of a group, office or clearing Postkorb to a person who
// works there, or with the nil UUID back to all. From whoever has it, it is
// taken. Faults: item-not-yours, item-not-distributed, stale-version,
// item-finished, person-not-in-postkorb.
func (s *Service) Assign(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, user uuid.UUID, reason string) (Item, error) {
	return s.actIf(ctx, a, item, ifVersion, mayDistribute, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
		if err := unfinished(r); err != nil {
			return err
		}
		if r.state != Claimed && (r.assignee == nil && user == uuid.Nil || is(r.assignee, user)) {
			return nil
		}
		if user != uuid.Nil {
			if err := worksIn(ctx, tx, at, r.postkorb, r.postkorbName, user); err != nil {
				return err
			}
		}
		was := r.before(a.User, ItemAssigned)
		r.state, r.claimedBy, r.assignee = Open, nil, ptr(user)
		if user != a.User {
			r.openedAt = nil
		}
		if err := s.change(ctx, tx, at, r, &was, true); err != nil {
			return err
		}
		name := ""
		if user != uuid.Nil {
			if err := tx.QueryRow(ctx, sqlNameOf, user).Scan(&name); err != nil {
				return fmt.Errorf("name of the assignee: %w", err)
			}
		}
		return s.note(ctx, tx, a, at, r, ItemAssigned, reason, map[string]any{"to_user_id": ptr(user), "to_user": name, "from_user_id": was.Assignee})
	})
}

const sqlNameOf = `SELECT display_name FROM app_user WHERE tenant = evb_tenant() AND id = $1`

// SetDue sets the deadline of an item, or with the zero time takes it away; by
// whoever may act on it. A new deadline that passes is told to the head again.
// Faults: item-finished, due-past.
func (s *Service) SetDue(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, when time.Time) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
		if err := unfinished(r); err != nil {
			return err
		}
		if !when.IsZero() && !when.After(at) {
			return fault.New("due-past")
		}
		was := r.before(a.User, ItemDueChanged)
		r.dueAt, r.escalatedAt = nil, nil
		if !when.IsZero() {
			when = when.UTC().Truncate(time.Microsecond)
			r.dueAt = &when
		}
		if err := s.change(ctx, tx, at, r, &was, false); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemDueChanged, "", map[string]any{"due_at": stamp(r.dueAt), "was": stamp(was.DueAt)})
	})
}

func stamp(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// The head is that of the nearest unit upwards, beginning with the Postkorb's,
// else that of the person whose Postkorb it is, else that of the object. Nobody
// is told of an own item.
const (
	sqlOverdue = `
    WITH RECURSIVE late AS (
        SELECT i.id, i.record_id, i.postkorb_id, i.due_at, coalesce(i.claimed_by, i.assignee_id) AS person FROM postkorb_item i
        WHERE i.tenant = evb_tenant() AND i.state IN ('open', 'claimed') AND i.escalated_at IS NULL AND i.due_at <= $1 AND NOT i.notice
        ORDER BY i.due_at, i.id LIMIT 100 FOR NO KEY UPDATE OF i SKIP LOCKED),
    item AS (
        SELECT l.id, l.record_id, l.postkorb_id, l.due_at, p.name, coalesce(l.person, p.user_id) AS person,
            evb_protected(o.protection_class, o.access_scope_id) AS protected,
            coalesce(p.unit_id, (SELECT m.unit_id FROM membership m WHERE m.tenant = p.tenant AND m.user_id = p.user_id AND m.unit_id IS NOT NULL
                AND m.valid_from <= $1 AND $1 < m.valid_to ORDER BY m.valid_from, m.id LIMIT 1), o.unit_id) AS unit_id
        FROM late l JOIN postkorb p ON p.tenant = evb_tenant() AND p.id = l.postkorb_id
        JOIN record_object o ON o.tenant = evb_tenant() AND o.id = l.record_id),
    up AS (
        SELECT DISTINCT u.id AS origin, u.id, u.parent_id, 1 AS depth FROM item x JOIN org_unit u ON u.tenant = evb_tenant() AND u.id = x.unit_id
        UNION ALL
        SELECT up.origin, u.id, u.parent_id, up.depth + 1 FROM up JOIN org_unit u ON u.tenant = evb_tenant() AND u.id = up.parent_id WHERE up.depth < 30)
    SELECT x.id, x.record_id, x.postkorb_id, x.name, x.due_at, x.protected, coalesce(pn.display_name, ''), h.user_id, coalesce(h.display_name, '')
    FROM item x LEFT JOIN app_user pn ON pn.tenant = evb_tenant() AND pn.id = x.person
    LEFT JOIN LATERAL (
        SELECT m.user_id, ua.display_name FROM up
        JOIN membership m ON m.tenant = evb_tenant() AND m.unit_id = up.id AND m.role = 'head' AND m.valid_from <= $1 AND $1 < m.valid_to
        JOIN app_user ua ON ua.tenant = m.tenant AND ua.id = m.user_id AND ua.disabled_at IS NULL
        WHERE up.origin = x.unit_id AND m.user_id IS DISTINCT FROM x.person
        ORDER BY up.depth, m.valid_from, m.id LIMIT 1) h ON true
    ORDER BY x.due_at, x.id`
	sqlEscalated = `UPDATE postkorb_item SET escalated_at = $2, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = ANY ($1)`
)

// overdue is an item whose deadline has passed.
type overdue struct {
	ID, Record, Postkorb uuid.UUID
	PostkorbName         string
	DueAt                time.Time
	Protected            bool
	Person               string // who has it; empty: nobody in particular
	Head                 *uuid.UUID
	HeadName             string
}

// Escalate tells the head of each item whose deadline has passed, by an item on
// the head's own desk, and gives how many. Each deadline is told once, also
// after a crash and on several nodes: mark, item and fact are one transaction.
// Of a protected object the head gets a notice, which gives no right to it; so
// does the central clearing where no head is found.
func (s *Service) Escalate(ctx context.Context, tenant access.Tenant) (n int, err error) {
	system, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return 0, err
	}
	for {
		var round int
		err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) (err error) {
			round, err = s.escalate(ctx, tx, system, s.now())
			return err
		})
		if err != nil {
			return n, fmt.Errorf("deadlines: %w", err)
		}
		if n += round; round == 0 {
			return n, nil
		}
	}
}

func (s *Service) escalate(ctx context.Context, tx pgx.Tx, system access.Actor, at time.Time) (int, error) {
	rows, err := tx.Query(ctx, sqlOverdue, at)
	if err != nil {
		return 0, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[overdue])
	if err != nil || len(list) == 0 {
		return 0, err
	}
	ids := make([]uuid.UUID, len(list))
	facts := make([]event.Fact, len(list))
	for i, o := range list { // of the few whose deadline passed in one minute
		ids[i] = o.ID
		details := map[string]any{"postkorb_id": o.Postkorb, "postkorb": o.PostkorbName, "due_at": stamp(&o.DueAt), "to_user_id": o.Head, "to_user": o.HeadName}
		desk, err := s.tellWhere(ctx, tx, system, at, o)
		if err != nil && !fault.Is(err, "postkorb-unknown") {
			return 0, err
		}
		if err == nil && desk != o.Postkorb {
			code := "why-deadline-passed"
			if o.Person != "" {
				code = "why-deadline-passed-person"
			}
			next, err := s.Deliver(ctx, tx, system, at, Delivery{Record: o.Record, Postkorb: desk, Notice: o.Protected || o.Head == nil,
				Why: Why{Code: code, Params: map[string]string{"postkorb": o.PostkorbName, "person": o.Person, "due_at": o.DueAt.UTC().Format(time.RFC3339)}}})
			if err != nil {
				return 0, err
			}
			details["next_id"] = next
		}
		facts[i] = event.Fact{Kind: ItemEscalated, Record: o.Record, SubjectKind: "item", Subject: o.ID, Details: details}
	}
	if _, err := tx.Exec(ctx, sqlEscalated, ids, at); err != nil {
		return 0, err
	}
	return len(list), s.log.Append(ctx, tx, system, at, facts...)
}

func (s *Service) tellWhere(ctx context.Context, tx pgx.Tx, system access.Actor, at time.Time, o overdue) (uuid.UUID, error) {
	if o.Head == nil {
		p, err := CentralClearing(ctx, tx)
		return p.ID, err
	}
	p, err := s.EnsurePersonal(ctx, tx, system, at, *o.Head)
	return p.ID, err
}
