package process_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/bpmn"
	"evb/internal/circulation"
	"evb/internal/job"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
	"evb/internal/postkorb/postkorbtest"
	"evb/internal/process"
	"evb/internal/sharedtest"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(victimDSN); dsn != "" {
		os.Exit(victim(dsn))
	}
	os.Exit(pgtest.Main(m))
}

// works is the town with Postkörbe, circulations and processes. Nothing runs in
// the background: a test runs the jobs itself.
type works struct {
	*aktetest.Town
	t        testing.TB
	post     *postkorb.Service
	routes   *circulation.Service
	s        *process.Service
	designer access.Actor
	vorgang  uuid.UUID
	actions  map[string]process.Action
	hooks    []string // addresses that webhooks may be at
}

// services are works on a database in which people may live already.
func services(db *postgres.DB, now func() time.Time) *works {
	w := &works{actions: map[string]process.Action{}, Town: aktetest.Services(db, aktetest.Options{Now: now})}
	w.link()
	return w
}

// link makes the services that know each other, as in the program.
func (w *works) link() {
	w.Akten = akte.New(w.DB, w.Log, akte.Options{Now: w.Now, VersionAdded: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument, version uuid.UUID, number int) error {
		return w.routes.VersionAdded(ctx, tx, a, at, dokument, version, number)
	}})
	w.post = postkorb.New(w.DB, w.Log, postkorb.Options{Now: w.Now, Step: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, act postkorb.StepAct) error {
		return w.routes.Step(ctx, tx, a, at, act)
	}})
	w.routes = circulation.New(w.DB, w.Log, w.Akten, w.post, circulation.Options{Now: w.Now, Completed: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, c circulation.Completed) error {
		return w.s.Completed(ctx, tx, a, at, c)
	}})
	w.s = process.New(w.DB, w.Log, w.Akten, w.routes, process.Options{Now: w.Now, Actions: w.actions, Webhooks: w.hooks})
}

func newWorks(t testing.TB) *works {
	t.Helper()
	w := &works{t: t, actions: map[string]process.Action{}}
	w.Town = aktetest.New(t)
	w.link()
	postkorbtest.MakeTown(t, w.Town, w.post)
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		ctx, since := t.Context(), w.Now().AddDate(0, -1, 0)
		id, err := w.Org.EnsureUser(ctx, tx, w.System(), since, org.NewUser{Login: "p.design", DisplayName: "Paul Design"})
		if err != nil {
			return err
		}
		w.designer = access.Actor{Tenant: pgtest.Stadt, TenantSlug: "stadt", User: id, Login: "p.design", Memberships: []access.Membership{{Role: access.ProcessDesigner}}}
		return w.Org.EnsureMembership(ctx, tx, w.System(), since, id, uuid.Nil, access.ProcessDesigner)
	})
	v, _, err := w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteBau, Subject: "Bauantrag"})
	w.ok(err)
	w.vorgang = v.ID
	return w
}

func (w *works) ok(err error) {
	w.t.Helper()
	sharedtest.Must(w.t, err)
}

func (w *works) want(err error, code string) {
	w.t.Helper()
	sharedtest.WantFault(w.t, err, code)
}

func xmlFile(process string, root ...string) []byte {
	return []byte(`<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:evb="urn:evb:bpmn" xmlns:camunda="http://camunda.org/schema/1.0/bpmn">` +
		strings.Join(root, "") + `<process id="p" name="Probe" isExecutable="true"><startEvent id="s"/><endEvent id="e"/>` + process + `</process></definitions>`)
}

func flow(from, to string, cond ...string) string {
	x := `<sequenceFlow id="` + from + "-" + to + `" sourceRef="` + from + `" targetRef="` + to + `">`
	for _, c := range cond {
		x += `<conditionExpression><![CDATA[` + c + `]]></conditionExpression>`
	}
	return x + `</sequenceFlow>`
}

// begin stores and activates a file and starts an instance for the Vorgang.
func (w *works) begin(file []byte, a bpmn.Activation, vars map[string]any) process.Instance {
	w.t.Helper()
	d := w.define(file, a)
	i, _, err := w.s.Start(w.t.Context(), w.Schulz, process.NewInstance{Definition: d.ID, Vorgang: w.vorgang, Variables: vars})
	w.ok(err)
	return i
}

func (w *works) define(file []byte, a bpmn.Activation) process.Definition {
	w.t.Helper()
	d, _, err := w.s.Store(w.t.Context(), w.designer, process.NewDefinition{File: file, FileName: "probe.bpmn"})
	w.ok(err)
	d, err = w.s.Activate(w.t.Context(), w.designer, d.ID, a)
	w.ok(err)
	return d
}

func (w *works) instance(id uuid.UUID) process.Instance {
	w.t.Helper()
	i, err := w.s.Instance(w.t.Context(), w.Schulz, id)
	w.ok(err)
	return i
}

// at says where an instance stands: element and what it waits for.
func (w *works) at(id uuid.UUID, want ...string) process.Instance {
	w.t.Helper()
	i := w.instance(id)
	var got []string
	for _, s := range i.Steps {
		if s.Waits != "scope" {
			got = append(got, s.Element+" "+s.Waits)
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		w.t.Fatalf("stands at %v, want %v (%+v)", got, want, i.Steps)
	}
	return i
}

// complete finishes the open station of an element as somebody.
func (w *works) complete(a access.Actor, id uuid.UUID, element string, c circulation.Completion) error {
	w.t.Helper()
	for _, s := range w.instance(id).Steps {
		if s.Element == element && s.Waits == "task" {
			_, err := w.routes.Complete(w.t.Context(), a, *s.CirculationID, *s.Number, c, 0)
			return err
		}
	}
	w.t.Fatalf("no station %s: %+v", element, w.instance(id).Steps)
	return nil
}

func (w *works) done(a access.Actor, id uuid.UUID, element string, data ...string) {
	w.t.Helper()
	c := circulation.Completion{}
	if len(data) > 0 {
		c.Data = json.RawMessage(data[0])
	}
	w.ok(w.complete(a, id, element, c))
}

// run runs the jobs of a kind that are open, as a worker does.
func (w *works) run(kind string, last bool) (ran int) {
	w.t.Helper()
	for _, d := range w.s.Jobs() {
		if d.Kind != kind {
			continue
		}
		var open []uuid.UUID
		w.Tx(w.t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
			open, err = d.Open(w.t.Context(), tx, 100)
			return err
		})
		for _, id := range open {
			if err := d.Run(w.t.Context(), job.Job{Tenant: pgtest.Stadt, Subject: id, Attempt: 1, Last: last}); err != nil {
				w.t.Logf("job %s: %v", kind, err)
			}
			ran++
		}
	}
	return ran
}

func unit(code string) bpmn.Targets { return bpmn.Targets{{Unit: code}} }

func TestAVorgangGoesFromStationToStationByItself(t *testing.T) {
	w := newWorks(t)
	i := w.begin(xmlFile(`<userTask id="check" name="Prüfen" camunda:candidateGroups="FB61"/><exclusiveGateway id="x" default="x-e"/><userTask id="sign" name="Freigeben" evb:kind="action"/>`+
		flow("s", "check")+flow("check", "x")+flow("x", "sign", "${amount > 1000}")+flow("x", "e")+flow("sign", "e")),
		bpmn.Activation{Stations: map[string]bpmn.Targets{"sign": {{Function: "head"}}}}, nil)
	w.at(i.ID, "check task")
	if err := w.complete(w.Meier, i.ID, "check", circulation.Completion{}); err == nil {
		t.Fatal("somebody else finishes the station")
	}
	w.at(i.ID, "check task")
	w.done(w.Schulz, i.ID, "check", `{"amount": 2500.5}`)
	w.at(i.ID, "sign task")
	w.done(w.Yilmaz, i.ID, "sign")
	got := w.at(i.ID)
	if got.State != "done" || got.Outcome != "e" || got.EndedAt == nil || got.Variables["amount"] != 2500.5 {
		t.Errorf("%+v", got)
	}
	var said []string
	for _, l := range got.Log {
		said = append(said, l.What+" "+l.Element)
	}
	if want := "started , passed s, entered check, completed check, passed x, entered sign, completed sign, passed e, ended "; strings.Join(said, ", ") != want {
		t.Errorf("log %q", strings.Join(said, ", "))
	}
	all, err := w.routes.Of(t.Context(), w.Schulz, w.vorgang)
	w.ok(err)
	if len(all) != 1 || all[0].State != circulation.Done || all[0].Level != 4 {
		t.Errorf("circulations %+v", all)
	}
}

func TestAnActIsUndoneWholeWhenItsDataDoesNotFitTheForm(t *testing.T) {
	w := newWorks(t)
	i := w.begin(xmlFile(`<userTask id="t" evb:unit="FB61"><extensionElements><evb:form>{"type":"object","required":["ok"],"properties":{"ok":{"type":"boolean"}}}</evb:form></extensionElements></userTask>`+flow("s", "t")+flow("t", "e")), bpmn.Activation{}, nil)
	w.want(w.complete(w.Schulz, i.ID, "t", circulation.Completion{Data: json.RawMessage(`{"ok":"ja"}`)}), "process-data-invalid")
	w.want(w.complete(w.Schulz, i.ID, "t", circulation.Completion{}), "process-data-invalid")
	w.at(i.ID, "t task")
	w.done(w.Schulz, i.ID, "t", `{"ok":true}`)
	if got := w.at(i.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
}

func TestStationsAreKnownOrToldBeforeActivation(t *testing.T) {
	w := newWorks(t)
	file := xmlFile(`<laneSet id="ls"><lane id="l" name="FB64"><flowNodeRef>b</flowNodeRef></lane></laneSet><userTask id="a" camunda:candidateGroups="accounting"/><task id="b"/><task id="c"/>` + flow("s", "a") + flow("a", "b") + flow("b", "c") + flow("c", "e"))
	d, _, err := w.s.Store(t.Context(), w.designer, process.NewDefinition{File: file})
	w.ok(err)
	if !d.Report.Executable || len(d.Report.Needs) != 2 {
		t.Errorf("%+v", d.Report)
	}
	_, err = w.s.Activate(t.Context(), w.designer, d.ID, bpmn.Activation{})
	w.want(err, "process-needs-open")
	_, err = w.s.Activate(t.Context(), w.designer, d.ID, bpmn.Activation{Stations: map[string]bpmn.Targets{"c": unit("FB99")}})
	w.want(err, "process-activation-invalid")
	_, err = w.s.Activate(t.Context(), w.Schulz, d.ID, bpmn.Activation{})
	w.want(err, "process-designer-only")
	_, _, err = w.s.Start(t.Context(), w.Schulz, process.NewInstance{Definition: d.ID, Vorgang: w.vorgang})
	w.want(err, "process-not-active")
	d, err = w.s.Activate(t.Context(), w.designer, d.ID, bpmn.Activation{Stations: map[string]bpmn.Targets{"c": {{Group: "a.schulz"}}}})
	w.ok(err)
	if len(d.Activation.Unknown) != 1 || d.Activation.Unknown[0].ID != "a" {
		t.Errorf("unknown stations %+v", d.Activation.Unknown)
	}
	i, _, err := w.s.Start(t.Context(), w.Schulz, process.NewInstance{Definition: d.ID, Vorgang: w.vorgang})
	w.ok(err)
	w.done(w.Koch, i.ID, "a")   // nobody's name: the unit of the Vorgang
	w.done(w.Meier, i.ID, "b")  // by its lane
	w.done(w.Schulz, i.ID, "c") // by name
	if got := w.at(i.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
	_, _, err = w.s.Start(t.Context(), w.Meier, process.NewInstance{Definition: d.ID, Vorgang: w.vorgang})
	w.want(err, "not-found")
	_, err = w.s.Instance(t.Context(), w.Nobody, i.ID)
	w.want(err, "not-found")
	bad, _, err := w.s.Store(t.Context(), w.designer, process.NewDefinition{File: xmlFile(`<scriptTask id="x"><script>1</script></scriptTask>` + flow("s", "x") + flow("x", "e"))})
	w.ok(err)
	_, err = w.s.Activate(t.Context(), w.designer, bad.ID, bpmn.Activation{})
	w.want(err, "process-not-executable")
}

func TestTimersFireOnceHoweverOftenTheyAreLookedAt(t *testing.T) {
	w := newWorks(t)
	i := w.begin(xmlFile(`<userTask id="t" evb:unit="FB61"/><userTask id="late" evb:function="head"/><boundaryEvent id="b" attachedToRef="t"><timerEventDefinition><timeDuration>P2D</timeDuration></timerEventDefinition></boundaryEvent>
		<boundaryEvent id="r" attachedToRef="t" cancelActivity="false"><timerEventDefinition><timeCycle>R2/PT12H</timeCycle></timerEventDefinition></boundaryEvent><userTask id="remind" evb:unit="FB61"/>`+
		flow("s", "t")+flow("t", "e")+flow("b", "late")+flow("late", "e")+flow("r", "remind")), bpmn.Activation{}, nil)
	w.ok(w.s.Sweep(t.Context(), pgtest.Stadt))
	w.at(i.ID, "t task")
	w.Pass(13 * time.Hour)
	for range 2 {
		w.ok(w.s.Sweep(t.Context(), pgtest.Stadt))
		w.ok(w.s.Wake(t.Context(), pgtest.Stadt, i.ID))
	}
	w.at(i.ID, "t task", "remind task")
	w.Pass(48 * time.Hour)
	for range 2 {
		w.ok(w.s.Sweep(t.Context(), pgtest.Stadt))
	}
	w.at(i.ID, "remind task", "remind task", "late task")
	items, err := w.post.ItemsOf(t.Context(), w.Yilmaz, w.vorgang)
	w.ok(err)
	open := 0
	for _, it := range items {
		if it.State == postkorb.Open {
			open++
		}
	}
	if open != 3 {
		t.Errorf("%d open items", open)
	}
	w.done(w.Yilmaz, i.ID, "late")
	w.done(w.Schulz, i.ID, "remind")
	w.done(w.Schulz, i.ID, "remind")
	if got := w.at(i.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
}

// file makes a Dokument of a type and files it to the Vorgang.
func (w *works) file(docType string) uuid.UUID {
	w.t.Helper()
	var id uuid.UUID
	w.Tx(w.t, pgtest.Stadt, func(tx pgx.Tx) error {
		d := aktetest.Draft(w.t, tx, docType)
		d.DocumentType = docType
		id = d.ID
		return w.Akten.InsertDokumente(w.t.Context(), tx, w.System(), w.Now(), d)
	})
	_, err := w.Akten.File(w.t.Context(), w.System(), id, akte.FileRequest{VorgangID: w.vorgang})
	w.ok(err)
	return id
}

func TestADokumentThatArrivesIsTheMessageOfOneEvent(t *testing.T) {
	w := newWorks(t)
	i := w.begin(xmlFile(`<intermediateCatchEvent id="m1" name="Gutachten"><messageEventDefinition/></intermediateCatchEvent><userTask id="t" evb:unit="FB61"/><receiveTask id="m2" evb:documentType="gutachten"/>`+
		flow("s", "m1")+flow("m1", "t")+flow("t", "m2")+flow("m2", "e")), bpmn.Activation{}, nil)
	w.at(i.ID, "m1 message")
	w.ok(w.s.Arrived(t.Context(), pgtest.Stadt, w.file("Rechnung")))
	w.at(i.ID, "m1 message")
	first := w.file("Gutachten")
	for range 2 {
		w.ok(w.s.Arrived(t.Context(), pgtest.Stadt, first))
	}
	if got := w.at(i.ID, "t task"); got.Variables["dokument_id"] != first.String() {
		t.Errorf("variables %v", got.Variables)
	}
	// A second one comes before anything waits for it: it is kept.
	w.ok(w.s.Arrived(t.Context(), pgtest.Stadt, w.file("Gutachten")))
	w.at(i.ID, "t task")
	w.done(w.Schulz, i.ID, "t")
	if got := w.at(i.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
}

func TestMessagesGoFromInstanceToInstanceAndComeFromOutside(t *testing.T) {
	w := newWorks(t)
	waits := w.begin(xmlFile(`<receiveTask id="m" name="Fertig"/>`+flow("s", "m")+flow("m", "e")), bpmn.Activation{}, nil)
	outside := w.begin(xmlFile(`<receiveTask id="m" name="Anruf"/>`+flow("s", "m")+flow("m", "e")), bpmn.Activation{}, nil)
	sends := w.begin(xmlFile(`<intermediateThrowEvent id="m" name="Fertig"><messageEventDefinition/></intermediateThrowEvent>`+flow("s", "m")+flow("m", "e")), bpmn.Activation{}, nil)
	if got := w.instance(sends.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
	w.at(waits.ID, "m message")
	if w.run(process.JobDeliver, false) != 1 || w.run(process.JobDeliver, false) != 0 {
		t.Error("a message is delivered once")
	}
	w.at(waits.ID)
	_, err := w.s.Message(t.Context(), w.Schulz, outside.ID, "Brief", nil, 0)
	w.want(err, "process-message-unawaited")
	_, err = w.s.Message(t.Context(), w.Schulz, outside.ID, "Anruf", map[string]any{"n": 1}, 99)
	w.want(err, "stale-version")
	got, err := w.s.Message(t.Context(), w.Schulz, outside.ID, "Anruf", map[string]any{"n": 1}, 0)
	w.ok(err)
	if got.State != "done" || got.Variables["n"] != int64(1) {
		t.Errorf("%+v", got)
	}
}

func TestAStationThatNobodyCanWorkAtFailsItsStepAlone(t *testing.T) {
	w := newWorks(t)
	i := w.begin(xmlFile(`<userTask id="a" evb:unit="FB61"/><userTask id="b" evb:function="registry" evb:unit="FB64"/><userTask id="c" evb:function="head" evb:unit="FB64"/>`+
		flow("s", "a")+flow("a", "b")+flow("a", "c")+flow("b", "e")+flow("c", "e")), bpmn.Activation{}, nil)
	w.done(w.Schulz, i.ID, "a") // goes through although nobody is head of FB64
	got := w.at(i.ID, "b task", "c failed")
	if got.Failed != 1 || got.Steps[1].Reason == "" {
		t.Errorf("%+v", got)
	}
	_, err := w.s.Retry(t.Context(), w.Meier, i.ID, 0, nil, 0)
	w.want(err, "not-found")
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		return w.Org.EnsureMembership(t.Context(), tx, w.System(), w.Now().AddDate(0, 0, -1), w.Meier.User, w.Wohngeld, access.Head)
	})
	_, err = w.s.Retry(t.Context(), w.Schulz, i.ID, got.Steps[0].Token, nil, 0)
	w.want(err, "process-step-not-failed")
	_, err = w.s.Retry(t.Context(), w.Schulz, i.ID, got.Steps[1].Token, nil, 0)
	w.ok(err)
	w.at(i.ID, "b task", "c task")
	w.done(w.Meier, i.ID, "c")
	w.done(w.Roth, i.ID, "b")
	if got := w.at(i.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
}

func TestACancelledInstanceLeavesNothingOnTheDesks(t *testing.T) {
	w := newWorks(t)
	i := w.begin(xmlFile(`<userTask id="a" evb:unit="FB61"/><userTask id="b" evb:unit="FB61"/>`+flow("s", "a")+flow("s", "b")+flow("a", "e")+flow("b", "e")), bpmn.Activation{}, nil)
	_, err := w.s.Cancel(t.Context(), w.Schulz, i.ID, " ", 0)
	w.want(err, "reason-needed")
	got, err := w.s.Cancel(t.Context(), w.Schulz, i.ID, "zurückgezogen", i.RowVersion)
	w.ok(err)
	if got.State != "cancelled" || len(got.Steps) > 0 {
		t.Errorf("%+v", got)
	}
	items, err := w.post.ItemsOf(t.Context(), w.Schulz, w.vorgang)
	w.ok(err)
	for _, it := range items {
		if it.State == postkorb.Open {
			t.Errorf("on a desk: %+v", it)
		}
	}
	_, err = w.s.Cancel(t.Context(), w.Schulz, i.ID, "noch einmal", 0)
	w.want(err, "process-ended")
	// And so does one whose route is recalled by a person.
	i = w.begin(xmlFile(`<userTask id="a" evb:unit="FB61"/>`+flow("s", "a")+flow("a", "e")), bpmn.Activation{}, nil)
	_, err = w.routes.Recall(t.Context(), w.Yilmaz, *i.Steps[0].CirculationID, "erledigt sich", 0)
	w.ok(err)
	if got := w.at(i.ID); got.State != "cancelled" {
		t.Errorf("%+v", got)
	}
}

func TestARefusalIsAnOutcomeOrAnErrorWhereOneIsDrawn(t *testing.T) {
	w := newWorks(t)
	i := w.begin(xmlFile(`<userTask id="a" evb:unit="FB61"/><exclusiveGateway id="x" default="x-e"/><userTask id="b" evb:unit="FB61"/>`+flow("s", "a")+flow("a", "x")+flow("x", "b", "outcome == 'refused'")+flow("x", "e")+flow("b", "e")), bpmn.Activation{}, nil)
	w.ok(w.complete(w.Schulz, i.ID, "a", circulation.Completion{Outcome: circulation.Refused, Remark: "unvollständig"}))
	w.at(i.ID, "b task")
	i = w.begin(xmlFile(`<userTask id="a" evb:unit="FB61"/><boundaryEvent id="r" attachedToRef="a"><errorEventDefinition/></boundaryEvent><userTask id="b" evb:unit="FB61"/>`+flow("s", "a")+flow("a", "e")+flow("r", "b")+flow("b", "e")), bpmn.Activation{}, nil)
	w.ok(w.complete(w.Schulz, i.ID, "a", circulation.Completion{Outcome: circulation.Refused, Remark: "unvollständig"}))
	w.at(i.ID, "b task")
	w.done(w.Schulz, i.ID, "b")
	if got := w.at(i.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
}

func TestADeadlineInDaysEndsOnAWorkingDay(t *testing.T) {
	w := newWorks(t) // it is Tuesday, 24 November 2026, 10:00 in Berlin
	i := w.begin(xmlFile(`<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>P31D</timeDuration></timerEventDefinition></intermediateCatchEvent>`+flow("s", "t")+flow("t", "e")), bpmn.Activation{}, nil)
	// The 25th of December is a holiday, a week-end follows.
	if due := w.at(i.ID, "t timer").Steps[0].DueAt; due == nil || !due.Equal(time.Date(2026, 12, 28, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("due %v", due)
	}
}
