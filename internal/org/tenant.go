package org

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/calendar"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// NewTenant is a body that shares nothing with others.
type NewTenant struct {
	Slug  string   // first part of object names: a-z, 0-9, hyphen; for ever
	Name  string   // for people
	Hosts []string // host names by which a login picks it
	Zone  string   // IANA name; empty: Europe/Berlin
	Land  string   // whose public holidays count, as in ISO 3166-2:DE; empty: NW
}

const (
	sqlCreateTenant = `
    INSERT INTO tenant (id, slug, name, hosts, zone, settings)
    VALUES ($1, $2, $3, $4, coalesce(nullif($5, ''), 'Europe/Berlin'), jsonb_strip_nulls(jsonb_build_object('land', nullif($6, ''))))`
	sqlCreateSystemUser = `
    INSERT INTO app_user (tenant, id, login, display_name, kind) VALUES (evb_tenant(), $1, 'system', 'System', 'service')
    ON CONFLICT DO NOTHING`
	sqlCreateUnfiledScope = `
    INSERT INTO access_scope (tenant, id, kind) VALUES (evb_tenant(), '00000000-0000-7000-8000-000000000002', 'unfiled')
    ON CONFLICT DO NOTHING`
)

// CreateTenant makes a tenant with its system user, or finds the one of that
// slug. It has no actor: only the local administrator of the installation
// calls it, before anybody can log in. A crash leaves all of it or nothing.
func (s *Service) CreateTenant(ctx context.Context, n NewTenant) (access.Tenant, error) {
	if _, err := calendar.New(n.Land, time.UTC); err != nil {
		return 0, err
	}
	for {
		all, err := s.db.Tenants(ctx)
		if err != nil {
			return 0, err
		}
		next := access.Tenant(1)
		for _, t := range all {
			if t.Slug == n.Slug {
				return t.ID, s.db.InTx(ctx, t.ID, func(tx pgx.Tx) error { return ownRows(ctx, tx) })
			}
			next = max(next, t.ID+1)
		}
		err = s.db.InTx(ctx, next, func(tx pgx.Tx) error {
			hosts := n.Hosts
			if hosts == nil {
				hosts = []string{}
			}
			if _, err := tx.Exec(ctx, sqlCreateTenant, next, n.Slug, n.Name, hosts, n.Zone, n.Land); err != nil {
				return err
			}
			return ownRows(ctx, tx)
		})
		switch postgres.Constraint(err) {
		case "tenant_pkey", "tenant_slug_key": // somebody was faster: look again
			continue
		case "tenant_slug_check":
			return 0, fault.New("tenant-slug-invalid", "slug", n.Slug)
		}
		if err != nil {
			return 0, fmt.Errorf("create tenant %s: %w", n.Slug, err)
		}
		s.known.forget()
		return next, nil
	}
}

func ownRows(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, sqlCreateSystemUser, access.SystemUser); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, sqlCreateUnfiledScope)
	return err
}

// tenantsAge is how long a request may go by tenants that were read before. A
// tenant is made a few times in the life of an installation, and asked for by
// every request.
const tenantsAge = time.Second

// tenants are those last read. Safe for concurrent use.
type tenants struct {
	mu   sync.Mutex
	all  []postgres.TenantRow
	read time.Time // of the clock of the machine: it is about age
}

func (k *tenants) list(ctx context.Context, db *postgres.DB) ([]postgres.TenantRow, error) {
	k.mu.Lock()
	all, fresh := k.all, time.Since(k.read) < tenantsAge
	k.mu.Unlock()
	if fresh && len(all) > 0 {
		return all, nil
	}
	start := time.Now()
	all, err := db.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.all, k.read = all, start
	k.mu.Unlock()
	return all, nil
}

func (k *tenants) forget() {
	k.mu.Lock()
	k.read = time.Time{}
	k.mu.Unlock()
}

// TenantByHost picks the tenant of a request: the one that names the host
// (port and case do not matter), else that of Options.Tenant, else the only
// one. With several tenants and no match it is 0 without an error: the
// login then takes the first tenant that knows the name (decisions 3.1).
func (s *Service) TenantByHost(ctx context.Context, host string) (access.Tenant, error) {
	all, err := s.known.list(ctx, s.db)
	if err != nil {
		return 0, err
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, t := range all {
		if slices.ContainsFunc(t.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
			return t.ID, nil
		}
	}
	for _, t := range all {
		if t.Slug == s.tenant {
			return t.ID, nil
		}
	}
	switch len(all) {
	case 0:
		return 0, fault.New("no-tenant")
	case 1:
		return all[0].ID, nil
	}
	return 0, nil
}

// candidates gives the tenants to look in: the one named, or all.
func (s *Service) candidates(ctx context.Context, tenant access.Tenant) ([]access.Tenant, error) {
	if tenant != 0 {
		return []access.Tenant{tenant}, nil
	}
	all, err := s.db.Tenants(ctx)
	out := make([]access.Tenant, len(all))
	for i, t := range all {
		out[i] = t.ID
	}
	return out, err
}
