package akte_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/postgres/pgtest"
)

// BenchmarkInsertDokumente measures the rows of one group commit: 50 Dokumente
// with version, original, file and fact, without their blobs.
func BenchmarkInsertDokumente(b *testing.B) {
	w := aktetest.New(b)
	const group = 50
	for b.Loop() {
		b.StopTimer()
		var docs []akte.NewDokument
		w.Tx(b, pgtest.Stadt, func(tx pgx.Tx) error {
			docs = docs[:0]
			for range group {
				docs = append(docs, aktetest.Draft(b, tx, "Schreiben"))
			}
			return nil
		})
		b.StartTimer()
		w.Tx(b, pgtest.Stadt, func(tx pgx.Tx) error {
			return w.Akten.InsertDokumente(b.Context(), tx, w.System(), w.Now(), docs...)
		})
	}
	b.ReportMetric(float64(b.N*group)/b.Elapsed().Seconds(), "dokumente/s")
}
