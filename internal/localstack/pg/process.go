package pg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	fastStop      = time.Minute      // from SIGINT to SIGQUIT
	immediateStop = 10 * time.Second // from SIGQUIT to SIGKILL
)

// process is one run of the postmaster.
type process struct {
	pid     int
	exited  chan struct{}
	waitErr error // read after exited
	cmd     *exec.Cmd

	mu   sync.Mutex
	last []string
}

// environment is all that Postgres gets: no PG* variable of the caller may
// change what it does.
func environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
}

// spawn starts the postmaster as a direct child. The goroutine that starts it
// keeps its thread until the child has ended: Linux sends the parent-death
// signal when that thread ends, not the process.
func (s *Server) spawn() (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = environment()
	// A file, not a writer: Wait shall not wait for backends that still hold it.
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  syscall.SIGINT,
		Credential: s.place.cred,
	}
	p := &process{exited: make(chan struct{}), cmd: cmd}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.waitErr = cmd.Wait()
		close(p.exited)
	}()
	err = <-started
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	p.pid = cmd.Process.Pid
	go func() {
		defer r.Close()
		s.lineLogger(p, r)
	}()
	return p, nil
}

// end stops the process and waits for it: SIGINT, after a minute or when quick
// is closed SIGQUIT, ten seconds later SIGKILL. A process that has ended
// already is no error; having to kill it is one.
func (p *process) end(quick <-chan struct{}) error {
	_ = p.cmd.Process.Signal(syscall.SIGINT) // an error means: has ended
	timer := time.NewTimer(fastStop)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-quick:
	case <-timer.C:
	}
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	timer.Reset(immediateStop)
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	return errors.New("postgres did not stop and was killed; it recovers at the next start")
}

// endNow ends a process that never got ready.
func (p *process) endNow() {
	quick := make(chan struct{})
	close(quick)
	_ = p.end(quick)
}

func (p *process) remember(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last = append(p.last, line); len(p.last) > 12 {
		p.last = p.last[1:]
	}
}

// lastWords are the last lines of the process, those of failures first.
func (p *process) lastWords() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fatal []string
	for _, l := range p.last {
		if strings.HasPrefix(l, "FATAL:") || strings.HasPrefix(l, "PANIC:") || strings.HasPrefix(l, "HINT:") {
			fatal = append(fatal, l)
		}
	}
	if fatal == nil {
		fatal = p.last
	}
	return strings.Join(fatal, " | ")
}

// readLines yields the lines of r, cut at 4 KiB each.
func readLines(r io.Reader) iter.Seq[string] {
	return func(yield func(string) bool) {
		br := bufio.NewReaderSize(r, 4096)
		for {
			line, more, err := br.ReadLine()
			if err != nil || !yield(string(line)) {
				return
			}
			for more && err == nil {
				_, more, err = br.ReadLine()
			}
		}
	}
}

// endOrphan stops a postmaster that an earlier, killed run left on this
// cluster. It is one only if the process named in postmaster.pid runs a
// program called postgres in our folder; the process is held by a descriptor
// while this is looked at, so that a reused number cannot be hit.
func (s *Server) endOrphan(ctx context.Context) error {
	cluster := s.place.cluster()
	text, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read postmaster.pid: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return nil // Postgres decides what it means
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // no such process
	}
	defer unix.Close(fd)
	if !runsIn(pid, cluster) {
		return nil
	}
	s.opts.Logger.WarnContext(ctx, "a Postgres of an earlier run is still there, stopping it", "pid", pid)
	for _, step := range []struct {
		sig  unix.Signal
		wait time.Duration
	}{{unix.SIGINT, fastStop}, {unix.SIGQUIT, immediateStop}, {unix.SIGKILL, immediateStop}} {
		if err := unix.PidfdSendSignal(fd, step.sig, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("stop the Postgres of an earlier run (pid %d): %w", pid, err)
		}
		ended, err := waitPidfd(ctx, fd, step.wait)
		if err != nil || ended {
			return err
		}
	}
	return fmt.Errorf("the Postgres of an earlier run (pid %d) does not end", pid)
}

func runsIn(pid int, cluster string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	exe, err := os.Readlink(filepath.Join(proc, "exe"))
	if err != nil || filepath.Base(strings.TrimSuffix(exe, " (deleted)")) != "postgres" {
		return false
	}
	cwd, errC := os.Stat(filepath.Join(proc, "cwd"))
	dir, errD := os.Stat(cluster)
	return errC == nil && errD == nil && os.SameFile(cwd, dir)
}

// waitPidfd waits until the process has ended, the time is over or ctx ends.
func waitPidfd(ctx context.Context, fd int, d time.Duration) (bool, error) {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}

// runLocked runs a command to its end on a thread that stays, for the sake of
// its parent-death signal.
func runLocked(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}
