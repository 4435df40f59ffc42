// Package tsa is the development time-stamping authority: what "evb up" and tests
// use where production has a qualified provider.
//
// It is a real RFC 3161 authority as far as protocol and cryptography go, and a
// worthless one as evidence: its keys lie in a folder beside the data it stamps,
// and nobody audits it. Therefore its certificates say so in their names
// ("Entwicklungs-Zeitstempel", "NOT QUALIFIED"), and everything that shows its
// stamps shows those names.
//
//	authority/ca.key, tsa.key   PKCS#8, mode 0600
//	authority/ca.pem            the anchor
//	authority/tsa.pem           certificate of the stamping key
//	serial                      the next unreserved serial number
//	lock                        taken while one of the above is made or changed
//
// [Server] answers POST with a TimeStampReq, GET /crl with a fresh CRL of its CA
// and GET /ca.pem with the anchor.
package tsa
