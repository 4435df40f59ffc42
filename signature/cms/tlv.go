package cms

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// Limits against hostile input. Real tokens have under 64 KiB, real CRLs up to
// some tens of MiB.
const (
	// MaxSize is the largest SignedData that [Parse] accepts, in bytes.
	MaxSize = 64 << 20
	// maxDepth limits nested indefinite lengths and nested re-encoding.
	maxDepth = 48
	// maxElements limits the members of one set or sequence.
	maxElements = 100_000
)

// ErrMalformed says that bytes are not the ASN.1 structure that was expected.
var ErrMalformed = errors.New("malformed ASN.1")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Tag octets of single-byte identifiers as they stand in the encoding.
const (
	tagBoolean     = 0x01
	tagInteger     = 0x02
	tagBitString   = 0x03
	tagOctetString = 0x04
	tagNull        = 0x05
	tagOID         = 0x06
	tagEnumerated  = 0x0a
	tagSequence    = 0x30
	tagSet         = 0x31
	tagContext0    = 0xa0
	tagContext1    = 0xa1
)

// tlv is one BER element; all slices point into the bytes it was read from.
type tlv struct {
	tag        byte   // identifier octet; high tag numbers are refused
	raw        []byte // identifier, length, contents and end-of-contents
	contents   []byte
	indefinite bool
}

func (t tlv) constructed() bool { return t.tag&0x20 != 0 }

// readTLV reads the first element of b, definite or indefinite.
func readTLV(b []byte) (t tlv, rest []byte, err error) {
	return readTLVDepth(b, 0)
}

func readTLVDepth(b []byte, depth int) (t tlv, rest []byte, err error) {
	if depth > maxDepth {
		return tlv{}, nil, malformed("nested deeper than %d", maxDepth)
	}
	if len(b) < 2 {
		return tlv{}, nil, malformed("truncated element")
	}
	if b[0]&0x1f == 0x1f {
		return tlv{}, nil, malformed("high tag number")
	}
	t.tag = b[0]
	n, header := int(b[1]), 2
	switch {
	case n == 0x80:
		if !t.constructed() {
			return tlv{}, nil, malformed("primitive element of indefinite length")
		}
		t.indefinite = true
		at := b[2:]
		for {
			if len(at) < 2 {
				return tlv{}, nil, malformed("missing end of contents")
			}
			if at[0] == 0 && at[1] == 0 {
				break
			}
			if _, at, err = readTLVDepth(at, depth+1); err != nil {
				return tlv{}, nil, err
			}
		}
		end := len(b) - len(at)
		t.contents, t.raw = b[2:end:end], b[:end+2:end+2]
		return t, at[2:], nil
	case n > 0x80:
		octets := n & 0x7f
		if octets > 4 || len(b) < 2+octets {
			return tlv{}, nil, malformed("length of %d octets", octets)
		}
		n = 0
		for _, c := range b[2 : 2+octets] {
			n = n<<8 | int(c)
		}
		header += octets
	}
	if n < 0 || n > len(b)-header {
		return tlv{}, nil, malformed("length %d beyond the end", n)
	}
	end := header + n
	t.contents, t.raw = b[header:end:end], b[:end:end]
	return t, b[end:], nil
}

// readTag reads one element that must have the tag.
func readTag(b []byte, tag byte) (t tlv, rest []byte, err error) {
	t, rest, err = readTLV(b)
	if err != nil {
		return tlv{}, nil, err
	}
	if t.tag != tag {
		return tlv{}, nil, malformed("tag %#02x instead of %#02x", t.tag, tag)
	}
	return t, rest, nil
}

// readOptional reads one element if it has the tag.
func readOptional(b []byte, tag byte) (t tlv, ok bool, rest []byte, err error) {
	if len(b) == 0 || b[0] != tag {
		return tlv{}, false, b, nil
	}
	t, rest, err = readTLV(b)
	return t, err == nil, rest, err
}

// readWhole reads one element with this tag and nothing behind it.
func readWhole(b []byte, tag byte) (tlv, error) {
	t, rest, err := readTag(b, tag)
	if err != nil {
		return tlv{}, err
	}
	if len(rest) != 0 {
		return tlv{}, malformed("%d bytes behind the element", len(rest))
	}
	return t, nil
}

// members splits the contents of a constructed element.
func (t tlv) members() ([]tlv, error) {
	var out []tlv
	for b := t.contents; len(b) > 0; {
		m, rest, err := readTLV(b)
		if err != nil {
			return nil, err
		}
		if len(out) == maxElements {
			return nil, malformed("more than %d members", maxElements)
		}
		out, b = append(out, m), rest
	}
	return out, nil
}

// octets returns the value of an OCTET STRING, joined when constructed. The tag
// may be an implicit one; the primitive case copies nothing.
func (t tlv) octets() ([]byte, error) { return t.octetsDepth(0) }

func (t tlv) octetsDepth(depth int) ([]byte, error) {
	if !t.constructed() {
		return t.contents, nil
	}
	if depth > maxDepth {
		return nil, malformed("octet string nested deeper than %d", maxDepth)
	}
	parts, err := t.members()
	if err != nil {
		return nil, err
	}
	out := []byte{}
	for _, p := range parts {
		if p.tag&^0x20 != tagOctetString {
			return nil, malformed("tag %#02x inside an octet string", p.tag)
		}
		v, err := p.octetsDepth(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v...)
	}
	return out, nil
}

// oid decodes an OBJECT IDENTIFIER element.
func (t tlv) oid() (asn1.ObjectIdentifier, error) {
	if t.tag != tagOID {
		return nil, malformed("tag %#02x instead of an object identifier", t.tag)
	}
	return decodeOID(t.contents)
}

func decodeOID(c []byte) (asn1.ObjectIdentifier, error) {
	if len(c) == 0 || len(c) > 64 || c[len(c)-1]&0x80 != 0 {
		return nil, malformed("object identifier")
	}
	out := make(asn1.ObjectIdentifier, 0, len(c)+1)
	v := 0
	for _, o := range c {
		if v == 0 && o == 0x80 {
			return nil, malformed("object identifier with leading zeros")
		}
		if v > 1<<31>>7 {
			return nil, malformed("object identifier with an arc above 2^31")
		}
		v = v<<7 | int(o&0x7f)
		if o&0x80 != 0 {
			continue
		}
		if len(out) == 0 {
			first := min(v/40, 2)
			out = append(out, first, v-40*first)
		} else {
			out = append(out, v)
		}
		v = 0
	}
	return out, nil
}

// IsDER reports whether b is exactly one element in distinguished encoding as far
// as lengths go: definite, minimal, strings not split, recursively, and sets of
// sets in order where tag 0x31 marks them (X.690 sections 10 and 11). RFC 4998
// section 5.2 hashes DER, so a client checks a new token with it.
func IsDER(b []byte) bool {
	t, rest, err := readTLV(b)
	return err == nil && len(rest) == 0 && derElement(t, 0)
}

func derElement(t tlv, depth int) bool {
	if depth > maxDepth || t.indefinite {
		return false
	}
	if headerLen := len(t.raw) - len(t.contents); headerLen != 1+lengthSize(len(t.contents)) {
		return false
	}
	universal := t.tag&0xc0 == 0
	if !t.constructed() {
		switch {
		case universal && t.tag == tagBoolean:
			return len(t.contents) == 1 && (t.contents[0] == 0 || t.contents[0] == 0xff)
		case universal && (t.tag == tagInteger || t.tag == tagEnumerated):
			c := t.contents
			if len(c) == 0 {
				return false
			}
			return len(c) == 1 || !(c[0] == 0 && c[1] < 0x80 || c[0] == 0xff && c[1] >= 0x80)
		case universal && (t.tag == tagSequence&0x1f || t.tag == tagSet&0x1f):
			return false
		}
		return true
	}
	if universal && t.tag != tagSequence && t.tag != tagSet && t.tag != 0x28 && t.tag != 0x2b {
		return false // a constructed string
	}
	var last []byte
	n := 0
	for b := t.contents; len(b) > 0; n++ {
		m, rest, err := readTLV(b)
		if err != nil || n >= maxElements || !derElement(m, depth+1) {
			return false
		}
		if t.tag == tagSet && last != nil && bytes.Compare(last, m.raw) > 0 {
			return false
		}
		last, b = m.raw, rest
	}
	return true
}

// ToDER re-encodes one BER element with definite minimal lengths, joined strings
// and sets in order. Bytes inside primitive elements stay. It is the one
// re-encoding that is ever done to a token, before it is kept (evidence rule:
// what was kept is never re-encoded). Errors wrap [ErrMalformed].
func ToDER(b []byte) ([]byte, error) {
	t, rest, err := readTLV(b)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, malformed("%d bytes behind the element", len(rest))
	}
	return toDER(t, 0)
}

func toDER(t tlv, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, malformed("nested deeper than %d", maxDepth)
	}
	if !t.constructed() {
		return encodeTLV(t.tag, t.contents), nil
	}
	if t.tag == tagOctetString|0x20 {
		v, err := t.octets()
		if err != nil {
			return nil, err
		}
		return encodeTLV(tagOctetString, v), nil
	}
	parts, err := t.members()
	if err != nil {
		return nil, err
	}
	encoded := make([][]byte, len(parts))
	for i, p := range parts {
		if encoded[i], err = toDER(p, depth+1); err != nil {
			return nil, err
		}
	}
	if t.tag == tagSet {
		slices.SortStableFunc(encoded, bytes.Compare)
	}
	return encodeTLV(t.tag, encoded...), nil
}

func lengthSize(n int) int {
	switch {
	case n < 0x80:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	case n < 1<<24:
		return 4
	default:
		return 5
	}
}

// encodeTLV writes one definite element from the joined parts.
func encodeTLV(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := make([]byte, 0, 1+lengthSize(n)+n)
	out = append(out, tag)
	switch size := lengthSize(n); size {
	case 1:
		out = append(out, byte(n))
	default:
		out = append(out, 0x80|byte(size-1))
		for i := size - 2; i >= 0; i-- {
			out = append(out, byte(n>>(8*i)))
		}
	}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// encodeSet writes a SET OF in DER order under the given tag.
func encodeSet(tag byte, members [][]byte) []byte {
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, bytes.Compare)
	return encodeTLV(tag, sorted...)
}

func encodeOID(oid asn1.ObjectIdentifier) []byte {
	b, err := asn1.Marshal(oid)
	if err != nil {
		// Only constants of this package and identifiers read by decodeOID get here.
		panic("cms: object identifier " + oid.String() + ": " + err.Error())
	}
	return b
}
