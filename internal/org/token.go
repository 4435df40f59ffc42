package org

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// TokenPrefix starts every API token, so that scanners for leaked secrets find
// it.
const TokenPrefix = "evb_"

const (
	sqlCreateToken = `
    INSERT INTO api_token (tenant, id, user_id, secret_sha256, label, created_at, created_by, expires_at)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, coalesce($7::timestamptz, 'infinity'))`
	sqlRevokeToken = `
    UPDATE api_token SET revoked_at = $2 WHERE tenant = evb_tenant() AND id = $1 AND revoked_at IS NULL
    AND ($3 OR user_id = $4) RETURNING user_id`
	sqlActorByToken = `
    SELECT k.id, u.id, u.login, u.display_name, k.created_at,
        coalesce((SELECT array_agg(coalesce(m.unit_id, '00000000-0000-0000-0000-000000000000') ORDER BY m.role, m.unit_id) FROM membership m
            WHERE m.tenant = k.tenant AND m.user_id = u.id AND m.valid_from <= $2 AND $2 < m.valid_to), '{}'),
        coalesce((SELECT array_agg(m.role ORDER BY m.role, m.unit_id) FROM membership m
            WHERE m.tenant = k.tenant AND m.user_id = u.id AND m.valid_from <= $2 AND $2 < m.valid_to), '{}')
    FROM api_token k JOIN app_user u ON u.tenant = k.tenant AND u.id = k.user_id AND u.disabled_at IS NULL
    WHERE k.tenant = evb_tenant() AND k.secret_sha256 = $1 AND k.expires_at > $2 AND k.revoked_at IS NULL`
	sqlActorOf = `
    SELECT u.id, u.login, u.display_name,
        coalesce((SELECT array_agg(coalesce(m.unit_id, '00000000-0000-0000-0000-000000000000') ORDER BY m.role, m.unit_id) FROM membership m
            WHERE m.tenant = u.tenant AND m.user_id = u.id AND m.valid_from <= $2 AND $2 < m.valid_to), '{}'),
        coalesce((SELECT array_agg(m.role ORDER BY m.role, m.unit_id) FROM membership m
            WHERE m.tenant = u.tenant AND m.user_id = u.id AND m.valid_from <= $2 AND $2 < m.valid_to), '{}')
    FROM app_user u WHERE u.tenant = evb_tenant() AND u.login = $1 AND u.disabled_at IS NULL`
)

// CreateToken makes an API token for a user (ttl 0: no end). Anyone may make
// one for oneself; for others only an administrator. The secret is shown once
// and never kept.
func (s *Service) CreateToken(ctx context.Context, a access.Actor, userLogin, label string, ttl time.Duration) (secret string, err error) {
	if userLogin != a.Login {
		if err := administrator(a); err != nil {
			return "", err
		}
	}
	return s.createToken(ctx, a, userLogin, label, ttl)
}

// LocalToken makes a token as the local administrator, who has the data folder
// and so needs no other right (`evb token create --data`). tenant 0: the first
// tenant that knows the login.
func (s *Service) LocalToken(ctx context.Context, tenant access.Tenant, userLogin string) (string, error) {
	t, err := s.tenantOfLogin(ctx, tenant, userLogin)
	if err != nil {
		return "", err
	}
	a := access.System(t.ID, t.Slug)
	a.Via = "local"
	return s.createToken(ctx, a, userLogin, "evb token create", 0)
}

func (s *Service) createToken(ctx context.Context, a access.Actor, userLogin, label string, ttl time.Duration) (string, error) {
	secret, sum, err := newSecret(TokenPrefix)
	if err != nil {
		return "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	now := s.now().UTC()
	var expires *time.Time
	if ttl > 0 {
		e := now.Add(ttl)
		expires = &e
	}
	return secret, s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		u, err := UserByLogin(ctx, tx, userLogin)
		if err != nil {
			return err
		}
		if u.DisabledAt != nil || u.ID == access.SystemUser {
			return fault.New("user-not-found", "user", userLogin)
		}
		if _, err := tx.Exec(ctx, sqlCreateToken, id, u.ID, sum, label, now, a.User, expires); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, now, event.Fact{Kind: TokenCreated, SubjectKind: "user", Subject: u.ID, Details: map[string]any{"token_id": id, "label": label}})
	})
}

// RevokeToken ends a token of one's own, or any as an administrator.
func (s *Service) RevokeToken(ctx context.Context, a access.Actor, id uuid.UUID) error {
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		now := s.now().UTC()
		var user uuid.UUID
		err := tx.QueryRow(ctx, sqlRevokeToken, id, now, administrator(a) == nil, a.User).Scan(&user)
		if missing(err) {
			return fault.New("not-found")
		}
		if err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, now, event.Fact{Kind: TokenRevoked, SubjectKind: "user", Subject: user, Details: map[string]any{"token_id": id}})
	})
}

// ActorByToken finds who an API token belongs to. tenant 0: any. Fault:
// unauthenticated, also for expired and revoked tokens and disabled users.
func (s *Service) ActorByToken(ctx context.Context, tenant access.Tenant, secret string) (access.Actor, error) {
	a, _, _, err := s.actor(ctx, tenant, sqlActorByToken, secret, "token:")
	return a, err
}

// ActorOf is a user as an actor without a session: for tests, for the demo and
// for explaining what somebody may see.
func ActorOf(ctx context.Context, q postgres.Querier, t postgres.TenantRow, login string, at time.Time) (access.Actor, error) {
	a := access.Actor{Tenant: t.ID, TenantSlug: t.Slug, Via: "local"}
	var units []uuid.UUID
	var roles []string
	err := q.QueryRow(ctx, sqlActorOf, login, at).Scan(&a.User, &a.Login, &a.DisplayName, &units, &roles)
	if missing(err) {
		return a, fault.New("user-not-found", "user", login)
	}
	for i := range units {
		a.Memberships = append(a.Memberships, access.Membership{Unit: units[i], Role: access.Role(roles[i])})
	}
	return a, err
}
