package akte

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
)

// Einheit is what EnsureAktenplaneinheit makes.
type Einheit struct {
	Code, Title, ShortTitle string
	Parent                  uuid.UUID // nil UUID: main group
	Unit                    uuid.UUID // nil UUID: none, then it holds no Akten
	RetentionYears          int       // negative: unlimited
	DisposalType            string    // A, B or V
	ProtectionClass         string
	ValidFrom               time.Time // zero: today
}

const (
	sqlEnsureAktenplan = `
    INSERT INTO aktenplan (tenant, id, version, title, valid_from) VALUES (evb_tenant(), $1, $2, $3, $4) ON CONFLICT (tenant, version) DO NOTHING`
	sqlAktenplanID   = `SELECT id FROM aktenplan WHERE tenant = evb_tenant() AND version = $1`
	sqlEnsureEinheit = `
    INSERT INTO aktenplaneinheit (tenant, id, aktenplan_id, parent_id, code, title, short_title, unit_id, retention_years, disposal_type, protection_class, valid_from)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (tenant, aktenplan_id, code) DO NOTHING`
	sqlEinheitID     = `SELECT id FROM aktenplaneinheit WHERE tenant = evb_tenant() AND aktenplan_id = $1 AND code = $2`
	sqlEnsurePattern = `
    INSERT INTO number_pattern (tenant, id, prefix, digits, unit_id, aktenplaneinheit_id) VALUES (evb_tenant(), $1, $2, $3, $4, $5)
    ON CONFLICT (tenant, prefix) DO NOTHING`
	sqlPatternID = `SELECT id FROM number_pattern WHERE tenant = evb_tenant() AND prefix = $1`
)

// EnsureAktenplan makes the Aktenplan of a version, or finds it. Like the
// other Ensure functions it is for the administrator and the demo: the caller
// has asked for the right, and nothing of what is there is changed.
func (s *Service) EnsureAktenplan(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, version int, title string, validFrom time.Time) (uuid.UUID, error) {
	id, err := newID()
	if err != nil {
		return uuid.Nil, err
	}
	return s.ensure(ctx, tx, a, at, id, sqlEnsureAktenplan, []any{id, version, title, validFrom}, sqlAktenplanID, []any{version},
		event.Fact{Kind: AktenplanCreated, SubjectKind: "aktenplan", Subject: id, Details: map[string]any{"version": version, "title": title}})
}

// EnsureAktenplaneinheit makes the node of a code, or finds it.
func (s *Service) EnsureAktenplaneinheit(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, aktenplan uuid.UUID, e Einheit) (uuid.UUID, error) {
	id, err := newID()
	if err != nil {
		return uuid.Nil, err
	}
	var years *int
	if e.RetentionYears >= 0 {
		years = &e.RetentionYears
	}
	if e.ValidFrom.IsZero() {
		e.ValidFrom = at
	}
	return s.ensure(ctx, tx, a, at, id, sqlEnsureEinheit,
		[]any{id, aktenplan, ptr(e.Parent), e.Code, e.Title, e.ShortTitle, ptr(e.Unit), years, e.DisposalType, e.ProtectionClass, e.ValidFrom},
		sqlEinheitID, []any{aktenplan, e.Code},
		event.Fact{Kind: EinheitCreated, SubjectKind: "aktenplaneinheit", Subject: id, Details: map[string]any{"code": e.Code, "title": e.Title}})
}

// EnsurePattern makes the number pattern of a prefix, or finds it. The running
// number has the given digits.
func (s *Service) EnsurePattern(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, prefix string, digits int, unit, einheit uuid.UUID) (uuid.UUID, error) {
	id, err := newID()
	if err != nil {
		return uuid.Nil, err
	}
	return s.ensure(ctx, tx, a, at, id, sqlEnsurePattern, []any{id, prefix, digits, unit, einheit}, sqlPatternID, []any{prefix},
		event.Fact{Kind: PatternCreated, SubjectKind: "number_pattern", Subject: id, Details: map[string]any{"prefix": prefix, "digits": digits, "unit_id": unit}})
}

func (s *Service) ensure(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, insert string, args []any, find string, key []any, f event.Fact) (uuid.UUID, error) {
	tag, err := tx.Exec(ctx, insert, args...)
	if err != nil {
		return uuid.Nil, fmt.Errorf("%s: %w", f.Kind, err)
	}
	if tag.RowsAffected() == 0 {
		err := tx.QueryRow(ctx, find, key...).Scan(&id)
		return id, err
	}
	return id, s.log.Append(ctx, tx, a, at, f)
}

// EnsureAkte makes the Akte of a given Aktenzeichen, or finds it.
func (s *Service) EnsureAkte(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewAkte) (uuid.UUID, error) {
	if n.Aktenzeichen == "" {
		return uuid.Nil, fault.New("aktenzeichen-malformed", "aktenzeichen", "")
	}
	number, err := Resolve(ctx, tx, n.Aktenzeichen)
	if err != nil {
		return uuid.Nil, err
	}
	if number.State == Known {
		return number.AkteID, nil
	}
	return s.CreateAkteIn(ctx, tx, a, at, n)
}

const sqlEnsureNamed = `
    INSERT INTO access_grant (tenant, id, scope_id, user_id, access, reason, valid_from)
    SELECT evb_tenant(), $1, s.id, $3, 'write', $4, $5 FROM access_scope s
    WHERE s.tenant = evb_tenant() AND s.id = $2 AND s.kind = 'object'
      AND NOT EXISTS (SELECT FROM access_grant g WHERE g.tenant = s.tenant AND g.scope_id = s.id AND g.user_id = $3 AND g.access = 'write'
        AND g.valid_from <= $5 AND $5 < g.valid_to)`

// EnsureNamed names a person for a protected Akte: from at on the person reads
// and changes it and all that lies in it (decisions 3.3). An Akte whose rights
// are those of its unit needs no names, and gets none.
func (s *Service) EnsureNamed(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, akte, user uuid.UUID, reason string) error {
	id, err := newID()
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, sqlEnsureNamed, id, akte, user, reason, at)
	if err != nil {
		return fmt.Errorf("%s: %w", AkteNamed, err)
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: AkteNamed, Record: akte, Reason: reason, Details: map[string]any{"user_id": user, "access": "write"}})
}
