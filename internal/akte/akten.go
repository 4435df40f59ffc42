package akte

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

// NewAkte is what an Akte begins with.
type NewAkte struct {
	AktenplaneinheitID uuid.UUID
	EinheitCode        string // instead of the id: code in the newest Aktenplan
	Aktenzeichen       string // empty: the next number of the Einheit's pattern
	Subject            string
	Type               string
	Remark             string
	Medium             string // 001 electronic (default), 002 hybrid, 003 paper
	PaperLocation      string // obligatory unless electronic
	Key                idempotency.Key
}

// NewVorgang is what a Vorgang begins with.
type NewVorgang struct {
	AkteID        uuid.UUID
	Subject       string // empty: that of the Akte
	Type          string
	Remark        string
	Medium        string // 001 electronic (default), 002 hybrid, 003 paper
	PaperLocation string // obligatory unless electronic
	Key           idempotency.Key
}

// Patch says what changes of an Akte or Vorgang; nil leaves a field as it is.
type Patch struct {
	Subject, Type, Remark, Medium, PaperLocation *string
}

// checkWords reports the first of an object's words that cannot stand. Where
// the paper lies is asked for by the row itself.
func checkWords(subject, kind, remark, medium, paperLocation string) error {
	switch medium {
	case "", "001", "002", "003":
	default:
		return fault.New("medium-unknown").With("/medium", "medium-unknown")
	}
	return cmp.Or(fault.CheckText("subject", subject, fault.MaxText), fault.CheckText("type", kind, fault.MaxText),
		fault.CheckText("remark", remark, fault.MaxRemark), fault.CheckText("paper_location", paperLocation, fault.MaxText))
}

// wordsFault is the fault of a violated constraint, or the error.
func wordsFault(err error, what, number string) error {
	switch postgres.Constraint(err) {
	case "number_register_own":
		return fault.New("number-taken", "number", number)
	case "akte_check", "vorgang_paper":
		return fault.New("paper-location-needed").With("/paper_location", "paper-location-needed")
	}
	return fmt.Errorf("%s: %w", what, err)
}

const (
	sqlEinheitForAkte = `
    SELECT e.id, e.code, coalesce(p.unit_id, e.unit_id), e.closed OR NOT (e.valid_from <= t.today AND t.today < e.valid_to), e.protection_class,
        p.id, coalesce(p.prefix, ''), coalesce(p.digits, 0), coalesce(p.next_number, 0), to_char(t.today, 'YY')
    FROM aktenplaneinheit e
    JOIN (SELECT ($3::timestamptz AT TIME ZONE zone)::date AS today FROM tenant WHERE id = evb_tenant()) t ON true
    LEFT JOIN number_pattern p ON p.tenant = e.tenant AND p.aktenplaneinheit_id = e.id
    WHERE e.tenant = evb_tenant() AND (e.id = $1
        OR $2::text <> '' AND e.code = $2 AND e.aktenplan_id = (SELECT a.id FROM aktenplan a WHERE a.tenant = evb_tenant() ORDER BY a.version DESC LIMIT 1))
    ORDER BY p.prefix LIMIT 1`
	// The row of the pattern puts those who take a number in line.
	sqlLockPattern = `SELECT next_number FROM number_pattern WHERE tenant = evb_tenant() AND id = $1 FOR NO KEY UPDATE`
	sqlFreeNumber  = `
    SELECT min(n) FROM generate_series($1::bigint, $1::bigint + 999) n
    WHERE NOT EXISTS (SELECT FROM number_register r WHERE r.tenant = evb_tenant() AND r.kind <> 'foreign'
        AND r.normal_form = $2 || lpad(n::text, $3, '0') || $4)`
	sqlTakeNumber   = `UPDATE number_pattern SET next_number = $2, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`
	sqlMayCreate    = `SELECT $1::uuid IN (SELECT evb_actor_write_scopes($2, $3))`
	sqlObjectScope  = `INSERT INTO access_scope (tenant, id, kind, unit_id, protection_class) VALUES (evb_tenant(), $1, 'object', $2, $3)`
	sqlGrantCreator = `
    INSERT INTO access_grant (tenant, id, scope_id, user_id, access, reason, valid_from) VALUES (evb_tenant(), $1, $2, $3, 'write', 'created', $4)`
	sqlInsertObject = `
    INSERT INTO record_object (tenant, id, kind, parent_id, position, access_scope_id, unit_id, lifecycle, protection_class, created_at, created_by, changed_at)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, 'open', $7, $8, $9, $8)`
	sqlInsertWords = `
    INSERT INTO record_metadata (tenant, record_id, subject, remark) VALUES (evb_tenant(), $1, $2, $3)`
	sqlInsertAkte = `
    INSERT INTO akte (tenant, id, kind, aktenplaneinheit_id, aktenzeichen, type, medium, paper_location, filing_unit_id)
    VALUES (evb_tenant(), $1, 'akte', $2, $3, $4, coalesce(nullif($5, ''), '001'), $6, $7)`
	sqlInsertNumber = `
    INSERT INTO number_register (tenant, id, normal_form, written, record_id, kind, valid_from) VALUES (evb_tenant(), $1, $2, $3, $4, 'current', $5)`
)

// CreateAkte opens an Akte under an Aktenplaneinheit that is neither closed nor
// out of date, in the unit that writes its numbers; the actor must be able to
// write there. replayed: an earlier request with the key did it (package
// idempotency, whose faults there are too). Faults: einheit-not-found, einheit-closed, einheit-without-unit,
// forbidden, number-pattern-missing, number-taken, number-of-other-unit,
// aktenzeichen-malformed, subject-needed, field-too-long, field-not-text,
// medium-unknown, paper-location-needed.
func (s *Service) CreateAkte(ctx context.Context, a access.Actor, n NewAkte) (k Akte, replayed bool, err error) {
	return created(ctx, s, a, n.Key, AkteByID, func(tx pgx.Tx, at time.Time) (uuid.UUID, error) {
		return s.CreateAkteIn(ctx, tx, a, at, n)
	})
}

// CreateAkteIn is CreateAkte in the caller's transaction.
func (s *Service) CreateAkteIn(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewAkte) (uuid.UUID, error) {
	if strings.TrimSpace(n.Subject) == "" {
		return uuid.Nil, fault.New("subject-needed").With("/subject", "subject-needed")
	}
	if err := checkWords(n.Subject, n.Type, n.Remark, n.Medium, n.PaperLocation); err != nil {
		return uuid.Nil, err
	}
	var einheit uuid.UUID
	var unit, pattern *uuid.UUID
	var closed bool
	var code, class, prefix, year string
	var digits int
	var next int64
	err := tx.QueryRow(ctx, sqlEinheitForAkte, n.AktenplaneinheitID, n.EinheitCode, at).
		Scan(&einheit, &code, &unit, &closed, &class, &pattern, &prefix, &digits, &next, &year)
	switch {
	case missing(err):
		return uuid.Nil, fault.New("einheit-not-found")
	case err != nil:
		return uuid.Nil, fmt.Errorf("aktenplaneinheit: %w", err)
	case closed:
		return uuid.Nil, fault.New("einheit-closed", "code", code)
	case unit == nil:
		return uuid.Nil, fault.New("einheit-without-unit", "code", code)
	}
	if !isSystem(a) {
		var may bool
		if err := tx.QueryRow(ctx, sqlMayCreate, *unit, a.User, at).Scan(&may); err != nil {
			return uuid.Nil, err
		}
		if !may {
			return uuid.Nil, fault.New("forbidden")
		}
	}
	number := strings.TrimSpace(n.Aktenzeichen)
	if number == "" {
		if pattern == nil {
			return uuid.Nil, fault.New("number-pattern-missing", "code", code)
		}
		if number, err = takeNumber(ctx, tx, *pattern, prefix, digits, year); err != nil {
			return uuid.Nil, err
		}
	} else if number, err = givenNumber(ctx, tx, number, *unit); err != nil {
		return uuid.Nil, err
	}
	id, err := newID()
	if err != nil {
		return uuid.Nil, err
	}
	numberID, err := newID()
	if err != nil {
		return uuid.Nil, err
	}
	scope := *unit
	var b pgx.Batch
	if class != "" { // denied unless named: a scope of its own (decisions 3.3)
		scope = id
		b.Queue(sqlObjectScope, id, *unit, class)
		if !isSystem(a) {
			grant, err := newID()
			if err != nil {
				return uuid.Nil, err
			}
			b.Queue(sqlGrantCreator, grant, id, a.User, at)
		}
	}
	b.Queue(sqlInsertObject, id, KindAkte, nil, nil, scope, *unit, class, at, a.User)
	b.Queue(sqlInsertWords, id, n.Subject, n.Remark)
	b.Queue(sqlInsertAkte, id, einheit, number, n.Type, n.Medium, n.PaperLocation, *unit)
	b.Queue(sqlInsertNumber, numberID, Normal(number), number, id, at)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return uuid.Nil, wordsFault(err, "create akte", number)
	}
	return id, s.log.Append(ctx, tx, a, at, event.Fact{Kind: AkteCreated, Record: id, Details: map[string]any{
		"aktenzeichen": number, "aktenplaneinheit_id": einheit, "unit_id": *unit,
	}})
}

func takeNumber(ctx context.Context, tx pgx.Tx, pattern uuid.UUID, prefix string, digits int, year string) (string, error) {
	var next int64
	if err := tx.QueryRow(ctx, sqlLockPattern, pattern).Scan(&next); err != nil {
		return "", err
	}
	var free *int64
	if err := tx.QueryRow(ctx, sqlFreeNumber, next, Normal(prefix), digits, year).Scan(&free); err != nil {
		return "", fmt.Errorf("free number: %w", err)
	}
	if free == nil || len(fmt.Sprint(*free)) > digits {
		return "", fault.New("number-pattern-exhausted", "prefix", prefix)
	}
	if _, err := tx.Exec(ctx, sqlTakeNumber, pattern, *free+1); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%0*d/%s", prefix, digits, *free, year), nil
}

// givenNumber checks a number that a person or an old system brings along. It
// must fit the pattern of the unit if it looks like one; numbers of no pattern
// are taken as they are.
func givenNumber(ctx context.Context, tx pgx.Tx, number string, unit uuid.UUID) (string, error) {
	patterns, err := Patterns(ctx, tx)
	if err != nil {
		return "", err
	}
	f, whole := wholeNumber(number, patterns)
	switch {
	case whole && f.Vorgang == "" && f.Pattern.UnitID == unit:
		return f.Aktenzeichen, nil
	case whole && f.Vorgang == "":
		return "", fault.New("number-of-other-unit", "number", number, "unit", f.Pattern.UnitCode)
	case whole || prefixKnown(number, patterns) || Normal(number) == "" || len(number) > 100:
		return "", fault.New("aktenzeichen-malformed", "aktenzeichen", number)
	}
	return number, nil
}

const (
	sqlAkteHead = `
    SELECT k.aktenzeichen, coalesce(m.subject, '') FROM akte k LEFT JOIN record_metadata m ON m.tenant = k.tenant AND m.record_id = k.id
    WHERE k.tenant = evb_tenant() AND k.id = $1`
	sqlNextVorgang = `
    SELECT greatest(k.left_vorgang, (SELECT max(v.number) FROM vorgang v WHERE v.tenant = k.tenant AND v.akte_id = k.id)) + 1
    FROM akte k WHERE k.tenant = evb_tenant() AND k.id = $1`
	sqlInsertVorgang = `
    INSERT INTO vorgang (tenant, id, kind, akte_id, number, reference, type, medium, paper_location)
    VALUES (evb_tenant(), $1, 'vorgang', $2, $3, $4, $5, coalesce(nullif($6, ''), '001'), $7)`
)

// CreateVorgang opens a Vorgang in an open Akte; it inherits scope and unit and
// gets the next number, <Aktenzeichen>-01 and so on. replayed is as for
// CreateAkte. Faults: not-found, read-only-role, akte-closed, medium-unknown,
// paper-location-needed.
func (s *Service) CreateVorgang(ctx context.Context, a access.Actor, n NewVorgang) (v Vorgang, replayed bool, err error) {
	return created(ctx, s, a, n.Key, VorgangByID, func(tx pgx.Tx, at time.Time) (uuid.UUID, error) {
		return s.CreateVorgangIn(ctx, tx, a, at, n)
	})
}

// CreateVorgangIn is CreateVorgang in the caller's transaction.
func (s *Service) CreateVorgangIn(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewVorgang) (uuid.UUID, error) {
	if err := checkWords(n.Subject, n.Type, n.Remark, n.Medium, n.PaperLocation); err != nil {
		return uuid.Nil, err
	}
	o, err := s.lock(ctx, tx, a, at, n.AkteID, KindAkte, 0)
	if err != nil {
		return uuid.Nil, err
	}
	if o.lifecycle != Open {
		k, err := AkteByID(ctx, tx, n.AkteID)
		if err != nil {
			return uuid.Nil, err
		}
		return uuid.Nil, fault.New("akte-closed", "aktenzeichen", k.Aktenzeichen)
	}
	return s.insertVorgang(ctx, tx, a, at, o, n)
}

// insertVorgang writes a Vorgang; the caller holds the row of the Akte, so the
// number is free.
func (s *Service) insertVorgang(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, o object, n NewVorgang) (uuid.UUID, error) {
	var aktenzeichen, subject string
	if err := tx.QueryRow(ctx, sqlAkteHead, o.id).Scan(&aktenzeichen, &subject); err != nil {
		return uuid.Nil, err
	}
	if n.Subject != "" {
		subject = n.Subject
	}
	var number int
	if err := tx.QueryRow(ctx, sqlNextVorgang, o.id).Scan(&number); err != nil {
		return uuid.Nil, err
	}
	id, err := newID()
	if err != nil {
		return uuid.Nil, err
	}
	numberID, err := newID()
	if err != nil {
		return uuid.Nil, err
	}
	reference := fmt.Sprintf("%s-%02d", aktenzeichen, number)
	var b pgx.Batch
	b.Queue(sqlInsertObject, id, KindVorgang, o.id, number, o.scope, o.unit, "", at, a.User)
	b.Queue(sqlInsertWords, id, subject, n.Remark)
	b.Queue(sqlInsertVorgang, id, o.id, number, reference, n.Type, n.Medium, n.PaperLocation)
	b.Queue(sqlInsertNumber, numberID, Normal(reference), reference, id, at)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return uuid.Nil, wordsFault(err, "create vorgang", reference)
	}
	return id, s.log.Append(ctx, tx, a, at, event.Fact{Kind: VorgangCreated, Record: id, Details: map[string]any{
		"reference": reference, "akte_id": o.id, "aktenzeichen": aktenzeichen,
	}})
}

const (
	sqlPatchObject = `
    UPDATE record_metadata SET subject = coalesce($2, subject), remark = coalesce($3, remark) WHERE tenant = evb_tenant() AND record_id = $1`
	sqlPatchAkte = `
    UPDATE akte SET type = coalesce($2, type), medium = coalesce($3, medium), paper_location = coalesce($4, paper_location)
    WHERE tenant = evb_tenant() AND id = $1`
	sqlPatchVorgang = `
    UPDATE vorgang SET type = coalesce($2, type), medium = coalesce($3, medium), paper_location = coalesce($4, paper_location) WHERE tenant = evb_tenant() AND id = $1`
)

// ChangeAkte changes the words about an open Akte. ifVersion 0 takes any.
// Faults: not-found, read-only-role, stale-version, akte-closed,
// subject-needed, paper-location-needed.
func (s *Service) ChangeAkte(ctx context.Context, a access.Actor, id uuid.UUID, p Patch, ifVersion int64) (Akte, error) {
	return after(ctx, s, a, id, AkteByID, func(tx pgx.Tx, at time.Time) error {
		return s.patch(ctx, tx, a, at, id, KindAkte, p, ifVersion)
	})
}

// ChangeVorgang changes the words about an open Vorgang; see ChangeAkte.
func (s *Service) ChangeVorgang(ctx context.Context, a access.Actor, id uuid.UUID, p Patch, ifVersion int64) (Vorgang, error) {
	return after(ctx, s, a, id, VorgangByID, func(tx pgx.Tx, at time.Time) error {
		return s.patch(ctx, tx, a, at, id, KindVorgang, p, ifVersion)
	})
}

func (s *Service) patch(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, kind string, p Patch, ifVersion int64) error {
	o, err := s.lock(ctx, tx, a, at, id, kind, ifVersion)
	if err != nil {
		return err
	}
	if o.lifecycle != Open && o.lifecycle != Planned {
		return closedFault(ctx, tx, id, kind)
	}
	if p.Subject != nil && strings.TrimSpace(*p.Subject) == "" {
		return fault.New("subject-needed").With("/subject", "subject-needed")
	}
	if p.Medium != nil && *p.Medium == "" {
		return fault.New("medium-unknown").With("/medium", "medium-unknown")
	}
	if err := checkWords(text(p.Subject), text(p.Type), text(p.Remark), text(p.Medium), text(p.PaperLocation)); err != nil {
		return err
	}
	var fields []string
	for name, v := range map[string]*string{"subject": p.Subject, "type": p.Type, "remark": p.Remark, "medium": p.Medium, "paper_location": p.PaperLocation} {
		if v != nil {
			fields = append(fields, name)
		}
	}
	if len(fields) == 0 {
		return nil
	}
	var b pgx.Batch
	b.Queue(sqlPatchObject, id, p.Subject, p.Remark)
	changed := VorgangChanged
	if kind == KindAkte {
		changed = AkteChanged
		b.Queue(sqlPatchAkte, id, p.Type, p.Medium, p.PaperLocation)
	} else {
		b.Queue(sqlPatchVorgang, id, p.Type, p.Medium, p.PaperLocation)
	}
	b.Queue(sqlTouch, id, at)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return wordsFault(err, "change "+kind, "")
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: changed, Record: id, Details: map[string]any{"fields": sorted(fields)}})
}

func closedFault(ctx context.Context, tx pgx.Tx, id uuid.UUID, kind string) error {
	if kind == KindAkte {
		k, err := AkteByID(ctx, tx, id)
		if err != nil {
			return err
		}
		return fault.New("akte-closed", "aktenzeichen", k.Aktenzeichen)
	}
	v, err := VorgangByID(ctx, tx, id)
	if err != nil {
		return err
	}
	return fault.New("vorgang-closed", "number", v.Reference)
}
