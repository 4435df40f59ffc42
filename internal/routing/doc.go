// Package routing decides which Postkorb a Dokument goes to, and says why.
//
// The first of these decides whose letter it is (decisions 1.2, 1.3, 1.4):
//
//  1. filed at submission: it stays where it is (level 1);
//  2. its text could not be read: clearing;
//  3. the Aktenzeichen that the index or the request named;
//  4. the value of a bar code;
//  5. the Aktenzeichen in the text, those in subject and reference lines first;
//  6. receiver, form and words, weighed by the phrases of the tenant;
//  7. nobody's.
//
// A number leads to the Postkorb of its unit, also when there is no Akte of it
// yet. One with signs that recognition took for others (akte.FindMisread) counts
// as the number it can mean when there is an Akte of exactly one of its readings,
// and as one that stands in the letter in full elsewhere; else its beginning counts
// where words name the same unit. A well-formed number is never changed, nor one
// with a digit too few or too many. Receivers are also known by the names of the
// units. Malformed numbers, and numbers of different units in equal standing, are
// for people, whatever rules say; so is contradictory or weak evidence: a letter
// in clearing costs a minute, a letter in a wrong Postkorb a week.
//
// Then the rule sets in force are asked (level 3, package rules): those of the
// tenant, then those of the unit; of a letter of nobody those of all units, of
// which one claims it by words that stand in it. What matches decides:
//
//	number says    rules say           it goes to
//	─────────────  ──────────────────  ─────────────────────────────────────────
//	unit           a target            the target; a person's own Postkorb, or an
//	                                   assignment to a person, needs an Akte
//	unit           nothing             the Postkorb of the unit
//	(words) unit   nothing             the clearing of the unit if it has one, else
//	                                   its Postkorb
//	nothing        nothing             the central clearing
//	any            error, conflict,    the clearing of the unit if it has one, else
//	               target not there    its Postkorb, else the central clearing
//	malformed      (not asked)         the clearing of the unit that words name if
//	                                   it has one, else the central clearing
//
// Judge and JudgeByRules decide and are pure. Route reads what they need, and
// writes decision, delivery, filing and the fact dokument.routed in one
// transaction; there is one decision for a Dokument, so a repeated job changes
// nothing. Rehearse asks the same functions about letters of the past.
//
// The knowledge of words is data: versioned sets of phrases with weights (tables
// routing_ruleset, routing_phrase), of which the newest counts and older ones
// remain, because decisions name them.
package routing
