package s3d_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"evb/internal/localstack/s3d"
	"evb/storage"
	"evb/storage/s3"
)

const childEnv = "EVB_S3D_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(s3d.ChildMain())
	}
	if d := os.Getenv(parentEnv); d != "" {
		os.Exit(parent(d))
	}
	os.Exit(m.Run())
}

func options(t testing.TB, dir string) s3d.Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return s3d.Options{
		Dir: dir, Binary: exe, Env: []string{childEnv + "=1"}, Bucket: "archiv",
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// start runs a server on dir until the test ends.
func start(t testing.TB, dir string) *s3d.Server {
	t.Helper()
	s, err := s3d.Start(t.Context(), options(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *s3d.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func dir(t testing.TB) string { return filepath.Join(t.TempDir(), "s3") }

func newStore(t testing.TB, cfg s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.CloseIdle)
	return s
}

var _ storage.Store = (*s3.Store)(nil)
