package fault

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

// Kind says what class of trouble a fault is; it steers status and exit codes.
type Kind string

// The kinds, with the HTTP status they lead to.
const (
	Malformed            Kind = "malformed"             // 400
	Unauthenticated      Kind = "unauthenticated"       // 401
	Forbidden            Kind = "forbidden"             // 403, only where the thing is known to the actor
	NotFound             Kind = "not-found"             // 404, also for what the actor may not see
	Conflict             Kind = "conflict"              // 409
	Precondition         Kind = "precondition"          // 412
	TooLarge             Kind = "too-large"             // 413
	Unsupported          Kind = "unsupported"           // 415
	Invalid              Kind = "invalid"               // 422
	PreconditionRequired Kind = "precondition-required" // 428
	Limited              Kind = "limited"               // 429
	Internal             Kind = "internal"              // 500, no detail leaves the house
	Unavailable          Kind = "unavailable"           // 503
	NoSpace              Kind = "no-space"              // 507
)

// Error is a fault. It is immutable after New and safe for concurrent use.
type Error struct {
	Kind   Kind
	Code   string            // stable, for machines
	Params map[string]string // fill the sentences
	Fields []Field           // which parts of the input are wrong, may be empty
	Err    error             // the cause, for the log only
}

// Field names one wrong part of an input by JSON pointer (RFC 6901).
type Field struct {
	Pointer string
	Code    string
	Params  map[string]string
}

// New makes the fault of a code. kv are parameter names and values in turn;
// values are printed with fmt.Sprint. A code that the catalogue lacks gives an
// Internal fault with that code (the package's test finds it before people do).
func New(code string, kv ...any) *Error {
	e := &Error{Kind: Internal, Code: code, Params: params(kv)}
	if entry, ok := entries[code]; ok {
		e.Kind = entry.Kind
	}
	return e
}

// Wrap is New with the cause kept for the log.
func Wrap(err error, code string, kv ...any) *Error {
	e := New(code, kv...)
	e.Err = err
	return e
}

// With returns a copy of e that also names a wrong field.
func (e *Error) With(pointer, code string, kv ...any) *Error {
	c := *e
	c.Fields = append(append([]Field(nil), e.Fields...), Field{Pointer: pointer, Code: code, Params: params(kv)})
	return &c
}

// Error is for logs: code, parameters and cause in English.
func (e *Error) Error() string {
	s := e.Code + ": " + e.Text("en")
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Text is the sentence for people in language "de" or "en"; any other language
// gives German. It never holds the cause.
func (e *Error) Text(lang string) string { return Text(lang, e.Code, e.Params) }

// Text fills the sentence of a code. An unknown code gives the code itself.
func Text(lang, code string, params map[string]string) string {
	entry, ok := entries[code]
	if !ok {
		return code
	}
	s := entry.DE
	if lang == "en" {
		s = entry.EN
	}
	for k, v := range params {
		s = strings.ReplaceAll(s, "{"+k+"}", v)
	}
	return s
}

// As finds the fault in err's chain.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// Is reports whether err's chain holds a fault of this code.
func Is(err error, code string) bool {
	e, ok := As(err)
	return ok && e.Code == code
}

// KindOf is the kind of the fault in err's chain, else Internal.
func KindOf(err error) Kind {
	if e, ok := As(err); ok {
		return e.Kind
	}
	return Internal
}

// Codes gives every code of the catalogue with its kind, for documentation
// pages and tests. The map is the caller's.
func Codes() map[string]Entry { return maps.Clone(entries) }

func params(kv []any) map[string]string {
	if len(kv) == 0 {
		return nil
	}
	m := make(map[string]string, len(kv)/2)
	for i := 0; i+1 < len(kv); i += 2 {
		m[fmt.Sprint(kv[i])] = fmt.Sprint(kv[i+1])
	}
	return m
}
