package akte

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

// UnfiledScope is the access scope of what is in no Vorgang: nobody reads
// through it. It has the same id in every tenant.
var UnfiledScope = uuid.MustParse("00000000-0000-7000-8000-000000000002")

// Options of New. Zero values are sound.
type Options struct {
	Now func() time.Time // nil: time.Now
	// VersionAdded is told of every further version in the transaction that
	// writes it, quarantined ones too: what was agreed to an earlier version does
	// not hold for it. nil: nobody.
	VersionAdded func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument, version uuid.UUID, number int) error
}

// Service holds the use cases of the e-file. Safe for concurrent use.
type Service struct {
	db  *postgres.DB
	log *event.Log
	now func() time.Time

	versionAdded func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument, version uuid.UUID, number int) error
}

// New makes the service; facts go to log.
func New(db *postgres.DB, log *event.Log, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: db, log: log, now: func() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }, versionAdded: o.VersionAdded}
}

// after makes a change and gives the object as it is then.
func after[T any](ctx context.Context, s *Service, a access.Actor, id uuid.UUID, read func(context.Context, postgres.Querier, uuid.UUID) (T, error),
	change func(tx pgx.Tx, at time.Time) error,
) (out T, err error) {
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		if err := change(tx, s.now()); err != nil {
			return err
		}
		out, err = read(ctx, tx, id)
		return err
	})
	return out, err
}

// created makes an object and gives it as it is then, once per request key.
func created[T any](ctx context.Context, s *Service, a access.Actor, k idempotency.Key, read func(context.Context, postgres.Querier, uuid.UUID) (T, error),
	create func(tx pgx.Tx, at time.Time) (uuid.UUID, error),
) (out T, replayed bool, err error) {
	return idempotency.Once(ctx, s.db, a, k, func(tx pgx.Tx) (out T, id uuid.UUID, err error) {
		if id, err = create(tx, s.now()); err == nil {
			out, err = read(ctx, tx, id)
		}
		return out, id, err
	})
}

// isSystem says that background work acts, which is asked for no rights.
func isSystem(a access.Actor) bool { return a.User == access.SystemUser }

func missing(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func newID() (uuid.UUID, error) { return uuid.NewV7() }
