package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/calendar"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postkorb"
)

// assignBody: a login or id; empty gives the item back to all.
type assignBody struct {
	User   string `json:"user"`
	Reason string `json:"reason,omitempty"`
}

func (s *Server) assignItem(w http.ResponseWriter, r *http.Request) error {
	id, version, body, err := change[assignBody](r)
	if err != nil {
		return err
	}
	user, err := s.userID(r, body.User)
	if err != nil {
		return err
	}
	i, err := s.p.Postkoerbe.Assign(r.Context(), actorOf(r), id, version, user, body.Reason)
	if err != nil {
		return err
	}
	return itemAnswer(w, i)
}

// itemPatch: due_at is a moment, or null for no deadline.
type itemPatch struct {
	DueAt json.RawMessage `json:"due_at,omitempty"`
}

func (s *Server) patchItem(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b itemPatch) (postkorb.Item, error) {
	if len(b.DueAt) == 0 {
		return postkorb.Item{}, fault.New("field-required", "field", "due_at").With("/due_at", "field-required", "field", "due_at")
	}
	var when time.Time
	if !bytes.Equal(b.DueAt, []byte("null")) {
		if err := json.Unmarshal(b.DueAt, &when); err != nil {
			return postkorb.Item{}, fault.New("parameter-invalid", "name", "due_at", "value", string(b.DueAt)).With("/due_at", "parameter-invalid", "name", "due_at", "value", string(b.DueAt))
		}
	}
	return s.p.Postkoerbe.SetDue(ctx, a, id, version, when)
}

// suggestionView is another day, where the chosen one is not worked.
type suggestionView struct {
	DueOn   string    `json:"due_on"`
	DueAt   time.Time `json:"due_at"`
	Holiday string    `json:"holiday"` // empty: a weekend
	Text    textView  `json:"text"`
}

func newSuggestionView(c *calendar.Calendar, due time.Time) *suggestionView {
	v, ok := c.Suggest(c.Day(due))
	if !ok {
		return nil
	}
	return &suggestionView{DueOn: v.Day.Format(time.DateOnly), DueAt: c.Morning(v.Day), Holiday: v.Holiday, Text: textView{DE: v.Text("de"), EN: v.Text("en")}}
}

// due reads when something comes back: a moment, or a date, which means 06:00
// local time.
func due(c *calendar.Calendar, at *time.Time, on *date) (time.Time, error) {
	switch {
	case at != nil:
		return at.UTC(), nil
	case on != nil && !on.IsZero():
		return c.Morning(on.day), nil
	}
	return time.Time{}, fault.New("field-required", "field", "due_at").With("/due_at", "field-required", "field", "due_at")
}

// putAwayView is an item that waits, with another day where the chosen one is
// not worked.
type putAwayView struct {
	itemView
	Suggestion *suggestionView `json:"suggestion"`
}

func (s *Server) followUpItem(w http.ResponseWriter, r *http.Request) error {
	id, version, body, err := change[followUpBody](r)
	if err != nil {
		return err
	}
	c, err := s.calendar(r)
	if err != nil {
		return err
	}
	when, err := due(c, body.DueAt, body.DueOn)
	if err != nil {
		return err
	}
	i, err := s.p.Postkoerbe.FollowUp(r.Context(), actorOf(r), id, version, when, body.Reason)
	if err != nil {
		return err
	}
	return writeVersioned(w, http.StatusOK, i.RowVersion, putAwayView{newItemView(i), newSuggestionView(c, when)})
}

// newFollowUpBody names the object by one of its ids, and the Postkorb, without
// which it is the personal one.
type newFollowUpBody struct {
	DokumentID *uuid.UUID `json:"dokument_id,omitempty"`
	VorgangID  *uuid.UUID `json:"vorgang_id,omitempty"`
	AkteID     *uuid.UUID `json:"akte_id,omitempty"`
	PostkorbID *uuid.UUID `json:"postkorb_id,omitempty"`
	Postkorb   string     `json:"postkorb,omitempty"`
	DueAt      *time.Time `json:"due_at,omitempty"`
	DueOn      *date      `json:"due_on,omitempty"`
	Reason     string     `json:"reason,omitempty"`
}

type followUpView struct {
	postkorb.FollowUp
	Suggestion *suggestionView `json:"suggestion,omitempty"`
}

func (s *Server) postFollowUp(w http.ResponseWriter, r *http.Request) error {
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b newFollowUpBody) (made, error) {
		record, err := circulationBody{DokumentID: b.DokumentID, VorgangID: b.VorgangID, AkteID: b.AkteID}.record()
		if err != nil {
			return made{}, err
		}
		desk, err := s.postkorbID(r, b.PostkorbID, b.Postkorb)
		if err != nil {
			return made{}, err
		}
		c, err := s.calendar(r)
		if err != nil {
			return made{}, err
		}
		when, err := due(c, b.DueAt, b.DueOn)
		if err != nil {
			return made{}, err
		}
		f, replayed, err := s.p.Postkoerbe.SetFollowUp(ctx, a, postkorb.NewFollowUp{Record: record, Postkorb: desk, When: when, Reason: b.Reason, Key: key})
		return made{f.RowVersion, followUpView{f, newSuggestionView(c, when)}, "/api/v1/follow-ups/" + f.ID.String(), replayed}, err
	})
}

func (s *Server) getFollowUps(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	p, err := s.p.Postkoerbe.FollowUps(r.Context(), actorOf(r), cursor, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, func(f postkorb.FollowUp) followUpView { return followUpView{FollowUp: f} }, p.NextCursor, &p.Total))
}
