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
	"math"
	"strconv"

	"golang.org/x/image/tiff"
	"golang.org/x/image/tiff/lzw"
)

// Tags of TIFF 6.0 that are looked at.
const (
	tagWidth         = 256
	tagHeight        = 257
	tagBits          = 258
	tagCompression   = 259
	tagPhotometric   = 262
	tagStripOffsets  = 273
	tagOrientation   = 274
	tagSamples       = 277
	tagRowsPerStrip  = 278
	tagStripCounts   = 279
	tagXResolution   = 282
	tagYResolution   = 283
	tagPlanar        = 284
	tagResUnit       = 296
	tagTileWidth     = 322
	tagTileLength    = 323
	tagTileOffsets   = 324
	tagTileCounts    = 325
	tagSubIFDs       = 330
	tagJPEGTables    = 347
	tagJPEGFormat    = 513
	tagExif          = 34665
	tagGPS           = 34853
	tagPredictor     = 317
	tagColorMap      = 320
	tagExtraSamples  = 338
	tagSampleFormat  = 339
	compressionRLE   = 2
	compressionG3    = 3
	compressionG4    = 4
	compressionLZW   = 5
	compressionOJPEG = 6
	compressionJPEG  = 7
	blackIsZero      = 1 // of tagPhotometric
	maxIFDEntries    = 1000
	maxTagBytes      = 64 << 20
	maxNumbers       = 1 << 17 // of a tag: a page of 30 m at 100 dpi, each line a strip
)

// tiffFile is the page chain of a TIFF, walked before any library sees it.
type tiffFile struct {
	r     io.ReaderAt
	size  int64
	order binary.ByteOrder
	pages []tiffPage
}

// tiffPage is one image file directory.
type tiffPage struct {
	offset  int64
	entries []tiffEntry // in the order of the file
}

type tiffEntry struct {
	tag, kind uint16
	count     uint32
	value     [4]byte // the value or its offset, as in the file
}

var kindSizes = [...]int64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8}

func (e tiffEntry) bytes() int64 {
	if int(e.kind) >= len(kindSizes) {
		return 0
	}
	return kindSizes[e.kind] * int64(e.count)
}

// walkTIFF reads the chain of pages: it stops with an error on a ring, on an
// offset beyond the end, and on more pages than the limit. A chain that ends
// beyond the end of the file is how a cut file shows; the pages before it are
// given together with CodeTruncated.
func walkTIFF(r io.ReaderAt, size int64, lim Limits) (*tiffFile, error) {
	lim = lim.withDefaults()
	var head [8]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, faulty(CodeTruncated, err, "what", "header")
	}
	t := &tiffFile{r: r, size: size}
	switch string(head[:4]) {
	case "II*\x00":
		t.order = binary.LittleEndian
	case "MM\x00*":
		t.order = binary.BigEndian
	case "II+\x00", "MM\x00+":
		return nil, faulty(CodeUnsupported, nil, "type", "BigTIFF")
	default:
		return nil, faulty(CodeDamaged, nil, "what", "header")
	}
	seen := map[int64]bool{}
	next := int64(t.order.Uint32(head[4:]))
	for next != 0 {
		if seen[next] {
			return nil, faulty(CodePageRing, nil, "found", strconv.Itoa(len(t.pages)))
		}
		seen[next] = true
		if len(t.pages) == lim.Pages {
			return nil, faulty(CodeTooManyPages, nil, "limit", strconv.Itoa(lim.Pages))
		}
		p, after, err := t.readPage(next)
		if err != nil {
			e := faulty(CodeTruncated, err, "what", "pages", "found", strconv.Itoa(len(t.pages)))
			e.Page = len(t.pages) + 1
			if len(t.pages) == 0 {
				return nil, e
			}
			return t, e
		}
		t.pages = append(t.pages, p)
		next = after
	}
	if len(t.pages) == 0 {
		return nil, faulty(CodeNoDocument, nil, "what", "pages")
	}
	for i := range t.pages {
		if err := t.checkPage(i, lim); err != nil {
			return t, onPage(err, i+1)
		}
	}
	return t, nil
}

func (t *tiffFile) readPage(off int64) (tiffPage, int64, error) {
	if off < 8 || off+2 > t.size {
		return tiffPage{}, 0, fmt.Errorf("directory at %d of %d bytes", off, t.size)
	}
	var n [4]byte
	if _, err := t.r.ReadAt(n[:2], off); err != nil {
		return tiffPage{}, 0, err
	}
	count := int64(t.order.Uint16(n[:2]))
	if count == 0 || count > maxIFDEntries || off+2+count*12+4 > t.size {
		return tiffPage{}, 0, fmt.Errorf("directory of %d entries at %d", count, off)
	}
	b := make([]byte, count*12+4)
	if _, err := t.r.ReadAt(b, off+2); err != nil {
		return tiffPage{}, 0, err
	}
	p := tiffPage{offset: off}
	for i := range count {
		e := b[i*12:]
		x := tiffEntry{tag: t.order.Uint16(e), kind: t.order.Uint16(e[2:]), count: t.order.Uint32(e[4:])}
		copy(x.value[:], e[8:12])
		p.entries = append(p.entries, x)
	}
	return p, int64(t.order.Uint32(b[count*12:])), nil
}

// raw gives the bytes of an entry's value.
func (t *tiffFile) raw(e tiffEntry) ([]byte, error) {
	n := e.bytes()
	if n <= 4 {
		return e.value[:n], nil
	}
	off := int64(t.order.Uint32(e.value[:]))
	if n > maxTagBytes || off+n > t.size {
		return nil, fmt.Errorf("tag %d of %d bytes at %d", e.tag, n, off)
	}
	b := make([]byte, n)
	_, err := t.r.ReadAt(b, off)
	return b, err
}

func (t *tiffFile) find(p tiffPage, tag uint16) (tiffEntry, bool) {
	for _, e := range p.entries {
		if e.tag == tag {
			return e, true
		}
	}
	return tiffEntry{}, false
}

// uints reads a tag of whole numbers; nil when it is not there, not such, or of
// more numbers than an image has strips.
func (t *tiffFile) uints(p tiffPage, tag uint16) []int64 {
	e, ok := t.find(p, tag)
	if !ok || e.kind != 1 && e.kind != 3 && e.kind != 4 || e.count > maxNumbers {
		return nil
	}
	b, err := t.raw(e)
	if err != nil {
		return nil
	}
	out := make([]int64, e.count)
	for i := range out {
		switch e.kind {
		case 1:
			out[i] = int64(b[i])
		case 3:
			out[i] = int64(t.order.Uint16(b[i*2:]))
		case 4:
			out[i] = int64(t.order.Uint32(b[i*4:]))
		}
	}
	return out
}

func (t *tiffFile) uint(p tiffPage, tag uint16, def int64) int64 {
	if v := t.uints(p, tag); len(v) > 0 {
		return v[0]
	}
	return def
}

// dpi gives the resolution of a page, 0 when it does not say.
func (t *tiffFile) dpi(p tiffPage) float64 {
	e, ok := t.find(p, tagXResolution)
	if !ok || e.kind != 5 || e.count != 1 {
		return 0
	}
	b, err := t.raw(e)
	if err != nil || t.order.Uint32(b[4:]) == 0 {
		return 0
	}
	v := float64(t.order.Uint32(b)) / float64(t.order.Uint32(b[4:]))
	switch t.uint(p, tagResUnit, 2) {
	case 2:
	case 3:
		v *= 2.54
	default:
		return 0
	}
	if v < 20 || v > 4800 {
		return 0
	}
	return v
}

// segments are the places of the image data, strips or tiles.
func (t *tiffFile) segments(p tiffPage) (offsets, counts []int64, tiled bool, err error) {
	offsets, counts = t.uints(p, tagStripOffsets), t.uints(p, tagStripCounts)
	if _, ok := t.find(p, tagTileOffsets); ok {
		tiled = true
		offsets, counts = t.uints(p, tagTileOffsets), t.uints(p, tagTileCounts)
	}
	if len(offsets) == 0 || len(counts) != len(offsets) {
		return nil, nil, tiled, faulty(CodeDamaged, nil, "what", "strips")
	}
	for i, o := range offsets {
		if o < 8 || counts[i] < 0 || o+counts[i] > t.size {
			return nil, nil, tiled, faulty(CodeTruncated, fmt.Errorf("strip of %d bytes at %d of %d", counts[i], o, t.size), "what", "strips")
		}
	}
	return offsets, counts, tiled, nil
}

// checkPage checks sizes before a pixel is decoded.
func (t *tiffFile) checkPage(i int, lim Limits) error {
	p := t.pages[i]
	w, h := t.uint(p, tagWidth, 0), t.uint(p, tagHeight, 0)
	if w <= 0 || h <= 0 {
		return faulty(CodeDamaged, nil, "what", "size")
	}
	if h > lim.Pixels/w {
		return faulty(CodeTooManyPixels, nil, "found", fmt.Sprintf("%d x %d", w, h), "limit", strconv.FormatInt(lim.Pixels, 10))
	}
	if s := t.uint(p, tagSamples, 1); s < 1 || s > 8 {
		return faulty(CodeDamaged, nil, "what", "samples")
	}
	if t.uint(p, tagCompression, 1) == compressionOJPEG {
		return faulty(CodeUnsupported, nil, "type", "TIFF, JPEG 6.0")
	}
	_, _, _, err := t.segments(p)
	return err
}

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

// directory serialises entries with no directory after them.
func (t *tiffFile) directory(entries []tiffEntry) []byte {
	dir := make([]byte, 2+12*len(entries)+4)
	t.order.PutUint16(dir, uint16(len(entries)))
	for i, e := range entries {
		d := dir[2+12*i:]
		t.order.PutUint16(d, e.tag)
		t.order.PutUint16(d[2:], e.kind)
		t.order.PutUint32(d[4:], e.count)
		copy(d[8:12], e.value[:])
	}
	return dir
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

// splitTo writes the given pages (from 0) as a TIFF of their own: directories
// are written anew, strips and tiles are copied unchanged, in the byte order of
// the source. Pointers to further directories (thumbnails, EXIF, GPS) are left
// behind. The same pages give the same bytes.
func (t *tiffFile) splitTo(w io.Writer, pages []int) error {
	type block struct {
		data   []byte // written as it is, or
		off, n int64  // copied from the source
	}
	magic := "II*\x00"
	if t.order == binary.ByteOrder(binary.BigEndian) {
		magic = "MM\x00*"
	}
	head := append([]byte(magic), 0, 0, 0, 0)
	blocks := []block{{data: head}}
	at := int64(8)
	add := func(b block) int64 {
		start := at
		if b.data != nil {
			b.n = int64(len(b.data))
		}
		blocks = append(blocks, b)
		at += b.n
		if at%2 == 1 {
			blocks = append(blocks, block{data: []byte{0}})
			at++
		}
		return start
	}
	link := head[4:8] // where the next directory's offset goes
	for _, n := range pages {
		p := t.pages[n]
		offsets, counts, tiled, err := t.segments(p)
		if err != nil {
			return onPage(err, n+1)
		}
		moved := make([]byte, 4*len(offsets))
		for i, o := range offsets {
			t.order.PutUint32(moved[4*i:], uint32(add(block{off: o, n: counts[i]})))
		}
		var keep []tiffEntry
		for _, e := range p.entries {
			switch {
			case e.tag == tagSubIFDs || e.tag == tagExif || e.tag == tagGPS || e.tag == tagJPEGFormat || e.bytes() == 0:
				continue
			case tiled && (e.tag == tagStripOffsets || e.tag == tagStripCounts):
				continue
			case e.tag == tagStripOffsets || e.tag == tagTileOffsets:
				e.kind, e.count = 4, uint32(len(offsets))
				if len(offsets) == 1 {
					copy(e.value[:], moved)
				} else {
					t.order.PutUint32(e.value[:], uint32(add(block{data: moved})))
				}
			case e.bytes() > 4:
				b, err := t.raw(e)
				if err != nil {
					return onPage(faulty(CodeTruncated, err, "what", "tags"), n+1)
				}
				t.order.PutUint32(e.value[:], uint32(add(block{data: b})))
			}
			keep = append(keep, e)
		}
		dir := t.directory(keep)
		t.order.PutUint32(link, uint32(add(block{data: dir})))
		link = dir[len(dir)-4:]
		if at > math.MaxUint32 {
			return faulty(CodeTooLarge, nil, "limit", "4 GiB")
		}
	}
	for _, b := range blocks {
		var err error
		if b.data != nil {
			_, err = w.Write(b.data)
		} else {
			_, err = io.Copy(w, io.NewSectionReader(t.r, b.off, b.n))
		}
		if err != nil {
			return fmt.Errorf("split: %w", err)
		}
	}
	return nil
}
