package process_test

import (
	"strings"
	"testing"

	"evb/internal/bpmn"
	"evb/internal/process"
)

func TestASignalReachesEveryInstanceOfTheVorgangAndItsOwn(t *testing.T) {
	w := newWorks(t)
	catch := `<intermediateCatchEvent id="c"><signalEventDefinition signalRef="g"/></intermediateCatchEvent>`
	signal := `<signal id="g" name="Freigabe"/>`
	waits := w.begin(xmlFile(catch+flow("s", "c")+flow("c", "e"), signal), bpmn.Activation{}, nil)
	// A message of that name is not the signal.
	named := w.begin(xmlFile(`<receiveTask id="m" name="Freigabe"/>`+flow("s", "m")+flow("m", "e")), bpmn.Activation{}, nil)
	sends := w.begin(xmlFile(catch+`<parallelGateway id="p"/><userTask id="a" evb:unit="FB61"/><intermediateThrowEvent id="x"><signalEventDefinition signalRef="g"/></intermediateThrowEvent>`+
		flow("s", "p")+flow("p", "c")+flow("p", "a")+flow("a", "x")+flow("x", "e")+flow("c", "e"), signal), bpmn.Activation{}, nil)
	w.done(w.Schulz, sends.ID, "a")
	w.at(sends.ID, "c message")
	if w.run(process.JobDeliver, false) != 1 {
		t.Error("the signal is not in the outbox")
	}
	for _, id := range []process.Instance{waits, sends} {
		if got := w.at(id.ID); got.State != "done" {
			t.Errorf("%+v", got)
		}
	}
	w.at(named.ID, "m message")
}

func TestAMessageFlowLeadsToTheOtherPoolOfTheFile(t *testing.T) {
	w := newWorks(t)
	file := []byte(strings.Replace(string(xmlFile(`<intermediateThrowEvent id="t" name="Bescheid geht hinaus"><messageEventDefinition/></intermediateThrowEvent>`+flow("s", "t")+flow("t", "e"),
		`<collaboration id="c"><participant id="p1" processRef="p"/><participant id="p2" processRef="q"/><messageFlow id="f" sourceRef="t" targetRef="qm"/></collaboration>`)),
		"</definitions>", `<process id="q" isExecutable="true"><startEvent id="qs"/><intermediateCatchEvent id="qm" name="Bescheid kommt an"><messageEventDefinition/></intermediateCatchEvent><endEvent id="qe"/>`+flow("qs", "qm")+flow("qm", "qe")+`</process></definitions>`, 1))
	d := w.define(file, bpmn.Activation{})
	start := func(id string) process.Instance {
		i, _, err := w.s.Start(t.Context(), w.Schulz, process.NewInstance{Definition: d.ID, Vorgang: w.vorgang, Process: id})
		w.ok(err)
		return i
	}
	q := start("q")
	w.at(q.ID, "qm message")
	start("p")
	w.run(process.JobDeliver, false)
	if got := w.at(q.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
}

func TestActivationPutsSomethingInThePlaceOfWhatIsNotExecuted(t *testing.T) {
	w := newWorks(t)
	file := xmlFile(`<scriptTask id="a"><script>x = 1</script></scriptTask><callActivity id="b" calledElement="elsewhere"/><exclusiveGateway id="x" default="x-e"/><adHocSubProcess id="h"><task id="h1"/></adHocSubProcess>` +
		flow("s", "a") + flow("a", "b") + flow("b", "x") + flow("x", "h", "Betrag über 1000") + flow("x", "e") + flow("h", "e"))
	d, _, err := w.s.Store(t.Context(), w.designer, process.NewDefinition{File: file})
	w.ok(err)
	answers := map[string]string{}
	for _, u := range d.Report.Unsupported {
		answers[u.ID] = u.Answer
	}
	if d.Report.Executable || answers["a"] != "station" || answers["b"] != "station" || answers["h"] != "station" || answers["x-h"] != "condition" || len(d.Report.Needs) > 0 {
		t.Errorf("%+v", d.Report)
	}
	a := bpmn.Activation{Stations: map[string]bpmn.Targets{"a": unit("FB61"), "b": {{Function: "head"}}, "h": unit("FB61")}}
	_, err = w.s.Activate(t.Context(), w.designer, d.ID, a)
	w.want(err, "process-not-executable")
	a.Conditions = map[string]string{"x-h": "amount > 1000"}
	i := w.begin(file, a, map[string]any{"amount": 2000})
	w.done(w.Schulz, i.ID, "a")
	w.done(w.Yilmaz, i.ID, "b")
	w.done(w.Schulz, i.ID, "h")
	if got := w.at(i.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
}
