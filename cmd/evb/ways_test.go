package main_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codeberg.org/go-pdf/fpdf"
)

// The five ways in which the city works, as they ship with the demo, each on
// letters that are scanned or printed, from intake to the end state, by the
// built program and HTTP alone.

// city is a running demo with the people of a test, signed in.
type city struct {
	*server
	tokens map[string]string
}

func (c *city) as(login string) string {
	c.t.Helper()
	if c.tokens[login] == "" {
		c.tokens[login] = c.token(login)
	}
	return c.tokens[login]
}

type object = map[string]any

func (c *city) get(login, path string) object {
	c.t.Helper()
	var out object
	c.call(c.as(login), "GET", "/api/v1"+path, nil, nil, &out)
	return out
}

func (c *city) list(login, path string) []object {
	c.t.Helper()
	var out struct{ Items []object }
	c.call(c.as(login), "GET", "/api/v1"+path, nil, nil, &out)
	return out.Items
}

// do is an act that must be done.
func (c *city) do(login, path string, body any) object {
	c.t.Helper()
	out := object{}
	c.call(c.as(login), "POST", "/api/v1"+path, body, header(), &out)
	return out
}

// refused is an act that must be refused with the code.
func (c *city) refused(login, path string, body any, code string) {
	c.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	h := header()
	h["Content-Type"] = "application/json"
	status, b, err := c.send(c.as(login), "POST", "/api/v1"+path, raw, h)
	var p struct{ Code string }
	if err != nil || json.Unmarshal(b, &p) != nil || status < 400 || p.Code != code {
		c.t.Errorf("%s as %s: %d %s, want %s", path, login, status, b, code)
	}
}

func header() map[string]string { return map[string]string{"If-Match": "*"} }

// batch hands a batch of testdata/ways over under another id and waits until its
// letters have been routed; the letters by position.
func (c *city) batch(name, as string) map[int]object {
	c.t.Helper()
	box := c.t.TempDir()
	for _, ext := range []string{".pdf", ".index.xml"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "ways", name+ext))
		if err != nil {
			c.t.Fatal(err)
		}
		if ext != ".pdf" {
			b = []byte(strings.Replace(strings.Replace(string(b), `id="`+name, `id="`+as, 1), name+".pdf", as+".pdf", 1))
		}
		if err := os.WriteFile(filepath.Join(box, as+ext), b, 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	if code, out := c.evb("ingest", "--server", c.url, "--token", c.as("e.wolf"), "--json", box); code != 0 || !strings.Contains(out, `"balanced"`) {
		c.t.Fatalf("ingest %s: %d %s", name, code, out)
	}
	out := map[int]object{}
	for _, d := range c.list("h.lang", "/dokumente?limit=200") {
		if d["batch_id"] == as {
			c.routed(d["id"].(string))
			out[int(d["position"].(float64))] = d
		}
	}
	return out
}

// routed waits until it is decided where a Dokument goes, and gives its history.
func (c *city) routed(dokument string) (history []object) {
	c.t.Helper()
	eventually(c.t, "a letter is routed", func() bool {
		history = c.list("h.lang", "/dokumente/"+dokument+"/history")
		return slices.ContainsFunc(history, func(h object) bool { return h["kind"] == "dokument.routed" })
	})
	return history
}

// lines are the lines of a history of a kind, as people read them.
func lines(history []object, kind string) (out []string) {
	for _, h := range history {
		if h["kind"] == kind {
			out = append(out, fmt.Sprintf("%v|%v|%v|%v", h["actor"], h["on_behalf_of"], h["reason"], h["text"].(object)["de"]))
		}
	}
	return out
}

// itemsOf are the items of a Dokument or Vorgang in the Postkorb of a person.
func (c *city) itemsOf(login, postkorb, record string) (out []object) {
	c.t.Helper()
	for _, p := range c.list(login, "/postkoerbe") {
		if p["name"] != postkorb {
			continue
		}
		for _, i := range c.list(login, "/postkoerbe/"+p["id"].(string)+"/items?limit=200") {
			if i["record_id"] == record {
				out = append(out, i)
			}
		}
	}
	return out
}

func (c *city) item(login, postkorb, record string) (item object) {
	c.t.Helper()
	eventually(c.t, record+" in "+postkorb, func() bool {
		if all := c.itemsOf(login, postkorb, record); len(all) == 1 {
			item = all[0]
		}
		return item != nil
	})
	return item
}

// print hands a letter in by the API, as a program does.
func (c *city) print(login string, metadata object, text ...string) string {
	c.t.Helper()
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.AddPage()
	pdf.SetFont("Helvetica", "", 11)
	pdf.MultiCell(0, 6, pdf.UnicodeTranslatorFromDescriptor("")(strings.Join(text, "\n")), "", "", false)
	var b strings.Builder
	if err := pdf.Output(&b); err != nil {
		c.t.Fatal(err)
	}
	raw, err := json.Marshal(metadata)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.submitFile(c.as(login), string(raw), "brief.pdf", "application/pdf", b.String())
}

// levelOne checks that a Dokument lies in an Akte and on no desk, is found, and
// that its package proves it.
func (c *city) levelOne(who, dokument, akte, word string) {
	c.t.Helper()
	c.routed(dokument)
	if d := c.get(who, "/dokumente/"+dokument); d["aktenzeichen"] != akte || d["state"] != "registered" {
		c.t.Errorf("%v in %v", d["state"], d["aktenzeichen"])
	}
	if items := c.list("h.lang", "/dokumente/"+dokument+"/items"); len(items) != 0 {
		c.t.Errorf("it lies on a desk: %v", items)
	}
	eventually(c.t, "it is found", func() bool {
		var page struct{ Items []object }
		c.call(c.as(who), "GET", "/api/v1/search?q="+url.QueryEscape(word), nil, nil, &page)
		return slices.ContainsFunc(page.Items, func(h object) bool { return h["dokument_id"] == dokument })
	})
}

// One city has all of them at once; each way can be run alone.
func TestTheFiveWaysOfTheCity(t *testing.T) {
	c := &city{server: start(t, binary(t), dataFolder(t)), tokens: map[string]string{}}
	for _, way := range []struct {
		name string
		test func(*testing.T, *city)
	}{
		{"print output is archived by reference number", testPrintOutput},
		{"late scanning goes straight to the protected Akte", testLateScanning},
		{"the mail of the housing benefit office is scanned early", testHousingBenefit},
		{"invoices are released with four eyes", testInvoices},
		{"a trade registration comes from the portal", testRegistration}, // kills the server: the last one
	} {
		t.Run(way.name, func(t *testing.T) {
			c.t = t
			way.test(t, c)
		})
		c.t = t
	}
}

// (a) Level 1: the business application archives what it printed by reference
// number. Up to level 2 and back: the Akte stays as it is.
func testPrintOutput(t *testing.T, c *city) {
	const akte = "61/5-BA-340207/26"
	text := []string{"Stadt Dortmund", "Stadtplanungs- und Bauordnungsamt", "", "Baugenehmigung, Aktenzeichen " + akte, "", "Die Garage Kirchhörder Straße wird genehmigt."}
	first := c.print("fv-bau", object{"document_type": "Druckausgabe", "aktenzeichen": akte, "subject": "Baugenehmigung"}, text...)
	c.levelOne("a.schulz", first, akte, "Kirchhörder")
	if got := strings.Join(lines(c.routed(first), "dokument.routed"), " "); !strings.Contains(got, "druckausgabe-zur-akte") {
		t.Errorf("why it lies there: %s", got)
	}
	// By the id of its Vorgang it is there with the answer.
	vorgang := c.get("fv-bau", "/dokumente/"+first)["vorgang_id"].(string)
	second := c.print("fv-bau", object{"document_type": "Druckausgabe", "vorgang_id": vorgang, "subject": "Gebührenbescheid"}, "Gebührenbescheid über 210 Euro")
	c.levelOne("a.schulz", second, akte, "Gebührenbescheid")
	// A number without an Akte is for people.
	unknown := c.print("fv-bau", object{"document_type": "Druckausgabe", "aktenzeichen": "61/5-BA-999999/26"}, "Bescheid")
	c.item("a.schulz", "FB61-Bauordnung", unknown)

	files := c.list("h.lang", "/vorgaenge/"+vorgang+"/dokumente")
	c.do("c.yilmaz", "/rules/FB61-Druckausgaben/retire", object{"reason": "Wir sehen uns die Ausgaben wieder selbst an."})
	third := c.print("fv-bau", object{"document_type": "Druckausgabe", "aktenzeichen": akte, "subject": "Nachtrag"}, "Nachtrag zur Baugenehmigung")
	c.item("a.schulz", "FB61-Bauordnung", third)
	if now := c.list("h.lang", "/vorgaenge/"+vorgang+"/dokumente"); fmt.Sprint(now) != fmt.Sprint(files) {
		t.Errorf("the Vorgang changed with the level:\n%v\n%v", files, now)
	}
	c.do("c.yilmaz", "/rules/FB61-Druckausgaben/rollback", object{"reason": "Es hat sich bewährt."})
	fourth := c.print("fv-bau", object{"document_type": "Druckausgabe", "aktenzeichen": akte, "subject": "Abnahme"}, "Abnahmeschein")
	c.levelOne("a.schulz", fourth, akte, "Abnahmeschein")

	if code, _ := c.evb("seal", "now", "--data", c.data); code != 0 {
		t.Fatal("seal now")
	}
	pack := filepath.Join(t.TempDir(), "paket")
	if code, _ := c.evb("export", "--server", c.url, "--token", c.as("h.lang"), "--dokument", first, "--out", pack, "--seal"); code != 0 {
		t.Fatal("export")
	}
	if code, out := c.evb("verify", pack, "--trust", filepath.Join(c.data, "tsa-ca.pem"), "--json"); code != 0 {
		t.Errorf("verify: %d %s", code, out)
	}
}

// (b) Level 1: the mail of the Beihilfe is scanned when it is done with, and only
// who is named sees it.
func testLateScanning(t *testing.T, c *city) {
	letters := c.batch("beihilfe-1", "beihilfe-1")
	for n, akte := range map[int]string{1: "11-BH-000126/24", 2: "11-BH-000308/26"} {
		id := letters[n]["id"].(string)
		c.levelOne("w.sander", id, akte, map[int]string{1: "zahnärztliche", 2: "Tewes"}[n])
		for _, other := range []string{"a.schulz", "g.roth", "e.wolf"} { // another office, the registry, who scanned it
			if status := c.call(c.as(other), "GET", "/api/v1/dokumente/"+id, nil, nil, nil); status != 404 {
				t.Errorf("%s gets %d", other, status)
			}
			if hits := c.list(other, "/search?q=Beihilfe"); len(hits) != 0 {
				t.Errorf("%s finds %v", other, hits)
			}
		}
	}
	if len(letters) != 2 {
		t.Fatalf("%d letters", len(letters))
	}
	// The end of the matter: closed, with its term.
	d := c.get("w.sander", "/dokumente/"+letters[1]["id"].(string))
	v := c.do("w.sander", "/vorgaenge/"+d["vorgang_id"].(string)+"/close", object{"reason": "Beihilfe gewährt"})
	if v["lifecycle"] != "closed" || v["retention_end"] == nil {
		t.Errorf("%v", v)
	}
}

// (c) Levels 2 and 3: by hand first, then by the rules that the office had ready,
// then by hand again.
func testHousingBenefit(t *testing.T, c *city) {
	const box = "FB64-Wohngeld"
	byHand := c.batch("wohngeld-1", "wohngeld-1")
	for n := range 4 {
		c.item("d.meier", box, byHand[n+1]["id"].(string))
	}
	// Level 2: the clerk takes one, hands another to the head, files a third.
	application, complaint, filed := byHand[1]["id"].(string), byHand[2]["id"].(string), byHand[4]["id"].(string)
	mine := c.item("d.meier", box, application)
	c.do("d.meier", "/items/"+mine["id"].(string)+"/claim", object{})
	c.refused("t.baum", "/items/"+mine["id"].(string)+"/claim", object{}, "item-taken")
	c.do("d.meier", "/items/"+c.item("d.meier", box, complaint)["id"].(string)+"/forward", object{"user": "v.hansen", "reason": "Beschwerde"})
	up := c.item("v.hansen", "Vera Hansen", complaint)
	why := c.get("v.hansen", "/items/"+up["id"].(string)+"/why")
	if steps := why["steps"].([]any); len(steps) != 2 || !strings.Contains(fmt.Sprint(why["text"]), "Doris Meier") {
		t.Errorf("why: %v", why)
	}
	c.do("d.meier", "/dokumente/"+filed+"/file", object{"aktenzeichen": "64-WG-481204/26"})
	c.do("d.meier", "/items/"+c.item("d.meier", box, filed)["id"].(string)+"/done", object{})
	akte := c.list("d.meier", "/akten?aktenzeichen="+url.QueryEscape("64-WG-481204/26"))[0]

	// Level 3: a second person puts the office's draft in force.
	var draft string
	for _, d := range c.list("v.hansen", "/rules/drafts") {
		if d["name"] == "FB64-Wohngeld" {
			draft = d["id"].(string)
		}
	}
	c.refused("v.hansen", "/rules/drafts/"+draft+"/activate", nil, "second-person-needed")
	rehearsal := c.do("v.hansen", "/rules/drafts/"+draft+"/rehearse", object{"since": "2020-01-01"})
	if per := rehearsal["per_target"].(object); per["FB64-Klaerung"] == nil {
		t.Errorf("rehearsal: %v", per)
	}
	c.do("h.lang", "/rules/drafts/"+draft+"/activate", nil)
	byRule := c.batch("wohngeld-1", "wohngeld-2")
	for n, want := range map[int]struct{ who, box, assignee, rule string }{
		1: {"d.meier", box, "Doris Meier", "antrag-an-sachbearbeitung"}, 2: {"v.hansen", box, "Vera Hansen", "beschwerde-an-leitung"},
		3: {"t.baum", "FB64-Klaerung", "", "uebriges-zur-klaerung"}, 4: {"t.baum", box, "", "zur-akte-an-alle"},
	} {
		i := c.item(want.who, want.box, byRule[n]["id"].(string))
		if i["assignee"] != want.assignee || !strings.Contains(fmt.Sprint(i["why_text"]), want.rule) {
			t.Errorf("letter %d: for %q, %v", n, i["assignee"], i["why_text"])
		}
	}
	if status := c.call(c.as("t.baum"), "GET", "/api/v1/dokumente/"+byRule[2]["id"].(string), nil, nil, nil); status != 404 {
		t.Errorf("a clerk opens the complaint to the head: %d", status)
	}
	// What had been delivered stays; nor does the Akte change with the level.
	c.item("v.hansen", "Vera Hansen", complaint)
	if now := c.list("d.meier", "/akten?aktenzeichen="+url.QueryEscape("64-WG-481204/26"))[0]; fmt.Sprint(now) != fmt.Sprint(akte) {
		t.Errorf("the Akte changed with the level:\n%v\n%v", akte, now)
	}
	// The clerk files the application to a new Akte, the matter ends.
	made := c.do("d.meier", "/akten", object{"aktenplaneinheit": "64.10", "subject": "Wohngeld Piechota"})
	d := c.do("d.meier", "/dokumente/"+byRule[1]["id"].(string)+"/file", object{"aktenzeichen": made["aktenzeichen"]})
	c.do("d.meier", "/items/"+c.item("d.meier", box, byRule[1]["id"].(string))["id"].(string)+"/done", object{"remark": "bewilligt"})
	if v := c.do("d.meier", "/vorgaenge/"+d["vorgang_id"].(string)+"/close", object{"reason": "bewilligt"}); v["lifecycle"] != "closed" {
		t.Errorf("%v", v)
	}
	// Back to level 2.
	c.do("v.hansen", "/rules/FB64-Wohngeld/retire", object{"reason": "zu viele Rückfragen"})
	again := c.batch("wohngeld-1", "wohngeld-3")
	for n := range 4 {
		if i := c.item("t.baum", box, again[n+1]["id"].(string)); i["assignee"] != "" {
			t.Errorf("letter %d is for %v", n+1, i["assignee"])
		}
	}
}

// station waits until an instance of a Vorgang stands at an element.
func (c *city) station(login, vorgang, element string) (step object) {
	c.t.Helper()
	var last any
	eventually(c.t, "the process is at "+element, func() bool {
		for _, i := range c.list(login, "/vorgaenge/"+vorgang+"/process-instances") {
			last = i
			for _, s := range i["steps"].([]any) {
				if s := s.(object); s["element"] == element {
					step = s
				}
			}
		}
		return step != nil || c.t.Context().Err() != nil
	})
	if step == nil {
		c.t.Fatalf("%v", last)
	}
	return step
}

func (c *city) completePath(step object) string {
	return fmt.Sprintf("/circulations/%v/steps/%v/complete", step["circulation_id"], step["step"])
}

func (c *city) ended(login, vorgang, outcome string) object {
	c.t.Helper()
	var i object
	eventually(c.t, "the process has ended", func() bool {
		i = c.list(login, "/vorgaenge/"+vorgang+"/process-instances")[0]
		return i["state"] == "done"
	})
	if i["outcome"] != outcome {
		c.t.Errorf("outcome %v, want %s", i["outcome"], outcome)
	}
	if v := c.get(login, "/vorgaenge/"+vorgang); v["lifecycle"] != "closed" || v["closed_on"] == nil {
		c.t.Errorf("the Vorgang: %v", v)
	}
	return i
}

// (d) Levels 3 and 4: invoices captured, checked, countersigned, released by
// amount with four eyes, handed to accounting.
func testInvoices(t *testing.T, c *city) {
	// Captured by the program of the e-invoices: the rule starts the process.
	vorgang := c.invoice("RE-2026-100", 842.16)
	data := object{"rechnungsnummer": "RE-2026-100", "lieferant": "Bürobedarf Lund", "betrag": 842.16}
	c.item("p.lindner", "FB21-Rechnungseingang", vorgang)
	check := c.completePath(c.station("l.novak", vorgang, "Erfassen"))
	c.refused("l.novak", check, object{"outcome": "agreed", "data": object{"betrag": -1}}, "process-data-invalid")
	c.do("l.novak", check, object{"outcome": "agreed", "data": data})
	second := c.completePath(c.station("l.novak", vorgang, "Mitzeichnen"))
	c.refused("l.novak", second, object{"outcome": "agreed"}, "already-signed") // not the same person twice
	c.do("p.lindner", second, object{"outcome": "agreed"})
	release := c.completePath(c.station("m.thiele", vorgang, "Freigeben"))
	c.refused("p.lindner", release, object{"outcome": "agreed"}, "item-not-yours")
	c.do("m.thiele", release, object{"outcome": "agreed"})
	if i := c.ended("l.novak", vorgang, "Gebucht"); i["variables"].(object)["buchungsnummer"] == nil {
		t.Errorf("not booked: %v", i["variables"])
	}

	// What is not right goes back, with the reason.
	bad := c.invoice("RE-2026-101", 75)
	c.do("l.novak", c.completePath(c.station("l.novak", bad, "Erfassen")), object{"outcome": "agreed", "data": object{"rechnungsnummer": "RE-2026-101", "lieferant": "Lund", "betrag": 75}})
	c.refused("p.lindner", c.completePath(c.station("p.lindner", bad, "Mitzeichnen")), object{"outcome": "refused"}, "reason-needed")
	c.do("p.lindner", c.completePath(c.station("p.lindner", bad, "Mitzeichnen")), object{"outcome": "refused", "remark": "nicht geliefert"})
	c.do("l.novak", c.completePath(c.station("l.novak", bad, "Zurueckgeben")), object{"outcome": "done", "remark": "dem Lieferanten geschrieben"})
	c.ended("l.novak", bad, "Zurueckgegeben")

	// Scanned ones are on the desk of the office, until the office takes the step
	// that it has ready.
	byHand := c.batch("rechnungen-1", "rechnungen-1")[1]["id"].(string)
	c.item("l.novak", "FB21-Rechnungseingang", byHand)
	for _, d := range c.list("m.thiele", "/rules/drafts") {
		if d["name"] == "FB21-Rechnungen" {
			c.do("h.lang", "/rules/drafts/"+d["id"].(string)+"/activate", nil)
		}
	}
	scanned := c.batch("rechnungen-1", "rechnungen-2")[1]["id"].(string)
	if items := c.list("h.lang", "/dokumente/"+scanned+"/items"); len(items) != 0 {
		t.Errorf("it lies on a desk besides: %v", items)
	}
	large := c.get("l.novak", "/dokumente/"+scanned)["vorgang_id"].(string)
	c.do("l.novak", c.completePath(c.station("l.novak", large, "Erfassen")), object{"outcome": "agreed", "data": object{"rechnungsnummer": "RE-2026-51120", "lieferant": "Gerüstbau Windhövel GmbH", "betrag": 12431}})
	c.do("p.lindner", c.completePath(c.station("p.lindner", large, "Mitzeichnen")), object{"outcome": "agreed"})
	c.do("m.thiele", c.completePath(c.station("m.thiele", large, "ErsteFreigabe")), object{"outcome": "agreed"})
	// Above the limit a second person releases, here her deputy, who sees what it is.
	final := c.completePath(c.station("m.thiele", large, "ZweiteFreigabe"))
	c.refused("m.thiele", final, object{"outcome": "agreed"}, "item-not-yours")
	c.item("s.ludwig", "Katja Winter", large)
	var content []byte
	c.call(c.as("s.ludwig"), "GET", "/api/v1/dokumente/"+scanned+"/content", nil, nil, &content)
	c.do("s.ludwig", final, object{"outcome": "agreed"})
	number := c.ended("l.novak", large, "Gebucht")["variables"].(object)["buchungsnummer"]
	booked, err := filepath.Glob(filepath.Join(c.data, "kasse", "????????-*.json"))
	if err != nil || len(booked) != 2 {
		t.Errorf("%d bookings (%v)", len(booked), err)
	}
	if !slices.ContainsFunc(booked, func(name string) bool {
		var b struct{ Buchungsnummer any }
		readJSON(t, name, &b)
		return b.Buchungsnummer == number
	}) {
		t.Errorf("booking %v is not with accounting", number)
	}
	// The record says who had it, when, why, and for whom.
	history := append(c.list("l.novak", "/vorgaenge/"+large+"/history"), c.list("l.novak", "/dokumente/"+scanned+"/history")...)
	agreed := strings.Join(lines(history, "circulation.step_agreed"), "\n")
	for _, want := range []string{"Lena Novak||", "Paula Lindner||", "Martin Thiele||"} {
		if !strings.Contains(agreed, want) {
			t.Errorf("the history lacks %s:\n%s", want, agreed)
		}
	}
	if all := fmt.Sprint(history); !strings.Contains(all, "Sven Ludwig") || !strings.Contains(all, "Katja Winter") {
		t.Errorf("the history lacks deputy or absent person:\n%v", history)
	}
	if d := c.get("l.novak", "/dokumente/"+scanned); d["state"] != "filed" {
		t.Errorf("%v", d["state"])
	}
}

// invoice hands a captured invoice in and gives its Vorgang.
func (c *city) invoice(number string, amount float64) string {
	c.t.Helper()
	id := c.print("erechnung", object{"document_type": "Rechnung", "subject": "Rechnung " + number, "data": object{"betrag": amount, "rechnungsnummer": number, "lieferant": "Bürobedarf Lund"}},
		"Bürobedarf Lund", "Rechnung Nr. "+number, fmt.Sprintf("Rechnungsbetrag %.2f Euro", amount))
	c.routed(id)
	v, ok := c.get("l.novak", "/dokumente/"+id)["vorgang_id"].(string)
	if !ok {
		c.t.Fatalf("no process: %q", lines(c.routed(id), "dokument.routed"))
	}
	return v
}

// (e) Level 4: a trade registration comes from the portal by the API.
func testRegistration(t *testing.T, c *city) {
	akte := c.do("portal", "/akten", object{"aktenplaneinheit": "32.10", "subject": "Gewerbe Eiswagen Phoenixsee"})
	v := c.do("portal", "/akten/"+akte["id"].(string)+"/vorgaenge", object{"subject": "Gewerbeanmeldung Eiswagen"})
	vorgang := v["id"].(string)
	d := c.print("portal", object{"document_type": "Gewerbeanmeldung", "vorgang_id": vorgang, "subject": "Gewerbeanmeldung", "data": object{"portal_id": "P-4711"}},
		"Gewerbe-Anmeldung nach § 14 GewO", "Angemeldete Tätigkeit: Verkauf von Speiseeis", "Datum des Beginns: 01.12.2026")
	var process string
	for _, p := range c.list("portal", "/processes") {
		if p["key"] == "Gewerbemeldung" {
			process = p["id"].(string)
		}
	}
	c.do("portal", "/processes/"+process+"/instances", object{"vorgang_id": vorgang, "variables": object{"portal_id": "P-4711"}})
	// The office finds it on its desk, not complete, and asks for more.
	c.item("g.roth", "FB32-Gewerbemeldungen", vorgang)
	if items := c.list("h.lang", "/dokumente/"+d+"/items"); len(items) != 0 {
		t.Errorf("the Dokument lies on a desk of its own: %v", items)
	}
	c.refused("portal", c.completePath(c.station("portal", vorgang, "Pruefen")), object{"outcome": "done", "data": object{"vollstaendig": true}}, "item-not-yours")
	c.do("g.roth", c.completePath(c.station("g.roth", vorgang, "Pruefen")), object{"outcome": "done", "data": object{"vollstaendig": false, "bemerkung": "Reisegewerbekarte fehlt"}})
	c.do("g.roth", c.completePath(c.station("g.roth", vorgang, "Nachfordern")), object{"outcome": "done", "remark": "Reisegewerbekarte nachgefordert"})
	if s := c.station("portal", vorgang, "Warten"); s["due_at"] == nil || s["waits"] != "event" {
		t.Errorf("%v", s)
	}
	if items := c.itemsOf("g.roth", "FB32-Gewerbemeldungen", vorgang); len(items) != 0 {
		t.Errorf("while it waits it lies on a desk: %v", items)
	}
	// The wait outlives the program; the paper comes, and the process goes on by itself.
	before := c.shipped()
	c.kill()
	c.server = start(t, c.bin, c.data)
	if after := c.shipped(); after != before {
		t.Errorf("a second start changed what the demo ships:\n%s\n%s", before, after)
	}
	c.print("portal", object{"document_type": "Nachweis", "vorgang_id": vorgang, "subject": "Reisegewerbekarte"}, "Reisegewerbekarte Nr. 88")
	c.do("g.roth", c.completePath(c.station("g.roth", vorgang, "Pruefen")), object{"outcome": "done", "data": object{"vollstaendig": true}})
	c.do("g.roth", c.completePath(c.station("g.roth", vorgang, "Bescheinigen")), object{"outcome": "done", "remark": "Gewerbeschein versandt"})
	c.ended("portal", vorgang, "Bescheinigt")
	history := c.list("portal", "/vorgaenge/"+vorgang+"/history")
	for _, kind := range []string{"vorgang.created", "process.started", "circulation.step_done", "process.ended", "vorgang.closed"} {
		if !slices.ContainsFunc(history, func(h object) bool { return h["kind"] == kind }) {
			t.Errorf("the history lacks %s", kind)
		}
	}
}

// shipped is what the demo brings, with ids: a second start finds all of it.
func (c *city) shipped() string {
	c.t.Helper()
	var b strings.Builder
	for _, path := range []string{"/processes", "/rules", "/rules/drafts", "/rules/FB21-Rechnungen/versions", "/substitutions?all=true", "/postkoerbe", "/users?limit=200"} {
		for _, x := range c.list("h.lang", path) {
			activation, _ := x["activation"].(object)
			fmt.Fprintln(&b, path, x["id"], x["name"], x["state"], activation["id"])
		}
	}
	return b.String()
}
