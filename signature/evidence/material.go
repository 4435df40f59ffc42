package evidence

import (
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/tsp"
)

// material is the certificates and revocation data of a package, each once.
type material struct {
	certificates, crls, ocsps [][]byte
}

func (m *material) add(certificates, crls, ocsps [][]byte) {
	m.certificates = append(m.certificates, certificates...)
	m.crls = append(m.crls, crls...)
	m.ocsps = append(m.ocsps, ocsps...)
}

// tokenFile is a token of the package, for README.txt.
type tokenFile struct {
	path        string // what OpenSSL is to read
	imprint     digest.Digest
	imprintPath string // path of the .imprint file
	genTime     time.Time
	signer      string // subject of the authority's certificate, "" when it is not inside
}

// recordTokens writes the tokens of record n and collects what they carry.
func (w *writer) recordTokens(n int, record *ers.EvidenceRecord, m *material) error {
	k := 0
	for _, chain := range record.Chains {
		for _, ts := range chain.Timestamps {
			k++
			base := fmt.Sprintf("%s/%d-%d", dirTokens, n, k)
			token, err := tsp.Parse(ts.Token)
			if err != nil {
				return fmt.Errorf("%w: token %d: %w", ErrPackage, k, err)
			}
			sd := token.SignedData
			if err := w.file(base+".tst", ts.Token); err != nil {
				return err
			}
			imprint := token.Info.Imprint
			if err := w.file(base+".imprint", appendImprint(nil, imprint)); err != nil {
				return err
			}
			f := tokenFile{path: base + ".tst", imprint: imprint, imprintPath: base + ".imprint", genTime: token.Info.GenTime}
			if c := token.Signer(); c != nil {
				f.signer = c.Subject()
			}
			if needsOpenSSLForm(sd) {
				stripped, err := tsp.StripCRLs(ts.Token)
				if err != nil {
					return fmt.Errorf("token %d without revocation data: %w", k, err)
				}
				f.path = base + ".openssl.tst"
				if err := w.file(f.path, stripped); err != nil {
					return err
				}
			}
			w.tokens = append(w.tokens, f)
			for _, c := range sd.Certificates {
				m.certificates = append(m.certificates, c.Raw)
			}
			m.add(nil, sd.CRLs, sd.OCSPs)
		}
	}
	return nil
}

// needsOpenSSLForm reports whether a token carries anything but CRLs in crls:
// OpenSSL refuses such tokens.
func needsOpenSSLForm(sd *cms.SignedData) bool { return len(sd.OCSPs) > 0 || sd.OtherRevocation > 0 }

// material writes certificates and revocation data.
func (w *writer) material(m *material) error {
	for _, der := range unique(m.certificates) {
		name := "certificate"
		if c, err := cms.ParseCertificate(der); err == nil {
			name = slug(c.Subject())
		}
		b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if err := w.file(fmt.Sprintf("%s/%s-%s.pem", dirCertificates, name, shortHash(der)), b); err != nil {
			return err
		}
	}
	for _, kind := range []struct {
		suffix string
		list   [][]byte
	}{{"crl", m.crls}, {"ocsp", m.ocsps}} {
		for _, der := range unique(kind.list) {
			if err := w.file(fmt.Sprintf("%s/%s.%s", dirRevocation, shortHash(der), kind.suffix), der); err != nil {
				return err
			}
		}
	}
	return nil
}

func shortHash(b []byte) string { return digest.Of(digest.SHA256, b).Hex()[:16] }

func unique(list [][]byte) [][]byte {
	var out [][]byte
	seen := map[string]bool{}
	for _, b := range list {
		if key := string(b); !seen[key] {
			seen[key] = true
			out = append(out, b)
		}
	}
	return out
}

// slug makes a file name out of the common name of a certificate.
func slug(subject string) string {
	for _, part := range strings.Split(subject, ",") {
		if cn, ok := strings.CutPrefix(strings.TrimSpace(part), "CN="); ok {
			subject = cn
			break
		}
	}
	var b strings.Builder
	for _, r := range strings.ToLower(subject) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 40 {
			break
		}
	}
	if s := strings.Trim(b.String(), "-"); s != "" {
		return s
	}
	return "certificate"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
