package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/migrations"
)

// Querier is what a read needs. pgx.Tx and *pgxpool.Pool satisfy it; a
// function that takes pgx.Tx instead writes.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// DB is the pool. Safe for concurrent use.
type DB struct {
	pool *pgxpool.Pool
	// turns bounds the reads that ReadAtOnce has under way.
	turns chan struct{}
}

// Options of Open.
type Options struct {
	MaxConns int32         // 0: pgx's default (4 or number of CPUs)
	AppName  string        // shown in pg_stat_activity
	Connect  time.Duration // time-out of one connection attempt; 0: 5 s
	// Lock bounds the wait for one lock; 0: 20 s.
	Lock time.Duration
	// Idle ends a session that holds a transaction open without working: such a
	// one would hold up the sequencer (decisions 6.4); 0: 30 s.
	Idle time.Duration
	// Tracer sees every statement; nil: none. Benchmarks look at plans with it.
	Tracer pgx.QueryTracer
}

// Open makes the pool and checks that the database answers. The DSN's user
// must be the application's role: Open refuses a superuser, a role with
// BYPASSRLS and the owner of the tables, because the tenant guard does not
// hold for them. A schema older than this program is schema-behind.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("postgres dsn: %w", redact(err))
	}
	if o.MaxConns > 0 {
		cfg.MaxConns = o.MaxConns
	}
	if o.Connect == 0 {
		o.Connect = 5 * time.Second
	}
	cfg.ConnConfig.ConnectTimeout = o.Connect
	cfg.ConnConfig.Tracer = o.Tracer
	rp := cfg.ConnConfig.RuntimeParams
	rp["application_name"] = o.AppName
	rp["timezone"] = "UTC"
	// Our statements are short: compiling one costs more than running it, and
	// the estimates of lists with rights lie above the server's threshold.
	rp["jit"] = "off"
	rp["lock_timeout"] = milliseconds(o.Lock, 20*time.Second)
	rp["idle_in_transaction_session_timeout"] = milliseconds(o.Idle, 30*time.Second)
	// A statement ends with its caller: by the deadline of its context, and when
	// the process is gone by this.
	rp["client_connection_check_interval"] = "10s"
	// A machine that went away without a word lets go of its locks within a minute.
	rp["tcp_keepalives_idle"], rp["tcp_keepalives_interval"], rp["tcp_keepalives_count"] = "30", "10", "3"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open postgres: %w", err)
	}
	var super, bypass, owner bool
	err = pool.QueryRow(ctx, `
        SELECT r.rolsuper, r.rolbypassrls, EXISTS (SELECT FROM pg_class c WHERE c.relname = 'tenant' AND c.relowner = r.oid)
        FROM pg_roles r WHERE r.rolname = current_user`).Scan(&super, &bypass, &owner)
	if err != nil {
		pool.Close()
		return nil, fault.Wrap(err, "database-unavailable")
	}
	if super || bypass || owner {
		pool.Close()
		return nil, errors.New("the database role of the DSN is a superuser, has BYPASSRLS or owns the tables: use evb_app (deploy/postgres-roles.sql)")
	}
	if err := checkSchema(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return &DB{pool: pool, turns: make(chan struct{}, min(int(cfg.MaxConns), max(4, 2*runtime.GOMAXPROCS(0))))}, nil
}

// checkSchema refuses a schema without one of this program's migrations. A
// schema with more than those is let through: it is that of a newer program
// whose processes take over one by one.
func checkSchema(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, `SELECT name FROM schema_file`)
	var applied []string
	if err == nil {
		applied, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	var pe *pgconn.PgError
	switch {
	case errors.As(err, &pe) && (pe.Code == "42P01" || pe.Code == "42501"):
		applied = nil // no such table, or not ours to read: before migration 0037
	case err != nil:
		return fault.Wrap(err, "database-unavailable")
	}
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.Contains(applied, name) {
			return fault.New("schema-behind", "migration", name)
		}
	}
	return nil
}

func milliseconds(d, otherwise time.Duration) string {
	return strconv.FormatInt(cmp.Or(d, otherwise).Milliseconds(), 10)
}

// Pool is for the queue, which brings its own transactions.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Close ends all connections.
func (db *DB) Close() { db.pool.Close() }

// Ping asks the database for a sign of life.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.pool.Ping(ctx); err != nil {
		return fault.Wrap(err, "database-unavailable")
	}
	return nil
}

// maxTries bounds the repetitions of InTx after 40001 and 40P01.
const maxTries = 8

// InTx runs fn in one transaction of the tenant. It repeats fn after a
// serialisation failure or a deadlock, at most maxTries times. A connection
// that breaks during COMMIT leaves the outcome unknown: InTx then returns the
// fault "commit-unknown", and the caller asks the database what became of it
// before it does anything else (stack protocol, step 7).
func (db *DB) InTx(ctx context.Context, tenant access.Tenant, fn func(tx pgx.Tx) error) error {
	return db.inTx(ctx, fmt.Sprintf("begin; set local evb.tenant = '%d'", tenant), fn)
}

// InTxKept is InTx for acts on one object by its key, which are as frequent as the
// lists they are taken from: plans are kept as with ReadKept.
func (db *DB) InTxKept(ctx context.Context, tenant access.Tenant, fn func(tx pgx.Tx) error) error {
	return db.inTx(ctx, fmt.Sprintf("begin; set local evb.tenant = '%d'; set local plan_cache_mode = force_generic_plan", tenant), fn)
}

func (db *DB) inTx(ctx context.Context, begin string, fn func(tx pgx.Tx) error) error {
	var err error
	for range maxTries {
		err = db.once(ctx, begin, fn)
		var pe *pgconn.PgError
		if !errors.As(err, &pe) || pe.Code != "40001" && pe.Code != "40P01" {
			break
		}
	}
	return outage(err)
}

// Read runs fn in one read-only transaction of the tenant, with one snapshot.
func (db *DB) Read(ctx context.Context, tenant access.Tenant, fn func(q Querier) error) error {
	return outage(db.once(ctx, fmt.Sprintf("begin isolation level repeatable read, read only; set local evb.tenant = '%d'", tenant),
		func(tx pgx.Tx) error { return fn(tx) }))
}

// ReadKept is Read for statements that are asked all the time, by everybody and
// with the same words: their plan is made once a connection and kept, whatever the
// parameters are. Planning a list with its rights costs several times what reading
// it costs. A statement whose best plan depends on its parameters is none of them.
func (db *DB) ReadKept(ctx context.Context, tenant access.Tenant, fn func(q Querier) error) error {
	return outage(db.once(ctx, fmt.Sprintf("begin isolation level repeatable read, read only; set local evb.tenant = '%d'; set local plan_cache_mode = force_generic_plan", tenant),
		func(tx pgx.Tx) error { return fn(tx) }))
}

const (
	sqlBeginRead = `begin isolation level repeatable read, read only`
	sqlKeepPlans = `SELECT set_config('evb.tenant', $1, true), set_config('plan_cache_mode', 'force_generic_plan', true)`
	sqlCommit    = `commit`
)

// ReadAtOnce is ReadKept for statements none of which needs the answer of another:
// they travel together with the transaction's begin and end, there and back once.
// A page that is asked hundreds of times a second spends as much on the way as in
// the tables. queue queues them, each with what takes its answer (QueuedQuery.Query
// or QueryRow); an error of that is the error of ReadAtOnce, and ends the reading of
// later answers.
//
// They take turns, twice as many at a time as there are processors: they compute and
// wait for nothing, so that more at once end no sooner, and the connections in use
// stay few, with their plans and caches warm.
func (db *DB) ReadAtOnce(ctx context.Context, tenant access.Tenant, queue func(b *pgx.Batch)) error {
	select {
	case db.turns <- struct{}{}:
		defer func() { <-db.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return outage(err)
	}
	defer conn.Release()
	b := &pgx.Batch{}
	b.Queue(sqlBeginRead)
	b.Queue(sqlKeepPlans, strconv.Itoa(int(tenant)))
	queue(b)
	b.Queue(sqlCommit)
	err = conn.SendBatch(ctx, b).Close()
	if err != nil && !conn.Conn().IsClosed() && conn.Conn().PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_, _ = conn.Exec(ctx, `rollback`) // a connection that cannot even that is thrown away
	}
	return outage(err)
}

func (db *DB) once(ctx context.Context, begin string, fn func(tx pgx.Tx) error) error {
	tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if err != nil {
		return err
	}
	// Rollback with a context of its own: a cancelled request must not leave
	// the transaction open.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = tx.Rollback(ctx)
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		var pe *pgconn.PgError
		if errors.As(err, &pe) || errors.Is(err, pgx.ErrTxCommitRollback) {
			return err // the server said no: nothing was committed
		}
		return fault.Wrap(err, "commit-unknown")
	}
	return nil
}

// TenantRow is one tenant of the installation.
type TenantRow struct {
	ID    access.Tenant
	Slug  string
	Name  string
	Hosts []string
	Zone  string
}

const sqlTenants = `SELECT id, slug, name, hosts, zone FROM tenant ORDER BY id`

// Tenants lists the tenants. It is the one read that needs no tenant.
func (db *DB) Tenants(ctx context.Context) ([]TenantRow, error) {
	rows, err := db.pool.Query(ctx, sqlTenants)
	if err != nil {
		return nil, outage(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[TenantRow])
	return out, outage(err)
}

// SystemActor is the actor of background work in a tenant.
func (db *DB) SystemActor(ctx context.Context, tenant access.Tenant) (access.Actor, error) {
	var slug string
	if err := db.pool.QueryRow(ctx, sqlTenantSlug, tenant).Scan(&slug); err != nil {
		return access.Actor{}, outage(fmt.Errorf("tenant %d: %w", tenant, err))
	}
	return access.System(tenant, slug), nil
}

const sqlTenantSlug = `SELECT slug FROM tenant WHERE id = $1`

// outage turns a lost or refused connection, a lock that is not given, a full
// disk and text that no database takes into the fault people see; every other
// error passes unchanged.
func outage(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch pe.Code {
		case "57P01", "57P02", "57P03", "53300": // server stops or starts, too many connections
			return fault.Wrap(err, "database-unavailable")
		case "55P03", "40001", "40P01": // a lock not given in time, or never in turn for all repetitions
			return fault.Wrap(err, "database-busy")
		case "53100": // disk full
			return fault.Wrap(err, "database-disk-full")
		case "22021", "22P05": // a zero byte, or bytes that are no UTF-8
			return fault.Wrap(err, "text-invalid")
		}
		return err
	}
	var ce *pgconn.ConnectError
	var ne net.Error
	if errors.As(err, &ce) || errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return fault.Wrap(err, "database-unavailable")
	}
	return err
}

// Constraint is the name of the violated constraint in err's chain, or "".
// Unique indexes count as constraints.
func Constraint(err error) string {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && len(pe.Code) == 5 && pe.Code[:2] == "23" {
		return pe.ConstraintName
	}
	return ""
}

func redact(err error) error {
	var pe *pgconn.ParseConfigError
	if errors.As(err, &pe) {
		return errors.New("cannot be read (its text is not shown, it may hold a password)")
	}
	return err
}
