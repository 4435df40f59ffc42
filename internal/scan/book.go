package scan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// notFound makes the fault of a row that is not there, or not for this actor.
func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New("not-found")
	}
	return err
}

const sqlBookHead = `
    SELECT b.id, b.name, b.state, b.form, b.scheme, b.problem, b.problem_params, b.created_at, b.submitted_at, b.balanced_at, b.resolution, b.resolved_by, b.row_version,
        (SELECT count(*) FROM batch_document d WHERE d.tenant = b.tenant AND d.batch_id = b.id AND d.dokument_id IS NOT NULL)::int,
        (SELECT count(*) FROM batch_document d WHERE d.tenant = b.tenant AND d.batch_id = b.id AND d.announced)::int
    FROM batch b
    WHERE b.tenant = evb_tenant()`

func scanHead(row pgx.CollectableRow) (Book, error) {
	b := Book{Quarantine: []QuarantineEntry{}, Findings: []Finding{}, Dokumente: []Position{}, Files: []FileState{}}
	var params map[string]string
	err := row.Scan(&b.ID, &b.BatchID, &b.State, &b.Form, &b.Scheme, &b.Problem, &params, &b.CreatedAt, &b.SubmittedAt, &b.BalancedAt,
		&b.Resolution, &b.ResolvedBy, &b.RowVersion, &b.Documents, &b.Announced)
	if b.Problem != "" {
		b.Reason = fault.Text("de", b.Problem, params)
	}
	return b, err
}

// Batch gives the book. Scan roles, registry, auditors and who submitted it see
// it; a book has no content. Faults: not-found.
func (s *Service) Batch(ctx context.Context, a access.Actor, batch uuid.UUID) (Book, error) {
	var b Book
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlBookHead+` AND b.id = $1 AND (b.created_by = $2 OR $3)`, batch, a.User, seesAll(a))
		if err != nil {
			return err
		}
		if b, err = pgx.CollectExactlyOneRow(rows, scanHead); err != nil {
			return notFound(err)
		}
		return s.details(ctx, q, a, &b)
	})
	if err != nil {
		return Book{}, err
	}
	for i := range b.Files {
		f := &b.Files[i]
		if f.State != "expected" && f.State != "waived" {
			f.Offset = f.Size
		} else if st, err := os.Stat(s.partial(a.Tenant, batch, f.Name)); err == nil {
			f.Offset = st.Size()
		}
	}
	return b, nil
}

// details fills the parts of the book, each by one statement.
func (s *Service) details(ctx context.Context, q postgres.Querier, a access.Actor, b *Book) error {
	for _, part := range []func(context.Context, postgres.Querier, *Book) error{pagesOf, quarantineOf, findingsOf, dokumenteOf, filesOf} {
		if err := part(ctx, q, b); err != nil {
			return fmt.Errorf("book of batch %s: %w", b.ID, err)
		}
	}
	if err := q.QueryRow(ctx, sqlDuplicates, b.ID, a.User, s.now()).Scan(&b.Duplicates); err != nil {
		return fmt.Errorf("duplicates of batch %s: %w", b.ID, err)
	}
	return nil
}

// In counts every page of the files, whether or not its fate is known yet.
const sqlPages = `
    SELECT
        (SELECT coalesce(sum(pages), 0) FROM batch_file WHERE tenant = evb_tenant() AND batch_id = $1 AND role <> 'index')::int,
        count(*) FILTER (WHERE fate = 'filed')::int, count(*) FILTER (WHERE fate = 'separator')::int,
        count(*) FILTER (WHERE fate = 'blank')::int, count(*) FILTER (WHERE fate = 'quarantined')::int,
        count(*) FILTER (WHERE fate = 'attached')::int, count(*) FILTER (WHERE fate = 'open')::int
    FROM batch_page WHERE tenant = evb_tenant() AND batch_id = $1`

func pagesOf(ctx context.Context, q postgres.Querier, b *Book) error {
	p := &b.Pages
	return q.QueryRow(ctx, sqlPages, b.ID).Scan(&p.In, &p.Filed, &p.Separator, &p.Blank, &p.Quarantined, &p.Attached, &p.Open)
}

const sqlBookQuarantine = `
    SELECT id, file_name, code, params, coalesce(position, 0), coalesce(first_page, 0), coalesce(last_page, 0), state
    FROM quarantine WHERE tenant = evb_tenant() AND batch_id = $1 ORDER BY file_name, first_page, id`

func quarantineOf(ctx context.Context, q postgres.Querier, b *Book) error {
	rows, err := q.Query(ctx, sqlBookQuarantine, b.ID)
	if err != nil {
		return err
	}
	var e QuarantineEntry
	_, err = pgx.ForEachRow(rows, []any{&e.ID, &e.File, &e.Code, &e.Params, &e.Position, &e.First, &e.Last, &e.State}, func() error {
		e.Reason, e.ReasonEN = fault.Text("de", e.Code, e.Params), fault.Text("en", e.Code, e.Params)
		b.Quarantine = append(b.Quarantine, e)
		e.Params = nil
		return nil
	})
	return err
}

const sqlBookFindings = `
    SELECT code, coalesce(position, 0), coalesce(page, 0), params, attention, resolved_at IS NOT NULL
    FROM batch_finding WHERE tenant = evb_tenant() AND batch_id = $1 ORDER BY position NULLS FIRST, page NULLS FIRST, code`

func findingsOf(ctx context.Context, q postgres.Querier, b *Book) error {
	rows, err := q.Query(ctx, sqlBookFindings, b.ID)
	if err != nil {
		return err
	}
	var f Finding
	_, err = pgx.ForEachRow(rows, []any{&f.Code, &f.Position, &f.Page, &f.Params, &f.Attention, &f.Resolved}, func() error {
		f.Text, f.TextEN = fault.Text("de", f.Code, f.Params), fault.Text("en", f.Code, f.Params)
		b.Findings = append(b.Findings, f)
		f.Params = nil
		return nil
	})
	return err
}

const sqlBookDokumente = `
    SELECT position, state, dokument_id, separator_code, file_name, coalesce(first_page, 0), coalesce(last_page, 0), received_on, announced
    FROM batch_document WHERE tenant = evb_tenant() AND batch_id = $1 ORDER BY position`

func dokumenteOf(ctx context.Context, q postgres.Querier, b *Book) error {
	rows, err := q.Query(ctx, sqlBookDokumente, b.ID)
	if err != nil {
		return err
	}
	b.Dokumente, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Position, error) {
		var p Position
		var received *time.Time
		err := row.Scan(&p.Position, &p.State, &p.DokumentID, &p.SeparatorCode, &p.File, &p.FirstPage, &p.LastPage, &received, &p.Announced)
		if received != nil {
			p.ReceivedOn = received.Format(time.DateOnly)
		}
		return p, err
	})
	return err
}

const sqlBookFiles = `
    SELECT name, role, state, CASE WHEN state = 'expected' THEN coalesce(total_size, 0) ELSE size END, coalesce(pages, 0)
    FROM batch_file WHERE tenant = evb_tenant() AND batch_id = $1 ORDER BY role, name`

func filesOf(ctx context.Context, q postgres.Querier, b *Book) error {
	rows, err := q.Query(ctx, sqlBookFiles, b.ID)
	if err != nil {
		return err
	}
	b.Files, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (FileState, error) {
		var f FileState
		err := row.Scan(&f.Name, &f.Role, &f.State, &f.Size, &f.Pages)
		return f, err
	})
	return err
}

// A duplicate within the batch is known to whoever sees its book; one with
// another Dokument only to who may see both (decisions 3.4). Ids are made in
// the order of time, so the smaller was there first.
var sqlDuplicates = `
    SELECT count(*)::int
    FROM batch_document d
    JOIN record_object o ON o.tenant = d.tenant AND o.id = d.dokument_id
    WHERE d.tenant = evb_tenant() AND d.batch_id = $1 AND EXISTS (
        SELECT FROM dokument_version v
        JOIN rendition r ON r.tenant = v.tenant AND r.version_id = v.id AND r.kind = 'original'
        JOIN primary_file f ON f.tenant = r.tenant AND f.rendition_id = r.id
        JOIN primary_file f2 ON f2.tenant = f.tenant AND f2.blob_id = f.blob_id AND f2.id <> f.id
        JOIN rendition r2 ON r2.tenant = f2.tenant AND r2.id = f2.rendition_id AND r2.kind = 'original'
        JOIN dokument_version v2 ON v2.tenant = r2.tenant AND v2.id = r2.version_id AND v2.dokument_id < d.dokument_id
        JOIN record_object o2 ON o2.tenant = v2.tenant AND o2.id = v2.dokument_id
        WHERE v.tenant = d.tenant AND v.dokument_id = d.dokument_id AND v.number = 1
          AND (EXISTS (SELECT FROM batch_document d2 WHERE d2.tenant = d.tenant AND d2.batch_id = d.batch_id AND d2.dokument_id = v2.dokument_id)
            OR (` + access.Sees("o", 2, 3) + ` AND ` + access.Sees("o2", 2, 3) + `)))`

func (s *Service) find(ctx context.Context, a access.Actor, name string) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, `SELECT id FROM batch WHERE tenant = evb_tenant() AND name = $1`, name).Scan(&id)
	})
	return id, notFound(err)
}

// Find gives the id of the batch that ref names: a UUID, or the id the scan
// centre gave it. Faults: not-found.
func (s *Service) Find(ctx context.Context, a access.Actor, ref string) (uuid.UUID, error) {
	var id uuid.UUID
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, `SELECT id FROM batch WHERE tenant = evb_tenant() AND (id::text = $1 OR name = $2) AND (created_by = $3 OR $4)
            ORDER BY id::text = $1 DESC LIMIT 1`, strings.ToLower(ref), ref, a.User, seesAll(a)).Scan(&id)
	})
	return id, notFound(err)
}

// Count says how many batches List would give in all.
func (s *Service) Count(ctx context.Context, a access.Actor, states []State) (n int64, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, `SELECT count(*) FROM batch b WHERE b.tenant = evb_tenant() AND (b.created_by = $1 OR $2)
            AND (cardinality($3::text[]) = 0 OR b.state = ANY ($3))`, a.User, seesAll(a), stateNames(states)).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("count batches: %w", err)
	}
	return n, nil
}

func stateNames(states []State) []string {
	names := make([]string, len(states))
	for i, st := range states {
		names[i] = string(st)
	}
	return names
}

// List gives batches, newest first, with their pages but without other details.
// after is the last id of the page before, the nil UUID for the first page;
// no states means all.
func (s *Service) List(ctx context.Context, a access.Actor, states []State, after uuid.UUID, limit int) ([]Book, error) {
	var out []Book
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlBookHead+` AND (b.created_by = $1 OR $2) AND (cardinality($3::text[]) = 0 OR b.state = ANY ($3))
            AND ($4::uuid = '00000000-0000-0000-0000-000000000000' OR b.id < $4) ORDER BY b.id DESC LIMIT $5`,
			a.User, seesAll(a), stateNames(states), after, min(max(limit, 1), 200))
		if err != nil {
			return err
		}
		if out, err = pgx.CollectRows(rows, scanHead); err != nil {
			return err
		}
		for i := range out {
			if err := pagesOf(ctx, q, &out[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list batches: %w", err)
	}
	return out, nil
}
