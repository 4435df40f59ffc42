package cms_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"evb/signature/cms"
)

// entity is a certificate with its key.
type entity struct {
	cert *cms.Certificate
	x509 *x509.Certificate
	key  crypto.Signer
}

var (
	from  = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	until = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	now   = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
)

// issue makes a certificate below issuer, self-signed without one.
func issue(t testing.TB, name string, issuer *entity, change func(*x509.Certificate)) *entity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until, BasicConstraintsValid: true}
	if change != nil {
		change(c)
	}
	e := &entity{key: key}
	parent, signer := c, crypto.Signer(key)
	if issuer != nil {
		parent, signer = issuer.x509, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if e.x509, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if e.cert, err = cms.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return e
}

func ca(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign }

func TestAPathHoldsOnlyOverCAsThatMayIssue(t *testing.T) {
	root := issue(t, "Wurzel", nil, ca)
	good := issue(t, "CA", root, ca)
	for name, test := range map[string]struct {
		between *entity
		leaf    func(*x509.Certificate)
		at      time.Time
		err     error
	}{
		"good":                      {between: good},
		"no CA":                     {between: issue(t, "A", root, nil), err: cms.ErrChain},
		"may not sign certificates": {between: issue(t, "B", root, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCRLSign }), err: cms.ErrChain},
		"CA out of its time":        {between: issue(t, "C", root, func(c *x509.Certificate) { ca(c); c.NotAfter = now.Add(-time.Hour) }), err: cms.ErrChain},
		"leaf out of its time":      {between: good, at: until.Add(time.Second), err: cms.ErrChain},
		"leaf at its last second":   {between: good, at: until},
		"unknown critical extension": {between: good, leaf: func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, err: cms.ErrChain},
		"name constraints above": {between: issue(t, "D", root, func(c *x509.Certificate) {
			ca(c)
			c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"x"}
		}), err: cms.ErrChain},
		"signed by another": {between: &entity{cert: good.cert, x509: good.x509, key: issue(t, "CA", nil, ca).key}, err: cms.ErrNoChain},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := issueUnchecked(t, test.between, test.leaf)
			at := test.at
			if at.IsZero() {
				at = now
			}
			path, err := cms.NewVerifier([]*cms.Certificate{root.cert}).Chain(leaf, []*cms.Certificate{test.between.cert}, at)
			if !errors.Is(err, test.err) || err == nil && len(path) != 3 {
				t.Errorf("path of %d, %v; want %v", len(path), err, test.err)
			}
		})
	}
	if _, err := cms.NewVerifier(nil).Chain(good.cert, []*cms.Certificate{root.cert}, now); !errors.Is(err, cms.ErrNoAnchors) {
		t.Errorf("certificates at hand are no anchors: %v", err)
	}
}

// issueUnchecked signs with the key of an issuer to which the certificate need
// not belong, which the standard library refuses to do.
func issueUnchecked(t testing.TB, issuer *entity, change func(*x509.Certificate)) *cms.Certificate {
	t.Helper()
	parent := *issuer.x509
	parent.PublicKey = nil
	return issue(t, "Blatt", &entity{x509: &parent, key: issuer.key}, change).cert
}

func TestAPathIsNoLongerThanItsCAsAllow(t *testing.T) {
	root := issue(t, "Wurzel", nil, func(c *x509.Certificate) { ca(c); c.MaxPathLenZero = true })
	between := issue(t, "CA", root, ca)
	leaf := issue(t, "Blatt", between, nil)
	v := cms.NewVerifier([]*cms.Certificate{root.cert})
	if _, err := v.Chain(leaf.cert, []*cms.Certificate{between.cert}, now); !errors.Is(err, cms.ErrChain) {
		t.Errorf("a CA below one that allows none: %v", err)
	}
	if _, err := v.Chain(between.cert, nil, now); err != nil {
		t.Errorf("the CA itself: %v", err)
	}
}

// ocspAnswer is an answer of responder about cert.
func ocspAnswer(t testing.TB, issuer, responder *entity, cert *entity, o ocsp.Response) []byte {
	t.Helper()
	o.SerialNumber = cert.x509.SerialNumber
	if responder != issuer {
		o.Certificate = responder.x509
	}
	der, err := ocsp.CreateResponse(issuer.x509, responder.x509, o, responder.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestOCSPAnswersCountOnlyFromWhoMayAnswerAndForTheTime(t *testing.T) {
	root, stranger := issue(t, "Wurzel", nil, ca), issue(t, "Fremd", nil, ca)
	leaf := issue(t, "Blatt", root, nil)
	responds := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }
	later := now.Add(time.Hour)
	cutoff, err := asn1.MarshalWithParams(from, "generalized")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		responder *entity
		answer    ocsp.Response
		want      cms.Result
	}{
		"of the issuer":                  {root, ocsp.Response{ThisUpdate: later}, cms.Pass},
		"of a responder":                 {issue(t, "OCSP", root, responds), ocsp.Response{ThisUpdate: later}, cms.Pass},
		"of one without the purpose":     {issue(t, "OCSP", root, nil), ocsp.Response{ThisUpdate: later}, cms.Indeterminate},
		"of a responder of another":      {issue(t, "OCSP", stranger, responds), ocsp.Response{ThisUpdate: later}, cms.Indeterminate},
		"of an expired responder":        {issue(t, "OCSP", root, func(c *x509.Certificate) { responds(c); c.NotAfter = now.AddDate(-1, 0, 0) }), ocsp.Response{ThisUpdate: later}, cms.Indeterminate},
		"too old":                        {root, ocsp.Response{ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(-time.Minute)}, cms.Indeterminate},
		"old and still the newest":       {root, ocsp.Response{ThisUpdate: now.Add(-time.Hour), NextUpdate: later}, cms.Pass},
		"unknown":                        {root, ocsp.Response{Status: ocsp.Unknown, ThisUpdate: later}, cms.Indeterminate},
		"revoked before":                 {root, ocsp.Response{Status: ocsp.Revoked, RevokedAt: now.Add(-time.Hour), ThisUpdate: later}, cms.Fail},
		"revoked after":                  {root, ocsp.Response{Status: ocsp.Revoked, RevokedAt: later, ThisUpdate: later}, cms.Pass},
		"after the certificate's end":    {root, ocsp.Response{ThisUpdate: until.Add(time.Hour)}, cms.Indeterminate},
		"after the end, with an archive": {root, ocsp.Response{ThisUpdate: until.Add(time.Hour), ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 6}, Value: cutoff}}}, cms.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			m, unreadable := cms.NewRevocationMaterial(nil, [][]byte{ocspAnswer(t, root, test.responder, leaf, test.answer)})
			if unreadable != 0 {
				t.Fatal("unreadable")
			}
			v := cms.NewVerifier([]*cms.Certificate{root.cert})
			if s := v.Revocation(leaf.cert, root.cert, now, m); s.Result != test.want {
				t.Errorf("%s (%s), want %s", s.Result, s.Detail, test.want)
			}
			if s := v.Revocation(issue(t, "Anderes", root, nil).cert, root.cert, now, m); s.Result != cms.Indeterminate {
				t.Errorf("it speaks for another certificate: %s", s.Detail)
			}
		})
	}
}

func TestCRLsCountOnlyWhereTheySpeakForTheCertificate(t *testing.T) {
	root := issue(t, "Wurzel", nil, ca)
	leaf := issue(t, "Blatt", root, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.example/1"} })
	later := now.Add(time.Hour)
	point := func(member []byte) []pkix.Extension {
		return []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: append([]byte{0x30, byte(len(member))}, member...)}}
	}
	entry := []x509.RevocationListEntry{{SerialNumber: leaf.x509.SerialNumber, RevocationTime: now.Add(-time.Hour), ReasonCode: 1}}
	for name, test := range map[string]struct {
		list x509.RevocationList
		want cms.Result
	}{
		"all certificates":            {x509.RevocationList{ThisUpdate: later}, cms.Pass},
		"revoked":                     {x509.RevocationList{ThisUpdate: later, RevokedCertificateEntries: entry}, cms.Fail},
		"too old":                     {x509.RevocationList{ThisUpdate: now.AddDate(0, 0, -9)}, cms.Indeterminate},
		"CA certificates only":        {x509.RevocationList{ThisUpdate: later, ExtraExtensions: point([]byte{0x82, 1, 0xff})}, cms.Indeterminate},
		"users only":                  {x509.RevocationList{ThisUpdate: later, ExtraExtensions: point([]byte{0x81, 1, 0xff})}, cms.Pass},
		"some reasons":                {x509.RevocationList{ThisUpdate: later, ExtraExtensions: point([]byte{0x83, 2, 6, 0x40})}, cms.Indeterminate},
		"indirect":                    {x509.RevocationList{ThisUpdate: later, RevokedCertificateEntries: entry, ExtraExtensions: point([]byte{0x84, 1, 0xff})}, cms.Indeterminate},
		"delta":                       {x509.RevocationList{ThisUpdate: later, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}}, cms.Indeterminate},
		"unknown critical extension":  {x509.RevocationList{ThisUpdate: later, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}}, cms.Indeterminate},
		"after the certificate's end": {x509.RevocationList{ThisUpdate: until.Add(time.Hour)}, cms.Indeterminate},
	} {
		t.Run(name, func(t *testing.T) {
			test.list.Number, test.list.NextUpdate = big.NewInt(1), test.list.ThisUpdate.AddDate(0, 0, 7)
			der, err := x509.CreateRevocationList(rand.Reader, &test.list, root.x509, root.key)
			if err != nil {
				t.Fatal(err)
			}
			m, _ := cms.NewRevocationMaterial([][]byte{der}, nil)
			v := cms.NewVerifier([]*cms.Certificate{root.cert})
			if s := v.Revocation(leaf.cert, root.cert, now, m); s.Result != test.want {
				t.Errorf("%s (%s), want %s", s.Result, s.Detail, test.want)
			}
			forger := issue(t, "Wurzel", nil, ca)
			if s := v.Revocation(leaf.cert, forger.cert, now, m); s.Result != cms.Indeterminate {
				t.Errorf("without the issuer's signature: %s", s.Detail)
			}
		})
	}
}
