package words

import (
	"math/bits"
	"slices"
	"strings"
)

// Phrase is words that stand one after the other; a * at the end of one allows
// further letters. Safe for concurrent use.
type Phrase struct {
	want    []string
	letters []uint64 // of want
	stem    []bool
	star    bool
}

// Parse reads a phrase, for texts of Fold.
func Parse(phrase string) Phrase { return parse(phrase, Fold) }

// ParseAlike reads a phrase, for texts of FoldAlike.
func ParseAlike(phrase string) Phrase { return parse(phrase, FoldAlike) }

func parse(phrase string, fold func(string) []string) Phrase {
	var p Phrase
	for _, f := range strings.Fields(phrase) {
		star := strings.HasSuffix(f, "*")
		for _, w := range fold(strings.TrimSuffix(f, "*")) {
			p.want = append(p.want, w)
			p.letters = append(p.letters, letters(w))
			p.stem = append(p.stem, false)
		}
		if star && len(p.stem) > 0 {
			p.stem[len(p.stem)-1] = true
		}
		p.star = p.star || star
	}
	return p
}

// Empty says that the phrase has no word: it is found nowhere.
func (p Phrase) Empty() bool { return len(p.want) == 0 }

// In looks for the words one after the other. One letter of a word of 8 and two
// of a word of 13 may be misread.
func (p Phrase) In(text []string) bool {
	if len(p.want) == 0 {
		return false
	}
next:
	for i := 0; i+len(p.want) <= len(text); i++ {
		for k, w := range p.want {
			if !same(text[i+k], w, p.letters[k], p.stem[k]) {
				continue next
			}
		}
		return true
	}
	return false
}

// Exactly looks for the words letter by letter; a phrase with a * as In.
func (p Phrase) Exactly(text []string) bool {
	if p.star {
		return p.In(text)
	}
	for i := 0; i+len(p.want) <= len(text) && len(p.want) > 0; i++ {
		if slices.Equal(text[i:i+len(p.want)], p.want) {
			return true
		}
	}
	return false
}

// same compares a word of the text with one of a phrase.
func same(got, want string, has uint64, stem bool) bool {
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
	if len(got)-len(want) > most || len(want)-len(got) > most {
		return false
	}
	// One misread letter takes at most one letter out and brings one in: most
	// words are told apart without counting.
	if have := letters(got); bits.OnesCount64(have&^has) > most || bits.OnesCount64(has&^have) > most {
		return false
	}
	return distance(got, want, most) <= most
}

// letters is the set of bytes of a word, by their lower six bits.
func letters(w string) (set uint64) {
	for i := range len(w) {
		set |= 1 << (w[i] & 63)
	}
	return set
}

// distance is the edit distance of two words, or more than most as soon as it
// must be.
func distance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most || len(a) > 64 || len(b) > 64 {
		return most + 1
	}
	var space [65]int
	row := space[:len(b)+1]
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
