package batchindex

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Limits of an index.
const (
	// MaxBytes is the largest index.
	MaxBytes = 20 << 20
	// MaxDocuments is the most documents of one batch.
	MaxDocuments = 100_000
	// MaxPages is the most pages one document may announce.
	MaxPages = 100_000

	maxDepth  = 32
	maxErrors = 50
	maxField  = 1000
)

var (
	batchIDForm = regexp.MustCompile(`^[\p{L}\p{N}](?:[\p{L}\p{M}\p{N} ._+()-]{0,98}[\p{L}\p{M}\p{N}._+()-])?$`)
	digestForm  = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
)

// Read reads an index by the ending of its name: .xml, else CSV. The name is
// used for nothing else. Safe for concurrent use, as everything here.
func Read(name string, r io.Reader) (*Index, error) {
	if strings.HasSuffix(strings.ToLower(name), ".xml") {
		return ReadXML(r)
	}
	return ReadCSV(r)
}

// limited reads at most MaxBytes and says so when there is more.
func limited(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read batch index: %w", err)
	}
	if len(b) > MaxBytes {
		return nil, Errors{{Code: CodeTooLarge}}
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, Errors{{Code: CodeEmpty}}
	}
	return b, nil
}

// decode turns the bytes into UTF-8. UTF-8 wins when it is valid, because a
// CP1252 text with umlauts practically never is; CP1252 is refused where it has
// one of its five undefined bytes or control characters, so UTF-16 and binary
// files end here and not as rubbish in names.
func decode(b []byte) ([]byte, string, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if utf8.Valid(b) {
		if i := controlAt(b); i >= 0 {
			return nil, "", Errors{{Code: CodeCharset, Line: lineAt(b, i)}}
		}
		return b, "utf-8", nil
	}
	for i, c := range b {
		switch {
		case c == 0x81, c == 0x8d, c == 0x8f, c == 0x90, c == 0x9d:
			return nil, "", Errors{{Code: CodeCharset, Line: lineAt(b, i)}}
		}
	}
	if i := controlAt(b); i >= 0 {
		return nil, "", Errors{{Code: CodeCharset, Line: lineAt(b, i)}}
	}
	// A text that has sound UTF-8 sequences and broken ones is a damaged UTF-8
	// file; reading it as CP1252 would turn every umlaut into two characters.
	if sound, broken := sequences(b); sound > broken {
		return nil, "", Errors{{Code: CodeCharset, Line: lineAt(b, firstBroken(b))}}
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return nil, "", Errors{{Code: CodeCharset, Err: err}}
	}
	return out, "windows-1252", nil
}

func controlAt(b []byte) int {
	return bytes.IndexFunc(b, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7f
	})
}

func sequences(b []byte) (sound, broken int) {
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			b = b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			broken++
		} else {
			sound++
		}
		b = b[n:]
	}
	return sound, broken
}

func firstBroken(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return 0
}

func lineAt(b []byte, i int) int { return 1 + bytes.Count(b[:i], []byte("\n")) }

// collector keeps the mistakes of one index up to a limit.
type collector struct{ errs Errors }

func (c *collector) add(code Code, line int, field, value string, err error) {
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, &Error{Code: code, Line: line, Field: field, Value: printable(value), Err: err})
	}
}

func (c *collector) err() error {
	if len(c.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(c.errs, func(a, b *Error) int { return a.Line - b.Line })
	return c.errs
}

// printable makes a foreign value fit for a message.
func printable(s string) string {
	out := make([]rune, 0, 80)
	for _, r := range s {
		if len(out) == 80 {
			break
		}
		if !unicode.IsPrint(r) {
			r = '·'
		}
		out = append(out, r)
	}
	return string(out)
}

// text checks what holds for every field: bounded, nothing a spreadsheet runs,
// nothing that turns the direction of a line.
func (c *collector) text(line int, field, v string) string {
	v = strings.TrimSpace(v)
	if utf8.RuneCountInString(v) > maxField {
		c.add(CodeField, line, field, v, errors.New("longer than 1,000 characters"))
		return ""
	}
	if v != "" && strings.ContainsRune("=+@-\t", rune(v[0])) {
		if _, err := strconv.Atoi(v); err != nil {
			c.add(CodeFormula, line, field, v, nil)
			return ""
		}
	}
	if strings.ContainsFunc(v, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	}) {
		c.add(CodeField, line, field, v, errors.New("control or direction characters"))
		return ""
	}
	return v
}

// number reads a whole number from lo to hi.
func (c *collector) number(line int, field, v string, lo, hi int) int {
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		c.add(CodeNumber, line, field, v, nil)
		return 0
	}
	return n
}

// date reads a day of the calendar; 31 February is none.
func (c *collector) date(line int, field, v string) time.Time {
	if v == "" {
		return time.Time{}
	}
	for _, form := range []string{"2006-01-02", "02.01.2006", "2.1.2006", "20060102"} {
		t, err := time.Parse(form, v)
		if err == nil && t.Year() >= 1900 && t.Year() < 2200 {
			return t
		}
	}
	c.add(CodeDate, line, field, v, nil)
	return time.Time{}
}

// file checks that a name is only a name, as the hand-over of the file will
// (media.CleanName): invisible characters and overlong names are found here.
func (c *collector) file(line int, field, v string) string {
	if v == "" {
		return ""
	}
	if v == "." || v == ".." || strings.HasPrefix(v, ".") || strings.ContainsAny(v, `/\:`) ||
		strings.Contains(v, "..") || len(v) > 255 || utf8.RuneCountInString(v) > 150 ||
		strings.ContainsFunc(v, func(r rune) bool { return unicode.Is(unicode.Cf, r) }) {
		c.add(CodePath, line, field, v, nil)
		return ""
	}
	return v
}

// record is one line or element before it is checked.
type record struct {
	line   int
	fields map[string]string
}

func (r record) get(name string) string { return r.fields[name] }

// document checks one record. The stream form has Trennblatt, the other Datei.
func (c *collector) document(r record, stream bool) Document {
	d := Document{Line: r.line}
	get := func(name string) string { return c.text(r.line, name, r.get(name)) }
	if v := get("Dokument"); v != "" {
		d.Number = c.number(r.line, "Dokument", v, 1, MaxDocuments)
	} else if !c.has(r.line, "Dokument") {
		c.add(CodeField, r.line, "Dokument", "", errors.New("missing"))
	}
	if v := get("Seiten"); v != "" {
		d.Pages = c.number(r.line, "Seiten", v, 1, MaxPages)
	} else if !c.has(r.line, "Seiten") {
		c.add(CodeField, r.line, "Seiten", "", errors.New("missing"))
	}
	d.Received = c.date(r.line, "Eingangsdatum", get("Eingangsdatum"))
	if stream {
		d.Separator = get("Trennblatt")
		if d.Separator == "" && !c.has(r.line, "Trennblatt") {
			c.add(CodeField, r.line, "Trennblatt", "", errors.New("missing"))
		}
		return d
	}
	d.File = c.file(r.line, "Datei", get("Datei"))
	if d.File == "" && !c.has(r.line, "Datei") {
		c.add(CodeField, r.line, "Datei", "", errors.New("missing"))
	}
	d.Barcode = get("Barcode")
	d.Type = get("Dokumentart")
	d.Operator = get("Operator")
	if v := get("SHA256"); v != "" {
		if digestForm.MatchString(v) {
			d.SHA256 = strings.ToLower(v)
		} else {
			c.add(CodeDigest, r.line, "SHA256", v, nil)
		}
	}
	return d
}

// has reports whether that field already has a mistake, so that one cause gives
// one message.
func (c *collector) has(line int, field string) bool {
	return slices.ContainsFunc(c.errs, func(e *Error) bool { return e.Line == line && e.Field == field })
}

// finish checks what holds between the documents and sorts them.
func (c *collector) finish(x *Index) (*Index, error) {
	switch {
	case len(x.Documents) > 0 && (!batchIDForm.MatchString(x.BatchID) || strings.Contains(x.BatchID, "..")):
		c.add(CodeBatch, 0, "Stapel", x.BatchID, nil)
	case len(x.Documents) == 0 && len(c.errs) == 0:
		c.add(CodeEmpty, 0, "", "", nil)
	}
	numbers, separators, files := map[int]bool{}, map[string]bool{}, map[string]bool{}
	pages := 0
	for _, d := range x.Documents {
		pages += d.Pages
		if d.Number != 0 && numbers[d.Number] {
			c.add(CodeDuplicate, d.Line, "Dokument", strconv.Itoa(d.Number), nil)
		}
		if d.Separator != "" && separators[d.Separator] {
			c.add(CodeDuplicate, d.Line, "Trennblatt", d.Separator, nil)
		}
		// Names that differ only in case meet in one file on some systems.
		if f := strings.ToLower(d.File); f != "" && files[f] {
			c.add(CodeDuplicate, d.Line, "Datei", d.File, nil)
		} else {
			files[f] = true
		}
		numbers[d.Number], separators[d.Separator] = true, true
	}
	if x.Stream && x.TotalPages > 0 && x.TotalPages < pages {
		c.add(CodeTotal, 0, "SeitenGesamt", strconv.Itoa(x.TotalPages), fmt.Errorf("documents announce %d", pages))
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	slices.SortFunc(x.Documents, func(a, b Document) int { return a.Number - b.Number })
	return x, nil
}

// Agree reports in which documents the CSV and the XML of one batch differ. What
// one of them does not say (file and total of the stream in a CSV, an empty
// optional field) is no difference. On success the XML is the one to use.
func Agree(csv, xml *Index) error {
	var c collector
	if csv.BatchID != xml.BatchID {
		c.add(CodeDisagree, 0, "Stapel", csv.BatchID+" / "+xml.BatchID, nil)
	}
	if csv.Stream != xml.Stream {
		c.add(CodeDisagree, 0, "Trennblatt", "", errors.New("one is a stream, the other is not"))
		return c.err()
	}
	byNumber := map[int]Document{}
	for _, d := range csv.Documents {
		byNumber[d.Number] = d
	}
	for _, d := range xml.Documents {
		o, ok := byNumber[d.Number]
		if !ok {
			c.add(CodeDisagree, d.Line, "Dokument", strconv.Itoa(d.Number), errors.New("only in the XML"))
			continue
		}
		delete(byNumber, d.Number)
		differ := func(field, a, b string) {
			if a != "" && b != "" && a != b {
				c.add(CodeDisagree, o.Line, field, a+" / "+b, nil)
			}
		}
		if o.Pages != d.Pages {
			c.add(CodeDisagree, o.Line, "Seiten", fmt.Sprintf("%d / %d", o.Pages, d.Pages), nil)
		}
		differ("Trennblatt", o.Separator, d.Separator)
		differ("Datei", o.File, d.File)
		differ("Barcode", o.Barcode, d.Barcode)
		differ("Dokumentart", o.Type, d.Type)
		differ("Operator", o.Operator, d.Operator)
		differ("SHA256", o.SHA256, d.SHA256)
		if !o.Received.IsZero() && !d.Received.IsZero() && !o.Received.Equal(d.Received) {
			differ("Eingangsdatum", o.Received.Format(time.DateOnly), d.Received.Format(time.DateOnly))
		}
	}
	for n, d := range byNumber {
		c.add(CodeDisagree, d.Line, "Dokument", strconv.Itoa(n), errors.New("only in the CSV"))
	}
	return c.err()
}
