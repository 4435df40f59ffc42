package main_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What people get wrong when they start it: a line in each language, no
// trace, and the exit code that says whose turn it is.
func TestUpRefusesWhatCannotWork(t *testing.T) {
	bin := binary(t)
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	file := filepath.Join(t.TempDir(), "datei")
	old := dataFolder(t)
	for path, content := range map[string]string{file: "", filepath.Join(old, "postgres", "cluster", "PG_VERSION"): "9\n"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // Postgres passes through it
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"port taken", []string{"--data", dataFolder(t), "--addr", taken.Addr().String()}, 2, "--addr"},
		{"a file as folder", []string{"--data", filepath.Join(file, "data"), "--addr", "127.0.0.1:0"}, 2, "no folder"},
		{"cluster of another Postgres", []string{"--data", old, "--addr", "127.0.0.1:0"}, 4, "postgresql-9"},
		{"no address", []string{"--data", dataFolder(t), "--addr", "hier"}, 2, "http.addr"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, exec.CommandContext(t.Context(), bin, append([]string{"up"}, c.args...)...), c.exit, c.want) //nolint:gosec // the test's own
		})
	}
	t.Run("second on the folder", func(t *testing.T) {
		data := dataFolder(t)
		s := start(t, bin, data)
		refused(t, exec.CommandContext(t.Context(), bin, "up", "--data", data, "--addr", "127.0.0.1:0"), 2, "--data") //nolint:gosec // the test's own
		if got := s.call("", "GET", "/readyz", nil, nil, nil); got != 200 {
			t.Errorf("the first one: readyz %d", got)
		}
		s.stop()
	})
}

func refused(t *testing.T, cmd *exec.Cmd, exit int, want string) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exit {
		t.Fatalf("%v, want exit %d\n%s", err, exit, errOut.String())
	}
	if text := errOut.String(); out.Len() > 0 || !strings.Contains(text, want) || strings.Contains(text, "goroutine ") {
		t.Errorf("stdout %q, stderr without %q:\n%s", out.String(), want, text)
	}
}
