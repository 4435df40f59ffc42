// Package miniotest runs MinIO, the second, independent S3 server that tests
// hold ours against, as a process of its own. Nothing of it is linked.
package miniotest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"evb/internal/sharedtest"
	"evb/storage/s3"
)

// binary finds the server: EVB_MINIO, else where scripts/setup puts it.
func binary(t testing.TB) string {
	t.Helper()
	name := os.Getenv("EVB_MINIO")
	if name == "" {
		_, file, _, _ := runtime.Caller(0)
		name = filepath.Join(filepath.Dir(file), "..", "..", ".cache", "bin", "minio")
	}
	if _, err := os.Stat(name); err != nil {
		sharedtest.Missing(t, "MinIO (run scripts/setup test, or set EVB_MINIO)", err)
	}
	return name
}

// Start runs a private server until the test ends and returns when it answers.
// There is no bucket. The one account is the root of the server.
func Start(t testing.TB) (s3.Config, *os.Process) {
	t.Helper()
	bin := binary(t)
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
	cmd := exec.Command(bin, "server", "--quiet", "--address", addr, "--console-address", "127.0.0.1:0", dir) //nolint:gosec,noctx // ended by the test
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
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ready(ctx, addr) {
		select {
		case <-ctx.Done():
			t.Fatal("MinIO does not answer")
		case <-ended:
			t.Fatal("MinIO ended")
		case <-tick.C:
		}
	}
	return s3.Config{Endpoint: addr, Bucket: "archiv", Credential: cred, Bypass: cred}, cmd.Process
}

func ready(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/minio/health/ready", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
