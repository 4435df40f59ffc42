package scan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/intake"
	"evb/internal/media"
)

// setAside is one entry of the quarantine. Its bytes are a blob.
type setAside struct {
	blob        uuid.UUID
	batch       uuid.UUID // nil UUID: an index that is no batch
	file        string
	first, last int
	position    int
	code        string
	params      map[string]string
	step        string
}

const sqlAsideAlready = `
    SELECT EXISTS (SELECT FROM quarantine q WHERE q.tenant = evb_tenant() AND q.blob_id = $1 AND q.code = $2 AND q.file_name = $3
        AND q.batch_id IS NULL AND q.state = 'open')`

// quarantine writes the entry and its fact in the caller's transaction. The
// caller has made sure by the state of its row that it comes once; an index
// that is no batch has no row, so an open entry of the same bytes is enough.
func (s *Service) quarantine(ctx context.Context, tx pgx.Tx, a access.Actor, q setAside) error {
	if q.batch == uuid.Nil {
		var already bool
		if err := tx.QueryRow(ctx, sqlAsideAlready, q.blob, q.code, q.file).Scan(&already); err != nil || already {
			return err
		}
	}
	_, err := s.intake.QuarantineIn(ctx, tx, a, s.now(), intake.NewQuarantine{
		Blob: q.blob, Batch: q.batch, FirstPage: q.first, LastPage: q.last, Position: q.position, FileName: q.file,
		Channel: akte.ChannelScan, Code: q.code, Params: q.params, Step: q.step,
	})
	return err
}

const sqlReleasedDocument = `
    UPDATE batch_document SET state = 'filed', dokument_id = $3
    WHERE tenant = evb_tenant() AND batch_id = $1 AND position = $2 AND state = 'quarantined'`

const sqlReleasedPages = `
    UPDATE batch_page SET fate = 'filed', position = $3, version_page = n.version_page
    FROM (SELECT file_name, page, row_number() OVER (ORDER BY page) AS version_page FROM batch_page
        WHERE tenant = evb_tenant() AND batch_id = $1 AND file_name = $2 AND fate = 'quarantined'
          AND page BETWEEN coalesce($4, 1) AND coalesce($5, 1000000) AND ($6 OR position = $3)) n
    WHERE batch_page.tenant = evb_tenant() AND batch_page.batch_id = $1 AND batch_page.file_name = n.file_name AND batch_page.page = n.page`

// Released is for intake.Options.Released: a part of a batch left quarantine as
// a Dokument, so its pages are filed in the book. A whole stream that was
// released as one Dokument stands at its first position; it stays in the book
// as released when the batch has no such position.
func (s *Service) Released(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, q intake.Quarantine, dokument uuid.UUID) error {
	if q.BatchID == nil {
		return nil
	}
	position, whole := 0, q.Position == nil
	if !whole {
		position = *q.Position
	} else {
		err := tx.QueryRow(ctx, `SELECT coalesce(min(position), 0) FROM batch_document
            WHERE tenant = evb_tenant() AND batch_id = $1 AND file_name = $2 AND state = 'quarantined'`, *q.BatchID, q.FileName).Scan(&position)
		if err != nil {
			return fmt.Errorf("book of a released file: %w", err)
		}
	}
	if position == 0 {
		return nil
	}
	tag, err := tx.Exec(ctx, sqlReleasedDocument, *q.BatchID, position, dokument)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	if _, err = tx.Exec(ctx, sqlReleasedPages, *q.BatchID, q.FileName, position, q.FirstPage, q.LastPage, whole); err != nil {
		return fmt.Errorf("book of a released file: %w", err)
	}
	return nil
}

// faultOf gives the code and parameters of a file at fault; ok is false when
// the machine is.
func faultOf(err error) (code string, params map[string]string, ok bool) {
	var e *media.Error
	if !errors.As(err, &e) {
		return "", nil, false
	}
	params = map[string]string{}
	for k, v := range e.Params {
		params[k] = v
	}
	if e.Page > 0 {
		params["page"] = fmt.Sprint(e.Page)
	}
	return string(e.Code), params, true
}
