// Package pgtest gives tests real Postgres databases. One private cluster a
// test process is started at the first request and ends with it; the schema is
// migrated once into a template, and each DB is a copy of it (tens of
// milliseconds). There is no skip: without a Postgres server the test fails
// and names the remedy.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
package pgtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/job"
	"evb/internal/localstack/pg"
	"evb/internal/postgres"
)

// Tenants of every test database. The second one is there so that a test can
// try to reach it.
const (
	Stadt        access.Tenant = 1
	Eigenbetrieb access.Tenant = 2
)

type cluster struct {
	once   sync.Once
	inMain bool
	server *pg.Server
	dir    string
	err    error
	number atomic.Int64
}

// shared is the process's cluster: a test process has one, whatever the number
// of its tests.
var shared cluster

const template = "evb_template"

// Main runs the tests of a package and stops the cluster afterwards. The
// result is for os.Exit.
func Main(m *testing.M) int {
	shared.inMain = true
	code := m.Run()
	if shared.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := shared.server.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "stop test postgres:", err)
			code = max(code, 1)
		}
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	return code
}

func (c *cluster) start() {
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if c.dir, c.err = os.MkdirTemp("", "evb-pgtest-"); c.err != nil {
		return
	}
	if c.server, c.err = pg.Start(ctx, pg.Options{Dir: c.dir, Logger: log, Settings: map[string]string{
		"max_connections": "200", "shared_buffers": "128MB",
	}, Throwaway: true}); c.err != nil {
		return
	}
	for _, role := range []string{postgres.Owner, postgres.App} {
		if c.err = c.server.EnsureRole(ctx, role); c.err != nil {
			return
		}
	}
	if c.err = c.server.EnsureDatabase(ctx, template, postgres.Owner, postgres.App); c.err != nil {
		return
	}
	if c.err = postgres.Migrate(ctx, c.server.DSN(postgres.Owner, template), log, job.Migration()); c.err != nil {
		return
	}
	conn, err := pgx.Connect(ctx, c.server.DSN(pg.Superuser, template))
	if err != nil {
		c.err = err
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	_, c.err = conn.Exec(ctx, fmt.Sprintf(`
        INSERT INTO tenant (id, slug, name) VALUES (1, 'stadt', 'Stadt'), (2, 'eigenbetrieb', 'Eigenbetrieb');
        INSERT INTO app_user (tenant, id, login, display_name, kind)
            SELECT t, '%s', 'system', 'System', 'service' FROM unnest(ARRAY[1, 2]) t`, access.SystemUser))
}

// DB is a fresh, migrated database of its own, connected as the application's
// role, with the tenants stadt and eigenbetrieb and the system user in each.
func DB(t testing.TB) *postgres.DB {
	t.Helper()
	name := Database(t)
	db, err := postgres.Open(t.Context(), shared.server.DSN(postgres.App, name), postgres.Options{MaxConns: 20, AppName: "test"})
	if err != nil {
		t.Fatalf("open test database: %v", err)
	}
	t.Cleanup(db.Close)
	return db
}

// Database makes a fresh database and gives its name; it goes with the test.
func Database(t testing.TB) string {
	t.Helper()
	if !shared.inMain {
		t.Fatal("the package's TestMain must call pgtest.Main")
	}
	shared.once.Do(shared.start)
	if shared.err != nil {
		t.Fatalf("test postgres: %v", shared.err)
	}
	name := fmt.Sprintf("t%d", shared.number.Add(1))
	// Copying files takes two thirds of the time that copying pages through the
	// log does; without fsync the checkpoint it needs costs nothing.
	super(t, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s STRATEGY file_copy", name, template, postgres.Owner))
	t.Cleanup(func() { super(t, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name)) })
	return name
}

// AppDSN is the DSN of the application's role for a database of Database.
func AppDSN(name string) string { return shared.server.DSN(postgres.App, name) }

// SuperDSN is the DSN of the cluster's superuser for a database of Database:
// for tests that do what only an attacker with full rights could do.
func SuperDSN(name string) string { return shared.server.DSN(pg.Superuser, name) }

// NameOf gives the database name of a DB of this package.
func NameOf(db *postgres.DB) string { return db.Pool().Config().ConnConfig.Database }

func super(t testing.TB, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, shared.server.SuperDSN())
	if err != nil {
		t.Fatalf("test postgres: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
