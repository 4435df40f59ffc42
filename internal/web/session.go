package web

import (
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postkorb"
)

type loginBody struct {
	Login    string `json:"login"`
	Password string `json:"password"`
}

type meView struct {
	ID          uuid.UUID        `json:"id"`
	Login       string           `json:"login"`
	DisplayName string           `json:"display_name"`
	Tenant      string           `json:"tenant"`
	Roles       []membershipView `json:"roles"`
}

type membershipView struct {
	Role   access.Role `json:"role"`
	UnitID *uuid.UUID  `json:"unit_id"`
}

// postLogin starts a session for a program or page that speaks JSON; the
// login page uses postLoginForm.
func (s *Server) postLogin(w http.ResponseWriter, r *http.Request) error {
	var body loginBody
	if err := decode(r, &body); err != nil {
		return err
	}
	if err := s.login(w, r, body.Login, body.Password); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) login(w http.ResponseWriter, r *http.Request, login, password string) error {
	secret, err := s.p.Org.Login(r.Context(), stateOf(r).tenant, login, password)
	if err != nil {
		return err
	}
	http.SetCookie(w, s.cookie(r, secret))
	return nil
}

// cookie carries the session: no script reads it, no foreign form sends it.
func (s *Server) cookie(r *http.Request, value string) *http.Cookie {
	c := &http.Cookie{Name: cookieName, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if s.secure(r) {
		c.Name, c.Secure = cookieNameSecure, true
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

func (s *Server) postLogout(w http.ResponseWriter, r *http.Request) error {
	if err := s.logout(w, r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	if secret := sessionSecret(r); secret != "" {
		if err := s.p.Org.Logout(r.Context(), stateOf(r).tenant, secret); err != nil {
			return err
		}
	}
	for _, secure := range []bool{false, true} {
		c := s.cookie(r, "")
		c.Name, c.Secure = cookieName, secure
		if secure {
			c.Name = cookieNameSecure
		}
		http.SetCookie(w, c)
	}
	return nil
}

// The pages of login and logout: after them the browser goes on by a GET.

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) error {
	return s.ui.Login(w, r, http.StatusOK, "", nil)
}

func (s *Server) postLoginForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return bodyFault(err)
	}
	err := s.login(w, r, r.PostForm.Get("login"), r.PostForm.Get("password"))
	if f, ok := fault.As(err); ok && (f.Kind == fault.Unauthenticated || f.Kind == fault.Limited || f.Kind == fault.Forbidden) {
		stateOf(r).code = f.Code
		return s.ui.Login(w, r, http.StatusUnauthorized, r.PostForm.Get("login"), f)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, s.ui.After(r.PostForm.Get("next")), http.StatusSeeOther)
	return nil
}

func (s *Server) postLogoutForm(w http.ResponseWriter, r *http.Request) error {
	if err := s.logout(w, r); err != nil {
		return err
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

func (s *Server) getMe(w http.ResponseWriter, r *http.Request) error {
	a := actorOf(r)
	return writeJSON(w, http.StatusOK, meView{
		ID: a.User, Login: a.Login, DisplayName: a.DisplayName, Tenant: a.TenantSlug,
		Roles: mapped(a.Memberships, func(m access.Membership) membershipView {
			return membershipView{Role: m.Role, UnitID: idOrNil(m.Unit)}
		}),
	})
}

// tokenBody asks for an API token; without an end it works until revoked.
type tokenBody struct {
	User       string `json:"user,omitempty"` // empty: for oneself
	Label      string `json:"label,omitempty"`
	TTL        string `json:"ttl,omitempty"` // "720h"
	TTLSeconds int64  `json:"ttl_seconds,omitempty"`
}

type tokenView struct {
	ID    uuid.UUID `json:"id"` // to revoke it by
	Token string    `json:"token"`
	User  string    `json:"user"`
}

func (s *Server) postToken(w http.ResponseWriter, r *http.Request) error {
	var body tokenBody
	if err := decode(r, &body); err != nil {
		return err
	}
	ttl := time.Duration(body.TTLSeconds) * time.Second
	if body.TTL != "" {
		var err error
		if ttl, err = time.ParseDuration(body.TTL); err != nil {
			return fault.New("parameter-invalid", "name", "ttl", "value", body.TTL)
		}
	}
	if ttl < 0 || body.TTLSeconds > 100*365*24*3600 {
		return fault.New("parameter-invalid", "name", "ttl", "value", fmt.Sprint(ttl))
	}
	if body.User == "" {
		body.User = actorOf(r).Login
	}
	token, err := s.p.Org.CreateToken(r.Context(), actorOf(r), body.User, body.Label, ttl)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, tokenView{ID: token.ID, Token: token.Secret, User: body.User})
}

func (s *Server) deleteToken(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if err := s.p.Org.RevokeToken(r.Context(), actorOf(r), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) getUsers(w http.ResponseWriter, r *http.Request) error {
	var users []org.User
	err := s.p.DB.Read(r.Context(), actorOf(r).Tenant, func(q postgres.Querier) (err error) {
		users, err = org.Users(r.Context(), q)
		return err
	})
	if err != nil {
		return err
	}
	return writeWhole(w, r, users, func(u org.User) org.User { return u })
}

func (s *Server) getUnits(w http.ResponseWriter, r *http.Request) error {
	var units []org.Unit
	err := s.p.DB.Read(r.Context(), actorOf(r).Tenant, func(q postgres.Querier) (err error) {
		units, err = org.Units(r.Context(), q, s.o.Now())
		return err
	})
	if err != nil {
		return err
	}
	return writeWhole(w, r, units, func(u org.Unit) org.Unit { return u })
}

// userID finds a person by login or id; the nil UUID for an empty one.
func (s *Server) userID(r *http.Request, user string) (id uuid.UUID, err error) {
	if user == "" {
		return uuid.Nil, nil
	}
	err = s.p.DB.Read(r.Context(), actorOf(r).Tenant, func(q postgres.Querier) error {
		var u org.User
		var err error
		if known, e := uuid.Parse(user); e == nil {
			u, err = org.UserByID(r.Context(), q, known)
		} else {
			u, err = org.UserByLogin(r.Context(), q, user)
		}
		id = u.ID
		return err
	})
	return id, err
}

// unitID finds a unit by code or id; the nil UUID for an empty one.
func (s *Server) unitID(r *http.Request, unit string) (id uuid.UUID, err error) {
	if unit == "" {
		return uuid.Nil, nil
	}
	if id, err = uuid.Parse(unit); err == nil {
		return id, nil
	}
	err = s.p.DB.Read(r.Context(), actorOf(r).Tenant, func(q postgres.Querier) error {
		u, err := org.UnitByCode(r.Context(), q, unit)
		id = u.ID
		return err
	})
	return id, err
}

func (s *Server) postkorbID(r *http.Request, id *uuid.UUID, name string) (found uuid.UUID, err error) {
	if id != nil {
		return *id, nil
	}
	if name == "" {
		return uuid.Nil, nil
	}
	err = s.p.DB.Read(r.Context(), actorOf(r).Tenant, func(q postgres.Querier) error {
		p, err := postkorb.ByName(r.Context(), q, name)
		found = p.ID
		return err
	})
	return found, err
}
