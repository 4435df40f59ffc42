package search

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of what is extracted from one document; a text with more is a list,
// and its words are found all the same.
const (
	maxRefGroups = 12
	maxRefLen    = 48
	maxRefs      = 4000
	maxDates     = 4000
)

// refPrefixes introduce a reference number and are no part of it.
var refPrefixes = map[string]bool{"AZ": true, "GZ": true, "NR": true, "NO": true, "ZEICHEN": true, "AKTENZEICHEN": true}

// run is a sequence of words that may be one reference number.
type run struct {
	groups []word
	seps   []string // seps[i] stands before groups[i]; seps[0] is empty
	blank  bool     // some groups are joined by blanks only
}

// end is the byte offset after the last group.
func (r *run) end() int {
	g := r.groups[len(r.groups)-1]
	return g.start + len(g.text)
}

// joinable reports whether sep can stand inside a reference number; blank says
// that it is nothing but blanks.
func joinable(sep string) (ok, blank bool) {
	t := strings.Trim(sep, " \t")
	if len(sep)-len(t) > 4 {
		return false, false
	}
	switch t {
	case "":
		return sep != "", true
	case "/", "-", "_", "–", "‑":
		return true, false
	case ".", ":":
		return sep == t, false // "Nr. 5": a full stop with a blank ends
	}
	return false, false
}

// refGroup reports whether a word can be a group of a reference number.
func refGroup(w word) bool {
	if w.digits {
		return len(w.text) <= 16 && isASCII(w.text)
	}
	return len(w.text) <= 5 && isASCII(w.text)
}

// runsOf calls f for every maximal run of groups in s. With blanks, groups may
// be joined by blanks alone: so people type, while in a text that would join
// words with the figures that follow them. The run is valid during the call only.
func runsOf(s string, blanks bool, f func(r *run)) {
	var r run
	flush := func() {
		// Words that only introduce a number.
		for len(r.groups) > 0 && refPrefixes[strings.ToUpper(r.groups[0].text)] {
			r.groups, r.seps = r.groups[1:], r.seps[1:]
		}
		if len(r.groups) > 0 {
			r.blank = false
			for _, sep := range r.seps[1:] {
				if _, b := joinable(sep); b {
					r.blank = true
				}
			}
			f(&r)
		}
		r.groups, r.seps = nil, nil
	}
	var groups [maxRefGroups]word
	var seps [maxRefGroups]string
	for w := range wordsOf(s) {
		if !refGroup(w) {
			if len(r.groups) > 0 {
				flush()
			}
			continue
		}
		sep := ""
		if len(r.groups) > 0 {
			sep = s[r.end():w.start]
			ok, blank := joinable(sep)
			spaced := strings.ContainsAny(sep, " \t")
			if !ok || (blank && !blanks) || len(r.groups) == maxRefGroups ||
				// In a text " - Eingang" is not part of the number before it.
				(!blanks && spaced && !w.digits && strings.ToUpper(w.text) != w.text) {
				flush()
				sep = ""
			}
		}
		if len(r.groups) == 0 {
			r.groups, r.seps = groups[:0], seps[:0]
		}
		r.groups, r.seps = append(r.groups, w), append(r.seps, sep)
	}
	if len(r.groups) > 0 {
		flush()
	}
}

// isReference reports whether a run looks like a reference number: at least two
// groups, five digits (four beside letters), and not only a date.
func (r *run) isReference() bool {
	digits, letters, numeric := 0, 0, 0
	for _, g := range r.groups {
		if g.digits {
			numeric++
		}
		for i := range len(g.text) {
			if c := g.text[i]; '0' <= c && c <= '9' {
				digits++
			} else {
				letters++
			}
		}
	}
	if len(r.groups) < 2 || numeric == 0 {
		return false
	}
	if digits < 5 && (letters == 0 || digits < 4) {
		return false
	}
	return numeric >= 2 || letters > 0
}

// canon is the canonical form of the first n groups: upper case, no
// separators, a year after a slash or at the end with two digits.
func (r *run) canon(n int) string {
	var b strings.Builder
	for i, g := range r.groups[:n] {
		t := g.text
		if len(t) == 4 && i > 0 && isYear(t) && (i == n-1 || strings.Contains(r.seps[i], "/")) {
			t = t[2:]
		}
		b.WriteString(strings.ToUpper(t))
	}
	if b.Len() > maxRefLen {
		return ""
	}
	return b.String()
}

// canons are the canonical forms under which a number in a text can be found:
// the whole run, and without what follows the year ("/24-01", "/24.Das").
func (r *run) canons() []string {
	var out []string
	for i := 1; i < len(r.groups)-1; i++ {
		t := r.groups[i].text
		if strings.Contains(r.seps[i], "/") && (len(t) == 2 && t >= "00" && t <= "99" || isYear(t)) {
			if c := r.canon(i + 1); len(c) >= 5 {
				out = append(out, c)
			}
		}
	}
	if c := r.canon(len(r.groups)); c != "" {
		out = append(out, c)
	}
	return out
}

func isYear(s string) bool {
	return len(s) == 4 && (s[:2] == "19" || s[:2] == "20") && s[2] >= '0' && s[2] <= '9' && s[3] >= '0' && s[3] <= '9'
}

// extractRefs are the canonical reference numbers in a text, each once.
func extractRefs(s string) []string {
	var out []string
	seen := map[string]struct{}{}
	runsOf(s, false, func(r *run) {
		if len(out) >= maxRefs || !r.isReference() {
			return
		}
		span := s[r.groups[0].start:r.end()]
		if d, n := dateAt(span); n == len(span) && d.Day > 0 {
			return
		}
		for _, c := range r.canons() {
			if _, dup := seen[c]; !dup {
				seen[c] = struct{}{}
				out = append(out, c)
			}
		}
	})
	return out
}

// CanonicalReference brings a reference number in any spelling to the form in
// which numbers are compared: `61/5-BA-338202/24`, `61.5 BA 338202/2024` and
// `61 / 5 - ba - 338202 / 24` are all `615BA33820224`. Letters and digits are
// kept in upper case, a closing year keeps its last two digits. The empty
// string means that s holds no letter or digit, or too many.
func CanonicalReference(s string) string {
	if len(s) > 4*maxRefLen {
		return ""
	}
	var r run
	prev := 0
	for w := range wordsOf(s) {
		r.groups, r.seps = append(r.groups, w), append(r.seps, s[prev:w.start])
		prev = w.start + len(w.text)
	}
	for len(r.groups) > 1 && refPrefixes[strings.ToUpper(r.groups[0].text)] {
		r.groups, r.seps = r.groups[1:], r.seps[1:]
	}
	return r.canon(len(r.groups))
}

var months = map[string]int{
	"januar": 1, "jan": 1, "jänner": 1, "februar": 2, "feb": 2, "märz": 3, "maerz": 3, "mrz": 3, "mär": 3, "april": 4, "apr": 4,
	"mai": 5, "juni": 6, "jun": 6, "juli": 7, "jul": 7, "august": 8, "aug": 8, "september": 9, "sept": 9, "sep": 9,
	"oktober": 10, "okt": 10, "november": 11, "nov": 11, "dezember": 12, "dez": 12,
}

var (
	// German order with dots, slashes or hyphens; years with two or four digits.
	reNumericDate = regexp.MustCompile(`^(\d{1,2})(?:\. ?|/|-)(\d{1,2})(?:\. ?|/|-)(\d{4}|\d{2})(?:\D|$)`)
	reISODate     = regexp.MustCompile(`^(\d{4})-(\d{2})-(\d{2})(?:\D|$)`)
	reNamedDate   = regexp.MustCompile(`^(\d{1,2})\.?\s{0,3}(\p{L}{3,9})\.?\s{0,3}(\d{4})(?:\D|$)`)
	reMonthYear   = regexp.MustCompile(`^(\p{L}{3,9})\.?\s{1,3}(\d{4})(?:\D|$)`)
)

// dateAt reads a date or a month with year at the start of s. n is how many
// bytes it takes, 0 if there is none.
func dateAt(s string) (d Date, n int) {
	if len(s) > 40 {
		s = s[:40]
	}
	num := func(t string) int { v, _ := strconv.Atoi(t); return v }
	var m []int
	sub := func(i int) string { return s[m[2*i]:m[2*i+1]] }
	if m = reISODate.FindStringSubmatchIndex(s); m != nil {
		d = Date{Year: num(sub(1)), Month: num(sub(2)), Day: num(sub(3))}
		n = m[7]
	} else if m = reNumericDate.FindStringSubmatchIndex(s); m != nil {
		d = Date{Year: num(sub(3)), Month: num(sub(2)), Day: num(sub(1))}
		if len(sub(3)) == 2 {
			d.Year = century(d.Year)
		}
		n = m[7]
	} else if m = reNamedDate.FindStringSubmatchIndex(s); m != nil {
		d = Date{Year: num(sub(3)), Month: months[strings.ToLower(sub(2))], Day: num(sub(1))}
		n = m[7]
	} else if m = reMonthYear.FindStringSubmatchIndex(s); m != nil {
		d = Date{Year: num(sub(2)), Month: months[strings.ToLower(sub(1))]}
		n = m[5]
	}
	if n == 0 || d.Month < 1 || d.Month > 12 || d.Year < 1000 {
		return Date{}, 0
	}
	if d.Day != 0 {
		t := time.Date(d.Year, time.Month(d.Month), d.Day, 0, 0, 0, 0, time.UTC)
		if t.Day() != d.Day {
			return Date{}, 0
		}
	} else if m = reMonthYear.FindStringSubmatchIndex(s); m == nil {
		return Date{}, 0 // "0.10.2009"
	}
	d.Text = s[:n]
	return d, n
}

// century gives a year of two digits its century: up to 49 this one.
func century(y int) int {
	if y < 50 {
		return 2000 + y
	}
	return 1900 + y
}

// term is the canonical index term: YYYYMMDD, YYYYMM or YYYY.
func (d Date) term() string {
	switch {
	case d.Day > 0:
		return fmt.Sprintf("%04d%02d%02d", d.Year, d.Month, d.Day)
	case d.Month > 0:
		return fmt.Sprintf("%04d%02d", d.Year, d.Month)
	default:
		return fmt.Sprintf("%04d", d.Year)
	}
}

// extractDates are the terms of the dates in a text: day, month and year each
// once. Years that stand alone are words, not dates.
func extractDates(s string) []string {
	var out []string
	seen := map[string]struct{}{}
	add := func(t string) {
		if _, dup := seen[t]; !dup {
			seen[t] = struct{}{}
			out = append(out, t)
		}
	}
	datesOf(s, func(d Date, _ int) bool {
		if d.Day > 0 {
			add(d.term())
		}
		add(fmt.Sprintf("%04d%02d", d.Year, d.Month))
		add(fmt.Sprintf("%04d", d.Year))
		return len(out) < maxDates
	})
	return out
}

// datesOf calls f for the dates in s, with their byte offset, until it returns false.
func datesOf(s string, f func(d Date, start int) bool) {
	skip := 0
	for w := range wordsOf(s) {
		if w.start < skip {
			continue
		}
		c := w.text[0]
		switch {
		case w.digits && '0' <= c && c <= '9' && (len(w.text) <= 2 || len(w.text) == 4):
		case !w.digits && len(w.text) <= 10 && isMonth(w.text):
		default:
			continue
		}
		d, n := dateAt(s[w.start:])
		if n == 0 {
			continue
		}
		skip = w.start + n
		if !f(d, w.start) {
			return
		}
	}
}

func isMonth(w string) bool {
	switch w[0] {
	case 'J', 'F', 'M', 'A', 'S', 'O', 'N', 'D', 'j', 'f', 'm', 'a', 's', 'o', 'n', 'd':
		return months[strings.ToLower(w)] > 0
	}
	return false
}

// extractIBANs are the IBANs in a text without blanks, checked by their check
// digits (ISO 13616, ISO 7064 mod 97-10).
func extractIBANs(s string) []string {
	var out []string
	for i := 0; i+15 <= len(s); i++ {
		c := s[i]
		if c < 'A' || c > 'Z' || (i > 0 && isAlnum(s[i-1])) {
			continue
		}
		if v, n := ibanAt(s[i:]); n > 0 {
			out = append(out, v)
			i += n - 1
			if len(out) >= maxRefs {
				break
			}
		}
	}
	return out
}

// ibanAt reads an IBAN at the start of s, upper or lower case, blanks between
// groups allowed. n is how many bytes it takes, 0 if there is none.
func ibanAt(s string) (iban string, n int) {
	var b [34]byte
	k := 0
	for i := 0; i < len(s) && k < len(b); i++ {
		c := s[i]
		if c == ' ' && k >= 4 && i+1 < len(s) && isAlnum(s[i+1]) && s[i-1] != ' ' {
			continue
		}
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if !isAlnum(c) || (k < 2 && (c < 'A' || c > 'Z')) || (k >= 2 && k < 4 && (c < '0' || c > '9')) {
			break
		}
		b[k] = c
		k++
		ends := i+1 == len(s) || !isAlnum(s[i+1]) && (s[i+1] < utf8.RuneSelf)
		if k >= 15 && ends && mod97(b[:k]) && (string(b[:2]) != "DE" || k == 22) {
			return string(b[:k]), i + 1
		}
	}
	return "", 0
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func mod97(iban []byte) bool {
	rest := 0
	for i := range iban {
		c := iban[(i+4)%len(iban)]
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest == 1
}
