package akte

import (
	"cmp"
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

// SQLDokument are columns and tables of the Dokument view, for lists of other
// packages: append a WHERE on o (record_object) and scan with ScanDokument. The
// place in the batch is part of it; versions are not. A check-out is as stored:
// Dokument.AsOf asks the clock.
const SQLDokument = `
    SELECT o.id, coalesce(m.subject, ''), coalesce(k.aktenzeichen, m.data->>'aktenzeichen', m.data->'recognised'->>'aktenzeichen', ''),
        coalesce(v.reference, ''), coalesce(m.data->>'aktenzeichen', ''), coalesce(m.data->'recognised'->>'aktenzeichen', ''),
        coalesce(m.document_type, ''), d.sender_name, d.receiver_name, coalesce(m.remark, ''), d.form_code, d.foreign_reference,
        d.received_on, d.written_on, d.state, d.channel, d.extraction, d.extraction_reason, d.intake_complete_at,
        d.current_version, dv.id, o.unit_id, coalesce(u.code, ''), v.id, k.id, o.access_scope_id, o.submitted_by,
        bd.batch_id, bt.name, bd.position, bd.separator_code, bd.first_page, bd.last_page,
        ` + sqlCheckOut + `,
        m.schema_version, coalesce(m.data, '{}'), o.created_at, o.changed_at, o.row_version
    FROM record_object o
    JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id
    JOIN dokument_version dv ON dv.tenant = d.tenant AND dv.dokument_id = d.id AND dv.number = d.current_version
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    LEFT JOIN org_unit u ON u.tenant = o.tenant AND u.id = o.unit_id
    LEFT JOIN vorgang v ON v.tenant = o.tenant AND v.id = o.parent_id
    LEFT JOIN akte k ON k.tenant = o.tenant AND k.id = CASE WHEN v.akte_id IS NOT NULL THEN v.akte_id ELSE o.parent_id END
    LEFT JOIN batch_document bd ON bd.tenant = o.tenant AND bd.dokument_id = o.id
    LEFT JOIN batch bt ON bt.tenant = bd.tenant AND bt.id = bd.batch_id`

// ScanDokument reads a row of SQLDokument.
func ScanDokument(row pgx.CollectableRow) (Dokument, error) {
	var d Dokument
	var batch *uuid.UUID
	var name, separator *string
	var position, first, last *int
	var out checkOutRow
	into := []any{&d.ID, &d.Subject, &d.Aktenzeichen, &d.VorgangReference, &d.Given, &d.Recognised, &d.DocumentType, &d.Sender,
		&d.Receiver, &d.Remark, &d.FormCode, &d.ForeignReference, &d.ReceivedOn, &d.WrittenOn, &d.State, &d.Channel, &d.Extraction,
		&d.ExtractionReason, &d.IntakeCompleteAt, &d.VersionNumber, &d.VersionID, &d.UnitID, &d.UnitCode, &d.VorgangID, &d.AkteID,
		&d.ScopeID, &d.SubmittedBy, &batch, &name, &position, &separator, &first, &last}
	err := row.Scan(append(append(into, out.into()...), &d.SchemaVersion, &d.Data, &d.CreatedAt, &d.ChangedAt, &d.RowVersion)...)
	d.CheckOut = out.value()
	if batch != nil {
		d.Batch = &BatchPlace{BatchID: *batch, BatchName: *name, Position: *position, SeparatorCode: *separator, FirstPage: first, LastPage: last}
	}
	return d, err
}

const sqlDokumentByID = SQLDokument + `
    WHERE o.tenant = evb_tenant() AND o.id = $1`

var sqlDokumentSeen = sqlDokumentByID + ` AND ` + access.Sees("o", 2, 3)

// DokumentByID gives a Dokument with its versions as stored, without asking for rights,
// or the fault not-found.
func DokumentByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (Dokument, error) {
	return oneDokument(ctx, q, sqlDokumentByID, id)
}

// Dokument gives a Dokument with its versions if the actor sees it, else the
// fault not-found.
func (s *Service) Dokument(ctx context.Context, a access.Actor, id uuid.UUID) (d Dokument, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		d, err = s.seen(ctx, q, a, id)
		return err
	})
	return d, err
}

// dokumentNow is DokumentByID as of the service's clock.
func (s *Service) dokumentNow(ctx context.Context, q postgres.Querier, id uuid.UUID) (Dokument, error) {
	d, err := DokumentByID(ctx, q, id)
	d.AsOf(s.now())
	return d, err
}

func (s *Service) seen(ctx context.Context, q postgres.Querier, a access.Actor, id uuid.UUID) (Dokument, error) {
	if isSystem(a) {
		return s.dokumentNow(ctx, q, id)
	}
	at := s.now()
	d, err := oneDokument(ctx, q, sqlDokumentSeen, id, a.User, at)
	d.AsOf(at)
	return d, err
}

func oneDokument(ctx context.Context, q postgres.Querier, sql string, args ...any) (Dokument, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return Dokument{}, fmt.Errorf("dokument: %w", err)
	}
	d, err := pgx.CollectExactlyOneRow(rows, ScanDokument)
	if missing(err) {
		return Dokument{}, fault.New("not-found")
	}
	if err != nil {
		return Dokument{}, fmt.Errorf("dokument: %w", err)
	}
	d.Versions, err = VersionsOf(ctx, q, d.ID)
	return d, err
}

// DokumentPatch says what ChangeDokument changes; nil leaves a field as it is.
type DokumentPatch struct {
	Subject, DocumentType, Sender, Receiver, Remark *string
	ReceivedOn, WrittenOn                           *time.Time // zero: not known
	// Fields replace all fields of the Dokument; they must fit the schema of its
	// type and unit, if there is one. A nil map takes them away.
	Fields *map[string]any
}

const (
	sqlPatchWords = `
    UPDATE record_metadata SET subject = coalesce($2, subject), document_type = coalesce($3, document_type), remark = coalesce($4, remark),
        data = CASE WHEN NOT $5 THEN data WHEN $6::jsonb IS NULL THEN data - 'fields' ELSE data || jsonb_build_object('fields', $6::jsonb) END,
        schema_version = CASE WHEN $7 THEN $8 ELSE schema_version END
    WHERE tenant = evb_tenant() AND record_id = $1`
	sqlPatchDokument = `
    UPDATE dokument SET sender_name = coalesce($2, sender_name), receiver_name = coalesce($3, receiver_name),
        received_on = CASE WHEN $4 THEN $5 ELSE received_on END, written_on = CASE WHEN $6 THEN $7 ELSE written_on END
    WHERE tenant = evb_tenant() AND id = $1`
)

// ChangeDokument corrects the words about a Dokument. ifVersion 0 takes any
// version. Faults: not-found, read-only-role, stale-version, dokument-closed,
// field-too-long, field-not-text, fields-invalid. The fact names the fields, not the words: they are erasable.
func (s *Service) ChangeDokument(ctx context.Context, a access.Actor, dokument uuid.UUID, p DokumentPatch, ifVersion int64) (Dokument, error) {
	return after(ctx, s, a, dokument, s.dokumentNow, func(tx pgx.Tx, at time.Time) error {
		return s.patchDokument(ctx, tx, a, at, dokument, p, ifVersion)
	})
}

func (s *Service) patchDokument(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID, p DokumentPatch, ifVersion int64) error {
	o, err := s.lock(ctx, tx, a, at, dokument, KindDokument, ifVersion)
	if err != nil {
		return err
	}
	if o.state == Filed {
		return fault.New("dokument-closed")
	}
	if err := cmp.Or(fault.CheckText("subject", text(p.Subject), fault.MaxText), fault.CheckText("document_type", text(p.DocumentType), fault.MaxText),
		fault.CheckText("sender", text(p.Sender), fault.MaxText), fault.CheckText("receiver", text(p.Receiver), fault.MaxText),
		fault.CheckText("remark", text(p.Remark), fault.MaxRemark)); err != nil {
		return err
	}
	var fields []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"subject", p.Subject != nil}, {"document_type", p.DocumentType != nil}, {"sender", p.Sender != nil}, {"receiver", p.Receiver != nil},
		{"remark", p.Remark != nil}, {"received_on", p.ReceivedOn != nil}, {"written_on", p.WrittenOn != nil}, {"fields", p.Fields != nil},
	} {
		if f.set {
			fields = append(fields, f.name)
		}
	}
	if len(fields) == 0 {
		return nil
	}
	filled, version, err := patchedFields(ctx, tx, o, p)
	if err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(sqlPatchWords, dokument, p.Subject, p.DocumentType, p.Remark, p.Fields != nil, filled, p.Fields != nil || p.DocumentType != nil, version)
	b.Queue(sqlPatchDokument, dokument, p.Sender, p.Receiver, p.ReceivedOn != nil, dateOf(p.ReceivedOn), p.WrittenOn != nil, dateOf(p.WrittenOn))
	b.Queue(sqlTouch, dokument, at)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("change dokument: %w", err)
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: DokumentChanged, Record: dokument, Details: map[string]any{"fields": fields}})
}

func dateOf(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return date(*t)
}

// object is a locked record object.
type object struct {
	id         uuid.UUID
	kind       string
	parent     *uuid.UUID
	unit       *uuid.UUID
	scope      uuid.UUID
	lifecycle  Lifecycle
	rowVersion int64
	changes    bool
	standing   // of a Dokument
}

var sqlLock = `
    SELECT o.id, o.kind, o.parent_id, o.unit_id, o.access_scope_id, o.lifecycle, o.row_version,
        ` + access.Changes("o", 2, 3) + `
    FROM record_object o
    WHERE o.tenant = evb_tenant() AND o.id = $1 AND o.kind = $4 AND ($5 OR ` + access.Sees("o", 2, 3) + `)
    FOR NO KEY UPDATE OF o`

// lock takes the row of an object that the actor may change. What the actor
// does not see is not-found; what the actor sees and may not change is
// read-only-role, since it is no secret to that person.
func (s *Service) lock(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, kind string, ifVersion int64) (object, error) {
	o, err := s.lockSeen(ctx, tx, a, at, id, kind)
	if err != nil {
		return o, err
	}
	if !o.changes {
		return o, fault.New("read-only-role")
	}
	if ifVersion != 0 && o.rowVersion != ifVersion {
		return o, fault.New("stale-version")
	}
	return o, nil
}

func (s *Service) lockSeen(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, kind string) (object, error) {
	var o object
	err := tx.QueryRow(ctx, sqlLock, id, a.User, at, kind, isSystem(a)).
		Scan(&o.id, &o.kind, &o.parent, &o.unit, &o.scope, &o.lifecycle, &o.rowVersion, &o.changes)
	if missing(err) {
		return o, fault.New("not-found")
	}
	if err != nil {
		return o, fmt.Errorf("lock %s: %w", kind, err)
	}
	o.changes = o.changes || isSystem(a)
	if kind == KindDokument {
		o.standing, err = lockState(ctx, tx, id, at)
	}
	return o, err
}
