package lists_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/audit"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/internal/preservation"
)

// background are statements that run by themselves, again and again, or for the
// people who operate the house. They must not read what grows with the archive.
func (c *city) background() []list {
	now := func() time.Time { return cityNow }
	facts := event.NewLog(nil, nil)
	proof := preservation.New(c.db, facts, akte.New(c.db, facts, akte.Options{Now: now}), nil, preservation.Options{Now: now})
	log := audit.New(c.db, facts, nil, audit.Options{Now: now})
	var out []list
	for _, j := range proof.Jobs() {
		if j.Open == nil {
			continue
		}
		out = append(out, list{name: "open " + j.Kind, run: func(ctx context.Context, a access.Actor) (ids []uuid.UUID, err error) {
			err = c.db.Read(ctx, tenant, func(q postgres.Querier) error { ids, err = j.Open(ctx, q, 1000); return err })
			return ids, err
		}})
	}
	return append(out,
		list{name: "seal status", run: func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			_, err := proof.Status(ctx, a)
			return nil, err
		}},
		list{name: "audit page", run: func(ctx context.Context, a access.Actor) ([]uuid.UUID, error) {
			_, err := log.List(ctx, a, audit.Filter{Stream: event.Events}, "", 50)
			return nil, err
		}})
}

// BenchmarkBackground measures them in the city of BenchmarkLists.
func BenchmarkBackground(b *testing.B) {
	c := newCity(b, whole(benchRows(b, 1_000_000)))
	for _, l := range c.background() {
		b.Run(l.name, func(b *testing.B) { c.measure(b, l, access.System(tenant, "stadt")) })
	}
}
