// Package org owns who there is: tenants, org units, users, memberships
// (roles), sessions and API tokens.
//
//	tenant 1 ── n org_unit 1 ── n membership n ── 1 app_user 1 ── n session, api_token
//
// A membership is a role in a unit, or in the whole tenant. Units and users
// are never deleted: memberships end, users are disabled. Every unit has one
// access scope with its own id (migration 0011); rights follow from it
// (internal/access).
//
// Secrets. Passwords are kept as argon2id (RFC 9106) in PHC form with their
// parameters. Session and token secrets are 32 random bytes, "evb_" and
// base64url for tokens; the database keeps their SHA-256 only, and looks them
// up by it: a lookup by digest leaks no part of a secret by its duration.
//
// Guessing is slowed per login: after five failures the next try has to wait a
// second, and each further one twice as long as the one before, at most 15
// minutes. The try is counted before the password is looked at, so that parallel
// guesses count.
package org
