package problem_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"evb/internal/fault"
	"evb/internal/web/problem"
)

var update = flag.Bool("update", false, "write the golden files anew")

const requestID = "0193a5c0-0000-7000-8000-000000000001"

func TestFaultsBecomeProblems(t *testing.T) {
	cases := map[string]error{
		"not-found":     fault.New("not-found"),
		"stale":         fmt.Errorf("close akte: %w", fault.New("stale-version")),
		"missing-match": fault.New("if-match-missing"),
		"fields":        fault.New("field-required", "field", "subject").With("/subject", "field-required", "field", "subject").With("/received_on", "date-invalid", "value", "31.02."),
		"slowed":        fault.New("login-slowed", "seconds", 7),
		"unavailable":   fault.Wrap(errors.New("dial tcp: refused"), "database-unavailable"),
		"full":          fault.New("database-disk-full"),
		"too-large":     fmt.Errorf("read: %w", &http.MaxBytesError{Limit: 1000}),
		"deadline":      fmt.Errorf("query: %w", context.DeadlineExceeded),
		"internal":      errors.New("secret detail of the inside"),
		"unknown-code":  fault.New("no-such-code", "secret", "inside"),
		"method":        fault.New("method-not-allowed", "method", "PUT", "allowed", "GET"),
		"signed-out":    fault.New("unauthenticated"),
	}
	for name, err := range cases {
		for _, lang := range []string{"de", "en"} {
			t.Run(name+"."+lang, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodGet, "/x", nil)
				r.Header.Set("Accept-Language", lang)
				w := httptest.NewRecorder()
				p := problem.Write(w, r, requestID, err)
				if w.Code != p.Status || w.Header().Get("Content-Type") != problem.ContentType {
					t.Errorf("status %d, type %s", w.Code, w.Header().Get("Content-Type"))
				}
				if retry := w.Header().Get("Retry-After"); (retry != "") != (w.Code == 429 || w.Code == 503) {
					t.Errorf("Retry-After %q at %d", retry, w.Code)
				}
				golden(t, name+"."+lang+".json", w.Body.Bytes())
			})
		}
	}
}

func golden(t *testing.T, name string, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil { //nolint:gosec // test data
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if strings.Contains(string(body), "inside") || strings.Contains(string(body), "refused") {
		t.Errorf("the inside is told: %s", body)
	}
}

func TestEveryKindHasAStatusOfItsOwn(t *testing.T) {
	seen := map[int]fault.Kind{}
	for _, k := range []fault.Kind{
		fault.Malformed, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Precondition, fault.TooLarge, fault.Unsupported,
		fault.Invalid, fault.PreconditionRequired, fault.Limited, fault.Internal, fault.Unavailable, fault.NoSpace,
	} {
		s := problem.Status(k)
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s are both %d", k, other, s)
		}
		seen[s] = k
		if problem.Title(s, "de") == "" || problem.Title(s, "de") == problem.Title(s, "en") {
			t.Errorf("%d has no title", s)
		}
	}
}

func TestTheLanguageIsGermanWhereNothingElseFits(t *testing.T) {
	for header, want := range map[string]string{
		"": "de", "de": "de", "en": "en", "en-GB,en;q=0.9,de;q=0.1": "en", "de-AT,en;q=0.5": "de", "fr": "de", "fr,en;q=0.5": "en", ";;": "de", "*": "de",
		strings.Repeat("en,", 1000): "de",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Language", header)
		if got := problem.Language(r); got != want {
			t.Errorf("%.20q: %s, want %s", header, got, want)
		}
	}
}

func TestThePageOfACodeExplainsItInBothLanguages(t *testing.T) {
	for code := range fault.Codes() {
		w := httptest.NewRecorder()
		if !problem.Page(w, code) || !strings.Contains(w.Body.String(), `<section lang="en">`) || strings.Contains(w.Body.String(), "{value}") {
			t.Errorf("page of %s: %s", code, w.Body)
		}
	}
	if w := httptest.NewRecorder(); problem.Page(w, "no-such") || w.Body.Len() > 0 {
		t.Error("a page of a code that is not there")
	}
}
