package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

const stepProbe = "probe"

// member is one Dokument on its way into a shared transaction.
type member struct {
	actor      access.Actor
	doc        akte.NewDokument
	blobs      []uuid.UUID // of doc.Files
	key        string
	digest     [32]byte
	answer     idempotency.Answer
	quarantine []placed
	looks      []looked
}

// placed is a quarantine row of the member's n-th file.
type placed struct {
	row  NewQuarantine
	file int
}

type outcome int

const (
	outcomeDone  outcome = iota
	outcomeTaken         // another request has the key
)

// wholeGroup: these errors hold for all members alike.
func wholeGroup(err error) bool {
	return fault.Is(err, "commit-unknown") || fault.Is(err, "database-unavailable") || fault.Is(err, "database-disk-full")
}

// write is step 5 for the documents that came together. A member whose key is
// taken is left out and told so; the others go on.
func (s *Service) write(ctx context.Context, in []member) ([]outcome, error) {
	out := make([]outcome, len(in))
	tenant := in[0].actor.Tenant
	if slices.ContainsFunc(in, func(m member) bool { return m.actor.Tenant != tenant }) {
		// Tenants share no transaction. This is rare: one after the other.
		for i, m := range in {
			one, err := s.write(ctx, []member{m})
			if err != nil {
				return nil, err
			}
			out[i] = one[0]
		}
		return out, nil
	}
	err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		clear(out)
		live, err := s.admit(ctx, tx, in, out)
		if err != nil || len(live) == 0 {
			return err
		}
		at := s.o.Now()
		if err := s.insert(ctx, tx, at, live); err != nil {
			return err
		}
		afterWrite.Hit()
		return nil
	})
	if err != nil {
		return nil, err
	}
	afterCommit.Hit()
	return out, nil
}

// admit takes the keys, locks the blobs, and gives the members that go on. Keys
// come before blobs in every transaction, and each of them in one order. A blob
// that is being removed fails the whole, so that nothing of its member stays:
// the group then runs its members one by one.
func (s *Service) admit(ctx context.Context, tx pgx.Tx, in []member, out []outcome) ([]member, error) {
	var (
		requests []idempotency.Request
		whose    []int
	)
	for i, m := range in {
		if m.key != "" {
			requests = append(requests, idempotency.Request{Actor: m.actor, Key: m.key, Digest: m.digest, Answer: m.answer})
			whose = append(whose, i)
		}
	}
	if len(requests) > 0 {
		taken, err := idempotency.KeepAll(ctx, tx, requests)
		if err != nil {
			return nil, err
		}
		for j, t := range taken {
			if t {
				out[whose[j]] = outcomeTaken
			}
		}
	}
	var (
		live []member
		ids  []uuid.UUID
	)
	for i, m := range in {
		if out[i] == outcomeDone {
			live = append(live, m)
			ids = append(ids, m.blobs...)
		}
	}
	if len(live) == 0 {
		return nil, nil
	}
	return live, blob.Confirm(ctx, tx, ids...)
}

func (s *Service) insert(ctx context.Context, tx pgx.Tx, at time.Time, live []member) error {
	var (
		steps []Step
		// Members of one actor go in together; their order does not matter.
		actors []access.Actor
		docs   = map[string][]akte.NewDokument{}
		rows   = map[string][]NewQuarantine{}
	)
	for _, m := range live {
		a := m.actor
		id := fmt.Sprint(a.User, a.OnBehalfOf, a.Capacity, a.Via, a.RequestID)
		if _, known := docs[id]; !known {
			actors = append(actors, a)
		}
		if m.doc.Vorgang != uuid.Nil {
			// Rights and state of the Vorgang are asked, and it is locked, here.
			if _, err := s.akten.FilingTarget(ctx, tx, a, at, akte.FileRequest{VorgangID: m.doc.Vorgang}); err != nil {
				return err
			}
		}
		d := m.doc
		d.Files = slices.Clone(d.Files)
		for i := range d.Files {
			d.Files[i].Blob = m.blobs[i]
		}
		docs[id] = append(docs[id], d)
		for _, p := range m.quarantine {
			p.row.Blob = m.blobs[p.file]
			rows[id] = append(rows[id], p.row)
		}
		steps = append(steps, probeStep(m.doc.ID, m.looks))
	}
	for _, a := range actors {
		id := fmt.Sprint(a.User, a.OnBehalfOf, a.Capacity, a.Via, a.RequestID)
		if err := s.akten.InsertDokumente(ctx, tx, a, at, docs[id]...); err != nil {
			return err
		}
		if _, err := s.QuarantineIn(ctx, tx, a, at, rows[id]...); err != nil {
			return err
		}
	}
	return AddSteps(ctx, tx, at, steps...)
}

// probeStep is the protocol line of the look at a Dokument's files.
func probeStep(dokument uuid.UUID, looks []looked) Step {
	st := Step{Dokument: dokument, Step: stepProbe, Tool: "evb media", Result: "done"}
	for _, l := range looks {
		st.Duration += l.took
		if l.bad != nil {
			st.Result, st.Code = "failed", string(l.bad.Code)
		}
	}
	return st
}

const sqlAddSteps = `
    INSERT INTO intake_step (tenant, id, dokument_id, step, tool, tool_version, result, code, detail, duration_ms, at)
    SELECT evb_tenant(), x.id, x.dokument, x.step, x.tool, x.version, x.result, x.code, x.detail, x.ms, $10
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::jsonb[], $9::integer[])
        AS x (id, dokument, step, tool, version, result, code, detail, ms)`

// AddSteps writes lines of the protocol of Dokumente.
func AddSteps(ctx context.Context, tx pgx.Tx, at time.Time, steps ...Step) error {
	n := len(steps)
	if n == 0 {
		return nil
	}
	ids, docs, names, tools, versions := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]string, n), make([]string, n), make([]string, n)
	results, codes, details, ms := make([]string, n), make([]string, n), make([]string, n), make([]int32, n)
	for i, st := range steps {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		ids[i], docs[i], names[i], tools[i], versions[i] = id, st.Dokument, st.Step, st.Tool, st.ToolVersion
		results[i], codes[i], details[i], ms[i] = st.Result, st.Code, "{}", int32(min(st.Duration.Milliseconds(), 1<<31-1))
		if len(st.Detail) > 0 {
			details[i] = string(st.Detail)
		}
	}
	if _, err := tx.Exec(ctx, sqlAddSteps, ids, docs, names, tools, versions, results, codes, details, ms, at.UTC()); err != nil {
		return fmt.Errorf("protocol of intake: %w", err)
	}
	return nil
}

// The owner of the table has no reader by id alone; nothing is written.
const sqlReceived = `SELECT EXISTS (SELECT FROM dokument_version WHERE tenant = evb_tenant() AND id = $1)`

const sqlUnit = `
    SELECT EXISTS (SELECT FROM org_unit WHERE tenant = evb_tenant() AND code = $1 AND valid_from <= $2 AND valid_to > $2)`

// Only what the actor sees anyway: a duplicate tells nobody that somebody else
// got the same letter (decisions 3.4).
var sqlDuplicates = `
    SELECT DISTINCT o.id FROM primary_file f
    JOIN rendition r ON r.tenant = f.tenant AND r.id = f.rendition_id AND r.kind = 'original'
    JOIN dokument_version v ON v.tenant = r.tenant AND v.id = r.version_id
    JOIN record_object o ON o.tenant = v.tenant AND o.id = v.dokument_id
    WHERE f.tenant = evb_tenant() AND f.blob_id = ANY ($3) AND o.id <> $4 AND ` + access.Sees("o", 1, 2) + `
    ORDER BY o.id LIMIT 20`

func (s *Service) duplicates(ctx context.Context, a access.Actor, self uuid.UUID, blobs []uuid.UUID) ([]uuid.UUID, error) {
	var out []uuid.UUID
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlDuplicates, a.User, s.o.Now().UTC(), blobs, self)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	return out, err
}

const sqlQuarantineIn = `
    INSERT INTO quarantine (tenant, id, blob_id, batch_id, file_name, first_page, last_page, position, dokument_id, channel, code, params, step,
        created_at, created_by)
    SELECT evb_tenant(), x.id, x.blob, x.batch, x.name, nullif(x.first, 0), nullif(x.last, 0), nullif(x.position, 0), x.dokument, x.channel, x.code,
        x.params, x.step, $13, $14
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::integer[], $6::integer[], $7::integer[], $8::uuid[], $9::text[], $10::text[],
        $11::jsonb[], $12::text[]) AS x (id, blob, batch, name, first, last, position, dokument, channel, code, params, step)
    ON CONFLICT (tenant, id) DO NOTHING
    RETURNING id`

// QuarantineIn writes quarantine rows and their facts in the caller's
// transaction, which also confirms their blobs. It gives the ids in the order
// of the rows. A row whose id is there already is left as it is.
func (s *Service) QuarantineIn(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, rows ...NewQuarantine) ([]uuid.UUID, error) {
	n := len(rows)
	if n == 0 {
		return nil, nil
	}
	ids, blobs, batches, docs := make([]uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n)
	names, channels, codes, params, steps := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	first, last, position := make([]int32, n), make([]int32, n), make([]int32, n)
	for i, r := range rows {
		if ids[i] = r.ID; r.ID == uuid.Nil {
			id, err := uuid.NewV7()
			if err != nil {
				return nil, err
			}
			ids[i] = id
		}
		p := []byte("{}")
		if len(r.Params) > 0 {
			var err error
			if p, err = json.Marshal(r.Params); err != nil {
				return nil, err
			}
		}
		blobs[i], batches[i], docs[i] = ptr(r.Blob), ptr(r.Batch), ptr(r.Dokument)
		names[i], channels[i], codes[i], params[i], steps[i] = r.FileName, string(r.Channel), r.Code, string(p), r.Step
		first[i], last[i], position[i] = int32(r.FirstPage), int32(r.LastPage), int32(r.Position)
	}
	res, err := tx.Query(ctx, sqlQuarantineIn, ids, blobs, batches, names, first, last, position, docs, channels, codes, params, steps, at.UTC(), a.User)
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	made, err := pgx.CollectRows(res, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	var facts []event.Fact
	for i, r := range rows {
		if slices.Contains(made, ids[i]) {
			facts = append(facts, event.Fact{Kind: QuarantineAdded, Record: r.Dokument, SubjectKind: "quarantine", Subject: ids[i],
				Details: map[string]any{"code": r.Code, "step": r.Step}})
		}
	}
	return ids, s.log.Append(ctx, tx, a, at, facts...)
}

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
