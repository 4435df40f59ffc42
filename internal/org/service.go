package org

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// Facts of this package.
const (
	UnitCreated     event.Kind = "org.unit_created"
	UserCreated     event.Kind = "org.user_created"
	UserDisabled    event.Kind = "org.user_disabled"
	PasswordSet     event.Kind = "org.password_set"
	MembershipGiven event.Kind = "org.membership_given"
	MembershipEnded event.Kind = "org.membership_ended"
	TokenCreated    event.Kind = "org.token_created"
	TokenRevoked    event.Kind = "org.token_revoked"
	SessionStarted  event.Kind = "org.session_started"
	SessionEnded    event.Kind = "org.session_ended"
)

// Options of New.
type Options struct {
	Now  func() time.Time // nil: time.Now
	Hash HashParams       // zero: DefaultHash
	// Demo allows the password "demo" (contract 3); without it such a login is
	// refused even if the hash matches.
	Demo bool
	// SessionIdle ends a session without requests, SessionLifetime any; 0: one
	// hour and twelve.
	SessionIdle, SessionLifetime time.Duration
	// Tenant is the slug of the tenant meant by a host name that no tenant has;
	// empty: the only one there is.
	Tenant string
}

// Service holds the use cases. Safe for concurrent use.
type Service struct {
	db   *postgres.DB
	log  *event.Log
	now  func() time.Time
	hash HashParams
	demo bool
	// idle and lifetime bound a session; tenant is that of unknown host names.
	idle, lifetime time.Duration
	tenant         string
	// work bounds how many argon2 computations run at once: each takes its
	// memory (64 MiB), and logins of a morning come together.
	work  chan struct{}
	known tenants // for TenantByHost
}

// New makes the service. facts go to log, of which the flow may be empty.
func New(db *postgres.DB, log *event.Log, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Hash == (HashParams{}) {
		o.Hash = DefaultHash
	}
	return &Service{
		db: db, log: log, now: o.Now, hash: o.Hash, demo: o.Demo, tenant: o.Tenant,
		idle: cmp.Or(o.SessionIdle, time.Hour), lifetime: cmp.Or(o.SessionLifetime, 12*time.Hour), work: make(chan struct{}, 4),
	}
}

// administrator is the check of every use case that changes the organisation.
func administrator(a access.Actor) error {
	if a.User == access.SystemUser || a.HasIn(uuid.Nil, access.Administrator) {
		return nil
	}
	return fault.New("administrator-only")
}

// missing says that a query found no row.
func missing(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// Tenants lists the tenants of the installation, by number.
func (s *Service) Tenants(ctx context.Context) ([]postgres.TenantRow, error) {
	return s.db.Tenants(ctx)
}
