// Package event is the append-only log of facts: audit and feed in one.
//
// A use case states a fact in the past tense (Append) in its own transaction;
// the flow table (internal/app/flow.go) says which jobs follow from which
// fact, and they are enqueued in the same transaction. Producers know no
// consumer.
//
//	event, access_log     rows, written by the use case, never changed
//	log_pending           rows without a number yet
//	log_sequence          number and chain, written by the sequencer
//
// One elected sequencer gives committed rows a gap-free number per tenant and
// stream, and a chain hash over H(salt || payload). Followers (search index,
// live updates, webhooks) read by that number: it is given after commit, so
// nothing can appear behind a cursor. A crash between commit and numbering
// leaves a pending row, which the next round numbers.
//
// The chain: chain(n) = SHA-256(0x45 || chain(n-1) || n as 8 bytes big-endian
// || payload_hash(n)), chain(0) being 32 zero bytes. Heads are written outside
// the database under Object Lock (internal/preservation): up to the last such
// head a change, removal or exchange of entries is found, also one made with
// full rights on the database; what comes after it is the open tail.
package event
