package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/telemetry"
)

func TestLinesCarryWhatTheContextKnows(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, _, err := telemetry.NewLogger(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	ctx := telemetry.WithRequestID(t.Context(), "r1")
	ctx = telemetry.With(ctx, slog.String(telemetry.KeyActorID, "a1"))
	ctx = telemetry.WithRequestID(ctx, "r2") // the later one counts, once
	log.With("part", "x").WithGroup("g").InfoContext(ctx, "stamped",
		"took", 1500*time.Millisecond, "at", time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), telemetry.KeyErr, errors.New("boom"))
	log.DebugContext(ctx, "not shown")

	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "stamped", "part": "x", "request_id": "r2", "actor_id": "a1",
		"g": map[string]any{"took": "1.5s", "at": "2026-01-02T02:04:05Z", "err": "boom"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if n := strings.Count(out.String(), "request_id"); n != 1 {
		t.Errorf("request_id stands %d times in %s", n, out.String())
	}
	if telemetry.RequestID(ctx) != "r2" || telemetry.RequestID(t.Context()) != "" {
		t.Error("RequestID")
	}
}

func TestHandlerKeepsTheRulesOfSlog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		log, _, err := telemetry.NewLogger(&out, "debug", "json")
		if err != nil {
			t.Fatal(err)
		}
		return log.Handler()
	}, func(t *testing.T) map[string]any {
		var m map[string]any
		if err := json.Unmarshal(out.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		return m
	})
}

func TestLevelCanChangeWhileRunning(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, level, err := telemetry.NewLogger(&out, "WARN", "text")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("one")
	level.Set(slog.LevelInfo)
	log.Info("two")
	if s := out.String(); strings.Contains(s, "one") || !strings.Contains(s, "msg=two") {
		t.Error(s)
	}
}

func TestUnknownLevelAndFormatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"loud", "json"}, {"info", "xml"}, {"", "json"}, {"info", ""}} {
		if _, _, err := telemetry.NewLogger(t.Output(), c[0], c[1]); err == nil {
			t.Errorf("%q was taken", c)
		}
	}
}

func TestMetricsAreServedAlsoWhenOneCollectorFails(t *testing.T) {
	t.Parallel()
	reg := telemetry.NewRegistry("v1.2.3")
	reg.MustRegister(failing{prometheus.NewDesc("evb_broken", "", nil, nil)})
	log, _, err := telemetry.NewLogger(t.Output(), "info", "text")
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	telemetry.MetricsHandler(reg, log).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	body := rec.Body.String()
	for _, want := range []string{`evb_build_info{version="v1.2.3"} 1`, "go_goroutines", "process_cpu_seconds_total"} {
		if !strings.Contains(body, want) {
			t.Errorf("%d: no %s", rec.Code, want)
		}
	}
}

type failing struct{ desc *prometheus.Desc }

func (f failing) Describe(ch chan<- *prometheus.Desc) { ch <- f.desc }
func (f failing) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(f.desc, errors.New("broken"))
}
