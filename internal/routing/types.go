package routing

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/job"
	"evb/internal/postgres"
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
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Service routes. Safe for concurrent use.
type Service struct {
	db    *postgres.DB
	log   *event.Log
	blobs *blob.Service
	post  *postkorb.Service
	o     Options
}

// New makes the service. It starts nothing.
func New(db *postgres.DB, log *event.Log, blobs *blob.Service, post *postkorb.Service, o Options) *Service {
	return &Service{db: db, log: log, blobs: blobs, post: post, o: o}
}

// Jobs are the kinds of work of this package.
func (s *Service) Jobs() []job.Definition { return nil }

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
	// Words are whole words; a * at the end of one allows further letters.
	Words  string
	Weight int
}

// RuleSet is the knowledge of a tenant.
type RuleSet struct {
	Version int
	Phrases []Phrase
	// Heads are the Postkörbe whose items go to the head of the unit.
	Heads []string
}

// Rules gives the rule set in force; version 0 without phrases when there is none.
func Rules(ctx context.Context, q postgres.Querier) (RuleSet, error) { return RuleSet{}, nil }

// EnsureRules makes r the rule set in force, in the caller's transaction. When
// the one in force says the same, nothing happens. Its version is given by the
// database. The Postkörbe must be there.
func (s *Service) EnsureRules(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r RuleSet) (version int, err error) {
	return 0, nil
}

// CityRules is the knowledge the program brings for a German city with the
// Postkörbe of the demo.
func CityRules() RuleSet { return RuleSet{} }

// Decision is a stored decision.
type Decision struct {
	Dokument    uuid.UUID
	Rule        string
	RuleVersion int
	Target      Target
	Why         postkorb.Why
	DecidedAt   time.Time
}

// Target is where a Dokument goes. Filed is the Vorgang it stays in.
type Target struct {
	Postkorb     uuid.UUID `json:"postkorb,omitzero"`
	PostkorbName string    `json:"postkorb_name,omitempty"`
	Assignee     uuid.UUID `json:"assignee,omitzero"`
	Item         uuid.UUID `json:"item,omitzero"`
	Vorgang      uuid.UUID `json:"vorgang,omitzero"`
}

// DecisionOf gives the decision about a Dokument; ok false when there is none yet.
func DecisionOf(ctx context.Context, q postgres.Querier, dokument uuid.UUID) (d Decision, ok bool, err error) {
	return Decision{}, false, nil
}

// Route decides about one Dokument and delivers it. Repeating it changes nothing.
func (s *Service) Route(ctx context.Context, a access.Actor, dokument uuid.UUID) (Decision, error) {
	return Decision{}, nil
}

var _ = akte.Known
