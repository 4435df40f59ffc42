package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"evb/internal/config"
	"evb/internal/preservation"
	"evb/signature/cms"
	"evb/signature/tsp"
	"evb/storage/s3"
)

// Places says where the parts are that the program does not bring itself.
type Places struct {
	DSN string
	// S3 is for daily work. Disposal is the same server with the credential
	// that may override governance locks; unused without HasDisposal.
	S3, Disposal s3.Config
	HasDisposal  bool
	// TSA are addresses of time-stamp authorities, asked in turn.
	TSA []string
	// User and Password are for authorities with HTTP authentication.
	User, Password string
	Policy         asn1.ObjectIdentifier
	HTTP           *http.Client  // to the authorities; nil: the default
	Timeout        time.Duration // of one request to them; 0: the default
	// Anchors are what a token must lead to before it is sealed.
	Anchors []*cms.Certificate
	// CRLURLs are asked for revocation lists beside what certificates name.
	CRLURLs []string
	// Development says that the authority is ours and proves nothing to others.
	Development bool
}

// PlacesOf reads the places from the configuration (production). Only a process
// that removes objects (disposal) reads the credential for it.
func PlacesOf(cfg config.Config, disposal bool) (Places, error) {
	var p Places
	var err error
	if p.DSN, err = cfg.Postgres.ConnString(); err != nil {
		return p, fmt.Errorf("postgres: %w", err)
	}
	if p.S3, err = s3Config(cfg.S3, cfg.S3.AccessKey, cfg.S3.SecretKeyFile); err != nil {
		return p, err
	}
	if disposal && cfg.S3.BypassAccessKey != "" {
		p.Disposal = p.S3
		secret, err := config.ReadSecret(cfg.S3.BypassSecretKeyFile)
		if err != nil {
			return p, fmt.Errorf("s3.bypass_secret_key_file: %w", err)
		}
		p.Disposal.Bypass = s3.Credential{AccessKey: cfg.S3.BypassAccessKey, SecretKey: secret.Reveal()}
		p.HasDisposal = true
	}
	p.TSA = cfg.TSA.URLs
	p.User, p.Timeout = cfg.TSA.Username, cfg.TSA.Timeout
	if cfg.TSA.PasswordFile != "" {
		secret, err := config.ReadSecret(cfg.TSA.PasswordFile)
		if err != nil {
			return p, fmt.Errorf("tsa.password_file: %w", err)
		}
		p.Password = secret.Reveal()
	}
	if cfg.TSA.PolicyOID != "" {
		if p.Policy, err = parseOID(cfg.TSA.PolicyOID); err != nil {
			return p, err
		}
	}
	if cfg.TSA.CAFile != "" {
		pool, err := certPool(cfg.TSA.CAFile)
		if err != nil {
			return p, fmt.Errorf("tsa.ca_file: %w", err)
		}
		p.HTTP = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	}
	if cfg.TSA.TrustFile != "" {
		if p.Anchors, err = readCertificates(cfg.TSA.TrustFile); err != nil {
			return p, fmt.Errorf("tsa.trust_file: %w", err)
		}
	}
	return p, nil
}

func s3Config(c config.S3, access, secretFile string) (s3.Config, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return s3.Config{}, fmt.Errorf("s3.endpoint: %w", err)
	}
	secret, err := config.ReadSecret(secretFile)
	if err != nil {
		return s3.Config{}, fmt.Errorf("s3.secret_key_file: %w", err)
	}
	out := s3.Config{
		Endpoint: u.Host, Secure: u.Scheme == "https", Region: c.Region, Bucket: c.Bucket,
		Credential: s3.Credential{AccessKey: access, SecretKey: secret.Reveal()}, CallTimeout: c.Timeout, MaxConns: c.MaxIdleConns,
	}
	if c.CAFile != "" {
		pool, err := certPool(c.CAFile)
		if err != nil {
			return out, fmt.Errorf("s3.ca_file: %w", err)
		}
		out.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return out, nil
}

func certPool(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}

func readCertificates(file string) ([]*cms.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []*cms.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := cms.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return out, nil
}

func parseOID(s string) (asn1.ObjectIdentifier, error) {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("tsa.policy_oid %q: %w", s, err)
		}
		oid = append(oid, n)
	}
	return oid, nil
}

// revocation fetches what belongs to a token.
func (p Places) revocation() preservation.RevocationSource {
	return preservation.HTTPRevocation{Client: p.HTTP, URLs: p.CRLURLs}
}

// client asks the authorities of the places.
func (p Places) client() *tsp.Client {
	c := &tsp.Client{HTTP: p.HTTP, Timeout: p.Timeout, Verify: tsp.VerifyOptions{}}
	if len(p.Anchors) > 0 {
		c.Verify.Anchors = cms.NewVerifier(p.Anchors)
	}
	for _, u := range p.TSA {
		c.Authorities = append(c.Authorities, tsp.Authority{URL: u, User: p.User, Password: p.Password, Policy: p.Policy})
	}
	return c
}
