package web_test

import (
	"fmt"
	"strings"
	"testing"

	"evb/internal/akte/aktetest"
)

func TestTheHistoryOfAVorgangIsCompleteAndReadable(t *testing.T) {
	w := newWorld(t)
	w.wohngeld()
	path, id := w.draft(w.Schulz)
	vorgang := "/api/v1/vorgaenge/" + w.call(w.Schulz, "GET", path, nil).text("vorgang_id")
	w.deliver(id)
	w.call(w.Koch, "POST", "/api/v1/substitutions", map[string]any{"deputy": "d.meier", "from": "2026-11-24", "to": "2026-11-24", "postkoerbe": []string{"FB61-Bauordnung"}}).want(201)
	w.call(w.Meier, "POST", path+"/check-out", nil).want(200)
	w.checkIn(w.Meier, path, `{"comment":"ergänzt"}`).want(200)
	c := w.call(w.Schulz, "POST", "/api/v1/circulations", map[string]any{"dokument_id": id, "steps": []any{map[string]any{"to": map[string]string{"user": "c.yilmaz"}, "kind": "co_sign"}}}).want(201)
	w.call(w.Yilmaz, "POST", "/api/v1/circulations/"+c.text("id")+"/steps/1/complete", map[string]string{"outcome": "agreed", "remark": "einverstanden"}, match(c)).want(200)
	w.call(w.Schulz, "POST", vorgang+"/close", map[string]string{"reason": "erledigt"}, header{"If-Match": "*"}).want(200)

	kinds := map[string]map[string]any{}
	all := w.call(w.Schulz, "GET", vorgang+"/history", nil).want(200)
	for _, h := range all.items() {
		kinds[h["kind"].(string)] = h
	}
	for _, k := range []string{"vorgang.created", "dokument.received", "dokument.filed", "item.delivered", "dokument.checked_out", "dokument.version_added", "circulation.started", "circulation.step_agreed", "vorgang.closed"} {
		if kinds[k] == nil {
			t.Errorf("the history lacks %s: %s", k, all.Body)
		}
	}
	if h := kinds["dokument.checked_out"]; h["actor"] != w.Meier.DisplayName || h["on_behalf_of"] != w.Koch.DisplayName || h["record_kind"] != "dokument" || h["record"] != "Bescheid" {
		t.Errorf("both names and the object: %v", h)
	}
	// The same by pages.
	var paged []any
	for cursor := ""; ; {
		p := w.call(w.Schulz, "GET", vorgang+"/history?limit=4&cursor="+cursor, nil).want(200)
		for _, h := range p.items() {
			paged = append(paged, h["id"])
		}
		if cursor = p.text("next_cursor"); cursor == "" {
			break
		}
	}
	if n := len(all.items()); len(paged) != n || all.json()["total"] != float64(n) {
		t.Errorf("%d by pages, %d at once", len(paged), n)
	}
	text := string(w.call(w.Schulz, "GET", vorgang+"/history?format=text", nil).want(200).Body)
	for _, s := range []string{
		"Dora Meier in Vertretung für Bernd Koch", "Dokument „Bescheid“: Das Dokument wurde ausgecheckt.", "Version: 1; bis: 25.11.2026 10:00",
		"Die Version wurde mitgezeichnet.", "Begründung: einverstanden", "Vorgang „" + aktetest.NumberBau + "-01“: Der Vorgang wurde geschlossen (z. d. A.).", "das System",
	} {
		if !strings.Contains(text, s) {
			t.Errorf("the text lacks %q:\n%s", s, text)
		}
	}
	// The Akte has it all, too; who sees nothing of it gets nothing.
	if n := len(w.call(w.Schulz, "GET", "/api/v1/akten/"+w.AkteBau.String()+"/history", nil).want(200).items()); n <= len(all.items()) {
		t.Errorf("%d lines of the Akte", n)
	}
	w.call(w.Meier, "GET", vorgang+"/history", nil).want(404, "not-found")
	w.call(w.Meier, "GET", vorgang+"/history?format=text", nil).want(404, "not-found")
	w.call(w.Schulz, "GET", vorgang+"/history?format=pdf", nil).want(400, "parameter-invalid")
	w.call(w.Schulz, "GET", vorgang+"/history?cursor=x", nil).want(400)
}

func TestTheRegisterExplainsEveryNumber(t *testing.T) {
	w := newWorld(t)
	akten := func(body map[string]any) answer { return w.call(w.Schulz, "POST", "/api/v1/akten", body) }
	body := func(number string) map[string]any {
		b := map[string]any{"aktenplaneinheit": "61.50", "subject": "Anbau"}
		if number != "" {
			b["aktenzeichen"] = number
		}
		return b
	}
	first := akten(body("")).want(201).text("aktenzeichen")
	akten(body("61/5-BA-000009/26")).want(201) // brought along
	w.call(w.Schulz, "GET", "/api/v1/number-patterns", nil).want(200)
	if list := w.call(w.Schulz, "GET", "/api/v1/number-patterns", nil).items(); len(list) != 0 {
		t.Errorf("a clerk guards %v", list)
	}
	var base string
	for _, c := range w.call(w.Roth, "GET", "/api/v1/number-patterns", nil).want(200).items() {
		if c["prefix"] == "61/5-BA-" {
			base = fmt.Sprintf("/api/v1/number-patterns/%v", c["id"])
		}
	}
	void := func(number, reason string) answer {
		return w.call(w.Roth, "POST", base+"/void", map[string]string{"number": number, "reason": reason})
	}
	w.unchanged(w.Roth, base+"/numbers", func() {
		w.call(w.Schulz, "GET", base+"/numbers", nil).want(403, "numbers-forbidden")
		w.call(w.Schulz, "GET", base+"/gaps?year=26", nil).want(403, "numbers-forbidden")
		w.call(w.Yilmaz, "POST", base+"/void", map[string]string{"number": "61/5-BA-000002/26", "reason": "x"}).want(403, "registry-only")
		void("61/5-BA-000002/26", "").want(422, "reason-needed")
		void("64-WG-000002/26", "x").want(422, "aktenzeichen-malformed")
		void(first, "x").want(409, "number-taken")
		w.call(w.Roth, "GET", base+"/gaps", nil).want(400, "parameter-invalid")
		w.call(w.Roth, "GET", base+"/numbers?year=2026", nil).want(400, "parameter-invalid")
	})
	if g := void("61/5-BA-000002/26", "verschrieben").want(201); g.text("state") != "void" || g.json()["number"] != 2.0 || g.text("by") != w.Roth.DisplayName {
		t.Errorf("void: %s", g.Body)
	}
	akten(body("61/5-BA-000002/26")).want(409, "number-taken")
	if n := akten(body("")).want(201).text("aktenzeichen"); n != "61/5-BA-000003/26" {
		t.Errorf("the next number is %s", n)
	}
	got := ""
	for _, g := range w.call(w.Roth, "GET", base+"/numbers?year=26", nil).want(200).items() {
		got += fmt.Sprintf("%v %v, ", g["number"], g["state"])
	}
	if got != "1 used, 2 void, 3 used, 9 used, " {
		t.Errorf("register: %s", got)
	}
	if only := w.call(w.Roth, "GET", base+"/numbers?void=true", nil).want(200).items(); len(only) != 1 || only[0]["reason"] != "verschrieben" {
		t.Errorf("void: %v", only)
	}
	gaps := w.call(w.Roth, "GET", base+"/gaps?year=26", nil).want(200).items()
	if len(gaps) != 1 || gaps[0]["from"] != 4.0 || gaps[0]["to"] != 8.0 || gaps[0]["not_reached"] != 5.0 || gaps[0]["unexplained"] != 0.0 {
		t.Errorf("gaps: %v", gaps)
	}
}

func TestAVorgangSaysWhereItsPaperIs(t *testing.T) {
	w := newWorld(t)
	post := "/api/v1/akten/" + w.AkteBau.String() + "/vorgaenge"
	w.call(w.Schulz, "POST", post, map[string]string{"medium": "002"}).want(422, "paper-location-needed")
	w.call(w.Schulz, "POST", post, map[string]string{"medium": "009", "paper_location": "Keller"}).want(422, "medium-unknown")
	v := w.call(w.Schulz, "POST", post, map[string]string{"medium": "002", "paper_location": "Keller, Regal 3"}).want(201)
	path := "/api/v1/vorgaenge/" + v.text("id")
	w.unchanged(w.Schulz, path, func() {
		w.call(w.Schulz, "PATCH", path, map[string]string{"paper_location": ""}, match(v)).want(422, "paper-location-needed")
	})
	v = w.call(w.Schulz, "PATCH", path, map[string]string{"paper_location": "Archiv"}, match(v)).want(200)
	if v.text("medium") != "002" || v.text("paper_location") != "Archiv" {
		t.Errorf("%s", v.Body)
	}
}
