package words_test

import (
	"strings"
	"testing"

	"evb/internal/words"
)

func TestWordsAreFoundWholeWithoutRegardToHowTheyAreWritten(t *testing.T) {
	for _, c := range []struct {
		text, phrase string
		want         bool
	}{
		{"Rechnung Nr. 5", "rechnung", true},
		{"Berechnung der Kosten", "Rechnung", false},
		{"Bauordnungs-\namt", "Bauordnungsamt", true},
		{"$tadtplanungs- und Bau0rdnungsarnt", "Bauordnungsamt", true},
		{"LAERM in der STRASSE", "Lärm", true},
		{"Lärm in der Straße", "laerm in der strasse", true},
		{"Lärmbelästigung", "Laerm*", true},
		{"Alarm", "Lärm*", false},
		{"Neue Steuer", "neue Steuer", true},
		{"Beschwerbe gegen", "Beschwerde", true}, // one of nine letters misread
		{"Bescheibe gegen", "Beschwerde", false},
		{"Müller", "Mueller", true},
		{"", "Lärm", false},
		{"Lärm", "", false},
	} {
		if got := words.ParseAlike(c.phrase).In(words.FoldAlike(c.text)); got != c.want {
			t.Errorf("%q in %q: %v", c.phrase, c.text, got)
		}
	}
}

// FuzzPhrase: whatever a text is, a phrase cut out of it at blanks is found in it.
func FuzzPhrase(f *testing.F) {
	f.Add("Sehr geehrte Damen und Herren, der Lärm", 1, 3)
	f.Add("a-\nb |c ß\xff 0", 0, 2)
	f.Fuzz(func(t *testing.T, text string, from, n int) {
		all := words.FoldAlike(text)
		if from < 0 || n < 1 || from >= len(all) || n > len(all)-from {
			return
		}
		phrase := strings.Join(all[from:from+n], " ")
		p := words.ParseAlike(phrase)
		if got := words.FoldAlike(phrase); len(got) == n && !p.In(got) {
			t.Fatalf("%q is not in itself", phrase)
		}
		p.In(all)
		p.Exactly(all)
	})
}
