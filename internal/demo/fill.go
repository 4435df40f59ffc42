package demo

import (
	"context"
	_ "embed"
	"fmt"

	"evb/internal/access"
	"evb/internal/org"
	"evb/internal/organisation"
)

// Password is everyone's in the demo city.
const Password = "demo"

// ScanOperator hands the demo's batch over.
const ScanOperator = "e.wolf"

//go:embed city.yaml
var city []byte

// City is the file of the city, with the rule sets that are in force from the
// start.
func City() (organisation.Organisation, error) {
	o, err := organisation.Read(city)
	if err != nil {
		return o, fmt.Errorf("city.yaml: %w", err)
	}
	sets, err := inForce()
	o.RuleSets = append(o.RuleSets, sets...)
	return o, err
}

// Fill makes the city, or finds it, and gives the system actor of its tenant.
func Fill(ctx context.Context, s organisation.Services) (access.Actor, error) {
	o, err := City()
	if err != nil {
		return access.Actor{}, err
	}
	if s.PasswordHash, err = org.HashPassword(Password, org.DefaultHash); err != nil {
		return access.Actor{}, err
	}
	a, err := organisation.Apply(ctx, s, o)
	if err != nil {
		return a, err
	}
	// The second tenant is empty: it is there to show that nothing is shared.
	const second = "eigenbetrieb"
	if _, err := s.Org.CreateTenant(ctx, org.NewTenant{Slug: second, Name: "Eigenbetrieb (Vorführung)", Hosts: []string{second + ".localhost"}}); err != nil {
		return a, fmt.Errorf("tenant %s: %w", second, err)
	}
	return a, nil
}
