package web_test

import (
	"bytes"
	"fmt"
	"testing"
)

func TestAnnotationsLieBesideTheOriginalWithRightsOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	path, _ := w.draft(w.Schulz)
	list := path + "/annotations"
	original := w.call(w.Schulz, "GET", path+"/content", nil).want(200).Body
	tag := w.call(w.Schulz, "GET", path, nil).want(200).Header.Get("ETag")
	note := func(extra map[string]any) map[string]any {
		b := map[string]any{"text": "bitte prüfen"}
		for k, v := range extra {
			b[k] = v
		}
		return b
	}
	mark := map[string]any{"kind": "mark", "page": 1, "quote": "Entwurf", "from": 12, "to": 19, "visibility": "all"}

	w.unchanged(w.Schulz, list, func() {
		w.call(w.Meier, "POST", list, note(nil)).want(404, "not-found")
		w.call(w.Meier, "GET", list, nil).want(404, "not-found")
		w.call(w.Brandt, "POST", list, note(nil)).want(403, "read-only-role")
		for code, body := range map[string]map[string]any{
			"annotation-kind-unknown": note(map[string]any{"kind": "redaction"}), "annotation-text-needed": {"text": " "},
			"annotation-place-needed": {"kind": "mark"}, "version-unknown": note(map[string]any{"version": 9}),
			"annotation-page-unknown": note(map[string]any{"page": 3}), "annotation-visibility-unknown": note(map[string]any{"visibility": "secret"}),
			"annotation-range-invalid": {"kind": "mark", "page": 1, "quote": "Entwurf", "from": 12, "to": 13},
			"annotation-rect-invalid":  {"kind": "mark", "page": 1, "rect": map[string]float64{"x": 0.9, "y": 0, "width": 0.2, "height": 1}},
			"annotation-unit-needed":   note(map[string]any{"visibility": "unit", "unit": "FB64"}),
			"field-required":           note(map[string]any{"rect": map[string]float64{"x": 0, "y": 0, "width": 0.2, "height": 1}}),
			"field-too-long":           {"text": string(bytes.Repeat([]byte("x"), 30_000))},
		} {
			w.call(w.Schulz, "POST", list, body).want(422, code)
		}
		w.call(w.Schulz, "POST", list, map[string]any{"text": "x", "colour": "red"}).want(400, "body-field-unknown")
	})

	key := header{"Idempotency-Key": "notiz"}
	private := w.call(w.Schulz, "POST", list, note(nil), key).want(201)
	if again := w.call(w.Schulz, "POST", list, note(nil), key).want(201); again.text("id") != private.text("id") || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("again: %s", again.Body)
	}
	unit := w.call(w.Schulz, "POST", list, note(map[string]any{"visibility": "unit", "page": 2, "rect": map[string]float64{"x": 0.1, "y": 0.1, "width": 0.5, "height": 0.25}})).want(201)
	all := w.call(w.Schulz, "POST", list, mark).want(201)
	if private.text("visibility") != "private" || unit.text("unit") != "FB61" || all.json()["version"] != 1.0 || all.text("author") != w.Schulz.DisplayName {
		t.Errorf("%s\n%s\n%s", private.Body, unit.Body, all.Body)
	}
	one := func(a answer) string { return "/api/v1/annotations/" + a.text("id") }

	// Meier sees the Dokument by an item, and no note of the unit.
	w.wohngeld()
	w.call(w.Schulz, "POST", "/api/v1/circulations", map[string]any{"dokument_id": all.text("dokument_id"), "steps": []any{map[string]any{"to": map[string]string{"unit": "FB64"}}}}).want(201)
	if got := fmt.Sprint(len(w.call(w.Schulz, "GET", list, nil).items()), len(w.call(w.Koch, "GET", list, nil).items()), len(w.call(w.Brandt, "GET", list, nil).items()),
		len(w.call(w.Meier, "GET", list, nil).want(200).items())); got != "3 2 2 1" {
		t.Errorf("author, unit, auditor, another unit: %s", got)
	}
	w.call(w.Koch, "GET", one(private), nil).want(404, "not-found")
	w.call(w.Meier, "GET", one(unit), nil).want(404, "not-found")

	// Changed by the author alone; what it said before stays.
	w.unchanged(w.Schulz, one(all), func() {
		w.call(w.Koch, "PATCH", one(all), note(nil), header{"If-Match": "*"}).want(403, "annotation-not-yours")
		w.call(w.Schulz, "PATCH", one(all), note(nil)).want(428, "if-match-missing")
		w.call(w.Schulz, "PATCH", one(all), note(nil), header{"If-Match": `"7"`}).want(412, "stale-version")
		w.call(w.Koch, "POST", one(all)+"/remove", map[string]string{"reason": "stört"}, header{"If-Match": "*"}).want(403, "annotation-not-yours")
		w.call(w.Yilmaz, "POST", one(all)+"/remove", nil, header{"If-Match": "*"}).want(422, "reason-needed")
		w.call(w.Yilmaz, "POST", one(private)+"/remove", map[string]string{"reason": "stört"}, header{"If-Match": "*"}).want(404, "not-found")
	})
	edited := w.call(w.Schulz, "PATCH", one(unit), map[string]string{"text": "geprüft", "visibility": "all"}, match(unit)).want(200)
	if r := edited.json()["revisions"].([]any); len(r) != 1 || r[0].(map[string]any)["text"] != "bitte prüfen" || r[0].(map[string]any)["visibility"] != "unit" || edited.text("text") != "geprüft" {
		t.Errorf("changed: %s", edited.Body)
	}
	gone := w.call(w.Yilmaz, "POST", one(all)+"/remove", map[string]string{"reason": "gehört nicht in die Akte"}, match(all)).want(200)
	if gone.text("removed_by") != w.Yilmaz.DisplayName || gone.text("reason") == "" {
		t.Errorf("removed: %s", gone.Body)
	}
	w.call(w.Schulz, "PATCH", one(all), note(nil), header{"If-Match": "*"}).want(409, "annotation-removed")
	if n, with := w.call(w.Koch, "GET", list, nil).items(), w.call(w.Koch, "GET", list+"?removed=true", nil).items(); len(n) != 1 || len(with) != 2 {
		t.Errorf("after the removal: %d, %d", len(n), len(with))
	}

	// Bound to their version; no byte and no ETag of the Dokument moved.
	if now := w.call(w.Schulz, "GET", path, nil).want(200).Header.Get("ETag"); now != tag {
		t.Errorf("ETag %s, was %s", now, tag)
	}
	if now := w.call(w.Schulz, "GET", path+"/content", nil).want(200).Body; !bytes.Equal(now, original) {
		t.Error("the original changed")
	}
	w.revise(w.Schulz, path).want(201)
	if n, old := w.call(w.Schulz, "GET", list+"?version=2", nil).items(), w.call(w.Schulz, "GET", list+"?version=1", nil).items(); len(n) != 0 || len(old) != 2 {
		t.Errorf("by version: %v, %v", n, old)
	}
	var kinds []any
	for _, h := range w.call(w.Schulz, "GET", path+"/history", nil).want(200).items() {
		if bytes.Contains([]byte(h["kind"].(string)), []byte("annotat")) {
			kinds = append(kinds, h["kind"])
		}
	}
	if fmt.Sprint(kinds) != "[dokument.annotated dokument.annotated dokument.annotation_changed dokument.annotation_removed]" {
		t.Errorf("history: %v", kinds)
	}

	// Given out with the file, unless one asks for it without; never private ones.
	for query, want := range map[string]bool{"": true, "&annotations=true": true, "&annotations=false": false} {
		tar := w.call(w.Schulz, "GET", "/api/v1/export?dokument="+all.text("dokument_id")+query, nil).want(200).Body
		if bytes.Contains(tar, []byte(`"geprüft"`)) != want || bytes.Contains(tar, []byte(private.text("id"))) {
			t.Errorf("export%s: with annotations %v", query, !want)
		}
	}
	w.call(w.Schulz, "GET", "/api/v1/export?dokument="+all.text("dokument_id")+"&annotations=vielleicht", nil).want(400)
}
