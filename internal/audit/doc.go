// Package audit lets auditors read the log and proves that nobody has changed it.
//
// # What Verify proves
//
// Of each stream (changes, accesses) it recomputes everything from the rows: the
// payload hash of each entry, that the columns say what the payload says, the
// number without gaps, the chain. Then it compares the chain with the heads that
// were written outside the database under Object Lock (internal/preservation).
// Up to the newest head a change, removal, insertion or exchange of entries is
// found and named, also one by somebody with full rights on the database who
// computed the chain anew: the heads do not agree any more, and the first head
// that disagrees says between which numbers it happened. Entries after the newest
// head are the open tail: they are consistent in themselves, and that is all.
//
// A payload that disposal erased leaves its hash in the chain; such entries are
// counted, not reproached.
//
// Auditors' own searches, listings and verifications are facts of the access log.
package audit
