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
	"evb/internal/postgres"
)

// Held is a record object whose row a transaction holds until its end.
type Held struct {
	ID          uuid.UUID
	Kind        string
	Parent      *uuid.UUID
	Unit        *uuid.UUID
	Lifecycle   Lifecycle
	SubmittedBy *uuid.UUID
	RowVersion  int64
	Changes     bool // the actor may change it, not only read it
	// Of a Dokument:
	State         State
	Version       uuid.UUID // the current one
	VersionNumber int
	Author        uuid.UUID // of the current version
}

var (
	sqlHold = `
    SELECT o.id, o.kind, o.parent_id, o.unit_id, o.lifecycle, o.submitted_by, o.row_version, $4 OR ` + access.Changes("o", 2, 3) + `
    FROM record_object o
    WHERE o.tenant = evb_tenant() AND o.id = $1 AND ($4 OR $5 OR ` + access.Sees("o", 2, 3) + `)
    FOR NO KEY UPDATE OF o`
	sqlHeldVersion = `SELECT id, created_by FROM dokument_version WHERE tenant = evb_tenant() AND dokument_id = $1 AND number = $2`
)

// Hold takes the row of a record object of any kind that the actor sees, and
// for a Dokument its current version: nothing about them changes until the
// transaction ends. Fault: not-found.
func (s *Service) Hold(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID) (Held, error) {
	return hold(ctx, tx, a, at, id, false)
}

// HoldKnown is Hold for a use case that has asked for the right itself.
func (s *Service) HoldKnown(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID) (Held, error) {
	return hold(ctx, tx, a, at, id, true)
}

func hold(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, known bool) (h Held, err error) {
	err = tx.QueryRow(ctx, sqlHold, id, a.User, at, isSystem(a), known).
		Scan(&h.ID, &h.Kind, &h.Parent, &h.Unit, &h.Lifecycle, &h.SubmittedBy, &h.RowVersion, &h.Changes)
	if err == nil && h.Kind == KindDokument {
		var d standing
		if d, err = lockState(ctx, tx, id, at); err == nil {
			h.State, h.VersionNumber = d.state, d.version
			err = tx.QueryRow(ctx, sqlHeldVersion, id, d.version).Scan(&h.Version, &h.Author)
		}
	}
	if missing(err) {
		return h, fault.New("not-found")
	}
	if err != nil {
		return h, fmt.Errorf("hold an object: %w", err)
	}
	return h, nil
}

const (
	sqlFinal = `
    UPDATE dokument SET state = 'final', final_version = current_version WHERE tenant = evb_tenant() AND id = $1 AND state IN ('captured', 'registered')
    RETURNING current_version`
	sqlFreeze = `
    UPDATE dokument_version SET frozen_at = coalesce(frozen_at, $3) WHERE tenant = evb_tenant() AND dokument_id = $1 AND number = $2
    RETURNING id`
)

// Freeze makes the current version of a Dokument its final one and states
// dokument.final, in the caller's transaction. It asks for no rights. What is
// final already stays as it is. Faults: not-found, dokument-closed,
// dokument-quarantined, dokument-in-work.
func (s *Service) Freeze(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID) error {
	d, err := lockState(ctx, tx, dokument, at)
	switch {
	case missing(err):
		return fault.New("not-found")
	case err != nil:
		return fmt.Errorf("freeze: %w", err)
	case d.state == Final:
		return nil
	case d.state == Filed:
		return fault.New("dokument-closed")
	case d.state == Quarantined:
		return fault.New("dokument-quarantined")
	case d.state == InWork:
		return fault.New("dokument-in-work")
	}
	var number int
	var version uuid.UUID
	if err := tx.QueryRow(ctx, sqlFinal, dokument).Scan(&number); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	if err := tx.QueryRow(ctx, sqlFreeze, dokument, number, at).Scan(&version); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	if _, err := tx.Exec(ctx, sqlTouch, dokument, at); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{
		Kind: DokumentFinal, Record: dokument, SubjectKind: "version", Subject: version, Details: map[string]any{"version": number, "version_id": version},
	})
}

const (
	sqlAnswersFor = `
    SELECT EXISTS (SELECT FROM membership m
        WHERE m.tenant = evb_tenant() AND m.user_id = $1 AND m.role IN ('head', 'registry', 'records_manager')
          AND (m.unit_id = $2 OR m.unit_id IS NULL) AND m.valid_from <= $3 AND $3 < m.valid_to)`
	sqlUnfreeze = `
    UPDATE dokument SET state = CASE WHEN $2 THEN 'registered' ELSE 'captured' END, final_version = NULL WHERE tenant = evb_tenant() AND id = $1`
)

// AnswersFor says whether the actor is the head, the registry or the records
// management of a unit, or of the whole tenant.
func AnswersFor(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, unit *uuid.UUID) (yes bool, err error) {
	if err := q.QueryRow(ctx, sqlAnswersFor, a.User, unit, at).Scan(&yes); err != nil {
		return false, fmt.Errorf("who answers for a unit: %w", err)
	}
	return yes, nil
}

// ReopenDokument lets a further version of a Dokument come whose version was
// signed off, with a reason: by the head, the registry or the records management
// of its unit, or of the whole tenant. The signed version stays frozen, and what
// was agreed to it stands until the further version comes. Faults:
// reason-needed, not-found, reopening-forbidden, stale-version, dokument-closed,
// dokument-not-final.
func (s *Service) ReopenDokument(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Dokument, error) {
	if strings.TrimSpace(reason) == "" {
		return Dokument{}, fault.New("reason-needed").With("/reason", "reason-needed")
	}
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return Dokument{}, err
	}
	return after(ctx, s, a, id, s.dokumentNow, func(tx pgx.Tx, at time.Time) error {
		o, err := s.lockSeen(ctx, tx, a, at, id, KindDokument)
		if err != nil {
			return err
		}
		may := isSystem(a)
		if !may {
			if may, err = AnswersFor(ctx, tx, a, at, o.unit); err != nil {
				return err
			}
		}
		switch {
		case !may:
			return fault.New("reopening-forbidden")
		case ifVersion != 0 && o.rowVersion != ifVersion:
			return fault.New("stale-version")
		case o.state == Filed:
			return fault.New("dokument-closed")
		case o.state != Final:
			return fault.New("dokument-not-final")
		}
		if _, err := tx.Exec(ctx, sqlUnfreeze, id, o.parent != nil); err != nil {
			return fmt.Errorf("reopen dokument: %w", err)
		}
		if _, err := tx.Exec(ctx, sqlTouch, id, at); err != nil {
			return fmt.Errorf("reopen dokument: %w", err)
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: DokumentReopened, Record: id, Reason: reason})
	})
}
