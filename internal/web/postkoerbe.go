package web

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/postkorb"
)

func (s *Server) getPostkoerbe(w http.ResponseWriter, r *http.Request) error {
	list, err := s.p.Postkoerbe.Postkoerbe(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	return writeWhole(w, r, list, newPostkorbView)
}

// getTargets lists every Postkorb that something can be forwarded to, without
// counts.
func (s *Server) getTargets(w http.ResponseWriter, r *http.Request) error {
	list, err := s.p.Postkoerbe.Targets(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	return writeWhole(w, r, list, newPostkorbView)
}

func (s *Server) getItems(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	f := postkorb.Filter{State: postkorb.State(r.URL.Query().Get("state"))}
	if f.DueBefore, err = queryTime(r, "due_before"); err != nil {
		return err
	}
	p, err := s.p.Postkoerbe.Items(r.Context(), actorOf(r), id, f, cursor, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, newItemView, p.NextCursor, &p.Total))
}

func (s *Server) getSent(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	p, err := s.p.Postkoerbe.Sent(r.Context(), actorOf(r), cursor, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, newItemView, p.NextCursor, &p.Total))
}

func (s *Server) getDokumentItems(w http.ResponseWriter, r *http.Request) error {
	d, err := s.dokument(r)
	if err != nil {
		return err
	}
	items, err := s.p.Postkoerbe.ItemsOf(r.Context(), actorOf(r), d.ID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(items, newItemView, "", count(len(items))))
}

func itemAnswer(w http.ResponseWriter, i postkorb.Item) error {
	return writeVersioned(w, http.StatusOK, i.RowVersion, newItemView(i))
}

func postkorbAnswer(w http.ResponseWriter, p postkorb.Postkorb) error {
	return writeJSON(w, http.StatusOK, newPostkorbView(p))
}

func (s *Server) getWhy(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	steps, err := s.p.Postkoerbe.WhyOf(r.Context(), actorOf(r), id)
	if err != nil {
		return err
	}
	v := whyView{ItemID: id, Steps: mapped(steps, newWhyStepView)}
	if len(steps) > 0 {
		v.becauseView = because(steps[0].Why)
	}
	return writeJSON(w, http.StatusOK, v)
}

// act answers acts that need nothing but the item.
func act(use func(ctx context.Context, a access.Actor, item uuid.UUID, ifVersion int64) (postkorb.Item, error)) handler {
	return changed(func(ctx context.Context, a access.Actor, id uuid.UUID, version int64, _ struct{}) (postkorb.Item, error) {
		return use(ctx, a, id, version)
	}, itemAnswer)
}

func (s *Server) returnItem(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b reasonBody) (postkorb.Item, error) {
	return s.p.Postkoerbe.Return(ctx, a, id, version, b.Reason)
}

// forwardBody names a Postkorb, a person (login or id), or both.
type forwardBody struct {
	PostkorbID *uuid.UUID `json:"postkorb_id,omitempty"`
	Postkorb   string     `json:"postkorb,omitempty"` // its name, instead of the id
	User       string     `json:"user,omitempty"`
	DueAt      *time.Time `json:"due_at,omitempty"`
	Reason     string     `json:"reason,omitempty"`
}

func (s *Server) forwardItem(w http.ResponseWriter, r *http.Request) error {
	id, version, body, err := change[forwardBody](r)
	if err != nil {
		return err
	}
	var to postkorb.To
	if to.Postkorb, err = s.postkorbID(r, body.PostkorbID, body.Postkorb); err != nil {
		return err
	}
	if to.User, err = s.userID(r, body.User); err != nil {
		return err
	}
	if body.DueAt != nil {
		to.Due = body.DueAt.UTC()
	}
	i, err := s.p.Postkoerbe.Forward(r.Context(), actorOf(r), id, version, to, body.Reason)
	if err != nil {
		return err
	}
	return itemAnswer(w, i)
}

// followUpBody: a moment, or a date, which means 06:00 local time.
type followUpBody struct {
	DueAt  *time.Time `json:"due_at,omitempty"`
	DueOn  *date      `json:"due_on,omitempty"`
	Reason string     `json:"reason"`
}

// doneBody is the body of /done.
type doneBody struct {
	Remark string `json:"remark,omitempty"`
}

func (s *Server) doneItem(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b doneBody) (postkorb.Item, error) {
	return s.p.Postkoerbe.Done(ctx, a, id, version, b.Remark)
}

func (s *Server) getExplain(w http.ResponseWriter, r *http.Request) error {
	object, err := parseID(r.URL.Query().Get("object"))
	if err != nil {
		return err
	}
	user := r.URL.Query().Get("user")
	if user == "" {
		user = actorOf(r).Login
	}
	e, err := s.p.Lists.Explain(r.Context(), actorOf(r), user, object)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, explanationView{User: e.User, Object: e.Object, Sees: e.Sees, Changes: e.Changes, Rules: mapped(e.Rules, newRuleView)})
}
