// Package rules keeps what offices lay down about their mail (level 3): rule
// sets of a unit or of the whole tenant, in versions.
//
//	           check, errors
//	             ┌──────┐
//	             ▼      │
//	(new) ──► draft ────┴──► checked ──► active ──► retired
//	            ▲   check, none │  second    │  the next version of the name,
//	            └───────────────┘  person    │  or retired by hand
//	             check, errors               ▼
//	                        a rollback makes a new version of a retired one:
//	                        (new) ──► active
//
//	state     what is possible
//	draft     check, rehearse
//	checked   check, rehearse, activate (by another person than the author)
//	active    routing asks it; rehearse; ends with the next version, or by hand
//	retired   can be brought back as a new version
//
// What a version says never changes: another wording is another draft. At most
// one version of a name is active; a name belongs to one unit for ever. Nothing
// that happens to a set moves mail that was delivered.
//
// A rule is a CEL condition on doc (Document) with a target: a Postkorb, an Akte,
// a circulation or a process. The lowest order that matches decides. Conditions
// are bounded in length, nesting, cost and time, and cannot change anything. A
// condition that cannot be evaluated ends the search: the letter goes to
// clearing, since the rules behind it may be meant for others.
//
// Check names what is wrong, with rule, line and column, in German and English:
// errors (no CEL, unknown fields and names, types, targets) keep a set from
// being activated; warnings (rules that never come to their turn, contradict
// themselves, or use fields that may be absent) are for people to judge.
//
// How numbers, words and rules play together is told in package routing.
package rules
