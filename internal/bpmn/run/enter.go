package run

import (
	"slices"
	"time"

	"evb/internal/bpmn"
)

// arrive makes the token of a visit.
func (m *machine) arrive(mv move) Token {
	t := Token{ID: m.s.Next, Node: mv.node.ID, Scope: mv.scope, Forks: mv.forks, Round: mv.round, Since: m.o.Now.UTC()}
	if mv.flow != nil {
		t.Flow = mv.flow.ID
	}
	m.s.Next++
	return t
}

func (m *machine) enter(mv move) {
	n, t := mv.node, m.arrive(mv)
	switch n.Kind {
	case bpmn.Task, bpmn.Service, bpmn.Receive, bpmn.SubProcess, bpmn.Call:
		m.activity(t, n)
	case bpmn.Catch:
		m.catch(t, n)
	case bpmn.EventSub:
		m.guard(t, n)
	case bpmn.EventBased:
		var timers []*bpmn.Node
		for _, f := range n.Out {
			if f.To.Trigger == bpmn.Timer {
				timers = append(timers, f.To)
			}
		}
		m.wait(t, n, Event, timers...)
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
		if n.Kind == bpmn.Start && n.Scope.Owner == nil && (n.Trigger == bpmn.Timer || n.Trigger == bpmn.Conditional) {
			m.catch(t, n)
			return
		}
		m.entry(t.ID, n.ID, Passed, "")
		m.leave(t, n)
	}
}

// catch lets a token wait for the event that its node is.
func (m *machine) catch(t Token, n *bpmn.Node) {
	switch n.Trigger {
	case bpmn.Timer:
		m.wait(t, n, Timer, n)
	case bpmn.Conditional:
		m.wait(t, n, Watch)
	default:
		m.wait(t, n, Message)
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
		if b.Trigger == bpmn.Timer && t.Index == 0 { // those of all instances are with the activity
			timers = append(timers, b)
		}
	}
	for _, ev := range timers {
		d, err := m.plan.Due(ev, m.vars(t.Scope), m.o.Now)
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

// leave takes a token off its node and follows the flows that are taken, or goes
// round once more.
func (m *machine) leave(t Token, n *bpmn.Node) {
	if t.Index > 0 {
		m.instanceDone(t, n)
		return
	}
	if n.Repeat != nil && m.repeats(t, n) {
		return
	}
	m.remove(t.ID)
	m.follow(t, n)
}

// follow sends tokens along the flows of a node whose token is gone. Where no
// flow is taken, the token comes back as failed.
func (m *machine) follow(t Token, n *bpmn.Node) {
	if len(n.Out) == 0 || n.Kind == bpmn.End {
		return
	}
	flows, err := m.choose(n, m.vars(t.Scope))
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
func (m *machine) choose(n *bpmn.Node, vars map[string]any) ([]*bpmn.Flow, string) {
	if n.Kind == bpmn.Parallel {
		return n.Out, ""
	}
	var out []*bpmn.Flow
	for _, f := range n.Out {
		if f == n.Default {
			continue
		}
		yes, err := m.plan.Takes(f, vars)
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

// throw tells the world about a message or signal.
func (m *machine) throw(t Token, n *bpmn.Node) {
	if n.Trigger == bpmn.Message || n.Trigger == bpmn.Signal {
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
	case bpmn.Message, bpmn.Signal:
		m.throw(t, n)
	case bpmn.Cancel:
		m.entry(t.ID, n.ID, Passed, "cancel")
		if host, ev := m.catcher(t.Scope, bpmn.Cancel, ""); ev != nil {
			m.boundary(host, ev)
			m.unqueue()
			return
		}
		m.all(t.Scope, n.ID) // nothing is drawn for it: the transaction is over
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
	scope := t.Scope
	for h, ok := m.s.Token(scope); ok; h, ok = m.s.Token(scope) {
		if x := m.plan.Model.Node(h.Node); x.Kind != bpmn.EventSub || !x.Opening().Interrupting {
			return
		}
		scope = h.Scope // it is what the scope around it comes to
	}
	m.s.Outcome = n.ID
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
