package org

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

// Unit is an org unit. Its access scope has the same id.
type Unit struct {
	ID         uuid.UUID  `json:"id"`
	Code       string     `json:"code"`
	Name       string     `json:"name"`
	ParentID   *uuid.UUID `json:"parent_id"`
	RowVersion int64      `json:"row_version"`
}

const (
	sqlUnitByCode = `
    SELECT id, code, name, parent_id, row_version FROM org_unit WHERE tenant = evb_tenant() AND code = $1`
	sqlUnits = `
    SELECT id, code, name, parent_id, row_version FROM org_unit
    WHERE tenant = evb_tenant() AND valid_from <= $1 AND $1 < valid_to ORDER BY code`
	sqlCreateUnit = `
    INSERT INTO org_unit (tenant, id, code, name, parent_id, valid_from) VALUES (evb_tenant(), $1, $2, $3, $4, $5)
    ON CONFLICT (tenant, code) DO NOTHING`
)

// EnsureUnit makes the unit of a code, or finds it, in the caller's
// transaction. parent is the nil UUID for a unit at the top. The actor's right
// has been checked by the caller.
func (s *Service) EnsureUnit(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, code, name string, parent uuid.UUID) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, err
	}
	tag, err := tx.Exec(ctx, sqlCreateUnit, id, code, name, ptr(parent), at)
	if postgres.Constraint(err) == "org_unit_tenant_parent_id_fkey" {
		return uuid.Nil, fault.New("unit-not-found", "unit", parent)
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("unit %s: %w", code, err)
	}
	if tag.RowsAffected() == 0 {
		u, err := UnitByCode(ctx, tx, code)
		return u.ID, err
	}
	return id, s.log.Append(ctx, tx, a, at, event.Fact{Kind: UnitCreated, SubjectKind: "unit", Subject: id, Details: map[string]any{"code": code, "name": name}})
}

// UnitByCode finds a unit, or gives the fault unit-not-found.
func UnitByCode(ctx context.Context, q postgres.Querier, code string) (Unit, error) {
	rows, err := q.Query(ctx, sqlUnitByCode, code)
	if err != nil {
		return Unit{}, err
	}
	u, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Unit])
	if missing(err) {
		return Unit{}, fault.New("unit-not-found", "unit", code)
	}
	return u, err
}

// Units lists the units that are valid at a moment, by code. The organisation
// is no secret inside a tenant.
func Units(ctx context.Context, q postgres.Querier, at time.Time) ([]Unit, error) {
	rows, err := q.Query(ctx, sqlUnits, at)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Unit])
}

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
