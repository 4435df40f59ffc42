// Package aktetest builds a small town in a test database: two units with
// their people, an Aktenplan with number patterns, and Akten; and it makes
// Dokumente with blob rows of their own (without bytes, which no test of the
// e-file reads).
package aktetest

import (
	"context"
	"crypto/rand"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

// At is the moment at which the town's clock stands, if it has no other one.
var At = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// Town is a tenant with people.
type Town struct {
	DB    *postgres.DB
	Log   *event.Log
	Akten *akte.Service
	Org   *org.Service

	Bauordnung, Wohngeld uuid.UUID // units FB61, FB64
	Plan                 uuid.UUID
	EinheitBau           uuid.UUID
	EinheitWohn          uuid.UUID
	AkteBau              uuid.UUID // 61/5-BA-338202/24
	AkteWohn             uuid.UUID // 64-WG-100200/25

	// People: clerks and head of FB61, clerk of FB64, registry of both,
	// auditor and reader of the tenant, somebody without any role.
	Schulz, Koch, Yilmaz, Meier, Roth, Brandt, Lang, Nobody access.Actor

	system  access.Actor
	now     func() time.Time
	forward atomic.Int64 // nanoseconds
}

// Options change a town.
type Options struct {
	// Log takes the facts, default one from which nothing follows.
	Log *event.Log
	// Now is the clock, default one that stands at At.
	Now func() time.Time
}

// The numbers of the two Akten of the town.
const (
	NumberBau  = "61/5-BA-338202/24"
	NumberWohn = "64-WG-100200/25"
)

// New builds the town in a fresh database.
func New(t testing.TB) *Town {
	t.Helper()
	return In(t, pgtest.DB(t), pgtest.Stadt)
}

// In builds the town in a tenant of a database.
func In(t testing.TB, db *postgres.DB, tenant access.Tenant) *Town {
	t.Helper()
	w := Services(db, Options{})
	w.Settle(t, tenant)
	return w
}

// Services are the services of a town in which nobody lives yet, or of one
// that another process built.
func Services(db *postgres.DB, o Options) *Town {
	if o.Log == nil {
		o.Log = event.NewLog(nil, nil)
	}
	if o.Now == nil {
		o.Now = func() time.Time { return At }
	}
	w := &Town{DB: db, Log: o.Log, system: access.System(pgtest.Stadt, "stadt"), now: o.Now}
	w.Akten = akte.New(db, w.Log, akte.Options{Now: w.Now})
	w.Org = org.New(db, w.Log, org.Options{Now: w.Now})
	return w
}

// Settle makes the units, people and Akten of the town.
func (w *Town) Settle(t testing.TB, tenant access.Tenant) {
	t.Helper()
	system, err := w.DB.SystemActor(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	w.system = system
	since := At.AddDate(-1, 0, 0)
	w.Tx(t, tenant, func(tx pgx.Tx) error {
		ctx := t.Context()
		var err error
		unit := func(code, name string) (id uuid.UUID) {
			if err == nil {
				id, err = w.Org.EnsureUnit(ctx, tx, system, since, code, name, uuid.Nil)
			}
			return id
		}
		w.Bauordnung, w.Wohngeld = unit("FB61", "Bauordnung"), unit("FB64", "Wohngeld")
		person := func(login, name string, role access.Role, units ...uuid.UUID) access.Actor {
			a := access.Actor{Tenant: tenant, TenantSlug: system.TenantSlug, Login: login, DisplayName: name, Via: "test"}
			if err == nil {
				a.User, err = w.Org.EnsureUser(ctx, tx, system, since, org.NewUser{Login: login, DisplayName: name})
			}
			for _, u := range units {
				if err == nil {
					err = w.Org.EnsureMembership(ctx, tx, system, since, a.User, u, role)
					a.Memberships = append(a.Memberships, access.Membership{Unit: u, Role: role})
				}
			}
			return a
		}
		w.Schulz, w.Koch = person("a.schulz", "Anna Schulz", access.Clerk, w.Bauordnung), person("b.koch", "Bernd Koch", access.Clerk, w.Bauordnung)
		w.Yilmaz, w.Meier = person("c.yilmaz", "Cem Yilmaz", access.Head, w.Bauordnung), person("d.meier", "Dora Meier", access.Clerk, w.Wohngeld)
		w.Roth = person("g.roth", "Gerd Roth", access.Registry, w.Bauordnung, w.Wohngeld)
		w.Brandt, w.Lang = person("f.brandt", "Frida Brandt", access.Auditor, uuid.Nil), person("h.lang", "Hans Lang", access.Reader, uuid.Nil)
		w.Nobody = person("n.nobody", "Nora Niemand", "")
		if err != nil {
			return err
		}
		if w.Plan, err = w.Akten.EnsureAktenplan(ctx, tx, system, since, 1, "Aktenplan", since); err != nil {
			return err
		}
		einheit := func(code, title string, unit uuid.UUID) (id uuid.UUID) {
			if err == nil {
				id, err = w.Akten.EnsureAktenplaneinheit(ctx, tx, system, since, w.Plan, akte.Einheit{Code: code, Title: title, Unit: unit, RetentionYears: 10, DisposalType: "B"})
			}
			return id
		}
		w.EinheitBau, w.EinheitWohn = einheit("61.50", "Bauanträge", w.Bauordnung), einheit("64.10", "Wohngeld", w.Wohngeld)
		if err != nil {
			return err
		}
		if _, err := w.Akten.EnsurePattern(ctx, tx, system, since, "61/5-BA-", 6, w.Bauordnung, w.EinheitBau); err != nil {
			return err
		}
		if _, err := w.Akten.EnsurePattern(ctx, tx, system, since, "64-WG-", 6, w.Wohngeld, w.EinheitWohn); err != nil {
			return err
		}
		if w.AkteBau, err = w.Akten.EnsureAkte(ctx, tx, system, since, akte.NewAkte{AktenplaneinheitID: w.EinheitBau, Aktenzeichen: NumberBau, Subject: "Neubau Gartenstraße 3"}); err != nil {
			return err
		}
		w.AkteWohn, err = w.Akten.EnsureAkte(ctx, tx, system, since, akte.NewAkte{AktenplaneinheitID: w.EinheitWohn, Aktenzeichen: NumberWohn, Subject: "Wohngeld Familie Beispiel"})
		return err
	})
}

// Now is the town's clock.
func (w *Town) Now() time.Time { return w.now().Add(time.Duration(w.forward.Load())) }

// Pass moves the town's clock forward.
func (w *Town) Pass(d time.Duration) { w.forward.Add(int64(d)) }

// System is the actor of background work, that of Stadt where nobody lives yet.
func (w *Town) System() access.Actor { return w.system }

// Tx runs fn in a transaction and fails the test with its error.
func (w *Town) Tx(t testing.TB, tenant access.Tenant, fn func(tx pgx.Tx) error) {
	t.Helper()
	if err := w.DB.InTx(t.Context(), tenant, fn); err != nil {
		t.Fatal(err)
	}
}

const sqlBlob = `
    INSERT INTO blob (tenant, id, sha256, size, state, created_at) VALUES (evb_tenant(), $1, $2, 100, 'present', $3)`

// Blob makes a blob row without bytes.
func Blob(ctx context.Context, tx pgx.Tx) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, err
	}
	name := make([]byte, 32)
	_, _ = rand.Read(name)
	_, err = tx.Exec(ctx, sqlBlob, id, name, At)
	return id, err
}

// Draft is a new Dokument with one file, ready for InsertDokumente.
func Draft(t testing.TB, tx pgx.Tx, subject string) akte.NewDokument {
	t.Helper()
	blob, err := Blob(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	return akte.NewDokument{
		ID: uuid.Must(uuid.NewV7()), VersionID: uuid.Must(uuid.NewV7()), State: akte.Captured, Channel: akte.ChannelScan, Subject: subject,
		ReceivedOn: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
		Files:      []akte.NewFile{{Blob: blob, Name: "brief.pdf", MediaType: "application/pdf", Pages: 2}},
	}
}

// Dokument inserts an unfiled Dokument as the system.
func (w *Town) Dokument(t testing.TB, subject string) akte.NewDokument {
	t.Helper()
	var d akte.NewDokument
	w.Tx(t, w.Schulz.Tenant, func(tx pgx.Tx) error {
		d = Draft(t, tx, subject)
		return w.Akten.InsertDokumente(t.Context(), tx, w.System(), w.Now(), d)
	})
	return d
}
