// Package telemetry makes the logger and the metrics registry of a process.
//
// The log is one line per event on stderr: a constant message, fixed keys (see
// the Key constants), no names of persons, no subjects, no text of letters.
// What belongs to a request travels in its context ([WithRequestID], [With])
// and stands in every line that is written with that context, whichever part
// writes it. Durations are written as text ("1.5s"), times in UTC.
//
// Metrics are registered on the registry of [NewRegistry], which is handed to
// each part; nothing uses the global one. Names begin with evb_ and end with
// their unit, labels take few values.
//
// Everything here is safe for concurrent use; the package has no state.
package telemetry
