package preservation_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evb/internal/failpoint"
	"evb/internal/preservation"
	"evb/internal/worldtest"
)

// TestKilledAtEveryPointNothingIsLostOrTwice kills a worker process at each
// fail point of this package and lets another one go on.
func TestKilledAtEveryPointNothingIsLostOrTwice(t *testing.T) {
	w := newWorld(t)
	points := 0
	for _, p := range failpoint.All() {
		if !strings.HasPrefix(p.Name(), "preservation-") {
			continue
		}
		points++
		t.Run(p.Name(), func(t *testing.T) {
			before := worldtest.One[int](w.World, `SELECT count(*) FROM time_stamp_token WHERE tenant = evb_tenant()`)
			requests := worldtest.One[int](w.World, `SELECT count(*) FROM stamp_request WHERE tenant = evb_tenant()`)
			var docs []uuid.UUID
			for range 3 {
				docs = append(docs, w.letter(p.Name(), noise(50), noise(60)))
			}
			// Every round has something for each point: a change of structure for
			// the snapshot, facts for the head.
			w.Exec(`INSERT INTO org_unit (tenant, id, code, name) VALUES (evb_tenant(), $1, $2, 'Amt')`, id(), p.Name())
			w.Number()
			w.killed(t, p.Name())
			w.sealNow(w.p)
			ver := w.verifier()
			for _, d := range docs {
				g := w.groups(d)
				if len(g) != 1 {
					t.Fatalf("%d archive versions", len(g))
				}
				w.mustVerify(ver, g[0])
			}
			if got := worldtest.One[int](w.World, `SELECT count(*) FROM time_stamp_token WHERE tenant = evb_tenant()`); got != before+1 {
				t.Errorf("%d tokens for one seal", got-before)
			}
			if got := worldtest.One[int](w.World, `SELECT count(*) FROM stamp_request WHERE tenant = evb_tenant()`) - requests; got > 2 {
				t.Errorf("%d requests, want one and at most one further", got)
			}
			w.mustCheck()
			if _, err := preservation.ReadBucket(t.Context(), w.Store, "stadt"); err != nil {
				t.Error(err)
			}
		})
	}
	if points < 10 {
		t.Errorf("only %d fail points", points)
	}
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM archive_version WHERE tenant = evb_tenant() AND seal_id IS NULL`); n != 0 {
		t.Errorf("%d archive versions without a seal", n)
	}
}

// killed runs a worker that ends at the point.
func (w *world) killed(t *testing.T, point string) {
	t.Helper()
	out, err := worldtest.Command(t, "worker", order{Place: w.Place, TSA: w.url}, point).CombinedOutput()
	if !worldtest.Killed(err) {
		t.Fatalf("the worker was not killed at %s: %v\n%s", point, err, out)
	}
}

func TestManyClosersAtOnceMakeOneTree(t *testing.T) {
	w := newWorld(t)
	var docs []uuid.UUID
	for range 12 {
		docs = append(docs, w.letter("x", noise(30)))
	}
	done := make(chan error, 4)
	for range 4 {
		p := w.service()
		go func() { _, err := p.SealNow(context.Background(), stadt); done <- err }()
	}
	for range 4 {
		must(t, <-done)
	}
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM archive_version WHERE tenant = evb_tenant() AND dokument_id IS NOT NULL`); n != len(docs) {
		t.Errorf("%d archive versions of %d Dokumente", n, len(docs))
	}
	seals, tokens := worldtest.One[int](w.World, `SELECT count(*) FROM seal WHERE tenant = evb_tenant()`), worldtest.One[int](w.World, `SELECT count(*) FROM time_stamp_token WHERE tenant = evb_tenant()`)
	if seals != tokens || seals > 4 {
		t.Errorf("%d seals, %d tokens", seals, tokens)
	}
	if requests := worldtest.One[int](w.World, `SELECT count(*) FROM stamp_request WHERE tenant = evb_tenant()`); requests != seals {
		t.Errorf("%d requests for %d seals", requests, seals)
	}
	ver := w.verifier()
	for _, d := range docs {
		w.mustVerify(ver, w.groups(d)[0])
	}
	w.mustCheck()
}
