package web

import (
	"net/http"

	"evb/internal/akte"
)

func (s *Server) getCircles(w http.ResponseWriter, r *http.Request) error {
	all, err := s.p.Akten.Circles(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	return writeWhole(w, r, all, asItIs[akte.Circle])
}

// getNumbers lists the register of a circle: ?year= two digits, ?void=true only
// what is void.
func (s *Server) getNumbers(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	void, err := queryBool(r, "void")
	if err != nil {
		return err
	}
	all, next, err := s.p.Akten.Register(r.Context(), actorOf(r), id, r.URL.Query().Get("year"), void, cursor, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(all, asItIs[akte.Given], next, nil))
}

func (s *Server) getGaps(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	all, err := s.p.Akten.Gaps(r.Context(), actorOf(r), id, r.URL.Query().Get("year"))
	if err != nil {
		return err
	}
	return writeWhole(w, r, all, asItIs[akte.Gap])
}

type voidBody struct {
	Number string `json:"number"`
	Reason string `json:"reason"`
}

func (s *Server) postVoid(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var body voidBody
	if err := decode(r, &body); err != nil {
		return err
	}
	g, err := s.p.Akten.VoidNumber(r.Context(), actorOf(r), id, body.Number, body.Reason)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, g)
}
