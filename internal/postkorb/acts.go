package postkorb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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
	claimantWorks        bool // who claimed it still works in the Postkorb
	fromPostkorb         *uuid.UUID
	fromUser             *uuid.UUID
	step, previous       *uuid.UUID
	openedAt, finishedAt *time.Time
	dueAt, escalatedAt   *time.Time
	version              int64
	own                  bool        // the actor works in the Postkorb in person
	absent               []uuid.UUID // for whom the actor stands in there
	protected            bool        // closed to deputies
	distributes          bool        // the actor may give it to a person
	notice               bool
	undo                 []byte
}

// The row is taken first and read afterwards: who has waited for it reads what
// the other one wrote, names included.
var sqlLockItem = `
    SELECT i.id FROM postkorb_item i WHERE i.tenant = evb_tenant() AND i.id = $1 AND ` + lineSeen("i", 2, 3) + ` FOR NO KEY UPDATE OF i`

const sqlReadItem = `
    SELECT i.id, i.postkorb_id, i.record_id, p.name, i.state, i.assignee_id, coalesce(ua.display_name, ''), i.claimed_by, coalesce(uc.display_name, ''),
        i.claimed_by IS NOT NULL AND uc.disabled_at IS NULL AND i.postkorb_id IN (SELECT k FROM evb_actor_postkoerbe(i.claimed_by, $3) k),
        i.from_postkorb_id, i.from_user_id, i.step_id, i.previous_id, i.opened_at, i.finished_at, CASE WHEN i.due_at < 'infinity' THEN i.due_at END, i.escalated_at, i.row_version,
        i.postkorb_id IN (SELECT k FROM evb_own_postkoerbe($2, $3) k),
        ARRAY(SELECT d.user_id FROM evb_deputy_postkoerbe($2, $3) d WHERE d.postkorb_id = i.postkorb_id ORDER BY d.user_id),
        evb_protected(o.protection_class, o.access_scope_id),
        p.kind = 'clearing' OR p.kind <> 'personal' AND EXISTS (SELECT FROM membership m
            WHERE m.tenant = i.tenant AND m.role IN ('head', 'registry') AND (m.unit_id = p.unit_id OR m.unit_id IS NULL) AND m.valid_from <= $3 AND $3 < m.valid_to
              AND (m.user_id = $2 OR m.user_id IN (SELECT d.user_id FROM evb_deputy_postkoerbe($2, $3) d WHERE d.postkorb_id = i.postkorb_id))),
        i.notice, i.undo
    FROM postkorb_item i
    JOIN postkorb p ON p.tenant = i.tenant AND p.id = i.postkorb_id
    JOIN record_object o ON o.tenant = i.tenant AND o.id = i.record_id
    LEFT JOIN app_user ua ON ua.tenant = i.tenant AND ua.id = i.assignee_id
    LEFT JOIN app_user uc ON uc.tenant = i.tenant AND uc.id = i.claimed_by
    WHERE i.tenant = evb_tenant() AND i.id = $1`

// lineSeen is the condition that an actor sees the line of an item: it lies in
// a Postkorb of the actor, or came from the actor, or the actor reads all. A
// deputy sees no line of what is protected.
func lineSeen(alias string, actor, at int) string {
	return fmt.Sprintf(`(%[1]s.postkorb_id IN (SELECT k FROM evb_own_postkoerbe($%[2]d::uuid, $%[3]d::timestamptz) k) OR %[1]s.from_user_id = $%[2]d::uuid
        OR EXISTS (SELECT FROM evb_reader_roles($%[2]d::uuid, $%[3]d::timestamptz))
        OR %[1]s.postkorb_id IN (SELECT d.postkorb_id FROM evb_deputy_postkoerbe($%[2]d::uuid, $%[3]d::timestamptz) d) AND `+unprotected+`)`, alias, actor, at)
}

// unprotected is the condition that the object of an item is not protected.
const unprotected = `NOT (SELECT evb_protected(po.protection_class, po.access_scope_id) FROM record_object po WHERE po.tenant = %[1]s.tenant AND po.id = %[1]s.record_id)`

// locked takes and reads the row of an item whose line the actor sees. Fault:
// not-found.
func (s *Service) locked(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, item uuid.UUID) (r row, err error) {
	err = tx.QueryRow(ctx, sqlLockItem, item, a.User, at).Scan(&r.id)
	if missing(err) {
		return r, fault.New("not-found")
	}
	if err != nil {
		return r, fmt.Errorf("lock item: %w", err)
	}
	return s.read(ctx, tx, a, at, item)
}

// act runs one act on an item: it takes the row, asks for the right, checks
// the version, and gives the item back as the actor sees it afterwards. What
// somebody else holds is told before a stale version, so that the second of two
// learns who was first. fn gets the actor with the absent person it acts for.
func (s *Service) act(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, fn func(tx pgx.Tx, me access.Actor, at time.Time, r *row) error) (Item, error) {
	return s.actIf(ctx, a, item, ifVersion, yours, fn)
}

// actIf is act with a right of its own.
func (s *Service) actIf(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, right func(*row, access.Actor) (access.Actor, error), fn func(tx pgx.Tx, me access.Actor, at time.Time, r *row) error) (out Item, err error) {
	err = s.db.InTxKept(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		r, err := s.locked(ctx, tx, a, at, item)
		if err != nil {
			return err
		}
		me, err := right(&r, a)
		if err != nil {
			return err
		}
		if ifVersion != 0 && ifVersion != r.version {
			return fault.New("stale-version")
		}
		if err := fn(tx, me, at, &r); err != nil {
			return err
		}
		out, err = s.item(ctx, tx, a, at, item)
		return err
	})
	return out, err
}

func (s *Service) read(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, item uuid.UUID) (r row, err error) {
	err = tx.QueryRow(ctx, sqlReadItem, item, a.User, at).Scan(&r.id, &r.postkorb, &r.record, &r.postkorbName, &r.state, &r.assignee, &r.assigneeName,
		&r.claimedBy, &r.claimedByName, &r.claimantWorks, &r.fromPostkorb, &r.fromUser, &r.step, &r.previous, &r.openedAt, &r.finishedAt, &r.dueAt, &r.escalatedAt, &r.version,
		&r.own, &r.absent, &r.protected, &r.distributes, &r.notice, &r.undo)
	if err != nil {
		return r, fmt.Errorf("read item: %w", err)
	}
	return r, nil
}

func is(id *uuid.UUID, who uuid.UUID) bool { return id != nil && *id == who }

// taken says that somebody else holds the item. What somebody claimed who works
// there no longer is free again.
func (r *row) taken(who ...uuid.UUID) bool {
	return r.state == Claimed && r.claimantWorks && !slices.Contains(who, *r.claimedBy)
}

// forMe says that nobody in particular, or one of these, is to work on it.
func (r *row) forMe(who ...uuid.UUID) bool {
	return r.assignee == nil || slices.Contains(who, *r.assignee)
}

// works is the check that the actor works where the item lies, and for whom: in
// person, else for an absent person.
func works(r *row, a access.Actor) (access.Actor, error) {
	switch {
	case r.own:
		return a, nil
	case len(r.absent) > 0 && !r.protected:
		return a.Behalf(r.absent[0]), nil
	}
	return a, fault.New("item-not-yours")
}

// yours is the check that the actor may act on an item, and for whom: in person,
// else for an absent person, whose work it may be already.
func yours(r *row, a access.Actor) (access.Actor, error) {
	if _, err := works(r, a); err != nil {
		return a, err
	}
	if r.own && r.forMe(a.User) && !r.taken(a.User) {
		return a, nil
	}
	if !r.protected {
		var other *uuid.UUID
		for _, absent := range r.absent {
			if !r.forMe(a.User, absent) || r.taken(a.User, absent) {
				continue
			}
			if is(r.assignee, absent) || r.state == Claimed && is(r.claimedBy, absent) {
				return a.Behalf(absent), nil
			}
			if other == nil {
				other = &absent
			}
		}
		if other != nil {
			return a.Behalf(*other), nil
		}
	}
	if !r.forMe(a.User) {
		return a, fault.New("item-assigned", "name", r.assigneeName)
	}
	return a, fault.New("item-taken", "name", r.claimedByName)
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

// before is what an item was before its last act (postkorb_item.undo).
type before struct {
	By          uuid.UUID   `json:"by"`
	Act         event.Kind  `json:"act"`
	State       State       `json:"state"`
	Assignee    *uuid.UUID  `json:"assignee_id"`
	ClaimedBy   *uuid.UUID  `json:"claimed_by"`
	OpenedAt    *time.Time  `json:"opened_at"`
	DueAt       *time.Time  `json:"due_at"`
	EscalatedAt *time.Time  `json:"escalated_at"`
	FollowUps   []uuid.UUID `json:"follow_ups,omitempty"` // that the act dropped
	Set         uuid.UUID   `json:"set,omitzero"`         // that the act set
}

func (r *row) before(by uuid.UUID, act event.Kind) before {
	return before{By: by, Act: act, State: r.state, Assignee: r.assignee, ClaimedBy: r.claimedBy, OpenedAt: r.openedAt, DueAt: r.dueAt, EscalatedAt: r.escalatedAt}
}

// A follow-up that is no longer wanted counts as fired: it never comes back,
// unless the act that dropped it is undone.
const sqlChange = `
    WITH dropped AS (
        UPDATE follow_up SET fired_at = $2::timestamptz, dropped = true, row_version = row_version + 1
        WHERE tenant = evb_tenant() AND item_id = $1 AND fired_at IS NULL AND $3
        RETURNING id)
    UPDATE postkorb_item SET state = $4, assignee_id = $5, claimed_by = $6, opened_at = $7, finished_at = $8, due_at = $9::text::timestamptz, escalated_at = $10,
        undo = CASE WHEN $11::jsonb IS NOT NULL THEN $11::jsonb || jsonb_build_object('follow_ups', coalesce((SELECT jsonb_agg(id) FROM dropped), '[]')) END,
        row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`

// change writes what an act made of the row. Its follow-ups are dropped unless
// it waits for them still. undo is what takes the act back; nil: nothing does.
func (s *Service) change(ctx context.Context, tx pgx.Tx, at time.Time, r *row, undo *before, drop bool) error {
	var snapshot []byte
	if undo != nil {
		var err error
		if snapshot, err = json.Marshal(undo); err != nil {
			return err
		}
	}
	var d time.Time
	if r.dueAt != nil {
		d = *r.dueAt
	}
	_, err := tx.Exec(ctx, sqlChange, r.id, at, drop, r.state, r.assignee, r.claimedBy, r.openedAt, r.finishedAt, due(d), r.escalatedAt, snapshot)
	if err != nil {
		return fmt.Errorf("change item: %w", err)
	}
	return nil
}

const sqlOpen = `UPDATE postkorb_item SET opened_at = $2, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1 AND opened_at IS NULL`

// Open notes that the addressee has opened the item; from then on the sender
// cannot take it back. Only the first opening changes anything. ifVersion 0
// takes any version, as in all acts. Faults of all acts: not-found,
// item-not-yours, item-assigned and item-taken (with the name), stale-version.
//
// A deputy acts in the named Postkörbe of an absent person on what that person
// could act on; facts then name both.
func (s *Service) Open(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
		if r.openedAt != nil {
			return nil
		}
		if _, err := tx.Exec(ctx, sqlOpen, r.id, at); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemOpened, "", nil)
	})
}

// Claim takes an item out of the group for the actor. Of two at once one gets
// it; the other is told who (item-taken). Claiming what one holds changes
// nothing. A deputy may take over what the absent person holds. Fault:
// item-finished.
func (s *Service) Claim(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
		if err := unfinished(r); err != nil || r.state == Claimed && is(r.claimedBy, a.User) {
			return err
		}
		was := r.before(a.User, ItemClaimed)
		r.state, r.claimedBy = Claimed, &a.User
		r.opened(at)
		if err := s.change(ctx, tx, at, r, &was, true); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemClaimed, "", nil)
	})
}

func (r *row) opened(at time.Time) {
	if r.openedAt == nil {
		r.openedAt = &at
	}
}

// To is where an item is forwarded: a Postkorb, or a person (the personal
// Postkorb); both: to the person alone, in that Postkorb.
type To struct {
	Postkorb uuid.UUID
	User     uuid.UUID
	Due      time.Time // zero: as before
}

const sqlWorksIn = `SELECT $1::uuid IN (SELECT evb_own_postkoerbe($2, $3))`

// worksIn is the check that a person works in a Postkorb, in person. Fault:
// person-not-in-postkorb.
func worksIn(ctx context.Context, tx pgx.Tx, at time.Time, postkorb uuid.UUID, name string, user uuid.UUID) error {
	var works bool
	if err := tx.QueryRow(ctx, sqlWorksIn, postkorb, user, at).Scan(&works); err != nil {
		return fmt.Errorf("works in: %w", err)
	}
	if !works {
		return fault.New("person-not-in-postkorb", "postkorb", name)
	}
	return nil
}

// finish ends an item by an act of the actor.
func (s *Service) finish(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *row, state State, act event.Kind) error {
	was := r.before(a.User, act)
	r.state, r.claimedBy, r.finishedAt = state, &a.User, &at
	r.opened(at)
	return s.change(ctx, tx, at, r, &was, true)
}

// Forward hands an item on; it ends here and lies open there. The reason may
// be empty. Where an unfinished item for the object lies already, no second
// one is made. Faults: item-finished, postkorb-unknown, forward-to-itself,
// person-not-in-postkorb.
func (s *Service) Forward(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, to To, reason string) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
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
		if p.ID == r.postkorb && (assignee == uuid.Nil || is(r.assignee, assignee)) {
			return fault.New("forward-to-itself")
		}
		if assignee != uuid.Nil {
			if err := worksIn(ctx, tx, at, p.ID, p.Name, assignee); err != nil {
				return err
			}
		}
		d := Delivery{Record: r.record, Postkorb: p.ID, Assignee: assignee, Due: to.Due, Reason: reason, From: a.User, Notice: r.notice,
			Why: Why{Code: "why-forwarded", Params: map[string]string{"person": a.DisplayName, "postkorb": r.postkorbName}}}
		if d.Due.IsZero() && r.dueAt != nil {
			d.Due = *r.dueAt
		}
		if err := s.finish(ctx, tx, a, at, r, Done, ItemForwarded); err != nil {
			return err
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

// Return sends an item back to where it came from, with a reason: the Postkorb,
// else the person. What no person sent is an Irrläufer: it goes to the central
// clearing and is marked misdirected. Faults: reason-needed, item-finished,
// item-has-no-sender.
func (s *Service) Return(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, reason string) (Item, error) {
	if blank(reason) {
		return Item{}, fault.New("reason-needed")
	}
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
		if err := unfinished(r); err != nil {
			return err
		}
		if r.step != nil {
			return s.step(ctx, tx, a, at, r, StepAct{Kind: ItemReturned, Text: reason})
		}
		p, misdirected, err := s.backTo(ctx, tx, r)
		if err != nil {
			return err
		}
		if p.ID == r.postkorb {
			return fault.New("item-has-no-sender")
		}
		if err := s.finish(ctx, tx, a, at, r, Returned, ItemReturned); err != nil {
			return err
		}
		d := Delivery{Record: r.record, Postkorb: p.ID, Reason: reason, From: a.User, Notice: r.notice, Misdirected: misdirected,
			Why: Why{Code: "why-returned", Params: map[string]string{"person": a.DisplayName, "postkorb": r.postkorbName}}}
		if misdirected {
			d.Why.Code = "why-misdirected"
		}
		if r.dueAt != nil {
			d.Due = *r.dueAt
		}
		next, err := s.deliver(ctx, tx, a, at, d, r)
		if err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemReturned, reason, map[string]any{"to_postkorb_id": p.ID, "to_postkorb": p.Name, "next_id": next, "misdirected": misdirected})
	})
}

// backTo is where a returned item goes, and whether it was misdirected.
func (s *Service) backTo(ctx context.Context, tx pgx.Tx, r *row) (p Postkorb, misdirected bool, err error) {
	switch {
	case r.fromPostkorb != nil:
		p, err = ByID(ctx, tx, *r.fromPostkorb)
	case r.fromUser != nil && *r.fromUser != access.SystemUser:
		p, err = OfUser(ctx, tx, *r.fromUser)
	default: // delivered by a rule
		misdirected = true
	}
	if misdirected || fault.Is(err, "postkorb-unknown") { // or the desk is closed
		p, err = CentralClearing(ctx, tx)
	}
	return p, misdirected, err
}

// Done ends an item; nothing follows in any Postkorb. The station of a
// circulation is executed by it, as by Return: what follows is the
// circulation's, and so are the faults.
func (s *Service) Done(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, remark string) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
		if err := unfinished(r); err != nil {
			return err
		}
		if r.step != nil {
			return s.step(ctx, tx, a, at, r, StepAct{Kind: ItemDone, Text: remark})
		}
		if err := s.finish(ctx, tx, a, at, r, Done, ItemDone); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemDone, remark, nil)
	})
}
