package s3_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"evb/storage"
	"evb/storage/s3"
	"evb/storage/storagetest"
)

// minioBinary finds the independent server: EVB_MINIO, else where the set-up
// puts it. Without it the test fails in CI and says so elsewhere.
func minioBinary(t *testing.T) string {
	t.Helper()
	name := os.Getenv("EVB_MINIO")
	if name == "" {
		_, file, _, _ := runtime.Caller(0)
		name = filepath.Join(filepath.Dir(file), "..", "..", ".cache", "bin", "minio")
	}
	if _, err := os.Stat(name); err == nil {
		return name
	}
	if ci := os.Getenv("CI"); ci == "1" || ci == "true" {
		t.Fatalf("no MinIO at %s: run scripts/setup test, or set EVB_MINIO", name)
	}
	t.Skipf("no MinIO at %s: run scripts/setup test, or set EVB_MINIO", name)
	return ""
}

// startMinIO runs a private server until the test ends and makes the bucket.
func startMinIO(t *testing.T) s3.Config {
	t.Helper()
	bin := minioBinary(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var b [20]byte
	_, _ = rand.Read(b[:])
	cred := s3.Credential{AccessKey: "test" + hex.EncodeToString(b[:4]), SecretKey: hex.EncodeToString(b[4:])}
	dir := t.TempDir()
	cmd := exec.Command(bin, "server", "--quiet", "--address", addr, "--console-address", "127.0.0.1:0", dir)
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+cred.AccessKey, "MINIO_ROOT_PASSWORD="+cred.SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off", "HOME="+dir)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		runtime.LockOSThread() // the death signal follows the thread
		started <- cmd.Start()
		_ = cmd.Wait()
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	cfg := s3.Config{Endpoint: addr, Bucket: "archiv", Credential: cred, Bypass: cred}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s3.EnsureBucket(ctx, cfg, "")
		if err == nil {
			return cfg
		}
		select {
		case <-ctx.Done():
			t.Fatalf("MinIO does not answer: %v", err)
		case <-ended:
			t.Fatalf("MinIO ended: %v", err)
		case <-tick.C:
		}
	}
}

func TestMinIOConforms(t *testing.T) {
	cfg := startMinIO(t)
	store, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.CloseIdle()
	t.Run("probe", func(t *testing.T) {
		got, err := store.Probe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Root of MinIO may override locks, so there is no separation here.
		want := s3.Capabilities{Versioning: true, ObjectLock: true, LockOnPut: true, ConditionalPut: true, Checksum: true}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if err := got.Err(); err != nil {
			t.Error(err)
		}
	})
	storagetest.Run(t, func(*testing.T) storage.Store { return store })
}

func TestProbeRefusesABucketWithoutObjectLock(t *testing.T) {
	cfg := startMinIO(t)
	cfg.Bucket = "ohne"
	makePlainBucket(t, cfg)
	store, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.CloseIdle()
	got, err := store.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.ObjectLock || got.Versioning || got.Err() == nil {
		t.Errorf("%+v, %v", got, got.Err())
	}
	var codes []string
	for _, l := range got.Missing() {
		codes = append(codes, l.Code)
		if l.DE == "" || l.EN == "" {
			t.Errorf("%s has no text", l.Code)
		}
	}
	if len(codes) < 2 || codes[0] != "s3-no-object-lock" {
		t.Errorf("missing: %v", codes)
	}
}
