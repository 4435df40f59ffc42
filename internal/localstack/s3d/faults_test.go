package s3d_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"evb/internal/sharedtest"
	"evb/storage"
	"evb/storage/layout"
	"evb/storage/s3"
)

// proxy stands between store and server and spoils answers.
type proxy struct {
	addr string
	back *httputil.ReverseProxy
	hits atomic.Int64 // of the method under attack
	mu   sync.Mutex
	rule func(n int64, r *http.Request, next http.Handler, w http.ResponseWriter)
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{back: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: target})
		r.Out.Host = r.In.Host // it is signed
	}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	srv := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return p
}

// ServeHTTP applies the rule.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	rule := p.rule
	p.mu.Unlock()
	if rule == nil {
		p.back.ServeHTTP(w, r)
		return
	}
	rule(p.hits.Add(1), r, p.back, w)
}

func (p *proxy) set(rule func(n int64, r *http.Request, next http.Handler, w http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hits.Store(0)
	p.rule = rule
}

func cut(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

// discard swallows the server's answer.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func object(n int) (storage.Key, []byte, storage.PutOptions) {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	sum := sha256.Sum256(b)
	return layout.Content("stadt", sum), b, storage.PutOptions{SHA256: sum[:]}
}

func mustRead(t *testing.T, s storage.Store, key storage.Key, want []byte) {
	t.Helper()
	rc, info, err := s.Get(t.Context(), key, storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(want)
	v := storage.NewVerifyingReader(rc, sum[:], info.Size)
	b, err := io.ReadAll(v)
	if err = errors.Join(err, v.Close()); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("%s: %d bytes, %v", key, len(b), err)
	}
}

func TestFaultsOnTheWayToTheServer(t *testing.T) {
	srv := start(t, dir(t))
	direct := newStore(t, srv.Config(true))
	p := newProxy(t, srv.Endpoint())
	cfg := srv.Config(false)
	cfg.Endpoint = p.addr
	cfg.CallTimeout = 2 * time.Second
	cfg.Attempts = 4
	cfg.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	var last s3.Observation
	var mu sync.Mutex
	cfg.Observe = func(o s3.Observation) {
		mu.Lock()
		defer mu.Unlock()
		last = o
	}
	store := newStore(t, cfg)
	status := func(code int, times int64) func(int64, *http.Request, http.Handler, http.ResponseWriter) {
		return func(n int64, r *http.Request, next http.Handler, w http.ResponseWriter) {
			if n <= times {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(code)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	for _, c := range []struct {
		name     string
		rule     func(int64, *http.Request, http.Handler, http.ResponseWriter)
		want     error
		existed  bool
		attempts int
		stored   bool
	}{
		{"500 twice", status(500, 2), nil, false, 3, true},
		{"503 always", status(503, 1<<30), storage.ErrUnavailable, false, 4, false},
		{"507", status(507, 1<<30), storage.ErrNoSpace, false, 1, false},
		{"429 once", status(429, 1), nil, false, 2, true},
		{"403", status(403, 1<<30), storage.ErrDenied, false, 1, false},
		{"cut before the server saw it", func(n int64, r *http.Request, next http.Handler, w http.ResponseWriter) {
			if n == 1 {
				cut(w)
				return
			}
			next.ServeHTTP(w, r)
		}, nil, false, 2, true},
		{"cut after the server stored it", func(n int64, r *http.Request, next http.Handler, w http.ResponseWriter) {
			if n == 1 {
				next.ServeHTTP(discard{http.Header{}}, r)
				cut(w)
				return
			}
			next.ServeHTTP(w, r)
		}, nil, true, 2, true},
		{"500 after the server stored it", func(n int64, r *http.Request, next http.Handler, w http.ResponseWriter) {
			if n == 1 {
				next.ServeHTTP(discard{http.Header{}}, r)
				w.WriteHeader(500)
				return
			}
			next.ServeHTTP(w, r)
		}, nil, true, 2, true},
		{"cut after the server stored it, always", func(_ int64, r *http.Request, next http.Handler, w http.ResponseWriter) {
			next.ServeHTTP(discard{http.Header{}}, r)
			cut(w)
		}, storage.ErrUnavailable, false, 4, true},
		{"a changed byte on the way", func(n int64, r *http.Request, next http.Handler, w http.ResponseWriter) {
			if n == 1 {
				b, _ := io.ReadAll(r.Body)
				b[len(b)/2] ^= 1
				r.Body = io.NopCloser(bytes.NewReader(b))
			}
			next.ServeHTTP(w, r)
		}, nil, false, 2, true},
		{"a wrong ETag in the answer", func(_ int64, r *http.Request, _ http.Handler, w http.ResponseWriter) {
			wrong := *p.back
			wrong.ModifyResponse = func(resp *http.Response) error {
				resp.Header.Set("ETag", `"00000000000000000000000000000000"`)
				return nil
			}
			wrong.ServeHTTP(w, r)
		}, nil, false, 1, true},
		{"no answer in time, then one", func(n int64, r *http.Request, next http.Handler, w http.ResponseWriter) {
			if n == 1 {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		}, nil, false, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, b, o := object(100_000)
			p.set(c.rule)
			begin := time.Now()
			info, err := store.Put(t.Context(), key, bytes.NewReader(b), int64(len(b)), o)
			p.set(nil)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("error is %v, want %v", err, c.want)
			}
			mu.Lock()
			defer mu.Unlock()
			if last.Attempts != c.attempts || info.Existed != c.existed {
				t.Errorf("%d attempts, existed %v; want %d, %v", last.Attempts, info.Existed, c.attempts, c.existed)
			}
			if took := time.Since(begin); took > 12*time.Second {
				t.Errorf("took %v", took)
			}
			if c.stored {
				mustRead(t, direct, key, b)
			} else if _, err := direct.Stat(t.Context(), key); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("half stored: %v", err)
			}
		})
	}
	t.Run("a body that cannot be read again is not repeated", func(t *testing.T) {
		key, b, o := object(1000)
		p.set(status(500, 1))
		_, err := store.Put(t.Context(), key, io.MultiReader(bytes.NewReader(b)), 1000, o)
		p.set(nil)
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("a stream that breaks off is an error, not an end", func(t *testing.T) {
		key, b, o := object(500_000)
		if _, err := direct.Put(t.Context(), key, bytes.NewReader(b), int64(len(b)), o); err != nil {
			t.Fatal(err)
		}
		p.set(func(_ int64, _ *http.Request, _ http.Handler, w http.ResponseWriter) {
			w.Header().Set("Content-Length", "500000")
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			_, _ = w.Write(b[:1000])
			_ = http.NewResponseController(w).Flush()
			cut(w)
		})
		defer p.set(nil)
		rc, _, err := store.Get(t.Context(), key, storage.Range{})
		if err != nil {
			t.Fatal(err)
		}
		defer rc.Close()
		if n, err := io.Copy(io.Discard, rc); !errors.Is(err, storage.ErrUnavailable) || n >= 500_000 {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestAHangingServerIsUnavailableInTime(t *testing.T) {
	srv := start(t, dir(t))
	cfg := srv.Config(false)
	cfg.CallTimeout, cfg.Attempts = 500*time.Millisecond, 2
	store := newStore(t, cfg)
	key, b, o := object(1000)
	if _, err := store.Put(t.Context(), key, bytes.NewReader(b), 1000, o); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(srv.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, err := store.Put(t.Context(), key, bytes.NewReader(b), 1000, o)
	_, err2 := store.Stat(t.Context(), key)
	_, _, err3 := store.Get(t.Context(), key, storage.Range{})
	var err4 error
	for _, err4 = range store.List(t.Context(), "stadt/", "") {
	}
	took := time.Since(begin)
	if err := syscall.Kill(srv.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for i, err := range []error{err, err2, err3, err4} {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if took > 10*time.Second {
		t.Errorf("four calls took %v", took)
	}
	mustRead(t, store, key, b)
}

func TestTheOrdinaryAccountCannotOverrideLocks(t *testing.T) {
	srv := start(t, dir(t))
	cfg := srv.Config(false)
	if err := newStore(t, cfg).DeleteVersions(t.Context(), layout.Content("stadt", [32]byte{}), true); !errors.Is(err, storage.ErrDenied) {
		t.Errorf("without the credential: %v", err)
	}
	cfg.Bypass = cfg.Credential
	store := newStore(t, cfg)
	key, b, o := object(100)
	o.Lock = &storage.Lock{Mode: storage.LockGovernance, Until: time.Now().Add(time.Hour)}
	if _, err := store.Put(t.Context(), key, bytes.NewReader(b), 100, o); err != nil {
		t.Fatal(err)
	}
	if err := store.DeleteVersions(t.Context(), key, true); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("delete: %v", err)
	}
	if err := store.SetLock(t.Context(), key, storage.Lock{Mode: storage.LockGovernance, Until: time.Now().Add(time.Minute)}, true); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("shorten: %v", err)
	}
	mustRead(t, store, key, b)
	if err := newStore(t, srv.Config(true)).DeleteVersions(t.Context(), key, true); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

func TestKilledAtRandomWhilePutting(t *testing.T) {
	srv := start(t, dir(t))
	cfg := srv.Config(false)
	cfg.CallTimeout, cfg.Attempts = 5*time.Second, 8
	store := newStore(t, cfg)
	type acked struct {
		key storage.Key
		b   []byte
	}
	var mu sync.Mutex
	var all []acked
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				key, b, o := object(20_000)
				o.Lock = &storage.Lock{Mode: storage.LockGovernance, Until: time.Now().Add(time.Hour)}
				if _, err := store.Put(ctx, key, bytes.NewReader(b), int64(len(b)), o); err != nil {
					continue // not acknowledged, so nothing is promised
				}
				mu.Lock()
				all = append(all, acked{key, b})
				mu.Unlock()
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(all)
	}
	for range 5 {
		goal := count() + 30
		sharedtest.Eventually(t, "30 more objects", func() bool { return count() >= goal })
		pid := srv.Pid()
		if pid == 0 {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		sharedtest.Eventually(t, "another child", func() bool { p := srv.Pid(); return p != 0 && p != pid })
	}
	goal := count() + 30
	sharedtest.Eventually(t, "30 more objects", func() bool { return count() >= goal })
	cancel()
	wg.Wait()
	t.Logf("%d objects acknowledged over 5 kills", len(all))
	for _, a := range all {
		mustRead(t, store, a.key, a.b)
		info, err := store.Stat(t.Context(), a.key)
		if err != nil || info.Lock.Mode != storage.LockGovernance {
			t.Errorf("%s: lock %+v, %v", a.key, info.Lock, err)
		}
	}
}
