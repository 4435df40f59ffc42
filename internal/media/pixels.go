package media

import (
	"image"
	"image/color"
	"image/draw"
	"math"
)

// BlankRule decides whether a page has content. The zero value is the default.
type BlankRule struct {
	// Ink is the largest share of dark pixels of a blank page, default 0.015.
	// Measured on hard pages: blank backs with bleed-through, holes and stains
	// stay below 0.007, pages with content above 0.032.
	Ink float64
	// Strong is the largest share of very dark pixels outside of large spots,
	// default 0.0008: a page with a single line of print is not blank, although
	// its ink is below the limit; bleed-through is never that dark.
	Strong float64
}

func (r BlankRule) withDefaults() BlankRule {
	if r.Ink == 0 {
		r.Ink = 0.015
	}
	if r.Strong == 0 {
		r.Strong = 0.0008
	}
	return r
}

// Blankness measures a page: on a grey image of half size, within the inner area
// (9 % off at the sides, 5 % at top and bottom, where shadows and punch holes
// lie), the share of pixels more than 45 levels below the median, and of those
// more than 110 below it.
func Blankness(img *image.Gray) (ink, strong float64) {
	g := half(tight(img))
	w, h := g.Rect.Dx(), g.Rect.Dy()
	x0, x1, y0, y1 := w*9/100, w-w*9/100, h*5/100, h-h*5/100
	if x1 <= x0 || y1 <= y0 {
		return 0, 0
	}
	var hist [256]int
	n := 0
	for y := y0; y < y1; y++ {
		for _, v := range g.Pix[y*g.Stride+x0 : y*g.Stride+x1] {
			hist[v]++
			n++
		}
	}
	med, seen := 0, 0
	for v, c := range hist {
		if seen += c; seen*2 >= n {
			med = v
			break
		}
	}
	dark, black := 0, 0
	for v := 0; v < med-45; v++ {
		dark += hist[v]
		if v < med-110 {
			black += hist[v]
		}
	}
	return float64(dark) / float64(n), float64(black) / float64(n)
}

// Blank reports whether nothing is on the page, and its share of ink.
func (r BlankRule) Blank(img *image.Gray) (bool, float64) {
	r = r.withDefaults()
	ink, strong := Blankness(img)
	return ink <= r.Ink && strong <= r.Strong, ink
}

// Skew estimates in degrees, within 0.2, how far a page of text leans, from -4.5
// to +4.5; positive is clockwise as seen. A page without lines gives some angle
// of no meaning. The archived image is never straightened, only what goes to
// text recognition.
func Skew(img *image.Gray) float64 {
	g := tight(img)
	for g.Rect.Dx() > 900 || g.Rect.Dy() > 1300 {
		g = half(g)
	}
	w, h := g.Rect.Dx(), g.Rect.Dy()
	sum := 0
	for _, v := range g.Pix {
		sum += int(v)
	}
	limit := uint8(max(0, sum/max(1, len(g.Pix))-40))
	type pt struct{ x, y float64 }
	var pts []pt
	for y := h / 20; y < h-h/20; y++ {
		for x := w / 12; x < w-w/12; x++ {
			if g.Pix[y*g.Stride+x] < limit {
				pts = append(pts, pt{float64(x), float64(y)})
			}
		}
	}
	if len(pts) < 50 {
		return 0
	}
	if len(pts) > 60_000 {
		step := len(pts)/60_000 + 1
		thin := pts[:0]
		for i := 0; i < len(pts); i += step {
			thin = append(thin, pts[i])
		}
		pts = thin
	}
	rows := make([]float64, h*2)
	score := func(deg float64) float64 {
		clear(rows)
		t := math.Tan(deg * math.Pi / 180)
		off := float64(h) / 2
		for _, p := range pts {
			if y := int(p.y - (p.x-float64(w)/2)*t + off); y >= 0 && y < len(rows) {
				rows[y]++
			}
		}
		s := 0.0
		for _, v := range rows {
			s += v * v
		}
		return s
	}
	best, at := -1.0, 0.0
	for d := -4.5; d <= 4.51; d += 0.5 {
		if s := score(d); s > best {
			best, at = s, d
		}
	}
	centre := at
	for d := centre - 0.5; d <= centre+0.51; d += 0.1 {
		if s := score(d); s > best {
			best, at = s, d
		}
	}
	return math.Round(at*10) / 10
}

// Turn turns a page clockwise by 90, 180 or 270 degrees; other angles return it
// unchanged.
func Turn(img *image.Gray, degrees int) *image.Gray {
	src := tight(img)
	w, h := src.Rect.Dx(), src.Rect.Dy()
	switch (degrees%360 + 360) % 360 {
	case 90:
		out := image.NewGray(image.Rect(0, 0, h, w))
		for y := range h {
			row := src.Pix[y*src.Stride : y*src.Stride+w]
			x := h - 1 - y
			for i, v := range row {
				out.Pix[i*out.Stride+x] = v
			}
		}
		return out
	case 180:
		out := image.NewGray(image.Rect(0, 0, w, h))
		for i, v := range src.Pix[:w*h] {
			out.Pix[w*h-1-i] = v
		}
		return out
	case 270:
		return Turn(Turn(src, 180), 90)
	}
	return img
}

// Straighten turns a page by a small angle about its centre, filling with white.
func Straighten(img *image.Gray, degrees float64) *image.Gray {
	src := tight(img)
	w, h := src.Rect.Dx(), src.Rect.Dy()
	out := image.NewGray(image.Rect(0, 0, w, h))
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	cx, cy := float64(w-1)/2, float64(h-1)/2
	for y := range h {
		dy := float64(y) - cy
		for x := range w {
			dx := float64(x) - cx
			sx, sy := cx+dx*cos-dy*sin, cy+dx*sin+dy*cos
			ix, iy := int(math.Floor(sx)), int(math.Floor(sy))
			if ix < 0 || iy < 0 || ix >= w-1 || iy >= h-1 {
				out.Pix[y*out.Stride+x] = 255
				continue
			}
			fx, fy := sx-float64(ix), sy-float64(iy)
			p := src.Pix[iy*src.Stride+ix:]
			q := src.Pix[(iy+1)*src.Stride+ix:]
			v := (float64(p[0])*(1-fx)+float64(p[1])*fx)*(1-fy) + (float64(q[0])*(1-fx)+float64(q[1])*fx)*fy
			out.Pix[y*out.Stride+x] = uint8(v + 0.5)
		}
	}
	return out
}

// ToGray gives the luminance of an image, over white where it is transparent.
func ToGray(img image.Image) *image.Gray {
	b := img.Bounds()
	switch src := img.(type) {
	case *image.Gray:
		return tight(src)
	case *image.YCbCr:
		out := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
		for y := range b.Dy() {
			o := src.YOffset(b.Min.X, b.Min.Y+y)
			copy(out.Pix[y*out.Stride:(y+1)*out.Stride], src.Y[o:o+b.Dx()])
		}
		return out
	case *image.RGBA:
		out := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
		for y := range b.Dy() {
			row := src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range b.Dx() {
				r, g, bl, a := uint32(row[x*4]), uint32(row[x*4+1]), uint32(row[x*4+2]), uint32(row[x*4+3])
				// Pixels are premultiplied: what is missing to opaque is white.
				out.Pix[y*out.Stride+x] = uint8((19595*r+38470*g+7471*bl+1<<15)>>16 + 255 - a)
			}
		}
		return out
	case *image.Paletted:
		var lut [256]uint8
		for i, c := range src.Palette {
			lut[i] = overWhite(c)
		}
		out := image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
		for y := range b.Dy() {
			row := src.Pix[src.PixOffset(b.Min.X, b.Min.Y+y):]
			for x := range b.Dx() {
				out.Pix[y*out.Stride+x] = lut[row[x]]
			}
		}
		return out
	}
	flat := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(flat, flat.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(flat, flat.Rect, img, b.Min, draw.Over)
	return ToGray(flat)
}

func overWhite(c color.Color) uint8 {
	r, g, b, a := c.RGBA()
	y := (19595*r + 38470*g + 7471*b + 1<<15) >> 16
	return uint8((y + 0xffff - a) >> 8)
}

// tight gives the image with its origin at 0 and no padding between the rows.
func tight(img *image.Gray) *image.Gray {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	if img.Rect.Min == (image.Point{}) && img.Stride == w {
		return img
	}
	out := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		o := img.PixOffset(img.Rect.Min.X, img.Rect.Min.Y+y)
		copy(out.Pix[y*w:(y+1)*w], img.Pix[o:o+w])
	}
	return out
}

// half averages two by two pixels.
func half(img *image.Gray) *image.Gray {
	w, h := img.Rect.Dx()/2, img.Rect.Dy()/2
	out := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		a := img.Pix[2*y*img.Stride:]
		b := img.Pix[(2*y+1)*img.Stride:]
		row := out.Pix[y*w : (y+1)*w]
		for x := range row {
			row[x] = uint8((uint(a[2*x]) + uint(a[2*x+1]) + uint(b[2*x]) + uint(b[2*x+1]) + 2) / 4)
		}
	}
	return out
}
