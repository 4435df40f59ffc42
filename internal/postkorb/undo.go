package postkorb

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
)

const (
	sqlNext = `
    SELECT id, state, opened_at, undo IS NOT NULL FROM postkorb_item WHERE tenant = evb_tenant() AND previous_id = $1 FOR NO KEY UPDATE`
	// The new item was never seen by anybody: it ends without trace on the desk.
	sqlWithdraw = `
    UPDATE postkorb_item SET state = 'done', finished_at = $2, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = ANY ($1)`
	sqlUndoFollowUps = `
    UPDATE follow_up SET fired_at = CASE WHEN id = $1 THEN $3::timestamptz END, dropped = id = $1, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = ANY ($2)`
)

// Undo takes back the actor's last act on an item: it is exactly as it was
// before. What went to somebody else can be taken back until that side has
// opened it or acted on it. What was done at the station of a circulation stays
// done. Faults: nothing-to-undo, undo-too-late, undo-of-step.
func (s *Service) Undo(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return s.actIf(ctx, a, item, ifVersion, mayUndo, func(tx pgx.Tx, a access.Actor, at time.Time, r *row) error {
		was, err := r.last()
		if err != nil {
			return err
		}
		finished := unfinished(r) != nil
		switch {
		case finished && r.step != nil && is(r.claimedBy, a.User):
			return fault.New("undo-of-step")
		case was.By != a.User:
			return fault.New("nothing-to-undo")
		}
		details := map[string]any{"state": r.state, "act": was.Act}
		switch {
		case finished:
			if err := s.withdraw(ctx, tx, at, r, details); err != nil {
				return err
			}
		case was.Act == ItemAssigned && r.openedAt != nil && !is(r.assignee, a.User):
			return fault.New("undo-too-late")
		}
		if r.step == nil {
			var there uuid.UUID
			err := tx.QueryRow(ctx, sqlUnfinished, r.postkorb, r.record).Scan(&there)
			if err == nil && there != r.id { // it has come back by another way
				return fault.New("undo-too-late")
			}
			if err != nil && !missing(err) {
				return err
			}
		}
		ids := was.FollowUps
		if was.Set != uuid.Nil {
			ids = append(ids, was.Set)
		}
		if len(ids) > 0 {
			if _, err := tx.Exec(ctx, sqlUndoFollowUps, was.Set, ids, at); err != nil {
				return fmt.Errorf("undo: %w", err)
			}
		}
		r.state, r.assignee, r.claimedBy, r.openedAt, r.finishedAt = was.State, was.Assignee, was.ClaimedBy, was.OpenedAt, nil
		r.dueAt, r.escalatedAt = was.DueAt, was.EscalatedAt
		if err := s.change(ctx, tx, at, r, nil, false); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, r, ItemUndone, "", details)
	})
}

// last is what the item was before its last act; the zero value: there is
// nothing to take back.
func (r *row) last() (was before, err error) {
	if len(r.undo) > 0 {
		if err := json.Unmarshal(r.undo, &was); err != nil {
			return was, fmt.Errorf("undo: %w", err)
		}
	}
	return was, nil
}

// mayUndo: the last act was the actor's own, and the actor still works there;
// else it is for those to whom the item is open.
func mayUndo(r *row, a access.Actor) (access.Actor, error) {
	was, err := r.last()
	switch {
	case err != nil:
		return a, err
	case was.By == a.User:
		return works(r, a)
	}
	return yours(r, a)
}

// withdraw ends what the act made elsewhere. Fault: undo-too-late when anybody
// has opened it or acted on it.
func (s *Service) withdraw(ctx context.Context, tx pgx.Tx, at time.Time, r *row, details map[string]any) error {
	rows, err := tx.Query(ctx, sqlNext, r.id)
	if err != nil {
		return err
	}
	var next uuid.UUID
	var state State
	var opened *time.Time
	var acted bool
	var live []uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&next, &state, &opened, &acted}, func() error {
		switch {
		case state == Open && opened == nil && !acted:
			live = append(live, next)
		case state == Done && opened == nil: // withdrawn before
		default:
			return fault.New("undo-too-late")
		}
		return nil
	})
	if err != nil || len(live) == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, sqlWithdraw, live, at); err != nil {
		return fmt.Errorf("withdraw: %w", err)
	}
	details["withdrawn_id"] = live[0]
	return nil
}
