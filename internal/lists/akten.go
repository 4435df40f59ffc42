package lists

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/postgres"
)

// Node is one Aktenplaneinheit with what the actor sees below it.
type Node struct {
	akte.Aktenplaneinheit
	Depth    int   // 0 for a main group
	Akten    int64 // directly under it, visible to the actor
	Children int
}

// AktenFilter narrows Akten; zero fields do not.
type AktenFilter struct {
	Aktenplaneinheit uuid.UUID
	Unit             uuid.UUID
	Aktenzeichen     string // its beginning; blanks and case do not matter
	Subject          string // a piece of it
	Lifecycle        akte.Lifecycle
}

const sqlPlan = akte.SQLEinheit + `
    JOIN aktenplan p ON p.tenant = e.tenant AND p.id = e.aktenplan_id
    WHERE e.tenant = evb_tenant() AND p.valid_from <= $1::date AND $1::date < p.valid_to
    ORDER BY e.code, e.id`

// From where Akten are found: all of them, or those that the actor reaches, by
// their scopes and by what is the actor's own.
const allAkten = `akte k`

var reachedAkten = `(
        SELECT x.* FROM akte x WHERE x.tenant = evb_tenant() AND x.access_scope_id = ANY (` + access.Scopes(1, 2) + `)
        UNION ALL
        SELECT x.* FROM (` + ownAkten + `) own CROSS JOIN LATERAL (SELECT y.* FROM akte y WHERE y.tenant = evb_tenant() AND y.id = own.id OFFSET 0) x) k`

// ownAkten are the actor's own that lie in none of the actor's scopes, each once.
var ownAkten = `SELECT DISTINCT z.id FROM (` + access.OwnOf(`'akte', 'teilakte'`, 1, 2) + `) z
            JOIN akte a ON a.tenant = evb_tenant() AND a.id = z.id AND NOT a.access_scope_id = ANY (` + access.Scopes(1, 2) + `)`

// fromAkten needs $1 and $2 also where it does not ask for them.
func fromAkten(all bool) string {
	if all {
		return allAkten
	}
	return reachedAkten
}

const (
	withObject   = ` CROSS JOIN LATERAL (SELECT x.unit_id, x.lifecycle FROM record_object x WHERE x.tenant = evb_tenant() AND x.id = k.id OFFSET 0) o`
	withMetadata = ` CROSS JOIN LATERAL (SELECT x.subject FROM record_metadata x WHERE x.tenant = evb_tenant() AND x.record_id = k.id OFFSET 0) m`
	known        = ` AND $1::uuid IS NOT NULL AND $2::timestamptz IS NOT NULL`
)

const sqlAktenPerEinheit = `
    SELECT k.aktenplaneinheit_id, count(*) FROM %s WHERE k.tenant = evb_tenant() AND k.kind = 'akte'` + known + ` GROUP BY 1`

// Aktenplan gives every Aktenplaneinheit of the plan that is valid today, each
// after its parent and in order of its code. The plan is no secret inside a
// tenant; the Akten counted are those that the actor sees.
func (s *Service) Aktenplan(ctx context.Context, a access.Actor) ([]Node, error) {
	var flat []akte.Aktenplaneinheit
	akten := map[uuid.UUID]int64{}
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		at := s.now()
		rows, err := q.Query(ctx, sqlPlan, at)
		if err != nil {
			return fmt.Errorf("aktenplan: %w", err)
		}
		if flat, err = pgx.CollectRows(rows, pgx.RowToStructByPos[akte.Aktenplaneinheit]); err != nil {
			return fmt.Errorf("aktenplan: %w", err)
		}
		all, err := readsAll(ctx, q, a, at)
		if err != nil {
			return err
		}
		rows, err = q.Query(ctx, fmt.Sprintf(sqlAktenPerEinheit, fromAkten(all)), a.User, at)
		if err != nil {
			return fmt.Errorf("akten of the plan: %w", err)
		}
		var id uuid.UUID
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error { akten[id] = n; return nil })
		return err
	})
	if err != nil {
		return nil, err
	}
	children := map[uuid.UUID][]akte.Aktenplaneinheit{}
	for _, e := range flat {
		var parent uuid.UUID
		if e.ParentID != nil {
			parent = *e.ParentID
		}
		children[parent] = append(children[parent], e)
	}
	var out []Node
	var walk func(parent uuid.UUID, depth int)
	walk = func(parent uuid.UUID, depth int) {
		for _, e := range children[parent] {
			out = append(out, Node{Aktenplaneinheit: e, Depth: depth, Akten: akten[e.ID], Children: len(children[e.ID])})
			walk(e.ID, depth+1)
		}
	}
	walk(uuid.Nil, 0)
	return out, nil
}

const (
	// sqlFindAkten gives the number of Akten and the ids of a page. What has to be
	// looked for is gathered once for both; the Akten of one Aktenplaneinheit are
	// counted and read in the order of the index.
	sqlFindAkten = `
    WITH hit AS {how} (SELECT k.id, k.aktenzeichen FROM {from} WHERE k.tenant = evb_tenant()` + known + `{conds})
    SELECT (SELECT count(*) FROM hit), ARRAY(SELECT h.id FROM hit h WHERE (h.aktenzeichen, h.id) > ({sort}, {id}::uuid)
        ORDER BY h.aktenzeichen, h.id LIMIT {limit})`
)

var (
	// The list that nothing narrows: its number stands ready in akte_count, and its
	// page is the first of all, or the first of the first of each scope. Which of
	// the two is decided inside: the other is not executed. The ids of the page go
	// to the statement that follows in a setting of the transaction: so both travel
	// together, and what the actor reaches is looked for once.
	sqlUnnarrowed = `
    WITH scope AS MATERIALIZED (SELECT s.id FROM evb_actor_scopes($1::uuid, $2::timestamptz) s (id)),
    own AS MATERIALIZED (SELECT DISTINCT a.id, a.aktenzeichen FROM (` + access.OwnOf(`'akte', 'teilakte'`, 1, 2) + `) z
        JOIN akte a ON a.tenant = evb_tenant() AND a.id = z.id AND NOT a.access_scope_id IN (SELECT s.id FROM scope s))
    SELECT CASE WHEN r.reads THEN (SELECT coalesce(sum(c.akten), 0)::bigint FROM akte_count c WHERE c.tenant = evb_tenant())
            ELSE (SELECT coalesce(sum(c.akten), 0)::bigint FROM akte_count c WHERE c.tenant = evb_tenant() AND c.access_scope_id = ANY (ARRAY(SELECT s.id FROM scope s)))
                + (SELECT count(*) FROM own) END,
        set_config('evb.page', CASE WHEN r.reads THEN ARRAY(
            SELECT k.id FROM akte k WHERE k.tenant = evb_tenant() AND (k.aktenzeichen, k.id) > ($3::text, $4::uuid)
            ORDER BY k.aktenzeichen, k.id LIMIT $5)
        ELSE ARRAY(SELECT x.id FROM (
            SELECT y.id, y.aktenzeichen FROM scope s CROSS JOIN LATERAL (
                SELECT k.id, k.aktenzeichen FROM akte k
                WHERE k.tenant = evb_tenant() AND k.access_scope_id = s.id AND (k.aktenzeichen, k.id) > ($3::text, $4::uuid)
                ORDER BY k.aktenzeichen, k.id LIMIT $5) y
            UNION ALL
            SELECT own.id, own.aktenzeichen FROM own WHERE (own.aktenzeichen, own.id) > ($3::text, $4::uuid)) x
            ORDER BY x.aktenzeichen, x.id LIMIT $5) END::text, true) IS NOT NULL
    FROM (SELECT ` + access.ReadsAll(1, 2) + ` AS reads OFFSET 0) r`
	sqlUnnarrowedLines = akte.SQLAkte + `
    WHERE o.tenant = evb_tenant() AND o.id = ANY (nullif(current_setting('evb.page', true), '')::uuid[]) AND ` + access.Sees("o", 1, 2) + `
    ORDER BY k.aktenzeichen, o.id`
	sqlAkten = akte.SQLAkte + `
    WHERE o.tenant = evb_tenant() AND o.id = ANY ($3) AND ` + access.Sees("o", 1, 2) + `
    ORDER BY k.aktenzeichen, o.id`
)

// Akten lists the Akten that the actor sees, by Aktenzeichen. Total is exact.
// Faults: cursor-invalid, limit-invalid.
func (s *Service) Akten(ctx context.Context, a access.Actor, f AktenFilter, cursor string, limit int) (p Page[akte.Akte], err error) {
	limit, err = pageSize(limit)
	if err != nil {
		return p, err
	}
	var after key[string]
	if err := after.read(cursor); err != nil {
		return p, err
	}
	at := s.now()
	if f == (AktenFilter{}) {
		p, err = s.allAkten(ctx, a, at, after, limit+1)
	} else {
		p, err = s.findAkten(ctx, a, at, f, after, limit+1)
	}
	if err != nil {
		return Page[akte.Akte]{}, err
	}
	cut(&p, limit, func(k akte.Akte) string { return key[string]{k.Aktenzeichen, k.ID}.String() })
	return p, nil
}

// allAkten reads the list that nothing narrows in one go.
func (s *Service) allAkten(ctx context.Context, a access.Actor, at time.Time, after key[string], limit int) (p Page[akte.Akte], err error) {
	p.Total = new(int64)
	err = s.db.ReadAtOnce(ctx, a.Tenant, func(b *pgx.Batch) {
		b.Queue(sqlUnnarrowed, a.User, at, after.Sort, after.ID, limit).QueryRow(func(row pgx.Row) error { return row.Scan(p.Total, nil) })
		b.Queue(sqlUnnarrowedLines, a.User, at).Query(func(rows pgx.Rows) (err error) {
			p.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[akte.Akte])
			return err
		})
	})
	return p, err
}

func (s *Service) findAkten(ctx context.Context, a access.Actor, at time.Time, f AktenFilter, after key[string], limit int) (p Page[akte.Akte], err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		all, err := readsAll(ctx, q, a, at)
		if err != nil {
			return err
		}
		sql, args := f.sql(all, filter{args: []any{a.User, at}}, after, limit)
		var total int64
		var ids []uuid.UUID
		if err := q.QueryRow(ctx, sql, args...).Scan(&total, &ids); err != nil {
			return fmt.Errorf("find akten: %w", err)
		}
		p.Total = &total
		rows, err := q.Query(ctx, sqlAkten, a.User, at, ids)
		if err != nil {
			return fmt.Errorf("akten: %w", err)
		}
		p.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[akte.Akte])
		return err
	})
	return p, err
}

func (f AktenFilter) sql(all bool, w filter, after key[string], limit int) (string, []any) {
	from, how := fromAkten(all), "MATERIALIZED"
	if all && f == (AktenFilter{Aktenplaneinheit: f.Aktenplaneinheit}) {
		how = "NOT MATERIALIZED"
	}
	if f.Unit != uuid.Nil || f.Lifecycle != "" {
		from += withObject
	}
	if f.Subject != "" {
		from += withMetadata
	}
	if f.Aktenplaneinheit != uuid.Nil {
		w.and("k.aktenplaneinheit_id = ?", f.Aktenplaneinheit)
	}
	if f.Unit != uuid.Nil {
		w.and("o.unit_id = ?", f.Unit)
	}
	if number := strings.ToUpper(strings.ReplaceAll(f.Aktenzeichen, " ", "")); number != "" {
		w.and("upper(replace(k.aktenzeichen, ' ', '')) LIKE ?", like(number)+"%")
	}
	if f.Subject != "" {
		w.and("m.subject ILIKE ?", "%"+like(f.Subject)+"%")
	}
	if f.Lifecycle != "" {
		w.and("o.lifecycle = ?", string(f.Lifecycle))
	}
	sql := strings.NewReplacer("{how}", how, "{from}", from, "{conds}", w.conds,
		"{sort}", w.arg(after.Sort), "{id}", w.arg(after.ID), "{limit}", w.arg(limit)).Replace(sqlFindAkten)
	return sql, w.args
}
