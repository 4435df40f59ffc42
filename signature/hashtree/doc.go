// Package hashtree builds the hash trees of evidence records (RFC 4998 section
// 4.2) and cuts reduced hash trees out of them.
//
// A leaf is a data object group: the hash of a single object, or the hash over
// the sorted hashes of several ([Group]). Nodes are taken in the order given, in
// groups of the tree's arity; the values of a group are sorted as unsigned byte
// strings, concatenated and hashed. A node that is left over alone moves up
// unchanged and leaves no list in the reduced tree. Duplicates among the leaves
// are legal. Sorting all leaves first is the caller's choice: it hides the order
// of arrival and makes the tree depend on the set alone.
//
// Reduced trees are written in one form only: the first list holds exactly the
// hashes of the members of the group, siblings start in the second list. That
// form alone shows that nothing else belongs to the object.
//
// All levels lie in flat byte slices, so a tree over 10,000,000 SHA-256 leaves
// takes 640 MB and no pointers. A [Tree] is immutable once built and safe for
// concurrent use. [Tree.WriteTo] writes it to a file that [Open] reads piecewise:
// a reduced tree costs one small read per level.
package hashtree
