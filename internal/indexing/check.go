package indexing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
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

// maxFindings bounds the Dokumente of a kind that a check names; the rest is
// counted.
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
// gives the number of Dokumente it compared. It holds the ids of the index, 16
// bytes each, and reads those of Postgres in the same order. It is for
// administrators, records managers and auditors; others get the fault forbidden.
func (f *Follower) Check(ctx context.Context, a access.Actor) ([]Finding, int, error) {
	if !mayOperate(a) {
		return nil, 0, fault.New("forbidden")
	}
	behind, have, err := f.caughtUp(ctx, a.Tenant)
	if errors.Is(err, search.ErrRebuildNeeded) {
		return []Finding{{Code: "search-rebuilding"}}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	missing, surplus, checked, err := f.compare(ctx, a.Tenant, have)
	if err != nil {
		return nil, checked, err
	}
	if len(missing)+len(surplus) > 0 {
		// What came or went while we looked is no finding: what still holds when
		// the index has followed is.
		if behind, have, err = f.caughtUp(ctx, a.Tenant); err != nil {
			return nil, checked, err
		}
		there := func(id uuid.UUID) bool { _, ok := slices.BinarySearchFunc(have, id, compareIDs); return ok }
		missing = slices.DeleteFunc(missing, there)
		surplus = slices.DeleteFunc(surplus, func(id uuid.UUID) bool { return !there(id) })
	}
	var found []Finding
	if behind > 0 {
		found = append(found, Finding{Code: "check-index-behind", Params: params("behind", behind)})
	}
	for code, list := range map[string][]uuid.UUID{"check-index-missing": missing, "check-index-surplus": surplus} {
		for _, id := range list[:min(len(list), maxFindings)] {
			found = append(found, Finding{Code: code, Params: params("dokument", id), Dokument: id})
		}
	}
	if more := max(0, len(missing)-maxFindings) + max(0, len(surplus)-maxFindings); more > 0 {
		found = append(found, Finding{Code: "check-index-more", Params: params("count", more)})
	}
	return found, checked, nil
}

// caughtUp lists the ids in the index, in order, when it has followed to the
// head of now, or could not in time: behind is by how many facts.
func (f *Follower) caughtUp(ctx context.Context, tenant access.Tenant) (behind int64, have []uuid.UUID, err error) {
	var head int64
	err = f.db.Read(ctx, tenant, func(q postgres.Querier) (err error) {
		head, _, err = event.Last(ctx, q, event.Events)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	if !f.WaitFor(ctx, tenant, head, waitForCheck) {
		_, seq := f.IndexedUntil(tenant)
		behind = head - seq
	}
	err = f.engine.IDs(ctx, TenantKey(tenant), func(id string) error {
		u, err := uuid.Parse(id)
		have = append(have, u)
		return err
	})
	if err != nil {
		return behind, nil, fmt.Errorf("list the index: %w", err)
	}
	slices.SortFunc(have, compareIDs)
	return behind, have, nil
}

// compare walks over the Dokumente of Postgres beside the ids of the index.
func (f *Follower) compare(ctx context.Context, tenant access.Tenant, have []uuid.UUID) (missing, surplus []uuid.UUID, checked int, err error) {
	after := uuid.Nil
	for {
		var ids []uuid.UUID
		err := f.db.Read(ctx, tenant, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, sqlCheckPage, after)
			if err != nil {
				return err
			}
			ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		})
		if err != nil {
			return nil, nil, checked, err
		}
		if len(ids) == 0 {
			return missing, append(surplus, have...), checked, nil
		}
		after = ids[len(ids)-1]
		checked += len(ids)
		for _, id := range ids {
			for len(have) > 0 && compareIDs(have[0], id) < 0 {
				surplus, have = append(surplus, have[0]), have[1:]
			}
			if len(have) > 0 && have[0] == id {
				have = have[1:]
			} else {
				missing = append(missing, id)
			}
		}
	}
}

// compareIDs is the order of Postgres.
func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

func params(kv ...any) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(kv); i += 2 {
		m[fmt.Sprint(kv[i])] = fmt.Sprint(kv[i+1])
	}
	return m
}
