package audit

import (
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// Limits of List.
const (
	DefaultLimit = 50
	MaxLimit     = 200
	exportChunk  = 1000
)

// Filter narrows the log. Zero fields ask for nothing.
type Filter struct {
	// Stream is event.Events or event.Access; empty: both.
	Stream event.Stream
	// Kind is a kind of fact, or the beginning of one that ends in "." or "*":
	// "dokument." or "dokument.*".
	Kind string
	// Record is the object a fact is about, Subject what it did it to.
	Record  uuid.UUID
	Subject uuid.UUID
	// Actor is a login or the id of a user.
	Actor string
	// From (inclusive) and To (exclusive) bound the recording time.
	From, To time.Time
	// RequestID is the id of one call.
	RequestID string
}

// Entry is one line of the log for auditors. Times are UTC.
type Entry struct {
	Stream      event.Stream    `json:"stream"`
	Seq         *int64          `json:"seq"` // nil: not numbered yet
	ID          uuid.UUID       `json:"id"`
	Kind        event.Kind      `json:"kind"`
	RecordID    *uuid.UUID      `json:"record_id"`
	SubjectKind string          `json:"subject_kind"`
	SubjectID   *uuid.UUID      `json:"subject_id"`
	ActorID     uuid.UUID       `json:"actor_id"`
	Actor       string          `json:"actor"`
	ActorName   string          `json:"actor_name"`
	OnBehalfOf  *uuid.UUID      `json:"on_behalf_of"`
	Capacity    string          `json:"capacity"`
	Via         string          `json:"via"`
	Reason      string          `json:"reason"`
	RequestID   string          `json:"request_id"`
	OccurredAt  time.Time       `json:"occurred_at"`
	RecordedAt  time.Time       `json:"recorded_at"`
	Details     json.RawMessage `json:"details,omitempty"` // null: erased, or not for this actor
}

// Page is a part of the log, newest first.
type Page struct {
	Items []Entry `json:"items"`
	// NextCursor is empty on the last page.
	NextCursor string `json:"next_cursor"`
}

// Both tables have the same columns. Their keys (tenant, recorded_at, id) give
// the order, and each is read by itself from the newest on, so a page costs its
// length and what the filter passes over. Names and numbers are looked up for
// the lines of the page alone.
const (
	sqlListOne = `
        (SELECT '%[2]s'::text AS stream, l.* FROM %[1]s l
        WHERE l.tenant = evb_tenant() AND $1 IN ('', '%[2]s')
          AND (l.recorded_at, l.id) < ($2::timestamptz, $3::uuid)
          AND l.recorded_at >= $9 AND l.recorded_at < $10
          AND ($4 = '' OR l.kind = $4 OR ($5 AND starts_with(l.kind, $4)))
          AND ($6::uuid IS NULL OR l.record_id = $6)
          AND ($7::uuid IS NULL OR l.subject_id = $7)
          AND ($8 = '' OR l.actor_id::text = $8 OR l.actor_id = (SELECT a.id FROM app_user a WHERE a.tenant = evb_tenant() AND a.login = $8))
          AND ($11 = '' OR l.request_id = $11)
        ORDER BY l.recorded_at DESC, l.id DESC LIMIT %[3]s)`
	sqlListAll = `
    SELECT x.stream, s.seq, x.id, x.kind, x.record_id, x.subject_kind, x.subject_id, x.actor_id,
        coalesce(u.login, ''), coalesce(u.display_name, ''), x.on_behalf_of, x.capacity, x.via, x.reason, x.request_id,
        x.occurred_at, x.recorded_at,
        CASE WHEN (SELECT evb_reads_all($12, $13)) OR x.actor_id = $12 THEN x.payload::jsonb -> 'details' END
    FROM (SELECT * FROM (%s UNION ALL %s) y ORDER BY y.recorded_at DESC, y.id DESC LIMIT $14) x
    LEFT JOIN app_user u ON u.tenant = evb_tenant() AND u.id = x.actor_id
    LEFT JOIN log_sequence s ON s.tenant = evb_tenant() AND s.stream = x.stream AND s.id = x.id
    ORDER BY x.recorded_at DESC, x.id DESC`
)

var (
	sqlList      = fmt.Sprintf(sqlListAll, fmt.Sprintf(sqlListOne, "event", event.Events, "$14"), fmt.Sprintf(sqlListOne, "access_log", event.Access, "$14"))
	sqlListCount = fmt.Sprintf(`SELECT count(*) FROM (%s UNION ALL %s) y`,
		fmt.Sprintf(sqlListOne, "event", event.Events, "ALL"), fmt.Sprintf(sqlListOne, "access_log", event.Access, "ALL"))
)

// List reads a page of the log, newest first. For auditors and administrators;
// what an entry says in detail is for those who may read everything, and for the
// person who made it. The search is a fact of the access log.
func (s *Service) List(ctx context.Context, a access.Actor, f Filter, cursor string, limit int) (Page, error) {
	if err := mayAudit(a); err != nil {
		return Page{}, err
	}
	if limit <= 0 {
		limit = DefaultLimit
	}
	limit = min(limit, MaxLimit)
	p, err := s.page(ctx, a, f, cursor, limit)
	if err != nil {
		return Page{}, err
	}
	if cursor == "" { // one fact a search, not one a page
		if err := s.note(ctx, a, event.Fact{Kind: Searched, Details: f.details()}); err != nil {
			return Page{}, err
		}
	}
	return p, nil
}

// Count says how many entries List would give in all.
func (s *Service) Count(ctx context.Context, a access.Actor, f Filter) (n int64, err error) {
	if err := mayAudit(a); err != nil {
		return 0, err
	}
	args, err := f.arguments("")
	if err != nil {
		return 0, err
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error { return q.QueryRow(ctx, sqlListCount, args...).Scan(&n) })
	if err != nil {
		return 0, fmt.Errorf("count log: %w", err)
	}
	return n, nil
}

// arguments are the first eleven of sqlList, all of sqlListCount.
func (f Filter) arguments(cursor string) ([]any, error) {
	at, id, err := parseCursor(cursor)
	if err != nil {
		return nil, err
	}
	if f.Stream != "" && f.Stream != event.Events && f.Stream != event.Access {
		return nil, fault.New("audit-filter", "field", "stream")
	}
	kind, prefix := strings.CutSuffix(f.Kind, "*")
	prefix = prefix || strings.HasSuffix(kind, ".")
	to := f.To
	if to.IsZero() {
		to = farFuture
	}
	return []any{string(f.Stream), at, id, kind, prefix, nilID(f.Record), nilID(f.Subject), f.Actor, f.From, to, f.RequestID}, nil
}

func (s *Service) page(ctx context.Context, a access.Actor, f Filter, cursor string, limit int) (Page, error) {
	args, err := f.arguments(cursor)
	if err != nil {
		return Page{}, err
	}
	page := Page{Items: []Entry{}}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlList, append(args, a.User, s.o.Now(), limit+1)...)
		if err != nil {
			return err
		}
		page.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
		return err
	})
	if err != nil {
		return Page{}, fmt.Errorf("list log: %w", err)
	}
	for i := range page.Items {
		e := &page.Items[i]
		e.OccurredAt, e.RecordedAt = e.OccurredAt.UTC(), e.RecordedAt.UTC()
	}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		last := page.Items[limit-1]
		page.NextCursor = newCursor(last.RecordedAt, last.ID)
	}
	return page, nil
}

// details is the filter as the access log keeps it.
func (f Filter) details() map[string]any {
	d := map[string]any{}
	for name, value := range map[string]string{
		"stream": string(f.Stream), "kind": f.Kind, "actor": f.Actor, "request_id": f.RequestID,
		"record_id": text(f.Record), "subject_id": text(f.Subject), "from": moment(f.From), "to": moment(f.To),
	} {
		if value != "" {
			d[name] = value
		}
	}
	return d
}

func text(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func nilID(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// farFuture bounds what has no end, inside the range of both Go and Postgres.
var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func newCursor(at time.Time, id uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(at.UnixMicro(), 10) + "." + id.String()))
}

func parseCursor(c string) (time.Time, uuid.UUID, error) {
	if c == "" {
		return farFuture, uuid.Max, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err == nil {
		micro, rest, ok := strings.Cut(string(b), ".")
		n, errN := strconv.ParseInt(micro, 10, 64)
		id, errID := uuid.Parse(rest)
		if ok && errN == nil && errID == nil {
			return time.UnixMicro(n).UTC(), id, nil
		}
	}
	return time.Time{}, uuid.Nil, fault.New("audit-cursor")
}

// Format is how an export is written.
type Format string

// The formats. CSV is for spreadsheets: UTF-8 with a mark at the beginning,
// semicolons, and no cell that a spreadsheet would take for a formula. JSON is
// one array of entries.
const (
	CSV  Format = "csv"
	JSON Format = "json"
)

// Export writes every entry of the filter, newest first, and returns how many
// there were. Nothing is written before the rights were asked and the export was
// noted in the access log. Entries recorded after the call began are left out.
func (s *Service) Export(ctx context.Context, a access.Actor, f Filter, format Format, w io.Writer) (int, error) {
	if err := mayAudit(a); err != nil {
		return 0, err
	}
	var out entryWriter
	switch format {
	case CSV:
		out = &csvWriter{w: csv.NewWriter(w), raw: w}
	case JSON:
		out = &jsonWriter{w: w}
	default:
		return 0, fault.New("audit-filter", "field", "format")
	}
	if now := s.o.Now(); f.To.IsZero() || f.To.After(now) {
		f.To = now
	}
	details := f.details()
	details["format"] = string(format)
	if err := s.note(ctx, a, event.Fact{Kind: Exported, Details: details}); err != nil {
		return 0, err
	}
	n, cursor := 0, ""
	for {
		p, err := s.page(ctx, a, f, cursor, exportChunk)
		if err != nil {
			return n, err
		}
		for _, e := range p.Items {
			if err := out.entry(e); err != nil {
				return n, fmt.Errorf("export log: %w", err)
			}
			n++
		}
		if cursor = p.NextCursor; cursor == "" {
			break
		}
	}
	if err := out.end(); err != nil {
		return n, fmt.Errorf("export log: %w", err)
	}
	return n, nil
}
