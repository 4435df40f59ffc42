package routing_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/routing"
	fold "evb/internal/words"
)

func id(n byte) uuid.UUID { return uuid.UUID{15: n} }

// tables are CityRules with one desk for each Postkorb; unit n has number n.
func tables() routing.Tables {
	t := routing.Tables{Rules: routing.CityRules(), Desks: map[string]routing.Desk{}, OfUnit: map[uuid.UUID]routing.Desk{},
		Clearing: routing.Desk{ID: id(99), Name: "Klaerung"}}
	t.Rules.Version = 7
	n := byte(0)
	for _, p := range t.Rules.Phrases {
		if _, ok := t.Desks[p.Postkorb]; !ok {
			n++
			d := routing.Desk{ID: id(n + 100), Name: p.Postkorb, Unit: id(n), Head: id(n + 200)}
			t.Desks[p.Postkorb] = d
			t.OfUnit[d.Unit] = d
		}
	}
	return t
}

func words(receiver, title, body string) routing.Words {
	return routing.Words{routing.Receiver: fold.Fold(receiver), routing.Title: fold.Fold(title), routing.Body: fold.Fold(title + "\n" + body)}
}

func TestWhatDecides(t *testing.T) {
	tab := tables()
	unit := func(box string) uuid.UUID { return tab.Desks[box].Unit }
	known := func(box string) akte.Number {
		return akte.Number{State: akte.Known, Aktenzeichen: "K-" + box, UnitID: unit(box), UnitCode: box[:4]}
	}
	unknown := func(box string) akte.Number {
		n := known(box)
		n.State, n.Aktenzeichen = akte.AkteUnknown, "U-"+box
		return n
	}
	const bau, wohn, recht = "FB61-Bauordnung", "FB64-Wohngeld", "FB30-Rechtsamt"
	ptr := func(n akte.Number) *akte.Number { return &n }
	text := func(n akte.Number, s routing.Standing) routing.TextNumber {
		return routing.TextNumber{Number: n, Standing: s}
	}
	broken := func(box string, ocr bool) routing.BrokenNumber {
		return routing.BrokenNumber{Written: "61/5-BA-33820/24", Unit: unit(box), UnitCode: box[:4], Standing: routing.InSubject, OCR: ocr}
	}
	cases := []struct {
		name      string
		f         routing.Facts
		box, code string
	}{
		{"filed", routing.Facts{Vorgang: id(5), Index: ptr(known(bau))}, "", "why-filed"},
		{"failed", routing.Facts{Failed: "file-damaged", Index: ptr(known(bau))}, "Klaerung", "why-extraction-failed"},
		{"index before text", routing.Facts{Index: ptr(known(bau)), Numbers: []routing.TextNumber{text(known(wohn), routing.InSubject)}}, bau, "why-index-number"},
		{"index, no Akte", routing.Facts{Index: ptr(unknown(bau))}, bau, "why-akte-unknown"},
		{"index malformed", routing.Facts{Index: ptr(akte.Number{State: akte.Malformed, Written: "61-5"}), Words: words("Bauordnungsamt", "Bauantrag", "")}, "Klaerung", "why-number-malformed"},
		{"index of no unit", routing.Facts{Index: ptr(akte.Number{State: akte.UnknownUnit, Written: "99-X-1/24"})}, "Klaerung", "why-number-unknown-unit"},
		{"index of a unit without Postkorb", routing.Facts{Index: ptr(akte.Number{State: akte.Known, UnitID: id(77)})}, "Klaerung", "why-unit-without-postkorb"},
		{"bar code before text", routing.Facts{Barcodes: []akte.Number{known(bau)}, Numbers: []routing.TextNumber{text(known(wohn), routing.InSubject)}}, bau, "why-barcode-number"},
		{"bar codes of two units", routing.Facts{Barcodes: []akte.Number{known(bau), unknown(wohn)}}, "Klaerung", "why-numbers-contradict"},
		{"subject before body", routing.Facts{Numbers: []routing.TextNumber{text(known(wohn), routing.InBody), text(unknown(bau), routing.InSubject)}}, bau, "why-akte-unknown"},
		{"an Akte before none", routing.Facts{Numbers: []routing.TextNumber{text(unknown(bau), routing.InSubject), text(known(bau), routing.InSubject)}}, bau, "why-text-number"},
		{"two units in the subject", routing.Facts{Numbers: []routing.TextNumber{text(known(bau), routing.InSubject), text(known(wohn), routing.InSubject)}}, "Klaerung", "why-numbers-contradict"},
		{"two units in the body", routing.Facts{Numbers: []routing.TextNumber{text(known(bau), routing.InBody), text(known(wohn), routing.InBody)}, Words: words("Bauordnungsamt", "Bauantrag", "")}, "Klaerung", "why-numbers-contradict"},
		{"body against receiver", routing.Facts{Numbers: []routing.TextNumber{text(known(bau), routing.InBody)}, Words: words("Amt für Wohnen, Wohngeldstelle", "Antrag auf Wohngeld", "")}, "Klaerung", "why-number-against-words"},
		{"body without receiver", routing.Facts{Numbers: []routing.TextNumber{text(known(bau), routing.InBody)}}, bau, "why-text-number"},
		{"readable and unreadable of two units", routing.Facts{Numbers: []routing.TextNumber{text(known(wohn), routing.InSubject)}, Broken: []routing.BrokenNumber{broken(bau, true)}}, "Klaerung", "why-number-malformed"},
		{"unreadable, receiver agrees", routing.Facts{Broken: []routing.BrokenNumber{broken(bau, true)}, Words: words("Stadtplanungs- und Bauordnungsamt", "", "")}, bau, "why-number-unreadable"},
		{"unreadable, nothing else", routing.Facts{Broken: []routing.BrokenNumber{broken(bau, true)}}, "Klaerung", "why-number-malformed"},
		{"unreadable, receiver differs", routing.Facts{Broken: []routing.BrokenNumber{broken(bau, true)}, Words: words("Rechtsamt", "", "")}, "Klaerung", "why-number-malformed"},
		{"wrong on paper", routing.Facts{Broken: []routing.BrokenNumber{broken(bau, false)}, Words: words("Bauordnungsamt", "Bauantrag", "")}, "Klaerung", "why-number-malformed"},
		{"of no unit", routing.Facts{Foreign: []string{"99-XY-123456/24"}, Words: words("Rechtsamt", "", "")}, "Klaerung", "why-number-unknown-unit"},
		{"receiver alone", routing.Facts{Words: words("Rechtsamt", "Ihr Schreiben", "")}, recht, "why-words"},
		{"receiver read badly", routing.Facts{Words: words("$tadtplanungs- und Bau0rdnunqsamt", "", "")}, bau, "why-words"},
		{"office with many kinds of mail", routing.Facts{Words: words("Umweltamt", "Anfrage", "")}, "Klaerung", "why-words-weak"},
		{"complaint", routing.Facts{Words: words("Umweltamt", "Beschwerde über Lärmbelästigung", "")}, "FB60-Umweltbeschwerden", "why-words"},
		{"complaint without receiver", routing.Facts{Words: words("", "Beschwerde wegen einer wilden Müllkippe", "")}, "FB60-Umweltbeschwerden", "why-words"},
		{"invoice without receiver", routing.Facts{Words: words("", "Rechnung Nr. 4711", "Rechnungsbetrag 12,00 €, zahlbar sofort")}, "FB21-Rechnungseingang", "why-words"},
		{"invoice to another office", routing.Facts{Words: words("Rechtsamt", "Rechnung Nr. 4711", "Rechnungsbetrag 12,00 €, zahlbar sofort")}, "Klaerung", "why-words-contradict"},
		{"running text never decides", routing.Facts{Words: words("", "", "Gesamtmiete Wohngeldnummer Mietbescheinigung Haushaltsmitglied")}, "Klaerung", "why-words-weak"},
		{"a calculation is no invoice", routing.Facts{Words: words("", "Berechnung der Abstandsflächen", "")}, "Klaerung", "why-words-weak"},
		{"nothing", routing.Facts{Words: words("", "", "Guten Tag")}, "Klaerung", "why-nothing-known"},
	}
	for _, c := range cases {
		d := routing.Judge(c.f, tab)
		if d.Target.PostkorbName != c.box || d.Why.Code != c.code {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, d.Target.PostkorbName, d.Why.Code, c.box, c.code)
		}
		if d.RuleVersion != 7 {
			t.Errorf("%s: rule version %d", c.name, d.RuleVersion)
		}
		for _, lang := range []string{"de", "en"} {
			s := d.Why.Text(lang)
			if s == d.Why.Code || regexp.MustCompile(`\{\w+\}`).MatchString(s) {
				t.Errorf("%s: reason %q", c.name, s)
			}
		}
	}
}

func TestEveryReasonOfJudgeStandsInTheCatalogue(t *testing.T) {
	codes := fault.Codes()
	var have []string
	for c := range codes {
		have = append(have, c)
	}
	for _, c := range []string{"why-number-against-words", "why-filed"} {
		if !slices.Contains(have, c) {
			t.Errorf("%s is missing", c)
		}
	}
}

// FuzzJudge: any words lead to exactly one Postkorb of the table, and twice to
// the same.
func FuzzJudge(f *testing.F) {
	f.Add("Umweltamt", "Beschwerde", "Lärm")
	f.Add("Rechtsamt\x00", "Rech-\nnung", "\xff|||")
	f.Add("Bauordnungs-\namt", "", "ﬁ ß İ")
	tab := tables()
	f.Fuzz(func(t *testing.T, receiver, title, body string) {
		facts := routing.Facts{Words: words(receiver, title, body)}
		a, b := routing.Judge(facts, tab), routing.Judge(facts, tab)
		if a.Target != b.Target || a.Why.Code != b.Why.Code {
			t.Fatalf("%+v and %+v", a, b)
		}
		if a.Target.Postkorb == uuid.Nil {
			t.Fatalf("no Postkorb: %+v", a)
		}
	})
}
