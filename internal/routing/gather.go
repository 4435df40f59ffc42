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
	"evb/internal/words"
)

// textFacts is what this package reads of the facts that extraction keeps with
// the text.
type textFacts struct {
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

// writtenNumbers are the numbers of the house in a text.
type writtenNumbers struct {
	sound   []akte.Found
	misread []misread
	broken  []BrokenNumber // and cannot be read as one
	foreign []foreign
}

// misread is a number with wrong signs: what it may be, and what it is as long as
// the register knows none of it.
type misread struct {
	akte.Misread
	BrokenNumber
}

// foreign is a labelled word of the house's shape that begins like no number of a
// unit.
type foreign struct {
	written  string
	from, to int
}

func overlap(from, to, otherFrom, otherTo int) bool { return from < otherTo && otherFrom < to }

func (m misread) over(from, to int) bool {
	return overlap(from, to, m.Offset, m.Offset+len(m.Misread.Written))
}

// numbersOf finds numbers of the house in a text: well-formed ones, those with
// signs misread, those that begin like one, and foreign ones.
func numbersOf(text string, facts textFacts, patterns []akte.Pattern) (n writtenNumbers) {
	n.sound = akte.FindNumbers(text, patterns)
	known := func(from, to int) bool {
		return slices.ContainsFunc(n.sound, func(f akte.Found) bool { return overlap(from, to, f.Offset, f.Offset+len(f.Written)) })
	}
	for _, m := range akte.FindMisread(text[:min(len(text), maxRuleText)], patterns, n.sound) {
		n.misread = append(n.misread, misread{m, BrokenNumber{
			Written: m.Written, Unit: m.Pattern.UnitID, UnitCode: m.Pattern.UnitCode, Standing: facts.standing(m.Written, m.Offset),
			OCR: true, Uncertain: m.Prefix == akte.Other,
		}})
	}
	bare := skeleton(text)
	for _, p := range patterns {
		if !mayBegin(bare, p.Prefix) {
			continue
		}
		for _, m := range brokenPattern(p.Prefix).FindAllStringSubmatchIndex(text, 50) {
			from, to := m[2], m[3]
			if known(from, to) || !insideLine(text, from) || slices.ContainsFunc(n.misread, func(m misread) bool { return m.over(from, to) }) {
				continue
			}
			w := strings.TrimRight(text[from:to], " .,;:-/")
			n.broken = append(n.broken, BrokenNumber{Written: w, Unit: p.UnitID, UnitCode: p.UnitCode, Standing: facts.standing(w, from), OCR: !wrongOnPaper(w, p)})
		}
	}
	for _, r := range facts.Letter.References {
		end := r.Offset + len(r.Value)
		if r.Label != "yours" && r.Label != "file" && r.Label != "account" || !houseShape.MatchString(r.Value) || known(r.Offset, end) {
			continue
		}
		if !slices.ContainsFunc(n.broken, func(b BrokenNumber) bool { return sameStart(b.Written, r.Value) }) {
			n.foreign = append(n.foreign, foreign{r.Value, r.Offset, end})
		}
	}
	return n
}

// sameStart says that one of the two is the begin or a part of the other.
func sameStart(a, b string) bool {
	a, b = akte.Normal(a), akte.Normal(b)
	return strings.Contains(a, b) || strings.Contains(b, a)
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
	w := Words{Body: words.Fold(text)}
	l := facts.Letter
	for _, line := range l.Sender {
		w[Sender] = append(w[Sender], words.Fold(line)...)
	}
	for _, line := range l.Receiver {
		w[Receiver] = append(w[Receiver], words.Fold(line)...)
	}
	w[Title] = words.Fold(l.Subject)
	for _, g := range given {
		w[Type] = append(w[Type], words.Fold(g)...)
	}
	if len(w[Receiver]) == 0 || len(w[Title]) == 0 {
		above, title := head(text)
		if len(w[Receiver]) == 0 {
			w[Receiver] = above
		}
		if len(w[Title]) == 0 {
			w[Title] = title
		}
	}
	return w
}

// headLines is where the salutation is looked for.
const headLines = 40

var greeting = words.Parse("geehrte")

// head reads a letter whose head was spoilt so that its parts were not found: the
// words above the salutation, and those of the two lines right above it, which
// mostly are the subject. Without a salutation there are none.
func head(text string) (above, title []string) {
	var lines [][]string
	for line := range strings.Lines(text) {
		folded := words.Fold(line[:min(len(line), 400)])
		if greeting.In(folded) {
			for _, l := range lines[max(0, len(lines)-2):] {
				title = append(title, l...)
			}
			for _, l := range lines {
				above = append(above, l...)
			}
			return above, title
		}
		if len(folded) > 0 {
			lines = append(lines, folded)
		}
		if len(lines) == headLines {
			break
		}
	}
	return nil, nil
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
	misread  []misread
	foreign  []foreign
	doc      rules.Document
}

type writtenNumber struct {
	written      string
	aktenzeichen string // of the Akte
	standing     Standing
}

// Bounds of the questions to the register for one Dokument.
const (
	maxNumbers = 200
	maxMisread = 20 // of each there are akte.MaxReadings
)

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
	n := numbersOf(text, facts, patterns)
	g.known.Broken, g.misread, g.foreign = n.broken, n.misread[:min(len(n.misread), maxMisread)], n.foreign
	place := map[string]int{}
	for _, x := range n.sound {
		standing := facts.standing(x.Written, x.Offset)
		written := x.Aktenzeichen
		if x.Vorgang != "" {
			written = x.Vorgang
		}
		if i, twice := place[x.Aktenzeichen]; twice {
			if standing > g.numbers[i].standing {
				g.numbers[i] = writtenNumber{written, x.Aktenzeichen, standing}
			}
			continue
		}
		if len(g.numbers) >= maxNumbers {
			continue
		}
		place[x.Aktenzeichen] = len(g.numbers)
		g.numbers = append(g.numbers, writtenNumber{written, x.Aktenzeichen, standing})
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
	for _, m := range g.misread {
		out = append(out, m.Readings...)
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
	f.Broken = slices.Clone(f.Broken)
	for _, m := range g.misread {
		g.read(&f, m, numbers)
	}
	for _, x := range g.foreign {
		if !slices.ContainsFunc(g.misread, func(m misread) bool { return m.over(x.from, x.to) && (!m.Uncertain || len(m.akten(numbers)) == 1) }) {
			f.Foreign = append(f.Foreign, x.written)
		}
	}
	return f
}

// read takes a misread number for what it may be: one that stands in the letter
// in full, else the only Akte there is of its readings.
func (g gathered) read(f *Facts, m misread, numbers map[string]akte.Number) {
	for i, n := range g.numbers {
		if slices.Contains(m.Readings, n.aktenzeichen) {
			f.Numbers[i].Standing = max(f.Numbers[i].Standing, m.Standing)
			return
		}
	}
	akten := m.akten(numbers)
	switch {
	case len(akten) == 1 && !m.Uncertain:
		f.Numbers = append(f.Numbers, TextNumber{Number: akten[0], Standing: m.Standing, Misread: m.Misread.Written})
		return
	case len(akten) == 1:
		m.Number = &akten[0]
	}
	f.Broken = append(f.Broken, m.BrokenNumber)
}

// akten are those that there are of the readings.
func (m misread) akten(numbers map[string]akte.Number) (out []akte.Number) {
	for _, r := range m.Readings {
		if n := numbers[r]; n.State == akte.Known && !slices.ContainsFunc(out, func(o akte.Number) bool { return o.AkteID == n.AkteID }) {
			out = append(out, n)
		}
	}
	return out
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
	if read, ok := data["recognised"].(map[string]any); ok {
		if fields, ok := read["fields"].(map[string]any); ok { // given ones go before
			maps.Copy(doc.Fields, fields)
		}
	}
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
