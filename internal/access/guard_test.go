package access_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"evb/internal/access"
	"evb/internal/akte/aktetest"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// The tests of this file are an attacker who holds the program's database role
// and means to reach another tenant, and a programmer who forgets the tenant.

// twoTowns are the same town in both tenants of one database.
func twoTowns(t *testing.T) (one, two *aktetest.Town) {
	t.Helper()
	db := pgtest.DB(t)
	one = aktetest.In(t, db, pgtest.Stadt)
	two = aktetest.In(t, db, pgtest.Eigenbetrieb)
	one.Dokument(t, "Brief an die Stadt")
	two.Dokument(t, "Brief an den Eigenbetrieb")
	return one, two
}

// app is a bare connection of the program's role.
func app(t *testing.T, db *postgres.DB) *pgx.Conn {
	t.Helper()
	return connect(t, pgtest.AppDSN(pgtest.NameOf(db)))
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func strs(t *testing.T, conn *pgx.Conn, sql string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

const sqlTenantTables = `
    SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1`

func TestEveryTableOfTenantsIsGuarded(t *testing.T) {
	conn := connect(t, pgtest.SuperDSN(pgtest.Database(t)))
	if n := len(strs(t, conn, sqlTenantTables)); n < 50 {
		t.Fatalf("only %d tables with a tenant", n)
	}
	// A partition without a guard of its own is reached through its parent only:
	// the program has no right on it.
	bad := strs(t, conn, `
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
          AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND a.attnotnull
            AND (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) = 1
            AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd = '*' AND p.polpermissive AND p.polroles = '{0}'
                AND pg_get_expr(p.polqual, p.polrelid) = '(tenant = evb_tenant())' AND pg_get_expr(p.polwithcheck, p.polrelid) = '(tenant = evb_tenant())'))
          AND NOT (c.relispartition AND NOT has_table_privilege('evb_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER'))
        ORDER BY 1`)
	if len(bad) > 0 {
		t.Errorf("tables without the guard: %v", bad)
	}
	// A table without a tenant is one of these.
	free := strs(t, conn, `
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname NOT LIKE 'river%'
          AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant') ORDER BY 1`)
	for _, name := range free {
		if name != "tenant" && name != "schema_file" && name != "schema_version" {
			t.Errorf("table %s has no tenant", name)
		}
	}
	if keys := strs(t, conn, `
        SELECT conrelid::regclass || '.' || conname FROM pg_constraint
        WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND confrelid <> 'tenant'::regclass AND conrelid::regclass::text NOT LIKE 'river%'
          AND NOT EXISTS (SELECT FROM unnest(conkey, confkey) AS k (here, there)
            JOIN pg_attribute h ON h.attrelid = conrelid AND h.attnum = k.here AND h.attname = 'tenant'
            JOIN pg_attribute f ON f.attrelid = confrelid AND f.attnum = k.there AND f.attname = 'tenant')`); len(keys) > 0 {
		t.Errorf("foreign keys that leave the tenant: %v", keys)
	}
	if keys := strs(t, conn, `
        SELECT i.indexrelid::regclass::text FROM pg_index i
        JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'public'::regnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant'
        WHERE i.indisunique AND i.indkey[0] <> a.attnum ORDER BY 1`); len(keys) > 0 {
		t.Errorf("unique keys that do not begin with the tenant (they would tell of others): %v", keys)
	}
	if views := strs(t, conn, `
        SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND (c.relkind = 'm'
            OR c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false))`); len(views) > 0 {
		t.Errorf("views with the rights of their owner: %v", views)
	}
	for _, f := range strs(t, conn, `
        SELECT p.proname || ' ' || coalesce(array_to_string(p.proconfig, ','), '') FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef`) {
		if !strings.HasPrefix(f, "evb_event_partitions search_path=") {
			t.Errorf("function with the rights of its owner: %s", f)
		}
	}
}

func TestTheProgramsRoleIsSmall(t *testing.T) {
	conn := connect(t, pgtest.SuperDSN(pgtest.Database(t)))
	var super, bypass, createrole, createdb, owns, member, create bool
	err := conn.QueryRow(t.Context(), `
        SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid),
            EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid), has_schema_privilege('evb_app', 'public', 'CREATE')
        FROM pg_roles r WHERE rolname = 'evb_app'`).Scan(&super, &bypass, &createrole, &createdb, &owns, &member, &create)
	if err != nil {
		t.Fatal(err)
	}
	if super || bypass || createrole || createdb || owns || member || create {
		t.Errorf("super %v, bypass %v, createrole %v, createdb %v, owns %v, member of a role %v, creates in public %v", super, bypass, createrole, createdb, owns, member, create)
	}
	// What was written stays (decisions 3.2).
	if bad := strs(t, conn, `
        SELECT t || ' ' || p FROM unnest(ARRAY['event', 'access_log', 'log_sequence', 'log_head', 'seal', 'seal_state', 'circulation_step_execution',
            'routing_decision', 'intake_step', 'dokument_version', 'blob_digest']) t, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) p
        WHERE has_table_privilege('evb_app', t, p) AND NOT (t = 'blob_digest' AND p = 'DELETE') ORDER BY 1`); len(bad) > 0 {
		t.Errorf("the program may: %v", bad)
	}
	if bad := strs(t, conn, `
        SELECT c.relname || ' ' || p FROM pg_class c, unnest(ARRAY['TRUNCATE', 'TRIGGER', 'REFERENCES']) p
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname NOT LIKE 'river%' AND has_table_privilege('evb_app', c.oid, p)`); len(bad) > 0 {
		t.Errorf("the program may: %v", bad)
	}
	if bad := strs(t, conn, `
        SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname IN ('tenant', 'id') AND a.attnum > 0
        WHERE c.relname IN ('event', 'access_log', 'seal') AND has_column_privilege('evb_app', c.oid, a.attnum, 'UPDATE')`); len(bad) > 0 {
		t.Errorf("the program may update: %v", bad)
	}
}

func TestWithoutATenantThereIsNothing(t *testing.T) {
	one, _ := twoTowns(t)
	conn := app(t, one.DB)
	for _, setup := range []string{"RESET evb.tenant", "SET evb.tenant = ''"} {
		if _, err := conn.Exec(t.Context(), setup); err != nil {
			t.Fatal(err)
		}
		for _, table := range readable(t, conn) {
			var n int
			if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 0 {
				t.Errorf("%s: %s shows %d rows, %v", setup, table, n, err)
			}
		}
		refuse(t, conn, "42501", `INSERT INTO org_unit (tenant, id, code, name) VALUES (1, gen_random_uuid(), 'X', 'X')`)
	}
	for _, odd := range []string{"2 OR true", "1,2", "x", "1; SET ROLE evb_owner", "99999999999"} {
		if _, err := conn.Exec(t.Context(), `SELECT set_config('evb.tenant', $1, false)`, odd); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM record_object`).Scan(&n); err == nil {
			t.Errorf("tenant %q gave %d rows", odd, n)
		}
	}
}

// readable are the tables and views with a tenant that the program reads.
func readable(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	return strs(t, conn, `
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1`)
}

func refuse(t *testing.T, conn *pgx.Conn, state, sql string, args ...any) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql, args...)
	var pe *pgconn.PgError
	if err == nil {
		t.Errorf("went through: %s", sql)
		return
	}
	if !errors.As(err, &pe) || state != "" && pe.Code != state {
		t.Errorf("%s: want %s, got %v", sql, state, err)
	}
}

func TestATenantReachesNothingOfAnother(t *testing.T) {
	one, two := twoTowns(t)
	conn := app(t, one.DB)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("SET evb.tenant = '1'")
	tables := readable(t, conn)
	filled := 0
	for _, table := range tables {
		var own, others int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE tenant = 1), count(*) FILTER (WHERE tenant <> 1) FROM `+table).Scan(&own, &others)
		if err != nil || others != 0 {
			t.Errorf("%s: %d rows of others, %v", table, others, err)
		}
		if own > 0 {
			filled++
		}
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM `+table+` WHERE tenant = 2 OR tenant <> 1`).Scan(&others); err != nil || others != 0 {
			t.Errorf("%s by WHERE: %d rows, %v", table, others, err)
		}
	}
	if filled < 15 {
		t.Fatalf("only %d tables hold rows; the test looks at nothing", filled)
	}
	for _, table := range tables {
		for _, verb := range []string{"UPDATE " + table + " SET tenant = 1 WHERE tenant = 2", "DELETE FROM " + table + " WHERE tenant = 2"} {
			tag, err := conn.Exec(t.Context(), verb)
			var pe *pgconn.PgError
			switch {
			case err == nil && tag.RowsAffected() == 0:
			case errors.As(err, &pe) && (pe.Code == "42501" || pe.Code == "55000" || pe.Code == "0A000"): // no such right; a view
			default:
				t.Errorf("%s: %d rows, %v", verb, tag.RowsAffected(), err)
			}
		}
	}
	unit2 := two.Bauordnung
	refuse(t, conn, "42501", `INSERT INTO org_unit (tenant, id, code, name) VALUES (2, gen_random_uuid(), 'X', 'X')`)
	refuse(t, conn, "42501", `UPDATE org_unit SET tenant = 2`)
	refuse(t, conn, "42501", `INSERT INTO org_unit (tenant, id, code, name) VALUES (2, $1, 'FB61', 'X') ON CONFLICT (tenant, code) DO UPDATE SET name = 'stolen'`, unit2)
	refuse(t, conn, "42501", `MERGE INTO org_unit o USING (SELECT 2 AS tenant) s ON o.tenant = s.tenant WHEN MATCHED THEN UPDATE SET name = 'x' WHEN NOT MATCHED THEN INSERT (tenant, id, code, name) VALUES (2, gen_random_uuid(), 'Y', 'Y')`)
	// Rows of another tenant are no targets of foreign keys.
	refuse(t, conn, "23503", `INSERT INTO org_unit (tenant, id, code, name, parent_id) VALUES (1, gen_random_uuid(), 'Z', 'Z', $1)`, unit2)
	refuse(t, conn, "23503", `INSERT INTO membership (tenant, id, user_id, unit_id, role) VALUES (1, gen_random_uuid(), $1, $2, 'clerk')`, one.Schulz.User, unit2)
	refuse(t, conn, "23503", `INSERT INTO record_object (tenant, id, kind, access_scope_id, lifecycle, created_at, created_by, changed_at)
        VALUES (1, gen_random_uuid(), 'dokument', $1, 'open', now(), $2, now())`, unit2, one.Schulz.User)
	refuse(t, conn, "23503", `UPDATE record_object SET parent_id = $1`, two.AkteBau)
	refuse(t, conn, "23503", `UPDATE record_object SET access_scope_id = $1`, unit2)

	// Ways around the WHERE.
	if err := copyIn(t, conn, `COPY org_unit (tenant, id, code, name) FROM STDIN`); err == nil {
		t.Error("COPY FROM went through")
	}
	for _, sql := range []string{`COPY record_object TO STDOUT`, `COPY (SELECT * FROM record_metadata) TO STDOUT`} {
		var b strings.Builder
		if _, err := conn.PgConn().CopyTo(t.Context(), &b, sql); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "Eigenbetrieb") || strings.Contains(b.String(), two.AkteBau.String()) || b.Len() == 0 {
			t.Errorf("%s shows another tenant (or nothing: %d bytes)", sql, b.Len())
		}
	}
	refuse(t, conn, "42501", `SELECT * FROM event_`+time.Now().UTC().Format("200601"))
	exec("SET row_security = off")
	refuse(t, conn, "42501", `SELECT * FROM record_object`)
	exec("SET row_security = on")
	refuse(t, conn, "42501", `SET ROLE evb_owner`)
	refuse(t, conn, "42501", `SET SESSION AUTHORIZATION evb_owner`)
	refuse(t, conn, "42501", `ALTER TABLE record_object DISABLE ROW LEVEL SECURITY`)
	refuse(t, conn, "42501", `DROP POLICY tenant_guard ON record_object`)
	refuse(t, conn, "42501", `CREATE POLICY all_rows ON record_object USING (true)`)
	refuse(t, conn, "42501", `CREATE OR REPLACE FUNCTION public.evb_tenant() RETURNS integer LANGUAGE sql RETURN 2`)
	refuse(t, conn, "42501", `CREATE VIEW public.all_rows AS SELECT * FROM record_object`)
	refuse(t, conn, "42501", `SELECT evb_guard('tenant')`)
	refuse(t, conn, "42501", `TRUNCATE record_metadata CASCADE`)
	refuse(t, conn, "42501", `UPDATE event SET reason = 'x'`)
	refuse(t, conn, "42501", `DELETE FROM event`)
	refuse(t, conn, "42501", `DELETE FROM access_log`)
	refuse(t, conn, "42501", `UPDATE seal SET tenant = 1`)
	refuse(t, conn, "42501", `UPDATE tenant SET slug = 'x'`)
	refuse(t, conn, "42501", `DELETE FROM tenant`)

	// Functions answer for the tenant that is set, whoever is asked about.
	var n int
	if err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM evb_actor_scopes($1, now())) + (SELECT count(*) FROM evb_actor_write_scopes($1, now()))
        + (SELECT count(*) FROM evb_actor_postkoerbe($1, now())) + evb_reads_all($2, now())::int`, two.Schulz.User, two.Brandt.User).Scan(&n); err != nil || n != 0 {
		t.Errorf("functions told %d things of another tenant, %v", n, err)
	}
	exec(`SELECT evb_event_partitions(1)`)

	// A leaky function is not asked about rows that the guard hides.
	var told []string
	cfg := conn.Config().Copy()
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { told = append(told, n.Message) }
	spy, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spy.Close(t.Context()) }()
	for _, sql := range []string{"SET evb.tenant = '1'", `CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$`,
		`SELECT * FROM record_metadata WHERE pg_temp.leak(subject)`} {
		if _, err := spy.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) == 0 || strings.Contains(strings.Join(told, "\n"), "Eigenbetrieb") {
		t.Errorf("a function in the WHERE was told %q", told)
	}
	// Statistics keep values of all tenants; the role does not read them.
	if _, err := connect(t, pgtest.SuperDSN(pgtest.NameOf(one.DB))).Exec(t.Context(), `ANALYZE record_metadata`); err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stats WHERE tablename = 'record_metadata'`).Scan(&n); err != nil || n != 0 {
		t.Errorf("pg_stats shows %d columns, %v", n, err)
	}
}

func copyIn(t *testing.T, conn *pgx.Conn, sql string) error {
	t.Helper()
	_, err := conn.PgConn().CopyFrom(t.Context(), strings.NewReader("2\t"+uuid.NewString()+"\tX\tX\n"), sql)
	return err
}

func TestTheTenantEndsWithItsTransactionAlsoOnAReusedConnection(t *testing.T) {
	one, two := twoTowns(t)
	db, err := postgres.Open(t.Context(), pgtest.AppDSN(pgtest.NameOf(one.DB)), postgres.Options{MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := t.Context()
	subjects := func(tenant access.Tenant) (out []string) {
		t.Helper()
		// One statement, prepared once on the only connection, and often enough
		// for a generic plan.
		err := db.Read(ctx, tenant, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, `SELECT subject FROM record_metadata WHERE subject LIKE 'Brief%' AND $1::int > 0`, 1)
			if err != nil {
				return err
			}
			out, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	check := func() {
		t.Helper()
		for range 8 {
			for tenant, want := range map[access.Tenant]string{one.Schulz.Tenant: "Brief an die Stadt", two.Schulz.Tenant: "Brief an den Eigenbetrieb", 3: ""} {
				if got := strings.Join(subjects(tenant), ","); got != want {
					t.Fatalf("tenant %d sees %q", tenant, got)
				}
			}
		}
		var n int
		if err := db.Pool().QueryRow(ctx, `SELECT count(*) FROM record_metadata`).Scan(&n); err != nil || n != 0 {
			t.Fatalf("outside of a transaction: %d rows, %v", n, err)
		}
	}
	check()
	// A transaction that fails, one that panics, one whose context ends.
	_ = db.InTx(ctx, 2, func(pgx.Tx) error { return fault.New("internal") })
	func() {
		defer func() { _ = recover() }()
		_ = db.InTx(ctx, 2, func(pgx.Tx) error { panic("on purpose") })
	}()
	cut, cancel := context.WithCancel(ctx)
	_ = db.InTx(cut, 2, func(tx pgx.Tx) error { cancel(); _, err := tx.Exec(cut, `SELECT 1`); return err })
	check()
	// A text that would be SQL stays a text.
	evil := `'; COMMIT; SET evb.tenant = '2'; SELECT set_config('evb.tenant','2',false); --`
	err = db.InTx(ctx, 1, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE org_unit SET name = $1 WHERE tenant = evb_tenant()`, evil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	check()
	// Two statements in one text are refused where parameters are used.
	err = db.InTx(ctx, 1, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT $1::int; SET evb.tenant = '2'`, 1)
		return err
	})
	if err == nil {
		t.Error("two statements in one went through")
	}
	check()
	// Even a session-wide setting, which no code of ours makes, loses against
	// the next transaction.
	_ = db.InTx(ctx, 1, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT set_config('evb.tenant', '2', false)`)
		return err
	})
	if got := strings.Join(subjects(1), ","); got != "Brief an die Stadt" {
		t.Errorf("after a session-wide setting tenant 1 sees %q", got)
	}
}

func TestAnActorOfOneTenantIsNobodyInTheOther(t *testing.T) {
	one, two := twoTowns(t)
	foreign := one.Lang // reads all of his tenant
	foreign.Tenant = two.Schulz.Tenant
	for _, id := range []uuid.UUID{two.AkteBau, two.AkteWohn, one.AkteBau} {
		if _, err := one.Akten.Akte(t.Context(), foreign, id); !fault.Is(err, "not-found") {
			t.Errorf("akte %s: %v", id, err)
		}
	}
	if _, err := one.Akten.Akte(t.Context(), one.Lang, two.AkteBau); !fault.Is(err, "not-found") {
		t.Errorf("an Akte of the other tenant: %v", err)
	}
	if _, err := one.Akten.Akte(t.Context(), two.Lang, two.AkteBau); err != nil {
		t.Error(fmt.Errorf("its own reader: %w", err))
	}
}
