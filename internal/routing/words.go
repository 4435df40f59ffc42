package routing

import (
	"slices"
	"sort"
	"strings"

	"evb/internal/words"
)

// Words are the words of a Dokument by place, folded for comparison. A word
// keeps the order it has in the text.
type Words map[Place][]string

// Fold splits text into folded words (words.Fold).
func Fold(text string) []string { return words.Fold(text) }

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
	office := map[string]bool{} // by its own name: not twice, if a phrase knows it, too
	for i, p := range slices.Concat(t.own, t.Rules.Phrases) {
		desk, ok := t.Desks[p.Postkorb]
		if i >= len(t.own) && p.Place == Receiver && p.Weight > 0 && office[p.Postkorb] {
			continue
		}
		if !ok || !contains(w[p.Place], p.Words) || t.likeAnother(w[p.Place], p) {
			continue
		}
		s := by[p.Postkorb]
		if s == nil {
			s = &score{desk: desk}
			by[p.Postkorb] = s
		}
		office[p.Postkorb] = office[p.Postkorb] || i < len(t.own)
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
func exactly(text []string, phrase string) bool { return words.Parse(phrase).Exactly(text) }

// contains looks for the words of a phrase one after the other.
func contains(text []string, phrase string) bool { return words.Parse(phrase).In(text) }

func sortedKeys(m map[string]int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
