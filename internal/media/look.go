package media

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"evb/internal/media/batchindex"
)

// LookRule says how the pages of a stream are looked at.
type LookRule struct {
	// Separators says which codes separate.
	Separators SeparatorRule
	// Blank says which pages have no content.
	Blank BlankRule
	// DPI is the resolution at which drawn pages are looked at, default 200.
	// Scanned pages are looked at as they were scanned.
	DPI int
}

// RuleFor gives the LookRule of a batch: the codes of its index, and of its id.
// index may be nil.
func RuleFor(index *batchindex.Index, schemes ...Scheme) LookRule {
	r := LookRule{Separators: SeparatorRule{Schemes: schemes}}
	if index != nil {
		r.Separators.BatchID = index.BatchID
		r.Separators.Announced = index.Announced()
		r.Separators.Numbered = make(map[int]string, len(index.Documents))
		for _, d := range index.Documents {
			r.Separators.Numbered[d.Number] = d.Separator
		}
	}
	return r
}

// Page gives a page in grey for looking at it and for text recognition: as it
// was scanned where the page is one image, else drawn at the given resolution.
func (e *Engine) Page(ctx context.Context, src Source, page, dpi int) (Raster, error) {
	if dpi <= 0 {
		dpi = 200
	}
	if src.Kind != KindPDF {
		// Never enlarged, and an image's own size is bounded already.
		return e.Render(ctx, src, page, Box{Width: 1 << 13, Height: 1 << 13}, false)
	}
	b, box, err := e.ownImage(ctx, src, page)
	if err != nil {
		return Raster{}, err
	}
	if r, ok := e.scanned(b); ok {
		return r, nil
	}
	// Black and white that is drawn a little larger or smaller loses the bars of
	// a code and the thin strokes of letters: it is drawn as it was scanned.
	if own := float64(max(box.Width, box.Height)) / 12; own > 0.85*float64(dpi) && own < 1.05*float64(dpi) {
		return e.Render(ctx, src, page, box, false)
	}
	return e.Render(ctx, src, page, BoxForDPI(dpi), false)
}

// scanned decodes the page's own JPEG: it spares the drawing, which costs five
// times as much. ok is false when the page is not simply one.
func (e *Engine) scanned(b *ScannedJPEG) (r Raster, ok bool) {
	if b == nil {
		return Raster{}, false
	}
	cfg, err := jpeg.DecodeConfig(bytes.NewReader(b.Data))
	if err != nil || e.checkPixels(cfg) != nil {
		return Raster{}, false // PDFium is more patient
	}
	img, err := jpeg.Decode(bytes.NewReader(b.Data))
	if err != nil {
		return Raster{}, false
	}
	switch img.(type) {
	case *image.Gray, *image.YCbCr:
	default:
		return Raster{}, false // CMYK needs the PDF's colour space
	}
	return Raster{
		Gray: ToGray(img), WidthPoints: b.WidthPoints, HeightPoints: b.HeightPoints,
		DPI: float64(cfg.Width) / b.WidthPoints * 72,
	}, true
}

// ScannedJPEG is the image data of a page that is one JPEG, unchanged.
type ScannedJPEG struct {
	Data                      []byte
	WidthPoints, HeightPoints float64
}

// PageJPEG gives the JPEG that a page of a PDF consists of, byte for byte, or
// nil when the page is anything else or the structure cannot be read.
func (e *Engine) PageJPEG(ctx context.Context, src Source, page int) (*ScannedJPEG, error) {
	if src.Kind != KindPDF {
		return nil, nil
	}
	b, _, err := e.ownImage(ctx, src, page)
	return b, err
}

// ownImage asks for the one image that a page of a PDF is: a JPEG as it is, the
// size in pixels of any other kind.
func (e *Engine) ownImage(ctx context.Context, src Source, page int) (*ScannedJPEG, Box, error) {
	resp, data, err := e.children.do(ctx, e.cfg.Limits.PageTime, &request{Op: opImage, Path: src.Path, Page: page})
	switch CodeOf(err) {
	case "":
	case CodeNoSuchPage, CodeTimeout, CodeMemory:
		return nil, Box{}, onPage(err, page)
	default:
		return nil, Box{}, nil // damaged for this reader; drawing may still work
	}
	if err != nil {
		return nil, Box{}, err
	}
	if len(data) == 0 {
		return nil, Box{Width: resp.Width, Height: resp.Height}, nil
	}
	return &ScannedJPEG{Data: data, WidthPoints: resp.WPoints, HeightPoints: resp.HPoints}, Box{}, nil
}

// LookAt looks at one page. What is wrong with the page is in its Problem; the
// error is the machine's.
func (e *Engine) LookAt(ctx context.Context, src Source, page int, rule LookRule) (info PageInfo, err error) {
	defer e.observe("look", time.Now(), &err)
	info = PageInfo{Page: page}
	r, err := e.Page(ctx, src, page, rule.DPI)
	if err != nil {
		if c := CodeOf(err); c != "" && c != CodeNoSuchPage {
			info.Problem = c
			return info, nil
		}
		return info, err
	}
	info.Width, info.Height, info.DPI = r.Gray.Rect.Dx(), r.Gray.Rect.Dy(), r.DPI
	info.Blank, info.Ink = rule.Blank.Blank(r.Gray)
	if info.Blank {
		return info, nil
	}
	info.Codes = BarCodes(ctx, r.Gray)
	info.Separator = rule.Separators.Classify(info.Codes)
	info.Skew = Skew(r.Gray)
	return info, ctx.Err()
}

// LookAtStream looks at all pages of a stream, then by text at those among which
// an announced separator must lie that no bar code gave. pages is the number of
// pages from Probe. progress, if not nil, is called after each page, from
// several goroutines. A missing Tesseract is an error only when it is needed.
func (e *Engine) LookAtStream(ctx context.Context, src Source, pages int, rule LookRule, progress func(PageInfo)) ([]PageInfo, error) {
	return e.ResumeLook(ctx, src, make([]PageInfo, pages), rule, progress)
}

// ResumeLook is LookAtStream for a stream some pages of which were looked at
// before: known has one entry for each page, in order, and those whose Page is 0
// are still to be looked at. known is filled in place and returned.
func (e *Engine) ResumeLook(ctx context.Context, src Source, known []PageInfo, rule LookRule, progress func(PageInfo)) ([]PageInfo, error) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(e.cfg.Children)
	for i := range known {
		if known[i].Page != 0 {
			continue
		}
		g.Go(func() error {
			info, err := e.LookAt(gctx, src, i+1, rule)
			if err != nil {
				return err
			}
			known[i] = info
			if progress != nil {
				progress(info)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return known, e.lookForMissing(ctx, src, known, rule)
}

// lookForMissing looks more closely at the pages between the neighbours of each
// missing code, as the index orders them: first for bars that BarCodes does not
// see, then for the text. Pages that carry a separator or nothing are not
// candidates.
func (e *Engine) lookForMissing(ctx context.Context, src Source, infos []PageInfo, rule LookRule) error {
	for _, i := range candidates(infos, rule.Separators.Announced) {
		r, err := e.Page(ctx, src, infos[i].Page, rule.DPI)
		if err != nil {
			if CodeOf(err) == "" {
				return err
			}
			continue
		}
		codes := fineCodes(ctx, r.Gray)
		if sep := rule.Separators.Classify(codes); sep != nil {
			infos[i].Codes, infos[i].Separator = append(infos[i].Codes, codes...), sep
		}
	}
	for _, i := range candidates(infos, rule.Separators.Announced) {
		sep, err := e.separatorByText(ctx, src, infos[i].Page, rule.Separators)
		if err != nil {
			if errors.Is(err, ErrToolMissing) || CodeOf(err) == "" {
				return err
			}
			continue // this page cannot be read: it stays content
		}
		infos[i].Separator = sep
	}
	return ctx.Err()
}

// separatorByText reads a page as a text, and where that gives next to nothing
// as scattered words: large print and bars lead the search for columns astray.
func (e *Engine) separatorByText(ctx context.Context, src Source, page int, rule SeparatorRule) (*Separator, error) {
	text, confidence, err := e.anyText(ctx, src, page)
	if err != nil {
		return nil, err
	}
	sep := rule.FromText(text, confidence)
	if sep != nil && sep.Value != "" || len(strings.Fields(text)) > 30 {
		return sep, nil
	}
	r, err := e.Page(ctx, src, page, 200)
	if err != nil {
		return nil, err
	}
	res, err := e.recognise(ctx, r.Gray, max(r.DPI, 70), 0, "--psm", "11")
	if err != nil {
		return nil, err
	}
	if other := rule.FromText(res.Text, res.Confidence); other != nil {
		return other, nil
	}
	return sep, nil
}

// candidates gives the indexes of the pages on which a missing separator may be.
func candidates(infos []PageInfo, announced []string) []int {
	at := map[string]int{}
	for i, p := range infos {
		if p.Separator != nil && p.Separator.Value != "" {
			if _, twice := at[p.Separator.Value]; !twice {
				at[p.Separator.Value] = i
			}
		}
	}
	want := make([]bool, len(infos))
	for k, code := range announced {
		if _, found := at[code]; found {
			continue
		}
		from, to := 0, len(infos)
		for j := k - 1; j >= 0; j-- {
			if i, ok := at[announced[j]]; ok {
				from = i + 1
				break
			}
		}
		for j := k + 1; j < len(announced); j++ {
			if i, ok := at[announced[j]]; ok {
				to = i
				break
			}
		}
		for i := from; i < to; i++ {
			want[i] = want[i] || infos[i].Separator == nil && !infos[i].Blank && infos[i].Problem == ""
		}
	}
	var out []int
	for i, w := range want {
		if w {
			out = append(out, i)
		}
	}
	return out
}

// anyText gives the text layer of a page where it is usable, else what is
// recognised.
func (e *Engine) anyText(ctx context.Context, src Source, page int) (string, float64, error) {
	if t, err := e.PageText(ctx, src, page); err == nil && t.Usable {
		return t.Text, 100, nil
	} else if err != nil && CodeOf(err) == "" {
		return "", 0, err
	}
	r, err := e.Page(ctx, src, page, 200)
	if err != nil {
		return "", 0, err
	}
	res, err := e.OCR(ctx, r.Gray, r.DPI)
	return res.Text, res.Confidence, err
}

// Recognised is the text of a page and how it was won.
type Recognised struct {
	// Text is the text, one line per line.
	Text string
	// Words have places in points from the upper left corner when the size of
	// the page is known, else in pixels of the page image.
	Words []Word
	// OCR is true when the text was recognised, false for a text layer.
	OCR bool
	// Confidence is 100 for a text layer.
	Confidence float64
	// Tool is program and version.
	Tool string
	// WidthPoints and HeightPoints are the size of the page, 0 when unknown.
	WidthPoints, HeightPoints float64
}

// Text gives the text of a page: its text layer if usable, else recognised, with
// the words' places in the same unit. Errors as of PageText and OCR.
func (e *Engine) Text(ctx context.Context, src Source, page int) (Recognised, error) {
	t, err := e.PageText(ctx, src, page)
	if err != nil {
		return Recognised{}, err
	}
	if t.Usable {
		return Recognised{Text: t.Text, Words: t.Words, Confidence: 100, Tool: "PDFium", WidthPoints: t.WidthPoints, HeightPoints: t.HeightPoints}, nil
	}
	r, err := e.Page(ctx, src, page, 300)
	if err != nil {
		return Recognised{}, err
	}
	out := Recognised{OCR: true, WidthPoints: r.WidthPoints, HeightPoints: r.HeightPoints}
	if blank, _ := (BlankRule{}).Blank(r.Gray); blank && t.Text == "" {
		return out, nil
	}
	res, err := e.OCR(ctx, r.Gray, r.DPI)
	if err != nil {
		return Recognised{}, onPage(err, page)
	}
	out.Text, out.Words, out.Confidence, out.Tool = res.Text, res.Words, res.Confidence, res.Tool
	if r.WidthPoints > 0 {
		f := r.WidthPoints / float64(r.Gray.Rect.Dx())
		for i := range out.Words {
			w := &out.Words[i]
			w.X0, w.Y0, w.X1, w.Y1 = w.X0*f, w.Y0*f, w.X1*f, w.Y1*f
		}
	}
	return out, nil
}
