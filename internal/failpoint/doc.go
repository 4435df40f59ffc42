// Package failpoint lets the crash tests kill the program at a named place.
//
// A durable step of the program is followed by a [Point]. In production every
// point is inert: hitting it compares one pointer with nil. When the process
// was started with the environment variable EVB_FAILPOINT, the points named
// there send SIGKILL to the own process, so that nothing gets the chance to
// tidy up: no deferred call, no buffered write, no signal handler. That is the
// same end as kill -9 from outside, but at an exact place.
//
//	EVB_FAILPOINT=intake-5-committed        the first hit kills
//	EVB_FAILPOINT=intake-5-committed:3      the third hit kills
//	EVB_FAILPOINT=intake-4-put,job-8-lock:2 whichever comes first
//
// Points are declared as package variables next to the step they follow:
//
//	var afterPut = failpoint.New("intake-4-put", "object stored, blob row still staged")
//
// so that [All] knows every point of the binary before main starts, and a test
// can walk over all of them. A name in EVB_FAILPOINT that no point carries
// would make a crash test pass without a crash: [Check] reports it, and the
// commands that start servers call it first.
//
// The registry is the one global of this package. It is written only while
// packages are initialised and read-only afterwards; the hit counters are
// atomic. All functions are safe for concurrent use.
package failpoint
