package s3d_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"evb/storage"
)

// BenchmarkPut stores 100 KB objects with 32 writers, through the store (with
// digest, condition, lock) and through a raw loop of minio-go puts against the
// same server. The ratio of the two is what the store costs.
func BenchmarkPut(b *testing.B) {
	const size, writers = 100_000, 32
	srv := start(b, dir(b))
	cfg := srv.Config(false)
	cfg.MaxConns = writers
	store := newStore(b, cfg)
	raw, err := minio.New(srv.Endpoint(), &minio.Options{
		Creds: credentials.NewStaticV4(srv.Credential().AccessKey, srv.Credential().SecretKey, ""), Region: srv.Region(),
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		put  func(context.Context, storage.Key, []byte, storage.PutOptions) error
	}{
		{"store", func(ctx context.Context, key storage.Key, data []byte, o storage.PutOptions) error {
			o.Lock = &storage.Lock{Mode: storage.LockGovernance, Until: time.Now().Add(time.Hour)}
			_, err := store.Put(ctx, key, bytes.NewReader(data), size, o)
			return err
		}},
		{"raw", func(ctx context.Context, key storage.Key, data []byte, _ storage.PutOptions) error {
			_, err := raw.PutObject(ctx, srv.Bucket(), string(key), bytes.NewReader(data), size, minio.PutObjectOptions{})
			return err
		}},
	} {
		b.Run(fmt.Sprintf("%s/writers=%d", c.name, writers), func(b *testing.B) {
			b.SetBytes(size)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						key, data, o := object(size)
						if err := c.put(b.Context(), key, data, o); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
		})
	}
}
