// Package blob keeps byte streams: each content once per tenant, named by its
// SHA-256 in the bucket and known by one row. Step numbers are those of
// internal/intake/doc.go, which tells the life of a Dokument as a whole.
//
//	(none) --Stage--> staged --Confirm--> present
//	                    |  ^                 | no reference for a day (Reconcile)
//	       lease over,  |  +-----------------+
//	       no reference v
//	                 deleting --object gone--> (no row)
//
// staged   the row is there, the object may be; the lease says until when
// somebody works on it. present: the object is there and something refers to
// it. deleting: the sweeper is removing the object; whoever brings the same
// content waits for it.
//
// A row is always there before its object and after it: whatever a crash
// leaves in the bucket has a row that says so, and Sweep removes both. Nothing
// is ever removed that a row of another table refers to; Sweep looks at the
// references under the row's lock, Confirm takes the same lock.
//
// Retention (Object Lock) is put with the bytes for seven days, so that no
// object is ever there without it; what a blob is wanted to have beyond that
// stands in the row and is brought to the bucket, and read back, by the job
// blob.lock. An unreferenced object under governance lock is removed with the
// bypass credential (Options.Disposal), or waits for the end of its lock.
//
// The rights of people are not asked here: who reads a blob was found by the
// Dokument that refers to it.
package blob
