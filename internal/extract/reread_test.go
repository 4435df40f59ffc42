package extract

import "testing"

func TestOneGlyph(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"61/5-BA-3382021/24", "61/5-BA-338202/24", true},
		{"61/5-BA-33802/24", "61/5-BA-338202/24", true},
		{"61/5-BA-33B202/24", "61/5-BA-338202/24", true},
		{"61/5-BA-333202/24", "61/5-BA-33202/24", true},
		{"61/5-BA-338202/24", "61/5-BA-338202/24", false},
		{"61/5-BA-338220/24", "61/5-BA-338202/24", false},
		{"61/5-BA-33820211/24", "61/5-BA-338202/24", false},
		{"", "", false},
		{"", "a", true},
	} {
		if got := oneGlyph(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %v", c.a, c.b, got)
		}
		if got := oneGlyph(c.b, c.a); got != c.want {
			t.Errorf("%q, %q: %v", c.b, c.a, got)
		}
	}
}
