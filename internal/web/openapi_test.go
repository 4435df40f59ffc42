package web_test

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"evb/internal/web"
	"evb/internal/web/problem"
)

// document is the OpenAPI document as an independent reader understands it.
type document struct {
	doc   *openapi3.T
	paths map[*regexp.Regexp]*openapi3.PathItem
}

func openDocument(t testing.TB, s *web.Server) *document {
	t.Helper()
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/openapi.json", nil))
	doc, err := openapi3.NewLoader().LoadFromData(rec.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatalf("the OpenAPI document is not valid: %v", err)
	}
	d := &document{doc: doc, paths: map[*regexp.Regexp]*openapi3.PathItem{}}
	variable := regexp.MustCompile(`\\\{[a-z_]+\\\}`)
	for path, item := range doc.Paths.Map() {
		d.paths[regexp.MustCompile("^"+variable.ReplaceAllString(regexp.QuoteMeta(path), "[^/]+")+"$")] = item
	}
	return d
}

// check fails the test when an answer of the API is not what the document says.
func (d *document) check(t testing.TB, r *http.Request, a answer) {
	t.Helper()
	if !strings.HasPrefix(r.URL.Path, "/api/") || r.Method == http.MethodHead || a.Status == http.StatusNotModified {
		return
	}
	media, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.Status >= 400 {
		if media != problem.ContentType {
			t.Errorf("%s %s: problem %d as %q", r.Method, r.URL.Path, a.Status, media)
		}
		conforms(t, d.doc.Components.Schemas["Problem"], a.Body)
		return
	}
	op := d.operation(r)
	if op == nil {
		t.Errorf("%s %s is not in the document", r.Method, r.URL.Path)
		return
	}
	response := op.Responses.Value(strconv.Itoa(a.Status))
	if response == nil {
		t.Errorf("%s %s: status %d is not in the document", r.Method, r.URL.Path, a.Status)
		return
	}
	content := response.Value.Content.Get("application/json")
	if err == nil && media == "application/json" && content != nil {
		conforms(t, content.Schema, a.Body)
	}
}

func (d *document) operation(r *http.Request) *openapi3.Operation {
	var found *openapi3.Operation
	for pattern, item := range d.paths {
		if pattern.MatchString(r.URL.EscapedPath()) {
			if op := item.GetOperation(r.Method); op != nil && (found == nil || !strings.Contains(pattern.String(), "[^/]+")) {
				found = op
			}
		}
	}
	return found
}

func conforms(t testing.TB, schema *openapi3.SchemaRef, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("body is no JSON: %v: %s", err, body)
		return
	}
	if err := schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("the answer is not as the document says: %v\n%s", err, body)
	}
}
