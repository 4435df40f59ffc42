package access_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte/aktetest"
	"evb/internal/postgres/pgtest"
)

// world is a random set of rights with an answer in plain Go: the third
// opinion beside the SQL condition and the tokens of the search.
type world struct {
	now     time.Time
	users   []uuid.UUID
	units   []uuid.UUID
	roles   []role
	scopes  map[uuid.UUID]scope
	grants  []grant
	desks   map[uuid.UUID][]worker // Postkorb -> who works in it, when
	objects []object
	items   []item
}

type span struct{ from, to time.Time }

func (s span) holds(at time.Time) bool { return !s.from.After(at) && at.Before(s.to) }

type role struct {
	user, unit uuid.UUID // unit nil: tenant
	name       string
	span
}
type scope struct {
	unit  uuid.UUID
	class string
}
type grant struct {
	scope, user, unit uuid.UUID
	write             bool
	span
}
type worker struct {
	user   uuid.UUID
	absent uuid.UUID // for whom; nil UUID: in person
	span
}
type object struct {
	id, scope, submitter uuid.UUID
	filed                bool
	class                string
}
type item struct {
	record, desk, assignee uuid.UUID
	state                  string
	notice                 bool
}

var (
	readers = []string{"clerk", "head", "registry", "records_manager", "reader", "auditor", "service"}
	writers = []string{"clerk", "head", "registry", "records_manager", "service"}
	all     = append([]string{"scan_operator", "quality_checker", "administrator", "process_designer"}, readers...)
)

func (w *world) holds(user uuid.UUID, unit uuid.UUID, names ...string) bool {
	return slices.ContainsFunc(w.roles, func(r role) bool {
		return r.user == user && r.unit == unit && r.holds(w.now) && slices.Contains(names, r.name)
	})
}

func (w *world) desk(user uuid.UUID, o object) bool {
	return slices.ContainsFunc(w.items, func(i item) bool {
		return i.record == o.id && (i.state == "open" || i.state == "claimed" || i.state == "waiting") && !i.notice &&
			slices.ContainsFunc(w.desks[i.desk], func(k worker) bool {
				if k.user != user || !k.holds(w.now) {
					return false
				}
				if k.absent == uuid.Nil {
					return i.assignee == uuid.Nil || i.assignee == user
				}
				return w.scopes[o.scope].class == "" && o.class == "" && w.inPerson(i.desk, k.absent) &&
					(i.assignee == uuid.Nil || i.assignee == user || i.assignee == k.absent)
			})
	})
}

// inPerson: nobody stands in for somebody who works there only as a deputy.
func (w *world) inPerson(desk, user uuid.UUID) bool {
	return slices.ContainsFunc(w.desks[desk], func(k worker) bool { return k.user == user && k.absent == uuid.Nil && k.holds(w.now) })
}

func (w *world) granted(user uuid.UUID, o object, write bool, names []string) bool {
	return slices.ContainsFunc(w.grants, func(g grant) bool {
		return g.scope == o.scope && g.holds(w.now) && (g.write || !write) && (g.user == user || g.unit != uuid.Nil && w.holds(user, g.unit, names...))
	})
}

func (w *world) sees(user uuid.UUID, o object) bool {
	s := w.scopes[o.scope]
	return w.holds(user, uuid.Nil, "auditor", "reader") ||
		s.unit != uuid.Nil && s.class == "" && w.holds(user, s.unit, readers...) ||
		w.granted(user, o, false, all) ||
		o.submitter == user && !o.filed ||
		w.desk(user, o)
}

func (w *world) changes(user uuid.UUID, o object) bool {
	s := w.scopes[o.scope]
	return s.unit != uuid.Nil && s.class == "" && w.holds(user, s.unit, writers...) || w.granted(user, o, true, writers) || w.desk(user, o)
}

func TestConditionTokensAndPlainReasoningAgree(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			town := aktetest.New(t)
			w := &world{now: aktetest.At, scopes: map[uuid.UUID]scope{}, desks: map[uuid.UUID][]worker{}}
			r := rand.New(rand.NewPCG(seed, 7))
			town.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error { return w.build(t, tx, r, town) })
			var yes, no, changed int
			town.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
				tokens := map[uuid.UUID][]string{}
				for _, o := range w.objects {
					var list []string
					if err := tx.QueryRow(t.Context(), access.SQLDocumentTokens, o.id).Scan(&list); err != nil {
						return err
					}
					tokens[o.id] = list
				}
				for _, u := range w.users {
					var mine []string
					var readsAll bool
					if err := tx.QueryRow(t.Context(), access.SQLActorTokens, u, w.now).Scan(&mine, &readsAll); err != nil {
						return err
					}
					rows, err := tx.Query(t.Context(), `SELECT o.id, `+access.Sees("o", 1, 2)+`, `+access.Changes("o", 1, 2)+`
                        FROM record_object o WHERE o.tenant = evb_tenant()`, u, w.now)
					if err != nil {
						return err
					}
					type line struct {
						ID            uuid.UUID
						Sees, Changes bool
					}
					lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
					if err != nil {
						return err
					}
					sql := map[uuid.UUID]line{}
					for _, l := range lines {
						sql[l.ID] = l
					}
					for _, o := range w.objects {
						byTokens := readsAll || slices.ContainsFunc(tokens[o.id], func(s string) bool { return slices.Contains(mine, s) })
						want, got := w.sees(u, o), sql[o.id]
						if got.Sees != want || byTokens != want {
							t.Errorf("user %s, object %+v, scope %+v: reasoning %v, condition %v, tokens %v", u, o, w.scopes[o.scope], want, got.Sees, byTokens)
						}
						if got.Changes != w.changes(u, o) {
							t.Errorf("user %s, object %+v: changes %v", u, o, got.Changes)
						}
						if got.Changes && !got.Sees {
							t.Errorf("user %s changes what is not seen: %+v", u, o)
						}
						if want {
							yes++
						} else {
							no++
						}
						if got.Changes {
							changed++
						}
					}
				}
				return nil
			})
			if yes < 50 || no < 50 || changed < 20 {
				t.Errorf("a world that proves little: %d yes, %d no, %d changes", yes, no, changed)
			}
		})
	}
}

// build writes the world's rows.
func (w *world) build(t *testing.T, tx pgx.Tx, r *rand.Rand, town *aktetest.Town) error {
	*w = world{now: w.now, scopes: map[uuid.UUID]scope{}, desks: map[uuid.UUID][]worker{}}
	id := func() uuid.UUID { return uuid.Must(uuid.NewV7()) }
	var err error
	exec := func(sql string, args ...any) {
		if err == nil {
			if _, err = tx.Exec(t.Context(), sql, args...); err != nil {
				err = fmt.Errorf("%s: %w", sql, err)
			}
		}
	}
	opt := func(u uuid.UUID) *uuid.UUID {
		if u == uuid.Nil {
			return nil
		}
		return &u
	}
	when := func() span {
		spans := []span{
			{w.now.AddDate(-1, 0, 0), w.now.AddDate(1, 0, 0)}, {w.now.AddDate(-1, 0, 0), w.now.AddDate(2, 0, 0)}, {w.now, w.now.Add(time.Hour)},
			{w.now.AddDate(-1, 0, 0), w.now}, {w.now.Add(time.Second), w.now.AddDate(1, 0, 0)},
		}
		return spans[r.IntN(len(spans))]
	}
	pick := func(from []uuid.UUID) uuid.UUID { return from[r.IntN(len(from))] }
	for i := range 10 {
		u := id()
		w.users = append(w.users, u)
		exec(`INSERT INTO app_user (tenant, id, login, display_name) VALUES (1, $1, $2, $2)`, u, fmt.Sprintf("u%d", i))
	}
	for i := range 4 {
		u := id()
		w.units = append(w.units, u)
		exec(`INSERT INTO org_unit (tenant, id, code, name) VALUES (1, $1, $2, $2)`, u, fmt.Sprintf("U%d", i))
		w.scopes[u] = scope{unit: u}
	}
	for i := range 18 {
		m := role{user: pick(w.users), unit: pick(w.units), name: all[r.IntN(len(all))], span: when()}
		if i >= 16 {
			m.unit = uuid.Nil
		}
		w.roles = append(w.roles, m)
		exec(`INSERT INTO membership (tenant, id, user_id, unit_id, role, valid_from, valid_to) VALUES (1, $1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, id(), m.user, opt(m.unit), m.name, m.from, m.to)
	}
	scopes := slices.Clone(w.units)
	for range 6 {
		s := scope{unit: pick(w.units), class: []string{"", "", "personal", "social"}[r.IntN(4)]}
		sid := id()
		w.scopes[sid] = s
		scopes = append(scopes, sid)
		exec(`INSERT INTO access_scope (tenant, id, kind, unit_id, protection_class) VALUES (1, $1, 'object', $2, $3)`, sid, s.unit, s.class)
	}
	for range 14 {
		g := grant{scope: pick(scopes), write: r.IntN(2) == 0, span: when()}
		if r.IntN(2) == 0 {
			g.user = pick(w.users)
		} else {
			g.unit = pick(w.units)
		}
		w.grants = append(w.grants, g)
		exec(`INSERT INTO access_grant (tenant, id, scope_id, user_id, unit_id, access, valid_from, valid_to) VALUES (1, $1, $2, $3, $4, CASE WHEN $5 THEN 'write' ELSE 'read' END, $6, $7)`,
			id(), g.scope, opt(g.user), opt(g.unit), g.write, g.from, g.to)
	}
	var desks []uuid.UUID
	for i := range 4 {
		d := id()
		desks = append(desks, d)
		switch {
		case i == 3: // personal: its owner
			u := pick(w.users)
			exec(`INSERT INTO postkorb (tenant, id, name, kind, user_id) VALUES (1, $1, 'P', 'personal', $2)`, d, u)
			w.desks[d] = append(w.desks[d], worker{u, uuid.Nil, span{w.now, w.now.Add(time.Hour)}})
		default:
			exec(`INSERT INTO postkorb (tenant, id, name, kind) VALUES (1, $1, $2, 'group')`, d, fmt.Sprintf("D%d", i))
		}
		for range 2 {
			k := worker{pick(w.users), uuid.Nil, when()}
			w.desks[d] = append(w.desks[d], k)
			exec(`INSERT INTO postkorb_member (tenant, postkorb_id, user_id, valid_from, valid_to) VALUES (1, $1, $2, $3, $4) ON CONFLICT DO NOTHING`, d, k.user, k.from, k.to)
		}
	}
	for n := range 12 { // substitutions, by named Postkorb, also of people who do not work there in person
		from, deputy, s, sub, d := pick(w.users), pick(w.users), when(), id(), pick(desks)
		if n > 2 {
			from, s = w.desks[d][r.IntN(len(w.desks[d]))].user, span{w.now.AddDate(0, 0, -1), w.now.AddDate(0, 0, 1)}
		}
		if from == deputy {
			continue
		}
		var ended *time.Time
		if r.IntN(5) == 0 {
			ended = &w.now
		}
		exec(`INSERT INTO substitution (tenant, id, user_id, deputy_id, valid_from, valid_to, ended_at) VALUES (1, $1, $2, $3, $4, $5, $6)`, sub, from, deputy, s.from, s.to, ended)
		if ended != nil {
			s.to = *ended
		}
		exec(`INSERT INTO substitution_postkorb (tenant, substitution_id, postkorb_id) VALUES (1, $1, $2)`, sub, d)
		w.desks[d] = append(w.desks[d], worker{deputy, from, s})
	}
	for range 60 {
		o := object{id: id(), scope: uuid.MustParse("00000000-0000-7000-8000-000000000002")}
		var parent *uuid.UUID
		if r.IntN(3) > 0 {
			o.scope, o.filed = pick(scopes), true
			parent = &town.AkteBau
		}
		if r.IntN(3) == 0 {
			o.submitter = pick(w.users)
		}
		if r.IntN(6) == 0 {
			o.class = "tax"
		}
		w.objects = append(w.objects, o)
		exec(`INSERT INTO record_object (tenant, id, kind, parent_id, access_scope_id, lifecycle, submitted_by, created_at, created_by, changed_at, protection_class)
            VALUES (1, $1, 'dokument', $2, $3, 'open', $4, $5, $6, $5, $7)`, o.id, parent, o.scope, opt(o.submitter), w.now, access.SystemUser, o.class)
		for _, d := range desks {
			if r.IntN(6) != 0 {
				continue
			}
			i := item{record: o.id, desk: d, state: []string{"open", "claimed", "waiting", "done", "returned"}[r.IntN(5)]}
			if r.IntN(3) == 0 {
				i.assignee = pick(w.users)
			}
			i.notice = r.IntN(8) == 0
			w.items = append(w.items, i)
			exec(`INSERT INTO postkorb_item (tenant, id, postkorb_id, record_id, state, assignee_id, claimed_by, why, received_at, finished_at, notice)
                VALUES (1, $1, $2, $3, $4, $5, CASE WHEN $4 = 'claimed' THEN $6::uuid END, '{}', $7, CASE WHEN $4 IN ('done', 'returned') THEN $7::timestamptz END, $8)`,
				id(), d, o.id, i.state, opt(i.assignee), pick(w.users), w.now, i.notice)
		}
	}
	return err
}
