package batchindex

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
)

var columns = []string{
	"Stapel", "Dokument", "Trennblatt", "Datei", "Seiten", "Barcode",
	"Dokumentart", "Eingangsdatum", "Operator", "SHA256",
}

// ReadCSV reads the CSV form: a header line, `;` or `,` between fields, quotes
// as in RFC 4180, UTF-8 (with or without mark) or CP1252. Columns may stand in
// any order; Stapel, Dokument, Seiten and either Trennblatt or Datei must be
// there. The error is Errors, or an error of r.
func ReadCSV(r io.Reader) (*Index, error) {
	raw, err := limited(r)
	if err != nil {
		return nil, err
	}
	b, charset, err := decode(raw)
	if err != nil {
		return nil, err
	}
	cr := csv.NewReader(bytes.NewReader(b))
	cr.Comma = comma(b)
	cr.FieldsPerRecord = -1
	cr.ReuseRecord = true
	head, err := cr.Read()
	if err != nil {
		return nil, syntax(err, 1)
	}
	var c collector
	names := make([]string, len(head))
	for i, h := range head {
		h = strings.TrimSpace(h)
		at := slices.IndexFunc(columns, func(k string) bool { return strings.EqualFold(k, h) })
		if at < 0 {
			c.add(CodeColumns, 1, h, h, errors.New("unknown column"))
			continue
		}
		if slices.Contains(names, columns[at]) {
			c.add(CodeColumns, 1, h, h, errors.New("column twice"))
		}
		names[i] = columns[at]
	}
	stream := slices.Contains(names, "Trennblatt")
	if stream == slices.Contains(names, "Datei") {
		c.add(CodeColumns, 1, "Trennblatt", "", errors.New("one of Trennblatt and Datei is needed"))
	}
	for _, must := range []string{"Stapel", "Dokument", "Seiten"} {
		if !slices.Contains(names, must) {
			c.add(CodeColumns, 1, must, "", errors.New("missing column"))
		}
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	x := &Index{Stream: stream, Charset: charset}
	for {
		row, err := cr.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.errs = append(c.errs, syntax(err, 0)...)
			return nil, c.err()
		}
		line, _ := cr.FieldPos(0)
		if len(row) == 1 && strings.TrimSpace(row[0]) == "" {
			continue
		}
		if len(row) != len(names) {
			c.add(CodeSyntax, line, "", "", errors.New("another number of fields than the header"))
			continue
		}
		if len(x.Documents) == MaxDocuments {
			c.add(CodeTooLarge, line, "", "", nil)
			return nil, c.err()
		}
		rec := record{line: line, fields: make(map[string]string, len(row))}
		for i, v := range row {
			rec.fields[names[i]] = v
		}
		id := c.text(line, "Stapel", rec.get("Stapel"))
		if x.BatchID == "" {
			x.BatchID = id
		} else if id != x.BatchID {
			c.add(CodeBatch, line, "Stapel", id, nil)
		}
		x.Documents = append(x.Documents, c.document(rec, stream))
	}
	return c.finish(x)
}

// comma takes the separator that the header line has more of.
func comma(b []byte) rune {
	head, _, _ := bytes.Cut(b, []byte("\n"))
	if bytes.Count(head, []byte(",")) > bytes.Count(head, []byte(";")) {
		return ','
	}
	return ';'
}

func syntax(err error, line int) Errors {
	var pe *csv.ParseError
	if errors.As(err, &pe) {
		return Errors{{Code: CodeSyntax, Line: pe.Line, Err: pe.Err}}
	}
	return Errors{{Code: CodeSyntax, Line: line, Err: err}}
}
