// Package preservation decides which digests go into which hash tree, when a
// tree is closed and stamped, and keeps what the evidence needs. It computes no
// cryptography of its own: that is package signature and below.
//
// # What is sealed
//
// The sealed unit is an archive version of a Dokument: all primary files of
// one Version, one canonical metadata object (evidence.Metadata, RFC 8785) and
// a random salt of 32 bytes, together one data object group. It is made once
// and never changed. A leaf of a tree is such a group, not a file. Causes:
//
//	intake    a Version whose intake is complete: routing has decided, or the
//	          extraction failed, or it took longer than Options.CollectAfter
//	text      recognised text of a Version
//	filed     the Dokument came into a Vorgang, or into another one
//	closed    its Vorgang was closed
//	co_sign   somebody has signed a Version (Options.Agreements)
//	log_head  the head of an event stream (no Dokument)
//
// # Life of a seal
//
//	collecting --close--> closed --stamp--> stamped --complete--> sealed
//
// collecting is no row: archive versions without a seal. Every arrow is one
// transaction and every state can be resumed:
//
//  1. The leaves are sorted and the tree is written to the bucket under Object
//     Lock. Crash: objects of a seal that has no row; harmless, and named by Check.
//  2. One transaction: the seal, its number, the leaf of each archive version.
//  3. stamp_request is written, then the authority is asked, outside any
//     transaction. Crash: a request without an answer; it counts as lost and
//     costs one further request.
//  4. One transaction: the token as it came (verified), state stamped. The token
//     of a seal is unique, a second one is dropped.
//  5. Revocation data goes into the token (decisions 5.4), which is then written
//     to the bucket. Crash: the object is found and adopted, its bytes count.
//  6. One transaction: the token becomes final, its place in the chain, state
//     sealed.
//
// A seal that needs a person has the state problem beside the others; it goes
// on by itself when the reason is gone.
//
// # Renewal
//
//	planned --read--> read --bind--> bound --close--> closed --stamp--> stamped --complete--> renewed
//
// Before certificates or algorithms end, a renewal covers many seals with one
// token (RFC 4998 section 5). Steps and what a crash leaves behind stand at
// Service.WorkRenewal; read is for hash-tree renewals alone. No object and
// nothing that exists is altered: records are cut from all trees when they are
// asked for.
//
//	timestamp  a leaf is the hash of the newest token of seals; those that share
//	           a token share the leaf
//	hashtree   each seal gets a tree in the new algorithm, with a leaf
//	           H'(H'(d) || H'(ATSC)) for each archive version in its old place;
//	           their roots are the leaves of the renewal. Who was removed has a
//	           leaf of zeros, and the chain is not in its record.
//
// Status says what ends when and which renewal it needs. What came too late, or
// could not be covered, is a gap: named in Status and EvidenceOf, counted by a
// metric, and found by every verifier.
//
// # Removal
//
// Remove takes groups, metadata objects and salts of a Dokument away, in the
// transaction that destroys it; Repack then writes the packs anew in which they
// lay. Trees and tokens are not touched.
//
// # The bucket alone
//
// Metadata objects and salts go to the bucket as packs at least once a minute,
// with snapshots of Aktenplan, units, users, scopes, numbers and files, so that
// ReadBucket finds every Dokument without the database. Heads of the event
// streams go there under Object Lock within a minute and are leaves of the next
// seal.
package preservation
