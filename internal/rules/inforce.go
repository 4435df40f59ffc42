package rules

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/org"
	"evb/internal/postgres"
)

// maxCompiled bounds the compiled versions that a process keeps.
const maxCompiled = 500

// InForce gives the sets in force, by name. It asks for no rights: it is for
// routing.
func (s *Service) InForce(ctx context.Context, q postgres.Querier) ([]*Compiled, error) {
	rows, err := q.Query(ctx, sqlActiveIDs)
	if err != nil {
		return nil, fmt.Errorf("rule sets in force: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("rule sets in force: %w", err)
	}
	out := make([]*Compiled, len(ids))
	var missing []uuid.UUID
	s.mu.Lock()
	for i, id := range ids {
		if out[i] = s.compiled[id]; out[i] == nil {
			missing = append(missing, id)
		}
	}
	s.mu.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	read, err := versions(ctx, q, sqlByIDs, missing)
	if err != nil {
		return nil, err
	}
	for _, v := range read {
		c := s.Compile(v)
		for i, id := range ids {
			if id == v.ID {
				out[i] = c
			}
		}
		s.mu.Lock()
		if len(s.compiled) >= maxCompiled {
			clear(s.compiled)
		}
		s.compiled[v.ID] = c
		s.mu.Unlock()
	}
	return out, nil
}

const sqlPeople = `
    SELECT login, id FROM app_user WHERE tenant = evb_tenant() AND disabled_at IS NULL AND login = ANY ($1)`

// People finds those of the logins that are there.
func (s *Service) People(ctx context.Context, q postgres.Querier, logins []string) (map[string]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlPeople, logins)
	if err != nil {
		return nil, fmt.Errorf("people of rules: %w", err)
	}
	out := map[string]uuid.UUID{}
	var login string
	var id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&login, &id}, func() error {
		out[login] = id
		return nil
	})
	return out, err
}

// Compile makes a version ready to decide.
func (s *Service) Compile(v Version) *Compiled {
	c, _ := s.lang.Compile(v.Set)
	c.ID, c.Number, c.UnitID = v.ID, v.Number, v.UnitID
	return c
}

// Install puts a set in force that comes with the set-up of a tenant, in the
// caller's transaction; nothing happens when there is a version of its name
// already: what people made of it since counts. Errors that the check finds are
// the fault rules-findings.
func (s *Service) Install(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, set Set) error {
	if err := set.Limits(); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, sqlLockSet, set.Name); err != nil {
		return err
	}
	all, err := versions(ctx, tx, sqlOfName, set.Name)
	if err != nil || len(all) > 0 {
		return err
	}
	v := Version{State: StateActive, Set: set, CheckedAt: &at, ActivatedAt: &at}
	if set.Unit != "" {
		u, err := org.UnitByCode(ctx, tx, set.Unit)
		if err != nil {
			return err
		}
		v.UnitID = u.ID
	}
	if err := s.sound(ctx, tx, set); err != nil {
		return err
	}
	if err := insert(ctx, tx, a, at, &v, true); err != nil {
		return err
	}
	return s.note(ctx, tx, a, at, Activated, v, map[string]any{"installed": true})
}
