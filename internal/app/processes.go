package app

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/demo"
	"evb/internal/fault"
	"evb/internal/process"
	"evb/internal/rules"
)

// demoProcess stores and activates the demo's process, or finds it.
func (a *App) demoProcess(ctx context.Context, system access.Actor) error {
	d, err := a.processes.Newest(ctx, system, demo.ProcessKey)
	switch {
	case err == nil && d.Activation == nil && d.Version == 1: // killed between the two
		_, err = a.processes.Activate(ctx, system, d.ID, bpmn.Activation{})
		return err
	case err == nil || !fault.Is(err, "not-found"):
		return err
	}
	d, _, err = a.processes.Store(ctx, system, process.NewDefinition{File: demo.Process(), FileName: "gewerbemeldung.bpmn"})
	if err != nil {
		return err
	}
	_, err = a.processes.Activate(ctx, system, d.ID, bpmn.Activation{})
	return err
}

// startProcess is rules.Options.StartProcess: a name (key, name or id of an
// active definition), or {"name": ..., "variables": {...}}.
func (a *App) startProcess(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, s rules.Start) (uuid.UUID, error) {
	var spec struct {
		Name      string         `json:"name"`
		ID        string         `json:"id"`
		Variables map[string]any `json:"variables"`
	}
	if json.Unmarshal(s.Spec, &spec.Name) != nil {
		if err := json.Unmarshal(s.Spec, &spec); err != nil {
			return uuid.Nil, fault.Wrap(err, "rules-invalid", "what", err.Error())
		}
	}
	if spec.Name == "" {
		spec.Name = spec.ID
	}
	return a.processes.StartFor(ctx, tx, actor, at, s.Dokument, spec.Name, spec.Variables)
}
