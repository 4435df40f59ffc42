package run_test

import (
	"testing"
	"time"

	"evb/internal/bpmn/run"
)

const eventSub = `<subProcess id="x" triggeredByEvent="true"><startEvent id="xs" `

// comes lets an event happen for which the instance waits.
func (d *desk) comes(element string) {
	d.t.Helper()
	for _, s := range run.Subscriptions(d.plan, d.get()) {
		if s.Element == element {
			d.step(run.Input{Kind: run.MessageCame, Token: s.Token, Element: element})
			return
		}
	}
	d.t.Fatalf("nothing waits for %s: %s", element, d.state)
}

// rings lets the time of a timer come.
func (d *desk) rings(element string) {
	d.t.Helper()
	for _, a := range run.Alarms(d.get()) {
		if a.Element == element {
			d.now = a.Due
			d.step(run.Input{Kind: run.TimerFired, Token: a.Token, Element: element})
			return
		}
	}
	d.t.Fatalf("no timer of %s is set: %s", element, d.state)
}

// stations are the open ones, by their nodes.
func (d *desk) stations(nodes ...string) {
	d.t.Helper()
	count := map[string]int{}
	for _, n := range d.open {
		count[n]++
	}
	for _, n := range nodes {
		count[n]--
	}
	for n, k := range count {
		if k != 0 {
			d.t.Fatalf("%s: %d too many or few at a station: %v", n, k, d.open)
		}
	}
}

func TestEventsAndMarkersFromStartToEnd(t *testing.T) {
	const se = `<startEvent id="s"/><endEvent id="e"/>`
	for name, tc := range map[string]struct {
		xml  string
		vars map[string]any
		do   func(d *desk)
	}{
		"link": {xmlFile(se + `<task id="a"/><intermediateThrowEvent id="l"><linkEventDefinition name="weiter"/></intermediateThrowEvent>
			<intermediateCatchEvent id="m" name="weiter"><linkEventDefinition/></intermediateCatchEvent><task id="b"/>` + flows("s>a", "a>l", "m>b", "b>e")), nil, func(d *desk) {
			d.done("a")
			d.done("b")
			d.finished("e")
		}},
		"link by reference": {xmlFile(se + `<intermediateThrowEvent id="l"><linkEventDefinition id="l1"><target>m1</target></linkEventDefinition></intermediateThrowEvent>
			<intermediateCatchEvent id="m"><linkEventDefinition id="m1"><source>l1</source></linkEventDefinition></intermediateCatchEvent><task id="b"/>` + flows("s>l", "m>b", "b>e")), nil, func(d *desk) {
			d.done("b")
			d.finished("e")
		}},
		"signal": {xmlFile(se+`<intermediateThrowEvent id="l"><signalEventDefinition signalRef="sg"/></intermediateThrowEvent><intermediateCatchEvent id="c"><signalEventDefinition signalRef="sg"/></intermediateCatchEvent>`+
			flows("s>l", "l>c", "c>e"), `<signal id="sg" name="Es geht los"/>`), nil, func(d *desk) {
			if len(d.sent) != 1 || d.sent[0] != "Es geht los" {
				d.t.Fatalf("sent %v", d.sent)
			}
			d.comes("c")
			d.finished("e")
		}},
		"condition": {xmlFile(se + `<task id="a"/><intermediateCatchEvent id="c"><conditionalEventDefinition><condition>amount &gt; 10</condition></conditionalEventDefinition></intermediateCatchEvent>` +
			`<parallelGateway id="p"/><parallelGateway id="q"/>` + flows("s>p", "p>a", "p>c", "a>q", "c>q", "q>e")), nil, func(d *desk) {
			d.done("a", "amount", 11)
			d.finished("e")
		}},
		"condition on the border": {xmlFile(se + `<task id="a"/><task id="b"/><task id="c"/><boundaryEvent id="x" attachedToRef="b" cancelActivity="false"><conditionalEventDefinition><condition>= urgent</condition></conditionalEventDefinition></boundaryEvent>` +
			flows("s>a", "s>b", "x>c", "a>e", "b>e", "c>e")), nil, func(d *desk) {
			d.stations("a", "b")
			d.done("a", "urgent", true)
			d.stations("b", "c")
			d.done("c") // it is still urgent: nothing new
			d.stations("b")
			d.done("b")
			d.finished("e")
		}},
		"gateway of condition and signal": {xmlFile(se + `<eventBasedGateway id="g"/><intermediateCatchEvent id="c"><conditionalEventDefinition><condition>never</condition></conditionalEventDefinition></intermediateCatchEvent>
			<intermediateCatchEvent id="d"><signalEventDefinition/></intermediateCatchEvent><task id="a"/>` + flows("s>g", "g>c", "g>d", "c>a", "a>e", "d>e")), map[string]any{"never": false}, func(d *desk) {
			d.comes("d")
			d.finished("e")
		}},
		"process that begins with a gateway": {xmlFile(`<eventBasedGateway id="g" instantiate="true"/><receiveTask id="m"/><intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></intermediateCatchEvent><endEvent id="e"/>` +
			flows("g>m", "g>t", "m>e", "t>e")), nil, func(d *desk) {
			d.comes("m")
			d.finished("e")
		}},
		"timer start": {xmlFile(`<startEvent id="s"><timerEventDefinition><timeDate>2026-12-01T08:00:00Z</timeDate></timerEventDefinition></startEvent><endEvent id="e"/>` + flows("s>e")), nil, func(d *desk) {
			if al := run.Alarms(d.get()); len(al) != 1 || !al[0].Due.Equal(time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)) {
				d.t.Fatalf("timers %v", al)
			}
			d.rings("s")
			d.finished("e")
		}},
		"conditional start": {xmlFile(`<startEvent id="s"><conditionalEventDefinition><condition>true</condition></conditionalEventDefinition></startEvent><endEvent id="e"/>` + flows("s>e")), nil, func(d *desk) { d.finished("e") }},
		"loop by condition": {xmlFile(se + `<task id="a"><standardLoopCharacteristics loopMaximum="3"><loopCondition>${!ok}</loopCondition></standardLoopCharacteristics></task>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.done("a", "ok", false)
			d.done("a", "ok", true)
			d.finished("e")
		}},
		"loop at most": {xmlFile(se + `<task id="a"><standardLoopCharacteristics loopMaximum="3"><loopCondition>true</loopCondition></standardLoopCharacteristics></task>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.done("a")
			d.done("a")
			d.done("a")
			d.finished("e")
		}},
		"loop not once": {xmlFile(se + `<task id="a"><standardLoopCharacteristics testBefore="true"><loopCondition>n &lt; 0</loopCondition></standardLoopCharacteristics></task>` + flows("s>a", "a>e")), map[string]any{"n": int64(1)}, func(d *desk) { d.finished("e") }},
		"loop as the person says": {xmlFile(se + `<subProcess id="p1"><standardLoopCharacteristics/><task id="a"/></subProcess>` + flows("s>p1", "p1>e")), nil, func(d *desk) {
			d.done("a", "repeat", true)
			d.done("a")
			d.finished("e")
		}},
		"sub-process for each": {xmlFile(se + `<subProcess id="p1"><multiInstanceLoopCharacteristics><loopDataInputRef>list</loopDataInputRef><inputDataItem name="who"/></multiInstanceLoopCharacteristics>
			<startEvent id="t"/><exclusiveGateway id="x" default="x-b"/><task id="a"/><task id="b"/>` + flows("t>x", "x>a?who == 'A'", "x>b") + `</subProcess>` + flows("s>p1", "p1>e")), map[string]any{"list": []any{"A", "B", "A"}}, func(d *desk) {
			d.stations("a", "a", "b")
			d.done("a")
			d.done("b")
			d.done("a")
			d.finished("e")
		}},
		"sub-process one after the other": {xmlFile(se + `<subProcess id="p1"><multiInstanceLoopCharacteristics isSequential="true"><loopCardinality>2</loopCardinality></multiInstanceLoopCharacteristics><task id="a"/></subProcess>
			<boundaryEvent id="b" attachedToRef="p1"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></boundaryEvent>` + flows("s>p1", "p1>e", "b>e")), nil, func(d *desk) {
			d.stations("a")
			d.done("a")
			d.stations("a")
			d.rings("b")
			d.finished("e")
		}},
		"service for each": {xmlFile(se + `<serviceTask id="a" evb:action="seal"><multiInstanceLoopCharacteristics><loopCardinality>3</loopCardinality></multiInstanceLoopCharacteristics></serviceTask>
			<boundaryEvent id="b" attachedToRef="a"><errorEventDefinition/></boundaryEvent>` + flows("s>a", "a>e", "b>e")), nil, func(d *desk) {
			d.service("a", run.Input{Kind: run.ServiceDone})
			d.service("a", run.Input{Kind: run.ServiceFailed, Reason: "no answer"})
			d.step(run.Input{Kind: run.Retry, Token: d.failed().ID})
			d.service("a", run.Input{Kind: run.ServiceError, Code: "x"}) // ends all of them
			d.finished("e")
		}},
		"message for each": {xmlFile(se + `<receiveTask id="a"><multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality></multiInstanceLoopCharacteristics></receiveTask>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.comes("a")
			d.comes("a")
			d.finished("e")
		}},
		"event sub-process that interrupts": {xmlFile(se + eventSub + `><messageEventDefinition/></startEvent><task id="xa"/><endEvent id="xe"/>` + flows("xs>xa", "xa>xe") + `</subProcess><task id="a"/>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.stations("a")
			d.comes("xs")
			d.stations("xa")
			d.done("xa")
			d.finished("xe")
		}},
		"event sub-process beside": {xmlFile(se + eventSub + `isInterrupting="false"><timerEventDefinition><timeCycle>R2/PT1H</timeCycle></timerEventDefinition></startEvent><task id="xa"/>` + flows("xs>xa") + `</subProcess><task id="a"/>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.rings("xs")
			d.rings("xs")
			d.stations("a", "xa", "xa")
			if al := run.Alarms(d.get()); len(al) > 0 {
				d.t.Fatalf("rings once more: %v", al)
			}
			d.done("a")
			d.done("xa")
			d.done("xa")
			d.finished("e")
		}},
		"event sub-process that nothing begins": {xmlFile(se + eventSub + `><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></startEvent></subProcess><task id="a"/>` + flows("s>a", "a>e")), nil, func(d *desk) {
			d.done("a")
			d.finished("e")
		}},
		"event sub-process for an error of a service, in a sub-process": {xmlFile(se + `<subProcess id="p1"><startEvent id="t"/><serviceTask id="v" evb:action="seal"/>` + eventSub + `><errorEventDefinition/></startEvent><task id="xa"/>` + flows("xs>xa") + `</subProcess>` + flows("t>v") + `</subProcess><task id="a"/>` + flows("s>p1", "p1>a", "a>e")), nil, func(d *desk) {
			d.service("v", run.Input{Kind: run.ServiceError, Code: "404"})
			d.stations("xa")
			d.done("xa")
			d.done("a")
			d.finished("e")
		}},
		"event sub-process for an error that is thrown goes before the border": {xmlFile(se + `<subProcess id="p1"><startEvent id="t"/><endEvent id="te"><errorEventDefinition errorRef="E"/></endEvent>` + eventSub + `><errorEventDefinition errorRef="E"/></startEvent><task id="xa"/>` + flows("xs>xa") + `</subProcess>` + flows("t>te") + `</subProcess>
			<boundaryEvent id="b" attachedToRef="p1"><errorEventDefinition errorRef="E"/></boundaryEvent><task id="a"/><task id="c"/>` + flows("s>p1", "p1>a", "b>c", "a>e", "c>e")), nil, func(d *desk) {
			d.done("xa")
			d.done("a")
			d.finished("e")
		}},
		"event sub-process throws on": {xmlFile(se + eventSub + `isInterrupting="false"><escalationEventDefinition/></startEvent><intermediateThrowEvent id="xt"><escalationEventDefinition/></intermediateThrowEvent>` + flows("xs>xt") + `</subProcess>
			<intermediateThrowEvent id="h"><escalationEventDefinition/></intermediateThrowEvent><task id="a"/>` + flows("s>h", "h>a", "a>e")), nil, func(d *desk) {
			d.done("a")
			d.finished("e")
		}},
		"event sub-process on a condition": {xmlFile(se + eventSub + `><conditionalEventDefinition><condition>stop</condition></conditionalEventDefinition></startEvent><endEvent id="xe"/>` + flows("xs>xe") + `</subProcess><task id="a"/><task id="b"/>` + flows("s>a", "s>b", "a>e", "b>e")), nil, func(d *desk) {
			d.done("a", "stop", true)
			d.finished("xe")
		}},
		"transaction that is cancelled": {xmlFile(se + `<transaction id="p1"><startEvent id="t"/><task id="a"/><task id="b"/><endEvent id="te"><cancelEventDefinition/></endEvent>` + flows("t>a", "t>b", "a>te") + `</transaction>
			<boundaryEvent id="x" attachedToRef="p1"><cancelEventDefinition/></boundaryEvent><task id="c"/><endEvent id="e2"/>` + flows("s>p1", "p1>e", "x>c", "c>e2")), nil, func(d *desk) {
			d.done("a")
			d.stations("c")
			d.done("c")
			d.finished("e2")
		}},
		"transaction": {xmlFile(se + `<transaction id="p1"><task id="a"/></transaction>` + flows("s>p1", "p1>e")), nil, func(d *desk) {
			d.done("a")
			d.finished("e")
		}},
	} {
		t.Run(name, func(t *testing.T) { tc.do(start(t, planOf(t, tc.xml), tc.vars)) })
	}
}

func (d *desk) failed() run.Token {
	for _, t := range d.get().Tokens {
		if t.Wait == run.Failed {
			return t
		}
	}
	d.t.Fatalf("nothing has failed: %s", d.state)
	return run.Token{}
}

// An instance of a version without event sub-processes gets them, and loses
// them, with the version.
func TestMigrationBringsAndTakesEventSubProcesses(t *testing.T) {
	without := planOf(t, xmlFile(`<startEvent id="s"/><endEvent id="e"/><task id="a"/>`+flows("s>a", "a>e")))
	with := planOf(t, xmlFile(`<startEvent id="s"/><endEvent id="e"/><task id="a"/>`+eventSub+`><messageEventDefinition/></startEvent><task id="xa"/>`+flows("xs>xa")+`</subProcess>`+flows("s>a", "a>e")))
	d := start(t, without, nil)
	r, against := run.Migrate(with, "p", d.get(), nil, run.Options{Now: at})
	if len(against) > 0 || len(run.Subscriptions(with, r.State)) != 1 {
		t.Fatalf("%v %+v", against, r.State)
	}
	back, against := run.Migrate(without, "p", r.State, nil, run.Options{Now: at})
	if len(against) > 0 || len(back.State.Tokens) != 1 {
		t.Fatalf("%v %+v", against, back.State)
	}
	d.plan = with
	d.keep(r)
	d.comes("xs")
	d.done("xa")
	d.finished("")
}
