package search

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one index. Labels have few values and name no person or word.
type metrics struct {
	reg      prometheus.Registerer
	ops      prometheus.Counter
	apply    prometheus.Histogram
	search   *prometheus.HistogramVec
	docs     prometheus.GaugeFunc
	rebuilds prometheus.Counter
}

func newMetrics(x *Index, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		reg: reg,
		ops: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evb_search_operations_total", Help: "Operations applied to the search index.",
		}),
		apply: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evb_search_apply_duration_seconds", Help: "Duration of one group of operations until durable and visible.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 12),
		}),
		search: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "evb_search_duration_seconds", Help: "Duration of one search.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"result"}),
		rebuilds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evb_search_rebuilds_total", Help: "Rebuilds that were swapped in.",
		}),
	}
	m.docs = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "evb_search_documents", Help: "Documents in the search index.",
	}, func() float64 {
		var n uint64
		_ = x.with(func(g *generation) (err error) {
			n, err = g.docCount()
			return err
		})
		return float64(n)
	})
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all() {
		if err := reg.Register(c); err != nil {
			for _, c := range m.all()[:i] {
				reg.Unregister(c)
			}
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.ops, m.apply, m.search, m.rebuilds, m.docs}
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all() {
		m.reg.Unregister(c)
	}
}

func (m *metrics) applied(n int, d time.Duration) {
	m.ops.Add(float64(n))
	m.apply.Observe(d.Seconds())
}

// searched counts a search under ok, invalid (the asker's fault) or error.
func (m *metrics) searched(result string, d time.Duration) {
	m.search.WithLabelValues(result).Observe(d.Seconds())
}
