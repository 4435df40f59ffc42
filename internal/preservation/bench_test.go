package preservation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/postgres/pgtest"
)

// BenchmarkCollect makes one archive version an operation.
func BenchmarkCollect(b *testing.B) {
	w := newWorld(b)
	docs := make([]uuid.UUID, b.N)
	for i := range docs {
		docs[i] = w.letter("x", fmt.Sprintf("Brief %d", i))
	}
	b.ResetTimer()
	for _, d := range docs {
		must(b, w.p.CollectRecord(b.Context(), pgtest.Stadt, d))
	}
}

// BenchmarkSeal closes, stamps and completes one tree of 200 Dokumente an
// operation, and cuts a record for each of them.
func BenchmarkSeal(b *testing.B) {
	w := newWorld(b)
	const n = 200
	docs := make([]uuid.UUID, n)
	for i := range docs {
		docs[i] = w.letter("x", fmt.Sprintf("Brief %d", i))
		must(b, w.p.CollectRecord(b.Context(), pgtest.Stadt, docs[i]))
	}
	b.ResetTimer()
	start := time.Now()
	w.sealNow(w.p)
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/seal")
	start = time.Now()
	for range b.N {
		for _, d := range docs {
			if len(w.groups(d)[0].Record) == 0 {
				b.Fatal("no record")
			}
		}
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n*b.N), "µs/record")
}
