package main_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// mounted mounts an ext4 image through a loop device until the test ends. It
// gives "" and says why where this machine's kernel or rights have none: there
// a power cut cannot be shown, and the proofs by kill -9 stand alone.
func mounted(t *testing.T, image string) string {
	t.Helper()
	at, err := os.MkdirTemp(scratch, "disk")
	if err != nil {
		t.Fatal(err)
	}
	// No commit by the clock: only what was synced reaches the image.
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "ext4", "-o", "loop,commit=600", image, at).CombinedOutput(); err != nil { //nolint:gosec // the test's own
		t.Logf("SKIPPED: no loop device can be mounted here: %v: %s", err, out)
		return ""
	}
	t.Cleanup(func() {
		// A killed Postgres needs a moment to let go of its files.
		var out []byte
		if !await(func() (ok bool) {
			var err error
			out, err = exec.CommandContext(context.WithoutCancel(t.Context()), "umount", at).CombinedOutput() //nolint:gosec // the test's own
			return err == nil
		}) {
			t.Errorf("umount: %s", out)
		}
	})
	if err := os.Chmod(at, 0o711); err != nil { //nolint:gosec // Postgres passes through it
		t.Fatal(err)
	}
	return at
}

// The disk is an image file. Its copy, made in the middle of the work, holds
// what a disk holds after a power cut: what was written out by then, the rest
// of each half-done step missing.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	image := filepath.Join(scratch, "disk.img")
	cut := filepath.Join(scratch, "cut.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 1<<30); err != nil {
		t.Fatal(err)
	}
	// Blocks of 4 KiB, as on every disk of some size: the attributes of an object
	// need room.
	mkfs := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", image) //nolint:gosec // the test's own
	if out, err := mkfs.CombinedOutput(); err != nil {
		t.Logf("SKIPPED: no mkfs.ext4 here: %v: %s", err, out)
		return
	}
	disk := mounted(t, image)
	if disk == "" {
		return
	}
	p, from := town(t)
	data := filepath.Join(disk, "data")
	copyTree(t, from, data)
	if out, err := exec.CommandContext(t.Context(), "sync", "-f", disk).CombinedOutput(); err != nil { //nolint:gosec // the test's own
		t.Fatalf("sync: %v: %s", err, out)
	}
	s := start(t, binary(t), data)
	l := newLedger(t)

	// Four senders, until the cut is made.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const most = 200
	var wg sync.WaitGroup
	var sent sync.Map
	enough := make(chan struct{})
	var once sync.Once
	for first := range 4 {
		wg.Go(func() {
			for n := first + 1; n <= most && ctx.Err() == nil; n += 4 {
				sent.Store(n, true)
				id, err := s.post(p.scanner, n)
				if err != nil {
					t.Errorf("letter %d: %v", n, err)
					return
				}
				l.acknowledged(n, id)
				if n > 20 {
					once.Do(func() { close(enough) })
				}
			}
			once.Do(func() { close(enough) })
		})
	}
	<-enough
	l.mu.Lock()
	sure := maps.Clone(l.letters)
	l.mu.Unlock()
	unsynced := filepath.Join(disk, "unsynced")
	if err := os.WriteFile(unsynced, make([]byte, 20_000), 0o600); err != nil {
		t.Fatal(err)
	}
	s.frozen(func() {
		if out, err := exec.CommandContext(t.Context(), "cp", "--sparse=always", image, cut).CombinedOutput(); err != nil { //nolint:gosec // the test's own
			t.Fatalf("cp: %v: %s", err, out)
		}
	})
	cancel()
	wg.Wait()
	s.stop()

	after := mounted(t, cut)
	if after == "" {
		t.Fatal("the copy cannot be mounted")
	}
	if info, err := os.Stat(filepath.Join(after, "unsynced")); err == nil && info.Size() > 0 {
		t.Error("the copy holds what was never synced: this test proves nothing")
	}
	again := start(t, binary(t), filepath.Join(after, "data"))
	again.aged()
	// What was on its way at the cut is there once or not at all.
	back := newLedger(t)
	back.letters = sure
	sent.Range(func(n, _ any) bool { back.doubtful[n.(int)] = true; return true }) //nolint:forcetypeassert // stored above
	back.holds(again, p)
	t.Logf("%d letters acknowledged before the cut, all there", len(sure))
	again.stop()
}

// frozen calls f while every process of the server stands still and no system
// call of theirs is under way: so the image is that of one moment.
func (s *server) frozen(f func()) {
	s.t.Helper()
	stopped := map[int]bool{}
	defer func() {
		for pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}()
	eventually(s.t, "all processes stand still", func() bool {
		still := true
		for _, pid := range append([]int{s.cmd.Process.Pid}, pids(processes(s.t, s.cmd.Process.Pid))...) {
			if !stopped[pid] {
				still = false
				stopped[pid] = syscall.Kill(pid, syscall.SIGSTOP) == nil
			}
			threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
			if err != nil {
				s.t.Fatal(err)
			}
			for _, thread := range threads {
				b, err := os.ReadFile(thread)
				still = still && (err != nil || strings.Contains(string(b), ") T "))
			}
		}
		return still
	})
	f()
}

func pids(all []process) []int {
	var out []int
	for _, p := range all {
		out = append(out, p.pid)
	}
	return out
}
