package s3d_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"evb/storage"
	"evb/storage/s3"
	"evb/storage/storagetest"
)

func TestEmbeddedServerConforms(t *testing.T) {
	srv := start(t, dir(t))
	store := newStore(t, srv.Config(true))
	storagetest.Run(t, func(*testing.T) storage.Store { return store })
}

func TestProbeFindsEverythingOnTheEmbeddedServer(t *testing.T) {
	srv := start(t, dir(t))
	got, err := newStore(t, srv.Config(true)).Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := s3.Capabilities{Versioning: true, ObjectLock: true, LockOnPut: true, ConditionalPut: true, Checksum: true, Separation: true}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if m := got.Missing(); len(m) != 0 || got.Err() != nil {
		t.Errorf("missing %+v", m)
	}
}
