package aip

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/xmldoc"
)

const (
	nsASiC    = "http://uri.etsi.org/02918/v1.2.1#"
	nsDSig    = "http://www.w3.org/2000/09/xmldsig#"
	asicMeta  = "META-INF/"
	asicWhere = "EN 319 162-1 4.4"

	// maxMeta limits a file below META-INF in bytes: they are read into memory.
	maxMeta = 2 * ers.MaxRecordSize
	// maxFile limits one file of a ZIP after inflating, in bytes.
	maxFile = 8 << 30
)

// openASiC reads a container (ETSI EN 319 162-1 sections 4.3.3.3 and 4.4.3.2).
func openASiC(r io.ReaderAt, size int64) (*Package, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("ZIP: %w", err)
	}
	if len(z.File) > MaxObjects {
		return nil, fmt.Errorf("ZIP of %d files: %w", len(z.File), ers.ErrLimit)
	}
	a := &asic{p: &Package{Kind: "ASiC"}, files: map[string]*zip.File{}}
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if a.files[f.Name] != nil {
			// Two files of one name: readers would differ in which one they take.
			return nil, fmt.Errorf("ZIP: %q stands twice", f.Name)
		}
		a.files[f.Name] = f
		a.names = append(a.names, f.Name)
	}
	manifests, err := a.manifests()
	if err != nil {
		return nil, err
	}
	for _, name := range a.names {
		if !isRecord(name) {
			continue
		}
		if len(a.p.Evidence) == MaxRecords {
			return nil, fmt.Errorf("more than %d evidence records: %w", MaxRecords, ers.ErrLimit)
		}
		a.p.Evidence = append(a.p.Evidence, a.evidence(name, manifests[name]))
	}
	if len(a.p.Evidence) == 0 && len(a.files) > 0 && a.files["mimetype"] == nil && !slices.ContainsFunc(a.names, func(n string) bool { return strings.HasPrefix(n, asicMeta) }) {
		return nil, ErrKind
	}
	return a.p, nil
}

type asic struct {
	p     *Package
	files map[string]*zip.File
	names []string
}

// isRecord says whether a file is an evidence record by its name.
func isRecord(name string) bool {
	base, ok := strings.CutPrefix(strings.ToLower(name), strings.ToLower(asicMeta))
	return ok && strings.Contains(base, "evidencerecord") && !strings.Contains(base, "manifest") &&
		(strings.HasSuffix(base, ".ers") || strings.HasSuffix(base, ".xml"))
}

// reference is a DataObjectReference of a manifest.
type reference struct {
	uri    string
	digest digest.Digest // zero when there is none that can be computed
	bad    bool          // there is one, and it is no value of its algorithm
}

// manifests reads the ASiCEvidenceRecordManifests: record file to references.
func (a *asic) manifests() (map[string][]reference, error) {
	out := map[string][]reference{}
	for _, name := range a.names {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, strings.ToLower(asicMeta)) || !strings.Contains(lower, "asicevidencerecordmanifest") {
			continue
		}
		b, err := a.read(name)
		var d *xmldoc.Document
		if err == nil {
			d, err = xmldoc.Parse(b, xmldoc.Limits{Bytes: maxMeta})
		}
		if err == nil && !d.Root.Is(nsASiC, "ASiCManifest") {
			err = fmt.Errorf("the root element is %s", d.Root.Name)
		}
		if err != nil {
			a.p.finding(asicWhere, ers.Fail, name, ers.Text{DE: "%s ist nicht lesbar: %v", EN: "%s is unreadable: %v"}, name, err)
			continue
		}
		sig := d.Root.First(nsASiC, "SigReference")
		if sig == nil {
			a.p.finding(asicWhere, ers.Fail, name, ers.Text{DE: "%s nennt keinen Beweissatz.", EN: "%s names no evidence record"}, name)
			continue
		}
		record, _ := sig.Attr("", "URI")
		refs := []reference{}
		for _, e := range d.Root.All(nsASiC, "DataObjectReference") {
			refs = append(refs, readReference(e))
		}
		out[strings.TrimPrefix(record, "/")] = refs
	}
	return out, nil
}

// readReference reads a DataObjectReference with its digest. Characters outside
// of the alphabet are skipped, as RFC 2045 section 6.8 says.
func readReference(e *xmldoc.Element) reference {
	var r reference
	r.uri, _ = e.Attr("", "URI")
	m, v := e.First(nsDSig, "DigestMethod"), e.First(nsDSig, "DigestValue")
	if m == nil || v == nil {
		return r
	}
	uri, _ := m.Attr("", "Algorithm")
	alg, err := digest.FromURI(uri)
	if err != nil || !alg.Available() {
		return r
	}
	text := strings.Map(func(c rune) rune {
		if c < 0x80 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/') {
			return c
		}
		return -1
	}, v.Text())
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err == nil {
		r.digest, err = digest.New(alg, b)
	}
	r.bad = err != nil
	return r
}

func (a *asic) read(name string) ([]byte, error) {
	f := a.files[name]
	if f.UncompressedSize64 > maxMeta {
		return nil, ers.ErrLimit
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(io.LimitReader(r, maxMeta+1))
	if err == nil && len(b) > maxMeta {
		err = ers.ErrLimit
	}
	return b, err
}

func (a *asic) evidence(name string, refs []reference) Evidence {
	e := Evidence{Name: name}
	b, err := a.read(name)
	if err != nil {
		e.err = err
		return e
	}
	e.der = b
	if refs == nil {
		// ASiC-S: one data object and no manifest.
		for _, f := range a.names {
			if f != "mimetype" && !strings.HasPrefix(f, asicMeta) {
				refs = append(refs, reference{uri: f})
			}
		}
		if len(refs) != 1 {
			a.p.finding("EN 319 162-1 4.3", ers.Undecided, name, ers.Text{
				DE: "%s: Kein Manifest sagt, was geschützt ist, und das Paket enthält %d Dateien.",
				EN: "%s: no manifest says what is protected, and there are %d files",
			}, name, len(refs))
		}
	}
	for _, ref := range refs {
		e.Objects = append(e.Objects, a.object(name, ref))
	}
	return e
}

// object is a file of the container that a manifest names.
func (a *asic) object(record string, ref reference) ers.Object {
	o := ers.Object{Name: ref.uri}
	f := a.files[strings.TrimPrefix(path.Clean("/"+ref.uri), "/")]
	if f == nil {
		o.Open = func() (io.ReadCloser, error) { return nil, errors.New("nicht im Paket / not in the package") }
		return o
	}
	if ref.bad {
		a.p.finding(asicWhere, ers.Fail, ref.uri, ers.Text{
			DE: "%s: Der Hashwert im Manifest von %s ist keiner.", EN: "%s: the digest in the manifest of %s is none",
		}, ref.uri, record)
	}
	if !ref.digest.IsZero() {
		if got, err := a.digest(f, ref.digest.Algorithm); err == nil && !bytes.Equal(got, ref.digest.Value) {
			a.p.finding(asicWhere, ers.Fail, ref.uri, ers.Text{
				DE: "%s hat nicht den Hashwert, den das Manifest von %s nennt.", EN: "%s does not have the digest that the manifest of %s names",
			}, ref.uri, record)
		}
	}
	o.Open = func() (io.ReadCloser, error) { return limitedFile(f) }
	return o
}

func (a *asic) digest(f *zip.File, alg digest.Algorithm) ([]byte, error) {
	r, err := limitedFile(f)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	h := alg.New()
	_, err = io.Copy(h, r)
	return h.Sum(nil), err
}

// limitedFile opens a file of a ZIP, which may inflate to at most maxFile bytes.
func limitedFile(f *zip.File) (io.ReadCloser, error) {
	if f.UncompressedSize64 > maxFile {
		return nil, ers.ErrLimit
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, maxFile), r}, nil
}
