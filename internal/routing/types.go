package routing

import (
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/postkorb"
	"evb/internal/rules"
)

// Decide is the kind of job that routes a Dokument, its subject.
const Decide = "routing.decide"

// Facts of this package.
const (
	// DokumentRouted: a Dokument has its Postkorb, or stays in its Vorgang.
	DokumentRouted event.Kind = "dokument.routed"
	// RulesChanged: a new rule set is in force.
	RulesChanged event.Kind = "routing.rules_changed"
)

// Options of New. Zero values are sound.
type Options struct {
	Now        func() time.Time      // default time.Now
	Log        *slog.Logger          // default none
	Registerer prometheus.Registerer // default none
	// Rules are asked by level 3; nil: there are none.
	Rules *rules.Service
	// Akten files what a rule sends to an Akte; nil: a service of its own.
	Akten *akte.Service
}

// Place is where in a Dokument a phrase counts.
type Place string

// The places.
const (
	Receiver Place = "receiver" // the addressed office
	Title    Place = "title"    // subject line, title of the form
	Type     Place = "type"     // document type or form code, as given
	Sender   Place = "sender"   // lines of the sender
	Body     Place = "body"     // anywhere in the text
)

// Phrase is one piece of knowledge: these words, in this place, speak for (or
// with a negative weight against) a Postkorb.
type Phrase struct {
	Postkorb string // name
	Place    Place
	// Words are whole words one after the other; a * at the end of one allows
	// further letters.
	Words  string
	Weight int
}

// RuleSet is the knowledge of a tenant.
type RuleSet struct {
	Version int
	Phrases []Phrase
}

// Decision is what Judge and JudgeByRules say, and what is stored of it.
type Decision struct {
	Dokument uuid.UUID
	// Rule is one of the Rule constants, or <set>/<rule> for a rule of a set.
	Rule string
	// RuleVersion is that of the rule set RuleSet, or of the phrases when no set
	// decided.
	RuleVersion int
	RuleSet     string
	Target      Target
	Why         postkorb.Why
	DecidedAt   time.Time

	// What Judge found on its way; JudgeByRules goes on from it.
	unit      uuid.UUID   // whose letter it is; nil UUID: not known
	unitCode  string      //
	number    akte.Number // that was followed; zero: none
	final     bool        // rule sets are not asked
	otherwise *Decision   // what counts when Target.start or Target.Akte is refused
}

// Target is where a Dokument goes: a Postkorb, or the Vorgang it stays in or is
// filed to, or what it starts.
type Target struct {
	Postkorb     uuid.UUID `json:"postkorb,omitzero"`
	PostkorbName string    `json:"postkorb_name,omitempty"`
	Assignee     uuid.UUID `json:"assignee,omitzero"`
	Item         uuid.UUID `json:"item,omitzero"`
	Vorgang      uuid.UUID `json:"vorgang,omitzero"`
	// Akte is the Aktenzeichen by which a rule filed it.
	Akte        string    `json:"akte,omitempty"`
	Circulation uuid.UUID `json:"circulation,omitzero"`
	Process     uuid.UUID `json:"process,omitzero"`
	// Name is what a rule named where that is no Postkorb (rules.Target.Label).
	Name string `json:"name,omitempty"`

	start  *rules.Target   // what is to be started
	fields *map[string]any // of the Dokument, for what is started
}

// Label names the target as rehearsals and counts do.
func (t Target) Label() string {
	switch {
	case t.PostkorbName != "":
		return t.PostkorbName
	case t.Name != "":
		return t.Name
	}
	return "filed"
}
