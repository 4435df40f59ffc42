package circulation

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// Setting is what a unit decides about the circulations of its matters.
type Setting struct {
	Unit uuid.UUID
	// Uphold: the final signer may uphold agreements over a new version.
	Uphold     bool
	ChangedAt  *time.Time // nil: never set
	RowVersion int64      // 1 for what was never set
}

const (
	sqlSetting = `
    SELECT coalesce(g.uphold, false), g.changed_at, coalesce(g.row_version, 1)
    FROM org_unit u LEFT JOIN circulation_setting g ON g.tenant = u.tenant AND g.unit_id = u.id
    WHERE u.tenant = evb_tenant() AND u.id = $1`
	sqlSetSetting = `
    INSERT INTO circulation_setting AS c (tenant, unit_id, uphold, changed_at, changed_by, row_version) VALUES (evb_tenant(), $1, $2, $3, $4, 2)
    ON CONFLICT (tenant, unit_id) DO UPDATE SET uphold = EXCLUDED.uphold, changed_at = EXCLUDED.changed_at, changed_by = EXCLUDED.changed_by, row_version = c.row_version + 1
    WHERE $5::bigint = 0 OR c.row_version = $5
    RETURNING row_version`
)

func settingOf(ctx context.Context, q postgres.Querier, unit *uuid.UUID) (s Setting, err error) {
	s = Setting{Unit: deref(unit), RowVersion: 1}
	if unit == nil {
		return s, nil
	}
	err = q.QueryRow(ctx, sqlSetting, *unit).Scan(&s.Uphold, &s.ChangedAt, &s.RowVersion)
	if missing(err) {
		return s, fault.New("unit-not-found", "unit", *unit)
	}
	if err != nil {
		return s, fmt.Errorf("setting of a unit: %w", err)
	}
	return s, nil
}

// Setting gives what a unit has decided, which is no secret in the tenant.
// Fault: unit-not-found.
func (s *Service) Setting(ctx context.Context, a access.Actor, unit uuid.UUID) (out Setting, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = settingOf(ctx, q, &unit)
		return err
	})
	return out, err
}

// SetSetting decides for a unit, by its head or an administrator. ifVersion 0
// takes any. Faults: unit-not-found, forbidden, stale-version.
func (s *Service) SetSetting(ctx context.Context, a access.Actor, unit uuid.UUID, uphold bool, ifVersion int64) (out Setting, err error) {
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		before, err := settingOf(ctx, tx, &unit)
		switch {
		case err != nil:
			return err
		case !a.HasIn(unit, access.Head) && !a.Has(access.Administrator):
			return fault.New("forbidden")
		case ifVersion != 0 && before.RowVersion != ifVersion:
			return fault.New("stale-version")
		}
		out = Setting{Unit: unit, Uphold: uphold, ChangedAt: &at}
		err = tx.QueryRow(ctx, sqlSetSetting, unit, uphold, at, a.User, ifVersion).Scan(&out.RowVersion)
		if missing(err) {
			return fault.New("stale-version")
		}
		if err != nil {
			return fmt.Errorf("set the setting of a unit: %w", err)
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: SettingChanged, SubjectKind: "unit", Subject: unit, Details: map[string]any{"uphold": uphold}})
	})
	return out, err
}
