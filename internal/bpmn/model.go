package bpmn

import (
	"slices"
	"strings"
)

// Kind is what a node does when it is executed.
type Kind string

// The kinds of nodes.
const (
	Start      Kind = "start"
	End        Kind = "end"
	Task       Kind = "task"    // a person at a station
	Service    Kind = "service" // a webhook or a built-in action
	Receive    Kind = "receive" // waits for a message
	Catch      Kind = "catch"   // waits for a message, a signal, a timer or a condition
	Throw      Kind = "throw"   // also both ends of a link: they are passed
	Boundary   Kind = "boundary"
	Exclusive  Kind = "exclusive"
	Parallel   Kind = "parallel"
	Inclusive  Kind = "inclusive"
	EventBased Kind = "event-based"
	SubProcess Kind = "sub-process"
	EventSub   Kind = "event-sub-process" // begun by its start event while its scope is going on
	Call       Kind = "call"
)

// Trigger is what an event is about.
type Trigger string

// The triggers of events.
const (
	None        Trigger = ""
	Message     Trigger = "message"
	Signal      Trigger = "signal"
	Timer       Trigger = "timer"
	Conditional Trigger = "conditional"
	Error       Trigger = "error"
	Escalation  Trigger = "escalation"
	Cancel      Trigger = "cancel" // of a transaction
	Link        Trigger = "link"
	Terminate   Trigger = "terminate"
)

// Model is what a file says.
type Model struct {
	Exporter  string // tool and version, as the file names them
	Processes []*Process

	// Unused are the extension elements of other engines that have no effect here,
	// by name: listeners, mappings, forms.
	Unused []string

	problems []Unsupported
	nodes    map[string]*Node
	flows    map[string]*Flow
}

// Process is one process of a file: often the content of one pool.
type Process struct {
	ID         string
	Name       string
	Executable bool // isExecutable, as drawn
	Scope      *Scope
	// Apart says that it is not executed: it is drawn as not executable beside one
	// that is, and that one does not call it.
	Apart bool
}

// Scope holds the nodes and flows of a process or an embedded sub-process.
type Scope struct {
	Owner *Node // the sub-process; nil for a process
	Nodes []*Node
	Flows []*Flow
}

// Node is a task, event or gateway.
type Node struct {
	ID      string
	Kind    Kind
	Element string // name of the XML element
	Name    string
	Doc     string // documentation: what the person is to do
	Scope   *Scope
	In, Out []*Flow
	Default *Flow
	Lane    string // name of the innermost lane

	// Events
	Trigger      Trigger
	Attached     *Node // of a boundary event
	Interrupting bool
	Boundary     []*Node // boundary events of an activity
	MessageName  string  // of a message, signal or link
	DocumentType string  // evb:documentType: a Dokument of this type in the Vorgang is the message
	Code         string  // of an error or escalation; empty catches all
	TimerKind    string  // date, duration or cycle
	TimerText    string
	Watch        string // condition of a conditional event
	// SentTo are the nodes or participants of other pools at the end of message flows.
	SentTo []string

	// Activities
	Children *Scope
	Called   string // process of a call activity
	Loop     *Loop
	Repeat   *Repeat
	Station  Target
	Form     string // JSON Schema, or a reference that the file gives
	StepKind string // evb:kind of the circulation step, e.g. co_sign
	DueText  string // evb:due: ISO duration until the step is due
	Letter   Letter // of the action "letter"
}

// Repeat is a standard loop.
type Repeat struct {
	While  string // condition; empty: the person says so with the variable "repeat"
	Before bool   // it is asked before the first time, too
	Max    int    // 0: no limit
}

// Loop is multi-instance.
type Loop struct {
	Sequential bool
	Count      string // expression or number; empty: one for each of the station's targets
	Collection string // name of a variable that holds a list
	Item       string // name of the variable of one element
	Until      string // completion condition
}

// Flow is a sequence flow.
type Flow struct {
	ID        string
	Name      string
	From, To  *Node
	Condition string // as drawn, trimmed
	Language  string
}

// Target says who or what does a step. The zero Target: nobody is named.
type Target struct {
	User     string `json:"user,omitempty"`     // login
	Unit     string `json:"unit,omitempty"`     // code of an org unit
	Function string `json:"function,omitempty"` // e.g. Leitung
	Postkorb string `json:"postkorb,omitempty"` // name
	Group    string `json:"group,omitempty"`    // a name of any of these kinds, as modellers write it
	Webhook  string `json:"webhook,omitempty"`  // URL, for a service task
	Action   string `json:"action,omitempty"`   // built-in action, for a service task
}

// IsZero says that nobody is named.
func (t Target) IsZero() bool { return t == Target{} }

// Person says that the target is worked at by people.
func (t Target) Person() bool { return !t.IsZero() && t.Webhook == "" && t.Action == "" }

// String is for messages.
func (t Target) String() string {
	var parts []string
	for _, p := range []string{t.User, t.Unit, t.Function, t.Postkorb, t.Group, t.Webhook, t.Action} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// Node finds a node of any process by its id, or nil.
func (m *Model) Node(id string) *Node { return m.nodes[id] }

// Flow finds a flow by its id, or nil.
func (m *Model) Flow(id string) *Flow { return m.flows[id] }

// Process finds a process by its id, or nil.
func (m *Model) Process(id string) *Process {
	for _, p := range m.Processes {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// Main is the process that is started when none is named, among those that no
// other one calls: the first one drawn as executable, else the first with a plain
// start, else the first one.
func (m *Model) Main() *Process {
	called := map[string]bool{}
	for _, p := range m.Processes {
		p.Scope.Each(func(n *Node) {
			if n.Kind == Call && n.Called != p.ID {
				called[n.Called] = true
			}
		})
	}
	all := slices.DeleteFunc(slices.Clone(m.Processes), func(p *Process) bool { return p.Empty() || p.Apart })
	if top := slices.DeleteFunc(slices.Clone(all), func(p *Process) bool { return called[p.ID] }); len(top) > 0 {
		all = top
	}
	var plain, first *Process
	for _, p := range all {
		if first == nil {
			first = p
		}
		starts := p.Scope.Starts()
		if len(starts) == 0 || starts[0].Trigger != None {
			continue
		}
		if p.Executable {
			return p
		}
		if plain == nil {
			plain = p
		}
	}
	if plain != nil {
		return plain
	}
	return first
}

// Empty says that nothing is drawn in it: a closed pool.
func (p *Process) Empty() bool { return len(p.Scope.Nodes) == 0 }

// Starts are the nodes at which a scope begins: its start events, plain ones
// first, or else every node that no flow leads to (BPMN 2.0.2, 10.5.2). Of
// several start events only one is taken, nodes without a flow begin together.
func (s *Scope) Starts() []*Node {
	var plain, other, open []*Node
	for _, n := range s.Nodes {
		switch {
		case n.Kind == Start && n.Trigger == None:
			plain = append(plain, n)
		case n.Kind == Start:
			other = append(other, n)
		case n.Kind != Boundary && n.Kind != EventSub && len(n.In) == 0:
			open = append(open, n)
		}
	}
	if starts := append(plain, other...); len(starts) > 0 {
		return starts
	}
	return open
}

// Opening is the start event of an event sub-process.
func (n *Node) Opening() *Node { return n.Children.Starts()[0] }

// Opens says that the node is the start event of an event sub-process.
func (n *Node) Opens() bool {
	return n.Kind == Start && n.Scope.Owner != nil && n.Scope.Owner.Kind == EventSub
}

// Activity says that boundary events can stand on the node.
func (n *Node) Activity() bool {
	switch n.Kind {
	case Task, Service, Receive, SubProcess, Call:
		return true
	}
	return false
}

// Each visits the nodes of a scope and of the sub-processes in it.
func (s *Scope) Each(visit func(*Node)) {
	for _, n := range s.Nodes {
		visit(n)
		if n.Children != nil {
			n.Children.Each(visit)
		}
	}
}
