package indexing

import (
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/telemetry"
)

type metrics struct {
	facts, documents, errors, textMissing prometheus.Counter
	apply                                 prometheus.Histogram
	rebuilding                            prometheus.Gauge
	seq, until                            *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		facts:       prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_index_facts_total", Help: "Facts of the feed that were taken into the search index."}),
		documents:   prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_index_documents_total", Help: "Documents put into or removed from the search index."}),
		errors:      prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_index_errors_total", Help: "Rounds that failed and were repeated."}),
		textMissing: prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_index_text_missing_total", Help: "Documents indexed without their text because it was missing or corrupt."}),
		apply:       prometheus.NewHistogram(prometheus.HistogramOpts{Name: "evb_index_apply_duration_seconds", Help: "Duration of one group.", Buckets: telemetry.DurationBuckets}),
		rebuilding:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "evb_index_rebuilding", Help: "1 while the search index is rebuilt."}),
		seq:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "evb_index_applied_seq", Help: "Last number of the feed in the search index."}, []string{"tenant"}),
		until:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "evb_index_until_timestamp_seconds", Help: "Moment up to which the search index holds everything."}, []string{"tenant"}),
	}
	if reg != nil {
		reg.MustRegister(m.facts, m.documents, m.errors, m.textMissing, m.apply, m.rebuilding, m.seq, m.until)
	}
	return m
}
