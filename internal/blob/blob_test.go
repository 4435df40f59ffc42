package blob_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/blob"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/worldtest"
	"evb/signature/digest"
	"evb/storage"
	"evb/storage/layout"
	"evb/storage/s3"
)

func TestAContentIsStoredOnceWithItsLockAndDigests(t *testing.T) {
	w := newWorld(t)
	a := w.keep("Sehr geehrte Damen und Herren")
	b := w.keep("Sehr geehrte Damen und Herren")
	if a != b {
		t.Errorf("two blobs for one content")
	}
	if got := w.read(a); got != "Sehr geehrte Damen und Herren" {
		t.Errorf("read %q", got)
	}
	f := w.take("Sehr geehrte Damen und Herren")
	info, err := w.Store.Stat(t.Context(), layout.Content("stadt", f.SHA256))
	must(t, err)
	if info.Lock.Mode != storage.LockGovernance || time.Until(info.Lock.Until) < 6*24*time.Hour {
		t.Errorf("lock %+v", info.Lock)
	}
	must(t, w.DB.Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		ds, err := blob.Digests(t.Context(), q, []uuid.UUID{a, uuid.New()})
		if err != nil {
			return err
		}
		if len(ds) != 1 || len(ds[a]) != 2 || ds[a][0].Algorithm != digest.SHA256 || hex.EncodeToString(ds[a][1].Value) != hex.EncodeToString(f.SHA512[:]) {
			t.Errorf("digests %v", ds)
		}
		return nil
	}))
	back, err := w.Blobs.ToFile(t.Context(), stadt, a)
	must(t, err)
	defer back.Remove()
	if back.SHA256 != f.SHA256 {
		t.Error("copy differs")
	}
	_, _, err = w.Blobs.Open(t.Context(), stadt, uuid.New())
	wantFault(t, err, "not-found")
	other := stadt
	other.Tenant, other.TenantSlug = pgtest.Eigenbetrieb, "eigenbetrieb"
	_, _, err = w.Blobs.Open(t.Context(), other, a)
	wantFault(t, err, "not-found")
}

func TestWhatNobodyRefersToIsSweptAndWhatSomebodyRefersToIsNot(t *testing.T) {
	w := newWorld(t, func(o *blob.Options) { o.Lease = time.Millisecond })
	kept := w.keep("kept")
	for i := range 3 {
		_, err := w.Blobs.Stage(t.Context(), stadt, w.take(fmt.Sprint("lost ", i)), w.take("kept"))
		must(t, err)
	}
	w.leasesOver()
	rep, err := w.Blobs.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Removed != 3 || w.Objects() != 1 || w.Count("blob") != 1 {
		t.Fatalf("%+v, %d objects", rep, w.Objects())
	}
	if w.read(kept) != "kept" {
		t.Error("kept content differs")
	}
	// A second one finds nothing to do; a removed content can come again.
	rep, err = w.Blobs.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Removed != 0 {
		t.Errorf("%+v", rep)
	}
	if w.read(w.keep("lost 1")) != "lost 1" {
		t.Error("content that came again differs")
	}
}

func TestALiveLeaseIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	_, err := w.Blobs.Stage(t.Context(), stadt, w.take("on its way"))
	must(t, err)
	rep, err := w.Blobs.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Removed != 0 || w.Objects() != 1 {
		t.Fatalf("%+v", rep)
	}
}

func TestASweepThatWasKilledIsGoneOnWith(t *testing.T) {
	w := newWorld(t)
	_, err := w.Blobs.Stage(t.Context(), stadt, w.take("left over"), w.take("object gone"))
	must(t, err)
	// As kill -9 leaves it: both marked, the object of one removed.
	w.Exec(`UPDATE blob SET state = 'deleting', lease_until = now() - interval '1 s' WHERE tenant = evb_tenant()`)
	must(t, w.Store.DeleteVersions(t.Context(), layout.Content("stadt", w.take("object gone").SHA256), true))
	rep, err := w.Blobs.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Removed != 2 || w.Objects() != 0 {
		t.Fatalf("%+v", rep)
	}
}

func TestStageWaitsForARemovalAndConfirmRefusesOne(t *testing.T) {
	w := newWorld(t, func(o *blob.Options) { o.Wait = 300 * time.Millisecond })
	f := w.take("x")
	staged, err := w.Blobs.Stage(t.Context(), stadt, f)
	must(t, err)
	w.Exec(`UPDATE blob SET state = 'deleting', lease_until = now() + interval '1 h' WHERE tenant = evb_tenant()`)
	err = w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error { return blob.Confirm(t.Context(), tx, staged[0].ID) })
	if !errors.Is(err, blob.ErrAgain) {
		t.Fatalf("confirm: %v", err)
	}
	_, err = w.Blobs.Stage(t.Context(), stadt, f)
	wantFault(t, err, "blob-busy")
	// Whether the row goes before or while the next Stage looks, it must end well.
	go func() {
		_ = w.DB.InTx(context.Background(), pgtest.Stadt, func(tx pgx.Tx) error {
			_, err := tx.Exec(context.Background(), `DELETE FROM blob WHERE tenant = evb_tenant()`)
			return err
		})
	}()
	_, err = w.service().Stage(t.Context(), stadt, f)
	must(t, err)
}

func TestWithoutTheBypassALockIsWaitedForAndTheContentStaysUsable(t *testing.T) {
	w := newWorld(t)
	plain := w.service(func(o *blob.Options) { o.Disposal = nil; o.Lease = time.Millisecond })
	f := w.take("locked")
	_, err := plain.Stage(t.Context(), stadt, f)
	must(t, err)
	w.leasesOver()
	rep, err := plain.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Removed != 0 || worldtest.One[string](w.World, `SELECT state FROM blob WHERE tenant = evb_tenant()`) != "staged" {
		t.Fatalf("%+v", rep)
	}
	// Even if it believed the lock to be over.
	w.Exec(`UPDATE blob SET lock_wanted_until = now() - interval '1 s' WHERE tenant = evb_tenant()`)
	rep, err = plain.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Waiting != 1 || worldtest.One[string](w.World, `SELECT state FROM blob WHERE tenant = evb_tenant()`) != "staged" {
		t.Fatalf("%+v", rep)
	}
	if w.read(w.keep("locked")) != "locked" {
		t.Error("not usable")
	}
}

// The same contents, staged, abandoned and confirmed by several writers, with
// leases that are over at once and two sweepers in loops: no reference may ever
// point to something that is not there.
func TestSweepersAgainstWritersOfTheSameContents(t *testing.T) {
	w := newWorld(t, func(o *blob.Options) { o.Lease = time.Microsecond; o.Wait = 2 * time.Minute })
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sweepers, writers sync.WaitGroup
	swept := make([]int, 2)
	for i := range swept {
		sweepers.Add(1)
		go func() {
			defer sweepers.Done()
			for ctx.Err() == nil {
				rep, err := w.Blobs.Sweep(ctx, pgtest.Stadt)
				if err != nil && ctx.Err() == nil {
					t.Errorf("sweep: %v", err)
				}
				swept[i] += rep.Removed
			}
		}()
	}
	abandoned := errors.New("abandoned")
	for i := range 4 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for r := range rounds {
				f := w.take(fmt.Sprintf("content %d", r/2))
				err := w.Blobs.Store(ctx, stadt, []*blob.File{f}, func(tx pgx.Tx, staged []blob.Staged) error {
					if (r+i)%3 != 0 {
						return abandoned
					}
					return w.refer(tx, staged[0].ID)
				})
				f.Remove()
				if err != nil && !errors.Is(err, abandoned) && !errors.Is(err, blob.ErrAgain) {
					t.Errorf("store: %v", err)
				}
			}
		}()
	}
	writers.Wait()
	cancel()
	sweepers.Wait()
	// A writer that gave up after its lease was over may have put an object
	// whose row was gone: that is what reconciliation is for.
	w.leasesOver()
	tidy := w.service(soon)
	_, err := tidy.Reconcile(t.Context(), pgtest.Stadt)
	must(t, err)
	_, err = tidy.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	t.Logf("swept %v", swept)
	var ids []uuid.UUID
	must(t, w.DB.Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		rows, err := q.Query(t.Context(), `SELECT DISTINCT blob_id FROM quarantine WHERE tenant = evb_tenant()`)
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	}))
	for _, id := range ids {
		if s := w.read(id); len(s) < len("content ") {
			t.Errorf("blob %s reads %q", id, s)
		}
	}
	found, n, err := w.Blobs.Check(t.Context(), stadt)
	must(t, err)
	if n < len(ids) {
		t.Errorf("only %d rows compared", n)
	}
	for _, f := range found {
		t.Errorf("%s: %s", f.Code, f.Text("en"))
	}
	if worldtest.One[int](w.World, `SELECT count(*) FROM blob WHERE tenant = evb_tenant() AND problem <> ''`) != 0 {
		t.Error("alarms")
	}
}

func TestReconcileFindsBothSidesOfADisagreement(t *testing.T) {
	w := newWorld(t, soon)
	lost, cut, fine := w.keep("lost object"), w.keep("cut object"), w.keep("fine")
	f := w.take("an object without a row")
	in, err := f.Open()
	must(t, err)
	_, err = w.Store.Put(t.Context(), layout.Content("stadt", f.SHA256), in, f.Size, storage.PutOptions{SHA256: f.SHA256[:]})
	must(t, err)
	must(t, in.Close())
	must(t, w.Store.DeleteVersions(t.Context(), layout.Content("stadt", w.take("lost object").SHA256), true))
	must(t, os.Truncate(w.path(w.take("cut object")), 3))

	found, _, err := w.Blobs.Check(t.Context(), stadt)
	must(t, err)
	codes := map[string]int{}
	for _, f := range found {
		codes[f.Code]++
	}
	if codes["check-object-missing"] != 1 || codes["check-object-size"] != 1 || codes["check-object-without-row"] != 1 || len(found) != 3 {
		t.Errorf("check: %v", codes)
	}

	rep, err := w.Blobs.Reconcile(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Orphans != 1 || rep.Problems != 2 {
		t.Fatalf("%+v", rep)
	}
	problem := func(id uuid.UUID) string {
		return worldtest.One[string](w.World, `SELECT problem FROM blob WHERE tenant = evb_tenant() AND id = $1`, id)
	}
	if problem(lost) != "missing" || problem(cut) != "corrupt" || problem(fine) != "" {
		t.Errorf("lost %q, cut %q, fine %q", problem(lost), problem(cut), problem(fine))
	}
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND kind = $1`, string(blob.ProblemFound)); n != 2 {
		t.Errorf("%d facts", n)
	}
	sw, err := w.Blobs.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if sw.Removed != 1 {
		t.Errorf("%+v", sw)
	}
	rep, err = w.Blobs.Reconcile(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Orphans != 0 || rep.Problems != 2 {
		t.Errorf("second time: %+v", rep)
	}
	_, _, err = w.Blobs.Open(t.Context(), stadt, lost)
	wantFault(t, err, "content-missing")

	// The content comes again: the object is put although the row is present,
	// and the next reading back clears the mark.
	w.keep("lost object")
	fx, err := w.Blobs.Fixity(t.Context(), pgtest.Stadt, 10)
	must(t, err)
	if fx.Cleared != 1 || fx.Corrupt != 1 || problem(lost) != "" {
		t.Errorf("%+v", fx)
	}
}

func TestARestoredOldDatabaseCostsNoObject(t *testing.T) {
	w := newWorld(t, soon, func(o *blob.Options) { o.Orphans = 2 })
	for i := range 3 {
		f := w.take(fmt.Sprint("newer than the backup ", i))
		in, err := f.Open()
		must(t, err)
		_, err = w.Store.Put(t.Context(), layout.Content("stadt", f.SHA256), in, f.Size, storage.PutOptions{SHA256: f.SHA256[:]})
		must(t, err)
		must(t, in.Close())
	}
	rep, err := w.Blobs.Reconcile(t.Context(), pgtest.Stadt)
	must(t, err)
	_, err = w.Blobs.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if !rep.Suspicious || rep.Orphans != 0 || w.Objects() != 3 {
		t.Fatalf("%+v, %d objects", rep, w.Objects())
	}
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND kind = $1`, string(blob.OrphansSuspicious)); n != 1 {
		t.Errorf("%d facts", n)
	}
}

func TestAReplacedContentIsReleasedAndSwept(t *testing.T) {
	w := newWorld(t)
	old, kept := w.keep("old text rendition"), w.keep("new text rendition")
	super := pgtest.Super(t, w.DB)
	_, err := super.Exec(t.Context(), `DELETE FROM quarantine WHERE blob_id = $1`, old)
	must(t, err)
	w.leasesOver()
	later := w.service(soon)
	rep, err := later.Reconcile(t.Context(), pgtest.Stadt)
	must(t, err)
	if rep.Released != 1 {
		t.Fatalf("%+v", rep)
	}
	sw, err := later.Sweep(t.Context(), pgtest.Stadt)
	must(t, err)
	if sw.Removed != 1 || w.read(kept) != "new text rendition" {
		t.Errorf("%+v", sw)
	}
}

func TestEveryReferenceToABlobIsKnownToTheSweeper(t *testing.T) {
	w := newWorld(t)
	c := pgtest.Super(t, w.DB)
	var body string
	must(t, c.QueryRow(t.Context(), `SELECT prosrc FROM pg_proc WHERE proname = 'evb_blob_referenced'`).Scan(&body))
	rows, err := c.Query(t.Context(), `
        SELECT conrelid::regclass::text FROM pg_constraint
        WHERE contype = 'f' AND confrelid = 'blob'::regclass AND conrelid <> 'blob_digest'::regclass`)
	must(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	if len(tables) < 6 {
		t.Errorf("only %v", tables)
	}
	for _, table := range tables {
		if !strings.Contains(body, "FROM "+table+" r") {
			t.Errorf("%s refers to blob, evb_blob_referenced does not ask it", table)
		}
	}
}

func TestAFlippedByteIsFoundAndAHealedOneForgiven(t *testing.T) {
	w := newWorld(t)
	id := w.keep("a letter that must not change")
	p := w.path(w.take("a letter that must not change"))
	flip := func() {
		b, err := os.ReadFile(p)
		must(t, err)
		b[3] ^= 1
		h, err := os.OpenFile(p, os.O_WRONLY, 0)
		must(t, err)
		_, err = h.WriteAt(b[3:4], 3)
		must(t, err)
		must(t, h.Close())
	}
	rep, err := w.Blobs.Fixity(t.Context(), pgtest.Stadt, 10)
	must(t, err)
	if rep.Checked != 1 || rep.Corrupt != 0 {
		t.Fatalf("%+v", rep)
	}
	flip()
	rep, err = w.Blobs.Fixity(t.Context(), pgtest.Stadt, 10)
	must(t, err)
	if rep.Corrupt != 1 {
		t.Fatalf("%+v", rep)
	}
	rc, info, err := w.Blobs.Open(t.Context(), stadt, id)
	must(t, err)
	defer func() { _ = rc.Close() }()
	if info.Problem != "corrupt" {
		t.Errorf("info %+v", info)
	}
	buf := make([]byte, 100)
	for err == nil {
		_, err = rc.Read(buf)
	}
	wantFault(t, err, "content-corrupt")
	_, err = w.Blobs.ToFile(t.Context(), stadt, id)
	wantFault(t, err, "content-corrupt")
	flip()
	rep, err = w.Blobs.Fixity(t.Context(), pgtest.Stadt, 10)
	must(t, err)
	if rep.Cleared != 1 || w.read(id) != "a letter that must not change" {
		t.Fatalf("%+v", rep)
	}
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND kind = $1`, string(blob.FixityChecked)); n != 3 {
		t.Errorf("%d facts of runs", n)
	}
}

func TestLocksRollOnAndHoldsAreBroughtToTheObject(t *testing.T) {
	now := time.Now()
	w := newWorld(t, func(o *blob.Options) { o.Now = func() time.Time { return now } })
	id := w.keep("locked content")
	key := layout.Content("stadt", w.take("locked content").SHA256)
	lock := func() storage.Lock {
		t.Helper()
		info, err := w.Store.Stat(t.Context(), key)
		must(t, err)
		return info.Lock
	}
	n, err := w.Blobs.Lock(t.Context(), pgtest.Stadt)
	must(t, err)
	if days := lock().Until.Sub(now).Hours() / 24; n != 1 || days < 89.9 || days > 90.1 {
		t.Fatalf("%d locked, for %.1f days", n, days)
	}
	if n, err = w.Blobs.Lock(t.Context(), pgtest.Stadt); n != 0 || err != nil {
		t.Fatalf("again %d, %v", n, err)
	}
	now = now.Add(70 * 24 * time.Hour)
	n, err = w.Blobs.Lock(t.Context(), pgtest.Stadt)
	must(t, err)
	if days := lock().Until.Sub(now).Hours() / 24; n != 1 || days < 89.9 {
		t.Fatalf("%d rolled on, to %.1f days", n, days)
	}
	// The same content put with a shorter period changes nothing.
	w.keep("locked content")
	if days := lock().Until.Sub(now).Hours() / 24; days < 89.9 {
		t.Fatalf("shortened to %.1f days", days)
	}
	// A hold as the records side will want it.
	w.Exec(`UPDATE blob SET lock_wanted_until = lock_wanted_until + interval '10 years' WHERE tenant = evb_tenant() AND id = $1`, id)
	_, err = w.Blobs.Lock(t.Context(), pgtest.Stadt)
	must(t, err)
	if days := lock().Until.Sub(now).Hours() / 24; days < 3000 {
		t.Fatalf("wanted ten years, got %.1f days", days)
	}
	if open := worldtest.One[int](w.World, `SELECT count(*) FROM blob WHERE tenant = evb_tenant() AND lock_actual_until IS DISTINCT FROM lock_wanted_until`); open != 0 {
		t.Errorf("%d not recorded", open)
	}
}

func TestAServerThatIsGoneIsTold(t *testing.T) {
	w := &world{worldtest.New(t, func(o *worldtest.Options) {
		o.OwnServer, o.Store = true, func(c *s3.Config) { c.Attempts = 2 }
	})}
	id := w.keep("before")
	must(t, w.Server.Stop(t.Context()))
	_, err := w.Blobs.Stage(t.Context(), stadt, w.take("after"))
	wantFault(t, err, "storage-unavailable")
	_, _, err = w.Blobs.Open(t.Context(), stadt, id)
	wantFault(t, err, "storage-unavailable")
	_, err = w.Blobs.Reconcile(t.Context(), pgtest.Stadt)
	wantFault(t, err, "storage-unavailable")
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM blob WHERE tenant = evb_tenant() AND problem <> ''`); n != 0 {
		t.Error("a server that is gone was taken for lost objects")
	}
}

// TestAFixityRoundComesRoundInItsPeriod: each run takes the share that the
// period asks for, those first that were not looked at for the longest time.
func TestAFixityRoundComesRoundInItsPeriod(t *testing.T) {
	w := newWorld(t)
	for _, s := range []string{"a", "b", "c", "d", "e"} {
		w.keep(s)
	}
	s := w.Bytes(func(o *blob.Options) { o.FixityPeriod, o.FixityShare = 2*time.Hour, 1 })
	for range 2 {
		rep, err := s.FixityRound(t.Context(), pgtest.Stadt)
		must(t, err)
		if rep.Checked != 3 || rep.Corrupt+rep.Missing != 0 {
			t.Fatalf("a run: %+v", rep)
		}
	}
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM blob WHERE tenant = evb_tenant() AND checked_at IS NULL`); n != 0 {
		t.Errorf("%d blobs were not looked at in the period", n)
	}
}
