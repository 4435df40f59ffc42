package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/client"
	"evb/internal/config"
	"evb/internal/demo"
	"evb/internal/job"
	"evb/internal/org"
	"evb/internal/organisation"
)

// UpOptions are those of `evb up`.
type UpOptions struct {
	Config   config.Config
	Demo     bool
	Version  string
	Log      *slog.Logger
	Registry *prometheus.Registry
	// Ready is called when all parts answer.
	Ready func(url string) error
}

// localAdmin is the account of whoever has the data folder.
const localAdmin = "betrieb"

// Up runs a whole installation on one machine in the folder Config.Local.Dir
// until ctx ends. A process that was killed left nothing that a new Up would
// not go on with.
func Up(ctx context.Context, o UpOptions) (err error) {
	dir, err := filepath.Abs(o.Config.Local.Dir)
	if err != nil {
		return err
	}
	// Said before the stack comes up for nothing.
	probe, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Config.HTTP.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.Config.HTTP.Addr, err)
	}
	if err := probe.Close(); err != nil {
		return err
	}
	local, err := StartLocal(ctx, o.Config, o.Log)
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 90*time.Second)
		defer cancel()
		err = errors.Join(err, local.Stop(stop))
	}()
	node, err := nodeName(dir)
	if err != nil {
		return err
	}
	cfg := o.Config
	if cfg.Search.Dir == "" {
		cfg.Search.Dir = filepath.Join(dir, "index")
	}
	if cfg.Intake.SpoolDir == "" {
		cfg.Intake.SpoolDir = filepath.Join(dir, "spool")
	}
	if cfg.Intake.UploadDir == "" {
		cfg.Intake.UploadDir = filepath.Join(dir, "uploads")
	}
	if cfg.Tools.CacheDir == "" {
		cfg.Tools.CacheDir = filepath.Join(dir, "cache")
	}
	if cfg.Intake.WatchDir == "" {
		cfg.Intake.WatchDir, cfg.Intake.WatchUser = filepath.Join(dir, "eingang"), localAdmin
		if o.Demo {
			cfg.Intake.WatchUser = demo.ScanOperator
		}
		if err := os.MkdirAll(cfg.Intake.WatchDir, 0o755); err != nil { //nolint:gosec // scanners write there
			return err
		}
	}
	var accounting *demo.Accounting
	if o.Demo {
		if accounting, err = demo.StartAccounting(ctx, filepath.Join(dir, "kasse"), o.Log); err != nil {
			return err
		}
		cfg.Processes.Webhooks = append(slices.Clone(cfg.Processes.Webhooks), accounting.Origin())
		defer func() { err = errors.Join(err, accounting.Close(context.WithoutCancel(ctx))) }()
	}
	a, err := Open(ctx, Options{
		Config: cfg, Places: local.Places(), Node: node, Demo: o.Demo, Version: o.Version, Log: o.Log, Registry: o.Registry,
		Roles: Roles{Web: true, Index: true, Queues: []job.Queue{job.Interactive, job.Intake, job.Bulk, job.Renewal, job.Hostile}},
	})
	if err != nil {
		return err
	}
	defer a.Close()
	tenant, err := a.setUp(ctx, o.Demo)
	if err != nil {
		return err
	}
	token, err := a.localToken(ctx, dir, tenant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.RemoveServerFile(dir)) }()
	return a.Run(ctx, func(url string) error {
		if err := client.WriteServerFile(dir, client.ServerFile{URL: url, AdminToken: token, PID: os.Getpid()}); err != nil {
			return err
		}
		if o.Demo {
			if err := a.demoWays(ctx, tenant, accounting); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			if err := a.demoBatch(ctx, dir, tenant); err != nil {
				return fmt.Errorf("demo batch: %w", err)
			}
		}
		return o.Ready(url)
	})
}

// setUp makes the demo city, or else one tenant to begin with, and the local
// administrator.
func (a *App) setUp(ctx context.Context, withDemo bool) (access.Actor, error) {
	system, err := a.beginning(ctx, withDemo)
	if err != nil {
		return system, err
	}
	err = a.db.InTx(ctx, system.Tenant, func(tx pgx.Tx) error {
		at := a.o.Now().UTC()
		id, err := a.Org.EnsureUser(ctx, tx, system, at, org.NewUser{Login: localAdmin, DisplayName: "Betrieb (auf dieser Maschine)", Service: true})
		if err != nil {
			return err
		}
		// Whoever has the data folder can read its files anyway; with the role
		// every reading stands in the access log.
		for _, role := range []access.Role{access.Administrator, access.Reader} {
			if err := a.Org.EnsureMembership(ctx, tx, system, at, id, uuid.Nil, role); err != nil {
				return err
			}
		}
		return nil
	})
	return system, err
}

// beginning is the tenant that the local administrator belongs to. An empty
// installation without the demo begins with a tenant that has a clearing and
// nothing else; `evb tenant apply` adds to it.
func (a *App) beginning(ctx context.Context, withDemo bool) (access.Actor, error) {
	if withDemo {
		return demo.Fill(ctx, a.organisation())
	}
	tenants, err := a.Org.Tenants(ctx)
	if err != nil {
		return access.Actor{}, err
	}
	if len(tenants) > 0 {
		return access.System(tenants[0].ID, tenants[0].Slug), nil
	}
	return organisation.Apply(ctx, a.organisation(), organisation.Organisation{
		Tenant:   organisation.Tenant{Slug: "stadt", Name: "Stadt", Zone: a.o.Config.Tenant.Zone},
		Clearing: organisation.Clearing{Name: organisation.Clearings},
	})
}

// localToken is the token of the local administrator: that of the run before
// while it works, else a new one.
func (a *App) localToken(ctx context.Context, dir string, system access.Actor) (string, error) {
	if old, err := client.ReadServerFile(dir); err == nil {
		if _, err := a.Org.ActorByToken(ctx, system.Tenant, old.AdminToken); err == nil {
			return old.AdminToken, nil
		}
	}
	t, err := a.Org.CreateToken(ctx, system, localAdmin, "evb up", 0)
	return t.Secret, err
}

// demoBatch hands the demo's scan batch over as the scan operator would. A
// repeated call finds it there.
func (a *App) demoBatch(ctx context.Context, dir string, system access.Actor) error {
	box := filepath.Join(dir, "demo-batch")
	if err := demo.WriteBatch(box); err != nil {
		return err
	}
	operator, err := a.actor(ctx, system.Tenant, demo.ScanOperator)
	if err != nil {
		return err
	}
	_, err = a.scan.HandOver(ctx, operator, box)
	return err
}
