package routing

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"

	"evb/internal/akte"
)

// textFacts is what this package reads of the facts that extraction keeps with
// the text.
type textFacts struct {
	Pages []struct {
		Offset int  `json:"offset"`
		Length int  `json:"length"`
		OCR    bool `json:"ocr"`
	} `json:"pages"`
	Letter struct {
		Page       int      `json:"page"`
		Sender     []string `json:"sender"`
		Receiver   []string `json:"receiver"`
		Subject    string   `json:"subject"`
		References []struct {
			Label  string `json:"label"`
			Value  string `json:"value"`
			Offset int    `json:"offset"`
		} `json:"references"`
	} `json:"letter"`
}

// recognisedAt says whether a byte of the text was recognised.
func (f textFacts) recognisedAt(offset int) bool {
	for _, p := range f.Pages {
		if p.Offset <= offset && offset < p.Offset+p.Length {
			return p.OCR
		}
	}
	return false
}

// standing of what stands at an offset: in the subject of the letter, or behind
// a label other than the sender's own.
func (f textFacts) standing(written string, offset int) Standing {
	for _, r := range f.Letter.References {
		if r.Offset-1 <= offset && offset <= r.Offset+len(r.Value) {
			if r.Label == "ours" {
				return InBody
			}
			return InSubject
		}
	}
	if f.Letter.Subject != "" && strings.Contains(akte.Normal(f.Letter.Subject), akte.Normal(written)) {
		return InSubject
	}
	return InBody
}

// numbersOf finds numbers of the house in a text: well-formed ones as they were
// found, and those that begin like one. Foreign are labelled words of the
// house's shape that begin like none.
func numbersOf(text string, facts textFacts, patterns []akte.Pattern) (found []akte.Found, broken []BrokenNumber, foreign []string) {
	found = akte.FindNumbers(text, patterns)
	covered := func(from, to int) bool {
		for _, f := range found {
			if from < f.Offset+len(f.Written) && f.Offset < to {
				return true
			}
		}
		return false
	}
	for _, p := range patterns {
		for _, m := range brokenPattern(p.Prefix).FindAllStringSubmatchIndex(text, 50) {
			from, to := m[2], m[3]
			if covered(from, to) || !insideLine(text, from) {
				continue
			}
			w := strings.TrimRight(text[from:to], " .,;:-/")
			broken = append(broken, BrokenNumber{
				Written: w, Unit: p.UnitID, UnitCode: p.UnitCode, Standing: facts.standing(w, from), OCR: facts.recognisedAt(from),
			})
		}
	}
	for _, r := range facts.Letter.References {
		if r.Label != "yours" && r.Label != "file" && r.Label != "account" || !houseShape.MatchString(r.Value) || covered(r.Offset, r.Offset+len(r.Value)) {
			continue
		}
		known := false
		for _, b := range broken {
			known = known || strings.Contains(akte.Normal(b.Written), akte.Normal(r.Value)) || strings.Contains(akte.Normal(r.Value), akte.Normal(b.Written))
		}
		if !known {
			foreign = append(foreign, r.Value)
		}
	}
	return found, broken, foreign
}

// houseShape is the common shape of numbers of the house.
var houseShape = regexp.MustCompile(`^\d{1,3}(?:/\d{1,3})?-\p{Lu}{1,5}-\d{1,12}/\d{2}(?:-\d{2,})?$`)

// confused are the readings of one letter or digit by text recognition.
var confused = map[rune]string{
	'0': "0OoQD", '1': "1lI|i!", '2': "2Zz", '5': "5Ss$", '6': "6Gb", '8': "8B", '3': "3", '4': "4A", '7': "7", '9': "9g",
	'I': "I1l|!i", 'O': "O0o", 'B': "B8b", 'S': "S5s", 'G': "G6g", 'Z': "Z2z",
}

// brokenPattern matches what begins like the prefix, read badly, and goes on
// with digits, however many. Patterns are few and read once a Dokument.
func brokenPattern(prefix string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?:^|[^\p{L}\d/-])(`)
	for _, r := range prefix {
		switch {
		case r == '-':
			b.WriteString(` ?[-–—_‐‑ ] ?`)
		case r == '/':
			b.WriteString(` ?[/|l1I] ?`)
		default:
			set := confused[unicode.ToUpper(r)]
			if set == "" {
				set = string(r) + string(unicode.ToUpper(r)) + string(unicode.ToLower(r))
			}
			b.WriteString("[")
			for _, c := range set {
				if strings.ContainsRune(`\]^-`, c) {
					b.WriteByte('\\')
				}
				b.WriteRune(c)
			}
			b.WriteString("]")
		}
	}
	// Three digits, or fewer with a year: "30 KL 1" in a running text is none.
	const digit = `[\dOolI|SBZ]`
	b.WriteString(`(?:` + digit + `(?:[ .,]?` + digit + `){2,14}(?: ?[/|] ?[\dOolI|SBZA]{1,6})?|` + digit + `{1,2} ?/ ?[\dOolI|SBZA]{1,6}))`)
	return regexp.MustCompile(b.String())
}

// insideLine keeps matches away from the middle of longer numbers.
func insideLine(text string, from int) bool {
	return from == 0 || text[from-1] != '/' && text[from-1] != '.'
}

// wordsOf puts the words of a Dokument into their places. given are document
// type and form code as the sender of the request named them.
func wordsOf(text string, facts textFacts, given ...string) Words {
	w := Words{Body: Fold(text)}
	l := facts.Letter
	for _, line := range l.Sender {
		w[Sender] = append(w[Sender], Fold(line)...)
	}
	for _, line := range l.Receiver {
		w[Receiver] = append(w[Receiver], Fold(line)...)
	}
	w[Title] = Fold(l.Subject)
	for _, g := range given {
		w[Type] = append(w[Type], Fold(g)...)
	}
	return w
}

func parseFacts(raw json.RawMessage) (textFacts, error) {
	var f textFacts
	if len(raw) == 0 {
		return f, nil
	}
	err := json.Unmarshal(raw, &f)
	return f, err
}
