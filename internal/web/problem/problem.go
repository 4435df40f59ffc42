// Package problem is the one place where a fault becomes an HTTP answer: the
// status from its kind and a body of RFC 9457 (application/problem+json) with
// a stable code and German and English text. It also serves the page that the
// type of a problem points to.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"golang.org/x/text/language"

	"evb/internal/fault"
)

// ContentType of the body (RFC 9457 section 3).
const ContentType = "application/problem+json"

// StatusClientGone is what log and metrics say of a request whose client went
// away; nobody reads an answer then.
const StatusClientGone = 499

// Problem is the body of an answer that is none (RFC 9457).
type Problem struct {
	Type     string            `json:"type"`
	Title    string            `json:"title"`
	Status   int               `json:"status"`
	Detail   string            `json:"detail"`
	Messages Messages          `json:"messages"`
	Code     string            `json:"code"`
	Params   map[string]string `json:"params,omitempty"`
	Instance string            `json:"instance"`
	Errors   []Field           `json:"errors,omitempty"`
}

// Messages is the detail in both languages, whatever was asked for.
type Messages struct {
	DE string `json:"de"`
	EN string `json:"en"`
}

// Field names one wrong part of the input by JSON pointer (RFC 6901).
type Field struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// titles by status: what class of trouble it is, in German and English.
var titles = map[int]Messages{
	400: {"Ungültige Anfrage", "Bad request"},
	401: {"Nicht angemeldet", "Not signed in"},
	403: {"Nicht erlaubt", "Not allowed"},
	404: {"Nicht gefunden", "Not found"},
	405: {"So nicht möglich", "Method not allowed"},
	409: {"Widerspruch", "Conflict"},
	412: {"Inzwischen geändert", "Changed meanwhile"},
	413: {"Zu groß", "Too large"},
	415: {"Art nicht unterstützt", "Unsupported type"},
	416: {"Bereich nicht vorhanden", "Range not there"},
	422: {"Inhalt nicht verwendbar", "Not usable"},
	428: {"Angabe der Fassung fehlt", "Precondition required"},
	429: {"Zu viele Versuche", "Too many attempts"},
	500: {"Fehler im Programm", "Internal error"},
	503: {"Zurzeit nicht erreichbar", "Not available"},
	507: {"Kein Platz", "Out of space"},
}

// Status is the HTTP status of a kind of fault.
func Status(kind fault.Kind) int {
	switch kind {
	case fault.Malformed:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Precondition:
		return http.StatusPreconditionFailed
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Unsupported:
		return http.StatusUnsupportedMediaType
	case fault.Invalid:
		return http.StatusUnprocessableEntity
	case fault.PreconditionRequired:
		return http.StatusPreconditionRequired
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.NoSpace:
		return http.StatusInsufficientStorage
	case fault.Internal:
	}
	return http.StatusInternalServerError
}

// statusOf is Status, but for the two codes whose status no kind has.
func statusOf(code string, kind fault.Kind) int {
	switch code {
	case "method-not-allowed":
		return http.StatusMethodNotAllowed
	case "range-not-there":
		return http.StatusRequestedRangeNotSatisfiable
	}
	return Status(kind)
}

// Fault is the fault that people are told about err: the one in its chain, or
// one for an expired deadline or a body over its limit, else "internal". What
// is internal keeps its code from people.
func Fault(err error) *fault.Error {
	var tooLarge *http.MaxBytesError
	if f, ok := fault.As(err); ok {
		if f.Kind == fault.Internal {
			return fault.Wrap(err, "internal")
		}
		return f
	}
	switch {
	case errors.As(err, &tooLarge):
		return fault.Wrap(err, "body-too-large", "limit", tooLarge.Limit)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, "request-timeout")
	}
	return fault.Wrap(err, "internal")
}

// Of is the problem that tells err to a person, in language "de" or "en".
func Of(err error, lang, requestID string) Problem {
	f := Fault(err)
	status := statusOf(f.Code, f.Kind)
	p := Problem{
		Type: "/problems/" + f.Code, Status: status, Title: Title(status, lang), Code: f.Code,
		Detail: f.Text(lang), Messages: Messages{DE: f.Text("de"), EN: f.Text("en")},
		Params: f.Params, Instance: "urn:uuid:" + requestID,
	}
	for _, x := range f.Fields {
		p.Errors = append(p.Errors, Field{Pointer: x.Pointer, Code: x.Code, Detail: fault.Text(lang, x.Code, x.Params)})
	}
	return p
}

// Title names a status in a language.
func Title(status int, lang string) string {
	t, ok := titles[status]
	if !ok {
		return http.StatusText(status)
	}
	if lang == "en" {
		return t.EN
	}
	return t.DE
}

// languages by preference of the house: German where nothing else fits.
func matcher() language.Matcher {
	return language.NewMatcher([]language.Tag{language.German, language.English})
}

// Language is "de" or "en" by Accept-Language, German by default.
func Language(r *http.Request) string {
	header := r.Header.Get("Accept-Language")
	if header == "" || len(header) > 1000 {
		return "de"
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(tags) == 0 {
		return "de"
	}
	if _, i, confidence := matcher().Match(tags...); i == 1 && confidence > language.No {
		return "en"
	}
	return "de"
}

// Write answers with the problem of err. Nothing has been written to w before.
func Write(w http.ResponseWriter, r *http.Request, requestID string, err error) Problem {
	p := Of(err, Language(r), requestID)
	WriteProblem(w, r, p)
	return p
}

// WriteProblem answers with p.
func WriteProblem(w http.ResponseWriter, r *http.Request, p Problem) {
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Disposition", "ETag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Content-Type", ContentType)
	h.Set("Content-Language", Language(r))
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Language")
	SetRetry(h, p)
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="evb"`)
	}
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead {
		return
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // the client is gone: nobody to tell
}

// SetRetry sets Retry-After on what may pass: 429 and 503.
func SetRetry(h http.Header, p Problem) {
	seconds := "5"
	if n, err := strconv.Atoi(p.Params["seconds"]); err == nil && n > 0 {
		seconds = strconv.Itoa(n)
	}
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", seconds)
	}
}
