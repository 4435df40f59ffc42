package form_test

import (
	"fmt"
	"strings"
	"testing"

	"evb/internal/fault"
	"evb/internal/form"
)

const invoice = `{"type": "object", "additionalProperties": false, "required": ["betrag", "nr"], "properties": {
    "betrag": {"type": "number", "minimum": 0}, "nr": {"type": "string", "pattern": "^RE"}, "datum": {"type": "string", "format": "date"},
    "art": {"enum": ["Lieferung", "Leistung"]}, "a/b": {"type": "object", "properties": {"~x": {"type": "integer"}}}}}`

func TestWhatDoesNotFitIsNamedByPointerAndCode(t *testing.T) {
	s, err := form.Compile([]byte(invoice))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		data map[string]any
		want string
	}{
		{map[string]any{"betrag": 12.5, "nr": "RE1", "datum": "2026-11-24", "art": "Lieferung"}, ""},
		{map[string]any{"betrag": "viel"}, "/betrag form-type /nr form-field-missing"},
		{map[string]any{"betrag": -1, "nr": "X", "datum": "gestern", "art": "?", "farbe": 1}, "/art form-enum /betrag form-other /datum form-format /farbe form-field-unknown /nr form-pattern"},
		{map[string]any{"betrag": 1, "nr": "RE", "a/b": map[string]any{"~x": "1"}}, "/a~1b/~0x form-type"},
		{map[string]any{"nr": strings.Repeat("x", form.MaxData)}, " form-too-large"},
	} {
		problems, err := s.Check(c.data)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, p := range problems {
			seen[p.Pointer+" "+p.Code] = true
			if text := fault.Text("de", p.Code, nil); text == p.Code {
				t.Errorf("%s has no sentence", p.Code)
			}
		}
		want := map[string]bool{}
		if f := strings.Split(c.want, " "); c.want != "" {
			for i := 0; i < len(f); i += 2 {
				want[f[i]+" "+f[i+1]] = true
			}
		}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("%v: %v, want %v", c.data, seen, want)
		}
		if f := form.Fault("form-data-invalid", "/fields", problems); (f == nil) != (c.want == "") {
			t.Errorf("fault %v", f)
		}
	}
}

func TestABrokenOrOutwardSchemaIsRefused(t *testing.T) {
	for _, text := range []string{`{`, `{"type": 7}`, `{"$ref": "https://example.org/schema.json"}`, `{"$ref": "file:///etc/passwd"}`, `{"pattern": "("}`, `[]`, `"x"`} {
		if _, err := form.Compile([]byte(text)); !fault.Is(err, "form-schema-broken") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := form.Compile([]byte(`{"title": "` + strings.Repeat("x", form.MaxSchema) + `"}`)); !fault.Is(err, "form-schema-too-large") {
		t.Error(err)
	}
}

func FuzzCompileAndCheck(f *testing.F) {
	f.Add(invoice, `{"betrag": 1}`)
	f.Add(`{"$ref": "#"}`, `{}`)
	f.Add(`true`, `null`)
	f.Fuzz(func(t *testing.T, schema, data string) {
		s, err := form.Compile([]byte(schema))
		if err != nil {
			if _, ok := fault.As(err); !ok {
				t.Fatal(err)
			}
			return
		}
		if problems, err := s.Check(map[string]any{"data": data}); err == nil && len(problems) > 50 {
			t.Fatal(len(problems))
		}
	})
}
