package batchindex

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// ReadXML reads the XML form:
//
//	<Stapel id="..."> <Datei/> <SeitenGesamt/>
//	  <Dokument nr="1"> <Trennblatt/> <Seiten/> <Eingangsdatum/> </Dokument>
//
// for a stream; with one file per document each Dokument has Datei and may have
// Barcode, Dokumentart, Operator and SHA256. A DOCTYPE is refused before any
// entity could be looked at. The error is Errors, or an error of r.
func ReadXML(r io.Reader) (*Index, error) {
	raw, err := limited(r)
	if err != nil {
		return nil, err
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	x := &Index{Charset: "utf-8"}
	d := xml.NewDecoder(bytes.NewReader(raw))
	d.Strict = true
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		switch strings.ToLower(label) {
		case "utf-8":
			return in, nil
		case "windows-1252", "cp1252", "iso-8859-1", "latin1":
			x.Charset = "windows-1252"
			return charmap.Windows1252.NewDecoder().Reader(in), nil
		}
		return nil, errCharset
	}
	p := &xmlParser{d: d, raw: raw, x: x}
	if err := p.run(); err != nil {
		return nil, err
	}
	return p.c.finish(x)
}

var errCharset = errors.New("unknown character set")

type xmlParser struct {
	d   *xml.Decoder
	raw []byte
	x   *Index
	c   collector

	path  []string
	text  strings.Builder
	rec   *record
	recs  []record
	root  bool
	names map[string]string // fields of the root element, by name
}

func (p *xmlParser) line() int {
	l, _ := p.d.InputPos()
	return l
}

// run walks the tokens; it holds one Dokument at a time.
func (p *xmlParser) run() error {
	p.names = map[string]string{}
	for {
		tok, err := p.d.Token()
		if errors.Is(err, io.EOF) && len(p.path) == 0 {
			break
		}
		if err != nil {
			return p.syntax(err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			// A DOCTYPE is the only directive outside of one, and brings
			// entities: files, addresses and expansion.
			return Errors{{Code: CodeDoctype, Line: p.line()}}
		case xml.StartElement:
			if err := p.start(t); err != nil {
				return err
			}
		case xml.CharData:
			if p.text.Len()+len(t) > 1<<20 {
				return Errors{{Code: CodeTooLarge, Line: p.line()}}
			}
			p.text.Write(t)
		case xml.EndElement:
			p.end(t)
		}
	}
	if !p.root {
		return Errors{{Code: CodeEmpty}}
	}
	return p.documents()
}

func (p *xmlParser) start(t xml.StartElement) error {
	name := t.Name.Local
	p.path = append(p.path, name)
	p.text.Reset()
	switch {
	case len(p.path) > maxDepth:
		return Errors{{Code: CodeDepth, Line: p.line()}}
	case len(p.path) == 1:
		if name != "Stapel" {
			return Errors{{Code: CodeSyntax, Line: p.line(), Field: printable(name), Err: errors.New("root is not Stapel")}}
		}
		p.root = true
		p.x.BatchID = p.c.text(p.line(), "Stapel", attr(t, "id"))
	case len(p.path) == 2 && name == "Dokument":
		if len(p.recs) == MaxDocuments {
			return Errors{{Code: CodeTooLarge, Line: p.line()}}
		}
		p.rec = &record{line: p.line(), fields: map[string]string{"Dokument": attr(t, "nr")}}
	}
	return nil
}

func (p *xmlParser) end(t xml.EndElement) {
	name := t.Name.Local
	v := p.text.String()
	depth := len(p.path)
	p.path = p.path[:depth-1]
	p.text.Reset()
	switch {
	case depth == 2 && name == "Dokument":
		p.recs = append(p.recs, *p.rec)
		p.rec = nil
	case depth == 2:
		p.field(p.names, name, v, "Datei", "SeitenGesamt")
	case depth == 3 && p.rec != nil:
		p.field(p.rec.fields, name, v, columns...)
	case depth == 1:
	default:
		p.c.add(CodeColumns, p.line(), printable(name), "", errors.New("unexpected element"))
	}
}

func (p *xmlParser) field(to map[string]string, name, v string, known ...string) {
	for _, k := range known {
		if k != name {
			continue
		}
		if _, twice := to[name]; twice {
			p.c.add(CodeColumns, p.line(), name, "", errors.New("element twice"))
		}
		to[name] = v
		return
	}
	p.c.add(CodeColumns, p.line(), printable(name), "", errors.New("unknown element"))
}

// documents decides the form by what the documents carry, then checks them.
func (p *xmlParser) documents() error {
	for _, r := range p.recs {
		if _, ok := r.fields["Trennblatt"]; ok {
			p.x.Stream = true
		}
		if v, ok := r.fields["Stapel"]; ok && strings.TrimSpace(v) != p.x.BatchID {
			p.c.add(CodeBatch, r.line, "Stapel", v, nil)
		}
	}
	for _, r := range p.recs {
		if _, ok := r.fields["Datei"]; ok && p.x.Stream {
			p.c.add(CodeColumns, r.line, "Datei", "", errors.New("a stream has its file once, in Stapel"))
		}
		p.x.Documents = append(p.x.Documents, p.c.document(r, p.x.Stream))
	}
	if v, ok := p.names["Datei"]; ok {
		p.x.File = p.c.file(0, "Datei", p.c.text(0, "Datei", v))
		if p.x.File == "" && !p.c.has(0, "Datei") {
			p.c.add(CodeField, 0, "Datei", "", errors.New("empty"))
		}
	}
	if v := p.c.text(0, "SeitenGesamt", p.names["SeitenGesamt"]); v != "" {
		p.x.TotalPages = p.c.number(0, "SeitenGesamt", v, 1, MaxPages*10)
	}
	return nil
}

func (p *xmlParser) syntax(err error) error {
	if errors.Is(err, errCharset) || strings.Contains(err.Error(), "invalid UTF-8") || strings.Contains(err.Error(), "encoding") {
		return Errors{{Code: CodeCharset, Line: p.line(), Err: err}}
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("ends inside %s: %w", strings.Join(p.path, "/"), err)
	}
	return Errors{{Code: CodeSyntax, Line: p.line(), Err: err}}
}

func attr(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
