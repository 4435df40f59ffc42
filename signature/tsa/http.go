package tsa

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"evb/signature/tsp"
)

// MaxRequest is the largest request body in bytes. Real ones have under 200.
const MaxRequest = 16 << 10

// ServeHTTP answers POST of a TimeStampReq (RFC 3161 section 3.4), GET /crl and
// GET /ca.pem; GET / says in words what this is. Mount it at a root of its own
// or behind http.StripPrefix.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.Method == http.MethodPost:
		s.serveStamp(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "POST a time-stamp request / Zeitstempelanfrage mit POST senden", http.StatusMethodNotAllowed)
	case r.URL.Path == "/crl":
		crl, err := s.CRL()
		if err != nil {
			s.opts.Log.Error("cannot make a CRL", "err", err)
			http.Error(w, "no CRL", http.StatusInternalServerError)
			return
		}
		write(w, "application/pkix-crl", crl)
	case r.URL.Path == "/ca.pem":
		write(w, "application/x-pem-file", s.CertificatePEM())
	case r.URL.Path == "/" || r.URL.Path == "":
		write(w, "text/plain; charset=utf-8", fmt.Appendf(nil, `Entwicklungs-Zeitstempeldienst, kein qualifizierter Vertrauensdienst.
Development time-stamping authority, NOT QUALIFIED.

%s

POST %s   RFC 3161
GET  /crl     CRL
GET  /ca.pem  CA
`, s.tsa.Subject(), tsp.ContentTypeQuery))
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) serveStamp(w http.ResponseWriter, r *http.Request) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != tsp.ContentTypeQuery {
		http.Error(w, "content type must be "+tsp.ContentTypeQuery, http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(w, "request body could not be read", http.StatusBadRequest)
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-r.Context().Done():
		return // nobody is waiting any more
	}
	write(w, tsp.ContentTypeReply, s.Respond(body))
}

func write(w http.ResponseWriter, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(b) // the client is gone; nothing was promised to it
}
