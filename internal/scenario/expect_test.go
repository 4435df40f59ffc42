package scenario_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What users expect (users-and-scenarios.md, section 5), where it is about a
// clerk's work and no other test says it whole. One city has all of them.
func TestWhatUsersExpect(t *testing.T) {
	c := newCity(t)
	for _, x := range []struct {
		name string
		test func(*city)
	}{
		{"inbox", inbox}, {"inbox: two take one", twoTakeOne}, {"inbox: sent and taken back", sentAndTakenBack}, {"documents", documents}, {"filing", filing},
		{"rights", rights}, {"circulation", circulations}, {"rules", ruleSets}, {"processes", processes}, {"audit", auditing}, {"api", api},
		{"substitution", substitution}, {"follow-up", followUps}, // these move the clock
	} {
		t.Run(x.name, func(t *testing.T) {
			c.t = t
			x.test(c)
		})
		c.t = t
	}
}

// One list with new, due, overdue, from whom, why here; the counts agree with the
// list for this user and never reveal others' work.
func inbox(c *city) {
	a := c.letter("fv-bau", object{}, to(benefits, "Frage zum Wohngeld", "wann wird entschieden?")...)
	b := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, Nachfrage", "bitte um Antwort.")...)
	i := c.item("d.meier", "FB64-Wohngeld", a)
	c.send("v.hansen", "PATCH", i, object{"due_at": c.now().Add(-time.Hour)}).refused(422, "due-past")
	c.send("v.hansen", "PATCH", i, object{"due_at": c.now().Add(time.Hour)}).ok()
	c.forward.Add(int64(90 * time.Minute))
	line := c.get("d.meier", i)
	if line["due_at"] == nil || line["why_text"].(object)["de"] == "" || line["state"] != "open" || line["opened_at"] != nil || line["sender"] == "" {
		c.t.Errorf("%v", line)
	}
	path := "/postkoerbe/" + c.box("d.meier", "FB64-Wohngeld")["id"].(string) + "/items?limit=1"
	page := c.get("d.meier", path)
	if open := c.box("d.meier", "FB64-Wohngeld")["open"]; open != page["total"] || open.(float64) < 2 {
		c.t.Errorf("%v open, list says %v", open, page["total"])
	}
	due := c.list("d.meier", path+"&due_before="+c.now().Format("2006-01-02T15:04:05Z"))
	if len(due) != 1 || due[0]["record_id"] != a {
		c.t.Errorf("overdue: %v", due)
	}
	// The desks of other people and offices are not hers.
	for _, p := range c.list("d.meier", "/postkoerbe") {
		if name := p["name"]; name == "FB61-Bauordnung" || name == "Vera Hansen" || name == "Klaerung" {
			c.t.Errorf("she sees the Postkorb %v", name)
		}
	}
	hers := c.box("v.hansen", "Vera Hansen")["id"].(string)
	c.gone("d.meier", "/postkoerbe/"+hers+"/items")
	c.post("d.meier", c.item("d.meier", "FB64-Wohngeld", b)+"/forward", object{"user": "v.hansen"}) // no reason needed
	c.gone("t.baum", c.item("v.hansen", "Vera Hansen", b))
}

// An item is in one place per addressee; of two who take it one gets it, the other
// is told who.
func twoTakeOne(c *city) {
	d := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, Rückfrage", "danke.")...)
	i := c.item("d.meier", "FB64-Wohngeld", d)
	people := []string{"d.meier", "t.baum", "v.hansen"}
	for _, p := range people {
		c.as(p)
	}
	answers := make([]answer, len(people))
	var all sync.WaitGroup
	for n, p := range people {
		all.Go(func() { answers[n] = c.send(p, "POST", i+"/claim", object{}) })
	}
	all.Wait()
	won := slices.IndexFunc(answers, func(a answer) bool { return a.Status == 200 })
	if won < 0 {
		c.t.Fatalf("nobody has it: %s", answers[0].Body)
	}
	name := answers[won].json()["claimed_by"].(string)
	for n, a := range answers {
		if n != won {
			a.refused(409, "item-taken")
			if !strings.Contains(string(a.Body), name) {
				c.t.Errorf("not told who: %s", a.Body)
			}
		}
	}
	if items := c.list("h.lang", "/dokumente/"+d+"/items"); len(items) != 1 {
		c.t.Errorf("%d places", len(items))
	}
}

// Returning always carries a reason. What left my desk I see as sent, as long as
// my rights allow. A mis-click is taken back until the other side has opened it.
func sentAndTakenBack(c *city) {
	d := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, Sache der Bauordnung", "bitte lesen.")...)
	i := c.item("d.meier", "FB64-Wohngeld", d)
	c.send("d.meier", "POST", i+"/return", object{}).refused(422, "reason-needed")
	next := c.post("d.meier", i+"/forward", object{"postkorb": "FB61-Bauordnung", "reason": "Irrläufer"})["id"].(string)
	c.gone("d.meier", "/dokumente/"+d)
	sent := func() bool {
		return slices.ContainsFunc(c.list("d.meier", "/sent"), func(x object) bool { return x["record_id"] == d })
	}
	if !sent() {
		c.t.Error("it is not among what was sent")
	}
	c.post("d.meier", "/items/"+next+"/undo", object{})
	c.get("d.meier", "/dokumente/"+d)
	c.gone("a.schulz", "/dokumente/"+d)
	next = c.post("d.meier", c.item("d.meier", "FB64-Wohngeld", d)+"/forward", object{"postkorb": "FB61-Bauordnung"})["id"].(string)
	there := c.item("a.schulz", "FB61-Bauordnung", d)
	c.post("a.schulz", there+"/open", object{})
	c.send("d.meier", "POST", "/items/"+next+"/undo", object{}).refused(409, "undo-too-late")
	why := c.get("a.schulz", there+"/why")
	if steps := why["steps"].([]any); len(steps) < 2 || !strings.Contains(fmt.Sprint(why["text"]), "Doris Meier") {
		c.t.Errorf("why: %v", why)
	}
	c.post("a.schulz", there+"/return", object{"reason": "gehört der Wohngeldstelle"})
	if back := c.on("d.meier", "FB64-Wohngeld", d, ""); len(back) != 1 || back[0]["reason"] != "gehört der Wohngeldstelle" {
		c.t.Errorf("back: %v", back)
	}
}

// The original bytes never change; the same bytes twice are noted and both kept.
func documents(c *city) {
	lines := to(benefits, "Wohngeld, Mietvertrag", "anbei der Vertrag.")
	first, second := c.letter("d.meier", object{}, lines...), ""
	receipt := c.submit("d.meier", object{}, "brief.txt", strings.Join(lines, "\n"))
	second = receipt["id"].(string)
	if second == first || fmt.Sprint(receipt["duplicates"]) != fmt.Sprint([]any{first}) {
		c.t.Errorf("%v", receipt)
	}
	before := c.send("d.meier", "GET", "/dokumente/"+first+"/content", nil)
	body, h := c.parts(object{"comment": "mit Unterschrift"}, "vertrag.txt", "Vertrag, unterschrieben")
	c.send("d.meier", "POST", "/dokumente/"+first+"/versions", body, h).ok()
	after := c.send("d.meier", "GET", "/dokumente/"+first+"/content?version=1", nil)
	if string(before.Body) != strings.Join(lines, "\n") || string(after.Body) != string(before.Body) {
		c.t.Error("the original has changed")
	}
	if now := c.send("d.meier", "GET", "/dokumente/"+first+"/content", nil); string(now.Body) != "Vertrag, unterschrieben" {
		c.t.Errorf("%s", now.Body)
	}
	c.routed(second)
	c.send("d.meier", "DELETE", "/dokumente/"+first, nil).refused(405, "method-not-allowed")
}

// Typing a reference number is enough; suggestions come from the letter itself;
// filing takes effect at once, also in search for the one who did it.
func filing(c *city) {
	const akte = "64-WG-479310/25"
	d := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, Aktenzeichen "+akte, "die Zwirnerei hat geschlossen.")...)
	i := c.item("d.meier", "FB64-Wohngeld", d)
	if x := c.get("d.meier", "/dokumente/"+d); x["aktenzeichen_recognised"] != akte {
		c.t.Errorf("suggested: %v", x["aktenzeichen_recognised"])
	}
	if why := fmt.Sprint(c.get("d.meier", i+"/why")["text"]); !strings.Contains(why, akte) {
		c.t.Errorf("why: %s", why)
	}
	sha := c.get("d.meier", "/dokumente/"+d)["sha256"]
	filed := c.post("d.meier", "/dokumente/"+d+"/file", object{"aktenzeichen": "64 wg 479310 / 25"}) // as people type it
	if filed["aktenzeichen"] != akte || filed["sha256"] != sha || filed["state"] != "registered" {
		c.t.Errorf("%v", filed)
	}
	hits := c.list("d.meier", "/search?q=Zwirnerei&akte_id="+filed["akte_id"].(string))
	if len(hits) != 1 || hits[0]["dokument_id"] != d {
		c.t.Errorf("not found at once: %v", hits)
	}
	c.post("d.meier", "/dokumente/"+d+"/file", object{"aktenzeichen": akte}) // twice changes nothing
	c.send("d.meier", "POST", "/dokumente/"+d+"/move", object{"aktenzeichen": "64-WG-481012/26"}).refused(422, "reason-needed")
	c.send("d.meier", "POST", "/dokumente/"+d+"/file", object{"aktenzeichen": "64-WG-999999/26"}).refused(422, "akte-unknown")
	c.post("d.meier", i+"/done", object{})
}

// Denied means invisible; rights come from unit, role and object and are inherited;
// narrower protection wins; every decision is explained; changes act at once.
func rights(c *city) {
	secret := c.list("w.sander", "/akten?aktenzeichen=11-BH-000204/25")
	if len(secret) != 1 {
		c.t.Fatalf("%v", secret)
	}
	akte := secret[0]["id"].(string)
	v := c.post("w.sander", "/akten/"+akte+"/vorgaenge", object{"subject": "Antrag vom Oktober"})["id"].(string)
	d := c.letter("w.sander", object{"vorgang_id": v, "subject": "Antrag"}, "Antrag auf Beihilfe: Herzkatheter")
	for _, path := range []string{"/akten/" + akte, "/vorgaenge/" + v, "/dokumente/" + d, "/dokumente/" + d + "/content", "/vorgaenge/" + v + "/history"} {
		c.get200("w.sander", path)
		for _, other := range []string{"a.schulz", "g.roth", "e.wolf"} {
			c.gone(other, path)
		}
	}
	for _, other := range []string{"a.schulz", "g.roth"} {
		if n := len(c.list(other, "/akten?aktenzeichen=11-BH-000204/25")) + len(c.list(other, "/search?q=Herzkatheter")); n != 0 {
			c.t.Errorf("%s sees %d of it", other, n)
		}
	}
	who := func(login, object string) string {
		return fmt.Sprint(c.get("h.lang", "/access/explain?user="+login+"&object="+object))
	}
	if yes, no := who("w.sander", d), who("a.schulz", d); !strings.Contains(yes, "sees:true") || !strings.Contains(no, "sees:false") || !strings.Contains(no, "code:") {
		c.t.Errorf("explained: %s\n%s", yes, no)
	}
	c.send("f.brandt", "POST", "/dokumente/"+d+"/file", object{"aktenzeichen": "64-WG-481012/26"}).refused(403, "read-only-role")
	// Who is locked out is out with the next request.
	c.get200("i.sommer", "/me")
	c.post("h.lang", "/users/i.sommer/disable", object{})
	c.send("i.sommer", "GET", "/me", nil).refused(401, "unauthenticated")
}

func (c *city) get200(login, path string) {
	c.t.Helper()
	if a := c.send(login, "GET", path, nil); a.Status != http.StatusOK {
		c.t.Errorf("%s: %d %s", a.what, a.Status, a.Body)
	}
}

// Stations are people, functions and units; serial, parallel, mixed; add or skip
// with a reason; recall; agreement belongs to one version; nobody co-signs their
// own draft.
func circulations(c *city) {
	d := c.letter("d.meier", object{"subject": "Entwurf Bescheid"}, "Bescheid über Wohngeld, Entwurf")
	c.post("d.meier", "/dokumente/"+d+"/file", object{"aktenzeichen": "64-WG-480077/25"})
	route := c.post("d.meier", "/circulations", object{"dokument_id": d, "steps": []object{
		{"to": object{"user": "t.baum"}, "kind": "co_sign", "parallel_group": 1, "instruction": "Mitzeichnung"},
		{"to": object{"unit": "FB61"}, "kind": "information", "parallel_group": 1, "instruction": "z. K."},
		{"to": object{"function": "head", "unit": "FB64"}, "kind": "final_sign", "parallel_group": 2},
	}})
	path := "/circulations/" + route["id"].(string)
	add := c.post("d.meier", path+"/steps", object{"to": object{"user": "d.meier"}, "kind": "co_sign", "parallel_group": 1})
	own := len(add["steps"].([]any))
	c.send("d.meier", "POST", fmt.Sprintf("%s/steps/%d/complete", path, own), object{"outcome": "agreed"}).refused(403, "own-draft")
	c.send("d.meier", "POST", fmt.Sprintf("%s/steps/%d/skip", path, own), object{}).refused(422, "reason-needed")
	c.post("d.meier", fmt.Sprintf("%s/steps/%d/skip", path, own), object{"reason": "eigener Entwurf"})
	c.post("t.baum", path+"/steps/1/complete", object{"outcome": "agreed"})
	c.post("a.schulz", path+"/steps/2/complete", object{"outcome": "done"})
	// A new version: the agreement is void, visibly, and its station current again.
	body, h := c.parts(object{"comment": "Betrag berichtigt"}, "entwurf.txt", "Bescheid über Wohngeld, Entwurf, 212 Euro")
	c.send("d.meier", "POST", "/dokumente/"+d+"/versions", body, h).ok()
	now := c.get("d.meier", path)
	if step := now["steps"].([]any)[0].(object); step["status"] != "current" {
		c.t.Errorf("%v", step)
	}
	if told := c.told("d.meier", "/dokumente/"+d); !strings.Contains(told, "agreement_void") && !strings.Contains(told, "void") {
		c.t.Errorf("the history does not show it:\n%s", told)
	}
	c.send("v.hansen", "POST", path+"/steps/3/complete", object{"outcome": "agreed"}).refused(409, "agreements-open")
	c.post("t.baum", path+"/steps/1/complete", object{"outcome": "agreed"})
	c.post("v.hansen", path+"/steps/3/complete", object{"outcome": "agreed"})
	if x := c.get("d.meier", "/dokumente/"+d); x["state"] != "final" {
		c.t.Errorf("%v", x["state"])
	}
	// Recalled: it leaves the desks.
	e := c.letter("d.meier", object{"subject": "Vermerk"}, "Vermerk")
	c.post("d.meier", "/dokumente/"+e+"/file", object{"aktenzeichen": "64-WG-480077/25"})
	r := c.post("d.meier", "/circulations", object{"dokument_id": e, "steps": []object{{"to": object{"user": "v.hansen"}, "kind": "information"}}})["id"].(string)
	if len(c.on("v.hansen", "Vera Hansen", e, "")) != 1 {
		c.t.Error("not at its station")
	}
	c.post("d.meier", "/circulations/"+r+"/recall", object{"reason": "zu früh"})
	if len(c.on("v.hansen", "Vera Hansen", e, "")) != 0 {
		c.t.Error("recalled, and still on the desk")
	}
}

// A running case stays on the version it began with unless migrated on purpose; a
// failed step is visible with its reason and can be retried.
func processes(c *city) {
	file := func(task string) []byte {
		return []byte(`<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:evb="urn:evb:bpmn" targetNamespace="t"><bpmn:process id="Probe" name="Probe" isExecutable="true">
<bpmn:startEvent id="s"/><bpmn:userTask id="a" name="` + task + `" evb:unit="FB64"/><bpmn:exclusiveGateway id="x" default="n"/><bpmn:userTask id="b" name="Prüfen" evb:user="v.hansen"/><bpmn:endEvent id="e"/>
<bpmn:sequenceFlow id="f1" sourceRef="s" targetRef="a"/><bpmn:sequenceFlow id="f2" sourceRef="a" targetRef="x"/>
<bpmn:sequenceFlow id="y" sourceRef="x" targetRef="b"><bpmn:conditionExpression>summe &gt; 100</bpmn:conditionExpression></bpmn:sequenceFlow>
<bpmn:sequenceFlow id="n" sourceRef="x" targetRef="e"/><bpmn:sequenceFlow id="f3" sourceRef="b" targetRef="e"/></bpmn:process></bpmn:definitions>`)
	}
	store := func(task string) string {
		d := c.send("h.lang", "POST", "/processes", file(task), header{"Content-Type": "application/xml"}).ok()["id"].(string)
		c.post("h.lang", "/processes/"+d+"/activate", object{})
		return d
	}
	first := store("Lesen")
	akte := c.list("d.meier", "/akten?aktenzeichen=64-WG-481012/26")[0]["id"].(string)
	v := c.post("d.meier", "/akten/"+akte+"/vorgaenge", object{"subject": "Probe"})["id"].(string)
	c.send("d.meier", "POST", "/processes", file("x"), header{"Content-Type": "application/xml"}).refused(403, "process-designer-only")
	i := c.post("d.meier", "/processes/"+first+"/instances", object{"vorgang_id": v})["id"].(string)
	second := store("Genau lesen")
	step := func() object { return c.get("d.meier", "/process-instances/"+i)["steps"].([]any)[0].(object) }
	if s := step(); s["name"] != "Lesen" {
		c.t.Errorf("%v", s)
	}
	c.post("h.lang", "/process-instances/"+i+"/migrate", object{"to": second})
	if s := step(); s["name"] != "Genau lesen" {
		c.t.Errorf("migrated: %v", s)
	}
	s := step()
	c.post("d.meier", fmt.Sprintf("/circulations/%v/steps/%v/complete", s["circulation_id"], s["step"]), object{"outcome": "done"})
	if s = step(); s["waits"] != "failed" || !strings.Contains(fmt.Sprint(s["reason"]), "summe") {
		c.t.Errorf("a failed step: %v", s)
	}
	c.post("d.meier", "/process-instances/"+i+"/retry", object{"variables": object{"summe": 250}})
	if s = step(); s["element"] != "b" {
		c.t.Errorf("retried: %v", s)
	}
	c.post("v.hansen", fmt.Sprintf("/circulations/%v/steps/%v/complete", s["circulation_id"], s["step"]), object{"outcome": "done"})
	if x := c.get("d.meier", "/process-instances/"+i); x["state"] != "done" {
		c.t.Errorf("%v", x["state"])
	}
}
