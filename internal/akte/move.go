package akte

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
)

const (
	sqlNumberOfVorgang = `
    SELECT v.akte_id, v.number, v.reference FROM vorgang v WHERE v.tenant = evb_tenant() AND v.id = $1`
	sqlVorgangLeft = `
    UPDATE akte SET left_vorgang = greatest(left_vorgang, $2) WHERE tenant = evb_tenant() AND id = $1`
	sqlNumberEnds = `
    UPDATE number_register SET kind = 'former', valid_to = $2 WHERE tenant = evb_tenant() AND record_id = $1 AND kind = 'current'`
	sqlRenumber = `
    UPDATE vorgang SET akte_id = $2, number = $3, reference = $4 WHERE tenant = evb_tenant() AND id = $1`
	// What is below keeps grants and units of its own; what came down from the old
	// Akte comes down from the new one.
	sqlBelowMoves = `
    WITH RECURSIVE below AS (
        SELECT o.id FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $1
        UNION ALL
        SELECT c.id FROM below b JOIN record_object c ON c.tenant = evb_tenant() AND c.parent_id = b.id)
    UPDATE record_object o SET
        access_scope_id = CASE WHEN o.access_scope_id = $2 THEN $3 ELSE o.access_scope_id END,
        unit_id = CASE WHEN o.unit_id IS NOT DISTINCT FROM $4 THEN $5 ELSE o.unit_id END,
        parent_id = CASE WHEN o.id = $1 THEN $6 ELSE o.parent_id END, position = CASE WHEN o.id = $1 THEN $7 ELSE o.position END,
        changed_at = $8, row_version = o.row_version + 1
    FROM below WHERE o.tenant = evb_tenant() AND o.id = below.id`
)

// MoveVorgang brings an open Vorgang with all that is in it to another open Akte,
// with a reason. It gets the next number there; the number it had stays its own
// as a former one and is never given again. No byte moves. What it inherited of
// the Akte, scope and unit, it inherits of the new one. aktenzeichen is the number
// of the Akte. The actor must be able to change both. Faults: reason-needed,
// field-too-long, aktenzeichen-malformed, aktenzeichen-unit-unknown, akte-unknown
// (also for what the actor does not see), akte-closed, filing-forbidden,
// not-found, read-only-role, stale-version, vorgang-closed.
func (s *Service) MoveVorgang(ctx context.Context, a access.Actor, id uuid.UUID, aktenzeichen, reason string, ifVersion int64) (Vorgang, error) {
	if strings.TrimSpace(reason) == "" {
		return Vorgang{}, fault.New("reason-needed").With("/reason", "reason-needed")
	}
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return Vorgang{}, err
	}
	return after(ctx, s, a, id, VorgangByID, func(tx pgx.Tx, at time.Time) error {
		return s.moveVorgang(ctx, tx, a, at, id, aktenzeichen, reason, ifVersion)
	})
}

func (s *Service) moveVorgang(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, aktenzeichen, reason string, ifVersion int64) error {
	n, err := Resolve(ctx, tx, aktenzeichen)
	if err != nil {
		return err
	}
	switch {
	case n.State == UnknownUnit:
		return fault.New("aktenzeichen-unit-unknown", "aktenzeichen", aktenzeichen)
	case n.State == AkteUnknown:
		return fault.New("akte-unknown", "aktenzeichen", n.Aktenzeichen)
	case n.State == Malformed || n.VorgangID != uuid.Nil:
		return fault.New("aktenzeichen-malformed", "aktenzeichen", aktenzeichen)
	}
	// The Akte before the Vorgang, as with filing and closing.
	to, err := s.lockSeen(ctx, tx, a, at, n.AkteID, KindAkte)
	switch {
	case fault.Is(err, "not-found"):
		return fault.New("akte-unknown", "aktenzeichen", n.Aktenzeichen)
	case err != nil:
		return err
	case !to.changes:
		return fault.New("filing-forbidden", "number", n.Aktenzeichen)
	case to.lifecycle != Open:
		return fault.New("akte-closed", "aktenzeichen", n.Aktenzeichen)
	}
	o, err := s.lock(ctx, tx, a, at, id, KindVorgang, ifVersion)
	if err != nil {
		return err
	}
	var from uuid.UUID
	var was int
	var before string
	if err := tx.QueryRow(ctx, sqlNumberOfVorgang, id).Scan(&from, &was, &before); err != nil {
		return err
	}
	switch {
	case o.lifecycle != Open:
		return fault.New("vorgang-closed", "number", before)
	case from == to.id:
		return nil
	}
	source, err := s.scopeOf(ctx, tx, from)
	if err != nil {
		return err
	}
	var number int
	if err := tx.QueryRow(ctx, sqlNextVorgang, to.id).Scan(&number); err != nil {
		return err
	}
	numberID, err := newID()
	if err != nil {
		return err
	}
	reference := fmt.Sprintf("%s-%02d", n.Aktenzeichen, number)
	var b pgx.Batch
	b.Queue(sqlVorgangLeft, from, was)
	b.Queue(sqlNumberEnds, id, at)
	b.Queue(sqlInsertNumber, numberID, Normal(reference), reference, id, at)
	b.Queue(sqlRenumber, id, to.id, number, reference)
	b.Queue(sqlBelowMoves, id, source.scope, to.scope, source.unit, to.unit, to.id, number, at)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return wordsFault(err, "move vorgang", reference)
	}
	left := event.Fact{Kind: AkteVorgangLeft, Record: from, Reason: reason, Details: map[string]any{"vorgang_id": id, "from": before, "reference": reference}}
	return s.log.Append(ctx, tx, a, at, left, event.Fact{Kind: VorgangMoved, Record: id, Reason: reason, Details: map[string]any{
		"from_id": from, "from": before, "akte_id": to.id, "reference": reference,
	}})
}

const sqlScopeOf = `SELECT access_scope_id, unit_id FROM record_object WHERE tenant = evb_tenant() AND id = $1`

func (s *Service) scopeOf(ctx context.Context, tx pgx.Tx, id uuid.UUID) (o object, err error) {
	if err = tx.QueryRow(ctx, sqlScopeOf, id).Scan(&o.scope, &o.unit); err != nil {
		err = fmt.Errorf("scope of akte: %w", err)
	}
	return o, err
}
