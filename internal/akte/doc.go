// Package akte is the e-file: Aktenplan, Akte, Vorgang, Dokument, its versions,
// renditions and primary files, and the numbers they go by.
//
// All of them are rows of record_object with a table of their own beside it.
// The words about an object stand apart, in record_metadata, because they can
// be erased while number, dates and decisions remain.
//
//	Aktenplaneinheit 1-n Akte 1-n Vorgang 1-n Dokument 1-n Version 1-n Rendition 1-n PrimaryFile n-1 blob
//
// States of a Dokument:
//
//	quarantined -> captured -> registered -> final -> filed
//	                   (filing)         signed off   (Vorgang closed)
//	                               ^______|
//	                               reopen: with a reason, by the head or the registry
//
// captured and registered are in_work while somebody has the Dokument checked
// out; that is no stored state but follows from who, until when, and the clock:
//
//	free -> checked out by P until T -> free
//	  P (or for whom P took it; a deputy for P): check in, with a version or without
//	  the head, the registry, the records management: return, with a reason
//	  T passes: free by itself; P may check out again
//	  P leaves: ended with the moved work
//
// Meanwhile only P adds versions, nobody signs the Dokument off, its Vorgang is
// not closed; filing, moving and the words about it stay open to all.
//
// States of an Akte and a Vorgang that this package moves (what comes after
// belongs to disposal):
//
//	planned -> open -> closed
//	             ^________|  reopen: with a reason, by the registry
//
// Fields of a document type (record_metadata.data, "fields") are checked against
// the JSON Schema of the unit, else of the tenant, whenever they are written;
// schemas come in versions, and an older Dokument keeps what it has. A reference
// points from one object to another instead of a copy: it is seen by who sees
// both and gives no right.
//
// An Aktenzeichen names an Akte, <Aktenzeichen>-01 a Vorgang of it (decisions
// 1.2). Numbers stand in number_register and are never given twice: used by an
// object, former (the object has another one), foreign (of another house), or
// void (never to be given, with a reason).
//
// Functions that take a Querier or a transaction and no actor ask for no
// rights: they are for workers and for use cases that have asked already. The
// methods that take an actor ask with access.Sees and access.Changes, in the
// statement that reads; what the actor may not see is the fault not-found. The
// system actor may do what its jobs need.
package akte
