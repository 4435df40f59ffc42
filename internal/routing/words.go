package routing

import (
	"slices"
	"sort"
	"strings"
	"unicode"
)

// Words are the words of a Dokument by place, folded for comparison. A word
// keeps the order it has in the text.
type Words map[Place][]string

// maxTokens bounds the words looked at in one place.
const maxTokens = 20_000

// Fold splits text into words and folds them: lower case, without marks on
// letters, and with one letter for all that text recognition takes for each
// other. A word divided at the end of a line is joined.
func Fold(text string) []string {
	text = strings.ReplaceAll(text, "-\r\n", "-\n")
	var out []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 && len(out) < maxTokens {
			out = append(out, b.String())
		}
		b.Reset()
	}
	rs := []rune(text)
	for i := 0; i < len(rs) && len(out) < maxTokens; i++ {
		r := unicode.ToLower(rs[i])
		switch {
		case r == '-' && b.Len() > 0 && i+2 < len(rs) && rs[i+1] == '\n' && unicode.IsLower(rs[i+2]):
			i++ // divided at the end of the line
		case r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r):
			foldRune(&b, r)
		case r == '|' && b.Len() > 0:
			b.WriteByte('i')
		case unicode.Is(unicode.Mn, r): // a combining mark
		default:
			flush()
		}
	}
	flush()
	for i, w := range out {
		out[i] = strings.ReplaceAll(w, "rn", "m")
	}
	return out
}

func foldRune(b *strings.Builder, r rune) {
	switch r {
	case 'ä', 'á', 'à', 'â':
		r = 'a'
	case 'ö', 'ó', 'ò', 'ô', '0':
		r = 'o'
	case 'ü', 'ú', 'ù', 'û':
		r = 'u'
	case 'é', 'è', 'ê', 'ë':
		r = 'e'
	case 'ç':
		r = 'c'
	case 'ß':
		b.WriteByte('s')
		r = 's'
	case 'l', 'j', 'í', 'ì', 'ı', '1', '!':
		r = 'i'
	case '5', '$':
		r = 's'
	case '8':
		r = 'b'
	}
	b.WriteRune(r)
}

// score is what speaks for one Postkorb.
type score struct {
	desk   Desk
	weight int
	hits   []hit
}

type hit struct {
	place  Place
	words  string
	weight int
}

// evidence names the strongest words, for people.
func (s score) evidence() string {
	hits := slices.Clone(s.hits)
	sort.SliceStable(hits, func(i, j int) bool { return hits[i].weight > hits[j].weight })
	var out []string
	for _, h := range hits {
		w := "„" + strings.ReplaceAll(h.words, "*", "…") + "“"
		if h.weight > 0 && !slices.Contains(out, w) && len(out) < 3 {
			out = append(out, w)
		}
	}
	return strings.Join(out, ", ")
}

// weigh compares the words with the rules; the strongest comes first, equal
// ones by name.
func (t Tables) weigh(w Words) []score {
	by := map[string]*score{}
	body := map[string]int{}
	for _, p := range t.Rules.Phrases {
		desk, ok := t.Desks[p.Postkorb]
		if !ok || !contains(w[p.Place], p.Words) || t.likeAnother(w[p.Place], p) {
			continue
		}
		s := by[p.Postkorb]
		if s == nil {
			s = &score{desk: desk}
			by[p.Postkorb] = s
		}
		weight := p.Weight
		if p.Place == Body && weight > 0 {
			weight = min(weight, bodyMost-body[p.Postkorb])
			body[p.Postkorb] += weight
		}
		s.weight += weight
		s.hits = append(s.hits, hit{place: p.Place, words: p.Words, weight: weight})
	}
	out := make([]score, 0, len(by))
	for _, s := range by {
		if s.weight > 0 {
			out = append(out, *s)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].weight != out[j].weight {
			return out[i].weight > out[j].weight
		}
		return out[i].desk.Name < out[j].desk.Name
	})
	return out
}

// likeAnother says that a phrase was found only as a misreading of another one
// of the same Postkorb and place, which stands there letter by letter: Abmeldung
// where Anmeldung is written.
func (t Tables) likeAnother(text []string, p Phrase) bool {
	if exactly(text, p.Words) {
		return false
	}
	for _, o := range t.Rules.Phrases {
		if o.Postkorb == p.Postkorb && o.Place == p.Place && o.Words != p.Words && contains(Fold(o.Words), p.Words) && exactly(text, o.Words) {
			return true
		}
	}
	return false
}

// exactly looks for the words of a phrase letter by letter.
func exactly(text []string, phrase string) bool {
	if strings.Contains(phrase, "*") {
		return contains(text, phrase)
	}
	want := Fold(phrase)
	for i := 0; i+len(want) <= len(text) && len(want) > 0; i++ {
		if slices.Equal(text[i:i+len(want)], want) {
			return true
		}
	}
	return false
}

// contains looks for the words of a phrase one after the other.
func contains(text []string, phrase string) bool {
	var want []string
	stem := make([]bool, 0, 4)
	for _, f := range strings.Fields(phrase) {
		star := strings.HasSuffix(f, "*")
		for _, w := range Fold(strings.TrimSuffix(f, "*")) {
			want = append(want, w)
			stem = append(stem, false)
		}
		if star && len(stem) > 0 {
			stem[len(stem)-1] = true
		}
	}
	if len(want) == 0 {
		return false
	}
next:
	for i := 0; i+len(want) <= len(text); i++ {
		for k, w := range want {
			if !same(text[i+k], w, stem[k]) {
				continue next
			}
		}
		return true
	}
	return false
}

// same compares a word of the text with one of a phrase: letter by letter, but
// one letter of a word of 8 and two of a word of 13 may be misread.
func same(got, want string, stem bool) bool {
	if got == want || stem && strings.HasPrefix(got, want) {
		return true
	}
	most := 0
	switch n := len(want); {
	case n >= 13:
		most = 2
	case n >= 8:
		most = 1
	}
	if most == 0 {
		return false
	}
	if stem {
		if len(got) < len(want) {
			return false
		}
		got = got[:len(want)]
	}
	return distance(got, want, most) <= most
}

// distance is the edit distance of two words, or more than most as soon as it
// must be.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most || len(a) > 64 {
		return most + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag, least := row[0], i
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
			least = min(least, row[j])
		}
		if least > most {
			return most + 1
		}
	}
	return row[len(b)]
}

func sortedKeys(m map[string]int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
