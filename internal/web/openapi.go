package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"evb/internal/web/problem"
)

// class says how long and how much a request may be.
type class int

const (
	plain class = iota
	upload
	download
	events
)

// Idempotency-Key of a route.
const (
	keyNone = iota
	keyOptional
	keyObligatory
)

// route is one line of the table: what it does for people, and what goes in
// and out for programs.
type route struct {
	Method, Path string
	ID           string // operationId; empty: a page, not part of the API
	DE, EN       string // summary
	Handle       func(w http.ResponseWriter, r *http.Request) error
	Class        class
	Open         bool // nobody needs to be signed in
	Login        bool // nobody is signed in yet, but it must come from our page
	Page         bool // errors are pages
	Off          bool // this process does not have the part
	In, Out      any  // zero values of the bodies; nil: none
	InType       string
	OutType      string // media type of an answer that is no JSON
	Status       int    // of success; 0: 200
	Query        []string
	IfMatch      bool
	Key          int
	Ranges       bool // answers a Range with 206
}

var pathVariable = regexp.MustCompile(`\{([a-z_]+)(?::[^}]*)?\}`)

// template is the path as OpenAPI writes it, without the router's patterns.
func (rt route) template() string { return pathVariable.ReplaceAllString(rt.Path, "{$1}") }

// matches says whether a path belongs to the route, whatever its method.
func (rt route) matches(path string) bool {
	pattern := regexp.QuoteMeta(rt.template())
	pattern = strings.ReplaceAll(pattern, `\{`, "{")
	pattern = strings.ReplaceAll(pattern, `\}`, "}")
	ok, err := regexp.MatchString("^"+pathVariable.ReplaceAllString(pattern, "[^/]+")+"$", path)
	return err == nil && ok
}

// parameters of the query, with their types where they are no plain strings.
var queryTypes = map[string]object{
	"limit": {"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit}, "year": {"type": "integer"},
	"count": {"type": "boolean"}, "unfiled": {"type": "boolean"}, "seal": {"type": "boolean"}, "removed": {"type": "boolean"}, "incoming": {"type": "boolean"}, "void": {"type": "boolean"}, "annotations": {"type": "boolean", "default": true}, "archive_version": {"type": "string", "format": "uuid"},
	"vorgang_id": {"type": "string", "format": "uuid"}, "akte_id": {"type": "string", "format": "uuid"}, "object": {"type": "string", "format": "uuid"},
	"dokument": {"type": "string", "format": "uuid"}, "vorgang": {"type": "string", "format": "uuid"}, "akte": {"type": "string", "format": "uuid"},
	"version": {"type": "integer"}, "file": {"type": "integer"}, "n": {"type": "integer"}, "download": {"type": "boolean"},
}

// openAPI writes the document (OpenAPI 3.1) from the table of routes.
func openAPI(routes []route, version string) ([]byte, error) {
	s := &schemas{components: map[string]any{}, types: map[string]reflect.Type{}}
	problemRef := s.of(reflect.TypeFor[problem.Problem]())
	paths := object{}
	for _, rt := range routes {
		if rt.ID == "" {
			continue
		}
		item, ok := paths[rt.template()].(object)
		if !ok {
			item = object{}
			paths[rt.template()] = item
		}
		method := strings.ToLower(rt.Method)
		if item[method] != nil {
			return nil, fmt.Errorf("%s %s stands twice", rt.Method, rt.Path)
		}
		item[method] = s.operation(rt)
	}
	if version == "" {
		version = "dev"
	}
	return json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "evb", "version": version,
			"description": "E-Akte und Archiv: was die Oberfläche kann, kann auch ein Programm. Fehler nach RFC 9457 mit festem code und deutschem und englischem Text.\n\n" +
				"E-file and archive: whatever the pages can do, a program can do too. Errors follow RFC 9457, with a stable code and German and English text.",
		},
		"security": []any{object{"token": []string{}}, object{"session": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas": s.components,
			"securitySchemes": object{
				"token":   object{"type": "http", "scheme": "bearer"},
				"session": object{"type": "apiKey", "in": "cookie", "name": cookieName},
			},
			"responses": object{"Problem": object{
				"description": "Problem (RFC 9457)",
				"content":     object{problem.ContentType: object{"schema": problemRef}},
			}},
		},
	}, "", " ")
}

func (s *schemas) operation(rt route) object {
	op := object{"operationId": rt.ID, "summary": rt.DE, "description": rt.EN, "responses": s.responses(rt)}
	if p := s.parameters(rt); len(p) > 0 {
		op["parameters"] = p
	}
	if rt.Open || rt.Login {
		op["security"] = []any{}
	}
	if rt.In != nil || rt.InType != "" {
		content := object{}
		if rt.InType != "" {
			content[rt.InType] = object{"schema": object{"type": "string", "contentMediaType": rt.InType}}
		}
		if rt.In != nil { // beside the other type: either of them
			content["application/json"] = object{"schema": s.of(reflect.TypeOf(rt.In))}
		}
		op["requestBody"] = object{"required": rt.InType != "" && rt.In == nil, "content": content}
	}
	return op
}

func (s *schemas) responses(rt route) object {
	status := rt.Status
	if status == 0 {
		status = http.StatusOK
	}
	ok := object{"description": http.StatusText(status)}
	switch {
	case rt.OutType != "":
		ok["content"] = object{rt.OutType: object{"schema": object{"type": "string"}}}
	case rt.Out != nil:
		ok["content"] = object{"application/json": object{"schema": s.of(reflect.TypeOf(rt.Out))}}
	}
	answers := object{strconv.Itoa(status): ok, "default": object{"$ref": "#/components/responses/Problem"}}
	if rt.Ranges {
		answers["206"] = object{"description": "Ein Stück davon (a part of it)", "content": ok["content"]}
	}
	if rt.Key != keyNone && status == http.StatusCreated {
		again := object{"description": "Schon geschehen: die erste Antwort (already done: the first answer)"}
		if ok["content"] != nil {
			again["content"] = ok["content"]
		}
		answers["200"] = again
	}
	return answers
}

func (s *schemas) parameters(rt route) []any {
	var out []any
	for _, m := range pathVariable.FindAllStringSubmatch(rt.Path, -1) {
		schema := object{"type": "string"}
		if m[1] == "id" && !strings.Contains(rt.Path, "/batches/") {
			schema["format"] = "uuid"
		}
		out = append(out, object{"name": m[1], "in": "path", "required": true, "schema": schema})
	}
	for _, name := range rt.Query {
		schema := object{"type": "string"}
		if t, ok := queryTypes[name]; ok {
			schema = t
		}
		out = append(out, object{"name": name, "in": "query", "schema": schema})
	}
	if rt.IfMatch {
		out = append(out, object{"name": "If-Match", "in": "header", "required": true, "schema": object{"type": "string"}, "description": "ETag, or *"})
	}
	if rt.Key != keyNone {
		out = append(out, object{"name": "Idempotency-Key", "in": "header", "required": rt.Key == keyObligatory, "schema": object{"type": "string", "maxLength": 200}})
	}
	return out
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, err := w.Write(s.openapi)
	return err
}
