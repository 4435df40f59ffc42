package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Accounting stands in for the accounting system of the city, as the
// development TSA stands in for an authority: it takes released invoices by the
// signed webhook of the process and answers a booking number.
//
// Its folder has kasse.json (address and secret, kept over restarts) and a file
// for each booking, named by the id of the call: a call that comes again finds
// its booking. A file that is there is whole: it was renamed into place.
type Accounting struct {
	dir string
	log *slog.Logger
	url string
	srv *http.Server

	mu     sync.Mutex
	secret string // whsec_..., as activation shows it
}

// bookings is the path of its one address.
const bookings = "/buchungen"

type accountingFile struct {
	Addr   string `json:"addr"`
	Secret string `json:"secret"`
}

// StartAccounting serves the stand-in on the loopback address that it had
// before, or on a new one. Close it.
func StartAccounting(ctx context.Context, dir string, log *slog.Logger) (*Accounting, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("accounting: %w", err)
	}
	k := &Accounting{dir: dir, log: log.With("part", "accounting")}
	var kept accountingFile
	raw, err := os.ReadFile(filepath.Join(dir, "kasse.json"))
	if err == nil {
		err = json.Unmarshal(raw, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("accounting: %w", err)
	}
	var lis net.Listener
	if kept.Addr != "" {
		if lis, err = (&net.ListenConfig{}).Listen(ctx, "tcp", kept.Addr); err != nil {
			k.log.WarnContext(ctx, "the address of the last run is taken, another one is used", "addr", kept.Addr)
		}
	}
	if lis == nil {
		if lis, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("accounting: %w", err)
		}
	}
	k.url, k.secret = "http://"+lis.Addr().String()+bookings, kept.Secret
	k.srv = &http.Server{Handler: k, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	go func() {
		if err := k.srv.Serve(lis); err != nil && !errors.Is(err, http.ErrServerClosed) {
			k.log.ErrorContext(ctx, "accounting ended", "err", err)
		}
	}()
	return k, nil
}

// URL is where it takes calls.
func (k *Accounting) URL() string { return k.url }

// Origin is its address as configuration allows it (processes.webhooks).
func (k *Accounting) Origin() string { return strings.TrimSuffix(k.url, bookings) }

// Known says that it has the secret of the process.
func (k *Accounting) Known() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.secret != ""
}

// Meant says that an address is one of a stand-in, of this run or of an earlier
// one: then it may be brought up to date.
func Meant(url string) bool {
	return strings.HasPrefix(url, "http://127.0.0.1:") && strings.HasSuffix(url, bookings)
}

// Learn keeps the secret, and the address with it.
func (k *Accounting) Learn(secret string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	raw, err := json.Marshal(accountingFile{Addr: strings.TrimPrefix(k.Origin(), "http://"), Secret: secret})
	if err != nil {
		return err
	}
	if err := k.write("kasse.json", raw); err != nil {
		return err
	}
	k.secret = secret
	return nil
}

// Close ends it.
func (k *Accounting) Close(ctx context.Context) error { return k.srv.Shutdown(ctx) }

// Booking is what it keeps of a call.
type booking struct {
	Number    string         `json:"buchungsnummer"`
	Process   string         `json:"process"`
	Vorgang   string         `json:"vorgang_id"`
	Variables map[string]any `json:"variables"`
	BookedAt  time.Time      `json:"booked_at"`
}

var callID = regexp.MustCompile(`^[0-9a-f-]{36}$`)

// maxCall bounds the body of a call, in bytes.
const maxCall = 1 << 20

// maxAge bounds how old a signed call may be: the Standard Webhooks' replay
// window.
const maxAge = 5 * time.Minute

// ServeHTTP takes a call. 401: the signature is not that of the process; an
// amount that is none, or none above zero, is the BPMN error nicht-angenommen.
func (k *Accounting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall))
	id := r.Header.Get("Webhook-Id")
	switch {
	case r.Method != http.MethodPost || r.URL.Path != bookings || !callID.MatchString(id) || err != nil:
		http.Error(w, "not a booking", http.StatusBadRequest)
		return
	case !k.genuine(id, r.Header.Get("Webhook-Timestamp"), body, r.Header.Get("Webhook-Signature")):
		http.Error(w, "signature", http.StatusUnauthorized)
		return
	}
	var c struct {
		Process   string         `json:"process"`
		Vorgang   string         `json:"vorgang_id"`
		Variables map[string]any `json:"variables"`
	}
	if json.Unmarshal(body, &c) != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	if amount, ok := c.Variables["betrag"].(float64); !ok || amount <= 0 {
		answer(w, map[string]any{"error": map[string]string{"code": "nicht-angenommen", "message": "Der Betrag fehlt."}})
		return
	}
	b, err := k.book(id, booking{Process: c.Process, Vorgang: c.Vorgang, Variables: c.Variables, BookedAt: time.Now().UTC()})
	if err != nil {
		k.log.ErrorContext(r.Context(), "booking", "err", err)
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	answer(w, map[string]any{"variables": map[string]string{"buchungsnummer": b.Number}})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller tries again
}

// book writes a booking, or finds it.
func (k *Accounting) book(id string, b booking) (booking, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	raw, err := os.ReadFile(filepath.Join(k.dir, id+".json")) //nolint:gosec // checked above
	if err == nil {
		err = json.Unmarshal(raw, &b)
		return b, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	b.Number = fmt.Sprintf("%d-%s", b.BookedAt.Year(), id[len(id)-8:])
	if raw, err = json.MarshalIndent(b, "", "  "); err != nil {
		return b, err
	}
	return b, k.write(id+".json", raw)
}

func (k *Accounting) write(name string, raw []byte) error {
	tmp := filepath.Join(k.dir, name+".part")
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(k.dir, name))
}

// genuine checks a signature as the Standard Webhooks lay it down.
func (k *Accounting) genuine(id, stamp string, body []byte, given string) bool {
	k.mu.Lock()
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(k.secret, "whsec_"))
	k.mu.Unlock()
	var at int64
	if _, scan := fmt.Sscanf(stamp, "%d", &at); scan != nil || err != nil || len(secret) == 0 {
		return false
	}
	if age := time.Since(time.Unix(at, 0)); age > maxAge || age < -maxAge {
		return false
	}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(id + "." + stamp + "."))
	m.Write(body)
	want := m.Sum(nil)
	for _, s := range strings.Fields(given) {
		got, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "v1,"))
		if err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}
