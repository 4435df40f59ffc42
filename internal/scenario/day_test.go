package scenario_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evb/internal/client"
	"evb/internal/sharedtest"
)

// A day of the city (users-and-scenarios.md, section 4), from the evening before to
// the books of the scan shift.
func TestADay(t *testing.T) {
	c := newCity(t)
	// The evening before: something waits for tomorrow.
	waits := c.letter("fv-bau", object{}, to(benefits, "Wohngeld, Frist morgen", "bitte.")...)
	c.post("d.meier", c.item("d.meier", "FB64-Wohngeld", waits)+"/follow-up", object{"due_on": "2026-11-25", "reason": "Antwort des Vermieters?"})
	c.until("2026-11-25 05:30")
	if n := len(c.on("d.meier", "FB64-Wohngeld", waits, "open")); n != 0 {
		t.Errorf("%d items before six", n)
	}

	// 06:00: it is back, with its reason.
	c.until("2026-11-25 06:00")
	c.eventually("the follow-up of today", func() bool { return len(c.on("d.meier", "FB64-Wohngeld", waits, "open")) == 1 })
	if i := c.on("d.meier", "FB64-Wohngeld", waits, "open")[0]; !strings.Contains(fmt.Sprint(i["follow_up_reason"]), "Antwort des Vermieters?") {
		t.Errorf("why it is back: %v", i)
	}

	// 07:00: a batch is scanned, split, read and delivered; the rest goes to clearing.
	c.until("2026-11-25 07:00")
	book := c.scan("rechnungen-1", "morgens", nil)
	if book.State != "balanced" {
		t.Fatalf("%+v", book)
	}
	var invoice string
	for _, d := range c.list("h.lang", "/dokumente?limit=200") {
		if d["batch_id"] == "morgens" {
			invoice = d["id"].(string)
			c.routed(invoice)
		}
	}
	c.item("l.novak", "FB21-Rechnungseingang", invoice)
	party := c.letter("e.wolf", object{}, to("", "Einladung zum Sommerfest", "wir laden Sie herzlich ein.")...)
	c.post("g.roth", c.item("g.roth", "Klaerung", party)+"/forward", object{"postkorb": "FB33-Parkausweise", "reason": "zur Kenntnis"})

	// 08:00: the clerk opens the desk: files, answers, forwards, circulates.
	c.until("2026-11-25 08:00")
	i := c.item("d.meier", "FB64-Wohngeld", waits)
	c.post("d.meier", i+"/open", object{})
	c.post("d.meier", i+"/claim", object{})
	vorgang := c.post("d.meier", "/dokumente/"+waits+"/file", object{"aktenzeichen": "64-WG-481204/26"})["vorgang_id"].(string)
	reply := c.letter("d.meier", object{"vorgang_id": vorgang, "subject": "Bescheid", "document_type": "Bescheid"}, "Bescheid: Das Wohngeld wird bewilligt.")
	route := c.post("d.meier", "/circulations", object{"dokument_id": reply, "steps": []object{
		{"to": object{"user": "t.baum"}, "kind": "co_sign", "parallel_group": 1},
		{"to": object{"function": "head", "unit": "FB64"}, "kind": "final_sign", "parallel_group": 2},
	}})["id"].(string)
	c.post("t.baum", "/circulations/"+route+"/steps/1/complete", object{"outcome": "agreed"})

	// 10:00: the registry opens a new Akte.
	c.until("2026-11-25 10:00")
	akte := c.post("g.roth", "/akten", object{"aktenplaneinheit": "33.10", "subject": "Parkausweis Neue Straße"})
	if n, _ := akte["aktenzeichen"].(string); !strings.HasPrefix(n, "33-BP-") || !strings.HasSuffix(n, "/26") {
		t.Errorf("%v", akte)
	}

	// Noon: the head signs off; the clerk ends the matter.
	c.until("2026-11-25 12:00")
	c.item("v.hansen", "Vera Hansen", reply)
	c.post("v.hansen", "/circulations/"+route+"/steps/2/complete", object{"outcome": "agreed"})
	c.post("d.meier", i+"/done", object{"remark": "bewilligt"})
	closed := c.post("d.meier", "/vorgaenge/"+vorgang+"/close", object{"reason": "bewilligt"})
	if closed["lifecycle"] != "closed" || closed["closed_on"] != "2026-11-25" || closed["retention_end"] != "2036-12-31" {
		t.Errorf("%v", closed)
	}

	// Afternoon: the shift closes its books; what does not balance stays open with a
	// reason until somebody answers for it.
	c.until("2026-11-25 15:30")
	short := c.scan("rechnungen-1", "nachmittags", func(index string) string {
		return strings.Replace(index, "</Stapel>", "<Dokument nr=\"2\"><Trennblatt>DO-RECHNUNGEN-1-002</Trennblatt><Seiten>1</Seiten><Eingangsdatum>2026-11-25</Eingangsdatum></Dokument></Stapel>", 1)
	})
	if short.State != "attention" {
		t.Errorf("%+v", short)
	}
	c.send("e.wolf", "POST", "/batches/"+short.ID+"/resolve", object{}).refused(422, "resolve-reason-missing")
	if b := c.post("e.wolf", "/batches/"+short.ID+"/resolve", object{"reason": "Blatt war doppelt gezählt"}); b["state"] != "balanced" && b["state"] != "resolved" {
		t.Errorf("%v", b["state"])
	}

	// The auditor reads all of it and changes nothing; the log holds.
	told := c.told("f.brandt", "/vorgaenge/"+vorgang) + c.told("f.brandt", "/dokumente/"+reply) + c.told("f.brandt", "/dokumente/"+waits)
	for _, want := range []string{"vorgang.closed|Doris Meier||bewilligt", "circulation.step_agreed|Tarek Baum", "circulation.final_signed|Vera Hansen", "dokument.filed|Doris Meier"} {
		if !strings.Contains(told, want) {
			t.Errorf("the record lacks %q:\n%s", want, told)
		}
	}
	c.send("f.brandt", "POST", "/akten", object{"aktenplaneinheit": "33.10", "subject": "x"}).refused(403, "forbidden")
	if v := c.get("f.brandt", "/audit/verify"); fmt.Sprint(v["valid"]) == "false" {
		t.Errorf("%v", v)
	}
}

// scan hands a batch of testdata/ways over under another name, by the client of
// `evb ingest`, and gives its book.
func (c *city) scan(name, as string, change func(index string) string) client.Book {
	c.t.Helper()
	box := c.t.TempDir()
	pdf := filepath.Join(box, as+".pdf")
	b, err := os.ReadFile(filepath.Join(sharedtest.Root(), "testdata", "ways", name+".pdf"))
	sharedtest.Must(c.t, err)
	sharedtest.Must(c.t, os.WriteFile(pdf, b, 0o600))
	raw, err := os.ReadFile(filepath.Join(sharedtest.Root(), "testdata", "ways", name+".index.xml"))
	sharedtest.Must(c.t, err)
	index := strings.Replace(strings.Replace(string(raw), `id="`+name, `id="`+as, 1), name+".pdf", as+".pdf", 1)
	if change != nil {
		index = change(index)
	}
	scanner, err := client.New(c.url, c.as("e.wolf"), client.Options{})
	sharedtest.Must(c.t, err)
	ctx := c.t.Context()
	book, err := scanner.CreateBatch(ctx, as, client.NewKey(), client.IndexFile{Name: as + ".index.xml", Bytes: []byte(index)})
	sharedtest.Must(c.t, err)
	sharedtest.Must(c.t, scanner.Upload(ctx, book.ID, as+".pdf", pdf, nil))
	_, err = scanner.Submit(ctx, book.ID, client.NewKey())
	sharedtest.Must(c.t, err)
	book, err = scanner.Settled(ctx, book.ID, nil)
	sharedtest.Must(c.t, err)
	return book
}
