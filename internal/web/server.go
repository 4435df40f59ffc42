package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/annotation"
	"evb/internal/audit"
	"evb/internal/blob"
	"evb/internal/circulation"
	"evb/internal/event"
	"evb/internal/export"
	"evb/internal/extract"
	"evb/internal/find"
	"evb/internal/indexing"
	"evb/internal/intake"
	"evb/internal/leaver"
	"evb/internal/lists"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/preservation"
	"evb/internal/process"
	"evb/internal/routing"
	"evb/internal/rules"
	"evb/internal/scan"
	"evb/internal/substitution"
	"evb/internal/telemetry"
	"evb/internal/web/ui"
)

// Parts are what the server stands on. Find and Index may be nil where a process
// has no index; their routes answer 503 part-not-running then.
type Parts struct {
	DB           *postgres.DB
	Facts        *event.Log
	Org          *org.Service
	Akten        *akte.Service
	Postkoerbe   *postkorb.Service
	Circulations *circulation.Service
	Deputies     *substitution.Service
	Annotations  *annotation.Service
	Leaver       *leaver.Service
	Rules        *rules.Service
	Routing      *routing.Service
	Processes    *process.Service
	Lists        *lists.Service
	Blobs        *blob.Service
	Intake       *intake.Service
	Scan         *scan.Service
	Extract      *extract.Service
	Find         *find.Service
	Index        *indexing.Follower
	Preservation *preservation.Service
	Export       *export.Service
	Audit        *audit.Service

	// Health lists the parts of the process for /healthz; nil: none.
	Health func(ctx context.Context) []Part
	// Ready is nil when requests can be served, for /readyz; nil: Postgres alone
	// is asked.
	Ready    func(ctx context.Context) error
	Options  Options
	Log      *slog.Logger         // nil: discarded
	Registry *prometheus.Registry // nil: no metrics
}

// Part is a part of the process as /healthz shows it.
type Part struct {
	Name  string `json:"name"`
	State string `json:"state"` // ok, degraded, down
	Note  string `json:"note,omitempty"`
	// NoteEN is the note in English.
	NoteEN string `json:"note_en,omitempty"`
}

// Options are the settings of the server. Zero values are sound.
type Options struct {
	// Version of the program, for the OpenAPI document and /healthz.
	Version string
	// PublicURL is the address people use; empty: that of each request.
	PublicURL string
	// MaxBody bounds a body that is no upload; 0: 1 MiB.
	MaxBody int64
	// MaxUpload bounds one uploaded file; 0: 200 MB.
	MaxUpload int64
	// MaxFiles bounds the files of one Dokument; 0: 100.
	MaxFiles int
	// RequestTimeout bounds a request, uploads, downloads and live updates
	// apart; 0: 30 s.
	RequestTimeout time.Duration
	// UploadTimeout bounds an upload or download; 0: 30 min.
	UploadTimeout time.Duration
	// Heartbeat is how often a quiet live update says that it lives; 0: 15 s.
	Heartbeat time.Duration
	// Secure marks cookies Secure in any case: TLS here or before us.
	Secure bool
	// TrustedProxies are believed in what they say of the client.
	TrustedProxies []netip.Prefix
	// DigestKey makes the digest of a request with an Idempotency-Key useless to
	// whoever guesses at its content. The same in all processes.
	DigestKey []byte
	// Demo shows the demo users on the login page.
	Demo bool
	// OperationOnly leaves /healthz, /readyz and /metrics as the only addresses:
	// for a process that serves neither people nor programs.
	OperationOnly bool
	Now           func() time.Time // nil: time.Now
}

func (o *Options) defaults() {
	if o.MaxBody <= 0 {
		o.MaxBody = 1 << 20
	}
	if o.MaxUpload <= 0 {
		o.MaxUpload = 200_000_000
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = 100
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = 30 * time.Second
	}
	if o.UploadTimeout <= 0 {
		o.UploadTimeout = 30 * time.Minute
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Server answers requests. Safe for concurrent use.
type Server struct {
	p       Parts
	o       Options
	log     *slog.Logger
	handler http.Handler
	metrics *metrics
	origin  *http.CrossOriginProtection
	live    *live
	openapi []byte
	ui      *ui.Pages
}

// New makes the server; it starts nothing. An invalid PublicURL and metrics
// that are registered already are errors.
func New(p Parts) (*Server, error) {
	if p.DB == nil || p.Org == nil || p.Facts == nil {
		return nil, errors.New("web: DB, Facts and Org are required")
	}
	s := &Server{p: p, o: p.Options, log: p.Log, origin: http.NewCrossOriginProtection(), live: newLive()}
	s.o.defaults()
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.o.PublicURL != "" {
		u, err := url.Parse(s.o.PublicURL)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("web: public URL %q is no address", s.o.PublicURL)
		}
		if err := s.origin.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("web: public URL: %w", err)
		}
		s.o.Secure = s.o.Secure || u.Scheme == "https"
	}
	var err error
	if s.metrics, err = newMetrics(p.Registry); err != nil {
		return nil, fmt.Errorf("web: metrics: %w", err)
	}
	s.ui = ui.New(ui.Parts{
		Akten: p.Akten, Postkoerbe: p.Postkoerbe, Lists: p.Lists, Preservation: p.Preservation, Find: p.Find, Extract: p.Extract, DB: p.DB,
		NoteRead: func(r *http.Request, record uuid.UUID) error { return s.noteRead(r, ContentRead, record) },
		Actor:    actorOf, Demo: s.o.Demo, Now: s.o.Now,
	})
	routes := s.operation()
	if !s.o.OperationOnly {
		routes = s.routes()
	}
	if s.openapi, err = openAPI(routes, s.o.Version); err != nil {
		return nil, fmt.Errorf("web: openapi: %w", err)
	}
	// The encoded path is matched, and not cleaned: a file name may hold "%2F" or
	// "..", and its use case says what is wrong with it.
	r := mux.NewRouter().SkipClean(true).UseEncodedPath()
	for _, route := range routes {
		methods := []string{route.Method}
		if route.Method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		r.Handle(route.Path, s.serve(route)).Methods(methods...)
	}
	if !s.o.OperationOnly {
		r.PathPrefix("/static/").Handler(s.serve(route{Method: "GET", Path: "/static/", Open: true, Handle: func(w http.ResponseWriter, r *http.Request) error {
			ui.Static().ServeHTTP(w, r)
			return nil
		}}))
	}
	r.NotFoundHandler = s.serve(route{Path: "none", Open: true, Handle: s.notFound})
	r.MethodNotAllowedHandler = s.serve(route{Path: "none", Open: true, Handle: s.methodNotAllowed(routes)})
	s.handler = s.outer(r)
	return s, nil
}

// Handler answers every request of the program.
func (s *Server) Handler() http.Handler { return s.handler }

// Numbered tells the live updates that the log of a tenant has grown; it is
// for event.Sequencer.OnNumbered and does not block. Without it live updates
// look for themselves every two seconds.
func (s *Server) Numbered(tenant access.Tenant, _ event.Stream, _ int64) { s.live.wake(tenant) }

// Close ends the live updates, so that a clean stop does not wait for them.
func (s *Server) Close() { s.live.close() }

func (s *Server) metricsHandler() http.Handler {
	if s.p.Registry == nil {
		return http.NotFoundHandler()
	}
	return telemetry.MetricsHandler(s.p.Registry, s.log)
}
