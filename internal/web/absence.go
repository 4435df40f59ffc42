package web

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/calendar"
	"evb/internal/circulation"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/leaver"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/substitution"
)

// substitutionBody: for, deputy are logins or ids, postkoerbe names or ids; a
// date instead of a moment is the whole local day.
type substitutionBody struct {
	For        string   `json:"for,omitempty"` // empty: oneself
	Deputy     string   `json:"deputy"`
	From       string   `json:"from,omitempty"` // empty: now
	To         string   `json:"to"`
	Postkoerbe []string `json:"postkoerbe"` // empty: all in which the person works in person
	Reason     string   `json:"reason,omitempty"`
}

func (s *Server) postSubstitution(w http.ResponseWriter, r *http.Request) error {
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b substitutionBody) (made, error) {
		n := substitution.New{For: a.User, Reason: b.Reason, Key: key}
		var err error
		if b.For != "" {
			if n.For, err = s.userID(r, b.For); err != nil {
				return made{}, err
			}
		}
		if b.Deputy == "" {
			return made{}, fault.New("field-required", "field", "deputy").With("/deputy", "field-required", "field", "deputy")
		}
		if n.Deputy, err = s.userID(r, b.Deputy); err != nil {
			return made{}, err
		}
		c, err := s.calendar(r)
		if err != nil {
			return made{}, err
		}
		if n.From, err = boundary(c, b.From, "from", 0); err != nil {
			return made{}, err
		}
		if b.To == "" {
			return made{}, fault.New("field-required", "field", "to").With("/to", "field-required", "field", "to")
		}
		if n.To, err = boundary(c, b.To, "to", 1); err != nil {
			return made{}, err
		}
		if n.Postkoerbe, err = s.postkorbIDs(r, b.Postkoerbe); err != nil {
			return made{}, err
		}
		sub, replayed, err := s.p.Deputies.Create(ctx, a, n)
		return made{sub.RowVersion, sub, "/api/v1/substitutions/" + sub.ID.String(), replayed}, err
	})
}

// boundary reads a moment, or a date: the midnight before it, or after days.
func boundary(c *calendar.Calendar, v, name string, days int) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, v); err == nil {
		return t.UTC(), nil
	}
	day, err := time.Parse(time.DateOnly, v)
	if err != nil {
		return time.Time{}, fault.New("parameter-invalid", "name", name, "value", v).With("/"+name, "parameter-invalid", "name", name, "value", v)
	}
	return c.Midnight(day.AddDate(0, 0, days)), nil
}

// postkorbIDs finds Postkörbe by id or name.
func (s *Server) postkorbIDs(r *http.Request, names []string) (ids []uuid.UUID, err error) {
	var byName []string
	for _, n := range names {
		if id, err := uuid.Parse(n); err == nil {
			ids = append(ids, id)
		} else {
			byName = append(byName, n)
		}
	}
	if len(byName) == 0 {
		return ids, nil
	}
	err = s.p.DB.Read(r.Context(), actorOf(r).Tenant, func(q postgres.Querier) error {
		found, err := postkorb.ByNames(r.Context(), q, byName)
		known := map[string]bool{}
		for _, p := range found {
			ids, known[p.Name] = append(ids, p.ID), true
		}
		for _, n := range byName {
			if err == nil && !known[n] {
				err = fault.New("postkorb-unknown")
			}
		}
		return err
	})
	return ids, err
}

// calendar is that of the actor's tenant.
func (s *Server) calendar(r *http.Request) (c *calendar.Calendar, err error) {
	err = s.p.DB.Read(r.Context(), actorOf(r).Tenant, func(q postgres.Querier) error {
		c, err = calendar.Of(r.Context(), q)
		return err
	})
	return c, err
}

func (s *Server) getSubstitutions(w http.ResponseWriter, r *http.Request) error {
	all, err := queryBool(r, "all")
	if err != nil {
		return err
	}
	list, err := s.p.Deputies.List(r.Context(), actorOf(r), all)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(list, asItIs[substitution.Substitution], "", count(len(list))))
}

func substitutionAnswer(w http.ResponseWriter, sub substitution.Substitution) error {
	return writeVersioned(w, http.StatusOK, sub.RowVersion, sub)
}

func asItIs[T any](v T) T { return v }

// ended answers a DELETE of something with a row version.
func ended(use func(ctx context.Context, a access.Actor, id uuid.UUID, ifVersion int64) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r)
		if err != nil {
			return err
		}
		version, err := ifMatch(r)
		if err != nil {
			return err
		}
		if err := use(r.Context(), actorOf(r), id, version); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

type openWorkView struct {
	User          uuid.UUID                   `json:"user_id"`
	Counts        leaver.Counts               `json:"counts"`
	Items         []itemView                  `json:"items"`
	FollowUps     []postkorb.FollowUp         `json:"follow_ups"`
	Steps         []circulation.PersonStep    `json:"steps"`
	Substitutions []substitution.Substitution `json:"substitutions"`
	CheckOuts     []akte.CheckedOut           `json:"check_outs"` // end when the work is moved
}

// pathUser is the user of the path, by id or login.
func (s *Server) pathUser(r *http.Request) (uuid.UUID, error) { return s.userID(r, pathVar(r, "user")) }

func (s *Server) getOpenWork(w http.ResponseWriter, r *http.Request) error {
	user, err := s.pathUser(r)
	if err != nil {
		return err
	}
	work, err := s.p.Leaver.Open(r.Context(), actorOf(r), user)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, openWorkView{
		User: user, Counts: work.Counts, Items: mapped(work.Items, newItemView), FollowUps: mapped(work.FollowUps, asItIs[postkorb.FollowUp]),
		Steps: mapped(work.Steps, asItIs[circulation.PersonStep]), Substitutions: mapped(work.Substitutions, asItIs[substitution.Substitution]),
		CheckOuts: mapped(work.CheckOuts, asItIs[akte.CheckedOut]),
	})
}

// moveWorkBody: to is a login or id.
type moveWorkBody struct {
	To     string `json:"to"`
	Reason string `json:"reason"`
}

type movedWorkView struct {
	User  uuid.UUID     `json:"user_id"`
	To    uuid.UUID     `json:"to_id"`
	Moved leaver.Counts `json:"moved"`
}

func (s *Server) postMoveWork(w http.ResponseWriter, r *http.Request) error {
	user, err := s.pathUser(r)
	if err != nil {
		return err
	}
	var body moveWorkBody
	if err := decode(r, &body); err != nil {
		return err
	}
	if body.To == "" {
		return fault.New("field-required", "field", "to").With("/to", "field-required", "field", "to")
	}
	to, err := s.userID(r, body.To)
	if err != nil {
		return err
	}
	moved, err := s.p.Leaver.Move(r.Context(), actorOf(r), user, to, body.Reason)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, movedWorkView{User: user, To: to, Moved: moved})
}

type disabledView struct {
	User uuid.UUID `json:"user_id"`
	// OpenWork is what is left with the person, to be moved.
	OpenWork leaver.Counts `json:"open_work"`
}

func (s *Server) postDisable(w http.ResponseWriter, r *http.Request) error {
	user, err := s.pathUser(r)
	if err != nil {
		return err
	}
	if err := s.p.Org.DisableUser(r.Context(), actorOf(r), user); err != nil {
		return err
	}
	left, err := s.p.Leaver.Left(r.Context(), actorOf(r), user)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, disabledView{User: user, OpenWork: left})
}
