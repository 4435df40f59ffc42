// Package migrations holds the numbered SQL files that make the database, in
// the order of their numbers, forward only. It has no logic: internal/postgres
// runs them. Number 2 is River's own schema, which internal/job brings as a Go
// migration so that River's SQL stays River's.
package migrations

import "embed"

// FS holds the files at its root, named NNNN_what.sql.
//
//go:embed *.sql
var FS embed.FS
