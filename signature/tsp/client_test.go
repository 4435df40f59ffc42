package tsp_test

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/tsa"
	"evb/signature/tsp"
)

// authority is a development authority behind HTTP with a handler in between.
func authority(t *testing.T, between func(next http.Handler) http.Handler) (*tsa.Server, string) {
	t.Helper()
	s, err := tsa.Open(t.TempDir(), tsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var h http.Handler = s
	if between != nil {
		h = between(s)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func answer(h func(w http.ResponseWriter, r *http.Request, real []byte)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			h(w, r, rec.Body.Bytes())
		})
	}
}

func reply(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Type", tsp.ContentTypeReply)
	_, _ = w.Write(b)
}

func client(urls ...string) *tsp.Client {
	c := &tsp.Client{Timeout: 5 * time.Second}
	for _, u := range urls {
		c.Authorities = append(c.Authorities, tsp.Authority{URL: u})
	}
	return c
}

// refusedURL is an address that nobody listens at.
func refusedURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

func TestAStampIsVerifiedAndNamesItsAuthority(t *testing.T) {
	s, url := authority(t, nil)
	c := client(url)
	c.Verify.Anchors = cms.NewVerifier(s.Certificates()[1:])
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512, digest.SHA3_256} {
		d := digest.Of(alg, []byte("Wurzel"))
		var asked tsp.Attempt
		res, err := c.Stamp(t.Context(), d, tsp.StampOptions{
			Before: func(_ context.Context, a tsp.Attempt) error { asked = a; return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		info := res.Verification.Token.Info
		if !info.Imprint.Equal(d) || res.URL != url || res.Requests != 1 || res.Normalised || info.Nonce.Cmp(asked.Nonce) != 0 {
			t.Errorf("%s: %+v", alg, res)
		}
		if len(res.Verification.Token.SignedData.Certificates) != 2 {
			t.Error("the token does not carry its certificates")
		}
	}
}

func TestTroubleIsToldApart(t *testing.T) {
	other := digest.Of(digest.SHA256, []byte("etwas anderes"))
	never := errors.New("none")
	for name, test := range map[string]struct {
		between func(http.Handler) http.Handler
		want    error
		not     error
		text    string
	}{
		"refused": {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			reply(w, (&tsp.Response{Status: tsp.StatusRejection, Failure: tsp.FailBadAlg, Text: "kein SHA-1"}).Encode())
		}), tsp.ErrRefused, tsp.ErrAnswer, "badAlg"},
		"waiting": {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			reply(w, (&tsp.Response{Status: tsp.StatusWaiting, Failure: tsp.FailNone}).Encode())
		}), tsp.ErrRefused, never, "waiting"},
		"unauthorised": {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(401) }), tsp.ErrRefused, never, "401"},
		"out of order": {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(503) }), tsp.ErrUnreachable, tsp.ErrLost, "503"},
		"gateway":      {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(504) }), tsp.ErrLost, tsp.ErrUnreachable, "504"},
		"redirect": {answer(func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		}), tsp.ErrAnswer, never, "307"},
		"a page": {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = w.Write([]byte("<html>")) }), tsp.ErrAnswer, never, "content type"},
		"too large": {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			reply(w, make([]byte, tsp.DefaultMaxResponse+1))
		}), tsp.ErrAnswer, never, "larger"},
		"rubbish": {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) { reply(w, []byte("0")) }), tsp.ErrAnswer, never, ""},
		"no token": {answer(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			reply(w, (&tsp.Response{Failure: tsp.FailNone}).Encode())
		}), tsp.ErrAnswer, never, "without a token"},
		"answer to another request": {answer(func(w http.ResponseWriter, r *http.Request, b []byte) {
			reply(w, b)
		}), nil, never, ""}, // the control: passes
		"cut off": {answer(func(w http.ResponseWriter, _ *http.Request, b []byte) {
			w.Header().Set("Content-Type", tsp.ContentTypeReply)
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(b)
		}), tsp.ErrLost, never, ""},
		"hung up": {func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, tsp.ErrLost, tsp.ErrUnreachable, ""},
		"another digest": {func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				req, err := tsp.ParseRequest(b)
				if err != nil {
					panic(err)
				}
				req.Imprint = other
				r.Body = io.NopCloser(bytes.NewReader(req.Encode()))
				next.ServeHTTP(w, r)
			})
		}, tsp.ErrInvalid, tsp.ErrRefused, tsp.CheckImprint},
		"another nonce": {func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				req, err := tsp.ParseRequest(b)
				if err != nil {
					panic(err)
				}
				req.Nonce.SetInt64(1)
				r.Body = io.NopCloser(bytes.NewReader(req.Encode()))
				next.ServeHTTP(w, r)
			})
		}, tsp.ErrAnswer, tsp.ErrRefused, tsp.CheckNonce},
		"a bit flipped": {answer(func(w http.ResponseWriter, _ *http.Request, b []byte) {
			b = slices.Clone(b)
			b[len(b)-3] ^= 1 // in the signature value
			reply(w, b)
		}), tsp.ErrInvalid, never, tsp.CheckSignature},
	} {
		t.Run(name, func(t *testing.T) {
			_, url := authority(t, test.between)
			_, err := client(url).Stamp(t.Context(), sum, tsp.StampOptions{})
			if !errors.Is(err, test.want) || errors.Is(err, test.not) {
				t.Fatalf("error %v", err)
			}
			if test.want != nil && (!strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), url)) {
				t.Errorf("error %q does not say %q and %q", err, test.text, url)
			}
		})
	}
}

func TestAuthoritiesAreAskedInTurnAndALostAnswerCostsOneFurtherRequest(t *testing.T) {
	dead := refusedURL(t)
	_, good := authority(t, nil)
	hang := func() string {
		_, u := authority(t, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		})
		return u
	}
	res, err := client(dead, dead, good).Stamp(t.Context(), sum, tsp.StampOptions{})
	if err != nil || res.URL != good || res.Requests != 3 {
		t.Fatalf("%v %v", res, err)
	}
	if res, err = client(hang(), good).Stamp(t.Context(), sum, tsp.StampOptions{}); err != nil || res.URL != good {
		t.Fatalf("%v %v", res, err)
	}
	_, err = client(hang(), dead, good).Stamp(t.Context(), sum, tsp.StampOptions{})
	var failed *tsp.StampError
	if !errors.As(err, &failed) || len(failed.Attempts) != 2 || !failed.Unreachable() {
		t.Fatalf("error %v", err)
	}
	if _, err = client().Stamp(t.Context(), sum, tsp.StampOptions{}); !errors.Is(err, tsp.ErrUnreachable) {
		t.Errorf("error %v", err)
	}
}

func TestNothingIsSentWhenTheAttemptCannotBeKept(t *testing.T) {
	asked := 0
	_, url := authority(t, answer(func(w http.ResponseWriter, _ *http.Request, b []byte) { asked++; reply(w, b) }))
	disk := errors.New("disk full")
	_, err := client(url).Stamp(t.Context(), sum, tsp.StampOptions{Before: func(context.Context, tsp.Attempt) error { return disk }})
	if !errors.Is(err, disk) || asked != 0 {
		t.Errorf("error %v, asked %d times", err, asked)
	}
	var outcomes []error
	after := func(_ context.Context, _ tsp.Attempt, err error) { outcomes = append(outcomes, err) }
	if _, err := client(refusedURL(t), url).Stamp(t.Context(), sum, tsp.StampOptions{After: after}); err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != 2 || !errors.Is(outcomes[0], tsp.ErrUnreachable) || outcomes[1] != nil {
		t.Errorf("outcomes %v", outcomes)
	}
}

func TestCredentialsGoToTheAuthorityAndIntoNoError(t *testing.T) {
	var user, password, key string
	_, url := authority(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ = r.BasicAuth()
			key = r.Header.Get("X-Api-Key")
			next.ServeHTTP(w, r)
		})
	})
	c := client(url)
	c.Authorities[0].User, c.Authorities[0].Password = "stadt", "geheim"
	c.Authorities[0].Header = http.Header{"x-api-key": {"auch geheim"}}
	if _, err := c.Stamp(t.Context(), sum, tsp.StampOptions{}); err != nil {
		t.Fatal(err)
	}
	if user != "stadt" || password != "geheim" || key != "auch geheim" {
		t.Errorf("sent %q %q %q", user, password, key)
	}
	inURL := strings.Replace(refusedURL(t), "http://", "http://stadt:geheim@", 1)
	_, err := client(inURL, "http://stadt:geheim@[::1", "\x7f://geheim").Stamp(t.Context(), sum, tsp.StampOptions{})
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("error %v", err)
	}
}

func TestPolicyClockAndAnchorAreDemanded(t *testing.T) {
	s, url := authority(t, nil)
	c := client(url)
	c.Authorities[0].Policy = asn1.ObjectIdentifier{1, 2, 3}
	var refused *tsp.RefusedError
	if _, err := c.Stamp(t.Context(), sum, tsp.StampOptions{}); !errors.As(err, &refused) || refused.Failure != tsp.FailUnacceptedPolicy {
		t.Errorf("policy: %v", err)
	}
	c = client(url)
	c.Now = func() time.Time { return time.Now().Add(time.Hour) }
	if _, err := c.Stamp(t.Context(), sum, tsp.StampOptions{}); !errors.Is(err, tsp.ErrInvalid) || !strings.Contains(err.Error(), tsp.CheckClock) {
		t.Errorf("clock: %v", err)
	}
	other, _ := authority(t, nil)
	c = client(url)
	c.Verify.Anchors = cms.NewVerifier(other.Certificates()[1:])
	if _, err := c.Stamp(t.Context(), sum, tsp.StampOptions{}); !errors.Is(err, tsp.ErrInvalid) || !strings.Contains(err.Error(), tsp.CheckPath) {
		t.Errorf("anchor: %v", err)
	}
	c.Verify.Anchors = cms.NewVerifier(s.Certificates()[1:])
	if _, err := c.Stamp(t.Context(), sum, tsp.StampOptions{}); err != nil {
		t.Error(err)
	}
}

func TestATimeLimitOrTheEndOfTheContextEndsTheRequest(t *testing.T) {
	release := make(chan struct{})
	_, url := authority(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	})
	t.Cleanup(func() { close(release) })
	c := client(url)
	c.Timeout = 50 * time.Millisecond
	if _, err := c.Stamp(t.Context(), sum, tsp.StampOptions{}); !errors.Is(err, tsp.ErrLost) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c = client(url, url)
	_, err := c.Stamp(ctx, sum, tsp.StampOptions{})
	var failed *tsp.StampError
	if !errors.As(err, &failed) || len(failed.Attempts) != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestATokenThatIsNotDERIsReencodedOnceAndVerifiedAgain(t *testing.T) {
	_, url := authority(t, answer(func(w http.ResponseWriter, _ *http.Request, b []byte) {
		resp, err := tsp.ParseResponse(b)
		if err != nil {
			panic(err)
		}
		e, _, err := cms.ReadElement(resp.Token)
		if err != nil {
			panic(err)
		}
		// The same content with a length that is told by its end (BER).
		resp.Token = slices.Concat([]byte{0x30, 0x80}, e.Contents, []byte{0, 0})
		reply(w, resp.Encode())
	}))
	res, err := client(url).Stamp(t.Context(), sum, tsp.StampOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !res.Normalised || !cms.IsDER(res.Token) {
		t.Error("kept in BER")
	}
}
