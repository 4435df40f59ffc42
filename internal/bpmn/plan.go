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
	Stations map[string]Targets `json:"stations,omitempty"` // by id of the node
	// Conditions are CEL, by id of the flow, timer or conditional event, or of a
	// task that is done several times: while, how often, or for what.
	Conditions map[string]string `json:"conditions,omitempty"`
	// Messages says which document type is the message of an event, by its id.
	Messages map[string]string `json:"messages,omitempty"`
	// Letters are the templates of the action "letter", by id of the node.
	Letters map[string]Letter `json:"letters,omitempty"`
}

// Plan is a Model with everything that execution needs, compiled. Safe for
// concurrent use.
type Plan struct {
	Model      *Model
	Activation Activation
	conditions map[*Flow]*Expr
	watches    map[*Node]*Expr // of conditional events
	repeats    map[*Node]*Expr // of standard loops
	timings    map[*Node]*timing
	stations   map[*Node]Targets
	loops      map[*Node]*loop
	letters    map[*Node]*Composer
	reach      map[*Node]map[*Node]bool // of inclusive joins: what can come to them
}

type loop struct{ items, until *Expr }

// NewPlan fills the needs of a model, which is the plan's from then on. What is
// unsupported is no obstacle where activation says what is to be in its place
// (Unsupported.Answer). It does not know who there is: that stations are known is
// the caller's to look at. Faults: process-not-executable,
// process-needs-open with a field for each need that is not filled,
// process-activation-invalid with a field for each wrong entry.
func NewPlan(m *Model, a Activation) (*Plan, error) {
	r := m.Check()
	against := slices.DeleteFunc(slices.Clone(r.Unsupported), func(u Unsupported) bool { return a.answers(u) })
	if len(against) > 0 {
		f := fault.New("process-not-executable", "count", len(against))
		for _, u := range against {
			f = f.With("/"+pointer(u.ID), u.Code, kv(u.Params)...)
		}
		return nil, f
	}
	for _, u := range r.Unsupported {
		if n := m.Node(u.ID); n != nil && u.Answer() == NeedStation {
			n.Kind, n.Called, n.Children = Service, "", nil // as activation says, not as drawn
		}
	}
	p := &Plan{
		Model: m, Activation: a, conditions: map[*Flow]*Expr{}, watches: map[*Node]*Expr{}, repeats: map[*Node]*Expr{}, timings: map[*Node]*timing{}, stations: map[*Node]Targets{},
		loops: map[*Node]*loop{}, letters: map[*Node]*Composer{}, reach: map[*Node]map[*Node]bool{},
	}
	open, wrong := fault.New("process-needs-open"), fault.New("process-activation-invalid")
	for _, n := range r.Needs {
		switch {
		case n.What == NeedStation && len(a.Stations[n.ID]) == 0:
			open = open.With("/stations/"+pointer(n.ID), n.Code, kv(n.Params)...)
		case n.What == NeedLetter:
			if len(a.Stations[n.ID]) == 0 && a.Letters[n.ID].IsZero() {
				open = open.With("/letters/"+pointer(n.ID), n.Code, kv(n.Params)...)
			}
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
			if t.Action == MakeLetter && n.Letter.IsZero() && a.Letters[id].IsZero() {
				open = open.With("/letters/"+pointer(id), "bpmn-need-letter", "element", n.Element, "id", clip(id), "name", clip(first(n.Name, id)))
			}
		}
	}
	for id, text := range a.Conditions {
		if err := p.condition(id, text); err != nil {
			wrong = wrong.With("/conditions/"+pointer(id), "process-condition-invalid", "condition", clip(text), "reason", clip(err.Error()))
		}
	}
	for id, l := range a.Letters {
		n := m.Node(id)
		if n == nil || n.Kind != Service {
			wrong = wrong.With("/letters/"+pointer(id), "process-element-unknown", "id", clip(id))
			continue
		}
		c, err := NewComposer(l)
		if err != nil {
			wrong = wrong.With("/letters/"+pointer(id), "bpmn-letter", "id", clip(id), "reason", clip(err.Error()))
		}
		p.letters[n] = c
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
		if !proc.Apart {
			proc.Scope.Each(p.compile)
		}
	}
	return p, nil
}

// answers says that the activation puts something in the place of u.
func (a Activation) answers(u Unsupported) bool {
	switch u.Answer() {
	case NeedStation:
		return len(a.Stations[u.ID]) > 0
	case NeedCondition:
		return strings.TrimSpace(a.Conditions[u.ID]) != ""
	case NeedLetter:
		return !a.Letters[u.ID].IsZero()
	}
	return false
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
	var err error
	switch {
	case n != nil && n.Trigger == Timer:
		p.timings[n], err = newTiming("", text)
	case n != nil && n.Trigger == Conditional:
		p.watches[n], err = Condition(text)
	case n != nil && n.Repeat != nil:
		p.repeats[n], err = Condition(text)
	case n != nil && n.Loop != nil:
		p.loops[n] = &loop{}
		p.loops[n].items, err = Value(text)
	default:
		err = fmt.Errorf("%w: no flow, no event and no loop of that id", errExpr)
	}
	return err
}

// compile takes what is drawn where activation said nothing. Check has seen
// that it is sound.
func (p *Plan) compile(n *Node) {
	for _, f := range n.Out {
		if p.conditions[f] == nil && f.Condition != "" && f != n.Default && !f.label() {
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
	if !n.Letter.IsZero() && p.letters[n] == nil {
		p.letters[n], _ = NewComposer(n.Letter)
	}
	if n.Trigger == Conditional && p.watches[n] == nil {
		p.watches[n], _ = Condition(n.Watch)
	}
	if n.Repeat != nil && n.Repeat.While != "" && p.repeats[n] == nil {
		p.repeats[n], _ = Condition(n.Repeat.While)
	}
	if n.Loop != nil {
		l := p.loops[n]
		if l == nil {
			l = &loop{}
			p.loops[n] = l
		}
		if x := first(n.Loop.Collection, n.Loop.Count); x != "" && l.items == nil {
			l.items, _ = Value(x)
		}
		if n.Loop.Until != "" {
			l.until, _ = Value(n.Loop.Until)
		}
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

// Letter is the template of a node; nil: it has none.
func (p *Plan) Letter(n *Node) *Composer { return p.letters[n] }

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
// name, or a Dokument of that type; or a signal of that name.
func (p *Plan) Message(n *Node) (name, documentType string) {
	if n.Trigger == Signal {
		return n.MessageName, ""
	}
	return n.MessageName, first(p.Activation.Messages[n.ID], n.DocumentType, n.MessageName)
}

// Due says when a timer goes off that is set now, in the zone of the place, and
// how often: 1, n, or -1 for ever.
func (p *Plan) Due(n *Node, vars map[string]any, now time.Time) (Due, error) {
	return p.timings[n].due(vars, now)
}

// Holds says that the condition of a conditional event is true. One that cannot
// be told yet, for want of a variable, is not.
func (p *Plan) Holds(n *Node, vars map[string]any) bool {
	yes, err := p.watches[n].True(vars)
	return err == nil && yes
}

// Said is the variable by which a person says that a loop without a condition
// goes round once more.
const Said = "repeat"

// Repeats says whether a standard loop goes round once more.
func (p *Plan) Repeats(n *Node, vars map[string]any) (bool, error) {
	if x := p.repeats[n]; x != nil {
		return x.True(vars)
	}
	yes, _ := vars[Said].(bool)
	return yes, nil
}

// Items are the instances of a multi-instance activity: one variable value each;
// nil values where it is a mere number. Where nothing says how many, there is
// one for each station, at least one.
func (p *Plan) Items(n *Node, vars map[string]any) ([]any, error) {
	x := p.loops[n].items
	if x == nil {
		return make([]any, max(1, len(p.stations[n]))), nil
	}
	v, err := x.Eval(vars)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case []any:
		if len(v) <= maxInstances {
			return v, nil
		}
	case int64:
		if v >= 0 && v <= maxInstances {
			return make([]any, v), nil
		}
	case float64:
		if v >= 0 && v <= maxInstances {
			return make([]any, int(v)), nil
		}
	}
	return nil, fmt.Errorf("%q gives no list of at most %d and no number up to that", x.Source, maxInstances)
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
