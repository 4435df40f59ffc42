package blob_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"evb/internal/blob"
	"evb/internal/postgres/pgtest"
	"evb/storage"
	"evb/storage/layout"
)

// oneBad is a bucket with one object that it treats badly.
type oneBad struct {
	storage.Store
	key storage.Key
	err error // of SetLock
	// unlisted leaves it out of lists, as a list does that was read before it
	// came.
	unlisted bool
}

func (s *oneBad) SetLock(ctx context.Context, key storage.Key, lock storage.Lock, bypass bool) error {
	if key == s.key && s.err != nil {
		return s.err
	}
	return s.Store.SetLock(ctx, key, lock, bypass)
}

func (s *oneBad) List(ctx context.Context, prefix string, after storage.Key) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		for info, err := range s.Store.List(ctx, prefix, after) {
			if s.unlisted && info.Key == s.key {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestALockThatIsRefusedHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	for _, s := range []string{"eins", "zwei", "drei", "vier"} {
		w.keep(s)
	}
	// The one with the smallest id comes first.
	sum := pgtest.One[[]byte](t, w.DB, `SELECT sha256 FROM blob ORDER BY id LIMIT 1`)
	bad := &oneBad{Store: w.Store, key: layout.Content("stadt", [32]byte(sum)), err: errors.New("refused")}
	w.Exec(`UPDATE blob SET lock_wanted_until = lock_wanted_until + interval '1 day'`)
	s := blob.New(w.DB, bad, w.Spool, w.Log, blob.Options{Puts: 1})
	n, err := s.Lock(t.Context(), pgtest.Stadt)
	if n != 3 || !errors.Is(err, bad.err) {
		t.Errorf("%d locked, %v", n, err)
	}
}

func TestALockWithoutAServerIsTriedOnce(t *testing.T) {
	w := newWorld(t)
	for _, s := range []string{"eins", "zwei", "drei", "vier"} {
		w.keep(s)
	}
	sum := pgtest.One[[]byte](t, w.DB, `SELECT sha256 FROM blob ORDER BY id LIMIT 1`)
	bad := &oneBad{Store: w.Store, key: layout.Content("stadt", [32]byte(sum)), err: storage.ErrUnavailable}
	w.Exec(`UPDATE blob SET lock_wanted_until = lock_wanted_until + interval '1 day'`)
	s := blob.New(w.DB, bad, w.Spool, w.Log, blob.Options{Puts: 1})
	if n, err := s.Lock(t.Context(), pgtest.Stadt); n != 0 || !errors.Is(err, bad.err) {
		t.Errorf("%d locked, %v", n, err)
	}
}

// A letter that comes while the bucket is listed is in the rows and not in the
// list; nothing is wrong with it.
func TestWhatComesDuringACheckIsNoFinding(t *testing.T) {
	w := newWorld(t)
	f := w.take("eben gekommen")
	w.keep("eben gekommen")
	late := &oneBad{Store: w.Store, key: layout.Content("stadt", f.SHA256), unlisted: true}
	s := blob.New(w.DB, late, w.Spool, w.Log, blob.Options{})
	found, rows, err := s.Check(t.Context(), stadt)
	if err != nil || rows != 1 || len(found) != 0 {
		t.Errorf("%d rows, %v, findings %v", rows, err, found)
	}
}

// A bucket full of objects that no row knows costs no memory for each.
func TestSuspiciousOrphansAreCountedWhole(t *testing.T) {
	w := newWorld(t)
	for _, s := range []string{"eins", "zwei", "drei"} {
		f := w.take(s)
		_, err := w.Blobs.Stage(t.Context(), stadt, f)
		must(t, err)
	}
	w.Exec(`DELETE FROM blob_digest`)
	w.Exec(`DELETE FROM blob`)
	s := w.service(soon, func(o *blob.Options) { o.Orphans = 1 })
	rep, err := s.Reconcile(t.Context(), pgtest.Stadt)
	must(t, err)
	if !rep.Suspicious || rep.Orphans != 0 || w.Count("blob") != 0 {
		t.Errorf("%+v", rep)
	}
	if n := pgtest.One[int](t, w.DB, `SELECT (payload::jsonb->'details'->>'objects')::int FROM event WHERE kind = 'blob.orphans_suspicious'`); n != 3 {
		t.Errorf("%d objects told, want 3", n)
	}
}
