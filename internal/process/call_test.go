package process_test

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/fault"
	"evb/internal/process"
)

func TestAWebhookIsSignedAndTriedWithOneID(t *testing.T) {
	w := newWorks(t)
	type call struct {
		id, stamp, signature string
		body                 []byte
	}
	var calls []call
	status, answer := http.StatusServiceUnavailable, ""
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, call{r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), r.Header.Get("Webhook-Signature"), body})
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, answer)
	}))
	defer srv.Close()
	d := w.define(xmlFile(`<serviceTask id="h" name="Melden" evb:webhook="`+srv.URL+`"/><exclusiveGateway id="x"/><userTask id="t" evb:unit="FB61"/><boundaryEvent id="b" attachedToRef="h"><errorEventDefinition errorRef="er"/></boundaryEvent>`+
		flow("s", "h")+flow("h", "x")+flow("x", "e", "n == 7")+flow("b", "t")+flow("t", "e"), `<error id="er" errorCode="unknown-person"/>`), bpmn.Activation{})
	start := func() uuid.UUID {
		i, _, err := w.s.Start(t.Context(), w.Schulz, process.NewInstance{Definition: d.ID, Vorgang: w.vorgang, Variables: map[string]any{"who": "x"}})
		w.ok(err)
		return i.ID
	}
	id := start()
	w.run(process.JobCall, false)
	w.at(id, "h service")
	w.run(process.JobCall, true)
	if got := w.at(id, "h failed"); got.Failed != 1 || !strings.Contains(got.Steps[0].Reason, "503") {
		t.Errorf("%+v", got)
	}
	status, answer = http.StatusOK, `{"variables":{"n":7}}`
	if _, err := w.s.Retry(t.Context(), w.Schulz, id, 0, nil, 0); err != nil {
		t.Fatal(err)
	}
	w.run(process.JobCall, false)
	if got := w.at(id); got.State != "done" {
		t.Errorf("%+v", got)
	}
	if len(calls) != 3 || calls[0].id != calls[1].id || calls[1].id != calls[2].id {
		t.Fatalf("calls %+v", calls)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(d.Activation.WebhookSecret, "whsec_"))
	w.ok(err)
	if c := calls[2]; process.Sign(secret, c.id, c.stamp, c.body) != c.signature || !strings.Contains(string(c.body), `"who":"x"`) {
		t.Errorf("signature or body: %+v", c)
	}
	status, answer = http.StatusUnprocessableEntity, `{"error":{"code":"unknown-person","message":"nobody"}}`
	id = start()
	w.run(process.JobCall, false)
	w.at(id, "t task")
	status, answer = http.StatusNotFound, ""
	id = start()
	w.run(process.JobCall, false) // in vain: no further try
	w.at(id, "h failed")
}

func TestABuiltInActionRunsUntilItIsDone(t *testing.T) {
	w := newWorks(t)
	tries := 0
	w.actions["close"] = func(ctx context.Context, a access.Actor, c process.Call) (map[string]any, error) {
		if tries++; tries == 1 {
			return nil, fault.New("database-unavailable")
		}
		if c.Vorgang != w.vorgang || c.Element != "h" {
			t.Errorf("%+v", c)
		}
		return map[string]any{"closed": true}, nil
	}
	i := w.begin(xmlFile(`<serviceTask id="h" evb:action="close"/>`+flow("s", "h")+flow("h", "e")), bpmn.Activation{}, nil)
	w.run(process.JobCall, false)
	w.at(i.ID, "h service")
	w.run(process.JobCall, false)
	if got := w.at(i.ID); got.State != "done" || got.Variables["closed"] != true {
		t.Errorf("%+v", got)
	}
}
