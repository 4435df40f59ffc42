// Package intake takes documents in: it looks at a file, makes its bytes
// durable, and writes the Dokument with everything that belongs to it in one
// transaction. It also holds the quarantine, the one place of every intake
// error, and the request keys' end of life.
//
// # The life of a Dokument, step by step
//
// Code and migrations refer to these numbers; each has a fail point of its
// number, at which the crash tests end the process.
//
//  1. The body goes to the spool while SHA-256 and SHA-512 are computed in one
//     pass (blob.Spool.Take); a digest the sender gave is compared. The file is
//     looked at (media.Engine): what holds no document is refused here, and
//     nothing of it is stored. A crash leaves a temporary file, which the next
//     start removes.
//  2. A request key is looked up: the same request gets its stored answer,
//     another request with that key is refused. A crash leaves nothing.
//  3. T1: a blob row, staged, with a lease (blob.Service.Stage). What is being
//     removed is waited for, what is present needs no step 4. A crash leaves a
//     staged row without an object: the sweeper removes it.
//  4. The object is put under its content name, only if it is not there, with
//     its digest and its lock in the same call. A crash leaves an object with a
//     staged row: the sweeper removes both.
//  5. T2, one transaction: the blob rows are locked and become present; the
//     Dokument, its version and files, the fact, the jobs that follow, the
//     quarantine row, the request key with its answer. Never a row without an
//     object. Up to Options.GroupSize documents share the transaction. A crash
//     before the commit leaves what step 4 left.
//  6. Only after COMMIT returned is the sender answered. A crash leaves a
//     Dokument whose sender knows nothing of it: the same key gets the answer.
//  7. The connection broke during COMMIT: nobody knows. The database is asked
//     over a new connection; is the Dokument there, step 6; else step 3 again
//     with the same ids, so that a commit that was only late is met by the keys
//     of its own rows. The blob is never deleted here.
//  8. The object's lock is prolonged as the record wants it, read back and
//     recorded (job blob.lock). A crash leaves a lock that is not recorded: the
//     next run finds it.
//
// What follows are jobs on facts: text and page images (internal/extract), the
// Postkorb (internal/routing), the evidence (internal/preservation), the search
// index (internal/indexing). A person files the Dokument to a Vorgang
// (internal/akte), and its retention ends in disposal.
//
// # Quarantine
//
//	open --Retry, the file is fine now--> resolved
//	  |  --Release, by a person with a reason--> released
//
// A quarantined file keeps its bytes under the same protocol. A single document
// becomes a Dokument in state quarantined, which is delivered nowhere; when
// none of its files is open any more it is released and goes the way of all. A
// further version with such a file puts its Dokument into quarantine again; the
// versions before it can still be read. A part of a batch becomes a Dokument
// only by its release.
//
// # Who may
//
// Everybody but mere readers and auditors sends documents in. The sender sees
// what he sent in quarantine; retry and release are for scan operators, quality
// checkers, the registry, records managers and administrators (release not for
// scan operators: who scanned a page does not wave it through).
package intake
