package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"evb/internal/sharedtest"
	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/evidence"
	"evb/signature/hashtree"
	"evb/signature/tsatest"
)

var (
	stampedAt = time.Date(2024, 3, 1, 9, 0, 0, 0, time.UTC)
	at2026    = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
)

func member(name string, b []byte) evidence.Member {
	return evidence.Member{
		Name:    name,
		Digests: []digest.Digest{digest.Of(digest.SHA256, b), digest.Of(digest.SHA512, b)},
		Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b)), nil
		},
	}
}

func memberFile(name string, b []byte) evidence.MemberFile {
	return evidence.MemberFile{
		File: name, SHA256: digest.Of(digest.SHA256, b).Hex(), SHA512: digest.Of(digest.SHA512, b).Hex(),
		Size: int64(len(b)), MediaType: "application/pdf",
	}
}

// archiveVersion is a group as intake makes it: files, metadata, salt.
type archiveVersion struct {
	id      string
	members [][]byte
	names   []string
	record  *ers.EvidenceRecord
}

func newArchiveVersion(t testing.TB, n int, files ...string) *archiveVersion {
	t.Helper()
	v := &archiveVersion{id: fmt.Sprintf("0190-%04d", n)}
	m := evidence.Metadata{
		Tenant: "stadt", DokumentID: fmt.Sprintf("d-%d", n), VersionID: fmt.Sprintf("v-%d", n), ArchiveVersion: v.id,
		Aktenzeichen: "61/5-BA-000123/26", Subject: "Bauantrag Müller & Söhne", ReceivedOn: "2026-11-24", CreatedAt: stampedAt,
		Batch: &evidence.Batch{BatchID: "S-1", Position: n, FirstPage: 1, LastPage: 2},
		Extra: map[string]any{"confidential": false},
	}
	for _, f := range files {
		v.names, v.members = append(v.names, f), append(v.members, []byte("Inhalt von "+f))
		m.Members = append(m.Members, memberFile(f, []byte("Inhalt von "+f)))
	}
	canonical, err := m.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	salt := digest.Of(digest.SHA256, []byte("salt "+v.id)).Value
	v.names = append(v.names, "metadata.json", "salt")
	v.members = append(v.members, canonical, salt)
	return v
}

func (v *archiveVersion) digests(alg digest.Algorithm) [][]byte {
	var out [][]byte
	for _, m := range v.members {
		out = append(out, digest.Of(alg, m).Value)
	}
	return out
}

func (v *archiveVersion) group() evidence.Group {
	g := evidence.Group{ArchiveVersion: v.id}
	for i, m := range v.members {
		g.Members = append(g.Members, member(v.names[i], m))
	}
	if v.record != nil {
		g.Record = v.record.Raw
	}
	return g
}

// seal seals groups in one tree, with some other leaves beside them.
func seal(t testing.TB, tsa *tsatest.Authority, versions ...*archiveVersion) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var leaves [][]byte
	for _, v := range versions {
		g, err := hashtree.Group(digest.SHA256, v.digests(digest.SHA256))
		check(err)
		leaves = append(leaves, g, digest.Of(digest.SHA256, g).Value)
	}
	tree, err := hashtree.Build(digest.SHA256, leaves, 2)
	check(err)
	token := tsa.Stamp(t, digest.Digest{Algorithm: digest.SHA256, Value: tree.Root()}, stampedAt)
	for i, v := range versions {
		lists, err := tree.Reduced(2*i, v.digests(digest.SHA256))
		check(err)
		ts, err := ers.NewTimestamp(digest.SHA256, lists, token)
		check(err)
		v.record, err = ers.New(ts)
		check(err)
	}
}

// rehash renews a record to SHA-512.
func rehash(t testing.TB, tsa *tsatest.Authority, v *archiveVersion) {
	t.Helper()
	d := v.digests(digest.SHA512)
	first, err := v.record.RehashLeaves(digest.SHA512, d)
	if err != nil {
		t.Fatal(err)
	}
	root, err := hashtree.Group(digest.SHA512, first)
	if err != nil {
		t.Fatal(err)
	}
	token := tsa.Stamp(t, digest.Digest{Algorithm: digest.SHA512, Value: root}, stampedAt.AddDate(1, 0, 0))
	slices.SortFunc(first, bytes.Compare)
	ts, err := ers.NewTimestamp(digest.SHA512, []hashtree.List{first}, token)
	if err != nil {
		t.Fatal(err)
	}
	if v.record, err = v.record.RenewHashTree(ts, d); err != nil {
		t.Fatal(err)
	}
}

func writePackage(t testing.TB, crl []byte, versions ...*archiveVersion) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "paket")
	p := evidence.Package{Metadata: map[string]any{"dokument_id": "d-1"}, Reports: map[string][]byte{"report.html": []byte("<p>ok</p>")}}
	if crl != nil {
		p.CRLs = [][]byte{crl}
	}
	for _, v := range versions {
		p.Groups = append(p.Groups, v.group())
	}
	if _, err := evidence.Write(t.Context(), dir, p); err != nil {
		t.Fatal(err)
	}
	return dir
}

func sealedPackage(t testing.TB) (string, *tsatest.Authority, ers.Options) {
	t.Helper()
	tsa := tsatest.New(t, tsatest.Options{CRLURL: "http://localhost/ca.crl"})
	one, two := newArchiveVersion(t, 1, "brief.pdf", "anlage.pdf"), newArchiveVersion(t, 2, "brief.pdf")
	seal(t, tsa, one, two)
	rehash(t, tsa, one)
	dir := writePackage(t, tsa.CRL(t, stampedAt.AddDate(1, 0, 1), time.Time{}, 0), one, two)
	return dir, tsa, ers.Options{Anchors: []*cms.Certificate{tsa.CA}, At: at2026}
}

func TestAPackageIsValidWithNothingButItsFiles(t *testing.T) {
	dir, _, opts := sealedPackage(t)
	r := evidence.Verify(t.Context(), dir, opts)
	if r.Verdict != ers.Valid || r.Trust != ers.Trusted {
		t.Fatalf("%s, %s: %+v", r.Verdict, r.Trust, r.Failed())
	}
	// One of the primary files is in both versions and stored once.
	if len(r.Objects) != 6 {
		t.Errorf("%d objects", len(r.Objects))
	}
	labels := map[string]int{}
	for _, o := range r.Objects {
		labels[o.Label]++
	}
	if diff := cmp.Diff(map[string]int{"brief.pdf": 1, "anlage.pdf": 1, "Metadaten / metadata": 2, "Salt": 2}, labels); diff != "" {
		t.Error(diff)
	}
	opts.Anchors = nil
	if r := evidence.Verify(t.Context(), dir, opts); r.Verdict != ers.Indeterminate || r.Integrity != ers.Valid || r.Trust != ers.NotChecked {
		t.Errorf("without anchors: %s %s %s", r.Verdict, r.Integrity, r.Trust)
	}
}

func TestPublicToolsAcceptThePackage(t *testing.T) {
	dir, tsa, _ := sealedPackage(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, tsa.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), sharedtest.Program(t, name, map[string]string{"openssl": "openssl", "sha256sum": "coreutils"}[name]), args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	run("sha256sum", "--check", "--strict", "--quiet", "manifest.sha256")
	tokens, err := filepath.Glob(filepath.Join(dir, "tokens", "*.tst"))
	if err != nil || len(tokens) != 3 {
		t.Fatalf("%v, %v", tokens, err)
	}
	for _, token := range tokens {
		imprint, err := os.ReadFile(strings.TrimSuffix(token, ".tst") + ".imprint")
		if err != nil {
			t.Fatal(err)
		}
		run("openssl", "ts", "-verify", "-token_in", "-in", token, "-digest", strings.Fields(string(imprint))[1], "-CAfile", ca)
	}
}

// allFiles lists a package.
func allFiles(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, e := filepath.Rel(dir, p)
			out, err = append(out, rel), e
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOneFlippedByteInAnyFileIsNamed(t *testing.T) {
	dir, _, opts := sealedPackage(t)
	opts.FindingsOnly = true
	for _, file := range allFiles(t, dir) {
		full := filepath.Join(dir, file)
		b, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		step := max(1, len(b)/12)
		for i := 0; i < len(b); i += step {
			for _, bit := range []byte{0x01, 0x20} {
				changed := bytes.Clone(b)
				changed[i] ^= bit
				if err := os.WriteFile(full, changed, 0o600); err != nil {
					t.Fatal(err)
				}
				r := evidence.Verify(t.Context(), dir, opts)
				if r.Verdict != ers.Invalid || r.Integrity != ers.Invalid {
					t.Errorf("%s byte %d: %s", file, i, r.Verdict)
				}
				// A changed manifest names the file whose line no longer fits.
				if file != "manifest.sha256" && !namesFile(r, file) {
					t.Errorf("%s byte %d is not named: %+v", file, i, r.Failed())
				}
			}
		}
		if err := os.WriteFile(full, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := evidence.Verify(t.Context(), dir, opts); r.Verdict != ers.Valid {
		t.Errorf("put back: %+v", r.Failed())
	}
}

func namesFile(r *ers.Result, file string) bool {
	return slices.ContainsFunc(r.Failed(), func(c ers.Check) bool {
		return c.Result == ers.Fail && c.Name == evidence.CheckManifest && c.Object == file
	})
}

// rewriteManifest lists every file as it is now: what a forger would do.
func rewriteManifest(t testing.TB, dir string) {
	t.Helper()
	var list []byte
	for _, file := range allFiles(t, dir) {
		if file == "manifest.sha256" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		list = fmt.Appendf(list, "%s  %s\n", digest.Of(digest.SHA256, b).Hex(), filepath.ToSlash(file))
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.sha256"), list, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestForgeriesBehindACorrectManifestAreFound(t *testing.T) {
	for _, tc := range []struct {
		name   string
		forge  func(t *testing.T, dir string)
		want   ers.Verdict
		checks []string
	}{
		{"an object changed in place", func(t *testing.T, dir string) {
			replace(t, dir, "objects/"+digest.Of(digest.SHA256, []byte("Inhalt von anlage.pdf")).Hex(), "Inhalt von anderer.pdf")
		}, ers.Invalid, []string{evidence.CheckObjects, ers.CheckCovers}},
		{"an object exchanged with its name", func(t *testing.T, dir string) {
			old := digest.Of(digest.SHA256, []byte("Inhalt von anlage.pdf")).Hex()
			fresh := digest.Of(digest.SHA256, []byte("gefaelscht")).Hex()
			if err := os.Remove(filepath.Join(dir, "objects", old)); err != nil {
				t.Fatal(err)
			}
			replace(t, dir, "objects/"+fresh, "gefaelscht")
			substitute(t, dir, "evidence/1.objects", old, fresh)
		}, ers.Invalid, []string{ers.CheckCovers, evidence.CheckMetadata}},
		{"an object added", func(t *testing.T, dir string) {
			replace(t, dir, "objects/"+digest.Of(digest.SHA256, []byte("neu")).Hex(), "neu")
		}, ers.Indeterminate, []string{ers.CheckCovers}},
		{"an object added to a group", func(t *testing.T, dir string) {
			d := digest.Of(digest.SHA256, []byte("neu")).Hex()
			replace(t, dir, "objects/"+d, "neu")
			b := read(t, dir, "evidence/1.objects")
			replace(t, dir, "evidence/1.objects", b+"sha256 "+d+" objects/"+d+"\n")
		}, ers.Invalid, []string{ers.CheckCovers, evidence.CheckMetadata}},
		{"a member left out of its group", func(t *testing.T, dir string) {
			b := read(t, dir, "evidence/2.objects")
			_, rest, _ := strings.Cut(b, "\n")
			replace(t, dir, "evidence/2.objects", rest)
		}, ers.Invalid, []string{ers.CheckCovers}},
		{"tokens exchanged", func(t *testing.T, dir string) {
			replace(t, dir, "tokens/1-1.tst", read(t, dir, "tokens/1-2.tst"))
		}, ers.Invalid, []string{evidence.CheckTokens}},
		{"an imprint changed", func(t *testing.T, dir string) {
			replace(t, dir, "tokens/1-1.imprint", read(t, dir, "tokens/1-2.imprint"))
		}, ers.Invalid, []string{evidence.CheckTokens}},
		{"the record of the other group", func(t *testing.T, dir string) {
			replace(t, dir, "evidence/2.er", read(t, dir, "evidence/1.er"))
		}, ers.Invalid, []string{ers.CheckCovers, evidence.CheckTokens}},
		{"a record that is none", func(t *testing.T, dir string) {
			replace(t, dir, "evidence/2.er", "kein Beweissatz")
		}, ers.Invalid, []string{ers.CheckFormat}},
		{"the evidence removed", func(t *testing.T, dir string) {
			for _, d := range []string{"evidence", "tokens"} {
				if err := os.RemoveAll(filepath.Join(dir, d)); err != nil {
					t.Fatal(err)
				}
			}
		}, ers.Indeterminate, []string{ers.CheckCovers}},
		{"a file that nothing explains", func(t *testing.T, dir string) {
			replace(t, dir, "evidence/gutachten.pdf", "x")
		}, ers.Invalid, []string{ers.CheckFormat}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, _, opts := sealedPackage(t)
			tc.forge(t, dir)
			rewriteManifest(t, dir)
			r := evidence.Verify(t.Context(), dir, opts)
			if r.Verdict != tc.want {
				t.Errorf("%s: %+v", r.Verdict, r.Failed())
			}
			got := map[string]bool{}
			for _, c := range r.Failed() {
				got[c.Name] = true
			}
			for _, name := range tc.checks {
				if !got[name] {
					t.Errorf("check %s does not fail: %+v", name, r.Failed())
				}
			}
		})
	}
}

func read(t testing.TB, dir, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func replace(t testing.TB, dir, file, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(file)), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func substitute(t testing.TB, dir, file, old, fresh string) {
	t.Helper()
	replace(t, dir, file, strings.ReplaceAll(read(t, dir, file), old, fresh))
}

func TestLinksAndPathsLeadNowhere(t *testing.T) {
	dir, _, opts := sealedPackage(t)
	secret := filepath.Join(t.TempDir(), "geheim")
	if err := os.WriteFile(secret, []byte("geheim"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "objects", "link")); err != nil {
		t.Fatal(err)
	}
	if r := evidence.Verify(t.Context(), dir, opts); r.Verdict != ers.Invalid || !namesFile(r, "objects/link") {
		t.Errorf("link: %s %+v", r.Verdict, r.Failed())
	}
	if err := os.Remove(filepath.Join(dir, "objects", "link")); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"../geheim", "/etc/passwd", "objects/../../geheim", "a\x00b", ""} {
		b := read(t, dir, "manifest.sha256")
		replace(t, dir, "manifest.sha256", b+strings.Repeat("0", 64)+"  "+line+"\n")
		if r := evidence.Verify(t.Context(), dir, opts); r.Verdict != ers.Invalid || !namesFile(r, "manifest.sha256") {
			t.Errorf("%q: %s %+v", line, r.Verdict, r.Failed())
		}
		replace(t, dir, "manifest.sha256", b)
	}
}

// endsAfter is a context that ends when it was asked so many times.
type endsAfter struct {
	context.Context
	left  int
	ended bool
}

func (c *endsAfter) Err() error {
	if c.left == 0 {
		c.ended = true
		return context.Canceled
	}
	c.left--
	return nil
}

func TestAVerificationThatWasBrokenOffIsNeverValid(t *testing.T) {
	dir, _, opts := sealedPackage(t)
	for n := 0; ; n++ {
		ctx := &endsAfter{Context: t.Context(), left: n}
		r := evidence.Verify(ctx, dir, opts)
		if !ctx.ended {
			if r.Verdict != ers.Valid {
				t.Fatalf("not broken off: %+v", r.Failed())
			}
			return
		}
		if r.Verdict == ers.Valid || len(r.Failed()) == 0 {
			t.Fatalf("broken off at the question %d: %s", n, r.Verdict)
		}
	}
}

func TestWhatIsNoPackageIsUnreadable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "datei")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{t.TempDir(), file, filepath.Join(t.TempDir(), "nichts")} {
		r := evidence.Verify(t.Context(), dir, ers.Options{})
		if r.Verdict != ers.Invalid || r.Integrity != ers.Invalid {
			t.Errorf("%s %+v", r.Verdict, r.Checks)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
		if strings.Contains(fmt.Sprint(r.Checks), filepath.Dir(dir)) {
			t.Error("the result names a path of this machine")
		}
	}
}

func TestPendingPackagesAreWrittenWithoutEvidence(t *testing.T) {
	dir := writePackage(t, nil, newArchiveVersion(t, 1, "brief.pdf"))
	if _, err := os.Stat(filepath.Join(dir, "evidence")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("evidence: %v", err)
	}
	if !strings.Contains(read(t, dir, "README.txt"), "noch nicht versiegelt") {
		t.Error("README.txt does not say so")
	}
	r := evidence.Verify(t.Context(), dir, ers.Options{At: at2026})
	if r.Verdict != ers.Indeterminate || r.Integrity != ers.Indeterminate {
		t.Errorf("%s %s", r.Verdict, r.Integrity)
	}
}

func TestWriteRefusesObjectsThatChanged(t *testing.T) {
	v := newArchiveVersion(t, 1, "brief.pdf")
	g := v.group()
	g.Members[0].Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("verändert")), nil
	}
	dir := filepath.Join(t.TempDir(), "paket")
	_, err := evidence.Write(t.Context(), dir, evidence.Package{Groups: []evidence.Group{g}})
	if !errors.Is(err, evidence.ErrObjectChanged) {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "da"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.Write(t.Context(), dir, evidence.Package{Groups: []evidence.Group{v.group()}}); !errors.Is(err, evidence.ErrExists) {
		t.Errorf("%v", err)
	}
}
