package main_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"evb/internal/sharedtest"
)

// process is one line of the process table.
type process struct {
	pid, parent int
	command     string
}

// processes lists those below pid, the nearest first.
func processes(t *testing.T, pid int) []process {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]process{}
	for _, dir := range dirs {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent ...; the name may hold anything.
		text := string(stat)
		fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
		command, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		p := process{command: strings.ReplaceAll(string(command), "\x00", " ")}
		if p.pid, err = strconv.Atoi(filepath.Base(dir)); err != nil {
			continue
		}
		if p.parent, err = strconv.Atoi(fields[1]); err != nil {
			continue
		}
		children[p.parent] = append(children[p.parent], p)
	}
	below := children[pid]
	for i := 0; i < len(below); i++ {
		below = append(below, children[below[i].pid]...)
	}
	return below
}

// victims are the processes that one kill may hit, by what they are.
func (s *server) victims() map[string][]int {
	out := map[string][]int{"server": {s.cmd.Process.Pid}}
	for _, p := range processes(s.t, s.cmd.Process.Pid) {
		switch {
		case strings.Contains(p.command, " s3-child"):
			out["s3"] = append(out["s3"], p.pid)
		case strings.Contains(p.command, "/postgres -D "):
			out["postmaster"] = append(out["postmaster"], p.pid)
		case strings.HasPrefix(p.command, "postgres: ") && strings.Contains(p.command, " evb_app "):
			out["backend"] = append(out["backend"], p.pid)
		}
	}
	return out
}

// freeAddr is an address that nobody listens on. A server that is started
// again on its address is found there by commands that wait for it.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// keepPosting hands a letter over until it is acknowledged, as a sender does
// whom an outage does not impress. current is the server of the moment.
func (l *ledger) keepPosting(ctx context.Context, current func() *server, token string, n int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		id, err := current().post(token, n)
		if err == nil {
			l.acknowledged(n, id)
			return
		}
		var status int
		if errors.Is(err, errRefused) {
			if _, serr := fmt.Sscanf(strings.TrimPrefix(err.Error(), errRefused.Error()+": "), "%d", &status); serr != nil || status < 500 {
				l.t.Errorf("letter %d: %v", n, err)
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func TestKilledAtRandomNothingIsLostOrTwice(t *testing.T) {
	t.Parallel()
	rounds, seed := 3, uint64(2026)
	if sharedtest.Prove() {
		rounds = 50
	}
	rng := rand.New(rand.NewPCG(seed, 50)) //nolint:gosec // the same kills each time
	p, data := town(t)
	l := newLedger(t)
	addr := "EVB_HTTP_ADDR=" + freeAddr(t)
	var mu sync.Mutex
	s := start(t, binary(t), data, addr)
	current := func() *server {
		mu.Lock()
		defer mu.Unlock()
		return s
	}
	const clients, letters = 4, 3
	kinds := []string{"server", "s3", "postmaster", "backend"}
	for round := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				for i := range letters {
					l.keepPosting(ctx, current, p.scanner, 1+(round*clients+c)*letters+i)
				}
			})
		}
		name := fmt.Sprintf("zufall-%d", round)
		box := l.fileBatch(name, 9000+round*10)
		if round%5 == 4 { // a stream now and then
			box = scanBatch(t, "dev-c", name)
			delete(l.sums, name)
		}
		wg.Go(func() {
			tick := time.NewTicker(500 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil && !l.ingest(ctx, current(), p.scanner, box) {
				<-tick.C // the operator calls the command again
			}
		})
		// Three kills a round, one of each kind in the first ones, then any.
		for k := range 3 {
			pause := time.NewTimer(time.Duration(50+rng.IntN(1500)) * time.Millisecond)
			kind, which := kinds[rng.IntN(len(kinds))], rng.IntN(1000)
			if n := round*3 + k; n < len(kinds) {
				kind = kinds[n]
			}
			<-pause.C
			pids := s.victims()[kind]
			if len(pids) == 0 {
				t.Logf("round %d: no %s lives now", round, kind) // it is being started again
				continue
			}
			slices.Sort(pids)
			if err := syscall.Kill(pids[which%len(pids)], syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			t.Logf("round %d: kill -9 of a %s", round, kind)
			if kind == "server" {
				<-s.ended
				next := start(t, binary(t), data, addr)
				next.aged()
				mu.Lock()
				s = next
				mu.Unlock()
			}
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for waiting := true; waiting; {
			select {
			case <-done:
				waiting = false
			case <-s.ended:
				t.Fatalf("round %d: the server ended by itself: %v", round, s.err)
			}
		}
		if ctx.Err() != nil {
			t.Errorf("round %d: not everything was acknowledged", round)
		}
		cancel()
		if t.Failed() {
			return
		}
	}
	if want := rounds * clients * letters; len(l.letters) != want || len(l.batches) != rounds {
		t.Errorf("%d letters and %d batches acknowledged, want %d and %d", len(l.letters), len(l.batches), want, rounds)
	}
	l.holds(s, p)
	s.stop()
}
