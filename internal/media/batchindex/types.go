package batchindex

import (
	"fmt"
	"strings"
	"time"
)

// Code is the stable name of a mistake in an index.
type Code string

// The mistakes.
const (
	// CodeTooLarge: more bytes or documents than allowed.
	CodeTooLarge Code = "index-too-large"
	// CodeEmpty: no document in it.
	CodeEmpty Code = "index-empty"
	// CodeCharset: neither UTF-8 nor CP1252, or another than declared.
	CodeCharset Code = "index-charset"
	// CodeSyntax: not CSV or not well-formed XML.
	CodeSyntax Code = "index-syntax"
	// CodeDoctype: an XML document type declaration, which is not allowed.
	CodeDoctype Code = "index-doctype"
	// CodeDepth: XML nested deeper than 32 levels.
	CodeDepth Code = "index-depth"
	// CodeColumns: header columns missing, unknown or twice.
	CodeColumns Code = "index-columns"
	// CodeField: a field is missing.
	CodeField Code = "index-field"
	// CodeNumber: not a number, or out of range.
	CodeNumber Code = "index-number"
	// CodeDate: not a day of the calendar in the form 2006-01-02 or 02.01.2006.
	CodeDate Code = "index-date"
	// CodeFormula: a field that a spreadsheet would execute.
	CodeFormula Code = "index-formula"
	// CodePath: a file name with a folder, "..", or control characters.
	CodePath Code = "index-path"
	// CodeDigest: SHA256 is not 64 hexadecimal digits.
	CodeDigest Code = "index-digest"
	// CodeDuplicate: the same document number, separator or file twice.
	CodeDuplicate Code = "index-duplicate"
	// CodeBatch: lines of more than one batch, or a batch id that is not one.
	CodeBatch Code = "index-batch"
	// CodeTotal: SeitenGesamt is less than the announced pages.
	CodeTotal Code = "index-total"
	// CodeDisagree: the CSV and the XML of one batch say different things.
	CodeDisagree Code = "index-disagree"
)

// Error is one mistake.
type Error struct {
	Code Code
	// Line counts from 1, 0 when the mistake has no line.
	Line int
	// Field is the column or element, "" when it has none.
	Field string
	// Value is the offending value, cut to 80 characters, controls replaced.
	Value string
	// Err is the cause, or nil.
	Err error
}

// Error tells it in English for the log.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Line > 0 {
		s += fmt.Sprintf(" in line %d", e.Line)
	}
	if e.Field != "" {
		s += " field " + e.Field
	}
	if e.Value != "" {
		s += fmt.Sprintf(" value %q", e.Value)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all mistakes of one index, in the order of the lines, at least one.
type Errors []*Error

// Error joins them.
func (es Errors) Error() string {
	ss := make([]string, len(es))
	for i, e := range es {
		ss[i] = e.Error()
	}
	return strings.Join(ss, "; ")
}

// Unwrap gives the single mistakes.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// Index is what the scan centre announces.
type Index struct {
	// BatchID is the id of the batch: letters, digits, and between them
	// . _ - + ( ) and blanks.
	BatchID string
	// Stream is true when the batch is one file with separator sheets.
	Stream bool
	// File is the stream's file name, "" when the index (CSV) does not name it.
	File string
	// TotalPages counts every page of the stream, separators and backs included;
	// 0 when the index (CSV) does not say.
	TotalPages int
	// Documents are sorted by Number.
	Documents []Document
	// Charset is the one the index was read in: "utf-8" or "windows-1252".
	Charset string
}

// Document is one announced document.
type Document struct {
	// Number is its number in the batch, from 1.
	Number int
	// Separator is the code on its separator sheet; only in a stream.
	Separator string
	// File is its file name without folders; only with one file per document.
	File string
	// Pages is the announced number of pages with content, 0 when not said.
	Pages int
	// Barcode, Type and Operator may be empty.
	Barcode  string
	Type     string
	Operator string
	// Received is the day of receipt at midnight UTC, standing for a local date;
	// the zero time when not said.
	Received time.Time
	// SHA256 is lower-case hexadecimal or empty.
	SHA256 string
	// Line is where it stands in the index.
	Line int
}

// Announced gives the separator codes in the order of the documents.
func (x *Index) Announced() []string {
	out := make([]string, 0, len(x.Documents))
	for _, d := range x.Documents {
		if d.Separator != "" {
			out = append(out, d.Separator)
		}
	}
	return out
}
