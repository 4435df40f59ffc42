package web

import (
	"context"
	"net/http"
	"time"

	"evb/internal/fault"
)

type healthView struct {
	State   string `json:"state"`
	Version string `json:"version,omitempty"`
	Parts   []Part `json:"parts"`
}

// getHealth says that the process lives, and how its parts are: always 200, so
// that nobody restarts a process because another one is away.
func (s *Server) getHealth(w http.ResponseWriter, r *http.Request) error {
	v := healthView{State: "ok", Version: s.o.Version, Parts: []Part{}}
	if s.p.Health != nil {
		v.Parts = append(v.Parts, s.p.Health(r.Context())...)
	}
	for _, p := range v.Parts {
		if p.State != "ok" {
			v.State = "degraded"
		}
	}
	return writeJSON(w, http.StatusOK, v)
}

// getReady says whether requests can be served now.
func (s *Server) getReady(w http.ResponseWriter, r *http.Request) error {
	ready := s.p.Ready
	if ready == nil {
		ready = s.p.DB.Ping
	}
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	if err := ready(ctx); err != nil {
		if _, ok := fault.As(err); ok {
			return err
		}
		return fault.Wrap(err, "not-ready")
	}
	return writeJSON(w, http.StatusOK, healthView{State: "ok", Parts: []Part{}})
}

func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request) error {
	s.metricsHandler().ServeHTTP(w, r)
	return nil
}

// CheckReport is what `evb check` tells.
type CheckReport struct {
	Checked  []Checked `json:"checked"`
	Findings []Finding `json:"findings"`
}

// Checked is one part that was compared.
type Checked struct {
	Part  string `json:"part"`
	Count int64  `json:"count"`
}

// Finding is something that is not as it should be.
type Finding struct {
	Part     string            `json:"part,omitempty"`
	Code     string            `json:"code"`
	Params   map[string]string `json:"params,omitempty"`
	DE       string            `json:"de"`
	EN       string            `json:"en"`
	Harmless bool              `json:"harmless"`
}

func finding(part, code string, params map[string]string, harmless bool) Finding {
	return Finding{Part: part, Code: code, Params: params, DE: fault.Text("de", code, params), EN: fault.Text("en", code, params), Harmless: harmless}
}

// postCheck compares Postgres, bucket and index, as far as this process has
// them.
func (s *Server) postCheck(w http.ResponseWriter, r *http.Request) error {
	v := CheckReport{Checked: []Checked{}, Findings: []Finding{}}
	a := actorOf(r)
	blobs, compared, err := s.p.Blobs.Check(r.Context(), a)
	if err != nil {
		return err
	}
	for _, f := range blobs {
		v.Findings = append(v.Findings, finding("bucket", f.Code, f.Params, false))
	}
	v.Checked = append(v.Checked, Checked{Part: "bucket", Count: int64(compared)})
	evidence, proven, err := s.p.Preservation.Check(r.Context(), a)
	if err != nil {
		return err
	}
	for _, f := range evidence {
		v.Findings = append(v.Findings, finding("evidence", f.Code, f.Params, f.Harmless))
	}
	v.Checked = append(v.Checked, Checked{Part: "evidence", Count: int64(proven)})
	if s.p.Index != nil {
		found, n, err := s.p.Index.Check(r.Context(), a)
		if err != nil {
			return err
		}
		for _, f := range found {
			v.Findings = append(v.Findings, finding("index", f.Code, f.Params, false))
		}
		v.Checked = append(v.Checked, Checked{Part: "index", Count: int64(n)})
	}
	return writeJSON(w, http.StatusOK, v)
}

func (s *Server) getIndex(w http.ResponseWriter, r *http.Request) error {
	st, err := s.p.Index.StateOf(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, st)
}

func (s *Server) postRebuild(w http.ResponseWriter, r *http.Request) error {
	if err := s.p.Index.Rebuild(r.Context(), actorOf(r)); err != nil {
		return err
	}
	st, err := s.p.Index.StateOf(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/v1/index")
	return writeJSON(w, http.StatusAccepted, st)
}
