package process

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"evb/internal/bpmn"
	"evb/internal/fault"
)

// fits checks what a person filled in against the form of the task, a JSON
// Schema (draft 2020-12 where it names none). A task without one takes anything.
func fits(n *bpmn.Node, data map[string]any) error {
	if n == nil || n.Form == "" {
		return nil
	}
	schema, err := form(n.Form)
	if err != nil {
		return fault.Wrap(err, "process-form-broken", "element", n.ID)
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		return err
	}
	err = schema.Validate(doc)
	var bad *jsonschema.ValidationError
	if !errors.As(err, &bad) {
		return err
	}
	f := fault.Wrap(err, "process-data-invalid")
	for _, c := range leaves(bad) {
		f = f.With("/"+strings.Join(append([]string{"data"}, c.InstanceLocation...), "/"), "process-data-invalid")
	}
	return f
}

// form compiles a schema that refers to nothing outside of it.
func form(text string) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // no file and no address is read
	if err := c.AddResource("form.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("form.json")
}

func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var out []*jsonschema.ValidationError
	for _, c := range e.Causes {
		out = append(out, leaves(c)...)
	}
	return out
}
