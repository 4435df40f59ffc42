package access

import (
	"slices"

	"github.com/google/uuid"
)

// Tenant is the number of a tenant in the database (tenant.id).
type Tenant int32

// Role is what a person may do in a unit, or in the whole tenant.
type Role string

// The roles (membership.role).
const (
	Clerk           Role = "clerk"
	Head            Role = "head"
	Registry        Role = "registry"
	RecordsManager  Role = "records_manager"
	ScanOperator    Role = "scan_operator"
	QualityChecker  Role = "quality_checker"
	Auditor         Role = "auditor"
	Administrator   Role = "administrator"
	Reader          Role = "reader" // reads the whole tenant or unit, writes nothing
	ProcessDesigner Role = "process_designer"
	Service         Role = "service"
)

// Roles are all there are.
var Roles = []Role{
	Clerk, Head, Registry, RecordsManager, ScanOperator, QualityChecker, Auditor, Administrator, Reader, ProcessDesigner, Service,
}

// Membership is a role in a unit; Unit is the nil UUID for the whole tenant.
type Membership struct {
	Unit uuid.UUID
	Role Role
}

// Actor is who acts, for whom, and by what means. It is an argument of every
// use case, so that forgetting it does not compile. Rights are not read from
// it: they are asked of the database in the same statement (Sees).
type Actor struct {
	Tenant      Tenant
	TenantSlug  string // first part of object names
	User        uuid.UUID
	Login       string
	DisplayName string
	OnBehalfOf  uuid.UUID // nil UUID: for oneself
	Capacity    string    // Substitute, or empty
	Via         string    // session:<id>, token:<id>, system
	RequestID   string
	Memberships []Membership // as of the start of the request
	Deputy      bool         // stands in for somebody now: then it is asked for whom each act is (SQLForWhom)
}

// Substitute is the capacity of a deputy.
const Substitute = "substitute"

// Behalf is the actor as the deputy of an absent person: what is written down
// then shows both.
func (a Actor) Behalf(absent uuid.UUID) Actor {
	a.OnBehalfOf, a.Capacity = absent, Substitute
	return a
}

// Has reports whether the actor holds one of the roles anywhere.
func (a Actor) Has(roles ...Role) bool {
	return slices.ContainsFunc(a.Memberships, func(m Membership) bool { return slices.Contains(roles, m.Role) })
}

// HasIn reports whether the actor holds one of the roles in the unit or
// tenant-wide.
func (a Actor) HasIn(unit uuid.UUID, roles ...Role) bool {
	return slices.ContainsFunc(a.Memberships, func(m Membership) bool {
		return (m.Unit == unit || m.Unit == uuid.Nil) && slices.Contains(roles, m.Role)
	})
}

// Units gives the units in which the actor has any role, without the tenant.
func (a Actor) Units() []uuid.UUID {
	var out []uuid.UUID
	for _, m := range a.Memberships {
		if m.Unit != uuid.Nil && !slices.Contains(out, m.Unit) {
			out = append(out, m.Unit)
		}
	}
	return out
}

// SystemUser is the user that background work of a tenant acts as. Its row is
// made with the tenant; it cannot log in.
var SystemUser = uuid.MustParse("00000000-0000-7000-8000-000000000001")

// System is the actor of background work in a tenant.
func System(t Tenant, slug string) Actor {
	return Actor{Tenant: t, TenantSlug: slug, User: SystemUser, Login: "system", DisplayName: "System", Via: "system"}
}
