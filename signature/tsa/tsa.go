package tsa

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/tsp"
)

// KeyKind is the kind of the keys of a new authority.
type KeyKind string

// The kinds of keys. RSA signs RSASSA-PKCS1-v1_5, because every verifier knows
// that; P-256 is faster and has no end date in the lists.
const (
	RSA3072 KeyKind = "rsa3072"
	P256    KeyKind = "p256"
)

// DefaultName is the name of an authority that was given none.
const DefaultName = "Entwicklungs-Zeitstempel"

// suffix marks every certificate name, whatever the operator calls it.
const suffix = " (NOT QUALIFIED)"

// maxConcurrent limits stamps made at the same time; further requests wait.
const maxConcurrent = 8

// defaultPolicy is the policy of tokens: an example number of RFC 5612, so that
// it cannot be taken for the policy of a provider.
var defaultPolicy = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1, 1}

// Options of [Open]. The zero value is usable. Name, Key and CRLURL count when
// the authority is made; one that is there keeps what it has.
type Options struct {
	// Name is the beginning of the names of the certificates; default DefaultName.
	Name string
	// Key is the kind of both keys; default P256.
	Key KeyKind
	// CRLURL is named in the stamping certificate as the source of revocation
	// data; default none, because a development server has no lasting address.
	CRLURL string
	// Policy of the tokens; default one that means nothing.
	Policy asn1.ObjectIdentifier
	// Now is the clock of the stamps; default time.Now.
	Now func() time.Time
	// Log gets a line for each stamp and refusal; default none.
	Log *slog.Logger
}

// Server is the authority. Safe for concurrent use, also by several processes on
// one folder.
type Server struct {
	opts    Options
	ca, tsa *cms.Certificate
	caX509  *x509.Certificate
	caKey   crypto.Signer
	tsaKey  crypto.Signer
	serials *serials
	slots   chan struct{}

	mu    sync.Mutex
	crl   []byte // the newest list
	crlAt time.Time
}

// Open makes the authority in dir, or loads the one that is there. dir is
// created with mode 0700. A crash while making it leaves nothing that a later
// Open would take for an authority.
func Open(dir string, o Options) (*Server, error) {
	o.Name = cmp.Or(o.Name, DefaultName)
	o.Key = cmp.Or(o.Key, P256)
	if o.Policy == nil {
		o.Policy = defaultPolicy
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: o, slots: make(chan struct{}, maxConcurrent)}
	if err := s.load(dir); err != nil {
		return nil, fmt.Errorf("time-stamp authority: %w", err)
	}
	return s, nil
}

// CertificatePEM is the anchor: what verifiers are told to trust.
func (s *Server) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.Raw})
}

// Certificates are the stamping certificate and the anchor above it, as they
// stand in every token that was asked for with certReq.
func (s *Server) Certificates() []*cms.Certificate { return []*cms.Certificate{s.tsa, s.ca} }

// crlLifetime is how long a list promises to be the newest.
const crlLifetime = 7 * 24 * time.Hour

// CRL is a DER CertificateList of the CA as of now. It is made anew every second
// at most, so it speaks for every stamp made before the call.
func (s *Server) CRL() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now().UTC().Truncate(time.Second)
	if s.crl != nil && s.crlAt.Equal(now) {
		return s.crl, nil
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:     big.NewInt(now.Unix()), // grows with time, as the number must
		ThisUpdate: now, NextUpdate: now.Add(crlLifetime),
	}, s.caX509, s.caKey)
	if err != nil {
		return nil, fmt.Errorf("time-stamp authority: make CRL: %w", err)
	}
	s.crl, s.crlAt = der, now
	return der, nil
}

// accepted are the hashes of imprints. Older ones are refused: who stamps a weak
// hash proves nothing (RFC 3161 section 2.1 point 5).
var accepted = map[digest.Algorithm]bool{
	digest.SHA256: true, digest.SHA384: true, digest.SHA512: true,
	digest.SHA3_256: true, digest.SHA3_384: true, digest.SHA3_512: true,
}

// Respond answers an encoded TimeStampReq with an encoded TimeStampResp. Every
// input has an answer: what is wrong with it is a rejection.
func (s *Server) Respond(request []byte) []byte {
	resp, info := s.respond(request)
	if info != nil {
		s.opts.Log.Info("time-stamp made", "serial", info.Serial.Text(16), "gen_time", info.GenTime, "hash", info.Imprint.Algorithm)
	} else {
		s.opts.Log.Warn("time-stamp refused", "failure", resp.Failure.String(), "reason", resp.Text)
	}
	return resp.Encode()
}

func (s *Server) respond(request []byte) (*tsp.Response, *tsp.Info) {
	req, err := tsp.ParseRequest(request)
	switch {
	case isUnknownHash(err):
		return refuse(tsp.FailBadAlg, "unknown hash algorithm"), nil
	case err != nil:
		return refuse(tsp.FailBadDataFormat, "not a readable TimeStampReq"), nil
	case !accepted[req.Imprint.Algorithm]:
		return refuse(tsp.FailBadAlg, "hash algorithm is not accepted: "+req.Imprint.Algorithm.String()), nil
	case req.Policy != nil && !req.Policy.Equal(s.opts.Policy):
		return refuse(tsp.FailUnacceptedPolicy, "only policy "+s.opts.Policy.String()), nil
	case len(req.Extensions) > 0:
		return refuse(tsp.FailUnacceptedExtension, "no extensions are supported"), nil
	}
	now := s.opts.Now().UTC().Truncate(time.Second)
	if !s.tsa.ValidAt(now) {
		s.opts.Log.Error("the certificate is not valid now", "from", s.tsa.NotBefore, "to", s.tsa.NotAfter, "now", now)
		return refuse(tsp.FailTimeNotAvailable, "the certificate of the authority is not valid now"), nil
	}
	serial, err := s.serials.next()
	if err != nil {
		s.opts.Log.Error("no serial number", "err", err)
		return refuse(tsp.FailSystemFailure, "no serial number"), nil
	}
	info := &tsp.Info{
		Policy: s.opts.Policy, Imprint: req.Imprint, RawImprint: req.RawImprint, Serial: serial,
		GenTime: now, HasAccuracy: true, Accuracy: time.Second, Nonce: req.Nonce,
	}
	token, err := s.sign(info, req.CertReq)
	if err != nil {
		s.opts.Log.Error("cannot sign", "err", err)
		return refuse(tsp.FailSystemFailure, "cannot sign"), nil
	}
	return &tsp.Response{Status: tsp.StatusGranted, Failure: tsp.FailNone, Token: token}, info
}

func (s *Server) sign(info *tsp.Info, certReq bool) ([]byte, error) {
	content, err := info.Encode()
	if err != nil {
		return nil, err
	}
	b := cms.Builder{
		ContentType: cms.OIDTSTInfo, Content: content, Digest: digest.SHA256,
		OmitCertificates: !certReq,
	}
	if certReq {
		b.Certificates = [][]byte{s.tsa.Raw, s.ca.Raw}
	}
	return b.Sign(rand.Reader, s.tsaKey, s.tsa)
}

func refuse(f tsp.FailureInfo, text string) *tsp.Response {
	return &tsp.Response{Status: tsp.StatusRejection, Failure: f, Text: text}
}

func sameKey(cert *x509.Certificate, key crypto.Signer) bool {
	a, errA := x509.MarshalPKIXPublicKey(cert.PublicKey)
	b, errB := x509.MarshalPKIXPublicKey(key.Public())
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
