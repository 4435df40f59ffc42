package event

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/postgres"
)

// Entry is one numbered row of a stream.
type Entry struct {
	Seq         int64
	ID          uuid.UUID
	Kind        Kind
	Record      *uuid.UUID
	SubjectKind string
	Subject     *uuid.UUID
	Actor       uuid.UUID
	OnBehalfOf  *uuid.UUID
	Reason      string
	OccurredAt  time.Time
	RecordedAt  time.Time
	PayloadHash []byte
	Salt        []byte
	Payload     *string // nil after disposal
	Chain       []byte
}

// Numbers are read first and their rows by a list within the chunk's own times:
// a join of the two lets a plan with old statistics read every partition.
const (
	sqlFeedNumbers = `
    SELECT seq, id, recorded_at, chain FROM log_sequence
    WHERE tenant = evb_tenant() AND stream = $1 AND seq > $2 ORDER BY seq LIMIT $3`
	sqlFeedRows = `
    SELECT 0::bigint, e.id, e.kind, e.record_id, e.subject_kind, e.subject_id, e.actor_id, e.on_behalf_of, e.reason,
        e.occurred_at, e.recorded_at, e.payload_hash, e.salt, e.payload, NULL::bytea
    FROM %s e
    WHERE e.tenant = evb_tenant() AND e.recorded_at BETWEEN $1 AND $2 AND e.id = ANY ($3::uuid[])`
)

// Feed reads entries after seq in order, at most limit. Numbers have no gaps:
// a follower that kept the last number it handled misses nothing.
func Feed(ctx context.Context, q postgres.Querier, stream Stream, after int64, limit int) ([]Entry, error) {
	table := "event"
	if stream == Access {
		table = "access_log"
	}
	type number struct {
		Seq        int64
		ID         uuid.UUID
		RecordedAt time.Time
		Chain      []byte
	}
	rows, err := q.Query(ctx, sqlFeedNumbers, stream, after, limit)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[number])
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	ids, place := make([]uuid.UUID, len(numbers)), make(map[uuid.UUID]int, len(numbers))
	from, to := numbers[0].RecordedAt, numbers[0].RecordedAt
	for i, n := range numbers {
		ids[i], place[n.ID] = n.ID, i
		if n.RecordedAt.Before(from) {
			from = n.RecordedAt
		}
		if n.RecordedAt.After(to) {
			to = n.RecordedAt
		}
	}
	if rows, err = q.Query(ctx, fmt.Sprintf(sqlFeedRows, table), from, to, ids); err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	out := make([]Entry, len(numbers))
	for _, e := range found {
		n := numbers[place[e.ID]]
		e.Seq, e.Chain = n.Seq, n.Chain
		out[place[e.ID]] = e
	}
	if len(found) != len(numbers) {
		return nil, fmt.Errorf("feed: %d of %d numbered entries after %d are there: run evb audit verify", len(found), len(numbers), after)
	}
	return out, nil
}

// Last is the newest number and chain of a stream; 0 and nil when it is empty.
func Last(ctx context.Context, q postgres.Querier, stream Stream) (int64, []byte, error) {
	var seq int64
	var chain []byte
	err := q.QueryRow(ctx, sqlLast, stream).Scan(&seq, &chain)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil, nil
	}
	return seq, chain, err
}

const sqlHistory = `
    SELECT r.id, e.id, e.kind, e.actor_id, u.display_name, e.on_behalf_of, e.capacity, e.via, e.reason, e.occurred_at, e.recorded_at, e.payload
    FROM unnest($1::uuid[]) r (id)
    CROSS JOIN LATERAL (SELECT * FROM event x WHERE x.tenant = evb_tenant() AND x.record_id = r.id ORDER BY x.recorded_at, x.id LIMIT $2) e
    LEFT JOIN app_user u ON u.tenant = e.tenant AND u.id = e.actor_id
    ORDER BY e.recorded_at, e.id`

// HistoryEntry is one fact about a record object, for people.
type HistoryEntry struct {
	Record     uuid.UUID
	ID         uuid.UUID
	Kind       Kind
	Actor      uuid.UUID
	ActorName  *string
	OnBehalfOf *uuid.UUID
	Capacity   string
	Via        string
	Reason     string
	OccurredAt time.Time
	RecordedAt time.Time
	Payload    *string
}

// History lists the facts about record objects, at most limit of each, oldest
// first, numbered or not. The caller has checked that the actor sees them.
func History(ctx context.Context, q postgres.Querier, limit int, records ...uuid.UUID) ([]HistoryEntry, error) {
	rows, err := q.Query(ctx, sqlHistory, records, limit)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[HistoryEntry])
}

const sqlHistoryPage = `
    SELECT e.record_id, e.id, e.kind, e.actor_id, u.display_name, e.on_behalf_of, e.capacity, e.via, e.reason, e.occurred_at, e.recorded_at, e.payload
    FROM event e LEFT JOIN app_user u ON u.tenant = e.tenant AND u.id = e.actor_id
    WHERE e.tenant = evb_tenant() AND e.record_id = ANY ($1) AND (e.recorded_at, e.id) > ($2, $3)
    ORDER BY e.recorded_at, e.id LIMIT $4`

// HistoryPage lists facts about record objects in one order, oldest first, behind
// a moment and id (zero: from the first). The caller has checked that the actor
// sees the objects.
func HistoryPage(ctx context.Context, q postgres.Querier, records []uuid.UUID, after time.Time, id uuid.UUID, limit int) ([]HistoryEntry, error) {
	rows, err := q.Query(ctx, sqlHistoryPage, records, after, id, limit)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[HistoryEntry])
}
