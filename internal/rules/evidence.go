package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Bounds of the evidence of one decision.
const (
	maxEvidence     = 5
	maxEvidenceText = 80 // characters of one piece
)

// evidence are the words of the Dokument that a matching condition speaks of:
// its texts that stand in one of the fields it looks at. A text behind a "not"
// is none of them, unless it stands there after all. claims says that they are
// about the letter itself; how it came and whose it is is told where there is
// nothing else.
func (l *Language) evidence(c condition, p Prepared) (out []string, claims bool) {
	root := c.ast.NativeRep().Expr()
	fields := docFields(root)
	var around []string
	add := func(field, s string) {
		if r := []rune(s); len(r) > maxEvidenceText {
			s = string(r[:maxEvidenceText]) + "…"
		}
		to := &out
		if slices.Contains(circumstances, field) {
			to = &around
		}
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(*to, s) && len(*to) < maxEvidence {
			*to = append(*to, s)
		}
	}
	visit(root, func(e ast.Expr) {
		switch e.Kind() {
		case ast.LiteralKind:
			s, ok := e.AsLiteral().(types.String)
			if !ok || s == "" {
				return
			}
			for _, f := range fields {
				if l.stands(p.doc, f, string(s)) {
					add(f, string(s))
				}
			}
		case ast.CallKind:
			if pattern, ok := regexOf(e); ok {
				for _, f := range fields {
					for _, v := range p.doc.texts(f) {
						add(f, pattern.FindString(v))
					}
				}
			}
		}
	})
	if len(out) == 0 {
		return around, false
	}
	return out, true
}

// circumstances are fields that say nothing of what a letter is about.
var circumstances = []string{"channel", "unit", "signature"}

// stands says whether the words stand in a field.
func (l *Language) stands(d *Document, field, literal string) bool {
	if field == "aktenzeichen" || field == "barcode" || field == "barcodes" || field == "channel" || field == "unit" || field == "signature" || field == "form_code" {
		return slices.ContainsFunc(d.texts(field), func(v string) bool { return strings.Contains(v, literal) })
	}
	phrase := l.parse(literal)
	for _, v := range d.texts(field) {
		if strings.Contains(v, literal) || !phrase.Empty() && phrase.In(l.fold(v).words) {
			return true
		}
	}
	return false
}

// texts are the values of a field as texts.
func (d *Document) texts(field string) []string {
	switch field {
	case "document_type":
		return []string{d.DocumentType}
	case "sender":
		return []string{d.Sender}
	case "receiver":
		return []string{d.Receiver}
	case "subject":
		return []string{d.Subject}
	case "form_code":
		return []string{d.FormCode}
	case "barcode", "barcodes":
		return append([]string{d.Barcode}, d.Barcodes...)
	case "aktenzeichen":
		return []string{d.Aktenzeichen}
	case "unit":
		return []string{d.Unit}
	case "channel":
		return []string{d.Channel}
	case "signature":
		return []string{d.Signature}
	case "text":
		return []string{d.Text}
	case "fields":
		var out []string
		for _, v := range d.Fields {
			switch v := v.(type) {
			case string:
				out = append(out, v)
			case bool, float64, int, int64:
				out = append(out, fmt.Sprint(v))
			}
		}
		slices.Sort(out)
		return out
	}
	return nil
}

// regexOf is the pattern of a call of matches with a literal.
func regexOf(e ast.Expr) (*regexp.Regexp, bool) {
	call := e.AsCall()
	if call.FunctionName() != "matches" {
		return nil, false
	}
	args := call.Args()
	last := args[len(args)-1]
	if last.Kind() != ast.LiteralKind {
		return nil, false
	}
	s, ok := last.AsLiteral().(types.String)
	if !ok {
		return nil, false
	}
	re, err := regexp.Compile(string(s))
	return re, err == nil
}

// visit goes through all parts of an expression.
func visit(e ast.Expr, f func(ast.Expr)) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(f))
}

// docFields are the fields of doc that an expression looks at, each once.
func docFields(e ast.Expr) []string {
	var out []string
	visit(e, func(x ast.Expr) {
		if name, ok := docField(x); ok && !slices.Contains(out, name) {
			out = append(out, name)
		}
	})
	return out
}

// docField is the field when x is doc.field, or doc["field"].
func docField(x ast.Expr) (string, bool) {
	if x.Kind() != ast.SelectKind {
		return "", false
	}
	s := x.AsSelect()
	if s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == "doc" {
		return s.FieldName(), true
	}
	return "", false
}

// isCall says that x is a call of one of the functions.
func isCall(x ast.Expr, functions ...string) bool {
	return x.Kind() == ast.CallKind && slices.Contains(functions, x.AsCall().FunctionName())
}

// and, or, not as CEL names them.
const (
	and = operators.LogicalAnd
	or  = operators.LogicalOr
	not = operators.LogicalNot
)
