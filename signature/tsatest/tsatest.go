// Package tsatest is a time-stamping authority inside a test process. Unlike a
// real one it stamps any time it is asked to, so that tests can play thirty years
// of renewals, and makes the mistakes that verifiers have to notice.
//
// It is for tests only; the development authority is package tsa.
package tsatest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
)

// Authority stamps hashes. Safe for concurrent use.
type Authority struct {
	// CA is the anchor, Certificate the authority's own.
	CA, Certificate *cms.Certificate

	key    crypto.Signer
	caKey  crypto.Signer
	ca     *x509.Certificate
	digest digest.Algorithm
}

// Options of an authority; the zero value makes an ordinary one.
type Options struct {
	Name string // default "Test TSA"
	// NotBefore and NotAfter of both certificates; default 2000 to 2060.
	NotBefore, NotAfter time.Time
	// WrongPurpose gives the certificate a second extended key usage.
	WrongPurpose bool
	// CRLURL makes the certificate name a source of revocation data.
	CRLURL string
	// Digest is the hash of the tokens' signatures; default SHA-256.
	Digest digest.Algorithm
}

// New makes an authority with keys of its own on P-256.
func New(t testing.TB, o Options) *Authority {
	t.Helper()
	if o.Name == "" {
		o.Name = "Test TSA"
	}
	if o.NotBefore.IsZero() {
		o.NotBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.NotAfter.IsZero() {
		o.NotAfter = time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	caTemplate := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: o.Name + " CA"},
		NotBefore: o.NotBefore, NotAfter: o.NotAfter, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, caKey.Public(), caKey)
	check(err)
	ca, err := x509.ParseCertificate(caDER)
	check(err)
	purposes := []asn1.ObjectIdentifier{cms.OIDTimeStamping}
	if o.WrongPurpose {
		purposes = append(purposes, cms.OIDOCSPSigning)
	}
	eku, err := asn1.Marshal(purposes)
	check(err)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: o.Name},
		NotBefore: o.NotBefore, NotAfter: o.NotAfter, BasicConstraintsValid: true,
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}},
	}
	if o.CRLURL != "" {
		template.CRLDistributionPoints = []string{o.CRLURL}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	check(err)
	a := &Authority{key: key, caKey: caKey, ca: ca, digest: o.Digest}
	if a.digest == "" {
		a.digest = digest.SHA256
	}
	a.CA, err = cms.ParseCertificate(caDER)
	check(err)
	a.Certificate, err = cms.ParseCertificate(der)
	check(err)
	return a
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// PEM is the anchor for programs.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.CA.Raw})
}

// CRL makes a list of the CA as of the given time, valid for 30 days, in which
// the authority's certificate is revoked when revoked is set.
func (a *Authority) CRL(t testing.TB, at, revoked time.Time, reason int) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(at.Unix()), ThisUpdate: at, NextUpdate: at.AddDate(0, 0, 30)}
	if !revoked.IsZero() {
		template.RevokedCertificateEntries = []x509.RevocationListEntry{{
			SerialNumber: a.Certificate.Serial, RevocationTime: revoked, ReasonCode: reason,
		}}
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.ca, a.caKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// imprint and tstInfo are the ASN.1 of RFC 3161 section 2.4.2.
type imprint struct {
	Algorithm pkix.AlgorithmIdentifier
	Value     []byte
}

type tstInfo struct {
	Version int
	Policy  asn1.ObjectIdentifier
	Imprint imprint
	Serial  *big.Int
	GenTime time.Time `asn1:"generalized"`
}

// Stamp makes a token over d with the given genTime, to the second.
func (a *Authority) Stamp(t testing.TB, d digest.Digest, at time.Time) []byte {
	return a.stamp(t, d, at, cms.Builder{})
}

// StampWithoutCertificates is Stamp for a request without certReq.
func (a *Authority) StampWithoutCertificates(t testing.TB, d digest.Digest, at time.Time) []byte {
	return a.stamp(t, d, at, cms.Builder{OmitCertificates: true})
}

func (a *Authority) stamp(t testing.TB, d digest.Digest, at time.Time, b cms.Builder) []byte {
	t.Helper()
	info, err := asn1.Marshal(tstInfo{
		Version: 1, Policy: asn1.ObjectIdentifier{1, 2, 3, 4, 1},
		Imprint: imprint{Algorithm: pkix.AlgorithmIdentifier{Algorithm: d.Algorithm.OID()}, Value: d.Value},
		Serial:  serial(t), GenTime: at.UTC().Truncate(time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.ContentType, b.Content, b.Digest = cms.OIDTSTInfo, info, a.digest
	if !b.OmitCertificates {
		b.Certificates = [][]byte{a.Certificate.Raw, a.CA.Raw}
	}
	token, err := b.Sign(rand.Reader, a.key, a.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
