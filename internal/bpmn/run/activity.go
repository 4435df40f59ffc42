package run

import (
	"maps"
	"slices"

	"evb/internal/bpmn"
)

// activity begins a task, service, receive task, sub-process or call: once, or
// as often as its marker says.
func (m *machine) activity(t Token, n *bpmn.Node) {
	if n.Loop != nil {
		m.instances(t, n)
		return
	}
	if n.Repeat != nil && n.Repeat.Before && t.Round == 0 {
		yes, err := m.plan.Repeats(n, m.vars(t.Scope))
		switch {
		case err != nil:
			m.fail(t, Enter, err.Error())
			return
		case !yes:
			m.entry(t.ID, n.ID, Passed, "")
			m.follow(t, n)
			return
		}
	}
	m.begin(t, n)
}

// begin begins an activity, or one instance of it.
func (m *machine) begin(t Token, n *bpmn.Node) {
	switch n.Kind {
	case bpmn.Receive:
		m.wait(t, n, Message)
	case bpmn.SubProcess:
		m.inside(t, n, n.Children)
	case bpmn.Call:
		m.inside(t, n, m.plan.Model.Process(n.Called).Scope)
	default:
		if m.arm(&t, n) {
			m.entry(t.ID, n.ID, Entered, "")
			m.open(t, n)
		}
	}
}

// open puts a task at its station, or calls a service.
func (m *machine) open(t Token, n *bpmn.Node) {
	stations := m.plan.Stations(n)
	target := stations[max(t.Index-1, 0)%len(stations)]
	e := Effect{Kind: OpenTask, Token: t.ID, Node: n, Target: target, Index: t.Index, Item: t.Item}
	t.Wait = Task
	if !target.Person() {
		t.Wait, e.Kind, e.Local = Service, CallOut, m.local(t)
	} else if d, ok := m.plan.StepDue(n, m.o.Now); ok {
		e.Due = m.day(d.At, d.Days).UTC()
	}
	for up, ok := m.s.Token(t.Scope); ok && e.Item == nil; up, ok = m.s.Token(up.Scope) {
		e.Item = up.Item
	}
	m.put(t)
	m.effects = append(m.effects, e)
}

// repeats goes round a standard loop once more where its condition says so.
// Whatever the person has said, it is said for one round.
func (m *machine) repeats(t Token, n *bpmn.Node) bool {
	if n.Repeat.Max > 0 && t.Round+1 >= n.Repeat.Max {
		return false
	}
	yes, err := m.plan.Repeats(n, m.vars(t.Scope))
	switch {
	case err != nil:
		m.fail(t, Leave, err.Error())
		return true
	case !yes:
		return false
	}
	delete(m.s.Vars, bpmn.Said)
	m.remove(t.ID)
	m.queue = append(m.queue, move{node: n, flow: m.plan.Model.Flow(t.Flow), scope: t.Scope, forks: t.Forks, round: t.Round + 1})
	return true
}

// instances begins a multi-instance activity: all at once, or the first one.
func (m *machine) instances(t Token, n *bpmn.Node) {
	items, err := m.plan.Items(n, m.vars(t.Scope))
	if err != nil {
		m.fail(t, Enter, err.Error())
		return
	}
	if !m.arm(&t, n) {
		return
	}
	t.Wait, t.Loop = Scope, &Loop{Items: items}
	m.entry(t.ID, n.ID, Entered, "")
	if len(items) == 0 {
		m.entry(t.ID, n.ID, Completed, "")
		m.leave(t, n)
		return
	}
	if all, ok := m.s.Vars["outcomes"].(map[string]any); ok {
		all = maps.Clone(all) // a second round counts anew
		delete(all, n.ID)
		m.s.Vars["outcomes"] = all
	}
	m.put(t)
	m.instance(t.ID, n)
	if !n.Loop.Sequential {
		for range len(items) - 1 {
			m.instance(t.ID, n)
		}
	}
}

// instance begins the next instance of the activity whose token is host.
func (m *machine) instance(host int, n *bpmn.Node) {
	h, _ := m.s.Token(host)
	t := m.arrive(move{node: n, scope: host, forks: h.Forks})
	t.Index, t.Item = h.Loop.Started+1, h.Loop.Items[h.Loop.Started]
	h.Loop.Started++
	m.put(h)
	m.begin(t, n)
}

// instanceDone counts an instance, and goes on when it was the last one or
// enough of them are done.
func (m *machine) instanceDone(t Token, n *bpmn.Node) {
	m.remove(t.ID)
	h, ok := m.s.Token(t.Scope)
	if !ok {
		return
	}
	h.Loop.Done++
	m.put(h)
	vars := maps.Clone(m.vars(t.Scope))
	vars["nrOfInstances"], vars["nrOfCompletedInstances"] = int64(len(h.Loop.Items)), int64(h.Loop.Done)
	vars["nrOfActiveInstances"] = int64(h.Loop.Started - h.Loop.Done)
	enough, err := m.plan.Until(n, vars)
	switch {
	case err != nil:
		m.cancelInside(h.ID, "completion condition")
		h.Loop = nil
		m.fail(h, Leave, err.Error())
	case enough || h.Loop.Done == len(h.Loop.Items):
		m.cancelInside(h.ID, "enough")
		m.entry(h.ID, h.Node, Completed, "")
		m.leave(h, n)
	case n.Loop.Sequential:
		m.instance(h.ID, n)
	}
}

func (m *machine) cancelInside(host int, why string) {
	for _, c := range slices.Clone(m.s.Tokens) {
		if c.Scope == host {
			m.drop(c.ID, why)
		}
	}
}

// vars are the variables that are seen inside a scope: those of the instance,
// and what each multi-instance activity around calls its item.
func (m *machine) vars(scope int) map[string]any {
	t, ok := m.s.Token(scope)
	if !ok {
		return m.s.Vars
	}
	local := m.local(t)
	if len(local) == 0 {
		return m.s.Vars
	}
	out := maps.Clone(m.s.Vars)
	maps.Copy(out, local)
	return out
}

// local are the variables that the multi-instance activities give which t is in
// or is one of; the innermost says what a name means.
func (m *machine) local(t Token) map[string]any {
	out := map[string]any{}
	for ok := true; ok; t, ok = m.s.Token(t.Scope) {
		n := m.plan.Model.Node(t.Node)
		if t.Index == 0 || n == nil || n.Loop == nil {
			continue
		}
		if _, there := out["loopCounter"]; !there {
			out["loopCounter"] = int64(t.Index)
		}
		if _, there := out[n.Loop.Item]; !there && n.Loop.Item != "" {
			out[n.Loop.Item] = t.Item
		}
	}
	return out
}

// inside begins a sub-process or a called process.
func (m *machine) inside(t Token, n *bpmn.Node, s *bpmn.Scope) {
	if !m.arm(&t, n) {
		return
	}
	starts := s.Starts()
	if starts[0].Kind == bpmn.Start {
		starts = starts[:1]
	}
	m.into(t, s, starts)
}

func (m *machine) into(t Token, s *bpmn.Scope, starts []*bpmn.Node) {
	t.Wait = Scope
	m.put(t)
	m.entry(t.ID, t.Node, Entered, "")
	m.guards(s, t.ID, nil)
	for _, st := range starts {
		m.queue = append(m.queue, move{node: st, scope: t.ID})
	}
}
