package s3_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"evb/storage"
	"evb/storage/miniotest"
	"evb/storage/s3"
	"evb/storage/storagetest"
)

// startMinIO runs a private server until the test ends and makes the bucket.
func startMinIO(t *testing.T) s3.Config {
	t.Helper()
	cfg, _ := miniotest.Start(t)
	if err := s3.EnsureBucket(t.Context(), cfg, ""); err != nil {
		t.Fatal(err)
	}
	return cfg
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
