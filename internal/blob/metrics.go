package blob

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	removed    prometheus.Counter
	checked    *prometheus.CounterVec
	problems   *prometheus.GaugeVec
	readFaults *prometheus.CounterVec
	locked     prometheus.Counter
	orphans    prometheus.Counter
	fixityAge  *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		removed: prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_blob_removed_total",
			Help: "Blobs that nothing referred to, removed by the sweeper."}),
		checked: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_blob_checked_total",
			Help: "Blobs read back and hashed again, by result."}, []string{"result"}),
		problems: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "evb_blob_problems",
			Help: "Present blobs whose object is missing or corrupt. Must be zero."}, []string{"tenant", "problem"}),
		readFaults: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_blob_read_faults_total",
			Help: "Reads that met a missing or corrupt object. Must be zero."}, []string{"problem"}),
		locked: prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_blob_locks_set_total",
			Help: "Object locks brought to what is wanted and read back."}),
		orphans: prometheus.NewCounter(prometheus.CounterOpts{Name: "evb_blob_orphans_total",
			Help: "Objects without a row that reconciliation found."}),
		fixityAge: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "evb_blob_fixity_age_seconds",
			Help: "How long ago the blob was re-hashed that was not for the longest time, at the last round."}, []string{"tenant"}),
	}
	if reg != nil {
		reg.MustRegister(m.removed, m.checked, m.problems, m.readFaults, m.locked, m.orphans, m.fixityAge)
	}
	return m
}
