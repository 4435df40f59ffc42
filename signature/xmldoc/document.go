package xmldoc

import "strings"

// Limits of a document. A zero field is the one of [DefaultLimits].
type Limits struct {
	Bytes int // of the input
	Nodes int // elements, attributes, declarations, texts, comments, instructions
	Depth int // of elements
}

var defaultLimits = Limits{Bytes: 64 << 20, Nodes: 2_000_000, Depth: 512}

// DefaultLimits returns the limits used for zero fields: 64 MiB, two million
// nodes, 512 levels.
func DefaultLimits() Limits { return defaultLimits }

// Node is a *Element, Text, Comment or ProcInst.
type Node interface{ node() }

// Text is character data; neighbouring pieces, references and CDATA sections are
// one Text.
type Text string

// Comment is the content of a comment.
type Comment string

// ProcInst is a processing instruction.
type ProcInst struct{ Target, Data string }

// Name is a qualified name.
type Name struct{ Prefix, Space, Local string }

func (n Name) String() string {
	if n.Prefix == "" {
		return n.Local
	}
	return n.Prefix + ":" + n.Local
}

// Attr is an attribute that is no namespace declaration, its value normalised.
type Attr struct {
	Name  Name
	Value string
}

// Declaration is a namespace declaration; Prefix is empty for the default one,
// and then an empty URI takes the default away.
type Declaration struct{ Prefix, URI string }

// Element is an element with what it contains.
type Element struct {
	Name     Name
	Attrs    []Attr        // in document order
	Declared []Declaration // in document order
	Children []Node
	Parent   *Element // nil for the root
}

func (*Element) node() {}
func (Text) node()     {}
func (Comment) node()  {}
func (ProcInst) node() {}

// Document is a well-formed document.
type Document struct {
	Root *Element
	// Before and After are comments and processing instructions outside the root.
	Before, After []Node
}

// Is says whether the element has this namespace and local name.
func (e *Element) Is(space, local string) bool {
	return e != nil && e.Name.Space == space && e.Name.Local == local
}

// Attr returns the value of an attribute, and whether there is one.
func (e *Element) Attr(space, local string) (string, bool) {
	for _, a := range e.Attrs {
		if a.Name.Space == space && a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}

// Elements returns the child elements, in order.
func (e *Element) Elements() []*Element {
	var out []*Element
	for _, n := range e.Children {
		if c, ok := n.(*Element); ok {
			out = append(out, c)
		}
	}
	return out
}

// All returns the child elements of this name, in order.
func (e *Element) All(space, local string) []*Element {
	var out []*Element
	for _, c := range e.Elements() {
		if c.Is(space, local) {
			out = append(out, c)
		}
	}
	return out
}

// First returns the first child element of this name, or nil.
func (e *Element) First(space, local string) *Element {
	for _, n := range e.Children {
		if c, ok := n.(*Element); ok && c.Is(space, local) {
			return c
		}
	}
	return nil
}

// Text returns the character data directly in the element.
func (e *Element) Text() string {
	var only string
	var b strings.Builder
	n := 0
	for _, c := range e.Children {
		if t, ok := c.(Text); ok {
			only = string(t)
			b.WriteString(only)
			n++
		}
	}
	if n == 1 {
		return only
	}
	return b.String()
}

// Walk calls f for the element and all below it in document order, until f
// returns false.
func (e *Element) Walk(f func(*Element) bool) bool {
	if !f(e) {
		return false
	}
	for _, n := range e.Children {
		if c, ok := n.(*Element); ok && !c.Walk(f) {
			return false
		}
	}
	return true
}

// Space resolves a prefix in the scope of the element; the empty prefix is the
// default namespace.
func (e *Element) Space(prefix string) (string, bool) {
	if prefix == "xml" {
		return XMLNamespace, true
	}
	for at := e; at != nil; at = at.Parent {
		for _, d := range at.Declared {
			if d.Prefix == prefix {
				return d.URI, d.URI != "" || prefix == ""
			}
		}
	}
	return "", prefix == ""
}
