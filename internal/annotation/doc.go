// Package annotation is what people write beside a Dokument: notes at a place of
// a page, and marks of its text. They are bound to one version, lie in tables of
// their own and never change a byte; what is evidence does not know of them.
//
//	written -> changed ... -> removed     by the author
//	   +----------+---------> removed     by the head, the registry or the records
//	                                      management of the unit, with a reason
//
// Every wording before the present one is kept (Revisions), and what was removed
// stays and is shown on request. An annotation has a right of its own beside
// that to its Dokument, which comes first:
//
//	private   its author, and for whom a deputy wrote it; nobody else at all
//	unit      all with a role in that unit, and who reads everything
//	all       all who see the Dokument
//
// A private annotation is named in the log and not in the history of its
// Dokument. Writing one needs the right to change the Dokument: who only reads
// writes nothing.
//
// A place is a page with a rectangle (parts of the page, from its upper left), or
// a stretch of the text of the page: from and to in characters, and the words
// themselves, so that it can be found again in a text that was read anew.
//
// Blackening (Schwärzung) is no annotation: what is hidden must not be in the
// copy that is given away, and that copy has to be made.
package annotation
