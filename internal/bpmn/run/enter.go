package run

import (
	"slices"
	"time"

	"evb/internal/bpmn"
)

// arrive makes the token of a visit.
func (m *machine) arrive(mv move) Token {
	t := Token{ID: m.s.Next, Node: mv.node.ID, Scope: mv.scope, Forks: mv.forks, Since: m.o.Now.UTC()}
	if mv.flow != nil {
		t.Flow = mv.flow.ID
	}
	m.s.Next++
	return t
}

func (m *machine) enter(mv move) {
	n, t := mv.node, m.arrive(mv)
	switch n.Kind {
	case bpmn.Task, bpmn.Service:
		m.work(t, n)
	case bpmn.Receive:
		m.wait(t, n, Message)
	case bpmn.Catch:
		if n.Trigger == bpmn.Timer {
			m.wait(t, n, Timer, n)
			return
		}
		m.wait(t, n, Message)
	case bpmn.EventBased:
		var timers []*bpmn.Node
		for _, f := range n.Out {
			if f.To.Trigger == bpmn.Timer {
				timers = append(timers, f.To)
			}
		}
		m.wait(t, n, Event, timers...)
	case bpmn.SubProcess:
		m.inside(t, n, n.Children)
	case bpmn.Call:
		m.inside(t, n, m.plan.Model.Process(n.Called).Scope)
	case bpmn.Parallel, bpmn.Inclusive:
		if len(n.In) > 1 {
			t.Wait = Join
			m.put(t)
			if n.Kind == bpmn.Parallel {
				m.join(t, n)
			}
			return
		}
		m.entry(t.ID, n.ID, Passed, "")
		m.leave(t, n)
	case bpmn.Throw:
		m.throw(t, n)
		if n.Trigger == bpmn.Escalation && m.escalate(t, n) {
			return
		}
		m.leave(t, n)
	case bpmn.End:
		m.end(t, n)
	default: // Start, Exclusive
		m.entry(t.ID, n.ID, Passed, "")
		m.leave(t, n)
	}
}

// work opens a task at its station, or calls a service.
func (m *machine) work(t Token, n *bpmn.Node) {
	if n.Loop != nil {
		m.instances(t, n)
		return
	}
	if !m.arm(&t, n) {
		return
	}
	m.entry(t.ID, n.ID, Entered, "")
	m.open(t, n)
}

func (m *machine) open(t Token, n *bpmn.Node) {
	stations := m.plan.Stations(n)
	target := stations[max(t.Index-1, 0)%len(stations)]
	e := Effect{Kind: OpenTask, Token: t.ID, Node: n, Target: target, Index: t.Index, Item: t.Item}
	t.Wait = Task
	if !target.Person() {
		t.Wait, e.Kind = Service, CallOut
	} else if d, ok := m.plan.StepDue(n, m.o.Now); ok {
		e.Due = m.day(d.At, d.Days).UTC()
	}
	m.put(t)
	m.effects = append(m.effects, e)
}

// instances begins a multi-instance task: all at once, or the first one.
func (m *machine) instances(t Token, n *bpmn.Node) {
	items, err := m.plan.Items(n, m.s.Vars)
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
		all = cloneWithout(all, n.ID) // a second round counts anew
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

func cloneWithout(all map[string]any, key string) map[string]any {
	out := make(map[string]any, len(all))
	for k, v := range all {
		if k != key {
			out[k] = v
		}
	}
	return out
}

// instance opens the next instance of the task whose token is host.
func (m *machine) instance(host int, n *bpmn.Node) {
	h, _ := m.s.Token(host)
	t := m.arrive(move{node: n, scope: host, forks: h.Forks})
	t.Index, t.Item = h.Loop.Started+1, h.Loop.Items[h.Loop.Started]
	h.Loop.Started++
	m.put(h)
	m.entry(t.ID, n.ID, Entered, "")
	m.open(t, n)
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
	vars := cloneWithout(m.s.Vars, "")
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

// wait sets the timers of a token and lets it wait.
func (m *machine) wait(t Token, n *bpmn.Node, w Wait, timers ...*bpmn.Node) {
	if !m.arm(&t, n, timers...) {
		return
	}
	t.Wait = w
	m.put(t)
	m.entry(t.ID, n.ID, Entered, "")
}

// arm sets the timers of a token: those given, and those on the border of its
// node. When a moment cannot be told, the token fails and arm is false.
func (m *machine) arm(t *Token, n *bpmn.Node, timers ...*bpmn.Node) bool {
	t.Timers = nil
	for _, b := range n.Boundary {
		if b.Trigger == bpmn.Timer {
			timers = append(timers, b)
		}
	}
	for _, ev := range timers {
		d, err := m.plan.Due(ev, m.s.Vars, m.o.Now)
		if err != nil {
			t.Timers = nil
			m.fail(*t, Enter, err.Error())
			return false
		}
		left := d.Times - 1
		if d.Times < 0 {
			left = -1
		}
		t.Timers = append(t.Timers, TimerSet{Element: ev.ID, Due: m.day(d.At, d.Days), Left: left, Every: d.Every, Days: d.Days})
	}
	return true
}

// day moves the end of a deadline in days to a working day.
func (m *machine) day(at time.Time, days bool) time.Time {
	if days && m.o.WorkingDay != nil {
		at = m.o.WorkingDay(at)
	}
	return at.UTC().Truncate(time.Microsecond)
}

// inside begins a sub-process or a called process.
func (m *machine) inside(t Token, n *bpmn.Node, s *bpmn.Scope) {
	if !m.arm(&t, n) {
		return
	}
	t.Wait = Scope
	m.put(t)
	m.entry(t.ID, n.ID, Entered, "")
	starts := s.Starts()
	if starts[0].Kind == bpmn.Start {
		starts = starts[:1]
	}
	for _, st := range starts {
		m.queue = append(m.queue, move{node: st, scope: t.ID})
	}
}

// join completes a parallel join when there is a token on each of its flows,
// the oldest of each.
func (m *machine) join(t Token, n *bpmn.Node) {
	var here []Token
	for _, f := range n.In {
		i := slices.IndexFunc(m.s.Tokens, func(o Token) bool {
			return o.Wait == Join && o.Node == n.ID && o.Scope == t.Scope && o.Flow == f.ID
		})
		if i < 0 {
			return
		}
		here = append(here, m.s.Tokens[i])
	}
	forks := here[0].Forks
	for _, o := range here {
		forks = common(forks, o.Forks)
	}
	for _, o := range here {
		m.remove(o.ID)
	}
	m.entry(t.ID, n.ID, Passed, "")
	t.Forks = forks
	m.follow(t, n)
}

func common(a, b []int) []int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return a[:i:i]
}

// leave takes a token off its node and follows the flows that are taken.
func (m *machine) leave(t Token, n *bpmn.Node) {
	m.remove(t.ID)
	m.follow(t, n)
}

// follow sends tokens along the flows of a node whose token is gone. Where no
// flow is taken, the token comes back as failed.
func (m *machine) follow(t Token, n *bpmn.Node) {
	if len(n.Out) == 0 || n.Kind == bpmn.End {
		return
	}
	flows, err := m.choose(n)
	if err != "" {
		if t.ID == 0 || m.s.index(t.ID) >= 0 { // of a boundary event: a visit of its own
			t.ID, t.Since = m.s.Next, m.o.Now.UTC()
			m.s.Next++
		}
		t.Timers, t.Loop = nil, nil
		m.fail(t, Leave, err)
		return
	}
	forks := t.Forks
	if n.Kind == bpmn.Inclusive && len(n.Out) > 1 {
		forks = append(slices.Clone(forks), m.s.Next)
		m.s.Next++
	}
	for _, f := range flows {
		m.queue = append(m.queue, move{node: f.To, flow: f, scope: t.Scope, forks: forks})
	}
}

// choose says which flows are taken from a node, or why none can be.
func (m *machine) choose(n *bpmn.Node) ([]*bpmn.Flow, string) {
	if n.Kind == bpmn.Parallel {
		return n.Out, ""
	}
	var out []*bpmn.Flow
	for _, f := range n.Out {
		if f == n.Default {
			continue
		}
		yes, err := m.plan.Takes(f, m.s.Vars)
		if err != nil {
			return nil, "flow " + f.ID + ": " + err.Error()
		}
		if yes {
			out = append(out, f)
			if n.Kind == bpmn.Exclusive {
				break
			}
		}
	}
	if len(out) == 0 && n.Default != nil {
		out = append(out, n.Default)
	}
	if len(out) == 0 {
		return nil, "no condition of the flows is true"
	}
	return out, ""
}

// throw tells the world about a message event.
func (m *machine) throw(t Token, n *bpmn.Node) {
	if n.Trigger == bpmn.Message {
		m.effects = append(m.effects, Effect{Kind: Send, Token: t.ID, Node: n})
		m.entry(t.ID, n.ID, Sent, n.MessageName)
		return
	}
	m.entry(t.ID, n.ID, Passed, n.Code)
}

// escalate tells the nearest activity that catches the escalation; true says
// that t is gone with it. One that nobody catches has no consequence.
func (m *machine) escalate(t Token, n *bpmn.Node) bool {
	host, ev := m.catcher(t.Scope, bpmn.Escalation, n.Code)
	if ev == nil {
		return false
	}
	m.boundary(host, ev)
	if ev.Interrupting {
		m.unqueue()
	}
	return ev.Interrupting
}

// unqueue forgets tokens on their way into a scope that is gone.
func (m *machine) unqueue() {
	m.queue = slices.DeleteFunc(m.queue, func(mv move) bool { return mv.scope != 0 && m.s.index(mv.scope) < 0 })
}

func (m *machine) end(t Token, n *bpmn.Node) {
	switch n.Trigger {
	case bpmn.Message:
		m.throw(t, n)
	case bpmn.Escalation:
		m.entry(t.ID, n.ID, Passed, n.Code)
		if m.escalate(t, n) {
			return
		}
	case bpmn.Error:
		m.entry(t.ID, n.ID, Passed, n.Code)
		if host, ev := m.catcher(t.Scope, bpmn.Error, n.Code); ev != nil {
			m.boundary(host, ev)
			m.unqueue()
			return
		}
		m.all(0, n.ID) // nothing catches it: the instance ends here
		m.s.Outcome = "error: " + n.Code
		return
	case bpmn.Terminate:
		m.entry(t.ID, n.ID, Passed, "terminate")
		m.all(t.Scope, n.ID)
	default:
		m.entry(t.ID, n.ID, Passed, "")
	}
	if t.Scope == 0 {
		m.s.Outcome = n.ID
	}
}

// all drops every token of a scope, also those on their way.
func (m *machine) all(scope int, why string) {
	for _, o := range slices.Clone(m.s.Tokens) {
		if o.Scope == scope {
			m.drop(o.ID, why)
		}
	}
	m.queue = slices.DeleteFunc(m.queue, func(mv move) bool { return mv.scope == scope })
	m.unqueue()
}
