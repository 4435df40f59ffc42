package job

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverVersion is the version of River's schema that migration 2 makes. A
// newer River brings a further numbered migration, never a change of this one.
const riverVersion = 8

// schemaMark is where River's own runner would put a schema name; ours is the
// connection's.
const schemaMark = "/* TEMPLATE: schema */"

// Migration is number 2 of the migrations: River's own schema, taken from the
// module, with the rights of the application role. Each of River's steps is a
// transaction of its own, because one of them adds a value to a type that the
// next one uses; a marker written with each step lets a run that was killed in
// between go on where it stopped.
func Migration() *goose.Migration {
	return goose.NewGoMigration(2, &goose.GoFunc{RunDB: func(ctx context.Context, db *sql.DB) error {
		m, err := rivermigrate.New(riverpgxv5.New(nil), nil)
		if err != nil {
			return err
		}
		var complete bool // a run was killed after the last step, before the number was recorded
		if err := db.QueryRowContext(ctx, `SELECT to_regclass('river_migration') IS NOT NULL AND to_regclass('river_step') IS NULL`).Scan(&complete); err != nil || complete {
			return err
		}
		if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS river_step (version int PRIMARY KEY)`); err != nil {
			return err
		}
		for _, v := range m.AllVersions() {
			if v.Version > riverVersion {
				break
			}
			if err := riverStep(ctx, db, v); err != nil {
				return fmt.Errorf("river schema %d: %w", v.Version, err)
			}
		}
		_, err = db.ExecContext(ctx, `
            INSERT INTO river_migration (line, version) SELECT 'main', version FROM river_step ON CONFLICT DO NOTHING;
            GRANT SELECT, INSERT, UPDATE, DELETE ON river_job, river_leader, river_queue, river_notification TO evb_app;
            GRANT SELECT ON river_migration TO evb_app;
            GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO evb_app;
            DROP TABLE river_step;`)
		return err
	}}, nil)
}

func riverStep(ctx context.Context, db *sql.DB, v rivermigrate.Migration) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	res, err := tx.ExecContext(ctx, `INSERT INTO river_step (version) VALUES ($1) ON CONFLICT DO NOTHING`, v.Version)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err // done by a run that was killed later
	}
	if _, err := tx.ExecContext(ctx, strings.ReplaceAll(v.SQLUp, schemaMark, "")); err != nil {
		return err
	}
	return tx.Commit()
}
