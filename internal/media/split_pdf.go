package media

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/klippa-app/go-pdfium/requests"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

// split writes each part as a PDF of its own. Streams (images above all) are
// copied byte for byte, objects are numbered in the order they are met and keys
// are sorted, there is no date and the file id is a digest of the content: the
// same pages of the same file give the same bytes, which is what makes a
// repeated split end in the same object of the store.
//
// Left behind are what belongs to the whole stream: outlines, structure tree,
// names, metadata, actions. References to pages of other parts become null, so
// that no page comes along that belongs to somebody else's letter.
func (c *child) split(q *request) error {
	t, err := c.tree(q)
	if err != nil {
		return err
	}
	pages, err := t.leaves()
	if err != nil {
		return err
	}
	// Two readers have to agree on the pages: on a damaged file "page 7" of one may
	// be page 8 of the other, and a letter would go to the wrong person.
	if err := c.open(q); err != nil {
		return err
	}
	count, err := c.inst.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: *c.doc})
	if err != nil {
		return err
	}
	if count.PageCount != len(pages) {
		return faulty(CodeDamaged, nil, "what", "page tree", "found", strconv.Itoa(len(pages)), "limit", strconv.Itoa(count.PageCount))
	}
	for _, part := range q.Parts {
		if len(part.Pages) == 0 {
			return fmt.Errorf("part %s has no pages", part.Out)
		}
		own := make([]leaf, 0, len(part.Pages))
		for _, n := range part.Pages {
			if n < 1 || n > len(pages) {
				return &Error{Code: CodeNoSuchPage, Page: n}
			}
			if slices.ContainsFunc(own, func(l leaf) bool { return l.ref == pages[n-1].ref }) {
				return fmt.Errorf("page %d twice in one part", n)
			}
			own = append(own, pages[n-1])
		}
		if err := writeFile(part.Out, func(f *os.File) error { return t.write(f, own) }); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes beside the name and renames: a crash leaves a .part file that
// the next run overwrites, never a half file under the name. The spool need not
// be durable, so nothing is synced.
func writeFile(out string, fill func(f *os.File) error) (err error) {
	tmp := out + ".part"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("split: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Rename(tmp, out)
		}
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	return fill(f)
}

// tree reads the document of the request, or has it already.
func (c *child) tree(q *request) (*pdfTree, error) {
	st, err := os.Stat(q.Path)
	if err != nil {
		return nil, err
	}
	if c.parsed != nil && c.parsedPath == q.Path && c.parsedSize == st.Size() && c.parsedTime.Equal(st.ModTime()) {
		return c.parsed, nil
	}
	c.parsed = nil
	t, err := readTree(q)
	if err != nil {
		return nil, err
	}
	c.parsed, c.parsedPath, c.parsedSize, c.parsedTime = t, q.Path, st.Size(), st.ModTime()
	return t, nil
}

// pdfWriter writes objects in the order in which they are first referred to.
type pdfWriter struct {
	t       *pdfTree
	w       *bufio.Writer
	sum     hash.Hash
	off     int64
	err     error
	offsets []int64     // by new number - 1
	numbers map[int]int // old number to new
	queue   []int       // old numbers to be written, in order
	foreign map[int]bool
}

const (
	numCatalog = 1
	numPages   = 2
)

func (t *pdfTree) write(f io.Writer, own []leaf) error {
	p := &pdfWriter{
		t: t, w: bufio.NewWriterSize(f, 1<<20), sum: sha256.New(),
		numbers: map[int]int{}, foreign: map[int]bool{},
	}
	for n := range t.nodes {
		p.foreign[n] = true
	}
	// Page n of the part has the number 2+n; nothing else may take these.
	for i, l := range own {
		n := l.ref.ObjectNumber.Value()
		delete(p.foreign, n)
		p.numbers[n] = numPages + 1 + i
	}
	p.offsets = make([]int64, numPages+len(own))
	version := "1.7"
	if t.ctx.HeaderVersion != nil && t.ctx.HeaderVersion.String() == "2.0" {
		version = "2.0"
	}
	p.put("%PDF-" + version + "\n%\xe2\xe3\xcf\xd3\n")
	p.catalog(own)
	p.pageTree(own)
	for i, l := range own {
		p.page(numPages+1+i, l)
	}
	for i := 0; i < len(p.queue); i++ {
		p.object(p.numbers[p.queue[i]], t.get(*types.NewIndirectRef(p.queue[i], *genOf(t.ctx.Table[p.queue[i]]))))
	}
	start := p.off
	p.put("xref\n0 " + strconv.Itoa(len(p.offsets)+1) + "\n0000000000 65535 f \n")
	for _, o := range p.offsets {
		p.put(fmt.Sprintf("%010d 00000 n \n", o))
	}
	id := fmt.Sprintf("%X", p.sum.Sum(nil)[:16])
	p.put(fmt.Sprintf("trailer\n<</ID[<%s><%s>]/Root %d 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n", id, id, numCatalog, len(p.offsets)+1, start))
	if p.err != nil {
		return fmt.Errorf("split: %w", p.err)
	}
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("split: %w", err)
	}
	return nil
}

// catalog keeps what the look of the pages depends on. Form fields are reduced
// to the widgets on the part's own pages.
func (p *pdfWriter) catalog(own []leaf) {
	root := p.t.root()
	d := types.Dict{"Type": types.Name("Catalog"), "Pages": types.IndirectRef{ObjectNumber: -numPages}}
	for _, k := range []string{"OCProperties", "OutputIntents", "Lang"} {
		if v, ok := root[k]; ok {
			d[k] = v
		}
	}
	if form := p.t.dict(root["AcroForm"]); form != nil {
		fields := types.Array{}
		for _, l := range own {
			for _, a := range p.t.array(l.dict["Annots"]) {
				if p.t.name(p.t.dict(a)["Subtype"]) == "Widget" {
					fields = append(fields, a)
				}
			}
		}
		if len(fields) > 0 {
			kept := types.Dict{"Fields": fields}
			for _, k := range []string{"DR", "DA", "Q", "NeedAppearances"} {
				if v, ok := form[k]; ok {
					kept[k] = v
				}
			}
			d["AcroForm"] = kept
		}
	}
	p.object(numCatalog, d)
}

func (p *pdfWriter) pageTree(own []leaf) {
	kids := make(types.Array, len(own))
	for i := range own {
		kids[i] = types.IndirectRef{ObjectNumber: types.Integer(-(numPages + 1 + i))}
	}
	p.object(numPages, types.Dict{"Type": types.Name("Pages"), "Count": types.Integer(len(own)), "Kids": kids})
}

func (p *pdfWriter) page(num int, l leaf) {
	d := types.Dict{}
	for k, v := range l.dict {
		switch k {
		case "Parent", "StructParents", "B", "AA", "Metadata", "PieceInfo", "Dur", "Trans", "PresSteps", "Thumb":
		default:
			d[k] = v
		}
	}
	d["Parent"] = types.IndirectRef{ObjectNumber: -numPages}
	d["Type"] = types.Name("Page")
	p.object(num, d)
}

func (p *pdfWriter) put(s string) { p.bytes([]byte(s)) }

func (p *pdfWriter) bytes(b []byte) {
	if p.err != nil {
		return
	}
	_, p.err = p.w.Write(b)
	p.sum.Write(b)
	p.off += int64(len(b))
}

func (p *pdfWriter) object(num int, o types.Object) {
	p.offsets[num-1] = p.off
	p.put(strconv.Itoa(num) + " 0 obj\n")
	sd, ok := o.(types.StreamDict)
	if !ok {
		if ptr, is := o.(*types.StreamDict); is {
			sd, ok = *ptr, true
		}
	}
	if ok {
		d := types.Dict{}
		for k, v := range sd.Dict {
			d[k] = v
		}
		d["Length"] = types.Integer(len(sd.Raw))
		delete(d, "DL")
		p.bytes(p.value(nil, d, 0))
		p.put("\nstream\n")
		p.bytes(sd.Raw)
		p.put("\nendstream")
	} else {
		p.bytes(p.value(nil, o, 0))
	}
	p.put("\nendobj\n")
}

// value serialises an object; references get numbers when they are met.
func (p *pdfWriter) value(b []byte, o types.Object, depth int) []byte {
	if depth > 200 {
		p.err = faulty(CodeDamaged, nil, "what", "nesting")
		return b
	}
	switch v := o.(type) {
	case types.Dict:
		b = append(b, "<<"...)
		widget := p.t.name(v["Subtype"]) == "Widget"
		for _, k := range sortedKeys(v) {
			// A field's parent holds its brothers on other pages.
			if k == "StructParent" || k == "AA" || widget && k == "Parent" {
				continue
			}
			b = append(append(b, '/'), types.EncodeName(k)...)
			b = append(b, ' ')
			b = p.value(b, v[k], depth+1)
		}
		if parent := p.t.dict(v["Parent"]); widget && parent != nil {
			for _, k := range []string{"DA", "FT", "Ff", "T", "V"} {
				if pv, ok := parent[k]; ok && v[k] == nil {
					b = append(append(b, '/'), k...)
					b = append(b, ' ')
					b = p.value(b, pv, depth+1)
				}
			}
		}
		return append(b, ">>"...)
	case types.Array:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ' ')
			}
			b = p.value(b, e, depth+1)
		}
		return append(b, ']')
	case types.IndirectRef:
		return p.ref(b, v)
	case types.Float:
		return strconv.AppendFloat(b, float64(v), 'f', -1, 64)
	case nil:
		return append(b, "null"...)
	case types.Name, types.Integer, types.Boolean, types.StringLiteral, types.HexLiteral:
		return append(b, v.PDFString()...)
	}
	return append(b, "null"...)
}

// ref writes a reference. Negative numbers are ours already; pages of other
// parts and objects that are not there become null.
func (p *pdfWriter) ref(b []byte, r types.IndirectRef) []byte {
	n := r.ObjectNumber.Value()
	if n < 0 {
		return append(strconv.AppendInt(b, int64(-n), 10), " 0 R"...)
	}
	e := p.t.ctx.Table[n]
	if p.foreign[n] || e == nil || e.Free {
		return append(b, "null"...)
	}
	num, ok := p.numbers[n]
	if !ok {
		p.offsets = append(p.offsets, 0)
		num = len(p.offsets)
		p.numbers[n] = num
		p.queue = append(p.queue, n)
	}
	return append(strconv.AppendInt(b, int64(num), 10), " 0 R"...)
}
