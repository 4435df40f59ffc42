package app

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/config"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/leaver"
	"evb/internal/org"
	"evb/internal/organisation"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/routing"
	"evb/internal/rules"
)

// Admin is what the local administrator may do to an installation: whoever has
// its configuration, and so its database, needs no account for it. It talks to
// Postgres alone.
type Admin struct {
	app App
}

// OpenAdmin connects.
func OpenAdmin(ctx context.Context, cfg config.Config, log *slog.Logger) (*Admin, error) {
	dsn, err := cfg.Postgres.ConnString()
	if err != nil {
		return nil, err
	}
	db, err := postgres.Open(ctx, dsn, postgres.Options{AppName: "evb admin", Connect: cfg.Postgres.ConnectTimeout})
	if err != nil {
		return nil, err
	}
	facts := event.NewLog(nil, nil)
	desks := postkorb.New(db, facts, postkorb.Options{})
	sets, err := rules.New(db, facts, rules.Options{Log: log})
	if err != nil {
		db.Close()
		return nil, err
	}
	return &Admin{App{
		o: Options{Config: cfg, Log: log, Now: time.Now}, log: log, db: db, facts: facts,
		Org: org.New(db, facts, org.Options{}), akten: akte.New(db, facts, akte.Options{}), postkoerbe: desks,
		rules: sets, routing: routing.New(db, facts, nil, desks, routing.Options{Log: log, Rules: sets}),
	}}, nil
}

// Close ends the connection.
func (m *Admin) Close() { m.app.db.Close() }

// Apply makes what the organisation has and the installation lacks.
func (m *Admin) Apply(ctx context.Context, o organisation.Organisation) error {
	if o.Tenant.Zone == "" {
		o.Tenant.Zone = m.app.o.Config.Tenant.Zone
	}
	_, err := organisation.Apply(ctx, m.app.organisation(), o)
	return err
}

// SetPassword gives a person a password, for the first time or anew.
func (m *Admin) SetPassword(ctx context.Context, tenant, login, password string) error {
	a, u, err := m.user(ctx, tenant, login)
	if err != nil {
		return err
	}
	return m.app.Org.SetPassword(ctx, a, u.ID, password)
}

// DisableUser locks a user out, and says in the log how much open work is left
// with the user, to be moved.
func (m *Admin) DisableUser(ctx context.Context, tenant, login string) error {
	a, u, err := m.user(ctx, tenant, login)
	if err != nil {
		return err
	}
	if err := m.app.Org.DisableUser(ctx, a, u.ID); err != nil {
		return err
	}
	return m.app.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		left, err := leaver.Count(ctx, q, m.app.o.Now(), u.ID)
		if err == nil && left.Total() > 0 {
			m.app.log.WarnContext(ctx, "the user is locked out and has open work: move it", "user", login,
				"items", left.Items, "follow_ups", left.FollowUps, "steps", left.Steps, "substitutions", left.Substitutions)
		}
		return err
	})
}

// EndRole takes a role from a user, written as in the organisation's file.
func (m *Admin) EndRole(ctx context.Context, tenant, login, role string) error {
	a, u, err := m.user(ctx, tenant, login)
	if err != nil {
		return err
	}
	name, code := organisation.ParseRole(role)
	unit := org.Unit{}
	if code != "" {
		err = m.app.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
			unit, err = org.UnitByCode(ctx, q, code)
			return err
		})
		if err != nil {
			return err
		}
	}
	return m.app.Org.EndMembership(ctx, a, u.ID, unit.ID, name)
}

// user is a user of a tenant, beside the tenant's system actor.
func (m *Admin) user(ctx context.Context, tenant, login string) (a access.Actor, u org.User, err error) {
	if a, err = m.tenant(ctx, tenant); err != nil {
		return a, u, err
	}
	err = m.app.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		u, err = org.UserByLogin(ctx, q, login)
		return err
	})
	return a, u, err
}

// Token makes an API token for a user. ttl 0: without end.
func (m *Admin) Token(ctx context.Context, tenant, login, label string, ttl time.Duration) (string, error) {
	a, err := m.tenant(ctx, tenant)
	if err != nil {
		return "", err
	}
	t, err := m.app.Org.CreateToken(ctx, a, login, label, ttl)
	return t.Secret, err
}

// tenant is the system actor of a tenant: of the one named, that of the
// configuration, or the only one.
func (m *Admin) tenant(ctx context.Context, slug string) (access.Actor, error) {
	if slug == "" {
		slug = m.app.o.Config.Tenant.Default
	}
	all, err := m.app.db.Tenants(ctx)
	if err != nil {
		return access.Actor{}, err
	}
	if len(all) == 0 {
		return access.Actor{}, fault.New("no-tenant")
	}
	var known []string
	for _, t := range all {
		if t.Slug == slug || slug == "" && len(all) == 1 {
			return access.System(t.ID, t.Slug), nil
		}
		known = append(known, t.Slug)
	}
	return access.Actor{}, fault.New("tenant-unknown", "slug", slug, "known", strings.Join(known, ", "))
}

// organisation is what brings tenants into being.
func (a *App) organisation() organisation.Services {
	return organisation.Services{
		DB: a.db, Org: a.Org, Akten: a.akten, Postkoerbe: a.postkoerbe, Now: a.o.Now,
		CityRules: func(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time) error {
			_, err := a.routing.EnsureRules(ctx, tx, actor, at, routing.CityRules())
			return err
		},
		InstallRules: a.rules.Install,
	}
}
