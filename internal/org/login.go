package org

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// touchEvery is how often a session in use is written at most: not with each
// request, but well within its idle time.
const touchEvery = time.Minute

// Slow-down of guessing: freeTries failures cost nothing, then the wait
// doubles from one second up to maxWait. After forget without a try the count
// starts again, and the next login removes what is left of it.
const (
	freeTries = 5
	maxWait   = 15 * time.Minute
	forget    = 24 * time.Hour
)

const (
	// The try is counted before the password is looked at; the row lock puts
	// parallel tries in line. No row back: it has to wait.
	sqlTry = `
    INSERT INTO login_attempt AS l (tenant, login, failures, last_at) VALUES (evb_tenant(), $1, 1, $2)
    ON CONFLICT (tenant, login) DO UPDATE
        SET failures = CASE WHEN l.last_at < $2 - $3::interval THEN 1 ELSE l.failures + 1 END, last_at = $2
        WHERE l.failures < $4 OR l.last_at < $2 - $3::interval
            OR l.last_at + least($5::interval, make_interval(secs => 2 ^ least(l.failures - $4, 20))) <= $2
    RETURNING failures`
	sqlWait = `
    SELECT greatest(1, ceil(extract(epoch FROM last_at + least($2::interval, make_interval(secs => 2 ^ least(failures - $3, 20))) - $4)))::int
    FROM login_attempt WHERE tenant = evb_tenant() AND login = $1`
	sqlForgive = `
    DELETE FROM login_attempt WHERE tenant = evb_tenant() AND (login = $1 OR last_at < $2::timestamptz - $3::interval)`
	sqlPasswordHash = `
    SELECT id, password_hash FROM app_user
    WHERE tenant = evb_tenant() AND login = $1 AND kind = 'person' AND disabled_at IS NULL AND password_hash IS NOT NULL`
	sqlKnowsLogin = `SELECT EXISTS (SELECT FROM app_user WHERE tenant = evb_tenant() AND login = $1)`
	// The lock puts it in line with whoever changes the password: the session of
	// a password that is gone by now would outlive it.
	sqlCreateSession = `
    INSERT INTO session (tenant, id, user_id, secret_sha256, created_at, seen_at, expires_at)
    SELECT evb_tenant(), $1, u.id, $3, $4, $4, $5 FROM app_user u
    WHERE u.tenant = evb_tenant() AND u.id = $2 AND u.password_hash = $6 AND u.disabled_at IS NULL FOR SHARE`
	sqlExpireSessions = `DELETE FROM session WHERE tenant = evb_tenant() AND expires_at < $1`
	sqlActorBySession = `
    SELECT s.id, s.seen_at, ` + sqlActorColumns + `
    FROM session s JOIN app_user u ON u.tenant = s.tenant AND u.id = s.user_id AND u.disabled_at IS NULL
    WHERE s.tenant = evb_tenant() AND s.secret_sha256 = $1 AND s.expires_at > $2`
	sqlTouchSession = `
    UPDATE session SET seen_at = $2, expires_at = least($3, created_at + $4::interval) WHERE tenant = evb_tenant() AND id = $1 AND seen_at < $2`
	sqlEndSession = `
    DELETE FROM session s USING app_user u
    WHERE s.tenant = evb_tenant() AND s.secret_sha256 = $1 AND u.tenant = s.tenant AND u.id = s.user_id
    RETURNING s.id, u.id, u.login`
)

func (s *Service) begin(ctx context.Context) error {
	select {
	case s.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) end() { <-s.work }

// Login checks a password and starts a session; the secret goes into the
// cookie. tenant 0 means: the first tenant that knows the login. Faults:
// login-failed (also for unknown, disabled and service users),
// login-slowed, demo-password.
func (s *Service) Login(ctx context.Context, tenant access.Tenant, login, password string) (secret string, err error) {
	login = strings.ToLower(strings.TrimSpace(login))
	t, err := s.tenantOfLogin(ctx, tenant, login)
	if err != nil {
		return "", err
	}
	if len(login) > 63 || len(password) > 1024 {
		return "", fault.New("login-failed")
	}
	now := s.now().UTC()
	var user uuid.UUID
	var hash string
	err = s.db.InTx(ctx, t, func(tx pgx.Tx) error {
		var failures int
		err := tx.QueryRow(ctx, sqlTry, login, now, forget, freeTries, maxWait).Scan(&failures)
		if errors.Is(err, pgx.ErrNoRows) {
			var seconds int
			if err := tx.QueryRow(ctx, sqlWait, login, maxWait, freeTries, now).Scan(&seconds); err != nil {
				return err
			}
			return fault.New("login-slowed", "seconds", seconds)
		}
		if err != nil {
			return fmt.Errorf("count login: %w", err)
		}
		err = tx.QueryRow(ctx, sqlPasswordHash, login).Scan(&user, &hash)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // the try stays counted, also for a login that is not there
		}
		return err
	})
	if err != nil {
		return "", err
	}
	ok, err := s.compare(ctx, password, hash)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "", fault.New("login-failed")
	case password == "demo" && !s.demo:
		return "", fault.New("demo-password")
	}
	secret, digest, err := newSecret("")
	if err != nil {
		return "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	a := access.Actor{Tenant: t, User: user, Login: login, Via: "session:" + id.String()}
	return secret, s.db.InTx(ctx, t, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlForgive, login, now, forget); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlExpireSessions, now); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, sqlCreateSession, id, user, digest, now, now.Add(min(s.idle, s.lifetime)), hash)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 { // changed or disabled while we looked at it
			return fault.New("login-failed")
		}
		return s.log.Append(ctx, tx, a, now, event.Fact{Kind: SessionStarted, SubjectKind: "user", Subject: user})
	})
}

// compare runs argon2 in any case, so that the time says nothing about whether
// the login exists.
func (s *Service) compare(ctx context.Context, password, hash string) (bool, error) {
	if err := s.begin(ctx); err != nil {
		return false, err
	}
	defer s.end()
	if hash == "" {
		_, err := HashPassword(password, s.hash)
		return false, err
	}
	return checkPassword(password, hash)
}

// tenantOfLogin is the tenant, or where that is 0 the first one that knows the
// login, else the first one.
func (s *Service) tenantOfLogin(ctx context.Context, tenant access.Tenant, login string) (access.Tenant, error) {
	list, err := s.candidates(ctx, tenant)
	if err != nil {
		return 0, err
	}
	if len(list) == 0 {
		return 0, fault.New("no-tenant")
	}
	if len(list) == 1 {
		return list[0], nil
	}
	for _, t := range list {
		var knows bool
		err := s.db.Read(ctx, t, func(q postgres.Querier) error { return q.QueryRow(ctx, sqlKnowsLogin, login).Scan(&knows) })
		if err != nil {
			return 0, err
		}
		if knows {
			return t, nil
		}
	}
	return list[0], nil
}

// Logout ends the session of the secret. An unknown secret is no error.
func (s *Service) Logout(ctx context.Context, tenant access.Tenant, secret string) error {
	list, err := s.candidates(ctx, tenant)
	if err != nil {
		return err
	}
	for _, t := range list {
		err := s.db.InTx(ctx, t, func(tx pgx.Tx) error {
			a := access.Actor{Tenant: t}
			var id uuid.UUID
			err := tx.QueryRow(ctx, sqlEndSession, digest(secret)).Scan(&id, &a.User, &a.Login)
			if missing(err) {
				return nil
			}
			if err != nil {
				return err
			}
			a.Via = "session:" + id.String()
			return s.log.Append(ctx, tx, a, s.now(), event.Fact{Kind: SessionEnded, SubjectKind: "user", Subject: a.User})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ActorBySession finds who a session cookie belongs to and prolongs the
// session. tenant 0: any. Fault: unauthenticated.
func (s *Service) ActorBySession(ctx context.Context, tenant access.Tenant, secret string) (access.Actor, error) {
	now := s.now().UTC()
	a, id, seen, err := s.actor(ctx, tenant, sqlActorBySession, secret, "session:")
	if err != nil || now.Sub(seen) < min(touchEvery, s.idle/4) {
		return a, err
	}
	return a, s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlTouchSession, id, now, now.Add(s.idle), s.lifetime)
		return err
	})
}

// actor looks a secret up by its digest in one tenant or in all.
func (s *Service) actor(ctx context.Context, tenant access.Tenant, sql, secret, via string) (a access.Actor, id uuid.UUID, seen time.Time, err error) {
	if secret == "" || len(secret) > 200 {
		return a, id, seen, fault.New("unauthenticated")
	}
	list, err := s.candidates(ctx, tenant)
	if err != nil {
		return a, id, seen, err
	}
	for _, t := range list {
		err = s.db.ReadAtOnce(ctx, t, func(b *pgx.Batch) {
			b.Queue(sql, digest(secret), s.now().UTC()).QueryRow(func(row pgx.Row) (err error) {
				a, err = scanActor(row, &id, &seen)
				return err
			})
		})
		if !missing(err) {
			a.Tenant, a.Via = t, via+id.String()
			return a, id, seen, err
		}
	}
	return access.Actor{}, id, seen, fault.New("unauthenticated")
}

// sqlActorColumns are what scanActor reads, of a user u at the moment $2.
const sqlActorColumns = `u.id, u.login, u.display_name, (SELECT t.slug FROM tenant t WHERE t.id = u.tenant),
        coalesce((SELECT array_agg(coalesce(m.unit_id, '00000000-0000-0000-0000-000000000000') ORDER BY m.role, m.unit_id) FROM membership m
            WHERE m.tenant = u.tenant AND m.user_id = u.id AND m.valid_from <= $2 AND $2 < m.valid_to), '{}'),
        coalesce((SELECT array_agg(m.role ORDER BY m.role, m.unit_id) FROM membership m
            WHERE m.tenant = u.tenant AND m.user_id = u.id AND m.valid_from <= $2 AND $2 < m.valid_to), '{}'),
        EXISTS (SELECT FROM substitution b WHERE b.tenant = u.tenant AND b.deputy_id = u.id AND b.valid_from <= $2 AND $2 < b.valid_to
            AND (b.ended_at IS NULL OR $2 < b.ended_at))`

// scanActor reads who it is and the roles; before are the columns before them.
func scanActor(row pgx.Row, before ...any) (a access.Actor, err error) {
	var units []uuid.UUID
	var roles []string
	if err := row.Scan(append(before, &a.User, &a.Login, &a.DisplayName, &a.TenantSlug, &units, &roles, &a.Deputy)...); err != nil {
		return a, err
	}
	for i := range units {
		a.Memberships = append(a.Memberships, access.Membership{Unit: units[i], Role: access.Role(roles[i])})
	}
	return a, nil
}

func newSecret(prefix string) (secret string, sum []byte, err error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", nil, err
	}
	secret = prefix + base64.RawURLEncoding.EncodeToString(b)
	return secret, digest(secret), nil
}

func digest(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}
