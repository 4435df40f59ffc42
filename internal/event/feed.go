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

const sqlFeed = `
    SELECT s.seq, e.id, e.kind, e.record_id, e.subject_kind, e.subject_id, e.actor_id, e.on_behalf_of, e.reason,
        e.occurred_at, e.recorded_at, e.payload_hash, e.salt, e.payload, s.chain
    FROM (SELECT seq, id, recorded_at, chain FROM log_sequence
          WHERE tenant = evb_tenant() AND stream = '%[2]s' AND seq > $1 ORDER BY seq LIMIT $2) s
    JOIN %[1]s e ON e.tenant = evb_tenant() AND e.recorded_at = s.recorded_at AND e.id = s.id
    ORDER BY s.seq`

// Feed reads entries after seq in order, at most limit. Numbers have no gaps:
// a follower that kept the last number it handled misses nothing.
func Feed(ctx context.Context, q postgres.Querier, stream Stream, after int64, limit int) ([]Entry, error) {
	table := "event"
	if stream == Access {
		table = "access_log"
	}
	rows, err := q.Query(ctx, fmt.Sprintf(sqlFeed, table, stream), after, limit)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
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

const sqlPendingCount = `
    SELECT count(*) FROM log_pending WHERE tenant = evb_tenant()`

// Pending counts committed rows that have no number yet (both streams).
func Pending(ctx context.Context, q postgres.Querier) (int64, error) {
	var n int64
	err := q.QueryRow(ctx, sqlPendingCount).Scan(&n)
	return n, err
}

const sqlHistory = `
    SELECT e.id, e.kind, e.actor_id, u.display_name, e.on_behalf_of, e.capacity, e.via, e.reason, e.occurred_at, e.recorded_at, e.payload
    FROM event e LEFT JOIN app_user u ON u.tenant = e.tenant AND u.id = e.actor_id
    WHERE e.tenant = evb_tenant() AND e.record_id = $1
    ORDER BY e.recorded_at, e.id LIMIT $2`

// HistoryEntry is one fact about a record object, for people.
type HistoryEntry struct {
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

// History lists the facts about a record object, oldest first, numbered or
// not. The caller has checked that the actor sees the object.
func History(ctx context.Context, q postgres.Querier, record uuid.UUID, limit int) ([]HistoryEntry, error) {
	rows, err := q.Query(ctx, sqlHistory, record, limit)
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", record, err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[HistoryEntry])
}
