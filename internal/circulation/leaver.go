package circulation

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
)

// StepMoved is the fact that a station went from a leaver to somebody else.
const StepMoved event.Kind = "circulation.step_moved"

// PersonStep is a station of a person in a running circulation, that is to come or current.
type PersonStep struct {
	CirculationID uuid.UUID `json:"circulation_id"`
	RecordID      uuid.UUID `json:"record_id"`
	Number        int       `json:"number"`
	Kind          Kind      `json:"kind"`
	Status        Status    `json:"status"`
}

const (
	ofPerson = `
    WHERE s.tenant = evb_tenant() AND s.user_id = $1 AND s.status IN ('future', 'current') AND c.state = 'running'`
	sqlStepsOf = `
    SELECT c.id, c.record_id, s.number, s.kind, s.status
    FROM circulation_step s JOIN circulation c ON c.tenant = s.tenant AND c.id = s.circulation_id` + ofPerson + `
    ORDER BY c.id, s.number`
	sqlHoldOfPerson = `
    SELECT c.id FROM circulation c WHERE c.tenant = evb_tenant() AND c.state = 'running' AND c.id IN (
        SELECT s.circulation_id FROM circulation_step s JOIN circulation c ON c.tenant = s.tenant AND c.id = s.circulation_id` + ofPerson + `)
    ORDER BY c.id FOR NO KEY UPDATE`
	sqlMoveSteps = `
    WITH moved AS (
        UPDATE circulation_step s SET user_id = $2, row_version = s.row_version + 1 FROM circulation c` + ofPerson + `
          AND c.tenant = s.tenant AND c.id = s.circulation_id AND c.id = ANY ($3)
        RETURNING c.id, c.record_id, s.number, s.kind, s.status),
    touched AS (
        UPDATE circulation c SET row_version = c.row_version + 1 WHERE c.tenant = evb_tenant() AND c.id IN (SELECT m.id FROM moved m))
    SELECT id, record_id, number, kind, status FROM moved ORDER BY id, number`
)

// StepsOf lists the stations of a person that are to come or current. No right
// is asked for.
func StepsOf(ctx context.Context, q postgres.Querier, user uuid.UUID) ([]PersonStep, error) {
	rows, err := q.Query(ctx, sqlStepsOf, user)
	if err != nil {
		return nil, fmt.Errorf("stations of a person: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[PersonStep])
}

// MoveSteps makes another person the station of what is to come or current, in
// the caller's transaction; the item of a current one is moved by the desk. It
// gives how many. The caller has asked for the right.
func (s *Service) MoveSteps(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, from, to uuid.UUID, reason string) (int, error) {
	rows, err := tx.Query(ctx, sqlHoldOfPerson, from)
	if err != nil {
		return 0, fmt.Errorf("circulations of a leaver: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	if rows, err = tx.Query(ctx, sqlMoveSteps, from, to, ids); err != nil {
		return 0, fmt.Errorf("move stations: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PersonStep])
	if err != nil {
		return 0, fmt.Errorf("move stations: %w", err)
	}
	facts := make([]event.Fact, len(list))
	for i, p := range list {
		facts[i] = event.Fact{Kind: StepMoved, Record: p.RecordID, SubjectKind: "circulation", Subject: p.CirculationID, Reason: reason,
			Details: map[string]any{"circulation_id": p.CirculationID, "number": p.Number, "from_user_id": from, "to_user_id": to}}
	}
	return len(list), s.log.Append(ctx, tx, a, at, facts...)
}
