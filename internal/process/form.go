package process

import (
	"evb/internal/bpmn"
	"evb/internal/fault"
	"evb/internal/form"
)

// fits checks what a person filled in against the form of the task, a JSON
// Schema. A task without one takes anything.
func fits(n *bpmn.Node, data map[string]any) error {
	if n == nil || n.Form == "" {
		return nil
	}
	schema, err := form.Compile([]byte(n.Form))
	if err != nil {
		return fault.Wrap(err, "process-form-broken", "element", n.ID)
	}
	if data == nil {
		data = map[string]any{} // nothing filled in
	}
	problems, err := schema.Check(data)
	if err != nil {
		return err
	}
	return form.Fault("process-data-invalid", "/data", problems)
}
