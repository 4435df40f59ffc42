package cms_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"evb/signature/cms"
	"evb/signature/digest"
)

// message is a SignedData of our own with one CRL inside.
func message(t testing.TB) (b, crl []byte, signer *entity) {
	t.Helper()
	root := issue(t, "Wurzel", nil, ca)
	signer = issue(t, "Blatt", root, nil)
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: now, ReasonCode: 4}},
	}, root.x509, root.key)
	if err != nil {
		t.Fatal(err)
	}
	b, err = cms.Builder{Content: content, Digest: digest.SHA256, Certificates: [][]byte{root.cert.Raw}, CRLs: [][]byte{crl}}.Sign(rand.Reader, signer.key, signer.cert)
	if err != nil {
		t.Fatal(err)
	}
	return b, crl, signer
}

func FuzzParse(f *testing.F) {
	b, crl, signer := message(f)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte{0x30, 0x80, 0x30, 0x80, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := cms.Parse(b)
		if err != nil {
			if !errors.Is(err, cms.ErrMalformed) && !errors.Is(err, digest.ErrUnknownAlgorithm) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for _, si := range m.Signers {
			c := m.SignerCertificate(si, signer.cert)
			if c == nil {
				c = signer.cert
			}
			_, _ = si.SigningCertificate(c)
			if m.VerifySigner(si, c, nil) == nil && c.Equal(signer.cert) && !m.Detached && !bytes.Equal(m.Content, content) {
				t.Fatal("another content under the same signature")
			}
		}
		if _, err := cms.ToDER(b); m.DER() && err != nil {
			t.Fatalf("DER that cannot be re-encoded: %v", err)
		}
		// What is added to crls changes nothing that is signed.
		with, err := m.WithRevocation([][]byte{crl}, nil)
		if err != nil {
			t.Fatalf("add a CRL: %v", err)
		}
		again, err := cms.Parse(with)
		if err != nil {
			t.Fatalf("with a CRL: %v", err)
		}
		if len(again.Signers) != len(m.Signers) || !bytes.Equal(again.Content, m.Content) || len(again.CRLs) == 0 {
			t.Fatal("another message with a CRL")
		}
		for i, si := range again.Signers {
			if !bytes.Equal(si.Raw, m.Signers[i].Raw) {
				t.Fatal("another signer with a CRL")
			}
		}
	})
}

func FuzzParseCertificates(f *testing.F) {
	root := issue(f, "Wurzel", nil, ca)
	leaf := issue(f, "Blatt", root, func(c *x509.Certificate) {
		c.CRLDistributionPoints, c.OCSPServer = []string{"http://crl.example/1"}, []string{"http://ocsp.example"}
	})
	f.Add(leaf.cert.Raw)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}))
	v := cms.NewVerifier([]*cms.Certificate{root.cert})
	f.Fuzz(func(t *testing.T, b []byte) {
		certs, err := cms.ParseCertificates(b)
		if err != nil {
			if !errors.Is(err, cms.ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for _, c := range certs {
			_, _ = c.PublicKey()
			_ = c.Subject() + c.Issuer()
			if _, err := v.Chain(c, certs, now); err == nil && !c.Equal(root.cert) && !bytes.Equal(c.RawTBS, leaf.cert.RawTBS) {
				t.Fatal("a certificate that nobody issued")
			}
		}
	})
}

func FuzzParseRevocation(f *testing.F) {
	root := issue(f, "Wurzel", nil, ca)
	leaf := issue(f, "Blatt", root, nil)
	_, crl, _ := message(f)
	f.Add(crl)
	f.Add(ocspAnswer(f, root, root, leaf, ocsp.Response{ThisUpdate: now, NextUpdate: now.Add(time.Hour)}))
	f.Add(ocspAnswer(f, root, issue(f, "OCSP", root, nil), leaf, ocsp.Response{Status: ocsp.Revoked, RevokedAt: now, ThisUpdate: now}))
	v := cms.NewVerifier([]*cms.Certificate{root.cert})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, err := range []error{second(cms.ParseCRL(b)), second(cms.ParseOCSP(b))} {
			if err != nil && !errors.Is(err, cms.ErrMalformed) {
				t.Fatalf("error %v", err)
			}
		}
		m, _ := cms.NewRevocationMaterial([][]byte{b}, [][]byte{b})
		_ = v.Revocation(leaf.cert, root.cert, now, m)
		for _, c := range m.CRLs {
			if _, _, err := c.Lookup(big.NewInt(7)); err != nil && !errors.Is(err, cms.ErrMalformed) {
				t.Fatalf("error %v", err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func FuzzToDER(f *testing.F) {
	b, _, _ := message(f)
	f.Add(b)
	f.Add([]byte{0x24, 0x80, 4, 1, 'a', 4, 1, 'b', 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		der, err := cms.ToDER(b)
		if err != nil {
			if !errors.Is(err, cms.ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := cms.ToDER(der)
		if err != nil || !bytes.Equal(again, der) {
			t.Fatalf("re-encoded twice is not what it was once: %v", err)
		}
		if cms.IsDER(b) && !bytes.Equal(der, b) {
			t.Fatal("DER was changed")
		}
	})
}
