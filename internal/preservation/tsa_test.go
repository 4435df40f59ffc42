package preservation_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/preservation"
	"evb/internal/worldtest"
	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/tsp"
)

// mischief stands before the authority and spoils answers while it is set.
type mischief struct {
	w     *world
	mode  atomic.Value // string
	count atomic.Int64 // requests that reached the authority
	url   string
}

func newMischief(w *world) *mischief {
	m := &mischief{w: w}
	m.mode.Store("")
	srv := httptest.NewServer(m)
	w.T.Cleanup(srv.Close)
	m.url = srv.URL
	return m
}

func (m *mischief) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	query := body
	mode, _ := m.mode.Load().(string)
	if r.Method == http.MethodPost {
		m.count.Add(1)
		switch mode {
		case "imprint", "nonce":
			req, err := tsp.ParseRequest(body)
			if err != nil {
				panic(err)
			}
			if mode == "imprint" {
				req.Imprint = digest.Of(digest.SHA256, []byte("something else"))
				req.RawImprint = nil
			} else {
				req.Nonce.Add(req.Nonce, req.Nonce)
			}
			query = req.Encode()
		case "refused":
			rw.Header().Set("Content-Type", tsp.ContentTypeReply)
			resp := tsp.Response{Status: tsp.StatusRejection, Failure: tsp.FailBadAlg, Text: "nicht heute"}
			_, _ = rw.Write(resp.Encode())
			return
		case "down":
			http.Error(rw, "out of order", http.StatusServiceUnavailable)
			return
		}
	}
	rec := httptest.NewRecorder()
	inner := r.Clone(r.Context())
	inner.Body = io.NopCloser(bytes.NewReader(query))
	m.w.tsa.ServeHTTP(rec, inner)
	if mode == "lost" && r.Method == http.MethodPost {
		// The authority has done its work; the connection breaks.
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return
	}
	for k, v := range rec.Header() {
		rw.Header()[k] = v
	}
	rw.WriteHeader(rec.Code)
	_, _ = rw.Write(rec.Body.Bytes())
}

func (m *mischief) service(change ...func(*preservation.Options)) *preservation.Service {
	return m.w.service(append([]func(*preservation.Options){func(o *preservation.Options) {
		o.TSA = &tsp.Client{Authorities: []tsp.Authority{{URL: m.url}}, Now: m.w.Now, Timeout: time.Minute}
	}}, change...)...)
}

func TestALostAnswerCostsOneFurtherRequest(t *testing.T) {
	w := newWorld(t)
	m := newMischief(w)
	p := m.service()
	d := w.letter("x", "Brief")
	m.mode.Store("lost")
	_, err := p.SealNow(t.Context(), stadt)
	wantFault(t, err, "tsa-lost")
	if e, _ := w.p.EvidenceOf(t.Context(), stadt, d); e.State != preservation.Pending {
		t.Errorf("state %s", e.State)
	}
	m.mode.Store("")
	_, err = p.SealNow(t.Context(), stadt)
	must(t, err)
	if m.count.Load() != 2 {
		t.Errorf("%d requests", m.count.Load())
	}
	w.mustVerify(w.verifier(), w.groups(d)[0])
	seals, err := w.p.Seals(t.Context(), stadt, 0, 0)
	must(t, err)
	if len(seals) != 1 || seals[0].Requests != 2 || seals[0].Lost != 1 {
		t.Errorf("seals: %+v", seals)
	}
}

func TestAfterTwoLostAnswersAPersonIsAsked(t *testing.T) {
	w := newWorld(t)
	m := newMischief(w)
	p := m.service()
	d := w.letter("x", "Brief")
	m.mode.Store("lost")
	run := func() error {
		for _, j := range p.Jobs() {
			if j.Kind == preservation.Stamp {
				return j.Run(t.Context(), jobOf(worldtest.One[uuid.UUID](w.World, `SELECT id FROM seal WHERE tenant = evb_tenant()`)))
			}
		}
		return nil
	}
	_, err := p.SealNow(t.Context(), stadt)
	wantFault(t, err, "tsa-lost")
	wantFault(t, run(), "tsa-lost")
	for range 3 {
		if err := run(); err == nil || fault.Is(err, "tsa-lost") { // put off, not failed
			t.Fatalf("third attempt: %v", err)
		}
	}
	if m.count.Load() != 2 {
		t.Errorf("%d requests, want 2", m.count.Load())
	}
	e, err := w.p.EvidenceOf(t.Context(), stadt, d)
	must(t, err)
	if e.State != preservation.Problem || e.Reason == "" {
		t.Errorf("evidence: %+v", e)
	}
	w.Pass(2 * time.Hour) // it goes on by itself when the pause is over
	m.mode.Store("")
	must(t, run())
	if e, _ = w.p.EvidenceOf(t.Context(), stadt, d); e.State != preservation.Sealed {
		t.Errorf("state %s", e.State)
	}
	w.mustVerify(w.verifier(), w.groups(d)[0])
}

func TestAWrongAnswerIsDroppedAndNothingIsSealed(t *testing.T) {
	for mode, code := range map[string]string{"imprint": "tsa-invalid", "nonce": "tsa-invalid", "refused": "tsa-refused", "down": "tsa-unavailable"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			m := newMischief(w)
			p := m.service()
			d := w.letter("x", "Brief")
			m.mode.Store(mode)
			_, err := p.SealNow(t.Context(), stadt)
			wantFault(t, err, code)
			if n := worldtest.One[int](w.World, `SELECT count(*) FROM time_stamp_token WHERE tenant = evb_tenant()`); n != 0 {
				t.Errorf("%d tokens kept", n)
			}
			outcome := worldtest.One[string](w.World, `SELECT outcome FROM stamp_request WHERE tenant = evb_tenant()`)
			want := map[string]string{"imprint": "invalid", "nonce": "invalid", "refused": "refused", "down": "unreachable"}[mode]
			if outcome != want {
				t.Errorf("outcome %q, want %q", outcome, want)
			}
			m.mode.Store("")
			_, err = p.SealNow(t.Context(), stadt)
			must(t, err)
			w.mustVerify(w.verifier(), w.groups(d)[0])
		})
	}
}

func TestATokenOfAnAuthorityThatIsNotTrustedIsRefused(t *testing.T) {
	w := newWorld(t)
	other := newWorldTSA(t)
	p := w.service(func(o *preservation.Options) {
		o.TSA = &tsp.Client{Authorities: []tsp.Authority{{URL: w.url}}, Now: w.Now, Verify: tsp.VerifyOptions{Anchors: cms.NewVerifier(other)}}
	})
	w.letter("x", "Brief")
	_, err := p.SealNow(t.Context(), stadt)
	wantFault(t, err, "tsa-invalid")
}

func TestTheGracePeriodIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	p := w.service(func(o *preservation.Options) { o.Grace = time.Hour })
	d := w.letter("x", "Brief")
	r, err := p.SealNow(t.Context(), stadt)
	must(t, err)
	if !r.Waiting || len(r.Seals) != 1 || r.Seals[0].State != preservation.StateStamped {
		t.Fatalf("report: %+v", r)
	}
	if _, err := w.p.Record(t.Context(), stadt, d, uuid.Nil); !fault.Is(err, "evidence-pending") {
		t.Errorf("a record before the token is final: %v", err)
	}
	w.Pass(61 * time.Minute)
	r, err = p.SealNow(t.Context(), stadt)
	must(t, err)
	if r.Waiting || r.Seals[0].State != preservation.StateSealed {
		t.Fatalf("report: %+v", r)
	}
	w.mustVerify(w.verifier(), w.groups(d)[0])
}

func TestWithoutARevocationListTheSealStaysStamped(t *testing.T) {
	w := newWorld(t)
	p := w.service(func(o *preservation.Options) {
		o.Revocation = preservation.HTTPRevocation{URLs: []string{w.url + "/nothing"}}
	})
	w.letter("x", "Brief")
	_, err := p.SealNow(t.Context(), stadt)
	wantFault(t, err, "revocation-unavailable")
	seals, err := w.p.Seals(t.Context(), stadt, 0, 0)
	must(t, err)
	if seals[0].State != preservation.StateStamped {
		t.Errorf("state %s", seals[0].State)
	}
	id := seals[0].ID
	for _, j := range p.Jobs() {
		if j.Kind == preservation.Stamp { // the last attempt asks for a person
			last := job.Job{Tenant: stadt.Tenant, Subject: id, Attempt: 8, Last: true}
			if err := j.Run(t.Context(), last); err == nil {
				t.Error("no error")
			}
		}
	}
	seal, err := w.p.Seal(t.Context(), stadt, id)
	must(t, err)
	if !seal.Problem || seal.Detail == "" {
		t.Errorf("seal: %+v", seal)
	}
	w.sealNow(w.p) // the reason is gone: the same token becomes final
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM stamp_request WHERE tenant = evb_tenant()`); n != 1 {
		t.Errorf("%d requests", n)
	}
	_, err = w.p.Seal(context.Background(), stadt, uuid.Nil)
	wantFault(t, err, "seal-not-found")
}
