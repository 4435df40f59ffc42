package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postkorb"
)

// Services are what Fill works with.
type Services struct {
	DB        *postgres.DB
	Org       *org.Service
	Akten     *akte.Service
	Postkorbe *postkorb.Service
	// Rules makes the built-in routing rules of a tenant, in the transaction.
	Rules func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time) error
	Now   func() time.Time
}

// Tenants of the demo.
const (
	Stadt        = "stadt"
	Eigenbetrieb = "eigenbetrieb"
)

// Fill makes the city in one transaction per tenant, or finds it. A crash
// leaves all of a tenant or nothing of it.
func Fill(ctx context.Context, s Services) (access.Actor, error) {
	tenant, err := s.Org.CreateTenant(ctx, org.NewTenant{Slug: Stadt, Name: "Stadt (Vorführung)"})
	if err != nil {
		return access.Actor{}, fmt.Errorf("tenant %s: %w", Stadt, err)
	}
	// The second one is empty: it is there to show that nothing is shared.
	if _, err := s.Org.CreateTenant(ctx, org.NewTenant{Slug: Eigenbetrieb, Name: "Eigenbetrieb (Vorführung)", Hosts: []string{"eigenbetrieb.localhost"}}); err != nil {
		return access.Actor{}, fmt.Errorf("tenant %s: %w", Eigenbetrieb, err)
	}
	a := access.System(tenant, Stadt)
	hash, err := org.HashPassword(Password, org.DefaultHash)
	if err != nil {
		return a, err
	}
	at := s.Now().UTC()
	err = s.DB.InTx(ctx, tenant, func(tx pgx.Tx) error {
		c := city{Services: s, tx: tx, a: a, at: at, units: map[string]uuid.UUID{"": uuid.Nil}, people: map[string]uuid.UUID{}}
		if err := c.organisation(ctx, hash); err != nil {
			return err
		}
		if err := c.desks(ctx); err != nil {
			return err
		}
		if err := c.plan(ctx); err != nil {
			return err
		}
		return s.Rules(ctx, tx, a, at)
	})
	return a, err
}

// city is one run of Fill.
type city struct {
	Services
	tx     pgx.Tx
	a      access.Actor
	at     time.Time
	units  map[string]uuid.UUID
	people map[string]uuid.UUID
}

func (c *city) organisation(ctx context.Context, hash string) error {
	for _, u := range units {
		id, err := c.Org.EnsureUnit(ctx, c.tx, c.a, c.at, u.code, u.name, uuid.Nil)
		if err != nil {
			return fmt.Errorf("unit %s: %w", u.code, err)
		}
		c.units[u.code] = id
	}
	for _, p := range people {
		n := org.NewUser{Login: p.login, DisplayName: p.name, Service: p.service}
		if !p.service {
			n.PasswordHash = hash
		}
		id, err := c.Org.EnsureUser(ctx, c.tx, c.a, c.at, n)
		if err != nil {
			return fmt.Errorf("user %s: %w", p.login, err)
		}
		c.people[p.login] = id
		for _, r := range p.roles {
			if err := c.Org.EnsureMembership(ctx, c.tx, c.a, c.at, id, c.units[r.unit], r.role); err != nil {
				return fmt.Errorf("role of %s: %w", p.login, err)
			}
		}
	}
	return nil
}

// desks makes the Postkörbe: one per unit for its people, a personal one for
// everyone who works on matters, and the clearing.
func (c *city) desks(ctx context.Context) error {
	for _, u := range units {
		desk, err := c.Postkorbe.EnsurePostkorb(ctx, c.tx, c.a, c.at, postkorb.NewPostkorb{Name: u.postkorb, Kind: postkorb.Office, Unit: c.units[u.code]})
		if err != nil {
			return fmt.Errorf("Postkorb %s: %w", u.postkorb, err)
		}
		served := false
		for _, p := range people {
			if p.login != registry && works(p, u.code) {
				served = true
				if err := c.Postkorbe.EnsureMember(ctx, c.tx, c.a, c.at, desk, c.people[p.login]); err != nil {
					return err
				}
			}
		}
		if !served {
			if err := c.Postkorbe.EnsureMember(ctx, c.tx, c.a, c.at, desk, c.people[registry]); err != nil {
				return err
			}
		}
	}
	desk, err := c.Postkorbe.EnsurePostkorb(ctx, c.tx, c.a, c.at, postkorb.NewPostkorb{Name: clearing, Kind: postkorb.Clearing})
	if err != nil {
		return fmt.Errorf("Postkorb %s: %w", clearing, err)
	}
	if err := c.Postkorbe.EnsureMember(ctx, c.tx, c.a, c.at, desk, c.people[registry]); err != nil {
		return err
	}
	for _, p := range people {
		if p.service || !worksAnywhere(p) {
			continue
		}
		if _, err := c.Postkorbe.EnsurePostkorb(ctx, c.tx, c.a, c.at, postkorb.NewPostkorb{Name: p.name, Kind: postkorb.Personal, User: c.people[p.login]}); err != nil {
			return fmt.Errorf("personal Postkorb of %s: %w", p.login, err)
		}
	}
	return nil
}

func works(p person, unit string) bool {
	for _, r := range p.roles {
		if r.unit == unit && (r.role == access.Clerk || r.role == access.Head) {
			return true
		}
	}
	return false
}

func worksAnywhere(p person) bool {
	for _, r := range p.roles {
		if r.role == access.Clerk || r.role == access.Head || r.role == access.Registry {
			return true
		}
	}
	return false
}

// retentionYears and disposalType of every Aktenplaneinheit of the demo.
const (
	retentionYears = 10
	disposalType   = "B"
)

func (c *city) plan(ctx context.Context) error {
	plan, err := c.Akten.EnsureAktenplan(ctx, c.tx, c.a, c.at, 1, "Aktenplan der Stadt (Vorführung)", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		return fmt.Errorf("Aktenplan: %w", err)
	}
	groups := map[string]uuid.UUID{}
	for _, u := range units {
		id, err := c.Akten.EnsureAktenplaneinheit(ctx, c.tx, c.a, c.at, plan, akte.Einheit{
			Code: u.code[2:], Title: u.name, Unit: c.units[u.code], RetentionYears: retentionYears, DisposalType: disposalType,
		})
		if err != nil {
			return fmt.Errorf("Aktenplaneinheit %s: %w", u.code, err)
		}
		groups[u.code] = id
	}
	for _, m := range matters {
		id, err := c.Akten.EnsureAktenplaneinheit(ctx, c.tx, c.a, c.at, plan, akte.Einheit{
			Code: m.code, Title: m.title, Parent: groups[m.unit], Unit: c.units[m.unit], RetentionYears: retentionYears, DisposalType: disposalType,
		})
		if err != nil {
			return fmt.Errorf("Aktenplaneinheit %s: %w", m.code, err)
		}
		if _, err := c.Akten.EnsurePattern(ctx, c.tx, c.a, c.at, m.prefix, 6, c.units[m.unit], id); err != nil {
			return fmt.Errorf("pattern %s: %w", m.prefix, err)
		}
		for _, r := range m.akten {
			if _, err := c.Akten.EnsureAkte(ctx, c.tx, c.a, c.at, akte.NewAkte{AktenplaneinheitID: id, Aktenzeichen: r.aktenzeichen, Subject: r.subject}); err != nil {
				return fmt.Errorf("Akte %s: %w", r.aktenzeichen, err)
			}
		}
	}
	return nil
}
