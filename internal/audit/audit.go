package audit

import (
	"log/slog"
	"time"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/storage"
)

// Facts of this package, all in the access log.
const (
	Verified event.Kind = "audit.verified"
	Searched event.Kind = "audit.searched"
	Exported event.Kind = "audit.exported"
)

// Options of New. Zero values are sound.
type Options struct {
	// Now is the process clock; nil: time.Now.
	Now func() time.Time
	// Log; nil: discards.
	Log *slog.Logger
	// Chunk is how many entries are read at a time; 0: 5,000.
	Chunk int
}

// Service reads and proves the log. Safe for concurrent use.
type Service struct {
	db    *postgres.DB
	log   *event.Log
	store storage.Store
	o     Options
}

// New makes the service. store holds the heads.
func New(db *postgres.DB, log *event.Log, store storage.Store, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Chunk <= 0 {
		o.Chunk = 5000
	}
	return &Service{db: db, log: log, store: store, o: o}
}

// mayAudit: the log names people and matters of all units, so it is for those
// whose office it is. An administrator sees that something happened, not its
// details (see details).
func mayAudit(a access.Actor) error {
	if a.User == access.SystemUser || a.Has(access.Auditor, access.Administrator) {
		return nil
	}
	return fault.New("forbidden")
}

// streams in the order of reports, with their tables.
var streams = []struct {
	stream event.Stream
	table  string
}{{event.Events, "event"}, {event.Access, "access_log"}}
