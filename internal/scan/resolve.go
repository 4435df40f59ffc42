package scan

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
)

// maxReason is the most characters of a reason.
const maxReason = 2000

const sqlResolveState = `
    SELECT state, row_version,
        (SELECT coalesce(array_agg(f.name ORDER BY f.name), '{}') FROM batch_file f
            WHERE f.tenant = b.tenant AND f.batch_id = b.id AND f.role <> 'index' AND f.state = 'stored')
    FROM batch b
    WHERE tenant = evb_tenant() AND id = $1 AND (created_by = $2 OR $3)
    FOR NO KEY UPDATE`

const sqlWaiveDocuments = `
    UPDATE batch_document SET state = 'waived'
    WHERE tenant = evb_tenant() AND batch_id = $1 AND state = 'missing'`

const sqlWaiveFiles = `
    UPDATE batch_file SET state = 'waived'
    WHERE tenant = evb_tenant() AND batch_id = $1 AND role <> 'index' AND state = 'expected'`

const sqlAcceptFindings = `
    UPDATE batch_finding SET resolved_at = $2
    WHERE tenant = evb_tenant() AND batch_id = $1 AND attention AND resolved_at IS NULL`

const sqlResolve = `
    UPDATE batch SET state = 'balanced', balanced_at = $2, resolved_by = $3, resolution = $4, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`

// Resolve brings a batch that needs attention to its end, because a person has
// looked at the paper and says so: missing documents are waived, surplus ones
// stay as they are, and the book balances with the person and the reason in it.
// What comes after that is another batch. ifVersion 0 does not compare.
//
// Faults: not-found, forbidden, read-only-role, resolve-reason-missing,
// field-too-long, stale-version, batch-not-attention, batch-files-waiting (a
// missing file has come and was not submitted).
func (s *Service) Resolve(ctx context.Context, a access.Actor, batch uuid.UUID, reason string, ifVersion int64) (Book, error) {
	if reason = strings.TrimSpace(reason); reason == "" {
		return Book{}, fault.New("resolve-reason-missing").With("/reason", "resolve-reason-missing")
	}
	if utf8.RuneCountInString(reason) > maxReason {
		return Book{}, fault.New("field-too-long", "field", "reason", "most", maxReason)
	}
	at := s.now()
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		var state State
		var version int64
		var stored []string
		if err := tx.QueryRow(ctx, sqlResolveState, batch, a.User, seesAll(a)).Scan(&state, &version, &stored); err != nil {
			return notFound(err)
		}
		switch {
		case a.User == access.SystemUser || a.Has(access.ScanOperator, access.QualityChecker, access.Registry):
		case a.Has(access.Auditor, access.Reader):
			return fault.New("read-only-role")
		default:
			return fault.New("forbidden")
		}
		switch {
		case ifVersion != 0 && ifVersion != version:
			return fault.New("stale-version")
		case state != Attention:
			return fault.New("batch-not-attention")
		case len(stored) > 0:
			return fault.New("batch-files-waiting", "files", join(stored))
		}
		waived, err := tx.Exec(ctx, sqlWaiveDocuments, batch)
		if err != nil {
			return fmt.Errorf("waive documents: %w", err)
		}
		if _, err := tx.Exec(ctx, sqlWaiveFiles, batch); err != nil {
			return fmt.Errorf("waive files: %w", err)
		}
		accepted, err := tx.Exec(ctx, sqlAcceptFindings, batch, at)
		if err != nil {
			return fmt.Errorf("accept findings: %w", err)
		}
		if _, err := tx.Exec(ctx, sqlResolve, batch, at, a.User, reason); err != nil {
			return fmt.Errorf("resolve batch: %w", err)
		}
		return s.facts.Append(ctx, tx, a, at, event.Fact{Kind: BatchResolved, SubjectKind: SubjectBatch, Subject: batch, Reason: reason,
			Details: map[string]any{"waived": waived.RowsAffected(), "findings": accepted.RowsAffected()}})
	})
	if err != nil {
		return Book{}, err
	}
	s.metrics.batches.WithLabelValues(string(Balanced)).Inc()
	return s.Batch(ctx, a, batch)
}
