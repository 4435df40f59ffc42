package run

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"evb/internal/bpmn"
)

// guarded says that the events on the border of t's node can fire: the activity
// is going on. The instances of a multi-instance task are guarded by its own token.
func guarded(t Token) bool {
	return t.Index == 0 && (t.Wait != Failed || t.Again == Call)
}

// Subscription is a message that a token waits for.
type Subscription struct {
	Token        int
	Element      string // the event or receive task
	Name         string
	DocumentType string // a Dokument of this type is the message, too
	Signal       bool   // it is a signal
}

// Subscriptions are all messages that an instance waits for.
func Subscriptions(p *bpmn.Plan, s State) []Subscription {
	var out []Subscription
	if s.Status != Running {
		return nil
	}
	for _, t := range s.Tokens {
		n := p.Model.Node(t.Node)
		if n == nil {
			continue
		}
		add := func(ev *bpmn.Node) {
			if ev.Trigger == bpmn.Message || ev.Trigger == bpmn.Signal {
				name, docType := p.Message(ev)
				out = append(out, Subscription{Token: t.ID, Element: ev.ID, Name: name, DocumentType: docType, Signal: ev.Trigger == bpmn.Signal})
			}
		}
		switch t.Wait {
		case Message:
			add(n)
		case Event:
			for _, f := range n.Out {
				add(f.To)
			}
		case Guard:
			add(n.Opening())
		}
		if guarded(t) {
			for _, b := range n.Boundary {
				add(b)
			}
		}
	}
	return out
}

// Alarm is a timer that is running.
type Alarm struct {
	Token   int
	Element string
	Due     time.Time
}

// Alarms are all timers of an instance.
func Alarms(s State) []Alarm {
	var out []Alarm
	if s.Status != Running {
		return nil
	}
	for _, t := range s.Tokens {
		for _, a := range t.Timers {
			out = append(out, Alarm{Token: t.ID, Element: a.Element, Due: a.Due})
		}
	}
	return out
}

// Obstacle says why a token cannot move to another version of its process.
type Obstacle struct {
	Token  int
	Node   string
	Reason string
}

// Migrate moves an instance to another plan. nodes maps ids of the old plan to
// those of the new one; an id that is not in it stays. Every token has to find
// a node of its kind in a sub-process of the same kind; a task that is open
// stays at its station, a timer keeps its moment. Event sub-processes that are new begin to wait, those
// that are gone do no longer. Obstacles: nothing has moved.
func Migrate(to *bpmn.Plan, process string, s State, nodes map[string]string, o Options) (Result, []Obstacle) {
	m := &machine{plan: to, o: o, s: s.clone()}
	var against []Obstacle
	name := func(id string) string {
		if n, ok := nodes[id]; ok {
			return n
		}
		return id
	}
	if to.Model.Process(process) == nil {
		return Result{}, []Obstacle{{Reason: fmt.Sprintf("no process %q", process)}}
	}
	m.s.Process = process
	m.s.Tokens = slices.DeleteFunc(m.s.Tokens, func(t Token) bool { return t.Wait == Guard && to.Model.Node(name(t.Node)) == nil })
	for i := range m.s.Tokens {
		t := &m.s.Tokens[i]
		old := t.Node
		t.Node = name(old)
		n := to.Model.Node(t.Node)
		if why := fits(to, *t, n, m.s); why != "" {
			against = append(against, Obstacle{Token: t.ID, Node: old, Reason: why})
			continue
		}
		if t.Flow != "" {
			if f := to.Model.Flow(name(t.Flow)); f != nil && f.To == n {
				t.Flow = f.ID
			} else if t.Wait == Join {
				against = append(against, Obstacle{Token: t.ID, Node: old, Reason: fmt.Sprintf("no flow %q into the join", t.Flow)})
			} else {
				t.Flow = ""
			}
		}
		kept := t.Timers[:0]
		for _, a := range t.Timers {
			if ev := to.Model.Node(name(a.Element)); ev != nil && ev.Trigger == bpmn.Timer {
				a.Element = ev.ID
				kept = append(kept, a)
			}
		}
		t.Timers = kept
		if old != t.Node {
			m.entry(t.ID, t.Node, Moved, old)
		}
	}
	if len(against) > 0 {
		return Result{}, against
	}
	m.entry(0, "", Moved, process)
	m.reguard()
	m.run() // an inclusive join of the new version may have nothing more to wait for
	return m.result(), nil
}

// reguard sets up the event sub-processes that a scope of another version has
// more. One that has interrupted its scope stays the only one.
func (m *machine) reguard() {
	scopes := map[int]*bpmn.Scope{0: m.plan.Model.Process(m.s.Process).Scope}
	for _, t := range m.s.Tokens {
		if n := m.plan.Model.Node(t.Node); t.Wait == Scope && t.Loop == nil {
			if scopes[t.ID] = n.Children; n.Kind == bpmn.Call {
				scopes[t.ID] = m.plan.Model.Process(n.Called).Scope
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(scopes)) {
		there, interrupted := map[string]bool{}, false
		for _, t := range m.s.Tokens {
			if n := m.plan.Model.Node(t.Node); t.Scope == id && n.Kind == bpmn.EventSub {
				there[n.ID], interrupted = true, interrupted || t.Wait == Scope && n.Opening().Interrupting
			}
		}
		for _, n := range scopes[id].Nodes {
			if n.Kind == bpmn.EventSub && !there[n.ID] && !interrupted {
				m.guard(m.arrive(move{node: n, scope: id}), n)
			}
		}
	}
}

// fits says why a token cannot stand on the node, or nothing. Scopes come before
// what is inside them, so the token of the scope stands on its new node already.
func fits(p *bpmn.Plan, t Token, n *bpmn.Node, s State) string {
	if n == nil {
		return "there is no such element"
	}
	want := map[Wait][]bpmn.Kind{
		Task: {bpmn.Task, bpmn.Service}, Service: {bpmn.Service}, Message: {bpmn.Catch, bpmn.Receive}, Timer: {bpmn.Catch, bpmn.Start}, Watch: {bpmn.Catch, bpmn.Start},
		Event: {bpmn.EventBased}, Join: {bpmn.Parallel, bpmn.Inclusive}, Scope: {bpmn.SubProcess, bpmn.Call, bpmn.EventSub}, Guard: {bpmn.EventSub},
	}[t.Wait]
	if t.Loop != nil {
		want = []bpmn.Kind{bpmn.Task, bpmn.Service, bpmn.Receive, bpmn.SubProcess, bpmn.Call}
	}
	ok := t.Wait == Failed || len(want) == 0
	for _, k := range want {
		ok = ok || n.Kind == k
	}
	switch {
	case !ok, t.Wait == Message && n.Trigger != bpmn.Message && n.Trigger != bpmn.Signal, t.Wait == Timer && n.Trigger != bpmn.Timer,
		t.Wait == Watch && n.Trigger != bpmn.Conditional:
		return fmt.Sprintf("a %s cannot take what waits for a %s", n.Kind, t.Wait)
	case (t.Loop != nil || t.Index > 0) != (n.Loop != nil) && t.Wait != Failed:
		return "one of the two is a multi-instance activity"
	case t.Wait == Service && p.Stations(n)[0].Person():
		return "there is no service any more"
	}
	inside := p.Model.Process(s.Process).Scope
	if t.Scope != 0 {
		h, _ := s.Token(t.Scope)
		host := p.Model.Node(h.Node)
		switch {
		case host == nil:
			return "its sub-process has no place"
		case t.Index > 0:
			if host != n {
				return "its multi-instance activity has another place"
			}
			return ""
		case host.Kind == bpmn.Call:
			inside = p.Model.Process(host.Called).Scope
		case host.Children != nil:
			inside = host.Children
		}
	}
	if n.Scope != inside {
		return "it is not in the same sub-process"
	}
	return ""
}
