package akte

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/postgres"
)

var todo = errors.ErrUnsupported

func (s *Service) InsertDokumente(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, docs ...NewDokument) error {
	return todo
}
func (s *Service) InsertVersion(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, v NewVersion) (number int, err error) {
	return 0, todo
}
func (s *Service) ReplaceRendition(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r NewRendition) error {
	return todo
}
func (s *Service) SetExtraction(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument, version uuid.UUID, e Extraction, reason string) error {
	return todo
}
func (s *Service) SetRecognised(ctx context.Context, tx pgx.Tx, dokument uuid.UUID, r Recognised) error {
	return todo
}
func (s *Service) SetIntakeComplete(ctx context.Context, tx pgx.Tx, dokument uuid.UUID, at time.Time) error {
	return todo
}

// ReleaseQuarantined: quarantined -> captured, fact dokument.released (subject version); other state: fault dokument-not-quarantined.
func (s *Service) ReleaseQuarantined(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID, reason string) error {
	return todo
}
func DokumentByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (Dokument, error) {
	return Dokument{}, todo
}
func (s *Service) Dokument(ctx context.Context, a access.Actor, id uuid.UUID) (Dokument, error) {
	return Dokument{}, todo
}
func VersionsOf(ctx context.Context, q postgres.Querier, dokument uuid.UUID) ([]Version, error) {
	return nil, todo
}
func RenditionsOf(ctx context.Context, q postgres.Querier, version uuid.UUID) ([]Rendition, error) {
	return nil, todo
}

// RenditionOf gives one kind; ok false when there is none yet.
func RenditionOf(ctx context.Context, q postgres.Querier, version uuid.UUID, kind string) (r Rendition, ok bool, err error) {
	return Rendition{}, false, todo
}

// FileRequest: VorgangID or Aktenzeichen (also of a Vorgang, "...-01"). IfVersion 0: any.
type FileRequest struct {
	VorgangID    uuid.UUID
	Aktenzeichen string
	IfVersion    int64
	Reason       string
}

// Target is the Vorgang that a filing goes to.
type Target struct {
	VorgangID uuid.UUID
	Reference string
	AkteID    uuid.UUID
	UnitID    uuid.UUID
	ScopeID   uuid.UUID
}

// FilingTarget resolves and locks the Vorgang (opens one where none is), with rights; for intake with vorgang_id.
func (s *Service) FilingTarget(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r FileRequest) (Target, error) {
	return Target{}, todo
}
func (s *Service) File(ctx context.Context, a access.Actor, dokument uuid.UUID, r FileRequest) (Dokument, error) {
	return Dokument{}, todo
}

// Move: to another Vorgang, reason obligatory.
func (s *Service) Move(ctx context.Context, a access.Actor, dokument uuid.UUID, r FileRequest) (Dokument, error) {
	return Dokument{}, todo
}

// DokumentPatch: nil leaves a field as it is.
type DokumentPatch struct {
	Subject, DocumentType, Sender, Receiver, Remark *string
	ReceivedOn, WrittenOn                           *time.Time
}

func (s *Service) ChangeDokument(ctx context.Context, a access.Actor, dokument uuid.UUID, p DokumentPatch, ifVersion int64) (Dokument, error) {
	return Dokument{}, todo
}

type NewAkte struct {
	AktenplaneinheitID uuid.UUID
	EinheitCode        string // instead of the id
	Aktenzeichen       string // empty: the next number of the Einheit's pattern
	Subject            string
	Type               string
	Remark             string
	Medium             string // 001 electronic (default), 002 hybrid, 003 paper
	PaperLocation      string
}

type NewVorgang struct {
	AkteID  uuid.UUID
	Subject string
	Type    string
	Remark  string
}

// Patch of an Akte or Vorgang; nil leaves a field as it is.
type Patch struct {
	Subject, Type, Remark, Medium, PaperLocation *string
}

func (s *Service) CreateAkte(ctx context.Context, a access.Actor, n NewAkte) (Akte, error) {
	return Akte{}, todo
}
func (s *Service) Akte(ctx context.Context, a access.Actor, id uuid.UUID) (Akte, error) {
	return Akte{}, todo
}
func (s *Service) ChangeAkte(ctx context.Context, a access.Actor, id uuid.UUID, p Patch, ifVersion int64) (Akte, error) {
	return Akte{}, todo
}
func (s *Service) CloseAkte(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Akte, error) {
	return Akte{}, todo
}
func (s *Service) ReopenAkte(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Akte, error) {
	return Akte{}, todo
}
func (s *Service) CreateVorgang(ctx context.Context, a access.Actor, n NewVorgang) (Vorgang, error) {
	return Vorgang{}, todo
}
func (s *Service) Vorgang(ctx context.Context, a access.Actor, id uuid.UUID) (Vorgang, error) {
	return Vorgang{}, todo
}
func (s *Service) ChangeVorgang(ctx context.Context, a access.Actor, id uuid.UUID, p Patch, ifVersion int64) (Vorgang, error) {
	return Vorgang{}, todo
}
func (s *Service) CloseVorgang(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Vorgang, error) {
	return Vorgang{}, todo
}
func (s *Service) ReopenVorgang(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Vorgang, error) {
	return Vorgang{}, todo
}
func (s *Service) Aktenplaneinheit(ctx context.Context, a access.Actor, id uuid.UUID) (Aktenplaneinheit, error) {
	return Aktenplaneinheit{}, todo
}

// Setup: in the caller's transaction, no right asked, idempotent by number/code/prefix/Aktenzeichen.
type Einheit struct {
	Code, Title, ShortTitle string
	Parent                  uuid.UUID // nil UUID: main group
	Unit                    uuid.UUID // nil UUID: none
	RetentionYears          int       // -1: unlimited
	DisposalType            string    // A, B, V
	ProtectionClass         string
}

func (s *Service) EnsureAktenplan(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, version int, title string, validFrom time.Time) (uuid.UUID, error) {
	return uuid.Nil, todo
}
func (s *Service) EnsureAktenplaneinheit(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, aktenplan uuid.UUID, e Einheit) (uuid.UUID, error) {
	return uuid.Nil, todo
}
func (s *Service) EnsurePattern(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, prefix string, digits int, unit, einheit uuid.UUID) (uuid.UUID, error) {
	return uuid.Nil, todo
}
func (s *Service) EnsureAkte(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewAkte) (uuid.UUID, error) {
	return uuid.Nil, todo
}
