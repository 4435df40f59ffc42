package preservation

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/postgres"
)

// The statements of this file read tables of other packages (dokument,
// record_object, batch_document, routing_decision): whether something has to be
// collected is one question over all of them.

const sqlDokumenteBelow = `
    WITH RECURSIVE below AS (
        SELECT id, kind FROM record_object WHERE tenant = evb_tenant() AND id = $1
        UNION
        SELECT c.id, c.kind FROM below b JOIN record_object c ON c.tenant = evb_tenant() AND c.parent_id = b.id
    )
    SELECT id FROM below WHERE kind IN ('dokument', 'anlage') ORDER BY id`

// dokumenteBelow lists the Dokumente in a record object, itself included.
func dokumenteBelow(ctx context.Context, q postgres.Querier, record uuid.UUID) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlDokumenteBelow, record)
	if err != nil {
		return nil, fmt.Errorf("dokumente below %s: %w", record, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// dokumentState is what decides beside akte.Dokument.
type dokumentState struct {
	State        string
	Erased       bool // the words are gone: destroyed
	Routed       bool
	Lifecycle    string // of the Vorgang, "" without one
	ClosedOn     *time.Time
	TransferNote json.RawMessage
}

const sqlLockDokument = `
    SELECT d.state,
        NOT EXISTS (SELECT FROM record_metadata m WHERE m.tenant = d.tenant AND m.record_id = d.id),
        EXISTS (SELECT FROM routing_decision x WHERE x.tenant = d.tenant AND x.dokument_id = d.id),
        coalesce(p.lifecycle, ''), v.closed_on, coalesce(b.transfer_note, '{}')
    FROM dokument d
    JOIN record_object r ON r.tenant = d.tenant AND r.id = d.id
    LEFT JOIN record_object p ON p.tenant = r.tenant AND p.id = r.parent_id AND p.kind IN ('vorgang', 'teilvorgang')
    LEFT JOIN vorgang v ON v.tenant = p.tenant AND v.id = p.id
    LEFT JOIN batch_document b ON b.tenant = d.tenant AND b.dokument_id = d.id
    WHERE d.tenant = evb_tenant() AND d.id = $1
    FOR UPDATE OF d`

func lockDokument(ctx context.Context, tx pgx.Tx, id uuid.UUID) (dokumentState, error) {
	rows, err := tx.Query(ctx, sqlLockDokument, id)
	if err != nil {
		return dokumentState{}, fmt.Errorf("lock dokument: %w", err)
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[dokumentState])
}

const sqlArchiveVersionsOf = `
    SELECT a.id, coalesce(a.version_id, '00000000-0000-0000-0000-000000000000'), a.number, a.cause, m.body,
        ARRAY(SELECT g.blob_id FROM group_member g
              WHERE g.tenant = a.tenant AND g.archive_version_id = a.id AND g.kind = 'blob' ORDER BY g.position)
    FROM archive_version a
    LEFT JOIN archive_metadata m ON m.tenant = a.tenant AND m.archive_version_id = a.id
    WHERE a.tenant = evb_tenant() AND a.dokument_id = $1
    ORDER BY a.number`

func archiveVersionsOf(ctx context.Context, q postgres.Querier, dokument uuid.UUID) ([]existing, error) {
	rows, err := q.Query(ctx, sqlArchiveVersionsOf, dokument)
	if err != nil {
		return nil, fmt.Errorf("archive versions of %s: %w", dokument, err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[existing])
}

const sqlInsertArchiveVersion = `
    WITH made AS (
        INSERT INTO archive_version (tenant, id, dokument_id, version_id, number, cause, created_at)
        VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6)),
    words AS (
        INSERT INTO archive_metadata (tenant, archive_version_id, salt, body) VALUES (evb_tenant(), $1, $7, $8))
    INSERT INTO group_member (tenant, archive_version_id, position, kind, blob_id, canonicalisation)
    SELECT evb_tenant(), $1, x.n, 'blob', x.blob, '' FROM unnest($9::uuid[]) WITH ORDINALITY AS x (blob, n)
    UNION ALL
    SELECT evb_tenant(), $1, cardinality($9::uuid[]) + 1, 'metadata', NULL, 'rfc8785'
    UNION ALL
    SELECT evb_tenant(), $1, cardinality($9::uuid[]) + 2, 'salt', NULL, ''`

// insertArchiveVersion writes an archive version with a new salt.
func insertArchiveVersion(ctx context.Context, tx pgx.Tx, r archiveRow) error {
	salt, err := newSalt()
	if err != nil {
		return err
	}
	blobs := r.Blobs
	if blobs == nil {
		blobs = []uuid.UUID{}
	}
	if _, err := tx.Exec(ctx, sqlInsertArchiveVersion, r.ID, r.Dokument, r.Version, r.Number, r.Cause, r.At, salt, string(r.Body), blobs); err != nil {
		return fmt.Errorf("insert archive version: %w", err)
	}
	return nil
}

// sqlOpenCollect finds Dokumente that should have been collected: their intake
// is over or overdue, or they were filed or closed lately and no archive
// version tells it. What changed lately is found apart for Dokumente and for
// Vorgänge: one condition over both would read all of them.
const sqlOpenCollect = `
    (SELECT d.id FROM dokument d
     JOIN record_object r ON r.tenant = d.tenant AND r.id = d.id
     WHERE d.tenant = evb_tenant() AND d.intake_complete_at IS NULL AND d.state <> 'quarantined'
       AND (r.created_at < $1 OR d.extraction = 'failed'
            OR d.extraction = 'done' AND (r.parent_id IS NOT NULL
                OR EXISTS (SELECT FROM routing_decision x WHERE x.tenant = d.tenant AND x.dokument_id = d.id)))
       AND EXISTS (SELECT FROM record_metadata m WHERE m.tenant = d.tenant AND m.record_id = d.id)
     ORDER BY d.id LIMIT $3)
    UNION
    (SELECT r.id FROM (
            SELECT x.id FROM record_object x WHERE x.tenant = evb_tenant() AND x.kind = 'dokument' AND x.changed_at > $2
            UNION
            SELECT x.id FROM record_object v JOIN record_object x ON x.tenant = v.tenant AND x.parent_id = v.id AND x.kind = 'dokument'
            WHERE v.tenant = evb_tenant() AND v.kind IN ('vorgang', 'teilvorgang') AND v.changed_at > $2) changed
     JOIN record_object r ON r.tenant = evb_tenant() AND r.id = changed.id
     JOIN record_metadata m ON m.tenant = r.tenant AND m.record_id = r.id
     JOIN record_object p ON p.tenant = r.tenant AND p.id = r.parent_id AND p.kind IN ('vorgang', 'teilvorgang')
     WHERE NOT EXISTS (
            SELECT FROM archive_version a
            LEFT JOIN archive_metadata w ON w.tenant = a.tenant AND w.archive_version_id = a.id
            WHERE a.tenant = r.tenant AND a.dokument_id = r.id
              AND (w.body IS NULL OR w.body::jsonb ->> 'vorgang_id' = r.parent_id::text)
              AND (p.lifecycle IN ('planned', 'open') OR a.cause = 'closed'))
     ORDER BY r.id LIMIT $3)
    ORDER BY 1 LIMIT $3`

// recently is how far back the reconciler looks for Dokumente whose job was
// lost with the queue.
const recently = 48 * time.Hour

func (s *Service) openCollect(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
	now := s.now()
	rows, err := q.Query(ctx, sqlOpenCollect, now.Add(-s.o.CollectAfter), now.Add(-recently), limit)
	if err != nil {
		return nil, fmt.Errorf("dokumente to collect: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

const sqlUncollected = `
    SELECT d.id FROM dokument d
    WHERE d.tenant = evb_tenant() AND d.intake_complete_at IS NULL AND d.state <> 'quarantined' AND d.id > $1
      AND EXISTS (SELECT FROM record_metadata m WHERE m.tenant = d.tenant AND m.record_id = d.id)
      AND ($4::uuid[] IS NULL OR d.id = ANY ($4))
      AND ($3 OR NOT EXISTS (SELECT FROM archive_version a WHERE a.tenant = d.tenant AND a.dokument_id = d.id))
    ORDER BY d.id LIMIT $2`

// uncollected lists Dokumente whose intake is not over, of the given ones if
// there are any; without all only those that have no archive version.
func uncollected(ctx context.Context, q postgres.Querier, only []uuid.UUID, after uuid.UUID, limit int, all bool) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlUncollected, after, limit, all, only)
	if err != nil {
		return nil, fmt.Errorf("dokumente in intake: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
