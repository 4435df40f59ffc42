package job_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/job"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// run works with the client until the test has what it waits for.
func run(t *testing.T, db *postgres.DB, node string, defs ...job.Definition) (*job.Client, func()) {
	t.Helper()
	c, err := job.New(db, slog.New(slog.DiscardHandler), defs, job.Options{Workers: map[job.Queue]int{job.Intake: 2}, Node: node})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func enqueue(t *testing.T, db *postgres.DB, c *job.Client, items ...job.Item) {
	t.Helper()
	if err := db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		return c.Enqueue(t.Context(), tx, pgtest.Stadt, items...)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAJobRunsAfterItsTransactionAndAgainAfterAFailure(t *testing.T) {
	db := pgtest.DB(t)
	subject := uuid.Must(uuid.NewV7())
	attempts := make(chan job.Job, 4)
	var n atomic.Int32
	c, stop := run(t, db, "", job.Definition{Kind: "test.work", Queue: job.Intake, Run: func(_ context.Context, j job.Job) error {
		attempts <- j
		if n.Add(1) == 1 {
			return errors.New("the first try fails")
		}
		return nil
	}})
	defer stop()
	enqueue(t, db, c, job.Item{Kind: "test.work", Subject: subject})
	for want := range 2 {
		if j := <-attempts; j.Subject != subject || j.Tenant != pgtest.Stadt || j.Attempt != want+1 {
			t.Fatalf("attempt %d: %+v", want+1, j)
		}
	}
}

func TestOpenWorkWithoutALiveJobIsEnqueuedByTheReconciler(t *testing.T) {
	db := pgtest.DB(t)
	subject := uuid.Must(uuid.NewV7())
	ran := make(chan uuid.UUID, 1)
	_, stop := run(t, db, "", job.Definition{
		Kind: "test.open", Queue: job.Intake,
		Open: func(context.Context, postgres.Querier, int) ([]uuid.UUID, error) { return []uuid.UUID{subject}, nil },
		Run: func(_ context.Context, j job.Job) error {
			select {
			case ran <- j.Subject:
			default:
			}
			return nil
		},
	})
	defer stop()
	if got := <-ran; got != subject {
		t.Fatalf("ran for %s", got)
	}
}

func TestAProcessOfTheSameNameTakesBackWhatAKilledOneWasWorkingOn(t *testing.T) {
	db := pgtest.DB(t)
	kinds := func(run func(context.Context, job.Job) error) job.Definition {
		return job.Definition{Kind: "test.killed", Queue: job.Intake, Run: run}
	}
	c, err := job.New(db, slog.New(slog.DiscardHandler), []job.Definition{kinds(func(context.Context, job.Job) error { return nil })}, job.Options{})
	if err != nil {
		t.Fatal(err)
	}
	enqueue(t, db, c, job.Item{Kind: "test.killed", Subject: uuid.Must(uuid.NewV7())}, job.Item{Kind: "test.killed", Subject: uuid.Must(uuid.NewV7())})
	// What kill -9 leaves: one job running here, one on another node.
	if _, err := db.Pool().Exec(t.Context(), `
        UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(),
            attempted_by = CASE WHEN id = (SELECT min(id) FROM river_job) THEN ARRAY['other', 'here'] ELSE ARRAY['here', 'other'] END`); err != nil {
		t.Fatal(err)
	}
	ran := make(chan job.Job, 4)
	_, stop := run(t, db, "here", kinds(func(_ context.Context, j job.Job) error { ran <- j; return nil }))
	first := <-ran
	stop()
	if first.Attempt != 2 || len(ran) != 0 {
		t.Errorf("attempt %d, %d further runs", first.Attempt, len(ran))
	}
}
