package annotation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

// Kinds of annotations.
const (
	Note = "note" // words, at a place or to the whole version
	Mark = "mark" // a place, with or without words
)

// Visibility says who may read an annotation beside who wrote it.
type Visibility string

// The visibilities.
const (
	Private Visibility = "private"
	Unit    Visibility = "unit"
	All     Visibility = "all"
)

// MaxPerDokument bounds the annotations of one Dokument, removed ones too.
const MaxPerDokument = 2000

// Facts. The record is the Dokument, except for private ones; the subject is the
// annotation.
const (
	Made    event.Kind = "dokument.annotated"
	Changed event.Kind = "dokument.annotation_changed"
	Removed event.Kind = "dokument.annotation_removed"
)

// Rect is a rectangle of a page in parts of its width and height (0 to 1), from
// the upper left corner.
type Rect struct {
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
}

// Place is where an annotation stands; all zero: the whole version.
type Place struct {
	Page  int    `json:"page,omitempty"`
	Rect  *Rect  `json:"rect,omitempty"`
	Quote string `json:"quote,omitempty"` // the words at From to To
	From  *int   `json:"from,omitempty"`  // characters of the text of the page
	To    *int   `json:"to,omitempty"`    // first character after it
}

// New is what an annotation begins with.
type New struct {
	Dokument   uuid.UUID
	Version    int // 0: the current one
	Kind       string
	Text       string
	Place      Place
	Visibility Visibility // empty: Private
	UnitID     uuid.UUID  // for Unit; nil UUID: the unit of the Dokument, else one of the author
	Key        idempotency.Key
}

// Patch says what changes; nil leaves it.
type Patch struct {
	Text       *string
	Visibility *Visibility
	UnitID     uuid.UUID
}

// Annotation as its readers see it.
type Annotation struct {
	ID         uuid.UUID  `json:"id"`
	DokumentID uuid.UUID  `json:"dokument_id"`
	VersionID  uuid.UUID  `json:"version_id"`
	Version    int        `json:"version"`
	Kind       string     `json:"kind"`
	Visibility Visibility `json:"visibility"`
	UnitID     *uuid.UUID `json:"unit_id"`
	Unit       string     `json:"unit"`
	Place
	Text       string     `json:"text"`
	AuthorID   uuid.UUID  `json:"author_id"`
	Author     string     `json:"author"`
	OnBehalfOf string     `json:"on_behalf_of"` // the absent person for whom a deputy wrote it
	CreatedAt  time.Time  `json:"created_at"`
	ChangedAt  time.Time  `json:"changed_at"`
	RemovedAt  *time.Time `json:"removed_at"`
	RemovedBy  string     `json:"removed_by"`
	Reason     string     `json:"reason"` // for the removal
	RowVersion int64      `json:"row_version"`
	Revisions  []Revision `json:"revisions"` // earlier wordings, oldest first

	absent *uuid.UUID
}

// Revision is an earlier wording.
type Revision struct {
	Text       string     `json:"text"`
	Visibility Visibility `json:"visibility"`
	WrittenAt  time.Time  `json:"written_at"`
}

// Service holds the use cases. Safe for concurrent use.
type Service struct {
	db    *postgres.DB
	log   *event.Log
	akten *akte.Service
	now   func() time.Time
}

// Options of NewService.
type Options struct {
	Now func() time.Time // nil: time.Now
}

// NewService makes the service.
func NewService(db *postgres.DB, log *event.Log, akten *akte.Service, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: db, log: log, akten: akten, now: func() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }}
}

const sqlColumns = `
    SELECT n.id, n.dokument_id, n.version_id, v.number, n.kind, n.visibility, n.unit_id, coalesce(u.code, ''), coalesce(n.page, 0), n.rect, n.quote,
        n.quote_from, n.quote_to, n.body, n.created_by, coalesce(pa.display_name, ''), n.on_behalf_of, coalesce(pb.display_name, ''), n.created_at, n.changed_at,
        n.removed_at, coalesce(pr.display_name, ''), n.removed_for, n.row_version,
        coalesce((SELECT jsonb_agg(jsonb_build_object('text', r.body, 'visibility', r.visibility, 'written_at', r.written_at) ORDER BY r.number)
            FROM annotation_revision r WHERE r.tenant = n.tenant AND r.annotation_id = n.id), '[]')
    FROM annotation n
    JOIN dokument_version v ON v.tenant = n.tenant AND v.id = n.version_id
    JOIN record_object o ON o.tenant = n.tenant AND o.id = n.dokument_id
    LEFT JOIN org_unit u ON u.tenant = n.tenant AND u.id = n.unit_id
    LEFT JOIN app_user pa ON pa.tenant = n.tenant AND pa.id = n.created_by
    LEFT JOIN app_user pb ON pb.tenant = n.tenant AND pb.id = n.on_behalf_of
    LEFT JOIN app_user pr ON pr.tenant = n.tenant AND pr.id = n.removed_by`

// sqlReads: user $1 at $2 sees the Dokument and the annotation.
var sqlReads = `
    WHERE n.tenant = evb_tenant() AND (n.visibility = 'all' OR n.created_by = $1 OR n.on_behalf_of = $1
        OR n.visibility = 'unit' AND ((SELECT evb_reads_all($1, $2)) OR n.unit_id IN (SELECT m.unit_id FROM membership m
            WHERE m.tenant = evb_tenant() AND m.user_id = $1 AND m.valid_from <= $2 AND $2 < m.valid_to)))
      AND ` + access.Sees("o", 1, 2)

var (
	sqlOf = sqlColumns + sqlReads + ` AND n.dokument_id = $3 AND ($4 = 0 OR v.number = $4) AND ($5 OR n.removed_at IS NULL)
    ORDER BY v.number, n.page NULLS FIRST, n.created_at, n.id`
	sqlByID = sqlColumns + sqlReads + ` AND n.id = $3`
	// Private ones are of one person, whoever takes the file out.
	sqlOfDokumente = sqlColumns + sqlReads + ` AND n.dokument_id = ANY ($3) AND n.removed_at IS NULL AND n.visibility <> 'private'
    ORDER BY n.dokument_id, v.number, n.page NULLS FIRST, n.created_at, n.id`
)

func scan(row pgx.CollectableRow) (n Annotation, err error) {
	var rect []byte
	var revisions []byte
	err = row.Scan(&n.ID, &n.DokumentID, &n.VersionID, &n.Version, &n.Kind, &n.Visibility, &n.UnitID, &n.Unit, &n.Page, &rect, &n.Quote,
		&n.From, &n.To, &n.Text, &n.AuthorID, &n.Author, &n.absent, &n.OnBehalfOf, &n.CreatedAt, &n.ChangedAt,
		&n.RemovedAt, &n.RemovedBy, &n.Reason, &n.RowVersion, &revisions)
	if err == nil && rect != nil {
		err = json.Unmarshal(rect, &n.Rect)
	}
	if err == nil {
		err = json.Unmarshal(revisions, &n.Revisions)
	}
	n.CreatedAt, n.ChangedAt = n.CreatedAt.UTC(), n.ChangedAt.UTC()
	if n.RemovedAt != nil {
		at := n.RemovedAt.UTC()
		n.RemovedAt = &at
	}
	return n, err
}

// Of lists the annotations of a Dokument that the actor may read, by version,
// page and time; version 0: of all; removed: those that were taken away too.
// Fault: not-found for a Dokument that is not seen.
func (s *Service) Of(ctx context.Context, a access.Actor, dokument uuid.UUID, version int, removed bool) (out []Annotation, err error) {
	if _, err := s.akten.Dokument(ctx, a, dokument); err != nil {
		return nil, err
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlOf, a.User, s.now(), dokument, version, removed)
		if err != nil {
			return fmt.Errorf("annotations: %w", err)
		}
		out, err = pgx.CollectRows(rows, scan)
		return err
	})
	return out, err
}

// OfDokumente gives what goes along when Dokumente are given out: the
// annotations that stand and that the actor may read, without the private ones.
func OfDokumente(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, dokumente []uuid.UUID) (map[uuid.UUID][]Annotation, error) {
	rows, err := q.Query(ctx, sqlOfDokumente, a.User, at, dokumente)
	if err != nil {
		return nil, fmt.Errorf("annotations: %w", err)
	}
	all, err := pgx.CollectRows(rows, scan)
	out := map[uuid.UUID][]Annotation{}
	for _, n := range all {
		out[n.DokumentID] = append(out[n.DokumentID], n)
	}
	return out, err
}

// ByID gives one, removed or not, or the fault not-found.
func (s *Service) ByID(ctx context.Context, a access.Actor, id uuid.UUID) (n Annotation, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		n, err = byID(ctx, q, a, s.now(), id)
		return err
	})
	return n, err
}

func byID(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, id uuid.UUID) (Annotation, error) {
	rows, err := q.Query(ctx, sqlByID, a.User, at, id)
	if err != nil {
		return Annotation{}, fmt.Errorf("annotation: %w", err)
	}
	n, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return n, fault.New("not-found")
	}
	return n, err
}

// check reports the first thing of an annotation that cannot stand. pages is 0
// where nobody knows how many there are.
func (n New) check(pages int) error {
	p := n.Place
	wrong := func(field, code string, kv ...any) error { return fault.New(code, kv...).With("/"+field, code, kv...) }
	switch {
	case n.Kind != Note && n.Kind != Mark:
		return wrong("kind", "annotation-kind-unknown", "kind", n.Kind)
	case n.Kind == Note && strings.TrimSpace(n.Text) == "":
		return wrong("text", "annotation-text-needed")
	case n.Kind == Mark && p.Rect == nil && p.From == nil:
		return wrong("rect", "annotation-place-needed")
	case p.Page < 0 || pages > 0 && p.Page > pages:
		return wrong("page", "annotation-page-unknown", "page", p.Page, "pages", pages)
	case p.Page == 0 && (p.Rect != nil || p.From != nil):
		return wrong("page", "field-required", "field", "page")
	case (p.From == nil) != (p.To == nil) || (p.From == nil) != (p.Quote == ""):
		return wrong("quote", "annotation-range-invalid")
	case p.From != nil && (*p.From < 0 || *p.To-*p.From != utf8.RuneCountInString(p.Quote)):
		return wrong("to", "annotation-range-invalid")
	}
	if r := p.Rect; r != nil && !(r.X >= 0 && r.Y >= 0 && r.Width > 0 && r.Height > 0 && r.X+r.Width <= 1.000001 && r.Y+r.Height <= 1.000001) {
		return wrong("rect", "annotation-rect-invalid")
	}
	return cmp.Or(fault.CheckText("text", n.Text, fault.MaxRemark), fault.CheckText("quote", p.Quote, fault.MaxRemark))
}

const (
	sqlCount = `SELECT count(*) FROM annotation WHERE tenant = evb_tenant() AND dokument_id = $1`
	sqlMake  = `
    INSERT INTO annotation (tenant, id, dokument_id, version_id, kind, visibility, unit_id, page, rect, quote, quote_from, quote_to, body,
        created_at, created_by, on_behalf_of, changed_at)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, nullif($7, 0), $8, $9, $10, $11, $12, $13, $14, $15, $13)`
)

// Make writes an annotation to a version of a Dokument, once per key. Faults:
// not-found, read-only-role, dokument-closed, annotation-too-many,
// annotation-kind-unknown, annotation-text-needed, annotation-place-needed,
// annotation-page-unknown, annotation-range-invalid, annotation-rect-invalid,
// annotation-visibility-unknown, annotation-unit-needed, field-too-long,
// field-not-text, and those of package idempotency.
func (s *Service) Make(ctx context.Context, a access.Actor, n New) (out Annotation, replayed bool, err error) {
	return idempotency.Once(ctx, s.db, a, n.Key, func(tx pgx.Tx) (out Annotation, record uuid.UUID, err error) {
		at := s.now()
		o, err := s.akten.Hold(ctx, tx, a, at, n.Dokument)
		switch {
		case err != nil:
			return out, record, err
		case o.Kind != akte.KindDokument:
			return out, record, fault.New("not-found")
		case !o.Changes:
			return out, record, fault.New("read-only-role")
		case o.State == akte.Filed:
			return out, record, fault.New("dokument-closed")
		}
		version, pages, err := versionOf(ctx, tx, n.Dokument, cmp.Or(n.Version, o.VersionNumber))
		if err != nil {
			return out, record, err
		}
		if err := n.check(pages); err != nil {
			return out, record, err
		}
		visibility, unit, err := readers(a, cmp.Or(n.Visibility, Private), n.UnitID, o.Unit)
		if err != nil {
			return out, record, err
		}
		var count int
		if err := tx.QueryRow(ctx, sqlCount, n.Dokument).Scan(&count); err != nil {
			return out, record, err
		}
		if count >= MaxPerDokument {
			return out, record, fault.New("annotation-too-many", "most", MaxPerDokument)
		}
		me, err := akte.ForWhom(ctx, tx, a, at, n.Dokument)
		if err != nil {
			return out, record, err
		}
		id, err := uuid.NewV7()
		if err != nil {
			return out, record, err
		}
		var rect []byte
		if n.Place.Rect != nil {
			if rect, err = json.Marshal(n.Place.Rect); err != nil {
				return out, record, err
			}
		}
		if _, err := tx.Exec(ctx, sqlMake, id, n.Dokument, version, n.Kind, visibility, unit, n.Place.Page, rect, n.Place.Quote, n.Place.From, n.Place.To,
			n.Text, at, a.User, ptr(me.OnBehalfOf)); err != nil {
			return out, record, fmt.Errorf("annotate: %w", err)
		}
		if out, err = byID(ctx, tx, a, at, id); err != nil {
			return out, record, err
		}
		return out, n.Dokument, s.tell(ctx, tx, me, at, Made, out, visibility != Private, "")
	})
}

// versionOf is the id of a version and how many pages it has, 0 for not known.
func versionOf(ctx context.Context, q postgres.Querier, dokument uuid.UUID, number int) (id uuid.UUID, pages int, err error) {
	all, err := akte.VersionsOf(ctx, q, dokument)
	if err != nil {
		return id, 0, err
	}
	for _, v := range all {
		if v.Number != number {
			continue
		}
		for _, f := range v.Files {
			if f.Pages == 0 {
				return v.ID, 0, nil
			}
			pages += f.Pages
		}
		return v.ID, pages, nil
	}
	return id, 0, fault.New("version-unknown", "version", number).With("/version", "version-unknown", "version", number)
}

// readers checks who may read it. A unit must be one of the author's.
func readers(a access.Actor, v Visibility, unit uuid.UUID, ofDokument *uuid.UUID) (Visibility, *uuid.UUID, error) {
	switch v {
	case Private, All:
		return v, nil, nil
	case Unit:
	default:
		return v, nil, fault.New("annotation-visibility-unknown", "visibility", v).With("/visibility", "annotation-visibility-unknown", "visibility", v)
	}
	mine := a.Units()
	in := func(u uuid.UUID) bool {
		for _, m := range mine {
			if m == u {
				return true
			}
		}
		return false
	}
	switch {
	case unit != uuid.Nil && in(unit):
		return v, &unit, nil
	case unit == uuid.Nil && ofDokument != nil && in(*ofDokument):
		return v, ofDokument, nil
	case unit == uuid.Nil && len(mine) > 0:
		return v, &mine[0], nil
	}
	return v, nil, fault.New("annotation-unit-needed").With("/unit", "annotation-unit-needed")
}

func (s *Service) tell(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, kind event.Kind, n Annotation, open bool, reason string) error {
	f := event.Fact{Kind: kind, SubjectKind: "annotation", Subject: n.ID, Reason: reason, Details: map[string]any{
		"version": n.Version, "kind": n.Kind, "visibility": n.Visibility, "author_id": n.AuthorID,
	}}
	if n.Page != 0 {
		f.Details["page"] = n.Page
	}
	if open {
		f.Record = n.DokumentID
	}
	return s.log.Append(ctx, tx, a, at, f)
}

const (
	sqlHold = `SELECT row_version FROM annotation WHERE tenant = evb_tenant() AND id = $1 FOR NO KEY UPDATE`
	sqlKeep = `
    INSERT INTO annotation_revision (tenant, annotation_id, number, body, visibility, written_at)
    SELECT tenant, id, row_version, body, visibility, changed_at FROM annotation WHERE tenant = evb_tenant() AND id = $1`
	sqlChange = `
    UPDATE annotation SET body = $2, visibility = $3, unit_id = $4, changed_at = $5, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`
	sqlRemove = `
    UPDATE annotation SET removed_at = $2, removed_by = $3, removed_for = $4, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`
)

// held takes the row of an annotation that the actor reads and that stands.
func (s *Service) held(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, ifVersion int64) (n Annotation, o akte.Held, err error) {
	var rowVersion int64
	if err := tx.QueryRow(ctx, sqlHold, id).Scan(&rowVersion); errors.Is(err, pgx.ErrNoRows) {
		return n, o, fault.New("not-found")
	} else if err != nil {
		return n, o, fmt.Errorf("hold an annotation: %w", err)
	}
	if n, err = byID(ctx, tx, a, at, id); err != nil {
		return n, o, err
	}
	if o, err = s.akten.Hold(ctx, tx, a, at, n.DokumentID); err != nil {
		return n, o, err
	}
	switch {
	case ifVersion != 0 && ifVersion != rowVersion:
		return n, o, fault.New("stale-version")
	case n.RemovedAt != nil:
		return n, o, fault.New("annotation-removed")
	}
	return n, o, nil
}

// mine says that the actor wrote it, or that it was written for the actor.
func (n Annotation) mine(a access.Actor) bool {
	return n.AuthorID == a.User || n.absent != nil && *n.absent == a.User
}

// Change changes the words of an annotation or who may read it, by its author;
// the wording before is kept. ifVersion 0 takes any. Faults: not-found,
// annotation-not-yours, read-only-role, stale-version, annotation-removed,
// dokument-closed, and those of Make for what changes.
func (s *Service) Change(ctx context.Context, a access.Actor, id uuid.UUID, p Patch, ifVersion int64) (out Annotation, err error) {
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		n, o, err := s.held(ctx, tx, a, at, id, ifVersion)
		switch {
		case err != nil:
			return err
		case !n.mine(a):
			return fault.New("annotation-not-yours", "person", n.Author)
		case !o.Changes:
			return fault.New("read-only-role")
		case o.State == akte.Filed:
			return fault.New("dokument-closed")
		}
		text, visibility, unit := n.Text, n.Visibility, n.UnitID
		if p.Text != nil {
			text = *p.Text
		}
		if p.Visibility != nil {
			if visibility, unit, err = readers(a, *p.Visibility, p.UnitID, o.Unit); err != nil {
				return err
			}
		}
		if err := (New{Kind: n.Kind, Text: text, Place: n.Place}).check(0); err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(sqlKeep, id)
		b.Queue(sqlChange, id, text, visibility, unit, at)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("change an annotation: %w", err)
		}
		if out, err = byID(ctx, tx, a, at, id); err != nil {
			return err
		}
		return s.tell(ctx, tx, a, at, Changed, out, n.Visibility != Private || visibility != Private, "")
	})
	return out, err
}

// Remove takes an annotation away: by its author, or with a reason by the head,
// the registry or the records management of the unit of the Dokument. It is kept
// and shown on request. Faults: not-found, annotation-not-yours, reason-needed,
// stale-version, annotation-removed, dokument-closed.
func (s *Service) Remove(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (out Annotation, err error) {
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return out, err
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		n, o, err := s.held(ctx, tx, a, at, id, ifVersion)
		if err != nil {
			return err
		}
		if !n.mine(a) {
			may, err := akte.AnswersFor(ctx, tx, a, at, o.Unit)
			switch {
			case err != nil:
				return err
			case !may:
				return fault.New("annotation-not-yours", "person", n.Author)
			case strings.TrimSpace(reason) == "":
				return fault.New("reason-needed").With("/reason", "reason-needed")
			}
		}
		if o.State == akte.Filed {
			return fault.New("dokument-closed")
		}
		if _, err := tx.Exec(ctx, sqlRemove, id, at, a.User, reason); err != nil {
			return fmt.Errorf("remove an annotation: %w", err)
		}
		if out, err = byID(ctx, tx, a, at, id); err != nil {
			return err
		}
		return s.tell(ctx, tx, a, at, Removed, out, n.Visibility != Private, reason)
	})
	return out, err
}

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
