package process

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/circulation"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// A name of a modeller can be a login, a unit, a Postkorb or a function, in
// that order.
const sqlNames = `
    SELECT x.n, h.usr, h.unit, h.function FROM unnest($1::text[]) AS x (n)
    JOIN LATERAL (
        SELECT 1 AS rank, u.id AS usr, NULL::uuid AS unit, '' AS function FROM app_user u
        WHERE u.tenant = evb_tenant() AND (u.login = lower(x.n) OR u.id::text = x.n) AND u.disabled_at IS NULL AND u.id <> $3
        UNION ALL
        SELECT 2, NULL, o.id, '' FROM org_unit o
        WHERE o.tenant = evb_tenant() AND (lower(o.code) = lower(x.n) OR lower(o.name) = lower(x.n) OR o.id::text = x.n) AND o.valid_from <= $2 AND $2 < o.valid_to
        UNION ALL
        SELECT 3, p.user_id, CASE WHEN p.user_id IS NULL THEN p.unit_id END, '' FROM postkorb p
        WHERE p.tenant = evb_tenant() AND lower(p.name) = lower(x.n) AND p.closed_at IS NULL AND num_nonnulls(p.user_id, p.unit_id) > 0
        UNION ALL
        SELECT 4, NULL, NULL, r.matter FROM responsibility r
        WHERE r.tenant = evb_tenant() AND lower(r.matter) = lower(x.n) AND r.user_id IS NOT NULL AND r.valid_from <= $2 AND $2 < r.valid_to
        ORDER BY 1 LIMIT 1) h ON true`

// functions are words for roles in a unit, as drawings have them.
var functions = map[string]access.Role{
	"head": access.Head, "leitung": access.Head, "amtsleitung": access.Head, "fachbereichsleitung": access.Head, "vorgesetzte": access.Head, "manager": access.Head,
	"clerk": access.Clerk, "sachbearbeitung": access.Clerk, "sachbearbeiter": access.Clerk, "sachbearbeiterin": access.Clerk,
	"registry": access.Registry, "registratur": access.Registry, "records_manager": access.RecordsManager, "service": access.Service,
}

// stations finds what names mean here; one that is nobody's is not in it.
func stations(ctx context.Context, q postgres.Querier, at time.Time, names ...string) (map[string]circulation.Station, error) {
	out := map[string]circulation.Station{}
	if len(names) == 0 {
		return out, nil
	}
	rows, err := q.Query(ctx, sqlNames, names, at, access.SystemUser)
	if err != nil {
		return nil, fmt.Errorf("stations by name: %w", err)
	}
	var name, function string
	var user, unit *uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&name, &user, &unit, &function}, func() error {
		st := circulation.Station{Function: function}
		if user != nil {
			st.User = *user
		}
		if unit != nil {
			st.Unit = *unit
		}
		out[name] = st
		user, unit = nil, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("stations by name: %w", err)
	}
	for _, n := range names {
		if _, there := out[n]; there {
			continue
		}
		word, of, both := strings.Cut(n, "@")
		role, ok := functions[strings.ToLower(strings.TrimSpace(word))]
		if !ok {
			continue
		}
		st := circulation.Station{Function: string(role)}
		if both {
			unit, err := circulation.Resolve(ctx, q, circulation.StationName{Unit: of})
			if err != nil {
				continue
			}
			st.Unit = unit[0].Unit
		}
		out[n] = st
	}
	return out, nil
}

// names are the names in a target; most targets are one.
func names(t bpmn.Target) []string {
	var out []string
	for _, n := range []string{t.User, t.Unit, t.Function, t.Postkorb, t.Group} {
		if n != "" {
			out = append(out, n)
		}
	}
	return out
}

// station is what a target means here. A name that is nobody's is the fault
// process-station-unknown.
func station(ctx context.Context, q postgres.Querier, at time.Time, t bpmn.Target) (circulation.Station, error) {
	found, err := stations(ctx, q, at, names(t)...)
	if err != nil {
		return circulation.Station{}, err
	}
	return put(t, found)
}

func put(t bpmn.Target, found map[string]circulation.Station) (st circulation.Station, err error) {
	unknown := func(n string) error { return fault.New("process-station-unknown", "station", n) }
	switch {
	case t.User != "":
		if st = found[t.User]; st.User == uuid.Nil {
			return st, unknown(t.User)
		}
	case t.Function != "":
		f, ok := found[t.Function]
		if !ok || f.Function == "" {
			return st, unknown(t.Function)
		}
		st = f
		if t.Unit != "" {
			if st.Unit = found[t.Unit].Unit; st.Unit == uuid.Nil {
				return st, unknown(t.Unit)
			}
		}
	case t.Unit != "":
		if st = found[t.Unit]; st.Unit == uuid.Nil {
			return st, unknown(t.Unit)
		}
	default:
		n := firstOf(t.Postkorb, t.Group)
		ok := false
		if st, ok = found[n]; !ok {
			return st, unknown(n)
		}
	}
	return st, nil
}

// fromLanes fills stations that nobody gave from the lanes of their tasks.
func fromLanes(ctx context.Context, q postgres.Querier, at time.Time, m *bpmn.Model, given bpmn.Activation) (bpmn.Activation, error) {
	lanes := map[string]string{}
	var all []string
	for _, n := range m.Check().Needs {
		node := m.Node(n.ID)
		if n.What == bpmn.NeedStation && node != nil && len(given.Stations[n.ID]) == 0 && node.Kind == bpmn.Task && node.Lane != "" {
			lanes[n.ID] = node.Lane
			all = append(all, node.Lane)
		}
	}
	found, err := stations(ctx, q, at, all...)
	if err != nil {
		return given, err
	}
	filled := given
	filled.Stations = map[string]bpmn.Targets{}
	for id, t := range given.Stations {
		filled.Stations[id] = t
	}
	for id, lane := range lanes {
		if _, ok := found[lane]; ok {
			filled.Stations[id] = bpmn.Targets{{Group: lane}}
		}
	}
	return filled, nil
}

// known refuses given stations that are nobody's and webhooks that may not be
// called, and lists stations of the file that are nobody's.
func (s *Service) known(ctx context.Context, q postgres.Querier, at time.Time, p *bpmn.Plan, given bpmn.Activation) ([]UnknownStation, error) {
	type place struct {
		id string
		t  bpmn.Target
	}
	var places []place
	var all []string
	out, wrong := []UnknownStation{}, fault.New("process-activation-invalid")
	for _, proc := range p.Model.Processes {
		proc.Scope.Each(func(n *bpmn.Node) {
			for _, t := range p.Stations(n) {
				if t.Person() {
					places, all = append(places, place{n.ID, t}), append(all, names(t)...)
				}
				if err := s.mayCall(t); err != nil {
					wrong = wrong.With("/stations/"+n.ID, err.Code, "url", err.Params["url"])
				}
			}
		})
	}
	found, err := stations(ctx, q, at, all...)
	if err != nil {
		return nil, err
	}
	for _, pl := range places {
		if _, err := put(pl.t, found); err != nil {
			if len(given.Stations[pl.id]) > 0 {
				wrong = wrong.With("/stations/"+pl.id, "process-station-unknown", "station", pl.t.String())
				continue
			}
			out = append(out, UnknownStation{ID: pl.id, Station: pl.t.String()})
		}
	}
	if len(wrong.Fields) > 0 {
		return nil, wrong
	}
	return out, nil
}
