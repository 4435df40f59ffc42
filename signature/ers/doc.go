// Package ers reads, writes, renews and verifies evidence records in the ASN.1
// form of RFC 4998, and reads and verifies those in the XML form of RFC 6283
// ([ParseXML]). Both are verified by the same steps; they differ in what they
// hash, which is what the unexported interface syntax is about.
//
// An [EvidenceRecord] is a sequence of chains; a chain is a sequence of archive
// time-stamps over one hash algorithm; an archive time-stamp is a reduced hash
// tree and the token over its root. The package keeps the bytes of every token,
// archive time-stamp and chain as they were found, because renewals hash exactly
// these bytes: nothing that came from a time-stamping authority is ever encoded
// again on writing.
//
// Writing: [New] makes a record from the first archive time-stamp. A time-stamp
// renewal (RFC 4998 section 5.2) is prepared by [TimestampLeaf] and completed by
// [EvidenceRecord.RenewTimestamp]; a hash-tree renewal (section 5.3) by
// [EvidenceRecord.RehashLeaves] and [EvidenceRecord.RenewHashTree]. In both cases
// the leaves of many records go into one tree and cost one token.
//
// Verifying: a [Verifier] checks a record against objects and says for every
// step which clause it comes from and whether it passed, failed or could not be
// decided. Two questions are answered apart: integrity is about bytes and
// mathematics, trust about certificates. Readings that other products need and
// the text of the RFC does not give (a single hash that is hashed again, lists
// read as sets, tokens hashed after re-encoding) are accepted and named in the
// result.
//
// Input is foreign: sizes, counts and depths are limited ([MaxRecordSize] and the
// other constants), and no input makes the package panic.
package ers
