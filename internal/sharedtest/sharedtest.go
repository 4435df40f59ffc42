// Package sharedtest holds what the tests of all packages share: the wait for
// a condition, the rule for what a machine lacks, and the foreign test data. It
// knows nothing of the rest, so that every test may use it.
package sharedtest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"evb/internal/fault"
)

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// WantFault ends the test unless err is the fault with that code.
func WantFault(t testing.TB, err error, code string) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Fatalf("got %v, want the fault %s", err, code)
	}
}

// patience is how long Eventually waits: long enough for a machine with other
// work, since nobody waits that long for a test that passes.
const (
	patience = 3 * time.Minute
	look     = 10 * time.Millisecond
)

// Eventually waits until ok, asking again and again, and ends the test with
// the word of what was waited for when minutes have passed. Call it from the
// test's goroutine.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	Must(t, Await(what, ok))
}

// Await is Eventually for other goroutines: it gives the error.
func Await(what string, ok func() bool) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit.C:
			return fmt.Errorf("waited %s in vain for %s", patience, what)
		case <-tick.C:
		}
	}
	return nil
}

// Prove says that the full size is asked for (make prove).
func Prove() bool { return os.Getenv("EVB_PROVE") != "" }

// Walks lets the property tests of a package make that many random walks, the
// same ones each time; where the full size is asked for, as many as rapid makes.
// Call it from TestMain.
func Walks(n int) {
	if Prove() {
		return
	}
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(n), "rapid.seed": "61"} {
		if err := flag.Set(name, value); err != nil {
			panic(err) // the package uses no rapid
		}
	}
}

// Complete says that tests must be complete here: CI is set. What is missing
// then is an error, not a reason to go on without.
func Complete() bool {
	switch strings.ToLower(os.Getenv("CI")) {
	case "", "0", "false":
		return false
	}
	return true
}

// Missing ends a test that needs something this machine lacks: with an error
// where tests must be complete, elsewhere as skipped. need says what is needed
// and how to get it.
func Missing(t testing.TB, need string, err error) {
	t.Helper()
	if Complete() {
		t.Fatalf("needed by this test: %s: %v", need, err)
	}
	t.Skipf("needs %s: %v", need, err)
}

// Program gives the path of a program of the machine, or ends the test as
// Missing does. install is the Debian package that has it.
func Program(t testing.TB, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, fmt.Sprintf("the program %s (package %s)", name, install), err)
	}
	return path
}

// Root is the folder of the module.
var Root = sync.OnceValue(func() string {
	wd, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for d := wd; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
		if d == filepath.Dir(d) {
			panic("no go.mod above " + wd)
		}
	}
})

// Dir is the folder of the foreign test data: EVB_SHARED, else "shared" beside
// the checkout. It ends the test as Missing does where there is none.
func Dir(t testing.TB) string { t.Helper(); return Path(t) }

// Path is a file or folder of the foreign test data; as Dir.
func Path(t testing.TB, elems ...string) string {
	t.Helper()
	dir := os.Getenv("EVB_SHARED")
	switch {
	case dir == "":
		dir = filepath.Join(Root(), "..", "shared")
	case !filepath.IsAbs(dir): // each test runs in a folder of its own
		dir = filepath.Join(Root(), dir)
	}
	p := filepath.Join(append([]string{dir}, elems...)...)
	if _, err := os.Stat(p); err != nil {
		Missing(t, "the foreign test data (EVB_SHARED names their folder)", err)
	}
	return p
}

// Read is the content of a file of the foreign test data; as Dir.
func Read(t testing.TB, elems ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(Path(t, elems...))
	Must(t, err)
	return b
}

// Oracle is the second implementation of RFC 4998, as a script for sh; as Dir.
func Oracle(t testing.TB) string {
	t.Helper()
	script, err := filepath.Abs(Path(t, "tools", "ers-oracle", "ers-oracle.sh"))
	Must(t, err)
	Program(t, "javac", "default-jdk-headless")
	return script
}
