package failpoint

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	testFirst  = New("test-first", "nothing")
	testSecond = New("test-second", "the first line")
)

// TestMain doubles as the program that the tests below kill.
func TestMain(m *testing.M) {
	if os.Getenv("FAILPOINT_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	if err := Check(); err != nil {
		os.Stdout.WriteString("check: " + err.Error() + "\n")
		os.Exit(2)
	}
	for range 3 {
		testFirst.Hit()
		os.Stdout.WriteString("first passed\n")
		testSecond.Hit()
		os.Stdout.WriteString("second passed\n")
	}
}

func TestHitKillsAtTheNamedPlaceAndTurn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, env, out string
		killed         bool
		exit           int
	}{
		{name: "unset runs through", env: "", out: strings.Repeat("first passed\nsecond passed\n", 3)},
		{name: "first hit", env: "test-second", out: "first passed\n", killed: true},
		{name: "third hit", env: "test-first:3", out: strings.Repeat("first passed\nsecond passed\n", 2), killed: true},
		{name: "two points, the earlier one counts", env: "test-first:9, test-second:1", out: "first passed\n", killed: true},
		{name: "count not reached", env: "test-first:4", out: strings.Repeat("first passed\nsecond passed\n", 3)},
		{name: "unknown name is told", env: "test-frist", out: "check: EVB_FAILPOINT names \"test-frist\", which is no fail point of this program\n", exit: 2},
		{name: "bad count is told", env: "test-first:0", out: "check: EVB_FAILPOINT: \"test-first:0\": the number after the colon must be 1 or more\n", exit: 2},
		{name: "bad name is told", env: "Test First", out: "check: EVB_FAILPOINT: \"Test First\" is not the name of a fail point\n", exit: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "FAILPOINT_TEST_CHILD=1", Env+"="+c.env)
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			err := cmd.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				ws := exit.Sys().(syscall.WaitStatus)
				if got := ws.Signaled() && ws.Signal() == syscall.SIGKILL; got != c.killed {
					t.Errorf("killed = %v, want %v (%v)", got, c.killed, err)
				}
				if !c.killed && exit.ExitCode() != c.exit {
					t.Errorf("exit %d, want %d", exit.ExitCode(), c.exit)
				}
			} else if err != nil {
				t.Fatal(err)
			} else if c.killed || c.exit != 0 {
				t.Error("the process ended well")
			}
			if d := cmp.Diff(c.out, out.String()); d != "" {
				t.Errorf("output (-want +got):\n%s", d)
			}
			if c.killed && !strings.Contains(errOut.String(), "SIGKILL") {
				t.Errorf("stderr does not name the point: %q", errOut.String())
			}
		})
	}
}

func TestAllIsOrderedAndNamesWhatIsDurable(t *testing.T) {
	t.Parallel()
	var got []string
	for _, p := range All() {
		got = append(got, p.Name()+": "+p.After())
	}
	if d := cmp.Diff([]string{"test-first: nothing", "test-second: the first line"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if Armed() {
		t.Error("a point is armed without the environment variable")
	}
}

func TestNewRefusesBadNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "A", "a b", "a:1", "a,b", "-a", "test-first"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRegistry("")
			r.add("test-first", "")
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			r.add(name, "")
		})
	}
}
