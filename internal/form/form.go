// Package form checks what people and programs fill in against a JSON Schema
// (draft 2020-12 where it names none): the fields of a station of a process, and
// those of a kind of Dokument. A schema refers to nothing outside of it; formats
// are checked. What does not fit is named by JSON Pointer (RFC 6901) and by a
// code with a German and an English sentence.
package form

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"evb/internal/fault"
)

// MaxSchema and MaxData bound a schema and what is filled in, in bytes of JSON.
const (
	MaxSchema = 64 << 10
	MaxData   = 64 << 10
)

// maxProblems is how many are named at once; who mends them sees the others.
const maxProblems = 50

// Schema is a compiled schema. Safe for concurrent use.
type Schema struct{ s *jsonschema.Schema }

// Compile reads a schema. Fault: form-schema-broken with the reason.
func Compile(text []byte) (Schema, error) {
	if len(text) > MaxSchema {
		return Schema{}, fault.New("form-schema-too-large", "most", MaxSchema)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return Schema{}, broken(err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // no file and no address is read
	c.AssertFormat()
	if err := c.AddResource("form.json", doc); err != nil {
		return Schema{}, broken(err)
	}
	s, err := c.Compile("form.json")
	if err != nil {
		return Schema{}, broken(err)
	}
	return Schema{s}, nil
}

func broken(err error) error {
	return fault.Wrap(err, "form-schema-broken", "reason", strings.Join(strings.Fields(err.Error()), " "))
}

// Problem is one thing that does not fit.
type Problem struct {
	Pointer string
	Code    string // of the catalogue, form-...
	Params  []any
}

// Check gives what of data does not fit, at most the first fifty; nil: it fits.
func (s Schema) Check(data any) ([]Problem, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("check a form: %w", err)
	}
	if len(raw) > MaxData {
		return []Problem{{Code: "form-too-large", Params: []any{"most", MaxData}}}, nil
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("check a form: %w", err)
	}
	err = s.s.Validate(doc)
	var bad *jsonschema.ValidationError
	if err == nil || !errors.As(err, &bad) {
		return nil, err
	}
	var out []Problem
	collect(bad, &out)
	return out[:min(len(out), maxProblems)], nil
}

// Fault names the problems below prefix ("/data") as fields of a fault with the
// code; nil for none.
func Fault(code, prefix string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	f := fault.New(code)
	for _, p := range problems {
		f = f.With(prefix+p.Pointer, p.Code, p.Params...)
	}
	return f
}

func collect(e *jsonschema.ValidationError, out *[]Problem) {
	for _, c := range e.Causes {
		collect(c, out)
	}
	if len(e.Causes) > 0 {
		return
	}
	at := pointer(e.InstanceLocation)
	add := func(pointer, code string, kv ...any) { *out = append(*out, Problem{pointer, code, kv}) }
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			add(at+pointer([]string{name}), "form-field-missing", "field", name)
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			add(at+pointer([]string{name}), "form-field-unknown", "field", name)
		}
	case *kind.Type:
		add(at, "form-type", "got", k.Got, "want", strings.Join(k.Want, ", "))
	case *kind.Enum:
		add(at, "form-enum", "want", list(k.Want))
	case *kind.Format:
		add(at, "form-format", "want", k.Want)
	case *kind.Pattern:
		add(at, "form-pattern", "want", k.Want)
	default:
		add(at, "form-other", "reason", k.LocalizedString(message.NewPrinter(language.English)))
	}
}

func list(values []any) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprint(v)
	}
	return strings.Join(out, ", ")
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

func pointer(tokens []string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString("/" + escape.Replace(t))
	}
	return b.String()
}
