// Package export collects what an evidence package of a Dokument, a Vorgang or an
// Akte needs and writes it by package evidence: a folder, or a tar stream.
//
// A package holds every archive version of every Dokument that the exporting
// person may read, with its evidence record where it is sealed. A Version that no
// archive version protects yet goes in as a group without evidence: the bytes are
// there, the proof is not, and Report.Pending says so. What a person may not see
// is left out without a word, as everywhere.
//
// The package is complete on disk before its first byte goes out: a missing or
// changed object is an error of the request, not a broken download. Its files lie
// in Options.Dir meanwhile and go when the Package is closed; a crash leaves them
// to the next start, which removes what is older than a day.
//
// Every export is a fact of the access log (Exported), one for each Dokument, and
// written before anything leaves.
//
// An Akte also goes out whole, as a ZIP: its table of contents (JSON, CSV, a page
// to be printed), the originals under the names people know them by, the evidence
// package, and one manifest over all of it. A table of contents holds what the
// person sees and counts nothing else.
package export
