package intake_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/failpoint"
	"evb/internal/intake"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/storage/s3"
)

// order is what the victim is told, in the environment.
type order struct {
	DSN   string
	Store s3Order
	Spool string
	Cache string
	Actor access.Actor
	First int // number of the first document
}

type s3Order struct {
	Endpoint, Region, Bucket     string
	Key, Secret, Bypass, BypassS string
}

func (o s3Order) config() s3.Config {
	return s3.Config{Endpoint: o.Endpoint, Region: o.Region, Bucket: o.Bucket,
		Credential: s3.Credential{AccessKey: o.Key, SecretKey: o.Secret}, Bypass: s3.Credential{AccessKey: o.Bypass, SecretKey: o.BypassS}}
}

const (
	orderEnv  = "EVB_INTAKE_TEST_ORDER"
	documents = 6
)

// victim is a process that takes documents in, leaves some half-done, sets
// locks and sweeps, until it is killed or done. What it tells on standard output
// was acknowledged.
func victim() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "victim:", err)
		return 1
	}
	if err := failpoint.Check(); err != nil {
		return fail(err)
	}
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(orderEnv)), &o); err != nil {
		return fail(err)
	}
	ctx := context.Background()
	db, err := postgres.Open(ctx, o.DSN, postgres.Options{MaxConns: 8, AppName: "victim"})
	if err != nil {
		return fail(err)
	}
	defer db.Close()
	p, err := newParts(db, o.Store.config(), config{spoolDir: o.Spool, cacheDir: o.Cache, blob: blob.Options{Claim: 2 * time.Second}})
	if err != nil {
		return fail(err)
	}
	for i := range documents {
		n := o.First + i
		f, err := p.spool.Take(ctx, bytes.NewReader(letter(n)), 0)
		if err != nil {
			return fail(err)
		}
		f.Name = "brief.png"
		rec, err := p.in.Receive(ctx, o.Actor, intake.Submission{Meta: intake.Meta{Subject: "Brief"}, Files: []*blob.File{f}, Key: fmt.Sprint("letter ", n)})
		if err != nil {
			return fail(err)
		}
		fmt.Printf("ack %d %s %s\n", n, rec.ID, rec.SHA256)
		f.Remove()
	}
	// Sent and given up: what the sweeper is for.
	hasty := blob.New(db, p.store, p.spool, nil, blob.Options{Disposal: p.store, Lease: time.Microsecond})
	for i := range 3 {
		f, err := p.spool.Take(ctx, strings.NewReader(fmt.Sprint("given up ", o.First, i)), 0)
		if err != nil {
			return fail(err)
		}
		if _, err := hasty.Stage(ctx, o.Actor, f); err != nil {
			return fail(err)
		}
	}
	if _, err := p.blobs.Lock(ctx, o.Actor.Tenant); err != nil {
		return fail(err)
	}
	if _, err := p.blobs.Sweep(ctx, o.Actor.Tenant); err != nil {
		return fail(err)
	}
	if err := p.close(); err != nil {
		return fail(err)
	}
	return 0
}

func letter(n int) []byte { return picture(uint64(n), 20_000) }

// run runs a victim and gives what it acknowledged. kill ends it after that
// time, zero: not from outside.
func (w *world) run(t *testing.T, o order, point string, kill time.Duration) (acked map[int][2]string, killed bool) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	raw, err := json.Marshal(o)
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=victim", orderEnv+"="+string(raw), failpoint.Env+"="+point)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	must(t, cmd.Start())
	if kill > 0 {
		timer := time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err = cmd.Wait()
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		ws, _ := ee.Sys().(syscall.WaitStatus)
		killed = ws.Signaled() && ws.Signal() == syscall.SIGKILL
	}
	if err != nil && !killed {
		t.Fatalf("victim: %v\n%s", err, errs.String())
	}
	acked = map[int][2]string{}
	sc := bufio.NewScanner(&out)
	for sc.Scan() {
		var (
			n       int
			id, sum string
		)
		if _, err := fmt.Sscanf(sc.Text(), "ack %d %s %s", &n, &id, &sum); err == nil {
			acked[n] = [2]string{id, sum}
		}
	}
	return acked, killed
}

func (w *world) order(t *testing.T, first int) order {
	c := w.s3.Config(true)
	return order{DSN: pgtest.AppDSN(pgtest.NameOf(w.db)), Spool: filepath.Join(t.TempDir(), "spool"), Cache: cacheDir, Actor: w.town.Schulz, First: first,
		Store: s3Order{c.Endpoint, c.Region, c.Bucket, c.Credential.AccessKey, c.Credential.SecretKey, c.Bypass.AccessKey, c.Bypass.SecretKey}}
}

// holds compares what was acknowledged with what is there, after the sender
// repeated everything, and after one sweep.
func (w *world) holds(t *testing.T, first int, before, after map[int][2]string) {
	t.Helper()
	if len(after) != documents {
		t.Fatalf("%d of %d taken in after the restart", len(after), documents)
	}
	for n, a := range before {
		if after[n] != a {
			t.Errorf("letter %d was acknowledged as %v and is %v now", n, a, after[n])
		}
	}
	for n, a := range after {
		sum := sha256.Sum256(letter(n))
		if a[1] != hex.EncodeToString(sum[:]) {
			t.Errorf("letter %d: hash %s", n, a[1])
		}
		d, err := w.akten.Dokument(t.Context(), w.town.Schulz, uuid.MustParse(a[0]))
		must(t, err)
		if got := w.content(w.town.Schulz, d.Versions[0].Files[0].Blob); !bytes.Equal(got, letter(n)) {
			t.Errorf("letter %d: other bytes", n)
		}
	}
	// No lease lasts for ever: as if an hour had passed.
	must(t, w.db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE blob SET lease_until = now() - interval '1 s' WHERE tenant = evb_tenant() AND state <> 'present'`)
		return err
	}))
	_, err := w.blobs.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if n := one[int](w, `SELECT count(*) FROM blob WHERE tenant = evb_tenant() AND state <> 'present'`); n != 0 {
		t.Errorf("%d blobs left over after one sweep", n)
	}
	letters := one[int](w, `SELECT count(*) FROM ingest_request WHERE tenant = evb_tenant()`)
	if d, b, o := w.count("dokument"), w.count("blob"), w.objects(); d != letters || b != letters || o != letters {
		t.Errorf("%d letters: %d Dokumente, %d blobs, %d objects", letters, d, b, o)
	}
	w.clean()
}

func TestKillAtEveryStep(t *testing.T) {
	w := newWorld(t)
	var points []string
	for _, p := range failpoint.All() {
		if strings.HasPrefix(p.Name(), "intake-") && p.Name() != "intake-7-unknown" || strings.HasPrefix(p.Name(), "sweep-") {
			points = append(points, p.Name())
		}
	}
	if len(points) < 9 {
		t.Fatalf("only %v", points)
	}
	for i, point := range points {
		t.Run(point, func(t *testing.T) {
			o := w.order(t, 1000*(i+1))
			nth := 3
			if strings.HasPrefix(point, "sweep-1") {
				nth = 1
			}
			before, killed := w.run(t, o, fmt.Sprintf("%s:%d", point, nth), 0)
			if !killed {
				t.Fatal("not killed there")
			}
			after, _ := w.run(t, o, "", 0)
			w.holds(t, o.First, before, after)
		})
	}
}

func TestKillAtRandomTimes(t *testing.T) {
	w := newWorld(t)
	const seed = 2026
	rng := rand.New(rand.NewPCG(seed, 1))
	rounds := 5
	if os.Getenv("EVB_PROVE") != "" {
		rounds = 100
	}
	for i := range rounds {
		o := w.order(t, 1000*(i+1))
		before, _ := w.run(t, o, "", time.Duration(50+rng.IntN(500))*time.Millisecond)
		after, _ := w.run(t, o, "", 0)
		w.holds(t, o.First, before, after)
	}
}
