// Package web is the outside of the program for people and programs: routes,
// handlers, sessions, the OpenAPI document and the live updates. It decides
// nothing and holds no SQL: a handler decodes, calls one use case and encodes.
//
// All routes stand in routes.go; the OpenAPI document is built from the same
// table, so the two cannot part. An error returned by a handler becomes an
// answer in one place (answer, with package problem).
//
// # Who asks
//
// The host name picks the tenant where one names it. A request is signed in by
// "Authorization: Bearer TOKEN" or by the session cookie (HttpOnly,
// SameSite=Lax, Secure with TLS). A write that the cookie signs must come from
// our own pages (net/http.CrossOriginProtection); a token is never sent by a
// browser of its own accord, so it needs no such check.
//
// # Versions
//
// What has a row version answers it as ETag. A write names it with If-Match:
// without it 428, with an old one 412, with * any version.
package web
