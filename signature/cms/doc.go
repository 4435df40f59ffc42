// Package cms reads, checks and writes Cryptographic Message Syntax SignedData
// (RFC 5652) for time-stamp tokens, PAdES, CAdES and evidence records.
//
// # Reading
//
// [Parse] keeps slices of the bytes it was given: what a renewal hashes is what
// the maker of the token wrote, never a re-encoding (RFC 4998 section 5.2 and
// RFC 5652 section 5.4 hash encodings). BER, also of indefinite length, is
// tolerated where it occurs and reported by [SignedData.DER]. Certificates are
// read by an own light reader, because crypto/x509 refuses brainpool curves and
// large RSA exponents; [Certificate] keeps the raw bytes for those who want
// another parser.
//
// # Checking
//
// Every question has its own answer of three values: [Pass], [Fail], and
// [Indeterminate] when material is missing. Nothing here decides trust by itself:
// anchors, times, revocation data and the list of suitable algorithms are
// arguments. [SignerInfo.Verify] is bytes and mathematics, [Verifier.Chain] is
// the path of RFC 5280 to given anchors, [Verifier.Revocation] evaluates the
// given CRLs and OCSP responses.
//
// Supported signatures: RSA PKCS#1 v1.5 and RSASSA-PSS of 512 to 16384 bits with
// any exponent, ECDSA on the NIST, brainpool and ANSSI curves (also the plain
// format of BSI TR-03111), DSA, Ed25519. MD5 and SHA-1 are computed; whether they
// may be relied on is the question of a [digest.Policy].
//
// # Writing
//
// [Builder] makes DER SignedData with any crypto.Signer for RSA PKCS#1 v1.5 and
// ECDSA.
//
// Parsed values are not changed after parsing and are safe for concurrent use.
package cms
