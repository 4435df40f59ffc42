package run

import (
	"slices"

	"evb/internal/bpmn"
)

// An event sub-process waits for its start event as long as the scope goes on
// that it is drawn in. Its token, the guard, holds the timers and messages of the
// start event, and keeps the scope not from its end.

// guards sets up the event sub-processes of a scope that begins.
func (m *machine) guards(s *bpmn.Scope, scope int, forks []int) {
	for _, n := range s.Nodes {
		if n.Kind == bpmn.EventSub {
			m.guard(m.arrive(move{node: n, scope: scope, forks: forks}), n)
		}
	}
}

func (m *machine) guard(t Token, n *bpmn.Node) {
	var timers []*bpmn.Node
	if open := n.Opening(); open.Trigger == bpmn.Timer {
		timers = append(timers, open)
	}
	if m.arm(&t, n, timers...) {
		t.Wait = Guard
		m.put(t)
	}
}

// idle says that t is the guard of an event sub-process, or would be.
func (m *machine) idle(t Token) bool {
	if t.Wait == Failed && t.Again == Enter {
		n := m.plan.Model.Node(t.Node)
		return n != nil && n.Kind == bpmn.EventSub
	}
	return t.Wait == Guard
}

// live says that something goes on in a scope.
func (m *machine) live(scope int) bool {
	return slices.ContainsFunc(m.s.Tokens, func(t Token) bool { return t.Scope == scope && !m.idle(t) })
}

// unguard takes the guards of a scope that is over.
func (m *machine) unguard(scope int) {
	m.s.Tokens = slices.DeleteFunc(m.s.Tokens, func(t Token) bool { return t.Scope == scope && m.idle(t) })
}

// begun is the start event of an event sub-process that has happened. One that
// interrupts takes everything else out of the scope.
func (m *machine) begun(t Token, open *bpmn.Node) {
	n := open.Scope.Owner
	m.entry(t.ID, open.ID, Fired, firstOf(open.Code, open.MessageName))
	if open.Interrupting {
		m.remove(t.ID)
		m.all(t.Scope, open.ID)
	} else {
		t = m.arrive(move{node: n, scope: t.Scope, forks: t.Forks})
	}
	t.Timers, t.True = nil, nil
	m.into(t, n.Children, []*bpmn.Node{open})
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// watch lets the conditional events of a token happen whose condition has become
// true; each once, until it was false again.
func (m *machine) watch(t Token, n *bpmn.Node) bool {
	var events []*bpmn.Node
	switch t.Wait {
	case Watch:
		events = append(events, n)
	case Event:
		for _, f := range n.Out {
			events = append(events, f.To)
		}
	case Guard:
		events = append(events, n.Opening())
	}
	if guarded(t) {
		events = append(events, n.Boundary...)
	}
	for _, ev := range events {
		if ev.Trigger != bpmn.Conditional {
			continue
		}
		i, holds := slices.Index(t.True, ev.ID), m.plan.Holds(ev, m.vars(t.Scope))
		switch {
		case holds && i < 0:
			t.True = append(t.True, ev.ID)
			m.put(t)
			return m.occur(t, n, ev)
		case !holds && i >= 0:
			t.True = slices.Delete(t.True, i, i+1)
			m.put(t)
		}
	}
	return false
}
