package tsp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"evb/signature/digest"
)

// Defaults of [Client].
const (
	DefaultTimeout     = 30 * time.Second
	DefaultMaxResponse = 256 << 10
	DefaultMaxSkew     = 5 * time.Minute
)

// Media types of RFC 3161 section 3.4.
const (
	ContentTypeQuery = "application/timestamp-query"
	ContentTypeReply = "application/timestamp-reply"
)

// Errors of [Client.Stamp]; compare with errors.Is. ErrRefused is the fourth.
var (
	// ErrUnreachable: the authority was not reached, or it is out of order (HTTP
	// 5xx, 408, 429). Nothing was stamped.
	ErrUnreachable = errors.New("time-stamp authority is not reachable")
	// ErrLost: the request was sent and no whole answer came back. A token may
	// have been made and charged.
	ErrLost = errors.New("answer of the time-stamp authority was lost")
	// ErrAnswer: there is an answer that is no time-stamp for this request. The
	// failed check is wrapped where the token could be read.
	ErrAnswer = errors.New("invalid answer of the time-stamp authority")
)

// Authority is one TSA.
type Authority struct {
	// URL is where requests are posted to, http or https.
	URL string
	// User and Password are sent as basic authentication when User is set.
	User, Password string
	// Header holds further header lines, for example a token.
	Header http.Header
	// Policy is asked for and then demanded; nil: any.
	Policy asn1.ObjectIdentifier
	// Timeout is for one request; 0: that of the client.
	Timeout time.Duration
}

// Client asks authorities in turn for a time-stamp. It keeps no state and
// decides nothing about trust: what an answer must satisfy stands in Verify.
// The zero value with at least one authority is usable. Safe for concurrent use.
type Client struct {
	// Authorities are asked in this order until one answers well.
	Authorities []Authority
	// HTTP carries the requests; nil: a client of its own with the default
	// transport. Redirects are never followed: the request and its credentials
	// go to the configured address or nowhere.
	HTTP *http.Client
	// Timeout is for one request; 0: DefaultTimeout.
	Timeout time.Duration
	// MaxResponse limits an answer in bytes; 0: DefaultMaxResponse.
	MaxResponse int64
	// Verify is what an answer is asked beside imprint, nonce and policy: anchors,
	// list of algorithms, further certificates. Its Imprint, Nonce, Policies,
	// Now and MaxSkew are set for each request.
	Verify VerifyOptions
	// Now is the process clock; nil: time.Now.
	Now func() time.Time
	// MaxSkew is how far genTime may lie from Now; 0: DefaultMaxSkew.
	MaxSkew time.Duration
	// Random makes nonces; nil: crypto/rand.
	Random io.Reader
}

// StampOptions belong to one stamp.
type StampOptions struct {
	// Before is called before each request with what is going to be asked; an
	// error ends the stamp before anything is sent. Keep the attempt there if a
	// lost answer has to be known after a crash.
	Before func(ctx context.Context, a Attempt) error
	// After is called after each request with its outcome: nil or an error of
	// this package.
	After func(ctx context.Context, a Attempt, outcome error)
}

// Attempt is one request to one authority.
type Attempt struct {
	// URL is the authority's, without credentials.
	URL     string
	Imprint digest.Digest
	Nonce   *big.Int
}

// StampResult is a token that passed every check it was asked.
type StampResult struct {
	// Token is the TimeStampToken as received, or in DER when it was not (RFC
	// 4998 section 5.2 hashes DER); Normalised tells.
	Token      []byte
	Normalised bool
	// URL is the authority's, without credentials.
	URL string
	// Verification holds the parsed token and every check.
	Verification *Verification
	// Requests is how many were sent, this one included.
	Requests int
}

// Stamp asks for a time-stamp over d, one authority after the other, each at
// most once. After a lost answer there is at most one further request, because
// each may cost (RFC 3161 has no way to ask again for the same token). The error
// is a *StampError unless ctx ended or a hook failed.
func (c *Client) Stamp(ctx context.Context, d digest.Digest, o StampOptions) (StampResult, error) {
	if d.IsZero() || len(d.Value) != d.Algorithm.Size() {
		return StampResult{}, fmt.Errorf("stamp: no digest")
	}
	failed := &StampError{}
	lost := 0
	for i, a := range c.Authorities {
		nonce, err := c.nonce()
		if err != nil {
			return StampResult{}, err
		}
		attempt := Attempt{URL: redacted(a.URL), Imprint: d, Nonce: nonce}
		if o.Before != nil {
			if err := o.Before(ctx, attempt); err != nil {
				return StampResult{}, fmt.Errorf("stamp: %w", err)
			}
		}
		res, err := c.ask(ctx, a, attempt)
		if o.After != nil {
			o.After(ctx, attempt, err)
		}
		if err == nil {
			res.Requests = i + 1
			return res, nil
		}
		failed.Attempts = append(failed.Attempts, FailedAttempt{Attempt: attempt, Err: err})
		if ctx.Err() != nil {
			break
		}
		if lost > 0 {
			break // the one further request was this one
		}
		if errors.Is(err, ErrLost) {
			lost++
		}
	}
	if len(failed.Attempts) == 0 {
		return StampResult{}, fmt.Errorf("stamp: %w: no authority is configured", ErrUnreachable)
	}
	return StampResult{}, failed
}

// nonce is a positive number of 64 bits, its highest bit set so that each has
// the same length.
func (c *Client) nonce() (*big.Int, error) {
	b := make([]byte, 8)
	if _, err := io.ReadFull(cmp.Or[io.Reader](c.Random, rand.Reader), b); err != nil {
		return nil, fmt.Errorf("stamp: nonce: %w", err)
	}
	n := new(big.Int).SetBytes(b)
	return n.SetBit(n, 63, 1), nil
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// ask sends one request and checks the answer.
func (c *Client) ask(ctx context.Context, a Authority, at Attempt) (StampResult, error) {
	req := Request{Imprint: at.Imprint, Policy: a.Policy, Nonce: at.Nonce, CertReq: true}
	body, err := c.post(ctx, a, req.Encode())
	if err != nil {
		return StampResult{}, err
	}
	resp, err := ParseResponse(body)
	if err != nil {
		return StampResult{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if resp.Status != StatusGranted && resp.Status != StatusGrantedWithMods {
		return StampResult{}, &RefusedError{Status: resp.Status, Failure: resp.Failure, Text: resp.Text}
	}
	if resp.Token == nil {
		return StampResult{}, fmt.Errorf("%w: granted without a token", ErrAnswer)
	}
	opts := c.Verify
	opts.Imprint, opts.Nonce, opts.Now = at.Imprint, at.Nonce, c.now()
	opts.MaxSkew = cmp.Or(c.MaxSkew, DefaultMaxSkew)
	if a.Policy != nil {
		opts.Policies = []asn1.ObjectIdentifier{a.Policy}
	}
	token, changed, err := Normalise(resp.Token)
	if err != nil {
		return StampResult{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	v := Verify(token, opts)
	if err := v.Err(); err != nil {
		return StampResult{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return StampResult{Token: token, Normalised: changed, URL: at.URL, Verification: v}, nil
}

// post carries bytes there and back.
func (c *Client) post(ctx context.Context, a Authority, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.Timeout, c.Timeout, DefaultTimeout))
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL, bytes.NewReader(query))
	if err != nil {
		return nil, fmt.Errorf("%w: address cannot be used", ErrUnreachable) // the error would show credentials
	}
	for name, lines := range a.Header {
		req.Header[http.CanonicalHeaderKey(name)] = slices.Clone(lines)
	}
	req.Header.Set("Content-Type", ContentTypeQuery)
	req.Header.Set("Accept", ContentTypeReply)
	if a.User != "" {
		req.SetBasicAuth(a.User, a.Password)
	}
	resp, err := c.http().Do(req)
	if err != nil {
		return nil, transportError(err, sent.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp.StatusCode)
	}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || t != ContentTypeReply {
		return nil, fmt.Errorf("%w: content type %q", ErrAnswer, resp.Header.Get("Content-Type"))
	}
	limit := cmp.Or(c.MaxResponse, DefaultMaxResponse)
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, transportError(err, true)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrAnswer, limit)
	}
	return b, nil
}

func (c *Client) http() *http.Client {
	var h http.Client
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &h
}

// transportError says whether the authority can have seen the request. The
// address is left out: it may hold credentials, and StampError names it.
func transportError(err error, sent bool) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if sent {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

func statusError(code int) error {
	text := fmt.Sprintf("HTTP %d %s", code, http.StatusText(code))
	switch {
	case code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		// A gateway speaks; the authority behind it may have done its work.
		return fmt.Errorf("%w: %s", ErrLost, text)
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooManyRequests:
		return fmt.Errorf("%w: %s", ErrUnreachable, text)
	case code >= 400:
		return fmt.Errorf("%w: %s", ErrRefused, text)
	default: // redirects and other answers without a time-stamp
		return fmt.Errorf("%w: %s", ErrAnswer, text)
	}
}

func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(unreadable address)"
	}
	u.User = nil
	return u.String()
}
