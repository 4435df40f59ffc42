package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"evb/storage"
)

const (
	// singleMax is the size in bytes from which objects go in parts.
	singleMax = 64 << 20
	partSize  = 16 << 20
	// slowest is the transfer rate in bytes per second below which a call
	// counts as hanging.
	slowest = 512 << 10

	defaultCallTimeout = 20 * time.Second
	defaultAttempts    = 4
	defaultRegion      = "us-east-1"
	firstPause         = 50 * time.Millisecond
	longestPause       = 2 * time.Second
)

// Credential is an access key of the S3 server.
type Credential struct {
	// AccessKey is the public part.
	AccessKey string
	// SecretKey is the secret part.
	SecretKey string
}

// String gives the access key only, so that a printed configuration holds no secret.
func (c Credential) String() string { return c.AccessKey + ":redacted" }

// GoString is String, for %#v.
func (c Credential) GoString() string { return c.String() }

// Config says which server and bucket to use.
type Config struct {
	// Endpoint is host:port without a scheme.
	Endpoint string
	// Secure selects TLS.
	Secure bool
	// TLS is used with Secure; nil means the system's roots and TLS 1.2 or newer.
	TLS *tls.Config
	// Region of the bucket, default us-east-1.
	Region string
	// Bucket to keep everything in.
	Bucket string
	// Credential for everything but overriding locks.
	Credential Credential
	// Bypass may override governance locks; empty where the process must not.
	Bypass Credential
	// CallTimeout limits one call to the server without its body, and the wait
	// between two reads of a stream; default 20 s. A body adds the time it
	// takes at 512 KiB per second.
	CallTimeout time.Duration
	// Attempts is how often a call is made at most, default 4.
	Attempts int
	// MaxConns is the number of idle connections kept, default 64. It
	// should not be below the number of concurrent writers.
	MaxConns int

	// Observe is told of every finished call of the Store; nil for none.
	Observe func(Observation)
	// Now is the clock, default time.Now.
	Now func() time.Time
	// Sleep pauses between attempts until d is over or ctx ends; default real time.
	Sleep func(ctx context.Context, d time.Duration) error
	// Rand gives numbers in [0,1) for the jitter; default math/rand.
	Rand func() float64
}

// Observation is one finished call of the Store.
type Observation struct {
	// Op is the method: put, get, stat, lock, delete, list.
	Op string
	// Duration of the call with all attempts; for get until the stream was opened.
	Duration time.Duration
	// Bytes sent or offered.
	Bytes int64
	// Attempts made to the server, at least 1.
	Attempts int
	// Err is the result.
	Err error
}

// Store is a storage.Store in one bucket of an S3 server. It is safe for
// concurrent use and needs no closing beyond CloseIdle.
type Store struct {
	cfg       Config
	transport *http.Transport
	main      *minio.Core
	bypass    *minio.Core // nil without that credential
	// lockAfterPut is set by Probe for servers that ignore the lock headers of a put.
	lockAfterPut atomic.Bool
}

var _ storage.Store = (*Store)(nil)

// New makes a Store. It checks the configuration but does not call the
// server; call Probe before trusting it.
func New(cfg Config) (*Store, error) {
	if cfg.Endpoint == "" || cfg.Bucket == "" || cfg.Credential.AccessKey == "" || cfg.Credential.SecretKey == "" {
		return nil, errors.New("s3: endpoint, bucket and credential are required")
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = defaultCallTimeout
	}
	if cfg.Attempts <= 0 {
		cfg.Attempts = defaultAttempts
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = 64
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	s := &Store{cfg: cfg, transport: newTransport(cfg)}
	var err error
	if s.main, err = s.client(cfg.Credential); err != nil {
		return nil, err
	}
	if cfg.Bypass.AccessKey != "" {
		if s.bypass, err = s.client(cfg.Bypass); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// CloseIdle closes connections that are not in use, for a clean end of the process.
func (s *Store) CloseIdle() { s.transport.CloseIdleConnections() }

// Bucket is the bucket's name, for messages.
func (s *Store) Bucket() string { return s.cfg.Bucket }

func newTransport(cfg Config) *http.Transport {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: min(5*time.Second, cfg.CallTimeout), KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConns:        2 * cfg.MaxConns,
		MaxIdleConnsPerHost: cfg.MaxConns,
		IdleConnTimeout:     time.Minute,
		TLSHandshakeTimeout: min(10*time.Second, cfg.CallTimeout),
		DisableCompression:  true, // bytes must arrive as stored
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}
	if cfg.Secure {
		if t.TLSClientConfig = cfg.TLS; t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	return t
}

func (s *Store) client(c Credential) (*minio.Core, error) {
	core, err := minio.NewCore(s.cfg.Endpoint, &minio.Options{
		Creds:        credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure:       s.cfg.Secure,
		Transport:    s.transport,
		Region:       s.cfg.Region,
		BucketLookup: minio.BucketLookupPath,
		MaxRetries:   1, // retries are made here, with bounds of our own
	})
	if err != nil {
		return nil, fmt.Errorf("s3 client for %s: %w", s.cfg.Endpoint, err)
	}
	return core, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
