// Package indexing keeps the search index at the state of Postgres. A Follower
// reads the feed of facts (event.Feed) with a place of its own for each tenant,
// finds out which Dokumente a fact is about, and puts them into the engine as
// they stand now, with their text from the bucket and the access tokens from
// the database.
//
//	feed ──► which Dokumente ──► rows, tokens ──► text ──► Engine.Apply(docs, place)
//
// The place goes into the engine together with the documents, so a crash leaves
// both or neither; what was read twice is put twice, which changes nothing.
// A document is always built from the newest committed state and never from the
// fact, so facts of one group about one Dokument are one operation, and the order
// of groups is all that counts.
//
// A fact is numbered after its transaction has committed, and feed and rows are
// read in one snapshot: a number that is seen is never without its effect.
//
// An index without a place (a new folder, or one filled half) is filled by
// walking over all Dokumente, and so is a rebuild: the feed holds every change a
// Dokument ever had, the walk reads each once. The place is the head of the feed
// before the walk.
//
// No S3 call happens inside a transaction. Memory is bounded by Options.GroupDocs
// and Options.GroupBytes, whatever the number of documents that one fact
// touches.
package indexing
