// Package words compares words of German mail: without regard to case and marks
// on letters, forgiving what text recognition takes for each other, and whole:
// Rechnung is not found in Berechnung.
//
// It is pure. Routing weighs phrases with it, rules ask for words with it.
package words
