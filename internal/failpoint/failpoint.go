package failpoint

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Env is the name of the environment variable that arms points.
const Env = "EVB_FAILPOINT"

var wellFormed = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Point is a named place at which a crash test can end the process. Make one
// with [New]; the zero value never fires.
type Point struct {
	name, after string
	left        *atomic.Int64 // hits until the kill; nil: not armed
}

// Name returns the name that EVB_FAILPOINT uses for the point.
func (p *Point) Name() string { return p.name }

// After says in a few words what has been made durable when the point is hit.
func (p *Point) After() string { return p.after }

// Hit ends the process with SIGKILL if the point is armed and its turn has
// come. It does not return in that case: nothing after the call is executed,
// also while the signal is still on its way.
func (p *Point) Hit() {
	if p.left == nil {
		return
	}
	if p.left.Add(-1) == 0 {
		// Written with the system call: a logger might buffer, and the test
		// wants to see in the output which point it was.
		_, _ = syscall.Write(2, []byte("failpoint: "+p.name+": SIGKILL\n"))
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

type registry struct {
	mu     sync.Mutex
	armed  map[string]int64
	err    error
	points map[string]*Point
}

var points = newRegistry(os.Getenv(Env))

func newRegistry(spec string) *registry {
	r := &registry{points: map[string]*Point{}}
	r.armed, r.err = parse(spec)
	return r
}

// New declares a point. The name is lower-case words joined by hyphens; after
// says what is durable at that place. New is for package variables and panics
// if the name is malformed or already taken, so that a mistake cannot get past
// the first test.
func New(name, after string) *Point { return points.add(name, after) }

func (r *registry) add(name, after string) *Point {
	if !wellFormed.MatchString(name) {
		panic("failpoint: malformed name " + strconv.Quote(name))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.points[name]; taken {
		panic("failpoint: the name " + name + " is taken")
	}
	p := &Point{name: name, after: after}
	if n, ok := r.armed[name]; ok {
		p.left = new(atomic.Int64)
		p.left.Store(n)
	}
	r.points[name] = p
	return p
}

// All returns every declared point, ordered by name.
func All() []*Point { return points.all() }

func (r *registry) all() []*Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*Point, 0, len(r.points))
	for _, p := range r.points {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Point) int { return strings.Compare(a.name, b.name) })
	return out
}

// Check returns an error if EVB_FAILPOINT is malformed or names a point that
// this binary does not have, and nil if it is empty or right.
func Check() error { return points.check() }

func (r *registry) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	for name := range r.armed {
		if _, ok := r.points[name]; !ok {
			return fmt.Errorf("%s names %q, which is no fail point of this program", Env, name)
		}
	}
	return nil
}

// Armed reports whether any point is armed in this process. A server logs it
// at start: a production system must never say so.
func Armed() bool { return len(points.armed) > 0 }

// parse reads the value of EVB_FAILPOINT. It arms nothing when a part of the
// value is malformed.
func parse(spec string) (map[string]int64, error) {
	armed := map[string]int64{}
	for part := range strings.SplitSeq(spec, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, count, counted := strings.Cut(part, ":")
		n := int64(1)
		if counted {
			v, err := strconv.ParseInt(count, 10, 64)
			if err != nil || v < 1 {
				return nil, fmt.Errorf("%s: %q: the number after the colon must be 1 or more", Env, part)
			}
			n = v
		}
		if !wellFormed.MatchString(name) {
			return nil, fmt.Errorf("%s: %q is not the name of a fail point", Env, name)
		}
		armed[name] = n
	}
	return armed, nil
}
