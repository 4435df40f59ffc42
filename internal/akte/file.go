package akte

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
)

// FileRequest says where a Dokument goes: a Vorgang, or an Aktenzeichen (also
// of a Vorgang, "...-01"). IfVersion 0 takes any version of the Dokument.
type FileRequest struct {
	VorgangID    uuid.UUID
	Aktenzeichen string
	IfVersion    int64
	Reason       string // obligatory for Move
}

// Target is the Vorgang that a filing goes to.
type Target struct {
	VorgangID uuid.UUID
	Reference string // <Aktenzeichen>-01
	AkteID    uuid.UUID
	UnitID    uuid.UUID // nil UUID: none
	ScopeID   uuid.UUID
}

const sqlTarget = `
    SELECT v.id, v.reference, v.akte_id, coalesce(o.unit_id, '00000000-0000-0000-0000-000000000000'), o.access_scope_id
    FROM vorgang v JOIN record_object o ON o.tenant = v.tenant AND o.id = v.id
    WHERE v.tenant = evb_tenant() AND v.id = $1`

var sqlOpenVorgaenge = `
    SELECT v.id, v.reference FROM vorgang v JOIN record_object o ON o.tenant = v.tenant AND o.id = v.id
    WHERE v.tenant = evb_tenant() AND v.akte_id = $1 AND o.lifecycle = 'open' AND ($4 OR ` + access.Changes("o", 2, 3) + `)
    ORDER BY v.number LIMIT 2`

// FilingTarget finds the Vorgang of a filing and holds its row until the end
// of the transaction, so that it is not closed meanwhile. An Aktenzeichen
// leads to the only open Vorgang of its Akte; where none is open, one is
// opened, and the row of the Akte keeps two filers from opening two. Faults:
// vorgang-not-found, akte-unknown (also for what the actor does not see),
// aktenzeichen-malformed, aktenzeichen-unit-unknown, vorgang-ambiguous,
// vorgang-closed, akte-closed, filing-forbidden.
func (s *Service) FilingTarget(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r FileRequest) (Target, error) {
	id := r.VorgangID
	if id == uuid.Nil {
		n, err := Resolve(ctx, tx, r.Aktenzeichen)
		if err != nil {
			return Target{}, err
		}
		switch n.State {
		case Malformed:
			return Target{}, fault.New("aktenzeichen-malformed", "aktenzeichen", r.Aktenzeichen)
		case UnknownUnit:
			return Target{}, fault.New("aktenzeichen-unit-unknown", "aktenzeichen", r.Aktenzeichen)
		case AkteUnknown:
			return Target{}, fault.New("akte-unknown", "aktenzeichen", n.Aktenzeichen)
		}
		if n.VorgangID == uuid.Nil {
			return s.targetInAkte(ctx, tx, a, at, n)
		}
		id = n.VorgangID
	}
	o, err := s.lockSeen(ctx, tx, a, at, id, KindVorgang)
	if fault.Is(err, "not-found") {
		return Target{}, fault.New("vorgang-not-found")
	}
	if err != nil {
		return Target{}, err
	}
	t, err := target(ctx, tx, id)
	switch {
	case err != nil:
		return t, err
	case !o.changes:
		return t, fault.New("filing-forbidden", "number", t.Reference)
	case o.lifecycle != Open:
		return t, fault.New("vorgang-closed", "number", t.Reference)
	}
	return t, nil
}

func target(ctx context.Context, tx pgx.Tx, vorgang uuid.UUID) (t Target, err error) {
	err = tx.QueryRow(ctx, sqlTarget, vorgang).Scan(&t.VorgangID, &t.Reference, &t.AkteID, &t.UnitID, &t.ScopeID)
	return t, err
}

func (s *Service) targetInAkte(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n Number) (Target, error) {
	o, err := s.lockSeen(ctx, tx, a, at, n.AkteID, KindAkte)
	if fault.Is(err, "not-found") {
		return Target{}, fault.New("akte-unknown", "aktenzeichen", n.Aktenzeichen)
	}
	switch {
	case err != nil:
		return Target{}, err
	case !o.changes:
		return Target{}, fault.New("filing-forbidden", "number", n.Aktenzeichen)
	case o.lifecycle != Open:
		return Target{}, fault.New("akte-closed", "aktenzeichen", n.Aktenzeichen)
	}
	rows, err := tx.Query(ctx, sqlOpenVorgaenge, n.AkteID, a.User, at, isSystem(a))
	if err != nil {
		return Target{}, err
	}
	type line struct {
		ID        uuid.UUID
		Reference string
	}
	open, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
	switch {
	case err != nil:
		return Target{}, fmt.Errorf("open vorgaenge: %w", err)
	case len(open) > 1:
		return Target{}, fault.New("vorgang-ambiguous", "aktenzeichen", n.Aktenzeichen)
	case len(open) == 1:
		if _, err := s.lockSeen(ctx, tx, a, at, open[0].ID, KindVorgang); err != nil {
			return Target{}, err
		}
		return target(ctx, tx, open[0].ID)
	}
	id, err := s.insertVorgang(ctx, tx, a, at, o, NewVorgang{AkteID: n.AkteID})
	if err != nil {
		return Target{}, err
	}
	return target(ctx, tx, id)
}

const (
	sqlPlace = `
    UPDATE record_object SET parent_id = $2, position = $3, access_scope_id = $4, unit_id = $5, changed_at = $6, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`
	sqlRegister    = `UPDATE dokument SET state = 'registered' WHERE tenant = evb_tenant() AND id = $1 AND state = 'captured'`
	sqlSubmittedBy = `
    SELECT coalesce(submitted_by = $2, false) FROM record_object WHERE tenant = evb_tenant() AND id = $1 AND parent_id IS NULL`
)

// File files an unfiled Dokument (decisions 1.2): it inherits scope and unit
// of the Vorgang, takes the next position in it and becomes registered. No
// byte moves. Filing again to the Vorgang where it already is changes nothing.
// Who submitted a Dokument may file it; else one must be able to change it.
// Faults: those of FilingTarget, not-found, read-only-role, stale-version,
// dokument-already-filed, dokument-quarantined.
func (s *Service) File(ctx context.Context, a access.Actor, dokument uuid.UUID, r FileRequest) (Dokument, error) {
	return after(ctx, s, a, dokument, s.dokumentNow, func(tx pgx.Tx, at time.Time) error {
		return s.FileIn(ctx, tx, a, at, dokument, r)
	})
}

// FileIn is File in the caller's transaction.
func (s *Service) FileIn(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID, r FileRequest) error {
	if err := fault.CheckText("reason", r.Reason, fault.MaxText); err != nil {
		return err
	}
	o, err := s.lockSeen(ctx, tx, a, at, dokument, KindDokument)
	if err != nil {
		return err
	}
	if !o.changes {
		err := tx.QueryRow(ctx, sqlSubmittedBy, dokument, a.User).Scan(&o.changes)
		if err != nil && !missing(err) {
			return err
		}
	}
	if !o.changes {
		return fault.New("read-only-role")
	}
	t, err := s.FilingTarget(ctx, tx, a, at, r)
	if err != nil {
		return err
	}
	switch {
	case o.parent != nil && *o.parent == t.VorgangID:
		return nil
	case r.IfVersion != 0 && o.rowVersion != r.IfVersion:
		return fault.New("stale-version")
	case o.parent != nil:
		return fault.New("dokument-already-filed")
	case o.state == Quarantined:
		return fault.New("dokument-quarantined")
	}
	if err := place(ctx, tx, at, dokument, t); err != nil {
		return err
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: DokumentFiled, Record: dokument, Reason: r.Reason, Details: map[string]any{
		"vorgang_id": t.VorgangID, "vorgang": t.Reference, "akte_id": t.AkteID,
	}})
}

func place(ctx context.Context, tx pgx.Tx, at time.Time, dokument uuid.UUID, t Target) error {
	last, err := lastPosition(ctx, tx, t.VorgangID)
	if err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(sqlPlace, dokument, t.VorgangID, last+1, t.ScopeID, ptr(t.UnitID), at)
	b.Queue(sqlRegister, dokument)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("file dokument: %w", err)
	}
	return nil
}

// Move brings a filed Dokument to another Vorgang, with a reason. Both
// Vorgänge must be open, and the actor able to change all three. Faults: as
// File, and reason-needed.
func (s *Service) Move(ctx context.Context, a access.Actor, dokument uuid.UUID, r FileRequest) (Dokument, error) {
	if r.Reason == "" {
		return Dokument{}, fault.New("reason-needed")
	}
	return after(ctx, s, a, dokument, s.dokumentNow, func(tx pgx.Tx, at time.Time) error {
		return s.move(ctx, tx, a, at, dokument, r)
	})
}

func (s *Service) move(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID, r FileRequest) error {
	if err := fault.CheckText("reason", r.Reason, fault.MaxText); err != nil {
		return err
	}
	o, err := s.lock(ctx, tx, a, at, dokument, KindDokument, r.IfVersion)
	switch {
	case err != nil:
		return err
	case o.parent == nil:
		return fault.New("dokument-not-filed")
	case o.state == Filed:
		return fault.New("dokument-closed")
	}
	t, err := s.FilingTarget(ctx, tx, a, at, r)
	if err != nil || *o.parent == t.VorgangID {
		return err
	}
	before, err := target(ctx, tx, *o.parent)
	if err != nil && !missing(err) { // directly under an Akte: no Vorgang before
		return err
	}
	if err := place(ctx, tx, at, dokument, t); err != nil {
		return err
	}
	left := event.Fact{Kind: VorgangDokumentLeft, Record: *o.parent, Reason: r.Reason, Details: map[string]any{"dokument_id": dokument}}
	return s.log.Append(ctx, tx, a, at, left, event.Fact{Kind: DokumentMoved, Record: dokument, Reason: r.Reason, Details: map[string]any{
		"from_id": *o.parent, "from": before.Reference, "vorgang_id": t.VorgangID, "vorgang": t.Reference, "akte_id": t.AkteID,
	}})
}
