package routing

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/rules"
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
	bare := skeleton(text)
	for _, p := range patterns {
		if !mayBegin(bare, p.Prefix) {
			continue
		}
		for _, m := range brokenPattern(p.Prefix).FindAllStringSubmatchIndex(text, 50) {
			from, to := m[2], m[3]
			if covered(from, to) || !insideLine(text, from) {
				continue
			}
			w := strings.TrimRight(text[from:to], " .,;:-/")
			broken = append(broken, BrokenNumber{
				Written: w, Unit: p.UnitID, UnitCode: p.UnitCode, Standing: facts.standing(w, from),
				OCR: facts.recognisedAt(from) && !wrongOnPaper(w, p),
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

// wrongOnPaper says that each sign of a number is one of its own, only that there
// are too few or too many: recognition puts a wrong sign where it is unsure, but
// does not drop one and go on.
func wrongOnPaper(written string, p akte.Pattern) bool {
	rest, ok := strings.CutPrefix(strings.ReplaceAll(written, " ", ""), p.Prefix)
	return ok && tidyNumber.MatchString(rest)
}

var tidyNumber = regexp.MustCompile(`^\d+(?:/\d+)?$`)

// houseShape is the common shape of numbers of the house.
var houseShape = regexp.MustCompile(`^\d{1,3}(?:/\d{1,3})?-\p{Lu}{1,5}-\d{1,12}/\d{2}(?:-\d{2,})?$`)

// confused are the readings of one letter or digit by text recognition.
var confused = map[rune]string{
	'0': "0OoQD", '1': "1lI|i!", '2': "2Zz", '5': "5Ss$", '6': "6Gb", '8': "8B", '3': "3", '4': "4A", '7': "7", '9': "9g",
	'I': "I1l|!i", 'O': "O0o", 'B': "B8b", 'S': "S5s", 'G': "G6g", 'Z': "Z2z",
}

// skeleton is a text without blanks and separators, in upper case, with one
// letter for all that recognition confuses.
func skeleton(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		switch r {
		case '0', 'O', 'o', 'Q', 'q', 'D', 'd':
			r = '0'
		case '1', 'l', 'L', 'I', '|', 'i', '!':
			r = '1'
		case '2', 'Z', 'z':
			r = '2'
		case '4', 'A', 'a':
			r = '4'
		case '5', 'S', 's', '$':
			r = '5'
		case '6', 'G', 'b', '8', 'B', '9', 'g':
			r = '6'
		default:
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				continue
			}
			r = unicode.ToUpper(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// mayBegin says whether a text of this skeleton can hold the prefix, read badly:
// a search in it costs less than the pattern, which most texts do not match.
func mayBegin(bare, prefix string) bool {
	before, after, slash := strings.Cut(prefix, "/")
	if !slash {
		return strings.Contains(bare, skeleton(prefix))
	}
	return strings.Contains(bare, skeleton(before)+skeleton(after)) || strings.Contains(bare, skeleton(before)+"1"+skeleton(after))
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

// gathered is what one Dokument tells, before the register was asked about its
// numbers.
type gathered struct {
	known    Facts // what needs no question
	given    string
	barcodes []string
	numbers  []writtenNumber
	doc      rules.Document
}

type writtenNumber struct {
	written  string
	standing Standing
}

// maxNumbers bounds the questions to the register for one Dokument.
const maxNumbers = 200

// maxRuleText bounds the text that rules look at, in bytes: a hundred pages.
const maxRuleText = 256 << 10

// gather reads numbers and words. It is pure.
func gather(in input, text string, patterns []akte.Pattern) (gathered, error) {
	d := in.dokument
	var g gathered
	if d.VorgangID != nil {
		g.known.Vorgang = *d.VorgangID
		return g, nil
	}
	if d.Extraction == akte.ExtractionFailed {
		g.known.Failed = d.ExtractionReason
	}
	facts, err := parseFacts(in.text.Facts)
	if err != nil {
		return g, fmt.Errorf("facts of text: %w", err)
	}
	g.given, g.barcodes = d.Given, barcodes(d.Data)
	var found []akte.Found
	found, g.known.Broken, g.known.Foreign = numbersOf(text, facts, patterns)
	place := map[string]int{}
	for _, x := range found {
		standing := facts.standing(x.Written, x.Offset)
		written := x.Aktenzeichen
		if x.Vorgang != "" {
			written = x.Vorgang
		}
		if i, twice := place[x.Aktenzeichen]; twice {
			if standing > g.numbers[i].standing {
				g.numbers[i] = writtenNumber{written, standing}
			}
			continue
		}
		if len(g.numbers) >= maxNumbers {
			continue
		}
		place[x.Aktenzeichen] = len(g.numbers)
		g.numbers = append(g.numbers, writtenNumber{written, standing})
	}
	g.known.Words = wordsOf(text, facts, given(d)...)
	g.doc = documentOf(d, facts, text, g.barcodes)
	return g, nil
}

// written are the numbers to ask the register about.
func (g gathered) written() []string {
	out := slices.Clone(g.barcodes)
	if g.given != "" {
		out = append(out, g.given)
	}
	for _, n := range g.numbers {
		out = append(out, n.written)
	}
	return out
}

// facts are complete with the answers of the register.
func (g gathered) facts(numbers map[string]akte.Number) Facts {
	f := g.known
	if g.given != "" {
		n := numbers[g.given]
		f.Index = &n
	}
	for _, code := range g.barcodes {
		if n := numbers[code]; n.State != akte.Malformed { // any other code is content
			f.Barcodes = append(f.Barcodes, n)
		}
	}
	for _, n := range g.numbers {
		f.Numbers = append(f.Numbers, TextNumber{Number: numbers[n.written], Standing: n.standing})
	}
	return f
}

// units are those that numbers lead to, each once.
func (f Facts) units() []uuid.UUID {
	var out []uuid.UUID
	add := func(u uuid.UUID) {
		if u != uuid.Nil && !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	for _, n := range f.Barcodes {
		add(n.UnitID)
	}
	for _, n := range f.Numbers {
		add(n.Number.UnitID)
	}
	for _, b := range f.Broken {
		add(b.Unit)
	}
	if f.Index != nil {
		add(f.Index.UnitID)
	}
	return out
}

// ownFields are keys of a Dokument's data that are no fields of the letter.
var ownFields = []string{"recognised", "barcode", "barcodes", "fields", "transfer_note", "aktenzeichen", "unit", "quarantine_id", "version_of", "comment", "first_page", "last_page"}

// documentOf is what rules can ask about; what routing finds out (unit, number)
// comes later.
func documentOf(d akte.Dokument, facts textFacts, text string, barcodes []string) rules.Document {
	if len(text) > maxRuleText {
		text = strings.ToValidUTF8(text[:maxRuleText], "")
	}
	doc := rules.Document{
		DocumentType: d.DocumentType, Sender: d.Sender, Receiver: d.Receiver, Subject: d.Subject, FormCode: d.FormCode, Barcodes: barcodes,
		Channel: string(d.Channel), Text: text, Fields: map[string]any{},
	}
	if doc.Sender == "" {
		doc.Sender = strings.Join(facts.Letter.Sender, "\n")
	}
	if doc.Receiver == "" {
		doc.Receiver = strings.Join(facts.Letter.Receiver, "\n")
	}
	if len(barcodes) > 0 {
		doc.Barcode = barcodes[0]
	}
	var data map[string]any
	_ = json.Unmarshal(d.Data, &data) // of another shape: no fields
	for k, v := range data {
		if !slices.Contains(ownFields, k) {
			doc.Fields[k] = v
		}
	}
	doc.Unit, _ = data["unit"].(string)                    // that the sender means
	if fields, ok := data["fields"].(map[string]any); ok { // those win that are called so
		maps.Copy(doc.Fields, fields)
	}
	for _, v := range d.Versions {
		if v.ID == d.VersionID && slices.ContainsFunc(v.Files, func(f akte.PrimaryFile) bool { return f.SignatureEmbedded }) {
			doc.Signature = "embedded"
		}
	}
	return doc
}
