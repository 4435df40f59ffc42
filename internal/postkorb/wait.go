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
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

// FollowUp is a date on which an object comes back to a Postkorb.
type FollowUp struct {
	ID            uuid.UUID  `json:"id"`
	RecordID      uuid.UUID  `json:"record_id"`
	RecordKind    string     `json:"record_kind"`
	Subject       string     `json:"subject"` // empty for who may not read it
	PostkorbID    uuid.UUID  `json:"postkorb_id"`
	Postkorb      string     `json:"postkorb"`
	ItemID        *uuid.UUID `json:"item_id"` // the item that waits for it, or that it made
	DueAt         time.Time  `json:"due_at"`
	Reason        string     `json:"reason"`
	CreatedAt     time.Time  `json:"created_at"`
	CreatedBy     uuid.UUID  `json:"created_by"`
	CreatedByName string     `json:"created_by_name"`
	FiredAt       *time.Time `json:"fired_at"`
	Dropped       bool       `json:"dropped"`
	RowVersion    int64      `json:"row_version"`
}

// NewFollowUp is a follow-up on an object, whether or not it lies on a desk.
type NewFollowUp struct {
	Record   uuid.UUID
	Postkorb uuid.UUID // nil UUID: the actor's personal one
	When     time.Time
	Reason   string
	Key      idempotency.Key
}

const (
	sqlInsertFollowUp = `
    INSERT INTO follow_up (tenant, id, record_id, postkorb_id, item_id, due_at, reason, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8)`
	// Two nodes at once: each takes others. What was claimed or finished in the
	// meantime does not come back, its follow-up is over all the same.
	sqlFireFollowUps = `
    WITH due AS (
        SELECT id, item_id, reason FROM follow_up
        WHERE tenant = evb_tenant() AND fired_at IS NULL AND due_at <= $1 AND item_id IS NOT NULL
        ORDER BY due_at, id LIMIT 200 FOR UPDATE SKIP LOCKED),
    fired AS (
        UPDATE follow_up f SET fired_at = $1, row_version = f.row_version + 1 FROM due WHERE f.tenant = evb_tenant() AND f.id = due.id),
    back AS (
        UPDATE postkorb_item i SET state = 'open', opened_at = NULL, undo = NULL, follow_up_reason = due.reason, row_version = i.row_version + 1
        FROM due WHERE i.tenant = evb_tenant() AND i.id = due.item_id AND i.state = 'waiting'
        RETURNING i.id, i.record_id, i.postkorb_id, due.reason)
    SELECT (SELECT count(*)::int FROM due), back.id, back.record_id, back.postkorb_id, back.reason
    FROM (VALUES (1)) one (line) LEFT JOIN back ON true`
)

// FollowUp puts an item away until a moment, when it comes back to the same
// Postkorb as new. A date without a time is 06:00 local time: the caller makes
// the moment. Faults: item-finished, follow-up-past.
func (s *Service) FollowUp(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, when time.Time, reason string) (Item, error) {
	return s.act(ctx, a, item, ifVersion, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
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
		was := r.before(a.User, ItemFollowUp)
		was.Set = id
		r.state, r.claimedBy = Waiting, nil
		r.opened(at)
		if err := s.change(ctx, tx, at, r, &was, true); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlInsertFollowUp, id, r.record, r.postkorb, r.id, when, reason, at, a.User); err != nil {
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
	for _, fire := range []func(context.Context, pgx.Tx, access.Actor, time.Time) (due, back int, err error){s.fireItems, s.fireRecords} {
		for {
			var due, back int
			err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) (err error) {
				due, back, err = fire(ctx, tx, system, s.now())
				return err
			})
			if err != nil {
				return n, fmt.Errorf("follow-ups: %w", err)
			}
			if n += back; due == 0 {
				break
			}
		}
	}
	return n, nil
}

func (s *Service) fireItems(ctx context.Context, tx pgx.Tx, system access.Actor, at time.Time) (due, back int, err error) {
	rows, err := tx.Query(ctx, sqlFireFollowUps, at)
	if err != nil {
		return 0, 0, err
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
		return 0, 0, err
	}
	return due, len(facts), s.log.Append(ctx, tx, system, at, facts...)
}

var (
	sqlDueRecords = `
    SELECT f.id, f.record_id, f.postkorb_id, coalesce(f.owner_id, f.created_by), u.display_name, f.reason
    FROM follow_up f JOIN app_user u ON u.tenant = f.tenant AND u.id = f.created_by
    WHERE f.tenant = evb_tenant() AND f.fired_at IS NULL AND f.due_at <= $1 AND f.item_id IS NULL
    ORDER BY f.due_at, f.id LIMIT 100 FOR UPDATE OF f SKIP LOCKED`
	sqlStillMay = `
    SELECT o.id FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = ANY ($1) AND ` + access.Changes("o", 2, 3)
)

const (
	sqlFired = `
    UPDATE follow_up f SET fired_at = $1, item_id = x.item, row_version = f.row_version + 1
    FROM unnest($2::uuid[], $3::uuid[]) AS x (id, item) WHERE f.tenant = evb_tenant() AND f.id = x.id`
	// Where it waits for a date of its own, it does so no longer.
	sqlWake = `
    UPDATE postkorb_item i SET follow_up_reason = x.reason, state = CASE i.state WHEN 'waiting' THEN 'open' ELSE i.state END,
        opened_at = CASE i.state WHEN 'waiting' THEN NULL ELSE i.opened_at END, undo = CASE i.state WHEN 'waiting' THEN NULL ELSE i.undo END,
        row_version = i.row_version + 1
    FROM unnest($1::uuid[], $2::text[]) AS x (id, reason) WHERE i.tenant = evb_tenant() AND i.id = x.id AND i.state IN ('open', 'claimed', 'waiting')`
)

// fireRecords brings back objects for which nothing waits on a desk. Whose
// follow-up it is must still have the right to work on the object: an item
// gives that right. Else a notice comes, which shows its line only.
func (s *Service) fireRecords(ctx context.Context, tx pgx.Tx, system access.Actor, at time.Time) (due, back int, err error) {
	type dueRecord struct {
		ID, Record, Postkorb, Owner uuid.UUID
		Name, Reason                string
	}
	rows, err := tx.Query(ctx, sqlDueRecords, at)
	if err != nil {
		return 0, 0, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[dueRecord])
	if err != nil || len(list) == 0 {
		return 0, 0, err
	}
	records := map[uuid.UUID][]uuid.UUID{} // owner -> objects
	for _, f := range list {
		records[f.Owner] = append(records[f.Owner], f.Record)
	}
	may := map[[2]uuid.UUID]bool{}
	for owner, ids := range records { // of the few people whose follow-ups are due in one minute
		rows, err := tx.Query(ctx, sqlStillMay, ids, owner, at)
		if err != nil {
			return 0, 0, err
		}
		var id uuid.UUID
		if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { may[[2]uuid.UUID{owner, id}] = true; return nil }); err != nil {
			return 0, 0, err
		}
	}
	ids, items := make([]uuid.UUID, len(list)), make([]uuid.UUID, len(list))
	facts, reasons := make([]event.Fact, len(list)), make([]string, len(list))
	for i, f := range list {
		reasons[i] = f.Reason
		notice := !may[[2]uuid.UUID{f.Owner, f.Record}]
		ids[i] = f.ID
		items[i], err = s.Deliver(ctx, tx, system, at, Delivery{Record: f.Record, Postkorb: f.Postkorb, Reason: f.Reason, From: f.Owner, Notice: notice,
			Why: Why{Code: "why-follow-up", Params: map[string]string{"person": f.Name}}})
		if err != nil {
			return 0, 0, err
		}
		facts[i] = event.Fact{Kind: ItemCameBack, Record: f.Record, SubjectKind: "item", Subject: items[i], Reason: f.Reason,
			Details: map[string]any{"postkorb_id": f.Postkorb, "follow_up_id": f.ID, "notice": notice}}
	}
	var b pgx.Batch
	b.Queue(sqlFired, at, ids, items)
	b.Queue(sqlWake, items, reasons)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return 0, 0, err
	}
	return len(list), len(list), s.log.Append(ctx, tx, system, at, facts...)
}

var (
	sqlFollowUps = `
    SELECT f.id, f.record_id, o.kind, CASE WHEN s.sees THEN coalesce(m.subject, '') ELSE '' END, f.postkorb_id, p.name, f.item_id, f.due_at, f.reason,
        f.created_at, f.created_by, u.display_name, f.fired_at, f.dropped, f.row_version
    FROM follow_up f
    JOIN record_object o ON o.tenant = f.tenant AND o.id = f.record_id
    JOIN postkorb p ON p.tenant = f.tenant AND p.id = f.postkorb_id
    JOIN app_user u ON u.tenant = f.tenant AND u.id = f.created_by
    CROSS JOIN LATERAL (SELECT ` + access.Sees("o", 1, 2) + ` AS sees OFFSET 0) s
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    WHERE f.tenant = evb_tenant()`
	sqlFollowUpByID = sqlFollowUps + ` AND f.id = $3`
	// Those one has set, and those that come to one's desks.
	sqlMyFollowUp = ` (coalesce(f.owner_id, f.created_by) = $1::uuid OR f.postkorb_id IN (SELECT evb_own_postkoerbe($1::uuid, $2::timestamptz))
        OR f.postkorb_id IN (SELECT d.postkorb_id FROM evb_deputy_postkoerbe($1::uuid, $2::timestamptz) d) AND ` + fmt.Sprintf(unprotected, "f") + `)`
	sqlMyFollowUps = sqlFollowUps + ` AND f.fired_at IS NULL AND` + sqlMyFollowUp + ` AND (f.due_at, f.id) > ($3::text::timestamptz, $4::uuid)
    ORDER BY f.due_at, f.id LIMIT $5`
	sqlCountFollowUps = `SELECT count(*) FROM follow_up f WHERE f.tenant = evb_tenant() AND f.fired_at IS NULL AND` + sqlMyFollowUp
	sqlMayFollow      = `
    SELECT ` + access.Sees("o", 1, 2) + `, ` + access.Changes("o", 1, 2) + ` FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $3`
)

func followUp(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, id uuid.UUID) (FollowUp, error) {
	rows, err := q.Query(ctx, sqlFollowUpByID, a.User, at, id)
	if err != nil {
		return FollowUp{}, fmt.Errorf("follow-up: %w", err)
	}
	f, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[FollowUp])
	if missing(err) {
		return FollowUp{}, fault.New("not-found")
	}
	return f, err
}

// SetFollowUp lets an object come back on a date, to a Postkorb in which the
// actor works in person. It gives no new right: the actor must be allowed to
// work on the object now, and whoever it comes back for on that day, too. The
// answer of a repeated request is that of the first. Faults: not-found,
// read-only-role, follow-up-past, postkorb-unknown, person-not-in-postkorb,
// idempotency-key-reused.
func (s *Service) SetFollowUp(ctx context.Context, a access.Actor, n NewFollowUp) (f FollowUp, replayed bool, err error) {
	if err := fault.CheckText("reason", n.Reason, fault.MaxText); err != nil {
		return f, false, err
	}
	return idempotency.Once(ctx, s.db, a, n.Key, func(tx pgx.Tx) (FollowUp, uuid.UUID, error) {
		f, err := s.setFollowUp(ctx, tx, a, s.now(), n)
		return f, n.Record, err
	})
}

func (s *Service) setFollowUp(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewFollowUp) (f FollowUp, err error) {
	var sees, may bool
	err = tx.QueryRow(ctx, sqlMayFollow, a.User, at, n.Record).Scan(&sees, &may)
	if missing(err) || err == nil && !sees {
		return f, fault.New("not-found")
	}
	switch {
	case err != nil:
		return f, fmt.Errorf("follow-up: %w", err)
	case !may:
		return f, fault.New("read-only-role")
	case !n.When.After(at):
		return f, fault.New("follow-up-past")
	}
	var p Postkorb
	if n.Postkorb == uuid.Nil {
		p, err = s.EnsurePersonal(ctx, tx, a, at, a.User)
	} else {
		p, err = ByID(ctx, tx, n.Postkorb)
	}
	if err != nil {
		return f, err
	}
	if err := worksIn(ctx, tx, at, p.ID, p.Name, a.User); err != nil {
		return f, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return f, err
	}
	if _, err := tx.Exec(ctx, sqlInsertFollowUp, id, n.Record, p.ID, nil, n.When, n.Reason, at, a.User); err != nil {
		return f, fmt.Errorf("follow-up: %w", err)
	}
	err = s.log.Append(ctx, tx, a, at, event.Fact{Kind: FollowUpSet, Record: n.Record, SubjectKind: "follow_up", Subject: id, Reason: n.Reason,
		Details: map[string]any{"due_at": n.When.UTC().Format(time.RFC3339), "postkorb_id": p.ID, "postkorb": p.Name}})
	if err != nil {
		return f, err
	}
	return followUp(ctx, tx, a, at, id)
}

// FollowUpPage is one page of follow-ups.
type FollowUpPage struct {
	Items      []FollowUp
	NextCursor string
	Total      int64
}

// FollowUps lists what is to come back: what the actor has set, and what comes
// to the actor's desks, the next one first. limit 0 means MaxPage.
func (s *Service) FollowUps(ctx context.Context, a access.Actor, cursor string, limit int) (page FollowUpPage, err error) {
	after, afterID, err := readCursor(cursor)
	if err != nil {
		return page, err
	}
	limit = pageSize(limit)
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		at := s.now()
		if err := q.QueryRow(ctx, sqlCountFollowUps, a.User, at).Scan(&page.Total); err != nil {
			return fmt.Errorf("count follow-ups: %w", err)
		}
		rows, err := q.Query(ctx, sqlMyFollowUps, a.User, at, after, afterID, limit+1)
		if err != nil {
			return fmt.Errorf("follow-ups: %w", err)
		}
		page.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[FollowUp])
		return err
	})
	if err == nil && len(page.Items) > limit {
		page.Items = page.Items[:limit]
		last := page.Items[limit-1]
		page.NextCursor = writeCursor(due(last.DueAt), last.ID)
	}
	return page, err
}

var sqlHoldFollowUp = `
    SELECT f.item_id, f.record_id, f.fired_at, f.row_version FROM follow_up f
    WHERE f.tenant = evb_tenant() AND f.id = $3 AND` + sqlMyFollowUp + ` FOR NO KEY UPDATE OF f`

const sqlDropFollowUp = `
    UPDATE follow_up SET fired_at = $2, dropped = true, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`

// DropFollowUp takes a follow-up on an object away before its date. One of an
// item goes with Claim or Undo of the item. Faults: not-found, stale-version,
// follow-up-of-item, follow-up-over.
func (s *Service) DropFollowUp(ctx context.Context, a access.Actor, id uuid.UUID, ifVersion int64) error {
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		var item *uuid.UUID
		var record uuid.UUID
		var fired *time.Time
		var version int64
		err := tx.QueryRow(ctx, sqlHoldFollowUp, a.User, at, id).Scan(&item, &record, &fired, &version)
		switch {
		case missing(err):
			return fault.New("not-found")
		case err != nil:
			return fmt.Errorf("follow-up: %w", err)
		case ifVersion != 0 && ifVersion != version:
			return fault.New("stale-version")
		case fired != nil:
			return fault.New("follow-up-over")
		case item != nil:
			return fault.New("follow-up-of-item")
		}
		if _, err := tx.Exec(ctx, sqlDropFollowUp, id, at); err != nil {
			return fmt.Errorf("drop follow-up: %w", err)
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: FollowUpDropped, Record: record, SubjectKind: "follow_up", Subject: id})
	})
}
