package tsp

import (
	"fmt"
	"math/big"
	"time"

	"evb/signature/cms"
)

// Encode writes the TSTInfo in DER, for authorities. RawImprint stands for
// Imprint when it is set. GenTime is cut to whole seconds, Accuracy to
// milliseconds; extensions are not written.
func (i *Info) Encode() ([]byte, error) {
	if i.Policy == nil || i.Serial == nil || i.Serial.Sign() <= 0 || i.Imprint.IsZero() || i.GenTime.IsZero() {
		return nil, fmt.Errorf("%w: TSTInfo without policy, serial number, imprint or time", cms.ErrBuild)
	}
	imprint := i.RawImprint
	if imprint == nil {
		imprint = encodeImprint(i.Imprint)
	}
	parts := [][]byte{
		{0x02, 1, 1}, cms.EncodeOID(i.Policy), imprint, cms.EncodeInt(i.Serial),
		cms.Encode(0x18, []byte(i.GenTime.UTC().Format("20060102150405Z"))),
	}
	if i.HasAccuracy {
		parts = append(parts, encodeAccuracy(i.Accuracy))
	}
	if i.Ordering {
		parts = append(parts, []byte{0x01, 1, 0xff})
	}
	if i.Nonce != nil {
		parts = append(parts, cms.EncodeInt(i.Nonce))
	}
	if i.TSA != nil {
		parts = append(parts, cms.Encode(0xa0, i.TSA))
	}
	return cms.Encode(0x30, parts...), nil
}

// encodeAccuracy writes seconds and [0] millis, each only when it is not 0.
func encodeAccuracy(d time.Duration) []byte {
	var parts [][]byte
	if s := d / time.Second; s > 0 {
		parts = append(parts, cms.EncodeInt(big.NewInt(int64(s))))
	}
	if ms := d % time.Second / time.Millisecond; ms > 0 {
		n := cms.EncodeInt(big.NewInt(int64(ms)))
		n[0] = 0x80
		parts = append(parts, n)
	}
	return cms.Encode(0x30, parts...)
}
