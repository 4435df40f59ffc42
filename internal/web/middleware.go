package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/telemetry"
	"evb/internal/web/problem"
)

// Cookies of the session: with TLS the name binds it to this host.
const (
	cookieName       = "evb_session"
	cookieNameSecure = "__Host-evb_session"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	problems *prometheus.CounterVec
}

func newMetrics(reg *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_http_requests_total", Help: "Answered requests."}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "evb_http_request_duration_seconds", Help: "Time until the answer was written.", Buckets: telemetry.DurationBuckets}, []string{"method", "route"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_http_problems_total", Help: "Answers that are problems, by code."}, []string{"code"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.problems} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// state of a request, filled on its way in and read by the log line.
type state struct {
	id     string
	route  string
	actor  access.Actor
	tenant access.Tenant // of the host; 0: any
	secret string        // of the session cookie, when that signed it in
	code   string
	err    error
}

type stateKey struct{}

func stateOf(r *http.Request) *state {
	st, ok := r.Context().Value(stateKey{}).(*state)
	if !ok {
		return &state{id: uuid.Nil.String()}
	}
	return st
}

// actorOf is who is signed in; the zero actor on open routes.
func actorOf(r *http.Request) access.Actor { return stateOf(r).actor }

// recorder remembers status and size of the answer.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// csp allows our own files only (no script is needed for any task).
const csp = "default-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// outer is what every request goes through: its id, the headers of the answer,
// the panic guard, one line in the log and the metrics.
func (s *Server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		st := &state{id: uuid.Must(uuid.NewV7()).String(), route: "none"}
		ctx := telemetry.WithRequestID(r.Context(), st.id)
		ctx = context.WithValue(ctx, stateKey{}, st)
		r = r.WithContext(ctx)
		rec := &recorder{ResponseWriter: w}
		h := w.Header()
		h.Set("X-Request-Id", st.id)
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if s.secure(r) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		defer s.finish(rec, r, st, start)
		next.ServeHTTP(rec, r)
	})
}

// finish answers a panic, and writes the request's line and figures.
func (s *Server) finish(rec *recorder, r *http.Request, st *state, start time.Time) {
	p := recover()
	if p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the value itself is what net/http compares
		st.err = errors.New("panic")
		s.log.ErrorContext(r.Context(), "panic in a request", "panic", p, "stack", string(debug.Stack()))
		if rec.status == 0 {
			st.code = problem.Write(rec, r, st.id, st.err).Code
		}
	}
	status, level := rec.status, slog.LevelInfo
	switch {
	case status == 0 && r.Context().Err() != nil:
		status = problem.StatusClientGone
	case status == 0:
		status = http.StatusOK
	}
	switch {
	case status >= 500 || p != nil:
		level = slog.LevelError
	case status == problem.StatusClientGone:
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{
		slog.String("method", method(r)), slog.String("route", st.route), slog.Int("status", status),
		slog.Duration("duration", time.Since(start)), slog.Int64("bytes", rec.bytes), slog.String("remote", s.remote(r)),
	}
	if st.actor.User != uuid.Nil {
		attrs = append(attrs, slog.Int(telemetry.KeyTenantID, int(st.actor.Tenant)), slog.String(telemetry.KeyActorID, st.actor.User.String()))
	}
	if st.code != "" {
		attrs = append(attrs, slog.String(telemetry.KeyCode, st.code))
		s.metrics.problems.WithLabelValues(st.code).Inc()
	}
	if st.err != nil && status >= 500 {
		attrs = append(attrs, slog.Any(telemetry.KeyErr, st.err))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
	s.metrics.requests.WithLabelValues(method(r), st.route, strconv.Itoa(status)).Inc()
	s.metrics.duration.WithLabelValues(method(r), st.route).Observe(time.Since(start).Seconds())
	if p == http.ErrAbortHandler { //nolint:errorlint // as above
		panic(p) // net/http cuts the connection: the client must not take half an answer for a whole one
	}
}

// method keeps made-up methods out of the labels.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// serve is the life of a request of one route: limits, who asks, the handler,
// and what becomes of its error.
func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		st := stateOf(r)
		st.route = rt.Path
		limit, patience := s.o.MaxBody, s.o.RequestTimeout
		if rt.Class == upload {
			limit, patience = s.o.MaxUpload*int64(s.o.MaxFiles), s.o.UploadTimeout
		} else if rt.Class == download {
			patience = s.o.UploadTimeout
		}
		control := http.NewResponseController(w)
		ctx := r.Context()
		if rt.Class != events {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, patience)
			defer cancel()
			// A recorder of tests has no deadlines; the context's holds there.
			_ = control.SetReadDeadline(time.Now().Add(patience))
			_ = control.SetWriteDeadline(time.Now().Add(patience + 5*time.Second))
		} else {
			_ = control.SetReadDeadline(time.Time{})
			_ = control.SetWriteDeadline(time.Time{})
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, limit)
		}
		r = r.WithContext(ctx)
		err := s.identify(r, rt)
		switch {
		case err != nil:
		case rt.Off:
			err = fault.New("part-not-running")
		default:
			err = rt.Handle(w, r)
		}
		if err != nil {
			s.answer(w, r, rt, err)
		}
	})
}

// answer turns the error of a handler into the answer, once.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, rt route, err error) {
	st := stateOf(r)
	st.err = err
	if errors.Is(r.Context().Err(), context.Canceled) {
		return // nobody reads it; the log line says 499
	}
	if rec, ok := w.(*recorder); ok && rec.status != 0 {
		// Half of the answer is out: only cutting the connection tells the client.
		s.log.ErrorContext(r.Context(), "answer broken off", telemetry.KeyErr, err)
		panic(http.ErrAbortHandler)
	}
	if rt.Page {
		st.code = s.ui.Error(w, r, st.id, err)
		return
	}
	st.code = problem.Write(w, r, st.id, err).Code
}

// identify says who asks. A write that the cookie signs must come from our own
// pages, and so must a login.
func (s *Server) identify(r *http.Request, rt route) error {
	st := stateOf(r)
	if rt.Open && !rt.Login {
		return nil
	}
	var err error
	if st.tenant, err = s.p.Org.TenantByHost(r.Context(), r.Host); err != nil {
		return err
	}
	if rt.Login {
		return s.sameOrigin(r)
	}
	if r.Header.Get("Authorization") != "" {
		token := bearer(r)
		if token == "" {
			return fault.New("unauthenticated")
		}
		st.actor, err = s.p.Org.ActorByToken(r.Context(), st.tenant, token)
	} else if st.secret = sessionSecret(r); st.secret != "" {
		if err := s.sameOrigin(r); err != nil {
			return err
		}
		st.actor, err = s.p.Org.ActorBySession(r.Context(), st.tenant, st.secret)
	} else {
		err = fault.New("unauthenticated")
	}
	st.actor.RequestID = st.id
	return err
}

func (s *Server) sameOrigin(r *http.Request) error {
	if err := s.origin.Check(r); err != nil {
		return fault.Wrap(err, "cross-origin")
	}
	return nil
}

func sessionSecret(r *http.Request) string {
	for _, name := range []string{cookieNameSecure, cookieName} {
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			return c.Value
		}
	}
	return ""
}

// secure says whether the client speaks TLS, to us or to a proxy that we trust.
func (s *Server) secure(r *http.Request) bool {
	return s.o.Secure || r.TLS != nil || s.fromProxy(r) && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func (s *Server) fromProxy(r *http.Request) bool {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && s.trusted(addr.Addr())
}

func (s *Server) trusted(addr netip.Addr) bool {
	for _, p := range s.o.TrustedProxies {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// remote is the client's address: the last one in X-Forwarded-For that is no
// proxy of ours, when a trusted proxy says so.
func (s *Server) remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !s.fromProxy(r) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return host
		}
		host = addr.String()
		if !s.trusted(addr) {
			return host
		}
	}
	return host
}

func (s *Server) notFound(http.ResponseWriter, *http.Request) error {
	return fault.New("route-not-found")
}

// bearer is the token of the Authorization header; empty for another scheme.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// methodNotAllowed names the methods that an address has.
func (s *Server) methodNotAllowed(routes []route) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var allowed []string
		for _, rt := range routes {
			if !slices.Contains(allowed, rt.Method) && rt.matches(r.URL.EscapedPath()) {
				allowed = append(allowed, rt.Method)
			}
		}
		slices.Sort(allowed)
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return fault.New("method-not-allowed", "method", method(r), "allowed", strings.Join(allowed, ", "))
	}
}
