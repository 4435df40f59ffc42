package search

import (
	"html"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxMarks     = 400 // matches looked at in one text
	maxMarked    = 50  // different words reported for a page image
	marksEnough  = 60  // after so many, with every word seen, the rest of a text is not read
	maxPhraseLen = 64
)

// marker finds what a query matched in a text. It works on the stored text with
// the same analysis as the index, so a part of a compound marks the whole word
// and no mark cuts a letter. It is immutable and safe for concurrent use.
type marker struct {
	an       *germanAnalysis
	stems    map[string]int // stem -> number of the operand
	prefixes map[string]int // folded prefix -> operand
	phrases  []markPhrase
	refs     map[string]int // canonical number -> operand
	dates    map[string]int // canonical date -> operand
	operands int
}

type markPhrase struct {
	stems []string // "" stands for any one word
	op    int
}

// mark is a match: bytes from to to, and the operand that matched.
type mark struct{ from, to, op int }

// marker collects the positive operands of a query.
func (a *germanAnalysis) marker(where Node, replace map[string][]string) *marker {
	m := &marker{an: a, stems: map[string]int{}, prefixes: map[string]int{}, refs: map[string]int{}, dates: map[string]int{}}
	m.collect(where, replace)
	return m
}

func (m *marker) collect(n Node, replace map[string][]string) {
	op := m.operands
	switch n := n.(type) {
	case And:
		for _, k := range n {
			m.collect(k, replace)
		}
		return
	case Word:
		m.words(n.Text, op, replace)
	case Phrase:
		m.words(n.Text, op, nil)
	case Prefix:
		m.prefixes[m.an.fold(strings.ToLower(m.an.prepare(n.Text)))] = op
	case Reference:
		if c := CanonicalReference(n.Text); c != "" {
			m.refs[c] = op
		}
		if n.Loose {
			for _, k := range plainNodes(n.Text, false) {
				m.collect(k, replace)
			}
		} else {
			m.words(n.Text, op, nil)
		}
	case Date:
		m.dates[n.term()] = op
	case FieldIs:
		if n.Field == "subject" {
			for _, v := range n.Values {
				m.words(v, op, nil)
			}
		}
	default:
		return
	}
	m.operands++
}

func (m *marker) words(text string, op int, replace map[string][]string) {
	var stems []string
	for w := range wordsOf(m.an.prepare(text)) {
		stems = append(stems, m.an.lexeme(w.text).stem)
	}
	switch {
	case len(stems) == 1 && stems[0] != "":
		for _, s := range append([]string{stems[0]}, replace[stems[0]]...) {
			m.stems[s] = op
		}
	case len(stems) > 1 && len(stems) <= maxPhraseLen && slices.ContainsFunc(stems, func(s string) bool { return s != "" }):
		m.phrases = append(m.phrases, markPhrase{stems, op})
	}
}

// find returns the matches in text from left to right, without overlaps.
func (m *marker) find(text string) []mark {
	if m.operands == 0 || text == "" {
		return nil
	}
	var marks []mark
	type tok struct {
		stem     string
		from, to int
	}
	var toks []tok
	seen := map[int]bool{}
	for w := range wordsOf(text) {
		l := m.an.lexeme(w.text)
		op, ok := m.match(l)
		if ok && len(marks) < maxMarks {
			marks = append(marks, mark{w.start, w.start + len(w.text), op})
			seen[op] = true
		}
		if len(m.phrases) > 0 {
			toks = append(toks, tok{l.stem, w.start, w.start + len(w.text)})
		} else if len(marks) >= marksEnough && len(seen) == m.operands {
			break
		}
	}
	for _, p := range m.phrases {
		n := len(p.stems)
		for i := 0; i+n <= len(toks) && len(marks) < 2*maxMarks; i++ {
			ok := true
			for j, s := range p.stems {
				if s != "" && s != toks[i+j].stem {
					ok = false
					break
				}
			}
			if ok {
				marks = append(marks, mark{toks[i].from, toks[i+n-1].to, p.op})
			}
		}
	}
	if len(m.refs) > 0 {
		runsOf(text, false, func(r *run) {
			for n := len(r.groups); n > 0 && len(marks) < 3*maxMarks; n-- {
				if op, ok := m.refs[r.canon(n)]; ok {
					last := r.groups[n-1]
					marks = append(marks, mark{r.groups[0].start, last.start + len(last.text), op})
					return
				}
			}
		})
	}
	if len(m.dates) > 0 {
		datesOf(text, func(d Date, start int) bool {
			for _, n := range []int{4, 6, 8} {
				if t := d.term(); len(t) >= n {
					if op, ok := m.dates[t[:n]]; ok {
						marks = append(marks, mark{start, start + len(d.Text), op})
						break
					}
				}
			}
			return len(marks) < 3*maxMarks
		})
	}
	slices.SortFunc(marks, func(a, b mark) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	out := marks[:0]
	for _, k := range marks {
		if len(out) == 0 || k.from >= out[len(out)-1].to {
			out = append(out, k)
		}
	}
	return out
}

func (m *marker) match(l lexeme) (int, bool) {
	if l.stem == "" && len(m.prefixes) == 0 {
		return 0, false
	}
	if op, ok := m.stems[l.stem]; ok && l.stem != "" {
		return op, true
	}
	for _, p := range l.parts {
		if op, ok := m.stems[p]; ok {
			return op, true
		}
	}
	for p, op := range m.prefixes {
		if strings.HasPrefix(l.folded, p) {
			return op, true
		}
	}
	return 0, false
}

// show fills the parts of an item that are shown: escaped, with marks.
func (m *marker) show(it *Item, subject, text string, h Highlight) {
	inSubject := m.find(subject)
	it.SubjectHTML = render(subject, 0, len(subject), inSubject)
	inText := m.find(text)
	for _, w := range fragments(text, inText, h) {
		it.Fragments = append(it.Fragments, render(text, w.from, w.to, inText))
	}
	seen := map[string]bool{}
	for _, x := range []struct {
		s     string
		marks []mark
	}{{subject, inSubject}, {text, inText}} {
		for _, k := range x.marks {
			if w := x.s[k.from:k.to]; !seen[w] && len(it.Marked) < maxMarked {
				seen[w] = true
				it.Marked = append(it.Marked, w)
			}
		}
	}
}

// fragments chooses the windows of a text with most different matches first.
func fragments(text string, marks []mark, h Highlight) []mark {
	type window struct {
		mark
		score int
	}
	var all []window
	for i, k := range marks {
		w := window{mark: mark{from: k.from - h.Size/4, to: max(k.from+h.Size*3/4, k.to)}}
		ops := map[int]bool{}
		for _, o := range marks[i:] {
			if o.to > w.to {
				break
			}
			if !ops[o.op] {
				ops[o.op] = true
				w.score += 100
			}
			w.score++
		}
		all = append(all, w)
	}
	slices.SortStableFunc(all, func(a, b window) int { return b.score - a.score })
	var out []mark
	for _, w := range all {
		if len(out) == h.Fragments {
			break
		}
		if slices.ContainsFunc(out, func(o mark) bool { return w.from < o.to && o.from < w.to }) {
			continue
		}
		out = append(out, snap(text, w.mark))
	}
	return out
}

// snap moves the ends of a window to the text's ends or to blanks near by, and
// never into a letter.
func snap(text string, w mark) mark {
	const near = 24
	w.from, w.to = max(w.from, 0), min(w.to, len(text))
	if w.from > 0 {
		for w.from > 0 && !utf8.RuneStart(text[w.from]) {
			w.from--
		}
		if i := strings.IndexFunc(text[w.from:min(w.from+near, w.to)], unicode.IsSpace); i >= 0 {
			w.from += i
		}
	}
	if w.to < len(text) {
		for w.to < len(text) && !utf8.RuneStart(text[w.to]) {
			w.to++
		}
		rest := text[w.to:]
		if i := strings.IndexFunc(rest[:min(near, len(rest))], unicode.IsSpace); i >= 0 {
			w.to += i
		}
	}
	return w
}

// render escapes text[from:to] for HTML and puts <mark> around the matches in
// it. Control characters become blanks.
func render(text string, from, to int, marks []mark) string {
	var b strings.Builder
	piece := func(s string) {
		b.WriteString(html.EscapeString(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, s)))
	}
	for _, k := range marks {
		if k.to <= from || k.from >= to {
			continue
		}
		if k.from < from || k.to > to {
			continue // a mark is shown whole or not at all
		}
		piece(text[from:k.from])
		b.WriteString("<mark>")
		piece(text[k.from:k.to])
		b.WriteString("</mark>")
		from = k.to
	}
	piece(text[from:to])
	return strings.TrimSpace(strings.ToValidUTF8(b.String(), "\uFFFD"))
}
