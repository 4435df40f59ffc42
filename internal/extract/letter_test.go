package extract_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"evb/internal/extract"
	"evb/internal/media/mediatest"
)

// The letters of testdata are what Tesseract read of the sample batches, with
// all its errors; the truth files say what stands on paper.
func TestHeadsOfRecognisedLetters(t *testing.T) {
	seen := 0
	for _, id := range []string{"dev-a", "dev-b", "dev-c", "dev-d"} {
		tr := mediatest.ReadTruth(t, id)
		for _, d := range tr.Docs {
			name := strings.TrimSuffix(filepath.Join("testdata", "letters", tr.File), "") + "-" + itoa(d.Pages[0]) + ".txt"
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			seen++
			l := extract.ReadLetter(string(b))
			if l.Date != d.Date {
				t.Errorf("%s: date %q, want %q", name, l.Date, d.Date)
			}
			if len(l.Receiver) != 2 {
				t.Errorf("%s: receiver %q", name, l.Receiver)
			}
			if l.Form != (d.Type == "wohngeld" || d.Type == "parkausweis" || d.Type == "kita" || d.Type == "gewerbe") {
				t.Errorf("%s: form %v", name, l.Form)
			}
			if n, of := mediatest.Recall(d.Subject, l.Subject); n*10 < of*6 && !l.Form {
				t.Errorf("%s: subject %q, want %q", name, l.Subject, d.Subject)
			}
			if n, of := mediatest.Recall(d.Sender[0], strings.Join(l.Sender, " ")); n*2 < of {
				t.Errorf("%s: sender %q, want %q", name, l.Sender, d.Sender)
			}
			if (len(l.Invoice) > 1) != (d.Type == "rechnung") {
				t.Errorf("%s: invoice %v", name, l.Invoice)
			}
			if l.Complaint != (d.Type == "beschwerde") {
				t.Errorf("%s: complaint %v", name, l.Complaint)
			}
		}
	}
	if seen != 20 {
		t.Errorf("%d letters", seen)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestHeadsOfTypedLetters(t *testing.T) {
	cases := []struct {
		name, text string
		want       extract.Letter
	}{
		{"Betreff and month in words", "Anna Muster\nWeg 1\n44135 Dortmund\n\nAn die Stadt Beispiel\nSozialamt\nMarkt 2\n44135 Beispiel\n\nBeispiel, den 3. März 2025\n\nBetreff: Ihr Bescheid\n\nSehr geehrte Frau Amt,\nBeschwerde\n",
			extract.Letter{Sender: []string{"Anna Muster", "Weg 1", "44135 Dortmund"}, Receiver: []string{"An die Stadt Beispiel", "Sozialamt"}, Date: "2025-03-03", Subject: "Ihr Bescheid"}},
		{"no receiver", "Bert Beispiel\n\nDortmund, 01.02.2025\n\nAnfrage zum Kanal\n\nGuten Tag,\n\nWas kostet das?\n",
			extract.Letter{Sender: []string{"Bert Beispiel", "Anfrage zum Kanal", "Guten Tag,", "Was kostet das"}, Date: "2025-02-01", Subject: "Anfrage zum Kanal"}},
		{"a stamp on the height of the city", "Antrag auf Bewohnerparkausweis Stadt. Dortmund\n\nStadt Dortmund Eingang 06.11.2026\nBürgerdienste\n\nFriedensplatz 1\n44135 Dortmund\n\nName, Vorname\nTherese Schäfer\n\nAnschrift\nMärkische Straße 133, 44257 Dortmund\n\nAmtliches Kennzeichen\nDO-ZD 7825\n",
			extract.Letter{Sender: []string{"Therese Schäfer", "Märkische Straße 133, 44257 Dortmund"}, Receiver: []string{"Stadt Dortmund", "Bürgerdienste"}, Stamped: "2026-11-06", Subject: "Antrag auf Bewohnerparkausweis", Form: true}},
		{"31 February", "Dortmund, 31.02.2025\n", extract.Letter{}},
		{"nothing", "", extract.Letter{}},
	}
	for _, c := range cases {
		got := extract.ReadLetter(c.text)
		if c.name == "no receiver" {
			got.Sender, c.want.Sender = nil, nil // without a receiver nobody knows where the sender ends
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// FuzzReadLetter: no text makes it fail, and what it gives is text that the
// database takes.
func FuzzReadLetter(f *testing.F) {
	files, err := filepath.Glob("testdata/letters/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no letters", err)
	}
	for _, name := range files[:4] {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("Stadt A\nStadt A\nStadt A\n44135 A\n")
	f.Add("Betreff:\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := extract.ReadLetter(text)
		for _, s := range append(append([]string{l.Subject, l.Date, l.Stamped}, l.Sender...), l.Receiver...) {
			if utf8.ValidString(text) && !utf8.ValidString(s) {
				t.Fatalf("broken text %q", s)
			}
			if len(s) > 1000 {
				t.Fatalf("%d bytes", len(s))
			}
		}
		for _, r := range l.References {
			if !strings.HasPrefix(text[r.Offset:], r.Value) {
				t.Fatalf("%q does not stand at %d", r.Value, r.Offset)
			}
		}
	})
}
