package web

import (
	"net/http"
	"strconv"

	"evb/internal/export"
	"evb/internal/fault"
)

// getContents answers the table of contents of an Akte: JSON, ?format=csv, or
// ?format=html to be printed.
func (s *Server) getContents(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	c, err := s.p.Akten.Contents(r.Context(), actorOf(r), id)
	if err != nil {
		return err
	}
	t := export.NewTable(c)
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
		return writeJSON(w, http.StatusOK, t)
	case "csv":
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="inhalt-`+id.String()+`.csv"`)
		return t.CSV(w)
	case "html":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
		return t.HTML(w)
	default:
		return fault.New("parameter-invalid", "name", "format", "value", format)
	}
}

// getAkteExport answers the whole Akte as a ZIP, which is streamed once all of it
// is at hand.
func (s *Server) getAkteExport(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	q := export.Request{Akte: id, Reason: r.URL.Query().Get("reason")}
	if q.Seal, err = queryBool(r, "seal"); err != nil {
		return err
	}
	if q.WithoutAnnotations, err = withoutAnnotations(r); err != nil {
		return err
	}
	whole, err := s.p.Export.PrepareAkte(r.Context(), actorOf(r), q)
	if err != nil {
		return err
	}
	defer func() {
		if err := whole.Close(); err != nil {
			s.log.WarnContext(r.Context(), "export package left behind", "err", err)
		}
	}()
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", `attachment; filename="`+whole.Name+`.zip"`)
	h.Set("Evb-Pending", strconv.Itoa(whole.Pending()))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	return whole.WriteZIP(r.Context(), w)
}

// withoutAnnotations reads ?annotations=, which is true when absent.
func withoutAnnotations(r *http.Request) (bool, error) {
	if r.URL.Query().Get("annotations") == "" {
		return false, nil
	}
	with, err := queryBool(r, "annotations")
	return !with, err
}
