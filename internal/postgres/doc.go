// Package postgres is the only way to the database: one pool, one transaction
// helper that sets the tenant, the mapping of constraints to faults, and the
// runner of the migrations.
//
// Every statement runs inside InTx or Read, because the tenant guard
// (row-level security) shows nothing without SET LOCAL evb.tenant. The
// function given to InTx may run twice (serialisation failure, deadlock) and
// so has no effect but through its transaction: no S3, TSA or HTTP call
// inside.
//
// The guard has a price for plans: an index is used for a condition only if
// Postgres knows that it leaks nothing. Equality and order of uuid, text and times
// are such, CASE too; COALESCE, LIKE and functions are not. So a join says CASE
// where it would say coalesce, or the table behind it is read whole.
package postgres
