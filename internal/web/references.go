package web

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/idempotency"
)

// referenceBody names the Akte, Vorgang or Dokument that is referred to.
type referenceBody struct {
	ToID   uuid.UUID          `json:"to_id"`
	Kind   akte.ReferenceKind `json:"kind,omitempty"` // see (default), duplicate, reply, attachment
	Remark string             `json:"remark,omitempty"`
}

func (s *Server) postReference(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b referenceBody) (made, error) {
		x, replayed, err := s.p.Akten.Refer(ctx, a, akte.NewReference{From: id, To: b.ToID, Kind: b.Kind, Remark: b.Remark, Key: key})
		return made{1, x, r.URL.Path, replayed}, err
	})
}

// getReferences lists what the object refers to; ?incoming=true: what refers to
// it.
func (s *Server) getReferences(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	incoming, err := queryBool(r, "incoming")
	if err != nil {
		return err
	}
	all, err := s.p.Akten.References(r.Context(), actorOf(r), id, incoming)
	if err != nil {
		return err
	}
	return writeWhole(w, r, all, asItIs[akte.Reference])
}
