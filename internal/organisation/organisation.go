// Package organisation brings a tenant into being: its units, Postkörbe, people
// and Aktenplan, from one file that an administrator keeps.
//
// Apply only adds. What is there stays as it is, so the file may be applied
// again after every addition; what ends (a role, an account, a unit) is ended
// where it is managed, with its date. internal/demo/city.yaml is a whole example.
package organisation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/rules"
)

// Organisation is the file.
type Organisation struct {
	Tenant   Tenant   `yaml:"tenant"`
	Clearing Clearing `yaml:"clearing"`
	Units    []Unit   `yaml:"units"`
	Users    []User   `yaml:"users"`
	// Rules names a built-in set of routing rules: city or empty for none.
	Rules string `yaml:"rules"`
	// RuleSets are put in force where there is none of their name yet; offices go
	// on from them (package rules).
	RuleSets  []rules.Set `yaml:"rule_sets"`
	Aktenplan Aktenplan   `yaml:"aktenplan"`
}

// Tenant is the body (Mandant).
type Tenant struct {
	Slug  string   `yaml:"slug"` // first part of all object names, for ever
	Name  string   `yaml:"name"`
	Hosts []string `yaml:"hosts"` // host names by which a login picks it
	Zone  string   `yaml:"zone"`  // empty: Europe/Berlin
	Land  string   `yaml:"land"`  // whose public holidays count: BW, BY ... TH; empty: NW
}

// Clearing is the Postkorb for what nobody could assign; every tenant needs one.
type Clearing struct {
	Name    string   `yaml:"name"` // empty: Klaerung
	Members []string `yaml:"members"`
}

// Unit is an org unit with its Postkorb, which its clerks and heads serve.
type Unit struct {
	Code     string `yaml:"code"`
	Name     string `yaml:"name"`
	Parent   string `yaml:"parent"`
	Postkorb string `yaml:"postkorb"` // empty: none
	// Members serve the Postkorb besides the unit's clerks and heads.
	Members []string `yaml:"members"`
	// Further Postkörbe of the unit, for part of its mail.
	Further []Further `yaml:"further"`
}

// Further is a Postkorb that a unit has beside its first one.
type Further struct {
	Name string `yaml:"name"`
	// Kind is group (empty) for mail that rules send there, or clearing for what
	// routing cannot place in the unit.
	Kind    string   `yaml:"kind"`
	Members []string `yaml:"members"`
}

// User is a person or a service account. Whoever works on matters gets a
// personal Postkorb.
type User struct {
	Login   string `yaml:"login"`
	Name    string `yaml:"name"`
	Service bool   `yaml:"service"`
	// Roles are "role" in the whole tenant or "role@unit".
	Roles []string `yaml:"roles"`
}

// Aktenplan is the tree of subjects.
type Aktenplan struct {
	Title     string    `yaml:"title"`
	ValidFrom time.Time `yaml:"valid_from"`
	Einheiten []Einheit `yaml:"einheiten"`
}

// Einheit is an Aktenplaneinheit; a parent stands before its children.
type Einheit struct {
	Code           string `yaml:"code"`
	Title          string `yaml:"title"`
	Parent         string `yaml:"parent"`
	Unit           string `yaml:"unit"`
	RetentionYears int    `yaml:"retention_years"` // negative: unlimited
	DisposalType   string `yaml:"disposal_type"`   // A, B or V
	// Prefix of its Aktenzeichen, six digits follow; empty: none.
	Prefix string `yaml:"prefix"`
	// ProtectionClass closes its Akten to everybody who is not named (for example
	// "personal", "social", "tax"); empty: the rights of the unit hold.
	ProtectionClass string `yaml:"protection_class"`
	// Named are those who read and keep the Akten that stand here, where they are
	// protected.
	Named []string `yaml:"named"`
	Akten []Akte   `yaml:"akten"`
}

// Akte is one that is there from the start.
type Akte struct {
	Aktenzeichen string `yaml:"aktenzeichen"`
	Subject      string `yaml:"subject"`
}

// Clearings is what the clearing is called where the file does not say.
const Clearings = "Klaerung"

// digits of the running number of an Aktenzeichen.
const digits = 6

// Read reads the file and checks what can be checked without the database.
// Fault: organisation-invalid, with the place in the file or the name.
func Read(file []byte) (Organisation, error) {
	var o Organisation
	d := yaml.NewDecoder(bytes.NewReader(file))
	d.KnownFields(true)
	if err := d.Decode(&o); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty")
		}
		return o, invalid(err.Error())
	}
	if o.Clearing.Name == "" {
		o.Clearing.Name = Clearings
	}
	return o, o.check()
}

func invalid(what string) error {
	return fault.New("organisation-invalid", "what", strings.Join(strings.Fields(what), " "))
}

func (o Organisation) check() error {
	if o.Tenant.Slug == "" || o.Tenant.Name == "" {
		return invalid("tenant: slug, name")
	}
	if o.Rules != "" && o.Rules != "city" {
		return invalid("rules: " + o.Rules)
	}
	units, users, codes := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, u := range o.Units {
		if u.Code == "" || u.Name == "" || units[u.Code] || u.Parent != "" && !units[u.Parent] {
			return invalid("units: " + u.Code)
		}
		units[u.Code] = true
	}
	for _, p := range o.Users {
		if p.Login == "" || p.Name == "" || users[p.Login] {
			return invalid("users: " + p.Login)
		}
		users[p.Login] = true
		for _, r := range p.Roles {
			role, unit := ParseRole(r)
			if !slices.Contains(access.Roles, role) || unit != "" && !units[unit] {
				return invalid("users: " + p.Login + ": roles: " + r)
			}
		}
	}
	for _, r := range o.RuleSets {
		if r.Unit != "" && !units[r.Unit] {
			return invalid("rule_sets: " + r.Name + ": unit: " + r.Unit)
		}
	}
	if err := checkRuleSets(o.RuleSets); err != nil {
		return err
	}
	members := slices.Clone(o.Clearing.Members)
	for _, u := range o.Units {
		members = append(members, u.Members...)
		for _, f := range u.Further {
			if f.Name == "" || f.Kind != "" && f.Kind != postkorb.Group && f.Kind != postkorb.Clearing {
				return invalid("units: " + u.Code + ": further: " + f.Name)
			}
			members = append(members, f.Members...)
		}
	}
	for _, m := range members {
		if !users[m] {
			return invalid("members: " + m)
		}
	}
	for _, e := range o.Aktenplan.Einheiten {
		if e.Code == "" || codes[e.Code] || e.Parent != "" && !codes[e.Parent] || e.Unit != "" && !units[e.Unit] || !slices.Contains([]string{"A", "B", "V"}, e.DisposalType) {
			return invalid("aktenplan: einheiten: " + e.Code)
		}
		for _, n := range e.Named {
			if !users[n] || e.ProtectionClass == "" {
				return invalid("aktenplan: einheiten: " + e.Code + ": named: " + n)
			}
		}
		codes[e.Code] = true
	}
	if len(codes) > 0 && (o.Aktenplan.Title == "" || o.Aktenplan.ValidFrom.IsZero()) {
		return invalid("aktenplan: title, valid_from")
	}
	return nil
}

// ParseRole reads "role" or "role@unit"; the unit is empty for the whole tenant.
func ParseRole(s string) (access.Role, string) {
	role, unit, _ := strings.Cut(s, "@")
	return access.Role(role), unit
}

// has says that the user holds one of the roles, in the unit or ("*") anywhere.
func (p User) has(unit string, roles ...access.Role) bool {
	return slices.ContainsFunc(p.Roles, func(s string) bool {
		r, u := ParseRole(s)
		return slices.Contains(roles, r) && (unit == "*" || unit == u)
	})
}

// checkRuleSets looks at the text of the sets; their names are checked when they
// are put in force.
func checkRuleSets(sets []rules.Set) error {
	if len(sets) == 0 {
		return nil
	}
	lang, err := rules.NewLanguage()
	if err != nil {
		return err
	}
	for _, s := range sets {
		if err := s.Limits(); err != nil {
			return invalid("rule_sets: " + s.Name + ": " + err.Error())
		}
		for _, f := range lang.Check(s, nil) {
			if f.Severity == rules.Error {
				return invalid("rule_sets: " + s.Name + ": " + f.Rule + ": " + f.Text("en"))
			}
		}
	}
	return nil
}

// Services are what Apply works with.
type Services struct {
	DB         *postgres.DB
	Org        *org.Service
	Akten      *akte.Service
	Postkoerbe *postkorb.Service
	// CityRules puts the built-in rules of a city in force, in the transaction.
	CityRules func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time) error
	// InstallRules puts a rule set in force that is not there yet, in the
	// transaction.
	InstallRules func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, s rules.Set) error
	Now          func() time.Time
	// PasswordHash is what new persons begin with; empty: they cannot log in
	// until somebody sets a password.
	PasswordHash string
}

// Apply makes what is missing and gives the system actor of the tenant. The
// tenant comes first, all else is one transaction: a crash leaves all of it or
// nothing. It has no actor, as only the local administrator calls it.
func Apply(ctx context.Context, s Services, o Organisation) (access.Actor, error) {
	tenant, err := s.Org.CreateTenant(ctx, org.NewTenant{Slug: o.Tenant.Slug, Name: o.Tenant.Name, Hosts: o.Tenant.Hosts, Zone: o.Tenant.Zone, Land: o.Tenant.Land})
	if err != nil {
		return access.Actor{}, fmt.Errorf("tenant %s: %w", o.Tenant.Slug, err)
	}
	a := access.System(tenant, o.Tenant.Slug)
	return a, s.DB.InTx(ctx, tenant, func(tx pgx.Tx) error {
		r := run{Services: s, o: o, tx: tx, a: a, at: s.Now().UTC(), units: map[string]uuid.UUID{"": uuid.Nil}, people: map[string]uuid.UUID{}}
		for _, step := range []func(context.Context) error{r.organisation, r.desks, r.plan} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		if o.Rules != "" {
			if err := s.CityRules(ctx, tx, a, r.at); err != nil {
				return err
			}
		}
		for _, set := range o.RuleSets {
			if err := s.InstallRules(ctx, tx, a, r.at, set); err != nil {
				return fmt.Errorf("rule set %s: %w", set.Name, err)
			}
		}
		return nil
	})
}

// run is one Apply.
type run struct {
	Services
	o      Organisation
	tx     pgx.Tx
	a      access.Actor
	at     time.Time
	units  map[string]uuid.UUID
	people map[string]uuid.UUID
}

func (r *run) organisation(ctx context.Context) error {
	for _, u := range r.o.Units {
		id, err := r.Org.EnsureUnit(ctx, r.tx, r.a, r.at, u.Code, u.Name, r.units[u.Parent])
		if err != nil {
			return fmt.Errorf("unit %s: %w", u.Code, err)
		}
		r.units[u.Code] = id
	}
	for _, p := range r.o.Users {
		n := org.NewUser{Login: p.Login, DisplayName: p.Name, Service: p.Service}
		if !p.Service {
			n.PasswordHash = r.PasswordHash
		}
		id, err := r.Org.EnsureUser(ctx, r.tx, r.a, r.at, n)
		if err != nil {
			return fmt.Errorf("user %s: %w", p.Login, err)
		}
		r.people[p.Login] = id
		for _, s := range p.Roles {
			role, unit := ParseRole(s)
			if err := r.Org.EnsureMembership(ctx, r.tx, r.a, r.at, id, r.units[unit], role); err != nil {
				return fmt.Errorf("role of %s: %w", p.Login, err)
			}
		}
	}
	return nil
}

// desks makes the Postkörbe: one per unit, a personal one for everyone who works
// on matters, and the clearing.
func (r *run) desks(ctx context.Context) error {
	for _, u := range r.o.Units {
		members := slices.Clone(u.Members)
		for _, p := range r.o.Users {
			if p.has(u.Code, access.Clerk, access.Head) {
				members = append(members, p.Login)
			}
		}
		if u.Postkorb != "" {
			if err := r.desk(ctx, postkorb.NewPostkorb{Name: u.Postkorb, Kind: postkorb.Office, Unit: r.units[u.Code]}, members); err != nil {
				return err
			}
		}
		for _, f := range u.Further { // after the first, which is the one that numbers lead to
			if err := r.desk(ctx, postkorb.NewPostkorb{Name: f.Name, Kind: cmp.Or(f.Kind, postkorb.Group), Unit: r.units[u.Code]}, f.Members); err != nil {
				return err
			}
		}
	}
	if err := r.desk(ctx, postkorb.NewPostkorb{Name: r.o.Clearing.Name, Kind: postkorb.Clearing}, r.o.Clearing.Members); err != nil {
		return err
	}
	for _, p := range r.o.Users {
		if p.Service || !p.has("*", access.Clerk, access.Head, access.Registry) {
			continue
		}
		if err := r.desk(ctx, postkorb.NewPostkorb{Name: p.Name, Kind: postkorb.Personal, User: r.people[p.Login]}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) desk(ctx context.Context, n postkorb.NewPostkorb, members []string) error {
	id, err := r.Postkoerbe.EnsurePostkorb(ctx, r.tx, r.a, r.at, n)
	if err != nil {
		return fmt.Errorf("Postkorb %s: %w", n.Name, err)
	}
	for _, login := range members {
		if err := r.Postkoerbe.EnsureMember(ctx, r.tx, r.a, r.at, id, r.people[login]); err != nil {
			return fmt.Errorf("Postkorb %s: %s: %w", n.Name, login, err)
		}
	}
	return nil
}

func (r *run) plan(ctx context.Context) error {
	p := r.o.Aktenplan
	if len(p.Einheiten) == 0 {
		return nil
	}
	plan, err := r.Akten.EnsureAktenplan(ctx, r.tx, r.a, r.at, 1, p.Title, p.ValidFrom)
	if err != nil {
		return fmt.Errorf("Aktenplan: %w", err)
	}
	ids := map[string]uuid.UUID{"": uuid.Nil}
	for _, e := range p.Einheiten {
		id, err := r.Akten.EnsureAktenplaneinheit(ctx, r.tx, r.a, r.at, plan, akte.Einheit{
			Code: e.Code, Title: e.Title, Parent: ids[e.Parent], Unit: r.units[e.Unit], RetentionYears: e.RetentionYears, DisposalType: e.DisposalType,
			ProtectionClass: e.ProtectionClass,
		})
		if err != nil {
			return fmt.Errorf("Aktenplaneinheit %s: %w", e.Code, err)
		}
		ids[e.Code] = id
		if e.Prefix != "" {
			if _, err := r.Akten.EnsurePattern(ctx, r.tx, r.a, r.at, e.Prefix, digits, r.units[e.Unit], id); err != nil {
				return fmt.Errorf("pattern %s: %w", e.Prefix, err)
			}
		}
		for _, k := range e.Akten {
			made, err := r.Akten.EnsureAkte(ctx, r.tx, r.a, r.at, akte.NewAkte{AktenplaneinheitID: id, Aktenzeichen: k.Aktenzeichen, Subject: k.Subject})
			if err != nil {
				return fmt.Errorf("Akte %s: %w", k.Aktenzeichen, err)
			}
			for _, n := range e.Named {
				if err := r.Akten.EnsureNamed(ctx, r.tx, r.a, r.at, made, r.people[n], "named"); err != nil {
					return fmt.Errorf("Akte %s: %s: %w", k.Aktenzeichen, n, err)
				}
			}
		}
	}
	return nil
}
