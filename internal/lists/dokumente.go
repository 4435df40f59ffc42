package lists

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/postgres"
)

// DokumenteFilter narrows Dokumente; zero fields do not.
type DokumenteFilter struct {
	Vorgang uuid.UUID
	Akte    uuid.UUID // all below it
	Unfiled bool
	State   akte.State
	Batch   uuid.UUID
}

// The ids of a page and, where asked for, the number of all. The order is that
// of the ids, which is that of their making (UUIDv7).
const (
	// sqlFindDokumente: what is asked for is few, or the actor reads all.
	sqlFindDokumente = `
    WITH hit AS NOT MATERIALIZED (SELECT o.id FROM record_object o{joins} WHERE o.tenant = evb_tenant() AND o.kind = 'dokument'{rights}{conds})
    SELECT {total}, ARRAY(SELECT h.id FROM hit h WHERE h.id < {after} ORDER BY h.id DESC LIMIT {limit})`
	// sqlReachDokumente takes the newest of what lies in the scopes of the actor
	// and of what is the actor's own, and the newest of these.
	sqlReachDokumente = `
    SELECT {total}, ARRAY(
        SELECT x.id FROM ({inscopes}
            UNION
            (SELECT o.id FROM (SELECT DISTINCT d.id FROM ({own}) d WHERE d.id < {after} ORDER BY d.id DESC) own
            CROSS JOIN LATERAL (SELECT o.id FROM record_object o{joins}
                WHERE o.tenant = evb_tenant() AND o.id = own.id AND o.kind = 'dokument'{conds} OFFSET 0) o
            ORDER BY own.id DESC LIMIT {limit})) x
        ORDER BY x.id DESC LIMIT {limit})`
	// sqlEachScope asks scope by scope, for what most Dokumente of a scope are;
	// sqlAtWork goes from the few at work to their scopes.
	sqlEachScope = `
            SELECT y.id FROM unnest({scopes}) s (id) CROSS JOIN LATERAL (
                SELECT o.id FROM record_object o{joins}
                WHERE o.tenant = evb_tenant() AND o.access_scope_id = s.id AND o.kind = 'dokument'{conds} AND o.id < {after}
                ORDER BY o.id DESC LIMIT {limit}) y`
	sqlAtWork = `
            (SELECT o.id FROM record_object o{joins}
            WHERE o.tenant = evb_tenant() AND o.access_scope_id = ANY ({scopes}) AND o.kind = 'dokument'{conds} AND o.id < {after}
            ORDER BY d.id DESC LIMIT {limit})`
	sqlCountReached = `
        (SELECT count(*) FROM record_object o{joins} WHERE o.tenant = evb_tenant() AND o.access_scope_id = ANY ({scopes}) AND o.kind = 'dokument'{conds})
        + (SELECT count(DISTINCT o.id) FROM ({own}) own JOIN record_object o ON o.tenant = evb_tenant() AND o.id = own.id{joins}
            WHERE o.kind = 'dokument'{conds} AND NOT o.access_scope_id = ANY ({scopes}))`
	notCounted = `NULL::bigint`
)

var sqlDokumente = akte.SQLDokument + `
    WHERE o.tenant = evb_tenant() AND o.id = ANY ($3) AND ` + access.Sees("o", 1, 2) + `
    ORDER BY o.id DESC`

// Dokumente lists the Dokumente that the actor sees, newest first.
func (s *Service) Dokumente(ctx context.Context, a access.Actor, f DokumenteFilter, cursor string, limit int, count bool) (p Page[akte.Dokument], err error) {
	limit, err = pageSize(limit)
	if err != nil {
		return p, err
	}
	after := key[struct{}]{ID: uuid.Max}
	if err := after.read(cursor); err != nil {
		return p, err
	}
	at := s.now()
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		all, err := readsAll(ctx, q, a, at)
		if err != nil {
			return err
		}
		sql, args := f.sql(all, count, filter{args: []any{a.User, at}}, after.ID, limit+1)
		var ids []uuid.UUID
		if err := q.QueryRow(ctx, sql, args...).Scan(&p.Total, &ids); err != nil {
			return fmt.Errorf("find dokumente: %w", err)
		}
		rows, err := q.Query(ctx, sqlDokumente, a.User, at, ids)
		if err != nil {
			return fmt.Errorf("dokumente: %w", err)
		}
		p.Items, err = pgx.CollectRows(rows, akte.ScanDokument)
		for i := range p.Items {
			p.Items[i].AsOf(at)
		}
		return err
	})
	if err != nil {
		return p, err
	}
	cut(&p, limit, func(d akte.Dokument) string { return key[struct{}]{ID: d.ID}.String() })
	return p, nil
}

func (f DokumenteFilter) sql(all, count bool, w filter, after uuid.UUID, limit int) (string, []any) {
	joins, few, inScopes := "", all, sqlEachScope
	if f.Vorgang != uuid.Nil {
		few = true
		w.and("o.parent_id = ?", f.Vorgang)
	}
	if f.Akte != uuid.Nil {
		few = true
		w.and("o.parent_id IN (SELECT ?::uuid UNION ALL SELECT av.id FROM vorgang av WHERE av.tenant = evb_tenant() AND av.akte_id = ?)", f.Akte)
	}
	if f.Batch != uuid.Nil {
		few = true
		joins += ` JOIN batch_document bd ON bd.tenant = o.tenant AND bd.dokument_id = o.id`
		w.and("bd.batch_id = ?", f.Batch)
	}
	if f.Unfiled {
		w.conds += "\n      AND o.parent_id IS NULL"
	}
	if f.State != "" {
		joins += ` JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id`
		switch f.State { // $2 is the moment
		case akte.InWork:
			w.conds += "\n      AND d.state IN ('captured', 'registered') AND d.checked_out_until > $2"
		case akte.Captured, akte.Registered:
			w.and("d.state = ? AND coalesce(d.checked_out_until <= $2, true)", string(f.State))
		default:
			w.and("d.state = ?", string(f.State))
		}
		if f.State != akte.Filed { // words of the index of what is at work
			inScopes = sqlAtWork
			w.conds += " AND d.state <> 'filed'"
		}
	}
	sql, total, rights := sqlFindDokumente, `(SELECT count(*) FROM hit)`, "\n      AND "+access.Sees("o", 1, 2)
	switch {
	case all:
		rights = known
	case !few:
		sql, total = sqlReachDokumente, sqlCountReached
	}
	if !count {
		total = notCounted
	}
	sql = strings.NewReplacer("{total}", total, "{rights}", rights, "{inscopes}", inScopes).Replace(sql)
	return strings.NewReplacer("{joins}", joins, "{conds}", w.conds, "{scopes}", access.Scopes(1, 2), "{own}", access.Own(1, 2),
		"{after}", w.arg(after), "{limit}", w.arg(limit)).Replace(sql), w.args
}
