package app

import (
	"context"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/demo"
	"evb/internal/process"
)

// demoProcess stores and activates the demo's process, or finds it.
func (a *App) demoProcess(ctx context.Context, system access.Actor) error {
	all, err := a.processes.Definitions(ctx, system, uuid.Nil, 200)
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.Key != demo.ProcessKey {
			continue
		}
		if d.Activation == nil && d.Version == 1 { // killed between the two
			_, err = a.processes.Activate(ctx, system, d.ID, bpmn.Activation{})
		}
		return err
	}
	d, _, err := a.processes.Store(ctx, system, process.NewDefinition{File: demo.Process(), FileName: "gewerbemeldung.bpmn"})
	if err != nil {
		return err
	}
	_, err = a.processes.Activate(ctx, system, d.ID, bpmn.Activation{})
	return err
}
