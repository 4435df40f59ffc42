package web

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/lists"
)

func (s *Server) getAktenplan(w http.ResponseWriter, r *http.Request) error {
	nodes, err := s.p.Lists.Aktenplan(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	return writeWhole(w, r, nodes, newNodeView)
}

func (s *Server) getAkten(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := lists.AktenFilter{Aktenzeichen: q.Get("aktenzeichen"), Subject: q.Get("subject")}
	var err error
	if f.Lifecycle, err = queryOneOf(r, "lifecycle", akte.Planned, akte.Open, akte.Closed, akte.Stored, akte.Due, akte.Offered, akte.Appraised,
		akte.Transferred, akte.Destroyed); err != nil {
		return err
	}
	if f.Aktenplaneinheit, err = queryID(r, "aktenplaneinheit_id"); err != nil {
		return err
	}
	if f.Unit, err = s.unitID(r, q.Get("unit")); err != nil {
		return err
	}
	return s.akten(w, r, f)
}

func (s *Server) getEinheitAkten(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	return s.akten(w, r, lists.AktenFilter{Aktenplaneinheit: id})
}

func (s *Server) akten(w http.ResponseWriter, r *http.Request, f lists.AktenFilter) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	p, err := s.p.Lists.Akten(r.Context(), actorOf(r), f, cursor, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, newAkteView, p.NextCursor, p.Total))
}

// akteBody is a new Akte. Without Aktenzeichen it gets the next number of its
// Aktenplaneinheit.
type akteBody struct {
	AktenplaneinheitID *uuid.UUID `json:"aktenplaneinheit_id,omitempty"`
	Aktenplaneinheit   string     `json:"aktenplaneinheit,omitempty"`
	Aktenzeichen       string     `json:"aktenzeichen,omitempty"`
	Subject            string     `json:"subject"`
	Type               string     `json:"type,omitempty"`
	Remark             string     `json:"remark,omitempty"`
	Medium             string     `json:"medium,omitempty"`
	PaperLocation      string     `json:"paper_location,omitempty"`
}

func (s *Server) postAkte(w http.ResponseWriter, r *http.Request) error {
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b akteBody) (made, error) {
		x, replayed, err := s.p.Akten.CreateAkte(ctx, a, akte.NewAkte{
			AktenplaneinheitID: idOf(b.AktenplaneinheitID), EinheitCode: b.Aktenplaneinheit, Aktenzeichen: b.Aktenzeichen, Subject: b.Subject,
			Type: b.Type, Remark: b.Remark, Medium: b.Medium, PaperLocation: b.PaperLocation, Key: key,
		})
		return made{x.RowVersion, newAkteView(x), "/api/v1/akten/" + x.ID.String(), replayed}, err
	})
}

func akteAnswer(w http.ResponseWriter, x akte.Akte) error {
	return writeVersioned(w, http.StatusOK, x.RowVersion, newAkteView(x))
}

// patchBody changes an Akte or a Vorgang; an absent field stays as it is.
type patchBody struct {
	Subject       *string `json:"subject,omitempty"`
	Type          *string `json:"type,omitempty"`
	Remark        *string `json:"remark,omitempty"`
	Medium        *string `json:"medium,omitempty"`
	PaperLocation *string `json:"paper_location,omitempty"`
}

func (b patchBody) patch() akte.Patch {
	return akte.Patch{Subject: b.Subject, Type: b.Type, Remark: b.Remark, Medium: b.Medium, PaperLocation: b.PaperLocation}
}

func (s *Server) changeAkte(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b patchBody) (akte.Akte, error) {
	return s.p.Akten.ChangeAkte(ctx, a, id, b.patch(), version)
}

func (s *Server) changeVorgang(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b patchBody) (akte.Vorgang, error) {
	return s.p.Akten.ChangeVorgang(ctx, a, id, b.patch(), version)
}

// moveVorgangBody names the Akte that a Vorgang goes to.
type moveVorgangBody struct {
	Aktenzeichen string `json:"aktenzeichen"`
	Reason       string `json:"reason"`
}

func (s *Server) moveVorgang(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b moveVorgangBody) (akte.Vorgang, error) {
	return s.p.Akten.MoveVorgang(ctx, a, id, b.Aktenzeichen, b.Reason, version)
}

func (s *Server) getAkteVorgaenge(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if _, err := s.p.Akten.Akte(r.Context(), actorOf(r), id); err != nil {
		return err
	}
	return s.vorgaenge(w, r, id)
}

func (s *Server) getVorgaenge(w http.ResponseWriter, r *http.Request) error {
	id, err := queryID(r, "akte_id")
	if err != nil {
		return err
	}
	if id != uuid.Nil {
		return s.vorgaenge(w, r, id)
	}
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	counted, err := queryBool(r, "count")
	if err != nil {
		return err
	}
	p, err := s.p.Lists.AllVorgaenge(r.Context(), actorOf(r), cursor, limit, counted)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, newVorgangView, p.NextCursor, p.Total))
}

func (s *Server) vorgaenge(w http.ResponseWriter, r *http.Request, akteID uuid.UUID) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	p, err := s.p.Lists.Vorgaenge(r.Context(), actorOf(r), akteID, cursor, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, newVorgangView, p.NextCursor, p.Total))
}

type vorgangBody struct {
	AkteID        *uuid.UUID `json:"akte_id,omitempty"`
	Subject       string     `json:"subject"`
	Type          string     `json:"type,omitempty"`
	Remark        string     `json:"remark,omitempty"`
	Medium        string     `json:"medium,omitempty"`         // 001 electronic (default), 002 hybrid, 003 paper
	PaperLocation string     `json:"paper_location,omitempty"` // obligatory unless electronic
}

func (s *Server) postVorgang(w http.ResponseWriter, r *http.Request) error {
	return s.newVorgang(w, r, uuid.Nil)
}

func (s *Server) postAkteVorgang(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	return s.newVorgang(w, r, id)
}

func (s *Server) newVorgang(w http.ResponseWriter, r *http.Request, akteID uuid.UUID) error {
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b vorgangBody) (made, error) {
		switch in := idOf(b.AkteID); {
		case akteID == uuid.Nil:
			akteID = in
		case in != uuid.Nil && in != akteID:
			return made{}, fault.New("parameter-invalid", "name", "akte_id", "value", in).With("/akte_id", "parameter-invalid", "name", "akte_id", "value", in)
		}
		x, replayed, err := s.p.Akten.CreateVorgang(ctx, a, akte.NewVorgang{AkteID: akteID, Subject: b.Subject, Type: b.Type, Remark: b.Remark, Medium: b.Medium, PaperLocation: b.PaperLocation, Key: key})
		return made{x.RowVersion, newVorgangView(x), "/api/v1/vorgaenge/" + x.ID.String(), replayed}, err
	})
}

func vorgangAnswer(w http.ResponseWriter, x akte.Vorgang) error {
	return writeVersioned(w, http.StatusOK, x.RowVersion, newVorgangView(x))
}

func (s *Server) getVorgangDokumente(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	if _, err := s.p.Akten.Vorgang(r.Context(), actorOf(r), id); err != nil {
		return err
	}
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	p, err := s.p.Lists.Dokumente(r.Context(), actorOf(r), lists.DokumenteFilter{Vorgang: id}, cursor, limit, true)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, newDokumentView, p.NextCursor, p.Total))
}
