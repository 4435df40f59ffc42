package media

import (
	"context"
	"image"
	"strconv"
	"strings"
	"time"

	"golang.org/x/image/draw"
)

// Reread recognises one line of a page once more, alone and at twice its size:
// a second opinion on what the first reading gave there. box is around the line,
// in the units of the Words of Text. Errors as of OCR.
func (e *Engine) Reread(ctx context.Context, src Source, page int, box Word) (text string, err error) {
	defer e.observe("reread", time.Now(), &err)
	r, err := e.Page(ctx, src, page, 300)
	if err != nil {
		return "", err
	}
	scale := 1.0
	if r.WidthPoints > 0 {
		scale = float64(r.Gray.Rect.Dx()) / r.WidthPoints
	}
	x0, y0, x1, y1 := int(box.X0*scale), int(box.Y0*scale), int(box.X1*scale), int(box.Y1*scale)
	rim := max((y1-y0)/3, 4)
	line := image.Rect(x0-rim, y0-rim, x1+rim, y1+rim).Add(r.Gray.Rect.Min).Intersect(r.Gray.Rect)
	if line.Empty() {
		return "", nil
	}
	twice := image.NewGray(image.Rect(0, 0, 2*line.Dx(), 2*line.Dy()))
	draw.BiLinear.Scale(twice, twice.Rect, r.Gray, line, draw.Src, nil)
	out, err := e.tesseract(ctx, twice, "stdin", "stdout", "-l", e.cfg.Language, "--psm", "7", "--dpi", strconv.Itoa(int(max(2*r.DPI, 200))))
	if err != nil {
		return "", onPage(err, page)
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(out), "\uFFFD")), nil
}
