package media_test

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/sharedtest"
)

// The same fax data is the negative when the photometric tag says so; scanners
// and libraries write both.
func TestFaxTIFFThatIsBlackByZeroIsReadAsThatAndNotAsANegative(t *testing.T) {
	e := mediatest.Engine(t)
	part := split(t, e, media.Source{Path: filepath.Join(mediatest.Batches(), "dev-b.tif"), Kind: media.KindTIFF}, []int{3})[0]
	gray := func(name string, b []byte) []byte {
		path := filepath.Join(t.TempDir(), name)
		sharedtest.Must(t, os.WriteFile(path, b, 0o600))
		r, err := e.Page(context.Background(), media.Source{Path: path, Kind: media.KindTIFF}, 1, 0)
		sharedtest.Must(t, err)
		return r.Gray.Pix
	}
	plain := gray("white-is-zero.tif", part)
	order := binary.ByteOrder(binary.LittleEndian)
	if part[0] == 'M' {
		order = binary.BigEndian
	}
	dir := order.Uint32(part[4:])
	patched := false
	for i := range uint32(order.Uint16(part[dir:])) {
		if entry := part[dir+2+12*i:]; order.Uint16(entry) == 262 {
			if order.Uint16(entry[8:]) != 0 {
				t.Fatal("the sample is not WhiteIsZero")
			}
			order.PutUint16(entry[8:], 1)
			patched = true
		}
	}
	if !patched {
		t.Fatal("no photometric tag")
	}
	negative := gray("black-is-zero.tif", part)
	if len(plain) != len(negative) {
		t.Fatalf("%d and %d pixels", len(plain), len(negative))
	}
	for i := range plain {
		if plain[i]+negative[i] != 255 {
			t.Fatalf("pixel %d: %d and %d", i, plain[i], negative[i])
		}
	}
}
