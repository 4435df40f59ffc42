package process_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/bpmn"
	"evb/internal/circulation"
	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/process"
	"evb/internal/sharedtest"
)

// proof is a process with everything that can be cut in the middle: branches
// side by side, timers, an inclusive block, a call, several instances of a task.
var proof = xmlFile(`<parallelGateway id="f"/><parallelGateway id="j"/>
	<userTask id="a" evb:unit="FB61"/><userTask id="m" evb:unit="FB61"><multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality></multiInstanceLoopCharacteristics></userTask>
	<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></intermediateCatchEvent>
	<serviceTask id="h" evb:action="seal"/>
	<inclusiveGateway id="i"/><inclusiveGateway id="k"/><userTask id="x" evb:unit="FB61"/><userTask id="y" evb:unit="FB61"/>` +
	flow("s", "f") + flow("f", "a") + flow("f", "t") + flow("f", "i") + flow("a", "m") + flow("m", "j") + flow("t", "h") + flow("h", "j") +
	flow("i", "x", "n >= 0") + flow("i", "y", "n % 2 == 0") + flow("x", "k") + flow("y", "k") + flow("k", "j") + flow("j", "e"))

// expected is how often each element is completed when nothing is killed.
func expected(n int) string {
	s := "a:1 h:1 m:3 t:1 x:1" // the task with two instances completes itself, too
	if n%2 == 0 {
		s += " y:1"
	}
	return s
}

const (
	victimDSN = "EVB_PROCESS_VICTIM"
	sqlTally  = `
    SELECT i.id, i.state, i.outcome, (i.variables->>'n')::int,
        coalesce((SELECT string_agg(x.node || ':' || x.c, ' ' ORDER BY x.node) FROM (
            SELECT l.node, count(*) AS c FROM process_step_log l
            WHERE l.tenant = i.tenant AND l.instance_id = i.id AND l.what = 'completed' GROUP BY 1) x), ''),
        (SELECT count(*) FROM circulation c JOIN circulation_step s ON s.tenant = c.tenant AND s.circulation_id = c.id WHERE c.tenant = i.tenant AND c.instance_id = i.id)
    FROM process_instance i WHERE i.tenant = evb_tenant()`
	sqlStations = `
    SELECT circulation_id, step_number FROM process_token WHERE tenant = evb_tenant() AND wait = 'task' AND circulation_id IS NOT NULL ORDER BY random() LIMIT 200`
	sqlRunning = `SELECT count(*) FROM process_instance WHERE tenant = evb_tenant() AND state = 'running'`
)

// hall is a town for work on instances by several workers, in this process or
// in one that will be killed.
type hall struct {
	*works
	worker access.Actor
}

// work does what people and jobs do until nothing runs any more or ctx ends.
func (w *hall) work(ctx context.Context) error {
	for ctx.Err() == nil {
		var running int
		var stations [][2]any
		err := w.DB.InTx(ctx, pgtest.Stadt, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, sqlRunning).Scan(&running); err != nil {
				return err
			}
			rows, err := tx.Query(ctx, sqlStations)
			if err != nil {
				return err
			}
			stations, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) ([2]any, error) {
				var c uuid.UUID
				var n int
				err := row.Scan(&c, &n)
				return [2]any{c, n}, err
			})
			return err
		})
		if err != nil || running == 0 {
			return err
		}
		if err := w.s.Sweep(ctx, pgtest.Stadt); err != nil {
			return err
		}
		for _, d := range w.s.Jobs() {
			if d.Kind != process.JobCall {
				continue
			}
			var open []uuid.UUID
			if err := w.DB.InTx(ctx, pgtest.Stadt, func(tx pgx.Tx) (err error) { open, err = d.Open(ctx, tx, 200); return err }); err != nil {
				return err
			}
			for _, id := range open {
				if err := d.Run(ctx, job.Job{Tenant: pgtest.Stadt, Subject: id, Attempt: 1}); err != nil {
					return err
				}
			}
		}
		for _, st := range stations {
			_, err := w.routes.Complete(ctx, w.worker, st[0].(uuid.UUID), st[1].(int), circulation.Completion{}, 0)
			if _, known := fault.As(err); err != nil && !known { // another worker was first
				return err
			}
		}
	}
	return ctx.Err()
}

// victim is the process that is killed.
func victim(dsn string) int {
	ctx := context.Background()
	db, err := postgres.Open(ctx, dsn, postgres.Options{MaxConns: 8, AppName: "victim"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer db.Close()
	w := &hall{works: services(db, func() time.Time { return aktetest.At.Add(2 * time.Hour) })}
	w.actions["seal"] = func(context.Context, access.Actor, process.Call) (map[string]any, error) { return nil, nil }
	if err := w.find(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := w.work(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}
	wg.Wait()
	return 0
}

// super does what only the owner of the database may.
func (w *works) super(sql string) {
	w.t.Helper()
	c, err := pgx.Connect(w.t.Context(), pgtest.SuperDSN(pgtest.NameOf(w.DB)))
	w.ok(err)
	_, err = c.Exec(w.t.Context(), sql)
	w.ok(errors.Join(err, c.Close(w.t.Context())))
}

const sqlWorker = `SELECT id FROM app_user WHERE tenant = evb_tenant() AND login = 'a.schulz'`

func (w *hall) find(ctx context.Context) error {
	w.worker = access.Actor{Tenant: pgtest.Stadt, TenantSlug: "stadt", Login: "a.schulz", DisplayName: "Anna Schulz", Via: "test"}
	return w.DB.InTx(ctx, pgtest.Stadt, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sqlWorker).Scan(&w.worker.User) })
}

// Whenever the process is killed, every instance comes to the end that it comes
// to without, and no station is worked at twice.
func TestInstancesEndAlikeHoweverOftenTheProcessIsKilled(t *testing.T) {
	instances, kills := 24, 4
	if sharedtest.Prove() {
		instances, kills = 10_000, 20
	}
	w := newWorks(t)
	w.actions["seal"] = func(context.Context, access.Actor, process.Call) (map[string]any, error) { return nil, nil }
	d := w.define(proof, bpmn.Activation{})
	vorgaenge := []uuid.UUID{w.vorgang}
	for range instances / 20 { // instances of one Vorgang go one after the other
		v, _, err := w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteBau, Subject: "Bauantrag"})
		w.ok(err)
		vorgaenge = append(vorgaenge, v.ID)
	}
	from := time.Now()
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for n := part; n < instances; n += 4 {
				if n == 200 {
					w.super("ANALYZE")
				}
				if _, _, err := w.s.Start(t.Context(), w.Schulz, process.NewInstance{Definition: d.ID, Vorgang: vorgaenge[n%len(vorgaenge)], Variables: map[string]any{"n": n}}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	begun := time.Since(from)
	w.super("ANALYZE") // as autovacuum does within a minute: nobody begins so many at once
	rnd := rand.New(rand.NewPCG(1, 2))
	dsn := w.DB.Pool().Config().ConnString()
	killed := 0
	for range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), victimDSN+"="+dsn)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.StdoutPipe()
		w.ok(err)
		w.ok(cmd.Start())
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatalf("the victim did not begin: %v %s", err, errs.String())
		}
		life := time.Duration(rnd.IntN(1200)+50) * time.Millisecond
		timer := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		timer.Stop()
		var exit *exec.ExitError
		if errors.As(err, &exit) && !exit.Exited() {
			killed++
		}
		if errs.Len() > 0 {
			t.Log(errs.String())
		}
	}
	w.Pass(2 * time.Hour)
	end := &hall{works: w, worker: w.Schulz}
	for range 4 {
		wg.Go(func() {
			if err := end.work(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ended := 0
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		rows, err := tx.Query(t.Context(), sqlTally)
		if err != nil {
			return err
		}
		var id uuid.UUID
		var state, outcome, tally string
		var n, steps int
		_, err = pgx.ForEachRow(rows, []any{&id, &state, &outcome, &n, &tally, &steps}, func() error {
			ended++
			want := 4 // a, m twice, x
			if n%2 == 0 {
				want = 5
			}
			if state != "done" || outcome != "e" || tally != expected(n) || steps != want {
				t.Errorf("instance %s (%d): %s %s, completed %s, %d stations", id, n, state, outcome, tally, steps)
			}
			return nil
		})
		return err
	})
	if ended != instances {
		t.Errorf("%d instances, want %d", ended, instances)
	}
	t.Logf("%d instances, %d of %d processes killed at work; begun in %s, all done after %s", ended, killed, kills, begun.Round(time.Second), time.Since(from).Round(time.Second))
}
