package routing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/rules"
)

// sqlUnitNames reads names of units with the Postkorb that OfUnit chooses: over
// two packages, since all of them are wanted and nothing else about them.
const sqlUnitNames = `
    SELECT u.name, p.id, p.name, u.id, u.code FROM org_unit u
    CROSS JOIN LATERAL (SELECT p.id, p.name FROM postkorb p
        WHERE p.tenant = u.tenant AND p.unit_id = u.id AND p.kind IN ('group', 'office') AND p.closed_at IS NULL
        ORDER BY p.created_at, p.id LIMIT 1) p
    WHERE u.tenant = evb_tenant() AND u.valid_from <= $1 AND $1 < u.valid_to ORDER BY u.code`

// units adds what every unit brings by itself: whoever writes to an office by its
// name means it.
func (t *Tables) units(ctx context.Context, q postgres.Querier, at time.Time) error {
	rows, err := q.Query(ctx, sqlUnitNames, at)
	if err != nil {
		return fmt.Errorf("names of units: %w", err)
	}
	var name string
	var d Desk
	_, err = pgx.ForEachRow(rows, []any{&name, &d.ID, &d.Name, &d.Unit, &d.UnitCode}, func() error {
		p := Phrase{Postkorb: d.Name, Place: Receiver, Words: name, Weight: enough}
		if len([]rune(name)) < minUnitName {
			return nil // a code
		}
		t.own = append(t.own, p)
		if _, known := t.Desks[d.Name]; !known {
			t.Desks[d.Name] = d
		}
		return nil
	})
	return err
}

// minUnitName is the length of a name that is found in letters.
const minUnitName = 6

// tables reads the phrases, the rule sets in force and the Postkörbe that they
// and the numbers of these units may lead to.
func (s *Service) tables(ctx context.Context, q postgres.Querier, units []uuid.UUID) (t Tables, err error) {
	if t.Rules, err = Rules(ctx, q); err != nil {
		return t, err
	}
	if s.o.Rules != nil {
		if t.Sets, err = s.o.Rules.InForce(ctx, q); err != nil {
			return t, err
		}
	}
	return t, s.desks(ctx, q, &t, units)
}

// desks fills the tables with the Postkörbe and people that phrases and sets
// name. A Postkorb that was closed since is none of them: its letters go to
// clearing, those of the others where they belong.
func (s *Service) desks(ctx context.Context, q postgres.Querier, t *Tables, units []uuid.UUID) error {
	central, err := postkorb.CentralClearing(ctx, q)
	if err != nil {
		return fmt.Errorf("central clearing: %w", err)
	}
	t.Clearing = Desk{ID: central.ID, Name: central.Name}
	phrases := t.Rules.postkoerbe()
	names := slices.Clone(phrases)
	var logins []string
	heads := false
	for _, c := range t.Sets {
		names = append(names, c.Set.Postkoerbe()...)
		logins = append(logins, c.Set.People()...)
		heads = heads || slices.ContainsFunc(c.Set.Rules, func(r rules.Rule) bool { return r.Target.Assign == rules.AssignHead })
	}
	all, err := postkorb.NamedOrOf(ctx, q, names, append([]uuid.UUID{}, units...))
	if err != nil {
		return err
	}
	t.Desks, t.OfUnit, t.ClearingOf, t.Boxes = map[string]Desk{}, map[uuid.UUID]Desk{}, map[uuid.UUID]Desk{}, map[string]Desk{}
	var owners []uuid.UUID
	for _, k := range all {
		if k.UnitID != nil && !slices.Contains(owners, *k.UnitID) {
			owners = append(owners, *k.UnitID)
		}
	}
	leads := map[uuid.UUID]uuid.UUID{}
	if heads {
		if leads, err = s.heads(ctx, q, owners); err != nil {
			return err
		}
	}
	for _, k := range all {
		d := Desk{ID: k.ID, Name: k.Name, UnitCode: k.UnitCode, Personal: k.Kind == postkorb.Personal}
		if k.UnitID != nil {
			d.Unit = *k.UnitID
			d.Head = leads[d.Unit]
		}
		t.Boxes[d.Name] = d
		if slices.Contains(phrases, d.Name) {
			t.Desks[d.Name] = d
		}
		if d.Unit == uuid.Nil || d.Personal {
			continue
		}
		if _, older := t.OfUnit[d.Unit]; !older {
			t.OfUnit[d.Unit] = d
		}
		if _, older := t.ClearingOf[d.Unit]; !older && k.Kind == postkorb.Clearing {
			t.ClearingOf[d.Unit] = d
		}
	}
	if err := t.units(ctx, q, s.now()); err != nil {
		return err
	}
	t.phrases = t.ready()
	if len(logins) > 0 {
		t.People, err = s.o.Rules.People(ctx, q, logins)
	}
	return err
}

func (s *Service) heads(ctx context.Context, q postgres.Querier, units []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlUnitHeads, units, s.now())
	if err != nil {
		return nil, fmt.Errorf("heads of units: %w", err)
	}
	out := map[uuid.UUID]uuid.UUID{}
	var unit, head uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&unit, &head}, func() error {
		out[unit] = head
		return nil
	})
	return out, err
}
