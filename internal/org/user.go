package org

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// User is a person or a service account.
type User struct {
	ID          uuid.UUID  `json:"id"`
	Login       string     `json:"login"`
	DisplayName string     `json:"display_name"`
	Kind        string     `json:"kind"`
	DisabledAt  *time.Time `json:"disabled_at"`
	RowVersion  int64      `json:"row_version"`
}

// NewUser is what a user begins with.
type NewUser struct {
	Login        string // lower case letters, digits, dot, hyphen
	DisplayName  string
	Service      bool   // a service account: never logs in, has tokens only
	PasswordHash string // of HashPassword; empty: cannot log in
}

const (
	sqlUserByLogin = `
    SELECT id, login, display_name, kind, disabled_at, row_version FROM app_user WHERE tenant = evb_tenant() AND login = $1`
	sqlUserByID = `
    SELECT id, login, display_name, kind, disabled_at, row_version FROM app_user WHERE tenant = evb_tenant() AND id = $1`
	sqlUsers = `
    SELECT id, login, display_name, kind, disabled_at, row_version FROM app_user
    WHERE tenant = evb_tenant() AND disabled_at IS NULL AND id <> $1 ORDER BY login`
	sqlCreateUser = `
    INSERT INTO app_user (tenant, id, login, display_name, kind, password_hash, created_at)
    VALUES (evb_tenant(), $1, $2, $3, $4, nullif($5, ''), $6)
    ON CONFLICT (tenant, login) DO NOTHING`
	sqlAddMembership = `
    INSERT INTO membership (tenant, id, user_id, unit_id, role, valid_from)
    SELECT evb_tenant(), $1, $2, $3, $4, $5
    WHERE NOT EXISTS (SELECT FROM membership m WHERE m.tenant = evb_tenant() AND m.user_id = $2
        AND m.unit_id IS NOT DISTINCT FROM $3 AND m.role = $4 AND m.valid_from <= $5 AND $5 < m.valid_to)`
	sqlEndMembership = `
    UPDATE membership SET valid_to = $4
    WHERE tenant = evb_tenant() AND user_id = $1 AND unit_id IS NOT DISTINCT FROM $2 AND role = $3
      AND valid_from < $4 AND $4 < valid_to`
	sqlSetPassword = `
    UPDATE app_user SET password_hash = $2, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1 AND kind = 'person'`
	sqlDisable = `
    UPDATE app_user SET disabled_at = $2, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1 AND disabled_at IS NULL AND id <> $3`
	sqlEndSessions = `DELETE FROM session WHERE tenant = evb_tenant() AND user_id = $1`
)

// EnsureUser makes the user of a login, or finds it (and changes nothing of
// it), in the caller's transaction.
func (s *Service) EnsureUser(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewUser) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, err
	}
	kind := "person"
	if n.Service {
		kind = "service"
	}
	tag, err := tx.Exec(ctx, sqlCreateUser, id, n.Login, n.DisplayName, kind, n.PasswordHash, at)
	if postgres.Constraint(err) == "app_user_login_check" {
		return uuid.Nil, fault.New("login-invalid", "login", n.Login)
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("user: %w", err)
	}
	if tag.RowsAffected() == 0 {
		u, err := UserByLogin(ctx, tx, n.Login)
		return u.ID, err
	}
	return id, s.log.Append(ctx, tx, a, at, event.Fact{Kind: UserCreated, SubjectKind: "user", Subject: id, Details: map[string]any{"login": n.Login, "kind": kind}})
}

// minPassword is the least number of characters of a password outside the
// demo (BSI ORP.4: long rather than complicated).
const minPassword = 12

func (s *Service) newHash(ctx context.Context, password string) (string, error) {
	switch n := utf8.RuneCountInString(password); {
	case s.demo && password == "demo":
	case n < minPassword:
		return "", fault.New("password-too-short", "least", minPassword)
	case len(password) > 1024:
		return "", fault.New("password-too-long", "most", 1024)
	}
	if err := s.begin(ctx); err != nil {
		return "", err
	}
	defer s.end()
	return HashPassword(password, s.hash)
}

// SetPassword gives a person a new password, by that person or an
// administrator, and ends all sessions of that person.
func (s *Service) SetPassword(ctx context.Context, a access.Actor, user uuid.UUID, password string) error {
	if a.User != user {
		if err := administrator(a); err != nil {
			return err
		}
	}
	hash, err := s.newHash(ctx, password)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlSetPassword, user, hash)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fault.New("user-not-found", "user", user)
		}
		if _, err := tx.Exec(ctx, sqlEndSessions, user); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, s.now(), event.Fact{Kind: PasswordSet, SubjectKind: "user", Subject: user})
	})
}

// DisableUser locks a user out at once: sessions end, tokens no longer work.
func (s *Service) DisableUser(ctx context.Context, a access.Actor, user uuid.UUID) error {
	if err := administrator(a); err != nil {
		return err
	}
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlDisable, user, s.now(), access.SystemUser)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fault.New("user-not-found", "user", user)
		}
		if _, err := tx.Exec(ctx, sqlEndSessions, user); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, s.now(), event.Fact{Kind: UserDisabled, SubjectKind: "user", Subject: user})
	})
}

// EnsureMembership gives a user a role in a unit (nil UUID: in the whole
// tenant) from a moment on, in the caller's transaction. A role that is held
// already is left as it is.
func (s *Service) EnsureMembership(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, user, unit uuid.UUID, role access.Role) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, sqlAddMembership, id, user, ptr(unit), role, at)
	switch postgres.Constraint(err) {
	case "":
	case "membership_tenant_user_id_fkey":
		return fault.New("user-not-found", "user", user)
	case "membership_tenant_unit_id_fkey":
		return fault.New("unit-not-found", "unit", unit)
	case "membership_role_check":
		return fault.New("role-unknown", "role", role)
	}
	if err != nil {
		return fmt.Errorf("membership: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: MembershipGiven, SubjectKind: "user", Subject: user, Details: map[string]any{"unit_id": ptr(unit), "role": role}})
}

// EndMembership ends a role now, as an administrator. It acts with the next
// statement of anybody. Fault: role-not-held.
func (s *Service) EndMembership(ctx context.Context, a access.Actor, user, unit uuid.UUID, role access.Role) error {
	if err := administrator(a); err != nil {
		return err
	}
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		tag, err := tx.Exec(ctx, sqlEndMembership, user, ptr(unit), role, at)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fault.New("role-not-held", "role", role)
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: MembershipEnded, SubjectKind: "user", Subject: user, Details: map[string]any{"unit_id": ptr(unit), "role": role}})
	})
}

// UserByLogin finds a user, or gives the fault user-not-found.
func UserByLogin(ctx context.Context, q postgres.Querier, login string) (User, error) {
	return oneUser(ctx, q, sqlUserByLogin, login)
}

// UserByID finds a user, or gives the fault user-not-found.
func UserByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (User, error) {
	return oneUser(ctx, q, sqlUserByID, id)
}

func oneUser(ctx context.Context, q postgres.Querier, sql string, key any) (User, error) {
	rows, err := q.Query(ctx, sql, key)
	if err != nil {
		return User{}, err
	}
	u, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[User])
	if missing(err) {
		return User{}, fault.New("user-not-found", "user", key)
	}
	return u, err
}

// Users lists the enabled users of the tenant by login, without the system
// user: whom one can forward to is no secret inside a tenant.
func Users(ctx context.Context, q postgres.Querier) ([]User, error) {
	rows, err := q.Query(ctx, sqlUsers, access.SystemUser)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[User])
}
