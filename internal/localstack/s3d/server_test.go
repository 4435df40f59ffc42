package s3d_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"evb/internal/localstack/s3d"
	"evb/internal/sharedtest"
)

func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	// A zombie has ended.
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestStopAndStartKeepPortCredentialsAndObjects(t *testing.T) {
	d := dir(t)
	a := start(t, d)
	key, b, o := object(1000)
	if _, err := newStore(t, a.Config(false)).Put(t.Context(), key, bytes.NewReader(b), 1000, o); err != nil {
		t.Fatal(err)
	}
	pid := a.Pid()
	stop(t, a)
	stop(t, a) // twice is once
	if alive(pid) || a.Pid() != 0 || a.Healthy(t.Context()) == nil {
		t.Error("still running")
	}
	select {
	case <-a.Done():
	default:
		t.Error("not done")
	}
	if a.Err() != nil {
		t.Error(a.Err())
	}
	c := start(t, d)
	if c.Endpoint() != a.Endpoint() || c.Credential() != a.Credential() || c.Bypass() != a.Bypass() {
		t.Error("endpoint or credentials changed")
	}
	mustRead(t, newStore(t, c.Config(false)), key, b)
}

func TestATakenPortIsReplaced(t *testing.T) {
	d := dir(t)
	a := start(t, d)
	stop(t, a)
	l, err := net.Listen("tcp", a.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := start(t, d)
	if b.Endpoint() == a.Endpoint() {
		t.Error("the port is somebody else's")
	}
	if err := b.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestACrashedChildComesBackOnTheSamePort(t *testing.T) {
	s := start(t, dir(t))
	endpoint, pid := s.Endpoint(), s.Pid()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	sharedtest.Eventually(t, "a new child", func() bool { return s.Pid() != pid && s.Pid() != 0 && s.Healthy(t.Context()) == nil })
	if s.Endpoint() != endpoint {
		t.Error("the port changed")
	}
}

func TestSecretsAreNeitherInArgumentsNorInTheEnvironmentNorReadableByOthers(t *testing.T) {
	d := dir(t)
	s := start(t, d)
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.Pid(), name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(s.Credential().SecretKey)) || bytes.Contains(b, []byte(s.Bypass().SecretKey)) {
			t.Errorf("a secret is in %s", name)
		}
	}
	fi, err := os.Stat(filepath.Join(d, "credentials"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(d); err != nil || fi.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if text := fmt.Sprintf("%v %+v %#v", s.Credential(), s.Config(true), s.Bypass()); strings.Contains(text, s.Bypass().SecretKey) {
		t.Error("printing shows a secret")
	}
}

func TestChildCalledByHandExplainsItself(t *testing.T) {
	o := options(t, dir(t))
	cmd := exec.Command(o.Binary)
	cmd.Env = append(os.Environ(), o.Env...)
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("not meant to be called")) {
		t.Errorf("%v: %s", err, out)
	}
}

const parentEnv = "EVB_S3D_TEST_PARENT"

// parent is a process of its own that starts a server and waits to be killed.
func parent(dir string) int {
	exe, err := os.Executable()
	if err != nil {
		return 1
	}
	s, err := s3d.Start(context.Background(), s3d.Options{
		Dir: dir, Binary: exe, Env: []string{childEnv + "=1"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(s.Pid())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func TestTheChildDiesWithItsKilledParentAndTheFolderIsFreeAgain(t *testing.T) {
	d := dir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), parentEnv+"="+d)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, aerr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || aerr != nil {
		t.Fatalf("parent said %q: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	sharedtest.Eventually(t, "the end of the child", func() bool { return !alive(pid) })
	if err := start(t, d).Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}
