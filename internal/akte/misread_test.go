package akte_test

import (
	"strings"
	"testing"

	"evb/internal/akte"
)

func TestFindMisread(t *testing.T) {
	for _, c := range []struct {
		text, readings string // of all places; empty: none
		prefix         akte.Reading
	}{
		{"Az. 61/5-8A-338202/24", "61/5-BA-338202/24", akte.Alike},
		{"Az. 61/5-B4-33B202/24", "61/5-BA-338202/24", akte.Alike},
		{"Az. 61/5-BA-33B2O2/Z4", "61/5-BA-338202/24", akte.Plain},
		{"Az. 61|5-BA-3382021|24", "", 0},
		{"Az. 61/5-BA-338202|24", "61/5-BA-338202/24", akte.Plain},
		{"Az. 61/5-BA-338202124", "61/5-BA-338202/24", akte.Plain},
		{"Az. 61/5.BA.338202/24", "61/5-BA-338202/24", akte.Alike},
		{"Az. 61-5-BA-338202/24", "61/5-BA-338202/24", akte.Alike},
		{"Az. 61/5-BA-338\n202/24", "61/5-BA-338202/24", akte.Plain},
		{"Az. 61/5-BA-338-\n202/24", "61/5-BA-338202/24", akte.Plain},
		{"Az. 61/5-BA 3 3 8 2 0 2 / 2 4", "61/5-BA-338202/24", akte.Plain},
		{"Az. 64-VVG-000123/25", "64-WG-000123/25", akte.Alike},
		{"Az. 30-lFG-694200/24", "30-IFG-694200/24", akte.Alike},
		{"Az. 33BP-123456/24", "33-BP-123456/24", akte.Alike},
		{"Az. 38-BP-123456/24", "33-BP-123456/24", akte.Other},
		{"Az. 61/5-BA-33x202/24", "61/5-BA-330202/24 61/5-BA-331202/24 61/5-BA-332202/24 61/5-BA-333202/24 61/5-BA-334202/24 61/5-BA-335202/24 61/5-BA-336202/24 61/5-BA-337202/24 61/5-BA-338202/24 61/5-BA-339202/24", akte.Plain},
		// Sound, wrong on paper, or another's.
		{"Az. 61/5-BA-338202/24", "", 0},
		{"Az. 61/5-BA-33820/24", "", 0},
		{"Az. 61/5-BA-3382021/24", "", 0},
		{"Az. 61/5-BA-338202/2024", "", 0},
		{"Az. 61/5-BA-338202", "", 0},
		{"Az. 99-XY-123456/24", "", 0},
		{"Az. 12-WG-123456/25", "", 0},
		{"Az. 5 K 1234/24", "", 0},
		{"Tel. 0231 50-61/5 12345", "", 0},
		{"IBAN DE89 3704 0044 0532 0130 00", "", 0},
		{"Termine: 23-11-2024, 30-12-2024", "", 0},
	} {
		var got []string
		for _, m := range akte.FindMisread(c.text, patterns, akte.FindNumbers(c.text, patterns)) {
			got = append(got, m.Readings...)
			if m.Prefix != c.prefix {
				t.Errorf("%q: prefix %d", c.text, m.Prefix)
			}
			if c.text[m.Offset:m.Offset+len(m.Written)] != m.Written {
				t.Errorf("%q: place of %q", c.text, m.Written)
			}
		}
		if strings.Join(got, " ") != c.readings {
			t.Errorf("%q: %q", c.text, got)
		}
	}
}

// FuzzFindMisread: any text is read; what is found lies beside the sound numbers,
// stands where it says, and each reading is a number of its pattern.
func FuzzFindMisread(f *testing.F) {
	f.Add("Az. 61/5-8A-338202/24-01 und 64-VVG-\n0001()3/25")
	f.Add("6l/5 - BA -\n 3382O2 /24 \xff30-lFG-69 4200|24")
	f.Fuzz(func(t *testing.T, text string) {
		found := akte.FindNumbers(text, patterns)
		end := 0
		for _, m := range akte.FindMisread(text, patterns, found) {
			if m.Offset < end || text[m.Offset:m.Offset+len(m.Written)] != m.Written || len(m.Readings) > akte.MaxReadings {
				t.Fatalf("%q: %+v", text, m)
			}
			end = m.Offset + len(m.Written)
			for _, n := range found {
				if n.Offset < end && m.Offset < n.Offset+len(n.Written) {
					t.Fatalf("%q lies over %q", m.Written, n.Written)
				}
			}
			for _, r := range m.Readings {
				if again := akte.FindNumbers(r, patterns); len(again) != 1 || !again[0].Exact || again[0].Pattern.Prefix != m.Pattern.Prefix {
					t.Fatalf("%q gave %q, which is none", m.Written, r)
				}
			}
		}
	})
}

func BenchmarkFindMisread(b *testing.B) {
	text := strings.Repeat("Sehr geehrte Damen und Herren, am 12.03.2024 habe ich unter 0231/123456 angerufen; Az. 61/5-8A-33B202/24, Rechnung 2024-0815 vom 1.2.2024.\n", 30)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		akte.FindMisread(text, patterns, nil)
	}
}
