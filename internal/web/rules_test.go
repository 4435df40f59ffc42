package web_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/postkorb"
)

// desks are those of two offices and the clearing.
func (w *world) desks() {
	w.T.Helper()
	w.Tx(func(tx pgx.Tx) error {
		for _, n := range []postkorb.NewPostkorb{
			{Name: "FB61-Bauordnung", Kind: postkorb.Office, Unit: w.Bauordnung}, {Name: "FB64-Wohngeld", Kind: postkorb.Office, Unit: w.Wohngeld},
			{Name: "Klaerung", Kind: postkorb.Clearing}, {Name: "Anna Schulz", Kind: postkorb.Personal, User: w.Schulz.User},
		} {
			id, err := w.post.EnsurePostkorb(w.T.Context(), tx, w.System(), w.Now(), n)
			if err != nil {
				return err
			}
			for _, p := range []access.Actor{w.Schulz, w.Koch, w.Yilmaz} {
				if n.Unit == w.Bauordnung {
					if err := w.post.EnsureMember(w.T.Context(), tx, w.System(), w.Now(), id, p.User); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// letter hands in and routes; it gives the Dokument.
func (w *world) letter(metadata, text string) string {
	w.T.Helper()
	id := w.submit(w.Schulz, metadata, text)
	_, err := w.routing.Route(w.T.Context(), w.System(), uuid.MustParse(id))
	w.Must(err)
	return id
}

const draftOfBauordnung = `{"name": "Bauordnung", "unit": "FB61", "rules": [
	{"id": "widerspruch", "order": 1, "when": "doc.text.hasAnyWords(['Widerspruch', 'Beschwerde'])", "target": {"postkorb": "FB61-Bauordnung", "assign": "head"}, "reason": "Leitung entscheidet"},
	{"id": "carport", "order": 2, "when": "doc.document_type == 'Bauantrag' && doc.text.hasWords('Carport')", "target": {"postkorb": "Anna Schulz"}, "reason": "Carports bearbeitet Frau Schulz"}]}`

func TestARuleSetFromDraftToDeliveryByTwoPersons(t *testing.T) {
	w := newWorld(t)
	w.desks()
	const api = "/api/v1/rules"
	w.call(w.Meier, "POST", api+"/drafts", []byte(draftOfBauordnung)).want(403, "rules-forbidden")
	w.call(w.Schulz, "POST", api+"/drafts", []byte(strings.Replace(draftOfBauordnung, `"FB61"`, "null", 1))).want(403, "rules-forbidden")
	w.call(w.Schulz, "POST", api+"/drafts", []byte(`{"name":"x","regeln":[]}`)).want(400)
	key := header{"Idempotency-Key": "entwurf-1"}
	draft := w.call(w.Schulz, "POST", api+"/drafts", []byte(draftOfBauordnung), key).want(201)
	if again := w.call(w.Schulz, "POST", api+"/drafts", []byte(draftOfBauordnung), key).want(201); again.text("id") != draft.text("id") {
		t.Error("a repeated request drafted again")
	}
	path := api + "/drafts/" + draft.text("id")
	if draft.text("state") != "draft" || draft.json()["version"] != 1.0 || draft.text("unit") != "FB61" {
		t.Errorf("%s", draft.Body)
	}
	w.call(w.Meier, "GET", path, nil).want(404)
	w.call(w.Nobody, "GET", path, nil).want(404)
	w.call(w.Meier, "POST", path+"/check", nil).want(404)
	w.call(w.Yilmaz, "POST", path+"/activate", nil).want(409, "rules-not-checked")
	if c := w.call(w.Koch, "POST", path+"/check", nil).want(200); c.text("state") != "checked" || c.json()["ok"] != true {
		t.Errorf("%s", c.Body)
	}
	w.call(w.Schulz, "POST", path+"/activate", nil).want(403, "second-person-needed")
	w.call(w.Koch, "POST", path+"/activate", nil).want(403, "rules-forbidden")
	if got := w.call(w.Schulz, "GET", path, nil).want(200); got.text("state") != "checked" {
		t.Errorf("a refusal changed something: %s", got.Body)
	}

	// Before and after: what was delivered stays where it is.
	const number = `"aktenzeichen": "61/5-BA-338202/24"`
	early := w.letter(`{`+number+`}`, "Ich lege Widerspruch ein.")
	rehearsal := w.call(w.Yilmaz, "POST", path+"/rehearse", map[string]any{"since": "2026-01-01"}).want(200).json()
	changed := rehearsal["changed"].([]any)
	if rehearsal["documents"] != 1.0 || rehearsal["per_target"].(map[string]any)["FB61-Bauordnung"] != 1.0 || len(changed) != 1 {
		t.Fatalf("%v", rehearsal)
	}
	if c := changed[0].(map[string]any); c["dokument_id"] != early || c["rule"] != "widerspruch" || c["rule_set"] != "Bauordnung" || c["to_assignee"] != "c.yilmaz" || c["from"] != "FB61-Bauordnung" {
		t.Errorf("%v", c)
	}
	w.call(w.Yilmaz, "POST", path+"/rehearse", map[string]any{"since": "gestern"}).want(422, "date-invalid")
	w.call(w.Yilmaz, "POST", path+"/rehearse", map[string]any{}).want(422, "field-required")
	if items := w.call(w.Schulz, "GET", "/api/v1/dokumente/"+early+"/items", nil).want(200).items(); len(items) != 1 || items[0]["assignee_id"] != nil {
		t.Errorf("the rehearsal changed something: %v", items)
	}

	if v := w.call(w.Yilmaz, "POST", path+"/activate", nil).want(200); v.text("state") != "active" || v.text("activated_by") != "Cem Yilmaz" {
		t.Errorf("%s", v.Body)
	}
	w.call(w.Yilmaz, "POST", path+"/activate", nil).want(409, "rules-wrong-state")
	if list := w.call(w.Schulz, "GET", api, nil).want(200).items(); len(list) != 1 || list[0]["name"] != "Bauordnung" || list[0]["version"] != 1.0 {
		t.Errorf("%v", list)
	}
	if list := w.call(w.Meier, "GET", api, nil).want(200).items(); len(list) != 0 {
		t.Errorf("another unit's set: %v", list)
	}

	complaint := w.letter(`{`+number+`}`, "Hiermit erhebe ich Beschwerde gegen den Bescheid.")
	item := w.call(w.Yilmaz, "GET", "/api/v1/dokumente/"+complaint+"/items", nil).want(200).items()[0]
	why := w.call(w.Yilmaz, "GET", "/api/v1/items/"+item["id"].(string)+"/why", nil).want(200).json()
	params := why["params"].(map[string]any)
	if why["code"] != "rule-head" || params["rule"] != "widerspruch" || params["set"] != "Bauordnung" || params["version"] != "1" || params["evidence"] != "„Beschwerde“" {
		t.Errorf("%v", why)
	}
	if s := why["text"].(map[string]any)["de"].(string); !strings.Contains(s, "„Beschwerde“ führen zu FB61-Bauordnung") {
		t.Error(s)
	}
	personal := w.letter(`{`+number+`, "document_type": "Bauantrag"}`, "Antrag auf einen Carport.")
	if i := w.call(w.Schulz, "GET", "/api/v1/dokumente/"+personal+"/items", nil).want(200).items()[0]; i["postkorb"] != "Anna Schulz" && i["postkorb_name"] != "Anna Schulz" {
		t.Errorf("%v", i)
	}
	// A number without an Akte never reaches a person's own Postkorb.
	unknown := w.letter(`{"aktenzeichen": "61/5-BA-999999/24", "document_type": "Bauantrag"}`, "Antrag auf einen Carport.")
	i := w.call(w.Schulz, "GET", "/api/v1/dokumente/"+unknown+"/items", nil).want(200).items()[0]
	if w := w.call(w.Schulz, "GET", "/api/v1/items/"+i["id"].(string)+"/why", nil).want(200).json(); w["code"] != "rule-needs-akte" {
		t.Errorf("%v", w)
	}

	// The next version takes its place; a rollback brings the first one back as the third.
	second := w.call(w.Koch, "POST", api+"/drafts", []byte(strings.Replace(draftOfBauordnung, "'Beschwerde'", "'Einspruch'", 1))).want(201)
	next := api + "/drafts/" + second.text("id")
	w.call(w.Koch, "POST", next+"/check", nil).want(200)
	w.call(w.Yilmaz, "POST", next+"/activate", nil).want(200)
	versions := w.call(w.Schulz, "GET", api+"/Bauordnung/versions", nil).want(200).items()
	if len(versions) != 2 || versions[0]["state"] != "active" || versions[1]["state"] != "retired" {
		t.Fatalf("%v", versions)
	}
	w.call(w.Koch, "POST", api+"/Bauordnung/rollback", map[string]any{"version": 1}).want(403, "rules-forbidden")
	w.call(w.Yilmaz, "POST", api+"/Bauordnung/rollback", map[string]any{"version": 7}).want(422, "rules-version-unknown")
	back := w.call(w.Yilmaz, "POST", api+"/Bauordnung/rollback", map[string]any{"reason": "Beschwerden fehlten"}).want(200).json()
	if back["version"] != 3.0 || back["restores"] != 1.0 || back["state"] != "active" {
		t.Errorf("%v", back)
	}
	w.call(w.Yilmaz, "POST", api+"/Bauordnung/retire", map[string]any{}).want(422, "reason-needed")
	w.call(w.Yilmaz, "POST", api+"/Bauordnung/retire", map[string]any{"reason": "zurück zu Stufe 2"}).want(200)
	w.call(w.Yilmaz, "POST", api+"/Bauordnung/retire", map[string]any{"reason": "noch einmal"}).want(409, "rules-not-active")
	w.call(w.Meier, "GET", api+"/Bauordnung/versions", nil).want(404)

	// Somebody puts the complaint elsewhere: the report counts it.
	row := w.call(w.Yilmaz, "GET", "/api/v1/items/"+item["id"].(string), nil).want(200)
	w.call(w.Yilmaz, "POST", "/api/v1/items/"+item["id"].(string)+"/forward", map[string]any{"postkorb": "FB64-Wohngeld", "reason": "gehört zu Ihnen"}, header{"If-Match": row.Header.Get("ETag")}).want(200)
	report := w.call(w.Yilmaz, "GET", api+"/report", nil).want(200).json()
	total := report["total"].(map[string]any)
	if total["decided"] != 4.0 || total["delivered"] != 4.0 || total["corrected"] != 1.0 || total["precision"] != 0.75 || total["coverage"] != 1.0 {
		t.Errorf("%v", report)
	}
	w.call(w.Schulz, "GET", api+"/report", nil).want(403)
}

func TestACheckTellsWhatIsWrongAndKeepsTheSetFromBeingActivated(t *testing.T) {
	w := newWorld(t)
	w.desks()
	body := `{"name": "B", "unit": "FB61", "rules": [
		{"id": "a", "order": 1, "when": "doc.betreff == ''", "target": {"postkorb": "Nirgends"}, "reason": ""},
		{"id": "b", "order": 2, "when": "true", "target": {"circulation": {"steps": [{"to": {"user": "a.schulz"}}]}}, "reason": ""},
		{"id": "c", "order": 3, "when": "doc.akte_known", "target": {"postkorb": "Klaerung"}, "reason": ""}]}`
	codes := func(a answer) string {
		var out []string
		for _, f := range a.json()["findings"].([]any) {
			f := f.(map[string]any)
			if f["text"].(map[string]any)["de"] == "" {
				t.Errorf("%v", f)
			}
			out = append(out, f["code"].(string)+"@"+f["rule"].(string))
		}
		return strings.Join(out, " ")
	}
	const want = "rule-field-unknown@a rule-postkorb-unknown@a rule-circulation-off@b rule-behind-always@c"
	if a := w.call(w.Schulz, "POST", "/api/v1/rules/check", []byte(body)).want(200); codes(a) != want || a.json()["ok"] != false {
		t.Errorf("%s", codes(a))
	}
	d := w.call(w.Schulz, "POST", "/api/v1/rules/drafts", []byte(body)).want(201)
	path := "/api/v1/rules/drafts/" + d.text("id")
	if a := w.call(w.Schulz, "POST", path+"/check", nil).want(200); codes(a) != want || a.text("state") != "draft" {
		t.Errorf("%s %s", codes(a), a.text("state"))
	}
	w.call(w.Yilmaz, "POST", path+"/activate", nil).want(409, "rules-not-checked")
	w.call(w.Yilmaz, "POST", path+"/rehearse", map[string]any{"since": "2026-01-01"}).want(409, "rules-findings")
	// Also one whose conditions are sound: a rule that leads nowhere files nothing.
	nowhere := w.call(w.Schulz, "POST", "/api/v1/rules/drafts", []byte(`{"name": "N", "unit": "FB61", "rules": [{"id": "a", "order": 1, "when": "true", "target": {}}]}`)).want(201)
	w.call(w.Yilmaz, "POST", "/api/v1/rules/drafts/"+nowhere.text("id")+"/rehearse", map[string]any{"since": "2026-01-01"}).want(409, "rules-findings")
	w.call(w.Nobody, "POST", "/api/v1/rules/check", []byte(body)).want(403, "rules-forbidden")
	if list := w.call(w.Koch, "GET", "/api/v1/rules/drafts", nil).want(200).items(); len(list) != 2 {
		t.Errorf("%v", list)
	}
}

// A date is the begin of the local day, also on the days when the clock changes.
func TestARehearsalSinceADateBeginsAtLocalMidnight(t *testing.T) {
	w := newWorld(t)
	w.desks()
	path := "/api/v1/rules/drafts/" + w.call(w.Schulz, "POST", "/api/v1/rules/drafts", []byte(draftOfBauordnung)).want(201).text("id")
	want := []string{"2026-01-14T23:00:00Z", "2025-10-25T22:00:00Z", "2025-03-29T23:00:00Z"} // the newest first
	for _, day := range []string{"2025-03-30", "2025-10-26", "2026-01-15"} {
		w.call(w.Yilmaz, "POST", path+"/rehearse", map[string]any{"since": day}).want(200)
	}
	var got []string
	for _, e := range w.call(w.Brandt, "GET", "/api/v1/audit?stream=access&kind=rules.rehearsed", nil).want(200).items() {
		got = append(got, e["details"].(map[string]any)["since"].(string))
	}
	slices.Sort(got)
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
