package akte

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

// ReferenceKind says what a reference means.
type ReferenceKind string

// The kinds of references (record_reference.kind).
const (
	See        ReferenceKind = "see"
	Duplicate  ReferenceKind = "duplicate"
	Reply      ReferenceKind = "reply"
	Attachment ReferenceKind = "attachment"
)

// MaxReferences bounds the references of one object.
const MaxReferences = 1000

// Facts; the record is the object that refers.
const (
	ReferenceMade    event.Kind = "reference.made"
	ReferenceRemoved event.Kind = "reference.removed"
)

// Reference points from an Akte, a Vorgang or a Dokument to another one, instead
// of a copy. It gives no right to its target.
type Reference struct {
	ID          uuid.UUID     `json:"id"`
	Kind        ReferenceKind `json:"kind"`
	Remark      string        `json:"remark"`
	FromID      uuid.UUID     `json:"from_id"`
	ToID        uuid.UUID     `json:"to_id"`
	OtherKind   string        `json:"other_kind"` // of the other end: akte, vorgang, dokument
	Number      string        `json:"number"`     // of the other end: Aktenzeichen, or that of its Vorgang
	Subject     string        `json:"subject"`    // of the other end
	CreatedAt   time.Time     `json:"created_at"`
	CreatedByID uuid.UUID     `json:"created_by_id"`
	CreatedBy   string        `json:"created_by"`
}

// NewReference is what Refer writes.
type NewReference struct {
	From, To uuid.UUID
	Kind     ReferenceKind // empty: See
	Remark   string
	Key      idempotency.Key
}

// The other end: $3 is the object that is asked about.
var (
	sqlReferences = `
    SELECT r.id, r.kind, r.remark, r.from_id, r.to_id, o.kind, coalesce(k.aktenzeichen, v.reference, pv.reference, pk.aktenzeichen, ''), coalesce(m.subject, ''),
        r.created_at, r.created_by, coalesce(p.display_name, '')
    FROM record_reference r
    JOIN record_object o ON o.tenant = r.tenant AND o.id = CASE WHEN r.from_id = $3 THEN r.to_id ELSE r.from_id END
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    LEFT JOIN akte k ON k.tenant = o.tenant AND k.id = o.id
    LEFT JOIN vorgang v ON v.tenant = o.tenant AND v.id = o.id
    LEFT JOIN vorgang pv ON pv.tenant = o.tenant AND pv.id = o.parent_id
    LEFT JOIN akte pk ON pk.tenant = o.tenant AND pk.id = o.parent_id AND o.kind = 'dokument'
    LEFT JOIN app_user p ON p.tenant = r.tenant AND p.id = r.created_by
    WHERE r.tenant = evb_tenant() AND ` + access.Sees("o", 1, 2)
	sqlReferencesFrom = sqlReferences + ` AND r.from_id = $3 ORDER BY r.created_at, r.id`
	sqlReferencesTo   = sqlReferences + ` AND r.to_id = $3 ORDER BY r.created_at, r.id LIMIT 1000`
	sqlReferenceByID  = sqlReferences + ` AND r.from_id = $3 AND r.id = $4`
	sqlObjectSeen     = `
    SELECT o.kind FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $3 AND ` + access.Sees("o", 1, 2)
)

func references(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]Reference, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("references: %w", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Reference])
	for i := range out {
		out[i].CreatedAt = out[i].CreatedAt.UTC()
	}
	return out, err
}

// seesObject gives the kind of an object that the actor sees, or not-found.
func seesObject(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, id uuid.UUID) (kind string, err error) {
	err = q.QueryRow(ctx, sqlObjectSeen, a.User, at, id).Scan(&kind)
	if missing(err) {
		return "", fault.New("not-found")
	}
	return kind, err
}

// References lists what an object refers to, oldest first, or, incoming, what
// refers to it (at most 1,000): of both only what the actor sees, so that nobody
// learns of a target by a reference. Fault: not-found.
func (s *Service) References(ctx context.Context, a access.Actor, id uuid.UUID, incoming bool) (out []Reference, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		at := s.now()
		if _, err := seesObject(ctx, q, a, at, id); err != nil {
			return err
		}
		sql := sqlReferencesFrom
		if incoming {
			sql = sqlReferencesTo
		}
		out, err = references(ctx, q, sql, a.User, at, id)
		return err
	})
	return out, err
}

const (
	sqlCountReferences = `SELECT count(*) FROM record_reference WHERE tenant = evb_tenant() AND from_id = $1`
	sqlInsertReference = `
    INSERT INTO record_reference (tenant, id, from_id, to_id, kind, remark, created_at, created_by) VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7)`
)

// lockOpen takes the row of an object of any kind that the actor may change and
// that is not closed.
func (s *Service) lockOpen(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID) (object, error) {
	kind, err := seesObject(ctx, tx, a, at, id)
	if err != nil {
		return object{}, err
	}
	o, err := s.lock(ctx, tx, a, at, id, kind, 0)
	switch {
	case err != nil:
		return o, err
	case kind == KindDokument && o.stored == Filed:
		return o, fault.New("dokument-closed")
	case o.lifecycle != Open && o.lifecycle != Planned:
		return o, closedFault(ctx, tx, id, kind)
	}
	return o, nil
}

// Refer makes a reference, once per key, from an open object that the actor may
// change to one that the actor sees. Faults: not-found, read-only-role,
// akte-closed, vorgang-closed, dokument-closed, reference-kind-unknown,
// reference-target-unknown, reference-to-itself, reference-exists,
// reference-too-many, field-too-long, field-not-text, and those of package
// idempotency.
func (s *Service) Refer(ctx context.Context, a access.Actor, n NewReference) (out Reference, replayed bool, err error) {
	n.Kind = cmp.Or(n.Kind, See)
	switch n.Kind {
	case See, Duplicate, Reply, Attachment:
	default:
		return out, false, fault.New("reference-kind-unknown", "kind", n.Kind).With("/kind", "reference-kind-unknown", "kind", n.Kind)
	}
	if err := fault.CheckText("remark", n.Remark, fault.MaxText); err != nil {
		return out, false, err
	}
	return idempotency.Once(ctx, s.db, a, n.Key, func(tx pgx.Tx) (out Reference, record uuid.UUID, err error) {
		at := s.now()
		if _, err := s.lockOpen(ctx, tx, a, at, n.From); err != nil {
			return out, record, err
		}
		if n.From == n.To {
			return out, record, fault.New("reference-to-itself").With("/to_id", "reference-to-itself")
		}
		kind, err := seesObject(ctx, tx, a, at, n.To)
		if fault.Is(err, "not-found") {
			return out, record, fault.New("reference-target-unknown").With("/to_id", "reference-target-unknown")
		}
		if err != nil {
			return out, record, err
		}
		var count int
		if err := tx.QueryRow(ctx, sqlCountReferences, n.From).Scan(&count); err != nil {
			return out, record, err
		}
		if count >= MaxReferences {
			return out, record, fault.New("reference-too-many", "most", MaxReferences)
		}
		id, err := newID()
		if err != nil {
			return out, record, err
		}
		if _, err := tx.Exec(ctx, sqlInsertReference, id, n.From, n.To, n.Kind, n.Remark, at, a.User); err != nil {
			if postgres.Constraint(err) == "record_reference_tenant_from_id_to_id_kind_key" {
				return out, record, fault.New("reference-exists")
			}
			return out, record, fmt.Errorf("refer: %w", err)
		}
		found, err := references(ctx, tx, sqlReferenceByID, a.User, at, n.From, id)
		if err != nil {
			return out, record, err
		}
		return found[0], n.From, s.log.Append(ctx, tx, a, at, event.Fact{Kind: ReferenceMade, Record: n.From, SubjectKind: "reference", Subject: id, Details: map[string]any{
			"to_id": n.To, "to_kind": kind, "kind": n.Kind,
		}})
	})
}

const (
	sqlReferenceEnds   = `SELECT from_id, to_id, kind FROM record_reference WHERE tenant = evb_tenant() AND id = $1`
	sqlDeleteReference = `DELETE FROM record_reference WHERE tenant = evb_tenant() AND id = $1`
)

// RemoveReference takes a reference away, by who may change the open object that
// refers and sees the target; both facts stay in the history. A reference never
// changes, so its row version is 1. Faults: not-found, read-only-role,
// stale-version, akte-closed, vorgang-closed, dokument-closed.
func (s *Service) RemoveReference(ctx context.Context, a access.Actor, id uuid.UUID, ifVersion int64) error {
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		var from, to uuid.UUID
		var kind ReferenceKind
		err := tx.QueryRow(ctx, sqlReferenceEnds, id).Scan(&from, &to, &kind)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New("not-found")
		}
		if err != nil {
			return fmt.Errorf("reference: %w", err)
		}
		if _, err := seesObject(ctx, tx, a, at, to); err != nil {
			return err
		}
		if _, err := s.lockOpen(ctx, tx, a, at, from); err != nil {
			return err
		}
		if ifVersion != 0 && ifVersion != 1 {
			return fault.New("stale-version")
		}
		tag, err := tx.Exec(ctx, sqlDeleteReference, id)
		if err != nil {
			return fmt.Errorf("remove a reference: %w", err)
		}
		if tag.RowsAffected() == 0 { // somebody was faster
			return fault.New("not-found")
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: ReferenceRemoved, Record: from, SubjectKind: "reference", Subject: id, Details: map[string]any{
			"to_id": to, "kind": kind,
		}})
	})
}
