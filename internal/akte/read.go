package akte

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// SQLAkte are columns and tables of the Akte view, for lists of other
// packages: append a WHERE on o and k and scan with pgx.RowToStructByPos. Who
// sees the Akte sees what shares its scope; what has a scope of its own is not
// counted, so that the number tells of nothing hidden.
const SQLAkte = `
    SELECT o.id, k.aktenzeichen, coalesce(m.subject, ''), coalesce(m.remark, ''), k.type, e.id, e.code, e.title, o.unit_id, coalesce(u.code, ''),
        o.lifecycle, k.medium, k.paper_location, o.protection_class, k.period_from, k.period_to, k.closed_on, k.retention_years,
        coalesce(k.disposal_type, ''), k.retention_end, k.transfer_due, o.created_at, o.changed_at, o.row_version, n.vorgaenge, n.open
    FROM record_object o
    JOIN akte k ON k.tenant = o.tenant AND k.id = o.id
    JOIN aktenplaneinheit e ON e.tenant = k.tenant AND e.id = k.aktenplaneinheit_id
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    LEFT JOIN org_unit u ON u.tenant = o.tenant AND u.id = o.unit_id
    LEFT JOIN LATERAL (SELECT count(*)::int AS vorgaenge, (count(*) FILTER (WHERE vo.lifecycle = 'open'))::int AS open
        FROM record_object vo
        WHERE vo.tenant = k.tenant AND vo.parent_id = k.id AND vo.kind = 'vorgang' AND vo.access_scope_id = o.access_scope_id) n ON true`

// SQLVorgang are columns and tables of the Vorgang view; see SQLAkte.
const SQLVorgang = `
    SELECT o.id, v.akte_id, k.aktenzeichen, v.reference, v.number, coalesce(m.subject, ''), coalesce(m.remark, ''), v.type, o.unit_id,
        coalesce(u.code, ''), o.lifecycle, v.medium, v.paper_location, v.automation_level, v.period_from, v.period_to, v.closed_on, v.retention_years,
        coalesce(v.disposal_type, ''), v.retention_end, v.transfer_due, o.created_at, o.changed_at, o.row_version, n.dokumente
    FROM record_object o
    JOIN vorgang v ON v.tenant = o.tenant AND v.id = o.id
    JOIN akte k ON k.tenant = v.tenant AND k.id = v.akte_id
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    LEFT JOIN org_unit u ON u.tenant = o.tenant AND u.id = o.unit_id
    LEFT JOIN LATERAL (SELECT count(*)::int AS dokumente FROM record_object d
        WHERE d.tenant = v.tenant AND d.parent_id = v.id AND d.kind = 'dokument' AND d.access_scope_id = o.access_scope_id) n ON true`

// SQLEinheit are columns and tables of the Aktenplaneinheit view; see SQLAkte.
const SQLEinheit = `
    SELECT e.id, e.aktenplan_id, e.parent_id, e.code, e.title, e.short_title, e.unit_id, coalesce(u.code, ''), e.retention_years, e.disposal_type,
        e.transfer_years, e.closed, e.protection_class, e.valid_from, CASE WHEN e.valid_to < 'infinity' THEN e.valid_to END, e.row_version
    FROM aktenplaneinheit e LEFT JOIN org_unit u ON u.tenant = e.tenant AND u.id = e.unit_id`

const (
	sqlAkteByID = SQLAkte + `
    WHERE o.tenant = evb_tenant() AND o.id = $1`
	sqlVorgangByID = SQLVorgang + `
    WHERE o.tenant = evb_tenant() AND o.id = $1`
	sqlEinheitByID = SQLEinheit + `
    WHERE e.tenant = evb_tenant() AND e.id = $1`
)

var (
	sqlAkteSeen    = sqlAkteByID + ` AND ` + access.Sees("o", 2, 3)
	sqlVorgangSeen = sqlVorgangByID + ` AND ` + access.Sees("o", 2, 3)
)

// AkteByID gives an Akte without asking for rights, or the fault not-found.
func AkteByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (Akte, error) {
	return one[Akte](ctx, q, sqlAkteByID, id)
}

// VorgangByID gives a Vorgang without asking for rights, or the fault
// not-found.
func VorgangByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (Vorgang, error) {
	return one[Vorgang](ctx, q, sqlVorgangByID, id)
}

// Akte gives an Akte if the actor sees it, else the fault not-found.
func (s *Service) Akte(ctx context.Context, a access.Actor, id uuid.UUID) (k Akte, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		k, err = one[Akte](ctx, q, sqlAkteSeen, id, a.User, s.now())
		return err
	})
	return k, err
}

// Vorgang gives a Vorgang if the actor sees it, else the fault not-found.
func (s *Service) Vorgang(ctx context.Context, a access.Actor, id uuid.UUID) (v Vorgang, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		v, err = one[Vorgang](ctx, q, sqlVorgangSeen, id, a.User, s.now())
		return err
	})
	return v, err
}

// Aktenplaneinheit gives a node of the Aktenplan, which everybody in the tenant
// may read, or the fault not-found.
func (s *Service) Aktenplaneinheit(ctx context.Context, a access.Actor, id uuid.UUID) (e Aktenplaneinheit, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		e, err = one[Aktenplaneinheit](ctx, q, sqlEinheitByID, id)
		return err
	})
	return e, err
}

func one[T any](ctx context.Context, q postgres.Querier, sql string, args ...any) (T, error) {
	var zero T
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return zero, fmt.Errorf("%T: %w", zero, err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[T])
	if missing(err) {
		return zero, fault.New("not-found")
	}
	if err != nil {
		return zero, fmt.Errorf("%T: %w", zero, err)
	}
	return v, nil
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}

const sqlProtected = `SELECT evb_protected(o.protection_class, o.access_scope_id) FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $1`

// Protected says that a record object is closed to everybody who is not named
// (decisions 3.3): who looks at its content is written down. One that is not
// there is not protected. No right is asked for.
func Protected(ctx context.Context, q postgres.Querier, id uuid.UUID) (yes bool, err error) {
	if err = q.QueryRow(ctx, sqlProtected, id).Scan(&yes); missing(err) {
		return false, nil
	}
	return yes, err
}
