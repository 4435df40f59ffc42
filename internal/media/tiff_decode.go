package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"

	"golang.org/x/image/tiff"
	"golang.org/x/image/tiff/lzw"
)

// decode reads the pixels of page i, counted from 0.
func (t *tiffFile) decode(i int) (img image.Image, err error) {
	defer func() {
		if r := recover(); r != nil {
			img, err = nil, faulty(CodeDamaged, fmt.Errorf("panic: %v", r))
		}
	}()
	p := t.pages[i]
	if t.uint(p, tagCompression, 1) == compressionJPEG {
		return t.decodeJPEG(p)
	}
	img, err = tiff.Decode(t.view(p))
	if err == nil && t.uint(p, tagPhotometric, 0) == blackIsZero {
		switch t.uint(p, tagCompression, 1) {
		case compressionRLE, compressionG3, compressionG4:
			img = reversed(img)
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) && t.uint(p, tagCompression, 1) == compressionLZW {
		img, err = t.decodeLZW(p)
	}
	if err != nil {
		var un tiff.UnsupportedError
		if errors.As(err, &un) {
			return nil, faulty(CodeUnsupported, err, "type", "TIFF")
		}
		return nil, faulty(CodeDamaged, err, "what", "pixels")
	}
	return img, nil
}

// reversed turns black and white round. TIFF 6.0, section 10: in a fax coding
// BlackIsZero means that its black runs show as white. The library takes the
// runs for what they are called and would give the page as a negative.
func reversed(img image.Image) image.Image {
	g := ToGray(img)
	out := image.NewGray(g.Rect)
	for y := g.Rect.Min.Y; y < g.Rect.Max.Y; y++ {
		from, to := g.Pix[g.PixOffset(g.Rect.Min.X, y):], out.Pix[out.PixOffset(g.Rect.Min.X, y):]
		for x := range g.Rect.Dx() {
			to[x] = 255 - from[x]
		}
	}
	return out
}

// decodeLZW reads a page whose strips end without a readable end code, as some
// writers have it and the library refuses: strips that gave all their pixels are
// whole. They are put into a plain TIFF in memory, which the library decodes.
func (t *tiffFile) decodeLZW(p tiffPage) (image.Image, error) {
	offsets, counts, tiled, err := t.segments(p)
	if err != nil {
		return nil, err
	}
	w, h := t.uint(p, tagWidth, 0), t.uint(p, tagHeight, 0)
	rows := min(t.uint(p, tagRowsPerStrip, h), h)
	bits := int64(0)
	for _, b := range t.uints(p, tagBits) {
		bits += b
	}
	if tiled || t.uint(p, tagPlanar, 1) != 1 || rows <= 0 || bits <= 0 || bits > 128 || int64(len(offsets)) != (h+rows-1)/rows {
		return nil, io.ErrUnexpectedEOF
	}
	row := (w*bits + 7) / 8
	data := make([]byte, 8, 8+row*h)
	for i, o := range offsets {
		want := row * min(rows, h-int64(i)*rows)
		r := lzw.NewReader(io.NewSectionReader(t.r, o, counts[i]), lzw.MSB, 8)
		b, err := io.ReadAll(io.LimitReader(r, want))
		r.Close()
		if int64(len(b)) != want {
			return nil, errors.Join(io.ErrUnexpectedEOF, err)
		}
		data = append(data, b...)
	}
	if t.order == binary.ByteOrder(binary.BigEndian) {
		copy(data, "MM\x00*")
	} else {
		copy(data, "II*\x00")
	}
	plain := &tiffFile{order: t.order}
	page := tiffPage{}
	set := func(tag uint16, v int64) {
		e := tiffEntry{tag: tag, kind: 4, count: 1}
		t.order.PutUint32(e.value[:], uint32(v))
		page.entries = append(page.entries, e)
	}
	for _, e := range p.entries {
		switch e.tag {
		case tagCompression:
			set(e.tag, 1)
		case tagStripOffsets:
			set(e.tag, 8)
		case tagStripCounts:
			set(e.tag, row*h)
		case tagRowsPerStrip:
			set(e.tag, h)
		case tagWidth, tagHeight, tagBits, tagPhotometric, tagSamples, tagPlanar, tagPredictor, tagColorMap, tagExtraSamples, tagSampleFormat:
			b, err := t.raw(e)
			if err != nil {
				return nil, err
			}
			if len(b) > 4 {
				t.order.PutUint32(e.value[:], uint32(len(data)))
				data = append(data, b...)
			}
			page.entries = append(page.entries, e)
		}
	}
	page.offset = int64(len(data))
	data = append(data, t.directory(page.entries)...)
	plain.r, plain.size = bytes.NewReader(data), int64(len(data))
	return tiff.Decode(plain.view(page))
}

// view is the file with its header pointing to one page, as the library only
// knows the first.
func (t *tiffFile) view(p tiffPage) io.Reader {
	var at [4]byte
	t.order.PutUint32(at[:], uint32(p.offset))
	return &patched{SectionReader: io.NewSectionReader(t.r, 0, t.size), at: at}
}

type patched struct {
	*io.SectionReader
	at [4]byte
}

func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.SectionReader.ReadAt(b, off)
	for i := range p.at {
		if j := int64(4+i) - off; j >= 0 && j < int64(n) {
			b[j] = p.at[i]
		}
	}
	return n, err
}

func (p *patched) Read(b []byte) (int, error) {
	off, err := p.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	n, err := p.ReadAt(b, off)
	if _, serr := p.Seek(int64(n), io.SeekCurrent); serr != nil {
		return n, serr
	}
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// decodeJPEG puts a page together from strips or tiles that are JPEGs each
// (TIFF Technical Note 2): a whole one, or one whose tables stand in a tag.
func (t *tiffFile) decodeJPEG(p tiffPage) (image.Image, error) {
	offsets, counts, tiled, err := t.segments(p)
	if err != nil {
		return nil, err
	}
	w, h := int(t.uint(p, tagWidth, 0)), int(t.uint(p, tagHeight, 0))
	segW, segH := w, int(min(t.uint(p, tagRowsPerStrip, int64(h)), int64(h)))
	if tiled {
		segW, segH = int(t.uint(p, tagTileWidth, 0)), int(t.uint(p, tagTileLength, 0))
	}
	if segW <= 0 || segH <= 0 || segW > 1<<16 || segH > 1<<16 || t.uint(p, tagPlanar, 1) != 1 {
		return nil, faulty(CodeUnsupported, nil, "type", "TIFF, JPEG layout")
	}
	var tables []byte
	if e, ok := t.find(p, tagJPEGTables); ok {
		if tables, err = t.raw(e); err != nil {
			return nil, faulty(CodeTruncated, err, "what", "tables")
		}
	}
	rgb := t.uint(p, tagPhotometric, 6) == 2
	var out draw.Image = image.NewGray(image.Rect(0, 0, w, h))
	if t.uint(p, tagSamples, 1) >= 3 {
		out = image.NewRGBA(image.Rect(0, 0, w, h))
	}
	across := (w + segW - 1) / segW
	for i := range offsets {
		x, y := (i%across)*segW, (i/across)*segH
		if y >= h {
			break
		}
		b := make([]byte, counts[i])
		if _, err := t.r.ReadAt(b, offsets[i]); err != nil {
			return nil, faulty(CodeTruncated, err, "what", "strips")
		}
		b = joinTables(b, tables, rgb)
		cfg, err := jpeg.DecodeConfig(bytes.NewReader(b))
		if err != nil || cfg.Width > segW+64 || cfg.Height > segH+64 {
			return nil, faulty(CodeDamaged, err, "what", "JPEG strip")
		}
		img, err := jpeg.Decode(bytes.NewReader(b))
		if err != nil {
			return nil, faulty(CodeDamaged, err, "what", "JPEG strip")
		}
		draw.Draw(out, image.Rect(x, y, min(x+segW, w), min(y+segH, h)), img, img.Bounds().Min, draw.Src)
	}
	return out, nil
}

// joinTables makes an abbreviated JPEG whole, and marks RGB as such: without the
// mark a decoder takes three components for YCbCr.
func joinTables(b, tables []byte, rgb bool) []byte {
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return b
	}
	out := []byte{0xff, 0xd8}
	if rgb {
		out = append(out, 0xff, 0xee, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0)
	}
	if len(tables) > 4 && tables[0] == 0xff && tables[1] == 0xd8 {
		out = append(out, bytes.TrimSuffix(tables[2:], []byte{0xff, 0xd9})...)
	}
	return append(out, b[2:]...)
}

// upright turns an image as the Orientation tag (274) says; mirrored ones are
// shown as they are, scanners do not write them.
func upright(img image.Image, orientation int64) image.Image {
	turns := map[int64]int{3: 180, 6: 90, 8: 270}[orientation]
	if turns == 0 {
		return img
	}
	if g, ok := img.(*image.Gray); ok {
		return Turn(g, turns)
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if turns != 180 {
		out = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			c := color.RGBAModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.RGBA)
			switch turns {
			case 90:
				out.SetRGBA(h-1-y, x, c)
			case 180:
				out.SetRGBA(w-1-x, h-1-y, c)
			case 270:
				out.SetRGBA(y, w-1-x, c)
			}
		}
	}
	return out
}
