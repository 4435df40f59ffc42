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

// kindsOfVorgang are those of record objects that have a row in vorgang.
const kindsOfVorgang = `'vorgang', 'teilvorgang'`

// The ids of a page, oldest first, and where asked for the number of all; $3 is
// what the page begins behind, $4 its length.
const (
	sqlAllVorgaenge = `
    SELECT {total}, ARRAY(SELECT v.id FROM vorgang v WHERE v.tenant = evb_tenant()` + known + ` AND v.id > $3 ORDER BY v.id LIMIT $4)`
	sqlCountVorgaenge = `(SELECT count(*) FROM vorgang v WHERE v.tenant = evb_tenant())`
)

var (
	ownVorgaenge = `SELECT DISTINCT z.id FROM (` + access.OwnOf(kindsOfVorgang, 1, 2) + `) z
            JOIN record_object x ON x.tenant = evb_tenant() AND x.id = z.id AND NOT x.access_scope_id = ANY (` + access.Scopes(1, 2) + `)`
	sqlReachVorgaenge = `
    WITH own AS MATERIALIZED (` + ownVorgaenge + `)
    SELECT {total}, ARRAY(SELECT x.id FROM (
            SELECT y.id FROM unnest(` + access.Scopes(1, 2) + `) s (id) CROSS JOIN unnest(ARRAY[` + kindsOfVorgang + `]) t (kind) CROSS JOIN LATERAL (
                SELECT o.id FROM record_object o
                WHERE o.tenant = evb_tenant() AND o.access_scope_id = s.id AND o.kind = t.kind AND o.id > $3 ORDER BY o.id LIMIT $4) y
            UNION ALL
            SELECT own.id FROM own WHERE own.id > $3) x ORDER BY x.id LIMIT $4)`
	sqlCountReachedVorgaenge = `((SELECT count(*) FROM record_object o WHERE o.tenant = evb_tenant() AND o.access_scope_id = ANY (` + access.Scopes(1, 2) + `)
            AND o.kind IN (` + kindsOfVorgang + `)) + (SELECT count(*) FROM own))`
	sqlVorgaenge = akte.SQLVorgang + `
    WHERE o.tenant = evb_tenant() AND v.tenant = evb_tenant() AND o.id = ANY ($3) AND ` + access.Sees("o", 1, 2) + ` ORDER BY v.id`
)

// AllVorgaenge lists the Vorgänge of all Akten that the actor sees, oldest
// first; the total only when it is asked for.
func (s *Service) AllVorgaenge(ctx context.Context, a access.Actor, cursor string, limit int, counted bool) (p Page[akte.Vorgang], err error) {
	limit, err = pageSize(limit)
	if err != nil {
		return p, err
	}
	var after key[int]
	if err := after.read(cursor); err != nil {
		return p, err
	}
	at := s.now()
	err = s.db.ReadKept(ctx, a.Tenant, func(q postgres.Querier) error {
		all, err := readsAll(ctx, q, a, at)
		if err != nil {
			return err
		}
		find, total := sqlReachVorgaenge, sqlCountReachedVorgaenge
		if all {
			find, total = sqlAllVorgaenge, sqlCountVorgaenge
		}
		if !counted {
			total = notCounted
		}
		var ids []uuid.UUID
		if err := q.QueryRow(ctx, strings.Replace(find, "{total}", total, 1), a.User, at, after.ID, limit+1).Scan(&p.Total, &ids); err != nil {
			return fmt.Errorf("find vorgänge: %w", err)
		}
		p.Items, err = vorgaenge(ctx, q, sqlVorgaenge, a.User, at, ids)
		return err
	})
	if err != nil {
		return p, err
	}
	cut(&p, limit, func(v akte.Vorgang) string { return key[int]{ID: v.ID}.String() })
	return p, nil
}

var (
	sqlCountOfAkte = `
    SELECT count(*) FROM vorgang v JOIN record_object o ON o.tenant = v.tenant AND o.id = v.id
    WHERE v.tenant = evb_tenant() AND v.akte_id = $3 AND ` + access.Sees("o", 1, 2)
	sqlVorgaengeOfAkte = akte.SQLVorgang + `
    WHERE o.tenant = evb_tenant() AND v.tenant = evb_tenant() AND v.akte_id = $3 AND ` + access.Sees("o", 1, 2) + ` AND v.number > $4
    ORDER BY v.number LIMIT $5`
)

// Vorgaenge lists the Vorgänge of an Akte that the actor sees, by number. An
// Akte that the actor does not see has none.
func (s *Service) Vorgaenge(ctx context.Context, a access.Actor, akteID uuid.UUID, cursor string, limit int) (p Page[akte.Vorgang], err error) {
	limit, err = pageSize(limit)
	if err != nil {
		return p, err
	}
	var after key[int]
	if err := after.read(cursor); err != nil {
		return p, err
	}
	at := s.now()
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var total int64
		if err := q.QueryRow(ctx, sqlCountOfAkte, a.User, at, akteID).Scan(&total); err != nil {
			return fmt.Errorf("count vorgänge: %w", err)
		}
		p.Total = &total
		p.Items, err = vorgaenge(ctx, q, sqlVorgaengeOfAkte, a.User, at, akteID, after.Sort, limit+1)
		return err
	})
	if err != nil {
		return p, err
	}
	cut(&p, limit, func(v akte.Vorgang) string { return key[int]{v.Number, v.ID}.String() })
	return p, nil
}

func vorgaenge(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]akte.Vorgang, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("vorgänge: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[akte.Vorgang])
}
