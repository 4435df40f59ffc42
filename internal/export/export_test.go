package export_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/export"
	"evb/internal/fault"
	"evb/signature/cms"
	"evb/signature/ers"
	"evb/signature/evidence"
)

func (w *world) write(r export.Request) (export.Report, string) {
	w.T.Helper()
	dir := filepath.Join(w.T.TempDir(), "paket")
	rep, err := w.export.Write(w.T.Context(), w.Schulz, r, dir)
	must(w.T, err)
	return rep, dir
}

// verify checks a package with the anchor of the authority and nothing else.
func (w *world) verify(dir string) *ers.Result {
	w.T.Helper()
	anchors, err := cms.ParseCertificates(w.tsa.CertificatePEM())
	must(w.T, err)
	return evidence.Verify(w.T.Context(), dir, ers.Options{Anchors: anchors, At: time.Now()})
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, e := filepath.Rel(dir, p)
			out, err = append(out, rel), e
		}
		return err
	}))
	return out
}

func TestASealedDokumentIsProvenByPublicToolsAlone(t *testing.T) {
	w := newWorld(t)
	d := w.letter("Bauantrag Carport", "Brief an die Bauordnung", "Anlage: Lageplan")
	w.seal()
	rep, dir := w.write(export.Request{Dokument: d, Reason: "Akteneinsicht"})
	if rep.Records != 1 || rep.Pending != 0 || rep.Objects != 4 || rep.Dokumente != 1 || rep.Name != "dokument-"+d.String() {
		t.Errorf("report %+v", rep)
	}
	if r := w.verify(dir); r.Verdict != ers.Valid {
		t.Errorf("%s: %+v", r.Verdict, r.Failed())
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, w.tsa.CertificatePEM(), 0o600))
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	run("sha256sum", "--check", "--strict", "--quiet", "manifest.sha256")
	tokens, err := filepath.Glob(filepath.Join(dir, "tokens", "*.tst"))
	must(t, err)
	if len(tokens) != 1 {
		t.Errorf("tokens %v", tokens)
	}
	for _, token := range tokens {
		imprint, err := os.ReadFile(strings.TrimSuffix(token, ".tst") + ".imprint")
		must(t, err)
		run("openssl", "ts", "-verify", "-token_in", "-in", token, "-digest", strings.Fields(string(imprint))[1], "-CAfile", ca)
	}
	// The commands of README.txt work as they stand there.
	must(t, os.WriteFile(filepath.Join(dir, "..", "ANKER.pem"), w.tsa.CertificatePEM(), 0o600))
	readme, err := os.ReadFile(filepath.Join(dir, "README.txt"))
	must(t, err)
	german, _, _ := strings.Cut(string(readme), "EVIDENCE PACKAGE")
	commands := 0
	joined := strings.ReplaceAll(strings.ReplaceAll(german, "\\\n", " "), "ANKER.pem", "../ANKER.pem")
	for line := range strings.Lines(joined) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "openssl ts -verify") || strings.HasPrefix(line, "sha256sum") {
			run("sh", "-c", line)
			commands++
		}
	}
	if commands != 2 {
		t.Errorf("%d commands in README.txt:\n%s", commands, german)
	}
}

func TestMetadataTellsPeopleWhatTheyHold(t *testing.T) {
	w := newWorld(t)
	d := w.letter("Bauantrag Carport", "Brief 2")
	_, err := w.Akten.File(t.Context(), w.Schulz, d, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	must(t, err)
	w.seal()
	rep, dir := w.write(export.Request{Dokument: d})
	var m struct {
		PackageID string `json:"package_id"`
		CreatedBy string `json:"created_by"`
		Dokumente []struct {
			ID, Subject, Aktenzeichen string
			VorgangReference          string `json:"vorgang_reference"`
			ReceivedOn                string `json:"received_on"`
			Versions                  []struct{ Files []struct{ Path, Name string } }
			ArchiveVersions           []struct {
				N      int
				State  string
				Tokens []struct{ TSA string }
			} `json:"archive_versions"`
			History []struct{ Kind, Actor string }
		}
		Vorgaenge []struct{ Reference, Subject string }
		Akten     []struct{ Aktenzeichen string }
	}
	b, err := os.ReadFile(filepath.Join(dir, "metadata.json"))
	must(t, err)
	must(t, json.Unmarshal(b, &m))
	if m.PackageID != rep.ID.String() || m.CreatedBy == "" || len(m.Dokumente) != 1 || len(m.Akten) != 1 || len(m.Vorgaenge) != 1 {
		t.Fatalf("%s", b)
	}
	p := m.Dokumente[0]
	if p.ID != d.String() || p.Subject != "Bauantrag Carport" || p.Aktenzeichen != aktetest.NumberBau || p.ReceivedOn != "2026-11-24" ||
		p.VorgangReference != m.Vorgaenge[0].Reference || m.Akten[0].Aktenzeichen != aktetest.NumberBau {
		t.Errorf("%+v", p)
	}
	var kinds []string
	for _, h := range p.History {
		kinds = append(kinds, h.Kind)
	}
	if !slices.Contains(kinds, "dokument.received") || !slices.Contains(kinds, "dokument.filed") {
		t.Errorf("history %v", kinds)
	}
	if _, err := os.Stat(filepath.Join(dir, p.Versions[0].Files[0].Path)); err != nil {
		t.Error(err)
	}
	for _, v := range p.ArchiveVersions {
		if v.State != "sealed" || len(v.Tokens) == 0 || v.Tokens[0].TSA == "" {
			t.Errorf("%+v", v)
		}
		if _, err := os.Stat(filepath.Join(dir, "evidence", itoa(v.N)+".er")); err != nil {
			t.Error(err)
		}
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestOneFlippedByteInAnyFileOfAnExportIsNamed(t *testing.T) {
	w := newWorld(t)
	d := w.letter("x", "Brief 3", "Anlage 3")
	w.seal()
	_, dir := w.write(export.Request{Dokument: d})
	for _, file := range files(t, dir) {
		full := filepath.Join(dir, file)
		b, err := os.ReadFile(full)
		must(t, err)
		changed := bytes.Clone(b)
		changed[len(b)/2] ^= 1
		must(t, os.WriteFile(full, changed, 0o600))
		r := w.verify(dir)
		if r.Verdict != ers.Invalid {
			t.Errorf("%s: %s", file, r.Verdict)
		}
		named := slices.ContainsFunc(r.Failed(), func(c ers.Check) bool { return c.Object == file })
		if file != "manifest.sha256" && !named {
			t.Errorf("%s is not named: %+v", file, r.Failed())
		}
		must(t, os.WriteFile(full, b, 0o600))
	}
	if r := w.verify(dir); r.Verdict != ers.Valid {
		t.Errorf("put back: %+v", r.Failed())
	}
}

func TestAPendingDokumentGoesOutWithoutEvidenceUnlessItIsSealedFirst(t *testing.T) {
	w := newWorld(t)
	d := w.letter("x", "Brief 4")
	rep, dir := w.write(export.Request{Dokument: d})
	if rep.Records != 0 || rep.Pending != 1 || rep.Objects == 0 {
		t.Errorf("report %+v", rep)
	}
	if r := w.verify(dir); r.Verdict != ers.Indeterminate || r.Integrity != ers.Indeterminate {
		t.Errorf("%s %s: %+v", r.Verdict, r.Integrity, r.Failed())
	}
	if _, err := os.Stat(filepath.Join(dir, "evidence")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("evidence of nothing: %v", err)
	}
	rep, dir = w.write(export.Request{Dokument: d, Seal: true}) // a clerk may not seal by himself
	if rep.Records != 1 || rep.Pending != 0 {
		t.Errorf("report %+v", rep)
	}
	if r := w.verify(dir); r.Verdict != ers.Valid {
		t.Errorf("%s: %+v", r.Verdict, r.Failed())
	}
	// A further Version is pending while the first stays proven.
	w.Keep(w.Schulz, []string{"Brief 4, verbessert"}, func(tx pgx.Tx, files []akte.NewFile) error {
		_, err := w.Akten.InsertVersion(t.Context(), tx, w.Schulz, time.Now(), akte.NewVersion{
			ID: uuid.Must(uuid.NewV7()), DokumentID: d, Origin: "edit", Files: files,
		})
		return err
	})
	rep, dir = w.write(export.Request{Dokument: d})
	if rep.Records != 1 || rep.Pending != 1 {
		t.Errorf("report %+v", rep)
	}
	r := w.verify(dir)
	if r.Verdict != ers.Indeterminate {
		t.Errorf("%s: %+v", r.Verdict, r.Failed())
	}
	sound := 0
	for _, o := range r.Objects {
		if o.Integrity == ers.Valid {
			sound++
		}
	}
	if sound != 3 {
		t.Errorf("%d proven objects of %d", sound, len(r.Objects))
	}
}

func TestAVorgangOrAnAkteGoesOutAsAWhole(t *testing.T) {
	w := newWorld(t)
	var vorgang uuid.UUID
	for i, text := range []string{"Antrag", "Nachforderung", "Bescheid"} {
		d := w.letter(text, text+" 5")
		got, err := w.Akten.File(t.Context(), w.Schulz, d, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
		must(t, err)
		if i == 0 {
			vorgang = *got.VorgangID
		}
	}
	w.letter("liegt nicht darin", "Brief 5")
	w.seal()
	for _, r := range []export.Request{{Vorgang: vorgang}, {Akte: w.AkteBau}} {
		rep, dir := w.write(r)
		if rep.Dokumente != 3 || rep.Pending != 0 || rep.Records < 3 {
			t.Errorf("report %+v", rep)
		}
		if r := w.verify(dir); r.Verdict != ers.Valid {
			t.Errorf("%s: %+v", r.Verdict, r.Failed())
		}
		certs, err := filepath.Glob(filepath.Join(dir, "certificates", "*.pem"))
		must(t, err)
		if len(certs) != 2 { // of one authority, once
			t.Errorf("certificates %v", certs)
		}
	}
	if _, err := w.export.Prepare(t.Context(), w.Meier, export.Request{Akte: w.AkteWohn}); !fault.Is(err, "export-empty") {
		t.Errorf("empty Akte: %v", err)
	}
}

func TestEveryExportIsAccountedForBeforeItLeaves(t *testing.T) {
	w := newWorld(t)
	d := w.letter("x", "Brief 6")
	w.seal()
	rep, _ := w.write(export.Request{Dokument: d, Reason: "Akteneinsicht § 25 SGB X"})
	got := w.accesses()
	if len(got) != 1 {
		t.Fatalf("%d facts", len(got))
	}
	e := got[0]
	if e.Kind != export.Exported || *e.Record != d || *e.Subject != rep.ID || e.Actor != w.Schulz.User || e.Reason != "Akteneinsicht § 25 SGB X" {
		t.Errorf("%+v", e)
	}
}

func TestWhoDoesNotSeeADokumentGetsNothingOfIt(t *testing.T) {
	w := newWorld(t)
	d := w.letter("geheim", "Brief 7")
	filed, err := w.Akten.File(t.Context(), w.Schulz, d, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	must(t, err)
	w.seal()
	for _, r := range []export.Request{{Dokument: d}, {Vorgang: *filed.VorgangID}, {Akte: w.AkteBau}, {Dokument: uuid.New()}} {
		for _, a := range []struct {
			name string
			err  error
		}{{"meier", prepare(t, w, w.Meier.User, r)}, {"nobody", prepare(t, w, w.Nobody.User, r)}} {
			if fault.KindOf(a.err) != fault.NotFound {
				t.Errorf("%s %+v: %v", a.name, r, a.err)
			}
		}
	}
	if n := len(w.accesses()); n != 0 {
		t.Errorf("%d exports noted", n)
	}
	w.empty()
}

func prepare(t *testing.T, w *world, user uuid.UUID, r export.Request) error {
	t.Helper()
	a := w.Meier
	if user == w.Nobody.User {
		a = w.Nobody
	}
	p, err := w.export.Prepare(t.Context(), a, r)
	if err == nil {
		_ = p.Close()
	}
	return err
}

// empty checks that nothing waits in the folder of packages.
func (w *world) empty() {
	w.T.Helper()
	left, err := os.ReadDir(w.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.T.Fatal(err)
	}
	if len(left) != 0 {
		w.T.Errorf("left over: %v", left)
	}
}

func TestATarStreamIsThePackage(t *testing.T) {
	w := newWorld(t)
	d := w.letter("x", "Brief 8", strings.Repeat("lang ", 100_000))
	w.seal()
	p, err := w.export.Prepare(t.Context(), w.Schulz, export.Request{Dokument: d})
	must(t, err)
	var b bytes.Buffer
	must(t, p.WriteTar(t.Context(), &b))
	want := files(t, p.Dir())
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	r := tar.NewReader(&b)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if h.Typeflag == tar.TypeDir {
			must(t, root.MkdirAll(strings.TrimSuffix(h.Name, "/"), 0o755))
			continue
		}
		f, err := root.Create(h.Name)
		must(t, err)
		_, err = io.Copy(f, r)
		must(t, err)
		must(t, f.Close())
	}
	unpacked := filepath.Join(dir, p.Report.Name)
	if got := files(t, unpacked); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if r := w.verify(unpacked); r.Verdict != ers.Valid {
		t.Errorf("%s: %+v", r.Verdict, r.Failed())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.WriteTar(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	must(t, p.Close())
	must(t, p.Close())
	w.empty()
}

func TestADamagedObjectIsAFaultAndNotAPackage(t *testing.T) {
	w := newWorld(t)
	text := "Brief 9, der Schaden nimmt"
	d := w.letter("x", text)
	w.seal()
	damaged := 0
	must(t, filepath.WalkDir(w.Place.Objects, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if b, err := os.ReadFile(p); err == nil && string(b) == text {
			damaged++
			if err := os.Chmod(p, 0o600); err != nil {
				return err
			}
			return os.WriteFile(p, []byte("Brief 9, der Schaden nahm "), 0o600)
		}
		return nil
	}))
	if damaged == 0 {
		t.Fatal("the object was not found on disk")
	}
	_, err := w.export.Prepare(t.Context(), w.Schulz, export.Request{Dokument: d})
	if !fault.Is(err, "content-corrupt") {
		t.Errorf("error %v", err)
	}
	w.empty()
	if n := len(w.accesses()); n != 0 {
		t.Errorf("%d exports noted", n)
	}
}

func TestWrongRequestsAreSaid(t *testing.T) {
	w := newWorld(t)
	d := w.letter("x", "Brief 10")
	for _, r := range []export.Request{{}, {Dokument: d, Vorgang: d}} {
		if _, err := w.export.Prepare(t.Context(), w.Schulz, r); !fault.Is(err, "export-target") {
			t.Errorf("%+v: %v", r, err)
		}
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o600))
	if _, err := w.export.Write(t.Context(), w.Schulz, export.Request{Dokument: d}, dir); !fault.Is(err, "export-folder-not-empty") {
		t.Errorf("folder: %v", err)
	}
	w.empty()
}

func TestWhatACrashLeftIsSweptOnceItIsOld(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"export-old", "export-young", "other"} {
		must(t, os.MkdirAll(filepath.Join(w.dir, name), 0o700))
	}
	old := time.Now().Add(-25 * time.Hour)
	must(t, os.Chtimes(filepath.Join(w.dir, "export-old"), old, old))
	must(t, os.Chtimes(filepath.Join(w.dir, "other"), old, old))
	export.New(w.DB, w.Log, w.Akten, w.Blobs, w.proof, export.Options{Dir: w.dir})
	left, err := os.ReadDir(w.dir)
	must(t, err)
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"export-young", "other"}) {
		t.Errorf("left %v", names)
	}
}
