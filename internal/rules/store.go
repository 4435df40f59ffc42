package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/postgres"
)

const (
	sqlVersion = `
    SELECT v.id, v.version, v.state, v.content, coalesce(s.unit_id, '00000000-0000-0000-0000-000000000000'), coalesce(u.code, ''), v.reason, coalesce(v.restores, 0),
        v.findings, v.created_at, v.created_by, c.display_name, v.checked_at, v.activated_at, coalesce(a.display_name, ''), v.retired_at, v.row_version
    FROM rule_set_version v
    JOIN rule_set s ON s.tenant = v.tenant AND s.name = v.name
    JOIN app_user c ON c.tenant = v.tenant AND c.id = v.created_by
    LEFT JOIN org_unit u ON u.tenant = s.tenant AND u.id = s.unit_id
    LEFT JOIN app_user a ON a.tenant = v.tenant AND a.id = v.activated_by
    WHERE v.tenant = evb_tenant()`
	sqlByID     = sqlVersion + ` AND v.id = $1`
	sqlByNumber = sqlVersion + ` AND v.name = $1 AND v.version = $2`
	sqlOfName   = sqlVersion + ` AND v.name = $1 ORDER BY v.version DESC`
	sqlActive   = sqlVersion + ` AND v.state = 'active' ORDER BY v.name`
	sqlOpen     = sqlVersion + ` AND v.state IN ('draft', 'checked') ORDER BY v.id LIMIT 1000`
	// The sets that count are asked for at every Dokument; their text is read when
	// a version is new to this process.
	sqlActiveIDs = `
    SELECT id FROM rule_set_version WHERE tenant = evb_tenant() AND state = 'active' ORDER BY name`
	sqlByIDs = sqlVersion + ` AND v.id = ANY ($1)`

	sqlLockSet   = `SELECT pg_advisory_xact_lock(hashtextextended('evb.rule_set ' || $1, evb_tenant()))`
	sqlSet       = `SELECT coalesce(unit_id, '00000000-0000-0000-0000-000000000000') FROM rule_set WHERE tenant = evb_tenant() AND name = $1`
	sqlInsertSet = `
    INSERT INTO rule_set (tenant, name, unit_id, created_at, created_by) VALUES (evb_tenant(), $1, $2, $3, $4)`
	sqlInsertVersion = `
    INSERT INTO rule_set_version (tenant, id, name, version, state, content, findings, restores, installed, reason, created_at, created_by, checked_at, activated_at, activated_by)
    SELECT evb_tenant(), $1::uuid, $2::text, coalesce(max(version), 0) + 1, $3::text, $4::jsonb, $5::jsonb, nullif($6::integer, 0), $7::boolean, $8::text,
        $9::timestamptz, $10::uuid, $11::timestamptz, $12::timestamptz, $13::uuid
    FROM rule_set_version WHERE tenant = evb_tenant() AND name = $2
    RETURNING version`
	sqlSetChecked = `
    UPDATE rule_set_version SET state = CASE WHEN state IN ('draft', 'checked') THEN $2 ELSE state END, findings = $3, checked_at = $4, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`
	sqlActivate = `
    UPDATE rule_set_version SET state = 'active', activated_at = $2, activated_by = $3, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1 AND state = 'checked'`
	sqlRetire = `
    UPDATE rule_set_version SET state = 'retired', retired_at = $2, retired_by = $3, reason = CASE WHEN $4::text = '' THEN reason ELSE $4 END, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND name = $1 AND state = 'active' RETURNING id, version`
)

func scanVersion(r pgx.CollectableRow) (v Version, err error) {
	var content, findings []byte
	var unit string
	if err = r.Scan(&v.ID, &v.Number, &v.State, &content, &v.UnitID, &unit, &v.Reason, &v.Restore, &findings, &v.CreatedAt, &v.CreatedBy, &v.CreatedName,
		&v.CheckedAt, &v.ActivatedAt, &v.ActivatedBy, &v.RetiredAt, &v.RowVersion); err != nil {
		return v, err
	}
	if err := errors.Join(json.Unmarshal(content, &v.Set), json.Unmarshal(findings, &v.Findings)); err != nil {
		return v, fmt.Errorf("rule set %s: %w", v.ID, err)
	}
	v.Set.Unit = unit // a unit may get another code; it stays the same unit
	return v, nil
}

func versions(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]Version, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("rule sets: %w", err)
	}
	return pgx.CollectRows(rows, scanVersion)
}

func one(ctx context.Context, q postgres.Querier, sql string, args ...any) (Version, error) {
	all, err := versions(ctx, q, sql, args...)
	if err == nil && len(all) == 0 {
		err = fault.New("not-found")
	}
	if err != nil {
		return Version{}, err
	}
	return all[0], nil
}

// insert writes a version; the caller holds the lock of the name.
func insert(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, v *Version, installed bool) error {
	var unit uuid.UUID
	err := tx.QueryRow(ctx, sqlSet, v.Set.Name).Scan(&unit)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		if _, err := tx.Exec(ctx, sqlInsertSet, v.Set.Name, idOrNil(v.UnitID), at, a.User); err != nil {
			return fmt.Errorf("rule set: %w", err)
		}
	case err != nil:
		return fmt.Errorf("rule set: %w", err)
	case unit != v.UnitID:
		return fault.New("rules-name-taken", "name", v.Set.Name)
	}
	content, err := json.Marshal(v.Set)
	if err != nil {
		return err
	}
	findings, err := json.Marshal(append([]Finding{}, v.Findings...))
	if err != nil {
		return err
	}
	if v.ID, err = uuid.NewV7(); err != nil {
		return err
	}
	var by *uuid.UUID
	if v.ActivatedAt != nil {
		by = &a.User
	}
	err = tx.QueryRow(ctx, sqlInsertVersion, v.ID, v.Set.Name, v.State, string(content), string(findings), v.Restore, installed, v.Reason,
		at, a.User, v.CheckedAt, v.ActivatedAt, by).Scan(&v.Number)
	if err != nil {
		return fmt.Errorf("rule set version: %w", err)
	}
	return nil
}

func idOrNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

const (
	sqlUnitCodes = `
    SELECT code FROM org_unit WHERE tenant = evb_tenant() AND code = ANY ($1)`
	// Postkörbe and people are read by a join: a set names them by what people call
	// them, and whether there is a head is a question to both.
	sqlBoxes = `
    SELECT p.name, p.kind = 'personal', p.unit_id IS NOT NULL AND EXISTS (SELECT FROM evb_unit_heads(p.unit_id, $2))
    FROM postkorb p WHERE p.tenant = evb_tenant() AND p.closed_at IS NULL AND p.name = ANY ($1)`
	sqlLogins = `
    SELECT login FROM app_user WHERE tenant = evb_tenant() AND disabled_at IS NULL AND login = ANY ($1)`
)

// namesOf reads what the tenant has of what a set names.
func (s *Service) namesOf(ctx context.Context, q postgres.Querier, set Set) (*Names, error) {
	n := &Names{Postkoerbe: map[string]Box{}, Circulation: s.o.StartCirculation != nil, Process: s.o.StartProcess != nil}
	var err error
	if n.Units, err = present(ctx, q, sqlUnitCodes, []string{set.Unit}); err != nil {
		return nil, err
	}
	if n.People, err = present(ctx, q, sqlLogins, set.People()); err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, sqlBoxes, set.Postkoerbe(), s.now())
	if err != nil {
		return nil, fmt.Errorf("postkörbe of rules: %w", err)
	}
	var name string
	var box Box
	if _, err := pgx.ForEachRow(rows, []any{&name, &box.Personal, &box.HasHead}, func() error {
		n.Postkoerbe[name] = box
		return nil
	}); err != nil {
		return nil, fmt.Errorf("postkörbe of rules: %w", err)
	}
	var akten []string
	for _, r := range set.Rules {
		if r.Target.Akte != "" && r.Target.Akte != OfDokument {
			akten = append(akten, r.Target.Akte)
		}
	}
	if len(akten) > 0 {
		patterns, err := akte.Patterns(ctx, q)
		if err != nil {
			return nil, err
		}
		if n.Akten, err = akte.ResolveAll(ctx, q, patterns, akten); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func present(ctx context.Context, q postgres.Querier, sql string, keys []string) (map[string]bool, error) {
	out := map[string]bool{}
	rows, err := q.Query(ctx, sql, keys)
	if err != nil {
		return nil, fmt.Errorf("names of rules: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, k := range found {
		out[k] = true
	}
	return out, err
}
