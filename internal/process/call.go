package process

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/bpmn/run"
	"evb/internal/fault"
	"evb/internal/job"
)

// maxCalls is how often a webhook is tried until its step fails.
const maxCalls = 8

// maxAnswer bounds the answer of a webhook, in bytes.
const maxAnswer = 256 << 10

const (
	// A retry opens the same call again: the other side knows it by its id.
	sqlInsertCall = `
    INSERT INTO process_call (tenant, id, instance_id, token, node, target, state, created_at)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, 'open', $6)
    ON CONFLICT (tenant, instance_id, token) DO UPDATE SET state = 'open', target = excluded.target RETURNING id`
	sqlCall = `
    SELECT c.instance_id, c.token, c.node, c.target, c.created_at, i.record_id, i.variables, i.activation_id, d.key
    FROM process_call c JOIN process_instance i ON i.tenant = c.tenant AND i.id = c.instance_id
    JOIN process_definition d ON d.tenant = i.tenant AND d.id = i.definition_id
    WHERE c.tenant = evb_tenant() AND c.id = $1 AND c.state = 'open' AND i.state = 'running'`
	sqlTried = `UPDATE process_call SET attempts = attempts + 1, answer = $2 WHERE tenant = evb_tenant() AND id = $1`
	sqlTold  = `
    UPDATE process_call SET state = $2, attempts = attempts + 1, answer = $3 WHERE tenant = evb_tenant() AND id = $1 AND state = 'open'`
)

// called is what a call keeps: whom, and the variables of the multi-instance
// activities around it, which are not those of the instance.
type called struct {
	bpmn.Target
	Local map[string]any `json:"local,omitempty"`
}

// callOut writes what a service task wants done.
func (s *Service) callOut(ctx context.Context, tx pgx.Tx, at time.Time, h *held, e run.Effect) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return id, err
	}
	target, err := json.Marshal(called{Target: e.Target, Local: e.Local})
	if err != nil {
		return id, err
	}
	if err := tx.QueryRow(ctx, sqlInsertCall, id, h.id, e.Token, e.Node.ID, string(target), at).Scan(&id); err != nil {
		return id, fmt.Errorf("call: %w", err)
	}
	return id, nil
}

// answer is what came of a call.
type answer struct {
	vars   map[string]any
	code   string // of a BPMN error
	reason string // why it is in vain; empty: it was not
	again  bool   // another try may help
}

// runCall makes a call, outside any transaction, and gives the answer to the
// instance. Every try carries the id of the call, so that the other side can
// tell a repeated one.
func (s *Service) runCall(ctx context.Context, j job.Job) error {
	a, err := s.db.SystemActor(ctx, j.Tenant)
	if err != nil {
		return err
	}
	c := Call{ID: j.Subject}
	var target called
	var activation uuid.UUID
	var token int
	var key string
	var secret []byte
	err = s.db.InTx(ctx, j.Tenant, func(tx pgx.Tx) error {
		var vars []byte
		err := tx.QueryRow(ctx, sqlCall, j.Subject).Scan(&c.Instance, &token, &c.Element, &target, &c.At, &c.Vorgang, &vars, &activation, &key)
		if err != nil {
			return err
		}
		if c.Variables, err = variables(vars); err != nil {
			return err
		}
		maps.Copy(c.Variables, target.Local)
		p, err := s.plan(ctx, tx, activation)
		if err != nil {
			return err
		}
		if n := p.Model.Node(c.Element); n != nil {
			c.Name, c.Letter = n.Name, p.Letter(n)
		}
		if target.Webhook != "" {
			secret, err = secretOf(ctx, tx, key, s.now())
		}
		return err
	})
	if missing(err) {
		return nil // done, or nobody wants it any more
	}
	if err != nil {
		return err
	}
	var r answer
	if err := s.mayCall(target.Target); err != nil {
		r = answer{reason: err.Text("de")}
	} else if target.Webhook != "" {
		r = s.webhook(ctx, target.Webhook, secret, key, c)
	} else {
		r = s.action(ctx, a, target.Action, c)
	}
	if ctx.Err() != nil && r.reason != "" {
		return ctx.Err() // we are stopping: that says nothing about the other side
	}
	if r.again && !j.Last {
		err := s.db.InTx(ctx, j.Tenant, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sqlTried, j.Subject, r.reason)
			return err
		})
		return errors.Join(fmt.Errorf("call of %s: %s", c.Element, r.reason), err)
	}
	return s.told(ctx, a, c, token, r)
}

// told gives an answer to the instance. One that cannot be kept (too large, no
// text) is a failed step: another try would bring the same.
func (s *Service) told(ctx context.Context, a access.Actor, c Call, token int, r answer) error {
	err := s.give(ctx, a, c, token, r)
	f, ok := fault.As(err)
	if !ok || f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		return err
	}
	return s.give(ctx, a, c, token, answer{reason: f.Text("de")})
}

func (s *Service) give(ctx context.Context, a access.Actor, c Call, token int, r answer) error {
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		h, err := s.hold(ctx, tx, a, at, c.Instance)
		if err != nil {
			return err
		}
		in := run.Input{Kind: run.ServiceDone, Token: token, Vars: r.vars}
		state, text := "done", "ok"
		switch {
		case r.code != "":
			in = run.Input{Kind: run.ServiceError, Token: token, Code: r.code, Reason: r.reason, Vars: r.vars}
			text = "error " + r.code
		case r.reason != "":
			in = run.Input{Kind: run.ServiceFailed, Token: token, Reason: r.reason}
			state, text = "failed", r.reason
		}
		tag, err := tx.Exec(ctx, sqlTold, c.ID, state, text)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if err := s.log.Append(ctx, tx, a, at, h.fact(Called, "", map[string]any{"element": c.Element, "call_id": c.ID, "answer": text})); err != nil {
			return err
		}
		if err := s.step(ctx, tx, a, at, h, in); err != nil && !stale(err) {
			return err
		}
		return nil
	})
}

// mayCall refuses a webhook at an address that the configuration does not name.
// Fault: process-webhook-not-allowed.
func (s *Service) mayCall(t bpmn.Target) *fault.Error {
	if t.Webhook == "" {
		return nil
	}
	at, ok := origin(t.Webhook)
	for _, allowed := range s.o.Webhooks {
		if o, known := origin(allowed); ok && known && o == at {
			return nil
		}
	}
	return fault.New("process-webhook-not-allowed", "url", at)
}

// origin is the scheme, host and port of an address.
func origin(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address, false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port), port != ""
}

// request is the body of a webhook.
type request struct {
	ID        uuid.UUID      `json:"id"`
	Type      string         `json:"type"`
	Process   string         `json:"process"`
	Instance  uuid.UUID      `json:"instance_id"`
	Vorgang   uuid.UUID      `json:"vorgang_id"`
	Element   string         `json:"element"`
	Name      string         `json:"name"`
	Variables map[string]any `json:"variables"`
}

// webhook calls an address with a signed body (Standard Webhooks: webhook-id,
// webhook-timestamp, webhook-signature). 2xx with {"variables": {...}} or an
// empty body is done, {"error": {"code", "message"}} a BPMN error; 408, 425, 429
// and 5xx are tried again, any other status is in vain.
func (s *Service) webhook(ctx context.Context, address string, secret []byte, key string, c Call) answer {
	body, err := json.Marshal(request{ID: c.ID, Type: "process.service_task", Process: key, Instance: c.Instance, Vorgang: c.Vorgang, Element: c.Element, Name: c.Name, Variables: c.Variables})
	if err != nil {
		return answer{reason: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return answer{reason: err.Error()}
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "evb")
	req.Header.Set("Idempotency-Key", c.ID.String())
	req.Header.Set("Webhook-Id", c.ID.String())
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", Sign(secret, c.ID.String(), stamp, body))
	res, err := s.client.Do(req)
	if err != nil {
		return answer{reason: "no answer: " + err.Error(), again: true}
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{reason: "no whole answer: " + err.Error(), again: true}
	}
	var said struct {
		Variables map[string]any `json:"variables"`
		Error     *struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	known := len(raw) <= maxAnswer && (len(bytes.TrimSpace(raw)) == 0 || numbers(raw, &said) == nil)
	for k, v := range said.Variables {
		said.Variables[k] = native(v)
	}
	switch {
	case known && said.Error != nil && said.Error.Code != "" && res.StatusCode < 500:
		return answer{code: said.Error.Code, reason: said.Error.Message, vars: said.Variables}
	case res.StatusCode >= 200 && res.StatusCode < 300 && known:
		return answer{vars: said.Variables}
	case res.StatusCode >= 200 && res.StatusCode < 300 && len(raw) <= maxAnswer && !json.Valid(raw):
		return answer{} // a page or a word: it was done
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return answer{reason: "the answer is too large or not understood"}
	}
	again := res.StatusCode >= 500 || res.StatusCode == http.StatusRequestTimeout || res.StatusCode == http.StatusTooEarly || res.StatusCode == http.StatusTooManyRequests
	return answer{reason: "answer " + res.Status, again: again}
}

// Sign makes the value of Webhook-Signature: "v1," and the base64 of
// HMAC-SHA256(secret, id + "." + timestamp + "." + body).
func Sign(secret []byte, id, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(id + "." + timestamp + "."))
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

func (s *Service) action(ctx context.Context, a access.Actor, name string, c Call) answer {
	do := s.o.Actions[name]
	if do == nil {
		return answer{reason: fault.Text("de", "process-action-unknown", map[string]string{"action": name})}
	}
	vars, err := do(ctx, a, c)
	if err == nil {
		return answer{vars: vars}
	}
	f, ok := fault.As(err)
	if !ok {
		s.slog.WarnContext(ctx, "built-in action", "action", name, "instance_id", c.Instance, "err", err)
		return answer{reason: "internal error", again: true}
	}
	return answer{reason: f.Text("de"), again: f.Kind == fault.Unavailable || f.Kind == fault.Internal}
}
