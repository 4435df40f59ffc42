package tsp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"

	"evb/signature/cms"
	"evb/signature/tsp"
)

func TestThePurposeIsTimeStampingAloneAndCritical(t *testing.T) {
	purpose := func(critical bool, oids ...asn1.ObjectIdentifier) []pkix.Extension {
		b, err := asn1.Marshal(oids)
		if err != nil {
			t.Fatal(err)
		}
		return []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: b}}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		extensions []pkix.Extension
		usage      x509.KeyUsage
		want       error
	}{
		"alone and critical":         {purpose(true, cms.OIDTimeStamping), x509.KeyUsageDigitalSignature, nil},
		"content commitment":         {purpose(true, cms.OIDTimeStamping), x509.KeyUsageContentCommitment, nil},
		"no key usage":               {purpose(true, cms.OIDTimeStamping), 0, nil},
		"not critical":               {purpose(false, cms.OIDTimeStamping), x509.KeyUsageDigitalSignature, tsp.ErrPurpose},
		"not there":                  {nil, x509.KeyUsageDigitalSignature, tsp.ErrPurpose},
		"another":                    {purpose(true, cms.OIDOCSPSigning), x509.KeyUsageDigitalSignature, tsp.ErrPurpose},
		"beside another":             {purpose(true, cms.OIDTimeStamping, cms.OIDOCSPSigning), x509.KeyUsageDigitalSignature, tsp.ErrPurpose},
		"any purpose":                {purpose(true, asn1.ObjectIdentifier{2, 5, 29, 37, 0}), x509.KeyUsageDigitalSignature, tsp.ErrPurpose},
		"a key that may not sign so": {purpose(true, cms.OIDTimeStamping), x509.KeyUsageKeyEncipherment, tsp.ErrPurpose},
	} {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), KeyUsage: test.usage, ExtraExtensions: test.extensions}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := cms.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := tsp.CheckTimeStampingPurpose(cert); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
