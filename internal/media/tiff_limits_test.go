package media

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// tiffOf is a TIFF of one page without image data; kind and count are those of
// its width.
func tiffOf(kind uint16, count uint32) []byte {
	b := []byte("II*\x00\x08\x00\x00\x00")
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, tagWidth)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint32(b, count)
	b = binary.LittleEndian.AppendUint32(b, 8) // where the value lies
	return binary.LittleEndian.AppendUint32(b, 0)
}

// A few bytes must not make the program ask for gigabytes.
func TestATagIsNotTakenAtItsWord(t *testing.T) {
	for _, kind := range []uint16{0, 1, 2, 3, 4, 5, 12, 13, 255, 65535} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		file := tiffOf(kind, 200_000_000)
		_, err := walkTIFF(bytes.NewReader(file), int64(len(file)), Limits{})
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("kind %d: taken", kind)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("kind %d: %d bytes", kind, used)
		}
	}
}

func FuzzWalkTIFF(f *testing.F) {
	f.Add(tiffOf(4, 1))
	f.Add(tiffOf(13, 0xffffffff))
	found, _ := filepath.Glob(filepath.Join("..", "..", "testdata", "*", "*.tif*"))
	for _, name := range found {
		if b, err := os.ReadFile(name); err == nil && len(b) < 1<<20 {
			f.Add(b)
		}
	}
	lim := Limits{Pages: 20, Pixels: 1 << 16}
	f.Fuzz(func(_ *testing.T, b []byte) {
		doc, err := walkTIFF(bytes.NewReader(b), int64(len(b)), lim)
		if err != nil {
			return
		}
		for i := range doc.pages {
			_ = doc.dpi(doc.pages[i])
			_, _ = doc.decode(i)
		}
	})
}
