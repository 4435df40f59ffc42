// Package fault is the one kind of error that people see. A fault is a code
// with parameters; its kind and its German and English sentences stand in the
// catalogue (one JSON file per area under catalogue/). Only
// internal/web/problem turns kinds into HTTP status codes, and only cmd/evb
// into exit codes.
//
// A new fault is a line in the catalogue of its area and a call of New with
// its code. The test of this package reads all Go files of the module and
// fails for a code that is used and not in the catalogue, for a sentence that
// lacks a language, and for parameters that the languages do not share.
package fault
