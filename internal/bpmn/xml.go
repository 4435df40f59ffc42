package bpmn

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"

	"evb/internal/fault"
)

// The limits of a file.
const (
	MaxBytes    = 8 << 20
	maxDepth    = 100
	maxElements = 200_000
	maxNodes    = 5_000
	maxFlows    = 10_000
	maxText     = 64 << 10 // of one element
)

// space is the namespace an element or attribute belongs to, as far as we care.
type space string

const (
	model    space = "bpmn"
	evb      space = "evb"
	camunda  space = "camunda" // also activiti and flowable, which share the names
	zeebe    space = "zeebe"
	instance space = "xsi"
	foreign  space = ""
)

// spaceOf knows the namespaces by their URI. Some tools write no namespace at
// all, or forget to declare a prefix: encoding/xml then gives the prefix. Where
// the file has a namespace, an element without one is an extension (parse).
func spaceOf(uri string) space {
	switch u := strings.ToLower(uri); {
	case u == "" || u == "bpmn" || u == "bpmn2" || u == "semantic" || u == "model",
		strings.Contains(u, "omg.org/spec/bpmn/") && strings.HasSuffix(strings.TrimSuffix(u, "/"), "/model"),
		strings.Contains(u, "schema.omg.org/spec/bpmn/2.0"):
		return model
	case u == "evb" || strings.HasPrefix(u, "urn:evb:") || strings.Contains(u, "//evb"):
		return evb
	case strings.Contains(u, "camunda.org/schema/zeebe") || u == "zeebe":
		return zeebe
	case strings.Contains(u, "camunda.org/schema") || strings.Contains(u, "activiti.org/") || strings.Contains(u, "flowable.org/bpmn"),
		u == "camunda" || u == "activiti" || u == "flowable":
		return camunda
	case strings.HasSuffix(u, "/xmlschema-instance") || u == "xsi":
		return instance
	}
	return foreign
}

// element is one XML element with what is below it. Elements of the diagram
// are not kept.
type element struct {
	space space
	name  string
	attrs []attr
	text  string
	kids  []*element
	line  int
}

type attr struct {
	space space
	name  string
	value string
}

// attr is the value of an attribute without namespace, trimmed.
func (e *element) attr(name string) string { return e.attrIn(model, name) }

func (e *element) attrIn(s space, name string) string {
	for _, a := range e.attrs {
		if a.space == s && a.name == name {
			return strings.TrimSpace(a.value)
		}
	}
	return ""
}

// kid is the first child of that name, or nil.
func (e *element) kid(s space, name string) *element {
	for _, k := range e.kids {
		if k.space == s && k.name == name {
			return k
		}
	}
	return nil
}

// extension is the first element of that name in extensionElements, or nil.
func (e *element) extension(s space, name string) *element {
	if x := e.kid(model, "extensionElements"); x != nil {
		return x.kid(s, name)
	}
	return nil
}

// parse reads XML within the limits. Faults: bpmn-too-large, bpmn-malformed,
// bpmn-doctype, bpmn-limit, bpmn-charset.
func parse(raw []byte) (*element, error) {
	if len(raw) > MaxBytes {
		return nil, fault.New("bpmn-too-large", "limit", MaxBytes>>20)
	}
	raw, err := decoded(raw)
	if err != nil {
		return nil, err
	}
	d := xml.NewDecoder(bytes.NewReader(raw))
	d.Strict = true
	d.Entity = nil
	d.CharsetReader = charset
	var root *element
	var bare bool // the file has no namespace
	var stack []*element
	count := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		line, _ := d.InputPos()
		if err != nil {
			var fe *fault.Error
			if errors.As(err, &fe) {
				return nil, fe
			}
			return nil, fault.Wrap(err, "bpmn-malformed", "line", line)
		}
		switch t := tok.(type) {
		case xml.Directive:
			return nil, fault.New("bpmn-doctype", "line", line)
		case xml.StartElement:
			if count++; count > maxElements || len(stack) >= maxDepth {
				return nil, fault.New("bpmn-limit", "line", line)
			}
			e := &element{space: spaceOf(t.Name.Space), name: t.Name.Local, line: line}
			if t.Name.Space == "" && root != nil && !bare {
				e.space = foreign
			}
			for _, a := range t.Attr {
				e.attrs = append(e.attrs, attr{space: spaceOf(a.Name.Space), name: a.Name.Local, value: a.Value})
			}
			switch {
			case len(stack) > 0:
				top := stack[len(stack)-1]
				top.kids = append(top.kids, e)
			case root != nil:
				return nil, fault.New("bpmn-malformed", "line", line)
			default:
				root, bare = e, t.Name.Space == ""
			}
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				top := stack[len(stack)-1]
				if len(top.text)+len(t) > maxText {
					continue // a picture in an extension, or the like: no expression is that long
				}
				top.text += string(t)
			}
		}
	}
	if root == nil || len(stack) > 0 {
		return nil, fault.New("bpmn-malformed", "line", 1)
	}
	return root, nil
}

// decoded turns UTF-16 into UTF-8, and takes a mark at the beginning away.
func decoded(raw []byte) ([]byte, error) {
	var e encoding.Encoding
	switch {
	case bytes.HasPrefix(raw, []byte{0xef, 0xbb, 0xbf}):
		return raw[3:], nil
	case bytes.HasPrefix(raw, []byte{0xff, 0xfe}), bytes.HasPrefix(raw, []byte{0xfe, 0xff}):
		e = unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM)
	case bytes.HasPrefix(raw, []byte{'<', 0}):
		e = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case bytes.HasPrefix(raw, []byte{0, '<'}):
		e = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	default:
		return bytes.TrimLeft(raw, " \t\r\n"), nil
	}
	out, err := e.NewDecoder().Bytes(raw)
	if err != nil {
		return nil, fault.Wrap(err, "bpmn-charset", "charset", "UTF-16")
	}
	return out, nil
}

// charset is for the encoding that the XML declaration names. What decoded has
// turned into UTF-8 still calls itself UTF-16.
func charset(name string, in io.Reader) (io.Reader, error) {
	switch l := strings.ToLower(name); {
	case l == "utf-8" || l == "utf8" || l == "us-ascii", strings.HasPrefix(l, "utf-16") || strings.HasPrefix(l, "utf16"):
		return in, nil
	}
	e, err := ianaindex.IANA.Encoding(name)
	if l := strings.ToLower(name); l == "macroman" || l == "x-macroman" { // as Java on a Mac calls it
		e, err = charmap.Macintosh, nil
	}
	if err != nil || e == nil {
		e, err = htmlindex.Get(name) // knows more aliases, such as cp1252
	}
	if err != nil {
		return nil, fault.Wrap(err, "bpmn-charset", "charset", clip(name))
	}
	return e.NewDecoder().Reader(in), nil
}

// clip keeps foreign words in messages short.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= 80 {
		return s
	}
	return string([]rune(s)[:80]) + "…"
}

// local takes a namespace prefix off a QName.
func local(qname string) string {
	qname = strings.TrimSpace(qname)
	if i := strings.LastIndexByte(qname, ':'); i >= 0 {
		return qname[i+1:]
	}
	return qname
}

func (e *element) String() string { return fmt.Sprintf("%s (line %d)", e.name, e.line) }
