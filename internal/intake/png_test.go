package intake_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
)

// picture is a valid PNG of about size bytes, cheap to look at: a small image
// and a block of private data that makes it another content for each seed.
func picture(seed uint64, size int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 32, 32))); err != nil {
		panic(err)
	}
	const head = 8 + 25 // signature and IHDR
	data := make([]byte, max(16, size-b.Len()-12))
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := 0; i+8 <= len(data); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(data[i:], x)
	}
	chunk := make([]byte, 0, len(data)+12)
	chunk = binary.BigEndian.AppendUint32(chunk, uint32(len(data)))
	chunk = append(append(chunk, "evBx"...), data...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return append(append(append([]byte{}, b.Bytes()[:head]...), chunk...), b.Bytes()[head:]...)
}
