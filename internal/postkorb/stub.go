package postkorb

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
)

var todo = errors.ErrUnsupported

type Options struct {
	Now func() time.Time
	Log *slog.Logger
}
type Service struct{}

func New(db *postgres.DB, log *event.Log, o Options) *Service { return &Service{} }

// Deliver: idempotent per (postkorb, record): an unfinished item there is returned as it is.
func (s *Service) Deliver(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, d Delivery) (item uuid.UUID, err error) {
	return uuid.Nil, todo
}
func ByName(ctx context.Context, q postgres.Querier, name string) (Postkorb, error) {
	return Postkorb{}, todo
}
func ByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (Postkorb, error) {
	return Postkorb{}, todo
}
func OfUnit(ctx context.Context, q postgres.Querier, unit uuid.UUID) (Postkorb, error) {
	return Postkorb{}, todo
}

// OfUser: the personal Postkorb.
func OfUser(ctx context.Context, q postgres.Querier, user uuid.UUID) (Postkorb, error) {
	return Postkorb{}, todo
}

// ClearingOf: the central clearing Postkorb.
func CentralClearing(ctx context.Context, q postgres.Querier) (Postkorb, error) {
	return Postkorb{}, todo
}

type NewPostkorb struct {
	Name, Kind string
	Unit, User uuid.UUID
}

func (s *Service) EnsurePostkorb(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewPostkorb) (uuid.UUID, error) {
	return uuid.Nil, todo
}
func (s *Service) EnsureMember(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, postkorb, user uuid.UUID) error {
	return todo
}

// ifVersion 0: any version.
func (s *Service) Item(ctx context.Context, a access.Actor, item uuid.UUID) (Item, error) {
	return Item{}, todo
}
func (s *Service) Open(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return Item{}, todo
}
func (s *Service) Claim(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return Item{}, todo
}

// To is where an item is forwarded to: a Postkorb, or a person (their personal Postkorb); both: assigned to the person in that Postkorb.
type To struct {
	Postkorb uuid.UUID
	User     uuid.UUID
	Due      time.Time // zero: as before
}

// The acts return the item that was acted on; Forward and Return also make a new one elsewhere.
func (s *Service) Forward(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, to To, reason string) (Item, error) {
	return Item{}, todo
}
func (s *Service) Return(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, reason string) (Item, error) {
	return Item{}, todo
}
func (s *Service) FollowUp(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, due time.Time, reason string) (Item, error) {
	return Item{}, todo
}
func (s *Service) Done(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64, remark string) (Item, error) {
	return Item{}, todo
}
func (s *Service) Undo(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (Item, error) {
	return Item{}, todo
}

// FireFollowUps brings back what is due, of one tenant (call it every minute or so); gives how many.
func (s *Service) FireFollowUps(ctx context.Context, tenant access.Tenant) (int, error) {
	return 0, todo
}

type Filter struct {
	State     State     // empty: open and claimed
	DueBefore time.Time // zero: all
}
type Page struct {
	Items      []Item
	NextCursor string // empty: no more
	Total      int64  // exact for this actor and filter
}

func (s *Service) Postkoerbe(ctx context.Context, a access.Actor) ([]Postkorb, error) {
	return nil, todo
}
func (s *Service) Postkorb(ctx context.Context, a access.Actor, id uuid.UUID) (Postkorb, error) {
	return Postkorb{}, todo
}

// Targets: every Postkorb one can forward to (no counts).
func (s *Service) Targets(ctx context.Context, a access.Actor) ([]Postkorb, error) { return nil, todo }
func (s *Service) Items(ctx context.Context, a access.Actor, postkorb uuid.UUID, f Filter, cursor string, limit int) (Page, error) {
	return Page{}, todo
}

// ItemsOf: unfinished items of one record that the actor sees.
func (s *Service) ItemsOf(ctx context.Context, a access.Actor, record uuid.UUID) ([]Item, error) {
	return nil, todo
}
func (s *Service) Sent(ctx context.Context, a access.Actor, cursor string, limit int) (Page, error) {
	return Page{}, todo
}

// WhyStep is one station of the way of an item, newest first.
type WhyStep struct {
	ItemID     uuid.UUID
	Postkorb   string
	ReceivedAt time.Time
	From       string
	Reason     string
	Why        Why
}

func (s *Service) WhyOf(ctx context.Context, a access.Actor, item uuid.UUID) ([]WhyStep, error) {
	return nil, todo
}
