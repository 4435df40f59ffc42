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
    SELECT k.id, k.created_at, ` + sqlActorColumns + `
    FROM api_token k JOIN app_user u ON u.tenant = k.tenant AND u.id = k.user_id AND u.disabled_at IS NULL
    WHERE k.tenant = evb_tenant() AND k.secret_sha256 = $1 AND k.expires_at > $2 AND k.revoked_at IS NULL`
	sqlActorOf = `
    SELECT ` + sqlActorColumns + `
    FROM app_user u WHERE u.tenant = evb_tenant() AND u.login = $1 AND u.disabled_at IS NULL`
)

// Token is a new API token; RevokeToken takes its ID.
type Token struct {
	ID     uuid.UUID
	Secret string // shown once and never kept
}

// CreateToken makes an API token for a user (ttl 0: no end). Anyone may make
// one for oneself; for others only an administrator.
func (s *Service) CreateToken(ctx context.Context, a access.Actor, userLogin, label string, ttl time.Duration) (Token, error) {
	if userLogin != a.Login {
		if err := administrator(a); err != nil {
			return Token{}, err
		}
	}
	secret, sum, err := newSecret(TokenPrefix)
	if err != nil {
		return Token{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Token{}, err
	}
	now := s.now().UTC()
	var expires *time.Time
	if ttl > 0 {
		e := now.Add(ttl)
		expires = &e
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
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
	return Token{ID: id, Secret: secret}, err
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
func ActorOf(ctx context.Context, q postgres.Querier, tenant access.Tenant, login string, at time.Time) (access.Actor, error) {
	a, err := scanActor(q.QueryRow(ctx, sqlActorOf, login, at))
	if missing(err) {
		return a, fault.New("user-not-found", "user", login)
	}
	a.Tenant, a.Via = tenant, "local"
	return a, err
}
