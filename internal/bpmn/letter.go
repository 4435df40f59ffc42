package bpmn

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Letter is the template of a letter that the built-in action "letter" makes. Its
// texts hold placeholders: {{ and }} around an expression as in conditions, over
// the variables of the instance, "vorgang" and "today".
type Letter struct {
	DocumentType string `json:"document_type"`
	Subject      string `json:"subject"`
	To           string `json:"to,omitempty"` // lines of the address
	Text         string `json:"text"`         // paragraphs; an empty line between them
}

// IsZero says that there is no template.
func (l Letter) IsZero() bool { return l == Letter{} }

// maxLetter bounds a letter, in bytes of each of its texts with the placeholders
// filled in.
const maxLetter = 100 << 10

// letter reads evb:letter: the type as attribute documentType, the texts as the
// elements subject, to and text.
func (r *reader) letter(n *Node, e *element) {
	x := e.extension(evb, "letter")
	if x == nil {
		return
	}
	part := func(name string) string {
		if k := x.kid(evb, name); k != nil {
			return unindented(k.text)
		}
		return ""
	}
	n.Letter = Letter{DocumentType: first(x.attr("documentType"), x.attrIn(evb, "documentType")), Subject: part("subject"), To: part("to"), Text: part("text")}
}

// unindented takes away how XML is indented.
func unindented(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// Composer fills a template in. Safe for concurrent use.
type Composer struct {
	documentType       string
	subject, to, lines *template
}

// template alternates between text and expressions.
type template struct {
	text  []string // one more than fills
	fills []*Expr
}

// NewComposer reads a template. An error names what of it cannot be filled in.
func NewComposer(l Letter) (*Composer, error) {
	c := &Composer{documentType: strings.TrimSpace(l.DocumentType)}
	if strings.TrimSpace(l.Text) == "" || strings.TrimSpace(l.Subject) == "" || c.documentType == "" {
		return nil, fmt.Errorf("document type, subject and text are needed")
	}
	for _, x := range []struct {
		text string
		to   **template
	}{{l.Subject, &c.subject}, {l.To, &c.to}, {l.Text, &c.lines}} {
		t, err := newTemplate(x.text)
		if err != nil {
			return nil, err
		}
		*x.to = t
	}
	return c, nil
}

func newTemplate(s string) (*template, error) {
	t := &template{}
	for {
		before, rest, more := strings.Cut(s, "{{")
		t.text = append(t.text, before)
		if !more {
			return t, nil
		}
		expr, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return nil, fmt.Errorf("{{ without }}: %s", clip(rest))
		}
		x, err := Value(strings.TrimSpace(expr))
		if err != nil {
			return nil, fmt.Errorf("{{%s}}: %w", clip(expr), err)
		}
		t.fills, s = append(t.fills, x), after
	}
}

// Compose gives the letter for these variables, or an error that names what is
// missing.
func (c *Composer) Compose(vars map[string]any) (Letter, error) {
	out := Letter{DocumentType: c.documentType}
	for _, x := range []struct {
		from *template
		to   *string
	}{{c.subject, &out.Subject}, {c.to, &out.To}, {c.lines, &out.Text}} {
		text, err := x.from.fill(vars)
		if err != nil {
			return out, err
		}
		*x.to = text
	}
	out.Subject = strings.Join(strings.Fields(out.Subject), " ")
	return out, nil
}

func (t *template) fill(vars map[string]any) (string, error) {
	var b strings.Builder
	for i, text := range t.text {
		b.WriteString(text)
		if i < len(t.fills) {
			v, err := t.fills[i].Eval(vars)
			if err != nil {
				return "", fmt.Errorf("{{%s}}: %w", clip(t.fills[i].Source), err)
			}
			b.WriteString(written(v))
		}
		if b.Len() > maxLetter {
			return "", fmt.Errorf("the letter is longer than %d kB", maxLetter>>10)
		}
	}
	return strings.TrimSpace(b.String()), nil
}

// written is a value as people here write it.
func written(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "ja"
		}
		return "nein"
	case float64:
		return strings.Replace(strconv.FormatFloat(v, 'f', -1, 64), ".", ",", 1)
	case time.Time:
		return v.Format("02.01.2006")
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = written(x)
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v)
}
