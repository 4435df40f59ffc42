package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"evb/internal/client"
)

// archive speaks the part of the contract that a hand-over needs, and can be
// made to fail as a line or a server fails.
type archive struct {
	mu    sync.Mutex
	files map[string][]byte
	fail  func(w http.ResponseWriter, r *http.Request) bool // true: has answered
	seen  []string
	auth  string
	keys  map[string]int
}

func newArchive(t *testing.T) (*archive, *httptest.Server) {
	t.Helper()
	a := &archive{files: map[string][]byte{}, keys: map[string]int{}}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	return a, s
}

func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	fail := a.fail
	a.seen = append(a.seen, r.Method+" "+r.URL.Path)
	a.auth = r.Header.Get("Authorization")
	if k := r.Header.Get("Idempotency-Key"); k != "" {
		a.keys[k]++
	}
	a.mu.Unlock()
	if fail != nil && fail(w, r) {
		return
	}
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch {
	case r.Method == http.MethodHead:
		a.mu.Lock()
		defer a.mu.Unlock()
		w.Header().Set("Upload-Offset", strconv.Itoa(len(a.files[name])))
	case r.Method == http.MethodPut:
		var first, last, total int
		if n, _ := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); n != 3 {
			if n, _ := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes */%d", &total); n != 1 {
				problem(w, 400, "content-range-invalid")
				return
			}
			first = total
		}
		a.mu.Lock()
		have := len(a.files[name])
		a.mu.Unlock()
		if first != have {
			w.Header().Set("Upload-Offset", strconv.Itoa(have))
			problem(w, 409, "batch-upload-offset")
			return
		}
		body, err := io.ReadAll(r.Body)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.files[name] = append(a.files[name], body...) // what came stays
		if err != nil {
			return
		}
		w.Header().Set("Upload-Offset", strconv.Itoa(len(a.files[name])))
		if len(a.files[name]) == total {
			sum := sha256.Sum256(a.files[name])
			if want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; r.Header.Get("Repr-Digest") != want {
				problem(w, 422, "upload-digest-differs")
			}
		}
	case r.URL.Path == "/api/v1/batches":
		_ = json.NewEncoder(w).Encode(client.Book{ID: "b1", BatchID: "x", State: client.StateReceiving})
	default:
		_ = json.NewEncoder(w).Encode(client.Book{ID: "b1", BatchID: "x", State: client.StateBalanced})
	}
}

func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"code":%q,"detail":"Satz","messages":{"de":"Satz","en":"Sentence"},"instance":"urn:uuid:7","errors":[{"pointer":"/a","detail":"falsch","code":"x"}]}`, code)
}

func newClient(t *testing.T, url string, patience time.Duration) *client.Client {
	t.Helper()
	c, err := client.New(url, "evb_geheim", client.Options{Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, size int) (string, []byte) {
	t.Helper()
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	name := filepath.Join(t.TempDir(), "stapel 1.pdf")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, b
}

func TestAnUploadGoesOnWhereTheServerIs(t *testing.T) {
	for _, size := range []int{0, 1, 5000, 40 << 20} {
		a, s := newArchive(t)
		name, want := write(t, size)
		a.files["stapel 1.pdf"] = append([]byte{}, want[:size/3]...) // of a run before
		cut := 0
		a.fail = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || cut >= 3 || size < 5000 {
				return false
			}
			cut++
			if cut == 2 { // all of the part is kept, the answer is lost
				b, _ := io.ReadAll(r.Body)
				a.mu.Lock()
				a.files["stapel 1.pdf"] = append(a.files["stapel 1.pdf"], b...)
				a.mu.Unlock()
			}
			if cut == 1 { // a piece is kept
				b := make([]byte, 1000)
				n, _ := io.ReadFull(r.Body, b)
				a.mu.Lock()
				a.files["stapel 1.pdf"] = append(a.files["stapel 1.pdf"], b[:n]...)
				a.mu.Unlock()
			}
			panic(http.ErrAbortHandler)
		}
		var last int64
		if err := newClient(t, s.URL, 5*time.Second).Upload(t.Context(), "b1", "stapel 1.pdf", name, func(n int64) { last = n }); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(a.files["stapel 1.pdf"], want) || last != int64(size) {
			t.Errorf("%d bytes: the server has %d, progress says %d", size, len(a.files["stapel 1.pdf"]), last)
		}
	}
}

func TestWhatTheServerRefusesIsNotRepeated(t *testing.T) {
	a, s := newArchive(t)
	a.fail = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		problem(w, 422, "batch-file-unexpected")
		return true
	}
	name, _ := write(t, 100)
	err := newClient(t, s.URL, time.Second).Upload(t.Context(), "b1", "fremd.pdf", name, nil)
	var e *client.Error
	if !client.Is(err, "batch-file-unexpected") || !errors.As(err, &e) || errors.Is(err, client.ErrUnreachable) {
		t.Fatalf("%v", err)
	}
	if e.RequestID != "7" || e.Messages.EN != "Sentence" || !strings.Contains(err.Error(), "/a: falsch") {
		t.Errorf("%+v", e)
	}
	if len(a.seen) != 2 || a.auth != "Bearer evb_geheim" {
		t.Errorf("calls %v, %q", a.seen, a.auth)
	}
}

func TestABusyServerIsWaitedForAndKeepsOneKey(t *testing.T) {
	a, s := newArchive(t)
	n := 0
	a.fail = func(w http.ResponseWriter, r *http.Request) bool {
		if n++; n > 3 {
			return false
		}
		problem(w, 503, "database-unavailable")
		return true
	}
	c := newClient(t, s.URL, 10*time.Second)
	book, err := c.CreateBatch(t.Context(), "x", "schlüssel", client.IndexFile{Name: "x.index.csv", Bytes: []byte("a;b")})
	if err != nil || book.ID != "b1" || a.keys["schlüssel"] != 4 {
		t.Fatalf("%+v, %v, %v", book, err, a.keys)
	}
	n = -1 << 30
	a.fail = func(w http.ResponseWriter, _ *http.Request) bool {
		problem(w, 503, "database-unavailable")
		return true
	}
	start := time.Now()
	if _, err := newClient(t, s.URL, 300*time.Millisecond).Batch(t.Context(), "b1"); !errors.Is(err, client.ErrUnreachable) || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func TestAPartOutsideOfTheServerThatIsDownIsToldAtOnce(t *testing.T) {
	for _, code := range []string{"tsa-unavailable", "tsa-not-configured", "revocation-unavailable", "part-not-running"} {
		a, s := newArchive(t)
		asked := 0
		a.fail = func(w http.ResponseWriter, _ *http.Request) bool {
			asked++
			problem(w, 503, code)
			return true
		}
		if _, err := newClient(t, s.URL, 300*time.Millisecond).SealNow(t.Context()); !errors.Is(err, client.ErrUnreachable) || !client.Is(err, code) || asked != 1 {
			t.Errorf("%s: %v, asked %d times", code, err, asked)
		}
	}
}

func TestAServerThatIsNotThereIsToldAtOnceOneThatGoesIsWaitedFor(t *testing.T) {
	start := time.Now()
	if _, err := newClient(t, "http://127.0.0.1:9", time.Minute).Batch(t.Context(), "b1"); !errors.Is(err, client.ErrUnreachable) || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	a, s := newArchive(t)
	told := 0
	c, err := client.New(s.URL, "t", client.Options{Patience: 10 * time.Second, Waiting: func(error) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Batch(t.Context(), "b1"); err != nil {
		t.Fatal(err)
	}
	n := 0
	a.fail = func(http.ResponseWriter, *http.Request) bool {
		if n++; n < 4 {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	if b, err := c.Settled(t.Context(), "b1", nil); err != nil || b.State != client.StateBalanced || told != 1 {
		t.Errorf("%+v, %v, told %d times", b, err, told)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Batch(ctx, "b1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestARedirectDoesNotTakeTheTokenAway(t *testing.T) {
	var got string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	if _, err := newClient(t, s.URL, time.Second).Batch(t.Context(), "b1"); err == nil || got != "" {
		t.Errorf("%v, %q", err, got)
	}
}

func TestTheServerFileIsWholeAndSecret(t *testing.T) {
	dir := t.TempDir()
	if _, err := client.FromData(dir, client.Options{}); !errors.Is(err, client.ErrNoServer) {
		t.Errorf("empty folder: %v", err)
	}
	want := client.ServerFile{URL: "http://127.0.0.1:1", AdminToken: "evb_x", PID: 4}
	if err := client.WriteServerFile(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := client.ReadServerFile(dir); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	c, err := client.FromData(dir, client.Options{})
	if err != nil || c.Server() != want.URL {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(filepath.Join(dir, client.ServerFileName), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ReadServerFile(dir); err == nil {
		t.Error("a token that others can read is accepted")
	}
	for range 2 {
		if err := client.RemoveServerFile(dir); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:80", "ftp://x", "http://", "http://x?y=1", "http://x#y"} {
		if _, err := client.New(bad, "", client.Options{}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
