package process

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/bpmn/run"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// Migration moves instances to another definition by a plan.
type Migration struct {
	To    uuid.UUID         // definition, which is active
	Nodes map[string]string // ids of the old file to those of the new one; what is not in it stays
	// Process is the id of the process in the new file; empty: of the same id, else the main one.
	Process string
	Reason  string
}

// Obstacle says why an instance stays where it is.
type Obstacle struct {
	InstanceID uuid.UUID `json:"instance_id"`
	Token      int       `json:"token"`
	Element    string    `json:"element"`
	Reason     string    `json:"reason"`
}

// MigrationReport says what a migration in bulk did, or would do.
type MigrationReport struct {
	Applied   bool       `json:"applied"`
	Instances int        `json:"instances"` // that run in the old definition
	Moved     int        `json:"moved"`     // or would move
	Obstacles []Obstacle `json:"obstacles"`
}

const sqlRunning = `
    SELECT id FROM process_instance WHERE tenant = evb_tenant() AND definition_id = $1 AND state = 'running' ORDER BY id`

// Migrate moves one instance. Faults: not-found, process-designer-only,
// stale-version, process-ended, process-not-active, process-migration-refused
// with a field for each obstacle.
func (s *Service) Migrate(ctx context.Context, a access.Actor, id uuid.UUID, m Migration, ifVersion int64) (Instance, error) {
	if err := designs(a); err != nil {
		return Instance{}, err
	}
	return s.act(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, h *held) error {
		against, err := s.move(ctx, tx, a, at, h, m)
		if err != nil || len(against) == 0 {
			return err
		}
		f := fault.New("process-migration-refused", "count", len(against))
		for _, o := range against {
			f = f.With("/nodes/"+o.Element, "process-obstacle", "element", o.Element, "reason", o.Reason)
		}
		return f
	})
}

// MigrateAll moves all running instances of a definition, each in a transaction
// of its own; without apply it only says what would happen. Faults: not-found,
// process-designer-only, process-not-active.
func (s *Service) MigrateAll(ctx context.Context, a access.Actor, from uuid.UUID, m Migration, apply bool) (MigrationReport, error) {
	r := MigrationReport{Applied: apply, Obstacles: []Obstacle{}}
	if err := designs(a); err != nil {
		return r, err
	}
	var all []uuid.UUID
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if _, err := s.definition(ctx, q, sqlDefinitionByID, from); err != nil {
			return err
		}
		var err error
		all, err = ids(ctx, q, sqlRunning, from)
		return err
	})
	if err != nil {
		return r, err
	}
	for _, id := range all {
		var against []Obstacle
		err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
			at := s.now()
			h, err := s.hold(ctx, tx, a, at, id)
			if err != nil || h.state.Status != run.Running || h.definition != from {
				return err
			}
			if against, err = s.move(ctx, tx, a, at, h, m); err != nil || len(against) > 0 || apply {
				return err
			}
			return errOnlyLooking
		})
		switch {
		case err == errOnlyLooking: //nolint:errorlint // ours, unwrapped
		case err != nil:
			return r, err
		}
		r.Instances++
		if len(against) == 0 {
			r.Moved++
		}
		r.Obstacles = append(r.Obstacles, against...)
	}
	return r, nil
}

var errOnlyLooking = fmt.Errorf("rolled back: nothing was to be changed")

func (s *Service) move(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, h *held, m Migration) ([]Obstacle, error) {
	var activation *uuid.UUID
	var key string
	err := tx.QueryRow(ctx, sqlActivation, m.To).Scan(&activation, &key)
	switch {
	case missing(err):
		return nil, fault.New("not-found")
	case err != nil:
		return nil, fmt.Errorf("migrate: %w", err)
	case activation == nil:
		return nil, fault.New("process-not-active")
	}
	plan, err := s.plan(ctx, tx, *activation)
	if err != nil {
		return nil, err
	}
	process := m.Process
	if process == "" {
		if process = h.state.Process; plan.Model.Process(process) == nil {
			process = plan.Model.Main().ID
		}
	}
	o, err := options(ctx, tx, at)
	if err != nil {
		return nil, err
	}
	r, obstacles := run.Migrate(plan, process, h.state, m.Nodes, o)
	if len(obstacles) > 0 {
		var against []Obstacle
		for _, x := range obstacles {
			against = append(against, Obstacle{InstanceID: h.id, Token: x.Token, Element: x.Node, Reason: x.Reason})
		}
		return against, nil
	}
	from := h.definition
	h.plan, h.activation, h.definition, h.key = plan, *activation, m.To, key
	if err := s.keep(ctx, tx, a, at, h, r, m.Reason); err != nil {
		return nil, err
	}
	if err := s.log.Append(ctx, tx, a, at, h.fact(Migrated, m.Reason, map[string]any{"from": from, "to": m.To})); err != nil {
		return nil, err
	}
	return nil, s.takeArrived(ctx, tx, a, at, h)
}
