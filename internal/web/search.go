package web

import (
	"net/http"
	"strconv"

	"evb/internal/fault"
	"evb/internal/find"
)

// searchParams reads a search from the query; what may come several times is
// a list of alternatives.
func searchParams(r *http.Request) (p find.Params, err error) {
	q := r.URL.Query()
	p = find.Params{
		Q: q.Get("q"), DocumentType: q["document_type"], Unit: q["unit"], Aktenzeichen: q["aktenzeichen"], State: q["state"],
		AkteID: q["akte_id"], VorgangID: q["vorgang_id"], Sort: q.Get("sort"), Cursor: q.Get("cursor"),
	}
	for _, y := range q["year"] {
		n, err := strconv.Atoi(y)
		if err != nil {
			return p, fault.New("parameter-invalid", "name", "year", "value", y)
		}
		p.Year = append(p.Year, n)
	}
	if p.Exact, err = queryBool(r, "exact"); err != nil {
		return p, err
	}
	_, p.Limit, err = page(r)
	return p, err
}

func (s *Server) getSearch(w http.ResponseWriter, r *http.Request) error {
	p, err := searchParams(r)
	if err != nil {
		return err
	}
	found, err := s.p.Find.Search(r.Context(), actorOf(r), p)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, found)
}

type suggestView struct {
	Items []string `json:"items"`
}

func (s *Server) getSuggest(w http.ResponseWriter, r *http.Request) error {
	n, err := queryInt(r, "n", 8)
	if err != nil || n < 1 || n > 20 {
		return fault.New("parameter-invalid", "name", "n", "value", r.URL.Query().Get("n"))
	}
	words, err := s.p.Find.Suggest(r.Context(), actorOf(r), r.URL.Query().Get("q"), n)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, suggestView{Items: words})
}
