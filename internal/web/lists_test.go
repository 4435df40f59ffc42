package web_test

import (
	"strings"
	"testing"
)

// Every list takes limit and cursor, and counts where it is asked to.
func TestListsArePagedAndCountedOnRequest(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/postkoerbe", "/forward-targets", "/users", "/units", "/aktenplan"} {
		path = "/api/v1" + path
		who := w.Lang
		whole := w.call(who, "GET", path, nil).want(200)
		n := len(whole.items())
		if n < 2 {
			t.Errorf("%s: only %d lines to page", path, n)
		}
		var ids []any
		for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
			p := w.call(who, "GET", path+"?limit=1&cursor="+cursor, nil).want(200)
			if len(p.items()) != 1 || p.json()["total"] != float64(n) || pages > n {
				t.Fatalf("%s, page %d: %s", path, pages, p.Body)
			}
			ids = append(ids, p.items()[0]["id"])
			cursor, _ = p.json()["next_cursor"].(string)
		}
		if len(ids) != n || ids[0] != whole.items()[0]["id"] || ids[n-1] != whole.items()[n-1]["id"] {
			t.Errorf("%s: paged %v", path, ids)
		}
		w.call(who, "GET", path+"?limit=201", nil).want(400, "parameter-invalid")
		w.call(who, "GET", path+"?cursor=x", nil).want(400, "parameter-invalid")
		if p := w.call(who, "GET", path+"?cursor=9999", nil).want(200); len(p.items()) != 0 {
			t.Errorf("%s behind the end: %s", path, p.Body)
		}
	}
	for _, path := range []string{"/batches?", "/quarantine?", "/seals?", "/audit?", "/audit?stream=access&kind=search.*&", "/dokumente?"} {
		path = "/api/v1" + path
		if p := w.call(w.Brandt, "GET", path+"limit=200", nil).want(200); p.json()["total"] != nil {
			t.Errorf("%s: counted unasked: %s", path, p.Body)
		}
		p := w.call(w.Brandt, "GET", path+"limit=200&count=true", nil).want(200)
		if total, ok := p.json()["total"].(float64); !ok || p.json()["next_cursor"] == nil && int(total) < len(p.items()) {
			t.Errorf("%s: %v for %d lines", path, p.json()["total"], len(p.items()))
		}
		if p := w.call(w.Brandt, "GET", path+"limit=1&count=true", nil).want(200); strings.Contains(path, "/audit") && strings.HasSuffix(path, "audit?") && p.json()["total"].(float64) < 2 {
			t.Errorf("%s: the count goes by the page: %s", path, p.Body)
		}
		w.call(w.Brandt, "GET", path+"count=vielleicht", nil).want(400, "parameter-invalid")
	}
	// The Vorgänge of all Akten, of those that one sees.
	for _, subject := range []string{"Statik", "Stellplätze", "Abnahme"} {
		w.call(w.Schulz, "POST", "/api/v1/akten/"+w.AkteBau.String()+"/vorgaenge", map[string]string{"subject": subject}).want(201)
	}
	var subjects []any
	for cursor := ""; ; {
		p := w.call(w.Koch, "GET", "/api/v1/vorgaenge?limit=2&count=true&cursor="+cursor, nil).want(200)
		if p.json()["total"] != float64(3) {
			t.Fatalf("vorgaenge: %s", p.Body)
		}
		for _, i := range p.items() {
			subjects = append(subjects, i["subject"])
		}
		if cursor, _ = p.json()["next_cursor"].(string); cursor == "" {
			break
		}
	}
	if len(subjects) != 3 || subjects[0] != "Statik" || subjects[2] != "Abnahme" {
		t.Errorf("vorgaenge: %v", subjects)
	}
	if p := w.call(w.Koch, "GET", "/api/v1/vorgaenge", nil).want(200); p.json()["total"] != nil {
		t.Errorf("vorgaenge are counted unasked: %s", p.Body)
	}
	if p := w.call(w.Meier, "GET", "/api/v1/vorgaenge?count=true", nil).want(200); p.json()["total"] != float64(0) {
		t.Errorf("vorgaenge of another unit: %s", p.Body)
	}
	// What hangs below an Akte that is not to be seen is not there either.
	w.call(w.Meier, "GET", "/api/v1/akten/"+w.AkteBau.String()+"/vorgaenge", nil).want(404)
}
