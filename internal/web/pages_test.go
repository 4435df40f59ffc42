package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"evb/internal/akte/aktetest"
)

const password = "ein-langes-Passwort-7"

// signIn gives a browser that has come through the login page.
func (w *world) signIn(login string) *http.Client {
	w.T.Helper()
	b := w.browser()
	a := w.form(b, "/login", url.Values{"login": {login}, "password": {password}}.Encode()).want(303)
	cookie := a.Header.Get("Set-Cookie")
	for _, part := range []string{"evb_session=", "HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(cookie, part) {
			w.T.Errorf("cookie %q lacks %s", cookie, part)
		}
	}
	return b
}

func TestLoginAndItsGuards(t *testing.T) {
	w := newWorld(t)
	w.Must(w.Org.SetPassword(t.Context(), w.System(), w.Schulz.User, password))
	b := w.browser()
	if a := w.get(b, "/").want(303); a.Header.Get("Location") != "/login" {
		t.Errorf("to %s", a.Header.Get("Location"))
	}
	if a := w.get(b, "/suche?q=x").want(303); a.Header.Get("Location") != "/login?next=%2Fsuche%3Fq%3Dx" {
		t.Errorf("to %s", a.Header.Get("Location"))
	}
	if a := w.form(b, "/login", "login=a.schulz&password=falsch").want(401); !strings.Contains(string(a.Body), "Anmeldename oder Passwort ist falsch") || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("wrong password: %s", a.Body)
	}
	good := url.Values{"login": {"a.schulz"}, "password": {password}}
	w.form(b, "/login", good.Encode(), header{"Sec-Fetch-Site": "cross-site"}).want(403)
	good.Set("next", "//evil.example/")
	if a := w.form(b, "/login", good.Encode()).want(303); a.Header.Get("Location") != "/" {
		t.Errorf("to %s", a.Header.Get("Location"))
	}
	w.get(b, "/api/v1/me").want(200)

	// A write that the cookie signs must come from our own pages.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+"/api/v1/tokens", strings.NewReader("{}"))
	w.Must(err)
	r.Header.Set("Origin", "https://evil.example")
	w.send(b, r).want(403, "cross-origin")
	r, err = http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.URL+"/api/v1/tokens", strings.NewReader("{}"))
	w.Must(err)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w.send(b, r).want(201)

	w.form(b, "/logout", "").want(303)
	w.get(b, "/api/v1/me").want(401)

	// JSON, as programs sign in.
	w.call(nobody, "POST", "/api/v1/login", map[string]string{"login": "a.schulz", "password": password}).want(204)
	for range 12 {
		if a := w.call(nobody, "POST", "/api/v1/login", map[string]string{"login": "a.schulz", "password": "falsch"}); a.Status == 429 {
			if a.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			return
		}
	}
	t.Error("guessing was not slowed down")
}

func TestAClerkWorksWithoutJavaScript(t *testing.T) {
	w := newWorld(t)
	w.Must(w.Org.SetPassword(t.Context(), w.System(), w.Schulz.User, password))
	w.Must(w.Org.SetPassword(t.Context(), w.System(), w.Meier.User, password))
	id := w.submit(w.Roth, `{"subject":"Carport <b>&"}`, "Antrag auf ein Carport")
	item := w.deliver(id)
	b := w.signIn("a.schulz")
	has := func(a answer, words ...string) {
		t.Helper()
		for _, word := range append(words, `<html lang="de">`, "<main", "<h1>", "Zum Inhalt springen") {
			if !strings.Contains(string(a.Body), word) {
				t.Errorf("no %q on the page:\n%s", word, a.Body)
			}
		}
		if strings.Contains(string(a.Body), "<script") || strings.Contains(string(a.Body), "style=") || strings.Contains(string(a.Body), "Carport <b>") {
			t.Errorf("script, inline style or unescaped text:\n%s", a.Body)
		}
	}
	has(w.get(b, "/").want(200), "FB61-Bauordnung")
	desk := w.get(b, "/postkoerbe/"+w.Desk.String()).want(200)
	has(desk, "Carport", "1 Eintrag")
	opened := w.form(b, "/items/"+item+"/open", "row_version="+hidden(t, desk, "/items/"+item+"/open")).want(303)
	dokument := w.get(b, opened.Header.Get("Location")).want(200)
	has(dokument, "Antrag auf ein Carport", "Warum liegt es hier?", "/pages/2.png", "Zum Vorgang nehmen", "noch offen")
	filed := w.form(b, "/dokumente/"+id+"/file", url.Values{"row_version": {hidden(t, dokument, "/dokumente/"+id+"/file")}, "aktenzeichen": {aktetest.NumberBau}}.Encode()).want(303)
	dokument = w.get(b, filed.Header.Get("Location")).want(200)
	has(dokument, "zum Vorgang genommen", aktetest.NumberBau+"-01")
	w.form(b, "/items/"+item+"/done", "row_version=99").want(412)
	w.form(b, "/items/"+item+"/done", "").want(428)
	done := w.form(b, "/items/"+item+"/done", "row_version="+hidden(t, dokument, "/items/"+item+"/done")).want(303)
	desk = w.get(b, done.Header.Get("Location")).want(200)
	has(desk, "erledigt", "0 Einträge", "Letzten Schritt zurücknehmen")
	undone := w.form(b, "/items/"+item+"/undo", "row_version="+hidden(t, desk, "/items/"+item+"/undo")).want(303)
	has(w.get(b, undone.Header.Get("Location")).want(200), "1 Eintrag")
	w.Sync()
	has(w.get(b, "/suche?q=Carport").want(200), "1 Treffer", "<mark>Carport</mark>")
	has(w.get(b, "/suche").want(200), "Wörter, Aktenzeichen")

	stranger := w.signIn("d.meier")
	for _, path := range []string{"/dokumente/" + id, "/postkoerbe/" + w.Desk.String(), "/nothing"} {
		if a := w.get(stranger, path).want(404); strings.Contains(string(a.Body), "Carport") {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
	w.get(stranger, "/static/evb.css").want(200)
}

// hidden is the row version in the form with an action.
func hidden(t *testing.T, page answer, action string) string {
	t.Helper()
	_, form, ok := strings.Cut(string(page.Body), `action="`+action+`"`)
	_, value, ok2 := strings.Cut(form, `name="row_version" value="`)
	value, _, _ = strings.Cut(value, `"`)
	if !ok || !ok2 {
		t.Fatalf("no form %s on\n%s", action, page.Body)
	}
	return value
}
