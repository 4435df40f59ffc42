package cms_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"evb/internal/sharedtest"
	"evb/signature/cms"
	"evb/signature/digest"
)

// openssl runs one command in dir.
func openssl(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sharedtest.Program(t, "openssl", "openssl"), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// signed is a message that OpenSSL signed over content.
func signed(t testing.TB, key, sign []string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "content"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if key[0] == "dsa" {
		openssl(t, dir, "genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", "dsa_paramgen_bits:1024", "-out", "params")
		key = []string{"-paramfile", "params"}
	}
	openssl(t, dir, slices.Concat([]string{"genpkey"}, key, []string{"-out", "key"})...)
	openssl(t, dir, "req", "-x509", "-new", "-key", "key", "-subj", "/CN=Prüfung", "-utf8", "-days", "30", "-out", "cert")
	openssl(t, dir, slices.Concat([]string{"cms", "-sign", "-binary", "-nodetach", "-cades", "-in", "content", "-signer", "cert", "-inkey", "key", "-outform", "DER", "-out", "message"}, sign)...)
	b, err := os.ReadFile(filepath.Join(dir, "message"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var content = []byte("ein Bescheid\n")

func TestSignaturesOfOpenSSLHoldAndNoOthers(t *testing.T) {
	rsa := []string{"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}
	curve := func(name string) []string {
		return []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + name, "-pkeyopt", "ec_param_enc:named_curve"}
	}
	pss := func(more ...string) []string {
		return append([]string{"-md", "sha256", "-keyopt", "rsa_padding_mode:pss"}, more...)
	}
	for name, test := range map[string]struct {
		key, sign []string
		scheme    digest.Scheme
	}{
		"RSA":                              {rsa, []string{"-md", "sha512"}, digest.SchemeRSAPKCS1},
		"RSA with a large exponent":        {append(slices.Clone(rsa), "-pkeyopt", "rsa_keygen_pubexp:1099511627777"), []string{"-md", "sha256"}, digest.SchemeRSAPKCS1},
		"RSA of 1030 bits":                 {[]string{"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1030"}, []string{"-md", "sha256"}, digest.SchemeRSAPKCS1},
		"PSS":                              {rsa, pss("-keyopt", "rsa_pss_saltlen:32"), digest.SchemeRSAPSS},
		"PSS without salt":                 {rsa, pss("-keyopt", "rsa_pss_saltlen:0"), digest.SchemeRSAPSS},
		"PSS with another mask":            {rsa, pss("-keyopt", "rsa_pss_saltlen:20", "-keyopt", "rsa_mgf1_md:sha512"), digest.SchemeRSAPSS},
		"PSS with a large exponent":        {append(slices.Clone(rsa), "-pkeyopt", "rsa_keygen_pubexp:1099511627777"), pss("-keyopt", "rsa_pss_saltlen:32"), digest.SchemeRSAPSS},
		"PSS whose modulus fills no octet": {[]string{"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1025"}, pss("-keyopt", "rsa_pss_saltlen:0"), digest.SchemeRSAPSS},
		"P-256":                            {curve("P-256"), []string{"-md", "sha256"}, digest.SchemeECDSA},
		"P-521 with SHA-224":               {curve("P-521"), []string{"-md", "sha224"}, digest.SchemeECDSA},
		"secp256k1":                        {curve("secp256k1"), []string{"-md", "sha256"}, digest.SchemeECDSA},
		"brainpoolP256r1":                  {curve("brainpoolP256r1"), []string{"-md", "sha256"}, digest.SchemeECDSA},
		"brainpoolP512r1 with SHA-384":     {curve("brainpoolP512r1"), []string{"-md", "sha384"}, digest.SchemeECDSA},
		"brainpoolP256r1 with SHA-512":     {curve("brainpoolP256r1"), []string{"-md", "sha512"}, digest.SchemeECDSA},
		"explicit parameters":              {[]string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"}, []string{"-md", "sha256"}, digest.SchemeECDSA},
		"DSA":                              {[]string{"dsa"}, []string{"-md", "sha256"}, digest.SchemeDSA},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := cms.Parse(signed(t, test.key, test.sign))
			if err != nil {
				t.Fatal(err)
			}
			si := m.Signers[0]
			cert := m.SignerCertificate(si)
			if err := m.VerifySigner(si, cert, nil); err != nil {
				t.Fatal(err)
			}
			if s, err := si.Scheme(); err != nil || s.Scheme != test.scheme {
				t.Errorf("scheme %s, %v", s, err)
			}
			if v, err := si.SigningCertificate(cert); err != nil || v != 2 {
				t.Errorf("signing certificate version %d, %v", v, err)
			}
			if err := cert.CheckSignatureFrom(cert); err != nil {
				t.Errorf("its own certificate: %v", err)
			}
			for i := range si.Signature {
				si.Signature[i] ^= 1
				if err := m.VerifySigner(si, cert, nil); !errors.Is(err, cms.ErrSignature) {
					t.Fatalf("byte %d of the signature changed: %v", i, err)
				}
				si.Signature[i] ^= 1
			}
			m.Content[0] ^= 1
			if err := m.VerifySigner(si, cert, nil); !errors.Is(err, cms.ErrDigest) {
				t.Errorf("content changed: %v", err)
			}
		})
	}
}

func TestIndefiniteLengthsAreReadAndSaid(t *testing.T) {
	b := signed(t, []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, []string{"-md", "sha256", "-stream"})
	m, err := cms.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if m.DER() {
		t.Error("BER is taken for DER")
	}
	der, err := cms.ToDER(b)
	if err != nil || !cms.IsDER(der) {
		t.Fatalf("not DER after re-encoding: %v", err)
	}
	for name, b := range map[string][]byte{"as it came": b, "re-encoded": der} {
		m, err := cms.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Content) != string(content) {
			t.Errorf("%s: content %q", name, m.Content)
		}
		if err := m.VerifySigner(m.Signers[0], m.SignerCertificate(m.Signers[0]), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheSigningCertificateIsBoundToTheSignature(t *testing.T) {
	key := []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}
	one, err := cms.Parse(signed(t, key, []string{"-md", "sha256"}))
	if err != nil {
		t.Fatal(err)
	}
	other, err := cms.Parse(signed(t, key, []string{"-md", "sha256"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Signers[0].SigningCertificate(other.Certificates[0]); !errors.Is(err, cms.ErrSigningCertificate) {
		t.Errorf("another certificate: %v", err)
	}
	si := *one.Signers[0]
	si.SignedAttributes = slices.DeleteFunc(slices.Clone(si.SignedAttributes), func(a cms.Attribute) bool {
		return a.OID.Equal(cms.OIDSigningCertificateV2)
	})
	if _, err := si.SigningCertificate(one.Certificates[0]); !errors.Is(err, cms.ErrSigningCertificate) {
		t.Errorf("no attribute: %v", err)
	}
	si.SignedAttributes = slices.Repeat(one.Signers[0].SignedAttributes, 2)
	if _, err := si.SigningCertificate(one.Certificates[0]); !errors.Is(err, cms.ErrMalformed) {
		t.Errorf("attribute twice: %v", err)
	}
}
