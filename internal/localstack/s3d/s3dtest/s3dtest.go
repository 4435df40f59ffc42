// Package s3dtest gives tests buckets of a real S3 server: one server a test
// process, started at the first request, a bucket of its own for each test.
//
// The test binary is its own server; a package that uses it calls Child and
// Stop in its TestMain (package worldtest does both).
package s3dtest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evb/internal/localstack/s3d"
	"evb/storage/s3"
)

const childEnv = "EVB_S3DTEST_CHILD"

// Child says whether this process is the server of a test process; it has then
// been one, and ends with code.
func Child() (code int, mine bool) {
	if os.Getenv(childEnv) == "" {
		return 0, false
	}
	return s3d.ChildMain(), true
}

// server is that of the process.
var server struct {
	once   sync.Once
	srv    *s3d.Server
	dir    string
	err    error
	number atomic.Int64
}

// Stop ends the server of the process, if there is one, and removes its folder.
func Stop() error {
	var err error
	if server.srv != nil {
		err = stop(server.srv)
	}
	if server.dir != "" {
		_ = os.RemoveAll(server.dir)
	}
	return err
}

func stop(srv *s3d.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := srv.Stop(ctx); err != nil {
		return fmt.Errorf("stop test S3 server: %w", err)
	}
	return nil
}

// Address says where a bucket is, for another process.
type Address struct {
	Endpoint, Region, Bucket string
	Credential, Bypass       s3.Credential
}

// Config is the configuration of a store there.
func (a Address) Config() s3.Config {
	return s3.Config{Endpoint: a.Endpoint, Region: a.Region, Bucket: a.Bucket, Credential: a.Credential, Bypass: a.Bypass}
}

// Bucket is a bucket of a running server.
type Bucket struct {
	Address
	// Dir is the folder in which the server has the objects, by their names.
	Dir string
	// Server is the server; only that of Own may be stopped.
	Server *s3d.Server
}

// New is a bucket of its own on the server of the process.
func New(t testing.TB) *Bucket {
	t.Helper()
	server.once.Do(func() {
		if server.dir, server.err = os.MkdirTemp("", "evb-s3dtest-"); server.err == nil {
			// Warnings of the server belong to no single test.
			server.srv, server.err = start(context.Background(), server.dir, slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		}
	})
	if server.err != nil {
		t.Fatalf("test S3 server: %v", server.err)
	}
	b := bucket(server.srv, server.dir, fmt.Sprintf("archiv-%d", server.number.Add(1)))
	owner := b.Config()
	owner.Credential = b.Bypass
	if err := s3.EnsureBucket(t.Context(), owner, b.Credential.AccessKey); err != nil {
		t.Fatal(err)
	}
	return b
}

// Own is a bucket on a server of its own, for a test that stops it.
func Own(t testing.TB) *Bucket {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "s3")
	srv, err := start(t.Context(), dir, slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(srv); err != nil {
			t.Error(err)
		}
	})
	return bucket(srv, dir, srv.Bucket())
}

func start(ctx context.Context, dir string, log slog.Handler) (*s3d.Server, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return s3d.Start(ctx, s3d.Options{Dir: dir, Binary: exe, Env: []string{childEnv + "=1"}, Bucket: "archiv", Logger: slog.New(log)})
}

func bucket(srv *s3d.Server, dir, name string) *Bucket {
	return &Bucket{
		Address: Address{Endpoint: srv.Endpoint(), Region: srv.Region(), Bucket: name, Credential: srv.Credential(), Bypass: srv.Bypass()},
		Dir:     filepath.Join(dir, "data", name), Server: srv,
	}
}

// Store opens the bucket; it goes with the test.
func (b *Bucket) Store(t testing.TB, change ...func(*s3.Config)) *s3.Store {
	t.Helper()
	c := b.Config()
	for _, f := range change {
		f(&c)
	}
	store, err := s3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.CloseIdle)
	return store
}
