package web_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/web"
)

// A process for its operator alone tells how it is, and has no other address.
func TestOperationOnlyAnswersTheMonitoringAlone(t *testing.T) {
	var parts web.Parts
	w := newWorld(t, func(p *web.Parts) { parts = *p })
	parts.Options.OperationOnly, parts.Registry = true, prometheus.NewRegistry()
	s, err := web.New(parts)
	w.Must(err)
	t.Cleanup(s.Close)
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/metrics": http.StatusOK,
		"/": http.StatusNotFound, "/login": http.StatusNotFound, "/static/evb.css": http.StatusNotFound,
		"/api/openapi.json": http.StatusNotFound, "/api/v1/me": http.StatusNotFound,
	} {
		r := httptest.NewRecorder()
		s.Handler().ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if r.Code != want {
			t.Errorf("%s: %d, want %d", path, r.Code, want)
		}
	}
}
