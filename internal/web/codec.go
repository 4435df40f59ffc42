package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/idempotency"
)

// Limits of pages of lists (contract 3).
const (
	defaultLimit = 50
	maxLimit     = 200
)

// list is how every list is answered. Total is null where nobody counted.
type list[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
	Total      *int64  `json:"total"`
}

func newList[S, T any](in []S, view func(S) T, next string, total *int64) list[T] {
	l := list[T]{Items: make([]T, 0, len(in)), Total: total}
	for _, x := range in {
		l.Items = append(l.Items, view(x))
	}
	if next != "" {
		l.NextCursor = &next
	}
	return l
}

// countedOn asks for the total of a list when the request wants it.
func countedOn(r *http.Request, total func() (int64, error)) (*int64, error) {
	wanted, err := queryBool(r, "count")
	if err != nil || !wanted {
		return nil, err
	}
	n, err := total()
	return &n, err
}

// writeWhole answers with a list that is read whole and is short: all of it, or
// the part that limit and cursor name. Its cursor is the number of lines before.
func writeWhole[S, T any](w http.ResponseWriter, r *http.Request, all []S, view func(S) T) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	from := 0
	if cursor != "" {
		if from, err = strconv.Atoi(cursor); err != nil || from < 0 {
			return fault.New("parameter-invalid", "name", "cursor", "value", cursor)
		}
	}
	part, next := all[min(from, len(all)):], ""
	if r.URL.Query().Get("limit") != "" && len(part) > limit {
		part, next = part[:limit], strconv.Itoa(from+limit)
	}
	return writeJSON(w, http.StatusOK, newList(part, view, next, count(len(all))))
}

// mapped is view over in, never nil: an empty list is [] in JSON.
func mapped[S, T any](in []S, view func(S) T) []T {
	out := make([]T, 0, len(in))
	for _, x := range in {
		out = append(out, view(x))
	}
	return out
}

func count(n int) *int64 {
	c := int64(n)
	return &c
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err := w.Write(buf.Bytes())
	return err
}

// writeVersioned answers something with a row version, as ETag.
func writeVersioned(w http.ResponseWriter, status int, rowVersion int64, v any) error {
	w.Header().Set("ETag", etag(rowVersion))
	return writeJSON(w, status, v)
}

func etag(rowVersion int64) string { return `"` + strconv.FormatInt(rowVersion, 10) + `"` }

// ifMatch is the row version that a write expects; 0 for "*".
func ifMatch(r *http.Request) (int64, error) {
	value := strings.TrimSpace(r.Header.Get("If-Match"))
	if value == "" {
		return 0, fault.New("if-match-missing")
	}
	if value == "*" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64)
	if err != nil || n <= 0 {
		return 0, fault.New("if-match-invalid", "value", value)
	}
	return n, nil
}

// ifMatchGiven is ifMatch where the header is honoured and not obligatory; 0
// when it is absent.
func ifMatchGiven(r *http.Request) (int64, error) {
	if r.Header.Get("If-Match") == "" {
		return 0, nil
	}
	return ifMatch(r)
}

// pathVar is a variable of the path. The router matches the encoded path, so
// that an encoded slash stays in the name it belongs to.
func pathVar(r *http.Request, name string) string {
	v := mux.Vars(r)[name]
	if plain, err := url.PathUnescape(v); err == nil {
		return plain
	}
	return v
}

func pathID(r *http.Request) (uuid.UUID, error) { return parseID(pathVar(r, "id")) }

func parseID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return uuid.Nil, fault.New("invalid-id", "value", s)
	}
	return id, nil
}

// queryID is a query parameter that is an id; the nil UUID when absent.
func queryID(r *http.Request, name string) (uuid.UUID, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return uuid.Nil, nil
	}
	return parseID(v)
}

// page reads limit and cursor.
func page(r *http.Request) (cursor string, limit int, err error) {
	q := r.URL.Query()
	limit, err = queryInt(r, "limit", defaultLimit)
	if err == nil && (limit < 1 || limit > maxLimit) {
		err = fault.New("parameter-invalid", "name", "limit", "value", q.Get("limit"))
	}
	return q.Get("cursor"), limit, err
}

func queryInt(r *http.Request, name string, otherwise int) (int, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, fault.New("parameter-invalid", "name", name, "value", v)
	}
	return n, nil
}

func queryBool(r *http.Request, name string) (bool, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fault.New("parameter-invalid", "name", name, "value", v)
	}
	return b, nil
}

// queryOneOf is a query parameter with few values; empty when absent.
func queryOneOf[T ~string](r *http.Request, name string, values ...T) (T, error) {
	return oneOf(name, T(r.URL.Query().Get(name)), values)
}

func oneOf[T ~string](name string, v T, values []T) (T, error) {
	if v == "" || slices.Contains(values, v) {
		return v, nil
	}
	return "", fault.New("parameter-invalid", "name", name, "value", v)
}

// queryTime reads RFC 3339, or a date as the beginning of that day in UTC.
func queryTime(r *http.Request, name string) (time.Time, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, v); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New("parameter-invalid", "name", name, "value", v)
}

// decode reads a JSON body. Unknown fields are errors: a mistyped field must
// not be lost in silence. An absent body is an empty object.
func decode(r *http.Request, into any) error {
	if t := r.Header.Get("Content-Type"); t != "" {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
			return fault.New("body-unsupported", "wanted", "application/json")
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return bodyFault(err)
	}
	return unmarshal(body, into)
}

func unmarshal(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return jsonFault(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fault.New("body-not-json", "reason", "more than one value")
	}
	return nil
}

func jsonFault(err error) error {
	if _, ok := fault.As(err); ok {
		return err
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fault.Wrap(err, "body-field-unknown", "field", name)
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		f := fault.Wrap(err, "body-not-json", "reason", wrong.Field+": "+wrong.Value)
		return f.With("/"+strings.ReplaceAll(wrong.Field, ".", "/"), "parameter-invalid", "name", wrong.Field, "value", wrong.Value)
	}
	return fault.Wrap(err, "body-not-json", "reason", strings.TrimPrefix(err.Error(), "json: "))
}

// bodyFault tells a body that broke off from one that is too large.
func bodyFault(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	return fault.Wrap(err, "multipart-invalid")
}

// date is a local date without a zone in JSON: 2025-11-21, or empty.
type date struct{ day time.Time }

// IsZero says that no date was given.
func (d date) IsZero() bool { return d.day.IsZero() }

func (d *date) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	t, err := time.Parse(time.DateOnly, string(b))
	if err != nil {
		return fault.New("date-invalid", "value", string(b))
	}
	d.day = t
	return nil
}

// dateText is a date for an answer; null when there is none.
func dateText(t *time.Time) *string {
	if t == nil || t.IsZero() {
		return nil
	}
	s := t.Format(time.DateOnly)
	return &s
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return timeOrNil(*t)
}

func idOrNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// change reads what every write to a known object brings: the id of the path,
// If-Match, and the body.
func change[T any](r *http.Request) (id uuid.UUID, version int64, body T, err error) {
	if id, err = pathID(r); err != nil {
		return
	}
	if version, err = ifMatch(r); err != nil {
		return
	}
	err = decode(r, &body)
	return
}

type handler = func(http.ResponseWriter, *http.Request) error

// one answers the object that the path names.
func one[T any](use func(context.Context, access.Actor, uuid.UUID) (T, error), answer func(http.ResponseWriter, T) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r)
		if err != nil {
			return err
		}
		x, err := use(r.Context(), actorOf(r), id)
		if err != nil {
			return err
		}
		return answer(w, x)
	}
}

// changed answers a write to the object that the path names: the object as it
// is then.
func changed[B, T any](use func(ctx context.Context, a access.Actor, id uuid.UUID, version int64, body B) (T, error), answer func(http.ResponseWriter, T) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, version, body, err := change[B](r)
		if err != nil {
			return err
		}
		x, err := use(r.Context(), actorOf(r), id, version, body)
		if err != nil {
			return err
		}
		return answer(w, x)
	}
}

// reasonBody is the body of acts that a person explains.
type reasonBody struct {
	Reason string `json:"reason,omitempty"`
}

// explained is changed for acts that take a reason and nothing else.
func explained[T any](use func(ctx context.Context, a access.Actor, id uuid.UUID, reason string, version int64) (T, error), answer func(http.ResponseWriter, T) error) handler {
	return changed(func(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b reasonBody) (T, error) {
		return use(ctx, a, id, b.Reason, version)
	}, answer)
}

// idOf is the id of an optional field; the nil UUID for an absent one.
func idOf(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}

// keyOf is the Idempotency-Key of a request; empty when it has none and none
// is obligatory.
func keyOf(r *http.Request, obligatory bool) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		if obligatory {
			return "", fault.New("idempotency-key-missing")
		}
		return "", nil
	}
	return key, idempotency.ValidKey(key)
}

// made is what a POST that creates answers.
type made struct {
	rowVersion int64
	view       any
	location   string
	replayed   bool // an earlier request with the key made it
}

// creating answers a POST that makes something from JSON. Its use case keeps
// the Idempotency-Key in the transaction of its work, so that a repetition gets
// the first answer.
func creating[T any](s *Server, w http.ResponseWriter, r *http.Request, use func(ctx context.Context, a access.Actor, key idempotency.Key, body T) (made, error)) error {
	name, err := keyOf(r, false)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := decode(r, &raw); err != nil {
		return err
	}
	var body T
	if err := unmarshal(raw, &body); err != nil {
		return err
	}
	key := idempotency.Key{Name: name, Digest: idempotency.Digest(s.o.DigestKey, []byte(r.Method+" "+r.URL.Path), raw)}
	m, err := use(r.Context(), actorOf(r), key, body)
	if err != nil {
		return err
	}
	w.Header().Set("Location", m.location)
	replayed(w, m.replayed)
	return writeVersioned(w, http.StatusCreated, m.rowVersion, m.view)
}

func replayed(w http.ResponseWriter, yes bool) {
	if yes {
		w.Header().Set("Idempotent-Replayed", "true")
	}
}
