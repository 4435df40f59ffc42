package s3d_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"evb/internal/sharedtest"
	"evb/storage"
)

// mount mounts an ext4 image through a loop device until the test ends. Where
// the kernel has no loop devices for this user, the test cannot be run.
func mount(t *testing.T, image, at string) {
	t.Helper()
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	// No commit by the clock: only what was synced reaches the image.
	out, err := exec.Command("mount", "-t", "ext4", "-o", "loop,commit=600", image, at).CombinedOutput()
	if err != nil {
		if loop, e := os.OpenFile("/dev/loop-control", os.O_RDWR, 0); e != nil {
			sharedtest.Unable(t, "no loop devices for this user", e)
		} else {
			_ = loop.Close()
		}
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", at).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	tmp := t.TempDir()
	image, after := filepath.Join(tmp, "a.img"), filepath.Join(tmp, "b.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 128<<20); err != nil {
		t.Fatal(err)
	}
	// Blocks of 4 KiB, as on every disk of some size: ext4 keeps the attributes
	// of a file in one block, and a bucket's policy does not fit into 1 KiB.
	if out, err := exec.Command(sharedtest.Program(t, "mkfs.ext4", "e2fsprogs"), "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	before := filepath.Join(tmp, "before")
	mount(t, image, before)
	srv := start(t, filepath.Join(before, "s3"))
	defer stop(t, srv) // before the image is unmounted
	cfg := srv.Config(false)
	cfg.CallTimeout, cfg.Attempts = 20*time.Second, 1
	store := newStore(t, cfg)
	type acked struct {
		key  storage.Key
		b    []byte
		lock storage.Lock
	}
	var mu sync.Mutex
	var all []acked
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				key, b, o := object(20_000)
				lock := storage.Lock{Mode: storage.LockGovernance, Until: time.Now().UTC().Truncate(time.Second).Add(time.Hour)}
				o.Lock = &lock
				if _, err := store.Put(ctx, key, bytes.NewReader(b), int64(len(b)), o); err != nil {
					continue
				}
				mu.Lock()
				n := len(all)
				mu.Unlock()
				if n%8 == 0 {
					hold := lock
					hold.LegalHold = true
					if store.SetLock(ctx, key, hold, false) == nil {
						lock = hold
					} else {
						continue
					}
				}
				mu.Lock()
				all = append(all, acked{key, b, lock})
				mu.Unlock()
			}
		})
	}
	sharedtest.Eventually(t, "200 objects", func() bool { mu.Lock(); defer mu.Unlock(); return len(all) >= 200 })
	// The server stands still while the image is copied, so the copy is what
	// a disk would hold at that moment.
	if err := syscall.Kill(srv.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	sure := append([]acked(nil), all...)
	mu.Unlock()
	control := filepath.Join(before, "control")
	if err := os.WriteFile(control, bytes.Repeat([]byte("x"), 20_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "--sparse=always", image, after).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	if err := syscall.Kill(srv.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	cancel()
	wg.Wait()
	stop(t, srv)

	at := filepath.Join(tmp, "after")
	mount(t, after, at)
	if b, err := os.ReadFile(filepath.Join(at, "control")); err == nil && len(b) == 20_000 {
		t.Error("the copy holds what was never synced: this test proves nothing")
	}
	again := start(t, filepath.Join(at, "s3"))
	defer stop(t, again)
	back := newStore(t, again.Config(false))
	for _, a := range sure {
		mustRead(t, back, a.key, a.b)
		info, err := back.Stat(t.Context(), a.key)
		if err != nil || info.Lock != a.lock {
			t.Errorf("%s: lock %+v, want %+v, %v", a.key, info.Lock, a.lock, err)
		}
	}
	t.Logf("%d objects acknowledged before the cut, all there", len(sure))
}

func TestFullDiskIsReportedAndHeals(t *testing.T) {
	at, ok := sharedtest.SmallDisk(t, "8m")
	if !ok {
		return
	}
	srv := start(t, filepath.Join(at, "s3"))
	defer stop(t, srv)
	store := newStore(t, srv.Config(true))
	keep, kept, o := object(100_000)
	if _, err := store.Put(t.Context(), keep, bytes.NewReader(kept), int64(len(kept)), o); err != nil {
		t.Fatal(err)
	}
	var stored []storage.Key
	var full error
	for range 200 {
		key, b, o := object(100_000)
		if _, full = store.Put(t.Context(), key, bytes.NewReader(b), int64(len(b)), o); full != nil {
			if _, err := store.Stat(t.Context(), key); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("half stored: %v", err)
			}
			break
		}
		stored = append(stored, key)
	}
	if !errors.Is(full, storage.ErrNoSpace) {
		t.Fatalf("a full disk gives %v", full)
	}
	// To the last block: now also small things find no room.
	for n := 50_000; n > 0; n /= 2 {
		for range 50 {
			key, b, o := object(n)
			_, err := store.Put(t.Context(), key, bytes.NewReader(b), int64(len(b)), o)
			if err == nil {
				stored = append(stored, key)
				continue
			}
			if !errors.Is(err, storage.ErrNoSpace) {
				t.Fatalf("%d bytes on a full disk: %v", n, err)
			}
			break
		}
	}
	mustRead(t, store, keep, kept)
	pid := srv.Pid()
	for _, key := range stored {
		if err := store.DeleteVersions(t.Context(), key, true); err != nil {
			t.Fatal(err)
		}
	}
	key, b, o := object(1_000_000)
	if _, err := store.Put(t.Context(), key, bytes.NewReader(b), int64(len(b)), o); err != nil {
		t.Errorf("after making room: %v", err)
	}
	mustRead(t, store, key, b)
	if srv.Pid() != pid {
		t.Error("it must work again without a restart")
	}
}
