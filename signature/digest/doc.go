// Package digest holds what the rest of the evidence code needs to know about
// hash functions: their names and object identifiers, digests as values, one
// pass over a stream with several functions at once, and dated lists that say
// until when a hash or a signature algorithm counts as suitable.
//
// A [Digest] is an algorithm and its bytes and is written as "sha256:" followed
// by lower-case hexadecimal. A [Policy] is one published list of suitability
// dates; lists disagree by years, so every [Suitability] carries the name of the
// list it came from (RFC 4998 section 4.3 and RFC 5698 leave the choice of the
// list to the verifier).
//
// The package imports nothing of this module. All values are safe for concurrent
// use unless a type says otherwise.
package digest
