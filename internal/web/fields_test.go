package web_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte/aktetest"
)

var rechnung = json.RawMessage(`{"type": "object", "additionalProperties": false, "required": ["betrag"], "properties": {
    "betrag": {"type": "number", "minimum": 0}, "rechnungsnummer": {"type": "string"}, "faellig": {"type": "string", "format": "date"}}}`)

// pointers are the fields that a problem names.
func (a answer) pointers() map[string]bool {
	out := map[string]bool{}
	errs, _ := a.json()["errors"].([]any)
	for _, e := range errs {
		out[e.(map[string]any)["pointer"].(string)] = true
	}
	return out
}

func TestAnOfficeLaysDownTheFieldsOfADocumentType(t *testing.T) {
	w := newWorld(t)
	const types = "/api/v1/document-types/Rechnung"
	set := func(who access.Actor, body map[string]any, headers ...header) answer {
		return w.call(who, "POST", types+"/schemas", body, headers...)
	}
	w.unchanged(w.Schulz, "/api/v1/document-types", func() {
		set(w.Schulz, map[string]any{"unit": "FB61", "schema": rechnung}).want(403, "schema-forbidden")
		set(w.Yilmaz, map[string]any{"schema": rechnung}).want(403, "schema-forbidden") // of one unit, not of all
		set(w.Yilmaz, map[string]any{"unit": "FB64", "schema": rechnung}).want(403, "schema-forbidden")
		set(w.Yilmaz, map[string]any{"unit": "FB61"}).want(422, "field-required")
		set(w.Yilmaz, map[string]any{"unit": "FB61", "schema": map[string]any{"type": 7}}).want(422, "form-schema-broken")
		set(w.Yilmaz, map[string]any{"unit": "FB61", "schema": map[string]any{"$ref": "https://example.org/x"}}).want(422, "form-schema-broken")
	})
	key := header{"Idempotency-Key": "schema-1"}
	first := set(w.Yilmaz, map[string]any{"unit": "FB61", "title": "Rechnung", "schema": rechnung}, key).want(201)
	if again := set(w.Yilmaz, map[string]any{"unit": "FB61", "title": "Rechnung", "schema": rechnung}, key).want(201); again.json()["version"] != 1.0 || first.text("unit") != "FB61" {
		t.Errorf("%s\n%s", first.Body, again.Body)
	}

	// On the way in: with a Vorgang of the unit, else by the unit the sender names.
	in := func(metadata string) answer {
		body, contentType := multi(t, "file", metadata, "r.pdf", pdf(t, "Rechnung", 1))
		return w.call(w.Schulz, "POST", "/api/v1/dokumente", body, contentType)
	}
	bad := in(`{"document_type":"Rechnung","unit":"FB61","fields":{"betrag":"viel","farbe":1}}`).want(422, "fields-invalid")
	if p := bad.pointers(); !p["/fields/betrag"] || !p["/fields/farbe"] {
		t.Errorf("pointers: %s", bad.Body)
	}
	in(`{"document_type":"Rechnung","unit":"FB61","data":{"fields":7}}`).want(422, "fields-invalid")
	in(`{"document_type":"Rechnung","fields":{"beliebig":true}}`).want(201) // of nobody yet: no schema
	path := in(`{"document_type":"Rechnung","unit":"FB61","fields":{"betrag":119.5,"rechnungsnummer":"R-1"}}`).want(201).Header.Get("Location")
	d := w.call(w.Schulz, "POST", path+"/file", map[string]string{"aktenzeichen": aktetest.NumberBau}).want(200)
	if f, _ := d.json()["fields"].(map[string]any); f["betrag"] != 119.5 || d.json()["schema_version"] != 1.0 {
		t.Errorf("filed: %s", d.Body)
	}

	// Changed with If-Match, checked each time.
	any_ := header{"If-Match": "*"}
	w.unchanged(w.Schulz, path, func() {
		w.call(w.Schulz, "PATCH", path, map[string]any{"fields": map[string]any{"betrag": 1}}).want(428, "if-match-missing")
		w.call(w.Schulz, "PATCH", path, map[string]any{"fields": map[string]any{"betrag": 1}}, header{"If-Match": `"99"`}).want(412, "stale-version")
		w.call(w.Brandt, "PATCH", path, map[string]any{"fields": map[string]any{"betrag": 1}}, any_).want(403, "read-only-role")
		w.call(w.Meier, "PATCH", path, map[string]any{"fields": map[string]any{"betrag": 1}}, any_).want(404, "not-found")
		w.call(w.Schulz, "PATCH", path, map[string]any{"fields": []int{1}}, any_).want(422, "fields-invalid")
		if p := w.call(w.Schulz, "PATCH", path, map[string]any{"subject": "neu", "fields": map[string]any{"faellig": "bald"}}, any_).want(422, "fields-invalid").pointers(); !p["/fields/betrag"] || !p["/fields/faellig"] {
			t.Errorf("pointers: %v", p)
		}
	})
	d = w.call(w.Schulz, "PATCH", path, map[string]any{"fields": map[string]any{"betrag": 200, "faellig": "2026-12-24"}}, match(d)).want(200)

	// Another version of the schema: what is there stays readable and is named.
	stricter := json.RawMessage(bytes.Replace(rechnung, []byte(`["betrag"]`), []byte(`["betrag", "rechnungsnummer"]`), 1))
	set(w.Yilmaz, map[string]any{"unit": "FB61", "schema": stricter, "replaces": 7}).want(409, "schema-changed")
	set(w.Yilmaz, map[string]any{"unit": "FB61", "schema": stricter, "replaces": 1}).want(201)
	fit := w.call(w.Schulz, "GET", path+"/fields", nil).want(200)
	if x := fit.json(); x["fits"] != false || x["schema_version"] != 1.0 || x["in_force"] != 2.0 || x["problems"].([]any)[0].(map[string]any)["pointer"] != "/fields/rechnungsnummer" {
		t.Errorf("fit: %s", fit.Body)
	}
	if list := w.call(w.Schulz, "GET", types+"/unfit", nil).want(200).items(); len(list) != 1 || list[0]["dokument_id"] != d.text("id") {
		t.Errorf("unfit: %v", list)
	}
	if list := w.call(w.Meier, "GET", types+"/unfit", nil).want(200).items(); len(list) != 0 {
		t.Errorf("unfit for a stranger: %v", list)
	}
	w.call(w.Schulz, "PATCH", path, map[string]any{"subject": "Rechnung vom 3."}, any_).want(200) // other words stay free
	w.call(w.Schulz, "PATCH", path, map[string]any{"document_type": "Brief"}, any_).want(200)
	w.call(w.Schulz, "PATCH", path, map[string]any{"document_type": "Rechnung"}, any_).want(422, "fields-invalid")
	d = w.call(w.Schulz, "PATCH", path, map[string]any{"document_type": "Rechnung", "fields": map[string]any{"betrag": 200, "rechnungsnummer": "R-2"}}, any_).want(200)
	if d.json()["schema_version"] != 2.0 {
		t.Errorf("mended: %s", d.Body)
	}
	if list := w.call(w.Schulz, "GET", types+"/unfit", nil).want(200).items(); len(list) != 0 {
		t.Errorf("unfit: %v", list)
	}
	d = w.call(w.Schulz, "PATCH", path, map[string]any{"fields": nil}, any_).want(200)
	if d.json()["schema_version"] != nil || d.json()["fields"] != nil {
		t.Errorf("taken away: %s", d.Body)
	}
	if v := w.call(w.Schulz, "GET", types+"/schemas", nil).want(200).items(); len(v) != 2 || v[0]["version"] != 2.0 {
		t.Errorf("versions: %v", v)
	}
	// A schema of the tenant is for those that have none of their own.
	w.Tx(func(tx pgx.Tx) error {
		return w.Org.EnsureMembership(t.Context(), tx, w.System(), w.Now().AddDate(0, -1, 0), w.Nobody.User, uuid.Nil, access.RecordsManager)
	})
	set(w.Nobody, map[string]any{"schema": map[string]any{"maxProperties": 0}}).want(201)
	in(`{"document_type":"Rechnung","fields":{"beliebig":true}}`).want(422, "fields-invalid")
	in(`{"document_type":"Rechnung","unit":"FB61","fields":{"betrag":1,"rechnungsnummer":"R-3"}}`).want(201)
	in(`{"document_type":"Rechnung"}`).want(201) // paper knows no fields
}

func TestAReferenceInsteadOfACopyGivesNoRight(t *testing.T) {
	w := newWorld(t)
	path, id := w.draft(w.Schulz)
	vorgang := w.call(w.Schulz, "GET", path, nil).text("vorgang_id")
	from := "/api/v1/vorgaenge/" + w.call(w.Roth, "POST", "/api/v1/akten/"+w.AkteWohn.String()+"/vorgaenge", map[string]string{"subject": "Wohngeld"}).want(201).text("id")
	refs := from + "/references"
	w.unchanged(w.Roth, refs, func() {
		w.call(w.Meier, "POST", refs, map[string]any{"to_id": id}).want(422, "reference-target-unknown")
		w.call(w.Schulz, "POST", refs, map[string]any{"to_id": id}).want(404, "not-found")
		w.call(w.Brandt, "POST", refs, map[string]any{"to_id": id}).want(403, "read-only-role")
		w.call(w.Roth, "POST", refs, map[string]any{"to_id": id, "kind": "copy"}).want(422, "reference-kind-unknown")
		w.call(w.Roth, "POST", refs, map[string]any{"to_id": from[len("/api/v1/vorgaenge/"):]}).want(422, "reference-to-itself")
		w.call(w.Roth, "POST", refs, map[string]any{"to_id": "x"}).want(400)
	})
	key := header{"Idempotency-Key": "verweis"}
	body := map[string]any{"to_id": id, "remark": "gleicher Bau"}
	made := w.call(w.Roth, "POST", refs, body, key).want(201)
	w.call(w.Roth, "POST", refs, body, key).want(201)
	w.call(w.Roth, "POST", refs, body).want(409, "reference-exists")
	if made.text("other_kind") != "dokument" || made.text("number") != aktetest.NumberBau+"-01" || made.text("subject") != "Bescheid" {
		t.Errorf("made: %s", made.Body)
	}
	w.call(w.Roth, "POST", "/api/v1/akten/"+w.AkteWohn.String()+"/references", map[string]any{"to_id": vorgang}).want(201)
	// Who does not see the target sees no reference, and nobody sees more by it.
	for who, n := range map[*access.Actor]int{&w.Roth: 1, &w.Meier: 0, &w.Brandt: 1} {
		if list := w.call(*who, "GET", refs, nil).want(200).items(); len(list) != n {
			t.Errorf("%s: %v", who.Login, list)
		}
	}
	w.call(w.Meier, "GET", path, nil).want(404, "not-found")
	if in := w.call(w.Roth, "GET", path+"/references?incoming=true", nil).want(200).items(); len(in) != 1 || in[0]["other_kind"] != "vorgang" {
		t.Errorf("incoming: %v", in)
	}
	if in := w.call(w.Schulz, "GET", path+"/references?incoming=true", nil).want(200).items(); len(in) != 0 {
		t.Errorf("incoming for who does not see where from: %v", in)
	}
	one := "/api/v1/references/" + made.text("id")
	w.unchanged(w.Roth, refs, func() {
		w.call(w.Meier, "DELETE", one, nil, header{"If-Match": "*"}).want(404, "not-found")
		w.call(w.Brandt, "DELETE", one, nil, header{"If-Match": "*"}).want(403, "read-only-role")
		w.call(w.Roth, "DELETE", one, nil).want(428, "if-match-missing")
		w.call(w.Roth, "DELETE", one, nil, header{"If-Match": `"2"`}).want(412, "stale-version")
	})
	w.call(w.Roth, "DELETE", one, nil, match(made)).want(204)
	w.call(w.Roth, "DELETE", one, nil, header{"If-Match": "*"}).want(404, "not-found")
	w.call(w.Roth, "POST", from+"/close", nil, header{"If-Match": "*"}).want(200)
	w.call(w.Roth, "POST", refs, body).want(409, "vorgang-closed")
	if h := w.call(w.Roth, "GET", from+"/history", nil).want(200); !bytes.Contains(h.Body, []byte("Ein Verweis wurde entfernt.")) {
		t.Errorf("history: %s", h.Body)
	}
}
