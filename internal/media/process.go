package media

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one running child. It is used by one request at a time.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	w      *bufio.Writer
	r      *bufio.Reader
	stderr *tail
	path   string
	files  int
}

// tail keeps the last bytes a child wrote to stderr, to tell why it ended.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// A Go program that runs out of memory says so in its first line.
	if room := 8192 - len(t.buf); room > 0 {
		t.buf = append(t.buf, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// children is a small pool of processes. free holds the idle ones; slots bounds
// all of them.
type children struct {
	argv   []string
	config childConfig
	limits Limits
	slots  chan struct{}

	mu     sync.Mutex
	free   []*process
	closed bool
}

// do sends one request to a child and gives its answer. At the deadline the
// child is killed, and the file has CodeTimeout.
func (c *children) do(ctx context.Context, limit time.Duration, q *request) (*response, []byte, error) {
	q.Limits = c.limits
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	defer func() { <-c.slots }()
	p, err := c.take(ctx, q.Path)
	if err != nil {
		return nil, nil, err
	}
	type answer struct {
		resp    *response
		payload []byte
		err     error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.resp = &response{}
		if a.err = writeFrame(p.w, q, nil); a.err == nil {
			a.payload, a.err = readFrame(p.r, a.resp)
		}
		done <- a
	}()
	watch := newWatch(p, limit)
	defer watch.timer.Stop()
again:
	select {
	case a := <-done:
		if a.err != nil {
			// The child died in the middle of this file.
			p.kill()
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			return nil, nil, p.autopsy(a.err)
		}
		c.give(p, q.Path, a.resp.Spoiled)
		if err := a.resp.error(); err != nil {
			return nil, nil, err
		}
		return a.resp, a.payload, nil
	case <-watch.timer.C:
		if watch.extend() {
			goto again
		}
		p.kill()
		<-done
		return nil, nil, faulty(CodeTimeout, nil, "limit", limit.String())
	case <-ctx.Done():
		p.kill()
		<-done
		return nil, nil, ctx.Err()
	}
}

// watch holds a request to its limit. What counts is the processor time of the
// child: on a machine that is busy with other work a good file must not be taken
// for a hostile one. wallFactor times the limit by the clock ends it in any case.
type watch struct {
	p     *process
	limit time.Duration // processor time allowed
	used  time.Duration // at the start of the request
	until time.Time
	timer *time.Timer
}

const (
	wallFactor = 6
	// startTime is what a child may use to compile PDFium when there is no cache.
	startTime = 10 * time.Second
)

func newWatch(p *process, limit time.Duration) *watch {
	w := &watch{p: p, limit: limit, until: time.Now().Add(wallFactor * limit), timer: time.NewTimer(limit)}
	if w.used, _ = cpuTime(p.cmd.Process.Pid); p.path == "" {
		w.limit += startTime
		w.until = w.until.Add(wallFactor * startTime)
	}
	return w
}

// extend sets the timer again when the child has processor time left.
func (w *watch) extend() bool {
	now, err := cpuTime(w.p.cmd.Process.Pid)
	left := w.limit - (now - w.used)
	if err != nil || left <= 0 || time.Now().After(w.until) {
		return false
	}
	w.timer.Reset(min(max(left, 50*time.Millisecond), max(time.Until(w.until), 50*time.Millisecond)))
	return true
}

// cpuTime is the processor time a process has used, from /proc (proc(5); its
// clock ticks are a hundredth of a second on every Linux that Go runs on).
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; fields are counted behind it.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("media: stat of process %d has %d fields", pid, len(f))
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// autopsy tells from a dead child's last words whose fault it was.
func (p *process) autopsy(err error) error {
	words := p.stderr.String()
	switch {
	case strings.Contains(words, "out of memory"), strings.Contains(words, "cannot allocate memory"):
		return faulty(CodeMemory, errors.New(firstLine(words)))
	case strings.Contains(words, "media-child:"):
		return fmt.Errorf("media: child: %s", firstLine(words))
	case p.cmd.ProcessState != nil && p.cmd.ProcessState.Exited() && p.cmd.ProcessState.ExitCode() == 2 && words == "":
		return fmt.Errorf("media: child does not start: %w", err)
	case p.cmd.ProcessState != nil && !p.cmd.ProcessState.Exited():
		if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signal() == syscall.SIGXCPU {
			return faulty(CodeTimeout, nil, "limit", "processor time")
		}
	}
	return faulty(CodeDamaged, fmt.Errorf("child ended: %w: %s", err, firstLine(words)))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// take gives an idle child, one that has this file open if there is any, or
// starts one. The caller holds a slot.
func (c *children) take(ctx context.Context, path string) (*process, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	if n := len(c.free); n > 0 {
		i := max(0, slices.IndexFunc(c.free, func(p *process) bool { return p.path == path }))
		p := c.free[i]
		c.free = slices.Delete(c.free, i, i+1)
		c.mu.Unlock()
		return p, nil
	}
	c.mu.Unlock()
	return c.start(ctx)
}

// give puts a child back, or ends it when it was spoiled or has seen enough
// files: what one file left behind in it must not reach many others.
func (c *children) give(p *process, path string, spoiled bool) {
	if p.path != path {
		p.path = path
		p.files++
	}
	c.mu.Lock()
	if spoiled || c.closed || p.files >= c.limits.RecycleAfter {
		c.mu.Unlock()
		p.end()
		return
	}
	c.free = append(c.free, p)
	c.mu.Unlock()
}

func (c *children) start(context.Context) (*process, error) {
	arg, err := json.Marshal(c.config)
	if err != nil {
		return nil, fmt.Errorf("media: child: %w", err)
	}
	// Not bound to the request's context: the child outlives the request.
	cmd := exec.Command(c.argv[0], append(slices.Clone(c.argv[1:]), string(arg))...)
	cmd.Env = []string{"GOMAXPROCS=2", "GODEBUG=madvdontneed=1", "LANG=C.UTF-8", childEnv + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr := &tail{}
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("media: child: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("media: child: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("media: child: %w", err)
	}
	return &process{cmd: cmd, in: in, w: bufio.NewWriter(in), r: bufio.NewReaderSize(out, 1<<20), stderr: stderr}, nil
}

// childEnv marks the environment of a child, so that a test binary knows that it
// is one. See ChildMain.
const childEnv = "EVB_MEDIA_CHILD"

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// end asks by closing stdin, and kills after a while.
func (p *process) end() {
	_ = p.in.Close()
	t := time.AfterFunc(2*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait()
	t.Stop()
}

func (c *children) close() {
	c.mu.Lock()
	c.closed = true
	free := c.free
	c.free = nil
	c.mu.Unlock()
	for _, p := range free {
		p.end()
	}
}
