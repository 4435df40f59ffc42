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

// Work is what a person has on desks: exact counts, and at most MaxPage lines of
// each.
type Work struct {
	Items         []Item
	ItemCount     int64
	FollowUps     []FollowUp
	FollowUpCount int64
}

const (
	// Of a person: what is assigned to or claimed by the person, and what lies in
	// the personal Postkorb.
	ofPerson = ` i.state IN ('open', 'claimed', 'waiting') AND (i.assignee_id = {u} OR i.state = 'claimed' AND i.claimed_by = {u}
        OR i.postkorb_id IN (SELECT x.id FROM postkorb x WHERE x.tenant = evb_tenant() AND x.user_id = {u}))`
	ofPersonFollow = ` f.fired_at IS NULL AND (coalesce(f.owner_id, f.created_by) = {u}
        OR f.postkorb_id IN (SELECT x.id FROM postkorb x WHERE x.tenant = evb_tenant() AND x.user_id = {u}))`
)

var (
	sqlWorkItems   = sqlItem + ` AND` + param(ofPerson, "$3::uuid") + ` ORDER BY i.due_at, i.id LIMIT $4`
	sqlWorkFollows = sqlFollowUps + ` AND` + param(ofPersonFollow, "$3::uuid") + ` ORDER BY f.due_at, f.id LIMIT $4`
	sqlWorkCounts  = `
    SELECT (SELECT count(*) FROM postkorb_item i WHERE i.tenant = evb_tenant() AND` + param(ofPerson, "$1::uuid") + `),
        (SELECT count(*) FROM follow_up f WHERE f.tenant = evb_tenant() AND` + param(ofPersonFollow, "$1::uuid") + `)`
)

// CountWork counts what a person has on desks: items and follow-ups. No right is
// asked for.
func CountWork(ctx context.Context, q postgres.Querier, user uuid.UUID) (items, followUps int64, err error) {
	if err := q.QueryRow(ctx, sqlWorkCounts, user).Scan(&items, &followUps); err != nil {
		return 0, 0, fmt.Errorf("open work: %w", err)
	}
	return items, followUps, nil
}

// WorkOf lists what a person has on desks, as the actor sees the lines: what is
// protected keeps its words. The caller has asked for the right.
func (s *Service) WorkOf(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, user uuid.UUID) (w Work, err error) {
	if w.ItemCount, w.FollowUpCount, err = CountWork(ctx, q, user); err != nil {
		return w, err
	}
	rows, err := q.Query(ctx, sqlWorkItems, a.User, at, user, MaxPage)
	if err != nil {
		return w, fmt.Errorf("open work: %w", err)
	}
	if w.Items, err = pgx.CollectRows(rows, scanItem); err != nil {
		return w, fmt.Errorf("open work: %w", err)
	}
	if rows, err = q.Query(ctx, sqlWorkFollows, a.User, at, user, MaxPage); err != nil {
		return w, fmt.Errorf("open work: %w", err)
	}
	w.FollowUps, err = pgx.CollectRows(rows, pgx.RowToStructByPos[FollowUp])
	return w, err
}

var sqlHoldWork = `
    SELECT i.id, i.record_id, i.postkorb_id, p.name, p.kind = 'personal' AND p.user_id = $1, i.assignee_id = $1,
        i.postkorb_id IN (SELECT evb_own_postkoerbe($2, $3)),
        i.step_id IS NULL AND EXISTS (SELECT FROM postkorb_item x WHERE x.tenant = i.tenant AND x.postkorb_id = $4 AND x.record_id = i.record_id
            AND x.state IN ('open', 'claimed', 'waiting') AND x.step_id IS NULL)
    FROM postkorb_item i JOIN postkorb p ON p.tenant = i.tenant AND p.id = i.postkorb_id
    WHERE i.tenant = evb_tenant() AND` + param(ofPerson, "$1::uuid") + ` ORDER BY i.id FOR NO KEY UPDATE OF i`

const (
	sqlMoveItems = `
    UPDATE postkorb_item i SET postkorb_id = x.postkorb, assignee_id = CASE WHEN i.assignee_id = $1 THEN x.assignee ELSE i.assignee_id END,
        state = CASE WHEN i.state = 'claimed' THEN 'open' ELSE i.state END, claimed_by = NULL, opened_at = NULL, undo = NULL, row_version = i.row_version + 1
    FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS x (id, postkorb, assignee) WHERE i.tenant = evb_tenant() AND i.id = x.id`
	sqlEndItems = `
    UPDATE postkorb_item SET state = 'done', claimed_by = $2, finished_at = $3, undo = NULL, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = ANY ($1)`
	// What an ended item waited for comes back as a date of the object.
	sqlFreeWaits = `
    UPDATE follow_up SET item_id = NULL WHERE tenant = evb_tenant() AND fired_at IS NULL AND item_id = ANY ($1)`
	sqlMoveWaits = `
    UPDATE follow_up f SET postkorb_id = i.postkorb_id, row_version = f.row_version + 1 FROM postkorb_item i
    WHERE f.tenant = evb_tenant() AND f.fired_at IS NULL AND f.item_id = ANY ($1) AND i.tenant = f.tenant AND i.id = f.item_id`
)

var sqlMoveFollows = `
    UPDATE follow_up f SET owner_id = $2, row_version = f.row_version + 1,
        postkorb_id = CASE WHEN f.postkorb_id IN (SELECT x.id FROM postkorb x WHERE x.tenant = evb_tenant() AND x.user_id = $1::uuid) THEN $3 ELSE f.postkorb_id END
    WHERE f.tenant = evb_tenant() AND` + param(ofPersonFollow, "$1::uuid") + `
    RETURNING f.id, f.record_id`

// FollowUpMoved is the fact that a follow-up went from a leaver to somebody
// else.
const FollowUpMoved event.Kind = "follow_up.moved"

// MoveWork gives what a person has on desks to another one, in the caller's
// transaction: what lies in the personal Postkorb goes to the other one's, what
// is assigned elsewhere is assigned to the other one, who works there in person,
// else it is for all again, what was claimed is open. Where the other one has
// the object already no second item lies, and a date it waited for still comes.
// Stations of circulations keep their step. It gives how many items and follow-ups moved. The caller has
// asked for the right.
func (s *Service) MoveWork(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, from, to uuid.UUID, reason string) (items, followUps int, err error) {
	desk, err := s.EnsurePersonal(ctx, tx, a, at, to)
	if err != nil {
		return 0, 0, err
	}
	if desk.UserID == nil || *desk.UserID != to {
		return 0, 0, fault.New("postkorb-unknown")
	}
	type held struct {
		ID, Record, Postkorb uuid.UUID
		Name                 string
		Personal             bool
		Assigned             *bool
		WorksThere, There    bool
	}
	rows, err := tx.Query(ctx, sqlHoldWork, from, to, at, desk.ID)
	if err != nil {
		return 0, 0, fmt.Errorf("work of a leaver: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[held])
	if err != nil {
		return 0, 0, fmt.Errorf("work of a leaver: %w", err)
	}
	var moved, ended, desks []uuid.UUID
	var assignees []*uuid.UUID
	facts := make([]event.Fact, 0, len(list))
	for _, h := range list {
		f := event.Fact{Kind: ItemMoved, Record: h.Record, SubjectKind: "item", Subject: h.ID, Reason: reason,
			Details: map[string]any{"from_user_id": from, "to_user_id": to, "postkorb_id": h.Postkorb, "postkorb": h.Name}}
		target, assignee := h.Postkorb, ptr(to)
		if h.Personal {
			target = desk.ID
			f.Details["to_postkorb_id"], f.Details["to_postkorb"] = desk.ID, desk.Name
		} else if !h.WorksThere {
			assignee = nil
		}
		facts = append(facts, f)
		if h.Personal && h.There { // it lies there already
			ended = append(ended, h.ID)
			continue
		}
		moved, desks, assignees = append(moved, h.ID), append(desks, target), append(assignees, assignee)
	}
	var b pgx.Batch
	b.Queue(sqlMoveItems, from, moved, desks, assignees)
	b.Queue(sqlEndItems, ended, a.User, at)
	b.Queue(sqlFreeWaits, ended)
	b.Queue(sqlMoveWaits, moved)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return 0, 0, fmt.Errorf("move work: %w", err)
	}
	if rows, err = tx.Query(ctx, sqlMoveFollows, from, to, desk.ID); err != nil {
		return 0, 0, fmt.Errorf("move follow-ups: %w", err)
	}
	var id, record uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&id, &record}, func() error {
		facts = append(facts, event.Fact{Kind: FollowUpMoved, Record: record, SubjectKind: "follow_up", Subject: id, Reason: reason,
			Details: map[string]any{"from_user_id": from, "to_user_id": to}})
		followUps++
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("move follow-ups: %w", err)
	}
	return len(list), followUps, s.log.Append(ctx, tx, a, at, facts...)
}
