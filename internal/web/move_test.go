package web_test

import (
	"strings"
	"testing"

	"evb/internal/akte/aktetest"
)

// A Vorgang goes to another Akte with all that is in it; the number it had is
// never given again and still leads to it.
func TestAVorgangGoesToAnotherAkte(t *testing.T) {
	w := newWorld(t)
	first := "/api/v1/akten/" + w.AkteBau.String()
	number := newAkte(w)
	id := w.submit(w.Schulz, `{"subject":"Statik"}`, "Statik")
	vorgang := "/api/v1/vorgaenge/" + w.call(w.Schulz, "POST", "/api/v1/dokumente/"+id+"/file", map[string]string{"aktenzeichen": aktetest.NumberBau}).want(200).text("vorgang_id")
	any := header{"If-Match": "*"}
	to := func(aktenzeichen, reason string) map[string]string {
		return map[string]string{"aktenzeichen": aktenzeichen, "reason": reason}
	}
	w.unchanged(w.Schulz, vorgang, func() {
		w.call(w.Schulz, "POST", vorgang+"/move", to(number, "falsch angelegt")).want(428, "if-match-missing")
		w.call(w.Schulz, "POST", vorgang+"/move", to(number, "falsch angelegt"), header{"If-Match": `"99"`}).want(412, "stale-version")
		w.call(w.Schulz, "POST", vorgang+"/move", to(number, " "), any).want(422, "reason-needed")
		w.call(w.Schulz, "POST", vorgang+"/move", to("61/5-BA-999999/26", "x"), any).want(422, "akte-unknown")
		w.call(w.Schulz, "POST", vorgang+"/move", to("Unsinn", "x"), any).want(422, "aktenzeichen-malformed")
		w.call(w.Schulz, "POST", vorgang+"/move", to(aktetest.NumberBau+"-01", "x"), any).want(422, "aktenzeichen-malformed")
		w.call(w.Schulz, "POST", vorgang+"/move", to(aktetest.NumberWohn, "x"), any).want(422, "akte-unknown")
		w.call(w.Meier, "POST", vorgang+"/move", to(aktetest.NumberWohn, "x"), any).want(404, "not-found")
		w.call(w.Brandt, "POST", vorgang+"/move", to(number, "x"), any).want(403)
	})
	moved := w.call(w.Schulz, "POST", vorgang+"/move", to(number, "falsch angelegt"), any).want(200)
	if moved.text("reference") != number+"-01" {
		t.Errorf("moved: %s", moved.Body)
	}
	if d := w.call(w.Schulz, "GET", "/api/v1/dokumente/"+id, nil).want(200); d.text("vorgang_reference") != number+"-01" || d.text("aktenzeichen") != number {
		t.Errorf("the Dokument: %s", d.Body)
	}
	// The second of the first Akte is the second, and the former number still files.
	if v := w.call(w.Schulz, "POST", first+"/vorgaenge", map[string]string{"subject": "Zweiter"}).want(201); v.text("reference") != aktetest.NumberBau+"-02" {
		t.Errorf("the next number: %s", v.Body)
	}
	other := w.submit(w.Schulz, `{"subject":"Nachtrag"}`, "Nachtrag")
	if f := w.call(w.Schulz, "POST", "/api/v1/dokumente/"+other+"/file", map[string]string{"aktenzeichen": aktetest.NumberBau + "-01"}).want(200); f.text("vorgang_reference") != number+"-01" {
		t.Errorf("by its former number: %s", f.Body)
	}
	for path, want := range map[string]string{vorgang: "Der Vorgang wurde in eine andere Akte verschoben.", first: "Ein Vorgang wurde aus der Akte in eine andere verschoben."} {
		if text := string(w.call(w.Schulz, "GET", path+"/history?format=text", nil).want(200).Body); !strings.Contains(text, want) || !strings.Contains(text, "falsch angelegt") {
			t.Errorf("history of %s:\n%s", path, text)
		}
	}
	// Back again: a third number, not the first.
	if back := w.call(w.Schulz, "POST", vorgang+"/move", to(aktetest.NumberBau, "doch richtig"), any).want(200); back.text("reference") != aktetest.NumberBau+"-03" {
		t.Errorf("back: %s", back.Body)
	}
	w.call(w.Schulz, "POST", vorgang+"/close", map[string]string{"reason": "erledigt"}, any).want(200)
	w.call(w.Schulz, "POST", vorgang+"/move", to(number, "zu spät"), any).want(409, "vorgang-closed")
}

// newAkte opens a second Akte in the unit of the first and gives its number.
func newAkte(w *world) string {
	w.T.Helper()
	a := w.call(w.Schulz, "POST", "/api/v1/akten", map[string]any{"aktenplaneinheit_id": w.EinheitBau, "subject": "Zweite Akte"}).want(201)
	return a.text("aktenzeichen")
}
