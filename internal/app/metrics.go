package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/job"
)

// depths shows the queue when somebody scrapes. Every process shows the same
// figures: take the maximum, not the sum.
type depths struct {
	jobs *job.Client
}

var (
	descJobs = prometheus.NewDesc("evb_job_jobs", "Live and discarded jobs of the installation, by kind and state.", []string{"kind", "state"}, nil)
	descUp   = prometheus.NewDesc("evb_job_count_ok", "1 if the queue could be counted.", nil, nil)
)

// Describe implements prometheus.Collector.
func (depths) Describe(ch chan<- *prometheus.Desc) {
	ch <- descJobs
	ch <- descUp
}

// Collect implements prometheus.Collector. Without a database there is no
// figure, which is not the same as zero.
func (d depths) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	list, err := d.jobs.Depths(ctx)
	ok := 1.0
	if err != nil {
		ok = 0
	}
	ch <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, ok)
	for _, x := range list {
		ch <- prometheus.MustNewConstMetric(descJobs, prometheus.GaugeValue, float64(x.Count), x.Kind, x.State)
	}
}
