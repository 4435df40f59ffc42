package xmldoc

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// XMLNamespace is the namespace of the prefix xml.
const XMLNamespace = "http://www.w3.org/XML/1998/namespace"

const xmlnsNamespace = "http://www.w3.org/2000/xmlns/"

// Errors of [Parse]; each is wrapped in a [SyntaxError] with its place.
var (
	// ErrDTD: the document has a document type declaration.
	ErrDTD = errors.New("a document type declaration is not accepted")
	// ErrLimit: the document is larger than the limits.
	ErrLimit = errors.New("larger than the limit")
	// ErrEncoding: the encoding is none of UTF-8, UTF-16, ISO-8859-1, ISO-8859-15,
	// US-ASCII and windows-1252, or the bytes are not in it.
	ErrEncoding = errors.New("encoding not readable")
)

// SyntaxError says where a document is not well-formed.
type SyntaxError struct {
	// Line counts from 1.
	Line int
	Err  error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

func (e *SyntaxError) Unwrap() error { return e.Err }

// Parse reads a document. The error is a *SyntaxError that wraps ErrDTD,
// ErrLimit or ErrEncoding where one of them is the reason.
func Parse(b []byte, limits Limits) (*Document, error) {
	if limits.Bytes == 0 {
		limits.Bytes = defaultLimits.Bytes
	}
	if limits.Nodes == 0 {
		limits.Nodes = defaultLimits.Nodes
	}
	if limits.Depth == 0 {
		limits.Depth = defaultLimits.Depth
	}
	if len(b) > limits.Bytes {
		return nil, &SyntaxError{Line: 1, Err: ErrLimit}
	}
	text, err := decode(b)
	if err != nil {
		return nil, &SyntaxError{Line: 1, Err: err}
	}
	p := &parser{in: text, limits: limits}
	d, err := p.document()
	if err != nil {
		return nil, &SyntaxError{Line: 1 + strings.Count(text[:min(p.pos, len(text))], "\n"), Err: err}
	}
	return d, nil
}

// parser reads a text in which line ends are normalised and all characters are
// of XML 1.0.
type parser struct {
	in     string
	pos    int
	limits Limits
	nodes  int
	depth  int
}

func (p *parser) has(s string) bool { return strings.HasPrefix(p.in[p.pos:], s) }

func (p *parser) take(s string) bool {
	if p.has(s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *parser) space() bool {
	from := p.pos
	for p.pos < len(p.in) && isSpace(p.in[p.pos]) {
		p.pos++
	}
	return p.pos > from
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (p *parser) count() error {
	if p.nodes++; p.nodes > p.limits.Nodes {
		return ErrLimit
	}
	return nil
}

// until takes everything up to end, and end itself.
func (p *parser) until(end, what string) (string, error) {
	i := strings.Index(p.in[p.pos:], end)
	if i < 0 {
		return "", fmt.Errorf("%s does not end", what)
	}
	s := p.in[p.pos : p.pos+i]
	p.pos += i + len(end)
	return s, nil
}

func (p *parser) document() (*Document, error) {
	if p.has("<?xml") && len(p.in) > 5 && isSpace(p.in[5]) {
		if err := p.declaration(); err != nil {
			return nil, err
		}
	}
	d := &Document{}
	for p.pos < len(p.in) {
		switch {
		case p.space():
		case p.has("<!DOCTYPE"):
			return nil, ErrDTD
		case p.has("<!--"), p.has("<?"):
			n, err := p.misc()
			if err != nil {
				return nil, err
			}
			if d.Root == nil {
				d.Before = append(d.Before, n)
			} else {
				d.After = append(d.After, n)
			}
		case p.has("<") && !p.has("</") && !p.has("<!") && d.Root == nil:
			root, err := p.tree()
			if err != nil {
				return nil, err
			}
			d.Root = root
		case d.Root == nil:
			return nil, errors.New("something other than an element where the root element should be")
		default:
			return nil, errors.New("something follows the root element")
		}
	}
	if d.Root == nil {
		return nil, errors.New("no root element")
	}
	return d, nil
}

// declaration reads the XML declaration; the encoding has been settled.
func (p *parser) declaration() error {
	p.pos += len("<?xml")
	content, err := p.until("?>", "the XML declaration")
	if err != nil {
		return err
	}
	inner := &parser{in: content, limits: p.limits}
	allowed := []string{"version", "encoding", "standalone"}
	for i := 0; ; {
		spaced := inner.space()
		if inner.pos == len(content) {
			if i == 0 {
				return errors.New("the XML declaration has no version")
			}
			return nil
		}
		name, value, err := inner.pseudoAttribute()
		if err != nil || !spaced {
			return errors.New("the XML declaration is malformed")
		}
		for i < len(allowed) && allowed[i] != name {
			if i == 0 {
				return errors.New("the XML declaration does not begin with the version")
			}
			i++
		}
		switch {
		case i == len(allowed):
			return fmt.Errorf("the XML declaration has an unknown or misplaced %q", name)
		case name == "version" && value != "1.0":
			return fmt.Errorf("XML version %q, only 1.0 is read", value)
		case name == "standalone" && value != "yes" && value != "no":
			return errors.New("standalone is neither yes nor no")
		}
		i++
	}
}

func (p *parser) pseudoAttribute() (name, value string, err error) {
	if name, err = p.ncName(); err != nil {
		return "", "", err
	}
	p.space()
	if !p.take("=") {
		return "", "", errors.New("= is missing")
	}
	p.space()
	for _, q := range []string{`"`, `'`} {
		if p.take(q) {
			value, err = p.until(q, "the value")
			return name, value, err
		}
	}
	return "", "", errors.New("a quote is missing")
}

// misc reads a comment or processing instruction.
func (p *parser) misc() (Node, error) {
	if err := p.count(); err != nil {
		return nil, err
	}
	if p.take("<!--") {
		s, err := p.until("--", "a comment")
		if err != nil {
			return nil, err
		}
		if !p.take(">") {
			return nil, errors.New("-- within a comment")
		}
		return Comment(s), nil
	}
	p.pos += len("<?")
	target, err := p.ncName()
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(target, "xml") {
		return nil, errors.New("an XML declaration that is not at the beginning")
	}
	if p.take("?>") {
		return ProcInst{Target: target}, nil
	}
	if !p.space() {
		return nil, errors.New("a processing instruction is malformed")
	}
	data, err := p.until("?>", "a processing instruction")
	return ProcInst{Target: target, Data: data}, err
}

// tree reads an element with all it contains, without recursion.
func (p *parser) tree() (*Element, error) {
	var root, at *Element
	for {
		start := p.pos
		switch {
		case p.pos == len(p.in):
			return nil, fmt.Errorf("element %s does not end", at.Name)
		case p.has("</"):
			p.pos += 2
			name, err := p.qName()
			if err != nil {
				return nil, err
			}
			p.space()
			if !p.take(">") {
				return nil, errors.New("an end tag is malformed")
			}
			if name.Prefix != at.Name.Prefix || name.Local != at.Name.Local {
				return nil, fmt.Errorf("element %s is ended as %s", at.Name, name)
			}
			p.depth--
			if at = at.Parent; at == nil {
				return root, nil
			}
		case p.has("<!--"), p.has("<?"):
			n, err := p.misc()
			if err != nil {
				return nil, err
			}
			at.Children = append(at.Children, n)
		case p.has("<![CDATA["), p.in[start] != '<':
			t, err := p.text()
			if err != nil {
				return nil, err
			}
			if t != "" {
				at.Children = append(at.Children, Text(t))
			}
		case p.has("<!"):
			return nil, errors.New("a declaration within the document")
		default:
			e, empty, err := p.startTag(at)
			if err != nil {
				return nil, err
			}
			if at != nil {
				at.Children = append(at.Children, e)
			} else {
				root = e
			}
			if !empty {
				at = e
				if p.depth++; p.depth > p.limits.Depth {
					return nil, ErrLimit
				}
				continue
			}
			if at == nil {
				return root, nil
			}
		}
	}
}

// text reads character data, references and CDATA sections up to other markup.
func (p *parser) text() (string, error) {
	if err := p.count(); err != nil {
		return "", err
	}
	var b strings.Builder
	for p.pos < len(p.in) {
		if p.take("<![CDATA[") {
			s, err := p.until("]]>", "a CDATA section")
			if err != nil {
				return "", err
			}
			b.WriteString(s)
			continue
		}
		i := strings.IndexAny(p.in[p.pos:], "<&]")
		if i < 0 {
			i = len(p.in) - p.pos
		}
		b.WriteString(p.in[p.pos : p.pos+i])
		p.pos += i
		switch {
		case p.pos == len(p.in), p.in[p.pos] == '<' && !p.has("<![CDATA["):
			return b.String(), nil
		case p.in[p.pos] == '&':
			s, err := p.reference()
			if err != nil {
				return "", err
			}
			b.WriteString(s)
		case p.has("]]>"):
			return "", errors.New("]]> within text")
		case p.in[p.pos] == ']':
			b.WriteByte(']')
			p.pos++
		}
	}
	return b.String(), nil
}

// reference reads a character reference or one of the five entities.
func (p *parser) reference() (string, error) {
	end := strings.IndexByte(p.in[p.pos:min(p.pos+16, len(p.in))], ';')
	if end < 0 {
		return "", errors.New("& without a reference")
	}
	name := p.in[p.pos+1 : p.pos+end]
	p.pos += end + 1
	switch name {
	case "amp":
		return "&", nil
	case "lt":
		return "<", nil
	case "gt":
		return ">", nil
	case "quot":
		return `"`, nil
	case "apos":
		return "'", nil
	}
	digits, base := strings.CutPrefix(name, "#")
	if !base {
		return "", fmt.Errorf("entity %q is not declared", name)
	}
	hex, radix := digits, 10
	if h, ok := strings.CutPrefix(digits, "x"); ok {
		hex, radix = h, 16
	}
	n, err := strconv.ParseUint(hex, radix, 32)
	if err != nil || n > utf8.MaxRune || !isChar(rune(n)) {
		return "", fmt.Errorf("&%s; is no character", name)
	}
	return string(rune(n)), nil
}

// startTag reads a start tag and resolves its names.
func (p *parser) startTag(parent *Element) (e *Element, empty bool, err error) {
	if err := p.count(); err != nil {
		return nil, false, err
	}
	p.pos++
	e = &Element{Parent: parent}
	if e.Name, err = p.qName(); err != nil {
		return nil, false, err
	}
	for {
		spaced := p.space()
		if p.take("/>") {
			empty = true
			break
		}
		if p.take(">") {
			break
		}
		if !spaced {
			return nil, false, fmt.Errorf("the start tag of %s is malformed", e.Name)
		}
		if err := p.attribute(e); err != nil {
			return nil, false, err
		}
	}
	return e, empty, resolve(e)
}

func (p *parser) attribute(e *Element) error {
	if err := p.count(); err != nil {
		return err
	}
	name, err := p.qName()
	if err != nil {
		return err
	}
	p.space()
	if !p.take("=") {
		return fmt.Errorf("attribute %s has no value", name)
	}
	p.space()
	value, err := p.attributeValue()
	if err != nil {
		return fmt.Errorf("attribute %s: %w", name, err)
	}
	switch {
	case name.Prefix == "" && name.Local == "xmlns":
		return declare(e, "", value)
	case name.Prefix == "xmlns":
		return declare(e, name.Local, value)
	}
	e.Attrs = append(e.Attrs, Attr{Name: name, Value: value})
	return nil
}

// declare adds a namespace declaration (Namespaces in XML 1.0, section 3).
func declare(e *Element, prefix, uri string) error {
	switch {
	case prefix == "xml" && uri == XMLNamespace:
		return nil // allowed and without any effect
	case prefix == "xml", prefix == "xmlns", uri == XMLNamespace, uri == xmlnsNamespace:
		return fmt.Errorf("the declaration of prefix %q for %q is reserved", prefix, uri)
	case prefix != "" && uri == "":
		return fmt.Errorf("prefix %q is declared for nothing", prefix)
	}
	for _, d := range e.Declared {
		if d.Prefix == prefix {
			return fmt.Errorf("prefix %q is declared twice", prefix)
		}
	}
	e.Declared = append(e.Declared, Declaration{prefix, uri})
	return nil
}

// attributeValue reads a quoted value; literal white space becomes a space
// (XML 1.0 section 3.3.3, CDATA), referenced white space stays.
func (p *parser) attributeValue() (string, error) {
	if p.pos == len(p.in) || p.in[p.pos] != '"' && p.in[p.pos] != '\'' {
		return "", errors.New("the value is not quoted")
	}
	quote := p.in[p.pos]
	p.pos++
	stop := "<&\t\n\r" + string(quote)
	var b strings.Builder
	for {
		i := strings.IndexAny(p.in[p.pos:], stop)
		if i < 0 {
			return "", errors.New("the value does not end")
		}
		b.WriteString(p.in[p.pos : p.pos+i])
		p.pos += i
		switch c := p.in[p.pos]; c {
		case quote:
			p.pos++
			return b.String(), nil
		case '<':
			return "", errors.New("< within a value")
		case '&':
			s, err := p.reference()
			if err != nil {
				return "", err
			}
			b.WriteString(s)
		default:
			b.WriteByte(' ')
			p.pos++
		}
	}
}

// resolve gives the names of an element their namespaces and looks for twins.
func resolve(e *Element) error {
	space, ok := e.Space(e.Name.Prefix)
	if !ok {
		return fmt.Errorf("prefix of %s is not declared", e.Name)
	}
	e.Name.Space = space
	for i := range e.Attrs {
		n := &e.Attrs[i].Name
		if n.Prefix == "" {
			continue
		}
		if n.Space, ok = e.Space(n.Prefix); !ok {
			return fmt.Errorf("prefix of attribute %s is not declared", n)
		}
	}
	type key struct{ space, local string }
	seen := make(map[key]bool, len(e.Attrs))
	for _, a := range e.Attrs {
		k := key{a.Name.Space, a.Name.Local}
		if seen[k] {
			return fmt.Errorf("attribute %s stands twice", a.Name)
		}
		seen[k] = true
	}
	return nil
}

func (p *parser) qName() (Name, error) {
	a, err := p.ncName()
	if err != nil {
		return Name{}, err
	}
	if !p.take(":") {
		return Name{Local: a}, nil
	}
	b, err := p.ncName()
	return Name{Prefix: a, Local: b}, err
}

// ncName reads a name without a colon.
func (p *parser) ncName() (string, error) {
	from := p.pos
	for p.pos < len(p.in) {
		r, size := utf8.DecodeRuneInString(p.in[p.pos:])
		if !isNameStart(r) && (p.pos == from || !isNameFurther(r)) {
			break
		}
		p.pos += size
	}
	if p.pos == from {
		return "", errors.New("a name is missing or begins with a wrong character")
	}
	return p.in[from:p.pos], nil
}

// isNameStart is NameStartChar of XML 1.0 (fifth edition) without the colon.
func isNameStart(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_':
		return true
	case r < 0xC0:
		return false
	}
	return r <= 0x2FF && r != 0xD7 && r != 0xF7 || r >= 0x370 && r <= 0x1FFF && r != 0x37E || r == 0x200C || r == 0x200D ||
		r >= 0x2070 && r <= 0x218F || r >= 0x2C00 && r <= 0x2FEF || r >= 0x3001 && r <= 0xD7FF || r >= 0xF900 && r <= 0xFDCF ||
		r >= 0xFDF0 && r <= 0xFFFD || r >= 0x10000 && r <= 0xEFFFF
}

func isNameFurther(r rune) bool {
	return r >= '0' && r <= '9' || r == '-' || r == '.' || r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040
}

// isChar is Char of XML 1.0.
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// checked normalises line ends (XML 1.0 section 2.11) and makes sure that there
// are only characters of XML.
func checked(b []byte) (string, error) {
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
				return "", fmt.Errorf("%w: character %#x", ErrEncoding, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 || !isChar(r) {
			return "", fmt.Errorf("%w: byte %d", ErrEncoding, i)
		}
		i += size
	}
	if bytes.IndexByte(b, '\r') < 0 {
		return string(b), nil
	}
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return string(bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))), nil
}
