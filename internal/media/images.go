package media

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"strconv"

	"golang.org/x/image/draw"
)

// openTIFF walks a file's pages and fails on anything Probe would not let in.
func (e *Engine) openTIFF(path string) (*os.File, *tiffFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	t, err := walkTIFF(f, st.Size(), e.cfg.Limits)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, t, nil
}

// decodeImage reads one page of an image file at its own size.
func (e *Engine) decodeImage(src Source, page int) (image.Image, float64, error) {
	if src.Kind == KindTIFF {
		f, t, err := e.openTIFF(src.Path)
		if err != nil {
			return nil, 0, err
		}
		defer f.Close()
		if page < 1 || page > len(t.pages) {
			return nil, 0, &Error{Code: CodeNoSuchPage, Page: page}
		}
		img, err := t.decode(page - 1)
		if err != nil {
			return nil, 0, onPage(err, page)
		}
		return upright(img, t.uint(t.pages[page-1], tagOrientation, 1)), t.dpi(t.pages[page-1]), nil
	}
	if page != 1 {
		return nil, 0, &Error{Code: CodeNoSuchPage, Page: page}
	}
	f, err := os.Open(src.Path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	cfg, err := imageConfig(f, src.Kind)
	if err != nil {
		return nil, 0, err
	}
	if err := e.checkPixels(cfg); err != nil {
		return nil, 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, 0, err
	}
	r := bufio.NewReaderSize(f, 1<<16)
	var img image.Image
	switch src.Kind {
	case KindJPEG:
		img, err = jpeg.Decode(r)
	case KindPNG:
		img, err = png.Decode(r)
	default:
		return nil, 0, faulty(CodeUnsupported, nil, "type", string(src.Kind))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, 0, faulty(CodeTruncated, err, "what", "pixels")
	}
	if err != nil {
		return nil, 0, faulty(CodeDamaged, err, "what", "pixels")
	}
	return img, 0, nil
}

func imageConfig(f io.ReadSeeker, k Kind) (image.Config, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return image.Config{}, err
	}
	var cfg image.Config
	var err error
	switch k {
	case KindJPEG:
		cfg, err = jpeg.DecodeConfig(bufio.NewReader(f))
	case KindPNG:
		cfg, err = png.DecodeConfig(bufio.NewReader(f))
	default:
		return image.Config{}, faulty(CodeUnsupported, nil, "type", string(k))
	}
	if err != nil {
		return image.Config{}, faulty(CodeDamaged, err, "what", "header")
	}
	return cfg, nil
}

func (e *Engine) checkPixels(cfg image.Config) error {
	w, h := int64(cfg.Width), int64(cfg.Height)
	if w <= 0 || h <= 0 {
		return faulty(CodeDamaged, nil, "what", "size")
	}
	if h > e.cfg.Limits.Pixels/w {
		return faulty(CodeTooManyPixels, nil, "found", fmt.Sprintf("%d x %d", w, h), "limit", strconv.FormatInt(e.cfg.Limits.Pixels, 10))
	}
	return nil
}

// renderImage draws a page of an image file. It is not enlarged.
func (e *Engine) renderImage(ctx context.Context, src Source, page int, box Box, inColor bool) (Raster, error) {
	img, dpi, err := e.decodeImage(src, page)
	if err != nil {
		return Raster{}, err
	}
	if err := ctx.Err(); err != nil {
		return Raster{}, err
	}
	b := img.Bounds()
	r := Raster{DPI: dpi}
	if dpi > 0 {
		r.WidthPoints, r.HeightPoints = float64(b.Dx())/dpi*72, float64(b.Dy())/dpi*72
	}
	scale := min(1, float64(box.Width)/float64(b.Dx()), float64(box.Height)/float64(b.Dy()))
	r.DPI *= scale
	to := image.Rect(0, 0, max(1, int(float64(b.Dx())*scale)), max(1, int(float64(b.Dy())*scale)))
	if !inColor {
		g := ToGray(img)
		if scale < 1 {
			small := image.NewGray(to)
			draw.ApproxBiLinear.Scale(small, to, g, g.Rect, draw.Src, nil)
			g = small
		}
		r.Gray = g
		return r, nil
	}
	if scale < 1 {
		small := image.NewRGBA(to)
		draw.Draw(small, to, image.White, image.Point{}, draw.Src)
		draw.ApproxBiLinear.Scale(small, to, img, b, draw.Over, nil)
		r.Color = small
		return r, nil
	}
	r.Color = img
	return r, nil
}

func (e *Engine) splitTIFF(ctx context.Context, src Source, parts []Part) error {
	f, t, err := e.openTIFF(src.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, part := range parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(part.Pages) == 0 {
			return fmt.Errorf("media: part %s has no pages", part.Out)
		}
		pages := make([]int, len(part.Pages))
		seen := map[int]bool{}
		for i, n := range part.Pages {
			if n < 1 || n > len(t.pages) || seen[n] {
				return &Error{Code: CodeNoSuchPage, Page: n}
			}
			seen[n] = true
			pages[i] = n - 1
		}
		err := writeFile(part.Out, func(out *os.File) error {
			w := bufio.NewWriterSize(out, 1<<20)
			if err := t.splitTo(w, pages); err != nil {
				return err
			}
			return w.Flush()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copySingle serves parts of a file that has one page.
func copySingle(src Source, parts []Part) error {
	for _, p := range parts {
		if len(p.Pages) != 1 || p.Pages[0] != 1 {
			return &Error{Code: CodeNoSuchPage}
		}
		err := writeFile(p.Out, func(out *os.File) error {
			in, err := os.Open(src.Path)
			if err != nil {
				return err
			}
			defer in.Close()
			_, err = io.Copy(out, in)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
