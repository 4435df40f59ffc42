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

// row is a locked item with what the acts decide by.
type row struct {
	id, postkorb, record uuid.UUID
	postkorbName         string
	state                State
	assignee             *uuid.UUID
	assigneeName         string
	claimedBy            *uuid.UUID
	claimedByName        string
	fromPostkorb         *uuid.UUID
	step, previous       *uuid.UUID
	openedAt             *time.Time
	dueAt                *time.Time
	version              int64
	member               bool
}

// The row is taken first and read afterwards: who has waited for it reads what
// the other one wrote, names included.
var sqlLockItem = `
    SELECT i.id FROM postkorb_item i WHERE i.tenant = evb_tenant() AND i.id = $1 AND ` + lineSeen("i", 2, 3) + ` FOR NO KEY UPDATE OF i`

const sqlReadItem = `
    SELECT i.id, i.postkorb_id, i.record_id, p.name, i.state, i.assignee_id, coalesce(ua.display_name, ''), i.claimed_by, coalesce(uc.display_name, ''),
        i.from_postkorb_id, i.step_id, i.previous_id, i.opened_at, CASE WHEN i.due_at < 'infinity' THEN i.due_at END, i.row_version,
        i.postkorb_id IN (SELECT evb_actor_postkoerbe($2, $3))
    FROM postkorb_item i
    JOIN postkorb p ON p.tenant = i.tenant AND p.id = i.postkorb_id
    LEFT JOIN app_user ua ON ua.tenant = i.tenant AND ua.id = i.assignee_id
    LEFT JOIN app_user uc ON uc.tenant = i.tenant AND uc.id = i.claimed_by
    WHERE i.tenant = evb_tenant() AND i.id = $1`

// lineSeen is the condition that an actor sees the line of an item: it lies in
// a Postkorb of the actor, or came from the actor, or the actor reads all.
func lineSeen(alias string, actor, at int) string {
	return fmt.Sprintf(`(%[1]s.postkorb_id IN (SELECT evb_actor_postkoerbe($%[2]d::uuid, $%[3]d::timestamptz)) OR %[1]s.from_user_id = $%[2]d::uuid
        OR (SELECT evb_reads_all($%[2]d::uuid, $%[3]d::timestamptz)))`, alias, actor, at)
}

// act runs one act on an item: it takes the row, asks for the right, checks
// the version, and gives the item back as the actor sees it afterwards. What
// somebody else holds is told before a stale version, so that the second of two
// learns who was first.
func (s *Service) act(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, fn func(tx pgx.Tx, at time.Time, r *row) error) (out Item, err error) {
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		var r row
		err := tx.QueryRow(ctx, sqlLockItem, item, a.User, at).Scan(&r.id)
		if missing(err) {
			return fault.New("not-found")
		}
		if err != nil {
			return fmt.Errorf("lock item: %w", err)
		}
		if r, err = s.read(ctx, tx, a, at, item); err != nil {
			return err
		}
		if err := yours(&r, a); err != nil {
			return err
		}
		if ifVersion != 0 && ifVersion != r.version {
			return fault.New("stale-version")
		}
		if err := fn(tx, at, &r); err != nil {
			return err
		}
		out, err = s.item(ctx, tx, a, at, item)
		return err
	})
	return out, err
}

func (s *Service) read(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, item uuid.UUID) (r row, err error) {
	err = tx.QueryRow(ctx, sqlReadItem, item, a.User, at).Scan(&r.id, &r.postkorb, &r.record, &r.postkorbName, &r.state, &r.assignee, &r.assigneeName,
		&r.claimedBy, &r.claimedByName, &r.fromPostkorb, &r.step, &r.previous, &r.openedAt, &r.dueAt, &r.version, &r.member)
	if err != nil {
		return r, fmt.Errorf("read item: %w", err)
	}
	return r, nil
}

// yours is the check that the actor may act on an item.
func yours(r *row, a access.Actor) error {
	switch {
	case !r.member:
		return fault.New("item-not-yours")
	case r.assignee != nil && *r.assignee != a.User:
		return fault.New("item-assigned", "name", r.assigneeName)
	case r.state == Claimed && *r.claimedBy != a.User:
		return fault.New("item-taken", "name", r.claimedByName)
	}
	return nil
}

// unfinished is the check of every act but undo.
func unfinished(r *row) error {
	if r.state == Done || r.state == Returned {
		return fault.New("item-finished")
	}
	return nil
}

// note states the fact of an act.
func (s *Service) note(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *row, kind event.Kind, reason string, details map[string]any) error {
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return err
	}
	if details == nil {
		details = map[string]any{}
	}
	details["postkorb_id"], details["postkorb"] = r.postkorb, r.postkorbName
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: kind, Record: r.record, SubjectKind: "item", Subject: r.id, Reason: reason, Details: details})
}

const sqlOpen = `UPDATE postkorb_item SET opened_at = $2, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1 AND opened_at IS NULL`

// Open notes that the addressee has opened the item; from then on the sender
// cannot take it back. Only the first opening changes anything. ifVersion 0
// takes any version, as in all acts. Faults of all acts: not-found,
// item-not-yours, item-assigned and item-taken (with the name), stale-version.
func (s *Service) Open(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, at time.Time, r *row) error {
		if r.openedAt != nil {
			return nil
		}
		if _, err := tx.Exec(ctx, sqlOpen, r.id, at); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemOpened, "", nil)
	})
}

const sqlClaim = `
    UPDATE postkorb_item SET state = 'claimed', claimed_by = $2, opened_at = coalesce(opened_at, $3), row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`

// Claim takes an item out of the group for the actor. Of two at once one gets
// it; the other is told who (item-taken). Claiming what one holds changes
// nothing. Fault: item-finished.
func (s *Service) Claim(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, at time.Time, r *row) error {
		if err := unfinished(r); err != nil || r.state == Claimed {
			return err
		}
		if r.state == Waiting {
			if _, err := tx.Exec(ctx, sqlDropFollowUps, r.id, at); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, sqlClaim, r.id, a.User, at); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemClaimed, "", nil)
	})
}

// To is where an item is forwarded: a Postkorb, or a person (the personal
// Postkorb); both: to the person alone, in that Postkorb.
type To struct {
	Postkorb uuid.UUID
	User     uuid.UUID
	Due      time.Time // zero: as before
}

const (
	sqlFinish = `
    UPDATE postkorb_item SET state = $2, claimed_by = $3, finished_at = $4, opened_at = coalesce(opened_at, $4), row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`
	sqlWorksIn = `SELECT $1::uuid IN (SELECT evb_actor_postkoerbe($2, $3))`
)

func (s *Service) finish(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *row, state State) error {
	if _, err := tx.Exec(ctx, sqlDropFollowUps, r.id, at); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, sqlFinish, r.id, state, a.User, at); err != nil {
		return fmt.Errorf("finish item: %w", err)
	}
	return nil
}

// Forward hands an item on; it ends here and lies open there. The reason may
// be empty. Where an unfinished item for the object lies already, no second
// one is made. Faults: item-finished, postkorb-unknown, forward-to-itself,
// person-not-in-postkorb.
func (s *Service) Forward(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, to To, reason string) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, at time.Time, r *row) error {
		if err := unfinished(r); err != nil {
			return err
		}
		var p Postkorb
		var err error
		assignee := uuid.Nil
		if to.Postkorb == uuid.Nil {
			p, err = OfUser(ctx, tx, to.User)
		} else {
			p, err = ByID(ctx, tx, to.Postkorb)
			assignee = to.User
		}
		if err != nil {
			return err
		}
		if p.ID == r.postkorb && (assignee == uuid.Nil || r.assignee != nil && *r.assignee == assignee) {
			return fault.New("forward-to-itself")
		}
		if assignee != uuid.Nil {
			var works bool
			if err := tx.QueryRow(ctx, sqlWorksIn, p.ID, assignee, at).Scan(&works); err != nil {
				return err
			}
			if !works {
				return fault.New("person-not-in-postkorb", "postkorb", p.Name)
			}
		}
		if err := s.finish(ctx, tx, a, at, r, Done); err != nil {
			return err
		}
		d := Delivery{Record: r.record, Postkorb: p.ID, Assignee: assignee, Due: to.Due, Reason: reason, From: a.User,
			Why: Why{Code: "why-forwarded", Params: map[string]string{"person": a.DisplayName, "postkorb": r.postkorbName}}}
		if d.Due.IsZero() && r.dueAt != nil {
			d.Due = *r.dueAt
		}
		if r.step != nil { // the station stays current, elsewhere
			d.Step = *r.step
			if err := s.step(ctx, tx, a, at, r, StepAct{Kind: ItemForwarded, Postkorb: p.ID, Text: reason}); err != nil {
				return err
			}
		}
		next, err := s.deliver(ctx, tx, a, at, d, r)
		if err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemForwarded, reason, map[string]any{"to_postkorb_id": p.ID, "to_postkorb": p.Name, "to_user_id": ptr(to.User), "next_id": next})
	})
}

// Return sends an item back to where it came from, with a reason; what no
// person sent goes to the central clearing. Faults: reason-needed,
// item-finished, item-has-no-sender.
func (s *Service) Return(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, reason string) (Item, error) {
	if blank(reason) {
		return Item{}, fault.New("reason-needed")
	}
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, at time.Time, r *row) error {
		if err := unfinished(r); err != nil {
			return err
		}
		if r.step != nil {
			return s.step(ctx, tx, a, at, r, StepAct{Kind: ItemReturned, Text: reason})
		}
		var p Postkorb
		var err error
		if r.fromPostkorb != nil {
			p, err = ByID(ctx, tx, *r.fromPostkorb)
		}
		if r.fromPostkorb == nil || fault.Is(err, "postkorb-unknown") { // delivered by a rule, or the desk is closed
			p, err = CentralClearing(ctx, tx)
		}
		if err != nil {
			return err
		}
		if p.ID == r.postkorb {
			return fault.New("item-has-no-sender")
		}
		if err := s.finish(ctx, tx, a, at, r, Returned); err != nil {
			return err
		}
		d := Delivery{Record: r.record, Postkorb: p.ID, Reason: reason, From: a.User,
			Why: Why{Code: "why-returned", Params: map[string]string{"person": a.DisplayName, "postkorb": r.postkorbName}}}
		if r.dueAt != nil {
			d.Due = *r.dueAt
		}
		next, err := s.deliver(ctx, tx, a, at, d, r)
		if err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemReturned, reason, map[string]any{"to_postkorb_id": p.ID, "to_postkorb": p.Name, "next_id": next})
	})
}

// Done ends an item; nothing follows in any Postkorb. The station of a
// circulation is executed by it, as by Return: what follows is the
// circulation's, and so are the faults.
func (s *Service) Done(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, remark string) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, at time.Time, r *row) error {
		if err := unfinished(r); err != nil {
			return err
		}
		if r.step != nil {
			return s.step(ctx, tx, a, at, r, StepAct{Kind: ItemDone, Text: remark})
		}
		if err := s.finish(ctx, tx, a, at, r, Done); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemDone, remark, nil)
	})
}

const (
	sqlWait = `
    UPDATE postkorb_item SET state = 'waiting', claimed_by = NULL, opened_at = coalesce(opened_at, $2), row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`
	sqlInsertFollowUp = `
    INSERT INTO follow_up (tenant, id, record_id, postkorb_id, item_id, due_at, reason, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8)`
	// A follow-up that is no longer wanted counts as fired: it never comes back.
	sqlDropFollowUps = `UPDATE follow_up SET fired_at = $2 WHERE tenant = evb_tenant() AND item_id = $1 AND fired_at IS NULL`
	// Two nodes at once: each takes others. What was claimed or finished in the
	// meantime does not come back, its follow-up is over all the same.
	sqlFireFollowUps = `
    WITH due AS (
        SELECT id, item_id, reason FROM follow_up
        WHERE tenant = evb_tenant() AND fired_at IS NULL AND due_at <= $1 AND item_id IS NOT NULL
        ORDER BY due_at, id LIMIT 200 FOR UPDATE SKIP LOCKED),
    fired AS (
        UPDATE follow_up f SET fired_at = $1 FROM due WHERE f.tenant = evb_tenant() AND f.id = due.id),
    back AS (
        UPDATE postkorb_item i SET state = 'open', opened_at = NULL, row_version = i.row_version + 1
        FROM due WHERE i.tenant = evb_tenant() AND i.id = due.item_id AND i.state = 'waiting'
        RETURNING i.id, i.record_id, i.postkorb_id, due.reason)
    SELECT (SELECT count(*)::int FROM due), back.id, back.record_id, back.postkorb_id, back.reason
    FROM (VALUES (1)) one (line) LEFT JOIN back ON true`
)

// FollowUp puts an item away until a moment, when it comes back to the same
// Postkorb as new. A date without a time is 06:00 local time: the caller makes
// the moment. Faults: item-finished, follow-up-past.
func (s *Service) FollowUp(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, when time.Time, reason string) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, at time.Time, r *row) error {
		if err := unfinished(r); err != nil {
			return err
		}
		if !when.After(at) {
			return fault.New("follow-up-past")
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(sqlDropFollowUps, r.id, at)
		b.Queue(sqlWait, r.id, at)
		b.Queue(sqlInsertFollowUp, id, r.record, r.postkorb, r.id, when, reason, at, a.User)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("follow-up: %w", err)
		}
		return s.note(ctx, tx, a, at, r, ItemFollowUp, reason, map[string]any{"due_at": when.UTC().Format(time.RFC3339)})
	})
}

// FireFollowUps brings back what is due in a tenant and gives how many items
// came back. It is safe to run on several nodes and to repeat: each follow-up
// fires once, also after a crash, since state and fact are one transaction.
func (s *Service) FireFollowUps(ctx context.Context, tenant access.Tenant) (n int, err error) {
	system, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return 0, err
	}
	for {
		var due, round int
		err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
			at := s.now()
			rows, err := tx.Query(ctx, sqlFireFollowUps, at)
			if err != nil {
				return fmt.Errorf("follow-ups: %w", err)
			}
			var item, record, postkorb *uuid.UUID
			var reason *string
			var facts []event.Fact
			_, err = pgx.ForEachRow(rows, []any{&due, &item, &record, &postkorb, &reason}, func() error {
				if item != nil {
					facts = append(facts, event.Fact{Kind: ItemCameBack, Record: *record, SubjectKind: "item", Subject: *item, Reason: *reason,
						Details: map[string]any{"postkorb_id": *postkorb}})
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("follow-ups: %w", err)
			}
			round = len(facts)
			return s.log.Append(ctx, tx, system, at, facts...)
		})
		if err != nil {
			return n, err
		}
		if n += round; due == 0 {
			return n, nil
		}
	}
}

const (
	sqlNext = `
    SELECT id, state, opened_at FROM postkorb_item WHERE tenant = evb_tenant() AND previous_id = $1 FOR NO KEY UPDATE`
	// The new item was never seen by anybody: it ends without trace on the desk.
	sqlWithdraw = `
    UPDATE postkorb_item SET state = 'done', finished_at = $2, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`
	sqlReopen = `
    UPDATE postkorb_item SET state = 'open', claimed_by = NULL, finished_at = NULL, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`
)

// Undo takes back the actor's last act on an item: it lies open again where it
// lay. A forwarded or returned one can be taken back until the other side has
// opened it. What was done at the station of a circulation stays done. Faults:
// nothing-to-undo, undo-too-late, undo-of-step.
func (s *Service) Undo(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, at time.Time, r *row) error {
		details := map[string]any{"state": r.state}
		switch {
		case r.state == Open:
			return fault.New("nothing-to-undo")
		case r.state == Waiting, r.state == Claimed:
		case r.claimedBy == nil || *r.claimedBy != a.User: // somebody else's act
			return fault.New("nothing-to-undo")
		case r.step != nil:
			return fault.New("undo-of-step")
		default:
			if err := s.withdraw(ctx, tx, at, r, details); err != nil {
				return err
			}
		}
		var there uuid.UUID
		err := tx.QueryRow(ctx, sqlUnfinished, r.postkorb, r.record).Scan(&there)
		if err == nil && there != r.id && r.step == nil { // it has come back by another way
			return fault.New("undo-too-late")
		}
		if err != nil && !missing(err) {
			return err
		}
		if _, err := tx.Exec(ctx, sqlDropFollowUps, r.id, at); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlReopen, r.id); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
		return s.note(ctx, tx, a, at, r, ItemUndone, "", details)
	})
}

func (s *Service) withdraw(ctx context.Context, tx pgx.Tx, at time.Time, r *row, details map[string]any) error {
	var next uuid.UUID
	var state State
	var opened *time.Time
	rows, err := tx.Query(ctx, sqlNext, r.id)
	if err != nil {
		return err
	}
	var live []uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&next, &state, &opened}, func() error {
		switch {
		case state == Open && opened == nil:
			live = append(live, next)
		case state == Done && opened == nil: // withdrawn before
		default:
			return fault.New("undo-too-late")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range live {
		if _, err := tx.Exec(ctx, sqlWithdraw, id, at); err != nil {
			return fmt.Errorf("withdraw: %w", err)
		}
		details["withdrawn_id"] = id
	}
	return nil
}
