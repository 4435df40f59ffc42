// Package access answers one question: may this actor see or change this
// object? Read means a role in the owning unit, or a grant on the object's
// access scope, or membership of a Postkorb that holds an open item for it
// (that object only), or having submitted it oneself while nobody has filed it
// yet. Everything else is denied, and denied looks like absent.
//
// The answer is one piece of SQL (Sees, Changes) that every list and every
// lookup puts into its WHERE clause; the search filter (Tokens) asks the same
// question. A role without a unit owns no unit, so it reads nothing by itself,
// the registry's neither: the person who distributes the clearing reads what
// lies there by working in that Postkorb, and what a unit has by a role in that
// unit. Only auditor and reader without a unit read the whole tenant, and each
// look of theirs is logged. Nothing is cached: a change of roles or grants acts with the next
// statement.
package access
