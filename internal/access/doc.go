// Package access answers one question: may this actor see or change this
// object? Read means a role in the owning unit, or a grant on the object's
// access scope, or membership of a Postkorb that holds an open item for it
// (that object only), or having submitted it oneself while nobody has filed it
// yet. Everything else is denied, and denied looks like absent.
//
// The answer is one piece of SQL (Sees, Changes) that every list and every
// lookup puts into its WHERE clause; the search filter (Tokens) asks the same
// question. Nothing is cached: a change of roles or grants acts with the next
// statement.
package access
