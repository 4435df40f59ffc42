package run_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"evb/internal/bpmn"
	"evb/internal/bpmn/run"
)

var at = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

// tb is a test, or a round of rapid.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// desk plays the world for an instance: it keeps the state as bytes between two
// steps, as a database does, and writes down what happened.
type desk struct {
	t     tb
	plan  *bpmn.Plan
	state []byte
	now   time.Time
	open  map[int]string // tasks at stations, calls that are out
	seen  []string       // node ids in the order in which a task was done or an event came
	sent  []string
	ended int
}

func xmlFile(process string, root ...string) string {
	return `<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:evb="urn:evb:bpmn">` +
		strings.Join(root, "") + `<process id="p">` + process + `</process></definitions>`
}

func flows(pairs ...string) string {
	var b strings.Builder
	for _, p := range pairs {
		from, rest, _ := strings.Cut(p, ">")
		to, cond, has := strings.Cut(rest, "?")
		fmt.Fprintf(&b, `<sequenceFlow id="%s-%s" sourceRef="%s" targetRef="%s">`, from, to, from, to)
		if has {
			fmt.Fprintf(&b, `<conditionExpression><![CDATA[%s]]></conditionExpression>`, cond)
		}
		b.WriteString(`</sequenceFlow>`)
	}
	return b.String()
}

// planOf fills every need: a station, or the condition true.
func planOf(t tb, xml string) *bpmn.Plan {
	t.Helper()
	m, err := bpmn.Read([]byte(xml))
	if err != nil {
		t.Fatal(err)
	}
	a := bpmn.Activation{Stations: map[string]bpmn.Targets{}, Conditions: map[string]string{}}
	r := m.Check()
	for _, n := range r.Needs {
		if n.What == bpmn.NeedStation {
			a.Stations[n.ID] = bpmn.Targets{{Unit: "FB32"}}
		} else {
			a.Conditions[n.ID] = "true"
		}
	}
	p, err := bpmn.NewPlan(m, a)
	if err != nil {
		t.Fatalf("%v: %+v", err, r.Unsupported)
	}
	return p
}

func start(t tb, p *bpmn.Plan, vars map[string]any) *desk {
	t.Helper()
	d := &desk{t: t, plan: p, now: at, open: map[int]string{}}
	r, err := run.Start(p, p.Model.Main().ID, "", vars, run.Options{Now: d.now})
	if err != nil {
		t.Fatal(err)
	}
	d.keep(r)
	return d
}

func (d *desk) keep(r run.Result) {
	d.t.Helper()
	raw, err := json.Marshal(r.State)
	if err != nil {
		d.t.Fatal(err)
	}
	d.state = raw
	for _, e := range r.Effects {
		switch e.Kind {
		case run.OpenTask, run.CallOut:
			if _, twice := d.open[e.Token]; twice {
				d.t.Fatalf("step %d (%s) is opened twice", e.Token, e.Node.ID)
			}
			d.open[e.Token] = e.Node.ID
		case run.CloseTask:
			if d.open[e.Token] == "" {
				d.t.Fatalf("step %d (%s) is closed and was not open", e.Token, e.Node.ID)
			}
			delete(d.open, e.Token)
		case run.Send:
			d.sent = append(d.sent, e.Node.MessageName)
		case run.InstanceOK:
			d.ended++
		}
	}
	d.check()
}

// check holds after every step: each open task has its token and the other way
// round, every token waits for something that is there.
func (d *desk) check() {
	d.t.Helper()
	s := d.get()
	for _, t := range s.Tokens {
		n := d.plan.Model.Node(t.Node)
		if n == nil {
			d.t.Fatalf("token %d stands on nothing: %s", t.ID, t.Node)
		}
		if t.ID >= s.Next {
			d.t.Fatalf("token %d has a number that will be given again", t.ID)
		}
		if t.Scope != 0 {
			if h, ok := s.Token(t.Scope); !ok || h.Wait != run.Scope {
				d.t.Fatalf("token %d (%s) is in no scope", t.ID, t.Node)
			}
		}
		if (t.Wait == run.Task || t.Wait == run.Service) && d.open[t.ID] == "" {
			d.t.Fatalf("token %d waits at %s and nobody has it", t.ID, t.Node)
		}
		if t.Wait == run.Scope && !slices.ContainsFunc(s.Tokens, func(c run.Token) bool { return c.Scope == t.ID }) {
			d.t.Fatalf("scope %d (%s) is empty", t.ID, t.Node)
		}
	}
	for id, node := range d.open {
		t, ok := s.Token(id)
		if !ok && d.plan.Model.Node(node).Kind == bpmn.Service {
			delete(d.open, id) // a call goes with its token
			continue
		}
		if !ok || t.Wait != run.Task && t.Wait != run.Service {
			d.t.Fatalf("step %d (%s) is open without a token", id, node)
		}
	}
	if (len(s.Tokens) == 0) != (s.Status != run.Running) {
		d.t.Fatalf("%s with %d tokens", s.Status, len(s.Tokens))
	}
}

func (d *desk) get() run.State {
	d.t.Helper()
	var s run.State
	if err := json.Unmarshal(d.state, &s); err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *desk) step(in run.Input) {
	d.t.Helper()
	r, err := run.Step(d.plan, d.get(), in, run.Options{Now: d.now})
	if err != nil {
		d.t.Fatalf("%+v: %v", in, err)
	}
	before := d.state
	if in.Kind == run.TaskDone || in.Kind == run.ServiceDone || in.Kind == run.ServiceError || in.Kind == run.ServiceFailed {
		delete(d.open, in.Token)
	}
	d.keep(r)
	// The same input once more changes nothing, unless the step came back.
	if in.Kind == run.TaskDone || in.Kind == run.ServiceDone {
		if _, err := run.Step(d.plan, d.get(), in, run.Options{Now: d.now}); !errors.Is(err, run.ErrStale) {
			d.t.Fatalf("a repeated %+v after %s: %v", in, before, err)
		}
	}
}

// done finishes the oldest open task of the node.
func (d *desk) done(node string, vars ...any) {
	d.t.Helper()
	for _, t := range d.get().Tokens {
		if t.Node == node && t.Wait == run.Task {
			in := run.Input{Kind: run.TaskDone, Token: t.ID, Outcome: "done", Vars: map[string]any{}}
			for i := 0; i+1 < len(vars); i += 2 {
				in.Vars[vars[i].(string)] = vars[i+1]
			}
			d.seen = append(d.seen, node)
			d.step(in)
			return
		}
	}
	d.t.Fatalf("no open task at %s: %s", node, d.state)
}

func (d *desk) service(node string, in run.Input) {
	d.t.Helper()
	for _, t := range d.get().Tokens {
		if t.Node == node && t.Wait == run.Service {
			in.Token = t.ID
			d.step(in)
			return
		}
	}
	d.t.Fatalf("no call of %s: %s", node, d.state)
}

func (d *desk) message(name string) {
	d.t.Helper()
	for _, s := range run.Subscriptions(d.plan, d.get()) {
		if s.Name == name {
			d.step(run.Input{Kind: run.MessageCame, Token: s.Token, Element: s.Element})
			return
		}
	}
	d.t.Fatalf("nothing waits for %s: %s", name, d.state)
}

// later lets the clock go on and fires what is due, one after the other.
func (d *desk) later(by time.Duration) {
	d.t.Helper()
	until := d.now.Add(by)
	for {
		var next *run.Alarm
		for _, a := range run.Alarms(d.get()) {
			if !a.Due.After(until) && (next == nil || a.Due.Before(next.Due)) {
				next = &a
			}
		}
		if next == nil {
			d.now = until
			return
		}
		d.now = next.Due
		d.step(run.Input{Kind: run.TimerFired, Token: next.Token, Element: next.Element})
	}
}

func (d *desk) waits() string {
	var out []string
	for _, t := range d.get().Tokens {
		if t.Wait != run.Scope {
			out = append(out, t.Node)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (d *desk) want(waits string) {
	d.t.Helper()
	if got := d.waits(); got != waits {
		d.t.Fatalf("waits at %q, want %q: %s", got, waits, d.state)
	}
}

func (d *desk) finished(outcome string) {
	d.t.Helper()
	s := d.get()
	if s.Status != run.Done || s.Outcome != outcome || d.ended != 1 || len(d.open) > 0 {
		d.t.Fatalf("not at its end %q: %s, ended %d times, open %v", outcome, d.state, d.ended, d.open)
	}
}

const se = `<startEvent id="s"/><endEvent id="e"/>`

func TestConstructsFromStartToEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		xml  string
		vars map[string]any
		play func(*desk)
	}{
		"sequence": {xmlFile(se + `<task id="a"/><task id="b"/>` + flows("s>a", "a>b", "b>e")), nil, func(d *desk) {
			d.want("a")
			d.done("a")
			d.want("b")
			d.done("b")
			d.finished("e")
		}},
		"no start and end events": {xmlFile(`<task id="a"/><task id="b"/><task id="c"/>` + flows("a>c", "b>c")), nil, func(d *desk) {
			d.want("a b")
			d.done("a")
			d.done("b")
			d.want("c c")
			d.done("c")
			d.done("c")
			d.finished("")
		}},
		"exclusive, first true": {xmlFile(se + `<task id="a"/><task id="b"/><exclusiveGateway id="x" default="x-b"/>` + flows("s>x", "x>a?n > 3", "x>b", "a>e", "b>e")), map[string]any{"n": 4}, func(d *desk) {
			d.want("a")
		}},
		"exclusive, default": {xmlFile(se + `<task id="a"/><task id="b"/><exclusiveGateway id="x" default="x-b"/>` + flows("s>x", "x>a?n > 3", "x>b", "a>e", "b>e")), map[string]any{"n": 3}, func(d *desk) {
			d.want("b")
		}},
		"exclusive, none": {xmlFile(se + `<task id="a"/><exclusiveGateway id="x"/>` + flows("s>x", "x>a?n > 3", "x>e?n > 5", "a>e")), map[string]any{"n": 1}, func(d *desk) {
			d.want("x")
			tok := d.get().Tokens[0]
			if tok.Wait != run.Failed || tok.Reason == "" {
				d.t.Fatalf("%+v", tok)
			}
			d.step(run.Input{Kind: run.Retry, Token: tok.ID})
			d.want("x")
			d.step(run.Input{Kind: run.Retry, Token: d.get().Tokens[0].ID, Vars: map[string]any{"n": 4}})
			d.want("a")
		}},
		"a variable is missing": {xmlFile(se + `<task id="a"/><task id="b"/><exclusiveGateway id="x"/>` + flows("s>a", "a>x", "x>b?ok", "x>e?!ok", "b>e")), nil, func(d *desk) {
			d.done("a")
			if tok := d.get().Tokens[0]; tok.Wait != run.Failed || !strings.Contains(tok.Reason, `"ok"`) {
				d.t.Fatalf("%+v", tok)
			}
			d.step(run.Input{Kind: run.Retry, Token: d.get().Tokens[0].ID, Vars: map[string]any{"ok": false}})
			d.finished("e")
		}},
		"loop back": {xmlFile(se + `<task id="a"/><exclusiveGateway id="x" default="x-a"/>` + flows("s>a", "a>x", "x>e?ok", "x>a")), map[string]any{"ok": false}, func(d *desk) {
			d.done("a")
			d.done("a")
			d.done("a", "ok", true)
			d.finished("e")
		}},
		"loop without a station": {xmlFile(se + `<exclusiveGateway id="y"/><exclusiveGateway id="x" default="x-y"/>` + flows("s>y", "y>x", "x>e?false", "x>y")), nil, func(d *desk) {
			if tok := d.get().Tokens[0]; tok.Wait != run.Failed {
				d.t.Fatalf("%+v", tok)
			}
		}},
		"parallel": {xmlFile(se + `<task id="a"/><task id="b"/><task id="c"/><parallelGateway id="f"/><parallelGateway id="j"/>` + flows("s>f", "f>a", "f>b", "a>j", "b>j", "j>c", "c>e")), nil, func(d *desk) {
			d.want("a b")
			d.done("b")
			d.want("a j")
			d.done("a")
			d.want("c")
			d.done("c")
			d.finished("e")
		}},
		"several flows out of a task": {xmlFile(se + `<task id="a"/><task id="b"/><task id="c"/>` + flows("s>a", "a>b", "a>c?n == 1", "b>e", "c>e")), map[string]any{"n": 1}, func(d *desk) {
			d.done("a")
			d.want("b c")
		}},
		"inclusive, two of three": {xmlFile(se + `<task id="a"/><task id="b"/><task id="c"/><task id="z"/><inclusiveGateway id="f"/><inclusiveGateway id="j"/>` +
			flows("s>f", "f>a?n > 0", "f>b?n > 1", "f>c?n > 2", "a>j", "b>j", "c>j", "j>z", "z>e")), map[string]any{"n": 2}, func(d *desk) {
			d.want("a b")
			d.done("a")
			d.want("b j")
			d.done("b")
			d.want("z")
			d.done("z")
			d.finished("e")
		}},
		"inclusive in a loop inside an inclusive block": {xmlFile(se + `<task id="a"/><task id="b"/><task id="c"/><task id="d"/><exclusiveGateway id="l"/><exclusiveGateway id="x" default="x-j1"/>
			<inclusiveGateway id="f1"/><inclusiveGateway id="j1"/><inclusiveGateway id="f2"/><inclusiveGateway id="j2"/>` +
			flows("s>f1", "f1>l?true", "f1>d?true", "l>f2", "f2>a?true", "f2>b?n == 1", "a>j2", "b>j2", "j2>x", "x>l?again", "x>j1", "d>c", "c>j1", "j1>e")), map[string]any{"n": 1, "again": true}, func(d *desk) {
			d.want("a b d")
			d.done("d")
			d.done("a")
			d.want("b c j2")
			d.done("b")
			d.want("a b c")
			d.done("a", "again", false)
			d.done("b")
			d.want("c j1")
			d.done("c")
			d.finished("e")
		}},
		"terminate": {xmlFile(`<startEvent id="s"/><endEvent id="e"><terminateEventDefinition/></endEvent><task id="a"/><task id="b"/><parallelGateway id="f"/>` + flows("s>f", "f>a", "f>b", "a>e", "b>e")), nil, func(d *desk) {
			d.done("b")
			d.finished("e")
		}},
		"sub-process, terminate ends it alone": {xmlFile(se + `<task id="z"/><subProcess id="u"><startEvent id="us"/><task id="a"/><task id="b"/><parallelGateway id="f"/><endEvent id="ue"><terminateEventDefinition/></endEvent>` +
			flows("us>f", "f>a", "f>b", "a>ue", "b>ue") + `</subProcess>` + flows("s>u", "u>z", "z>e")), nil, func(d *desk) {
			d.want("a b")
			d.done("a")
			d.want("z")
			d.done("z")
			d.finished("e")
		}},
		"error out of a sub-process": {xmlFile(se+`<task id="z"/><subProcess id="u"><startEvent id="us"/><task id="a"/><task id="b"/><parallelGateway id="f"/><endEvent id="ue"><errorEventDefinition errorRef="er"/></endEvent>`+
			flows("us>f", "f>a", "f>b", "a>ue", "b>ue")+`</subProcess><boundaryEvent id="any" attachedToRef="u"><errorEventDefinition/></boundaryEvent><boundaryEvent id="bd" attachedToRef="u"><errorEventDefinition errorRef="er"/></boundaryEvent>`+
			flows("s>u", "u>e", "bd>z", "z>e", "any>e"), `<error id="er" errorCode="E1"/>`), nil, func(d *desk) {
			d.done("a")
			d.want("z")
			d.done("z")
			d.finished("e")
		}},
		"error that nothing catches": {xmlFile(`<startEvent id="s"/><task id="a"/><task id="b"/><endEvent id="e"><errorEventDefinition errorRef="er"/></endEvent>`+flows("s>a", "s>b", "a>e"), `<error id="er" errorCode="E1"/>`), nil, func(d *desk) {
			d.done("a")
			d.finished("error: E1")
		}},
		"escalation beside": {xmlFile(se+`<task id="z"/><subProcess id="u"><startEvent id="us"/><intermediateThrowEvent id="t"><escalationEventDefinition escalationRef="es"/></intermediateThrowEvent><task id="a"/>`+
			flows("us>t", "t>a")+`</subProcess><boundaryEvent id="bd" attachedToRef="u" cancelActivity="false"><escalationEventDefinition escalationRef="es"/></boundaryEvent>`+
			flows("s>u", "u>e", "bd>z", "z>e"), `<escalation id="es" escalationCode="X"/>`), nil, func(d *desk) {
			d.want("a z")
			d.done("a")
			d.done("z")
			d.finished("e")
		}},
		"escalation instead": {xmlFile(se + `<task id="z"/><subProcess id="u"><startEvent id="us"/><endEvent id="t"><escalationEventDefinition/></endEvent><task id="a"/><parallelGateway id="f"/>` +
			flows("us>f", "f>t", "f>a") + `</subProcess><boundaryEvent id="bd" attachedToRef="u"><escalationEventDefinition/></boundaryEvent>` +
			flows("s>u", "u>e", "bd>z", "z>e")), nil, func(d *desk) {
			d.want("z")
		}},
		"escalation that nobody hears": {xmlFile(se + `<intermediateThrowEvent id="t"><escalationEventDefinition/></intermediateThrowEvent>` + flows("s>t", "t>e")), nil, func(d *desk) { d.finished("e") }},
		"timer": {xmlFile(se + `<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>P2D</timeDuration></timerEventDefinition></intermediateCatchEvent>` + flows("s>t", "t>e")), nil, func(d *desk) {
			d.later(47 * time.Hour)
			d.want("t")
			d.later(time.Hour)
			d.finished("e")
		}},
		"timer with a variable": {xmlFile(se + `<intermediateCatchEvent id="t"><timerEventDefinition><timeDate>${due}</timeDate></timerEventDefinition></intermediateCatchEvent>` + flows("s>t", "t>e")), map[string]any{"due": "2026-11-26"}, func(d *desk) {
			d.later(15 * time.Hour)
			d.finished("e")
		}},
		"deadline ends the task": {xmlFile(se + `<task id="a"/><task id="z"/><boundaryEvent id="b" attachedToRef="a"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></boundaryEvent>` +
			flows("s>a", "a>e", "b>z", "z>e")), nil, func(d *desk) {
			d.later(time.Hour)
			d.want("z")
			d.done("z")
			d.finished("e")
		}},
		"reminder three times beside the task": {xmlFile(se + `<task id="a"/><task id="z"/><boundaryEvent id="b" attachedToRef="a" cancelActivity="false"><timerEventDefinition><timeCycle>R3/PT1H</timeCycle></timerEventDefinition></boundaryEvent>` +
			flows("s>a", "a>e", "b>z")), nil, func(d *desk) {
			d.later(90 * time.Minute)
			d.want("a z")
			d.later(24 * time.Hour)
			d.want("a z z z")
			d.done("a")
			for range 3 {
				d.done("z")
			}
			d.finished("e")
		}},
		"message and receive": {xmlFile(se+`<intermediateCatchEvent id="m"><messageEventDefinition messageRef="mm"/></intermediateCatchEvent><receiveTask id="r" name="Antwort"/>`+flows("s>m", "m>r", "r>e"), `<message id="mm" name="Bescheid"/>`), nil, func(d *desk) {
			d.message("Bescheid")
			d.message("Antwort")
			d.finished("e")
		}},
		"message ends the task": {xmlFile(se + `<task id="a"/><task id="z"/><boundaryEvent id="b" name="Rücknahme" attachedToRef="a"><messageEventDefinition/></boundaryEvent>` + flows("s>a", "a>e", "b>z", "z>e")), nil, func(d *desk) {
			d.message("Rücknahme")
			d.want("z")
		}},
		"event-based gateway, message": {xmlFile(se + `<eventBasedGateway id="g"/><intermediateCatchEvent id="m" name="Antwort"><messageEventDefinition/></intermediateCatchEvent><intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>P1D</timeDuration></timerEventDefinition></intermediateCatchEvent><task id="a"/><task id="b"/>` +
			flows("s>g", "g>m", "g>t", "m>a", "t>b", "a>e", "b>e")), nil, func(d *desk) {
			d.message("Antwort")
			d.want("a")
			d.later(48 * time.Hour)
			d.want("a")
		}},
		"event-based gateway, timer": {xmlFile(se + `<eventBasedGateway id="g"/><intermediateCatchEvent id="m" name="Antwort"><messageEventDefinition/></intermediateCatchEvent><intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>P1D</timeDuration></timerEventDefinition></intermediateCatchEvent><task id="a"/><task id="b"/>` +
			flows("s>g", "g>m", "g>t", "m>a", "t>b", "a>e", "b>e")), nil, func(d *desk) {
			d.later(24 * time.Hour)
			d.want("b")
		}},
		"message thrown": {xmlFile(`<startEvent id="s"/><intermediateThrowEvent id="t" name="Hallo"><messageEventDefinition/></intermediateThrowEvent><endEvent id="e" name="Ende"><messageEventDefinition/></endEvent>` + flows("s>t", "t>e")), nil, func(d *desk) {
			if !slices.Equal(d.sent, []string{"Hallo", "Ende"}) {
				d.t.Fatalf("sent %v", d.sent)
			}
			d.finished("e")
		}},
		"service": {xmlFile(se + `<serviceTask id="a" evb:webhook="https://fv.example/x"/>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.service("a", run.Input{Kind: run.ServiceFailed, Reason: "503"})
			tok := d.get().Tokens[0]
			if tok.Wait != run.Failed || tok.Reason != "503" {
				d.t.Fatalf("%+v", tok)
			}
			d.step(run.Input{Kind: run.Retry, Token: tok.ID})
			if got := d.get().Tokens[0]; got.ID != tok.ID || got.Wait != run.Service {
				d.t.Fatalf("a retry is the same call: %+v", got)
			}
			d.service("a", run.Input{Kind: run.ServiceDone, Vars: map[string]any{"n": 1}})
			d.finished("e")
		}},
		"service error": {xmlFile(se+`<serviceTask id="a" evb:action="close"/><task id="z"/><boundaryEvent id="b" attachedToRef="a"><errorEventDefinition errorRef="er"/></boundaryEvent>`+flows("s>a", "a>e", "b>z", "z>e"), `<error id="er" errorCode="no"/>`), nil, func(d *desk) {
			d.service("a", run.Input{Kind: run.ServiceError, Code: "no"})
			d.want("z")
		}},
		"called process": {`<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"><process id="p" isExecutable="true">` + se + `<callActivity id="c" calledElement="q"/>` + flows("s>c", "c>e") +
			`</process><process id="q"><startEvent id="qs"/><task id="a"/>` + flows("qs>a") + `</process></definitions>`, nil, func(d *desk) {
			d.want("a")
			d.done("a")
			d.finished("e")
		}},
		"multi-instance in parallel": {xmlFile(se + `<userTask id="a"><multiInstanceLoopCharacteristics><loopCardinality>3</loopCardinality></multiInstanceLoopCharacteristics></userTask>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.want("a a a")
			d.done("a")
			d.done("a")
			d.want("a")
			d.done("a")
			d.finished("e")
		}},
		"multi-instance in sequence over a list": {xmlFile(se + `<userTask id="a"><multiInstanceLoopCharacteristics isSequential="true"><loopDataInputRef>who</loopDataInputRef></multiInstanceLoopCharacteristics></userTask>` + flows("s>a", "a>e")), map[string]any{"who": []any{"x", "y"}}, func(d *desk) {
			if tok := d.get().Tokens[1]; tok.Item != "x" {
				d.t.Fatalf("%+v", tok)
			}
			d.want("a")
			d.done("a")
			d.want("a")
			d.done("a")
			d.finished("e")
		}},
		"multi-instance until enough": {xmlFile(se + `<userTask id="a"><multiInstanceLoopCharacteristics><loopCardinality>3</loopCardinality><completionCondition>${nrOfCompletedInstances >= 2}</completionCondition></multiInstanceLoopCharacteristics></userTask>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.done("a")
			d.done("a")
			d.finished("e")
		}},
		"multi-instance of nothing": {xmlFile(se + `<userTask id="a"><multiInstanceLoopCharacteristics><loopCardinality>0</loopCardinality></multiInstanceLoopCharacteristics></userTask>` + flows("s>a", "a>e")), nil, func(d *desk) { d.finished("e") }},
		"deadline of a multi-instance task": {xmlFile(se + `<userTask id="a"><multiInstanceLoopCharacteristics><loopCardinality>3</loopCardinality></multiInstanceLoopCharacteristics></userTask><boundaryEvent id="b" attachedToRef="a"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></boundaryEvent>` + flows("s>a", "a>e", "b>e")), nil, func(d *desk) {
			d.done("a")
			d.later(time.Hour)
			d.finished("e")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.play(start(t, planOf(t, tc.xml), tc.vars))
		})
	}
}

func TestDeadlineInDaysEndsOnAWorkingDay(t *testing.T) {
	p := planOf(t, xmlFile(se+`<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>P3D</timeDuration></timerEventDefinition></intermediateCatchEvent><intermediateCatchEvent id="u"><timerEventDefinition><timeDuration>PT72H</timeDuration></timerEventDefinition></intermediateCatchEvent>`+flows("s>t", "s>u", "t>e", "u>e")))
	monday := func(t time.Time) time.Time {
		for t.Weekday() == time.Saturday || t.Weekday() == time.Sunday {
			t = t.AddDate(0, 0, 1)
		}
		return t
	}
	r, err := run.Start(p, "p", "", nil, run.Options{Now: at, WorkingDay: monday}) // a Wednesday
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Time{"t": at.AddDate(0, 0, 5), "u": at.AddDate(0, 0, 3)}
	for _, a := range run.Alarms(r.State) {
		if !a.Due.Equal(want[a.Element]) {
			t.Errorf("%s: %s, want %s", a.Element, a.Due, want[a.Element])
		}
	}
}

func TestInstanceMovesToAnotherVersionByPlan(t *testing.T) {
	old := planOf(t, xmlFile(se+`<task id="a"/><task id="b"/><parallelGateway id="f"/><parallelGateway id="j"/>`+flows("s>f", "f>a", "f>b", "a>j", "b>j", "j>e")))
	now := planOf(t, xmlFile(se+`<task id="a2"/><task id="b"/><task id="c"/><parallelGateway id="f"/><parallelGateway id="j2"/>`+flows("s>f", "f>a2", "f>b", "a2>j2", "b>j2", "j2>c", "c>e")))
	d := start(t, old, nil)
	d.done("a")
	if _, against := run.Migrate(now, "p", d.get(), nil, run.Options{Now: at}); len(against) != 1 || against[0].Node != "j" {
		t.Fatalf("obstacles %+v", against)
	}
	r, against := run.Migrate(now, "p", d.get(), map[string]string{"j": "j2", "a-j": "a2-j2"}, run.Options{Now: at})
	if len(against) > 0 {
		t.Fatalf("obstacles %+v", against)
	}
	d.plan = now
	d.keep(r)
	d.want("b j2")
	d.done("b")
	d.want("c")
	d.done("c")
	d.finished("e")
}

func TestInputThatFitsNoTokenChangesNothing(t *testing.T) {
	p := planOf(t, xmlFile(se+`<task id="a"/>`+flows("s>a", "a>e")))
	d := start(t, p, nil)
	id := d.get().Tokens[0].ID
	for _, in := range []run.Input{
		{Kind: run.TaskDone, Token: 99}, {Kind: run.ServiceDone, Token: id}, {Kind: run.TimerFired, Token: id, Element: "a"}, {Kind: run.MessageCame, Token: id, Element: "a"},
		{Kind: run.MessageCame, Token: id, Element: "zzz"}, {Kind: run.Retry, Token: id}, {Kind: "what", Token: id},
	} {
		if _, err := run.Step(p, d.get(), in, run.Options{Now: at}); !errors.Is(err, run.ErrStale) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	d.step(run.Input{Kind: run.Cancel, Reason: "irrtümlich"})
	if s := d.get(); s.Status != run.Cancelled {
		t.Errorf("%+v", s)
	}
	if _, err := run.Step(p, d.get(), run.Input{Kind: run.TaskDone, Token: id}, run.Options{Now: at}); !errors.Is(err, run.ErrStale) {
		t.Errorf("after the end: %v", err)
	}
}
