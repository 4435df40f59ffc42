package media

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

// The library would otherwise write a folder into the user's home.
var quietLibrary = sync.OnceFunc(api.DisableConfigDir)

// pdfTree is a PDF read into its objects; streams stay as they are in the file.
type pdfTree struct {
	ctx    *model.Context
	limits Limits
	nodes  map[int]bool // every object of the page tree, after leaves
}

// readTree reads the objects of a PDF. It runs in the child only.
func readTree(q *request) (*pdfTree, error) {
	quietLibrary()
	f, err := os.Open(q.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	conf := model.NewDefaultConfiguration()
	conf.ValidationMode = model.ValidationRelaxed
	conf.Limits.MaxDecodeBytes = q.Limits.InflatedBytes
	conf.Limits.MaxStreamBytes = q.Limits.FileBytes
	ctx, err := api.ReadContext(f, conf)
	switch {
	case errors.Is(err, pdfcpu.ErrWrongPassword):
		return nil, faulty(CodePassword, err)
	case err != nil && strings.Contains(err.Error(), "limit"):
		return nil, faulty(CodeExpansion, err)
	case err != nil:
		return nil, faulty(CodeDamaged, err)
	}
	return &pdfTree{ctx: ctx, limits: q.Limits}, nil
}

// get follows references until an object; nil for what is not there.
func (t *pdfTree) get(o types.Object) types.Object {
	v, err := t.ctx.Dereference(o)
	if err != nil {
		return nil
	}
	return v
}

func (t *pdfTree) dict(o types.Object) types.Dict {
	switch d := t.get(o).(type) {
	case types.Dict:
		return d
	case types.StreamDict:
		return d.Dict
	case *types.StreamDict:
		return d.Dict
	}
	return nil
}

func (t *pdfTree) stream(o types.Object) *types.StreamDict {
	switch d := t.get(o).(type) {
	case types.StreamDict:
		return &d
	case *types.StreamDict:
		return d
	case types.ObjectStreamDict:
		return &d.StreamDict
	}
	return nil
}

func (t *pdfTree) array(o types.Object) types.Array {
	a, _ := t.get(o).(types.Array)
	return a
}

func (t *pdfTree) name(o types.Object) string {
	n, _ := t.get(o).(types.Name)
	return string(n)
}

func (t *pdfTree) int(o types.Object) int64 {
	switch n := t.get(o).(type) {
	case types.Integer:
		return int64(n)
	case types.Float:
		return int64(n)
	}
	return 0
}

func (t *pdfTree) root() types.Dict {
	if t.ctx.Root == nil {
		return nil
	}
	return t.dict(*t.ctx.Root)
}

// numbers are the object numbers in use, ascending.
func (t *pdfTree) numbers() []int {
	out := make([]int, 0, len(t.ctx.Table))
	for n, e := range t.ctx.Table {
		if e != nil && !e.Free && n > 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// leaf is one page with what it inherits.
type leaf struct {
	ref  types.IndirectRef
	dict types.Dict
}

var inherited = []string{"Resources", "MediaBox", "CropBox", "Rotate"}

// leaves walks the page tree. A node met twice is a ring, or a page that stands
// in the tree twice; both are refused, because the count of such a file depends
// on who counts.
func (t *pdfTree) leaves() ([]leaf, error) {
	root := t.root()
	if root == nil {
		return nil, faulty(CodeDamaged, nil, "what", "root")
	}
	seen := map[int]bool{}
	var out []leaf
	var walk func(o types.Object, inherit types.Dict, depth int) error
	walk = func(o types.Object, inherit types.Dict, depth int) error {
		ref, ok := o.(types.IndirectRef)
		if !ok {
			return nil
		}
		n := ref.ObjectNumber.Value()
		if seen[n] || depth > 64 {
			return faulty(CodePageRing, nil, "what", "object "+strconv.Itoa(n))
		}
		seen[n] = true
		d := t.dict(ref)
		if d == nil {
			return nil
		}
		below := types.Dict{}
		for _, k := range inherited {
			if v, ok := d[k]; ok {
				below[k] = v
			} else if v, ok := inherit[k]; ok {
				below[k] = v
			}
		}
		if kids, ok := d["Kids"]; ok && t.name(d["Type"]) != "Page" {
			for _, k := range t.array(kids) {
				if err := walk(k, below, depth+1); err != nil {
					return err
				}
			}
			return nil
		}
		if len(out) == t.limits.Pages {
			return faulty(CodeTooManyPages, nil, "limit", strconv.Itoa(t.limits.Pages))
		}
		page := types.Dict{}
		for k, v := range d {
			page[k] = v
		}
		for k, v := range below {
			page[k] = v
		}
		out = append(out, leaf{ref, page})
		return nil
	}
	if err := walk(root["Pages"], types.Dict{}, 0); err != nil {
		return nil, err
	}
	t.nodes = seen
	return out, nil
}

// walkStructure looks at every object of a PDF for what could run, carry or
// explode, before PDFium is shown the file.
func (c *child) walkStructure(q *request, in *inspection) error {
	t, err := c.tree(q)
	if err != nil {
		return err
	}
	in.Encrypted = t.ctx.E != nil || t.ctx.Encrypt != nil
	pages, err := t.leaves()
	if err != nil {
		return err
	}
	w := &structureWalk{t: t, in: in, calls: map[int]int{}}
	in.Tree = len(pages)
	root := t.root()
	in.Announced = int(max(0, min(t.int(t.dict(root["Pages"])["Count"]), 1<<30)))
	if v, ok := t.get(root["NeedsRendering"]).(types.Boolean); ok && bool(v) {
		w.active("XFA")
	}
	for _, n := range t.numbers() {
		if err := w.object(t.get(*types.NewIndirectRef(n, *genOf(t.ctx.Table[n]))), 0); err != nil {
			return err
		}
	}
	for i, p := range pages {
		if err := w.operations(p, i+1); err != nil {
			return err
		}
	}
	slices.Sort(in.Active)
	in.Active = slices.Compact(in.Active)
	slices.Sort(in.Attachments)
	in.Attachments = slices.Compact(in.Attachments)
	return nil
}

func genOf(e *model.XRefTableEntry) *int {
	zero := 0
	if e == nil || e.Generation == nil {
		return &zero
	}
	return e.Generation
}

type structureWalk struct {
	t        *pdfTree
	in       *inspection
	inflated int64
	calls    map[int]int // forms: how many operations one invocation leads to
}

func (w *structureWalk) active(what string) { w.in.Active = append(w.in.Active, what) }

// object looks at one object and what lies directly in it; what it refers to is
// an object of its own and is met by itself.
func (w *structureWalk) object(o types.Object, depth int) error {
	if depth > 100 {
		return faulty(CodeExpansion, nil, "what", "nesting")
	}
	switch v := o.(type) {
	case types.StreamDict:
		return w.stream(&v, depth)
	case *types.StreamDict:
		return w.stream(v, depth)
	case types.Array:
		for _, e := range v {
			if err := w.object(e, depth+1); err != nil {
				return err
			}
		}
	case types.Dict:
		return w.dict(v, depth)
	}
	return nil
}

func (w *structureWalk) dict(d types.Dict, depth int) error {
	switch s := w.t.name(d["S"]); s {
	case "JavaScript", "Launch", "SubmitForm", "ImportData", "GoToE", "RichMediaExecute":
		w.active(s)
	}
	switch s := w.t.name(d["Subtype"]); s {
	case "RichMedia", "Movie", "3D":
		w.active(s)
	}
	if _, ok := d["XFA"]; ok {
		w.active("XFA")
	}
	if t := w.t.name(d["Type"]); t == "Sig" || t == "DocTimeStamp" {
		if _, ok := d["ByteRange"]; ok {
			w.in.Signatures++
		}
	}
	if ef := w.t.dict(d["EF"]); ef != nil {
		w.attachment(d, ef)
	}
	for _, k := range sortedKeys(d) {
		if err := w.object(d[k], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// attachment notes an embedded file, and whether it is a program.
func (w *structureWalk) attachment(spec, ef types.Dict) {
	name := ""
	for _, k := range []string{"UF", "F"} {
		switch s := w.t.get(spec[k]).(type) {
		case types.StringLiteral:
			name, _ = types.StringLiteralToString(s)
		case types.HexLiteral:
			name, _ = types.HexLiteralToString(s)
		}
		if name != "" {
			break
		}
	}
	name = CleanName(name)
	w.in.Attachments = append(w.in.Attachments, name)
	if programEnding(name) {
		w.active("EmbeddedProgram")
		return
	}
	for _, k := range sortedKeys(ef) {
		if sd := w.t.stream(ef[k]); sd != nil {
			r, ok := w.open(sd)
			if !ok {
				continue
			}
			head := make([]byte, 8)
			n, _ := io.ReadFull(r, head)
			if programMagic(head[:n]) {
				w.active("EmbeddedProgram")
			}
		}
	}
}

func programMagic(b []byte) bool {
	for _, m := range []string{"MZ", "\x7fELF", "#!", "\xca\xfe\xba\xbe", "\xcf\xfa\xed\xfe", "\xfe\xed\xfa", "<script", "<job"} {
		if bytes.HasPrefix(b, []byte(m)) {
			return true
		}
	}
	return false
}

func programEnding(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".exe", ".com", ".scr", ".bat", ".cmd", ".ps1", ".vbs", ".vbe", ".js", ".jse", ".wsf", ".hta", ".msi", ".dll",
		".jar", ".lnk", ".sh", ".pif", ".cpl", ".reg", ".docm", ".xlsm", ".pptm", ".dotm", ".iso", ".img", ".appimage":
		return true
	}
	return false
}

// stream checks an image's size by its dictionary and what everything else
// inflates to by inflating it into nothing.
func (w *structureWalk) stream(sd *types.StreamDict, depth int) error {
	if w.t.name(sd.Dict["Subtype"]) == "Image" {
		width, height := w.t.int(sd.Dict["Width"]), w.t.int(sd.Dict["Height"])
		if width < 0 || height < 0 || width > 0 && height > w.t.limits.Pixels/width {
			return faulty(CodeTooManyPixels, nil, "found", fmt.Sprintf("%d x %d", width, height), "limit", strconv.FormatInt(w.t.limits.Pixels, 10))
		}
	} else if r, ok := w.open(sd); ok {
		n, _ := io.Copy(io.Discard, io.LimitReader(r, w.t.limits.InflatedBytes+1))
		// The whole file may inflate to four times what one stream may.
		if w.inflated += n; n > w.t.limits.InflatedBytes || w.inflated > 4*w.t.limits.InflatedBytes {
			return faulty(CodeExpansion, nil, "what", "stream", "limit", strconv.FormatInt(w.t.limits.InflatedBytes, 10))
		}
	}
	return w.dict(sd.Dict, depth)
}

// open gives the decoded bytes of a stream that is plain or Flate, once or
// several times over; other filters do not expand without bound.
func (w *structureWalk) open(sd *types.StreamDict) (io.Reader, bool) {
	var r io.Reader = bytes.NewReader(sd.Raw)
	for _, f := range sd.FilterPipeline {
		if f.Name != "FlateDecode" {
			return nil, false
		}
		z, err := zlib.NewReader(r)
		if err != nil {
			return nil, false
		}
		r = z
	}
	return r, true
}

var invocation = regexp.MustCompile(`/([^\s/<>\[\](){}%]+)\s+Do\b`)

// operations counts how many invocations drawing a page leads to.
func (w *structureWalk) operations(p leaf, number int) error {
	var content []byte
	switch v := w.t.get(p.dict["Contents"]).(type) {
	case types.Array:
		for _, e := range v {
			content = append(append(content, w.content(w.t.stream(e))...), '\n')
		}
	default:
		content = w.content(w.t.stream(p.dict["Contents"]))
	}
	n, err := w.invocations(content, w.t.dict(p.dict["Resources"]), 0)
	if err != nil || n > w.t.limits.Operations {
		e := faulty(CodeExpansion, err, "what", "operations", "limit", strconv.Itoa(w.t.limits.Operations))
		e.Page = number
		return e
	}
	return nil
}

var errRing = errors.New("a form invokes itself")

// invocations counts with saturation; a form in work is marked -1.
func (w *structureWalk) invocations(content []byte, res types.Dict, depth int) (int, error) {
	xo := w.t.dict(res["XObject"])
	if len(xo) == 0 || len(content) == 0 {
		return 0, nil
	}
	if depth > 64 {
		return 0, errRing
	}
	const much = 1 << 40
	total := 0
	for _, m := range invocation.FindAllSubmatch(content, -1) {
		name := string(m[1])
		o, ok := xo[name]
		if !ok {
			if dec, err := types.DecodeName(name); err == nil {
				o = xo[dec]
			}
		}
		ref, ok := o.(types.IndirectRef)
		if !ok {
			continue
		}
		sd := w.t.stream(ref)
		if sd == nil || w.t.name(sd.Dict["Subtype"]) != "Form" {
			total = min(much, total+1)
			continue
		}
		n := ref.ObjectNumber.Value()
		c, known := w.calls[n]
		if c == -1 {
			return 0, errRing
		}
		if !known {
			w.calls[n] = -1
			inner, err := w.invocations(w.content(sd), w.t.dict(sd.Dict["Resources"]), depth+1)
			if err != nil {
				return 0, err
			}
			c = min(much, 1+inner)
			w.calls[n] = c
		}
		total = min(much, total+c)
	}
	return total, nil
}

// content decodes at most 32 MiB of a content stream.
func (w *structureWalk) content(sd *types.StreamDict) []byte {
	if sd == nil {
		return nil
	}
	r, ok := w.open(sd)
	if !ok {
		return nil
	}
	b, _ := io.ReadAll(io.LimitReader(r, 32<<20))
	return b
}

func sortedKeys(d types.Dict) []string {
	out := make([]string, 0, len(d))
	for k := range d {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// pageJPEG hands out the one JPEG that is the page, as it is in the file. It
// answers with an empty payload when the page is anything else, and says the
// size in pixels when it is one image of another kind.
func (c *child) pageJPEG(q *request, resp *response) ([]byte, error) {
	t, err := c.tree(q)
	if err != nil {
		return nil, err
	}
	pages, err := t.leaves()
	if err != nil {
		return nil, err
	}
	if q.Page < 1 || q.Page > len(pages) {
		return nil, &Error{Code: CodeNoSuchPage, Page: q.Page}
	}
	p := pages[q.Page-1]
	if t.int(p.dict["Rotate"])%360 != 0 || len(t.array(p.dict["Annots"])) > 0 {
		return nil, nil
	}
	xo := t.dict(t.dict(p.dict["Resources"])["XObject"])
	if len(xo) != 1 {
		return nil, nil
	}
	w := &structureWalk{t: t}
	content := w.content(t.stream(p.dict["Contents"]))
	m := wholePage.FindSubmatch(content)
	if m == nil {
		return nil, nil
	}
	sd := t.stream(xo[string(m[3])])
	if sd == nil || t.name(sd.Dict["Subtype"]) != "Image" || sd.Dict["SMask"] != nil || sd.Dict["Mask"] != nil {
		return nil, nil
	}
	box := t.array(p.dict["MediaBox"])
	if crop := t.array(p.dict["CropBox"]); crop != nil {
		box = crop
	}
	if len(box) != 4 {
		return nil, nil
	}
	wpt, hpt := t.float(box[2])-t.float(box[0]), t.float(box[3])-t.float(box[1])
	sx, _ := strconv.ParseFloat(string(m[1]), 64)
	sy, _ := strconv.ParseFloat(string(m[2]), 64)
	if t.float(box[0]) != 0 || t.float(box[1]) != 0 || wpt < 72 || hpt < 72 || abs(sx-wpt) > 2 || abs(sy-hpt) > 2 {
		return nil, nil
	}
	resp.WPoints, resp.HPoints = wpt, hpt
	if len(sd.FilterPipeline) != 1 || sd.FilterPipeline[0].Name != "DCTDecode" || sd.Dict["Decode"] != nil {
		resp.Width, resp.Height = int(t.int(sd.Dict["Width"])), int(t.int(sd.Dict["Height"]))
		return nil, nil
	}
	return sd.Raw, nil
}

// wholePage is the content of a page that is one image, as scanners write it.
var wholePage = regexp.MustCompile(`^\s*(?:q\s+)?([0-9.]+)\s+0(?:\.0*)?\s+0(?:\.0*)?\s+([0-9.]+)\s+0(?:\.0*)?\s+0(?:\.0*)?\s+cm\s+/(\S+)\s+Do\s*(?:Q\s*)?$`)

func (t *pdfTree) float(o types.Object) float64 {
	switch n := t.get(o).(type) {
	case types.Integer:
		return float64(n)
	case types.Float:
		return float64(n)
	}
	return 0
}

func abs(f float64) float64 {
	if f < 0 {
		return -f
	}
	return f
}
