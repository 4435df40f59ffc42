// Package storagetest is the conformance suite of storage.Store: whatever
// passes Run may stand behind the application. It uses tenants of its own with
// random names, so it may run on a bucket that holds other objects, and removes
// what it stored as far as locks allow.
package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"evb/storage"
	"evb/storage/layout"
)

// Factory gives a store that may override governance locks (bypass). It is
// called once for each test of the suite; stores may share a bucket.
type Factory func(t *testing.T) storage.Store

// Run tests the stores of f against the contract. Locks are set relative to the
// clock of this machine, which should be near the server's.
func Run(t *testing.T, f Factory) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, *subject)
	}{
		{"put then read gives the same bytes", putThenRead},
		{"ranges are cut at the end", ranges},
		{"the same bytes again are success", sameAgain},
		{"other bytes under the same key are a conflict", otherBytes},
		{"a wrong digest or size stores nothing", wrongBytes},
		{"many puts of the same bytes all succeed", concurrentPuts},
		{"what is not there is not found", notFound},
		{"malformed keys are refused", badKeys},
		{"a lock set with the put protects", lockOnPut},
		{"a lock set later can be prolonged but not shortened", lockLater},
		{"a put of existing bytes strengthens the lock", lockStrengthened},
		{"a compliance lock resists the bypass", compliance},
		{"a legal hold resists the bypass until lifted", legalHold},
		{"deletion is complete and repeatable", deletion},
		{"a deleted key can be used again", putAfterDeletion},
		{"list is in byte order and goes on after a key", list},
		{"a cancelled context is reported as such", cancelled},
		{"objects in parts are verified and compared", large},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, newSubject(t, f(t)))
		})
	}
}

type subject struct {
	storage.Store
	ctx    context.Context
	tenant string
}

func newSubject(t *testing.T, s storage.Store) *subject {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	var b [8]byte
	_, _ = rand.Read(b[:])
	su := &subject{Store: s, ctx: ctx, tenant: "t" + hex.EncodeToString(b[:])}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for o, err := range s.List(ctx, layout.TenantPrefix(su.tenant), "") {
			if err != nil {
				t.Logf("clean up: %v", err)
				return
			}
			if err := s.DeleteVersions(ctx, o.Key, true); err != nil && !errors.Is(err, storage.ErrLocked) {
				t.Logf("clean up: %v", err)
			}
		}
	})
	return su
}

func (s *subject) data(n int) (storage.Key, []byte, storage.PutOptions) {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	sum := sha256.Sum256(b)
	key := layout.Content(s.tenant, sum)
	if n == 0 {
		return key, b, storage.PutOptions{SHA256: sum[:]}
	}
	return key, b, storage.PutOptions{SHA256: sum[:], ContentType: "application/pdf"}
}

func (s *subject) put(t *testing.T, n int, lock *storage.Lock) (storage.Key, []byte) {
	t.Helper()
	key, b, o := s.data(n)
	o.Lock = lock
	if _, err := s.Put(s.ctx, key, bytes.NewReader(b), int64(n), o); err != nil {
		t.Fatal(err)
	}
	return key, b
}

func (s *subject) read(t *testing.T, key storage.Key, r storage.Range) []byte {
	t.Helper()
	rc, _, err := s.Get(s.ctx, key, r)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

// onlyReader hides everything but Read.
type onlyReader struct{ r io.Reader }

func (o onlyReader) Read(p []byte) (int, error) { return o.r.Read(p) }

func putThenRead(t *testing.T, s *subject) {
	for _, n := range []int{0, 1, 4096, 100_000, 1<<20 + 1} {
		key, b, o := s.data(n)
		info, err := s.Put(s.ctx, key, onlyReader{bytes.NewReader(b)}, int64(n), o)
		if err != nil {
			t.Fatal(err)
		}
		if info.Existed || info.Key != key || info.Size != int64(n) {
			t.Errorf("put: %+v", info)
		}
		rc, got, err := s.Get(s.ctx, key, storage.Range{})
		if err != nil {
			t.Fatal(err)
		}
		v := storage.NewVerifyingReader(rc, o.SHA256, int64(n))
		back, err := io.ReadAll(v)
		if err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%d bytes came back as %d: %v", n, len(back), err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		st, err := s.Stat(s.ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		for name, i := range map[string]storage.Info{"get": got, "stat": st} {
			if i.Size != int64(n) || i.Key != key || i.ModTime.IsZero() || n > 0 && i.ContentType != "application/pdf" {
				t.Errorf("%s: %+v", name, i)
			}
			if i.SHA256 != nil && !bytes.Equal(i.SHA256, o.SHA256) {
				t.Errorf("%s: SHA-256 %x", name, i.SHA256)
			}
		}
	}
}

func ranges(t *testing.T, s *subject) {
	key, b := s.put(t, 1000, nil)
	for _, c := range []struct {
		r    storage.Range
		want []byte
	}{
		{storage.Range{}, b},
		{storage.Range{Length: 1}, b[:1]},
		{storage.Range{Offset: 10, Length: 20}, b[10:30]},
		{storage.Range{Offset: 990}, b[990:]},
		{storage.Range{Offset: 990, Length: 100}, b[990:]},
		{storage.Range{Offset: 999, Length: 1}, b[999:]},
		{storage.Range{Offset: 1000}, nil},
		{storage.Range{Offset: 5000, Length: 3}, nil},
	} {
		if got := s.read(t, key, c.r); !bytes.Equal(got, c.want) {
			t.Errorf("%+v: %d bytes, want %d", c.r, len(got), len(c.want))
		}
		_, info, err := s.Get(s.ctx, key, c.r)
		if err != nil || info.Size != 1000 {
			t.Errorf("%+v: size of the object is given as %d, %v", c.r, info.Size, err)
		}
	}
	if _, _, err := s.Get(s.ctx, key, storage.Range{Offset: -1}); err == nil {
		t.Error("a negative offset must be refused")
	}
}

func sameAgain(t *testing.T, s *subject) {
	key, b, o := s.data(5000)
	for i := range 3 {
		info, err := s.Put(s.ctx, key, bytes.NewReader(b), 5000, o)
		if err != nil {
			t.Fatal(err)
		}
		if info.Existed != (i > 0) || info.Size != 5000 || info.Key != key {
			t.Errorf("put %d: %+v", i, info)
		}
	}
}

func otherBytes(t *testing.T, s *subject) {
	key, b := s.put(t, 500, nil)
	for _, n := range []int{500, 501} {
		_, other, o := s.data(n)
		_, err := s.Put(s.ctx, key, bytes.NewReader(other), int64(n), o)
		is(t, err, storage.ErrConflict)
	}
	if !bytes.Equal(s.read(t, key, storage.Range{}), b) {
		t.Error("the first bytes must stay")
	}
}

func wrongBytes(t *testing.T, s *subject) {
	_, b, o := s.data(300_000)
	for name, c := range map[string]struct {
		body io.Reader
		size int64
	}{
		"one bit":      {bytes.NewReader(append(slices.Clone(b[:299_999]), b[299_999]^1)), 300_000},
		"too short":    {bytes.NewReader(b[:299_000]), 300_000},
		"too long":     {bytes.NewReader(append(slices.Clone(b), 7)), 300_000},
		"empty":        {bytes.NewReader(nil), 0},
		"not seekable": {onlyReader{bytes.NewReader(b[1:])}, 299_999},
	} {
		key := layout.Content(s.tenant, sha256.Sum256([]byte(name)))
		_, err := s.Put(s.ctx, key, c.body, c.size, o)
		if !errors.Is(err, storage.ErrCorrupt) {
			// An empty body with another digest is refused by the server or by us.
			t.Errorf("%s: %v", name, err)
		}
		_, err = s.Stat(s.ctx, key)
		is(t, err, storage.ErrNotFound)
	}
	broken := errors.New("the disk of the sender failed")
	key, b, o := s.data(1000)
	_, err := s.Put(s.ctx, key, io.MultiReader(bytes.NewReader(b[:10]), failing{broken}), 1000, o)
	is(t, err, broken)
	_, err = s.Stat(s.ctx, key)
	is(t, err, storage.ErrNotFound)
	for _, o := range []storage.PutOptions{{}, {SHA256: make([]byte, 20)}, {SHA256: o.SHA256, Lock: &storage.Lock{Mode: "other"}}} {
		if _, err := s.Put(s.ctx, key, bytes.NewReader(b), 1000, o); err == nil {
			t.Errorf("%+v must be refused", o)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func concurrentPuts(t *testing.T, s *subject) {
	key, b, o := s.data(50_000)
	o.Lock = &storage.Lock{Mode: storage.LockGovernance, Until: time.Now().Add(time.Hour)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	created := 0
	for range 16 {
		wg.Go(func() {
			info, err := s.Put(s.ctx, key, bytes.NewReader(b), 50_000, o)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if !info.Existed {
				created++
			}
		})
	}
	wg.Wait()
	if created != 1 {
		t.Errorf("%d puts say they created the object", created)
	}
	if !bytes.Equal(s.read(t, key, storage.Range{}), b) {
		t.Error("other bytes came back")
	}
}

func notFound(t *testing.T, s *subject) {
	key, _, _ := s.data(1)
	_, _, err := s.Get(s.ctx, key, storage.Range{})
	is(t, err, storage.ErrNotFound)
	_, err = s.Stat(s.ctx, key)
	is(t, err, storage.ErrNotFound)
	is(t, s.SetLock(s.ctx, key, storage.Lock{LegalHold: true}, false), storage.ErrNotFound)
	if err := s.DeleteVersions(s.ctx, key, false); err != nil {
		t.Errorf("deleting nothing must succeed: %v", err)
	}
	for range s.List(s.ctx, layout.TenantPrefix(s.tenant), "") {
		t.Error("an empty tenant lists something")
	}
}

func badKeys(t *testing.T, s *subject) {
	sum := sha256.Sum256(nil)
	for _, key := range []storage.Key{"", "/", "a//b", "a/", "/a", "../a", "a/../b", "a/.b", "A", "ä", "a b", storage.Key(strings.Repeat("a", 600))} {
		_, err := s.Put(s.ctx, key, bytes.NewReader(nil), 0, storage.PutOptions{SHA256: sum[:]})
		is(t, err, storage.ErrBadKey)
		_, _, err = s.Get(s.ctx, key, storage.Range{})
		is(t, err, storage.ErrBadKey)
		_, err = s.Stat(s.ctx, key)
		is(t, err, storage.ErrBadKey)
		is(t, s.SetLock(s.ctx, key, storage.Lock{}, false), storage.ErrBadKey)
		is(t, s.DeleteVersions(s.ctx, key, true), storage.ErrBadKey)
	}
}

func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func (s *subject) lockIs(t *testing.T, key storage.Key, want storage.Lock) {
	t.Helper()
	info, err := s.Stat(s.ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, info.Lock); d != "" {
		t.Fatal(d)
	}
}

func lockOnPut(t *testing.T, s *subject) {
	want := storage.Lock{Mode: storage.LockGovernance, Until: seconds(time.Now().Add(7 * 24 * time.Hour))}
	key, b := s.put(t, 2000, &want)
	s.lockIs(t, key, want)
	is(t, s.DeleteVersions(s.ctx, key, false), storage.ErrLocked)
	if !bytes.Equal(s.read(t, key, storage.Range{}), b) {
		t.Error("other bytes came back")
	}
	if err := s.DeleteVersions(s.ctx, key, true); err != nil {
		t.Fatal(err)
	}
	_, err := s.Stat(s.ctx, key)
	is(t, err, storage.ErrNotFound)
}

func lockLater(t *testing.T, s *subject) {
	key, _ := s.put(t, 100, nil)
	s.lockIs(t, key, storage.Lock{})
	week := storage.Lock{Mode: storage.LockGovernance, Until: seconds(time.Now().Add(7 * 24 * time.Hour))}
	month := storage.Lock{Mode: storage.LockGovernance, Until: seconds(time.Now().Add(30 * 24 * time.Hour))}
	for _, l := range []storage.Lock{week, month, month} {
		if err := s.SetLock(s.ctx, key, l, false); err != nil {
			t.Fatal(err)
		}
		s.lockIs(t, key, l)
	}
	is(t, s.SetLock(s.ctx, key, week, false), storage.ErrLocked)
	s.lockIs(t, key, month)
	if err := s.SetLock(s.ctx, key, week, true); err != nil {
		t.Fatal(err)
	}
	s.lockIs(t, key, week)
	if err := s.SetLock(s.ctx, key, storage.Lock{}, false); err != nil {
		t.Fatal(err)
	}
	s.lockIs(t, key, week) // LockNone leaves the period
}

func lockStrengthened(t *testing.T, s *subject) {
	key, b, o := s.data(100)
	put := func(l *storage.Lock) storage.Info {
		t.Helper()
		o.Lock = l
		info, err := s.Put(s.ctx, key, bytes.NewReader(b), 100, o)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	put(nil)
	week := storage.Lock{Mode: storage.LockGovernance, Until: seconds(time.Now().Add(7 * 24 * time.Hour))}
	day := storage.Lock{Mode: storage.LockGovernance, Until: seconds(time.Now().Add(24 * time.Hour))}
	if info := put(&week); !info.Existed || info.Lock != week {
		t.Errorf("%+v", info)
	}
	s.lockIs(t, key, week)
	if info := put(&day); info.Lock != week {
		t.Errorf("%+v", info)
	}
	s.lockIs(t, key, week)
}

func compliance(t *testing.T, s *subject) {
	// Short, or the test's object could not be removed for its period.
	l := storage.Lock{Mode: storage.LockCompliance, Until: seconds(time.Now().Add(30 * time.Second))}
	key, _ := s.put(t, 100, &l)
	s.lockIs(t, key, l)
	is(t, s.DeleteVersions(s.ctx, key, true), storage.ErrLocked)
	is(t, s.SetLock(s.ctx, key, storage.Lock{Mode: storage.LockGovernance, Until: l.Until}, true), storage.ErrLocked)
	longer := storage.Lock{Mode: storage.LockCompliance, Until: l.Until.Add(time.Second)}
	if err := s.SetLock(s.ctx, key, longer, false); err != nil {
		t.Fatal(err)
	}
	s.lockIs(t, key, longer)
	is(t, s.SetLock(s.ctx, key, l, true), storage.ErrLocked)
}

func legalHold(t *testing.T, s *subject) {
	hold := storage.Lock{LegalHold: true}
	key, _ := s.put(t, 100, &hold)
	s.lockIs(t, key, hold)
	is(t, s.DeleteVersions(s.ctx, key, true), storage.ErrLocked)
	both := storage.Lock{Mode: storage.LockGovernance, Until: seconds(time.Now().Add(time.Hour)), LegalHold: true}
	if err := s.SetLock(s.ctx, key, both, false); err != nil {
		t.Fatal(err)
	}
	s.lockIs(t, key, both)
	is(t, s.DeleteVersions(s.ctx, key, true), storage.ErrLocked)
	if err := s.SetLock(s.ctx, key, storage.Lock{}, false); err != nil {
		t.Fatal(err)
	}
	both.LegalHold = false
	s.lockIs(t, key, both)
	if err := s.DeleteVersions(s.ctx, key, true); err != nil {
		t.Fatal(err)
	}
}

func deletion(t *testing.T, s *subject) {
	key, _ := s.put(t, 100, nil)
	neighbour, b := s.put(t, 100, nil)
	for range 2 {
		if err := s.DeleteVersions(s.ctx, key, false); err != nil {
			t.Fatal(err)
		}
		_, err := s.Stat(s.ctx, key)
		is(t, err, storage.ErrNotFound)
	}
	if !bytes.Equal(s.read(t, neighbour, storage.Range{}), b) {
		t.Error("another object was touched")
	}
}

func putAfterDeletion(t *testing.T, s *subject) {
	key, b, o := s.data(700)
	for range 3 {
		info, err := s.Put(s.ctx, key, bytes.NewReader(b), 700, o)
		if err != nil || info.Existed {
			t.Fatalf("%+v, %v", info, err)
		}
		if !bytes.Equal(s.read(t, key, storage.Range{}), b) {
			t.Fatal("other bytes came back")
		}
		if err := s.DeleteVersions(s.ctx, key, false); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, s *subject) {
	var want []storage.Key
	for range 40 {
		key, _ := s.put(t, 10, nil)
		want = append(want, key)
	}
	slices.Sort(want)
	collect := func(prefix string, after storage.Key) []storage.Key {
		t.Helper()
		var got []storage.Key
		for o, err := range s.List(s.ctx, prefix, after) {
			if err != nil {
				t.Fatal(err)
			}
			if o.Size != 10 || o.ModTime.IsZero() {
				t.Errorf("%+v", o)
			}
			got = append(got, o.Key)
		}
		return got
	}
	all := layout.TenantPrefix(s.tenant)
	if d := cmp.Diff(want, collect(all, "")); d != "" {
		t.Error(d)
	}
	for _, i := range []int{0, 1, 20, 38, 39} {
		if d := cmp.Diff(want[i+1:], collect(all, want[i]), cmp.Transformer("len", func(k []storage.Key) string { return fmt.Sprint(k) })); d != "" {
			t.Errorf("after %d: %s", i, d)
		}
	}
	n := 0
	for b := range 256 {
		if b%16 == 0 || n < len(want) {
			n += len(collect(layout.ContentPrefix(s.tenant, byte(b)), ""))
		}
	}
	if n != len(want) {
		t.Errorf("the 256 prefixes hold %d of %d", n, len(want))
	}
	for range s.List(s.ctx, all, "") {
		break // leaving early must be possible
	}
	other := newSubject(t, s.Store)
	if got := collect(layout.TenantPrefix(other.tenant), ""); len(got) != 0 {
		t.Errorf("another tenant lists %v", got)
	}
}

func cancelled(t *testing.T, s *subject) {
	key, b, o := s.data(100)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err := s.Put(ctx, key, bytes.NewReader(b), 100, o)
	is(t, err, context.Canceled)
	_, _, err = s.Get(ctx, key, storage.Range{})
	is(t, err, context.Canceled)
	_, err = s.Stat(ctx, key)
	is(t, err, context.Canceled)
	is(t, s.DeleteVersions(ctx, key, false), context.Canceled)
	for _, err := range s.List(ctx, layout.TenantPrefix(s.tenant), "") {
		is(t, err, context.Canceled)
	}
}

func large(t *testing.T, s *subject) {
	const n = 65 << 20
	key, b, o := s.data(n)
	bad := slices.Clone(b)
	bad[n-1] ^= 1
	_, err := s.Put(s.ctx, key, bytes.NewReader(bad), n, o)
	is(t, err, storage.ErrCorrupt)
	_, err = s.Stat(s.ctx, key)
	is(t, err, storage.ErrNotFound)
	o.Lock = &storage.Lock{Mode: storage.LockGovernance, Until: seconds(time.Now().Add(time.Hour))}
	for i := range 2 {
		info, err := s.Put(s.ctx, key, bytes.NewReader(b), n, o)
		if err != nil || info.Existed != (i > 0) {
			t.Fatalf("%+v, %v", info, err)
		}
	}
	s.lockIs(t, key, *o.Lock)
	other := sha256.Sum256(bad)
	_, err = s.Put(s.ctx, key, bytes.NewReader(bad), n, storage.PutOptions{SHA256: other[:]})
	is(t, err, storage.ErrConflict)
	rc, _, err := s.Get(s.ctx, key, storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if _, err := io.Copy(io.Discard, storage.NewVerifyingReader(rc, o.SHA256, n)); err != nil {
		t.Error(err)
	}
}
