package search

import (
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSplitFindsThePartsOfCompounds(t *testing.T) {
	d, err := ShippedDictionary()
	if err != nil {
		t.Fatal(err)
	}
	an, err := newAnalysis(d, false)
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string][]string{
		"Grundsteuerbescheid":    {"steuerbescheid", "bescheid"},
		"Gewerbeanmeldung":       {"gewerbe", "anmeldung"},
		"Verkehrsüberwachung":    {"verkehr", "uberwachung"},
		"Wohnungsgenossenschaft": {"genossenschaft"},
		"Baugenehmigung":         {"genehmigung"},
		"Qwertzgenehmigung":      {"genehmigung"},
		"Bescheid":               nil,
		"Haus":                   nil,
		"Москва":                 nil,
		strings.Repeat("a", 99):  nil,
	} {
		got := an.lexeme(word).raw
		if want == nil && got != nil {
			t.Errorf("%s: %v", word, got)
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: %v lacks %s", word, got, w)
			}
		}
	}
}

func TestEveryPartIsAPieceOfTheWord(t *testing.T) {
	d, err := ShippedDictionary()
	if err != nil {
		t.Fatal(err)
	}
	words := sortedKeys(d.words)
	rapid.Check(t, func(t *rapid.T) {
		w := ""
		for range rapid.IntRange(1, 4).Draw(t, "n") {
			w += rapid.SampledFrom(words).Draw(t, "part") + rapid.SampledFrom(linkers[:]).Draw(t, "linker")
		}
		for _, p := range d.split(w) {
			if len(p) < minPart || !strings.Contains(w, p) || p == w {
				t.Fatalf("%s: part %q", w, p)
			}
		}
	})
}

func TestADictionaryIsReadAsItWasWritten(t *testing.T) {
	texts := slices.Repeat([]string{"Die Straße und der Straßenbau", "Straßen bauen"}, 30)
	d, err := Learn(slices.Values(texts))
	if err != nil {
		t.Fatal(err)
	}
	if d.words["strasse"] != 30 || d.words["strassen"] != 30 || d.stems["strass"] != 60 || d.docs != 60 {
		t.Fatalf("learnt %v %v", d.words, d.stems)
	}
	var b strings.Builder
	if _, err := d.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	back, err := LoadDictionary([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(d, back, gocmp.AllowUnexported(Dictionary{})); diff != "" {
		t.Fatal(diff)
	}
	if d.WordsDigest() != back.WordsDigest() {
		t.Fatal("digests differ")
	}
}

func TestLineEndHyphensAreJoinedOnlyWhereTheyDivide(t *testing.T) {
	d, err := ShippedDictionary()
	if err != nil {
		t.Fatal(err)
	}
	an, err := newAnalysis(d, false)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"Verwaltungs-\nvorgang":      "Verwaltungsvorgang",
		"Verwaltungs-\r\n  vorgang":  "Verwaltungsvorgang",
		"Ost- und West-\nSeite":      "Ost- und West-\nSeite",
		"Bundes-\nFörderprogramm":    "Bundes-\nFörderprogramm",
		"Ein- \nund Ausgang":         "Ein- \nund Ausgang",
		"Ein-\nund Ausgang":          "Ein-\nund Ausgang",
		"E-\nakte":                   "E-\nakte",
		"Gebüh\u00adren":             "Gebühren",
		"u\u0308ber":                 "über",
		"a\x00b":                     "a b",
		"kein \xff Text":             "kein \uFFFD Text",
		"1990-\n2000 und ende -\nda": "1990-\n2000 und ende -\nda",
	} {
		if got := an.prepare(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestEditDistanceCountsSwapsOnce(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"zaun", "zaun", 0}, {"zaun", "zuan", 1}, {"zaun", "zahn", 1}, {"zaun", "", 4}, {"gertaet", "geratet", 1}, {"ä", "a", 1}, {"abcd", "badc", 2}} {
		if got := editDistance(tc.a, tc.b); got != tc.want {
			t.Errorf("%s, %s: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
