package search

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "zaun -hecke", `"der zaun`, "61 / 5 - BA - 338202 / 24", "7. Oktober 2009", "eingang:2024..2025-13", "az:\"61 5\"", "gewerb*",
		"DE89 3704 0044 0532 0130 00", "-\"", "a:b:c*", "\xff\xfe", "-einheit:FB61 ÄÖÜß 31.12.99",
	} {
		f.Add(s)
	}
	an, err := newAnalysis(&Dictionary{}, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			if _, ok := err.(*QueryError); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if countLeaves(n) > MaxQueryWords {
			t.Fatalf("%d operands", countLeaves(n))
		}
		m := an.marker(n, nil)
		m.find(s)
	})
}

func FuzzHighlight(f *testing.F) {
	f.Add("Zaun <b>am Zaun</b> & Straße", "zaun", 20)
	f.Add("a\u0308\xff\x00 Az. 61/5-BA-338202/24 am 7.10.2009", "61/5-BA-338202/24 07.10.2009", 1)
	f.Add("Verwaltungs-\nverfahren", `"verwaltung verfahren" verw*`, 2000)
	an, err := newAnalysis(&Dictionary{words: map[string]uint32{"grund": 50, "steuer": 80, "bescheid": 90}, docs: 100}, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, q string, size int) {
		n, err := Parse(q)
		if err != nil {
			return
		}
		text = an.prepare(text)
		var it Item
		an.marker(n, nil).show(&it, text, text, Highlight{Fragments: 3, Size: max(1, min(size, 2000))})
		for _, h := range append(it.Fragments, it.SubjectHTML) {
			bare := strings.NewReplacer("<mark>", "", "</mark>", "").Replace(h)
			if !utf8.ValidString(h) || strings.ContainsAny(bare, "<>\x00") {
				t.Fatalf("unsafe: %q", h)
			}
			if strings.Count(h, "<mark>") != strings.Count(h, "</mark>") {
				t.Fatalf("unbalanced: %q", h)
			}
		}
		an.build(&Doc{Tenant: "t", ID: "i", Text: text, Subject: q})
	})
}

func FuzzLoadDictionary(f *testing.F) {
	var b bytes.Buffer
	d := &Dictionary{words: map[string]uint32{"grund": 50}, stems: map[string]uint32{"grund": 60}, docs: 100}
	if _, err := d.WriteTo(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := LoadDictionary(data)
		if err != nil {
			return
		}
		d.split("grundsteuer")
		var out bytes.Buffer
		if _, err := d.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzCursor(f *testing.F) {
	q := Query{Principal: Principal{Tenant: "t"}, Where: Word{Text: "zaun"}}
	good, err := cursor{Generation: "g-1", Query: q.fingerprint(), After: []string{"1.5", "t\x1fd"}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("e30")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := decodeCursor(s, &q, "g-1"); err != nil {
			if _, ok := err.(*QueryError); !ok {
				t.Fatalf("%T: %v", err, err)
			}
		}
	})
}
