package media

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
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
