package preservation

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the evidence. open and oldest are set whenever somebody looks
// whether a tree is due, which is once a minute at least.
type metrics struct {
	made    *prometheus.CounterVec
	open    *prometheus.GaugeVec
	oldest  *prometheus.GaugeVec
	seals   *prometheus.CounterVec
	leaves  *prometheus.CounterVec
	stamps  *prometheus.CounterVec
	packs   *prometheus.CounterVec
	heads   *prometheus.CounterVec
	problem *prometheus.CounterVec
	renewed *prometheus.CounterVec
	due     *prometheus.GaugeVec
	end     *prometheus.GaugeVec
	gaps    *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evb_preservation_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "evb_preservation_" + name, Help: help}, append([]string{"tenant"}, labels...))
	}
	m := &metrics{
		made:    counter("archive_versions_total", "Archive versions made, by cause.", "cause"),
		open:    gauge("open_leaves", "Archive versions that no tree holds yet."),
		oldest:  gauge("oldest_open_leaf_seconds", "Age of the oldest archive version that no tree holds yet."),
		seals:   counter("seals_total", "Seals by the state they reached.", "state"),
		leaves:  counter("sealed_leaves_total", "Archive versions in sealed trees."),
		stamps:  counter("stamp_requests_total", "Requests to time-stamp authorities by outcome.", "outcome"),
		packs:   counter("packs_total", "Packs and snapshots written.", "kind"),
		heads:   counter("log_heads_total", "Heads of event streams written.", "stream"),
		problem: counter("problems_total", "What needs a person, by reason.", "reason"),
		renewed: counter("renewed_leaves_total", "Leaves of completed renewals.", "purpose"),
		due:     gauge("renew_due", "Seals inside the lead time, by the renewal they need.", "kind"),
		end:     gauge("renew_end_seconds", "Time until the first proof ends; negative: it has ended."),
		gaps:    gauge("gaps", "Seals whose proof has a gap."),
	}
	if reg != nil {
		reg.MustRegister(m.made, m.open, m.oldest, m.seals, m.leaves, m.stamps, m.packs, m.heads, m.problem, m.renewed, m.due, m.end, m.gaps)
	}
	return m
}
