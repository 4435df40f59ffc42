package lists_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/lists"
	"evb/internal/org"
	"evb/internal/postkorb"
	"evb/internal/web"
)

// house serves the lists of a city by HTTP, as the program does.
type house struct {
	*city
	url    string
	client *http.Client
	tokens map[string]string // by login
}

func newHouse(t testing.TB, c *city) *house {
	t.Helper()
	now := func() time.Time { return cityNow }
	facts := event.NewLog(nil, nil)
	people := org.New(c.db, facts, org.Options{Now: now})
	server, err := web.New(web.Parts{
		DB: c.db, Facts: facts, Org: people, Akten: akte.New(c.db, facts, akte.Options{Now: now}),
		Postkoerbe: postkorb.New(c.db, facts, postkorb.Options{Now: now}), Lists: lists.New(c.db, lists.Options{Now: now}),
		Options: web.Options{Now: now}, Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	s := httptest.NewServer(server.Handler())
	t.Cleanup(s.Close)
	h := &house{city: c, url: s.URL, tokens: map[string]string{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}}
	logins := []string{"many", "reader"}
	for p := 1; p <= clerks; p++ {
		logins = append(logins, fmt.Sprint("p", p))
	}
	for _, login := range logins {
		token, err := people.CreateToken(t.Context(), access.System(tenant, "stadt"), login, "bench", 0)
		must(t, err)
		h.tokens[login] = token.Secret
	}
	return h
}

// clerks are the persons that ask beside the one with 50 rights.
const clerks = 300

// ask sends a request and reads the answer whole.
func (h *house) ask(ctx context.Context, method, path, login string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, h.url+"/api/v1"+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+h.tokens[login])
	if method != http.MethodGet {
		r.Header.Set("If-Match", "*")
	}
	a, err := h.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Body.Close() }()
	b, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode >= 300 && a.StatusCode != http.StatusConflict {
		err = fmt.Errorf("%s %s: %s: %s", method, path, a.Status, b)
	}
	return b, err
}

// question is what somebody asks for.
type question struct{ login, path string }

// desksOf are questions for pages of desks: those of the clerk with 50 rights, and
// those of all the other clerks, the desk of the unit and the own one by turns.
func (h *house) desksOf(t testing.TB) (out []question) {
	for _, u := range []int{0, 10, 20, 30, 190} {
		out = append(out, question{"many", "/postkoerbe/" + h.id(t, 20, u) + "/items?limit=50"})
	}
	for p := 1; p <= clerks; p++ {
		kind, n := 20, p%units
		if p%2 == 0 {
			kind, n = 21, p
		}
		out = append(out, question{fmt.Sprint("p", p), "/postkoerbe/" + h.id(t, kind, n) + "/items?limit=50"})
	}
	return out
}

func (h *house) aktenOf(testing.TB) (out []question) {
	for range 5 {
		out = append(out, question{"many", "/akten?limit=50"})
	}
	for p := 1; p <= clerks; p++ {
		out = append(out, question{fmt.Sprint("p", p), "/akten?limit=50"})
	}
	return append(out, question{"reader", "/akten?limit=50"})
}

func (h *house) id(t testing.TB, kind, n int) string {
	t.Helper()
	var id uuid.UUID
	must(t, h.super.QueryRow(context.Background(), `SELECT bench_id($1, $2)`, kind, n).Scan(&id))
	return id.String()
}

// load sends questions at a rate, whether those before are answered or not, and
// gives how long each took from the moment it was due. The clerk with 50 rights
// asks every third.
func (h *house) load(t testing.TB, rate int, d time.Duration, all []question) (took []time.Duration) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(rate)))
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	start := time.Now()
	for due := time.Duration(0); due < d; due += time.Duration(r.ExpFloat64() / float64(rate) * float64(time.Second)) {
		q := all[r.IntN(len(all))]
		if r.IntN(3) == 0 {
			q = all[r.IntN(5)]
		}
		<-time.After(time.Until(start.Add(due))) // the arrivals are the point
		wg.Go(func() {
			if _, err := h.ask(context.WithoutCancel(t.Context()), http.MethodGet, q.path, q.login); err != nil {
				failed.Store(&err)
			}
			mu.Lock()
			took = append(took, time.Since(start)-due)
			mu.Unlock()
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	return took
}

// items are some on the desks of the clerk with 50 rights.
func (h *house) items(t testing.TB) (out []string) {
	for u := 0; u < units; u += units / 20 {
		var page struct{ Items []struct{ ID string } }
		b, err := h.ask(t.Context(), http.MethodGet, "/postkoerbe/"+h.id(t, 20, u)+"/items?limit=50", "many")
		must(t, err)
		must(t, json.Unmarshal(b, &page))
		for _, i := range page.Items {
			out = append(out, i.ID)
		}
	}
	return out
}

// write takes items of desks and gives them back, until ctx ends: n acts a second.
func (h *house) write(ctx context.Context, items []string, n int) (acts int, err error) {
	if n == 0 {
		return 0, nil
	}
	tick := time.NewTicker(time.Second / time.Duration(n))
	defer tick.Stop()
	r := rand.New(rand.NewPCG(2, 3))
	for {
		item := items[r.IntN(len(items))]
		for _, act := range []string{"claim", "undo"} {
			select {
			case <-ctx.Done():
				return acts, nil
			case <-tick.C:
			}
			if _, err := h.ask(context.WithoutCancel(ctx), http.MethodPost, "/items/"+item+"/"+act, "many"); err != nil {
				return acts, err
			}
			acts++
		}
	}
}

// cpu is what this process and the processes of Postgres have used so far.
func cpu(t testing.TB, c *city) (own, database time.Duration) {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	own = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	var backend uint32
	must(t, c.super.QueryRow(context.Background(), `SELECT pg_backend_pid()`).Scan(&backend))
	parent := stat(backend)
	if len(parent) == 0 {
		return own, 0 // no /proc
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.ParseUint(filepath.Base(dir), 10, 32)
		if s := stat(uint32(pid)); len(s) > 12 && s[1] == parent[1] {
			for _, f := range s[11:13] {
				n, _ := strconv.ParseInt(f, 10, 64)
				database += time.Duration(n) * 10 * time.Millisecond
			}
		}
	}
	return own, database
}

// stat are the fields of /proc/<pid>/stat behind the name: state, parent, ...
func stat(pid uint32) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
}

func percentile(d []time.Duration, p float64) float64 {
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(p*float64(len(d))))].Microseconds()) / 1000
}

// BenchmarkLoad is the promise of issue 3: pages of 50 with exact count by HTTP in
// a city of EVB_BENCH_ROWS Dokumente (default 5,000,000), a fifth as many open
// items, 2,000 Postkörbe and 3,500 users, at EVB_BENCH_RATE requests a second
// (default 300) for EVB_BENCH_SECONDS (default 20), beside EVB_BENCH_WRITES acts a
// second (default 20; items are taken and given back), on EVB_BENCH_CONNS
// connections (default 16, as the program has). Server, client and database share the machine.
//
//	p50, p95, p99 ms   from the moment a request was due
//	cpu-ms/req         of this process (client and server) and of Postgres
//	ratio              median of a clerk with 50 rights over that of one who reads
//	                   everything, same list, by turns, with nothing beside
func BenchmarkLoad(b *testing.B) {
	c := newCity(b, size{rows: benchRows(b, 5_000_000), persons: 3500, desks: 1800, lists: true})
	h := newHouse(b, c)
	rate, seconds, writes := number(b, "EVB_BENCH_RATE", 300), number(b, "EVB_BENCH_SECONDS", 20), number(b, "EVB_BENCH_WRITES", 20)
	for _, l := range []struct {
		name string
		all  []question
	}{{"items", h.desksOf(b)}, {"akten", h.aktenOf(b)}} {
		b.Run(l.name, func(b *testing.B) {
			h.load(b, rate/2, 10*time.Second, l.all) // plans and caches of each connection
			items := h.items(b)
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			var acts int
			go func() {
				var err error
				acts, err = h.write(ctx, items, writes)
				done <- err
			}()
			own, database := cpu(b, c)
			took := h.load(b, rate, time.Duration(seconds)*time.Second, l.all)
			own2, database2 := cpu(b, c)
			stop()
			must(b, <-done)
			b.ReportMetric(0, "ns/op")
			for _, p := range []float64{0.5, 0.95, 0.99} {
				b.ReportMetric(percentile(took, p), fmt.Sprintf("p%.0f-ms", p*100))
			}
			b.ReportMetric(float64((own2-own).Microseconds())/1000/float64(len(took)), "cpu-ms/req")
			b.ReportMetric(float64((database2-database).Microseconds())/1000/float64(len(took)), "pg-cpu-ms/req")
			b.ReportMetric(float64(acts), "writes")
			b.ReportMetric(h.ratio(b, l.all[0].path), "ratio")
		})
	}
}

// ratio asks for one list as the clerk and as the reader by turns.
func (h *house) ratio(b *testing.B, path string) float64 {
	b.Helper()
	took := map[string][]time.Duration{}
	for range 100 {
		for _, who := range []string{"many", "reader"} {
			start := time.Now()
			_, err := h.ask(b.Context(), http.MethodGet, path, who)
			must(b, err)
			took[who] = append(took[who], time.Since(start))
		}
	}
	b.Logf("%s: clerk %.1f ms, reader %.1f ms", path, percentile(took["many"], 0.5), percentile(took["reader"], 0.5))
	return percentile(took["many"], 0.5) / percentile(took["reader"], 0.5)
}

func number(b testing.TB, name string, otherwise int) int {
	b.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	must(b, err)
	return n
}
