package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postkorb"
)

// Start is what a rule asks a circulation or a process to begin with.
type Start struct {
	Dokument uuid.UUID
	// Spec is Target.Circulation or Target.Process as it was written.
	Spec json.RawMessage
	// Fields are those that the condition was asked about (Document.Fields).
	Fields map[string]any
	Why    postkorb.Why
}

// Starter begins a circulation or a process in the caller's transaction, and
// gives its id. A fault of it sends the Dokument to clearing; nothing it wrote
// before stays.
type Starter func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, s Start) (uuid.UUID, error)

// Options of New. Zero values are sound.
type Options struct {
	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: none
	// StartCirculation and StartProcess begin what such targets name; nil: a set
	// with such a target is refused by Check.
	StartCirculation Starter
	StartProcess     Starter
}

// Service keeps rule sets. Safe for concurrent use.
type Service struct {
	db   *postgres.DB
	log  *event.Log
	lang *Language
	o    Options

	mu       sync.Mutex
	compiled map[uuid.UUID]*Compiled
}

// New makes the service.
func New(db *postgres.DB, log *event.Log, o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	lang, err := NewLanguage()
	if err != nil {
		return nil, err
	}
	return &Service{db: db, log: log, lang: lang, o: o, compiled: map[uuid.UUID]*Compiled{}}, nil
}

func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

// Language is the one of all sets.
func (s *Service) Language() *Language { return s.lang }

// StartCirculation and StartProcess give the hooks; they may be nil.
func (s *Service) StartCirculation() Starter { return s.o.StartCirculation }

// StartProcess gives the hook; it may be nil.
func (s *Service) StartProcess() Starter { return s.o.StartProcess }

// Whoever works for a unit may write and see drafts of its sets; who answers for
// it may put them in force. A tenant-wide set needs such a role tenant-wide.
var (
	writers     = []access.Role{access.Clerk, access.Head, access.Registry, access.RecordsManager, access.ProcessDesigner, access.Administrator, access.Service}
	responsible = []access.Role{access.Head, access.Registry, access.RecordsManager, access.Administrator}
	// designers see what a draft would do to all letters, not only to their own.
	designers = append(slices.Clone(responsible), access.ProcessDesigner)
	lookers   = append(slices.Clone(writers), access.Auditor, access.Reader)
)

func may(a access.Actor, unit uuid.UUID, roles []access.Role) bool {
	return a.User == access.SystemUser || a.HasIn(unit, roles...)
}

// sees says who may read a set: whoever may write or inspect one of the unit, and
// the sets in force of the whole tenant everybody with a role: they say why a
// letter is here.
func sees(a access.Actor, v Version) bool {
	return may(a, v.UnitID, lookers) || v.UnitID == uuid.Nil && v.ActivatedAt != nil && len(a.Memberships) > 0
}

// MayRehearseAll says that a rehearsal of this set may look at all letters.
func MayRehearseAll(a access.Actor, v Version) bool { return may(a, v.UnitID, designers) }

// Draft keeps a rule set as the next version of its name, in state draft. It is
// not looked into: Check does that. Faults: those of Limits, unit-not-found,
// rules-name-taken, rules-forbidden. A repeated request with the same key gets
// the first answer (replayed).
func (s *Service) Draft(ctx context.Context, a access.Actor, set Set, key idempotency.Key) (v Version, replayed bool, err error) {
	if err := set.Limits(); err != nil {
		return v, false, err
	}
	return idempotency.Once(ctx, s.db, a, key, func(tx pgx.Tx) (Version, uuid.UUID, error) {
		v, err := s.draft(ctx, tx, a, set)
		return v, uuid.Nil, err
	})
}

func (s *Service) draft(ctx context.Context, tx pgx.Tx, a access.Actor, set Set) (Version, error) {
	v := Version{State: StateDraft, Set: set}
	if set.Unit != "" {
		u, err := org.UnitByCode(ctx, tx, set.Unit)
		if err != nil {
			return v, err
		}
		v.UnitID = u.ID
	}
	if !may(a, v.UnitID, writers) {
		return v, fault.New("rules-forbidden")
	}
	if _, err := tx.Exec(ctx, sqlLockSet, set.Name); err != nil {
		return v, err
	}
	at := s.now()
	if err := insert(ctx, tx, a, at, &v, false); err != nil {
		return v, err
	}
	if err := s.note(ctx, tx, a, at, Drafted, v, nil); err != nil {
		return v, err
	}
	return one(ctx, tx, sqlByID, v.ID)
}

func (s *Service) note(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, kind event.Kind, v Version, more map[string]any) error {
	d := map[string]any{"name": v.Set.Name, "version": v.Number, "unit": v.Set.Unit, "rules": len(v.Set.Rules)}
	maps.Copy(d, more)
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: kind, SubjectKind: "rule_set", Subject: v.ID, Reason: v.Reason, Details: d})
}

// Version gives one version of a set, also a draft. Fault: not-found, also for
// what the actor does not see.
func (s *Service) Version(ctx context.Context, a access.Actor, id uuid.UUID) (v Version, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		v, err = visible(ctx, q, a, id)
		return err
	})
	return v, err
}

func visible(ctx context.Context, q postgres.Querier, a access.Actor, id uuid.UUID) (Version, error) {
	v, err := one(ctx, q, sqlByID, id)
	if err == nil && !sees(a, v) {
		err = fault.New("not-found")
	}
	if err != nil {
		return Version{}, err
	}
	return v, nil
}

// CheckSet checks a set that is not kept, with the names of today.
func (s *Service) CheckSet(ctx context.Context, a access.Actor, set Set) (findings []Finding, err error) {
	if err := set.Limits(); err != nil {
		return nil, err
	}
	if !a.Has(writers...) && a.User != access.SystemUser {
		return nil, fault.New("rules-forbidden")
	}
	var n *Names
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		n, err = s.namesOf(ctx, q, set)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.lang.Check(set, n), nil
}

// Check checks a version and keeps what it found. A draft without errors becomes
// checked; with errors a checked one is a draft again. Checking one that was in
// force changes its findings alone. Faults: not-found, rules-forbidden.
func (s *Service) Check(ctx context.Context, a access.Actor, id uuid.UUID) (v Version, err error) {
	var n *Names
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if v, err = visible(ctx, q, a, id); err != nil {
			return err
		}
		if !may(a, v.UnitID, writers) {
			return fault.New("rules-forbidden")
		}
		n, err = s.namesOf(ctx, q, v.Set)
		return err
	})
	if err != nil {
		return v, err
	}
	// Outside of any transaction: hundreds of conditions take a moment.
	findings := s.lang.Check(v.Set, n)
	state := StateChecked
	if Blocked(findings) {
		state = StateDraft
	}
	raw, err := json.Marshal(append([]Finding{}, findings...))
	if err != nil {
		return v, err
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		if _, err := tx.Exec(ctx, sqlSetChecked, id, state, string(raw), at); err != nil {
			return fmt.Errorf("check rule set: %w", err)
		}
		if v, err = one(ctx, tx, sqlByID, id); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, Checked, v, map[string]any{"findings": len(findings), "errors": Blocked(findings)})
	})
	return v, err
}

// Activate puts a checked version in force in the place of the one of its name
// that is; what was delivered stays where it is. The names are looked at once
// more. Faults: not-found, rules-forbidden, second-person-needed (by the one who
// drafted it), rules-not-checked, rules-wrong-state, rules-findings.
func (s *Service) Activate(ctx context.Context, a access.Actor, id uuid.UUID) (v Version, err error) {
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		if v, err = visible(ctx, tx, a, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlLockSet, v.Set.Name); err != nil {
			return err
		}
		if v, err = one(ctx, tx, sqlByID, id); err != nil { // as it is now that we hold the lock
			return err
		}
		switch {
		case v.State == StateActive || v.State == StateRetired:
			return fault.New("rules-wrong-state", "state", v.State)
		case v.CreatedBy == a.User:
			return fault.New("second-person-needed")
		case !may(a, v.UnitID, responsible):
			return fault.New("rules-forbidden")
		case v.State != StateChecked:
			return fault.New("rules-not-checked")
		}
		if err := s.sound(ctx, tx, v.Set); err != nil {
			return err
		}
		at := s.now()
		if _, err := tx.Exec(ctx, sqlRetire, v.Set.Name, at, a.User, ""); err != nil {
			return fmt.Errorf("retire rule set: %w", err)
		}
		tag, err := tx.Exec(ctx, sqlActivate, id, at, a.User)
		if err == nil && tag.RowsAffected() == 0 {
			err = fault.New("rules-not-checked")
		}
		if postgres.Constraint(err) == "rule_set_second_person" {
			err = fault.New("second-person-needed")
		}
		if err != nil {
			return fmt.Errorf("activate rule set: %w", err)
		}
		if err := s.note(ctx, tx, a, at, Activated, v, nil); err != nil {
			return err
		}
		v, err = one(ctx, tx, sqlByID, id)
		return err
	})
	return v, err
}

// sound refuses a set in which the check finds errors today.
func (s *Service) sound(ctx context.Context, q postgres.Querier, set Set) error {
	n, err := s.namesOf(ctx, q, set)
	if err != nil {
		return err
	}
	found := slices.DeleteFunc(s.lang.Check(set, n), func(f Finding) bool { return f.Severity != Error })
	if len(found) == 0 {
		return nil
	}
	var what []string
	for _, f := range found[:min(len(found), 3)] {
		what = append(what, strings.TrimSpace(f.Rule+" "+strings.TrimPrefix(f.Code, "finding-")))
	}
	return fault.New("rules-findings", "what", strings.Join(what, "; "))
}

// Rollback puts an earlier version of a name in force again, as a new version;
// number 0 means the one that was in force before. It needs no second person:
// two have seen that version, and it has to be quick. What was delivered stays
// where it is. Faults: not-found, rules-forbidden, rules-version-unknown,
// rules-findings, field-too-long.
func (s *Service) Rollback(ctx context.Context, a access.Actor, name string, number int, reason string) (v Version, err error) {
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return v, err
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLockSet, name); err != nil {
			return err
		}
		all, err := visibleOf(ctx, tx, a, name)
		if err != nil {
			return err
		}
		if !may(a, all[0].UnitID, responsible) {
			return fault.New("rules-forbidden")
		}
		old, ok := before(all, number)
		if !ok {
			return fault.New("rules-version-unknown", "version", number, "name", name)
		}
		if err := s.sound(ctx, tx, old.Set); err != nil {
			return err
		}
		at := s.now()
		if _, err := tx.Exec(ctx, sqlRetire, name, at, a.User, ""); err != nil {
			return fmt.Errorf("retire rule set: %w", err)
		}
		v = Version{State: StateActive, Set: old.Set, UnitID: old.UnitID, Reason: reason, Restore: old.Number, Findings: old.Findings, CheckedAt: &at, ActivatedAt: &at}
		if err := insert(ctx, tx, a, at, &v, false); err != nil {
			return err
		}
		if err := s.note(ctx, tx, a, at, RolledBack, v, map[string]any{"restores": old.Number}); err != nil {
			return err
		}
		v, err = one(ctx, tx, sqlByID, v.ID)
		return err
	})
	return v, err
}

// before finds the version that a rollback brings back: one that was in force.
func before(all []Version, number int) (Version, bool) {
	last := slices.IndexFunc(all, func(v Version) bool { return v.State == StateActive })
	for _, v := range all {
		switch {
		case v.State != StateRetired || number != 0 && v.Number != number:
		case number != 0, last < 0, v.Number < all[last].Number && !restoredBy(all[last], v):
			return v, true
		}
	}
	return Version{}, false
}

// restoredBy says that the version in force is v again.
func restoredBy(active, v Version) bool { return active.Restore == v.Number }

// Retire puts the version in force of a name out of force, with a reason: its
// unit is at level 2 again. Faults: not-found, rules-forbidden, rules-not-active,
// reason-needed, field-too-long.
func (s *Service) Retire(ctx context.Context, a access.Actor, name, reason string) (v Version, err error) {
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return v, err
	}
	if strings.TrimSpace(reason) == "" {
		return v, fault.New("reason-needed")
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLockSet, name); err != nil {
			return err
		}
		all, err := visibleOf(ctx, tx, a, name)
		if err != nil {
			return err
		}
		if !may(a, all[0].UnitID, responsible) {
			return fault.New("rules-forbidden")
		}
		at := s.now()
		var id uuid.UUID
		var number int
		err = tx.QueryRow(ctx, sqlRetire, name, at, a.User, reason).Scan(&id, &number)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New("rules-not-active", "name", name)
		}
		if err != nil {
			return fmt.Errorf("retire rule set: %w", err)
		}
		if v, err = one(ctx, tx, sqlByID, id); err != nil {
			return err
		}
		return s.note(ctx, tx, a, at, Retired, v, nil)
	})
	return v, err
}

// Active lists the versions in force that the actor sees, by name.
func (s *Service) Active(ctx context.Context, a access.Actor) (out []Version, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		all, err := versions(ctx, q, sqlActive)
		out = slices.DeleteFunc(all, func(v Version) bool { return !sees(a, v) })
		return err
	})
	return out, err
}

// Open lists drafts and checked versions that the actor sees, the oldest first.
func (s *Service) Open(ctx context.Context, a access.Actor) (out []Version, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		all, err := versions(ctx, q, sqlOpen)
		out = slices.DeleteFunc(all, func(v Version) bool { return !sees(a, v) })
		return err
	})
	return out, err
}

// Versions lists all versions of a name, the newest first. Fault: not-found.
func (s *Service) Versions(ctx context.Context, a access.Actor, name string) (out []Version, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = visibleOf(ctx, q, a, name)
		return err
	})
	return out, err
}

func visibleOf(ctx context.Context, q postgres.Querier, a access.Actor, name string) ([]Version, error) {
	all, err := versions(ctx, q, sqlOfName, name)
	all = slices.DeleteFunc(all, func(v Version) bool { return !sees(a, v) })
	if err == nil && len(all) == 0 {
		err = fault.New("not-found")
	}
	return all, err
}
