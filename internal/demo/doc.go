// Package demo fills an empty installation with a small city (`evb up --demo`):
// two tenants, the org units and people of the city, an Aktenplan with Akten,
// Postkörbe, the built-in routing rules, the five ways in which the city works
// (ways.go), and one scan batch of letters that we made ourselves.
//
// Everything is "ensured": a second run changes nothing. Everyone has the
// password "demo", which a server without --demo refuses.
package demo
