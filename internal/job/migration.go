package job

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverVersion is the version of River's schema that migration 2 makes. A
// newer River brings a further numbered migration, never a change of this one.
const riverVersion = 8

// Migration is number 2 of the migrations: River's own schema, taken from the
// module, with the rights of the application role.
func Migration() *goose.Migration {
	return goose.NewGoMigration(2, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		m, err := rivermigrate.New(riverpgxv5.New(nil), nil)
		if err != nil {
			return err
		}
		for _, v := range m.AllVersions() {
			if v.Version > riverVersion {
				break
			}
			if _, err := tx.ExecContext(ctx, v.SQLUp); err != nil {
				return fmt.Errorf("river schema %d: %w", v.Version, err)
			}
			if _, err := tx.ExecContext(ctx, `
                DO $$ BEGIN IF EXISTS (SELECT FROM information_schema.columns WHERE table_name = 'river_migration' AND column_name = 'line') THEN
                    INSERT INTO river_migration (line, version) SELECT 'main', v FROM generate_series(1, `+fmt.Sprint(v.Version)+`) v ON CONFLICT DO NOTHING;
                END IF; END $$`); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `
            GRANT SELECT, INSERT, UPDATE, DELETE ON river_job, river_leader, river_queue, river_notification TO evb_app;
            GRANT SELECT ON river_migration TO evb_app;
            GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO evb_app;`)
		return err
	}}, nil)
}
