// Package client speaks the HTTP interface of a running server for the commands
// of cmd/evb. It knows nothing of the inside of the server: what it relies on is
// docs/contract.md.
//
// Calls that may be repeated are repeated: everything but a POST without an
// Idempotency-Key. A server that never answered is reported at once
// (ErrUnreachable); one that has answered before and stops to do so, is starting
// again or is busy (503, 429) is waited for, up to Options.Patience. So a hand-over
// of many hours survives a restart of the server.
package client
