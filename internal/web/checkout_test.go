package web_test

import (
	"evb/internal/access"
	"fmt"
	"testing"
	"time"
)

// unchanged tells that refusals have left an object as it was.
func (w *world) unchanged(who access.Actor, path string, refused func()) {
	w.T.Helper()
	before := w.call(who, "GET", path, nil).want(200)
	refused()
	if now := w.call(who, "GET", path, nil).want(200); string(now.Body) != string(before.Body) {
		w.T.Errorf("a refusal changed %s:\n%s\n%s", path, before.Body, now.Body)
	}
}

func (w *world) checkIn(who access.Actor, path, metadata string, headers ...header) answer {
	w.T.Helper()
	body, contentType := multi(w.T, "file", metadata, "bescheid.pdf", pdf(w.T, "Bescheid, eingecheckt", 1))
	return w.call(who, "POST", path+"/check-in", body, append(headers, contentType)...)
}

func TestOnlyWhoHasCheckedOutWritesAVersion(t *testing.T) {
	w := newWorld(t)
	path, _ := w.draft(w.Schulz)
	out, in, back := path+"/check-out", path+"/check-in", path+"/check-out/return"

	w.unchanged(w.Schulz, path, func() {
		w.call(w.Meier, "POST", out, nil).want(404, "not-found")
		w.call(w.Brandt, "POST", out, nil).want(403, "read-only-role")
		w.call(w.Schulz, "POST", out, nil, header{"If-Match": `"99"`}).want(412, "stale-version")
		w.call(w.Schulz, "POST", out, map[string]any{"until": w.Now().Add(-time.Minute)}).want(422, "check-out-until-invalid")
		w.call(w.Schulz, "POST", out, map[string]any{"until": w.Now().AddDate(0, 2, 0)}).want(422, "check-out-until-invalid")
		w.call(w.Schulz, "POST", in, nil).want(409, "dokument-not-checked-out")
		w.checkIn(w.Schulz, path, `{}`).want(409, "dokument-not-checked-out")
		w.call(w.Yilmaz, "POST", back, map[string]string{"reason": "eilt"}, header{"If-Match": "*"}).want(409, "dokument-not-checked-out")
	})
	d := w.call(w.Schulz, "POST", out, map[string]any{"until": w.Now().Add(time.Hour)}).want(200)
	c := d.json()["check_out"].(map[string]any)
	if d.text("state") != "in_work" || c["by"] != w.Schulz.DisplayName || c["version"] != 1.0 || c["for_id"] != nil || c["until"] != "2026-11-24T10:00:00Z" {
		t.Errorf("checked out: %s", d.Body)
	}
	for state, n := range map[string]int{"in_work": 1, "registered": 0} {
		if found := w.call(w.Schulz, "GET", "/api/v1/dokumente?state="+state, nil).want(200).items(); len(found) != n {
			t.Errorf("%s: %v", state, found)
		}
	}
	w.unchanged(w.Schulz, path, func() {
		w.revise(w.Koch, path).want(409, "dokument-checked-out")
		refused := w.call(w.Koch, "POST", out, nil).want(409, "dokument-checked-out").json()["params"]
		if p, _ := refused.(map[string]any); p["person"] != w.Schulz.DisplayName || p["until"] != "2026-11-24T10:00:00Z" {
			t.Errorf("who and until: %v", refused)
		}
		w.checkIn(w.Koch, path, `{}`).want(409, "dokument-checked-out")
		w.call(w.Koch, "POST", in, nil).want(409, "dokument-checked-out")
		w.call(w.Schulz, "POST", in, map[string]int{"version": 7}).want(409, "version-moved-on")
		w.checkIn(w.Schulz, path, `{"version":2}`).want(409, "version-moved-on")
		w.call(w.Schulz, "POST", "/api/v1/vorgaenge/"+d.text("vorgang_id")+"/close", nil, header{"If-Match": "*"}).want(409, "closing-open-work")
		w.call(w.Yilmaz, "POST", back, nil, header{"If-Match": "*"}).want(422, "reason-needed")
		w.call(w.Yilmaz, "POST", back, map[string]string{"reason": "eilt"}).want(428, "if-match-missing")
		w.call(w.Yilmaz, "POST", back, map[string]string{"reason": "eilt"}, header{"If-Match": `"1"`}).want(412, "stale-version")
		w.call(w.Koch, "POST", back, map[string]string{"reason": "eilt"}, header{"If-Match": "*"}).want(403, "check-out-return-forbidden")
		w.call(w.Meier, "POST", back, map[string]string{"reason": "eilt"}, header{"If-Match": "*"}).want(404, "not-found")
	})
	// The words about it are no version.
	w.call(w.Koch, "PATCH", path, map[string]string{"remark": "gesehen"}, header{"If-Match": "*"}).want(200)

	// The owner adds a version, goes on, and brings the next one in, once.
	w.revise(w.Schulz, path).want(201)
	key := header{"Idempotency-Key": "einchecken"}
	w.checkIn(w.Schulz, path, `{"version":1}`, key).want(409, "version-moved-on")
	d = w.checkIn(w.Schulz, path, `{"version":2,"comment":"fertig"}`, key).want(200)
	again := w.checkIn(w.Schulz, path, `{"version":2,"comment":"fertig"}`, key).want(200)
	if d.json()["version"] != 3.0 || d.text("state") != "registered" || d.json()["check_out"] != nil || again.Header.Get("Idempotent-Replayed") != "true" || again.json()["version"] != 3.0 {
		t.Errorf("checked in: %s\n%s", d.Body, again.Body)
	}
	// Without a version, and for another one then.
	w.call(w.Schulz, "POST", out, nil).want(200)
	w.call(w.Schulz, "POST", in, map[string]int{"version": 3}).want(200)
	w.call(w.Koch, "POST", out, nil).want(200)
	d = w.call(w.Yilmaz, "POST", back, map[string]string{"reason": "eilt"}, header{"If-Match": "*"}).want(200)
	if d.text("state") != "registered" {
		t.Errorf("taken back: %s", d.Body)
	}
	var kinds []any
	for _, h := range w.call(w.Schulz, "GET", path+"/history", nil).want(200).items() {
		if k := h["kind"]; k == "dokument.checked_out" || k == "dokument.checked_in" || k == "dokument.check_out_returned" {
			kinds = append(kinds, k)
		}
	}
	if got, want := fmt.Sprint(kinds), "[dokument.checked_out dokument.checked_in dokument.checked_out dokument.checked_in dokument.checked_out dokument.check_out_returned]"; got != want {
		t.Errorf("history: %s", got)
	}
}

func TestACheckOutEndsByItself(t *testing.T) {
	w := newWorld(t)
	path, _ := w.draft(w.Schulz)
	w.call(w.Schulz, "POST", path+"/check-out", map[string]any{"until": w.Now().Add(time.Hour)}).want(200)
	w.call(w.Schulz, "POST", path+"/check-out", map[string]any{"until": w.Now().Add(2 * time.Hour)}).want(200) // longer
	w.Pass(time.Hour + 59*time.Minute)
	w.revise(w.Koch, path).want(409, "dokument-checked-out")
	w.Pass(time.Minute)
	d := w.call(w.Koch, "GET", path, nil).want(200)
	if d.text("state") != "registered" || d.json()["check_out"] != nil {
		t.Errorf("after its end: %s", d.Body)
	}
	w.unchanged(w.Schulz, path, func() {
		w.checkIn(w.Schulz, path, `{}`).want(409, "check-out-expired")
		w.call(w.Schulz, "POST", path+"/check-in", nil).want(409, "check-out-expired")
		w.checkIn(w.Koch, path, `{}`).want(409, "dokument-not-checked-out")
	})
	w.revise(w.Koch, path).want(201)
	w.call(w.Schulz, "POST", path+"/check-out", nil).want(200)
	w.checkIn(w.Schulz, path, `{"version":1}`).want(409, "version-moved-on") // the other version is in between
	w.checkIn(w.Schulz, path, `{"version":2}`).want(200)
	w.call(w.Schulz, "POST", "/api/v1/vorgaenge/"+d.text("vorgang_id")+"/close", nil, header{"If-Match": "*"}).want(200)
	w.call(w.Schulz, "POST", path+"/check-out", nil).want(409, "dokument-closed")
}

func TestADeputyChecksOutForTheAbsentPerson(t *testing.T) {
	w := newWorld(t)
	letter := w.submit(w.Schulz, `{"subject":"Widerspruch"}`, "Widerspruch gegen den Bescheid")
	path := "/api/v1/dokumente/" + letter
	w.deliver(letter)
	w.call(w.Koch, "POST", "/api/v1/substitutions", map[string]any{"deputy": "d.meier", "from": "2026-11-24", "to": "2026-11-24", "postkoerbe": []string{"FB61-Bauordnung"}}).want(201)
	d := w.call(w.Meier, "POST", path+"/check-out", nil).want(200)
	c := d.json()["check_out"].(map[string]any)
	if c["by"] != w.Meier.DisplayName || c["for"] != w.Koch.DisplayName {
		t.Errorf("both names: %v", c)
	}
	w.call(w.Yilmaz, "POST", path+"/check-in", nil).want(409, "dokument-checked-out")
	w.call(w.Koch, "POST", path+"/check-in", nil).want(200) // for whom it was taken
	// What the absent person has, the deputy may bring in.
	w.call(w.Koch, "POST", path+"/check-out", nil).want(200)
	d = w.checkIn(w.Meier, path, `{}`).want(200)
	h := w.call(w.Koch, "GET", path+"/history", nil).want(200).items()
	last := h[len(h)-1]
	for _, line := range h {
		if line["kind"] == "dokument.checked_in" {
			last = line
		}
	}
	if d.json()["version"] != 2.0 || last["actor"] != w.Meier.DisplayName || last["on_behalf_of"] != w.Koch.DisplayName {
		t.Errorf("%s\n%v", d.Body, last)
	}
}
