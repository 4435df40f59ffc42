package job_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/job"
	"evb/internal/postgres/pgtest"
)

// Two processes with two jobs: the one that lives keeps its own, however long
// it takes, and gets that of the one that is gone.
func TestTheLivingTakeOverFromTheDeadAndLeaveEachOtherAlone(t *testing.T) {
	db := pgtest.DB(t)
	slow, orphan := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	ran := make(chan job.Job, 8)
	finish := make(chan struct{})
	def := job.Definition{Kind: "test.life", Queue: job.Intake, Run: func(_ context.Context, j job.Job) error {
		ran <- j
		if j.Subject == slow {
			<-finish
		}
		return nil
	}}
	type process struct {
		client *job.Client
		stop   func()
	}
	start := func(name string) process {
		c, err := job.New(db, slog.New(slog.DiscardHandler), []job.Definition{def}, job.Options{
			Workers: map[job.Queue]int{job.Intake: 2}, Node: name, Gone: 300 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		return process{c, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}}
	}
	first := start("first")
	enqueue(t, db, first.client, job.Item{Kind: "test.life", Subject: slow})
	if j := <-ran; j.Subject != slow {
		t.Fatalf("%+v", j)
	}
	// What kill -9 of a third process leaves.
	enqueue(t, db, first.client, job.Item{Kind: "test.life", Subject: orphan, RunAt: time.Now().Add(time.Hour)})
	if _, err := db.Pool().Exec(t.Context(), `
        UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = '{third}' WHERE args->>'subject' = $1`, orphan.String()); err != nil {
		t.Fatal(err)
	}
	second := start("second")
	if j := <-ran; j.Subject != orphan || j.Attempt != 2 {
		t.Errorf("taken over: %+v", j)
	}
	close(finish)
	first.stop()
	second.stop()
	if len(ran) != 0 {
		t.Errorf("the slow job ran again: %+v", <-ran)
	}
}
