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
	w.allow(srv.URL)
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

// allow lets webhooks be at these addresses alone, as after a restart.
func (w *works) allow(hooks ...string) {
	w.hooks = hooks
	w.link()
}

func hook(url string) []byte {
	return xmlFile(`<serviceTask id="h" evb:webhook="` + url + `"/>` + flow("s", "h") + flow("h", "e"))
}

func TestAWebhookIsCalledOnlyWhereTheConfigurationAllowsIt(t *testing.T) {
	w := newWorks(t)
	calls := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
	defer srv.Close()
	activate := func(url string) error {
		d, _, err := w.s.Store(t.Context(), w.designer, process.NewDefinition{File: hook(url)})
		w.ok(err)
		_, err = w.s.Activate(t.Context(), w.designer, d.ID, bpmn.Activation{})
		return err
	}
	err := activate(srv.URL + "/x")
	w.want(err, "process-activation-invalid")
	if f, ok := fault.As(err); !ok || len(f.Fields) != 1 || f.Fields[0].Code != "process-webhook-not-allowed" || f.Fields[0].Pointer != "/stations/h" {
		t.Errorf("%+v", f)
	}
	w.allow("https://fv.example", "http://10.0.0.5:8080/")
	for _, url := range []string{srv.URL, "http://fv.example/x", "https://fv.example:8443/", "https://fv.example.org/", "http://10.0.0.5/", "https://fv.example@127.0.0.1/"} {
		if activate(url) == nil {
			t.Errorf("%s is allowed", url)
		}
	}
	for _, url := range []string{"https://FV.example:443/x?y=1", "https://fv.example", "http://10.0.0.5:8080/a/b"} {
		w.ok(activate(url))
	}
	w.allow(srv.URL)
	i := w.begin(hook(srv.URL+"/x"), bpmn.Activation{}, nil)
	w.allow() // taken off the list while the instance runs
	w.run(process.JobCall, false)
	if got := w.at(i.ID, "h failed"); calls != 0 || !strings.Contains(got.Steps[0].Reason, "processes.webhooks") {
		t.Errorf("%d calls, %q", calls, got.Steps[0].Reason)
	}
}

func TestAnAnswerThatCannotBeKeptFailsItsStepWithTheReason(t *testing.T) {
	for name, answer := range map[string]string{
		"too large": `{"variables":{"n":"` + strings.Repeat("x", 200<<10) + `"}}`,
		"no text":   `{"variables":{"n":"\u0000"}}`,
		"an error":  `{"error":{"code":"c","message":"\u0000"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorks(t)
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, answer) }))
			defer srv.Close()
			w.allow(srv.URL)
			i := w.begin(hook(srv.URL), bpmn.Activation{}, map[string]any{"old": strings.Repeat("y", 100<<10)})
			w.run(process.JobCall, false)
			if got := w.at(i.ID, "h failed"); got.Steps[0].Reason == "" {
				t.Errorf("%+v", got.Steps)
			}
		})
	}
}

func TestANumberBeyondAllNumbersIsKeptAsItsText(t *testing.T) {
	w := newWorks(t)
	i := w.begin(xmlFile(`<userTask id="t" evb:unit="FB61"/><userTask id="u" evb:unit="FB61"/>`+flow("s", "t")+flow("t", "u")+flow("u", "e")), bpmn.Activation{}, nil)
	w.done(w.Koch, i.ID, "t", `{"n":1e999}`)
	if got := w.at(i.ID, "u task"); got.Variables["n"] != "1e999" {
		t.Errorf("%+v", got.Variables)
	}
}
