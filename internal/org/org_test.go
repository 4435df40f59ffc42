package org_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// cheap are the costs of passwords in tests.
var cheap = org.HashParams{Time: 1, MemoryKiB: 8, Threads: 1}

const password = "Ein langer Satz."

// office is a tenant with a unit and two people.
type office struct {
	t    *testing.T
	db   *postgres.DB
	org  *org.Service
	unit uuid.UUID // FB61
	anna uuid.UUID // a.schulz, who has the password
	bert uuid.UUID // b.koch, who has none

	mu  sync.Mutex
	now time.Time
}

func newOffice(t *testing.T, change ...func(*org.Options)) *office {
	t.Helper()
	o := &office{t: t, db: pgtest.DB(t), now: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	opts := org.Options{Now: o.clock, Hash: cheap}
	for _, f := range change {
		f(&opts)
	}
	o.org = org.New(o.db, event.NewLog(nil, nil), opts)
	hash, err := org.HashPassword(password, cheap)
	o.must(err)
	o.tx(func(tx pgx.Tx) error {
		var err error
		if o.unit, err = o.org.EnsureUnit(t.Context(), tx, o.system(), o.now, "FB61", "Bauordnung", uuid.Nil); err != nil {
			return err
		}
		if o.anna, err = o.org.EnsureUser(t.Context(), tx, o.system(), o.now, org.NewUser{Login: "a.schulz", DisplayName: "Anna Schulz", PasswordHash: hash}); err != nil {
			return err
		}
		o.bert, err = o.org.EnsureUser(t.Context(), tx, o.system(), o.now, org.NewUser{Login: "b.koch", DisplayName: "Bernd Koch"})
		return err
	})
	return o
}

func (o *office) must(err error)              { o.t.Helper(); sharedtest.Must(o.t, err) }
func (o *office) tx(fn func(tx pgx.Tx) error) { o.t.Helper(); pgtest.Tx(o.t, o.db, fn) }
func (o *office) system() access.Actor        { return access.System(pgtest.Stadt, "stadt") }
func (o *office) person(id uuid.UUID) access.Actor {
	return access.Actor{Tenant: pgtest.Stadt, User: id}
}

func (o *office) clock() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *office) pass(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

// login gives the secret, or the code of the fault.
func (o *office) login(login, pw string) (secret, code string) {
	o.t.Helper()
	secret, err := o.org.Login(o.t.Context(), pgtest.Stadt, login, pw)
	return secret, o.code(err)
}

// code is that of a fault, "" for none; another error ends the test.
func (o *office) code(err error) string {
	o.t.Helper()
	if err == nil {
		return ""
	}
	f, ok := fault.As(err)
	if !ok {
		o.t.Fatal(err)
	}
	return f.Code
}

// want fails unless err is the fault of that code, or nil for "".
func (o *office) want(what, code string, err error) {
	o.t.Helper()
	if got := o.code(err); got != code {
		o.t.Errorf("%s: %q, want %q", what, got, code)
	}
}

func (o *office) bySession(secret string) string {
	o.t.Helper()
	_, err := o.org.ActorBySession(o.t.Context(), pgtest.Stadt, secret)
	return o.code(err)
}

func TestASessionIsItsUserUntilLogout(t *testing.T) {
	o := newOffice(t)
	o.tx(func(tx pgx.Tx) error {
		return o.org.EnsureMembership(t.Context(), tx, o.system(), o.now, o.anna, o.unit, access.Clerk)
	})
	secret, code := o.login(" A.Schulz ", password)
	if code != "" {
		t.Fatal(code)
	}
	for _, tenant := range []access.Tenant{0, pgtest.Stadt} {
		a, err := o.org.ActorBySession(t.Context(), tenant, secret)
		o.must(err)
		want := access.Actor{
			Tenant: pgtest.Stadt, TenantSlug: "stadt", User: o.anna, Login: "a.schulz", DisplayName: "Anna Schulz", Via: a.Via,
			Memberships: []access.Membership{{Unit: o.unit, Role: access.Clerk}},
		}
		if d := cmp.Diff(want, a); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	if _, err := o.org.ActorBySession(t.Context(), pgtest.Eigenbetrieb, secret); o.code(err) != "unauthenticated" {
		t.Errorf("a session in another tenant: %v", err)
	}
	if _, err := o.org.ActorByToken(t.Context(), pgtest.Stadt, secret); o.code(err) != "unauthenticated" {
		t.Errorf("a session as a token: %v", err)
	}
	for range 2 { // logging out twice is no error
		o.must(o.org.Logout(t.Context(), pgtest.Stadt, secret))
	}
	if got := o.bySession(secret); got != "unauthenticated" {
		t.Errorf("after logout: %q", got)
	}
	// Both stand in the log under the login's name.
	got := pgtest.Column[string](t, o.db, `SELECT kind || ' ' || (payload::jsonb->>'actor') FROM event WHERE subject_id = $1 AND kind LIKE 'org.session%' ORDER BY id`, o.anna)
	if d := cmp.Diff([]string{"org.session_started a.schulz", "org.session_ended a.schulz"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Whoever guesses learns nothing from the answer.
func TestEveryFailedLoginAnswersAlike(t *testing.T) {
	o := newOffice(t)
	hash, err := org.HashPassword(password, cheap)
	o.must(err)
	o.tx(func(tx pgx.Tx) error {
		for login, service := range map[string]bool{"c.weg": false, "fach": true} {
			id, err := o.org.EnsureUser(t.Context(), tx, o.system(), o.now, org.NewUser{Login: login, DisplayName: login, Service: service, PasswordHash: hash})
			if err != nil {
				return err
			}
			if login == "c.weg" {
				if _, err := tx.Exec(t.Context(), `UPDATE app_user SET disabled_at = $2 WHERE tenant = evb_tenant() AND id = $1`, id, o.now); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, c := range []struct{ login, password string }{
		{"a.schulz", "falsch"}, {"a.schulz", ""}, {"nobody", password}, {"b.koch", ""}, {"c.weg", password}, {"fach", password}, {"system", ""},
		{"a.schulz' OR true --", password}, {string(make([]byte, 100)), password},
	} {
		if _, code := o.login(c.login, c.password); code != "login-failed" {
			t.Errorf("%q: %q", c.login, code)
		}
	}
}

func TestTheDemoPasswordWorksInADemoOnly(t *testing.T) {
	for _, demo := range []bool{false, true} {
		o := newOffice(t, func(opts *org.Options) { opts.Demo = demo })
		hash, err := org.HashPassword("demo", cheap)
		o.must(err)
		pgtest.Exec(t, o.db, `UPDATE app_user SET password_hash = $2 WHERE tenant = evb_tenant() AND id = $1`, o.anna, hash)
		want := map[bool]string{false: "demo-password", true: ""}[demo]
		if _, code := o.login("a.schulz", "demo"); code != want {
			t.Errorf("demo %v: %q, want %q", demo, code, want)
		}
	}
}

func TestGuessingIsSlowedForTheLoginAlone(t *testing.T) {
	o := newOffice(t)
	for range 5 {
		if _, code := o.login("a.schulz", "falsch"); code != "login-failed" {
			t.Fatal(code)
		}
	}
	wait := time.Second
	for range 12 {
		for _, pw := range []string{"falsch", password} { // the right one waits, too, and a wait costs nothing
			_, err := o.org.Login(t.Context(), pgtest.Stadt, "a.schulz", pw)
			f, ok := fault.As(err)
			if !ok || f.Code != "login-slowed" || f.Params["seconds"] != fmt.Sprint(int(wait/time.Second)) {
				t.Fatalf("after %s: %v %v", wait, err, f.Params)
			}
		}
		o.pass(wait)
		if _, code := o.login("a.schulz", "falsch"); code != "login-failed" {
			t.Fatalf("after a wait of %s: %q", wait, code)
		}
		wait = min(2*wait, 15*time.Minute)
	}
	if _, code := o.login("b.koch", "falsch"); code != "login-failed" {
		t.Errorf("another login: %q", code)
	}
	o.pass(15 * time.Minute)
	if _, code := o.login("a.schulz", password); code != "" {
		t.Fatalf("the right password after the wait: %q", code)
	}
	// It is forgiven now: five tries are free again.
	for range 5 {
		if _, code := o.login("a.schulz", "falsch"); code != "login-failed" {
			t.Fatal(code)
		}
	}
}

func TestParallelGuessesCount(t *testing.T) {
	o := newOffice(t)
	codes := make(chan string, 20)
	var wg sync.WaitGroup
	for range cap(codes) {
		wg.Go(func() {
			_, err := o.org.Login(t.Context(), pgtest.Stadt, "a.schulz", "falsch")
			f, _ := fault.As(err)
			codes <- f.Code
		})
	}
	wg.Wait()
	close(codes)
	n := map[string]int{}
	for c := range codes {
		n[c]++
	}
	if d := cmp.Diff(map[string]int{"login-failed": 5, "login-slowed": 15}, n); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// The names that guessers try must not stay for ever.
func TestForgottenTriesGoWithTheNextLogin(t *testing.T) {
	o := newOffice(t)
	for _, login := range []string{"x", "y", "a.schulz"} {
		_, _ = o.login(login, "falsch")
	}
	o.pass(25 * time.Hour)
	_, _ = o.login("z", "falsch")
	if _, code := o.login("a.schulz", password); code != "" {
		t.Fatal(code)
	}
	if d := cmp.Diff([]string{"z"}, pgtest.Column[string](t, o.db, `SELECT login FROM login_attempt ORDER BY login`)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestASessionEndsWhenIdleAndAtItsLifetime(t *testing.T) {
	o := newOffice(t, func(opts *org.Options) { opts.SessionIdle, opts.SessionLifetime = 10*time.Minute, time.Hour })
	idle, _ := o.login("a.schulz", password)
	used, _ := o.login("a.schulz", password)
	for at := time.Duration(0); at < 54*time.Minute; at += 9 * time.Minute {
		o.pass(9 * time.Minute)
		if code := o.bySession(used); code != "" {
			t.Fatalf("in use, after %s: %s", at+9*time.Minute, code)
		}
	}
	if code := o.bySession(idle); code != "unauthenticated" {
		t.Errorf("idle: %q", code)
	}
	o.pass(6 * time.Minute)
	if code := o.bySession(used); code != "unauthenticated" {
		t.Errorf("older than its lifetime: %q", code)
	}
}

func TestAPasswordIsLongAndOnesOwnAndANewOneEndsSessions(t *testing.T) {
	o := newOffice(t)
	secret, _ := o.login("a.schulz", password)
	anna, bert := o.person(o.anna), o.person(o.bert)
	o.want("too short", "password-too-short", o.org.SetPassword(t.Context(), anna, o.anna, "elf Zeichen"))
	o.want("too long", "password-too-long", o.org.SetPassword(t.Context(), anna, o.anna, string(make([]byte, 1025))))
	o.want("the demo's", "password-too-short", o.org.SetPassword(t.Context(), anna, o.anna, "demo"))
	o.want("somebody else's", "administrator-only", o.org.SetPassword(t.Context(), bert, o.anna, "ein ganz neuer Satz"))
	o.want("nobody's", "user-not-found", o.org.SetPassword(t.Context(), o.system(), uuid.New(), "ein ganz neuer Satz"))
	o.want("the system's", "user-not-found", o.org.SetPassword(t.Context(), o.system(), access.SystemUser, "ein ganz neuer Satz"))
	if code := o.bySession(secret); code != "" {
		t.Fatalf("a refused password ended the session: %s", code)
	}
	o.must(o.org.SetPassword(t.Context(), anna, o.anna, "ein ganz neuer Satz"))
	if code := o.bySession(secret); code != "unauthenticated" {
		t.Errorf("the session of the old password: %q", code)
	}
	if _, code := o.login("a.schulz", password); code != "login-failed" {
		t.Errorf("the old password: %q", code)
	}
	if _, code := o.login("a.schulz", "ein ganz neuer Satz"); code != "" {
		t.Errorf("the new password: %q", code)
	}
}

// A login that is looking at the old password while it is changed must not
// leave a session behind.
func TestAPasswordChangedDuringALoginLeavesNoSession(t *testing.T) {
	o := newOffice(t)
	slow, err := org.HashPassword(password, org.HashParams{Time: 12, MemoryKiB: 64 * 1024, Threads: 1})
	o.must(err)
	pgtest.Exec(t, o.db, `UPDATE app_user SET password_hash = $2 WHERE tenant = evb_tenant() AND id = $1`, o.anna, slow)
	done := make(chan error, 1)
	go func() {
		_, err := o.org.Login(t.Context(), pgtest.Stadt, "a.schulz", password)
		done <- err
	}()
	for pgtest.Count(t, o.db, "login_attempt") == 0 { // after this it has read the old hash
	}
	o.must(o.org.SetPassword(t.Context(), o.system(), o.anna, "ein ganz neuer Satz"))
	o.want("the login with the old password", "login-failed", <-done)
	if n := pgtest.Count(t, o.db, "session"); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestADisabledUserIsOutAtOnce(t *testing.T) {
	o := newOffice(t)
	secret, _ := o.login("a.schulz", password)
	token, err := o.org.CreateToken(t.Context(), o.system(), "a.schulz", "", 0)
	o.must(err)
	o.want("by a colleague", "administrator-only", o.org.DisableUser(t.Context(), o.person(o.bert), o.anna))
	o.want("the system", "user-not-found", o.org.DisableUser(t.Context(), o.system(), access.SystemUser))
	o.must(o.org.DisableUser(t.Context(), o.system(), o.anna))
	o.want("twice", "user-not-found", o.org.DisableUser(t.Context(), o.system(), o.anna))
	if code := o.bySession(secret); code != "unauthenticated" {
		t.Errorf("session: %q", code)
	}
	_, err = o.org.ActorByToken(t.Context(), pgtest.Stadt, token.Secret)
	o.want("token", "unauthenticated", err)
	_, err = o.org.CreateToken(t.Context(), o.system(), "a.schulz", "", 0)
	o.want("a further token", "user-not-found", err)
	if _, code := o.login("a.schulz", password); code != "login-failed" {
		t.Errorf("login: %q", code)
	}
	o.must(o.db.Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		users, err := org.Users(t.Context(), q)
		if len(users) != 1 || users[0].Login != "b.koch" {
			t.Errorf("whom one can forward to: %+v", users)
		}
		_, aerr := org.ActorOf(t.Context(), q, pgtest.Stadt, "a.schulz", o.clock())
		o.want("as an actor", "user-not-found", aerr)
		return err
	}))
}

func TestATokenIsItsUserUntilItsEnd(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	anna, bert := o.person(o.anna), o.person(o.bert)
	anna.Login, bert.Login = "a.schulz", "b.koch"
	admin := o.person(o.bert)
	admin.Memberships = []access.Membership{{Role: access.Administrator}}
	inUnit := o.person(o.bert)
	inUnit.Memberships = []access.Membership{{Unit: o.unit, Role: access.Administrator}}

	_, err := o.org.CreateToken(ctx, bert, "a.schulz", "", 0)
	o.want("for a colleague", "administrator-only", err)
	_, err = o.org.CreateToken(ctx, inUnit, "a.schulz", "", 0)
	o.want("for a colleague, by the administrator of a unit", "administrator-only", err)
	_, err = o.org.CreateToken(ctx, admin, "system", "", 0)
	o.want("for the system", "user-not-found", err)
	_, err = o.org.CreateToken(ctx, admin, "nobody", "", 0)
	o.want("for nobody", "user-not-found", err)

	short, err := o.org.CreateToken(ctx, anna, "a.schulz", "kurz", time.Hour)
	o.must(err)
	long, err := o.org.CreateToken(ctx, admin, "a.schulz", "lang", 0)
	o.must(err)
	by := func(tenant access.Tenant, secret string) string {
		a, err := o.org.ActorByToken(ctx, tenant, secret)
		if err == nil && a.User != o.anna {
			t.Errorf("the token is %s", a.Login)
		}
		return o.code(err)
	}
	for what, c := range map[string]struct {
		tenant access.Tenant
		secret string
		want   string
	}{
		"here": {pgtest.Stadt, short.Secret, ""}, "anywhere": {0, long.Secret, ""}, "in another tenant": {pgtest.Eigenbetrieb, long.Secret, "unauthenticated"},
		"cut": {pgtest.Stadt, long.Secret[:len(long.Secret)-1], "unauthenticated"}, "none": {pgtest.Stadt, "", "unauthenticated"},
		"endless": {pgtest.Stadt, string(make([]byte, 1<<16)), "unauthenticated"},
	} {
		if got := by(c.tenant, c.secret); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	o.pass(time.Hour)
	if got := by(pgtest.Stadt, short.Secret); got != "unauthenticated" {
		t.Errorf("after its end: %q", got)
	}
	if got := by(pgtest.Stadt, long.Secret); got != "" {
		t.Errorf("without an end: %q", got)
	}
	o.want("revoked by a colleague", "not-found", o.org.RevokeToken(ctx, bert, long.ID))
	o.must(o.org.RevokeToken(ctx, anna, long.ID))
	o.want("revoked twice", "not-found", o.org.RevokeToken(ctx, anna, long.ID))
	if got := by(pgtest.Stadt, long.Secret); got != "unauthenticated" {
		t.Errorf("revoked: %q", got)
	}
	o.must(o.org.RevokeToken(ctx, admin, short.ID))
}

// roles are what an actor of now may do, read as each request reads them.
func (o *office) roles(user uuid.UUID) []access.Membership {
	o.t.Helper()
	var a access.Actor
	o.must(o.db.Read(o.t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		u, err := org.UserByID(o.t.Context(), q, user)
		if err != nil {
			return err
		}
		a, err = org.ActorOf(o.t.Context(), q, pgtest.Stadt, u.Login, o.clock())
		return err
	}))
	return a.Memberships
}

func TestARoleHoldsFromItsBeginningToItsEnd(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	give := func(at time.Time, unit uuid.UUID, role access.Role) {
		o.tx(func(tx pgx.Tx) error { return o.org.EnsureMembership(ctx, tx, o.system(), at, o.anna, unit, role) })
	}
	clerk := []access.Membership{{Unit: o.unit, Role: access.Clerk}}
	give(o.now.Add(time.Hour), o.unit, access.Clerk)
	if got := o.roles(o.anna); len(got) != 0 {
		t.Errorf("before it begins: %v", got)
	}
	o.pass(time.Hour)
	if d := cmp.Diff(clerk, o.roles(o.anna)); d != "" {
		t.Errorf("from its first moment (-want +got):\n%s", d)
	}
	give(o.clock(), o.unit, access.Clerk) // held already
	give(o.clock(), uuid.Nil, access.Reader)
	if d := cmp.Diff(append(clerk, access.Membership{Role: access.Reader}), o.roles(o.anna)); d != "" {
		t.Errorf("a role in the tenant besides (-want +got):\n%s", d)
	}
	o.pass(time.Hour)
	o.want("ended by a colleague", "administrator-only", o.org.EndMembership(ctx, o.person(o.bert), o.anna, o.unit, access.Clerk))
	o.want("a role in the tenant instead of the unit", "role-not-held", o.org.EndMembership(ctx, o.system(), o.anna, uuid.Nil, access.Clerk))
	o.must(o.org.EndMembership(ctx, o.system(), o.anna, o.unit, access.Clerk))
	if d := cmp.Diff([]access.Membership{{Role: access.Reader}}, o.roles(o.anna)); d != "" {
		t.Errorf("from the moment of its end (-want +got):\n%s", d)
	}
	o.want("ended twice", "role-not-held", o.org.EndMembership(ctx, o.system(), o.anna, o.unit, access.Clerk))
	o.pass(time.Hour)
	give(o.clock(), o.unit, access.Clerk)
	if n := len(o.roles(o.anna)); n != 2 {
		t.Errorf("given again: %d roles", n)
	}
	if n := pgtest.Count(t, o.db, "membership"); n != 3 {
		t.Errorf("%d rows, want each period once", n)
	}
}

func TestWhatThereIsNotIsToldByName(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	elsewhere := uuid.Must(uuid.NewV7())
	o.must(o.db.InTx(ctx, pgtest.Eigenbetrieb, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO org_unit (tenant, id, code, name) VALUES (evb_tenant(), $1, 'EB', 'EB')`, elsewhere)
		return err
	}))
	in := func(fn func(tx pgx.Tx) error) error { return o.db.InTx(ctx, pgtest.Stadt, fn) }
	for what, c := range map[string]struct {
		code string
		fn   func(tx pgx.Tx) error
	}{
		"a unit of another tenant": {"unit-not-found", func(tx pgx.Tx) error {
			return o.org.EnsureMembership(ctx, tx, o.system(), o.now, o.anna, elsewhere, access.Clerk)
		}},
		"a parent of another tenant": {"unit-not-found", func(tx pgx.Tx) error {
			_, err := o.org.EnsureUnit(ctx, tx, o.system(), o.now, "FB62", "Vermessung", elsewhere)
			return err
		}},
		"no such user": {"user-not-found", func(tx pgx.Tx) error {
			return o.org.EnsureMembership(ctx, tx, o.system(), o.now, uuid.New(), o.unit, access.Clerk)
		}},
		"no such role": {"role-unknown", func(tx pgx.Tx) error {
			return o.org.EnsureMembership(ctx, tx, o.system(), o.now, o.anna, o.unit, "king")
		}},
		"a login with a space": {"login-invalid", func(tx pgx.Tx) error {
			_, err := o.org.EnsureUser(ctx, tx, o.system(), o.now, org.NewUser{Login: "a b", DisplayName: "A B"})
			return err
		}},
	} {
		o.want(what, c.code, in(c.fn))
	}
	o.must(o.db.Read(ctx, pgtest.Stadt, func(q postgres.Querier) error {
		_, err := org.UnitByCode(ctx, q, "EB")
		o.want("the unit of another tenant by its code", "unit-not-found", err)
		_, err = org.UserByID(ctx, q, uuid.New())
		o.want("a user by id", "user-not-found", err)
		units, err := org.Units(ctx, q, o.now)
		if len(units) != 1 || units[0].ID != o.unit {
			t.Errorf("units: %+v", units)
		}
		return err
	}))
}

func TestTwoMakeOneUserAndOneUnit(t *testing.T) {
	o := newOffice(t)
	o.tx(func(tx pgx.Tx) error {
		id, err := o.org.EnsureUser(t.Context(), tx, o.system(), o.now, org.NewUser{Login: "a.schulz", DisplayName: "Andere", Service: true})
		if id != o.anna {
			t.Errorf("user %s, want that of before", id)
		}
		if err != nil {
			return err
		}
		unit, err := o.org.EnsureUnit(t.Context(), tx, o.system(), o.now, "FB61", "Anders", uuid.Nil)
		if unit != o.unit {
			t.Errorf("unit %s, want that of before", unit)
		}
		return err
	})
	if got := pgtest.One[string](t, o.db, `SELECT display_name || kind FROM app_user WHERE tenant = evb_tenant() AND id = $1`, o.anna); got != "Anna Schulzperson" {
		t.Errorf("what was there changed: %s", got)
	}
}

func TestATenantIsMadeOnceByManyAtOnce(t *testing.T) {
	o := newOffice(t)
	ids := make([]access.Tenant, 6)
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			slug := []string{"zweckverband", "stiftung"}[i%2]
			ids[i], errs[i] = o.org.CreateTenant(t.Context(), org.NewTenant{Slug: slug, Name: slug, Hosts: []string{slug + ".example"}})
		})
	}
	wg.Wait()
	for i, err := range errs {
		o.must(err)
		if ids[i] != ids[i%2] || ids[0] == ids[1] {
			t.Fatalf("ids %v", ids)
		}
	}
	_, err := o.org.CreateTenant(t.Context(), org.NewTenant{Slug: "Groß", Name: "x"})
	o.want("a slug with capitals", "tenant-slug-invalid", err)
	for host, want := range map[string]access.Tenant{
		"zweckverband.example": ids[0], "STIFTUNG.example:8443": ids[1], "other.example": 0, "": 0,
	} {
		if got, err := o.org.TenantByHost(t.Context(), host); err != nil || got != want {
			t.Errorf("host %q: %d, %v, want %d", host, got, err, want)
		}
	}
	preset := org.New(o.db, event.NewLog(nil, nil), org.Options{Tenant: "eigenbetrieb"})
	if got, err := preset.TenantByHost(t.Context(), "other.example"); err != nil || got != pgtest.Eigenbetrieb {
		t.Errorf("the tenant of the configuration: %d, %v", got, err)
	}
}

// With several tenants and a host of none, the login name says which.
func TestALoginPicksTheTenantThatKnowsIt(t *testing.T) {
	o := newOffice(t)
	hash, err := org.HashPassword(password, cheap)
	o.must(err)
	o.must(o.db.InTx(t.Context(), pgtest.Eigenbetrieb, func(tx pgx.Tx) error {
		_, err := o.org.EnsureUser(t.Context(), tx, access.System(pgtest.Eigenbetrieb, "eigenbetrieb"), o.now, org.NewUser{Login: "e.lang", DisplayName: "Elke Lang", PasswordHash: hash})
		return err
	}))
	secret, err := o.org.Login(t.Context(), 0, "e.lang", password)
	o.must(err)
	a, err := o.org.ActorBySession(t.Context(), 0, secret)
	o.must(err)
	if a.Tenant != pgtest.Eigenbetrieb || a.TenantSlug != "eigenbetrieb" {
		t.Errorf("tenant %d %s", a.Tenant, a.TenantSlug)
	}
	o.must(o.org.Logout(t.Context(), 0, secret))
	_, err = o.org.Login(t.Context(), 0, "nobody", password)
	o.want("a login nobody knows", "login-failed", err)
}

func TestALoginGivesUpWithItsCaller(t *testing.T) {
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.org.Login(ctx, pgtest.Stadt, "a.schulz", password); err == nil {
		t.Error("a login without a caller")
	}
}
