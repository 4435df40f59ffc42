package akte_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"evb/internal/akte"
)

var patterns = []akte.Pattern{
	{Prefix: "23-GS-", Digits: 6}, {Prefix: "30-IFG-", Digits: 6}, {Prefix: "30-KL-", Digits: 6}, {Prefix: "32-GA-", Digits: 6},
	{Prefix: "33-BP-", Digits: 6}, {Prefix: "51-KI-", Digits: 6}, {Prefix: "61/5-BA-", Digits: 6}, {Prefix: "64-WG-", Digits: 6},
}

func TestFindNumbers(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"Aktenzeichen: 61/5-BA-338202/24", []string{"61/5-BA-338202/24"}},
		{"Az.:61/5-BA-338202/24.", []string{"61/5-BA-338202/24"}},
		{"Ihr Zeichen 64-WG-000123/25, unser Zeichen 23-GS-777777/26", []string{"64-WG-000123/25", "23-GS-777777/26"}},
		{"zweimal 64-WG-000123/25 und 64-WG-000123/25", []string{"64-WG-000123/25", "64-WG-000123/25"}},
		{"61/5 - BA - 338 202 / 24", []string{"61/5-BA-338202/24"}},
		{"61/5 BA 338202/24", []string{"61/5-BA-338202/24"}},
		{"61/5–BA—338202/24", []string{"61/5-BA-338202/24"}},
		{"61/5-BA-\n  338202/24", []string{"61/5-BA-338202/24"}},
		{"61/5-BA-\r\n338202/\r\n24", []string{"61/5-BA-338202/24"}},
		{"6l/5-BA-3382O2/24", []string{"61/5-BA-338202/24"}},
		{"3O-KL-l2345|/I4", []string{"30-KL-123451/14"}},
		{"61/5-ba-338202/24", []string{"61/5-BA-338202/24"}},
		{"Vorgang 61/5-BA-338202/24-02 liegt bei", []string{"61/5-BA-338202/24-02"}},
		{"(61/5-BA-338202/24)", []string{"61/5-BA-338202/24"}},
		{"61/5-BA-338202/24vom 3. Mai", []string{"61/5-BA-338202/24"}},
		{"Nr. 5 61/5-BA-338202/24", []string{"61/5-BA-338202/24"}},
		// None: a digit too many or too few, letters misread, inside another number.
		{"61/5-BA-33820/24", nil},
		{"61/5-BA-3382021/24", nil},
		{"61/5-BA-338202/2024", nil},
		{"61/5-BA-338202/2", nil},
		{"61/5-BA-338202/24O", nil},
		{"61/5-BA-338202/24/7", nil},
		{"161/5-BA-338202/24", nil},
		{"7/61/5-BA-338202/24", nil},
		{"61/5-B4-338202/24", nil},
		{"61/5-BA-33B202/24", nil},
		{"61-5-BA-338202/24", nil},
		{"33-KI-123456/24", nil},
		{"61/5-BA-338\n202/24", nil},
		{"61/5-BA-\n\n338202/24", nil},
		{"61/5-BA-338202 24", nil},
	} {
		var got []string
		for _, f := range akte.FindNumbers(c.text, patterns) {
			n := f.Aktenzeichen
			if f.Vorgang != "" {
				n = f.Vorgang
			}
			got = append(got, n)
			if c.text[f.Offset:f.Offset+len(f.Written)] != f.Written {
				t.Errorf("%q: place of %q", c.text, f.Written)
			}
			if f.Exact != (f.Written == n) {
				t.Errorf("%q: exact = %v", c.text, f.Exact)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: %s", c.text, diff)
		}
	}
}

func TestTheLongerPrefixWins(t *testing.T) {
	both := []akte.Pattern{{Prefix: "5-BA-", Digits: 6}, {Prefix: "61/5-BA-", Digits: 6}}
	got := akte.FindNumbers("61/5-BA-338202/24 und 5-BA-338202/24", both)
	if len(got) != 2 || got[0].Pattern.Prefix != "61/5-BA-" || got[1].Pattern.Prefix != "5-BA-" {
		t.Fatalf("%+v", got)
	}
}

func FuzzFindNumbers(f *testing.F) {
	f.Add("Az. 61/5-BA-338202/24-01", 0)
	f.Add("6l/5 - BA -\n 3382O2 /24", 3)
	f.Add("\xff\xfe61/5-BA-33820\xc2\xa02/24", 1)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		end := 0
		for _, n := range akte.FindNumbers(text, patterns) {
			if n.Offset < end || text[n.Offset:n.Offset+len(n.Written)] != n.Written {
				t.Fatalf("%q: %+v overlaps or is not in its place", text, n)
			}
			end = n.Offset + len(n.Written)
			// What was found is well-formed, and found again as itself.
			again := akte.FindNumbers(n.Aktenzeichen, patterns)
			if len(again) != 1 || again[0].Aktenzeichen != n.Aktenzeichen || !again[0].Exact {
				t.Fatalf("%q gave %q, which is none", text, n.Aktenzeichen)
			}
			if !strings.HasPrefix(n.Aktenzeichen, n.Pattern.Prefix) {
				t.Fatalf("%q has not its prefix", n.Aktenzeichen)
			}
		}
	})
}
