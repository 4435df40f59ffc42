package event

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/job"
)

// Kind names a fact in the past tense, e.g. "dokument.received".
type Kind string

// Stream is one of the two logs.
type Stream string

// The streams.
const (
	Events Stream = "event"  // changes
	Access Stream = "access" // reads of protected matters, exports, searches by auditors
)

// Fact is what a use case states.
type Fact struct {
	Kind        Kind
	Record      uuid.UUID // record object the fact is about; nil UUID: none
	SubjectKind string    // what Subject is, e.g. "item", "batch", "seal"
	Subject     uuid.UUID // subject of the jobs that follow; nil UUID: Record
	Reason      string
	OccurredAt  time.Time // zero: the moment given to Append
	// Details go into the payload: ids, numbers, old and new values. No
	// digests (decisions 5.3), no document text.
	Details map[string]any
}

// Flow says which kinds of job follow from which kind of fact.
type Flow map[Kind][]string

// Log writes facts. Safe for concurrent use.
type Log struct {
	flow Flow
	jobs *job.Client
}

// NewLog makes the log for a flow. jobs may be nil when the flow is empty, or
// when Attach follows before the first fact.
func NewLog(flow Flow, jobs *job.Client) *Log { return &Log{flow: flow, jobs: jobs} }

// Attach gives the log its queue. The queue knows the services' jobs and the
// services know the log, so the log is made first and gets its queue last,
// before anything runs. Not safe beside Append.
func (l *Log) Attach(jobs *job.Client) { l.jobs = jobs }

const sqlInsert = `
    WITH pending AS (
        INSERT INTO log_pending (tenant, stream, id, recorded_at)
        SELECT evb_tenant(), '%[2]s', x.id, $11 FROM unnest($1::uuid[]) AS x (id))
    INSERT INTO %[1]s (tenant, id, kind, record_id, subject_kind, subject_id, actor_id, on_behalf_of, capacity, via,
        reason, request_id, occurred_at, recorded_at, payload_hash, salt, payload)
    SELECT evb_tenant(), x.id, x.kind, x.record, x.subject_kind, x.subject, $12, $13, $14, $15, x.reason, $16, x.occurred, $11, x.hash, x.salt, x.payload
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::timestamptz[], $8::bytea[], $9::bytea[], $10::text[])
        AS x (id, kind, record, subject_kind, subject, reason, occurred, hash, salt, payload)`

// Append writes facts to the event stream and enqueues the jobs that follow,
// in the caller's transaction. at is the business time from the process clock;
// it is also the recording time. Append may be called with many facts at once.
func (l *Log) Append(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, facts ...Fact) error {
	if err := writeForWhom(ctx, tx, Events, actor, at, facts); err != nil {
		return err
	}
	var items []job.Item
	for _, f := range facts {
		subject := f.Subject
		if subject == uuid.Nil {
			subject = f.Record
		}
		for _, kind := range l.flow[f.Kind] {
			items = append(items, job.Item{Kind: kind, Subject: subject})
		}
	}
	if len(items) == 0 {
		return nil
	}
	return l.jobs.Enqueue(ctx, tx, actor.Tenant, items...)
}

// AppendAccess writes facts to the access stream: somebody read, searched or
// exported something that is to be accounted for.
func (l *Log) AppendAccess(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, facts ...Fact) error {
	return writeForWhom(ctx, tx, Access, actor, at, facts)
}

// writeForWhom writes facts with the name of the absent person for whom a deputy
// works on their objects. A use case that knows for whom it is has said so in
// the actor.
func writeForWhom(ctx context.Context, tx pgx.Tx, stream Stream, actor access.Actor, at time.Time, facts []Fact) error {
	var records []uuid.UUID
	if actor.Deputy && actor.OnBehalfOf == uuid.Nil {
		for _, f := range facts {
			if f.Record != uuid.Nil {
				records = append(records, f.Record)
			}
		}
	}
	if len(records) == 0 {
		return write(ctx, tx, stream, actor, at, facts)
	}
	rows, err := tx.Query(ctx, access.SQLForWhom, records, actor.User, at)
	if err != nil {
		return fmt.Errorf("for whom: %w", err)
	}
	absent := map[uuid.UUID]uuid.UUID{}
	var record, user uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&record, &user}, func() error { absent[record] = user; return nil }); err != nil {
		return fmt.Errorf("for whom: %w", err)
	}
	for from := 0; from < len(facts); { // facts keep their order
		to := from + 1
		for to < len(facts) && absent[facts[to].Record] == absent[facts[from].Record] {
			to++
		}
		who := actor
		if user, ok := absent[facts[from].Record]; ok {
			who = actor.Behalf(user)
		}
		if err := write(ctx, tx, stream, who, at, facts[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// payload is the canonical form of an entry: what the chain covers. Field
// names are part of the format (docs/contract.md).
type payload struct {
	ID          uuid.UUID      `json:"id"`
	Kind        Kind           `json:"kind"`
	Record      *uuid.UUID     `json:"record_id,omitempty"`
	SubjectKind string         `json:"subject_kind,omitempty"`
	Subject     *uuid.UUID     `json:"subject_id,omitempty"`
	Actor       uuid.UUID      `json:"actor_id"`
	ActorLogin  string         `json:"actor"`
	OnBehalfOf  *uuid.UUID     `json:"on_behalf_of,omitempty"`
	Capacity    string         `json:"capacity,omitempty"`
	Via         string         `json:"via,omitempty"`
	Reason      string         `json:"reason,omitempty"`
	RequestID   string         `json:"request_id,omitempty"`
	OccurredAt  string         `json:"occurred_at"`
	RecordedAt  string         `json:"recorded_at"`
	Details     map[string]any `json:"details,omitempty"`
}

// TimeFormat is how times stand in payloads: UTC with microseconds, as
// Postgres keeps them.
const TimeFormat = "2006-01-02T15:04:05.000000Z"

func write(ctx context.Context, tx pgx.Tx, stream Stream, actor access.Actor, at time.Time, facts []Fact) error {
	if len(facts) == 0 {
		return nil
	}
	at = at.UTC().Truncate(time.Microsecond)
	n := len(facts)
	ids, kinds, records, skinds := make([]uuid.UUID, n), make([]string, n), make([]*uuid.UUID, n), make([]string, n)
	subjects, reasons, occurred := make([]*uuid.UUID, n), make([]string, n), make([]time.Time, n)
	hashes, salts, payloads := make([][]byte, n), make([][]byte, n), make([]string, n)
	for i, f := range facts {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		when := at
		if !f.OccurredAt.IsZero() {
			when = f.OccurredAt.UTC().Truncate(time.Microsecond)
		}
		p := payload{
			ID: id, Kind: f.Kind, Record: ptr(f.Record), SubjectKind: f.SubjectKind, Subject: ptr(f.Subject), Actor: actor.User,
			ActorLogin: actor.Login, OnBehalfOf: ptr(actor.OnBehalfOf), Capacity: actor.Capacity, Via: actor.Via, Reason: f.Reason,
			RequestID: actor.RequestID, OccurredAt: when.Format(TimeFormat), RecordedAt: at.Format(TimeFormat), Details: f.Details,
		}
		raw, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("event %s: %w", f.Kind, err)
		}
		canonical, err := jcs.Transform(raw)
		if err != nil {
			return fmt.Errorf("event %s: %w", f.Kind, err)
		}
		salt := make([]byte, 16)
		if _, err := rand.Read(salt); err != nil {
			return err
		}
		ids[i], kinds[i], records[i], skinds[i], subjects[i] = id, string(f.Kind), p.Record, f.SubjectKind, p.Subject
		reasons[i], occurred[i], salts[i], payloads[i] = f.Reason, when, salt, string(canonical)
		hashes[i] = PayloadHash(salt, canonical)
	}
	table := "event"
	if stream == Access {
		table = "access_log"
	}
	_, err := tx.Exec(ctx, fmt.Sprintf(sqlInsert, table, stream), ids, kinds, records, skinds, subjects, reasons, occurred,
		hashes, salts, payloads, at, actor.User, ptr(actor.OnBehalfOf), actor.Capacity, actor.Via, actor.RequestID)
	if err != nil {
		return fmt.Errorf("append to %s: %w", table, err)
	}
	return nil
}

// PayloadHash is SHA-256(salt || payload).
func PayloadHash(salt, payload []byte) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write(payload)
	return h.Sum(nil)
}

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
