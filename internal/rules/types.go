package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/event"
	"evb/internal/fault"
)

// Facts of this package. The subject is the version of the rule set.
const (
	Drafted    event.Kind = "rules.drafted"
	Checked    event.Kind = "rules.checked"
	Activated  event.Kind = "rules.activated"
	RolledBack event.Kind = "rules.rolled_back"
	Retired    event.Kind = "rules.retired"
	// Rehearsed is stated in the access log: it looks at the text of many letters.
	Rehearsed event.Kind = "rules.rehearsed"
)

// State of a version of a rule set (rule_set_version.state).
type State string

// The states; doc.go draws them.
const (
	StateDraft   State = "draft"
	StateChecked State = "checked"
	StateActive  State = "active"
	StateRetired State = "retired"
)

// Limits of a rule set. What is larger is refused when it is drafted.
const (
	MaxJSON   = 1 << 20 // bytes of a whole set
	MaxRules  = 500     // rules of a set
	MaxWhen   = 4000    // characters of a condition
	MaxName   = 100     // characters of a name or a rule's id
	MaxReason = 500     // characters of a rule's reason
	maxSpec   = 16 << 10
)

// Set is a rule set as people write it (docs/contract.md).
type Set struct {
	Name string `json:"name" yaml:"name"`
	// Unit is the code of the unit whose set it is; empty: the whole tenant.
	Unit  string `json:"unit" yaml:"unit"`
	Rules []Rule `json:"rules" yaml:"rules"`
}

// Rule is one line of a set.
type Rule struct {
	ID string `json:"id" yaml:"id"`
	// Order is the visible order: the lowest that matches decides.
	Order int `json:"order" yaml:"order"`
	// When is a CEL condition on doc.
	When   string `json:"when" yaml:"when"`
	Target Target `json:"target" yaml:"target"`
	// Reason is for people: why there is this rule.
	Reason string `json:"reason,omitempty" yaml:"reason"`
}

// Target is where a rule sends a Dokument: exactly one of the four.
type Target struct {
	// Postkorb is the name of one.
	Postkorb string `json:"postkorb,omitempty" yaml:"postkorb"`
	// Assign goes with Postkorb: "head" (of the Postkorb's unit) or a login name,
	// for whom the item is then alone.
	Assign string `json:"assign,omitempty" yaml:"assign"`
	// Akte is an Aktenzeichen, also one of a Vorgang, or OfDokument. The Dokument
	// is filed to the named or only open Vorgang; where none is open, one is made.
	Akte string `json:"akte,omitempty" yaml:"akte"`
	// Circulation is what Options.StartCirculation understands.
	Circulation json.RawMessage `json:"circulation,omitempty" yaml:"-"`
	// Process is what Options.StartProcess understands: a name, or an object.
	Process json.RawMessage `json:"process,omitempty" yaml:"-"`
}

// Values with a meaning of their own.
const (
	// AssignHead is whoever leads the unit of the Postkorb.
	AssignHead = "head"
	// OfDokument is the Akte that the number of the Dokument names.
	OfDokument = "doc.aktenzeichen"
)

// Label names a target for people and counts: the name of the Postkorb, else the
// kind and what it is.
func (t Target) Label() string {
	switch {
	case t.Postkorb != "":
		return t.Postkorb
	case t.Akte != "":
		return "akte:" + t.Akte
	case t.HasCirculation():
		return "circulation"
	case t.HasProcess():
		return "process:" + processName(t.Process)
	}
	return ""
}

// HasCirculation says that the target is one; null is none.
func (t Target) HasCirculation() bool { return given(t.Circulation) }

// HasProcess says the same of a process.
func (t Target) HasProcess() bool { return given(t.Process) }

func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func processName(raw json.RawMessage) string {
	var name string
	if json.Unmarshal(raw, &name) == nil {
		return name
	}
	var o struct{ Name, ID string }
	_ = json.Unmarshal(raw, &o)
	if o.Name == "" {
		return o.ID
	}
	return o.Name
}

// kinds counts how many of the four are named.
func (t Target) kinds() (n int) {
	for _, there := range []bool{t.Postkorb != "", t.Akte != "", t.HasCirculation(), t.HasProcess()} {
		if there {
			n++
		}
	}
	return n
}

// Parse reads a rule set in JSON. Unknown fields are refused: a mistyped one
// must not be lost in silence. Faults: rules-invalid, rules-too-large.
func Parse(raw []byte) (Set, error) {
	var s Set
	if len(raw) > MaxJSON {
		return s, fault.New("rules-too-large", "what", "JSON", "most", MaxJSON)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fault.Wrap(err, "rules-invalid", "what", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return s, fault.New("rules-invalid", "what", "more than one value")
	}
	return s, s.Limits()
}

// Limits refuses what is too large, or no text. Everything else about a set is
// told by Check, so that an unfinished draft can be kept.
func (s Set) Limits() error {
	if strings.TrimSpace(s.Name) == "" {
		return fault.New("field-required", "field", "name").With("/name", "field-required", "field", "name")
	}
	if err := fault.CheckText("name", s.Name, MaxName); err != nil {
		return err
	}
	if len(s.Rules) > MaxRules {
		return fault.New("rules-too-large", "what", "rules", "most", MaxRules)
	}
	for _, r := range s.Rules {
		for _, c := range []struct {
			name, text string
			most       int
		}{{"id", r.ID, MaxName}, {"when", r.When, MaxWhen}, {"reason", r.Reason, MaxReason}, {"postkorb", r.Target.Postkorb, fault.MaxText},
			{"assign", r.Target.Assign, fault.MaxText}, {"akte", r.Target.Akte, fault.MaxText},
			{"circulation", string(r.Target.Circulation), maxSpec}, {"process", string(r.Target.Process), maxSpec}} {
			if err := fault.CheckText(c.name, c.text, c.most); err != nil {
				return err
			}
		}
	}
	return nil
}

// Version is one version of a rule set.
type Version struct {
	ID      uuid.UUID
	Number  int // 1, 2, ... of the name
	State   State
	Set     Set
	UnitID  uuid.UUID // nil UUID: the whole tenant
	Reason  string    // of the rollback or the retirement
	Restore int       // the version this one brought back; 0: none

	Findings    []Finding
	CreatedAt   time.Time
	CreatedBy   uuid.UUID
	CreatedName string
	CheckedAt   *time.Time
	ActivatedAt *time.Time
	ActivatedBy string
	RetiredAt   *time.Time
	RowVersion  int64
}
