package event_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var at = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func appendFacts(t *testing.T, db *postgres.DB, tenant access.Tenant, n int) {
	t.Helper()
	log := event.NewLog(nil, nil)
	facts := make([]event.Fact, n)
	for i := range facts {
		facts[i] = event.Fact{Kind: "test.happened", Subject: uuid.Must(uuid.NewV7()), SubjectKind: "test", Details: map[string]any{"n": i, "wort": "Grüße"}}
	}
	if err := db.InTx(t.Context(), tenant, func(tx pgx.Tx) error {
		return log.Append(t.Context(), tx, access.System(tenant, "stadt"), at, facts...)
	}); err != nil {
		t.Fatal(err)
	}
}

func feed(t *testing.T, db *postgres.DB, tenant access.Tenant) []event.Entry {
	t.Helper()
	var out []event.Entry
	if err := db.Read(t.Context(), tenant, func(q postgres.Querier) error {
		var err error
		out, err = event.Feed(t.Context(), q, event.Events, 0, 10000)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNumbersHaveNoGapsAndTheChainCoversEveryEntryAlsoWithManySequencers(t *testing.T) {
	db := pgtest.DB(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				appendFacts(t, db, pgtest.Stadt, 7)
			}
		})
	}
	done := make(chan struct{})
	var numbering sync.WaitGroup
	for range 3 {
		numbering.Go(func() {
			s := event.NewSequencer(db, slog.New(slog.DiscardHandler), time.Millisecond)
			for {
				if _, err := s.Number(t.Context(), pgtest.Stadt, event.Events); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	wg.Wait()
	close(done)
	numbering.Wait()
	if _, err := event.NewSequencer(db, slog.New(slog.DiscardHandler), 0).Number(t.Context(), pgtest.Stadt, event.Events); err != nil {
		t.Fatal(err)
	}
	entries := feed(t, db, pgtest.Stadt)
	if len(entries) != 280 {
		t.Fatalf("want 280 entries, got %d", len(entries))
	}
	chain := make([]byte, 32)
	for i, e := range entries {
		if e.Seq != int64(i+1) {
			t.Fatalf("entry %d has number %d", i, e.Seq)
		}
		if got := event.PayloadHash(e.Salt, []byte(*e.Payload)); !bytes.Equal(got, e.PayloadHash) {
			t.Fatalf("entry %d: payload hash differs", e.Seq)
		}
		if chain = event.Chain(chain, e.Seq, e.PayloadHash); !bytes.Equal(chain, e.Chain) {
			t.Fatalf("entry %d: chain differs", e.Seq)
		}
	}
}

func TestTenantsHaveChainsOfTheirOwn(t *testing.T) {
	db := pgtest.DB(t)
	appendFacts(t, db, pgtest.Stadt, 3)
	appendFacts(t, db, pgtest.Eigenbetrieb, 2)
	s := event.NewSequencer(db, slog.New(slog.DiscardHandler), 0)
	for tenant, want := range map[access.Tenant]int{pgtest.Stadt: 3, pgtest.Eigenbetrieb: 2} {
		if _, err := s.Number(t.Context(), tenant, event.Events); err != nil {
			t.Fatal(err)
		}
		if got := feed(t, db, tenant); len(got) != want || got[0].Seq != 1 {
			t.Errorf("tenant %d: %d entries", tenant, len(got))
		}
	}
}

func TestARunningSequencerNumbersWithoutBeingAskedAndARolledBackFactLeavesNothing(t *testing.T) {
	db := pgtest.DB(t)
	s := event.NewSequencer(db, slog.New(slog.DiscardHandler), 5*time.Millisecond)
	numbered := make(chan int64, 100)
	s.OnNumbered = func(_ access.Tenant, _ event.Stream, last int64) { numbered <- last }
	stopped := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { stopped <- s.Run(ctx) }()
	log := event.NewLog(nil, nil)
	_ = db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		if err := log.Append(t.Context(), tx, access.System(pgtest.Stadt, "stadt"), at, event.Fact{Kind: "test.rolled_back"}); err != nil {
			t.Error(err)
		}
		return fmt.Errorf("roll back")
	})
	appendFacts(t, db, pgtest.Stadt, 1)
	if last := <-numbered; last != 1 {
		t.Errorf("first number is %d", last)
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := feed(t, db, pgtest.Stadt); len(got) != 1 || got[0].Kind != "test.happened" {
		t.Errorf("feed: %v", got)
	}
}
