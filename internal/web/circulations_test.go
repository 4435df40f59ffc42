package web_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte/aktetest"
	"evb/internal/postkorb"
)

// wohngeld gives FB64 its Postkorb.
func (w *world) wohngeld() {
	w.T.Helper()
	w.Tx(func(tx pgx.Tx) error {
		ctx, since := w.T.Context(), w.Now().AddDate(0, -1, 0)
		id, err := w.post.EnsurePostkorb(ctx, tx, w.System(), since, postkorb.NewPostkorb{Name: "FB64-Wohngeld", Kind: postkorb.Group, Unit: w.Wohngeld})
		if err != nil {
			return err
		}
		return w.post.EnsureMember(ctx, tx, w.System(), since, id, w.Meier.User)
	})
}

// draft is a Dokument in the Akte of FB61 that a person wrote.
func (w *world) draft(who access.Actor) (path, id string) {
	w.T.Helper()
	id = w.submit(who, `{"subject":"Bescheid"}`, "Bescheid im Entwurf")
	path = "/api/v1/dokumente/" + id
	w.call(who, "POST", path+"/file", map[string]string{"aktenzeichen": aktetest.NumberBau}).want(200)
	return path, id
}

// revise adds a version.
func (w *world) revise(who access.Actor, path string) answer {
	w.T.Helper()
	body, contentType := multi(w.T, "file", `{"comment":"überarbeitet"}`, "bescheid.pdf", pdf(w.T, "Bescheid, neue Fassung", 1))
	return w.call(who, "POST", path+"/versions", body, contentType, header{"If-Match": "*"})
}

// item is the open item of a Dokument on the desks of a person, nil for none.
func (w *world) item(who access.Actor, dokument string) map[string]any {
	w.T.Helper()
	for _, p := range w.call(who, "GET", "/api/v1/postkoerbe", nil).want(200).items() {
		for _, i := range w.call(who, "GET", fmt.Sprintf("/api/v1/postkoerbe/%v/items", p["id"]), nil).want(200).items() {
			if i["dokument_id"] == dokument && i["circulation_id"] != nil {
				return i
			}
		}
	}
	return nil
}

func match(a answer) header { return header{"If-Match": a.Header.Get("ETag")} }

// step is a step of an answer by its number.
func (a answer) step(number int) map[string]any {
	a.t.Helper()
	for _, s := range a.json()["steps"].([]any) {
		if s := s.(map[string]any); s["number"] == float64(number) {
			return s
		}
	}
	a.t.Fatalf("no step %d: %s", number, a.Body)
	return nil
}

func (a answer) statuses(want ...string) answer {
	a.t.Helper()
	for i, s := range want {
		if got := a.step(i + 1)["status"]; got != s {
			a.t.Fatalf("step %d is %v, want %s: %s", i+1, got, s, a.Body)
		}
	}
	return a
}

func TestADraftIsCoSignedRevisedAndSignedOff(t *testing.T) {
	w := newWorld(t)
	w.wohngeld()
	path, id := w.draft(w.Schulz)
	body := map[string]any{"dokument_id": id, "steps": []any{
		map[string]any{"to": map[string]string{"user": "b.koch"}, "kind": "co_sign", "instruction": "bitte mitzeichnen"},
		map[string]any{"to": map[string]string{"unit": "FB64"}, "kind": "information", "parallel_group": 1, "due_at": "2026-12-01T12:00:00Z"},
		map[string]any{"to": map[string]string{"user": "g.roth"}, "parallel_group": 1},
		map[string]any{"to": map[string]string{"function": "head@FB61"}, "kind": "final_sign"},
	}}
	key := header{"Idempotency-Key": "umlauf-1"}
	c := w.call(w.Schulz, "POST", "/api/v1/circulations", body, key).want(201).statuses("current", "future", "future", "future")
	if again := w.call(w.Schulz, "POST", "/api/v1/circulations", body, key).want(201); again.text("id") != c.text("id") || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("again: %s", again.Body)
	}
	route := "/api/v1/circulations/" + c.text("id")
	steps := func(n int, act string) string { return fmt.Sprintf("%s/steps/%d/%s", route, n, act) }

	// Nobody sees it whose turn it is not, and who has no right in the unit.
	w.call(w.Meier, "GET", route, nil).want(404, "not-found")
	w.call(w.Meier, "GET", path, nil).want(404, "not-found")
	w.call(w.Meier, "POST", steps(1, "complete"), map[string]string{"outcome": "agreed"}, match(c)).want(404, "not-found")

	item := w.item(w.Koch, id)
	if item == nil || item["step"] != float64(1) || item["step_kind"] != "co_sign" || item["reason"] != "bitte mitzeichnen" || item["from"] != w.Schulz.DisplayName {
		t.Fatalf("item: %v", item)
	}
	w.call(w.Koch, "POST", fmt.Sprintf("/api/v1/items/%v/done", item["id"]), nil, header{"If-Match": "*"}).want(422, "outcome-unfit")
	agreed := map[string]string{"outcome": "agreed", "remark": "einverstanden"}
	w.call(w.Koch, "POST", steps(1, "complete"), agreed).want(428, "if-match-missing")
	w.call(w.Koch, "POST", steps(1, "complete"), agreed, header{"If-Match": `"99"`}).want(412, "stale-version")
	w.call(w.Schulz, "POST", steps(1, "complete"), agreed, match(c)).want(403, "item-not-yours")
	w.call(w.Koch, "POST", steps(4, "complete"), agreed, match(c)).want(409, "step-not-current")
	w.call(w.Koch, "POST", steps(9, "complete"), agreed, match(c)).want(404, "step-not-found")
	c = w.call(w.Koch, "POST", steps(1, "complete"), agreed, match(c)).want(200).statuses("done", "current", "current", "future")
	first := c.step(1)["executions"].([]any)[0].(map[string]any)
	if first["outcome"] != "agreed" || first["version"] != float64(1) || first["actor"] != w.Koch.DisplayName {
		t.Errorf("execution: %v", first)
	}

	// The item shows the Dokument while it is open, to the station alone.
	w.call(w.Meier, "GET", path, nil).want(200)
	w.call(w.Meier, "GET", route, nil).want(200)
	if i := w.item(w.Meier, id); i == nil || i["due_at"] != "2026-12-01T12:00:00Z" {
		t.Errorf("item: %v", i)
	} else {
		w.call(w.Meier, "POST", fmt.Sprintf("/api/v1/items/%v/done", i["id"]), nil, header{"If-Match": "*"}).want(200)
	}
	w.call(w.Meier, "GET", path, nil).want(404, "not-found")
	c = w.call(w.Roth, "GET", route, nil).want(200)
	c = w.call(w.Roth, "POST", steps(3, "complete"), map[string]string{"remark": "gesehen"}, match(c)).want(200).statuses("done", "done", "done", "current")

	// A new version: the agreement is void, its station current again.
	stale := match(c)
	w.revise(w.Schulz, path).want(201)
	c = w.call(w.Yilmaz, "GET", route, nil).want(200).statuses("current", "done", "done", "current")
	if s := c.step(1); s["void"] != true || s["executions"].([]any)[0].(map[string]any)["void"] != true || s["difference"].(map[string]any)["to_version"] != float64(2) {
		t.Errorf("step: %v", s)
	}
	w.call(w.Yilmaz, "POST", steps(4, "complete"), agreed, stale).want(412, "stale-version")
	w.call(w.Yilmaz, "POST", steps(4, "complete"), agreed, match(c)).want(409, "agreements-open")
	reason := map[string]string{"reason": "nur ein Tippfehler"}
	w.call(w.Yilmaz, "POST", route+"/uphold", reason, match(c)).want(403, "uphold-not-allowed")
	w.call(w.Schulz, "POST", route+"/uphold", reason, match(c)).want(403, "step-foreign")

	settings := "/api/v1/units/FB61/circulation-settings"
	set := w.call(w.Schulz, "GET", settings, nil).want(200)
	w.call(w.Schulz, "PUT", settings, map[string]bool{"uphold": true}, match(set)).want(403, "forbidden")
	w.call(w.Yilmaz, "PUT", settings, map[string]bool{"uphold": true}).want(428, "if-match-missing")
	w.call(w.Yilmaz, "PUT", settings, map[string]bool{"uphold": true}, match(set)).want(200)
	w.call(w.Yilmaz, "PUT", settings, map[string]bool{"uphold": false}, match(set)).want(412, "stale-version")
	w.call(w.Yilmaz, "GET", "/api/v1/units/FB99/circulation-settings", nil).want(404, "unit-not-found")

	w.call(w.Yilmaz, "POST", route+"/uphold", map[string]string{}, match(c)).want(422, "reason-needed")
	c = w.call(w.Yilmaz, "POST", route+"/uphold", reason, match(c)).want(200).statuses("done", "done", "done", "current")
	executions := c.step(1)["executions"].([]any)
	if last := executions[len(executions)-1].(map[string]any); last["outcome"] != "upheld" || last["version"] != float64(2) || last["actor"] != w.Yilmaz.DisplayName || last["upholds_id"] != first["id"] {
		t.Errorf("upheld: %v", last)
	}
	if w.item(w.Koch, id) != nil {
		t.Error("it lies on the desk still")
	}
	c = w.call(w.Yilmaz, "POST", steps(4, "complete"), agreed, match(c)).want(200).statuses("done", "done", "done", "done")
	if c.text("state") != "done" {
		t.Errorf("state %s", c.text("state"))
	}

	// Signed off: the version is frozen.
	if d := w.call(w.Schulz, "GET", path, nil).want(200); d.text("state") != "final" {
		t.Errorf("dokument: %s", d.Body)
	}
	w.revise(w.Schulz, path).want(409, "dokument-final")
	w.call(w.Schulz, "POST", path+"/reopen", reason).want(428, "if-match-missing")
	w.call(w.Schulz, "POST", path+"/reopen", reason, header{"If-Match": "*"}).want(403, "reopening-forbidden")
	w.call(w.Yilmaz, "POST", path+"/reopen", map[string]string{}, header{"If-Match": "*"}).want(422, "reason-needed")
	w.call(w.Yilmaz, "POST", path+"/reopen", reason, header{"If-Match": `"1"`}).want(412, "stale-version")
	w.call(w.Yilmaz, "POST", path+"/reopen", reason, header{"If-Match": "*"}).want(200)
	w.call(w.Yilmaz, "POST", path+"/reopen", reason, header{"If-Match": "*"}).want(409, "dokument-not-final")
	for _, act := range []string{"complete", "skip"} {
		w.call(w.Schulz, "POST", steps(4, act), map[string]string{}, stale).want(map[string]int{"complete": 412, "skip": 412}[act], "stale-version")
	}
	w.call(w.Schulz, "POST", route+"/recall", reason, match(c)).want(409, "circulation-ended")
	h := w.call(w.Schulz, "GET", path+"/history", nil).want(200)
	for _, sentence := range []string{"Ein Laufweg wurde begonnen.", "Die Version wurde mitgezeichnet.", "Eine Zeichnung wurde durch eine neue Version ungültig", "aufrechterhalten", "schlussgezeichnet", "festgeschrieben"} {
		if !bytes.Contains(h.Body, []byte(sentence)) {
			t.Errorf("the history lacks %q", sentence)
		}
	}
	if l := w.call(w.Schulz, "GET", path+"/circulations", nil).want(200).items(); len(l) != 1 {
		t.Errorf("circulations: %v", l)
	}
}

func TestACirculationIsExtendedSkippedRefusedAndRecalled(t *testing.T) {
	w := newWorld(t)
	w.wohngeld()
	path, id := w.draft(w.Schulz)
	to := func(user string) map[string]any { return map[string]any{"to": map[string]string{"user": user}} }
	c := w.call(w.Schulz, "POST", "/api/v1/circulations", map[string]any{"dokument_id": id, "steps": []any{to("b.koch"), to("c.yilmaz")}}).want(201)
	route := "/api/v1/circulations/" + c.text("id")
	w.call(w.Meier, "POST", route+"/steps", to("d.meier"), match(c)).want(404, "not-found")
	w.call(w.Roth, "POST", route+"/steps", to("d.meier"), match(c)).want(403, "circulation-not-yours")
	w.call(w.Koch, "POST", route+"/steps", to("nemo"), match(c)).want(404, "user-not-found")
	w.call(w.Koch, "POST", route+"/steps", map[string]any{"to": map[string]string{"function": "registry@FB64"}, "kind": "x"}, match(c)).want(422, "step-kind-unknown")
	add := to("d.meier")
	add["after"] = 1
	c = w.call(w.Koch, "POST", route+"/steps", add, match(c)).want(200).statuses("current", "future", "future")
	if c.step(3)["position"] != float64(2) || c.step(2)["position"] != float64(3) {
		t.Errorf("route: %s", c.Body)
	}
	w.call(w.Koch, "POST", route+"/steps/3/skip", map[string]string{"reason": "x"}, match(c)).want(403, "circulation-not-yours")
	w.call(w.Schulz, "POST", route+"/steps/3/skip", map[string]string{}, match(c)).want(422, "reason-needed")
	w.call(w.Schulz, "POST", route+"/steps/3/skip", map[string]string{"reason": "x"}).want(428, "if-match-missing")

	// Forwarded: the station goes along.
	forward := map[string]any{"outcome": "forwarded", "to": map[string]string{"unit": "FB64"}, "remark": "besser dort"}
	c = w.call(w.Koch, "POST", route+"/steps/1/complete", forward, match(c)).want(200).statuses("current", "future", "future")
	if w.item(w.Koch, id) != nil || w.item(w.Meier, id) == nil {
		t.Error("it was not forwarded")
	}
	// Refused: it comes back to who began it.
	w.call(w.Meier, "POST", route+"/steps/1/complete", map[string]string{"outcome": "refused"}, match(c)).want(422, "reason-needed")
	c = w.call(w.Meier, "POST", route+"/steps/1/complete", map[string]string{"outcome": "refused", "remark": "unzuständig"}, match(c)).want(200)
	c = w.call(w.Schulz, "GET", route, nil).want(200).statuses("done", "future", "future", "current")
	if c.step(4)["returned_from"] != float64(1) {
		t.Errorf("step: %v", c.step(4))
	}
	c = w.call(w.Schulz, "POST", route+"/steps/4/complete", map[string]string{"outcome": "done"}, match(c)).want(200).statuses("done", "future", "current", "done")
	c = w.call(w.Schulz, "POST", route+"/steps/3/skip", map[string]string{"reason": "doch nicht"}, match(c)).want(200).statuses("done", "current", "skipped", "done")
	w.call(w.Schulz, "POST", route+"/steps/3/skip", map[string]string{"reason": "noch einmal"}, match(c)).want(409, "step-executed")

	w.call(w.Koch, "POST", route+"/recall", map[string]string{"reason": "x"}, match(c)).want(403, "circulation-not-yours")
	w.call(w.Schulz, "POST", route+"/recall", map[string]string{"reason": " "}, match(c)).want(422, "reason-needed")
	c = w.call(w.Schulz, "POST", route+"/recall", map[string]string{"reason": "erledigt sich"}, match(c)).want(200).statuses("done", "skipped", "skipped", "done")
	if c.text("state") != "recalled" || w.item(w.Yilmaz, id) != nil {
		t.Errorf("recalled: %s", c.Body)
	}
	w.call(w.Schulz, "POST", route+"/steps", to("b.koch"), match(c)).want(409, "circulation-ended")

	for name, x := range map[string]struct {
		body   map[string]any
		status int
		code   string
	}{
		"no object":     {map[string]any{"steps": []any{to("b.koch")}}, 422, "field-required"},
		"no step":       {map[string]any{"dokument_id": id, "steps": []any{}}, 422, "circulation-empty"},
		"no station":    {map[string]any{"dokument_id": id, "steps": []any{map[string]any{}}}, 422, "station-needed"},
		"two stations":  {map[string]any{"dokument_id": id, "steps": []any{map[string]any{"to": map[string]string{"user": "b.koch", "unit": "FB61"}}}}, 422, "station-needed"},
		"nobody there":  {map[string]any{"dokument_id": id, "steps": []any{map[string]any{"to": map[string]string{"function": "head@FB64"}}}}, 422, "station-vacant"},
		"no unit":       {map[string]any{"dokument_id": id, "steps": []any{map[string]any{"to": map[string]string{"unit": "FB99"}}}}, 404, "unit-not-found"},
		"unknown field": {map[string]any{"dokument_id": id, "stations": []any{}}, 400, "body-field-unknown"},
	} {
		if a := w.call(w.Schulz, "POST", "/api/v1/circulations", x.body); a.Status != x.status || a.text("code") != x.code {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	w.call(w.Brandt, "POST", "/api/v1/circulations", map[string]any{"dokument_id": id, "steps": []any{to("b.koch")}}).want(403, "read-only-role")
	w.call(w.Nobody, "POST", "/api/v1/circulations", map[string]any{"dokument_id": id, "steps": []any{to("b.koch")}}).want(404, "not-found")
	_ = path
}
