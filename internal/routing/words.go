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

// known is a phrase ready to be looked for.
type known struct {
	Phrase
	words words.Phrase
	own   bool // the name of a unit
}

// ready prepares the phrases, those of the units' names first.
func (t Tables) ready() []known {
	out := make([]known, 0, len(t.own)+len(t.Rules.Phrases))
	for i, p := range slices.Concat(t.own, t.Rules.Phrases) {
		out = append(out, known{p, words.Parse(p.Words), i < len(t.own)})
	}
	return out
}

// weigh compares the words with the rules; the strongest comes first, equal
// ones by name.
func (t Tables) weigh(w Words) []score {
	all := t.phrases
	if all == nil {
		all = t.ready()
	}
	by := map[string]*score{}
	body := map[string]int{}
	office := map[string]bool{} // by its own name: not twice, if a phrase knows it, too
	for _, p := range all {
		desk, ok := t.Desks[p.Postkorb]
		if !ok || !p.own && p.Place == Receiver && p.Weight > 0 && office[p.Postkorb] || !p.words.In(w[p.Place]) || likeAnother(all, w[p.Place], p) {
			continue
		}
		s := by[p.Postkorb]
		if s == nil {
			s = &score{desk: desk}
			by[p.Postkorb] = s
		}
		office[p.Postkorb] = office[p.Postkorb] || p.own
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
func likeAnother(all []known, text []string, p known) bool {
	if p.words.Exactly(text) {
		return false
	}
	return slices.ContainsFunc(all, func(o known) bool {
		return o.Postkorb == p.Postkorb && o.Place == p.Place && o.Words != p.Words && o.words.Exactly(text) && p.words.In(words.Fold(o.Words))
	})
}
