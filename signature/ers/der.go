package ers

import (
	"errors"
	"fmt"
)

// maxDepth limits the nesting of what is inside a token.
const maxDepth = 48

// Tags used in records.
const (
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagSequence    = 0x30
	tagSet         = 0x31
	tagContext0    = 0xa0
	tagContext1    = 0xa1
	tagContext2    = 0xa2
)

var (
	errTruncated  = errors.New("truncated")
	errNotDER     = errors.New("length is not encoded in DER")
	errIndefinite = errors.New("indefinite length")
	errTag        = errors.New("unexpected tag")
	errDepth      = errors.New("nested too deeply")
	errLongTag    = errors.New("tag number too large")
)

// tlv is one element: raw is all of it, body its content. For an indefinite
// length raw includes the end-of-contents octets and body does not.
type tlv struct {
	tag        byte
	raw, body  []byte
	indefinite bool
	long       bool // the length has more octets than needed
}

// readTLV reads the element at the start of b and returns what follows it. It
// accepts BER; the callers refuse what they do not want. Tag numbers above 30 do
// not occur in records or tokens and are refused.
func readTLV(b []byte, depth int) (t tlv, rest []byte, err error) {
	if depth > maxDepth {
		return tlv{}, nil, errDepth
	}
	if len(b) < 2 {
		return tlv{}, nil, errTruncated
	}
	t.tag = b[0]
	if t.tag&0x1f == 0x1f {
		return tlv{}, nil, errLongTag
	}
	length, head := int(b[1]), 2
	switch {
	case length == 0x80:
		return readIndefinite(b, t, depth)
	case length > 0x80:
		n := length & 0x7f
		if n > 4 {
			return tlv{}, nil, fmt.Errorf("length of %d octets", n)
		}
		if len(b) < 2+n {
			return tlv{}, nil, errTruncated
		}
		length = 0
		for _, c := range b[2 : 2+n] {
			length = length<<8 | int(c)
		}
		t.long = length < 0x80 || b[2] == 0
		head += n
	}
	if length < 0 || length > len(b)-head {
		return tlv{}, nil, errTruncated
	}
	t.raw, t.body = b[:head+length], b[head:head+length]
	return t, b[head+length:], nil
}

func readIndefinite(b []byte, t tlv, depth int) (tlv, []byte, error) {
	if t.tag&0x20 == 0 {
		return tlv{}, nil, fmt.Errorf("primitive element: %w", errIndefinite)
	}
	t.indefinite = true
	rest := b[2:]
	for {
		if len(rest) >= 2 && rest[0] == 0 && rest[1] == 0 {
			t.body = b[2 : len(b)-len(rest)]
			t.raw = b[:len(b)-len(rest)+2]
			return t, rest[2:], nil
		}
		var err error
		if _, rest, err = readTLV(rest, depth+1); err != nil {
			return tlv{}, nil, err
		}
	}
}

// readDER is readTLV for the parts of a record that are hashed on renewal and
// therefore must be DER: definite, shortest length, the wanted tag.
func readDER(b []byte, tag byte) (body, raw, rest []byte, err error) {
	t, rest, err := readTLV(b, 0)
	switch {
	case err != nil:
		return nil, nil, nil, err
	case t.indefinite:
		return nil, nil, nil, errIndefinite
	case t.long:
		return nil, nil, nil, errNotDER
	case t.tag != tag:
		return nil, nil, nil, fmt.Errorf("%w %#02x, not %#02x", errTag, t.tag, tag)
	}
	return t.body, t.raw, rest, nil
}

// appendTLV writes an element in DER.
func appendTLV(dst []byte, tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	dst = appendHeader(dst, tag, n)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}

func appendHeader(dst []byte, tag byte, n int) []byte {
	dst = append(dst, tag)
	switch {
	case n < 0x80:
		return append(dst, byte(n))
	case n < 1<<8:
		return append(dst, 0x81, byte(n))
	case n < 1<<16:
		return append(dst, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		return append(dst, 0x83, byte(n>>16), byte(n>>8), byte(n))
	default:
		return append(dst, 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}

// headerLen is the number of octets of tag and length for n octets of content.
func headerLen(n int) int {
	switch {
	case n < 0x80:
		return 2
	case n < 1<<8:
		return 3
	case n < 1<<16:
		return 4
	case n < 1<<24:
		return 5
	default:
		return 6
	}
}
