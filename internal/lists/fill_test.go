package lists_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"evb/internal/access"
	"evb/internal/job"
	"evb/internal/localstack/pg"
	"evb/internal/postgres"
)

// The city of the benchmark. Its numbers follow from that of the Dokumente, so
// that a small one has the same shape: 200 units; an Akte per 20 and a Vorgang
// per 10 Dokumente, spread over the units; one Akte of 25 with rights of its
// own; the last 3 % unfiled on a desk, a third of them on one; 1 of 1,000 in the
// same Vorgang; two years of facts in monthly partitions.
const (
	tenant = access.Tenant(1)
	units  = 200
)

// size says how much of what the city has.
type size struct {
	rows    int // Dokumente
	persons int
	desks   int // personal ones, beside one for each unit
	// lists leaves out what no list of Akten, Dokumente and items reads: content,
	// versions, evidence, facts. One Dokument of five is then an open item.
	lists bool
}

// whole is a city with everything.
func whole(rows int) size { return size{rows: rows, persons: 1000, desks: 1000} }

// name is that of the database.
func (s size) name() string {
	if s.lists {
		return fmt.Sprintf("lists%d", s.rows)
	}
	return fmt.Sprintf("city%d", s.rows)
}

// cityNow is the moment after the newest Dokument.
var cityNow = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

// city is a filled database with the people that lists are measured as.
type city struct {
	db    *postgres.DB // as evb_app, traced
	super *pgx.Conn
	seen  *tracer
	size  size
	// Many has 20 memberships and 30 grants, One a membership, None no right at
	// all, Reader reads the tenant.
	Many, One, None, Reader access.Actor
	// Desk is the fullest Postkorb, Akte and Vorgang are the fullest ones of
	// unit 0, Batch is one of 50.
	Desk, Akte, Vorgang, Batch, Dokument uuid.UUID
	// hits are 20 Dokumente as a search finds them: most of unit 0.
	hits []uuid.UUID
}

// newCity fills a database of a cluster of its own, or takes the one that
// EVB_BENCH_DIR keeps.
func newCity(t testing.TB, n size) *city {
	t.Helper()
	ctx := t.Context()
	log := slog.New(slog.DiscardHandler)
	dir, keep := os.Getenv("EVB_BENCH_DIR"), true
	if dir == "" {
		var err error
		dir, err = os.MkdirTemp("", "evb-city-")
		must(t, err)
		keep = false
	}
	srv, err := pg.Start(ctx, pg.Options{Dir: dir, Logger: log, Throwaway: true, Settings: map[string]string{
		"shared_buffers": "4GB", "max_wal_size": "8GB", "maintenance_work_mem": "256MB",
	}})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if keep {
			must(t, srv.Stop(ctx))
			return
		}
		must(t, srv.Remove(ctx))
		must(t, os.RemoveAll(dir))
	})
	name := n.name()
	must(t, srv.EnsureRole(ctx, postgres.Owner))
	must(t, srv.EnsureRole(ctx, postgres.App))
	must(t, srv.EnsureDatabase(ctx, name, postgres.Owner, postgres.App))
	must(t, postgres.Migrate(ctx, srv.DSN(postgres.Owner, name), log, job.Migration()))
	return cityIn(t, srv.DSN(postgres.App, name), srv.DSN(pg.Superuser, name), n)
}

// cityIn fills a migrated database, unless it is filled.
func cityIn(t testing.TB, dsn, superDSN string, n size) *city {
	t.Helper()
	ctx := t.Context()
	c := &city{seen: &tracer{}, size: n}
	var err error
	c.super, err = pgx.Connect(ctx, superDSN)
	must(t, err)
	t.Cleanup(func() { _ = c.super.Close(context.Background()) })
	var full bool
	must(t, c.super.QueryRow(ctx, `SELECT EXISTS (SELECT FROM tenant WHERE settings ->> 'filled' = 'yes')`).Scan(&full))
	if !full {
		start := time.Now()
		fill(t, superDSN, n)
		t.Logf("%d Dokumente in %.0f s", n.rows, time.Since(start).Seconds())
	}
	c.db, err = postgres.Open(ctx, dsn, postgres.Options{MaxConns: int32(number(t, "EVB_BENCH_CONNS", 16)), AppName: "bench", Tracer: c.seen})
	must(t, err)
	t.Cleanup(c.db.Close)
	c.people(t)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *city) people(t testing.TB) {
	t.Helper()
	who := func(login string) access.Actor {
		a := access.Actor{Tenant: tenant, TenantSlug: "stadt", Login: login, Via: "bench"}
		must(t, c.super.QueryRow(t.Context(), `SELECT id FROM app_user WHERE tenant = 1 AND login = $1`, login).Scan(&a.User))
		return a
	}
	c.Many, c.One, c.None, c.Reader = who("many"), who("one"), who("none"), who("reader")
	must(t, c.super.QueryRow(t.Context(), `
        SELECT bench_id(20, 0), bench_id(3, 0), bench_id(4, 0), bench_id(30, 1), (SELECT min(id::text)::uuid FROM record_object WHERE parent_id = bench_id(4, 0) AND kind = 'dokument')`).
		Scan(&c.Desk, &c.Akte, &c.Vorgang, &c.Batch, &c.Dokument))
	must(t, c.super.QueryRow(t.Context(), `
        SELECT array_agg(id) FROM ((SELECT id FROM record_object WHERE kind = 'dokument' AND access_scope_id = bench_id(1, 0) ORDER BY id LIMIT 15)
            UNION ALL (SELECT id FROM record_object WHERE kind = 'dokument' AND access_scope_id = bench_id(1, 1) ORDER BY id LIMIT 5)) x`).Scan(&c.hits))
}

// fill writes the city with set-based statements, foreign keys unchecked (the
// rows agree by construction), on two connections.
func fill(t testing.TB, dsn string, n size) {
	t.Helper()
	run := func(ctx context.Context, statements ...string) error {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.Background()) }()
		if _, err := conn.Exec(ctx, `SET timezone = 'UTC'; SET synchronous_commit = off; SET session_replication_role = replica; SET evb.tenant = '1'; SET jit = off`); err != nil {
			return err
		}
		for _, s := range statements {
			s = strings.NewReplacer("{n}", fmt.Sprint(n.rows), "{now}", cityNow.Format(time.RFC3339), "{units}", fmt.Sprint(units), "{persons}", fmt.Sprint(n.persons),
				"{desks}", fmt.Sprint(n.desks), "{akten}", fmt.Sprint(max(n.rows/20, units)), "{vorgaenge}", fmt.Sprint(max(n.rows/10, units))).Replace(s)
			start := time.Now()
			if _, err := conn.Exec(ctx, s); err != nil {
				return fmt.Errorf("%w\n%s", err, s)
			}
			if testing.Verbose() && time.Since(start) > time.Second {
				t.Logf("%6.1f s %s", time.Since(start).Seconds(), strings.Join(strings.Fields(s[:min(len(s), 90)]), " "))
			}
		}
		return nil
	}
	must(t, run(t.Context(), fillFunctions, fillOrg))
	if n.lists {
		must(t, run(t.Context(), dropIndexes, fillPlan))
		g, ctx := errgroup.WithContext(t.Context())
		g.Go(func() error { return run(ctx, fillRecords, fillDokumente) })
		g.Go(func() error { return run(ctx, fillMetadata, fillOpenItems) })
		must(t, g.Wait())
		must(t, run(t.Context(), makeIndexes, `VACUUM (ANALYZE)`, filled))
		return
	}
	must(t, run(t.Context(), fillPlan))
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error { return run(ctx, fillRecords, fillMetadata, fillDokumente, fillItems, fillEvents) })
	g.Go(func() error { return run(ctx, fillBlobs, fillVersions, fillEvidence, fillWork, fillSequence) })
	must(t, g.Wait())
	must(t, run(t.Context(), `VACUUM (ANALYZE)`, filled))
}

const (
	filled = `UPDATE tenant SET settings = '{"filled": "yes"}' WHERE id = 1`
	// An index is made faster than it is kept up to date.
	dropIndexes = `
    CREATE TABLE bench_index AS SELECT c.oid::regclass::text AS name, pg_get_indexdef(c.oid) AS def FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indrelid IN ('record_object'::regclass, 'record_metadata'::regclass, 'dokument'::regclass, 'postkorb_item'::regclass, 'batch_document'::regclass)
          AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid);
    DO $$ DECLARE x text; BEGIN FOR x IN SELECT name FROM bench_index LOOP EXECUTE 'DROP INDEX ' || x; END LOOP; END $$`
	makeIndexes = `
    SET maintenance_work_mem = '512MB';
    DO $$ DECLARE x text; BEGIN FOR x IN SELECT def FROM bench_index LOOP EXECUTE x; END LOOP; END $$`
	// bench_id is a UUIDv7 of the kind's n-th row with the time of the like
	// place in the two years; bench_doc tells where Dokument i lies.
	fillFunctions = `
    CREATE FUNCTION bench_at(i bigint, of bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE RETURN
        '{now}'::timestamptz - (of - i) * (interval '730 days' / of::double precision);
    CREATE FUNCTION bench_id(kind integer, i bigint, of bigint DEFAULT 1000000) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN
        (lpad(to_hex(1790000000000 + i * 60000 * 1000000 / of), 12, '0') || '7' || lpad(to_hex(kind), 3, '0') || '8' || lpad(to_hex(i), 15, '0'))::uuid;
    CREATE FUNCTION bench_sum(kind integer, i bigint) RETURNS bytea LANGUAGE sql IMMUTABLE RETURN
        sha256(convert_to(kind || '-' || i, 'UTF8'));
    GRANT EXECUTE ON FUNCTION bench_id(integer, bigint, bigint) TO evb_app;
    -- i: Dokument, v: its Vorgang, k: the Akte of that, u: its unit, p: protected, s: scope
    CREATE VIEW bench_vorgang AS SELECT v, k, k % {units} AS u, k % 25 = 7 AS p FROM (
        SELECT v, CASE WHEN v < {vorgaenge} / 300 THEN 0 ELSE v % {akten} END AS k FROM generate_series(0, {vorgaenge} - 1) v) x;
    CREATE VIEW bench_doc AS
        SELECT i, v, k, k % {units} AS u, NOT unfiled AND k % 25 = 7 AS p, unfiled FROM (
            SELECT i, v, CASE WHEN v < {vorgaenge} / 300 THEN 0 ELSE v % {akten} END AS k, i > {n} * 0.97 AS unfiled FROM (
                SELECT i, CASE WHEN i % 1000 = 0 THEN 0 ELSE i * 7919 % {vorgaenge} END AS v FROM generate_series(1, {n}::bigint) i) x) y`
	fillOrg = `
    INSERT INTO tenant (id, slug, name) VALUES (1, 'stadt', 'Stadt') ON CONFLICT DO NOTHING;
    INSERT INTO app_user (tenant, id, login, display_name, kind) VALUES (1, '00000000-0000-7000-8000-000000000001', 'system', 'System', 'service') ON CONFLICT DO NOTHING;
    INSERT INTO org_unit (tenant, id, code, name) SELECT 1, bench_id(1, u), 'FB' || u, 'Fachbereich ' || u FROM generate_series(0, {units} - 1) u;
    INSERT INTO access_scope (tenant, id, kind, unit_id) SELECT tenant, id, 'unit', id FROM org_unit;
    INSERT INTO access_scope (tenant, id, kind) VALUES (1, '00000000-0000-7000-8000-000000000002', 'unfiled') ON CONFLICT DO NOTHING;
    INSERT INTO access_scope (tenant, id, kind, unit_id) SELECT 1, bench_id(3, k), 'object', bench_id(1, k % {units}) FROM generate_series(7, {akten} - 1, 25) k;
    UPDATE access_scope SET protection_class = 'social' WHERE kind = 'object';
    INSERT INTO app_user (tenant, id, login, display_name) SELECT 1, bench_id(2, p), 'p' || p, 'Person ' || p FROM generate_series(1, {persons}) p;
    INSERT INTO app_user (tenant, id, login, display_name) SELECT 1, bench_id(2, 100000 + n), x, initcap(x)
        FROM unnest(ARRAY['many', 'one', 'none', 'reader']) WITH ORDINALITY AS y (x, n);
    INSERT INTO membership (tenant, id, user_id, unit_id, role, valid_from)
        SELECT 1, gen_random_uuid(), bench_id(2, p), bench_id(1, p % {units}), 'clerk', '2020-01-01'::timestamptz FROM generate_series(1, {persons}) p
        UNION ALL SELECT 1, gen_random_uuid(), bench_id(2, 100001), bench_id(1, u), 'clerk', '2020-01-01' FROM generate_series(0, {units} - 1, {units} / 20) u
        UNION ALL SELECT 1, gen_random_uuid(), bench_id(2, 100002), bench_id(1, 0), 'clerk', '2020-01-01'
        UNION ALL SELECT 1, gen_random_uuid(), bench_id(2, 100004), NULL, 'reader', '2020-01-01';
    INSERT INTO access_grant (tenant, id, scope_id, user_id, access, valid_from)
        SELECT 1, gen_random_uuid(), bench_id(3, k), bench_id(2, 1 + (k * 7 + m) % {persons}), 'write', '2020-01-01'::timestamptz
            FROM generate_series(7, {akten} - 1, 25) k, generate_series(1, 3) m
        UNION ALL (SELECT 1, gen_random_uuid(), bench_id(3, k), bench_id(2, 100001), 'read', '2020-01-01' FROM generate_series(7, {akten} - 1, 25) k LIMIT 30);
    INSERT INTO postkorb (tenant, id, name, kind, unit_id, user_id)
        SELECT 1, bench_id(20, u), 'FB' || u, 'group', bench_id(1, u), NULL FROM generate_series(0, {units} - 1) u
        UNION ALL SELECT 1, bench_id(21, p), 'Person ' || p, 'personal', bench_id(1, p % {units}), bench_id(2, p) FROM generate_series(1, {desks}) p;
    INSERT INTO postkorb_member (tenant, postkorb_id, user_id, valid_from)
        SELECT 1, bench_id(20, unit.u), m.user_id, '2020-01-01'::timestamptz FROM membership m JOIN (SELECT u, bench_id(1, u) AS id FROM generate_series(0, {units} - 1) u) unit ON unit.id = m.unit_id`
	fillPlan = `
    INSERT INTO aktenplan (tenant, id, version, title, valid_from) VALUES (1, bench_id(5, 0), 1, 'Aktenplan', '2020-01-01');
    INSERT INTO aktenplaneinheit (tenant, id, aktenplan_id, code, title, unit_id, retention_years, disposal_type, valid_from)
        SELECT 1, bench_id(6, u), bench_id(5, 0), lpad(u::text, 3, '0'), 'Sachgebiet ' || u, bench_id(1, u), 10, 'B', '2020-01-01' FROM generate_series(0, {units} - 1) u;
    INSERT INTO record_object (tenant, id, kind, access_scope_id, unit_id, lifecycle, created_at, created_by, changed_at)
        SELECT 1, bench_id(3, k), 'akte', CASE WHEN k % 25 = 7 THEN bench_id(3, k) ELSE bench_id(1, k % {units}) END, bench_id(1, k % {units}),
            CASE WHEN k % 10 < 7 THEN 'closed' ELSE 'open' END, bench_at(k, {akten}), bench_id(2, 1), bench_at(k, {akten}) FROM generate_series(0, {akten} - 1) k;
    INSERT INTO akte (tenant, id, kind, aktenplaneinheit_id, access_scope_id, aktenzeichen)
        SELECT 1, bench_id(3, k), 'akte', bench_id(6, k % {units}), CASE WHEN k % 25 = 7 THEN bench_id(3, k) ELSE bench_id(1, k % {units}) END,
            lpad((k % {units})::text, 3, '0') || '-BA-' || lpad(k::text, 6, '0') || '/26' FROM generate_series(0, {akten} - 1) k;
    INSERT INTO akte_count (tenant, access_scope_id, akten) SELECT tenant, access_scope_id, count(*) FROM akte GROUP BY 1, 2;
    INSERT INTO postkorb_item (tenant, id, postkorb_id, record_id, record_kind, state, why, received_at, due_at)
        SELECT 1, bench_id(24, k), bench_id(20, (k + 1) % {units}), bench_id(3, k), 'akte', 'open', '{"code": "by-hand"}', '{now}', 'infinity' FROM generate_series(0, {akten} - 1, 49) k;
    INSERT INTO postkorb_item (tenant, id, postkorb_id, record_id, record_kind, state, why, received_at, due_at)
        SELECT 1, bench_id(25, v), bench_id(20, (u + 1) % {units}), bench_id(4, v), 'vorgang', 'open', '{"code": "by-hand"}', '{now}', 'infinity' FROM bench_vorgang WHERE v % 53 = 0;
    INSERT INTO record_metadata (tenant, record_id, subject) SELECT 1, bench_id(3, k), 'Bauvorhaben Gartenstraße ' || k FROM generate_series(0, {akten} - 1) k;
    INSERT INTO record_object (tenant, id, kind, parent_id, access_scope_id, unit_id, lifecycle, created_at, created_by, changed_at)
        SELECT 1, bench_id(4, v), 'vorgang', bench_id(3, k), CASE WHEN p THEN bench_id(3, k) ELSE bench_id(1, u) END, bench_id(1, u),
            CASE WHEN v % 10 < 8 THEN 'closed' ELSE 'open' END, bench_at(v, {vorgaenge}), bench_id(2, 1), bench_at(v, {vorgaenge}) FROM bench_vorgang;
    INSERT INTO vorgang (tenant, id, kind, akte_id, number, reference)
        SELECT 1, bench_id(4, v), 'vorgang', bench_id(3, k), row_number() OVER (PARTITION BY k ORDER BY v), 'V' || v FROM bench_vorgang;
    INSERT INTO record_metadata (tenant, record_id, subject) SELECT 1, bench_id(4, v), 'Genehmigungsverfahren ' || v FROM generate_series(0, {vorgaenge} - 1) v;
    INSERT INTO number_register (tenant, id, normal_form, written, record_id, kind)
        SELECT 1, gen_random_uuid(), regexp_replace(aktenzeichen, '[^0-9A-Z]', '', 'g'), aktenzeichen, id, 'current' FROM akte;
    ANALYZE`
	fillRecords = `
    INSERT INTO record_object (tenant, id, kind, parent_id, access_scope_id, unit_id, lifecycle, created_at, created_by, changed_at)
        SELECT 1, bench_id(10, i), 'dokument', CASE WHEN NOT unfiled THEN bench_id(4, v) END,
            CASE WHEN unfiled THEN '00000000-0000-7000-8000-000000000002'::uuid WHEN p THEN bench_id(3, k) ELSE bench_id(1, u) END,
            CASE WHEN NOT unfiled THEN bench_id(1, u) END, 'open', bench_at(i, {n}), bench_id(2, 1), bench_at(i, {n}) + interval '1 day' FROM bench_doc`
	fillMetadata = `
    INSERT INTO record_metadata (tenant, record_id, subject, document_type, data)
        SELECT 1, bench_id(10, i), 'Schreiben zu Grundstück ' || i || ' wegen Genehmigung', (ARRAY['Antrag', 'Bescheid', 'Rechnung', 'Beschwerde'])[1 + i % 4],
            jsonb_build_object('recognised', jsonb_build_object('aktenzeichen', lpad(u::text, 3, '0') || '-BA-' || lpad(k::text, 6, '0') || '/26')) FROM bench_doc`
	fillDokumente = `
    INSERT INTO batch (tenant, id, name, index_digest, state, form, created_at, created_by)
        SELECT 1, bench_id(30, b), 'stapel-' || b, bench_sum(30, b), 'balanced', 'stream', bench_at(b * 50, {n}), bench_id(2, 1) FROM generate_series(0, {n} / 50) b;
    INSERT INTO batch_document (tenant, batch_id, position, dokument_id, state)
        SELECT 1, bench_id(30, i / 50), 1 + i % 50, bench_id(10, i), 'filed' FROM generate_series(1, {n}) i WHERE i % 10 < 6;
    INSERT INTO dokument (tenant, id, kind, state, channel, received_on, sender_name, extraction, intake_complete_at)
        SELECT 1, bench_id(10, i), 'dokument', CASE WHEN unfiled THEN 'captured' ELSE 'filed' END, 'scan', bench_at(i, {n})::date, 'Absender ' || i % 5000,
            CASE WHEN i = {n} THEN 'pending' ELSE 'done' END, CASE WHEN i <= {n} - 20 THEN bench_at(i, {n}) + interval '5 minutes' END FROM bench_doc`
	fillItems = `
    INSERT INTO postkorb_item (tenant, id, postkorb_id, record_id, state, from_user_id, why, received_at, due_at, finished_at)
        SELECT 1, bench_id(22, i), bench_id(20, CASE WHEN unfiled AND i % 3 = 0 THEN 0 ELSE u END), bench_id(10, i),
            CASE WHEN unfiled OR i % 50 = 1 THEN 'open' ELSE 'done' END, CASE WHEN i % 4 = 0 THEN bench_id(2, 1 + i % {persons}) END,
            '{"code": "why-number", "params": {}}', bench_at(i, {n}), CASE WHEN i % 2 = 0 THEN bench_at(i, {n}) + interval '14 days' ELSE 'infinity' END,
            CASE WHEN NOT (unfiled OR i % 50 = 1) THEN bench_at(i, {n}) + interval '2 days' END FROM bench_doc`
	// Of five Dokumente one is at work, half of them with persons.
	fillOpenItems = `
    INSERT INTO postkorb_item (tenant, id, postkorb_id, record_id, state, from_user_id, why, received_at, due_at)
        SELECT 1, bench_id(22, i), CASE WHEN unfiled AND i % 3 = 0 THEN bench_id(20, 0) WHEN i % 10 = 0 THEN bench_id(21, 1 + i / 10 % {desks}) ELSE bench_id(20, u) END, bench_id(10, i),
            'open', CASE WHEN i % 4 = 0 THEN bench_id(2, 1 + i % {persons}) END, '{"code": "why-number", "params": {}}', bench_at(i, {n}),
            CASE WHEN i % 2 = 0 THEN bench_at(i, {n}) + interval '14 days' ELSE 'infinity' END FROM bench_doc WHERE i % 5 = 0`
	fillEvents = `
    DO $$ BEGIN
        FOR m IN 0..24 LOOP
            DECLARE month date := date_trunc('month', '{now}'::timestamptz) - make_interval(months => m); base text;
            BEGIN
                FOREACH base IN ARRAY ARRAY['event', 'access_log'] LOOP
                    IF to_regclass(format('%s_%s', base, to_char(month, 'YYYYMM'))) IS NULL THEN
                        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', base || '_' || to_char(month, 'YYYYMM'), base, month, month + interval '1 month');
                    END IF;
                END LOOP;
            END;
        END LOOP;
    END $$;
    INSERT INTO event (tenant, id, kind, record_id, actor_id, occurred_at, recorded_at, payload_hash, salt, payload)
        SELECT 1, bench_id(40, 2 * i + f, 2 * 1000000), (ARRAY['dokument.received', 'dokument.filed'])[1 + f], bench_id(10, i), bench_id(2, 1 + i % {persons}),
            bench_at(i, {n}), bench_at(i, {n}), bench_sum(40, 2 * i + f), '\x00000000000000000000000000000000', '{"details":{"channel":"scan"},"kind":"dokument.received"}'
        FROM generate_series(1, {n}::bigint) i, generate_series(0, 1) f`
	fillBlobs = `
    INSERT INTO blob (tenant, id, sha256, size, state, created_at, lock_wanted_until, lock_actual_mode, lock_actual_until, checked_at)
        SELECT 1, bench_id(11 + f, i), bench_sum(11 + f, i), 100000, 'present', bench_at(i, {n}), '2036-01-01', 'GOVERNANCE', '2036-01-01', bench_at(i, {n})
        FROM generate_series(1, {n}::bigint) i, generate_series(0, 1) f;
    INSERT INTO blob_digest (tenant, blob_id, algorithm, value)
        SELECT 1, bench_id(11 + f, i), 'sha512', bench_sum(11 + f, i) || bench_sum(11 + f, i) FROM generate_series(1, {n}::bigint) i, generate_series(0, 1) f`
	fillVersions = `
    INSERT INTO dokument_version (tenant, id, dokument_id, number, origin, created_at, created_by)
        SELECT 1, bench_id(13, i), bench_id(10, i), 1, 'scan', bench_at(i, {n}), bench_id(2, 1) FROM generate_series(1, {n}::bigint) i;
    INSERT INTO rendition (tenant, id, version_id, kind, source_id, created_at)
        SELECT 1, bench_id(14 + f, i), bench_id(13, i), (ARRAY['original', 'text'])[1 + f], CASE WHEN f = 1 THEN bench_id(14, i) END, bench_at(i, {n})
        FROM generate_series(1, {n}::bigint) i, generate_series(0, 1) f;
    INSERT INTO primary_file (tenant, id, rendition_id, position, blob_id, file_name, media_type, pages)
        SELECT 1, bench_id(16 + f, i), bench_id(14 + f, i), 1, bench_id(11 + f, i), 'brief.pdf', 'application/pdf', 2
        FROM generate_series(1, {n}::bigint) i, generate_series(0, 1) f`
	fillEvidence = `
    INSERT INTO seal (tenant, id, number, algorithm, leaves, root, leaves_key, leaves_sha256, reason, closed_at, closed_by)
        SELECT 1, bench_id(50, s), s + 1, 'sha256', 1370, bench_sum(50, s), 'x', bench_sum(51, s), 'period', bench_at(s, 730), bench_id(2, 1) FROM generate_series(0, 729) s;
    INSERT INTO seal_state (tenant, seal_id, state, at) SELECT 1, bench_id(50, s), st, bench_at(s, 730) FROM generate_series(0, 729) s, unnest(ARRAY['closed', 'stamped', 'sealed']) st;
    INSERT INTO time_stamp_token (tenant, id, subject_id, algorithm, imprint, token, tsa, gen_time, signature_algorithm, key_bits, certificate_not_after, final_at)
        SELECT 1, bench_id(52, s), bench_id(50, s), 'sha256', bench_sum(50, s), decode(repeat('30', 6000), 'hex'), 'TSA', bench_at(s, 730), 'rsa-pkcs1 3072 sha256', 3072, '2030-01-01', bench_at(s, 730)
        FROM generate_series(0, 729) s;
    INSERT INTO ats (tenant, seal_id, chain, position, token_id) SELECT 1, bench_id(50, s), 1, 1, bench_id(52, s) FROM generate_series(0, 729) s;
    INSERT INTO stamp_request (tenant, id, purpose, subject_id, algorithm, imprint, nonce, tsa, asked_at, outcome)
        SELECT 1, bench_id(53, s), 'seal', bench_id(50, s), 'sha256', bench_sum(50, s), '\x00', 'TSA', bench_at(s, 730), 'granted' FROM generate_series(0, 729) s;
    INSERT INTO archive_version (tenant, id, dokument_id, version_id, number, cause, created_at, seal_id, leaf)
        SELECT 1, bench_id(18, i), bench_id(10, i), bench_id(13, i), 1, 'intake', bench_at(i, {n}),
            CASE WHEN i <= {n} * 0.998 THEN bench_id(50, i * 730 / {n}) END, CASE WHEN i <= {n} * 0.998 THEN i END FROM generate_series(1, {n}::bigint) i;
    INSERT INTO metadata_pack (tenant, id, kind, object_key, sha256, size, entries, written_at)
        SELECT 1, bench_id(54, p), 'versions', 'stadt/packs/' || p, bench_sum(54, p), 1000, 500, bench_at(p * 500, {n}) FROM generate_series(0, {n} / 500) p;
    INSERT INTO archive_metadata (tenant, archive_version_id, salt, body, pack_id)
        SELECT 1, bench_id(18, i), bench_sum(18, i), '{"vorgang_id":"' || CASE WHEN NOT unfiled THEN bench_id(4, v)::text ELSE '' END || '","subject":"Schreiben ' || i || '","members":[]}', bench_id(54, i / 500)
        FROM bench_doc;
    INSERT INTO group_member (tenant, archive_version_id, position, kind, blob_id)
        SELECT 1, bench_id(18, i), m, (ARRAY['blob', 'metadata', 'salt'])[m], CASE WHEN m = 1 THEN bench_id(11, i) END
        FROM generate_series(1, {n}::bigint) i, generate_series(1, 3) m`
	fillWork = `
    INSERT INTO routing_decision (tenant, id, dokument_id, rule, rule_version, target, why, decided_at)
        SELECT 1, bench_id(19, i), bench_id(10, i), 'number', 1, '{}', '{}', bench_at(i, {n}) FROM generate_series(1, {n}::bigint) i;
    INSERT INTO extraction_work (tenant, version_id, dokument_id, state, started_at) SELECT 1, bench_id(13, i), bench_id(10, i), 'done', bench_at(i, {n}) FROM generate_series(1, {n}::bigint) i;
    INSERT INTO intake_step (tenant, id, dokument_id, step, result, at) SELECT 1, bench_id(23, i), bench_id(10, i), 'text', 'done', bench_at(i, {n}) FROM generate_series(1, {n}::bigint) i`
	fillSequence = `
    INSERT INTO log_sequence (tenant, stream, seq, id, recorded_at, chain)
        SELECT 1, 'event', 2 * i + f - 1, bench_id(40, 2 * i + f, 2 * 1000000), bench_at(i, {n}), bench_sum(41, 2 * i + f) FROM generate_series(1, {n}::bigint) i, generate_series(0, 1) f;
    INSERT INTO log_head (tenant, id, stream, seq, chain, written_at)
        SELECT 1, bench_id(55, h), 'event', h * 100, bench_sum(41, h * 100 + 1), bench_at(h * 50, {n}) FROM generate_series(1, {n} / 50) h`
)
