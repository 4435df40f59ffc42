package aip

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/xmldoc"
)

// Namespaces of packages: 1.2 had the version in it.
var nsXAIP = []string{"http://www.bsi.bund.de/tr-esor/xaip", "http://www.bsi.bund.de/tr-esor/xaip/1.2"}

const whereXAIP = "TR-03125-F 3"

// openXAIP reads XAIP and LXAIP, 1.2 and 1.3.
func openXAIP(folder fs.FS, b []byte) (*Package, error) {
	d, err := xmldoc.Parse(b, xmldoc.Limits{Bytes: MaxXML})
	if err != nil {
		if errors.Is(err, xmldoc.ErrLimit) {
			err = ers.ErrLimit
		}
		return nil, fmt.Errorf("XAIP: %w", err)
	}
	ns := d.Root.Name.Space
	if !slices.Contains(nsXAIP, ns) || d.Root.Name.Local != "XAIP" && d.Root.Name.Local != "DXAIP" {
		return nil, ErrKind
	}
	x := &xaip{p: &Package{Kind: "XAIP"}, ns: ns, folder: folder, ids: map[string]*xmldoc.Element{}}
	return x.p, x.read(d.Root)
}

type xaip struct {
	p      *Package
	ns     string
	folder fs.FS
	ids    map[string]*xmldoc.Element
	// method is the canonicalisation of XML parts that the header names.
	method   xmldoc.C14N
	versions []version
}

type version struct {
	id      string
	objects []string // protectedObjectPointers, in order
}

func (x *xaip) read(root *xmldoc.Element) error {
	header := root.First(x.ns, "packageHeader")
	if header == nil {
		return errors.New("XAIP: packageHeader is missing")
	}
	if v, _ := root.Attr("", "XAIPVersion"); v != "" && !strings.HasPrefix(v, "1.3") && !strings.HasPrefix(v, "1.2") {
		x.p.finding(whereXAIP, ers.Fail, "", ers.Text{DE: "XAIPVersion %s ist nicht bekannt.", EN: "XAIPVersion %s is not known"}, v)
	}
	if err := x.canonicalization(header); err != nil {
		return err
	}
	if err := x.collect(root, header); err != nil {
		return err
	}
	section := root.First(x.ns, "credentialsSection")
	if section == nil {
		return nil
	}
	for _, c := range section.All(x.ns, "credential") {
		record := c.First(x.ns, "evidenceRecord")
		if record == nil {
			continue
		}
		if len(x.p.Evidence) == MaxRecords {
			return fmt.Errorf("more than %d evidence records: %w", MaxRecords, ers.ErrLimit)
		}
		x.p.Evidence = append(x.p.Evidence, x.evidence(c, record))
	}
	return nil
}

func (x *xaip) canonicalization(header *xmldoc.Element) error {
	x.method = xmldoc.C14N{Exclusive: true}
	e := header.First(nsDSig, "CanonicalizationMethod")
	if e == nil {
		return nil
	}
	uri, _ := e.Attr("", "Algorithm")
	m, ok := xmldoc.Method(uri)
	if !ok {
		return fmt.Errorf("XAIP: canonicalisation %q is not known", uri)
	}
	x.method = m
	return nil
}

// collect notes versions and everything that has an id.
func (x *xaip) collect(root, header *xmldoc.Element) error {
	add := func(id string, e *xmldoc.Element) error {
		switch {
		case id == "":
			return fmt.Errorf("XAIP: %s has no id", e.Name.Local)
		case x.ids[id] != nil:
			return fmt.Errorf("XAIP: id %q stands twice", id)
		case len(x.ids) == MaxObjects:
			return fmt.Errorf("XAIP: more than %d objects: %w", MaxObjects, ers.ErrLimit)
		}
		x.ids[id] = e
		return nil
	}
	for _, m := range header.All(x.ns, "versionManifest") {
		id, _ := m.Attr("", "VersionID")
		if err := add(id, m); err != nil {
			return err
		}
		v := version{id: id}
		m.Walk(func(e *xmldoc.Element) bool {
			if e.Is(x.ns, "protectedObjectPointer") {
				v.objects = append(v.objects, strings.TrimSpace(e.Text()))
			}
			return true
		})
		x.versions = append(x.versions, v)
	}
	for _, s := range []struct{ section, object, id string }{
		{"metaDataSection", "metaDataObject", "metaDataID"},
		{"dataObjectsSection", "dataObject", "dataObjectID"},
		{"credentialsSection", "credential", "credentialID"},
	} {
		section := root.First(x.ns, s.section)
		if section == nil {
			continue
		}
		for _, e := range section.All(x.ns, s.object) {
			id, _ := e.Attr("", s.id)
			if err := add(id, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// evidence reads a record and settles what it covers: the version that it names
// by VersionID or among its relatedObjects, else the only one.
func (x *xaip) evidence(credential, record *xmldoc.Element) Evidence {
	id, _ := credential.Attr("", "credentialID")
	e := Evidence{Name: id}
	if xml := record.First(x.ns, "xmlEvidenceRecord"); xml != nil {
		// The element has the type of an EvidenceRecord and a name of the package.
		e.xml, e.err = ers.XMLRecordIn(xml)
	} else if der := record.First(x.ns, "asn1EvidenceRecord"); der != nil {
		e.der, e.err = decode64(der)
	} else {
		e.err = errors.New("no record in evidenceRecord")
	}
	names := map[string]bool{}
	related, _ := credential.Attr("", "relatedObjects")
	for _, r := range strings.Fields(related) {
		names[r] = true
	}
	if v, ok := record.Attr("", "VersionID"); ok {
		names[v] = true
	}
	var of []version
	for _, v := range x.versions {
		if names[v.id] {
			of = append(of, v)
		}
	}
	if len(of) == 0 && len(x.versions) == 1 {
		of = x.versions
	}
	if len(of) != 1 {
		x.p.finding(whereXAIP, ers.Undecided, id, ers.Text{
			DE: "%s: Es ist nicht gesagt, zu welcher Version der Beweissatz gehört.", EN: "%s: nothing says which version the record belongs to",
		}, id)
		return e
	}
	e.Version = of[0].id
	for _, o := range of[0].objects {
		if o != id {
			e.Objects = append(e.Objects, x.object(o, e))
		}
	}
	return e
}

// object is what an id stands for. Which bytes of an XML part are hashed differs
// between products: the forms that occur are compared with the record, and the
// first one is taken where none is in it.
func (x *xaip) object(id string, of Evidence) ers.Object {
	o := ers.Object{Name: id}
	e := x.ids[id]
	if e == nil {
		x.p.finding(whereXAIP, ers.Fail, id, ers.Text{DE: "%s ist geschützt und fehlt im Paket.", EN: "%s is protected and not in the package"}, id)
		o.Open = func() (io.ReadCloser, error) { return nil, errors.New("nicht im Paket / not in the package") }
		return o
	}
	for _, name := range []string{"binaryData", "binaryMetaData"} {
		if b := e.First(x.ns, name); b != nil {
			x.checkSum(id, e, b)
			o.Open = func() (io.ReadCloser, error) { return open64(b) }
			return o
		}
	}
	for _, name := range []string{"xmlData", "xmlMetaData"} {
		data := e.First(x.ns, name)
		if data == nil {
			continue
		}
		if ref := data.First(nsASiC, "DataObjectReference"); ref != nil {
			x.p.Kind = "LXAIP"
			return x.referred(id, readReference(ref))
		}
		forms := append(data.Elements(), data, e)
		return x.canonical(o, of, forms...)
	}
	if der := onlyText(e); der != nil && e.Is(x.ns, "credential") {
		o.Open = func() (io.ReadCloser, error) { return open64(der) }
		return o
	}
	return x.canonical(o, of, e)
}

// canonical gives an object the form that the record knows.
func (x *xaip) canonical(o ers.Object, of Evidence, forms ...*xmldoc.Element) ers.Object {
	var first []byte
	for i, f := range forms {
		var b bytes.Buffer
		if err := x.method.Element(&b, f); err != nil {
			o.Open = func() (io.ReadCloser, error) { return nil, err }
			return o
		}
		if i == 0 {
			first = b.Bytes()
		}
		if of.knows(b.Bytes()) {
			first = b.Bytes()
			break
		}
	}
	o.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(first)), nil }
	return o
}

// knows says whether the first list of the record holds the digest of these bytes.
func (e Evidence) knows(b []byte) bool {
	if e.err != nil || e.xml != nil {
		return false
	}
	r, err := ers.Parse(e.der)
	if err != nil {
		return false
	}
	algs := r.HashAlgorithms()
	tree := r.Chains[0].Timestamps[0].Tree
	if len(algs) == 0 || len(tree) == 0 {
		return false
	}
	want := digest.Of(algs[0], b).Value
	return slices.ContainsFunc(tree[0], func(v []byte) bool { return bytes.Equal(v, want) })
}

// referred is a file beside an LXAIP.
func (x *xaip) referred(id string, ref reference) ers.Object {
	o := ers.Object{Name: id}
	name, err := url.PathUnescape(strings.TrimPrefix(ref.uri, "file:"))
	name = path.Clean(strings.TrimPrefix(name, "./"))
	if err != nil || !fs.ValidPath(name) || name == "." {
		x.p.finding(whereXAIP, ers.Fail, id, ers.Text{
			DE: "%s verweist auf „%s“, außerhalb des Pakets.", EN: "%s refers to %q, outside of the package",
		}, id, ref.uri)
		o.Open = func() (io.ReadCloser, error) {
			return nil, errors.New("außerhalb des Pakets / outside of the package")
		}
		return o
	}
	o.Open = func() (io.ReadCloser, error) {
		f, err := x.folder.Open(name)
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return f, err
	}
	if ref.bad {
		x.p.finding(whereXAIP, ers.Fail, id, ers.Text{DE: "%s: Der Hashwert des Verweises ist keiner.", EN: "%s: the digest of the reference is none"}, id)
	}
	if ref.digest.IsZero() {
		return o
	}
	f, err := o.Open()
	if err != nil {
		return o // said by the verification
	}
	defer func() { _ = f.Close() }()
	h := ref.digest.Algorithm.New()
	if _, err := io.Copy(h, f); err == nil && !bytes.Equal(h.Sum(nil), ref.digest.Value) {
		x.p.finding(whereXAIP, ers.Fail, id, ers.Text{
			DE: "%s: Die Datei hat nicht den Hashwert, den das Paket nennt.", EN: "%s: the file does not have the digest that the package names",
		}, id)
	}
	return o
}

// checkSum compares the sum that an object may carry.
func (x *xaip) checkSum(id string, object, data *xmldoc.Element) {
	sum := object.First(x.ns, "checkSum")
	if sum == nil {
		return
	}
	method, value := sum.First(x.ns, "checkSumAlgorithm"), sum.First(x.ns, "checkSum")
	if method == nil || value == nil {
		return
	}
	alg, err := digest.FromURI(strings.TrimSpace(method.Text()))
	if err != nil || !alg.Available() {
		return // a sum that nobody can compute says nothing
	}
	want, err := digest.Parse(string(alg) + ":" + strings.ToLower(strings.TrimSpace(value.Text())))
	if err == nil {
		var r io.ReadCloser
		if r, err = open64(data); err == nil {
			h := alg.New()
			if _, err = io.Copy(h, r); err == nil && bytes.Equal(h.Sum(nil), want.Value) {
				return
			}
		}
	}
	x.p.finding(whereXAIP, ers.Fail, id, ers.Text{
		DE: "%s: Der Inhalt hat nicht die Prüfsumme, die das Paket nennt.", EN: "%s: the content does not have the sum that the package names",
	}, id)
}

// onlyText is the one element of a credential that holds base64, such as a
// signature, a certificate or a record; nil when there are several or none.
func onlyText(credential *xmldoc.Element) *xmldoc.Element {
	var only *xmldoc.Element
	n := 0
	credential.Walk(func(e *xmldoc.Element) bool {
		if len(e.Elements()) == 0 && strings.TrimSpace(e.Text()) != "" {
			only = e
			n++
		}
		return n < 2
	})
	if n != 1 {
		return nil
	}
	if _, err := decode64(only); err != nil {
		return nil
	}
	return only
}

// open64 decodes the text of an element as it is read.
func open64(e *xmldoc.Element) (io.ReadCloser, error) {
	return io.NopCloser(base64.NewDecoder(base64.StdEncoding, &notBlank{strings.NewReader(e.Text())})), nil
}

// notBlank leaves out white space.
type notBlank struct{ r io.Reader }

func (n *notBlank) Read(p []byte) (int, error) {
	for {
		k, err := n.r.Read(p)
		out := p[:0]
		for _, c := range p[:k] {
			if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
				out = append(out, c)
			}
		}
		if len(out) > 0 || err != nil {
			return len(out), err
		}
	}
}

func decode64(e *xmldoc.Element) ([]byte, error) {
	r, err := open64(e)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	if err == nil && len(b) == 0 {
		err = errors.New("empty")
	}
	return b, err
}
