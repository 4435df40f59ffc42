package app

import (
	"context"
	"fmt"
	"time"

	"evb/internal/access"
	"evb/internal/job"
	"evb/internal/org"
	"evb/internal/postgres"
)

// watchEvery is how often the watched folder is looked at.
const watchEvery = 5 * time.Second

// watches says that this process takes what lies in the watched folder: one
// that works on intake.
func (a *App) watches() bool {
	if a.o.Config.Intake.WatchDir == "" {
		return false
	}
	for _, q := range a.o.Roles.Queues {
		if q == job.Intake {
			return true
		}
	}
	return false
}

// watch takes batch folders as the configured user until ctx ends. Several
// processes may watch one folder: a batch is known by its id and index.
func (a *App) watch(ctx context.Context) error {
	tenants, err := a.Org.Tenants(ctx)
	if err != nil {
		return err
	}
	in, want := a.o.Config.Intake, a.o.Config.Tenant.Default
	for _, t := range tenants {
		if want != "" && t.Slug != want {
			continue
		}
		actor, err := a.actor(ctx, t.ID, in.WatchUser)
		if err != nil {
			return fmt.Errorf("intake.watch_user: %w", err)
		}
		return a.scan.Watch(ctx, actor, in.WatchDir, watchEvery)
	}
	return fmt.Errorf("intake.watch_dir: there is no tenant %q", want)
}

// actor is a user of a tenant without a session.
func (a *App) actor(ctx context.Context, tenant access.Tenant, login string) (actor access.Actor, err error) {
	err = a.db.Read(ctx, tenant, func(q postgres.Querier) error {
		actor, err = org.ActorOf(ctx, q, tenant, login, a.o.Now().UTC())
		return err
	})
	return actor, err
}
