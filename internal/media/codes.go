package media

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/datamatrix"
	"github.com/makiuchi-d/gozxing/oned"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// Symbology names a family of bar codes.
type Symbology string

// The symbologies that are looked for.
const (
	Code128    Symbology = "code128"
	Code39     Symbology = "code39"
	QR         Symbology = "qr"
	DataMatrix Symbology = "datamatrix"
)

// BarCode is one code on a page, whatever it is for.
type BarCode struct {
	Symbology Symbology `json:"symbology"`
	Value     string    `json:"value"`
	// Turned is true when it was read on the page turned by 90 degrees.
	Turned bool `json:"turned,omitempty"`
}

// How says how a separator was recognised.
type How string

// The ways, from the surest.
const (
	// HowBarCode: at least one bar code with its own check sum.
	HowBarCode How = "barcode"
	// HowText: the word TRENNBLATT and an announced code, both by text
	// recognition or from the text layer.
	HowText How = "text"
	// HowSheet: the word TRENNBLATT alone; the code is unreadable.
	HowSheet How = "sheet"
)

// Scheme names the separators of one source (decision 8.3).
type Scheme string

// The schemes.
const (
	// SchemeEVB: sheets printed by evb and its scan centre: DO-BATCH-001 as a
	// linear code, {"v":1,"stapel":"batch","dok":1,...} as a QR code. Both give
	// the value DO-BATCH-001.
	SchemeEVB Scheme = "evb"
	// SchemePatchT: sheets that say PATCHT, as other products print them.
	SchemePatchT Scheme = "patcht"
	// SchemeASN: a label ASN00123 on the first page of each document; the page
	// is content.
	SchemeASN Scheme = "asn"
)

// Separator says that a page separates documents.
type Separator struct {
	// Value is the code, "" when the sheet is known but its code unreadable.
	Value string
	// Scheme is the scheme it belongs to.
	Scheme Scheme
	// How says how it was recognised.
	How How
	// Symbologies are those that gave Value, sorted; two agreeing are surer.
	Symbologies []Symbology
	// Confidence is 0 to 100: 100 for two symbologies, 99 for one with a check
	// sum, 90 for one without (Code 39), that of the words for text.
	Confidence float64
	// Keep is true when the page is the first page of the document itself.
	Keep bool
	// Generic is true when every sheet carries the same value.
	Generic bool
}

// SeparatorRule says which codes separate in one stream.
type SeparatorRule struct {
	// Schemes are the schemes of the source, default SchemeEVB alone.
	Schemes []Scheme
	// BatchID narrows SchemeEVB to the codes of this batch. Empty allows any.
	BatchID string
	// Announced are the codes of the index; they separate in any scheme, and
	// only they can be recognised by text.
	Announced []string
	// Numbered are the same by document number, for sheets that carry a number
	// instead of the code. A number that is not there gives DO-BATCH-number.
	Numbered map[int]string
}

var (
	evbForm = regexp.MustCompile(`^DO-[A-Z0-9][A-Z0-9._-]{0,98}-[0-9]{3,6}$`)
	asnForm = regexp.MustCompile(`^ASN[ -]?[0-9]{1,10}$`)
)

// Classify picks the separator among the codes of a page, or nil. Codes outside
// of the rule are content. A page that carries two different separator codes
// is one whose code is unreadable: which one counts is for a person to say.
func (r SeparatorRule) Classify(codes []BarCode) *Separator {
	var found *Separator
	for _, c := range codes {
		s := r.match(c)
		if s == nil {
			continue
		}
		if found == nil {
			found = s
			continue
		}
		if found.Value != s.Value {
			if found.Generic || s.Generic || found.Keep != s.Keep {
				// A generic sheet with a label on it: the sheet wins.
				if s.Generic || found.Keep {
					found = s
				}
				continue
			}
			return &Separator{Scheme: found.Scheme, How: HowSheet, Keep: found.Keep}
		}
		if !slices.Contains(found.Symbologies, c.Symbology) {
			found.Symbologies = append(found.Symbologies, c.Symbology)
			found.Confidence = 100
		}
	}
	if found != nil {
		slices.Sort(found.Symbologies)
	}
	return found
}

func (r SeparatorRule) match(c BarCode) *Separator {
	v := strings.TrimSpace(c.Value)
	s := &Separator{Value: v, How: HowBarCode, Symbologies: []Symbology{c.Symbology}, Confidence: 99}
	if c.Symbology == Code39 {
		s.Confidence = 90
	}
	schemes := r.Schemes
	if len(schemes) == 0 {
		schemes = []Scheme{SchemeEVB}
	}
	if slices.Contains(r.Announced, v) {
		s.Scheme = SchemeEVB
		return s
	}
	for _, scheme := range schemes {
		s.Scheme = scheme
		if scheme == SchemeEVB && strings.HasPrefix(v, "{") {
			if s.Value = r.sheet(v); s.Value != "" {
				return s
			}
			continue
		}
		switch {
		case scheme == SchemeEVB && evbForm.MatchString(v) && r.ofBatch(v):
			return s
		case scheme == SchemePatchT && v == "PATCHT":
			s.Generic = true
			return s
		case scheme == SchemeASN && asnForm.MatchString(v):
			s.Keep = true
			return s
		}
	}
	return nil
}

// sheet reads the QR code of a sheet and gives the separator's code, or "".
func (r SeparatorRule) sheet(v string) string {
	var q struct {
		V      int    `json:"v"`
		Stapel string `json:"stapel"`
		Dok    int    `json:"dok"`
	}
	if len(v) > 500 || json.Unmarshal([]byte(v), &q) != nil || q.V != 1 || q.Dok < 1 || q.Dok > 999_999 {
		return ""
	}
	if r.BatchID != "" && q.Stapel != r.BatchID {
		return ""
	}
	if code := r.Numbered[q.Dok]; code != "" && r.BatchID != "" {
		return code
	}
	code := fmt.Sprintf("DO-%s-%03d", strings.ToUpper(q.Stapel), q.Dok)
	if !evbForm.MatchString(code) {
		return ""
	}
	return code
}

// ofBatch reports whether an evb code was printed for this batch.
func (r SeparatorRule) ofBatch(v string) bool {
	if r.BatchID == "" {
		return true
	}
	rest, ok := strings.CutPrefix(v, "DO-"+strings.ToUpper(r.BatchID)+"-")
	return ok && !strings.Contains(rest, "-")
}

// FromText recognises a separator sheet by its text: the word TRENNBLATT in a
// line of its own, on a page that has little else, and,
// letter by letter except for what recognition commonly confuses, exactly one
// announced code. Without the code it is a sheet with an unreadable code.
// confidence is that of the recognition, 0 to 100.
func (r SeparatorRule) FromText(text string, confidence float64) *Separator {
	words := strings.Fields(text)
	sheet := slices.ContainsFunc(strings.Split(text, "\n"), func(l string) bool {
		return fold(strings.TrimSpace(l)) == fold("TRENNBLATT")
	})
	if !sheet || len(words) > 40 {
		return nil
	}
	flat := fold(strings.Join(words, ""))
	var hit []string
	for _, a := range r.Announced {
		if strings.Contains(flat, fold(a)) {
			hit = append(hit, a)
		}
	}
	if len(hit) != 1 {
		return &Separator{Scheme: SchemeEVB, How: HowSheet, Confidence: confidence}
	}
	return &Separator{Value: hit[0], Scheme: SchemeEVB, How: HowText, Confidence: confidence}
}

// fold maps letters and digits that look alike onto one.
func fold(s string) string {
	return strings.NewReplacer(
		"O", "0", "Q", "0", "I", "1", "L", "1", "|", "1", "S", "5", "B", "8", "Z", "2",
		"–", "-", "—", "-", "_", "-", "‐", "-", " ", "",
	).Replace(strings.ToUpper(s))
}

type reader struct {
	symbology Symbology
	decode    gozxing.Reader
	flat      bool // linear: needs the turned page as well
}

func readers() []reader {
	return []reader{
		{Code128, oned.NewCode128Reader(), true},
		{QR, qrcode.NewQRCodeReader(), false},
		{Code39, oned.NewCode39Reader(), true},
		{DataMatrix, datamatrix.NewDataMatrixReader(), false},
	}
}

// BarCodes finds the codes on a page: full size first, half size if nothing was
// found, each upright and turned by 90 degrees (linear codes are read in both
// directions anyway). At most one code of each symbology, and as many again
// beside it, is reported. It ends early when ctx does, with what it has.
func BarCodes(ctx context.Context, img *image.Gray) []BarCode {
	var out []BarCode
	work := tight(img)
	for range 2 {
		out = decodeAll(ctx, work)
		if len(out) > 0 || work.Rect.Dx() < 600 {
			break
		}
		work = half(work)
	}
	return out
}

func decodeAll(ctx context.Context, img *image.Gray) []BarCode {
	var out []BarCode
	var turned *image.Gray
	for _, r := range readers() {
		for _, turn := range []bool{false, true} {
			if turn && !r.flat || ctx.Err() != nil {
				continue
			}
			src := img
			if turn {
				if turned == nil {
					turned = Turn(img, 90)
				}
				src = turned
			}
			out = appendCodes(ctx, out, r, src, turn)
		}
	}
	return out
}

// appendCodes reads one symbology, painting over what it found so that a second
// code on the page is seen as well.
func appendCodes(ctx context.Context, out []BarCode, r reader, img *image.Gray, turn bool) []BarCode {
	const most = 4
	for range most {
		res := decodeOne(r.decode, img)
		if res == nil || ctx.Err() != nil {
			return out
		}
		c := BarCode{Symbology: r.symbology, Value: res.GetText(), Turned: turn}
		if r.symbology == Code39 && len(strings.TrimSpace(c.Value)) < 3 {
			return out // a line of text easily reads as two letters
		}
		if !slices.ContainsFunc(out, func(o BarCode) bool { return o.Symbology == c.Symbology && o.Value == c.Value }) {
			out = append(out, c)
		}
		img = paintOver(img, res.GetResultPoints(), r.flat)
		if img == nil {
			return out
		}
	}
	return out
}

// decodeOne guards against a panic of the library on odd pixels: such a page
// simply has no code.
func decodeOne(r gozxing.Reader, img *image.Gray) (res *gozxing.Result) {
	defer func() {
		if recover() != nil {
			res = nil
		}
	}()
	w, h := img.Rect.Dx(), img.Rect.Dy()
	if w < 16 || h < 16 {
		return nil
	}
	src, err := gozxing.NewPlanarYUVLuminanceSource(img.Pix, w, h, 0, 0, w, h, false)
	if err != nil {
		return nil
	}
	bmp, err := gozxing.NewBinaryBitmap(gozxing.NewHybridBinarizer(src))
	if err != nil {
		return nil
	}
	res, err = r.Decode(bmp, map[gozxing.DecodeHintType]interface{}{gozxing.DecodeHintType_TRY_HARDER: true})
	r.Reset()
	if err != nil {
		return nil
	}
	return res
}

// paintOver copies the page with the code's surroundings in white.
func paintOver(img *image.Gray, pts []gozxing.ResultPoint, flat bool) *image.Gray {
	if len(pts) == 0 {
		return nil
	}
	w, h := img.Rect.Dx(), img.Rect.Dy()
	box := image.Rectangle{Min: image.Pt(w, h)}
	for _, p := range pts {
		x, y := int(p.GetX()), int(p.GetY())
		box.Min.X, box.Min.Y = min(box.Min.X, x), min(box.Min.Y, y)
		box.Max.X, box.Max.Y = max(box.Max.X, x), max(box.Max.Y, y)
	}
	// Finder points lie inside of the code; a linear code is known by one row.
	grow := max(box.Dx(), box.Dy())/4 + 8
	if flat {
		grow = max(h/10, 40)
	}
	box = box.Inset(-grow).Intersect(image.Rect(0, 0, w, h))
	out := image.NewGray(image.Rect(0, 0, w, h))
	copy(out.Pix, img.Pix)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		row := out.Pix[y*out.Stride+box.Min.X : y*out.Stride+box.Max.X]
		for i := range row {
			row[i] = 255
		}
	}
	return out
}

// fineCodes reads linear codes whose bars are so narrow that single rows of the
// page do not give them: two pixels a bar in black and white, leaning a little.
// Rows along the bars are averaged, which gives back the fraction of a pixel
// that each row has lost. It costs more than BarCodes and is for pages on which
// a code is missed.
func fineCodes(ctx context.Context, img *image.Gray) []BarCode {
	var out []BarCode
	work := tight(img)
	lean := Skew(work)
	for _, turn := range []bool{false, true} {
		src := work
		if turn {
			src = Turn(work, 90)
		}
		for _, skew := range []float64{lean, 0} {
			if ctx.Err() != nil {
				return out
			}
			if out = appendCodes(ctx, out, reader{Code128, oned.NewCode128Reader(), true}, averaged(src, skew), turn); len(out) > 0 {
				return out
			}
			if lean == 0 {
				break
			}
		}
	}
	return out
}

// averaged gives bands of rows, each the mean of the rows of a millimetre or
// two along bars that lean by skew degrees, stretched threefold across the bars.
func averaged(img *image.Gray, skew float64) *image.Gray {
	const stretch, window = 3, 8 // a band takes 2*window+1 rows
	w, h := img.Rect.Dx(), img.Rect.Dy()
	bands := h / window
	out := image.NewGray(image.Rect(0, 0, w*stretch, bands))
	shift := math.Tan(skew * math.Pi / 180)
	sum := make([]float64, w*stretch)
	for b := range bands {
		clear(sum)
		n := 0
		mid := b*window + window/2
		for y := max(0, mid-window); y <= min(h-1, mid+window); y++ {
			row := img.Pix[y*img.Stride : y*img.Stride+w]
			move := shift * float64(y-mid)
			n++
			for x := range sum {
				at := (float64(x)+0.5)/stretch - 0.5 + move
				i := int(math.Floor(at))
				part := at - float64(i)
				sum[x] += float64(row[min(max(i, 0), w-1)])*(1-part) + float64(row[min(max(i+1, 0), w-1)])*part
			}
		}
		for x, s := range sum {
			out.Pix[b*out.Stride+x] = uint8(s / float64(n))
		}
	}
	return out
}
