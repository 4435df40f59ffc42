package akte

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Misread is a place of a text that looks like a number of a pattern with signs
// that text recognition took for others. What it says is not certain: only the
// register knows whether one of its readings is a number.
type Misread struct {
	Written string // as it stands in the text
	Offset  int    // of Written in the text, in bytes
	Pattern Pattern
	// Readings are the numbers it may be, as the pattern writes them. When there
	// would be more than MaxReadings there are none.
	Readings []string
	// Prefix is how the beginning, which says the unit, was read.
	Prefix Reading
}

// Reading is how far what stands in a text is from what it is taken for.
type Reading int

// The readings, from the surest.
const (
	// Plain: sign by sign, but for what FindNumbers forgives.
	Plain Reading = iota
	// Alike: letters, digits and separators that look alike, such as 8 for B.
	Alike
	// Other: one digit for another, or a letter for one that is not like it.
	Other
)

// MaxReadings bounds the readings of one place: one digit that cannot be read,
// or two where each may be one of a few.
const MaxReadings = 16

// Costs of a sign. What costs more than maxCost altogether is no number.
const (
	free    = 0
	small   = 2  // a blank too much
	like    = 10 // looks alike
	unlike  = 22 // does not
	never   = 1 << 20
	maxCost = 45
)

// digitLike are letters and signs that recognition puts in the place of a digit;
// asDigit has those that FindNumbers forgives.
var digitLike = map[rune]byte{
	'Q': '0', 'D': '0', 'i': '1', '!': '1', ']': '1', '[': '1', 'Z': '2', 'z': '2', 'A': '4', 'h': '4', 'S': '5', 's': '5', '$': '5', '§': '5',
	'G': '6', 'b': '6', 'T': '7', '?': '7', 'B': '8', '&': '8', 'g': '9', 'q': '9', 'E': '3', 'e': '0', 'c': '0', 'C': '0', 'U': '0', 'a': '8',
}

// confusable are digits that recognition takes for each other.
var confusable = []string{"17", "38", "56", "68", "08", "06", "49", "89", "09", "35", "27"}

func digitsAlike(a, b rune) bool {
	return slices.ContainsFunc(confusable, func(p string) bool { return strings.ContainsRune(p, a) && strings.ContainsRune(p, b) })
}

// letterLike are the signs that recognition puts in the place of a capital.
var letterLike = map[rune]string{
	'A': "4ÄÀÁ", 'B': "8ßE3R6", 'C': "G(OQ<[", 'D': "O0)Q", 'E': "FB3£É", 'F': "EPT", 'G': "6C0O&", 'H': "N#M", 'I': "1l|!iJ][TtjÍf", 'J': "I]1", 'K': "XR<",
	'L': "1IE|", 'M': "NH", 'N': "HM", 'O': "0QDoC", 'P': "FRp", 'Q': "O0", 'R': "KPB", 'S': "5$s8§", 'T': "7IY", 'U': "VuÜJ0", 'V': "UYv", 'W': "Vw", 'X': "Kx", 'Y': "V",
	'Z': "2z7", 'Ä': "A4", 'Ö': "O0", 'Ü': "U",
}

// several are two or three signs that recognition makes of one.
var several = map[rune][]string{
	'0': {"()", "(}"}, 'W': {"VV", "vv", "\\N", "VY"}, 'M': {"IVI", "lVl", "rn", "RN", "NI", "IV"}, 'B': {"l3", "I3", "|3", "13"}, 'K': {"l<", "|<", "I<", "l("}, 'D': {"l)", "|)", "I)"},
	'U': {"ll", "LI", "ii"}, 'Ü': {"ii", "li", "il"}, 'H': {"|-|", "l-l", "I-I"}, 'N': {"|\\|", "l\\l", "ri"}, 'A': {"/\\", "/-"},
}

// slashLike and hyphenLike stand for separators; a hyphen for a slash is how
// some people write.
const (
	slashLike  = "|lI1!ijJ7\\()f[]Y,;-–"
	hyphenLike = ".~=:·*+'’^,_\"°»>«"
	noise      = ".,'`´’‘^~°*\"•·"
)

// sign is one place of a pattern: a digit, a letter or separator that must stand
// there, or any digit.
type sign struct {
	want rune
	any  bool
}

func (p Pattern) signs() []sign {
	var out []sign
	for _, r := range p.Prefix {
		out = append(out, sign{want: unicode.ToUpper(r)})
	}
	for range p.Digits {
		out = append(out, sign{any: true})
	}
	return append(out, sign{want: '/'}, sign{any: true}, sign{any: true})
}

// cost of r in the place of s, and how surely it is read.
func (s sign) cost(r rune) (int, Reading) {
	switch {
	case s.any:
		switch {
		case r >= '0' && r <= '9' || asDigit(r) >= 0:
			return free, Plain
		case digitLike[r] != 0:
			return like, Alike
		case !isHyphen(r) && !isSlash(r) && !unicode.IsSpace(r):
			return unlike, Other
		}
	case unicode.IsDigit(s.want):
		switch {
		case r == s.want || asDigit(r) == s.want:
			return free, Plain
		case rune(digitLike[r]) == s.want:
			return like, Alike
		case r >= '0' && r <= '9' && digitsAlike(r, s.want):
			return like + small, Other
		}
	case isHyphen(s.want):
		switch {
		case isHyphen(r) || r == '_':
			return free, Plain
		case isBlank(r):
			return small, Plain
		case strings.ContainsRune(hyphenLike, r):
			return like, Alike
		case unicode.IsLetter(r):
			return unlike, Other
		}
	case isSlash(s.want):
		switch {
		case isSlash(r):
			return free, Plain
		case strings.ContainsRune(slashLike, r):
			return like, Alike
		case isBlank(r):
			return like + small, Alike
		case unicode.IsLetter(r):
			return unlike, Other
		}
	default:
		switch {
		case unicode.ToUpper(r) == s.want:
			return free, Plain
		case strings.ContainsRune(letterLike[s.want], r):
			return like, Alike
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			return unlike, Other
		}
	}
	return never, Other
}

// FindMisread gives the places of a text that look like numbers of the patterns
// with signs misread, each with the pattern it is nearest to; places that two
// patterns are equally near to are left out. found are the sound numbers of the
// text (FindNumbers): they are none. It never drops or adds a digit: what has too
// few or too many of them is wrong on paper. It is pure, safe for concurrent use,
// and linear in the length of the text.
func FindMisread(text string, patterns []Pattern, found []Found) []Misread {
	if len(patterns) == 0 {
		return nil
	}
	all := make([][]sign, len(patterns))
	for i, p := range patterns {
		all[i] = p.signs()
	}
	var out []Misread
	var a aligner
	next := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		for next < len(found) && found[next].Offset+len(found[next].Written) <= i {
			next++
		}
		if next < len(found) && found[next].Offset <= i {
			i = found[next].Offset + len(found[next].Written)
			continue
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '|' || !startsWord(text, i) || !digitsAhead(text, i) {
			i += size
			continue
		}
		limit := len(text)
		if next < len(found) {
			limit = found[next].Offset
		}
		best, second, which := never, never, -1
		for k := range patterns {
			cost, ok := a.align(text[i:limit], all[k], false)
			switch {
			case !ok || !endsHere(text, i+a.end):
			case cost < best:
				best, second, which = cost, best, k
			case cost < second:
				second = cost
			}
		}
		if which < 0 || best == second {
			i += size
			continue
		}
		a.align(text[i:limit], all[which], true)
		m := Misread{Written: text[i : i+a.end], Offset: i, Pattern: patterns[which], Prefix: Plain}
		m.Readings = a.readings(patterns[which])
		n := utf8.RuneCountInString(patterns[which].Prefix)
		for k, at := range a.taken[:n] {
			_, how := all[which][k].cost(at.r)
			m.Prefix = max(m.Prefix, how, at.how)
		}
		out = append(out, m)
		i += a.end
	}
	return out
}

// startsWord says that no word or number goes on at i.
func startsWord(text string, i int) bool {
	before, size := utf8.DecodeLastRuneInString(text[:i])
	return size == 0 || !unicode.IsLetter(before) && !unicode.IsDigit(before) && !isSlash(before) && !isHyphen(before)
}

// digitsAhead says that enough of the next signs can be digits: most words of a
// text are passed over by it.
func digitsAhead(text string, i int) bool {
	n, digits := 0, 0
	for _, r := range text[i:min(len(text), i+60)] {
		if n++; n > 26 {
			break
		}
		if r >= '0' && r <= '9' {
			digits++
		}
		if digits >= 4 {
			return true
		}
	}
	return false
}

// aligner lays a pattern over the begin of a text by dynamic programming: rows
// are signs of the pattern, columns runes of the text.
type aligner struct {
	runes []rune
	at    []int // byte offset of each rune, and the end
	cells [][]cell
	end   int     // of the number, in bytes
	taken []taken // what was taken for each sign
}

type cell struct {
	cost int
	from step
}

// step is how a cell was reached.
type step uint8

const (
	nothing step = iota
	single       // one rune for the sign
	_            // two for it
	_            // three
	skipped      // a rune that is no sign
	absent       // a separator that is not there
)

type taken struct {
	r   rune
	how Reading
	any string // digits that it may be
}

// window is how many runes more than signs are looked at.
const window = 10

// align gives the least cost of the pattern at the begin of text; trace also
// notes what was taken for each sign.
func (a *aligner) align(text string, signs []sign, trace bool) (int, bool) {
	a.runes, a.at = a.runes[:0], a.at[:0]
	for i, r := range text {
		a.at = append(a.at, i)
		if len(a.runes) == len(signs)+window {
			break
		}
		a.runes = append(a.runes, r)
	}
	if len(a.at) == len(a.runes) {
		a.at = append(a.at, len(text))
	}
	n := len(a.runes)
	for len(a.cells) <= len(signs) {
		a.cells = append(a.cells, nil)
	}
	clear := func(k int) { // a row before it is reached: most patterns end at their first
		if cap(a.cells[k]) <= n {
			a.cells[k] = make([]cell, n+1, n+1+window)
		}
		a.cells[k] = a.cells[k][:n+1]
		for j := range a.cells[k] {
			a.cells[k][j] = cell{cost: never}
		}
	}
	clear(0)
	a.cells[0][0] = cell{}
	better := func(k, j, cost int, from step) {
		if cost < a.cells[k][j].cost && cost <= maxCost {
			a.cells[k][j] = cell{cost, from}
		}
	}
	for k := range len(signs) + 1 {
		reached := false
		if k < len(signs) {
			clear(k + 1)
		}
		for j := range n + 1 {
			c := a.cells[k][j].cost
			if c > maxCost {
				continue
			}
			reached = true
			if j < n && k > 0 && k < len(signs) {
				better(k, j+1, c+skip(a.runes, j), skipped)
			}
			if k == len(signs) {
				continue
			}
			s := signs[k]
			if j < n {
				if cost, _ := s.cost(a.runes[j]); cost < never {
					better(k+1, j+1, c+cost, single)
				}
				want := s.want
				if s.any {
					want = '0'
				}
				for _, w := range several[want] {
					if m := begins(a.runes[j:], w); m > 0 {
						better(k+1, j+m, c+like, single+step(m-1))
					}
				}
			}
			if k > 0 && !s.any && isHyphen(s.want) {
				better(k+1, j, c+like, absent)
			}
		}
		if !reached {
			return never, false
		}
	}
	last := len(signs)
	best := -1
	for j := range n + 1 {
		if c := a.cells[last][j].cost; c <= maxCost && (best < 0 || c < a.cells[last][best].cost) {
			best = j
		}
	}
	if best < 0 {
		return never, false
	}
	a.end = a.at[best]
	if trace {
		a.trace(signs, best)
	}
	return a.cells[last][best].cost, true
}

// begins gives the number of runes of w if runes begin with it, else 0.
func begins(runes []rune, w string) (m int) {
	for _, r := range w {
		if m == len(runes) || runes[m] != r {
			return 0
		}
		m++
	}
	return m
}

// skip is what it costs that a rune is no sign of the number: a blank, the end of
// a line, or a speck.
func skip(runes []rune, j int) int {
	r := runes[j]
	switch {
	case isBlank(r) || r == '\r':
		return small
	case r == '\n':
		return 2 * small
	case isHyphen(r) && j+1 < len(runes) && (runes[j+1] == '\n' || runes[j+1] == '\r'):
		return small // divided at the end of the line
	case strings.ContainsRune(noise, r):
		return like
	}
	return never
}

func (a *aligner) trace(signs []sign, j int) {
	a.taken = append(a.taken[:0], make([]taken, len(signs))...)
	for k := len(signs); k > 0; {
		switch from := a.cells[k][j].from; from {
		case skipped:
			j--
		case absent:
			k--
			a.taken[k] = taken{r: signs[k].want, how: Alike}
		default:
			m := int(from-single) + 1
			k--
			j -= m
			t := taken{r: a.runes[j]}
			if m > 1 {
				t = taken{r: signs[k].want, how: Alike, any: "0"}
			}
			if signs[k].any && m == 1 {
				_, t.how = signs[k].cost(t.r)
				switch {
				case t.r >= '0' && t.r <= '9':
					t.any = string(t.r)
				case asDigit(t.r) >= 0:
					t.any = string(asDigit(t.r))
				case digitLike[t.r] != 0:
					t.any = string(rune(digitLike[t.r]))
				default:
					t.any = "0123456789"
				}
			}
			a.taken[k] = t
		}
	}
}

// readings are the numbers that the taken signs may be.
func (a *aligner) readings(p Pattern) []string {
	n := utf8.RuneCountInString(p.Prefix)
	out := []string{p.Prefix}
	for k, t := range a.taken[n:] {
		if k == p.Digits {
			for i := range out {
				out[i] += "/"
			}
			continue
		}
		if len(out)*len(t.any) > MaxReadings {
			return nil
		}
		var longer []string
		for _, o := range out {
			for _, d := range t.any {
				longer = append(longer, o+string(d))
			}
		}
		out = longer
	}
	return out
}
