package xmldoc

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
)

// Identifiers of canonicalisation methods; "#WithComments" may follow the first
// two, "WithComments" the third.
const (
	Canonical10   = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
	Canonical11   = "http://www.w3.org/2006/12/xml-c14n11"
	ExclusiveC14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// ErrBase says that Canonical XML 1.1 would have to join xml:base of elements
// around the one that is written (section 2.4), which this package does not do.
var ErrBase = errors.New("xml:base of an outer element would have to be joined")

// C14N is a canonicalisation method. The zero value is Canonical XML 1.0 without
// comments.
type C14N struct {
	// Exclusive: Exclusive XML Canonicalization 1.0.
	Exclusive bool
	// Comments are written.
	Comments bool
	// V11: Canonical XML 1.1; it differs in the attributes xml:id and xml:base of
	// outer elements.
	V11 bool
	// Prefixes is the InclusiveNamespaces PrefixList of the exclusive method;
	// "#default" or "" is the default namespace.
	Prefixes []string
}

// Method returns the method of an identifier, and whether it is known.
func Method(uri string) (C14N, bool) {
	switch uri {
	case Canonical10:
		return C14N{}, true
	case Canonical10 + "#WithComments":
		return C14N{Comments: true}, true
	case Canonical11:
		return C14N{V11: true}, true
	case Canonical11 + "#WithComments":
		return C14N{V11: true, Comments: true}, true
	case ExclusiveC14N, strings.TrimSuffix(ExclusiveC14N, "#"):
		return C14N{Exclusive: true}, true
	case ExclusiveC14N + "WithComments":
		return C14N{Exclusive: true, Comments: true}, true
	}
	return C14N{}, false
}

// Document writes the canonical form of a whole document.
func (c C14N) Document(w io.Writer, d *Document) error {
	out := c.writer(w)
	for _, n := range d.Before {
		if out.outer(n) {
			out.WriteByte('\n')
		}
	}
	if err := out.tree(d.Root); err != nil {
		return err
	}
	for _, n := range d.After {
		if _, comment := n.(Comment); comment && !c.Comments {
			continue
		}
		out.WriteByte('\n')
		out.outer(n)
	}
	return out.Flush()
}

// Element writes the canonical form of an element in its place, with everything
// below it. It returns ErrBase, or the error of w.
func (c C14N) Element(w io.Writer, e *Element) error {
	out := c.writer(w)
	if err := out.tree(e); err != nil {
		return err
	}
	return out.Flush()
}

func (c C14N) writer(w io.Writer) *canonical {
	out := &canonical{Writer: bufio.NewWriterSize(w, 16<<10), c: c}
	for _, p := range c.Prefixes {
		if p == "#default" {
			p = ""
		}
		out.listed = append(out.listed, p)
	}
	return out
}

// canonical is one run. Errors of the writer stay in it until Flush.
type canonical struct {
	*bufio.Writer
	c      C14N
	listed []string // PrefixList with "" for the default
	// rendered are the declarations that stand in the output around the current
	// element, the innermost last.
	rendered []Declaration
	scratch  []Declaration
	attrs    []Attr
}

// outer writes a node outside of the root and says whether it did.
func (out *canonical) outer(n Node) bool {
	switch n := n.(type) {
	case Comment:
		if !out.c.Comments {
			return false
		}
		out.comment(n)
	case ProcInst:
		out.instruction(n)
	}
	return true
}

// frame is an element whose children are being written.
type frame struct {
	e        *Element
	next     int // child
	rendered int // length before the element
}

func (out *canonical) tree(apex *Element) error {
	if err := out.open(apex, true); err != nil {
		return err
	}
	stack := []frame{{e: apex}}
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.next == len(f.e.Children) {
			out.WriteString("</")
			out.name(f.e.Name)
			out.WriteByte('>')
			out.rendered = out.rendered[:f.rendered]
			stack = stack[:len(stack)-1]
			continue
		}
		n := f.e.Children[f.next]
		f.next++
		switch n := n.(type) {
		case Text:
			textEscapes.WriteString(out, string(n))
		case Comment:
			if out.c.Comments {
				out.comment(n)
			}
		case ProcInst:
			out.instruction(n)
		case *Element:
			before := len(out.rendered)
			if err := out.open(n, false); err != nil {
				return err
			}
			stack = append(stack, frame{e: n, rendered: before})
		}
	}
	return nil
}

// open writes a start tag.
func (out *canonical) open(e *Element, apex bool) error {
	out.WriteByte('<')
	out.name(e.Name)
	decl := out.scratch[:0]
	if out.c.Exclusive {
		decl = out.utilised(e, decl)
	} else {
		decl = out.inScope(e, apex, decl)
	}
	slices.SortFunc(decl, func(a, b Declaration) int { return strings.Compare(a.Prefix, b.Prefix) })
	for _, d := range decl {
		out.WriteString(" xmlns")
		if d.Prefix != "" {
			out.WriteByte(':')
			out.WriteString(d.Prefix)
		}
		out.WriteString(`="`)
		attributeEscapes.WriteString(out, d.URI)
		out.WriteByte('"')
	}
	out.rendered = append(out.rendered, decl...)
	out.scratch = decl

	attrs := append(out.attrs[:0], e.Attrs...)
	if apex && !out.c.Exclusive {
		var err error
		if attrs, err = out.inherited(e, attrs); err != nil {
			return err
		}
	}
	slices.SortFunc(attrs, func(a, b Attr) int {
		return cmp.Or(strings.Compare(a.Name.Space, b.Name.Space), strings.Compare(a.Name.Local, b.Name.Local))
	})
	for _, a := range attrs {
		out.WriteByte(' ')
		out.name(a.Name)
		out.WriteString(`="`)
		attributeEscapes.WriteString(out, a.Value)
		out.WriteByte('"')
	}
	out.attrs = attrs
	out.WriteByte('>')
	return nil
}

// render adds a declaration unless it is the one that stands in the output.
func (out *canonical) render(decl []Declaration, d Declaration) []Declaration {
	for _, have := range decl {
		if have.Prefix == d.Prefix {
			return decl
		}
	}
	for i := len(out.rendered) - 1; i >= 0; i-- {
		if out.rendered[i].Prefix == d.Prefix {
			if out.rendered[i].URI == d.URI {
				return decl
			}
			return append(decl, d)
		}
	}
	if d.URI == "" { // nothing to take away
		return decl
	}
	return append(decl, d)
}

// inScope adds what Canonical XML writes: every declaration in scope that the
// output does not have yet (section 2.3). Below the apex only the element's own
// can be new.
func (out *canonical) inScope(e *Element, apex bool, decl []Declaration) []Declaration {
	var seen map[string]bool
	if apex {
		seen = map[string]bool{}
	}
	for at := e; at != nil; at = at.Parent {
		for _, d := range at.Declared {
			if seen[d.Prefix] {
				continue
			}
			if apex {
				seen[d.Prefix] = true
			}
			decl = out.render(decl, d)
		}
		if !apex {
			break
		}
	}
	return decl
}

// utilised adds what Exclusive XML Canonicalization writes: the namespaces of the
// element's and its attributes' prefixes, and those of the PrefixList (section 3).
func (out *canonical) utilised(e *Element, decl []Declaration) []Declaration {
	add := func(prefix string) {
		if prefix == "xml" {
			return
		}
		uri, ok := e.Space(prefix)
		if ok {
			decl = out.render(decl, Declaration{prefix, uri})
		}
	}
	add(e.Name.Prefix)
	for _, a := range e.Attrs {
		if a.Name.Prefix != "" {
			add(a.Name.Prefix)
		}
	}
	for _, p := range out.listed {
		add(p)
	}
	return decl
}

// inherited adds the attributes of the namespace xml that an element takes from
// the elements around it, which are not written (Canonical XML 1.0 and 1.1,
// section 2.4).
func (out *canonical) inherited(e *Element, attrs []Attr) ([]Attr, error) {
	has := func(local string) bool {
		return slices.ContainsFunc(attrs, func(a Attr) bool { return a.Name.Space == XMLNamespace && a.Name.Local == local })
	}
	for at := e.Parent; at != nil; at = at.Parent {
		for _, a := range at.Attrs {
			switch {
			case a.Name.Space != XMLNamespace:
			case out.c.V11 && a.Name.Local == "base":
				return nil, ErrBase
			case out.c.V11 && a.Name.Local != "lang" && a.Name.Local != "space":
			case !has(a.Name.Local):
				attrs = append(attrs, a)
			}
		}
	}
	return attrs, nil
}

func (out *canonical) name(n Name) {
	if n.Prefix != "" {
		out.WriteString(n.Prefix)
		out.WriteByte(':')
	}
	out.WriteString(n.Local)
}

func (out *canonical) comment(c Comment) {
	out.WriteString("<!--")
	escapeReturn.WriteString(out, string(c))
	out.WriteString("-->")
}

func (out *canonical) instruction(p ProcInst) {
	out.WriteString("<?")
	out.WriteString(p.Target)
	if p.Data != "" {
		out.WriteByte(' ')
		escapeReturn.WriteString(out, p.Data)
	}
	out.WriteString("?>")
}

var (
	textEscapes      = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
	attributeEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
	escapeReturn     = strings.NewReplacer("\r", "&#xD;")
)
