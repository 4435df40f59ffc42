package postgres_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"evb/internal/postgres/pgtest"
)

var update = flag.Bool("update", false, "write migrations/schema.golden anew")

// sqlSchema is our own picture of the catalogue (decisions 7.2): what pg_dump
// prints differs from version to version, this does not. The queue's tables are
// River's and appear by name alone; partitions of a month come and go.
const sqlSchema = `
    WITH rel AS (
        SELECT c.oid, c.relname::text AS name, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relacl, c.relispartition,
            c.relname LIKE 'river%' AS foreign_made
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relname !~ '_[0-9]{6}$'
    ), own AS (SELECT * FROM rel WHERE NOT foreign_made)
    SELECT line FROM (
        SELECT name AS thing, 1 AS part, '' AS key,
            CASE relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || name
            || CASE WHEN foreign_made THEN ' (queue)' WHEN relispartition THEN ' partition' ELSE '' END
            || CASE WHEN relkind = 'p' THEN ' partition by ' || pg_get_partkeydef(oid) ELSE '' END
            || CASE WHEN relrowsecurity THEN ' rls' ELSE '' END || CASE WHEN relforcerowsecurity THEN ' forced' ELSE '' END
            || coalesce(' with ' || array_to_string(reloptions, ','), '') AS line
        FROM rel
        UNION ALL
        SELECT o.name, 2, lpad(a.attnum::text, 4, '0'), '  ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
            || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
            || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
            || CASE WHEN a.attidentity <> '' THEN ' identity' ELSE '' END
        FROM own o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE o.relkind <> 'S'
        UNION ALL
        SELECT o.name, 3, k.conname, '  constraint ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
        FROM own o JOIN pg_constraint k ON k.conrelid = o.oid AND k.contype IN ('p', 'u', 'f', 'c', 'x')
        UNION ALL
        SELECT o.name, 4, i.indexrelid::regclass::text, '  ' || regexp_replace(pg_get_indexdef(i.indexrelid), 'public\.', '', 'g')
        FROM own o JOIN pg_index i ON i.indrelid = o.oid
        WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
        UNION ALL
        SELECT o.name, 5, p.polname, '  policy ' || p.polname || ' ' || p.polcmd::text || ' using ' || coalesce(pg_get_expr(p.polqual, p.polrelid), '-')
            || ' check ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '-')
        FROM own o JOIN pg_policy p ON p.polrelid = o.oid
        UNION ALL
        SELECT o.name, 6, t.tgname, '  trigger ' || regexp_replace(pg_get_triggerdef(t.oid), 'public\.', '', 'g')
        FROM own o JOIN pg_trigger t ON t.tgrelid = o.oid AND NOT t.tgisinternal
        UNION ALL
        SELECT o.name, 7, g.who, '  grant ' || string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type) || ' to ' || g.who
        FROM own o CROSS JOIN LATERAL (
            SELECT x.privilege_type, CASE x.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(x.grantee)::text END AS who
            FROM aclexplode(o.relacl) x WHERE pg_get_userbyid(x.grantee) <> 'evb_owner') g
        GROUP BY o.name, g.who
        UNION ALL
        SELECT o.name, 8, a.attname || x.privilege_type, '  grant ' || x.privilege_type || ' (' || a.attname || ') to ' || pg_get_userbyid(x.grantee)
        FROM own o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attacl IS NOT NULL, aclexplode(a.attacl) x
        UNION ALL
        SELECT o.name, 9, '', '  as ' || regexp_replace(pg_get_viewdef(o.oid, true), '\s+', ' ', 'g') FROM own o WHERE o.relkind IN ('v', 'm')
        UNION ALL
        SELECT '~' || p.proname, 1, pg_get_function_identity_arguments(p.oid), 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') returns '
            || pg_get_function_result(p.oid) || CASE p.provolatile WHEN 'i' THEN ' immutable' WHEN 's' THEN ' stable' ELSE ' volatile' END
            || CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END || coalesce(' ' || array_to_string(p.proconfig, ','), '')
            || ' body ' || md5(regexp_replace(coalesce(p.prosrc, '') || coalesce(pg_get_function_sqlbody(p.oid), ''), '\s+', ' ', 'g'))
            || ' execute ' || coalesce((SELECT string_agg(DISTINCT CASE x.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(x.grantee)::text END, ', ')
                FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x WHERE x.privilege_type = 'EXECUTE' AND pg_get_userbyid(x.grantee) <> 'evb_owner'), '-')
        FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname NOT LIKE 'river%'
    ) s ORDER BY thing COLLATE "C", part, key COLLATE "C"`

// TestSchema compares the migrated database with migrations/schema.golden, so
// that a review sees what a migration does. After a change on purpose:
// go test ./internal/postgres -run TestSchema -update
func TestSchema(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), pgtest.SuperDSN(pgtest.Database(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	rows, err := conn.Query(t.Context(), sqlSchema)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(lines, "\n") + "\n"
	golden := filepath.Join("..", "..", "migrations", "schema.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("the schema differs from %s (-want +got; -update writes it anew):\n%s", golden, diff)
	}
}
