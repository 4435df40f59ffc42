// Package batchindex reads the index file that a scan centre puts beside a
// batch: CSV or XML, one stream with separator sheets or one file per document.
//
// It is pure: bytes in, Index out. All rules about a batch that can be decided
// from the index alone are decided here; whether the pages agree with it is
// decided by the plan of package media.
//
// Limits: 20 MB, 100,000 documents, XML without DOCTYPE and at most 32 levels
// deep. Dates are local dates without a zone. Every mistake is an *Error with a
// stable code, the line, and the column or element; up to 50 are collected in
// one Errors, so that a person repairs an index once.
package batchindex
