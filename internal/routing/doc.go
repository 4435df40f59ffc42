// Package routing decides which Postkorb a Dokument goes to, and says why.
//
// The first of these decides (decisions 1.2, 1.3, 1.4):
//
//  1. filed at submission: it stays where it is (level 1);
//  2. its text could not be read: clearing;
//  3. the Aktenzeichen that the index or the request named;
//  4. the value of a bar code;
//  5. the Aktenzeichen in the text, those in subject and reference lines first;
//  6. receiver, form and words, weighed by the rules of the tenant;
//  7. clearing.
//
// A number leads to the Postkorb of its unit, also when there is no Akte of it
// yet. Malformed numbers, and numbers of different units in equal standing, go
// to clearing; so does contradictory or weak evidence: a letter in clearing costs
// a minute, a letter in a wrong Postkorb a week.
//
// Judge decides and is pure. Route reads what it needs, and writes decision,
// delivery and the fact dokument.routed in one transaction; there is one decision
// for a Dokument, so a repeated job changes nothing.
//
// The knowledge of words is data: versioned rule sets of phrases with weights
// (tables routing_ruleset, routing_phrase), of which the newest counts and older
// ones remain, because decisions name them.
package routing
