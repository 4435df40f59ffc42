package akte

import (
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
)

// UnfiledScope is the access scope of what is in no Vorgang: nobody reads
// through it. It has the same id in every tenant.
var UnfiledScope = uuid.MustParse("00000000-0000-7000-8000-000000000002")

// Options of New. Zero values are sound.
type Options struct {
	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: discarded
}

// Service holds the use cases of the e-file. Safe for concurrent use.
type Service struct {
	db  *postgres.DB
	log *event.Log
	now func() time.Time
}

// New makes the service; facts go to log.
func New(db *postgres.DB, log *event.Log, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: db, log: log, now: func() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }}
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

func date(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func newID() (uuid.UUID, error) { return uuid.NewV7() }
