package web

import (
	"fmt"
	"strconv"
	"strings"

	"evb/internal/fault"
)

// span is a part of a content in bytes.
type span struct{ first, length int64 }

func (p span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", p.first, p.first+p.length-1, size)
}

// rangeAsked reads a Range header (RFC 9110 section 14.2). ok is false where
// all of the content is the answer: without the header, for several ranges at
// once, and for what is no range of bytes, which a server ignores. A range that
// begins behind the end is the fault range-not-there.
func rangeAsked(header string, size int64) (p span, ok bool, err error) {
	unit, set, found := strings.Cut(header, "=")
	first, last, dash := strings.Cut(strings.TrimSpace(set), "-")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || !dash {
		return p, false, nil
	}
	from, fromOK := position(first)
	to, toOK := position(last)
	switch {
	case first == "" && toOK: // the last bytes
		p.length = min(to, size)
		p.first = size - p.length
	case fromOK && last == "":
		p.first, p.length = from, size-from
	case fromOK && toOK && from <= to:
		p.first, p.length = from, min(to, size-1)-from+1
	default:
		return p, false, nil
	}
	if p.length <= 0 {
		return p, false, fault.New("range-not-there", "size", size)
	}
	return p, true, nil
}

// position is a number of digits alone; one beyond all sizes counts as the
// largest.
func position(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 2, true
	}
	return n, true
}
