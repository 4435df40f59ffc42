package routing

import (
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/event"
	"evb/internal/postkorb"
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
	// Heads are the Postkörbe whose items go to the head of the unit when words
	// brought them there.
	Heads []string
}

// Decision is what Judge says, and what is stored of it.
type Decision struct {
	Dokument    uuid.UUID
	Rule        string
	RuleVersion int
	Target      Target
	Why         postkorb.Why
	DecidedAt   time.Time
}

// Target is where a Dokument goes: a Postkorb, or the Vorgang it stays in.
type Target struct {
	Postkorb     uuid.UUID `json:"postkorb,omitzero"`
	PostkorbName string    `json:"postkorb_name,omitempty"`
	Assignee     uuid.UUID `json:"assignee,omitzero"`
	Item         uuid.UUID `json:"item,omitzero"`
	Vorgang      uuid.UUID `json:"vorgang,omitzero"`
}
