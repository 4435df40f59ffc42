package s3

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"evb/storage"
)

// Metrics registers the metrics of a store on reg and returns the function for
// Config.Observe:
//
//	evb_storage_request_duration_seconds{op,result}
//	evb_storage_retries_total{op}
//	evb_storage_put_bytes_total
//
// result is ok or the sentinel's name. Registering twice on one registry is an error.
func Metrics(reg prometheus.Registerer) (func(Observation), error) {
	dur := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "evb_storage_request_duration_seconds",
		Help:    "Duration of object storage calls with all their attempts.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
	}, []string{"op", "result"})
	retries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evb_storage_retries_total", Help: "Repeated attempts of object storage calls.",
	}, []string{"op"})
	put := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "evb_storage_put_bytes_total", Help: "Bytes stored or found to be stored.",
	})
	for _, c := range []prometheus.Collector{dur, retries, put} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return func(o Observation) {
		dur.WithLabelValues(o.Op, result(o.Err)).Observe(o.Duration.Seconds())
		if o.Attempts > 1 {
			retries.WithLabelValues(o.Op).Add(float64(o.Attempts - 1))
		}
		if o.Op == "put" && o.Err == nil {
			put.Add(float64(o.Bytes))
		}
	}, nil
}

func result(err error) string {
	if err == nil {
		return "ok"
	}
	for _, x := range []struct {
		err  error
		name string
	}{
		{context.Canceled, "cancelled"},
		{context.DeadlineExceeded, "cancelled"},
		{storage.ErrNotFound, "not-found"},
		{storage.ErrConflict, "conflict"},
		{storage.ErrLocked, "locked"},
		{storage.ErrNoSpace, "no-space"},
		{storage.ErrCorrupt, "corrupt"},
		{storage.ErrDenied, "denied"},
		{storage.ErrUnavailable, "unavailable"},
	} {
		if errors.Is(err, x.err) {
			return x.name
		}
	}
	return "other"
}
