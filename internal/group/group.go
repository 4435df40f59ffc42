// Package group lets concurrent callers share one run of a costly act: a
// transaction with its commit. A caller never waits for others to join: whoever
// is there when a run starts goes along, up to a limit, and the next run takes
// what came meanwhile. Under load groups grow by themselves; a lone caller is a
// group of one.
//
// A group fails or succeeds as a whole in the database, but its members do not:
// when a run of several fails, each is run again alone, so that one bad member
// cannot fail the others. What must not be repeated so (an unknown outcome, a
// server that is gone) is said by Options.Whole.
package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Options of New. Zero fields mean their defaults.
type Options struct {
	// Size is the most members of one run, default 50.
	Size int
	// Parallel is the most runs at a time, default 1: the others gather
	// meanwhile. More helps where a run mostly waits.
	Parallel int
	// Timeout bounds one run, default 30 s. A run outlives the caller that
	// started it, because others share it.
	Timeout time.Duration
	// Whole says of an error of a run that it holds for all members alike and
	// that running them one by one is of no use, or wrong. nil: none does.
	Whole func(error) bool
	// Observe is told the size of every run, nil: nobody.
	Observe func(size int)
}

// Group runs items of type In, each giving an Out. Safe for concurrent use; it
// has no goroutine while nothing is queued.
type Group[In, Out any] struct {
	run func(ctx context.Context, in []In) ([]Out, error)
	o   Options

	mu      sync.Mutex
	queue   []*member[In, Out]
	running int
}

type member[In, Out any] struct {
	ctx  context.Context
	in   In
	out  Out
	err  error
	done chan struct{}
}

// ErrLost says that a run ended without answering, because it panicked.
var ErrLost = errors.New("group: the run ended without an answer")

// New makes a group. run gets one to Size items and gives one result each, in
// the same order, or an error; it may be called again with single items of a
// run that failed, so it has no effects besides its transaction.
func New[In, Out any](o Options, run func(ctx context.Context, in []In) ([]Out, error)) *Group[In, Out] {
	if o.Size == 0 {
		o.Size = 50
	}
	if o.Parallel == 0 {
		o.Parallel = 1
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	return &Group[In, Out]{run: run, o: o}
}

// Do runs in with whoever else is there and gives its own result. It returns
// early with the context's error when ctx ends while in is still queued; once
// in takes part in a run, Do waits for the outcome, so that no caller goes away
// from something that is about to be committed.
func (g *Group[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	m := &member[In, Out]{ctx: ctx, in: in, done: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, m)
	if g.running < g.o.Parallel {
		g.running++
		go g.loop()
	}
	g.mu.Unlock()
	select {
	case <-m.done:
	case <-ctx.Done():
		if g.leave(m) {
			return m.out, ctx.Err()
		}
		<-m.done
	}
	return m.out, m.err
}

// leave takes a member out of the queue; false: it takes part in a run.
func (g *Group[In, Out]) leave(m *member[In, Out]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, m)
	if i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	}
	return i >= 0
}

// loop runs groups until nobody is queued.
func (g *Group[In, Out]) loop() {
	for {
		g.mu.Lock()
		n := min(len(g.queue), g.o.Size)
		if n == 0 {
			g.running--
			g.mu.Unlock()
			return
		}
		ms := g.queue[:n:n]
		g.queue = g.queue[n:]
		g.mu.Unlock()
		g.all(ms)
	}
}

func (g *Group[In, Out]) all(ms []*member[In, Out]) {
	live := ms[:0]
	for _, m := range ms {
		if m.err = m.ctx.Err(); m.err != nil {
			close(m.done)
			continue
		}
		live = append(live, m)
	}
	if len(live) == 0 {
		return
	}
	if g.o.Observe != nil {
		g.o.Observe(len(live))
	}
	err := g.once(live)
	if err != nil && len(live) > 1 && (g.o.Whole == nil || !g.o.Whole(err)) {
		for _, m := range live {
			m.err = g.once([]*member[In, Out]{m})
			close(m.done)
		}
		return
	}
	for _, m := range live {
		m.err = err
		close(m.done)
	}
}

// once makes one run and hands the results out, without telling the members.
func (g *Group[In, Out]) once(ms []*member[In, Out]) (err error) {
	// The values of the first caller's context (log attributes) serve for all.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ms[0].ctx), g.o.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrLost, p)
		}
	}()
	in := make([]In, len(ms))
	for i, m := range ms {
		in[i] = m.in
	}
	out, err := g.run(ctx, in)
	if err != nil {
		return err
	}
	if len(out) != len(ms) {
		return fmt.Errorf("%w: %d results for %d members", ErrLost, len(out), len(ms))
	}
	for i, m := range ms {
		m.out = out[i]
	}
	return nil
}
