package media_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/boombuler/barcode/code128"

	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/sharedtest"
)

// blackAndWhite is a page of 200 dpi in one bit a pixel with a linear code whose
// bars are module pixels wide, leaning by degrees, and a few lines of strokes.
func blackAndWhite(t *testing.T, code string, module, degrees float64) *image.Gray {
	t.Helper()
	bars, err := code128.Encode(code)
	sharedtest.Must(t, err)
	const w, h = 1653, 2338
	img := image.NewGray(image.Rect(0, 0, w, h))
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	for y := range h {
		for x := range w {
			u := (float64(x)-w/2)*cos + (float64(y)-h/2)*sin + w/2
			v := -(float64(x)-w/2)*sin + (float64(y)-h/2)*cos + h/2
			img.Pix[y*w+x] = 255
			if i := int(math.Floor((u - 200) / module)); v > 480 && v < 680 && i >= 0 && i < bars.Bounds().Dx() {
				if r, _, _, _ := bars.At(i, 0).RGBA(); r == 0 {
					img.Pix[y*w+x] = 0
				}
			}
			if v > 200 && v < 280 && u > 200 && u < 700 && int(u)/20%2 == 0 {
				img.Pix[y*w+x] = 0
			}
		}
	}
	return img
}

// bilevelPDF writes pages as a scanner does: one image of one bit a page.
func bilevelPDF(t *testing.T, pages ...*image.Gray) string {
	t.Helper()
	var out bytes.Buffer
	var at []int
	object := func(s string) {
		at = append(at, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", len(at), s)
	}
	out.WriteString("%PDF-1.4\n")
	kids := ""
	for i := range pages {
		kids += fmt.Sprintf("%d 0 R ", 5+3*i)
	}
	object("<< /Type /Catalog /Pages 2 0 R >>")
	object(fmt.Sprintf("<< /Type /Pages /Count %d /Kids [ %s] >>", len(pages), kids))
	for i, p := range pages {
		w, h := p.Rect.Dx(), p.Rect.Dy()
		var z bytes.Buffer
		zw := zlib.NewWriter(&z)
		row := make([]byte, (w+7)/8)
		for y := range h {
			clear(row)
			for x := range w {
				if p.Pix[y*p.Stride+x] > 127 {
					row[x/8] |= 0x80 >> (x % 8)
				}
			}
			_, err := zw.Write(row)
			sharedtest.Must(t, err)
		}
		sharedtest.Must(t, zw.Close())
		pw, ph := float64(w)*72/200, float64(h)*72/200
		object(fmt.Sprintf("<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream", w, h, z.Len(), z.String()))
		content := fmt.Sprintf("q %.2f 0 0 %.2f 0 0 cm /I Do Q", pw, ph)
		object(fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(content), content))
		object(fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.2f %.2f] /Resources << /XObject << /I %d 0 R >> >> /Contents %d 0 R >>", pw, ph, 3+3*i, 4+3*i))
	}
	xref := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, a := range at {
		fmt.Fprintf(&out, "%010d 00000 n \n", a)
	}
	fmt.Fprintf(&out, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, xref)
	path := filepath.Join(t.TempDir(), "bilevel.pdf")
	sharedtest.Must(t, os.WriteFile(path, out.Bytes(), 0o600))
	return path
}

func TestBlackAndWhitePageIsLookedAtAsItWasScanned(t *testing.T) {
	e := mediatest.Engine(t)
	want := blackAndWhite(t, "DO-SW-001", 2, 0)
	r, err := e.Page(context.Background(), media.Source{Path: bilevelPDF(t, want), Kind: media.KindPDF}, 1, 200)
	sharedtest.Must(t, err)
	if r.Gray.Rect != want.Rect {
		t.Fatalf("looked at as %v, scanned as %v", r.Gray.Rect, want.Rect)
	}
	if !bytes.Equal(r.Gray.Pix, want.Pix) {
		t.Error("pixels differ from the scan")
	}
}

func TestNarrowBarsOfABlackAndWhiteScanSeparate(t *testing.T) {
	e := mediatest.Engine(t)
	var pages []*image.Gray
	var rule media.LookRule
	for i, lean := range []float64{-0.9, -0.4, 0, 0.3, 0.7, 1.3} {
		for j, module := range []float64{1.8, 2, 2.12} {
			code := fmt.Sprintf("DO-SW-%03d", i*3+j+1)
			rule.Separators.Announced = append(rule.Separators.Announced, code)
			pages = append(pages, blackAndWhite(t, code, module, lean))
		}
	}
	infos, err := e.LookAtStream(context.Background(), media.Source{Path: bilevelPDF(t, pages...), Kind: media.KindPDF}, len(pages), rule, nil)
	sharedtest.Must(t, err)
	for i, info := range infos {
		if s := info.Separator; s == nil || s.Value != rule.Separators.Announced[i] || s.How != media.HowBarCode {
			t.Errorf("page %d: %+v", i+1, s)
		}
	}
}
