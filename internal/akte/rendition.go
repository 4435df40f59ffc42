package akte

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

const (
	// The row of the version puts two workers on the same version in line.
	sqlLockVersion = `SELECT dokument_id FROM dokument_version WHERE tenant = evb_tenant() AND id = $1 FOR UPDATE`
	// What was derived from the old rendition goes with it: it is stale.
	sqlStale = `
    WITH RECURSIVE stale AS (
        SELECT id FROM rendition WHERE tenant = evb_tenant() AND version_id = $1 AND kind = $2
        UNION
        SELECT r.id FROM stale s JOIN rendition r ON r.tenant = evb_tenant() AND r.version_id = $1 AND r.source_id = s.id
    )
    SELECT coalesce(array_agg(id), '{}') FROM stale`
	sqlDropFiles       = `DELETE FROM primary_file WHERE tenant = evb_tenant() AND rendition_id = ANY ($1)`
	sqlDropRenditions  = `DELETE FROM rendition WHERE tenant = evb_tenant() AND id = ANY ($1)`
	sqlInsertRendition = `
    INSERT INTO rendition (tenant, id, version_id, kind, format_code, tool, tool_version, source_id, facts, created_at)
    SELECT evb_tenant(), $1, $2, $3, $4, $5, $6,
        coalesce($7, (SELECT o.id FROM rendition o WHERE o.tenant = evb_tenant() AND o.version_id = $2 AND o.kind = 'original')), $8, $9`
)

// ReplaceRendition writes a derived rendition of a version in the place of an
// older one of its kind (and of what was derived from that). It is safe to
// repeat; the blobs of the old one stay for the sweep. It states no fact: the
// caller's step does (SetExtraction).
func (s *Service) ReplaceRendition(ctx context.Context, tx pgx.Tx, _ access.Actor, at time.Time, r NewRendition) error {
	var dokument uuid.UUID
	if err := tx.QueryRow(ctx, sqlLockVersion, r.VersionID).Scan(&dokument); err != nil {
		if missing(err) {
			return fault.New("not-found")
		}
		return err
	}
	var stale []uuid.UUID
	if err := tx.QueryRow(ctx, sqlStale, r.VersionID, r.Kind).Scan(&stale); err != nil {
		return err
	}
	facts := []byte("{}")
	if r.Facts != nil {
		var err error
		if facts, err = json.Marshal(r.Facts); err != nil {
			return fmt.Errorf("facts of a rendition: %w", err)
		}
	}
	var files fileRows
	if err := files.add(r.ID, r.Files); err != nil {
		return err
	}
	var b pgx.Batch
	if len(stale) > 0 {
		b.Queue(sqlDropFiles, stale)
		b.Queue(sqlDropRenditions, stale)
	}
	b.Queue(sqlInsertRendition, r.ID, r.VersionID, r.Kind, r.Format, r.Tool, r.ToolVersion, ptr(r.Source), string(facts), at)
	files.queue(&b)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("replace rendition %s: %w", r.Kind, err)
	}
	return nil
}

const (
	sqlSetExtraction = `
    UPDATE dokument d SET extraction = $3, extraction_reason = $4
    WHERE d.tenant = evb_tenant() AND d.id = $1 AND d.current_version =
        (SELECT v.number FROM dokument_version v WHERE v.tenant = evb_tenant() AND v.id = $2 AND v.dokument_id = $1)`
	sqlVersionNumber = `
    SELECT number FROM dokument_version WHERE tenant = evb_tenant() AND id = $2 AND dokument_id = $1`
)

// SetExtraction notes how the extraction of a version ended and states
// dokument.extracted or dokument.extraction_failed; ExtractionWaiting states
// nothing. The state of the Dokument changes only when the version is still
// the current one; the fact is stated anyway, because renditions are there.
func (s *Service) SetExtraction(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument, version uuid.UUID, e Extraction, reason string) error {
	var number int
	if err := tx.QueryRow(ctx, sqlVersionNumber, dokument, version).Scan(&number); err != nil {
		if missing(err) {
			return fault.New("not-found")
		}
		return err
	}
	if _, err := tx.Exec(ctx, sqlSetExtraction, dokument, version, e, reason); err != nil {
		return fmt.Errorf("set extraction: %w", err)
	}
	f := event.Fact{Record: dokument, Details: map[string]any{"version": number, "version_id": version}}
	switch e {
	case ExtractionDone:
		f.Kind = DokumentExtracted
	case ExtractionFailed:
		f.Kind = DokumentExtractionFailed
		f.Details["code"] = reason
	default:
		return nil
	}
	return s.log.Append(ctx, tx, a, at, f)
}

const (
	// Words that were given stay; recognition fills what is empty. What was
	// recognised is kept whole beside it, so that an item can tell why.
	sqlRecognisedWords = `
    UPDATE record_metadata SET
        subject = CASE WHEN subject = '' THEN $2 ELSE subject END,
        document_type = CASE WHEN document_type = '' THEN $3 ELSE document_type END,
        data = data || jsonb_build_object('recognised', $4::jsonb)
    WHERE tenant = evb_tenant() AND record_id = $1`
	sqlRecognisedDokument = `
    UPDATE dokument SET
        sender_name = CASE WHEN sender_name = '' THEN $2 ELSE sender_name END,
        receiver_name = CASE WHEN receiver_name = '' THEN $3 ELSE receiver_name END,
        form_code = CASE WHEN form_code = '' THEN $4 ELSE form_code END,
        written_on = coalesce(written_on, $5)
    WHERE tenant = evb_tenant() AND id = $1`
)

// SetRecognised keeps what extraction found in the text. It fills empty words
// and never overwrites what was given.
func (s *Service) SetRecognised(ctx context.Context, tx pgx.Tx, dokument uuid.UUID, r Recognised) error {
	kept := map[string]any{}
	for k, v := range map[string]string{
		"subject": r.Subject, "sender": r.Sender, "receiver": r.Receiver, "aktenzeichen": r.Aktenzeichen,
		"document_type": r.DocumentType, "form_code": r.FormCode,
	} {
		if v != "" {
			kept[k] = v
		}
	}
	if !r.WrittenOn.IsZero() {
		kept["written_on"] = r.WrittenOn.Format(time.DateOnly)
	}
	if len(r.Fields) > 0 {
		kept["fields"] = r.Fields
	}
	raw, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(sqlRecognisedWords, dokument, r.Subject, r.DocumentType, string(raw))
	b.Queue(sqlRecognisedDokument, dokument, r.Sender, r.Receiver, r.FormCode, date(r.WrittenOn))
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("recognised words: %w", err)
	}
	return nil
}

const sqlIntakeComplete = `
    UPDATE dokument SET intake_complete_at = coalesce(intake_complete_at, $2) WHERE tenant = evb_tenant() AND id = $1`

// SetIntakeComplete notes that all steps of intake are through. The first
// moment stays.
func (s *Service) SetIntakeComplete(ctx context.Context, tx pgx.Tx, dokument uuid.UUID, at time.Time) error {
	_, err := tx.Exec(ctx, sqlIntakeComplete, dokument, at)
	return err
}

const (
	sqlRelease = `
    UPDATE dokument d SET state = CASE WHEN o.parent_id IS NULL THEN 'captured' ELSE 'registered' END
    FROM record_object o
    WHERE d.tenant = evb_tenant() AND d.id = $1 AND d.state = 'quarantined' AND o.tenant = d.tenant AND o.id = d.id`
	sqlCurrentVersion = `
    SELECT v.id, v.number FROM dokument d JOIN dokument_version v ON v.tenant = d.tenant AND v.dokument_id = d.id AND v.number = d.current_version
    WHERE d.tenant = evb_tenant() AND d.id = $1`
)

// ReleaseQuarantined takes a Dokument out of quarantine and states
// dokument.released with its current version as the subject. Faults:
// not-found, dokument-not-quarantined.
func (s *Service) ReleaseQuarantined(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID, reason string) error {
	var version uuid.UUID
	var number int
	if err := tx.QueryRow(ctx, sqlCurrentVersion, dokument).Scan(&version, &number); err != nil {
		if missing(err) {
			return fault.New("not-found")
		}
		return err
	}
	tag, err := tx.Exec(ctx, sqlRelease, dokument)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return fault.New("dokument-not-quarantined")
	}
	if _, err := tx.Exec(ctx, sqlTouch, dokument, at); err != nil {
		return err
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{
		Kind: DokumentReleased, Record: dokument, SubjectKind: "version", Subject: version, Reason: reason,
		Details: map[string]any{"version": number, "version_id": version},
	})
}

const sqlRenditions = `
    SELECT r.id, r.version_id, r.kind, r.format_code, r.tool, r.tool_version, r.source_id, r.facts, r.created_at
    FROM rendition r WHERE r.tenant = evb_tenant() AND r.version_id = ANY ($1) AND ($2 = '' OR r.kind = $2)
    ORDER BY r.version_id, r.created_at, r.id`

const sqlFiles = `
    SELECT f.id, f.rendition_id, f.position, f.blob_id, b.sha256, b.size, f.file_name, f.media_type, coalesce(f.pages, 0), f.signature_embedded, f.findings
    FROM primary_file f JOIN blob b ON b.tenant = f.tenant AND b.id = f.blob_id
    WHERE f.tenant = evb_tenant() AND f.rendition_id = ANY ($1) ORDER BY f.rendition_id, f.position`

// RenditionsOf lists the renditions of a version with their files, the
// original first.
func RenditionsOf(ctx context.Context, q postgres.Querier, version uuid.UUID) ([]Rendition, error) {
	return renditions(ctx, q, []uuid.UUID{version}, "")
}

// RenditionOf gives the rendition of one kind; ok is false when there is none
// yet.
func RenditionOf(ctx context.Context, q postgres.Querier, version uuid.UUID, kind string) (r Rendition, ok bool, err error) {
	all, err := renditions(ctx, q, []uuid.UUID{version}, kind)
	if err != nil || len(all) == 0 {
		return Rendition{}, false, err
	}
	return all[0], true, nil
}

// RenditionsOfKind gives the renditions of one kind of many versions, by
// version.
func RenditionsOfKind(ctx context.Context, q postgres.Querier, versions []uuid.UUID, kind string) (map[uuid.UUID]Rendition, error) {
	all, err := renditions(ctx, q, versions, kind)
	out := make(map[uuid.UUID]Rendition, len(all))
	for _, r := range all {
		out[r.VersionID] = r
	}
	return out, err
}

func renditions(ctx context.Context, q postgres.Querier, versions []uuid.UUID, kind string) ([]Rendition, error) {
	rows, err := q.Query(ctx, sqlRenditions, versions, kind)
	if err != nil {
		return nil, fmt.Errorf("renditions: %w", err)
	}
	byID := map[uuid.UUID]int{}
	var ids []uuid.UUID
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Rendition, err error) {
		err = row.Scan(&r.ID, &r.VersionID, &r.Kind, &r.Format, &r.Tool, &r.ToolVersion, &r.Source, &r.Facts, &r.CreatedAt)
		byID[r.ID] = len(ids)
		ids = append(ids, r.ID)
		return r, err
	})
	if err != nil || len(out) == 0 {
		return out, err
	}
	rows, err = q.Query(ctx, sqlFiles, ids)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	files, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PrimaryFile])
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		r := &out[byID[f.RenditionID]]
		r.Files = append(r.Files, f)
	}
	return out, nil
}

const sqlVersions = `
    SELECT v.id, v.dokument_id, v.number, v.origin, v.comment, v.frozen_at, v.created_at, v.created_by, coalesce(u.display_name, '')
    FROM dokument_version v LEFT JOIN app_user u ON u.tenant = v.tenant AND u.id = v.created_by
    WHERE v.tenant = evb_tenant() AND v.dokument_id = ANY ($1) ORDER BY v.dokument_id, v.number`

// VersionsOf lists the versions of Dokumente by number, each with the files of
// its original; those of one Dokument stand together.
func VersionsOf(ctx context.Context, q postgres.Querier, dokumente ...uuid.UUID) ([]Version, error) {
	rows, err := q.Query(ctx, sqlVersions, dokumente)
	if err != nil {
		return nil, fmt.Errorf("versions: %w", err)
	}
	var ids []uuid.UUID
	place := map[uuid.UUID]int{}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Version, err error) {
		err = row.Scan(&v.ID, &v.DokumentID, &v.Number, &v.Origin, &v.Comment, &v.FrozenAt, &v.CreatedAt, &v.CreatedBy, &v.CreatedByName)
		place[v.ID] = len(ids)
		ids = append(ids, v.ID)
		return v, err
	})
	if err != nil || len(out) == 0 {
		return out, err
	}
	originals, err := renditions(ctx, q, ids, Original)
	if err != nil {
		return nil, err
	}
	for _, r := range originals {
		out[place[r.VersionID]].Files = r.Files
	}
	return out, nil
}
