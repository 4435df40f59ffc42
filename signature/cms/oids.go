package cms

import (
	"encoding/asn1"
	"strconv"
	"strings"

	"evb/signature/digest"
)

// Object identifiers of CMS, CAdES and RFC 3161 that callers need. They are read
// only.
var (
	OIDData                 = mustOID("1.2.840.113549.1.7.1")
	OIDSignedData           = mustOID("1.2.840.113549.1.7.2")
	OIDTSTInfo              = mustOID("1.2.840.113549.1.9.16.1.4")
	OIDContentType          = mustOID("1.2.840.113549.1.9.3")
	OIDMessageDigest        = mustOID("1.2.840.113549.1.9.4")
	OIDSigningTime          = mustOID("1.2.840.113549.1.9.5")
	OIDSigningCertificate   = mustOID("1.2.840.113549.1.9.16.2.12")
	OIDSigningCertificateV2 = mustOID("1.2.840.113549.1.9.16.2.47")
	OIDSignatureTimeStamp   = mustOID("1.2.840.113549.1.9.16.2.14")
	OIDRevocationValues     = mustOID("1.2.840.113549.1.9.16.2.24")
	OIDTimeStamping         = mustOID("1.3.6.1.5.5.7.3.8")
	OIDOCSPSigning          = mustOID("1.3.6.1.5.5.7.3.9")
	// OIDOCSPBasic and OIDRevocationOCSP both announce OCSP in SignedData.crls:
	// id-pkix-ocsp-basic with a BasicOCSPResponse (TR-ESOR) and
	// id-ri-ocsp-response with an OCSPResponse (RFC 5940).
	OIDOCSPBasic      = mustOID("1.3.6.1.5.5.7.48.1.1")
	OIDRevocationOCSP = mustOID("1.3.6.1.5.5.7.16.2")
)

var (
	oidRSAEncryption = mustOID("1.2.840.113549.1.1.1")
	oidRSAPSS        = mustOID("1.2.840.113549.1.1.10")
	oidMGF1          = mustOID("1.2.840.113549.1.1.8")
	oidECPublicKey   = mustOID("1.2.840.10045.2.1")
	oidPrimeField    = mustOID("1.2.840.10045.1.1")
	oidDSA           = mustOID("1.2.840.10040.4.1")
	oidEd25519       = mustOID("1.3.101.112")

	oidExtSubjectKeyID   = mustOID("2.5.29.14")
	oidExtKeyUsage       = mustOID("2.5.29.15")
	oidExtBasic          = mustOID("2.5.29.19")
	oidExtIssuingDistr   = mustOID("2.5.29.28")
	oidExtDeltaCRL       = mustOID("2.5.29.27")
	oidExtCRLDistr       = mustOID("2.5.29.31")
	oidExtPolicies       = mustOID("2.5.29.32")
	oidExtAuthorityKeyID = mustOID("2.5.29.35")
	oidExtExtKeyUsage    = mustOID("2.5.29.37")
	oidExtSubjectAlt     = mustOID("2.5.29.17")
	oidExtIssuerAlt      = mustOID("2.5.29.18")
	oidExtAIA            = mustOID("1.3.6.1.5.5.7.1.1")
	oidExtQCStatements   = mustOID("1.3.6.1.5.5.7.1.3")
	oidExtOCSPNoCheck    = mustOID("1.3.6.1.5.5.7.48.1.5")
	oidAIAOCSP           = mustOID("1.3.6.1.5.5.7.48.1")
	oidAIAIssuers        = mustOID("1.3.6.1.5.5.7.48.2")
	oidCRLReason         = mustOID("2.5.29.21")
	oidExtExpiredOnCRL   = mustOID("2.5.29.60")
	oidArchiveCutoff     = mustOID("1.3.6.1.5.5.7.48.1.6")
)

// mustOID reads a constant of this package; a wrong one fails every test.
func mustOID(s string) asn1.ObjectIdentifier {
	var oid asn1.ObjectIdentifier
	for _, part := range strings.Split(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			panic("cms: " + s)
		}
		oid = append(oid, n)
	}
	return oid
}

type signatureAlgorithm struct {
	scheme digest.Scheme
	hash   digest.Algorithm // "": the digest algorithm of the SignerInfo
	plain  bool             // r and s of fixed length (BSI TR-03111)
}

// signatureAlgorithms is keyed by the dotted identifier; read only.
var signatureAlgorithms = map[string]signatureAlgorithm{
	"1.2.840.113549.1.1.1":    {scheme: digest.SchemeRSAPKCS1},
	"1.2.840.113549.1.1.4":    {digest.SchemeRSAPKCS1, digest.MD5, false},
	"1.2.840.113549.1.1.5":    {digest.SchemeRSAPKCS1, digest.SHA1, false},
	"1.3.14.3.2.29":           {digest.SchemeRSAPKCS1, digest.SHA1, false},
	"1.2.840.113549.1.1.14":   {digest.SchemeRSAPKCS1, digest.SHA224, false},
	"1.2.840.113549.1.1.11":   {digest.SchemeRSAPKCS1, digest.SHA256, false},
	"1.2.840.113549.1.1.12":   {digest.SchemeRSAPKCS1, digest.SHA384, false},
	"1.2.840.113549.1.1.13":   {digest.SchemeRSAPKCS1, digest.SHA512, false},
	"1.3.36.3.3.1.2":          {digest.SchemeRSAPKCS1, digest.RIPEMD160, false},
	"2.16.840.1.101.3.4.3.13": {digest.SchemeRSAPKCS1, digest.SHA3_224, false},
	"2.16.840.1.101.3.4.3.14": {digest.SchemeRSAPKCS1, digest.SHA3_256, false},
	"2.16.840.1.101.3.4.3.15": {digest.SchemeRSAPKCS1, digest.SHA3_384, false},
	"2.16.840.1.101.3.4.3.16": {digest.SchemeRSAPKCS1, digest.SHA3_512, false},
	"1.2.840.113549.1.1.10":   {scheme: digest.SchemeRSAPSS},
	"1.2.840.10045.2.1":       {scheme: digest.SchemeECDSA},
	"1.2.840.10045.4.1":       {digest.SchemeECDSA, digest.SHA1, false},
	"1.2.840.10045.4.3.1":     {digest.SchemeECDSA, digest.SHA224, false},
	"1.2.840.10045.4.3.2":     {digest.SchemeECDSA, digest.SHA256, false},
	"1.2.840.10045.4.3.3":     {digest.SchemeECDSA, digest.SHA384, false},
	"1.2.840.10045.4.3.4":     {digest.SchemeECDSA, digest.SHA512, false},
	"2.16.840.1.101.3.4.3.9":  {digest.SchemeECDSA, digest.SHA3_224, false},
	"2.16.840.1.101.3.4.3.10": {digest.SchemeECDSA, digest.SHA3_256, false},
	"2.16.840.1.101.3.4.3.11": {digest.SchemeECDSA, digest.SHA3_384, false},
	"2.16.840.1.101.3.4.3.12": {digest.SchemeECDSA, digest.SHA3_512, false},
	"0.4.0.127.0.7.1.1.4.1.1": {digest.SchemeECDSA, digest.SHA1, true},
	"0.4.0.127.0.7.1.1.4.1.2": {digest.SchemeECDSA, digest.SHA224, true},
	"0.4.0.127.0.7.1.1.4.1.3": {digest.SchemeECDSA, digest.SHA256, true},
	"0.4.0.127.0.7.1.1.4.1.4": {digest.SchemeECDSA, digest.SHA384, true},
	"0.4.0.127.0.7.1.1.4.1.5": {digest.SchemeECDSA, digest.SHA512, true},
	"0.4.0.127.0.7.1.1.4.1.6": {digest.SchemeECDSA, digest.RIPEMD160, true},
	"1.2.840.10040.4.1":       {scheme: digest.SchemeDSA},
	"1.2.840.10040.4.3":       {digest.SchemeDSA, digest.SHA1, false},
	"2.16.840.1.101.3.4.3.1":  {digest.SchemeDSA, digest.SHA224, false},
	"2.16.840.1.101.3.4.3.2":  {digest.SchemeDSA, digest.SHA256, false},
	"2.16.840.1.101.3.4.3.3":  {digest.SchemeDSA, digest.SHA384, false},
	"2.16.840.1.101.3.4.3.4":  {digest.SchemeDSA, digest.SHA512, false},
	"1.3.101.112":             {scheme: digest.SchemeEd25519},
}
