// Package layout is the only place that builds and reads the names of stored
// objects, so that the whole bucket can be understood from this one page:
//
//	<tenant>/aa/bb/<sha256>                          content: original, rendition, text, page image
//	<tenant>/packs/<bucket>/<id>.json                pack of canonical metadata objects
//	<tenant>/heads/<stream>/<seq/1000000>/<seq>.json head of the event chain
//	<tenant>/seals/<bucket>/<id>/leaves              leaf list of a closed seal
//	<tenant>/seals/<bucket>/<id>/levels              inner nodes of its hash tree
//	<tenant>/seals/<bucket>/<id>/tokens/<n>.tst      time-stamp token n of its chain
//	<tenant>/seals/<bucket>/<id>/revocation/<n>.der  revocation data belonging to token n
//	<tenant>/seals/<bucket>/<id>/chains/<n>/leaves   its leaf list in chain n, after a hash-tree renewal; levels likewise
//	<tenant>/renewals/<bucket>/<id>/leaves           leaf list of a renewal; levels likewise
//	<tenant>/renewals/<bucket>/<id>/token.tst        its time-stamp token; revocation.der beside it
//	<tenant>/receipts/<bucket>/<id>.json             receipt given to a sender
//	<tenant>/snapshots/<kind>/<bucket>/<id>.json     snapshot of Aktenplan, units, scopes, numbers
//	_index/<index>/<id>/<shard>/<file>               search index snapshot (derived)
//	_probe/<id>                                      probe of the server's abilities
//
// aa and bb are the first two bytes of the SHA-256 in lower-case hexadecimal,
// so sha256sum of a content object is its name. <bucket> is the first five
// hexadecimal digits of the UUIDv7 and changes about every three days: folders
// stay small and names sort by time.
//
// No key is a prefix folder of another (x and x/y never both exist), because
// S3 servers on file systems cannot store both; a property test holds this.
// Tenant slugs start with a letter, so the names with an underscore belong to
// no tenant.
//
// Functions that build a name return the empty key, which every store refuses
// with storage.ErrBadKey, when a part is malformed (a tenant slug, stream,
// kind or file name with other characters than allowed, a negative number).
package layout
