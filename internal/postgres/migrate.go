package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"evb/migrations"
)

// Roles of the database (decisions 3.2).
const (
	Owner = "evb_owner" // owns the tables; migrations run as it
	App   = "evb_app"   // the program: no superuser, no BYPASSRLS, not owner
)

// Migrate brings the database of the DSN to the newest schema, under an
// advisory lock, so that several processes may call it at once. The DSN's user
// is evb_owner, or a role that may SET ROLE evb_owner. extra are migrations
// that are no SQL files of ours (River's). The SHA-256 of each applied file is
// kept; Migrate refuses to run when an applied file was changed since.
func Migrate(ctx context.Context, dsn string, log *slog.Logger, extra ...*goose.Migration) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("postgres owner dsn: %w", redact(err))
	}
	cfg.RuntimeParams["role"] = Owner
	cfg.RuntimeParams["application_name"] = "evb migrate"
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	if err := checkFiles(ctx, db); err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS,
		goose.WithSessionLocker(locker), goose.WithGoMigrations(extra...), goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(log.With("part", "migrate")), goose.WithTableName("schema_version"))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return recordFiles(ctx, db)
}

// checkFiles compares the recorded digests of applied files with those in this
// program.
func checkFiles(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, `
        CREATE TABLE IF NOT EXISTS schema_file (
            name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`); err != nil &&
		!strings.Contains(err.Error(), "pg_type_typname_nsp_index") { // two processes at once: the other one made it
		return fmt.Errorf("schema_file: %w", err)
	}
	rows, err := db.QueryContext(ctx, `SELECT name, sha256 FROM schema_file`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, applied string
		if err := rows.Scan(&name, &applied); err != nil {
			return err
		}
		body, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			return fmt.Errorf("the database knows migration %s, this program does not: it is older than the database", name)
		}
		if digest(body) != applied {
			return fmt.Errorf("migration %s was changed after it had been applied: an applied migration is never edited, add a new one", name)
		}
	}
	return rows.Err()
}

func recordFiles(ctx context.Context, db *sql.DB) error {
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return err
	}
	for _, name := range names {
		body, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, `INSERT INTO schema_file (name, sha256) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, digest(body)); err != nil {
			return fmt.Errorf("record migration %s: %w", name, err)
		}
	}
	return nil
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
