package akte

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/postgres"
)

// Pattern is how a unit writes its Aktenzeichen: prefix, digits, slash, two
// digits of the year.
type Pattern struct {
	ID                 uuid.UUID
	Prefix             string
	Digits             int
	UnitID             uuid.UUID
	UnitCode           string
	AktenplaneinheitID uuid.UUID
}

// Found is one well-formed Aktenzeichen in a text.
type Found struct {
	Aktenzeichen string // as the unit writes it, e.g. "61/5-BA-338202/24"
	Vorgang      string // with its suffix, e.g. "61/5-BA-338202/24-01"; empty: none
	Written      string // as it stands in the text
	Offset       int    // of Written in the text, in bytes
	Exact        bool   // letter by letter as the unit writes it
	Pattern      Pattern
}

// NumberState is what an Aktenzeichen turned out to be.
type NumberState int

// The states of a number.
const (
	Malformed   NumberState = iota // no Aktenzeichen of this house
	UnknownUnit                    // well-formed, but no unit writes so
	AkteUnknown                    // of a known unit, without an Akte
	Known                          // there is an Akte
)

// Number is the answer of Resolve.
type Number struct {
	State        NumberState
	Written      string    // as asked
	Aktenzeichen string    // as the unit writes it (of the Akte); empty when Malformed
	Normal       string    // as the register compares
	AkteID       uuid.UUID // set when Known
	VorgangID    uuid.UUID // set when the number names a Vorgang
	UnitID       uuid.UUID // set when Known (may be nil UUID) and AkteUnknown
	UnitCode     string
}

// Normal is the form in which the register compares numbers: upper case,
// letters and digits alone.
func Normal(written string) string {
	var b strings.Builder
	for _, r := range written {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(unicode.ToUpper(r))
		}
	}
	return b.String()
}

const sqlPatterns = `
    SELECT p.id, p.prefix, p.digits, p.unit_id, u.code, p.aktenplaneinheit_id
    FROM number_pattern p JOIN org_unit u ON u.tenant = p.tenant AND u.id = p.unit_id
    WHERE p.tenant = evb_tenant() ORDER BY p.prefix`

// Patterns lists the patterns of the tenant by prefix.
func Patterns(ctx context.Context, q postgres.Querier) ([]Pattern, error) {
	rows, err := q.Query(ctx, sqlPatterns)
	if err != nil {
		return nil, fmt.Errorf("patterns: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Pattern])
}

const sqlResolve = `
    SELECT n.normal_form, o.kind, o.id, coalesce(v.akte_id, k.id), ka.aktenzeichen, ao.unit_id, coalesce(u.code, '')
    FROM number_register n
    JOIN record_object o ON o.tenant = n.tenant AND o.id = n.record_id
    LEFT JOIN vorgang v ON v.tenant = o.tenant AND v.id = o.id
    LEFT JOIN akte k ON k.tenant = o.tenant AND k.id = o.id
    JOIN akte ka ON ka.tenant = o.tenant AND ka.id = CASE WHEN v.akte_id IS NOT NULL THEN v.akte_id ELSE k.id END
    JOIN record_object ao ON ao.tenant = ka.tenant AND ao.id = ka.id
    LEFT JOIN org_unit u ON u.tenant = ao.tenant AND u.id = ao.unit_id
    WHERE n.tenant = evb_tenant() AND n.normal_form = ANY ($1) AND n.kind <> 'foreign' AND o.lifecycle <> 'destroyed'`

// Resolve says what a number is. It asks for no rights: whoever shows the
// answer to a person asks whether that person sees the Akte. A former number
// leads to its Akte, too.
func Resolve(ctx context.Context, q postgres.Querier, written string) (Number, error) {
	patterns, err := Patterns(ctx, q)
	if err != nil {
		return Number{}, err
	}
	return ResolveWith(ctx, q, patterns, written)
}

// ResolveWith is Resolve with patterns that the caller has read already.
func ResolveWith(ctx context.Context, q postgres.Querier, patterns []Pattern, written string) (Number, error) {
	all, err := ResolveAll(ctx, q, patterns, []string{written})
	return all[written], err
}

// ResolveAll is ResolveWith for many numbers at once, by how they are written.
func ResolveAll(ctx context.Context, q postgres.Querier, patterns []Pattern, written []string) (map[string]Number, error) {
	type question struct {
		found      Found
		whole      bool
		candidates []string
	}
	ask := make(map[string]question, len(written))
	var normals []string
	for _, w := range written {
		if _, twice := ask[w]; twice {
			continue
		}
		var x question
		trimmed := strings.TrimSpace(w)
		x.found, x.whole = wholeNumber(trimmed, patterns)
		x.candidates = candidates(trimmed, x.found, x.whole)
		ask[w] = x
		normals = append(normals, x.candidates...)
	}
	known := map[string]Number{}
	if len(normals) > 0 {
		rows, err := q.Query(ctx, sqlResolve, normals)
		if err != nil {
			return nil, fmt.Errorf("resolve numbers: %w", err)
		}
		var n Number
		var kind string
		var id uuid.UUID
		var unit *uuid.UUID
		if _, err := pgx.ForEachRow(rows, []any{&n.Normal, &kind, &id, &n.AkteID, &n.Aktenzeichen, &unit, &n.UnitCode}, func() error {
			k := n
			k.State = Known
			if unit != nil {
				k.UnitID = *unit
			}
			if kind == KindVorgang {
				k.VorgangID = id
			}
			known[k.Normal] = k
			return nil
		}); err != nil {
			return nil, fmt.Errorf("resolve numbers: %w", err)
		}
	}
	out := make(map[string]Number, len(ask))
	for w, x := range ask {
		out[w] = answer(w, x.found, x.whole, x.candidates, known, patterns)
	}
	return out, nil
}

// answer says what a number is: what the register has under the first of its
// candidates that it has, else what its shape tells.
func answer(written string, found Found, whole bool, candidates []string, known map[string]Number, patterns []Pattern) Number {
	for _, normal := range candidates {
		if n, ok := known[normal]; ok {
			n.Written = written
			return n
		}
	}
	n := Number{Written: written}
	trimmed := strings.TrimSpace(written)
	switch {
	case whole:
		n.State, n.Aktenzeichen, n.Normal = AkteUnknown, found.Aktenzeichen, Normal(found.Aktenzeichen)
		n.UnitID, n.UnitCode = found.Pattern.UnitID, found.Pattern.UnitCode
	case wellFormed.MatchString(strings.ToUpper(trimmed)) && !prefixKnown(trimmed, patterns):
		n.State, n.Aktenzeichen, n.Normal = UnknownUnit, trimmed, Normal(trimmed)
	default:
		n.State = Malformed
	}
	return n
}

// candidates are the normal forms under which a number may stand in the
// register: as written, then as the pattern writes it. A Vorgang that is not
// there still names its Akte.
func candidates(written string, f Found, whole bool) []string {
	var out []string
	add := func(s string) {
		if n := Normal(s); n != "" {
			for _, o := range out {
				if o == n {
					return
				}
			}
			out = append(out, n)
		}
	}
	add(written)
	if whole {
		if f.Vorgang != "" {
			add(f.Vorgang)
		}
		add(f.Aktenzeichen)
	}
	return out
}

// wellFormed is the common shape of Aktenzeichen: digits of the unit, letters
// of the matter, running number, year.
var wellFormed = regexp.MustCompile(`^\d{1,3}(/\d{1,3})?-\p{Lu}{1,5}-\d{1,12}/\d{2}(-\d{2,})?$`)

func prefixKnown(written string, patterns []Pattern) bool {
	n := Normal(written)
	for _, p := range patterns {
		if strings.HasPrefix(n, Normal(p.Prefix)) {
			return true
		}
	}
	return false
}

// wholeNumber reads a string that is one number and nothing else.
func wholeNumber(s string, patterns []Pattern) (Found, bool) {
	for _, f := range FindNumbers(s, patterns) {
		if f.Offset == 0 && len(f.Written) == len(s) {
			return f, true
		}
	}
	return Found{}, false
}

// FindNumbers gives all well-formed Aktenzeichen of the patterns in a text, in
// order, each occurrence. It is pure and safe for concurrent use. It forgives
// what typing and text recognition do: blanks between the parts, one line
// break after a hyphen or slash, other hyphens or a blank in the place of one,
// lower case, and in the places of digits O for 0 and l, I or | for 1. It
// never guesses a letter and never drops or adds a digit: a number with a digit
// too many or too few is none.
func FindNumbers(text string, patterns []Pattern) []Found {
	var out []Found
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		best, end := Found{}, -1
		if startsHere(text, i, r) {
			for _, p := range patterns {
				// A longer match of another pattern wins: "61/5-BA-" before "61/5-B".
				if f, e := match(text, i, p); e > end {
					best, end = f, e
				}
			}
		}
		if end < 0 {
			i += size
			continue
		}
		out = append(out, best)
		i = end
	}
	return out
}

// startsHere says that a number may begin at i: not inside a word or a longer
// number.
func startsHere(text string, i int, r rune) bool {
	if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '|' {
		return false
	}
	before, size := utf8.DecodeLastRuneInString(text[:i])
	if size == 0 {
		return true
	}
	if unicode.IsDigit(before) || asDigit(before) >= 0 || unicode.IsLetter(before) && unicode.IsLetter(r) {
		return false
	}
	if isHyphen(before) || isSlash(before) {
		b2, size := utf8.DecodeLastRuneInString(text[:i-size])
		return size == 0 || !unicode.IsLetter(b2) && !unicode.IsDigit(b2)
	}
	return true
}

// match reads one number of pattern p at i; the end is -1 if there is none.
func match(text string, i int, p Pattern) (Found, int) {
	start, pos := i, i
	ok := true
	for k, want := range p.Prefix {
		switch {
		case unicode.IsDigit(want):
			if k > 0 {
				pos = blanks(text, pos)
			}
			pos, ok = digit(text, pos, want)
		case isHyphen(want):
			pos, ok = hyphen(text, pos)
		case isSlash(want):
			pos, ok = slash(text, pos)
		default:
			if k > 0 {
				pos = blanks(text, pos)
			}
			r, size := utf8.DecodeRuneInString(text[pos:])
			ok = unicode.ToUpper(r) == unicode.ToUpper(want) && size > 0
			pos += size
		}
		if !ok {
			return Found{}, -1
		}
	}
	var number, year [12]byte
	for n := range p.Digits {
		if number[n], pos, ok = anyDigit(text, blanks(text, pos)); !ok {
			return Found{}, -1
		}
	}
	if pos, ok = slash(text, pos); !ok {
		return Found{}, -1
	}
	for n := range 2 {
		at := pos
		if n == 0 {
			at = blanks(text, pos)
		}
		if year[n], pos, ok = anyDigit(text, at); !ok {
			return Found{}, -1
		}
	}
	f := Found{Aktenzeichen: p.Prefix + string(number[:p.Digits]) + "/" + string(year[:2]), Offset: start, Pattern: p}
	end := pos
	if suffix, e := vorgangSuffix(text, pos); e > 0 {
		f.Vorgang, end = f.Aktenzeichen+"-"+suffix, e
	} else if !endsHere(text, pos) {
		return Found{}, -1
	}
	f.Written = text[start:end]
	f.Exact = f.Written == f.Aktenzeichen || f.Written == f.Vorgang
	return f, end
}

// vorgangSuffix reads "-01" right behind a number.
func vorgangSuffix(text string, pos int) (string, int) {
	r, size := utf8.DecodeRuneInString(text[pos:])
	if !isHyphen(r) {
		return "", -1
	}
	begin := pos + size
	end := begin
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	if n := end - begin; n < 2 || n > 4 || !endsHere(text, end) {
		return "", -1
	}
	return text[begin:end], end
}

// endsHere says that a number may end at pos: no further digit, nor a letter
// that may be a misread one, nor a slash or hyphen that goes on with a digit.
func endsHere(text string, pos int) bool {
	r, size := utf8.DecodeRuneInString(text[pos:])
	if size == 0 {
		return true
	}
	if unicode.IsDigit(r) || asDigit(r) >= 0 {
		return false
	}
	if isHyphen(r) || isSlash(r) {
		next, _ := utf8.DecodeRuneInString(text[pos+size:])
		return !unicode.IsDigit(next)
	}
	return true
}

// blanks skips at most two blanks, none of them a line break.
func blanks(text string, pos int) int {
	for range 2 {
		r, size := utf8.DecodeRuneInString(text[pos:])
		if !isBlank(r) {
			break
		}
		pos += size
	}
	return pos
}

// wide skips blanks with at most one line break: behind a hyphen or slash a
// number may go on in the next line.
func wide(text string, pos int) int {
	start := pos
	broken := false
	for range 12 {
		r, size := utf8.DecodeRuneInString(text[pos:])
		switch {
		case r == '\n' && !broken:
			broken = true
		case isBlank(r) || r == '\r':
		default:
			if !broken {
				return blanks(text, start)
			}
			return pos
		}
		pos += size
	}
	return start
}

func hyphen(text string, pos int) (int, bool) {
	at := blanks(text, pos)
	r, size := utf8.DecodeRuneInString(text[at:])
	if isHyphen(r) || r == '_' {
		return wide(text, at+size), true
	}
	return at, at > pos // a blank in its place
}

func slash(text string, pos int) (int, bool) {
	at := blanks(text, pos)
	r, size := utf8.DecodeRuneInString(text[at:])
	if !isSlash(r) {
		return pos, false
	}
	return wide(text, at+size), true
}

func digit(text string, pos int, want rune) (int, bool) {
	d, end, ok := anyDigit(text, pos)
	return end, ok && rune(d) == want
}

func anyDigit(text string, pos int) (byte, int, bool) {
	r, size := utf8.DecodeRuneInString(text[pos:])
	switch {
	case r >= '0' && r <= '9':
		return byte(r), pos + size, true
	case asDigit(r) >= 0:
		return byte(asDigit(r)), pos + size, true
	}
	return 0, pos, false
}

// asDigit is the digit that text recognition reads as the letter r, or -1.
func asDigit(r rune) rune {
	switch r {
	case 'O', 'o':
		return '0'
	case 'l', 'I', '|':
		return '1'
	}
	return -1
}

func isBlank(r rune) bool {
	return r == ' ' || r == '\t' || r == '\u00a0' || r == '\u2009' || r == '\u202f'
}

func isHyphen(r rune) bool {
	switch r {
	case '-', '\u00ad', '\u2010', '\u2011', '\u2012', '\u2013', '\u2014', '\u2212', '\ufe63', '\uff0d', '¬':
		return true
	}
	return false
}

func isSlash(r rune) bool { return r == '/' || r == '\u2044' || r == '\u2215' || r == '\uff0f' }
