package xmldoc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"

	"golang.org/x/text/encoding/charmap"
)

// decode gives the text of a document, whatever it is encoded in (XML 1.0,
// appendix F: byte order mark first, then the declaration, else UTF-8).
func decode(b []byte) (string, error) {
	declared := declaredEncoding(b)
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		if declared = declaredEncoding(b[3:]); declared != "" && declared != "utf-8" {
			return "", fmt.Errorf("%w: UTF-8 mark, but %q declared", ErrEncoding, declared)
		}
		return checked(b[3:])
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return wide(b[2:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return wide(b[2:], binary.BigEndian)
	case bytes.HasPrefix(b, []byte("<\x00?\x00")):
		return wide(b, binary.LittleEndian)
	case bytes.HasPrefix(b, []byte("\x00<\x00?")):
		return wide(b, binary.BigEndian)
	}
	switch declared {
	case "", "utf-8", "utf8":
		return checked(b)
	case "us-ascii", "ascii":
		for _, c := range b {
			if c > 0x7F {
				return "", fmt.Errorf("%w: not US-ASCII", ErrEncoding)
			}
		}
		return checked(b)
	}
	for _, m := range []struct {
		names string
		from  *charmap.Charmap
	}{
		{"iso-8859-1 latin1 iso_8859-1", charmap.ISO8859_1},
		{"iso-8859-15 latin-9 iso_8859-15", charmap.ISO8859_15},
		{"windows-1252 cp1252", charmap.Windows1252},
	} {
		for _, name := range strings.Fields(m.names) {
			if name == declared {
				text, err := m.from.NewDecoder().Bytes(b)
				if err != nil {
					return "", fmt.Errorf("%w: %v", ErrEncoding, err)
				}
				return checked(text)
			}
		}
	}
	return "", fmt.Errorf("%w: %q", ErrEncoding, declared)
}

// wide decodes UTF-16.
func wide(b []byte, order binary.ByteOrder) (string, error) {
	if len(b)%2 != 0 {
		return "", fmt.Errorf("%w: odd number of bytes in UTF-16", ErrEncoding)
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	for i := 0; i < len(units); i++ {
		if !utf16.IsSurrogate(rune(units[i])) {
			continue
		}
		if i+1 == len(units) || utf16.DecodeRune(rune(units[i]), rune(units[i+1])) == '\uFFFD' {
			return "", fmt.Errorf("%w: half a pair in UTF-16", ErrEncoding)
		}
		i++
	}
	return checked([]byte(string(utf16.Decode(units))))
}

// declaredEncoding is the encoding of the XML declaration in lower case, "" where
// there is none.
func declaredEncoding(b []byte) string {
	if !bytes.HasPrefix(b, []byte("<?xml")) {
		return ""
	}
	head, _, found := bytes.Cut(b[:min(len(b), 256)], []byte("?>"))
	if !found {
		return ""
	}
	_, after, found := strings.Cut(string(head), "encoding")
	if !found {
		return ""
	}
	after = strings.TrimLeft(after, " \t\r\n=")
	if after == "" || after[0] != '"' && after[0] != '\'' {
		return ""
	}
	name, _, _ := strings.Cut(after[1:], after[:1])
	return strings.ToLower(name)
}
