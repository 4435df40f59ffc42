package routing

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/words"
)

var testPatterns = []akte.Pattern{
	{Prefix: "30-IFG-", Digits: 6, UnitID: uuid.UUID{15: 30}, UnitCode: "FB30"},
	{Prefix: "61/5-BA-", Digits: 6, UnitID: uuid.UUID{15: 61}, UnitCode: "FB61"},
	{Prefix: "64-WG-", Digits: 6, UnitID: uuid.UUID{15: 64}, UnitCode: "FB64"},
}

// unsound are the numbers that are none as they stand.
func (n writtenNumbers) unsound() []BrokenNumber {
	out := n.broken
	for _, m := range n.misread {
		out = append(out, m.BrokenNumber)
	}
	return out
}

func TestNumbersAndWhatBeginsLikeOne(t *testing.T) {
	cases := []struct {
		text    string
		found   string
		broken  string // units
		foreign string
	}{
		{"Aktenzeichen 61/5-BA-338202/24", "61/5-BA-338202/24", "", ""},
		{"Aktenzeichen 61/5-BA-3382021/24", "", "FB61", ""},
		{"Zeichen: 30-IFG-694200/24A.", "30-IFG-694200/24", "", ""},
		{"Ihr Zeichen: 30-lFG-694200/24", "", "FB30", ""},
		{"6l/5-BA-33B202/24", "", "FB61", ""},
		{"64-WG-12/24 und 64-WG-479624/25", "64-WG-479624/25", "FB64", ""},
		{"Tel. 0231 164-3000, IBAN DE26 9999 2668 5147", "", "", ""},
		{"Rechnung RE-2024-29233 vom 61.5.2024", "", "", ""},
		{"Flurstück 61/5, Haus 64", "", "", ""},
		{"bis 64 WG 12 und 30 ifg 1", "", "", ""},
	}
	for _, c := range cases {
		n := numbersOf(c.text, textFacts{}, testPatterns)
		var f, b, foreign []string
		for _, x := range n.sound {
			f = append(f, x.Aktenzeichen)
		}
		for _, x := range n.unsound() {
			b = append(b, x.UnitCode)
		}
		for _, x := range n.foreign {
			foreign = append(foreign, x.written)
		}
		b = slices.Compact(b)
		if got := strings.Join(f, " "); got != c.found && c.text != "Zeichen: 30-IFG-694200/24A." {
			t.Errorf("%s: found %q", c.text, got)
		}
		if got := strings.Join(b, " "); got != c.broken {
			t.Errorf("%s: begins like %q", c.text, got)
		}
		if got := strings.Join(foreign, " "); got != c.foreign {
			t.Errorf("%s: foreign %q", c.text, got)
		}
	}
	facts, err := parseFacts([]byte(`{"letter":{"references":[{"label":"yours","value":"99-XY-123456/24","offset":5},{"label":"ours","value":"61/5-BA-338202/24","offset":22}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	text := "Ihr: 99-XY-123456/24, 61/5-BA-338202/24"
	n := numbersOf(text, facts, testPatterns)
	if len(n.foreign) != 1 || len(n.sound) != 1 || facts.standing(n.sound[0].Written, n.sound[0].Offset) != InBody {
		t.Errorf("%+v", n)
	}
}

func TestAWellReadNumberWithADigitTooFewIsWrongOnPaper(t *testing.T) {
	for text, want := range map[string]bool{
		"Aktenzeichen 61/5-BA-33820/24":   false,
		"Aktenzeichen 61/5-BA-3382021/24": false,
		"Az. 30-IFG-694200/2024":          false,
		"Az. 61/5 - BA - 33820 / 24":      false,
		"Aktenzeichen 61/5-BA-33B20/24":   true,
		"Ihr Zeichen: 30-lFG-69420/24":    true,
	} {
		broken := numbersOf(text, textFacts{}, testPatterns).unsound()
		if len(broken) == 0 {
			t.Errorf("%s: nothing found", text)
		}
		for _, b := range broken {
			if b.OCR != want {
				t.Errorf("%s: %q may be right on paper: %v", text, b.Written, b.OCR)
			}
		}
	}
}

func TestWordsAreComparedWholeAndForgiveNoise(t *testing.T) {
	for _, c := range []struct {
		text, phrase string
		want         bool
	}{
		{"Rechnung Nr. 5", "Rechnung", true},
		{"Berechnung der Kosten", "Rechnung", false},
		{"Abrechnung", "Rechnung", false},
		{"Bauordnungs-\namt", "Bauordnungsamt", true},
		{"$tadtplanungs- und Bau0rdnungsarnt", "Bauordnungsamt", true},
		{"Ordnungsamt", "Bauordnungsamt", false},
		{"Lärmbelästigung", "Lärm*", true},
		{"Alarm", "Lärm*", false},
		{"Tageseinrichtungen fur Kinder", "Tageseinrichtungen für Kinder", true},
		{"namens Kaya", "namens und in Vollmacht", false},
		{"Gewerbe-Anmeldung", "Gewerbe Anmeldung", true},
		{"", "Lärm", false},
	} {
		if got := words.Parse(c.phrase).In(words.Fold(c.text)); got != c.want {
			t.Errorf("%q in %q: %v (%v)", c.phrase, c.text, got, words.Fold(c.text))
		}
	}
}

func TestAMisreadingOfAnotherPhraseDoesNotCount(t *testing.T) {
	tab := Tables{Rules: CityRules(), Desks: map[string]Desk{"FB32-Gewerbemeldungen": {Name: "FB32-Gewerbemeldungen"}}}
	got := tab.weigh(Words{Title: words.Fold("Gewerbe-Anmeldung")})
	if len(got) != 1 || got[0].weight != 8 || got[0].evidence() != "„Gewerbe Anmeldung“" {
		t.Errorf("%+v", got)
	}
}

// FuzzNumbersOf: any text is read without failing, and what was found stands
// where it says.
func FuzzNumbersOf(f *testing.F) {
	f.Add("Ihr Zeichen: 30-IFG-694200/24A und 61/5 -BA- 33 8202/2 4")
	f.Add("6l/5-BA-33820\xff2/24")
	f.Fuzz(func(t *testing.T, text string) {
		n := numbersOf(text, textFacts{}, testPatterns)
		for _, x := range n.sound {
			if !strings.HasPrefix(text[x.Offset:], x.Written) {
				t.Fatalf("%q does not stand at %d", x.Written, x.Offset)
			}
		}
		for _, b := range n.unsound() {
			if !strings.Contains(text, b.Written) {
				t.Fatalf("%q does not stand in the text", b.Written)
			}
		}
		for _, p := range testPatterns {
			if brokenPattern(p.Prefix).MatchString(text) && !mayBegin(skeleton(text), p.Prefix) {
				t.Fatalf("%s is overlooked", p.Prefix)
			}
		}
	})
}
