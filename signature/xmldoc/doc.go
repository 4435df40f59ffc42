// Package xmldoc reads XML documents for signatures and evidence, and writes
// their canonical forms.
//
// encoding/xml is not enough there: it keeps neither prefixes nor the order and
// place of namespace declarations, it does not normalise attribute values, and it
// accepts documents that are not well-formed. [Parse] accepts XML 1.0 with
// namespaces and nothing else. A document type declaration is refused
// ([ErrDTD]): entities and default attributes would let what is signed and what
// is read differ.
//
// Canonical forms ([C14N]): Canonical XML 1.0 and 1.1, Exclusive XML
// Canonicalization 1.0 with its InclusiveNamespaces PrefixList, each with or
// without comments, of a document or of one element in its place.
//
// Input is foreign: [Limits] bound size, depth and number of nodes, and no input
// makes the package panic. A parsed document is not changed by anything here and
// is safe for concurrent use.
package xmldoc
