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

// How long a Dokument is checked out when nobody says, and at most.
const (
	DefaultCheckOut = 24 * time.Hour
	MaxCheckOut     = 30 * 24 * time.Hour
)

// CheckOut says who has a Dokument in work. It ends by itself at Until.
type CheckOut struct {
	By      uuid.UUID
	ByName  string
	For     *uuid.UUID // the absent person for whom it was taken
	ForName string
	Since   time.Time
	Until   time.Time
	Version int // that is worked from
}

// heldBy says that the check-out is the actor's: taken by that person, or for
// that person; for a deputy also what is the absent person's.
func (c *CheckOut) heldBy(a access.Actor) bool {
	for _, id := range []uuid.UUID{a.User, a.OnBehalfOf} {
		if id != uuid.Nil && (c.By == id || c.For != nil && *c.For == id) {
			return true
		}
	}
	return false
}

// person names the owner, with the absent person where there is one.
func (c *CheckOut) person() string {
	if c.For == nil {
		return c.ByName
	}
	return c.ByName + " (i. V. " + c.ForName + ")"
}

func (c *CheckOut) fault() error {
	return fault.New("dokument-checked-out", "person", c.person(), "until", c.Until.UTC().Format(time.RFC3339))
}

// sqlCheckOut are the columns of a check-out, for checkOutRow.
const sqlCheckOut = `d.checked_out_by, coalesce((SELECT p.display_name FROM app_user p WHERE p.tenant = d.tenant AND p.id = d.checked_out_by), ''),
        d.checked_out_for, coalesce((SELECT p.display_name FROM app_user p WHERE p.tenant = d.tenant AND p.id = d.checked_out_for), ''),
        d.checked_out_at, d.checked_out_until, d.checked_out_version`

type checkOutRow struct {
	by, absent   *uuid.UUID
	byName, name string
	since, until *time.Time
	version      *int
}

func (r *checkOutRow) into() []any {
	return []any{&r.by, &r.byName, &r.absent, &r.name, &r.since, &r.until, &r.version}
}

func (r *checkOutRow) value() *CheckOut {
	if r.by == nil {
		return nil
	}
	return &CheckOut{By: *r.by, ByName: r.byName, For: r.absent, ForName: r.name, Since: *r.since, Until: *r.until, Version: *r.version}
}

// AsOf shows a Dokument as it is at a moment: in work while it is checked out,
// and free again when the check-out has ended.
func (d *Dokument) AsOf(at time.Time) {
	d.State, d.CheckOut = inWork(d.State, d.CheckOut, at)
}

// inWork is the state that people see. Only what may get a further version is
// in work.
func inWork(stored State, c *CheckOut, at time.Time) (State, *CheckOut) {
	if c == nil || !c.Until.After(at) {
		return stored, nil
	}
	if stored == Captured || stored == Registered {
		stored = InWork
	}
	return stored, c
}

// A statement of its own: the state as of now, held until the end.
const sqlLockState = `
    SELECT d.state, d.current_version, ` + sqlCheckOut + `
    FROM dokument d WHERE d.tenant = evb_tenant() AND d.id = $1 FOR NO KEY UPDATE OF d`

// standing is where a Dokument stands whose row is held.
type standing struct {
	stored  State
	state   State // as people see it
	version int
	held    *CheckOut // in force
	last    *CheckOut // in force or not
}

func lockState(ctx context.Context, tx pgx.Tx, dokument uuid.UUID, at time.Time) (s standing, err error) {
	var row checkOutRow
	if err := tx.QueryRow(ctx, sqlLockState, dokument).Scan(append([]any{&s.stored, &s.version}, row.into()...)...); err != nil {
		return s, err
	}
	s.last = row.value()
	s.state, s.held = inWork(s.stored, s.last, at)
	return s, nil
}

// writable is the fault of a Dokument that gets no further version; nil for one
// that may.
func (s standing) writable() error {
	switch s.stored {
	case Filed:
		return fault.New("dokument-closed")
	case Final:
		return fault.New("dokument-final")
	case Quarantined:
		return fault.New("dokument-quarantined")
	}
	return nil
}

// ForWhom is the actor with the absent person for whom a deputy works on an
// object; who acts in person stays as is.
func ForWhom(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, record uuid.UUID) (access.Actor, error) {
	if !a.Deputy || a.OnBehalfOf != uuid.Nil {
		return a, nil
	}
	var id, absent uuid.UUID
	err := q.QueryRow(ctx, access.SQLForWhom, []uuid.UUID{record}, a.User, at).Scan(&id, &absent)
	if missing(err) {
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("for whom: %w", err)
	}
	return a.Behalf(absent), nil
}

const (
	sqlSetCheckOut = `
    UPDATE dokument SET checked_out_by = $2, checked_out_for = $3, checked_out_at = $4, checked_out_until = $5, checked_out_version = $6
    WHERE tenant = evb_tenant() AND id = $1`
	sqlClearCheckOut = `
    UPDATE dokument SET checked_out_by = NULL, checked_out_for = NULL, checked_out_at = NULL, checked_out_until = NULL, checked_out_version = NULL
    WHERE tenant = evb_tenant() AND id = $1`
)

// CheckOut gives a Dokument to the actor to write at, until a moment (zero:
// DefaultCheckOut from now): meanwhile nobody else adds a version. Who has it
// already gets it until the new moment, from the same version. A deputy takes it
// for the absent person; both may bring it back. ifVersion 0 takes any. Faults:
// not-found, read-only-role, stale-version, dokument-closed, dokument-final,
// dokument-quarantined, dokument-checked-out, check-out-until-invalid.
func (s *Service) CheckOut(ctx context.Context, a access.Actor, id uuid.UUID, until time.Time, ifVersion int64) (Dokument, error) {
	return after(ctx, s, a, id, s.dokumentNow, func(tx pgx.Tx, at time.Time) error {
		if until.IsZero() {
			until = at.Add(DefaultCheckOut)
		}
		if until = until.UTC().Truncate(time.Microsecond); !until.After(at) || until.Sub(at) > MaxCheckOut {
			return fault.New("check-out-until-invalid", "days", int(MaxCheckOut.Hours()/24)).With("/until", "check-out-until-invalid", "days", int(MaxCheckOut.Hours()/24))
		}
		o, err := s.lock(ctx, tx, a, at, id, KindDokument, ifVersion)
		if err != nil {
			return err
		}
		if err := o.writable(); err != nil {
			return err
		}
		me, err := ForWhom(ctx, tx, a, at, id)
		if err != nil {
			return err
		}
		c := &CheckOut{By: me.User, For: ptr(me.OnBehalfOf), Since: at, Version: o.version}
		if o.held != nil {
			if !o.held.heldBy(me) {
				return o.held.fault()
			}
			c.Since, c.Version = o.held.Since, o.held.Version
		}
		var b pgx.Batch
		b.Queue(sqlSetCheckOut, id, c.By, c.For, c.Since, until, c.Version)
		b.Queue(sqlTouch, id, at)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("check out: %w", err)
		}
		return s.log.Append(ctx, tx, me, at, event.Fact{Kind: DokumentCheckedOut, Record: id, Details: map[string]any{
			"version": c.Version, "until": until.Format(time.RFC3339), "again": o.held != nil,
		}})
	})
}

// CheckInAllowed holds the row of a Dokument that its owner checks in with a
// version in this transaction, and gives the state it has then. version is the
// one the file was made from; 0: the one that was checked out. Faults: as
// VersionAllowed, and dokument-not-checked-out, check-out-expired,
// version-moved-on.
func (s *Service) CheckInAllowed(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID, version int, ifVersion int64) (State, error) {
	o, err := s.lock(ctx, tx, a, at, dokument, KindDokument, ifVersion)
	if err != nil {
		return "", err
	}
	if err := o.writable(); err != nil {
		return "", err
	}
	return o.stored, s.checkIn(ctx, tx, a, at, o, version)
}

func (s *Service) checkIn(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, o object, version int) error {
	me, err := ForWhom(ctx, tx, a, at, o.id)
	switch {
	case err != nil:
		return err
	case o.held == nil && o.last != nil && o.last.heldBy(me):
		return fault.New("check-out-expired", "until", o.last.Until.UTC().Format(time.RFC3339))
	case o.held == nil:
		return fault.New("dokument-not-checked-out")
	case !o.held.heldBy(me):
		return o.held.fault()
	case version != 0 && version != o.held.Version:
		return fault.New("version-moved-on", "given", version, "expected", o.held.Version).With("/version", "version-moved-on", "given", version, "expected", o.held.Version)
	}
	return nil
}

// CheckIn gives a Dokument back without a new version. version is as for
// CheckInAllowed, and so are the faults, without those of a further version:
// what was frozen meanwhile can be given back too.
func (s *Service) CheckIn(ctx context.Context, a access.Actor, id uuid.UUID, version int, ifVersion int64) (Dokument, error) {
	return after(ctx, s, a, id, s.dokumentNow, func(tx pgx.Tx, at time.Time) error {
		o, err := s.lock(ctx, tx, a, at, id, KindDokument, ifVersion)
		if err != nil {
			return err
		}
		if err := s.checkIn(ctx, tx, a, at, o, version); err != nil {
			return err
		}
		if err := clearCheckOut(ctx, tx, at, id); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, at, checkedIn(id, o.held.Version, 0))
	})
}

// checkedIn is the fact; added 0: without a version.
func checkedIn(dokument uuid.UUID, from, added int) event.Fact {
	details := map[string]any{"version": from}
	if added != 0 {
		details["added"] = added
	}
	return event.Fact{Kind: DokumentCheckedIn, Record: dokument, Details: details}
}

func clearCheckOut(ctx context.Context, tx pgx.Tx, at time.Time, dokumente ...uuid.UUID) error {
	var b pgx.Batch
	for _, id := range dokumente {
		b.Queue(sqlClearCheckOut, id)
		b.Queue(sqlTouch, id, at)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("end a check-out: %w", err)
	}
	return nil
}

// sqlMayReturn: the head, the registry and the records management of the unit of
// the Dokument, and the head of a unit of who has it ($4).
const sqlMayReturn = `
    SELECT EXISTS (SELECT FROM membership m
        WHERE m.tenant = evb_tenant() AND m.user_id = $1 AND m.valid_from <= $3 AND $3 < m.valid_to
          AND (m.role IN ('head', 'registry', 'records_manager') AND (m.unit_id = $2 OR m.unit_id IS NULL)
            OR m.role = 'head' AND m.unit_id IN (SELECT h.unit_id FROM membership h WHERE h.tenant = m.tenant AND h.user_id = $4)))`

// ReturnCheckOut takes a checked-out Dokument away from who has it, with a
// reason: by the head of the unit of the Dokument or of that person, the
// registry or the records management. What that person wrote meanwhile can be
// brought in after a check-out of its own. Faults: reason-needed, not-found,
// check-out-return-forbidden, stale-version, dokument-not-checked-out.
func (s *Service) ReturnCheckOut(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Dokument, error) {
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
		var holder *uuid.UUID
		if o.held != nil {
			holder = &o.held.By
		}
		may := isSystem(a)
		if !may {
			if err := tx.QueryRow(ctx, sqlMayReturn, a.User, o.unit, at, holder).Scan(&may); err != nil {
				return fmt.Errorf("return a check-out: %w", err)
			}
		}
		switch {
		case !may:
			return fault.New("check-out-return-forbidden")
		case ifVersion != 0 && o.rowVersion != ifVersion:
			return fault.New("stale-version")
		case o.held == nil:
			return fault.New("dokument-not-checked-out")
		}
		if err := clearCheckOut(ctx, tx, at, id); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, at, returned(id, o.held, reason))
	})
}

func returned(dokument uuid.UUID, c *CheckOut, reason string) event.Fact {
	return event.Fact{Kind: DokumentCheckOutReturned, Record: dokument, Reason: reason, Details: map[string]any{
		"person_id": c.By, "version": c.Version, "until": c.Until.UTC().Format(time.RFC3339),
	}}
}

// CheckedOut is a Dokument that a person has checked out.
type CheckedOut struct {
	DokumentID uuid.UUID `json:"dokument_id"`
	Version    int       `json:"version"`
	Since      time.Time `json:"since"`
	Until      time.Time `json:"until"`
}

const (
	sqlCheckedOut = `
    SELECT d.id, d.checked_out_version, d.checked_out_at, d.checked_out_until
    FROM dokument d WHERE d.tenant = evb_tenant() AND d.checked_out_by = $1 AND d.checked_out_until > $2 ORDER BY d.checked_out_until, d.id`
	sqlLockCheckedOut = sqlCheckedOut + ` FOR NO KEY UPDATE OF d`
)

// CheckOutsOf lists what a person has checked out at a moment. No right is asked
// for.
func CheckOutsOf(ctx context.Context, q postgres.Querier, at time.Time, user uuid.UUID) ([]CheckedOut, error) {
	return checkOuts(ctx, q, sqlCheckedOut, user, at)
}

func checkOuts(ctx context.Context, q postgres.Querier, sql string, user uuid.UUID, at time.Time) ([]CheckedOut, error) {
	rows, err := q.Query(ctx, sql, user, at)
	if err != nil {
		return nil, fmt.Errorf("check-outs: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[CheckedOut])
}

// EndCheckOuts ends all check-outs of a person who leaves and says how many
// there were: what that person wrote is nowhere here, so nobody can take it
// over. It asks for no rights.
func (s *Service) EndCheckOuts(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, user uuid.UUID, reason string) (int, error) {
	all, err := checkOuts(ctx, tx, sqlLockCheckedOut, user, at)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	ids, facts := make([]uuid.UUID, len(all)), make([]event.Fact, len(all))
	for i, c := range all {
		ids[i], facts[i] = c.DokumentID, returned(c.DokumentID, &CheckOut{By: user, Version: c.Version, Until: c.Until}, reason)
	}
	if err := clearCheckOut(ctx, tx, at, ids...); err != nil {
		return 0, err
	}
	return len(all), s.log.Append(ctx, tx, a, at, facts...)
}
