// Package lists reads over several packages for pages and lists: what a person sees of Aktenplan, Akten, Vorgänge, Dokumente, and the history in words.
package lists

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/postgres"
)

var todo = errors.ErrUnsupported

type Options struct{ Now func() time.Time }
type Service struct{}

func New(db *postgres.DB, o Options) *Service { return &Service{} }

type Page[T any] struct {
	Items      []T
	NextCursor string
	Total      *int64 // nil: not counted
}

// Node is one Aktenplaneinheit with what the actor sees below it, in order of its code path.
type Node struct {
	akte.Aktenplaneinheit
	Depth    int
	Akten    int64 // directly under it, visible to the actor
	Children int
}

type AktenFilter struct {
	Aktenplaneinheit uuid.UUID
	Unit             uuid.UUID
	Aktenzeichen     string // prefix, tolerant of blanks and case
	Subject          string // words anywhere
	Lifecycle        akte.Lifecycle
}
type DokumenteFilter struct {
	Vorgang uuid.UUID
	Akte    uuid.UUID // all below it
	Unfiled bool
	State   akte.State
	Batch   uuid.UUID
}

func (s *Service) Aktenplan(ctx context.Context, a access.Actor) ([]Node, error) { return nil, todo }
func (s *Service) Akten(ctx context.Context, a access.Actor, f AktenFilter, cursor string, limit int) (Page[akte.Akte], error) {
	return Page[akte.Akte]{}, todo
}
func (s *Service) Vorgaenge(ctx context.Context, a access.Actor, akteID uuid.UUID, cursor string, limit int) (Page[akte.Vorgang], error) {
	return Page[akte.Vorgang]{}, todo
}
func (s *Service) Dokumente(ctx context.Context, a access.Actor, f DokumenteFilter, cursor string, limit int, count bool) (Page[akte.Dokument], error) {
	return Page[akte.Dokument]{}, todo
}

// HistoryLine is one fact for people.
type HistoryLine struct {
	ID         uuid.UUID
	At         time.Time
	Kind       string
	ActorID    uuid.UUID
	Actor      string
	OnBehalfOf string
	DE, EN     string
	Reason     string
	Details    map[string]any
}

func (s *Service) History(ctx context.Context, a access.Actor, record uuid.UUID) ([]HistoryLine, error) {
	return nil, todo
}

// Explanation of access/explain: each rule that lets the user see the object (or the one that keeps them out).
type Explanation struct {
	User, Object  uuid.UUID
	Sees, Changes bool
	Rules         []Rule
}
type Rule struct {
	Code   string // e.g. access-unit-role
	Grants bool
	DE, EN string
	Params map[string]string
}

// Explain: for oneself, administrators and auditors; user is a login or an id.
func (s *Service) Explain(ctx context.Context, a access.Actor, user string, object uuid.UUID) (Explanation, error) {
	return Explanation{}, todo
}
