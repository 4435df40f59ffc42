package ers_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"evb/internal/sharedtest"
	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/hashtree"
	"evb/signature/tsatest"
	"evb/signature/tsp"
)

// oracle is the independent verifier and maker of evidence records, a Java
// program on Bouncy Castle that is not part of this repository.
type oracle struct{ script, classes string }

var oracleOnce = sync.OnceValues(func() (string, error) {
	return os.MkdirTemp("", "ers-oracle-classes-")
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := oracleOnce(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// findOracle returns the second opinion. Without it the test says so and passes;
// in CI it fails.
func findOracle(t *testing.T) *oracle {
	t.Helper()
	script := sharedtest.Oracle(t)
	classes, err := oracleOnce()
	if err != nil {
		t.Fatal(err)
	}
	return &oracle{script: script, classes: classes}
}

// run calls the oracle in dir and returns its output and whether it exited 0.
func (o *oracle) run(t *testing.T, dir string, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{o.script}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ERS_ORACLE_CLASSES="+o.classes, "ERS_ORACLE_JAVA_OPTS=-Xmx512m")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err == nil
}

func (o *oracle) must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, ok := o.run(t, dir, args...)
	if !ok {
		t.Fatalf("oracle %s:\n%s", strings.Join(args, " "), out)
	}
	return out
}

// writeDocs puts n small files d1..dn into dir.
func writeDocs(t *testing.T, dir string, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		writeFile(t, filepath.Join(dir, fmt.Sprintf("d%d", i)), fmt.Appendf(nil, "Schreiben %d\n", i))
	}
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readAnchors(t *testing.T, name string) []*cms.Certificate {
	t.Helper()
	certs, err := cms.ParseCertificates(readFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

func fileObjects(t *testing.T, dir string, names ...string) []ers.Object {
	t.Helper()
	var out []ers.Object
	for _, n := range names {
		out = append(out, object(n, readFile(t, filepath.Join(dir, n))))
	}
	return out
}

// failedNames are the names and positions of the checks that did not pass.
func failedNames(r *ers.Result) []string {
	var out []string
	for _, c := range r.Failed() {
		s := fmt.Sprintf("%s %d.%d", c.Name, c.Chain, c.Timestamp)
		if len(out) == 0 || out[len(out)-1] != s {
			out = append(out, s)
		}
	}
	return out
}

func TestRecordsOfAnotherImplementationVerify(t *testing.T) {
	o := findOracle(t)
	dir := t.TempDir()
	writeDocs(t, dir, 5)
	o.must(t, dir, "tsa", "--out", "P256", "--key", "p256")
	o.must(t, dir, "tsa", "--out", "RSA", "--key", "rsa3072")
	for i, tc := range []struct {
		name string
		args []string
		note string // a reading that has to be named
	}{
		{"one step", []string{"--tsa", "RSA", "--plan", "sha256"}, ""},
		{"all kinds of renewal", []string{"--tsa", "RSA", "--plan", "sha256,ts,ts,hash:sha512,ts", "--pad", "13"}, ""},
		{"SHA-384 and three-fold trees", []string{"--tsa", "P256", "--plan", "sha384,ts", "--arity", "3", "--pad", "8"}, ""},
		{"SHA-3", []string{"--tsa", "P256", "--plan", "sha3-256,hash:sha3-512"}, ""},
		{"joint first lists", []string{"--tsa", "P256", "--plan", "sha256,ts,hash:sha512", "--leaf", "joint", "--pad", "5"}, ""},
		{"single values in a list of one", []string{"--tsa", "P256", "--plan", "sha256,ts", "--variant", "single"}, ""},
		{"single values hashed again", []string{"--tsa", "P256", "--plan", "sha256,ts", "--variant", "double", "--pad", "3"}, "hashed again"},
		{"tokens in BER", []string{"--tsa", "P256", "--plan", "sha256,ts,hash:sha512,ts", "--variant", "ber", "--pad", "3"}, ""},
		{"Bouncy Castle's own classes", []string{"--tsa", "P256", "--plan", "sha256,ts,ts,hash:sha512,ts", "--engine", "bc"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := fmt.Sprintf("OUT%d", i)
			o.must(t, dir, append(append([]string{"create", "--out", out}, tc.args...), "d1", "d2", "d3+d4+d5")...)
			anchors := readAnchors(t, filepath.Join(dir, tc.args[1], "ca.pem"))
			for k, names := range [][]string{{"d1"}, {"d2"}, {"d3", "d4", "d5"}} {
				er := readFile(t, filepath.Join(dir, out, fmt.Sprintf("er-%04d.der", k)))
				// Joint first lists hold siblings too: such a record cannot show that a
				// single object is alone.
				group := len(names) > 1 || !slices.Contains(tc.args, "joint")
				v := ers.NewVerifier(ers.Options{Group: group, Anchors: anchors, At: at2026})
				r := v.Verify(t.Context(), er, fileObjects(t, dir, names...))
				if r.Verdict != ers.Valid {
					t.Errorf("%v: %s, %+v", names, r.Verdict, r.Failed())
				}
				if k == 0 && !strings.Contains(fmt.Sprint(r.Checks), tc.note) {
					t.Errorf("%v: reading %q is not named: %+v", names, tc.note, r.Checks)
				}
			}
		})
	}
}

func TestBrokenRecordsOfAnotherImplementationAreInvalidAtTheNamedPlace(t *testing.T) {
	o := findOracle(t)
	dir := t.TempDir()
	writeDocs(t, dir, 3)
	o.must(t, dir, "tsa", "--out", "TSA", "--key", "p256")
	v := ers.NewVerifier(ers.Options{Anchors: readAnchors(t, filepath.Join(dir, "TSA", "ca.pem")), At: at2026})
	for _, tc := range []struct {
		breakAt, plan string
		want          []string
	}{
		{"tree", "sha256", []string{"hash-tree 1.1"}},
		{"tree", "sha256,ts", []string{"hash-tree 1.2"}},
		{"tree", "sha256,hash:sha512", []string{"hash-tree 2.1"}},
		{"tst", "sha256,ts", []string{"timestamp-signature 1.2"}},
		{"renewal", "sha256,ts", []string{"timestamp-chain 1.2"}},
		{"renewal", "sha256,ts,hash:sha512", []string{"hashtree-renewal 2.1"}},
		{"order", "sha256,ts", []string{"timestamp-order 1.2"}},
		{"undeclared", "sha256,hash:sha512", []string{"format 2.1"}},
	} {
		t.Run(tc.breakAt+" "+tc.plan, func(t *testing.T) {
			out := "OUT-" + tc.breakAt + strings.NewReplacer(",", "-", ":", "-").Replace(tc.plan)
			o.must(t, dir, "create", "--out", out, "--tsa", "TSA", "--plan", tc.plan, "--break", tc.breakAt, "--pad", "5", "d1", "d2", "d3")
			r := v.Verify(t.Context(), readFile(t, filepath.Join(dir, out, "er-0001.der")), fileObjects(t, dir, "d2"))
			if r.Verdict != ers.Invalid || r.Integrity != ers.Invalid {
				t.Errorf("verdict %s, integrity %s", r.Verdict, r.Integrity)
			}
			if diff := cmp.Diff(tc.want, failedNames(r)); diff != "" {
				t.Errorf("%s\n%+v", diff, r.Failed())
			}
		})
	}
}

// The sorted pair agrees with the rule in about half of all cases, so a single
// record would prove nothing.
func TestSortedPairsOfAnotherImplementationNeedTheSwitch(t *testing.T) {
	o := findOracle(t)
	dir := t.TempDir()
	const n = 24
	writeDocs(t, dir, n)
	args := []string{"create", "--out", "OUT", "--key", "p256", "--plan", "sha256,hash:sha512", "--variant", "sorted"}
	for i := 1; i <= n; i++ {
		args = append(args, fmt.Sprintf("d%d", i))
	}
	o.must(t, dir, args...)
	strict := ers.NewVerifier(ers.Options{At: at2026})
	lenient := ers.NewVerifier(ers.Options{At: at2026, AcceptSorted: true})
	refused := 0
	for i := range n {
		er := readFile(t, filepath.Join(dir, "OUT", fmt.Sprintf("er-%04d.der", i)))
		objects := fileObjects(t, dir, fmt.Sprintf("d%d", i+1))
		if r := strict.Verify(t.Context(), er, objects); r.Integrity == ers.Invalid {
			refused++
			if diff := cmp.Diff([]string{"hashtree-renewal 2.1"}, failedNames(r)); diff != "" {
				t.Error(diff)
			}
		}
		if r := lenient.Verify(t.Context(), er, objects); r.Integrity != ers.Valid {
			t.Errorf("with the switch: %+v", r.Failed())
		}
	}
	if refused < 4 || refused > n-4 {
		t.Errorf("%d of %d refused", refused, n)
	}
}

// What we write is given to the other implementation; it must accept it without
// naming any reading but that of the RFC.
func TestAnotherImplementationAcceptsOurRecords(t *testing.T) {
	o := findOracle(t)
	tsa := tsatest.New(t, tsatest.Options{})
	for _, tc := range []struct {
		name  string
		plan  func(*stock)
		alg   digest.Algorithm
		sizes []int
	}{
		{"one object", func(*stock) {}, digest.SHA256, []int{1}},
		{"two objects", func(*stock) {}, digest.SHA384, []int{1, 1}},
		{"groups of one to five", func(*stock) {}, digest.SHA512, []int{1, 2, 3, 4, 5}},
		{"a thousand objects", func(*stock) {}, digest.SHA256, append([]int{1, 3}, slices.Repeat([]int{1}, 998)...)},
		{"time-stamp renewal", func(s *stock) { s.renewTimestamp(day(2014, 3, 1)) }, digest.SHA256, []int{1, 3, 1}},
		{"two time-stamp renewals", func(s *stock) {
			s.renewTimestamp(day(2014, 3, 1))
			s.renewTimestamp(day(2016, 3, 1))
		}, digest.SHA256, []int{1, 3}},
		{"hash-tree renewal", func(s *stock) { s.renewHashTree(digest.SHA512, day(2014, 3, 1)) }, digest.SHA256, []int{1, 3, 2}},
		{"hash-tree renewal and time-stamp renewal", func(s *stock) {
			s.renewHashTree(digest.SHA512, day(2014, 3, 1))
			s.renewTimestamp(day(2016, 3, 1))
		}, digest.SHA256, []int{1, 3, 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "ca.pem"), tsa.PEM())
			s := sealed(t, tsa, tc.alg, day(2012, 3, 1), tc.sizes...)
			tc.plan(s)
			for i := range min(len(tc.sizes), 3) {
				args := []string{"verify", "--no-bc", "--group", "--trust", "ca.pem", "record.er"}
				writeFile(t, filepath.Join(dir, "record.er"), s.records[i].Raw)
				for m, b := range s.groups[i] {
					name := fmt.Sprintf("g%d-%d", i, m)
					writeFile(t, filepath.Join(dir, name), b)
					args = append(args, name)
				}
				out, ok := o.run(t, dir, args...)
				if !ok {
					t.Fatalf("record %d refused:\n%s", i, out)
				}
				for _, note := range []string{"only", "again", "removed", "sorted", "not canonical"} {
					if strings.Contains(out, note) {
						t.Errorf("record %d: note %q:\n%s", i, note, out)
					}
				}
			}
		})
	}
}

// OpenSSL checks each token as it stands in the record.
func TestOpenSSLAcceptsTheTokensOfOurRecords(t *testing.T) {
	openssl := sharedtest.Program(t, "openssl", "openssl")
	tsa := tsatest.New(t, tsatest.Options{})
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "ca.pem"), tsa.PEM())
	s := sealed(t, tsa, digest.SHA256, day(2012, 3, 1), 3, 1)
	s.renewTimestamp(day(2014, 3, 1))
	s.renewHashTree(digest.SHA512, day(2016, 3, 1))
	for _, chain := range s.records[0].Chains {
		for _, ts := range chain.Timestamps {
			writeFile(t, filepath.Join(dir, "t.tst"), ts.Token)
			token := must(tsp.Parse(ts.Token))(t)
			root := token.Info.Imprint.Value
			if ts.Tree != nil {
				root = must(hashtree.Recompute(ts.Digest.Algorithm, ts.Tree))(t)
			}
			cmd := exec.CommandContext(t.Context(), openssl, "ts", "-verify", "-token_in", "-in", "t.tst",
				"-digest", fmt.Sprintf("%x", root), "-CAfile", "ca.pem")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	}
}
