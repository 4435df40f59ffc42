// Package substitution is who stands in for whom: an absent person, a deputy, a
// time and named Postkörbe.
//
//	planned -> running -> ended       by itself, to the second
//	   +----------+----> ended        before its time, by who entered it could
//
// It is entered by the person, by a head of a unit of the person, or by an
// administrator. The deputy then has in these Postkörbe what the absent person
// has there: the lines of all, the content of what is for all or for that
// person. What is personal or specially protected (protection_class) stays
// closed, on lists, in counts, in the content and in the search. A substitution
// reaches only where the absent person works in person: nobody stands in for a
// deputy as deputy.
//
// The rights are in the predicate (evb_deputy_postkoerbe, internal/access) and
// hold to the second; nothing is switched on or off. Every fact about what a
// deputy does there names both people (internal/event).
package substitution
