package routing

import (
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/postkorb"
	"evb/internal/rules"
)

// Standing is how much a number in a text counts.
type Standing int

// The standings, from the weakest.
const (
	InBody    Standing = iota // somewhere in the running text, or the sender's own sign
	InSubject                 // in the subject, or behind "Ihr Zeichen" and the like
)

// TextNumber is an Aktenzeichen of the text.
type TextNumber struct {
	Number   akte.Number
	Standing Standing
	// Misread is how it stands there when some signs of it are others: then Number
	// has the only Akte that they can mean.
	Misread string
}

// BrokenNumber begins like a number of a unit and is none.
type BrokenNumber struct {
	Written  string
	Unit     uuid.UUID
	UnitCode string
	Standing Standing
	// OCR is true when its signs are such as recognition makes: then it may well be
	// right on paper. Where a text comes from is not asked: scanners write theirs
	// into PDF files, too.
	OCR bool
	// Uncertain is true when what says the unit was not read for sure; Number is
	// then the only Akte that it can mean, if there is one.
	Uncertain bool
	Number    *akte.Number
}

// Facts are all that is known about a Dokument, and all that Judge looks at.
type Facts struct {
	// Vorgang is where it was filed at submission, or the nil UUID.
	Vorgang uuid.UUID
	// Failed is the code of a failed extraction.
	Failed string
	// Index is the number the index or the request named.
	Index *akte.Number
	// Barcodes are the bar code values that are numbers of the house's shape.
	Barcodes []akte.Number
	Numbers  []TextNumber
	Broken   []BrokenNumber
	// Foreign are labelled numbers of the house's shape that no unit writes.
	Foreign []string
	// Words is the text by place.
	Words Words
}

// Desk is a Postkorb as Judge knows it.
type Desk struct {
	ID   uuid.UUID
	Name string
	// Unit is whose it is; Head its head, the nil UUID if there is none or nobody
	// asks.
	Unit     uuid.UUID
	UnitCode string
	Head     uuid.UUID
	Personal bool
}

// Tables is the knowledge of the tenant.
type Tables struct {
	Rules    RuleSet
	Desks    map[string]Desk    // by name, those the rules speak of
	OfUnit   map[uuid.UUID]Desk // the Postkorb of each unit a number may lead to
	Clearing Desk
	// ClearingOf are the clearing Postkörbe that units have of their own.
	ClearingOf map[uuid.UUID]Desk
	// Sets are the rule sets in force, by name; Boxes and People what they name.
	Sets   []*rules.Compiled
	Boxes  map[string]Desk
	People map[string]uuid.UUID

	own     []Phrase // that the names of units bring
	phrases []known  // own and those of Rules, prepared; nil: prepared when weighed
}

// Rules of decisions, as they stand in routing_decision.rule.
const (
	RuleFiled      = "filed"
	RuleFailed     = "extraction-failed"
	RuleIndex      = "index-number"
	RuleBarcode    = "barcode-number"
	RuleText       = "text-number"
	RuleMisread    = "text-number-misread"
	RuleUnreadable = "text-number-unreadable"
	RuleWords      = "words"
	RuleClearing   = "clearing"
	// Of rule sets, where none of their rules is followed.
	RuleNone     = "no-rule"           // they were asked, and nothing matched
	RuleError    = "rule-error"        // a condition could not be evaluated
	RuleConflict = "rules-conflict"    // two sets send it to different places
	RuleRefused  = "rule-not-followed" // its target cannot be reached
)

// Thresholds of the weights.
const (
	// enough decides alone.
	enough = 10
	// supports is what words must weigh to confirm the beginning of a number that
	// cannot be read: then two witnesses agree that know nothing of each other.
	supports = 5
	// bodyMost bounds what the running text can weigh: it never decides alone.
	bodyMost = 6
)

// Judge finds the unit and its Postkorb, without the rule sets. It is pure: the
// same facts and tables give the same decision. What nobody can be sure about
// goes to the clearing of the unit that receiver, form or words name, if it has
// one, else to the central one.
func Judge(f Facts, t Tables) Decision {
	scores := t.weigh(f.Words)
	d := judge(f, t, scores)
	if d.Rule == RuleClearing && len(scores) > 0 && scores[0].weight >= enough && !contradicted(scores) {
		if c, ok := t.ClearingOf[scores[0].desk.Unit]; ok {
			d.Target = c.target()
		}
	}
	return d
}

func judge(f Facts, t Tables, scores []score) Decision {
	switch {
	case f.Vorgang != uuid.Nil:
		return Decision{Rule: RuleFiled, RuleVersion: t.Rules.Version, Target: Target{Vorgang: f.Vorgang}, Why: why("why-filed"), final: true}
	case f.Failed != "":
		d := t.clear(why("why-extraction-failed", "code", f.Failed))
		d.Rule = RuleFailed
		return d
	case f.Index != nil:
		return t.byNumber(RuleIndex, "why-index-number", *f.Index)
	case len(f.Barcodes) > 0:
		if n, ok := oneUnit(f.Barcodes); ok {
			return t.byNumber(RuleBarcode, "why-barcode-number", n)
		}
		return t.clear(why("why-numbers-contradict", "numbers", list(f.Barcodes)))
	}
	if len(f.Numbers) > 0 {
		return t.byText(f, scores)
	}
	if len(f.Foreign) > 0 {
		return t.clear(why("why-number-unknown-unit", "written", f.Foreign[0]))
	}
	if len(f.Broken) > 0 {
		return t.byBroken(f.Broken, scores)
	}
	return t.byWords(scores)
}

func why(code string, kv ...string) postkorb.Why {
	w := postkorb.Why{Code: code}
	for i := 0; i+1 < len(kv); i += 2 {
		if w.Params == nil {
			w.Params = map[string]string{}
		}
		w.Params[kv[i]] = kv[i+1]
	}
	return w
}

// clear is for letters that a person has to look at whatever the rules say.
func (t Tables) clear(w postkorb.Why) Decision {
	d := t.unknown(w)
	d.final = true
	return d
}

// unknown is for letters of which nothing is known: a rule may know more.
func (t Tables) unknown(w postkorb.Why) Decision {
	return Decision{Rule: RuleClearing, RuleVersion: t.Rules.Version, Target: t.Clearing.target(), Why: w}
}

func (d Desk) target() Target { return Target{Postkorb: d.ID, PostkorbName: d.Name} }

// byNumber follows a number that somebody stated; more are further parameters of
// the reason.
func (t Tables) byNumber(rule, code string, n akte.Number, more ...string) Decision {
	switch n.State {
	case akte.Malformed:
		return t.clear(why("why-number-malformed", "written", n.Written))
	case akte.UnknownUnit:
		return t.clear(why("why-number-unknown-unit", "written", n.Written))
	case akte.AkteUnknown:
		code = "why-akte-unknown"
	}
	desk, ok := t.OfUnit[n.UnitID]
	if !ok {
		d := t.unknown(why("why-unit-without-postkorb", "number", n.Aktenzeichen, "unit", n.UnitCode))
		d.unit, d.unitCode, d.number = n.UnitID, n.UnitCode, n
		return d
	}
	return Decision{Rule: rule, RuleVersion: t.Rules.Version, Target: desk.target(), Why: why(code, append([]string{"number", n.Aktenzeichen, "unit", n.UnitCode}, more...)...),
		unit: n.UnitID, unitCode: n.UnitCode, number: n}
}

// byText follows the numbers of the text: those of the highest standing must
// agree on the unit.
func (t Tables) byText(f Facts, scores []score) Decision {
	top := slices.MaxFunc(f.Numbers, func(a, b TextNumber) int { return int(a.Standing - b.Standing) }).Standing
	var best []akte.Number
	written := map[string]string{} // of those misread
	for _, n := range f.Numbers {
		if n.Standing == top {
			best = append(best, n.Number)
			written[n.Number.Aktenzeichen] = n.Misread
		}
	}
	n, ok := oneUnit(best)
	if !ok {
		return t.clear(why("why-numbers-contradict", "numbers", list(best)))
	}
	rule, code, more := RuleText, "why-text-number", []string(nil)
	if w := written[n.Aktenzeichen]; w != "" {
		rule, code, more = RuleMisread, "why-number-misread", []string{"written", w}
	}
	// A number that cannot be read has the same rights as one that can.
	for _, b := range f.Broken {
		if b.Standing >= top && b.Unit != n.UnitID && !b.Uncertain {
			return t.clear(why("why-number-malformed", "written", b.Written))
		}
	}
	if top == InSubject {
		return t.byNumber(rule, code, n, more...)
	}
	if len(f.Foreign) > 0 {
		return t.clear(why("why-number-unknown-unit", "written", f.Foreign[0]))
	}
	// In the running text it may be about something else: a receiver and words
	// that point elsewhere make it doubtful.
	d := t.byNumber(rule, code, n, more...)
	if len(scores) > 0 && scores[0].weight >= enough && d.Rule == rule && scores[0].desk.ID != d.Target.Postkorb && scores[0].desk.Unit != n.UnitID {
		return t.clear(why("why-number-against-words", "number", n.Aktenzeichen, "postkorb", scores[0].desk.Name))
	}
	return d
}

// oneUnit gives the number to follow when all lead to one unit: an Akte that is
// there before one that is not.
func oneUnit(ns []akte.Number) (akte.Number, bool) {
	best := ns[0]
	for _, n := range ns[1:] {
		if n.UnitID != best.UnitID || (n.State <= akte.UnknownUnit) != (best.State <= akte.UnknownUnit) {
			return akte.Number{}, false
		}
		if n.State > best.State {
			best = n
		}
	}
	return best, true
}

func list(ns []akte.Number) string {
	var out []string
	for _, n := range ns {
		w := n.Aktenzeichen
		if w == "" {
			w = n.Written
		}
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return strings.Join(out, ", ")
}

// byBroken follows the beginning of a number that recognition spoilt, if
// receiver or words say the same; a number that is wrong on paper never does.
func (t Tables) byBroken(broken []BrokenNumber, scores []score) Decision {
	first := broken[0]
	for _, b := range broken {
		if b.Uncertain == first.Uncertain && b.Standing > first.Standing || first.Uncertain && !b.Uncertain {
			first = b
		}
	}
	doubt := t.clear(why("why-number-malformed", "written", first.Written))
	for _, b := range broken {
		if !b.Uncertain && (b.Unit != first.Unit || !b.OCR) {
			return doubt
		}
	}
	desk, ok := t.OfUnit[first.Unit]
	agree := ok && len(scores) > 0 && (scores[0].desk.ID == desk.ID || scores[0].desk.Unit == first.Unit) && scores[0].weight >= supports && !contradicted(scores)
	switch {
	case agree && first.Uncertain && first.Number != nil:
		return t.byNumber(RuleMisread, "why-number-misread", *first.Number, "written", first.Written)
	case first.Uncertain:
		// Perhaps no number of ours at all: as if it were not there.
		return t.byWords(scores)
	case !agree:
		return doubt
	}
	return Decision{Rule: RuleUnreadable, RuleVersion: t.Rules.Version, Target: desk.target(),
		Why:  why("why-number-unreadable", "written", first.Written, "evidence", scores[0].evidence(), "unit", first.UnitCode),
		unit: first.Unit, unitCode: first.UnitCode}
}

// contradicted says that the second weighs more than half of the first.
func contradicted(scores []score) bool {
	return len(scores) > 1 && scores[1].weight*2 > scores[0].weight
}

func (t Tables) byWords(scores []score) Decision {
	if len(scores) == 0 || scores[0].weight <= 0 {
		return t.unknown(why("why-nothing-known"))
	}
	best := scores[0]
	switch {
	case contradicted(scores) && scores[0].weight >= supports:
		return t.unknown(why("why-words-contradict", "first", best.desk.Name, "second", scores[1].desk.Name))
	case best.weight < enough:
		return t.unknown(why("why-words-weak", "postkorb", best.desk.Name))
	}
	return Decision{Rule: RuleWords, RuleVersion: t.Rules.Version, Target: best.desk.target(), unit: best.desk.Unit, unitCode: best.desk.UnitCode,
		Why: why("why-words", "evidence", best.evidence(), "postkorb", best.desk.Name, "version", strconv.Itoa(t.Rules.Version))}
}
