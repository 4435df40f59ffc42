// Package tsp is the Time-Stamp Protocol (RFC 3161, with RFC 5816): requests,
// responses, tokens, their verification, and a client that asks several
// authorities in turn.
//
// [Parse] reads a TimeStampToken and keeps its bytes; [Verify] answers each
// question of RFC 3161 section 2.2 and of the signature in a fixed order with a
// [cms.Check] of its own. Trust is never a hidden default: anchors, revocation
// data, list of algorithms and times are in [VerifyOptions].
//
// Revocation data goes into the crls field of the token ([CompleteWithRevocation])
// before a token counts as final, because a later change would alter the value
// that a renewal hashes (RFC 4998 section 5.2). [StripCRLs] gives the form that
// OpenSSL reads when OCSP responses are inside.
//
// Everything is safe for concurrent use.
package tsp
