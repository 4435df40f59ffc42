package process

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/bpmn"
	"evb/internal/circulation"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/postgres"
)

// Options of New. Zero values are sound.
type Options struct {
	Now func() time.Time // nil: time.Now
	Log *slog.Logger     // nil: discarded
	// Actions are the built-in actions by name (bpmn.Actions).
	Actions map[string]Action
	// Webhooks are the addresses that a service task may call, each with scheme,
	// host and port (https://fv.example:8443). None: no webhook at all, so that no
	// drawing makes the server call what only the server can reach.
	Webhooks []string
}

// Action is a built-in action. It runs outside any transaction, at least once:
// a repeated one finds what the first has done. A fault of kind Unavailable or
// Internal is tried again, any other is the reason of a failed step.
type Action func(ctx context.Context, a access.Actor, c Call) (map[string]any, error)

// Call is what a service task wants done.
type Call struct {
	ID        uuid.UUID // the same at every try
	Instance  uuid.UUID
	Vorgang   uuid.UUID
	Element   string
	Name      string
	Variables map[string]any
	// At is when the step was reached: the same at every try.
	At time.Time
	// Letter is the template of the action "letter"; nil: the node has none.
	Letter *bpmn.Composer
}

// Service holds the use cases of processes. Safe for concurrent use.
type Service struct {
	db     *postgres.DB
	log    *event.Log
	akten  *akte.Service
	routes *circulation.Service
	jobs   *job.Client
	o      Options
	slog   *slog.Logger
	mu     sync.Mutex
	plans  map[uuid.UUID]*bpmn.Plan      // by activation
	checks map[uuid.UUID]bpmn.ReportView // by definition
	client *http.Client                  // calls webhooks
}

// New makes the service; facts go to log. circulation.Options.Completed is to be
// Completed of this service.
func New(db *postgres.DB, log *event.Log, akten *akte.Service, routes *circulation.Service, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// A redirect is not followed: it leads where nobody has allowed it.
	client := &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Service{db: db, log: log, akten: akten, routes: routes, o: o, slog: o.Log.With("part", "process"), plans: map[uuid.UUID]*bpmn.Plan{}, checks: map[uuid.UUID]bpmn.ReportView{}, client: client}
}

// Attach gives the service its queue; see event.Log.Attach. Without one, what is
// due is found by Sweep alone.
func (s *Service) Attach(jobs *job.Client) { s.jobs = jobs }

func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

func missing(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// designs is the right to store, activate and migrate.
func designs(a access.Actor) error {
	if a.User == access.SystemUser || a.Has(access.ProcessDesigner, access.Administrator) {
		return nil
	}
	return fault.New("process-designer-only")
}

func (s *Service) enqueue(ctx context.Context, tx pgx.Tx, tenant access.Tenant, items ...job.Item) error {
	if s.jobs == nil || len(items) == 0 {
		return nil
	}
	return s.jobs.Enqueue(ctx, tx, tenant, items...)
}

// maxPlans bounds the plans that are kept compiled; beyond it all are dropped.
const maxPlans = 200

const sqlPlan = `
    SELECT d.file, a.answers FROM process_activation a JOIN process_definition d ON d.tenant = a.tenant AND d.id = a.definition_id
    WHERE a.tenant = evb_tenant() AND a.id = $1`

// plan reads and compiles an activation, once: it never changes.
func (s *Service) plan(ctx context.Context, q postgres.Querier, activation uuid.UUID) (*bpmn.Plan, error) {
	s.mu.Lock()
	p := s.plans[activation]
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	var file []byte
	var answers bpmn.Activation
	if err := q.QueryRow(ctx, sqlPlan, activation).Scan(&file, &answers); err != nil {
		return nil, err
	}
	m, err := bpmn.Read(file)
	if err != nil {
		return nil, err
	}
	if p, err = bpmn.NewPlan(m, answers); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.plans) >= maxPlans {
		clear(s.plans)
	}
	s.plans[activation] = p
	return p, nil
}

// maxChecks bounds the reports that are kept; beyond it all are dropped.
const maxChecks = 500

// report is what the check of a definition's file has said: the file never changes.
func (s *Service) report(definition uuid.UUID) (bpmn.ReportView, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.checks[definition]
	return r, ok
}

func (s *Service) keepReports(made map[uuid.UUID]bpmn.ReportView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.checks)+len(made) > maxChecks {
		clear(s.checks)
	}
	maps.Copy(s.checks, made)
}
