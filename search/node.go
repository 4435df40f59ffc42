package search

import "time"

// Node is a part of a query tree: And, Not, Word, Prefix, Phrase, Reference,
// Date, FieldIs or ReceivedIn. Trees are values; they may be shared.
type Node interface{ node() }

// And wants all of its parts. An And of Not nodes only finds everything but those.
type And []Node

// Not excludes documents that match the part.
type Not struct{ Of Node }

// Word wants a word in any inflection, also as part of a compound. A word with
// separators in it ("E-Akte", "4711/2024") is looked for as a phrase.
type Word struct{ Text string }

// Prefix wants a word that begins with Text, at least MinPrefixLetters letters.
type Prefix struct{ Text string }

// Phrase wants the words side by side in this order.
type Phrase struct{ Text string }

// Reference wants a reference number in any spelling. Where no document carries
// it as a number, its words side by side match too; with Loose, its words
// anywhere in the document.
type Reference struct {
	Text  string
	Loose bool
}

// Date wants a date, a month (Day 0) or a year (Month 0) named in a document in
// any spelling. Text is how it was typed and matches as a phrase too.
type Date struct {
	Text             string
	Year, Month, Day int
}

// FieldIs wants one of the values in a field. Field is one of the English names
// in FieldNames.
type FieldIs struct {
	Field  string
	Values []string
}

// ReceivedIn wants ReceivedOn within the days From to To, both included; a zero
// time leaves that side open.
type ReceivedIn struct{ From, To time.Time }

func (And) node()        {}
func (Not) node()        {}
func (Word) node()       {}
func (Prefix) node()     {}
func (Phrase) node()     {}
func (Reference) node()  {}
func (Date) node()       {}
func (FieldIs) node()    {}
func (ReceivedIn) node() {}

// fieldAliases maps what people type before a colon to the field's English name.
var fieldAliases = map[string]string{
	"aktenzeichen": "aktenzeichen", "az": "aktenzeichen", "gz": "aktenzeichen", "reference": "aktenzeichen",
	"akte": "aktenzeichen", "vorgang": "aktenzeichen",
	"document_type": "document_type", "dokumentart": "document_type", "art": "document_type",
	"typ": "document_type", "type": "document_type",
	"unit": "unit", "einheit": "unit", "fachbereich": "unit", "amt": "unit",
	"year": "year", "jahr": "year",
	"state": "state", "status": "state", "zustand": "state",
	"sender": "sender", "absender": "sender", "von": "sender", "from": "sender",
	"subject": "subject", "betreff": "subject",
	"received": "received_on", "received_on": "received_on", "eingang": "received_on", "datum": "received_on",
	"date":    "received_on",
	"akte_id": "akte_id", "vorgang_id": "vorgang_id",
	"submitted_by": "submitted_by", "eingereicht_von": "submitted_by",
}

// FieldNames are the English names of the fields that a query may name, sorted.
func FieldNames() []string {
	return []string{
		"akte_id", "aktenzeichen", "document_type", "received_on", "sender", "state",
		"subject", "submitted_by", "unit", "vorgang_id", "year",
	}
}
