package search_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"evb/search"
)

var reader = search.Principal{Tenant: "stadt", Scopes: []string{"s1"}}

func put(t testing.TB, x *search.Index, docs ...search.Doc) {
	t.Helper()
	var ops []search.Op
	for _, d := range docs {
		d.Tenant = "stadt"
		d.Scopes = append(d.Scopes, "s1")
		ops = append(ops, search.PutOp(d))
	}
	if err := x.Apply(context.Background(), ops, nil); err != nil {
		t.Fatal(err)
	}
}

func ask(t testing.TB, x *search.Index, q string, exact bool) search.Page {
	t.Helper()
	n, err := search.Parse(q)
	if err != nil {
		t.Fatalf("%q: %v", q, err)
	}
	p, err := x.Search(context.Background(), search.Query{Principal: reader, Where: n, Exact: exact, Limit: 50})
	if err != nil {
		t.Fatalf("%q: %v", q, err)
	}
	return p
}

func found(p search.Page) []string {
	out := []string{}
	for _, it := range p.Items {
		out = append(out, it.ID)
	}
	slices.Sort(out)
	return out
}

func TestGermanIsFoundAsItIsWritten(t *testing.T) {
	x := open(t, search.Options{Dir: t.TempDir()})
	defer x.Close()
	put(t, x,
		search.Doc{ID: "umlaut", Text: "Der Fußgängerüberweg an der Hauptstraße."},
		search.Doc{ID: "ascii", Text: "Der Fussgaengerueberweg an der Hauptstrasse."},
		search.Doc{ID: "decomposed", Text: "Fußga\u0308ngeru\u0308berweg"},
		search.Doc{ID: "compound", Text: "Gegen den Grundsteuerbescheid vom Vorjahr."},
		search.Doc{ID: "hyphen", Text: "Das Verwaltungs-\nverfahren ruht. Ost- und\nWest-\nund Südseite, E-Akte."},
		search.Doc{ID: "softhyphen", Text: "Gewerbe\u00adanmeldung"},
		search.Doc{ID: "inflected", Text: "den Häusern der Gemeinden"},
		search.Doc{ID: "subject", Subject: "Baumfällgenehmigung", Sender: "Familie Özdemir"},
		search.Doc{ID: "phrase", Text: "Die Frist zur Stellungnahme läuft ab."},
		search.Doc{ID: "mail", Text: "Schreiben Sie an max.mustermann@stadt.de"},
	)
	for _, tc := range []struct {
		q    string
		want []string
	}{
		{"Fußgängerüberweg", []string{"ascii", "decomposed", "umlaut"}},
		{"Fussgaengerueberweg", []string{"ascii", "decomposed", "umlaut"}},
		{"FUSSGÄNGERÜBERWEG", []string{"ascii", "decomposed", "umlaut"}},
		{"hauptstrasse", []string{"ascii", "umlaut"}},
		{"Bescheid", []string{"compound"}},
		{"Bescheide", []string{"compound"}},
		{"Steuerbescheid", []string{"compound"}},
		{"Grundsteuer", []string{"compound"}},
		{"Grundsteuerbescheides", []string{"compound"}},
		{"Verwaltungsverfahren", []string{"hyphen"}},
		{"verfahren", []string{"hyphen"}},
		{"E-Akte", []string{"hyphen"}},
		{"Gewerbeanmeldungen", []string{"softhyphen"}},
		{"Anmeldung", []string{"softhyphen"}},
		{"Haus", []string{"inflected"}},
		{"Gemeinde", []string{"inflected"}},
		{"genehmigung", []string{"subject"}},
		{"oezdemir", []string{"subject"}},
		{"absender:Özdemir", []string{"subject"}},
		{"betreff:baumfällgenehmigung", []string{"subject"}},
		{`"Frist zur Stellungnahme"`, []string{"phrase"}},
		{`"Stellungnahme Frist"`, []string{}},
		{"frist -stellungnahme", []string{}},
		{"gewerbe*", []string{"softhyphen"}},
		{"häuse*", []string{"inflected"}},
		{"haus*", []string{"inflected"}},
		{"mustermann@stadt.de", []string{}},
		{"max.mustermann@stadt.de", []string{"mail"}},
		{"und oder", []string{}},
	} {
		if got := found(ask(t, x, tc.q, true)); !slices.Equal(got, tc.want) {
			t.Errorf("%s: found %v, want %v", tc.q, got, tc.want)
		}
	}
}

func TestNumbersAndDatesAreFoundInEverySpelling(t *testing.T) {
	x := open(t, search.Options{Dir: t.TempDir(), IBAN: true})
	defer x.Close()
	put(t, x,
		search.Doc{ID: "own", Aktenzeichen: []string{"61/5-BA-338202/24", "61/5-BA-338202/24-01"}, Text: "ohne"},
		search.Doc{ID: "named", Text: "Ihr Zeichen: 61/5-BA-338202/24. Wir antworten."},
		search.Doc{ID: "scan", Text: "Az. 61 / 5 - BA - 338202 / 2024 - Eingang"},
		search.Doc{ID: "other", Text: "61/5-BA-338203/24 und 61/5-BA-338202/23"},
		search.Doc{ID: "date", Text: "am 07.10.2009 in Kraft"},
		search.Doc{ID: "date2", Text: "Berlin, den 7. Oktober 2009"},
		search.Doc{ID: "date3", Text: "Stand 2009-10-07, nicht 08.10.2009"},
		search.Doc{ID: "otherdate", Text: "am 7.11.2009"},
		search.Doc{ID: "iban", Text: "Konto DE89 3704 0044 0532 0130 00 bei der Bank"},
	)
	own := []string{"named", "own", "scan"}
	day := []string{"date", "date2", "date3"}
	for _, tc := range []struct {
		q    string
		want []string
	}{
		{"61/5-BA-338202/24", own},
		{"61/5-ba-338202/2024", own},
		{"61 5 BA 338202 24", []string{"named", "other", "own", "scan"}}, // all groups stand in other, too
		{"61.5-BA-338202/24", own},
		{"Az. 61/5-BA-338202/24", own},
		{"615BA338202/24", own},
		{"61 / 5 - BA - 338202 / 24", own},
		{"aktenzeichen:61/5-BA-338202/24", []string{"own"}},
		{`az:"61 5 BA 338202 24"`, []string{"own"}},
		{"61/5-BA-338202/24-01", []string{"own"}},
		{"07.10.2009", day},
		{"7.10.2009", day},
		{"7. Oktober 2009", day},
		{"2009-10-07", day},
		{"07.10.09", day},
		{"7 Okt 2009", day},
		{"November 2009", []string{"otherdate"}},
		{"2009", []string{"date", "date2", "date3", "otherdate"}},
		{"DE89370400440532013000", []string{"iban"}},
		{"de89 3704 0044 0532 0130 00", []string{"iban"}},
	} {
		p := ask(t, x, tc.q, true)
		if got := found(p); !slices.Equal(got, tc.want) {
			t.Errorf("%s: found %v, want %v", tc.q, got, tc.want)
		}
		if slices.Contains(tc.want, "own") && len(p.Items) > 0 && p.Items[0].ID != "own" {
			t.Errorf("%s: first is %s, not the document of the Akte", tc.q, p.Items[0].ID)
		}
	}
}

func TestAnIBANIsNotExtractedUnlessAllowed(t *testing.T) {
	x := open(t, search.Options{Dir: t.TempDir()})
	defer x.Close()
	put(t, x, search.Doc{ID: "d", Text: "Konto DE89 3704 0044 0532 0130 00"})
	if got := found(ask(t, x, "DE89370400440532013000", true)); len(got) != 0 {
		t.Fatalf("found %v", got)
	}
}

func TestMistypedWordsAreCorrectedOnlyWithoutAHit(t *testing.T) {
	x := open(t, search.Options{Dir: t.TempDir()})
	defer x.Close()
	put(t, x,
		search.Doc{ID: "a", Text: "Die Ausbildung der Bewerber beginnt."},
		search.Doc{ID: "b", Text: "Die Baugenehmigung wurde erteilt, siehe 4711."},
		search.Doc{ID: "c", Text: "Ein Meier wohnt hier."},
		search.Doc{ID: "d", Text: "Ein Meyer wohnt dort."},
	)
	for _, tc := range []struct {
		q, to string
		want  []string
	}{
		{"auvbildung bewerber", "Ausbildung", []string{"a"}},
		{"asubildung", "Ausbildung", []string{"a"}},
		{"Baugenemigung", "Baugenehmigung", []string{"b"}},
		{"Meier", "", []string{"c"}},
	} {
		p := ask(t, x, tc.q, false)
		if got := found(p); !slices.Equal(got, tc.want) {
			t.Errorf("%s: found %v, want %v", tc.q, got, tc.want)
		}
		var to string
		if len(p.Corrections) > 0 {
			to = p.Corrections[0].To[0]
		}
		if to != tc.to {
			t.Errorf("%s: corrected to %q, want %q", tc.q, to, tc.to)
		}
	}
	if p := ask(t, x, "4712", false); p.Total != 0 {
		t.Errorf("a number was corrected: %+v", p)
	}
	p := ask(t, x, "ausbildung xylophonquark", false)
	if !slices.Equal(found(p), []string{"a"}) || !slices.Equal(p.Dropped, []string{"xylophonquark"}) {
		t.Errorf("a word without any hit: %v, dropped %v", found(p), p.Dropped)
	}
	p = ask(t, x, "ausbildung meyer", false)
	if !slices.Equal(found(p), []string{"a", "d"}) || !p.Relaxed {
		t.Errorf("no document has both words: %v, relaxed %t", found(p), p.Relaxed)
	}
	if p = ask(t, x, "ausbildung meyer", true); p.Total != 0 {
		t.Errorf("exact found %v", found(p))
	}
}

func TestHighlightsAreEscapedAndWhole(t *testing.T) {
	x := open(t, search.Options{Dir: t.TempDir()})
	defer x.Close()
	put(t, x, search.Doc{
		ID: "d", Subject: `<img src=x onerror="alert(1)"> Zaun & Söhne`,
		Text: "<script>alert('Zaun')</script> Die Straßenverkehrsüberwachungsgebühr\x01 am 07.10.2009, Az. 61/5-BA-338202/24 <mark>",
	})
	for _, tc := range []struct{ q, subject, fragment string }{
		{"zaun", `&lt;img src=x onerror=&#34;alert(1)&#34;&gt; <mark>Zaun</mark> &amp; Söhne`, `&lt;script&gt;alert(&#39;<mark>Zaun</mark>&#39;)&lt;/script&gt;`},
		{"gebühr", "", "<mark>Straßenverkehrsüberwachungsgebühr</mark>"},
		{"7. Oktober 2009", "", "<mark>07.10.2009</mark>"},
		{"61.5 BA 338202 2024", "", "<mark>61/5-BA-338202/24</mark>"},
		{"straßen*", "", "<mark>Straßenverkehrsüberwachungsgebühr</mark>"},
	} {
		p := ask(t, x, tc.q, true)
		if len(p.Items) != 1 || len(p.Items[0].Fragments) == 0 {
			t.Errorf("%s: %+v", tc.q, p)
			continue
		}
		it := p.Items[0]
		if !strings.Contains(it.Fragments[0], tc.fragment) {
			t.Errorf("%s: fragment %q lacks %q", tc.q, it.Fragments[0], tc.fragment)
		}
		if tc.subject != "" && it.SubjectHTML != tc.subject {
			t.Errorf("%s: subject %q", tc.q, it.SubjectHTML)
		}
		for _, h := range append(it.Fragments, it.SubjectHTML) {
			if bare := strings.NewReplacer("<mark>", "", "</mark>", "").Replace(h); strings.ContainsAny(bare, "<>\x01") || !utf8.ValidString(h) {
				t.Errorf("%s: %q is not safe", tc.q, h)
			}
		}
	}
}

func TestParseReadsTheSmallSyntax(t *testing.T) {
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	for _, tc := range []struct {
		in   string
		want search.Node
	}{
		{"", nil},
		{"   ", nil},
		{`""`, nil},
		{"-", nil},
		{"zaun", search.Word{Text: "zaun"}},
		{"zaun hecke", search.And{search.Word{Text: "zaun"}, search.Word{Text: "hecke"}}},
		{`"der zaun`, search.Phrase{Text: "der zaun"}},
		{"„der zaun“", search.Phrase{Text: "der zaun"}},
		{"-zaun", search.Not{Of: search.Word{Text: "zaun"}}},
		{`-"a b"`, search.Not{Of: search.Phrase{Text: "a b"}}},
		{"-einheit:FB61", search.Not{Of: search.FieldIs{Field: "unit", Values: []string{"FB61"}}}},
		{`absender:"Erika Muster"`, search.FieldIs{Field: "sender", Values: []string{"Erika Muster"}}},
		{"gewerbe*", search.Prefix{Text: "gewerbe"}},
		{"eingang:2024-03", search.ReceivedIn{From: day(2024, 3, 1), To: day(2024, 3, 31)}},
		{"eingang:2023..01.02.2024", search.ReceivedIn{From: day(2023, 1, 1), To: day(2024, 2, 1)}},
		{"eingang:2024-02-29..", search.ReceivedIn{From: day(2024, 2, 29)}},
		{"https://stadt.de/x", search.Word{Text: "https://stadt.de/x"}},
		{"Betreff: Antrag", nil}, // see below: an error
		{"61/5-BA-338202/24", search.Reference{Text: "61/5-BA-338202/24"}},
		{"61 5 BA 338202 24", search.Reference{Text: "61 5 BA 338202 24", Loose: true}},
		{"7. Oktober 2009", search.Date{Text: "7. Oktober 2009", Year: 2009, Month: 10, Day: 7}},
		{"bescheid vom 07.10.09", search.And{search.Word{Text: "bescheid"}, search.Word{Text: "vom"}, search.Date{Text: "07.10.09", Year: 2009, Month: 10, Day: 7}}},
		{"31.02.2024", search.Reference{Text: "31.02.2024"}},
	} {
		got, err := search.Parse(tc.in)
		if tc.in == "Betreff: Antrag" {
			if qe := (*search.QueryError)(nil); !errors.As(err, &qe) || qe.Code != search.CodeFieldEmpty {
				t.Errorf("%q: %v", tc.in, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tc.in, err)
			continue
		}
		if diff := gocmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.in, diff)
		}
	}
	for in, code := range map[string]string{
		"*zaun": search.CodeWildcard, "za*un": search.CodeWildcard, "*": search.CodeWildcard, "za*": search.CodePrefixTooShort,
		"farbe:rot": search.CodeUnknownField, "einheit:": search.CodeFieldEmpty, "eingang:gestern": search.CodeBadDate,
		"eingang:2024..2023": search.CodeBadDate, "eingang:..": search.CodeBadDate,
		strings.Repeat("x", search.MaxQueryRunes+1): search.CodeTooLong, strings.Repeat("wort ", search.MaxQueryWords+1): search.CodeTooManyWords,
	} {
		_, err := search.Parse(in)
		if qe := (*search.QueryError)(nil); !errors.As(err, &qe) || qe.Code != code {
			t.Errorf("%.40q: %v, want %s", in, err, code)
		}
	}
}

func TestCanonicalReferenceFoldsSpellings(t *testing.T) {
	for _, s := range []string{"61/5-BA-338202/24", "61.5 BA 338202/2024", "61 / 5 - ba - 338202 / 24", "Az. 61/5-BA-338202/24", "615BA33820224"} {
		if got := search.CanonicalReference(s); got != "615BA33820224" {
			t.Errorf("%q: %q", s, got)
		}
	}
	for in, want := range map[string]string{"": "", "---": "", strings.Repeat("9", 300): "", "RE-2024-0815": "RE20240815"} {
		if got := search.CanonicalReference(in); got != want {
			t.Errorf("%.20q: %q, want %q", in, got, want)
		}
	}
}
