package web

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/annotation"
	"evb/internal/idempotency"
)

// annotationBody is a note, or a mark of a place: a rectangle of the page, or a
// stretch of its text.
type annotationBody struct {
	Kind    string `json:"kind,omitempty"`    // note (default) or mark
	Version int    `json:"version,omitempty"` // absent: the current one
	Text    string `json:"text,omitempty"`
	annotation.Place
	Visibility annotation.Visibility `json:"visibility,omitempty"` // private (default), unit, all
	Unit       string                `json:"unit,omitempty"`       // code or id; absent: that of the Dokument, else one's own
}

func (s *Server) postAnnotation(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b annotationBody) (made, error) {
		unit, err := s.unitID(r, b.Unit)
		if err != nil {
			return made{}, err
		}
		if b.Kind == "" {
			b.Kind = annotation.Note
		}
		n, replayed, err := s.p.Annotations.Make(ctx, a, annotation.New{
			Dokument: id, Version: b.Version, Kind: b.Kind, Text: b.Text, Place: b.Place, Visibility: b.Visibility, UnitID: unit, Key: key,
		})
		return made{n.RowVersion, n, "/api/v1/annotations/" + n.ID.String(), replayed}, err
	})
}

// getAnnotations lists what the actor may read: ?version= of one version,
// ?removed=true with those that were taken away.
func (s *Server) getAnnotations(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	version, err := queryInt(r, "version", 0)
	if err != nil {
		return err
	}
	removed, err := queryBool(r, "removed")
	if err != nil {
		return err
	}
	all, err := s.p.Annotations.Of(r.Context(), actorOf(r), id, version, removed)
	if err != nil {
		return err
	}
	return writeWhole(w, r, all, asItIs[annotation.Annotation])
}

func annotationAnswer(w http.ResponseWriter, n annotation.Annotation) error {
	return writeVersioned(w, http.StatusOK, n.RowVersion, n)
}

type annotationPatch struct {
	Text       *string                `json:"text,omitempty"`
	Visibility *annotation.Visibility `json:"visibility,omitempty"`
	UnitID     *uuid.UUID             `json:"unit_id,omitempty"`
}

func (s *Server) changeAnnotation(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b annotationPatch) (annotation.Annotation, error) {
	return s.p.Annotations.Change(ctx, a, id, annotation.Patch{Text: b.Text, Visibility: b.Visibility, UnitID: idOf(b.UnitID)}, version)
}
