package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"evb/internal/postgres"
)

// Tx runs fn in a transaction of Stadt and ends the test on an error.
func Tx(t testing.TB, db *postgres.DB, fn func(tx pgx.Tx) error) {
	t.Helper()
	if err := db.InTx(t.Context(), Stadt, fn); err != nil {
		t.Fatal(err)
	}
}

// Read runs fn in a reading transaction of Stadt and ends the test on an error.
func Read(t testing.TB, db *postgres.DB, fn func(q postgres.Querier) error) {
	t.Helper()
	if err := db.Read(t.Context(), Stadt, fn); err != nil {
		t.Fatal(err)
	}
}

// Exec runs a statement as the application and gives the number of its rows.
func Exec(t testing.TB, db *postgres.DB, sql string, args ...any) (rows int64) {
	t.Helper()
	Tx(t, db, func(tx pgx.Tx) error {
		tag, err := tx.Exec(t.Context(), sql, args...)
		rows = tag.RowsAffected()
		return err
	})
	return rows
}

// One reads the one value of a query.
func One[T any](t testing.TB, db *postgres.DB, sql string, args ...any) (v T) {
	t.Helper()
	Read(t, db, func(q postgres.Querier) error { return q.QueryRow(t.Context(), sql, args...).Scan(&v) })
	return v
}

// Column reads the single column of a query.
func Column[T any](t testing.TB, db *postgres.DB, sql string, args ...any) (out []T) {
	t.Helper()
	Read(t, db, func(q postgres.Querier) error {
		rows, err := q.Query(t.Context(), sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[T])
		return err
	})
	return out
}

// Count counts the rows of a table of Stadt.
func Count(t testing.TB, db *postgres.DB, table string) int {
	t.Helper()
	return One[int](t, db, "SELECT count(*) FROM "+table+" WHERE tenant = evb_tenant()")
}

// Super is a connection with full rights, for what only an attacker could do.
func Super(t testing.TB, db *postgres.DB) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), SuperDSN(NameOf(db)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
