package s3d

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
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

	"evb/internal/wholefile"
	"evb/storage/s3"
)

// Options of Start.
type Options struct {
	// Dir is the data folder; made if it is not there. Required.
	Dir string
	// Binary is the program that calls ChildMain, normally os.Executable().
	// Required.
	Binary string
	// Args select the hidden subcommand, for example {"s3-child"}.
	Args []string
	// Env is added to the child's environment, which otherwise holds PATH,
	// HOME, TMPDIR and GO* settings only.
	Env []string
	// Bucket is made at start, with versions and Object Lock; default "evb".
	Bucket string
	// Addr is host:port to listen on. Empty: a free port of 127.0.0.1, kept
	// in Dir/port and used again if it is still free.
	Addr string
	// Logger gets the child's output and the supervisor's events. Required.
	Logger *slog.Logger
	// StartTimeout limits the wait for the child to be ready; default 30 s.
	StartTimeout time.Duration
	// MaxConnections of the child; default 1024.
	MaxConnections int
}

// ErrXattr says that the file system of the data folder has no user attributes.
var ErrXattr = errors.New("the file system does not support user extended attributes")

const (
	stopGrace    = 10 * time.Second
	firstBackoff = 100 * time.Millisecond
	mostBackoff  = 5 * time.Second
	calm         = 30 * time.Second // a child that lived this long resets the backoff
	maxLine      = 16 << 10
)

// Server is a running embedded server. Its methods are safe for concurrent use.
type Server struct {
	opts  Options
	addr  string
	creds credentialFile
	log   *slog.Logger
	http  *http.Client
	// health is the path that only the children of this Server answer: whoever
	// else listens on the address, also the server of a copy of the folder, which
	// has the same credentials, is not taken for one.
	health string

	cancel context.CancelFunc
	done   chan struct{} // closed when the supervisor has ended

	mu  sync.Mutex
	pid int
	err error
}

// Start prepares the folder, starts the child, waits until it answers, makes
// the bucket and then supervises: a child that ends is started again on the
// same address, with growing pauses up to 5 s. ctx limits the start only; end
// the server with Stop.
//
// Errors: ErrXattr (wrapped, with the remedy), a folder in use by another
// server, an address that cannot be listened on, a child that does not become
// ready.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" || o.Binary == "" || o.Logger == nil {
		return nil, errors.New("s3d: folder, binary and logger are required")
	}
	if o.Bucket == "" {
		o.Bucket = "evb"
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 30 * time.Second
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 1024
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	creds, err := prepare(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts: o, creds: creds, log: o.Logger, health: "/healthz-" + rand.Text(),
		http: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}},
		done: make(chan struct{}),
	}
	ctx, stop := context.WithTimeout(ctx, o.StartTimeout)
	defer stop()
	if s.addr, err = chooseAddr(o); err != nil {
		return nil, err
	}
	c, err := s.spawn()
	if err == nil {
		err = s.waitReady(ctx, c)
	}
	if isAddrTaken(err) && o.Addr == "" {
		// Somebody took the kept port since: choose another one.
		s.log.Warn("port of the object storage is taken, choosing another one", "addr", s.addr)
		_ = os.Remove(filepath.Join(o.Dir, "port"))
		if s.addr, err = chooseAddr(o); err != nil {
			return nil, err
		}
		if c, err = s.spawn(); err == nil {
			err = s.waitReady(ctx, c)
		}
	}
	if err != nil {
		if c != nil {
			c.kill()
		}
		return nil, fmt.Errorf("start object storage: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go s.supervise(run, c)
	if err := s.ensureBucket(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("object storage bucket: %w", err), s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// Endpoint is host:port, to be used without TLS.
func (s *Server) Endpoint() string { return s.addr }

// Bucket is the bucket's name.
func (s *Server) Bucket() string { return s.opts.Bucket }

// Region is what requests are to be signed for.
func (s *Server) Region() string { return region }

// Credential is the ordinary account: everything except overriding locks.
func (s *Server) Credential() s3.Credential {
	return s3.Credential{AccessKey: s.creds.App.AccessKey, SecretKey: s.creds.App.SecretKey}
}

// Bypass is the owner, who may override governance locks. Only for the
// disposal path.
func (s *Server) Bypass() s3.Credential {
	return s3.Credential{AccessKey: s.creds.Bypass.AccessKey, SecretKey: s.creds.Bypass.SecretKey}
}

// Config is a store configuration for this server with the ordinary account,
// and the owner's too if bypass is set.
func (s *Server) Config(bypass bool) s3.Config {
	c := s3.Config{Endpoint: s.addr, Region: region, Bucket: s.opts.Bucket, Credential: s.Credential()}
	if bypass {
		c.Bypass = s.Bypass()
	}
	return c
}

// Pid of the child; 0 while it is being started again or after Stop.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// Done is closed when the server was stopped, or given up because its folder
// is used by another one; Err says which.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is nil while the server runs and after Stop, else why it was given up.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Healthy asks the child's health path once.
func (s *Server) Healthy(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+s.health, nil)
	if err != nil {
		return fmt.Errorf("object storage health: %w", err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("object storage health: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("object storage health: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("object storage health: status %d", resp.StatusCode)
	}
	return nil
}

// Stop ends the child: requests in flight may finish for up to 10 s, or until
// ctx ends, then it is killed. Everything acknowledged is durable either way.
// It may be called more than once.
func (s *Server) Stop(ctx context.Context) error {
	s.cancel()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		if pid := s.Pid(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-s.done
		return ctx.Err()
	}
}

func (s *Server) ensureBucket(ctx context.Context) error {
	cfg := s.Config(false)
	cfg.Credential = s.Bypass()
	return s3.EnsureBucket(ctx, cfg, s.creds.App.AccessKey)
}

// supervise owns the child from here on.
func (s *Server) supervise(ctx context.Context, c *process) {
	defer close(s.done)
	defer s.setPid(0)
	backoff := firstBackoff
	for {
		started := time.Now()
		select {
		case <-ctx.Done():
			if c != nil {
				c.stop()
			}
			return
		case <-c.exited:
		}
		s.setPid(0)
		if c.code() == exitBusy {
			s.giveUp(c.err())
			return
		}
		if time.Since(started) > calm {
			backoff = firstBackoff
		}
		s.log.Error("object storage ended, starting it again", "err", c.err(), "pause", backoff)
		for {
			t := time.NewTimer(backoff)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			backoff = min(2*backoff, mostBackoff)
			next, err := s.spawn()
			if err == nil {
				c = next
				break
			}
			s.log.Error("object storage cannot be started", "err", err)
		}
	}
}

func (s *Server) giveUp(err error) {
	s.log.Error("object storage given up", "err", err)
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
}

func (s *Server) setPid(pid int) {
	s.mu.Lock()
	s.pid = pid
	s.mu.Unlock()
}

// process is one child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	exited chan struct{}
	tail   *tail
	wait   error // valid after exited
}

func (s *Server) spawn() (*process, error) {
	cmd := exec.Command(s.opts.Binary, s.opts.Args...)
	cmd.Dir = "/"
	cmd.Env = append(childEnv(), envDir+"="+s.opts.Dir, envAddr+"="+s.addr, envMaxConns+"="+strconv.Itoa(s.opts.MaxConnections), envHealth+"="+s.health)
	cmd.Env = append(cmd.Env, s.opts.Env...)
	// Its own group: Ctrl-C goes to the parent, which stops it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("spawn: %w", err)
	}
	t := &tail{log: s.log}
	cmd.Stdout, cmd.Stderr = t, t
	cmd.WaitDelay = time.Second
	p := &process{cmd: cmd, stdin: stdin, exited: make(chan struct{}), tail: t}
	started := make(chan error, 1)
	go func() {
		// The death signal is tied to the thread that started the child, so
		// that thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.wait = cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("spawn %s: %w", s.opts.Binary, err)
	}
	s.setPid(cmd.Process.Pid)
	return p, nil
}

func childEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case name == "PATH", name == "HOME", name == "TMPDIR", name == "TZ", strings.HasPrefix(name, "GO"):
			env = append(env, v)
		}
	}
	return env
}

// waitReady polls the health path until it answers or the child or ctx ends.
func (s *Server) waitReady(ctx context.Context, c *process) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-c.exited:
			return c.err()
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		case <-tick.C:
			if last = s.Healthy(ctx); last == nil {
				return nil
			}
		}
	}
}

func (p *process) stop() {
	_ = p.stdin.Close()
	t := time.NewTimer(stopGrace)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

func (p *process) err() error {
	return &childError{code: p.code(), state: p.cmd.ProcessState.String(), said: p.tail.lastLine()}
}

// childError is the end of a child.
type childError struct {
	code  int
	state string
	said  string
}

func (e *childError) Error() string {
	if e.said == "" {
		return "S3 server: " + e.state
	}
	return "S3 server: " + e.state + ": " + e.said
}

func isAddrTaken(err error) bool {
	var c *childError
	return errors.As(err, &c) && c.code == exitAddr
}

// tail passes the child's lines to the log and keeps the last one.
type tail struct {
	log  *slog.Logger
	mu   sync.Mutex
	part []byte
	last string
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = append(t.part, b...)
	for {
		n, line, err := bufio.ScanLines(t.part, len(t.part) >= maxLine)
		if err != nil || n == 0 {
			return len(b), nil
		}
		if text := strings.TrimSpace(string(line)); text != "" {
			t.last = text
			t.log.Debug("object storage", "line", text)
		}
		t.part = append([]byte(nil), t.part[n:]...)
	}
}

func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := strings.TrimSpace(string(t.part)); s != "" {
		return s
	}
	return t.last
}

// prepare makes the folder and reads or makes the credentials.
func prepare(dir string) (credentialFile, error) {
	for _, d := range []string{dir, filepath.Join(dir, "data"), filepath.Join(dir, "versions")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return credentialFile{}, fmt.Errorf("object storage folder: %w", err)
		}
	}
	if err := checkXattr(filepath.Join(dir, "versions"), unix.Fsetxattr); err != nil {
		return credentialFile{}, err
	}
	name := filepath.Join(dir, "credentials")
	c, err := readCredentials(name)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return c, err
	}
	c = credentialFile{App: newKey("evbapp"), Bypass: newKey("evbown")}
	b, err := json.Marshal(c)
	if err != nil {
		return c, fmt.Errorf("credentials: %w", err)
	}
	return c, wholefile.Write(name, b, 0o600)
}

func newKey(prefix string) key {
	var b [40]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return key{AccessKey: prefix + hex.EncodeToString(b[:7]), SecretKey: hex.EncodeToString(b[8:])}
}

// checkXattr sets an attribute as large as the server's own; set is the system call.
func checkXattr(dir string, set func(fd int, attr string, data []byte, flags int) error) error {
	f, err := os.CreateTemp(dir, ".xattr-*")
	if err != nil {
		return fmt.Errorf("object storage folder: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	err = set(int(f.Fd()), "user.evb-probe", make([]byte, 256), 0)
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("object storage folder %s: no space left: %w", dir, err)
	}
	return fmt.Errorf("%s: %w (%w): put the data folder on ext4, xfs or btrfs, mount the file system with user_xattr, "+
		"or for tmpfs use Linux 6.6 or newer; container overlay folders need a volume", dir, ErrXattr, err)
}

// chooseAddr gives the configured address, the kept port if it is free, or a new one, which it keeps.
func chooseAddr(o Options) (string, error) {
	if o.Addr != "" {
		return o.Addr, nil
	}
	name := filepath.Join(o.Dir, "port")
	if b, err := os.ReadFile(name); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 0 && n < 1<<16 {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(n)), nil
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("object storage port: %w", err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", fmt.Errorf("object storage port: %w", err)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("object storage port: %w", err)
	}
	return addr, wholefile.Write(name, []byte(port+"\n"), 0o600)
}
