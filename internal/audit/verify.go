package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// The codes of findings; their sentences stand in the fault catalogue.
const (
	NumberMissing   = "audit-number-missing"      // a number is missing in the sequence
	EntryMissing    = "audit-entry-missing"       // a number without its entry
	PayloadChanged  = "audit-payload-changed"     // the payload does not have its hash
	ColumnsChanged  = "audit-columns-changed"     // the columns say something else than the payload
	ChainBroken     = "audit-chain-broken"        // the chain hash is another one
	EntryUnnumbered = "audit-entry-unnumbered"    // an entry with neither number nor pending mark
	PendingLost     = "audit-pending-lost"        // a pending mark without its entry
	HeadDiffers     = "audit-head-differs"        // a head outside the database says otherwise
	HeadUnreadable  = "audit-head-unreadable"     // a head outside the database is missing or no head
	TailCut         = "audit-tail-cut"            // entries up to a head are gone
	SealDiffers     = "audit-sealed-head-differs" // what was sealed is not the head
	HeadRowDiffers  = "audit-head-row-differs"    // the database's note of a head is another one
)

// Finding is the first bad entry of a stream, or what is wrong with a head.
type Finding struct {
	Code   string       `json:"code"`
	Stream event.Stream `json:"stream"`
	// Seq is the first number concerned; After is the last number known to be
	// good. They differ by more than one when only heads tell.
	Seq   int64 `json:"seq"`
	After int64 `json:"after"`
	// Entry is the id of the entry, the nil UUID when it is not known.
	Entry  uuid.UUID         `json:"entry_id,omitzero"`
	Params map[string]string `json:"-"`
	DE     string            `json:"de"`
	EN     string            `json:"en"`
}

// StreamReport is the answer about one stream.
type StreamReport struct {
	Stream event.Stream `json:"stream"`
	// Entries were recomputed, Erased of them have no payload any more.
	Entries int64 `json:"entries"`
	Erased  int64 `json:"erased"`
	Last    int64 `json:"last_seq"`
	// Head is the newest head outside the database that agrees; HeadAt when it
	// was written. 0: none.
	Head   int64     `json:"head_seq"`
	HeadAt time.Time `json:"head_written_at,omitzero"`
	// Sealed is the newest number that a sealed head covers; 0: none.
	Sealed int64 `json:"sealed_seq"`
	// Tail counts entries after Head, Pending those without a number yet: they
	// are not protected yet.
	Tail    int64 `json:"open_tail"`
	Pending int64 `json:"pending"`
	// First is the first bad entry; nil when there is none.
	First *Finding `json:"first_bad,omitempty"`
	// Heads are what is wrong with heads beside that.
	Heads []Finding `json:"heads,omitempty"`
}

// Report is the answer of Verify.
type Report struct {
	Valid   bool           `json:"valid"`
	At      time.Time      `json:"at"`
	Tenant  string         `json:"tenant"`
	Streams []StreamReport `json:"streams"`
	// First is the first finding of all streams; nil when Valid.
	First *Finding `json:"first_bad"`
	// DE and EN say the result in a sentence.
	DE string `json:"text"`
	EN string `json:"text_en"`
}

// Verify recomputes the whole log of the actor's tenant and compares it with the
// heads outside the database. It finds, it does not fail, unless the database or
// the storage does not answer.
func (s *Service) Verify(ctx context.Context, a access.Actor) (Report, error) {
	rep := Report{Valid: true, At: s.o.Now().UTC(), Tenant: a.TenantSlug}
	if err := mayAudit(a); err != nil {
		return rep, err
	}
	for _, st := range streams {
		r, err := s.verifyStream(ctx, a, st.stream, st.table)
		if err != nil {
			return rep, fmt.Errorf("verify %s: %w", st.stream, err)
		}
		rep.Streams = append(rep.Streams, r)
		for _, f := range append(slices.Clone(r.Heads), deref(r.First)...) {
			rep.Valid = false
			if rep.First == nil || r.First != nil {
				rep.First = &f // the entry says more than a head
			}
		}
	}
	rep.sentence()
	err := s.note(ctx, a, event.Fact{Kind: Verified, Details: map[string]any{"valid": rep.Valid}})
	return rep, err
}

func deref(f *Finding) []Finding {
	if f == nil {
		return nil
	}
	return []Finding{*f}
}

// sentence puts the result into words.
func (r *Report) sentence() {
	if r.First != nil {
		r.DE, r.EN = r.First.DE, r.First.EN
		return
	}
	var entries, tail int64
	for _, s := range r.Streams {
		entries, tail = entries+s.Entries, tail+s.Tail+s.Pending
	}
	p := map[string]string{"entries": strconv.FormatInt(entries, 10), "tail": strconv.FormatInt(tail, 10)}
	r.DE, r.EN = fault.Text("de", "audit-valid", p), fault.Text("en", "audit-valid", p)
}

// note writes what an auditor did into the access log.
func (s *Service) note(ctx context.Context, a access.Actor, f event.Fact) error {
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error { return s.log.AppendAccess(ctx, tx, a, s.o.Now(), f) })
}

func finding(stream event.Stream, code string, after, seq int64, entry uuid.UUID, params map[string]string) Finding {
	if params == nil {
		params = map[string]string{}
	}
	params["stream"], params["seq"], params["after"] = string(stream), fmt.Sprint(seq), fmt.Sprint(after)
	return Finding{
		Code: code, Stream: stream, Seq: seq, After: after, Entry: entry, Params: params,
		DE: fault.Text("de", code, params), EN: fault.Text("en", code, params),
	}
}

// chainPoint is the recomputed chain at a number that a head names.
type chainPoint = map[int64][]byte

func (s *Service) verifyStream(ctx context.Context, a access.Actor, stream event.Stream, table string) (StreamReport, error) {
	r := StreamReport{Stream: stream}
	heads, err := s.heads(ctx, a, stream)
	if err != nil {
		return r, err
	}
	points := chainPoint{}
	for _, h := range heads {
		points[h] = nil
	}
	if err := s.walk(ctx, a, &r, table, points); err != nil {
		return r, err
	}
	if err := s.strays(ctx, a, &r, table); err != nil {
		return r, err
	}
	if err := s.compare(ctx, a, &r, heads, points); err != nil {
		return r, err
	}
	r.Tail = max(0, r.Last-r.Head)
	return r, nil
}

// row is a number with its entry, nil when that is gone.
type row struct {
	Seq        int64
	ID         uuid.UUID
	NumberedAt time.Time // recorded_at as the sequence has it
	Chain      []byte
	*entry
}

// entry is what the log says.
type entry struct {
	EntryID     uuid.UUID
	Kind        string
	Record      *uuid.UUID
	SubjectKind string
	Subject     *uuid.UUID
	Actor       uuid.UUID
	OnBehalfOf  *uuid.UUID
	Capacity    string
	Via         string
	Reason      string
	RequestID   string
	OccurredAt  time.Time
	RecordedAt  time.Time
	PayloadHash []byte
	Salt        []byte
	Payload     *string
}

// The numbers of a chunk and their entries are read one after the other, and the
// entries by a hashed list within the chunk's own times: no plan can make that
// dearer than one pass over those partitions, however old the statistics are. An
// entry whose time was changed is not found under its number and counts as missing.
const (
	sqlNumbers = `
    SELECT seq, id, recorded_at, chain FROM log_sequence
    WHERE tenant = evb_tenant() AND stream = $1 AND seq > $2 ORDER BY seq LIMIT $3`
	sqlEntries = `
    SELECT e.id, e.kind, e.record_id, e.subject_kind, e.subject_id, e.actor_id, e.on_behalf_of,
        e.capacity, e.via, e.reason, e.request_id, e.occurred_at, e.recorded_at, e.payload_hash, e.salt, e.payload
    FROM %[1]s e
    WHERE e.tenant = evb_tenant() AND e.recorded_at BETWEEN $1 AND $2 AND e.id = ANY ($3::uuid[])`
)

// chunk reads the next numbers with their entries.
func (s *Service) chunk(ctx context.Context, q postgres.Querier, stream event.Stream, table string, after int64) ([]row, error) {
	got, err := q.Query(ctx, sqlNumbers, stream, after, s.o.Chunk)
	if err != nil {
		return nil, err
	}
	rows, err := pgx.CollectRows(got, func(r pgx.CollectableRow) (w row, err error) {
		err = r.Scan(&w.Seq, &w.ID, &w.NumberedAt, &w.Chain)
		return w, err
	})
	if err != nil || len(rows) == 0 {
		return rows, err
	}
	ids := make([]uuid.UUID, len(rows))
	from, to := rows[0].NumberedAt, rows[0].NumberedAt
	for i, w := range rows {
		ids[i] = w.ID
		if w.NumberedAt.Before(from) {
			from = w.NumberedAt
		}
		if w.NumberedAt.After(to) {
			to = w.NumberedAt
		}
	}
	got, err = q.Query(ctx, fmt.Sprintf(sqlEntries, table), from, to, ids)
	if err != nil {
		return nil, err
	}
	type key struct {
		id uuid.UUID
		at int64
	}
	entries := make(map[key]entry, len(rows))
	_, err = pgx.CollectRows(got, func(r pgx.CollectableRow) (struct{}, error) {
		e, err := pgx.RowToStructByPos[entry](r)
		entries[key{e.EntryID, e.RecordedAt.UnixMicro()}] = e
		return struct{}{}, err
	})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if e, ok := entries[key{rows[i].ID, rows[i].NumberedAt.UnixMicro()}]; ok {
			rows[i].entry = &e
		}
	}
	return rows, nil
}

// walk recomputes the stream from its first entry. The log only grows, so chunks
// need no common snapshot.
func (s *Service) walk(ctx context.Context, a access.Actor, r *StreamReport, table string, points chainPoint) error {
	chain := make([]byte, sha256.Size)
	for {
		var rows []row
		err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
			var err error
			rows, err = s.chunk(ctx, q, r.Stream, table, r.Last)
			return err
		})
		if err != nil {
			return err
		}
		for i := range rows {
			w := &rows[i]
			if r.First == nil {
				if f := w.check(r.Stream, r.Last, chain); f != nil {
					r.First = f
				}
			}
			chain = w.Chain
			if w.entry != nil {
				r.Entries++
				if w.Payload == nil {
					r.Erased++
				}
			}
			r.Last = w.Seq
			if _, wanted := points[w.Seq]; wanted {
				points[w.Seq] = w.Chain
			}
		}
		if len(rows) < s.o.Chunk {
			return nil
		}
	}
}

// check compares an entry with its payload, its hash and the chain before it.
func (w *row) check(stream event.Stream, last int64, chain []byte) *Finding {
	bad := func(code string, params map[string]string) *Finding {
		f := finding(stream, code, last, w.Seq, w.ID, params)
		return &f
	}
	switch {
	case w.Seq != last+1:
		f := finding(stream, NumberMissing, last, last+1, uuid.Nil, map[string]string{"next": fmt.Sprint(w.Seq)})
		return &f
	case w.entry == nil:
		return bad(EntryMissing, map[string]string{"id": w.ID.String()})
	case w.Payload != nil && !bytes.Equal(event.PayloadHash(w.Salt, []byte(*w.Payload)), w.PayloadHash):
		return bad(PayloadChanged, map[string]string{"id": w.ID.String()})
	case !bytes.Equal(event.Chain(chain, w.Seq, w.PayloadHash), w.Chain):
		return bad(ChainBroken, map[string]string{"id": w.ID.String()})
	}
	if w.Payload != nil {
		if field := w.differs(); field != "" {
			return bad(ColumnsChanged, map[string]string{"id": w.ID.String(), "field": field})
		}
	}
	return nil
}

// body is what the payload says about the columns beside it.
type body struct {
	ID          uuid.UUID  `json:"id"`
	Kind        string     `json:"kind"`
	Record      *uuid.UUID `json:"record_id"`
	SubjectKind string     `json:"subject_kind"`
	Subject     *uuid.UUID `json:"subject_id"`
	Actor       uuid.UUID  `json:"actor_id"`
	OnBehalfOf  *uuid.UUID `json:"on_behalf_of"`
	Capacity    string     `json:"capacity"`
	Via         string     `json:"via"`
	Reason      string     `json:"reason"`
	RequestID   string     `json:"request_id"`
	OccurredAt  string     `json:"occurred_at"`
	RecordedAt  string     `json:"recorded_at"`
}

// differs names the first column that says something else than the payload, ""
// for none. Lists and searches show the columns, the chain covers the payload.
func (w *row) differs() string {
	var b body
	if err := json.Unmarshal([]byte(*w.Payload), &b); err != nil {
		return "payload"
	}
	for _, c := range []struct {
		name string
		same bool
	}{
		{"id", b.ID == w.ID},
		{"kind", b.Kind == w.Kind},
		{"record_id", sameID(b.Record, w.Record)},
		{"subject_kind", b.SubjectKind == w.SubjectKind},
		{"subject_id", sameID(b.Subject, w.Subject)},
		{"actor_id", b.Actor == w.Actor},
		{"on_behalf_of", sameID(b.OnBehalfOf, w.OnBehalfOf)},
		{"capacity", b.Capacity == w.Capacity},
		{"via", b.Via == w.Via},
		{"reason", b.Reason == w.Reason},
		{"request_id", b.RequestID == w.RequestID},
		{"occurred_at", b.OccurredAt == w.OccurredAt.UTC().Format(event.TimeFormat)},
		{"recorded_at", b.RecordedAt == w.RecordedAt.UTC().Format(event.TimeFormat)},
	} {
		if !c.same {
			return c.name
		}
	}
	return ""
}

func sameID(a, b *uuid.UUID) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

const (
	sqlCount = `
    SELECT (SELECT count(*) FROM %[1]s WHERE tenant = evb_tenant()),
           (SELECT count(*) FROM log_sequence WHERE tenant = evb_tenant() AND stream = $1),
           (SELECT count(*) FROM log_pending WHERE tenant = evb_tenant() AND stream = $1)`
	sqlUnnumbered = `
    SELECT x.id FROM (
        SELECT id, recorded_at FROM %[1]s WHERE tenant = evb_tenant()
        EXCEPT
        (SELECT id, recorded_at FROM log_sequence WHERE tenant = evb_tenant() AND stream = $1
         UNION ALL
         SELECT id, recorded_at FROM log_pending WHERE tenant = evb_tenant() AND stream = $1)
    ) x ORDER BY x.recorded_at, x.id LIMIT 1`
	sqlPendingLost = `
    SELECT p.id FROM log_pending p
    WHERE p.tenant = evb_tenant() AND p.stream = $1
      AND NOT EXISTS (SELECT FROM %[1]s e WHERE e.tenant = evb_tenant() AND e.recorded_at = p.recorded_at AND e.id = p.id)
    ORDER BY p.id LIMIT 1`
)

// strays looks for entries that stand outside the sequence: put in past the
// sequencer, or left when their numbers were removed; and for pending marks
// whose entry was removed before it got its number. Numbers without an entry
// were found on the walk, so equal counts mean that there are no others.
func (s *Service) strays(ctx context.Context, a access.Actor, r *StreamReport, table string) error {
	return s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var entries, numbers int64
		if err := q.QueryRow(ctx, fmt.Sprintf(sqlCount, table), r.Stream).Scan(&entries, &numbers, &r.Pending); err != nil {
			return err
		}
		searches := map[string]string{PendingLost: sqlPendingLost}
		if entries != numbers+r.Pending {
			searches[EntryUnnumbered] = sqlUnnumbered
		}
		for _, code := range []string{EntryUnnumbered, PendingLost} {
			sql, wanted := searches[code]
			if !wanted || r.First != nil {
				continue
			}
			var id uuid.UUID
			err := q.QueryRow(ctx, fmt.Sprintf(sql, table), r.Stream).Scan(&id)
			if errors.Is(err, pgx.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			f := finding(r.Stream, code, r.Last, r.Last+1, id, map[string]string{"id": id.String()})
			r.First = &f
		}
		return nil
	})
}
