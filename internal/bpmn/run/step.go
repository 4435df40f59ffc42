package run

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"evb/internal/bpmn"
)

// Options of a step.
type Options struct {
	// Now, in the zone of the place: days are counted by its calendar.
	Now time.Time
	// WorkingDay moves the end of a deadline that was counted in days to a day on
	// which people work. nil: every day is one.
	WorkingDay func(time.Time) time.Time
}

// maxMoves bounds one step: a loop without a station never ends.
const maxMoves = 5_000

type machine struct {
	plan    *bpmn.Plan
	o       Options
	s       State
	effects []Effect
	entries []Entry
	queue   []move
	moves   int
}

// move is a token on its way.
type move struct {
	node  *bpmn.Node
	flow  *bpmn.Flow
	scope int
	forks []int
	round int
}

// Start makes an instance of a process of the plan and goes to the first
// waits. start names the start event where there are several; empty: the first.
func Start(p *bpmn.Plan, process, start string, vars map[string]any, o Options) (Result, error) {
	proc := p.Model.Process(process)
	if proc == nil || proc.Empty() {
		return Result{}, fmt.Errorf("no process %q", process)
	}
	if proc.Apart {
		return Result{}, fmt.Errorf("the process %q is not executable", process)
	}
	starts := proc.Scope.Starts()
	if starts[0].Kind == bpmn.Start {
		i := 0
		if start != "" {
			i = slices.IndexFunc(starts, func(n *bpmn.Node) bool { return n.ID == start })
		}
		if i < 0 {
			return Result{}, fmt.Errorf("no start event %q", start)
		}
		starts = starts[i : i+1]
	} else if start != "" {
		return Result{}, fmt.Errorf("no start event %q", start)
	}
	m := &machine{plan: p, o: o, s: State{Process: process, Next: 1, Vars: maps.Clone(vars), Status: Running}}
	if m.s.Vars == nil {
		m.s.Vars = map[string]any{}
	}
	m.entry(0, "", Started, starts[0].ID)
	m.guards(proc.Scope, 0, nil)
	for _, n := range starts {
		m.queue = append(m.queue, move{node: n})
	}
	m.run()
	return m.result(), nil
}

// Step takes one input. ErrStale: it fits no token, nothing has changed.
func Step(p *bpmn.Plan, s State, in Input, o Options) (Result, error) {
	if s.Status != Running {
		return Result{}, ErrStale
	}
	m := &machine{plan: p, o: o, s: s.clone()}
	t, ok := m.s.Token(in.Token)
	if !ok && in.Kind != Cancel {
		return Result{}, ErrStale
	}
	n := p.Model.Node(t.Node)
	if n == nil && in.Kind != Cancel {
		return Result{}, fmt.Errorf("no node %q", t.Node)
	}
	maps.Copy(m.s.Vars, in.Vars)
	if !m.take(in, t, n) {
		return Result{}, ErrStale
	}
	m.run()
	return m.result(), nil
}

func (m *machine) result() Result {
	return Result{State: m.s, Effects: m.effects, Entries: m.entries}
}

func (m *machine) take(in Input, t Token, n *bpmn.Node) bool {
	switch in.Kind {
	case TaskDone:
		if t.Wait != Task {
			return false
		}
		m.outcome(t, in.Outcome)
		m.entry(t.ID, t.Node, Completed, in.Outcome)
		m.leave(t, n)
	case TaskError:
		if t.Wait != Task {
			return false
		}
		m.raise(t, in.Code, in.Reason)
	case ServiceDone:
		if t.Wait != Service {
			return false
		}
		m.entry(t.ID, t.Node, Completed, "")
		m.leave(t, n)
	case ServiceError:
		if t.Wait != Service {
			return false
		}
		m.raise(t, in.Code, in.Reason)
	case ServiceFailed:
		if t.Wait != Service {
			return false
		}
		m.fail(t, Call, in.Reason)
	case TimerFired:
		return m.timer(in, t, n)
	case MessageCame:
		return m.message(in, t, n)
	case Retry:
		if t.Wait != Failed {
			return false
		}
		m.retry(t, n)
	case Cancel:
		for _, t := range slices.Clone(m.s.Tokens) {
			m.drop(t.ID, in.Reason)
		}
		m.queue = nil
		m.s.Status, m.s.Outcome = Cancelled, in.Reason
		m.entry(0, "", Ended, in.Reason)
	default:
		return false
	}
	return true
}

// outcome keeps what a task came to for the conditions behind it: outcome is
// that of the last task, outcomes has them by the id of the node.
func (m *machine) outcome(t Token, outcome string) {
	if outcome == "" {
		return
	}
	m.s.Vars["outcome"] = outcome
	all := map[string]any{}
	if old, ok := m.s.Vars["outcomes"].(map[string]any); ok {
		all = maps.Clone(old)
	}
	if t.Index == 0 {
		all[t.Node] = outcome
	} else {
		list, _ := all[t.Node].([]any)
		all[t.Node] = append(slices.Clone(list), outcome)
	}
	m.s.Vars["outcomes"] = all
}

func (m *machine) retry(t Token, n *bpmn.Node) {
	m.entry(t.ID, t.Node, Retried, "")
	again := t.Again
	t.Reason, t.Again = "", ""
	switch again {
	case Leave:
		m.leave(t, n)
	case Call:
		m.open(t, n)
	case Open:
		m.begin(t, n)
	default:
		m.remove(t.ID)
		m.queue = append(m.queue, move{node: n, flow: m.plan.Model.Flow(t.Flow), scope: t.Scope, forks: t.Forks, round: t.Round})
	}
}

// occur lets an event happen for which t waits: at t's node, behind it, on its
// border, or as the start of an event sub-process. Otherwise it is false.
func (m *machine) occur(t Token, n, ev *bpmn.Node) bool {
	switch {
	case ev == n && (t.Wait == Message || t.Wait == Timer || t.Wait == Watch):
		m.entry(t.ID, t.Node, Completed, ev.MessageName)
		m.leave(t, n)
	case t.Wait == Event && slices.ContainsFunc(n.Out, func(f *bpmn.Flow) bool { return f.To == ev }):
		m.chosen(t, ev)
	case ev.Attached == n && guarded(t), t.Wait == Guard && n.Opening() == ev:
		m.boundary(t, ev)
	default:
		return false
	}
	return true
}

// timer is a timer that went off. One of a non-interrupting event may be set again.
func (m *machine) timer(in Input, t Token, n *bpmn.Node) bool {
	i := slices.IndexFunc(t.Timers, func(x TimerSet) bool { return x.Element == in.Element })
	ev := m.plan.Model.Node(in.Element)
	if i < 0 || ev == nil {
		return false
	}
	if !ev.Interrupting && (ev.Attached == n || ev.Opens()) {
		if set := &t.Timers[i]; set.Left == 0 {
			t.Timers = slices.Delete(t.Timers, i, i+1)
		} else {
			if set.Left > 0 {
				set.Left--
			}
			set.Due = m.day(set.Every.After(set.Due.In(m.o.Now.Location())), set.Days)
		}
		m.put(t)
	}
	return m.occur(t, n, ev)
}

func (m *machine) message(in Input, t Token, n *bpmn.Node) bool {
	ev := m.plan.Model.Node(in.Element)
	return ev != nil && (ev.Trigger == bpmn.Message || ev.Trigger == bpmn.Signal) && m.occur(t, n, ev)
}

// chosen is the event behind an event-based gateway that came first.
func (m *machine) chosen(t Token, ev *bpmn.Node) {
	m.entry(t.ID, ev.ID, Fired, ev.MessageName)
	t.Node = ev.ID
	m.leave(t, ev)
}

// boundary leaves an activity by an event on its border, or begins something
// beside it; of an event sub-process, it begins that.
func (m *machine) boundary(t Token, ev *bpmn.Node) {
	if ev.Opens() {
		m.begun(t, ev)
		return
	}
	m.entry(t.ID, ev.ID, Fired, ev.Code)
	if ev.Interrupting {
		m.drop(t.ID, ev.ID)
	}
	m.follow(Token{Node: ev.ID, Scope: t.Scope, Forks: t.Forks}, ev)
}

// raise is a BPMN error at a token: the nearest event that catches it takes
// over. One that nothing catches is a failed step.
func (m *machine) raise(t Token, code, reason string) {
	if host, ev := m.attached(t, bpmn.Error, code); ev != nil {
		m.boundary(host, ev)
		return
	}
	if host, ev := m.catcher(t.Scope, bpmn.Error, code); ev != nil {
		m.boundary(host, ev)
		return
	}
	again := Enter
	switch {
	case t.Wait == Service:
		again = Call
	case t.Index > 0:
		again = Open
	}
	if t.Wait == Task {
		m.effects = append(m.effects, Effect{Kind: CloseTask, Token: t.ID, Node: m.plan.Model.Node(t.Node)})
	}
	m.fail(t, again, fmt.Sprintf("error %q is not caught: %s", code, reason))
}

// catches says how well an event catches a code: 2 by name, 1 as every code.
func catches(ev *bpmn.Node, trigger bpmn.Trigger, code string) int {
	switch {
	case ev.Trigger != trigger:
		return 0
	case ev.Code == code && code != "":
		return 2
	case ev.Code == "":
		return 1
	}
	return 0
}

// attached is the event on the border of t's activity that catches the code; one
// with the code goes before one for every code.
func (m *machine) attached(t Token, trigger bpmn.Trigger, code string) (host Token, ev *bpmn.Node) {
	n := m.plan.Model.Node(t.Node)
	if n == nil || t.Index > 0 {
		return t, nil
	}
	best := 0
	for _, b := range n.Boundary {
		if k := catches(b, trigger, code); k > best {
			best, ev = k, b
		}
	}
	return t, ev
}

// catcher goes outwards from inside a scope: to its event sub-processes, then to
// the border of the activity that it is, then to the scope around that.
func (m *machine) catcher(scope int, trigger bpmn.Trigger, code string) (host Token, ev *bpmn.Node) {
	for from := ""; ; {
		best := 0
		for _, t := range m.s.Tokens {
			if t.Wait != Guard || t.Scope != scope || t.Node == from { // what an event sub-process throws is for others
				continue
			}
			open := m.plan.Model.Node(t.Node).Opening()
			if k := catches(open, trigger, code); k > best {
				best, host, ev = k, t, open
			}
		}
		t, ok := m.s.Token(scope)
		if ev != nil || !ok {
			return host, ev
		}
		if host, ev = m.attached(t, trigger, code); ev != nil {
			return host, ev
		}
		scope, from = t.Scope, t.Node
	}
}

// run moves tokens until all of them wait, joins and empty scopes included.
func (m *machine) run() {
	for m.s.Status == Running {
		for len(m.queue) > 0 {
			next := m.queue[0]
			m.queue = m.queue[1:]
			if m.moves++; m.moves > maxMoves {
				m.fail(m.arrive(next), Enter, "the flow goes round in a circle without a station")
				continue
			}
			m.enter(next)
			if m.s.Status != Running {
				return
			}
		}
		if m.settle() {
			continue
		}
		if !m.live(0) {
			m.unguard(0)
			m.s.Status = Done
			m.entry(0, "", Ended, m.s.Outcome)
			m.effects = append(m.effects, Effect{Kind: InstanceOK})
		}
		return
	}
}

// settle lets go on what has nothing more to wait for: a scope without tokens,
// an inclusive join to which no token can come any more.
func (m *machine) settle() bool {
	for _, t := range m.s.Tokens {
		n := m.plan.Model.Node(t.Node)
		if n != nil && m.watch(t, n) {
			return true
		}
		switch t.Wait {
		case Scope:
			if t.Loop == nil && !m.live(t.ID) {
				m.unguard(t.ID)
				m.entry(t.ID, t.Node, Completed, "")
				m.leave(t, n)
				return true
			}
		case Join:
			if n != nil && n.Kind == bpmn.Inclusive && m.joined(t, n) {
				return true
			}
		}
	}
	return false
}

// joined completes an inclusive join for the split that t belongs to.
func (m *machine) joined(t Token, n *bpmn.Node) bool {
	fork := 0
	if len(t.Forks) > 0 {
		fork = t.Forks[len(t.Forks)-1]
	}
	var here []Token
	for _, o := range m.s.Tokens {
		if o.Scope != t.Scope || fork != 0 && !slices.Contains(o.Forks, fork) {
			continue
		}
		if o.Wait == Join && o.Node == t.Node && (fork != 0 || o.ID == t.ID) {
			here = append(here, o)
			continue
		}
		if x := m.plan.Model.Node(o.Node); fork != 0 && x != nil && m.plan.Comes(x, n) {
			return false
		}
	}
	for _, o := range here {
		m.remove(o.ID)
	}
	m.entry(t.ID, t.Node, Passed, "")
	if fork != 0 {
		t.Forks = slices.Clone(t.Forks[:len(t.Forks)-1])
	}
	m.follow(t, n)
	return true
}

func (m *machine) entry(token int, node, what, detail string) {
	m.entries = append(m.entries, Entry{Token: token, Node: node, What: what, Detail: detail})
}

func (m *machine) put(t Token) {
	if i := m.s.index(t.ID); i >= 0 {
		m.s.Tokens[i] = t
		return
	}
	m.s.Tokens = append(m.s.Tokens, t)
	slices.SortFunc(m.s.Tokens, func(a, b Token) int { return a.ID - b.ID })
}

func (m *machine) remove(id int) {
	if i := m.s.index(id); i >= 0 {
		m.s.Tokens = slices.Delete(m.s.Tokens, i, i+1)
	}
}

// fail keeps a token where it is until a person lets it try again.
func (m *machine) fail(t Token, again Again, reason string) {
	t.Wait, t.Again, t.Reason = Failed, again, reason
	if again != Call { // it has not begun, or is over: nothing on its border fires
		t.Timers = nil
	}
	m.put(t)
	m.entry(t.ID, t.Node, Broken, reason)
}

// drop takes a token away with all that is inside it.
func (m *machine) drop(id int, why string) {
	t, ok := m.s.Token(id)
	if !ok {
		return
	}
	for _, c := range slices.Clone(m.s.Tokens) {
		if c.Scope == id {
			m.drop(c.ID, why)
		}
	}
	m.remove(id)
	if t.Wait == Guard {
		return
	}
	m.entry(id, t.Node, Dropped, why)
	if t.Wait == Task {
		m.effects = append(m.effects, Effect{Kind: CloseTask, Token: id, Node: m.plan.Model.Node(t.Node)})
	}
}
