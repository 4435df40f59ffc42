// Package search is the full-text index of the archive behind types of our own.
//
// An [Engine] holds one searchable [Doc] for every Dokument, applies changes in
// groups together with the place in the feed they came from, and answers a
// [Query] for a [Principal]. No type of the underlying library (Bleve, scorch)
// leaves the package, so another engine that passes the suite of package
// searchtest can stand in.
//
// # What is indexed
//
// The index is a cache. Everything in it can be rebuilt from Postgres (metadata,
// access scopes) and object storage (text); the extracted text lives there and
// not only here. Analysis that must not depend on the engine runs before it:
//
//   - text is brought to Unicode NFC, and words hyphenated at a line end are
//     rejoined when the joined form is a known word (otherwise the hyphen may
//     be a real one and stays);
//   - words are lower-cased, ä ö ü ß and ae oe ue ss are folded to the same form,
//     and a light stemmer removes inflection;
//   - a splitter finds the parts of compounds with a dictionary that is frozen
//     with the index; the parts go to a field of their own, so a search for
//     "Bescheid" finds "Grundsteuerbescheid" with the offsets of the whole word;
//   - reference numbers and dates (and IBANs, only when [Options] allow it) are
//     extracted to keyword fields in one canonical form, and queries are
//     canonicalised by the same code.
//
// # Rights
//
// A Doc carries the access scopes it can be read through. A query is answered
// for a Principal of one tenant: without a tenant, or with neither scopes nor
// ReadAll, nothing is found. The filter is applied inside the engine, so totals,
// facets, suggestions, corrections and cursors are those of the visible
// documents only. Scores are computed from term statistics that are frozen when
// a generation is created, never from the live index: a document that a
// principal may not see does not even move the order of the others (a rebuild
// learns new statistics from the whole index, and then freezes them). What counts
// terms of all documents is the bound on work alone: MaxExpansion of a prefix,
// and how many completions and corrections of a word are tried. A change of
// grants changes the principal's scopes and indexes nothing anew.
//
// The index lags behind Postgres by the queue of the feed. Callers check the
// hits of a page against Postgres before they answer.
//
// # Generations
//
// An index folder holds generations; the file CURRENT names the one in use:
//
//	LOCK                 one process at a time (flock)
//	CURRENT              name of the generation in use, replaced atomically
//	g-<id>/meta.json     version of mapping and analysis, shards, options
//	g-<id>/dict.gz       frozen words of the splitter and term statistics for scoring
//	g-<id>/shard-000/    Bleve index, further shards beside it
//
// [Index.Rebuild] fills a new generation beside the running one, swaps, and
// deletes the old one after its last search. A crash while rebuilding leaves a
// folder that CURRENT does not name; the next [Open] deletes it.
//
// # Durability
//
// [Engine.Apply] returns after the operations and the cursor are on disk and
// visible to the next search. A crash during Apply leaves either nothing or all
// of a shard's share without the cursor; replaying from [Engine.AppliedCursor]
// gives the same index, because operations name whole documents by stable ids.
//
// Package searchtest holds the contract suite, command gendict makes the
// dictionary that is shipped with the program.
package search
