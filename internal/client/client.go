package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ErrUnreachable says that the server, or a part it needs, does not answer.
var ErrUnreachable = errors.New("the server does not answer")

// Options of New. Zero fields mean their defaults.
type Options struct {
	// Patience is how long a server that has answered before is waited for when
	// it stops to do so, default 2 min.
	Patience time.Duration
	// CAs are further roots for https, beside those of the system; PEM.
	CAs []byte
	// Waiting, when set, is told once per outage that the client waits, and why.
	Waiting func(err error)
}

// Client speaks to one server as one user. Safe for concurrent use.
type Client struct {
	base     *url.URL
	token    string
	http     *http.Client
	o        Options
	answered atomic.Bool
}

// New makes a client. It contacts nobody.
func New(server, token string, o Options) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(server, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is no address of a server (http://HOST:PORT or https://HOST)", server)
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.MaxIdleConnsPerHost = 16
	tr.ResponseHeaderTimeout = 5 * time.Minute
	if len(o.CAs) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(o.CAs) {
			return nil, errors.New("no certificate in the PEM of --ca")
		}
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &Client{base: u, token: token, o: o, http: &http.Client{
		Transport: tr,
		// A redirect would take the token elsewhere, or turn a POST into a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Server is the address the client speaks to.
func (c *Client) Server() string { return c.base.String() }

// Error is an answer of the server that says no (RFC 9457).
type Error struct {
	Status   int
	Code     string
	Detail   string // in the language of the answer
	Messages struct {
		DE string `json:"de"`
		EN string `json:"en"`
	}
	Params map[string]string
	Fields []FieldError
	// RequestID finds the line in the server's log.
	RequestID string
}

// FieldError is one wrong part of the input.
type FieldError struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
	Code    string `json:"code"`
}

// Error is the German sentence, the English one below it, and the code.
func (e *Error) Error() string {
	var b strings.Builder
	de, en := e.Messages.DE, e.Messages.EN
	if de == "" {
		de = e.Detail
	}
	if de == "" {
		de = "Antwort " + strconv.Itoa(e.Status) + " des Servers / answer of the server"
	}
	b.WriteString(de)
	if e.Code != "" {
		fmt.Fprintf(&b, " [%s]", e.Code)
	}
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "\n     %s: %s", f.Pointer, f.Detail)
	}
	if en != "" {
		b.WriteString("\n     " + en)
	}
	return b.String()
}

// Unwrap makes errors.Is(err, ErrUnreachable) true where a part the server
// needs does not answer.
func (e *Error) Unwrap() error {
	switch e.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInsufficientStorage:
		return ErrUnreachable
	}
	return nil
}

// Is reports whether err is an answer of the server with this code.
func Is(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// request is one call that may be sent several times.
type request struct {
	method string
	path   string // below the base address
	query  url.Values
	header http.Header
	// body gives a fresh reader for each attempt; nil: none. size -1: unknown.
	body func() (io.ReadCloser, error)
	size int64
	once bool // must not be repeated
	// want are the statuses that are no error.
	want []int
}

// NewKey is a fresh Idempotency-Key.
func NewKey() string { return rand.Text() }

// do sends a request until it is answered for good. The caller closes the body.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	var deadline time.Time
	pause := 100 * time.Millisecond
	for {
		resp, err := c.send(ctx, r)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		again, after := c.repeatable(r, err)
		if !again {
			return nil, err
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(c.o.Patience)
			if c.o.Waiting != nil {
				c.o.Waiting(err)
			}
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		if err := sleep(ctx, max(pause, after)); err != nil {
			return nil, err
		}
		pause = min(2*pause, 5*time.Second)
	}
}

// busy is how the server says "not now".
type busy struct {
	answer *Error
	after  time.Duration
}

func (e *busy) Error() string { return e.answer.Error() }

func (e *busy) Unwrap() error { return e.answer }

// elsewhere are answers 503 about a part outside of the server, or one that this
// server never has: it does by itself what is left to do, and asking it again
// within the patience tells nothing new.
func elsewhere(code string) bool {
	return strings.HasPrefix(code, "tsa-") || code == "revocation-unavailable" || code == "part-not-running" || code == "no-tenant"
}

func (c *Client) repeatable(r request, err error) (bool, time.Duration) {
	if r.once || !c.answered.Load() {
		return false, 0
	}
	var b *busy
	if errors.As(err, &b) {
		return !elsewhere(b.answer.Code), b.after
	}
	var e *Error
	if errors.As(err, &e) {
		return false, 0
	}
	return errors.Is(err, ErrUnreachable), 0
}

func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	u := *c.base
	u.Path, u.RawPath = "", ""
	full := u.String() + c.base.EscapedPath() + r.path
	if len(r.query) > 0 {
		full += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.body != nil {
		rc, err := r.body()
		if err != nil {
			return nil, err
		}
		defer func() { _ = rc.Close() }()
		body = rc
		if r.size == 0 {
			body = http.NoBody
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, full, body)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		req.ContentLength = r.size
	}
	for k, v := range r.header {
		req.Header[k] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Accept-Language", "de, en;q=0.5")
	req.Header.Set("User-Agent", "evb-cli")
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c.answered.Store(true)
	for _, s := range r.want {
		if resp.StatusCode == s {
			return resp, nil
		}
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, problemOf(resp)
}

// problemOf reads the body of a refusal.
func problemOf(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && strings.Contains(resp.Header.Get("Content-Type"), "json") {
		var p struct {
			Code     string            `json:"code"`
			Detail   string            `json:"detail"`
			Instance string            `json:"instance"`
			Params   map[string]string `json:"params"`
			Errors   []FieldError      `json:"errors"`
			Messages struct {
				DE string `json:"de"`
				EN string `json:"en"`
			} `json:"messages"`
		}
		if json.Unmarshal(b, &p) == nil {
			e.Code, e.Detail, e.Messages, e.Params, e.Fields = p.Code, p.Detail, p.Messages, p.Params, p.Errors
			e.RequestID = strings.TrimPrefix(p.Instance, "urn:uuid:")
		}
	}
	if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &busy{answer: e, after: min(time.Duration(max(seconds, 0))*time.Second, 30*time.Second)}
	}
	return e
}

// call sends JSON and reads JSON; in or out may be nil.
func (c *Client) call(ctx context.Context, r request, in, out any) (int, error) {
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		if r.header == nil {
			r.header = http.Header{}
		}
		r.header.Set("Content-Type", "application/json")
		r.body, r.size = bytesBody(b), int64(len(b))
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		return resp.StatusCode, err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return resp.StatusCode, fmt.Errorf("answer to %s %s cannot be read: %w", r.method, r.path, err)
	}
	return resp.StatusCode, nil
}

func bytesBody(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
