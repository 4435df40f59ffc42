package web_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/org"
)

// designer is somebody who may draw up processes.
func (w *world) designer() access.Actor {
	w.T.Helper()
	a := w.System()
	a.Login = "p.design"
	w.Tx(func(tx pgx.Tx) error {
		id, err := w.Org.EnsureUser(w.T.Context(), tx, w.System(), w.Now(), org.NewUser{Login: "p.design", DisplayName: "Paul Design"})
		if err != nil {
			return err
		}
		a.User = id
		return w.Org.EnsureMembership(w.T.Context(), tx, w.System(), w.Now(), id, uuid.Nil, access.ProcessDesigner)
	})
	return a
}

const probe = `<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" targetNamespace="t" exporter="Camunda Modeler" exporterVersion="5.20.0">
<bpmn:process id="Gewerbe" name="Gewerbemeldung" isExecutable="true"><bpmn:startEvent id="s"/><bpmn:task id="check" name="Prüfen"/>
<bpmn:exclusiveGateway id="x" default="n"/><bpmn:receiveTask id="m" name="Nachweis"/><bpmn:endEvent id="e"/>
<bpmn:sequenceFlow id="f1" sourceRef="s" targetRef="check"/><bpmn:sequenceFlow id="f2" sourceRef="check" targetRef="x"/>
<bpmn:sequenceFlow id="y" sourceRef="x" targetRef="m"/><bpmn:sequenceFlow id="n" sourceRef="x" targetRef="e"/><bpmn:sequenceFlow id="f3" sourceRef="m" targetRef="e"/>
</bpmn:process></bpmn:definitions>`

func TestAProcessIsStoredActivatedAndRunByHTTP(t *testing.T) {
	w := newWorld(t)
	w.wohngeld()
	who := w.designer()
	xml := header{"Content-Type": "application/xml"}
	w.call(w.Schulz, "POST", "/api/v1/processes", []byte(probe), xml).want(403, "process-designer-only")
	w.call(who, "POST", "/api/v1/processes", []byte("<html/>"), xml).want(415, "bpmn-not-bpmn")
	d := w.call(who, "POST", "/api/v1/processes", []byte(probe), xml, header{"Idempotency-Key": "one"}).want(201).json()
	if again := w.call(who, "POST", "/api/v1/processes", []byte(probe), xml, header{"Idempotency-Key": "one"}).want(201).json(); again["id"] != d["id"] {
		t.Errorf("a repeated request stores another one: %v", again["id"])
	}
	if d["executable"] != true || len(d["needs"].([]any)) != 2 || len(d["unsupported"].([]any)) != 0 {
		t.Errorf("%v", d)
	}
	path := fmt.Sprintf("/api/v1/processes/%v", d["id"])
	if got := w.call(w.Schulz, "GET", path+"/file", nil).want(200); string(got.Body) != probe {
		t.Error("the file is not as it came")
	}
	w.call(who, "POST", path+"/activate", map[string]any{"stations": map[string]any{"check": map[string]string{"unit": "FB61"}}}).want(422, "process-needs-open")
	w.call(who, "POST", path+"/activate", map[string]any{"stations": map[string]any{"check": map[string]string{"unit": "FB61"}, "zzz": "FB61"}, "conditions": map[string]string{"y": "vollständig("}}).want(422, "process-activation-invalid")
	w.call(who, "POST", path+"/activate", map[string]any{"stations": map[string]any{"check": map[string]string{"unit": "FB61"}}, "conditions": map[string]string{"y": "!complete"}}).want(200)
	if all := w.call(w.Schulz, "GET", "/api/v1/processes?limit=10", nil).want(200).items(); len(all) != 1 {
		t.Errorf("%v", all)
	}
	v := w.call(w.Schulz, "POST", "/api/v1/vorgaenge", map[string]any{"akte_id": w.AkteBau, "subject": "Gewerbe"}).want(201).json()
	w.call(w.Meier, "POST", path+"/instances", map[string]any{"vorgang_id": v["id"]}).want(404, "not-found")
	w.call(w.Schulz, "POST", path+"/instances", map[string]any{}).want(422, "field-required")
	i := w.call(w.Schulz, "POST", path+"/instances", map[string]any{"vorgang_id": v["id"], "variables": map[string]any{"complete": false}}).want(201).json()
	step := i["steps"].([]any)[0].(map[string]any)
	if step["element"] != "check" || step["waits"] != "task" {
		t.Fatalf("%v", step)
	}
	inst := fmt.Sprintf("/api/v1/process-instances/%v", i["id"])
	w.call(w.Meier, "GET", inst, nil).want(404, "not-found")
	w.call(w.Schulz, "POST", fmt.Sprintf("/api/v1/circulations/%v/steps/%v/complete", step["circulation_id"], step["step"]), map[string]any{"outcome": "done", "data": map[string]any{"n": 1}}, header{"If-Match": "*"}).want(200)
	got := w.call(w.Schulz, "GET", inst, nil).want(200).json()
	if s := got["steps"].([]any)[0].(map[string]any); s["element"] != "m" || s["waits"] != "message" {
		t.Fatalf("%v", got["steps"])
	}
	w.call(w.Schulz, "POST", inst+"/messages", map[string]any{"name": "Anderes"}).want(409, "process-message-unawaited")
	w.call(w.Schulz, "POST", inst+"/retry", map[string]any{}).want(428, "if-match-missing")
	w.call(w.Schulz, "POST", inst+"/retry", map[string]any{}, header{"If-Match": "*"}).want(409, "process-step-not-failed")
	w.call(w.Schulz, "POST", inst+"/messages", map[string]any{"name": "Nachweis", "variables": map[string]any{"k": "v"}}).want(200)
	got = w.call(w.Schulz, "GET", inst, nil).want(200).json()
	if got["state"] != "done" || got["outcome"] != "e" {
		t.Errorf("%v", got)
	}
	w.call(w.Schulz, "POST", inst+"/cancel", map[string]any{"reason": "zu spät"}, header{"If-Match": "*"}).want(409, "process-ended")
	if all := w.call(w.Schulz, "GET", path+"/instances?state=done", nil).want(200).items(); len(all) != 1 {
		t.Errorf("%v", all)
	}
	if all := w.call(w.Meier, "GET", path+"/instances", nil).want(200).items(); len(all) != 0 {
		t.Errorf("%v", all)
	}
	if all := w.call(w.Schulz, "GET", fmt.Sprintf("/api/v1/vorgaenge/%v/process-instances", v["id"]), nil).want(200).items(); len(all) != 1 {
		t.Errorf("%v", all)
	}
	w.call(who, "POST", path+"/migrate", map[string]any{"to": d["id"]}).want(200)
	seen := map[string]bool{}
	for _, h := range w.call(w.Schulz, "GET", fmt.Sprintf("/api/v1/vorgaenge/%v/history", v["id"]), nil).want(200).items() {
		seen[fmt.Sprint(h["kind"])] = true
	}
	for _, k := range []string{"process.started", "process.message_taken", "process.ended"} {
		if !seen[k] {
			t.Errorf("the history of the Vorgang lacks %s: %v", k, seen)
		}
	}
	// A form with a file is another way to hand it over.
	body, contentType := multi(t, "file", "", "probe.bpmn", []byte(probe))
	second := w.call(who, "POST", "/api/v1/processes", body, contentType)
	if second.want(201).json()["version"] != float64(2) {
		t.Errorf("%v", second.json())
	}
}
