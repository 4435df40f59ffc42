package routing_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"evb/internal/extract"
)

// letter writes a letter as a person does: sender, office, date, subject, text.
func letter(office, subject, body string) string {
	return strings.Join([]string{
		"Erika Mustermann", "Hauptstraße 12", "44135 Dortmund", "",
		"Stadt Dortmund", office, "Friedensplatz 1", "44135 Dortmund", "",
		"Dortmund, 03.02.2025", "", subject, "",
		"Sehr geehrte Damen und Herren,", "", body, "",
		"Mit freundlichen Grüßen", "Erika Mustermann", "",
	}, "\n")
}

// Letters of every kind: whatever they say, none reaches a wrong Postkorb
// (decisions 1.2 to 1.4). What is doubtful goes to clearing.
func TestNoLetterReachesAWrongPostkorb(t *testing.T) {
	const clearing, neutral = "Klaerung", "Zentrale Poststelle"
	boxes := []struct{ prefix, box string }{
		{"23-GS-", "FB23-Widersprueche"}, {"30-IFG-", "FB30-Rechtsamt"}, {"30-KL-", "FB30-Rechtsamt"}, {"32-GA-", "FB32-Gewerbemeldungen"},
		{"33-BP-", "FB33-Parkausweise"}, {"51-KI-", "FB51-Kita"}, {"61/5-BA-", "FB61-Bauordnung"}, {"64-WG-", "FB64-Wohngeld"},
	}
	type want struct{ name, text, box, why string }
	var all []want
	add := func(name, text, box, why string) { all = append(all, want{name, text, box, why}) }
	for i, b := range boxes {
		n := fmt.Sprintf("%s%06d/2%d", b.prefix, 104729*(i+1)%1_000_000, i%6)
		add("subject", letter(neutral, "Ihr Schreiben, Aktenzeichen "+n, "anbei die Unterlagen."), b.box, "why-akte-unknown")
		add("your sign", letter(neutral, "Ihr Schreiben", "Ihr Zeichen: "+n+"\nanbei die Unterlagen."), b.box, "why-akte-unknown")
		add("running text", letter(neutral, "Ihr Schreiben", "zu Ihrem Schreiben "+n+" sende ich die Unterlagen."), b.box, "why-akte-unknown")
		add("with blanks", letter(neutral, "Aktenzeichen "+strings.ReplaceAll(n, "-", " - "), "anbei die Unterlagen."), b.box, "why-akte-unknown")
		add("over a line", letter(neutral, "Ihr Schreiben", "Aktenzeichen: "+strings.Replace(n, "/2", "/\n2", 1)+" liegt bei."), b.box, "why-akte-unknown")
		add("a digit short", letter(neutral, "Aktenzeichen "+b.prefix+"12345/24", "anbei die Unterlagen."), clearing, "why-number-malformed")
		add("a digit too many", letter(neutral, "Aktenzeichen "+b.prefix+"1234567/24", "anbei die Unterlagen."), clearing, "why-number-malformed")
		add("no year", letter(neutral, "Aktenzeichen "+b.prefix+"123456", "anbei die Unterlagen."), clearing, "why-number-malformed")
		other := boxes[(i+3)%len(boxes)]
		add("two units", letter(neutral, "Aktenzeichen "+n+" und "+other.prefix+"222222/24", "anbei die Unterlagen."), clearing, "why-numbers-contradict")
		add("one unit malformed, another sound", letter(neutral, "Aktenzeichen "+b.prefix+"12345/24 und "+other.prefix+"222222/24", "anbei."), clearing, "why-number-malformed")
	}
	for _, foreign := range []string{"99-XY-123456/24", "61/7-BA-123456/24", "31-GS-123456/24", "12-WG-123456/25"} {
		add("unknown unit", letter("Rechtsamt", "Ihr Schreiben", "Ihr Zeichen: "+foreign+"\nanbei die Unterlagen."), clearing, "why-number-unknown-unit")
	}
	for office, box := range map[string]string{
		"Rechtsamt": "FB30-Rechtsamt", "Gewerbemeldestelle": "FB32-Gewerbemeldungen", "Parkausweisstelle": "FB33-Parkausweise",
		"Stadtplanungs- und Bauordnungsamt": "FB61-Bauordnung", "Wohngeldstelle": "FB64-Wohngeld", "Rechnungseingang": "FB21-Rechnungseingang",
		"Umweltamt": clearing, "Jugendamt": clearing, "Sozialamt": clearing, "Oberbürgermeister": clearing,
	} {
		add("receiver "+office, letter(office, "Ihr Schreiben", "anbei die Unterlagen."), box, "")
	}
	for subject, box := range map[string]string{
		"Antrag auf Bewohnerparkausweis":                 clearing, // the office has to say so, too
		"Beschwerde wegen Ruhestörung":                   "FB60-Umweltbeschwerden",
		"Widerspruch gegen den Grundsteuerbescheid":      "FB23-Widersprueche",
		"Rechnung Nr. 2025-0815":                         clearing, // an amount belongs to it
		"Widerspruch gegen den Wohngeldbescheid":         clearing,
		"Beschwerde über die Bearbeitung des Bauantrags": clearing,
		"Kündigung":   clearing,
		"":            clearing,
		"Bitte lesen": clearing,
	} {
		add("subject alone", letter(neutral, subject, "anbei die Unterlagen."), box, "")
	}
	for _, body := range []string{
		"Termine: 23-11-2024, 30-12-2024 und 64 weitere.", "IBAN DE89 3704 0044 0532 0130 00", "Telefon 0231/61-5 oder 0231 / 64-123456",
		"Flurstück 61/5, 64 qm, Baujahr 1961/62", "Az. 5 K 1234/24 (VG Gelsenkirchen)", "Kundennummer 33-4711-06/24",
		"Hausnummer 32-34, 2. OG", strings.Repeat("1234567890/", 500), "",
	} {
		add("no number of ours", letter(neutral, "Ihr Schreiben", body), clearing, "")
	}
	add("empty", " \n", clearing, "")

	w := newWorld(t)
	for i, c := range all {
		d := w.Insert(nil, w.File(fmt.Sprintf("brief-%d.txt", i), strings.NewReader(c.text)))
		w.Must(w.Run(extract.Text, d.VersionID))
		dec := w.route(d.ID)
		if dec.Target.PostkorbName != c.box || c.why != "" && dec.Why.Code != c.why {
			t.Errorf("%s: %s because %s (%s), want %s\n%s", c.name, dec.Target.PostkorbName, dec.Why.Code, dec.Why.Text("de"), c.box, firstOf(c.text, 300))
		}
	}
	t.Logf("%d letters", len(all))
}

func firstOf(s string, n int) string { return s[:min(n, len(s))] }

// A Postkorb that is closed takes nothing, and does not keep the others' letters.
func TestAClosedPostkorbHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	w.Tx(func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE postkorb SET closed_at = $1 WHERE tenant = evb_tenant() AND name = 'FB30-Rechtsamt'`, w.Now())
		return err
	})
	for text, want := range map[string]string{
		letter("Rechtsamt", "Ihr Schreiben", "anbei die Unterlagen."):                          "Klaerung",
		letter("Zentrale Poststelle", "Aktenzeichen 30-KL-123456/24", "anbei die Unterlagen."): "Klaerung",
		letter("Stadtplanungs- und Bauordnungsamt", "Ihr Schreiben", "anbei die Unterlagen."):  "FB61-Bauordnung",
		letter("Zentrale Poststelle", "Aktenzeichen 64-WG-123456/24", "anbei die Unterlagen."): "FB64-Wohngeld",
	} {
		d := w.Insert(nil, w.File("brief.txt", strings.NewReader(text)))
		w.Must(w.Run(extract.Text, d.VersionID))
		if dec := w.route(d.ID); dec.Target.PostkorbName != want {
			t.Errorf("%s instead of %s: %s", dec.Target.PostkorbName, want, dec.Why.Text("de"))
		}
	}
}
