package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/demo"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/process"
	"evb/internal/substitution"
)

// FillDemo makes the city of the demo in a process that Up does not run, or
// finds it: for tests, whose parts and clock are their own.
func (a *App) FillDemo(ctx context.Context) (access.Actor, error) { return a.setUp(ctx, true) }

// DemoWays is what Up does once it answers: the ways of the demo.
func (a *App) DemoWays(ctx context.Context, system access.Actor, k *demo.Accounting) error {
	return a.demoWays(ctx, system, k)
}

// demoWays puts the ways of the demo to work by the use cases that people have.
// What an earlier start did, and what people made of it since, stays.
func (a *App) demoWays(ctx context.Context, system access.Actor, k *demo.Accounting) error {
	for _, step := range []func(context.Context, access.Actor) error{
		func(ctx context.Context, system access.Actor) error { return a.demoProcesses(ctx, system, k) }, a.demoDrafts, a.demoAbsences,
	} {
		if err := step(ctx, system); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) demoProcesses(ctx context.Context, system access.Actor, k *demo.Accounting) error {
	all, err := demo.Processes()
	if err != nil {
		return err
	}
	for _, p := range all {
		var answers bpmn.Activation
		if p.Key == demo.Invoice {
			answers.Stations = map[string]bpmn.Targets{demo.Booking: {{Webhook: k.URL()}}}
		}
		d, err := a.processes.Newest(ctx, system, p.Key)
		if fault.Is(err, "not-found") {
			d, _, err = a.processes.Store(ctx, system, process.NewDefinition{File: p.File, FileName: p.FileName})
		}
		if err != nil {
			return fmt.Errorf("process %s: %w", p.Key, err)
		}
		switch {
		case d.Version > 1: // the office's own
			continue
		case d.Activation == nil: // new, or killed between the two
		case p.Key != demo.Invoice || !a.demoMoved(d, k):
			continue
		}
		if d, err = a.processes.Activate(ctx, system, d.ID, answers); err != nil {
			return fmt.Errorf("process %s: %w", p.Key, err)
		}
		if p.Key != demo.Invoice {
			continue
		}
		if err := k.Learn(d.Activation.WebhookSecret); err != nil {
			return err
		}
		if _, err := a.processes.MigrateAll(ctx, system, d.ID, process.Migration{To: d.ID, Reason: "Kassenverfahren unter neuer Adresse"}, true); err != nil {
			return fmt.Errorf("process %s: %w", p.Key, err)
		}
	}
	return nil
}

// demoMoved says that the process calls a stand-in that is not there any more,
// or that this one does not know the secret. An address of an office's own stays.
func (a *App) demoMoved(d process.Definition, k *demo.Accounting) bool {
	return slices.ContainsFunc(d.Activation.Answers.Stations[demo.Booking], func(t bpmn.Target) bool {
		return demo.Meant(t.Webhook) && (t.Webhook != k.URL() || !k.Known())
	})
}

// demoDrafts hands in what offices have ready for a higher level.
func (a *App) demoDrafts(ctx context.Context, system access.Actor) error {
	drafts, err := demo.Drafts()
	if err != nil {
		return err
	}
	for _, d := range drafts {
		author, err := a.actor(ctx, system.Tenant, d.Author)
		if err != nil {
			return err
		}
		there, err := a.rules.Versions(ctx, author, d.Set.Name)
		if err != nil && !fault.Is(err, "not-found") {
			return fmt.Errorf("draft %s: %w", d.Set.Name, err)
		}
		id := uuid.Nil
		for _, v := range there {
			if v.CreatedBy == author.User {
				id = v.ID
			}
		}
		if id != uuid.Nil {
			continue
		}
		v, _, err := a.rules.Draft(ctx, author, d.Set, idempotency.Key{})
		if err == nil {
			_, err = a.rules.Check(ctx, author, v.ID)
		}
		if err != nil {
			return fmt.Errorf("draft %s: %w", d.Set.Name, err)
		}
	}
	return nil
}

// demoAbsences enters who stands in for whom, as the absent person would.
func (a *App) demoAbsences(ctx context.Context, system access.Actor) error {
	for _, s := range demo.Absences() {
		absent, err := a.actor(ctx, system.Tenant, s.For)
		if err != nil {
			return err
		}
		deputy, err := a.actor(ctx, system.Tenant, s.Deputy)
		if err != nil {
			return err
		}
		there, err := a.deputies.List(ctx, absent, true)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(there, func(x substitution.Substitution) bool { return x.ForID == absent.User && x.DeputyID == deputy.User }) {
			continue
		}
		n := substitution.New{For: absent.User, Deputy: deputy.User, To: s.To, Reason: s.Reason}
		err = a.db.Read(ctx, system.Tenant, func(q postgres.Querier) error {
			for _, name := range s.Postkoerbe {
				p, err := postkorb.ByName(ctx, q, name)
				if err != nil {
					return err
				}
				n.Postkoerbe = append(n.Postkoerbe, p.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if _, _, err := a.deputies.Create(ctx, absent, n); err != nil {
			return fmt.Errorf("substitution for %s: %w", s.For, err)
		}
	}
	return nil
}
