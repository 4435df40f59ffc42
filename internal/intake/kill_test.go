package intake_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/failpoint"
	"evb/internal/intake"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

// order is what the victim is told.
type order struct {
	Place worldtest.Place
	Actor access.Actor
	First int // number of the first document
}

const documents = 6

// victim is a process that takes documents in, leaves some half-done, sets
// locks and sweeps, until it is killed or done. What it tells on standard output
// was acknowledged.
func victim(ctx context.Context, o order) error {
	c := config{blob: blob.Options{Claim: 2 * time.Second}}
	below, err := worldtest.Join(ctx, o.Place, options(c))
	if err != nil {
		return err
	}
	defer below.DB.Close()
	p, err := with(below, c)
	if err != nil {
		return err
	}
	for i := range documents {
		n := o.First + i
		f, err := p.Spool.Take(ctx, bytes.NewReader(letter(n)), 0)
		if err != nil {
			return err
		}
		f.Name = "brief.png"
		rec, err := p.in.Receive(ctx, o.Actor, intake.Submission{Meta: intake.Meta{Subject: "Brief"}, Files: []*blob.File{f}, Key: fmt.Sprint("letter ", n)})
		if err != nil {
			return err
		}
		fmt.Printf("ack %d %s %s\n", n, rec.ID, rec.SHA256)
		f.Remove()
	}
	// Sent and given up: what the sweeper is for.
	hasty := p.Bytes(func(o *blob.Options) { o.Lease = time.Microsecond })
	for i := range 3 {
		f, err := p.Spool.Take(ctx, strings.NewReader(fmt.Sprint("given up ", o.First, i)), 0)
		if err != nil {
			return err
		}
		if _, err := hasty.Stage(ctx, o.Actor, f); err != nil {
			return err
		}
	}
	if _, err := p.Blobs.Lock(ctx, o.Actor.Tenant); err != nil {
		return err
	}
	if _, err := p.Blobs.Sweep(ctx, o.Actor.Tenant); err != nil {
		return err
	}
	return errors.Join(p.engine.Close(), p.Close())
}

func letter(n int) []byte { return picture(uint64(n), 20_000) }

// run runs a victim and gives what it acknowledged. kill ends it after that
// time, zero: not from outside.
func (w *world) run(t *testing.T, o order, point string, kill time.Duration) (acked map[int][2]string, killed bool) {
	t.Helper()
	cmd := worldtest.Command(t, "victim", o, point)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	must(t, cmd.Start())
	if kill > 0 {
		timer := time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err := cmd.Wait()
	killed = worldtest.Killed(err)
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
	p := w.Place
	p.Spool = filepath.Join(t.TempDir(), "spool")
	return order{Place: p, Actor: w.Schulz, First: first}
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
		d, err := w.Akten.Dokument(t.Context(), w.Schulz, uuid.MustParse(a[0]))
		must(t, err)
		if got := w.Content(w.Schulz, d.Versions[0].Files[0].Blob); !bytes.Equal(got, letter(n)) {
			t.Errorf("letter %d: other bytes", n)
		}
	}
	// No lease lasts for ever: as if an hour had passed.
	must(t, w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE blob SET lease_until = now() - interval '1 s' WHERE tenant = evb_tenant() AND state <> 'present'`)
		return err
	}))
	_, err := w.Blobs.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM blob WHERE tenant = evb_tenant() AND state <> 'present'`); n != 0 {
		t.Errorf("%d blobs left over after one sweep", n)
	}
	letters := worldtest.One[int](w.World, `SELECT count(*) FROM ingest_request WHERE tenant = evb_tenant()`)
	if d, b, o := w.Count("dokument"), w.Count("blob"), w.Objects(); d != letters || b != letters || o != letters {
		t.Errorf("%d letters: %d Dokumente, %d blobs, %d objects", letters, d, b, o)
	}
	w.Consistent()
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
	if sharedtest.Prove() {
		rounds = 100
	}
	for i := range rounds {
		o := w.order(t, 1000*(i+1))
		before, _ := w.run(t, o, "", time.Duration(50+rng.IntN(500))*time.Millisecond)
		after, _ := w.run(t, o, "", 0)
		w.holds(t, o.First, before, after)
	}
}
