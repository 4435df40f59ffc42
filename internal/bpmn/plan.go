package bpmn

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"evb/internal/fault"
)

// Targets are one station, or one for each instance of a multi-instance task.
// In JSON it is a name, an object or a list of them.
type Targets []Target

// UnmarshalJSON reads a name, an object or a list.
func (t *Targets) UnmarshalJSON(raw []byte) error {
	raw = []byte(strings.TrimSpace(string(raw)))
	switch {
	case len(raw) == 0 || string(raw) == "null":
		*t = nil
		return nil
	case raw[0] == '[':
		var many []json.RawMessage
		if err := json.Unmarshal(raw, &many); err != nil {
			return err
		}
		*t = nil
		for _, m := range many {
			var one Targets
			if len(m) > 0 && m[0] == '[' {
				return fmt.Errorf("a list in a list of stations")
			}
			if err := one.UnmarshalJSON(m); err != nil {
				return err
			}
			*t = append(*t, one...)
		}
		return nil
	case raw[0] == '"':
		var name string
		if err := json.Unmarshal(raw, &name); err != nil {
			return err
		}
		if name = strings.TrimSpace(name); name != "" {
			*t = Targets{{Group: name}}
		}
		return nil
	}
	var one Target
	if err := json.Unmarshal(raw, &one); err != nil {
		return err
	}
	if !one.IsZero() {
		*t = Targets{one}
	}
	return nil
}

// Activation is what a person says when a definition is put to work.
type Activation struct {
	Stations   map[string]Targets `json:"stations,omitempty"`   // by id of the node
	Conditions map[string]string  `json:"conditions,omitempty"` // CEL, by id of the flow or timer event
	// Messages says which document type is the message of an event, by its id.
	Messages map[string]string `json:"messages,omitempty"`
}

// Plan is a Model with everything that execution needs, compiled. Safe for
// concurrent use.
type Plan struct {
	Model      *Model
	Activation Activation
	conditions map[*Flow]*Expr
	timings    map[*Node]*timing
	stations   map[*Node]Targets
	loops      map[*Node]*loop
	reach      map[*Node]map[*Node]bool // of inclusive joins: what can come to them
}

type loop struct{ count, collection, until *Expr }

// NewPlan fills the needs of a model. It does not know who there is: that
// stations are known is the caller's to look at. Faults: process-not-executable,
// process-needs-open with a field for each need that is not filled,
// process-activation-invalid with a field for each wrong entry.
func NewPlan(m *Model, a Activation) (*Plan, error) {
	r := m.Check()
	if !r.Executable() {
		f := fault.New("process-not-executable", "count", len(r.Unsupported))
		for _, u := range r.Unsupported {
			f = f.With("/"+pointer(u.ID), u.Code, kv(u.Params)...)
		}
		return nil, f
	}
	p := &Plan{
		Model: m, Activation: a, conditions: map[*Flow]*Expr{}, timings: map[*Node]*timing{}, stations: map[*Node]Targets{},
		loops: map[*Node]*loop{}, reach: map[*Node]map[*Node]bool{},
	}
	open, wrong := fault.New("process-needs-open"), fault.New("process-activation-invalid")
	for _, n := range r.Needs {
		switch {
		case n.What == NeedStation && len(a.Stations[n.ID]) == 0:
			open = open.With("/stations/"+pointer(n.ID), n.Code, kv(n.Params)...)
		case n.What == NeedCondition && strings.TrimSpace(a.Conditions[n.ID]) == "":
			open = open.With("/conditions/"+pointer(n.ID), n.Code, kv(n.Params)...)
		}
	}
	for id, targets := range a.Stations {
		n := m.Node(id)
		if n == nil || n.Kind != Task && n.Kind != Service || len(targets) > 1 && n.Loop == nil {
			wrong = wrong.With("/stations/"+pointer(id), "process-element-unknown", "id", clip(id))
			continue
		}
		for _, t := range targets {
			if t.Webhook != "" && !webhook(t.Webhook) || t.Action != "" && !slices.Contains(Actions, t.Action) || !t.Person() && n.Kind == Task {
				wrong = wrong.With("/stations/"+pointer(id), "process-station-invalid", "station", clip(t.String()))
			}
		}
	}
	for id, text := range a.Conditions {
		if err := p.condition(id, text); err != nil {
			wrong = wrong.With("/conditions/"+pointer(id), "process-condition-invalid", "condition", clip(text), "reason", clip(err.Error()))
		}
	}
	for id := range a.Messages {
		if n := m.Node(id); n == nil || n.Trigger != Message {
			wrong = wrong.With("/messages/"+pointer(id), "process-element-unknown", "id", clip(id))
		}
	}
	for _, f := range []*fault.Error{open, wrong} {
		if len(f.Fields) > 0 {
			slices.SortFunc(f.Fields, func(a, b fault.Field) int { return strings.Compare(a.Pointer, b.Pointer) })
			return nil, f
		}
	}
	for _, proc := range m.Processes {
		proc.Scope.Each(p.compile)
	}
	return p, nil
}

func kv(m map[string]string) []any {
	var out []any
	for k, v := range m {
		out = append(out, k, v)
	}
	return out
}

// pointer escapes an id for a JSON pointer.
func pointer(id string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(clip(id))
}

func (p *Plan) condition(id, text string) error {
	if f := p.Model.Flow(id); f != nil {
		x, err := Condition(text)
		p.conditions[f] = x
		return err
	}
	n := p.Model.Node(id)
	if n == nil || n.Trigger != Timer {
		return fmt.Errorf("%w: no flow and no timer of that id", errExpr)
	}
	t, err := newTiming("", text)
	p.timings[n] = t
	return err
}

// compile takes what is drawn where activation said nothing. Check has seen
// that it is sound.
func (p *Plan) compile(n *Node) {
	for _, f := range n.Out {
		if p.conditions[f] == nil && f.Condition != "" && f != n.Default {
			p.conditions[f], _ = Condition(f.Condition)
		}
	}
	if n.Trigger == Timer && p.timings[n] == nil {
		p.timings[n], _ = newTiming(n.TimerKind, n.TimerText)
	}
	if n.Kind == Task || n.Kind == Service {
		p.stations[n] = p.Activation.Stations[n.ID]
		if len(p.stations[n]) == 0 {
			p.stations[n] = Targets{n.Station}
		}
	}
	if n.Loop != nil {
		l := &loop{}
		for _, x := range []struct {
			text string
			to   **Expr
		}{{n.Loop.Count, &l.count}, {n.Loop.Collection, &l.collection}, {n.Loop.Until, &l.until}} {
			if x.text != "" {
				*x.to, _ = Value(x.text)
			}
		}
		p.loops[n] = l
	}
	if n.Kind == Inclusive && len(n.In) > 1 {
		p.reach[n] = coming(n)
	}
}

// coming are the nodes from which a token can come to n.
func coming(n *Node) map[*Node]bool {
	seen := map[*Node]bool{}
	for stack := []*Node{n}; len(stack) > 0; {
		x := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		var before []*Node
		for _, f := range x.In {
			before = append(before, f.From)
		}
		if x.Attached != nil {
			before = append(before, x.Attached)
		}
		for _, b := range before {
			if !seen[b] {
				seen[b] = true
				stack = append(stack, b)
			}
		}
	}
	return seen
}

// StepDue is when a step at the node is due that begins now; false: never.
func (p *Plan) StepDue(n *Node, now time.Time) (Due, bool) {
	if n.DueText == "" {
		return Due{}, false
	}
	t, err := constant(n.DueText)
	if err != nil {
		return Due{}, false
	}
	d, err := t.due(nil, now)
	return d, err == nil
}

// Stations of a task or service, at least one.
func (p *Plan) Stations(n *Node) Targets { return p.stations[n] }

// Comes says that a token at n can still come to the inclusive join.
func (p *Plan) Comes(n, join *Node) bool { return p.reach[join][n] }

// Takes says whether the flow is taken: its condition, or true without one.
func (p *Plan) Takes(f *Flow, vars map[string]any) (bool, error) {
	x := p.conditions[f]
	if x == nil {
		return true, nil
	}
	return x.True(vars)
}

// Message says what the event or receive task waits for: a message of that
// name, or a Dokument of that type.
func (p *Plan) Message(n *Node) (name, documentType string) {
	return n.MessageName, first(p.Activation.Messages[n.ID], n.DocumentType, n.MessageName)
}

// Due says when a timer goes off that is set now, in the zone of the place, and
// how often: 1, n, or -1 for ever.
func (p *Plan) Due(n *Node, vars map[string]any, now time.Time) (Due, error) {
	return p.timings[n].due(vars, now)
}

// Items are the instances of a multi-instance task: one variable value each;
// nil values where it is a mere number.
func (p *Plan) Items(n *Node, vars map[string]any) ([]any, error) {
	l := p.loops[n]
	switch {
	case l.collection != nil:
		v, err := l.collection.Eval(vars)
		if err != nil {
			return nil, err
		}
		items, ok := v.([]any)
		if !ok || len(items) > maxInstances {
			return nil, fmt.Errorf("%q is no list of at most %d", l.collection.Source, maxInstances)
		}
		return items, nil
	case l.count != nil:
		v, err := l.count.Eval(vars)
		if err != nil {
			return nil, err
		}
		if f, ok := v.(float64); ok {
			v = int64(f)
		}
		k, ok := v.(int64)
		if !ok || k < 0 || k > maxInstances {
			return nil, fmt.Errorf("%q is no number from 0 to %d", l.count.Source, maxInstances)
		}
		return make([]any, k), nil
	}
	return make([]any, len(p.stations[n])), nil
}

const maxInstances = 200

// Until says whether a multi-instance task has enough of its instances.
func (p *Plan) Until(n *Node, vars map[string]any) (bool, error) {
	if x := p.loops[n].until; x != nil {
		return x.True(vars)
	}
	return false, nil
}

// Due is the moment of a timer.
type Due struct {
	At    time.Time
	Times int    // 1, n, or -1 for ever
	Every Period // between them
	// Days says that it was counted in days or longer: such a deadline does not
	// end on a day on which nobody works.
	Days bool
}

// timing is a timer: a constant, or an expression of any kind.
type timing struct {
	expr   *Expr
	at     time.Time
	local  string // a moment without zone: it is read in the place
	period Period
	cycle  *Cycle
}

func newTiming(kind, text string) (*timing, error) {
	if strings.HasPrefix(text, "=") || strings.HasPrefix(text, "${") || strings.HasPrefix(text, "#{") {
		if c := plain(text); c != "" {
			return newTiming(kind, c)
		}
		x, err := Value(text)
		return &timing{expr: x}, err
	}
	if kind == "" {
		if t, err := constant(text); err == nil {
			return t, nil
		}
		x, err := Value(text)
		return &timing{expr: x}, err
	}
	return constant(text)
}

// constant reads any of the three forms: tools put a duration into timeDate.
func constant(text string) (*timing, error) {
	if p, err := ParsePeriod(text); err == nil {
		return &timing{period: p}, nil
	}
	if c, err := ParseCycle(text); err == nil {
		return &timing{cycle: &c}, nil
	}
	t, err := ParseTime(text, time.UTC)
	return &timing{at: t, local: text}, err
}

func (t *timing) due(vars map[string]any, now time.Time) (Due, error) {
	switch {
	case t.expr != nil:
		v, err := t.expr.Eval(vars)
		if err != nil {
			return Due{}, err
		}
		switch v := v.(type) {
		case bool:
			if v {
				return Due{At: now, Times: 1}, nil
			}
		case time.Duration:
			return Due{At: now.Add(v), Times: 1}, nil
		case time.Time:
			return Due{At: v, Times: 1}, nil
		case string:
			c, err := constant(v)
			if err != nil {
				return Due{}, err
			}
			return c.due(vars, now)
		}
		return Due{}, fmt.Errorf("%q gives %v, which is no date and no duration", t.expr.Source, v)
	case t.cycle != nil:
		at := t.cycle.Start
		if at.IsZero() {
			at = t.cycle.Period.After(now)
		}
		return Due{At: at, Times: t.cycle.Times, Every: t.cycle.Period, Days: t.cycle.Start.IsZero() && t.cycle.Period.InDays()}, nil
	case t.local != "":
		at, err := ParseTime(t.local, now.Location())
		return Due{At: at, Times: 1}, err
	}
	return Due{At: t.period.After(now), Times: 1, Days: t.period.InDays()}, nil
}
