package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What the tests that run the real binary share: the binary, a running server
// and calls to it.

// scratch is the folder of this test process. The system user of Postgres can
// pass through it, unlike through those of t.TempDir, so that the cluster lies
// in the data folder and goes with it.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "evb-cmd-"); err == nil {
			err = os.Chmod(scratch, 0o711) //nolint:gosec // Postgres passes through it
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		return m.Run()
	}())
}

// dataFolder is a folder of the test's own that does not exist yet.
func dataFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "")
	if err == nil {
		err = os.Chmod(dir, 0o711) //nolint:gosec // Postgres passes through it
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "data")
}

var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "evb")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil { //nolint:noctx // once for all tests
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// binary is built once a test process.
func binary(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// server is a running process of the program, most often `evb up --demo`.
type server struct {
	t     *testing.T
	bin   string
	data  string
	url   string
	http  *http.Client
	cmd   *exec.Cmd
	log   string        // file with its standard error
	ended chan struct{} // closed when the process is gone
	err   error         // of its end
}

// errDied says that the program ended before it was ready.
var errDied = errors.New("the program ended before it was ready")

// launch starts `evb up --demo` and waits until it is ready or gone (errDied).
func launch(t *testing.T, bin, data string, env ...string) (*server, error) {
	t.Helper()
	s, err := launchProcess(t, bin, []string{"up", "--demo", "--data", data, "--addr", "127.0.0.1:0"}, "evb: ready ", env...)
	s.data = data
	return s, err
}

// launchProcess starts the program and waits for its line on standard output,
// the rest of which is the address.
func launchProcess(t *testing.T, bin string, args []string, begin string, env ...string) (*server, error) {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "up-*.log")
	if err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(bin, args...) //nolint:gosec,noctx // ended by the test
	cmd.Env = slices.Concat(os.Environ(), []string{"EVB_HTTP_ADDR=127.0.0.1:0"}, env)
	cmd.Stdout, cmd.Stderr = in, log
	err = cmd.Start()
	_, _ = in.Close(), log.Close()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, bin: bin, http: http.DefaultClient, cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("log of evb %s:\n%s", args[0], s.lastWords())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		<-s.ended
		return s, errDied
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), begin)
	if !ok {
		t.Fatalf("stdout: %q", line)
	}
	s.url = rest
	return s, nil
}

func start(t *testing.T, bin, data string, env ...string) *server {
	t.Helper()
	s, err := launch(t, bin, data, env...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) lastWords() []byte {
	b, _ := os.ReadFile(s.log)
	return b[max(0, len(b)-8000):]
}

// dead reports whether the process is gone.
func (s *server) dead() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// kill is kill -9 of the program; its children end with it.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// stop is a clean stop; it must end with 0.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if <-s.ended; s.err != nil {
		s.t.Errorf("clean stop: %v", s.err)
	}
}

// evb runs a command and gives its exit code and standard output.
func (s *server) evb(args ...string) (int, string) {
	s.t.Helper()
	return s.evbIn(s.t.Context(), args...)
}

// evbIn ends the command with ctx.
func (s *server) evbIn(ctx context.Context, args ...string) (int, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, args...) //nolint:gosec // the test's own
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		if ctx.Err() == nil {
			s.t.Errorf("evb %v: %v", args, err)
		}
		return -1, ""
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Logf("evb %v: exit %d\n%s", args, code, errOut.String())
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(out.String())
}

func (s *server) token(user string) string {
	s.t.Helper()
	code, out := s.evb("token", "create", "--data", s.data, "--user", user)
	if code != 0 || out == "" {
		s.t.Fatalf("token for %s: exit %d", user, code)
	}
	return out
}

// send is one request; an error says that no answer came.
func (s *server) send(token, method, path string, body []byte, header map[string]string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// call is one request that must be answered; body and out are JSON and may be
// nil. With out the answer must be good.
func (s *server) call(token, method, path string, body any, header map[string]string, out any) int {
	s.t.Helper()
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
		h := map[string]string{"Content-Type": "application/json"}
		for k, v := range header {
			h[k] = v
		}
		header = h
	}
	status, b, err := s.send(token, method, path, raw, header)
	if err != nil {
		s.t.Fatal(err)
	}
	if out != nil {
		if status >= 300 {
			s.t.Fatalf("%s %s: %d %s", method, path, status, b)
		}
		if raw, ok := out.(*[]byte); ok {
			*raw = b
		} else if err := json.Unmarshal(b, out); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
	return status
}

// patience bounds every wait for the program.
const patience = 3 * time.Minute

// await asks until the answer is yes, and gives up after patience.
func await(yes func() bool) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-deadline.C:
			return false
		case <-tick.C:
		}
	}
	return true
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	if !await(yes) {
		t.Fatalf("never: %s", what)
	}
}

func copyBatch(t *testing.T, dir, name string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "batches", name+".*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("batch %s is not in testdata: %v", name, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func readJSON(t *testing.T, path string, out any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
}

// logger writes what parts started by a test complain about into its output.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}
