package cms

import (
	"encoding/asn1"
	"math/big"
	"time"
)

// Element is one ASN.1 element in DER or BER, for the formats next door that are
// read with the same care: TSTInfo, requests, responses. Slices point into the
// bytes it was read from.
type Element struct {
	// Tag is the identifier octet; tag numbers above 30 are not supported.
	Tag byte
	// Raw is the whole element, Contents its value.
	Raw, Contents []byte
	t             tlv
}

// ReadElement reads the first element of b. Errors wrap [ErrMalformed].
func ReadElement(b []byte) (e Element, rest []byte, err error) {
	t, rest, err := readTLV(b)
	return newElement(t), rest, err
}

func newElement(t tlv) Element { return Element{Tag: t.tag, Raw: t.raw, Contents: t.contents, t: t} }

// Members splits the contents of a constructed element.
func (e Element) Members() ([]Element, error) {
	parts, err := e.t.members()
	if err != nil {
		return nil, err
	}
	out := make([]Element, len(parts))
	for i, p := range parts {
		out[i] = newElement(p)
	}
	return out, nil
}

// OID is the value of an OBJECT IDENTIFIER.
func (e Element) OID() (asn1.ObjectIdentifier, error) { return e.t.oid() }

// Time is the value of a UTCTime or GeneralizedTime in UTC.
func (e Element) Time() (time.Time, error) { return e.t.time() }

// Int is the value of an INTEGER or ENUMERATED of at most 64 octets, whatever
// the tag when it is an implicit one.
func (e Element) Int() (*big.Int, error) {
	if e.t.constructed() || len(e.Contents) == 0 || len(e.Contents) > 64 {
		return nil, malformed("integer")
	}
	return signedInt(e.Contents), nil
}

// Algorithm is the value of an AlgorithmIdentifier.
func (e Element) Algorithm() (AlgorithmIdentifier, error) { return parseAlgorithmIdentifier(e.t) }

// Encode writes one element with definite length from the joined parts.
func Encode(tag byte, parts ...[]byte) []byte { return encodeTLV(tag, parts...) }

// EncodeInt writes an INTEGER.
func EncodeInt(v *big.Int) []byte {
	b, err := asn1.Marshal(v)
	if err != nil {
		panic("cms: integer: " + err.Error()) // asn1 refuses no integer
	}
	return b
}

// EncodeOID writes an OBJECT IDENTIFIER; it panics for one that is no identifier.
func EncodeOID(oid asn1.ObjectIdentifier) []byte { return encodeOID(oid) }

// ParseExtensions reads an Extensions sequence element (RFC 5280 section 4.1).
func ParseExtensions(b []byte) ([]Extension, error) { return parseExtensions(b) }
