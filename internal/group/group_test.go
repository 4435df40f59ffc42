package group_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"evb/internal/group"
)

func TestCallersShareRunsAndEachGetsItsOwnResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, most atomic.Int64
		gathered := make(chan struct{})
		g := group.New(group.Options{Size: 10}, func(_ context.Context, in []int) ([]int, error) {
			runs.Add(1)
			most.Store(max(most.Load(), int64(len(in))))
			<-gathered
			out := make([]int, len(in))
			for i, v := range in {
				out[i] = v * v
			}
			return out, nil
		})
		var wg sync.WaitGroup
		for i := range 101 {
			wg.Go(func() {
				if got, err := g.Do(t.Context(), i); err != nil || got != i*i {
					t.Errorf("%d: %d, %v", i, got, err)
				}
			})
		}
		synctest.Wait()
		close(gathered)
		wg.Wait()
		if most.Load() != 10 || runs.Load() > 12 {
			t.Errorf("%d runs of at most %d", runs.Load(), most.Load())
		}
	})
}

func TestOneBadMemberFailsAlone(t *testing.T) {
	bad, gone := errors.New("bad"), errors.New("gone")
	for name, c := range map[string]struct {
		err  error
		fail int // members that fail of 20
	}{"bad": {bad, 1}, "gone for all": {gone, 20}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var started atomic.Bool
				gathered := make(chan struct{})
				g := group.New(group.Options{Whole: func(err error) bool { return errors.Is(err, gone) }}, func(_ context.Context, in []int) ([]int, error) {
					if started.CompareAndSwap(false, true) {
						<-gathered
						return in, nil
					}
					for _, v := range in {
						if v == 13 {
							return nil, c.err
						}
					}
					return in, nil
				})
				_ = synctestGo(t, g, -1)
				synctest.Wait()
				errs := make([]error, 20)
				var wg sync.WaitGroup
				for i := range errs {
					wg.Go(func() { _, errs[i] = g.Do(t.Context(), i) })
				}
				synctest.Wait()
				close(gathered)
				wg.Wait()
				failed := 0
				for _, err := range errs {
					if err != nil {
						failed++
					}
				}
				if failed != c.fail || !errors.Is(errs[13], c.err) {
					t.Errorf("%d failed: %v", failed, errs)
				}
			})
		})
	}
}

func synctestGo(t *testing.T, g *group.Group[int, int], v int) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := g.Do(t.Context(), v)
		done <- err
	}()
	return done
}

func TestAPanicAndAWrongCountAreErrorsAndACancelledCallerIsLeftOut(t *testing.T) {
	g := group.New(group.Options{}, func(_ context.Context, in []int) ([]int, error) {
		switch in[0] {
		case 1:
			panic("broken")
		case 2:
			return nil, nil
		}
		return in, nil
	})
	for _, v := range []int{1, 2} {
		if _, err := g.Do(t.Context(), v); !errors.Is(err, group.ErrLost) {
			t.Errorf("%d: %v", v, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Do(ctx, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got, err := g.Do(t.Context(), 4); err != nil || got != 4 {
		t.Errorf("afterwards: %d, %v", got, err)
	}
}

// A caller that is still queued goes when its time is over, however long the
// run before it takes.
func TestAQueuedCallerDoesNotWaitForTheRunBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran atomic.Int64
		done := make(chan struct{})
		g := group.New(group.Options{}, func(_ context.Context, in []int) ([]int, error) {
			ran.Add(int64(len(in)))
			<-done
			return in, nil
		})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = g.Do(t.Context(), 1) })
		synctest.Wait() // it runs
		start := time.Now()
		var gone sync.WaitGroup
		for i := range 3 {
			gone.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
				defer cancel()
				if _, err := g.Do(ctx, i); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Duration(i+1)*time.Second {
					t.Errorf("%d: %v after %s", i, err, time.Since(start))
				}
			})
		}
		wg.Go(func() {
			if got, err := g.Do(t.Context(), 7); err != nil || got != 7 {
				t.Errorf("who stayed: %d, %v", got, err)
			}
		})
		gone.Wait() // the clock of the bubble goes on, nothing else does
		close(done)
		wg.Wait()
		if ran.Load() != 2 {
			t.Errorf("%d ran, want those who stayed", ran.Load())
		}
	})
}
