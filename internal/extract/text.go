package extract

import (
	"errors"
	"fmt"
	"image"
	"image/draw"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	xunicode "golang.org/x/text/encoding/unicode"

	"evb/internal/media"
)

// imageFormat changes when the making of page images does.
const imageFormat = "1"

var errShort = io.ErrUnexpectedEOF

func readFull(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		err = errShort
	}
	return n, err
}

// decodeText reads text of unknown coding: by its mark, as UTF-8 if it is that,
// else as Windows text of this country.
func decodeText(b []byte) string {
	switch {
	case len(b) >= 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF:
		return strings.ToValidUTF8(string(b[3:]), "\uFFFD")
	case len(b) >= 2 && (b[0] == 0xFF && b[1] == 0xFE || b[0] == 0xFE && b[1] == 0xFF):
		if out, err := xunicode.UTF16(xunicode.LittleEndian, xunicode.ExpectBOM).NewDecoder().Bytes(b); err == nil {
			return string(out)
		}
	}
	// A cut at the limit may have gone through a character.
	for cut := 0; cut < utf8.UTFMax && cut <= len(b); cut++ {
		if utf8.Valid(b[:len(b)-cut]) {
			return string(b[:len(b)-cut])
		}
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(out)
}

// clean makes text fit for the database, the index and the page separator: line
// feeds as the only breaks, no other control characters, valid UTF-8.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r' || r == '\f' || r == '\v' || r == '\u2028' || r == '\u2029':
			return '\n'
		case unicode.IsControl(r) || r == '\uFEFF':
			return -1
		}
		return r
	}, s)
}

func cleanWords(words []media.Word) []media.Word {
	for i := range words {
		w := &words[i]
		w.Text = clean(w.Text)
		for _, v := range []*float64{&w.X0, &w.Y0, &w.X1, &w.Y1, &w.Confidence} {
			if math.IsNaN(*v) || math.IsInf(*v, 0) {
				*v = 0
			}
			*v = math.Round(*v*100) / 100
		}
	}
	return words
}

// assemble joins the pages.
func assemble(all []pageResult, findings []media.Finding) (string, WordsFile, TextFacts) {
	var b strings.Builder
	words := WordsFile{Format: 1}
	facts := TextFacts{Format: 1, Pages: []PageFacts{}, Findings: findings}
	sum, letters := 0.0, 0.0
	read := false
	for i, p := range all {
		if i > 0 {
			b.WriteByte('\f')
		}
		facts.Pages = append(facts.Pages, PageFacts{
			Offset: b.Len(), Length: len(p.Text), OCR: p.OCR, Confidence: math.Round(p.Confidence*10) / 10,
			Width: p.Width, Height: p.Height, Problem: p.Problem,
		})
		b.WriteString(p.Text)
		if n := float64(len(p.Text)); n > 0 {
			sum += p.Confidence * n
			letters += n
			read = read || p.OCR
		}
		if p.Problem != "" {
			facts.Findings = append(facts.Findings, media.Finding{Code: media.CodePageUnreadable, Page: i + 1, Detail: string(p.Problem)})
		}
		if len(p.Words) > 0 {
			w := PageWords{Page: i + 1, Unit: "pt", Width: p.Width, Height: p.Height, Words: p.Words}
			if p.Width == 0 {
				w.Unit = "px"
			}
			words.Pages = append(words.Pages, w)
		}
	}
	if letters > 0 {
		facts.Confidence = math.Round(sum/letters*10) / 10
	}
	facts.OCR = read
	switch {
	case letters == 0:
		facts.Quality = QualityNone
	case !read:
		facts.Quality = QualityRead
	case facts.Confidence >= 80:
		facts.Quality = QualityGood
	case facts.Confidence >= 60:
		facts.Quality = QualityFair
	default:
		facts.Quality = QualityPoor
	}
	text := b.String()
	for i, p := range facts.Pages {
		if strings.TrimSpace(text[p.Offset:p.Offset+p.Length]) != "" {
			facts.Letter = ReadLetter(text[p.Offset : p.Offset+p.Length])
			for j := range facts.Letter.References {
				facts.Letter.References[j].Offset += p.Offset
			}
			facts.Letter.Page = i + 1
			break
		}
	}
	return text, words, facts
}

func pageName(n int) string { return fmt.Sprintf("page-%05d.png", n) }

func pageOfName(name string) int {
	s, ok := strings.CutPrefix(name, "page-")
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, ".png"))
	if err != nil {
		return 0
	}
	return n
}

// viewImage makes the image for people: grey unless the page has colour, and in
// both cases with 32 levels a channel. That halves the noise of a scanner, which
// is most of the size of such a PNG; the original keeps every pixel.
func viewImage(r media.Raster) image.Image {
	if r.Color == nil {
		return levels(r.Gray)
	}
	b := r.Color.Bounds()
	rgba, ok := r.Color.(*image.RGBA)
	if !ok || !rgba.Opaque() {
		flat := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
		draw.Draw(flat, flat.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(flat, flat.Rect, r.Color, b.Min, draw.Over)
		rgba = flat
	}
	if !colourful(rgba) {
		return levels(media.ToGray(rgba))
	}
	out := image.NewRGBA(rgba.Rect)
	for y := range rgba.Rect.Dy() {
		from, to := rgba.Pix[y*rgba.Stride:], out.Pix[y*out.Stride:]
		for x := 0; x < rgba.Rect.Dx()*4; x += 4 {
			to[x], to[x+1], to[x+2], to[x+3] = level(from[x]), level(from[x+1]), level(from[x+2]), 255
		}
	}
	return out
}

func level(v uint8) uint8 { return uint8((int(v)*31 + 127) / 255 * 255 / 31) }

func levels(g *image.Gray) *image.Gray {
	out := image.NewGray(image.Rect(0, 0, g.Rect.Dx(), g.Rect.Dy()))
	for y := range out.Rect.Dy() {
		from := g.Pix[y*g.Stride:]
		for x := range out.Rect.Dx() {
			out.Pix[y*out.Stride+x] = level(from[x])
		}
	}
	return out
}

// colourful says that more than half a per mille of the pixels have a colour
// that no scanner's fringe has.
func colourful(m *image.RGBA) bool {
	n := 0
	for y := range m.Rect.Dy() {
		row := m.Pix[y*m.Stride:]
		for x := 0; x < m.Rect.Dx()*4; x += 4 {
			hi, lo := max(row[x], row[x+1], row[x+2]), min(row[x], row[x+1], row[x+2])
			if hi-lo > 48 {
				n++
			}
		}
	}
	return n*2000 > m.Rect.Dx()*m.Rect.Dy()
}
