package media

import (
	"fmt"
	"image"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
)

// inspect counts the pages that load and looks at the structure.
func (c *child) inspect(q *request) (*inspection, error) {
	in := &inspection{}
	// The structure first: it finds bombs that must not reach PDFium.
	serr := c.walkStructure(q, in)
	if CodeOf(serr) != "" && CodeOf(serr) != CodeDamaged && CodeOf(serr) != CodePassword {
		return nil, serr
	}
	in.Structure = serr == nil
	if err := c.open(q); err != nil {
		return nil, err
	}
	n, err := c.inst.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: *c.doc})
	if err != nil {
		return nil, err
	}
	in.Announced = max(in.Announced, n.PageCount)
	if n.PageCount > q.Limits.Pages {
		return nil, faulty(CodeTooManyPages, nil, "found", strconv.Itoa(n.PageCount), "limit", strconv.Itoa(q.Limits.Pages))
	}
	for i := range n.PageCount {
		w, h, err := c.pageSize(i)
		if err != nil {
			if isTrap(err) {
				return nil, err
			}
			break
		}
		if w > q.Limits.PagePoints || h > q.Limits.PagePoints {
			e := faulty(CodePageTooLarge, nil, "found", fmt.Sprintf("%.0f x %.0f", w, h), "limit", fmt.Sprintf("%.0f", q.Limits.PagePoints))
			e.Page = i + 1
			return nil, e
		}
		p, err := c.inst.FPDF_LoadPage(&requests.FPDF_LoadPage{Document: *c.doc, Index: i})
		if err != nil {
			if isTrap(err) {
				return nil, err
			}
			break
		}
		if _, err := c.inst.FPDF_ClosePage(&requests.FPDF_ClosePage{Page: p.Page}); err != nil {
			return nil, err
		}
		in.Pages++
	}
	if in.Pages == 0 {
		return nil, faulty(CodeDamaged, serr, "what", "pages")
	}
	x, err := c.inst.FPDF_DocumentHasValidCrossReferenceTable(&requests.FPDF_DocumentHasValidCrossReferenceTable{Document: *c.doc})
	in.ValidXRef = err == nil && x.DocumentHasValidCrossReferenceTable
	if r, err := c.inst.FPDF_GetSecurityHandlerRevision(&requests.FPDF_GetSecurityHandlerRevision{Document: *c.doc}); err == nil {
		in.Encrypted = in.Encrypted || r.SecurityHandlerRevision >= 0
	}
	if f, err := c.inst.FPDF_GetFormType(&requests.FPDF_GetFormType{Document: *c.doc}); err == nil {
		in.Form = f.FormType > 0
		if f.FormType >= 2 {
			in.Active = append(in.Active, "XFA")
		}
	}
	if js, err := c.inst.FPDFDoc_GetJavaScriptActionCount(&requests.FPDFDoc_GetJavaScriptActionCount{Document: *c.doc}); err == nil && js.JavaScriptActionCount > 0 {
		in.Active = append(in.Active, "JavaScript")
	}
	slices.Sort(in.Active)
	in.Active = slices.Compact(in.Active)
	return in, nil
}

func (c *child) pageSize(i int) (w, h float64, err error) {
	s, err := c.inst.FPDF_GetPageSizeByIndex(&requests.FPDF_GetPageSizeByIndex{Document: *c.doc, Index: i})
	if err != nil {
		return 0, 0, err
	}
	return s.Width, s.Height, nil
}

func (c *child) page(q *request) (requests.Page, float64, float64, error) {
	if err := c.open(q); err != nil {
		return requests.Page{}, 0, 0, err
	}
	n, err := c.inst.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: *c.doc})
	if err != nil {
		return requests.Page{}, 0, 0, err
	}
	if q.Page < 1 || q.Page > n.PageCount {
		return requests.Page{}, 0, 0, &Error{Code: CodeNoSuchPage, Page: q.Page}
	}
	w, h, err := c.pageSize(q.Page - 1)
	if err != nil {
		return requests.Page{}, 0, 0, pageFault(q.Page, err)
	}
	if w > q.Limits.PagePoints || h > q.Limits.PagePoints || !(w > 0) || !(h > 0) {
		return requests.Page{}, 0, 0, &Error{Code: CodePageTooLarge, Page: q.Page}
	}
	return requests.Page{ByIndex: &requests.PageByIndex{Document: *c.doc, Index: q.Page - 1}}, w, h, nil
}

func pageFault(page int, err error) error {
	if isTrap(err) {
		return err
	}
	return &Error{Code: CodeDamaged, Page: page, Err: err}
}

// render draws a page into the box, in grey (one byte a pixel) or RGBA.
func (c *child) render(q *request, resp *response) ([]byte, error) {
	p, w, h, err := c.page(q)
	if err != nil {
		return nil, err
	}
	res, err := c.inst.RenderPageInPixels(&requests.RenderPageInPixels{Page: p, Width: q.Width, Height: q.Height, RenderForm: true, Document: c.doc})
	if err != nil {
		return nil, pageFault(q.Page, err)
	}
	defer res.Cleanup()
	img, ok := res.Result.RenderedImage.(*image.RGBA)
	if !ok {
		return nil, fmt.Errorf("unexpected image %T", res.Result.RenderedImage)
	}
	resp.Width, resp.Height, resp.WPoints, resp.HPoints = img.Rect.Dx(), img.Rect.Dy(), w, h
	if !q.Color {
		// Grey made here is twice as fast as asking PDFium for it.
		return ToGray(img).Pix, nil
	}
	return slices.Clone(img.Pix[:img.Rect.Dx()*img.Rect.Dy()*4]), nil
}

// text reads the text layer. Characters are collected into words by the spaces
// and line ends that PDFium puts between them.
func (c *child) text(q *request) (*PageText, error) {
	_, w, h, err := c.page(q)
	if err != nil {
		return nil, err
	}
	lp, err := c.inst.FPDF_LoadPage(&requests.FPDF_LoadPage{Document: *c.doc, Index: q.Page - 1})
	if err != nil {
		return nil, pageFault(q.Page, err)
	}
	defer c.inst.FPDF_ClosePage(&requests.FPDF_ClosePage{Page: lp.Page})
	tp, err := c.inst.FPDFText_LoadPage(&requests.FPDFText_LoadPage{Page: requests.Page{ByReference: &lp.Page}})
	if err != nil {
		return nil, pageFault(q.Page, err)
	}
	defer c.inst.FPDFText_ClosePage(&requests.FPDFText_ClosePage{TextPage: tp.TextPage})
	n, err := c.inst.FPDFText_CountChars(&requests.FPDFText_CountChars{TextPage: tp.TextPage})
	if err != nil {
		return nil, pageFault(q.Page, err)
	}
	const mostChars = 200_000
	out := &PageText{WidthPoints: w, HeightPoints: h}
	var all, word strings.Builder
	var box [4]float64
	line := 0
	flush := func() error {
		if word.Len() == 0 {
			return nil
		}
		x0, y0, err := c.device(lp.Page, w, h, box[0], box[3])
		if err != nil {
			return err
		}
		x1, y1, err := c.device(lp.Page, w, h, box[2], box[1])
		if err != nil {
			return err
		}
		out.Words = append(out.Words, Word{
			Text: word.String(), Confidence: 100, Line: line,
			X0: math.Min(x0, x1), Y0: math.Min(y0, y1), X1: math.Max(x0, x1), Y1: math.Max(y0, y1),
		})
		word.Reset()
		return nil
	}
	for i := range min(n.Count, mostChars) {
		u, err := c.inst.FPDFText_GetUnicode(&requests.FPDFText_GetUnicode{TextPage: tp.TextPage, Index: i})
		if err != nil {
			return nil, pageFault(q.Page, err)
		}
		r := rune(u.Unicode)
		switch {
		case r == 0 || r == '\r':
			continue
		case r == 0xfffe || r == 0x02 || r == 0xad:
			r = '-' // hyphen at a line end
		case r == 0xfeff:
			continue
		case r == '\n':
			if err := flush(); err != nil {
				return nil, pageFault(q.Page, err)
			}
			all.WriteByte('\n')
			line++
			continue
		case unicode.IsSpace(r):
			if err := flush(); err != nil {
				return nil, pageFault(q.Page, err)
			}
			all.WriteByte(' ')
			continue
		}
		b, err := c.inst.FPDFText_GetCharBox(&requests.FPDFText_GetCharBox{TextPage: tp.TextPage, Index: i})
		if err != nil {
			return nil, pageFault(q.Page, err)
		}
		if word.Len() == 0 {
			box = [4]float64{b.Left, b.Bottom, b.Right, b.Top}
		} else {
			box = [4]float64{math.Min(box[0], b.Left), math.Min(box[1], b.Bottom), math.Max(box[2], b.Right), math.Max(box[3], b.Top)}
		}
		word.WriteRune(r)
		all.WriteRune(r)
	}
	if err := flush(); err != nil {
		return nil, pageFault(q.Page, err)
	}
	out.Text = strings.ToValidUTF8(strings.TrimRight(all.String(), "\n "), "\uFFFD")
	out.Usable = Usable(out.Text)
	return out, nil
}

// device maps a point of the page to points from the upper left corner of the
// page as displayed, its rotation and crop included.
func (c *child) device(page pageRef, w, h, x, y float64) (float64, float64, error) {
	const fine = 20 // PDFium answers in whole pixels
	d, err := c.inst.FPDF_PageToDevice(&requests.FPDF_PageToDevice{
		Page: requests.Page{ByReference: &page}, SizeX: int(w * fine), SizeY: int(h * fine), PageX: x, PageY: y,
	})
	if err != nil {
		return 0, 0, err
	}
	return float64(d.DeviceX) / fine, float64(d.DeviceY) / fine, nil
}

// Usable is the rule for a text layer: at least 20 letters, and at least 70 % of
// what is neither space nor digit are letters or common punctuation. Fonts
// without a mapping to Unicode give private, control or replacement characters,
// or symbols in the place of letters; such a page goes to text recognition.
func Usable(text string) bool {
	letters, marks, other := 0, 0, 0
	for _, r := range text {
		switch {
		case unicode.IsSpace(r), unicode.IsDigit(r):
		case unicode.IsLetter(r) && !unicode.Is(unicode.Co, r):
			letters++
		case r < 0x80 && unicode.IsPunct(r), strings.ContainsRune("–—„“”‚‘’«»§€°²³•·…", r):
			marks++
		default:
			other++
		}
	}
	if letters < 20 {
		return false
	}
	total := letters + marks + other
	return letters*10 >= total*5 && (letters+marks)*10 >= total*7
}

type pageRef = references.FPDF_PAGE
