package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// letter hands a text in and gives the id of its Dokument.
func (s *server) letter(token, metadata, text string) string {
	s.t.Helper()
	return s.submitFile(token, metadata, "brief.txt", "text/plain", text)
}

// submitFile hands a file in and gives the id of its Dokument.
func (s *server) submitFile(token, metadata, name, media, content string) string {
	s.t.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for _, p := range []struct{ disposition, media, content string }{
		{`form-data; name="metadata"`, "application/json", metadata}, {fmt.Sprintf(`form-data; name="file"; filename=%q`, name), media, content},
	} {
		w, err := m.CreatePart(textproto.MIMEHeader{"Content-Disposition": {p.disposition}, "Content-Type": {p.media}})
		if err == nil {
			_, err = w.Write([]byte(p.content))
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	_ = m.Close()
	status, b, err := s.send(token, "POST", "/api/v1/dokumente", body.Bytes(), map[string]string{"Content-Type": m.FormDataContentType()})
	var receipt struct{ ID string }
	if err != nil || status != 201 || json.Unmarshal(b, &receipt) != nil {
		s.t.Fatalf("letter: %d %s %v", status, b, err)
	}
	return receipt.ID
}

// lies waits until the letter has been placed, and gives where and why.
func (s *server) lies(token, dokument string) (postkorb, assignee, why string) {
	s.t.Helper()
	var page struct {
		Items []struct {
			ID       string `json:"id"`
			Postkorb string `json:"postkorb"`
			Assignee string `json:"assignee"`
		}
	}
	eventually(s.t, "a letter in a Postkorb", func() bool {
		s.call(token, "GET", "/api/v1/dokumente/"+dokument+"/items", nil, nil, &page)
		return len(page.Items) > 0
	})
	var w struct {
		Text struct{ DE string } `json:"text"`
	}
	s.call(token, "GET", "/api/v1/items/"+page.Items[0].ID+"/why", nil, nil, &w)
	return page.Items[0].Postkorb, page.Items[0].Assignee, w.Text.DE
}

// The city's own example of level 3, then a rule set of two persons: drafted,
// checked and rehearsed by the commands, activated, and taken back.
func TestRulesPlaceLettersInTheDemoCity(t *testing.T) {
	s := start(t, binary(t), dataFolder(t))
	author, second, program, all := s.token("g.roth"), s.token("h.lang"), s.token("fv-bau"), s.token("h.lang")
	office := func(name, subject, body string) string {
		return "Erika Mustermann\nHauptstraße 12\n44135 Dortmund\n\nStadt Dortmund\n" + name + "\nFriedensplatz 1\n44135 Dortmund\n\nDortmund, 03.02.2025\n\n" + subject + "\n\nSehr geehrte Damen und Herren,\n\n" + body + "\n\nMit freundlichen Grüßen\nErika Mustermann\n"
	}
	complaint := s.letter(program, `{}`, office("Umweltamt", "Beschwerde wegen Lärm", "die Lärmbelästigung ist nicht auszuhalten."))
	if box, _, why := s.lies(all, complaint); box != "FB60-Umweltbeschwerden" || !strings.Contains(why, "beschwerde-an-leitung") || !strings.Contains(why, "„Beschwerde“") {
		t.Errorf("complaint: %s, %s", box, why)
	}
	var meant struct{ Total int }
	s.call(s.token("j.keller"), "GET", "/api/v1/dokumente/"+complaint, nil, nil, nil)
	s.call(second, "GET", "/api/v1/rules", nil, nil, &meant)
	if meant.Total != 4 { // those that the demo begins with
		t.Errorf("%d rule sets in force", meant.Total)
	}
	question := s.letter(program, `{}`, office("Oberbürgermeister", "Frage", "wann öffnet das Freibad?"))
	if box, _, why := s.lies(all, question); box != "Klaerung" {
		t.Errorf("question: %s, %s", box, why)
	}

	set := `{"name": "Bäder", "unit": null, "rules": [
		{"id": "freibad", "order": 1, "when": "doc.text.hasAnyWords(['Freibad', 'Hallenbad'])", "target": {"postkorb": "FB33-Parkausweise"}, "reason": "Bürgerdienste betreuen die Bäder"},
		{"id": "rundlauf", "order": 2, "when": "doc.subject.contains('Rundschreiben')", "target": {"circulation": {"steps": [{"to": {"user": "c.yilmaz"}, "instruction": "z. K."}]}}, "reason": "Laufweg"}]}`
	file := filepath.Join(t.TempDir(), "baeder.json")
	if err := os.WriteFile(file, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := s.evb("rules", "check", file, "--server", s.url, "--token", author, "--json"); code != 0 {
		t.Fatalf("check: %d %s", code, out)
	}
	var draft struct{ ID, State string }
	if status := s.call(author, "POST", "/api/v1/rules/drafts", json.RawMessage(set), nil, &draft); status != 201 {
		t.Fatal(status)
	}
	path := "/api/v1/rules/drafts/" + draft.ID
	s.call(author, "POST", path+"/check", nil, nil, &draft)
	code, out := s.evb("rules", "rehearse", "--draft", draft.ID, "--since", "2020-01-01", "--server", s.url, "--token", author, "--json")
	var r struct {
		Documents int
		PerTarget map[string]int `json:"per_target"`
		Changed   []struct {
			Dokument string `json:"dokument_id"`
			From, To string
			Rule     string
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || len(r.Changed) != 1 || r.Changed[0].Dokument != question || r.Changed[0].From != "Klaerung" || r.Changed[0].Rule != "freibad" {
		t.Errorf("rehearse: %d %v %s", code, err, out)
	}
	if status, b, _ := s.send(author, "POST", path+"/activate", nil, nil); status != 403 || !bytes.Contains(b, []byte("second-person-needed")) {
		t.Errorf("own draft: %d %s", status, b)
	}
	if status := s.call(second, "POST", path+"/activate", nil, nil, &draft); status != 200 || draft.State != "active" {
		t.Errorf("activate: %d %s", status, draft.State)
	}
	next := s.letter(program, `{}`, office("Oberbürgermeister", "Frage", "wann öffnet das Hallenbad?"))
	if box, _, why := s.lies(all, next); box != "FB33-Parkausweise" || !strings.Contains(why, "Regel „freibad“ aus „Bäder“ (Fassung 1): „Hallenbad“") {
		t.Errorf("after: %s, %s", box, why)
	}
	circular := s.letter(program, `{}`, office("Oberbürgermeister", "Rundschreiben zur Winterzeit", "bitte beachten."))
	if box, _, _ := s.lies(all, circular); box != "Cem Yilmaz" {
		t.Errorf("circular: %s", box)
	}
	if box, _, _ := s.lies(all, question); box != "Klaerung" {
		t.Errorf("delivered mail moved: %s", box)
	}
	if status := s.call(second, "POST", fmt.Sprintf("/api/v1/rules/%s/retire", "B%C3%A4der"), map[string]string{"reason": "zurück"}, nil, nil); status != 200 {
		t.Errorf("retire: %d", status)
	}
	last := s.letter(program, `{}`, office("Oberbürgermeister", "Frage", "wann öffnet das Freibad am Sonntag?"))
	if box, _, why := s.lies(all, last); box != "Klaerung" {
		t.Errorf("after the end: %s, %s", box, why)
	}
}
