package scenario_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Drafted, rehearsed on past mail, activated by a second person, versioned,
// reversible; every delivered item tells which rule and which words brought it.
func ruleSets(c *city) {
	past := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, Umzug", "ich ziehe um.")...)
	set := object{"name": "FB64-Umzug", "unit": "FB64", "rules": []object{
		{"id": "umzug", "order": 1, "when": "doc.text.hasAnyWords(['umziehen', 'Umzug'])", "target": object{"postkorb": "Tarek Baum"}, "reason": "Umzüge liegen bei Herrn Baum."},
	}}
	d := c.post("v.hansen", "/rules/drafts", set)["id"].(string)
	c.send("h.lang", "POST", "/rules/drafts/"+d+"/activate", nil).refused(409, "rules-not-checked")
	c.post("v.hansen", "/rules/drafts/"+d+"/check", nil)
	r := c.post("v.hansen", "/rules/drafts/"+d+"/rehearse", object{"since": "2026-01-01"})
	if !slices.ContainsFunc(r["changed"].([]any), func(x any) bool { return x.(object)["dokument_id"] == past }) {
		c.t.Errorf("rehearsed: %v", r)
	}
	c.item("d.meier", "FB64-Wohngeld", past) // nothing was changed
	c.send("v.hansen", "POST", "/rules/drafts/"+d+"/activate", nil).refused(403, "second-person-needed")
	c.post("h.lang", "/rules/drafts/"+d+"/activate", nil)
	moved := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, Umzug", "wieder ein Umzug.")...)
	why := fmt.Sprint(c.get("t.baum", c.item("t.baum", "Tarek Baum", moved)+"/why")["text"])
	for _, want := range []string{"umzug", "FB64-Umzug", "Fassung 1", "Umzug"} {
		if !strings.Contains(why, want) {
			c.t.Errorf("why lacks %s: %s", want, why)
		}
	}
	c.item("d.meier", "FB64-Wohngeld", past) // and delivered mail stays
	c.post("v.hansen", "/rules/FB64-Umzug/retire", object{"reason": "doch nicht"})
	if n := len(c.list("v.hansen", "/rules/FB64-Umzug/versions")); n != 1 {
		c.t.Errorf("%d versions", n)
	}
}

// Reads of protected matters count as events; entries are never edited; times are
// UTC; CSV and JSON.
func auditing(c *city) {
	akte := c.list("w.sander", "/akten?aktenzeichen=11-BH-000117/24")[0]["id"].(string)
	v := c.post("w.sander", "/akten/"+akte+"/vorgaenge", object{"subject": "Antrag"})["id"].(string)
	d := c.letter("w.sander", object{"vorgang_id": v}, "Antrag auf Beihilfe")
	c.get200("w.sander", "/dokumente/"+d+"/content")
	open := c.letter("fv-bau", object{}, to(benefits, "Wohngeld", "bitte.")...)
	c.get200("d.meier", "/dokumente/"+open+"/content")
	reads := func(record string) int {
		return len(c.list("f.brandt", "/audit?stream=access&kind=dokument.content_read&record="+record))
	}
	c.eventually("the read of the protected matter is in the log", func() bool { return reads(d) >= 1 })
	if n := reads(open); n != 0 {
		c.t.Errorf("%d reads of an open matter", n)
	}
	c.send("d.meier", "GET", "/audit", nil).refused(403, "forbidden")
	c.eventually("the log has the Vorgang", func() bool {
		return len(c.list("f.brandt", "/audit?kind=vorgang.created&record="+v)) == 1
	})
	c.forward.Add(int64(time.Minute)) // an export ends before the moment it is asked for
	if lines := c.send("f.brandt", "GET", "/audit/export?format=json&record="+v, nil); !strings.Contains(string(lines.Body), "vorgang.created") || !strings.Contains(string(lines.Body), "Z\"") {
		c.t.Errorf("%d %.600s", lines.Status, lines.Body)
	}
	if csv := c.send("f.brandt", "GET", "/audit/export?format=csv&record="+v, nil); !strings.Contains(string(csv.Body), "vorgang.created") {
		c.t.Errorf("%d %.300s", csv.Status, csv.Body)
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE", "POST"} {
		if a := c.send("h.lang", method, "/audit", object{}); a.Status != 405 {
			c.t.Errorf("%s of the log: %d", method, a.Status)
		}
	}
}

// Cursor paging, ETag with If-Match, Idempotency-Key, problems with a code and two
// languages; all of it in the OpenAPI document.
func api(c *city) {
	box := "/postkoerbe/" + c.box("d.meier", "FB64-Wohngeld")["id"].(string) + "/items"
	total, seen := c.get("d.meier", box)["total"].(float64), map[string]bool{}
	for cursor := ""; ; {
		page := c.get("d.meier", box+"?limit=2&cursor="+url.QueryEscape(cursor))
		for _, i := range page["items"].([]any) {
			if id := i.(object)["id"].(string); seen[id] {
				c.t.Errorf("%s twice", id)
			} else {
				seen[id] = true
			}
		}
		next, _ := page["next_cursor"].(string)
		if cursor = next; cursor == "" {
			break
		}
	}
	if float64(len(seen)) != total {
		c.t.Errorf("%d of %v", len(seen), total)
	}
	d := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, ETag", "bitte.")...)
	i := c.item("d.meier", "FB64-Wohngeld", d)
	tag := c.send("d.meier", "GET", i, nil).Header.Get("ETag")
	c.send("d.meier", "POST", i+"/claim", object{}, header{"If-Match": ""}).refused(428, "if-match-missing")
	c.send("d.meier", "POST", i+"/claim", object{}, header{"If-Match": tag}).ok()
	stale := c.send("d.meier", "POST", i+"/done", object{}, header{"If-Match": tag})
	stale.refused(412, "stale-version")
	if m, ok := stale.json()["messages"].(object); !ok || m["de"] == "" || m["en"] == "" || m["de"] == m["en"] || stale.Header.Get("Content-Type") != "application/problem+json" {
		c.t.Errorf("%s", stale.Body)
	}
	key := header{"Idempotency-Key": "scenario-1"}
	one := c.submit("fv-bau", object{"subject": "einmal"}, "a.txt", "einmal", key)
	if again := c.submit("fv-bau", object{"subject": "einmal"}, "a.txt", "einmal", key); again["id"] != one["id"] {
		c.t.Errorf("%v and %v", one["id"], again["id"])
	}
	body, h := c.parts(object{"subject": "anders"}, "a.txt", "anders")
	c.send("fv-bau", "POST", "/dokumente", body, h, key).refused(422, "idempotency-key-reused")
}

// From-to, named Postkörbe, ends by itself; every act shows both names; protected
// matters stay closed.
func substitution(c *city) {
	d := c.letter("fv-bau", object{}, to(benefits, "Wohngeld an die Leitung", "bitte.")...)
	c.post("d.meier", c.item("d.meier", "FB64-Wohngeld", d)+"/forward", object{"user": "v.hansen"})
	c.gone("a.schulz", "/dokumente/"+d)
	desk := c.box("v.hansen", "Vera Hansen")["id"].(string)
	zone, _ := time.LoadLocation("Europe/Berlin")
	to := c.now().In(zone).Add(2 * time.Hour)
	sub := object{"for": "v.hansen", "deputy": "a.schulz", "from": c.now(), "to": to, "postkoerbe": []string{desk}}
	c.send("b.koch", "POST", "/substitutions", sub).refused(403, "substitution-not-yours")
	c.post("v.hansen", "/substitutions", sub)
	i := c.item("a.schulz", "Vera Hansen", d)
	c.get200("a.schulz", "/dokumente/"+d+"/content")
	c.post("a.schulz", i+"/claim", object{})
	if told := c.told("v.hansen", "/dokumente/"+d); !strings.Contains(told, "|Anke Schulz|Vera Hansen|") {
		c.t.Errorf("both names:\n%s", told)
	}
	if _, there := c.named("a.schulz", "FB64-Wohngeld"); there {
		c.t.Error("she has a Postkorb that was not named")
	}
	c.forward.Add(int64(2*time.Hour - time.Second))
	c.get200("a.schulz", "/dokumente/"+d)
	c.forward.Add(int64(time.Second))
	c.gone("a.schulz", "/dokumente/"+d)
	c.send("a.schulz", "POST", i+"/done", object{}).refused(404, "not-found")
	c.item("v.hansen", "Vera Hansen", d)
	// The head enters an absence of somebody of the unit.
	c.post("c.yilmaz", "/substitutions", object{"for": "b.koch", "deputy": "a.schulz", "to": c.now().Add(time.Hour)})
}

func (c *city) named(login, postkorb string) (object, bool) {
	for _, p := range c.list(login, "/postkoerbe") {
		if p["name"] == postkorb {
			return p, true
		}
	}
	return nil, false
}

// A date without time means 06:00 local; Sundays and holidays are allowed but the
// next working day is suggested; it comes back once; with a deputy it comes to the
// deputy.
func followUps(c *city) {
	d := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, warten auf Bescheinigung", "bitte.")...)
	i := c.item("d.meier", "FB64-Wohngeld", d)
	put := c.post("d.meier", i+"/follow-up", object{"due_on": "2026-12-25", "reason": "Bescheinigung da?"})
	raw, _ := json.Marshal(put)
	if !strings.Contains(string(raw), "2026-12-28") || !strings.Contains(string(raw), "2026-12-25T05:00:00Z") {
		c.t.Errorf("moment and suggestion: %s", raw)
	}
	own := c.post("v.hansen", "/follow-ups", object{"vorgang_id": c.post("d.meier", "/akten/"+c.list("d.meier", "/akten?aktenzeichen=64-WG-481012/26")[0]["id"].(string)+"/vorgaenge", object{"subject": "Wv"})["id"], "due_on": "2026-12-25", "reason": "nachsehen"})
	if own["id"] == nil {
		c.t.Errorf("%v", own)
	}
	c.until("2026-12-25 05:59")
	if n := len(c.on("t.baum", "FB64-Wohngeld", d, "open")); n != 0 {
		c.t.Errorf("%d before its time", n)
	}
	c.post("v.hansen", "/substitutions", object{"for": "v.hansen", "deputy": "d.meier", "to": c.now().AddDate(0, 0, 7), "postkoerbe": []string{c.box("v.hansen", "Vera Hansen")["id"].(string)}})
	c.until("2026-12-25 06:00")
	c.eventually("it is back", func() bool { return len(c.on("d.meier", "FB64-Wohngeld", d, "open")) == 1 })
	c.eventually("the deputy has the head's", func() bool {
		items := c.list("d.meier", "/postkoerbe/"+c.box("d.meier", "Vera Hansen")["id"].(string)+"/items")
		return slices.ContainsFunc(items, func(x object) bool {
			return strings.Contains(fmt.Sprint(x["reason"], x["follow_up_reason"]), "nachsehen")
		})
	})
	c.until("2026-12-28 09:00")
	if all := c.list("h.lang", "/dokumente/"+d+"/items"); len(all) != 1 || all[0]["follow_up_reason"] != "Bescheinigung da?" {
		c.t.Errorf("it is back as %v", all)
	}
}
