package circulation

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/postkorb"
)

const (
	// A function is a role in the unit, or a responsibility of the unit that has
	// a person.
	sqlHolders = `
    SELECT x.n::int, h.user_id
    FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS x (unit, function, n)
    JOIN LATERAL (
        SELECT m.user_id FROM membership m
        WHERE m.tenant = evb_tenant() AND m.unit_id = x.unit AND m.role = x.function AND m.valid_from <= $3 AND $3 < m.valid_to
        UNION
        SELECT p.user_id FROM responsibility p
        WHERE p.tenant = evb_tenant() AND p.unit_id = x.unit AND p.matter = x.function AND p.user_id IS NOT NULL AND p.valid_from <= $3 AND $3 < p.valid_to) h ON true
    JOIN app_user u ON u.tenant = evb_tenant() AND u.id = h.user_id AND u.disabled_at IS NULL
    ORDER BY 1, 2`
	sqlKnown = `
    SELECT ARRAY(SELECT u.id FROM app_user u WHERE u.tenant = evb_tenant() AND u.id = ANY ($1) AND u.disabled_at IS NULL),
        ARRAY(SELECT o.id FROM org_unit o WHERE o.tenant = evb_tenant() AND o.id = ANY ($2) AND o.valid_from <= $3 AND $3 < o.valid_to),
        ARRAY(SELECT p.unit_id FROM postkorb p WHERE p.tenant = evb_tenant() AND p.unit_id = ANY ($2) AND p.closed_at IS NULL AND p.kind <> 'personal')`
)

// holders gives who holds the functions of stations now, by place in the list.
func holders(ctx context.Context, q postgres.Querier, at time.Time, stations []Station) (map[int][]uuid.UUID, error) {
	units, functions := make([]*uuid.UUID, len(stations)), make([]string, len(stations))
	none := true
	for i, t := range stations {
		units[i], functions[i] = ptr(t.Unit), t.Function
		none = none && t.Function == ""
	}
	out := map[int][]uuid.UUID{}
	if none {
		return out, nil
	}
	rows, err := q.Query(ctx, sqlHolders, units, functions, at)
	if err != nil {
		return nil, fmt.Errorf("holders of functions: %w", err)
	}
	var n int
	var user uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&n, &user}, func() error {
		out[n-1] = append(out[n-1], user)
		return nil
	})
	return out, err
}

// StationName is a station as people and rules write it: a login, the code of a
// unit, a function with or without its unit (head, head@FB61); ids as well.
type StationName struct {
	User     string
	Unit     string
	Function string
}

const sqlNamed = `
    SELECT 'user', n, u.id FROM unnest($1::text[]) n JOIN app_user u ON u.tenant = evb_tenant() AND (u.login = n OR u.id::text = n)
    UNION ALL
    SELECT 'unit', n, o.id FROM unnest($2::text[]) n JOIN org_unit o ON o.tenant = evb_tenant() AND (o.code = n OR o.id::text = n)`

// Resolve finds the stations of names, in their order. Whether somebody can work
// there is seen when the step is made. Faults: user-not-found, unit-not-found.
func Resolve(ctx context.Context, q postgres.Querier, names ...StationName) ([]Station, error) {
	var users, units []string
	parts := slices.Clone(names)
	for i, n := range parts {
		if function, unit, both := strings.Cut(n.Function, "@"); both && n.Unit == "" {
			parts[i].Function, parts[i].Unit = function, unit
		}
		parts[i].User = strings.ToLower(n.User)
		users, units = append(users, parts[i].User), append(units, parts[i].Unit)
	}
	rows, err := q.Query(ctx, sqlNamed, users, units)
	if err != nil {
		return nil, fmt.Errorf("stations by name: %w", err)
	}
	found := map[[2]string]uuid.UUID{}
	var what, name string
	var id uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&what, &name, &id}, func() error { found[[2]string{what, name}] = id; return nil }); err != nil {
		return nil, fmt.Errorf("stations by name: %w", err)
	}
	out := make([]Station, len(parts))
	for i, n := range parts {
		out[i] = Station{User: found[[2]string{"user", n.User}], Unit: found[[2]string{"unit", n.Unit}], Function: n.Function}
		switch {
		case n.User != "" && out[i].User == uuid.Nil:
			return nil, inStep(i, "user-not-found", "user", n.User)
		case n.Unit != "" && out[i].Unit == uuid.Nil:
			return nil, inStep(i, "unit-not-found", "unit", n.Unit)
		}
	}
	return out, nil
}

// Stations is Resolve for a request; the organisation is no secret in a tenant.
func (s *Service) Stations(ctx context.Context, a access.Actor, names ...StationName) (out []Station, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = Resolve(ctx, q, names...)
		return err
	})
	return out, err
}

// checked fills what new steps leave open and refuses stations that nobody
// could work at.
func (s *Service) checked(ctx context.Context, tx pgx.Tx, at time.Time, r *route, steps []NewStep) error {
	if len(r.steps)+len(steps) > MaxSteps {
		return fault.New("circulation-too-long", "most", MaxSteps)
	}
	var users, units []uuid.UUID
	stations := make([]Station, len(steps))
	for i := range steps {
		n := &steps[i]
		if n.Kind == "" {
			n.Kind = Action
		}
		if n.To.Function != "" && n.To.Unit == uuid.Nil && n.To.User == uuid.Nil {
			n.To.Unit = deref(r.unit)
		}
		if err := fault.CheckText("instruction", n.Instruction, fault.MaxText); err != nil {
			return err
		}
		switch {
		case !slices.Contains(Kinds, n.Kind):
			return inStep(i, "step-kind-unknown", "kind", n.Kind)
		case n.Group < 0 || n.Group > MaxGroup:
			return inStep(i, "step-group-invalid", "group", n.Group)
		case n.To == Station{}, n.To.User != uuid.Nil && (n.To.Unit != uuid.Nil || n.To.Function != ""):
			return inStep(i, "station-needed")
		case n.To.Function != "" && n.To.Unit == uuid.Nil:
			return inStep(i, "station-unit-needed", "function", n.To.Function)
		}
		stations[i] = n.To
		if n.To.User != uuid.Nil {
			users = append(users, n.To.User)
		} else {
			units = append(units, n.To.Unit)
		}
	}
	var people, offices, desks []uuid.UUID
	if err := tx.QueryRow(ctx, sqlKnown, users, units, at).Scan(&people, &offices, &desks); err != nil {
		return fmt.Errorf("stations: %w", err)
	}
	held, err := holders(ctx, tx, at, stations)
	if err != nil {
		return err
	}
	for i, t := range stations {
		switch {
		case t.User == access.SystemUser || t.User != uuid.Nil && !slices.Contains(people, t.User):
			return inStep(i, "user-not-found", "user", t.User)
		case t.User != uuid.Nil:
		case !slices.Contains(offices, t.Unit):
			return inStep(i, "unit-not-found", "unit", t.Unit)
		case t.Function != "" && len(held[i]) == 0:
			return inStep(i, "station-vacant", "function", t.Function)
		case !slices.Contains(desks, t.Unit) && len(held[i]) != 1:
			return inStep(i, "postkorb-unknown")
		}
	}
	return nil
}

// inStep is a fault that points to a step of the request.
func inStep(i int, code string, kv ...any) error {
	return fault.New(code, kv...).With("/steps/"+strconv.Itoa(i), code, kv...)
}

// desk is the Postkorb of a station: the personal one of a person, also of the
// only holder of a function, so that nobody else of the unit reads it; else
// that of the unit. What has lost its place lies in the central clearing.
func (s *Service) desk(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, to Station, held []uuid.UUID) (uuid.UUID, error) {
	user := to.User
	if len(held) == 1 {
		user = held[0]
	}
	var p postkorb.Postkorb
	var err error
	switch {
	case user != uuid.Nil:
		p, err = s.post.EnsurePersonal(ctx, tx, a, at, user)
	case to.Unit != uuid.Nil:
		p, err = postkorb.OfUnit(ctx, tx, to.Unit)
	default:
		p, err = postkorb.CentralClearing(ctx, tx)
	}
	if fault.Is(err, "postkorb-unknown") {
		p, err = postkorb.CentralClearing(ctx, tx)
	}
	return p.ID, err
}

const sqlCurrent = `
    UPDATE circulation_step SET status = 'current', current_since = $2, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = ANY ($1)`

// current makes steps current and puts each into its Postkorb.
func (s *Service) current(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r *route, steps []*step, why func(*step) postkorb.Why) error {
	if len(steps) == 0 {
		return nil
	}
	ids, stations := make([]uuid.UUID, len(steps)), make([]Station, len(steps))
	for i, t := range steps {
		ids[i], stations[i], t.status = t.id, t.to, Current
	}
	if _, err := tx.Exec(ctx, sqlCurrent, ids, at); err != nil {
		return fmt.Errorf("current steps: %w", err)
	}
	held, err := holders(ctx, tx, at, stations)
	if err != nil {
		return err
	}
	gone, err := left(ctx, tx, stations)
	if err != nil {
		return err
	}
	for i, t := range steps { // a desk and an item each, of the few that begin together
		to, because := t.to, why(t)
		if name := gone[t.to.User]; name != "" {
			to, because = Station{Unit: deref(r.unit)}, postkorb.Why{Code: "why-station-left", Params: map[string]string{"person": name}}
		}
		desk, err := s.desk(ctx, tx, a, at, to, held[i])
		if err != nil {
			return err
		}
		d := postkorb.Delivery{Record: r.record, Postkorb: desk, Step: t.id, Reason: t.instruction, Why: because}
		if t.due != nil {
			d.Due = *t.due
		}
		if t.instructedBy != access.SystemUser {
			d.From = t.instructedBy
		}
		if _, err := s.post.Deliver(ctx, tx, a, at, d); err != nil {
			return err
		}
	}
	return nil
}

const sqlLeft = `
    SELECT id, display_name FROM app_user WHERE tenant = evb_tenant() AND id = ANY ($1) AND disabled_at IS NOT NULL`

// left are the people of stations who have left since, by name.
func left(ctx context.Context, q postgres.Querier, stations []Station) (map[uuid.UUID]string, error) {
	var users []uuid.UUID
	for _, t := range stations {
		if t.User != uuid.Nil {
			users = append(users, t.User)
		}
	}
	out := map[uuid.UUID]string{}
	if len(users) == 0 {
		return out, nil
	}
	rows, err := q.Query(ctx, sqlLeft, users)
	if err != nil {
		return nil, fmt.Errorf("people of stations: %w", err)
	}
	var id uuid.UUID
	var name string
	_, err = pgx.ForEachRow(rows, []any{&id, &name}, func() error { out[id] = name; return nil })
	return out, err
}

func whyStep(t *step) postkorb.Why {
	return postkorb.Why{Code: "why-step", Params: map[string]string{"number": strconv.Itoa(t.number)}}
}

// mine says in whose name the actor acts at a current step: an own one, or that
// of an absent person. A station that was not forwarded is for its person, or
// for who holds its function now; whose place is empty has it forwarded by those
// on whose desk it lies. Faults: those of postkorb.HoldStep, and step-foreign.
func (s *Service) mine(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, t *step) (access.Actor, error) {
	item, err := s.post.HoldStep(ctx, tx, a, at, t.id)
	if err != nil {
		return a, err
	}
	own, absent, err := postkorb.StandsInFor(ctx, tx, a.User, at, item.Postkorb)
	if err != nil {
		return a, err
	}
	switch {
	case item.Passed, t.to.Function == clearing: // whoever it was given to
	case t.to.Function != "":
		held, err := holders(ctx, tx, at, []Station{t.to})
		if err != nil {
			return a, err
		}
		own = own && slices.Contains(held[0], a.User)
		absent = slices.DeleteFunc(absent, func(u uuid.UUID) bool { return !slices.Contains(held[0], u) })
	case t.to.User != uuid.Nil && t.to.User != a.User:
		own = false // the desk of somebody who has left is another one: it is handed on there
		absent = slices.DeleteFunc(absent, func(u uuid.UUID) bool { return u != t.to.User })
	}
	switch {
	case own:
		return a, nil
	case len(absent) > 0:
		return a.Behalf(absent[0]), nil
	}
	return a, fault.New("step-foreign")
}
