package indexing

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/search"
)

// touched are the ids of Dokumente, each once.
type touched = []uuid.UUID

// quiet are facts that change nothing that is indexed: neither words nor who
// may read. A fact that is not here puts its Dokumente anew, so one that a later
// package invents is never missed.
var quiet = map[event.Kind]bool{
	"item.opened":        true, // the same Postkorb, the same addressee
	"item.claimed":       true,
	"item.follow_up_set": true,
	"item.came_back":     true,
}

// quietAreas are the facts of areas that are not about words or rights of a
// Dokument, by the first part of their kind.
var quietAreas = map[string]bool{
	"blob": true, "seal": true, "archive": true, "log": true, "org": true, "batch": true, "aktenplan": true, "postkorb": true,
}

// sqlBelow: a fact about an Akte or Vorgang is about everything in it, because
// number, scope and state come down from there.
const sqlBelow = `
    WITH RECURSIVE below AS (
        SELECT o.id, o.kind FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = ANY ($1::uuid[])
        UNION
        SELECT c.id, c.kind FROM below b JOIN record_object c ON c.tenant = evb_tenant() AND c.parent_id = b.id
    )
    SELECT id FROM below WHERE kind IN ('dokument', 'anlage') ORDER BY id`

// touchedBy lists the Dokumente that facts are about.
func touchedBy(ctx context.Context, q postgres.Querier, facts []event.Entry) (touched, error) {
	var records []uuid.UUID
	seen := map[uuid.UUID]bool{}
	for _, f := range facts {
		area, _, _ := strings.Cut(string(f.Kind), ".")
		if f.Record == nil || quiet[f.Kind] || quietAreas[area] || seen[*f.Record] {
			continue
		}
		seen[*f.Record] = true
		records = append(records, *f.Record)
	}
	if len(records) == 0 {
		return nil, nil
	}
	rows, err := q.Query(ctx, sqlBelow, records)
	if err != nil {
		return nil, fmt.Errorf("touched documents: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// row is what Postgres knows about a Dokument, as the index needs it.
type row struct {
	ID           uuid.UUID
	Erased       bool // the words are gone: disposal
	AkteID       *uuid.UUID
	VorgangID    *uuid.UUID
	Subject      string
	DocumentType string
	Unit         string
	Numbers      []string
	Sender       string
	State        string
	ReceivedOn   *time.Time
	CreatedAt    time.Time
	SubmittedBy  *uuid.UUID
	Tokens       []string
	TextBlobs    []uuid.UUID
}

// sqlRows reads over several packages' tables; it is a read model and writes
// none of them. The text is that of the newest version that has one: while a new
// version waits for its text, the Dokument is found by the old one. The unit of
// an unfiled Dokument is that of the one desk on which it lies.
var sqlRows = `
    SELECT doc.id, m.record_id IS NULL OR doc.lifecycle = 'destroyed', k.id, v.id,
        coalesce(m.subject, ''), coalesce(m.document_type, ''),
        coalesce(u.code, desk.code, ''),
        array_remove(ARRAY[k.aktenzeichen, v.reference] || coalesce(reg.written, '{}')
            || CASE WHEN k.id IS NULL THEN ARRAY[m.data->>'aktenzeichen', m.data->'recognised'->>'aktenzeichen'] END
            || nullif(d.foreign_reference, ''), NULL),
        d.sender_name, d.state, d.received_on, doc.created_at, doc.submitted_by,
        coalesce((` + strings.ReplaceAll(access.SQLDocumentTokens, "$1", "doc.id") + `), '{}'),
        coalesce(t.blobs, '{}')
    FROM record_object doc
    JOIN dokument d ON d.tenant = doc.tenant AND d.id = doc.id
    LEFT JOIN record_metadata m ON m.tenant = doc.tenant AND m.record_id = doc.id
    LEFT JOIN org_unit u ON u.tenant = doc.tenant AND u.id = doc.unit_id
    LEFT JOIN vorgang v ON v.tenant = doc.tenant AND v.id = doc.parent_id
    LEFT JOIN akte k ON k.tenant = doc.tenant AND k.id = CASE WHEN v.akte_id IS NOT NULL THEN v.akte_id ELSE doc.parent_id END
    LEFT JOIN LATERAL (
        SELECT array_agg(r.written ORDER BY r.kind, r.written) AS written FROM number_register r
        WHERE r.tenant = doc.tenant AND r.record_id IN (k.id, v.id, doc.id)) reg ON true
    LEFT JOIN LATERAL (
        SELECT min(du.code) AS code FROM postkorb_item i
        JOIN postkorb p ON p.tenant = i.tenant AND p.id = i.postkorb_id
        JOIN org_unit du ON du.tenant = p.tenant AND du.id = p.unit_id
        WHERE i.tenant = doc.tenant AND i.record_id = doc.id AND i.state IN ('open', 'claimed', 'waiting')
        HAVING count(DISTINCT du.code) = 1) desk ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(f.blob_id ORDER BY f.position) AS blobs
        FROM dokument_version dv
        JOIN rendition r ON r.tenant = dv.tenant AND r.version_id = dv.id AND r.kind = 'text'
        JOIN primary_file f ON f.tenant = r.tenant AND f.rendition_id = r.id
        WHERE dv.tenant = doc.tenant AND dv.dokument_id = doc.id
        GROUP BY dv.number ORDER BY dv.number DESC LIMIT 1) t ON true
    WHERE doc.tenant = evb_tenant() AND doc.id = ANY ($1::uuid[])
    ORDER BY doc.id`

func readRows(ctx context.Context, q postgres.Querier, ids touched) ([]row, error) {
	rows, err := q.Query(ctx, sqlRows, ids)
	if err != nil {
		return nil, fmt.Errorf("rows of documents: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return nil, fmt.Errorf("rows of documents: %w", err)
	}
	return list, nil
}

// doc is the Dokument for the engine.
func (r row) doc(tenant access.Tenant, text string) search.Doc {
	d := search.Doc{
		Tenant: TenantKey(tenant), ID: r.ID.String(), Subject: r.Subject, Text: text, DocumentType: r.DocumentType,
		Unit: r.Unit, Aktenzeichen: unique(r.Numbers), Sender: r.Sender, State: r.State, Scopes: r.Tokens,
		AkteID: text36(r.AkteID), VorgangID: text36(r.VorgangID), SubmittedBy: text36(r.SubmittedBy),
	}
	if r.ReceivedOn != nil {
		d.ReceivedOn = *r.ReceivedOn
	} else {
		d.Year = r.CreatedAt.UTC().Year()
	}
	return d
}

func text36(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}

// unique drops repeated and empty numbers and keeps the order: the current one first.
func unique(list []string) []string {
	out := list[:0]
	for _, s := range list {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// deletions are the operations for Dokumente that have no words any more.
func deletions(tenant access.Tenant, asked touched, rows []row) []search.Op {
	there := make(map[uuid.UUID]bool, len(rows))
	for _, r := range rows {
		there[r.ID] = !r.Erased
	}
	var ops []search.Op
	for _, id := range asked {
		if !there[id] {
			ops = append(ops, search.DeleteOp(TenantKey(tenant), id.String()))
		}
	}
	return ops
}
