package search

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Parse reads what a person typed:
//
//	bauantrag zaun          both words, in any inflection, also inside compounds
//	"frist zur stellung"    the words side by side
//	-widerspruch            without this word; -"..." and -feld:... too
//	gewerbe*                words that begin so, at least three letters
//	absender:meier          a field, German or English name; feld:"zwei worte"
//	eingang:2024-03         a day, month or year of receipt, also 2024-01..2024-06
//	61/5-BA-338202/24       a reference number in any spelling
//	7. Oktober 2009         a date in any spelling
//
// A quotation mark without its partner reaches to the end. An empty text gives a
// nil Node, which finds everything. Errors are *QueryError with the codes
// CodeTooLong, CodeTooManyWords, CodeWildcard, CodePrefixTooShort,
// CodeUnknownField, CodeFieldEmpty and CodeBadDate. Parse does not panic on any
// input.
func Parse(text string) (Node, error) {
	text = strings.ToValidUTF8(text, " ")
	if utf8.RuneCountInString(text) > MaxQueryRunes {
		return nil, queryErr(CodeTooLong, "limit", strconv.Itoa(MaxQueryRunes))
	}
	text = quotes.Replace(text)
	p := parser{in: text}
	if err := p.all(); err != nil {
		return nil, err
	}
	if n := countLeaves(p.out); n > MaxQueryWords {
		return nil, queryErr(CodeTooManyWords, "limit", strconv.Itoa(MaxQueryWords))
	}
	switch len(p.out) {
	case 0:
		return nil, nil
	case 1:
		return p.out[0], nil
	}
	return p.out, nil
}

// quotes maps what keyboards and word processors make of quotation marks,
// hyphens and blanks.
var quotes = strings.NewReplacer("„", `"`, "“", `"`, "”", `"`, "«", `"`, "»", `"`, "‑", "-", "–", "-", "−", "-", "\u00a0", " ", "\u202f", " ", "\u00ad", "")

type parser struct {
	in    string
	pos   int
	plain int // start of the run of plain words before pos, -1 if none
	out   And
}

func (p *parser) all() error {
	p.plain = -1
	for {
		for p.pos < len(p.in) {
			r, n := utf8.DecodeRuneInString(p.in[p.pos:])
			if !unicode.IsSpace(r) {
				break
			}
			p.pos += n
		}
		if p.pos >= len(p.in) {
			p.flush(p.pos)
			return nil
		}
		start := p.pos
		neg := false
		if p.in[p.pos] == '-' && p.pos+1 < len(p.in) && startsOperand(p.in[p.pos+1:]) {
			neg = true
			p.pos++
		}
		n, err := p.operand(neg, start)
		if err != nil {
			return err
		}
		if n == nil {
			continue
		}
		if neg {
			n = Not{Of: n}
		}
		p.out = append(p.out, n)
	}
}

func startsOperand(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return r == '"' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// operand reads one phrase, field, prefix or word at pos. A plain word that is
// not negated is left to flush, which looks at all plain words together.
func (p *parser) operand(neg bool, start int) (Node, error) {
	if p.in[p.pos] == '"' {
		p.flush(start)
		if t := p.quoted(); strings.TrimSpace(t) != "" {
			return Phrase{Text: t}, nil
		}
		return nil, nil
	}
	from := p.pos
	for p.pos < len(p.in) {
		r, n := utf8.DecodeRuneInString(p.in[p.pos:])
		if unicode.IsSpace(r) || r == '"' {
			break
		}
		p.pos += n
	}
	tok := p.in[from:p.pos]
	if name, value, ok := strings.Cut(tok, ":"); ok && isFieldName(name) && !strings.HasPrefix(value, "/") {
		field, known := fieldAliases[strings.ToLower(name)]
		quoted := p.pos < len(p.in) && p.in[p.pos] == '"' && value == ""
		switch {
		case known:
			p.flush(start)
			if quoted {
				value = p.quoted()
			}
			return fieldNode(field, name, value)
		case value != "" || quoted:
			return nil, queryErr(CodeUnknownField, "field", name, "fields", strings.Join(FieldNames(), ", "))
		}
	}
	if strings.Contains(tok, "*") {
		p.flush(start)
		w := strings.TrimRight(tok, "*")
		if strings.Contains(w, "*") || w == "" {
			return nil, queryErr(CodeWildcard, "word", tok)
		}
		letters := 0
		for _, r := range w {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				letters++
			}
		}
		if letters < MinPrefixLetters {
			return nil, queryErr(CodePrefixTooShort, "word", tok, "letters", strconv.Itoa(MinPrefixLetters))
		}
		return Prefix{Text: w}, nil
	}
	if neg {
		p.flush(start)
		return Word{Text: tok}, nil
	}
	if p.plain < 0 {
		p.plain = from
	}
	return nil, nil
}

// quoted reads from the quotation mark at pos to its partner or the end.
func (p *parser) quoted() string {
	p.pos++
	rest := p.in[p.pos:]
	i := strings.IndexByte(rest, '"')
	if i < 0 {
		p.pos = len(p.in)
		return rest
	}
	p.pos += i + 1
	return rest[:i]
}

func isFieldName(s string) bool {
	for _, r := range s {
		if !unicode.IsLetter(r) && r != '_' {
			return false
		}
	}
	return s != ""
}

// flush turns the plain words before end into nodes.
func (p *parser) flush(end int) {
	if p.plain < 0 {
		return
	}
	p.out = append(p.out, plainNodes(p.in[p.plain:end], true)...)
	p.plain = -1
}

// plainNodes finds IBANs, dates and reference numbers among plain words; the
// rest are words. With loose, groups of a number may be joined by blanks.
func plainNodes(s string, loose bool) []Node {
	type span struct {
		from, to int
		node     Node
	}
	var spans []span
	free := func(from, to int) bool {
		for _, x := range spans {
			if from < x.to && x.from < to {
				return false
			}
		}
		return true
	}
	for w := range wordsOf(s) {
		if !free(w.start, w.start+1) {
			continue
		}
		if _, n := ibanAt(s[w.start:]); n > 0 {
			spans = append(spans, span{w.start, w.start + n, Reference{Text: s[w.start : w.start+n]}})
			continue
		}
		if d, n := dateAt(s[w.start:]); n > 0 && !dateInRef(s, w.start, n) {
			spans = append(spans, span{w.start, w.start + n, d})
		}
	}
	runsOf(s, loose, func(r *run) {
		from, to := r.groups[0].start, r.end()
		if !r.isReference() || !free(from, to) {
			return
		}
		spans = append(spans, span{from, to, Reference{Text: s[from:to], Loose: r.blank}})
	})
	var out []Node
	for i := 0; i < len(s); {
		next := span{from: len(s), to: len(s)}
		for _, x := range spans {
			if x.from >= i && x.from < next.from {
				next = x
			}
		}
		for _, w := range strings.Fields(s[i:next.from]) {
			if strings.ContainsFunc(w, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
				out = append(out, Word{Text: w})
			}
		}
		if _, ref := next.node.(Reference); ref && len(out) > 0 {
			// "Az. 61/5-..." asks for the number, not for the word before it.
			if w, ok := out[len(out)-1].(Word); ok && refPrefixes[strings.ToUpper(strings.Trim(w.Text, ".:"))] {
				out = out[:len(out)-1]
			}
		}
		if next.node != nil {
			out = append(out, next.node)
		}
		i = max(next.to, i+1)
	}
	return out
}

// dateInRef reports whether the date at s[from:from+n] is the middle of a
// longer number, such as 61/5-10-24/7.
func dateInRef(s string, from, n int) bool {
	before, after := byte(' '), byte(' ')
	if from > 0 {
		before = s[from-1]
	}
	if from+n < len(s) {
		after = s[from+n]
	}
	return strings.IndexByte("/-_", before) >= 0 || strings.IndexByte("/-_", after) >= 0
}

func countLeaves(n Node) int {
	switch n := n.(type) {
	case And:
		c := 0
		for _, k := range n {
			c += countLeaves(k)
		}
		return c
	case Not:
		return countLeaves(n.Of)
	default:
		return 1
	}
}

func fieldNode(field, name, value string) (Node, error) {
	value = strings.TrimSpace(value)
	if value == "" {
		return nil, queryErr(CodeFieldEmpty, "field", name)
	}
	if field != "received_on" {
		return FieldIs{Field: field, Values: []string{value}}, nil
	}
	from, to, ok := dayRange(value)
	if !ok {
		return nil, queryErr(CodeBadDate, "field", name, "value", value)
	}
	return ReceivedIn{From: from, To: to}, nil
}

// dayRange reads a day, month or year, or two of them with ".." between; either
// side of ".." may be empty.
func dayRange(s string) (from, to time.Time, ok bool) {
	a, b, isRange := strings.Cut(s, "..")
	if !isRange {
		return period(s)
	}
	if strings.TrimSpace(a) == "" && strings.TrimSpace(b) == "" {
		return from, to, false
	}
	if strings.TrimSpace(a) != "" {
		if from, _, ok = period(a); !ok {
			return from, to, false
		}
	}
	if strings.TrimSpace(b) != "" {
		if _, to, ok = period(b); !ok {
			return from, to, false
		}
	}
	return from, to, to.IsZero() || !to.Before(from)
}

// period reads a day, month or year and gives its first and last day.
func period(s string) (from, to time.Time, ok bool) {
	s = strings.TrimSpace(s)
	for _, f := range []struct {
		layout        string
		years, months int
	}{{"2006-01-02", 0, 0}, {"2006-01", 0, 1}, {"01.2006", 0, 1}, {"01/2006", 0, 1}, {"2006", 1, 0}} {
		t, err := time.Parse(f.layout, s)
		if err != nil {
			continue
		}
		if f.years+f.months == 0 {
			return t, t, true
		}
		return t, t.AddDate(f.years, f.months, -1), true
	}
	d, n := dateAt(s)
	if n == 0 || n != len(s) {
		return from, to, false
	}
	from = time.Date(d.Year, time.Month(d.Month), max(d.Day, 1), 0, 0, 0, 0, time.UTC)
	if d.Day == 0 {
		return from, from.AddDate(0, 1, -1), true
	}
	return from, from, true
}
