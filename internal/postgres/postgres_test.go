package postgres_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestMigrateRunsTwiceAndByManyAtOnce(t *testing.T) {
	name := pgtest.Database(t)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			errs[i] = postgres.Migrate(t.Context(), pgtest.SuperDSN(name), slog.New(slog.DiscardHandler), job.Migration())
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestMigrateRefusesAFileThatWasChangedAfterItWasApplied(t *testing.T) {
	name := pgtest.Database(t)
	conn, err := pgx.Connect(t.Context(), pgtest.SuperDSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), `UPDATE schema_file SET sha256 = repeat('0', 64) WHERE name = '0003_akten.sql'`); err != nil {
		t.Fatal(err)
	}
	err = postgres.Migrate(t.Context(), pgtest.SuperDSN(name), slog.New(slog.DiscardHandler), job.Migration())
	if err == nil || !strings.Contains(err.Error(), "0003_akten.sql") {
		t.Fatalf("want a refusal that names the file, got %v", err)
	}
}

func TestOpenRefusesASchemaOlderThanTheProgram(t *testing.T) {
	name := pgtest.Database(t)
	conn, err := pgx.Connect(t.Context(), pgtest.SuperDSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, c := range []struct{ sql, missing string }{
		{`INSERT INTO schema_file (name, sha256) VALUES ('9999_of_a_newer_program.sql', '')`, ""},
		{`DELETE FROM schema_file WHERE name = '0036_unfiled_by_scope.sql'`, "0036_unfiled_by_scope.sql"},
		{`REVOKE SELECT ON schema_file FROM evb_app`, "0001_tenant_org.sql"},
		{`DROP TABLE schema_file`, "0001_tenant_org.sql"},
	} {
		if _, err := conn.Exec(t.Context(), c.sql); err != nil {
			t.Fatal(err)
		}
		db, err := postgres.Open(t.Context(), pgtest.AppDSN(name), postgres.Options{})
		if err == nil {
			db.Close()
		}
		f, _ := fault.As(err)
		if c.missing == "" && err != nil {
			t.Errorf("%s: %v", c.sql, err)
		}
		if c.missing != "" && (f == nil || f.Code != "schema-behind" || !strings.Contains(f.Text("de"), c.missing)) {
			t.Errorf("%s: %v", c.sql, err)
		}
	}
}

func TestOpenRefusesARoleThatTheTenantGuardDoesNotHold(t *testing.T) {
	name := pgtest.Database(t)
	if db, err := postgres.Open(t.Context(), pgtest.SuperDSN(name), postgres.Options{}); err == nil {
		db.Close()
		t.Fatal("opened as superuser")
	}
}

func TestInTxRepeatsAfterADeadlockAndKeepsOneEffect(t *testing.T) {
	db := pgtest.DB(t)
	ids := [2]uuid.UUID{uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())}
	err := db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		for i, id := range ids {
			if _, err := tx.Exec(t.Context(), `INSERT INTO org_unit (tenant, id, code, name) VALUES (1, $1, $2, '0')`, id, string(rune('A'+i))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const update = `UPDATE org_unit SET name = (name::int + 1)::text WHERE tenant = evb_tenant() AND id = $1`
	var wg sync.WaitGroup
	errs := make([]error, 2)
	var meet sync.WaitGroup
	meet.Add(2)
	var first [2]sync.Once
	for i := range 2 {
		wg.Go(func() {
			errs[i] = db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), update, ids[i]); err != nil {
					return err
				}
				first[i].Do(func() { meet.Done(); meet.Wait() }) // both hold one row and want the other
				_, err := tx.Exec(t.Context(), update, ids[1-i])
				return err
			})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	err = db.Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		rows, err := q.Query(t.Context(), `SELECT name FROM org_unit WHERE tenant = evb_tenant()`)
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(names) != 2 || names[0] != "2" || names[1] != "2" {
			t.Errorf("each unit wants two updates, got %v", names)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadCannotWrite(t *testing.T) {
	db := pgtest.DB(t)
	err := db.Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		var id uuid.UUID
		return q.QueryRow(t.Context(), `INSERT INTO org_unit (tenant, id, code, name) VALUES (1, gen_random_uuid(), 'X', 'X') RETURNING id`).Scan(&id)
	})
	if err == nil {
		t.Fatal("a read transaction wrote")
	}
}

func TestAnUnreachableDatabaseIsAFaultThatPeopleUnderstand(t *testing.T) {
	db := pgtest.DB(t)
	conn, err := pgx.Connect(t.Context(), pgtest.SuperDSN(pgtest.NameOf(db)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	err = db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		var pid int
		if err := tx.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
			return err
		}
		if _, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, pid); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `SELECT 1`)
		return err
	})
	if !fault.Is(err, "database-unavailable") {
		t.Fatalf("got %v", err)
	}
}

// Somebody else holds a row for longer than the limit: that passes, and people
// are told so.
func TestALockThatIsNotGivenIsAFaultThatPeopleUnderstand(t *testing.T) {
	db := pgtest.DB(t)
	impatient, err := postgres.Open(t.Context(), pgtest.AppDSN(pgtest.NameOf(db)), postgres.Options{Lock: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	const lock = `SELECT FROM app_user WHERE tenant = evb_tenant() FOR UPDATE`
	pgtest.Tx(t, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), lock); err != nil {
			return err
		}
		err := impatient.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), lock)
			return err
		})
		if !fault.Is(err, "database-busy") {
			t.Errorf("got %v", err)
		}
		return nil
	})
}
