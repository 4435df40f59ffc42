package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

var ok200 = []int{http.StatusOK}

// CreateToken makes an API token for a user.
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (string, error) {
	var a TokenAnswer
	_, err := c.call(ctx, request{method: "POST", path: "/api/v1/tokens", once: true, want: []int{http.StatusCreated, http.StatusOK}}, r, &a)
	return a.Token, err
}

// SealNow seals what is open and gives the server's report.
func (c *Client) SealNow(ctx context.Context) (json.RawMessage, error) {
	var raw json.RawMessage
	_, err := c.call(ctx, request{method: "POST", path: "/api/v1/seals", want: []int{http.StatusOK, http.StatusCreated}}, struct{}{}, &raw)
	return raw, err
}

// SealStatus tells what rests on which algorithm and until when.
func (c *Client) SealStatus(ctx context.Context) (json.RawMessage, error) {
	var raw json.RawMessage
	_, err := c.call(ctx, request{method: "GET", path: "/api/v1/seals/status", want: ok200}, nil, &raw)
	return raw, err
}

// Renewal is what the server says about a renewal.
type Renewal struct {
	ID      string `json:"id"`
	Number  int    `json:"number"`
	Kind    string `json:"kind"`
	State   string `json:"state"`
	Problem bool   `json:"problem"`
	Detail  string `json:"detail"`
	Stopped bool   `json:"stopped"`
	Objects int64  `json:"objects"`
	Bytes   int64  `json:"bytes"`
	Bad     int64  `json:"bad"`
	Seals   int    `json:"seals"`
	Ready   int    `json:"ready"`
	Missing int    `json:"missing"`
	Late    int    `json:"late"`
}

// RenewalRequest asks for renewals; the words are those of the server.
type RenewalRequest struct {
	Kind      string `json:"kind"`
	Algorithm string `json:"algorithm,omitempty"`
	ReadAll   bool   `json:"read_all,omitempty"`
	DueOnly   bool   `json:"due_only,omitempty"`
}

type renewalAnswer struct {
	Items []json.RawMessage `json:"items"`
}

// Renew plans renewals, or lets stopped ones go on, and waits until each is
// renewed, stopped or needs a person; tick is called with each look. When ctx
// ends before, the server goes on.
func (c *Client) Renew(ctx context.Context, q RenewalRequest, tick func(Renewal)) ([]json.RawMessage, error) {
	var planned renewalAnswer
	r := request{method: "POST", path: "/api/v1/renewals", once: true, want: []int{http.StatusAccepted, http.StatusOK}}
	if _, err := c.call(ctx, r, q, &planned); err != nil {
		return nil, err
	}
	out := make([]json.RawMessage, len(planned.Items))
	for i, raw := range planned.Items {
		var r Renewal
		if err := json.Unmarshal(raw, &r); err != nil {
			return nil, err
		}
		for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
			if _, err := c.call(ctx, request{method: "GET", path: "/api/v1/renewals/" + url.PathEscape(r.ID), want: ok200}, nil, &out[i]); err != nil {
				return nil, err
			}
			if err := json.Unmarshal(out[i], &r); err != nil {
				return nil, err
			}
			tick(r)
			if r.State == "renewed" || r.Stopped || r.Problem {
				break
			}
			if err := sleep(ctx, pause); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// StopRenewals halts every renewal that is running and gives them.
func (c *Client) StopRenewals(ctx context.Context) ([]json.RawMessage, error) {
	var status struct {
		Renewals []Renewal `json:"renewals"`
	}
	if _, err := c.call(ctx, request{method: "GET", path: "/api/v1/seals/status", want: ok200}, nil, &status); err != nil {
		return nil, err
	}
	out := make([]json.RawMessage, len(status.Renewals))
	for i, r := range status.Renewals {
		if _, err := c.call(ctx, request{method: "POST", path: "/api/v1/renewals/" + url.PathEscape(r.ID) + "/stop", want: ok200}, struct{}{}, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// IndexState describes the search index.
func (c *Client) IndexState(ctx context.Context) (Index, error) {
	var i Index
	_, err := c.call(ctx, request{method: "GET", path: "/api/v1/index", want: ok200}, nil, &i)
	return i, err
}

// Reindex rebuilds the search index beside the running one and waits for the
// end; tick is called with each look.
func (c *Client) Reindex(ctx context.Context, tick func(Index)) (Index, error) {
	before, err := c.IndexState(ctx)
	if err != nil {
		return before, err
	}
	r := request{method: "POST", path: "/api/v1/index/rebuild", want: []int{http.StatusAccepted, http.StatusOK}}
	if _, err := c.call(ctx, r, struct{}{}, nil); err != nil && !Is(err, "search-rebuilding") {
		return before, err
	}
	pause := 100 * time.Millisecond
	for {
		if err := sleep(ctx, pause); err != nil {
			return before, err
		}
		now, err := c.IndexState(ctx)
		if err != nil {
			return now, err
		}
		if tick != nil {
			tick(now)
		}
		if now.State == "failed" || now.State == "ready" && now.Generation != before.Generation {
			return now, nil
		}
		pause = min(pause*3/2, 3*time.Second)
	}
}

// Check compares Postgres, S3 and index.
func (c *Client) Check(ctx context.Context) (CheckReport, error) {
	var r CheckReport
	_, err := c.call(ctx, request{method: "POST", path: "/api/v1/check", want: ok200}, struct{}{}, &r)
	return r, err
}

// AuditVerify checks the whole log.
func (c *Client) AuditVerify(ctx context.Context) (Audit, error) {
	var a Audit
	if _, err := c.call(ctx, request{method: "GET", path: "/api/v1/audit/verify", want: ok200}, nil, &a.Raw); err != nil {
		return a, err
	}
	return a, json.Unmarshal(a.Raw, &a)
}

// Search asks as the user of the token.
func (c *Client) Search(ctx context.Context, q string, limit int, cursor string) (SearchPage, json.RawMessage, error) {
	v := url.Values{"q": {q}, "limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		v.Set("cursor", cursor)
	}
	var raw json.RawMessage
	var p SearchPage
	if _, err := c.call(ctx, request{method: "GET", path: "/api/v1/search", query: v, want: ok200}, nil, &raw); err != nil {
		return p, nil, err
	}
	return p, raw, json.Unmarshal(raw, &p)
}

// ExportQuery says what to export: one of Dokument, Vorgang and Akte.
type ExportQuery struct {
	Dokument, Vorgang, Akte string
	Format                  string
	Seal                    bool
	WithoutAnnotations      bool
}

// Export gives the stream of the packages (tar) and how many objects in it have
// no evidence yet. The caller closes it.
func (c *Client) Export(ctx context.Context, q ExportQuery) (r io.ReadCloser, pending int, err error) {
	v := url.Values{}
	for k, s := range map[string]string{"dokument": q.Dokument, "vorgang": q.Vorgang, "akte": q.Akte, "format": q.Format} {
		if s != "" {
			v.Set(k, s)
		}
	}
	if q.Seal {
		v.Set("seal", "true")
	}
	if q.WithoutAnnotations {
		v.Set("annotations", "false")
	}
	resp, err := c.do(ctx, request{method: "GET", path: "/api/v1/export", query: v, want: ok200})
	if err != nil {
		return nil, 0, err
	}
	pending, _ = strconv.Atoi(resp.Header.Get("Evb-Pending"))
	return resp.Body, pending, nil
}
