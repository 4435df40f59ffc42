package rules

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// What can be decided about conditions without a Dokument: a condition is
// brought into the form "this and that, or this and that ..."; parts that are
// not understood count as a fact of their own that is equal to itself only.
// Whatever is concluded from it holds for every Dokument.

// maxTerms bounds the alternatives of one condition; one with more of them is
// looked at as a whole.
const maxTerms = 64

// fact is one part of a condition.
type fact struct {
	path string // field of doc, "" when not understood
	op   string // "in": one of vals; a text function; "" not understood: text
	vals []string
	text string
	not  bool
}

// term is facts that hold together.
type term struct {
	facts []fact
	// allowed are the values a field can still have; no entry: any.
	allowed map[string][]string
	// banned are values that a field does not have.
	banned map[string][]string
}

// reader turns expressions into terms.
type reader struct {
	lang *Language
	info *ast.SourceInfo
}

// terms gives the alternatives of a condition; none: it is never true.
func (l *Language) terms(c condition) []term {
	r := reader{l, c.ast.NativeRep().SourceInfo()}
	alternatives, ok := r.read(c.ast.NativeRep().Expr(), true)
	if !ok {
		alternatives = [][]fact{{r.whole(c.ast.NativeRep().Expr(), true)}}
	}
	var out []term
	for _, facts := range alternatives {
		if t, ok := newTerm(facts); ok {
			out = append(out, t)
		}
	}
	return out
}

// read gives the alternatives of e, or of its opposite.
func (r reader) read(e ast.Expr, positive bool) ([][]fact, bool) {
	if v, ok := r.constant(e); ok {
		if v == positive {
			return [][]fact{{}}, true
		}
		return nil, true
	}
	switch {
	case isCall(e, not):
		return r.read(e.AsCall().Args()[0], !positive)
	case isCall(e, and) == positive && isCall(e, and, or):
		out := [][]fact{{}}
		for _, a := range e.AsCall().Args() {
			part, ok := r.read(a, positive)
			if !ok || len(out)*len(part) > maxTerms {
				return nil, false
			}
			var next [][]fact
			for _, x := range out {
				for _, y := range part {
					next = append(next, append(slices.Clone(x), y...))
				}
			}
			out = next
		}
		return out, true
	case isCall(e, and, or):
		var out [][]fact
		for _, a := range e.AsCall().Args() {
			part, ok := r.read(a, positive)
			if !ok || len(out)+len(part) > maxTerms {
				return nil, false
			}
			out = append(out, part...)
		}
		return out, true
	}
	return [][]fact{{r.fact(e, positive)}}, true
}

// constant evaluates what does not ask about doc.
func (r reader) constant(e ast.Expr) (value, ok bool) {
	if e.Kind() == ast.LiteralKind {
		b, ok := e.AsLiteral().(types.Bool)
		return bool(b), ok
	}
	asks := false
	visit(e, func(x ast.Expr) { asks = asks || x.Kind() == ast.IdentKind })
	if asks {
		return false, false
	}
	text, err := cel.ExprToString(e, r.info)
	if err != nil {
		return false, false
	}
	c, found := r.lang.compile(text)
	if len(found) > 0 {
		return false, false
	}
	value, err = c.ask(context.Background(), r.lang.Prepare(&Document{}))
	return value, err == nil
}

func (r reader) whole(e ast.Expr, positive bool) fact {
	text, err := cel.ExprToString(e, r.info)
	if err != nil {
		text = strconv.FormatInt(e.ID(), 10)
	}
	return fact{text: text, not: !positive}
}

// textFunctions are those whose meaning is known here.
var textFunctions = []string{"contains", "startsWith", "endsWith", "hasWords", "hasAnyWords"}

func (r reader) fact(e ast.Expr, positive bool) fact {
	if p, ok := path(e); ok { // a boolean field by itself
		return fact{path: p, op: "in", vals: []string{"b:true"}, not: !positive}
	}
	if e.Kind() != ast.CallKind {
		return r.whole(e, positive)
	}
	call := e.AsCall()
	args := call.Args()
	switch name := call.FunctionName(); {
	case name == operators.Equals || name == operators.NotEquals:
		if name == operators.NotEquals {
			positive = !positive
		}
		for i := range 2 {
			p, isPath := path(args[i])
			v, isValue := value(args[1-i])
			if isPath && isValue {
				return fact{path: p, op: "in", vals: []string{v}, not: !positive}
			}
		}
	case name == operators.In:
		p, isPath := path(args[0])
		if vals, ok := values(args[1]); isPath && ok {
			return fact{path: p, op: "in", vals: vals, not: !positive}
		}
	case call.IsMemberFunction() && slices.Contains(textFunctions, name) && len(args) == 1:
		p, isPath := path(call.Target())
		vals, ok := values(args[0])
		if v, one := value(args[0]); one {
			vals, ok = []string{v}, true
		}
		if isPath && ok && len(vals) > 0 {
			if name == "hasAnyWords" {
				name = "hasWords"
			}
			return fact{path: p, op: name, vals: vals, not: !positive}
		}
	}
	return r.whole(e, positive)
}

// path is doc.field, or doc.fields.name and doc.fields["name"] as "fields.name".
func path(e ast.Expr) (string, bool) {
	if e.Kind() == ast.SelectKind && !e.AsSelect().IsTestOnly() {
		if name, ok := docField(e); ok {
			return name, true
		}
		if name, ok := docField(e.AsSelect().Operand()); ok && name == "fields" {
			return "fields." + e.AsSelect().FieldName(), true
		}
	}
	if isCall(e, operators.Index) {
		args := e.AsCall().Args()
		name, ok := docField(args[0])
		key, isText := value(args[1])
		if ok && name == "fields" && isText && strings.HasPrefix(key, "s:") {
			return "fields." + key[2:], true
		}
	}
	return "", false
}

// value writes a literal so that equal ones are written alike.
func value(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	return valueOf(e.AsLiteral())
}

func valueOf(v ref.Val) (string, bool) {
	switch v := v.(type) {
	case types.String:
		return "s:" + string(v), true
	case types.Bool:
		return "b:" + strconv.FormatBool(bool(v)), true
	case types.Int:
		return "n:" + strconv.FormatFloat(float64(v), 'g', -1, 64), int64(float64(v)) == int64(v)
	case types.Double:
		return "n:" + strconv.FormatFloat(float64(v), 'g', -1, 64), float64(v) == float64(v)
	}
	return "", false
}

func values(e ast.Expr) ([]string, bool) {
	if e.Kind() != ast.ListKind {
		return nil, false
	}
	var out []string
	for _, x := range e.AsList().Elements() {
		v, ok := value(x)
		if !ok {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}

// newTerm puts facts together; ok false when they contradict each other.
func newTerm(facts []fact) (t term, ok bool) {
	t = term{facts: facts, allowed: map[string][]string{}, banned: map[string][]string{}}
	for _, f := range facts {
		switch {
		case f.op != "in":
		case f.not:
			t.banned[f.path] = append(t.banned[f.path], f.vals...)
			if slices.Contains(f.vals, "b:true") && f.path == "akte_known" {
				t.allow(f.path, []string{"b:false"})
			}
			if slices.Contains(f.vals, "b:false") && f.path == "akte_known" {
				t.allow(f.path, []string{"b:true"})
			}
		default:
			t.allow(f.path, f.vals)
		}
	}
	for p, vals := range t.allowed {
		t.allowed[p] = slices.DeleteFunc(slices.Clone(vals), func(v string) bool {
			return slices.Contains(t.banned[p], v) || slices.ContainsFunc(facts, func(f fact) bool { return f.path == p && !f.holdsOf(v) })
		})
		if len(t.allowed[p]) == 0 {
			return t, false
		}
	}
	for i, a := range facts {
		for _, b := range facts[:i] {
			if a.excludes(b) {
				return t, false
			}
		}
	}
	return t, true
}

func (t term) allow(path string, vals []string) {
	old, narrowed := t.allowed[path]
	if !narrowed {
		t.allowed[path] = slices.Clone(vals)
		return
	}
	t.allowed[path] = slices.DeleteFunc(slices.Clone(old), func(v string) bool { return !slices.Contains(vals, v) })
}

// holdsOf says whether a text function is true of a value; facts that are none
// of these, and words, are not contradicted by a value.
func (f fact) holdsOf(v string) bool {
	if !strings.HasPrefix(v, "s:") || len(f.vals) != 1 || !strings.HasPrefix(f.vals[0], "s:") {
		return true
	}
	v, w := v[2:], f.vals[0][2:]
	switch f.op {
	case "contains":
		return strings.Contains(v, w) != f.not
	case "startsWith":
		return strings.HasPrefix(v, w) != f.not
	case "endsWith":
		return strings.HasSuffix(v, w) != f.not
	}
	return true
}

// excludes says that two facts cannot both hold.
func (f fact) excludes(g fact) bool {
	if f.op == "" && g.op == "" {
		return f.text == g.text && f.not != g.not
	}
	if f.op == "in" || g.op == "in" || f.path != g.path || f.op == "" || g.op == "" {
		return false
	}
	if f.not != g.not {
		yes, no := f, g
		if f.not {
			yes, no = g, f
		}
		no.not = false
		return yes.implies(no)
	}
	if !f.not && f.op == g.op && (f.op == "startsWith" || f.op == "endsWith") {
		a, b := f.vals[0], g.vals[0]
		if f.op == "startsWith" {
			return !strings.HasPrefix(a, b) && !strings.HasPrefix(b, a)
		}
		a, b = a[2:], b[2:]
		return !strings.HasSuffix(a, b) && !strings.HasSuffix(b, a)
	}
	return false
}

// implies says that f has g as a consequence; neither is negated, or both are
// the same.
func (f fact) implies(g fact) bool {
	if f.op == "" || g.op == "" {
		return f.op == g.op && f.text == g.text && f.not == g.not
	}
	if f.path != g.path {
		return false
	}
	if f.not || g.not {
		// Not A follows from not B where A implies B.
		if !f.not || !g.not {
			return false
		}
		a, b := g, f
		a.not, b.not = false, false
		return a.implies(b)
	}
	switch {
	case f.op == "in" && g.op == "in" || f.op == "hasWords" && g.op == "hasWords":
		return !slices.ContainsFunc(f.vals, func(v string) bool { return !slices.Contains(g.vals, v) })
	case f.op == "in" && g.op != "hasWords":
		return !slices.ContainsFunc(f.vals, func(v string) bool { return !strings.HasPrefix(v, "s:") || !g.holdsOf(v) })
	case f.op == "in" || f.op == "hasWords" || g.op == "in" || g.op == "hasWords":
		return false
	}
	a, b := f.vals[0][2:], g.vals[0][2:]
	switch g.op {
	case "contains":
		return strings.Contains(a, b)
	case "startsWith":
		return f.op == "startsWith" && strings.HasPrefix(a, b)
	case "endsWith":
		return f.op == "endsWith" && strings.HasSuffix(a, b)
	}
	return false
}

// implies says that g holds wherever t does.
func (t term) implies(g fact) bool {
	if g.op == "in" || g.op != "" && !g.not {
		if vals, narrowed := t.allowed[g.path]; narrowed {
			known := fact{path: g.path, op: "in", vals: vals}
			want := g
			want.not = false
			if !g.not && known.implies(want) {
				return true
			}
			if g.not && g.op == "in" && !slices.ContainsFunc(vals, func(v string) bool { return slices.Contains(g.vals, v) }) {
				return true
			}
		}
		if g.not && !slices.ContainsFunc(g.vals, func(v string) bool { return !slices.Contains(t.banned[g.path], v) }) {
			return true
		}
	}
	return slices.ContainsFunc(t.facts, func(f fact) bool { return f.implies(g) })
}

// covers says that s holds wherever t does.
func (s term) covers(t term) bool {
	return !slices.ContainsFunc(s.facts, func(f fact) bool { return !t.implies(f) })
}

// always says that one of the terms asks for nothing.
func always(ts []term) bool {
	return slices.ContainsFunc(ts, func(t term) bool { return len(t.facts) == 0 })
}

// alikeTerms says that two conditions say the same.
func alikeTerms(a, b []term) bool {
	within := func(a, b []term) bool {
		return !slices.ContainsFunc(a, func(t term) bool { return !slices.ContainsFunc(b, func(s term) bool { return s.covers(t) }) })
	}
	return within(a, b) && within(b, a)
}

// contradiction names the fields about which a never-true condition says
// different things, for people.
func (l *Language) contradiction(c condition) string {
	r := reader{l, c.ast.NativeRep().SourceInfo()}
	alternatives, _ := r.read(c.ast.NativeRep().Expr(), true)
	fields := map[string]bool{}
	for _, facts := range alternatives {
		for i, f := range facts {
			for _, g := range facts[:i] {
				if _, ok := newTerm([]fact{f, g}); !ok {
					if f.path != "" {
						fields["doc."+f.path] = true
					} else {
						fields[f.text] = true
					}
				}
			}
		}
	}
	return oneLine(strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
}
