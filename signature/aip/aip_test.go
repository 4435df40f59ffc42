package aip_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"evb/internal/sharedtest"
	"evb/signature/aip"
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

// record seals the given contents as one group.
func record(t testing.TB, tsa *tsatest.Authority, contents ...[]byte) []byte {
	t.Helper()
	var sums [][]byte
	for _, c := range contents {
		sums = append(sums, digest.Of(digest.SHA256, c).Value)
	}
	group, err := hashtree.Group(digest.SHA256, sums)
	sharedtest.Must(t, err)
	tree, err := hashtree.Build(digest.SHA256, [][]byte{group, digest.Of(digest.SHA256, []byte("anderes")).Value}, 2)
	sharedtest.Must(t, err)
	lists, err := tree.Reduced(0, sums)
	sharedtest.Must(t, err)
	ts, err := ers.NewTimestamp(digest.SHA256, lists, tsa.Stamp(t, digest.Digest{Algorithm: digest.SHA256, Value: tree.Root()}, stampedAt))
	sharedtest.Must(t, err)
	er, err := ers.New(ts)
	sharedtest.Must(t, err)
	return er.Raw
}

func options(tsa *tsatest.Authority) ers.Options {
	return ers.Options{Anchors: []*cms.Certificate{tsa.CA}, At: at2026}
}

func verify(t testing.TB, folder fstest.MapFS, name string, opts ers.Options) *ers.Result {
	t.Helper()
	p, err := aip.Open(folder, name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { sharedtest.Must(t, p.Close()) }()
	return p.Verify(t.Context(), opts)
}

func failed(r *ers.Result, name string) bool {
	return slices.ContainsFunc(r.Failed(), func(c ers.Check) bool { return c.Name == name })
}

// ourPackage is an evidence package of two Dokumente, the first with two archive
// versions.
func ourPackage(t *testing.T, tsa *tsatest.Authority) string {
	t.Helper()
	var p evidence.Package
	for _, v := range []struct{ dokument, version, file string }{{"d-1", "a-1", "Brief & <Anlage>.pdf"}, {"d-1", "a-2", "Brief.pdf"}, {"d-2", "a-3", "Brief.pdf"}} {
		content := []byte("Inhalt von " + v.file)
		m := evidence.Metadata{
			Tenant: "stadt", DokumentID: v.dokument, VersionID: "v", ArchiveVersion: v.version, Aktenzeichen: "61/5-BA-000123/26",
			Subject: `Müller & "Söhne"`, CreatedAt: stampedAt, Members: []evidence.MemberFile{{
				File: v.file, SHA256: digest.Of(digest.SHA256, content).Hex(), SHA512: digest.Of(digest.SHA512, content).Hex(), Size: int64(len(content)), MediaType: "application/pdf",
			}},
		}
		canonical, err := m.Canonical()
		sharedtest.Must(t, err)
		salt := digest.Of(digest.SHA256, []byte(v.version)).Value
		g := evidence.Group{ArchiveVersion: v.version, Record: record(t, tsa, content, canonical, salt)}
		for name, b := range map[string][]byte{v.file: content, "metadata.json": canonical, "salt": salt} {
			g.Members = append(g.Members, evidence.Member{Name: name, Digests: []digest.Digest{digest.Of(digest.SHA256, b)}, Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(b)), nil
			}})
		}
		p.Groups = append(p.Groups, g)
	}
	dir := filepath.Join(t.TempDir(), "paket")
	_, err := evidence.Write(t.Context(), dir, p)
	sharedtest.Must(t, err)
	return dir
}

// written is the XAIP or LXAIP of the first Dokument with what lies beside it.
func written(t *testing.T, tsa *tsatest.Authority, logical bool) fstest.MapFS {
	t.Helper()
	dir := ourPackage(t, tsa)
	writers, err := aip.Writers(os.DirFS(dir))
	sharedtest.Must(t, err)
	if len(writers) != 2 || writers[0].Dokument() != "d-1" || writers[1].Dokument() != "d-2" {
		t.Fatalf("%d writers", len(writers))
	}
	w := writers[0]
	w.Logical = logical
	var b bytes.Buffer
	n, err := w.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatal(n, err)
	}
	folder := fstest.MapFS{"d-1.xml": {Data: b.Bytes()}}
	if logical {
		for _, f := range w.Files() {
			content, err := os.ReadFile(filepath.Join(dir, f))
			sharedtest.Must(t, err)
			folder[f] = &fstest.MapFile{Data: content}
		}
	}
	return folder
}

func TestOurXAIPIsValidAndEveryVersionHasItsRecord(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	for _, logical := range []bool{false, true} {
		folder := written(t, tsa, logical)
		p, err := aip.Open(folder, "d-1.xml")
		sharedtest.Must(t, err)
		want := map[bool]string{false: "XAIP", true: "LXAIP"}[logical]
		if p.Kind != want || len(p.Evidence) != 2 || p.Evidence[1].Version != "V002" || len(p.Evidence[0].Objects) != 3 {
			t.Errorf("%s: %+v", p.Kind, p.Evidence)
		}
		if r := p.Verify(t.Context(), options(tsa)); r.Verdict != ers.Valid || len(r.Objects) != 6 {
			t.Errorf("%s: %s %+v", want, r.Verdict, r.Failed())
		}
	}
}

func TestOurXAIPIsValidAgainstTheSchema(t *testing.T) {
	tool := sharedtest.Program(t, "xmllint", "libxml2-utils")
	schemas := sharedtest.Path(t, "standards", "tr-esor")
	tsa := tsatest.New(t, tsatest.Options{})
	for _, logical := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "x.xml")
		sharedtest.Must(t, os.WriteFile(file, written(t, tsa, logical)["d-1.xml"].Data, 0o600))
		cmd := exec.CommandContext(t.Context(), tool, "--nonet", "--huge", "--noout", "--schema", "tr-esor-xaip-v1.3.xsd", file)
		cmd.Dir, cmd.Env = schemas, append(os.Environ(), "XML_CATALOG_FILES=catalog.xml")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("logical %v: %v\n%s", logical, err, out)
		}
	}
}

func TestOneChangedByteOfAnXAIPIsNamed(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	whole := written(t, tsa, false)["d-1.xml"].Data
	content := base64.StdEncoding.EncodeToString([]byte("Inhalt von Brief.pdf"))
	other := base64.StdEncoding.EncodeToString([]byte("Inhalt von Xrief.pdf"))
	for name, tc := range map[string]struct {
		old, new, check string
		verdict         ers.Verdict
	}{
		"content":        {content, other, ers.CheckCovers, ers.Invalid},
		"a sum":          {digest.Of(digest.SHA256, []byte("Inhalt von Brief.pdf")).Hex() + "</xaip:checkSum>", strings.Repeat("0", 64) + "</xaip:checkSum>", aip.CheckPackage, ers.Invalid},
		"a pointer":      {"<xaip:protectedObjectPointer>", "<xaip:unprotectedObjectPointer>", ers.CheckCovers, ers.Invalid},
		"an object gone": {`dataObjectID="O-` + digest.Of(digest.SHA256, []byte("Inhalt von Brief.pdf")).Hex(), `dataObjectID="X`, aip.CheckPackage, ers.Invalid},
		"the version":    {`VersionID="V002"><xaip:asn1`, `VersionID="V001"><xaip:asn1`, aip.CheckPackage, ers.Indeterminate},
		"XAIPVersion":    {`XAIPVersion="1.3.0"`, `XAIPVersion="9.0.0"`, aip.CheckPackage, ers.Invalid},
	} {
		if !bytes.Contains(whole, []byte(tc.old)) {
			t.Fatalf("%s: %q is not in it", name, tc.old)
		}
		changed := bytes.Replace(whole, []byte(tc.old), []byte(tc.new), 1)
		if name == "a pointer" {
			end := []byte("</xaip:protectedObjectPointer>")
			at := bytes.Index(changed, end)
			changed = slices.Concat(changed[:at], []byte("</xaip:unprotectedObjectPointer>"), changed[at+len(end):])
		}
		r := verify(t, fstest.MapFS{"x.xml": {Data: changed}}, "x.xml", options(tsa))
		if r.Verdict != tc.verdict || !failed(r, tc.check) {
			t.Errorf("%s: %s, want %s by %s: %+v", name, r.Verdict, tc.verdict, tc.check, r.Failed())
		}
	}
}

func TestReferencesOfAnLXAIPStayInItsFolder(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	file := "objects/" + digest.Of(digest.SHA256, []byte("Inhalt von Brief.pdf")).Hex()
	change := func(f func(fstest.MapFS)) *ers.Result {
		folder := written(t, tsa, true)
		f(folder)
		return verify(t, folder, "d-1.xml", options(tsa))
	}
	if r := change(func(m fstest.MapFS) { m[file].Data[0] ^= 1 }); r.Verdict != ers.Invalid || !failed(r, aip.CheckPackage) || !failed(r, ers.CheckCovers) {
		t.Errorf("changed: %s %+v", r.Verdict, r.Failed())
	}
	if r := change(func(m fstest.MapFS) { delete(m, file) }); r.Verdict != ers.Indeterminate || !failed(r, ers.CheckCovers) {
		t.Errorf("missing: %s %+v", r.Verdict, r.Failed())
	}
	for _, uri := range []string{"../../etc/passwd", "/etc/passwd", "%2e%2e/x", "http://127.0.0.1/x", ""} {
		r := change(func(m fstest.MapFS) {
			m["d-1.xml"].Data = bytes.Replace(m["d-1.xml"].Data, []byte(`URI="`+file+`"`), []byte(`URI="`+uri+`"`), 1)
		})
		if r.Verdict == ers.Valid || len(r.Failed()) == 0 {
			t.Errorf("%q: %s", uri, r.Verdict)
		}
	}
}

// zipped makes a ZIP; names ending in "=" stand for the same name again.
func zipped(t testing.TB, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.Create(f[0])
		sharedtest.Must(t, err)
		_, err = io.WriteString(w, f[1])
		sharedtest.Must(t, err)
	}
	sharedtest.Must(t, z.Close())
	return b.Bytes()
}

func manifest(record string, files ...[2]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><asic:SigReference URI="%s"/>`, record)
	for _, f := range files {
		d := digest.Of(digest.SHA512, []byte(f[1]))
		fmt.Fprintf(&b, `<asic:DataObjectReference URI="%s"><ds:DigestMethod Algorithm="%s"/><ds:DigestValue>%s</ds:DigestValue></asic:DataObjectReference>`, f[0], d.Algorithm.URI(), base64.StdEncoding.EncodeToString(d.Value))
	}
	return b.String() + "</asic:ASiCManifest>"
}

func TestRecordsInASiCCoverWhatTheManifestNames(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	const er, mf = "META-INF/evidencerecord.ers", "META-INF/ASiCEvidenceRecordManifest1.xml"
	a, b := [2]string{"a.txt", "eins"}, [2]string{"sub/b.txt", "zwei"}
	both := string(record(t, tsa, []byte("eins"), []byte("zwei")))
	one := string(record(t, tsa, []byte("eins")))
	for name, tc := range map[string]struct {
		files   [][2]string
		check   string
		verdict ers.Verdict
	}{
		"two files":             {[][2]string{{"mimetype", "application/vnd.etsi.asic-e+zip"}, a, b, {mf, manifest(er, a, b)}, {er, both}}, "", ers.Valid},
		"one file, no manifest": {[][2]string{{"mimetype", "application/vnd.etsi.asic-s+zip"}, a, {er, one}}, "", ers.Valid},
		"changed":               {[][2]string{a, {"sub/b.txt", "drei"}, {mf, manifest(er, a, b)}, {er, both}}, aip.CheckPackage, ers.Invalid},
		"a file missing":        {[][2]string{a, {mf, manifest(er, a, b)}, {er, both}}, ers.CheckCovers, ers.Indeterminate},
		"one not named":         {[][2]string{a, b, {mf, manifest(er, a)}, {er, both}}, ers.CheckCovers, ers.Invalid},
		"no manifest":           {[][2]string{a, b, {er, both}}, aip.CheckPackage, ers.Indeterminate},
		"manifest broken":       {[][2]string{a, b, {mf, "<a"}, {er, both}}, aip.CheckPackage, ers.Invalid},
		"record broken":         {[][2]string{a, {er, "nichts"}}, ers.CheckFormat, ers.Invalid},
		"no record":             {[][2]string{{"mimetype", "x"}, a}, aip.CheckPackage, ers.Indeterminate},
	} {
		r := verify(t, fstest.MapFS{"x.asice": {Data: zipped(t, tc.files...)}}, "x.asice", options(tsa))
		if r.Verdict != tc.verdict || tc.check != "" && !failed(r, tc.check) {
			t.Errorf("%s: %s, want %s by %s: %+v", name, r.Verdict, tc.verdict, tc.check, r.Failed())
		}
	}
	twice := zipped(t, a, [2]string{"a.txt", "anderes"}, [2]string{er, one})
	if _, err := aip.Open(fstest.MapFS{"x": {Data: twice}}, "x"); err == nil {
		t.Error("two files of one name were accepted")
	}
	for name, data := range map[string][]byte{"text": []byte("nur Text"), "empty": nil, "other XML": []byte("<a/>"), "plain ZIP": zipped(t, a)} {
		if _, err := aip.Open(fstest.MapFS{"x": {Data: data}}, "x"); !errors.Is(err, aip.ErrKind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Samples of the test bed of the BSI.
func TestForeignPackagesAreRead(t *testing.T) {
	dir := sharedtest.Path(t, "standards", "tr-esor", "samples")
	for name, want := range map[string]struct {
		kind    string
		records int
		verdict ers.Verdict
	}{
		"ASIC_E_ER_OK.asice": {"ASiC", 1, ers.Indeterminate}, "XAIP_OK.xml": {"XAIP", 0, ers.Indeterminate}, "LXAIP_OK.xml": {"XAIP", 0, ers.Indeterminate},
		"XAIP_NOK_VERSION.xml": {"XAIP", 0, ers.Invalid}, "DXAIP_OK.xml": {"XAIP", 0, ers.Indeterminate},
	} {
		p, err := aip.Open(os.DirFS(dir), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := p.Verify(t.Context(), ers.Options{At: at2026})
		if p.Kind != want.kind || len(p.Evidence) != want.records || r.Verdict != want.verdict {
			t.Errorf("%s: %s, %d records, %s: %+v", name, p.Kind, len(p.Evidence), r.Verdict, r.Failed())
		}
		if want.records > 0 && r.Integrity != ers.Valid {
			t.Errorf("%s: %+v", name, r.Failed())
		}
		sharedtest.Must(t, p.Close())
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`<x:XAIP xmlns:x="http://www.bsi.bund.de/tr-esor/xaip" XAIPVersion="1.3.0"><x:packageHeader packageID="p"><x:versionManifest VersionID="V"><x:packageInfoUnit packageUnitID="u"><x:protectedObjectPointer>d</x:protectedObjectPointer></x:packageInfoUnit></x:versionManifest></x:packageHeader><x:dataObjectsSection><x:dataObject dataObjectID="d"><x:binaryData>QQ==</x:binaryData></x:dataObject></x:dataObjectsSection><x:credentialsSection><x:credential credentialID="c" relatedObjects="V"><x:evidenceRecord><x:asn1EvidenceRecord>MAA=</x:asn1EvidenceRecord></x:evidenceRecord></x:credential></x:credentialsSection></x:XAIP>`))
	f.Add(zipped(f, [2]string{"a", "b"}, [2]string{"META-INF/evidencerecord.ers", "0"}, [2]string{"META-INF/ASiCEvidenceRecordManifest.xml", manifest("META-INF/evidencerecord.ers", [2]string{"a", "b"})}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		p, err := aip.Open(fstest.MapFS{"x": {Data: b}}, "x")
		if err != nil {
			return
		}
		if r := p.Verify(t.Context(), ers.Options{At: at2026}); r.Verdict == ers.Valid {
			t.Errorf("without any trust: %+v", r)
		}
		_ = p.Close()
	})
}
