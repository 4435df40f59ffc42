package evidence_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// guide runs the commands of docs/verify-without-evb.md in a package, as they
// stand there, and returns what they print.
func guide(t *testing.T, dir, anchor string) (string, error) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "verify-without-evb.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	parts := strings.Split(string(doc), "```bash\n")
	for _, p := range parts[1:] {
		block, _, ok := strings.Cut(p, "```")
		if !ok {
			t.Fatal("a block has no end")
		}
		script.WriteString(block)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-u", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "anchor="+anchor)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestTheGuideForAuditorsWorksAsItStands(t *testing.T) {
	dir, tsa, _ := sealedPackage(t)
	anchor := filepath.Join(t.TempDir(), "ANKER.pem")
	if err := os.WriteFile(anchor, tsa.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := guide(t, dir, anchor)
	if err != nil || strings.Contains(out, "FALSCH") || strings.Count(out, "Verification: OK") != 3 ||
		!strings.Contains(out, "evidence/1.er: OK") || !strings.Contains(out, "evidence/2.er: OK") || strings.Count(out, `"dokument_id":`) != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	// A forger who puts the manifest right is found by the steps after it.
	text := filepath.Join("objects", allFiles(t, filepath.Join(dir, "objects"))[0])
	b, err := os.ReadFile(filepath.Join(dir, text))
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if err := os.WriteFile(filepath.Join(dir, text), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ = guide(t, dir, anchor); !strings.Contains(out, text+": FAILED") {
		t.Errorf("a changed file passes sha256sum:\n%s", out)
	}
	rewriteManifest(t, dir)
	if out, err = guide(t, dir, anchor); err != nil || !strings.Contains(out, "FALSCH / WRONG: evidence/") {
		t.Errorf("a changed file behind a good manifest passes: %v\n%s", err, out)
	}
}
