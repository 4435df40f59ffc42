package worldtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"evb/internal/failpoint"
	"evb/internal/localstack/s3d/s3dtest"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
)

// Life is a further life of a test binary, which a test starts as a process of
// its own: it says whether this process is it, and with which code it ended.
type Life func() (code int, mine bool)

// Main runs the tests of a package, or one of the binary's other lives; the S3
// server is always one of them. It does not return:
//
//	func TestMain(m *testing.M) { worldtest.Main(m, mediatest.Child) }
func Main(m *testing.M, lives ...Life) {
	for _, life := range append(lives, s3dtest.Child) {
		if code, mine := life(); mine {
			os.Exit(code)
		}
	}
	code := pgtest.Main(m)
	if err := s3dtest.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

const (
	lifeEnv  = "EVB_WORLDTEST_LIFE"
	orderEnv = "EVB_WORLDTEST_ORDER"
)

// Victim is a process that works until it is done or killed; Command starts it
// by its name with an order.
func Victim[Order any](name string, run func(context.Context, Order) error) Life {
	return func() (int, bool) {
		if os.Getenv(lifeEnv) != name {
			return 0, false
		}
		var o Order
		err := failpoint.Check()
		if err == nil {
			err = json.Unmarshal([]byte(os.Getenv(orderEnv)), &o)
		}
		if err == nil {
			err = run(context.Background(), o)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			return 1, true
		}
		return 0, true
	}
}

// Command is the process of a Victim, not started yet. point arms a fail point
// in it, "" none. It ends with the test at the latest.
func Command(t testing.TB, victim string, order any, point string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	sharedtest.Must(t, err)
	raw, err := json.Marshal(order)
	sharedtest.Must(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), lifeEnv+"="+victim, orderEnv+"="+string(raw), failpoint.Env+"="+point)
	return cmd
}

// Killed says whether a process ended by SIGKILL, as those do that reach a fail
// point.
func Killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}
