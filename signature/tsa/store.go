package tsa

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/newfile"
)

// Lifetimes of the certificates. The stamping certificate ends well before its
// CA, so that renewals have something to renew towards.
const (
	caYears  = 30
	tsaYears = 10
)

// authorityDir holds keys and certificates; it appears whole or not at all.
const authorityDir = "authority"

// load opens the folder, making the authority when there is none.
func (s *Server) load(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	home := filepath.Join(dir, authorityDir)
	if _, err := os.Stat(home); errors.Is(err, fs.ErrNotExist) {
		if err := s.create(dir, home); err != nil {
			return fmt.Errorf("make keys and certificates: %w", err)
		}
	}
	if s.caX509, s.ca, s.caKey, err = readPair(home, "ca"); err != nil {
		return err
	}
	tsa, cert, key, err := readPair(home, "tsa")
	if err != nil {
		return err
	}
	if err := tsa.CheckSignatureFrom(s.caX509); err != nil {
		return fmt.Errorf("tsa.pem is not signed by ca.pem: %w", err)
	}
	s.tsa, s.tsaKey = cert, key
	s.serials = &serials{dir: dir}
	return nil
}

// create writes a new authority into a folder beside home and renames it. A
// crash before the rename leaves "authority.part-*", which nothing reads.
func (s *Server) create(dir, home string) error {
	part, err := os.MkdirTemp(dir, authorityDir+".part-") // mode 0700
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(part) }() // nothing to do after the rename
	caKey, err := newKey(s.opts.Key)
	if err != nil {
		return err
	}
	tsaKey, err := newKey(s.opts.Key)
	if err != nil {
		return err
	}
	// A clock of a test may stand anywhere; an hour of slack is for machines
	// whose clocks differ.
	from := s.opts.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	caDER, err := newCA(s.opts.Name, from, caKey)
	if err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return err
	}
	tsaDER, err := newStamper(s.opts, from, ca, caKey, tsaKey)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		der  []byte
		key  crypto.Signer
	}{{"ca", caDER, caKey}, {"tsa", tsaDER, tsaKey}} {
		if err := writePair(part, f.name, f.der, f.key); err != nil {
			return err
		}
	}
	if err := newfile.SyncDir(part); err != nil {
		return err
	}
	if err := os.Rename(part, home); err != nil {
		return err
	}
	return newfile.SyncDir(dir)
}

func newKey(kind KeyKind) (crypto.Signer, error) {
	switch kind {
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, fmt.Errorf("unknown kind of key %q", kind)
	}
}

func certificateSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return n.SetBit(n, 126, 1), nil // never 0, always of the same length
}

func name(common string) pkix.Name {
	return pkix.Name{
		CommonName:         common + suffix,
		Organization:       []string{"evb"},
		OrganizationalUnit: []string{"Entwicklung und Test - kein Vertrauensdienst - NOT QUALIFIED"},
	}
}

func newCA(common string, from time.Time, key crypto.Signer) ([]byte, error) {
	serial, err := certificateSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: name(common + " CA"),
		NotBefore: from, NotAfter: from.AddDate(caYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
}

func newStamper(o Options, from time.Time, ca *x509.Certificate, caKey, key crypto.Signer) ([]byte, error) {
	serial, err := certificateSerial()
	if err != nil {
		return nil, err
	}
	// RFC 3161 section 2.3: the purpose is critical and the only one. crypto/x509
	// would write it as not critical.
	purpose, err := asn1.Marshal([]asn1.ObjectIdentifier{cms.OIDTimeStamping})
	if err != nil {
		return nil, err
	}
	keyID, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: name(o.Name),
		NotBefore: from, NotAfter: from.AddDate(tsaYears, 0, 0), BasicConstraintsValid: true,
		KeyUsage:        x509.KeyUsageDigitalSignature,
		SubjectKeyId:    digest.Of(digest.SHA256, keyID).Value[:20],
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: purpose}},
	}
	if o.CRLURL != "" {
		t.CRLDistributionPoints = []string{o.CRLURL}
	}
	return x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
}

func writePair(dir, base string, der []byte, key crypto.Signer) error {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	err = newfile.Write(filepath.Join(dir, base+".key"), 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	if err != nil {
		return err
	}
	return newfile.Write(filepath.Join(dir, base+".pem"), 0o644, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// readPair reads certificate and key and refuses keys that others can read.
func readPair(dir, base string) (*x509.Certificate, *cms.Certificate, crypto.Signer, error) {
	file := filepath.Join(dir, base+".key")
	info, err := os.Stat(file)
	if err != nil {
		return nil, nil, nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, nil, nil, fmt.Errorf("%s is readable by others (mode %04o); run: chmod 600 %s", file, info.Mode().Perm(), file)
	}
	secret, err := readPEM(file, "PRIVATE KEY")
	if err != nil {
		return nil, nil, nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(secret)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, nil, nil, fmt.Errorf("%s: a key of type %T cannot sign", file, parsed)
	}
	file = filepath.Join(dir, base+".pem")
	der, err := readPEM(file, "CERTIFICATE")
	if err != nil {
		return nil, nil, nil, err
	}
	std, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	own, err := cms.ParseCertificate(der)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if !sameKey(std, key) {
		return nil, nil, nil, fmt.Errorf("%s.key does not belong to %s.pem", base, base)
	}
	return std, own, key, nil
}

func readPEM(file, kind string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s holds no %s", file, strings.ToLower(kind))
	}
	return block.Bytes, nil
}

func isUnknownHash(err error) bool { return errors.Is(err, digest.ErrUnknownAlgorithm) }

// lock takes the folder for this process until unlock; it waits for others. The
// kernel gives it back when a process dies.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}
