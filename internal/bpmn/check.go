package bpmn

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"evb/internal/fault"
)

// What a Need asks for.
const (
	NeedStation   = "station"
	NeedCondition = "condition"
	NeedLetter    = "letter" // a template; only where evb:action asks for one
)

// Need is something that the file leaves open and activation has to say.
type Need struct {
	ID      string // of the node or flow
	Element string // name of its XML element
	What    string // NeedStation, NeedCondition or NeedLetter
	Code    string // of a sentence in the catalogue
	Params  map[string]string
}

// Text is the sentence for people, "de" or "en".
func (n Need) Text(lang string) string { return fault.Text(lang, n.Code, n.Params) }

// Unsupported is something that is drawn and cannot be executed.
type Unsupported struct {
	ID      string
	Element string
	Code    string // of a sentence in the catalogue
	Params  map[string]string
}

// answers says for which reasons activation can put something in the place of
// what is drawn: who or what does it instead (a station), or another expression.
var answers = map[string]string{
	"bpmn-script": NeedStation, "bpmn-business-rule": NeedStation, "bpmn-call-unknown": NeedStation, "bpmn-ad-hoc": NeedStation, "bpmn-action": NeedStation,
	"bpmn-webhook": NeedStation, "bpmn-condition": NeedCondition, "bpmn-condition-language": NeedCondition, "bpmn-timer": NeedCondition,
	"bpmn-expression": NeedCondition, "bpmn-start-again": NeedCondition,
	"bpmn-letter": NeedLetter,
}

// Answer is what activation can say instead of what is drawn: NeedStation,
// NeedCondition or, where nothing helps but another drawing, nothing.
func (u Unsupported) Answer() string { return answers[u.Code] }

// Note says of something drawn how it is taken, where that is not evident.
type Note struct {
	ID      string
	Element string
	Code    string // of a sentence in the catalogue
	Params  map[string]string
}

// Text is the sentence for people, "de" or "en".
func (n Note) Text(lang string) string { return fault.Text(lang, n.Code, n.Params) }

// Text is the reason for people, "de" or "en".
func (u Unsupported) Text(lang string) string { return fault.Text(lang, u.Code, u.Params) }

// Report says what can be done with a Model.
type Report struct {
	Processes   []string // ids
	Needs       []Need
	Unsupported []Unsupported
	Notes       []Note
}

// Executable says that nothing stands against execution once the needs are
// filled.
func (r Report) Executable() bool { return len(r.Unsupported) == 0 }

// checker collects.
type checker struct {
	m     *Model
	needs []Need
	notes []Note
}

// Check says what the file leaves open and what of it cannot be executed, in
// the order in which the file has it. Closed pools are left out.
func (m *Model) Check() Report {
	keep := len(m.problems)
	c := &checker{m: m}
	r := Report{Processes: []string{}, Needs: []Need{}, Unsupported: []Unsupported{}, Notes: []Note{}}
	for _, p := range m.Processes {
		r.Processes = append(r.Processes, p.ID)
		switch {
		case p.Empty():
		case p.Apart:
			c.note(p.ID, "process", first(p.Name, p.ID), "bpmn-note-apart")
		default:
			c.scope(p.Scope, p.ID, "process")
		}
	}
	c.calls()
	if len(m.Unused) > 0 {
		c.note("", "definitions", strings.Join(m.Unused, ", "), "bpmn-note-extensions")
	}
	r.Needs = append(r.Needs, c.needs...)
	r.Notes = append(r.Notes, c.notes...)
	for _, u := range m.problems {
		if !m.apart(u.ID) {
			r.Unsupported = append(r.Unsupported, u)
		}
	}
	m.problems = m.problems[:keep:keep] // a second Check finds the same
	return r
}

func (c *checker) need(id, element, name, what, code string) {
	c.needs = append(c.needs, Need{ID: id, Element: element, What: what, Code: code, Params: map[string]string{"element": element, "id": id, "name": clip(first(name, id))}})
}

func (c *checker) note(id, element, name, code string) {
	c.notes = append(c.notes, Note{ID: id, Element: element, Code: code, Params: map[string]string{"element": element, "id": id, "name": clip(first(name, id))}})
}

// apart says that the node or flow belongs to a process that is not executed.
func (m *Model) apart(id string) bool {
	n := m.Node(id)
	if f := m.Flow(id); f != nil {
		if n = f.From; n == nil {
			n = f.To
		}
	}
	if n == nil {
		return false
	}
	s := n.Scope
	for s.Owner != nil {
		s = s.Owner.Scope
	}
	i := slices.IndexFunc(m.Processes, func(p *Process) bool { return p.Scope == s })
	return i >= 0 && m.Processes[i].Apart
}

func (c *checker) refuse(n *Node, code string, kv ...string) {
	c.m.refuse(n.ID, n.Element, code, kv...)
}

// named says that something stands against the node already.
func (c *checker) named(id string) bool {
	return slices.ContainsFunc(c.m.problems, func(u Unsupported) bool { return u.ID == id })
}

func (c *checker) scope(s *Scope, id, elementName string) {
	starts := s.Starts()
	if len(starts) == 0 {
		c.m.refuse(id, elementName, "bpmn-no-start")
	}
	if s.Owner != nil && len(starts) > 1 && starts[0].Kind == Start {
		c.m.refuse(id, elementName, "bpmn-start-several")
	}
	if o := s.Owner; o != nil && o.Kind == EventSub && (len(starts) == 0 || starts[0].Trigger == None || len(o.In)+len(o.Out) > 0) && !c.named(id) {
		c.m.refuse(id, elementName, "bpmn-event-sub-process")
	}
	seen := reachable(starts)
	for _, n := range s.Nodes {
		if !seen[n] && len(starts) > 0 && n.Kind != EventSub && !c.named(n.ID) {
			c.refuse(n, "bpmn-unreachable")
		}
		c.node(n)
		if n.Children != nil && n.Element != "adHocSubProcess" {
			c.scope(n.Children, n.ID, n.Element)
		}
	}
	for _, f := range s.Flows {
		c.flow(f)
	}
	c.blocks(s)
	c.joins(s)
}

func (c *checker) node(n *Node) {
	switch n.Kind {
	case Start, Boundary:
		if len(n.In) > 0 {
			c.refuse(n, "bpmn-flow-into-start")
		}
	case End:
		if len(n.Out) > 0 {
			c.refuse(n, "bpmn-flow-out-of-end")
		}
	case EventBased:
		for _, f := range n.Out {
			if f.To.Kind != Catch && f.To.Kind != Receive || len(f.To.In) != 1 {
				c.refuse(n, "bpmn-event-gateway", "target", f.To.ID)
			}
		}
		if len(n.Out) == 0 {
			c.refuse(n, "bpmn-event-gateway", "target", "")
		}
	case Parallel:
		for _, f := range n.Out {
			if f.Condition != "" {
				c.m.refuse(f.ID, "sequenceFlow", "bpmn-condition-parallel")
			}
		}
	case Exclusive, Inclusive:
		if len(n.Out) > 1 {
			for _, f := range n.Out {
				if f.Condition == "" && f != n.Default {
					c.need(f.ID, "sequenceFlow", first(f.Name, n.Name), NeedCondition, "bpmn-need-condition")
				}
			}
		}
	case Task, Service:
		c.work(n)
	}
	switch {
	case n.Trigger == Timer:
		c.timer(n)
	case n.Trigger == Conditional && n.Watch == "":
		c.need(n.ID, n.Element, n.Name, NeedCondition, "bpmn-need-watch")
	case n.Trigger == Conditional:
		if _, err := Condition(n.Watch); err != nil {
			c.refuse(n, "bpmn-condition", "condition", n.Watch, "reason", err.Error())
		}
	}
	if n.Kind == Start && n.Scope.Owner == nil && startNotes[n.Trigger] != "" {
		c.note(n.ID, n.Element, n.Name, startNotes[n.Trigger])
	}
	c.again(n)
}

// startNotes tell what a start event with a trigger means here: somebody begins
// the process for a Vorgang, and nothing else does.
var startNotes = map[Trigger]string{
	Message: "bpmn-note-start-called", Signal: "bpmn-note-start-called", Timer: "bpmn-note-start-timer", Conditional: "bpmn-note-start-condition",
}

// again checks the markers for what is done several times.
func (c *checker) again(n *Node) {
	if r := n.Repeat; r != nil {
		if r.While == "" {
			c.note(n.ID, n.Element, n.Name, "bpmn-note-repeat")
		} else if _, err := Condition(r.While); err != nil {
			c.refuse(n, "bpmn-expression", "expression", r.While, "reason", err.Error())
		}
	}
	if n.Loop == nil {
		return
	}
	if n.Loop.Count == "" && n.Loop.Collection == "" {
		c.note(n.ID, n.Element, n.Name, "bpmn-note-count")
	}
	for _, x := range []struct{ code, text string }{{"bpmn-expression", first(n.Loop.Collection, n.Loop.Count)}, {"bpmn-until", n.Loop.Until}} {
		if x.text == "" {
			continue
		}
		if _, err := Value(x.text); err != nil {
			c.refuse(n, x.code, "expression", x.text, "reason", err.Error())
		}
	}
}

// work checks a task that somebody or something does.
func (c *checker) work(n *Node) {
	t := n.Station
	switch {
	case t.Webhook != "":
		if !webhook(t.Webhook) {
			c.refuse(n, "bpmn-webhook", "url", t.Webhook)
		}
	case t.Action != "":
		if !slices.Contains(Actions, t.Action) {
			c.refuse(n, "bpmn-action", "action", t.Action)
		}
		if t.Action == MakeLetter && n.Letter.IsZero() {
			c.need(n.ID, n.Element, n.Name, NeedLetter, "bpmn-need-letter")
		}
	case t.IsZero() && c.named(n.ID): // what is drawn is not executed; see Unsupported.Answer
	case t.IsZero() && n.Kind == Service:
		c.need(n.ID, n.Element, n.Name, NeedStation, "bpmn-need-service")
	case t.IsZero():
		c.need(n.ID, n.Element, n.Name, NeedStation, "bpmn-need-station")
	}
	if !n.Letter.IsZero() {
		if _, err := NewComposer(n.Letter); err != nil {
			c.refuse(n, "bpmn-letter", "reason", err.Error())
		}
	}
	if n.StepKind != "" && !slices.Contains(StepKinds, n.StepKind) {
		c.refuse(n, "bpmn-step-kind", "kind", n.StepKind)
	}
	if n.Form != "" && !json.Valid([]byte(n.Form)) {
		c.refuse(n, "bpmn-form")
	}
	if n.DueText != "" {
		if _, err := ParsePeriod(n.DueText); err != nil {
			if _, err := ParseTime(n.DueText, time.UTC); err != nil {
				c.refuse(n, "bpmn-due", "timer", n.DueText)
			}
		}
	}
}

func webhook(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

func (c *checker) timer(n *Node) {
	if c.named(n.ID) {
		return
	}
	if n.TimerText == "" {
		c.need(n.ID, n.Element, n.Name, NeedCondition, "bpmn-need-timer")
		return
	}
	if _, err := newTiming(n.TimerKind, n.TimerText); err != nil {
		c.refuse(n, "bpmn-timer", "timer", n.TimerText)
	}
}

func (c *checker) flow(f *Flow) {
	if f.Condition == "" || f.From.Kind == Parallel || f == f.From.Default {
		return
	}
	if f.label() {
		if n := f.From; n.Kind != Exclusive && n.Kind != Inclusive || len(n.Out) > 1 {
			c.need(f.ID, "sequenceFlow", first(f.Name, f.Condition), NeedCondition, "bpmn-need-condition")
		}
		return
	}
	if !f.ours() {
		c.m.refuse(f.ID, "sequenceFlow", "bpmn-condition-language", "condition", f.Condition, "language", f.Language)
		return
	}
	if _, err := Condition(f.Condition); err != nil {
		c.m.refuse(f.ID, "sequenceFlow", "bpmn-condition", "condition", f.Condition, "reason", err.Error())
	}
}

// labels are words that tools put where the condition stands when only the
// caption of a flow was drawn.
var labels = []string{"yes", "no", "ja", "nein", "else", "otherwise", "sonst", "default"}

// label says that what stands as condition is a caption: the name of the flow, or
// one of the usual words. It says nothing about variables.
func (f *Flow) label() bool {
	text := strings.TrimRight(f.Condition, " .!?:")
	if strings.HasPrefix(f.Condition, "=") || strings.ContainsAny(f.Condition, "{}<>=&|()") {
		return false
	}
	return strings.EqualFold(f.Condition, f.Name) || slices.Contains(labels, strings.ToLower(text))
}

// ours says that a condition is in a language that we translate. What names no
// language is known by its form; a language of the whole file is a default that
// tools write without meaning it.
func (f *Flow) ours() bool {
	l := strings.ToLower(f.Language)
	for _, known := range []string{"", "cel", "feel", "juel", "expression", "unified", "mvel"} {
		if l == known || known != "" && strings.Contains(l, known) {
			return true
		}
	}
	if l == "java" || strings.HasSuffix(l, "/java") {
		return true
	}
	return strings.HasPrefix(f.Condition, "${") || strings.HasPrefix(f.Condition, "#{")
}

// calls checks call activities: the process has to stand in the file, have a
// plain start, and must not call itself.
func (c *checker) calls() {
	calls := map[string][]*Node{} // process id to its calls
	for _, p := range c.m.Processes {
		p.Scope.Each(func(n *Node) {
			if n.Kind != Call || p.Apart {
				return
			}
			called := c.m.Process(n.Called)
			if called == nil || called.Empty() {
				c.refuse(n, "bpmn-call-unknown", "process", n.Called)
				return
			}
			if s := called.Scope.Starts(); len(s) == 0 || s[0].Trigger != None {
				c.refuse(n, "bpmn-call-start", "process", n.Called)
			}
			calls[p.ID] = append(calls[p.ID], n)
		})
	}
	for _, p := range c.m.Processes {
		if calling(calls, p.ID, p.ID, map[string]bool{}) {
			for _, n := range calls[p.ID] {
				c.refuse(n, "bpmn-call-cycle", "process", n.Called)
			}
		}
	}
}

func calling(calls map[string][]*Node, from, to string, seen map[string]bool) bool {
	if seen[from] {
		return false
	}
	seen[from] = true
	for _, n := range calls[from] {
		if n.Called == to || calling(calls, n.Called, to, seen) {
			return true
		}
	}
	return false
}
