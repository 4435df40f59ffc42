package indexing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/search"
)

// Finding is a disagreement of the index with Postgres, for `evb check`.
type Finding struct {
	// Code stands in the fault catalogue.
	Code   string
	Params map[string]string
	// Dokument is the nil UUID where a finding is about the whole index.
	Dokument uuid.UUID
}

// Text is the finding as a sentence in the language.
func (f Finding) Text(lang string) string { return fault.Text(lang, f.Code, f.Params) }

// maxFindings bounds the Dokumente that a check names; the rest is counted.
const (
	maxFindings  = 100
	waitForCheck = 5 * time.Second
)

const sqlCheckPage = `
    SELECT d.id FROM dokument d JOIN record_object o ON o.tenant = d.tenant AND o.id = d.id
    JOIN record_metadata m ON m.tenant = d.tenant AND m.record_id = d.id
    WHERE d.tenant = evb_tenant() AND d.id > $1 AND o.lifecycle <> 'destroyed'
    ORDER BY d.id LIMIT 1000`

// Check compares the tenant's part of the index with Postgres: every Dokument is
// there, and nothing else. It waits a few seconds for the index to catch up, and
// gives the number of Dokumente it compared. It is for administrators, records
// managers and auditors; others get the fault forbidden.
func (f *Follower) Check(ctx context.Context, a access.Actor) ([]Finding, int, error) {
	if !mayOperate(a) {
		return nil, 0, fault.New("forbidden")
	}
	var head, pending int64
	err := f.db.Read(ctx, a.Tenant, func(q postgres.Querier) (err error) {
		if head, _, err = event.Last(ctx, q, event.Events); err != nil {
			return err
		}
		pending, err = event.Pending(ctx, q)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	var found []Finding
	if !f.WaitFor(ctx, a.Tenant, head, waitForCheck) {
		_, seq := f.IndexedUntil(a.Tenant)
		found = append(found, Finding{Code: "check-index-behind", Params: params("behind", head-seq)})
	}
	have, err := f.indexed(ctx, a.Tenant)
	if errors.Is(err, search.ErrRebuildNeeded) {
		return append(found, Finding{Code: "search-rebuilding"}), 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list the index: %w", err)
	}
	checked, named, missing := 0, 0, 0
	after := uuid.Nil
	for {
		var ids []uuid.UUID
		err := f.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, sqlCheckPage, after)
			if err != nil {
				return err
			}
			ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		})
		if err != nil {
			return nil, checked, err
		}
		if len(ids) == 0 {
			break
		}
		after = ids[len(ids)-1]
		checked += len(ids)
		for _, id := range ids {
			if _, ok := have[id]; ok {
				delete(have, id)
				continue
			}
			missing++
			if named++; named <= maxFindings {
				found = append(found, Finding{Code: "check-index-missing", Params: params("dokument", id), Dokument: id})
			}
		}
	}
	// What came while we looked is on its way, and no finding.
	if missing > 0 && pending > 0 {
		return f.recheck(ctx, a, found, checked)
	}
	for id := range have {
		if named++; named <= maxFindings {
			found = append(found, Finding{Code: "check-index-surplus", Params: params("dokument", id), Dokument: id})
		}
	}
	if named > maxFindings {
		found = append(found, Finding{Code: "check-index-more", Params: params("count", named-maxFindings)})
	}
	return found, checked, nil
}

// recheck keeps of the missing ones those that are missing still.
func (f *Follower) recheck(ctx context.Context, a access.Actor, found []Finding, checked int) ([]Finding, int, error) {
	have, err := f.indexed(ctx, a.Tenant)
	if err != nil {
		return nil, checked, err
	}
	var still []Finding
	for _, x := range found {
		if _, ok := have[x.Dokument]; !ok {
			still = append(still, x)
		}
	}
	return still, checked, nil
}

// indexed lists all ids of a tenant in the index.
func (f *Follower) indexed(ctx context.Context, tenant access.Tenant) (map[uuid.UUID]struct{}, error) {
	all := map[uuid.UUID]struct{}{}
	q := search.Query{
		Principal: search.Principal{Tenant: TenantKey(tenant), ReadAll: true}, Sort: search.SortOldest,
		Limit: search.MaxLimit, Highlight: search.Highlight{Off: true}, Exact: true,
	}
	for {
		page, err := f.engine.Search(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, it := range page.Items {
			id, err := uuid.Parse(it.ID)
			if err != nil {
				return nil, fmt.Errorf("id %q in the index: %w", it.ID, err)
			}
			all[id] = struct{}{}
		}
		if page.Next == "" {
			return all, nil
		}
		q.Cursor = page.Next
	}
}

func params(kv ...any) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(kv); i += 2 {
		m[fmt.Sprint(kv[i])] = fmt.Sprint(kv[i+1])
	}
	return m
}
