package scan

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/media"
)

var (
	afterSubmit = failpoint.New("scan-4-submitted", "batch is processing, fact and job are there; client not told")
	afterSettle = failpoint.New("scan-9-settled", "batch is balanced or needs attention; job not ended")
)

const sqlSubmitState = `
    SELECT state, form,
        (SELECT coalesce(array_agg(f.name ORDER BY f.name), '{}') FROM batch_file f
            WHERE f.tenant = b.tenant AND f.batch_id = b.id AND f.role <> 'index' AND f.state = 'expected' AND (f.total_size IS NOT NULL OR b.form = 'stream')),
        (SELECT count(*) FROM batch_file f WHERE f.tenant = b.tenant AND f.batch_id = b.id AND f.role <> 'index' AND f.state = 'stored'),
        (SELECT count(*) FROM batch_file f WHERE f.tenant = b.tenant AND f.batch_id = b.id AND f.role = 'stream')
    FROM batch b
    WHERE tenant = evb_tenant() AND id = $1 AND (created_by = $2 OR $3)
    FOR NO KEY UPDATE`

const sqlSubmit = `
    UPDATE batch SET state = 'processing', submitted_at = coalesce(submitted_at, $2), row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`

// Submit ends the hand-over (step 4): fact batch.submitted, job scan.process.
// Repeated it gives the book. A batch that needs attention because a file was
// missing is submitted again when the file has come. Faults: not-found,
// batch-incomplete (a stream that is not there, an upload that was begun and
// not ended; announced files that never came are no fault but a finding).
func (s *Service) Submit(ctx context.Context, a access.Actor, batch uuid.UUID) (Book, error) {
	at := s.now()
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		var state State
		var form Form
		var open []string
		var stored, streams int
		err := tx.QueryRow(ctx, sqlSubmitState, batch, a.User, seesAll(a)).Scan(&state, &form, &open, &stored, &streams)
		if err != nil {
			return notFound(err)
		}
		if err := handOver(a); err != nil {
			return err
		}
		if state != Receiving && !(state == Attention && stored > 0) {
			return nil
		}
		if form == Stream && streams == 0 {
			open = []string{"*.pdf|*.tif"}
		}
		if len(open) > 0 {
			return fault.New("batch-incomplete", "files", join(open))
		}
		if _, err := tx.Exec(ctx, sqlSubmit, batch, at); err != nil {
			return fmt.Errorf("submit batch: %w", err)
		}
		return s.facts.Append(ctx, tx, a, at, event.Fact{Kind: BatchSubmitted, SubjectKind: SubjectBatch, Subject: batch})
	})
	if err != nil {
		return Book{}, err
	}
	afterSubmit.Hit()
	return s.Batch(ctx, a, batch)
}

// join names at most five.
func join(names []string) string {
	out := ""
	for i, n := range names {
		if i == 5 {
			return out + fmt.Sprintf(" … (%d)", len(names))
		}
		if i > 0 {
			out += ", "
		}
		out += n
	}
	return out
}

const sqlStreamDone = `
    UPDATE batch_file f SET state = 'done'
    WHERE tenant = evb_tenant() AND batch_id = $1 AND role = 'stream' AND state = 'planned'
      AND NOT EXISTS (SELECT FROM batch_document d WHERE d.tenant = f.tenant AND d.batch_id = f.batch_id AND d.file_name = f.name AND d.state = 'planned')`

// What was announced and has no file by now is missing.
const sqlMissing = `
    UPDATE batch_document d SET state = 'missing'
    WHERE tenant = evb_tenant() AND batch_id = $1 AND state = 'planned'
      AND NOT EXISTS (SELECT FROM batch_file f WHERE f.tenant = d.tenant AND f.batch_id = d.batch_id AND f.name = d.file_name AND f.state <> 'expected')
    RETURNING position, file_name`

const sqlBalance = `
    SELECT
        (SELECT coalesce(sum(pages), 0) FROM batch_file WHERE tenant = evb_tenant() AND batch_id = $1 AND role <> 'index')::int,
        (SELECT count(*) FROM batch_page WHERE tenant = evb_tenant() AND batch_id = $1)::int,
        (SELECT count(*) FROM batch_page WHERE tenant = evb_tenant() AND batch_id = $1 AND fate = 'open')::int,
        (SELECT count(*) FROM batch_document WHERE tenant = evb_tenant() AND batch_id = $1 AND state = 'planned')::int,
        (SELECT count(*) FROM batch_document WHERE tenant = evb_tenant() AND batch_id = $1 AND state = 'missing')::int,
        (SELECT count(*) FROM batch_file WHERE tenant = evb_tenant() AND batch_id = $1 AND role <> 'index' AND state IN ('stored', 'planned'))::int,
        (SELECT count(*) FROM batch_finding WHERE tenant = evb_tenant() AND batch_id = $1 AND attention AND resolved_at IS NULL)::int`

const sqlSettle = `
    UPDATE batch SET state = $2, balanced_at = $3, worker = NULL, lease_until = NULL, problem = '', problem_params = '{}', row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1 AND state = 'processing'`

// settle is step 9. Work that is left is an error: the job runs again.
func (r *run) settle(ctx context.Context) error {
	at := r.s.now()
	var state State
	var fates map[string]int
	err := r.s.db.InTx(ctx, r.a.Tenant, func(tx pgx.Tx) error {
		state = ""
		if _, err := tx.Exec(ctx, `SELECT FROM batch WHERE tenant = evb_tenant() AND id = $1 FOR NO KEY UPDATE`, r.id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlStreamDone, r.id); err != nil {
			return fmt.Errorf("settle stream: %w", err)
		}
		if err := r.missing(ctx, tx); err != nil {
			return err
		}
		var in, rows, open, planned, missing, files, attention int
		if err := tx.QueryRow(ctx, sqlBalance, r.id).Scan(&in, &rows, &open, &planned, &missing, &files, &attention); err != nil {
			return fmt.Errorf("balance: %w", err)
		}
		if in != rows || open > 0 || planned > 0 || files > 0 {
			return fmt.Errorf("book of batch %s: %d pages in, %d in the book, %d open; %d documents and %d files not done", r.id, in, rows, open, planned, files)
		}
		state = Balanced
		balanced := &at
		kind := BatchBalanced
		if missing > 0 || attention > 0 {
			state, balanced, kind = Attention, nil, BatchAttention
		}
		tag, err := tx.Exec(ctx, sqlSettle, r.id, state, balanced)
		if err != nil {
			return fmt.Errorf("settle batch: %w", err)
		}
		if tag.RowsAffected() == 0 {
			state = ""
			return nil
		}
		if fates, err = fateCounts(ctx, tx, r.id); err != nil {
			return err
		}
		details := map[string]any{"batch": r.name, "in": in, "missing": missing, "findings": attention}
		for f, n := range fates {
			details[f] = n
		}
		return r.s.facts.Append(ctx, tx, r.a, at, event.Fact{Kind: kind, SubjectKind: SubjectBatch, Subject: r.id, Details: details})
	})
	if err != nil || state == "" {
		return err
	}
	afterSettle.Hit()
	r.s.metrics.batches.WithLabelValues(string(state)).Inc()
	for f, n := range fates {
		r.s.metrics.pages.WithLabelValues(f).Add(float64(n))
	}
	r.s.log.InfoContext(ctx, "batch settled", "batch_id", r.id, "state", state)
	return nil
}

func fateCounts(ctx context.Context, tx pgx.Tx, batch uuid.UUID) (map[string]int, error) {
	rows, err := tx.Query(ctx, `SELECT fate, count(*)::int FROM batch_page WHERE tenant = evb_tenant() AND batch_id = $1 GROUP BY fate`, batch)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	var fate string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&fate, &n}, func() error { out[fate] = n; return nil })
	return out, err
}

// missing notes the announced documents whose file never came.
func (r *run) missing(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, sqlMissing, r.id)
	if err != nil {
		return fmt.Errorf("missing documents: %w", err)
	}
	var b pgx.Batch
	var position int
	var file string
	_, err = pgx.ForEachRow(rows, []any{&position, &file}, func() error {
		return r.queueFinding(&b, media.CodeDocumentMissing, position, 0, map[string]string{"number": fmt.Sprint(position), "separator": orDash(file)})
	})
	if err != nil {
		return fmt.Errorf("missing documents: %w", err)
	}
	return tx.SendBatch(ctx, &b).Close()
}
