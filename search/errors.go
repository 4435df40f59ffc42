package search

import (
	"errors"
	"fmt"
)

// Sentinel errors of an engine.
var (
	// ErrClosed is the answer of an engine after Close.
	ErrClosed = errors.New("search: index is closed")
	// ErrLocked says that another process (or another Index of this one) has
	// the folder open. Only one process can own an index folder.
	ErrLocked = errors.New("search: index folder is in use by another process")
	// ErrRebuildNeeded says that the index was made by another version of
	// mapping, analysis or options than this program's. errors.As to
	// *VersionError tells which.
	ErrRebuildNeeded = errors.New("search: index must be rebuilt")
	// ErrNotEmpty is returned by Restore when the target holds an index.
	ErrNotEmpty = errors.New("search: folder already holds an index")
	// ErrDoc says that a document cannot be indexed: no tenant or no id, or a
	// control character in one of them.
	ErrDoc = errors.New("search: document cannot be indexed")
	// ErrRebuilding says that a rebuild of this index is already running.
	ErrRebuilding = errors.New("search: a rebuild is already running")
)

// VersionError says which property of an index differs from what the program
// expects. It wraps ErrRebuildNeeded.
type VersionError struct {
	Dir      string // folder of the index
	Property string // format, mapping, dictionary, shards or iban
	Have     string // what the index was made with
	Want     string // what the program needs
}

// Error names the property and the remedy.
func (e *VersionError) Error() string {
	return fmt.Sprintf("search: index in %s was made with %s %s, the program has %s: rebuild it (evb reindex)",
		e.Dir, e.Property, e.Have, e.Want)
}

// Unwrap makes errors.Is(err, ErrRebuildNeeded) true.
func (e *VersionError) Unwrap() error { return ErrRebuildNeeded }

// Codes of a QueryError. They are stable and meant for a catalogue of texts.
const (
	// CodeTooLong: more than MaxQueryRunes. Params: limit.
	CodeTooLong = "query-too-long"
	// CodeTooManyWords: more than MaxQueryWords. Params: limit.
	CodeTooManyWords = "query-too-many-words"
	// CodePrefixTooShort: fewer than MinPrefixLetters letters before "*". Params: word, letters.
	CodePrefixTooShort = "query-prefix-too-short"
	// CodePrefixTooBroad: a prefix stands for more than MaxExpansion terms. Params: word, limit.
	CodePrefixTooBroad = "query-prefix-too-broad"
	// CodeWildcard: "*" somewhere else than at the end of a word. Params: word.
	CodeWildcard = "query-wildcard"
	// CodeUnknownField: no such field. Params: field, fields.
	CodeUnknownField = "query-unknown-field"
	// CodeFieldEmpty: a field without a value. Params: field.
	CodeFieldEmpty = "query-field-empty"
	// CodeBadDate: a date or range of dates that cannot be read. Params: field, value.
	CodeBadDate = "query-bad-date"
	// CodeBadCursor: the cursor is damaged or belongs to another query.
	CodeBadCursor = "cursor-invalid"
	// CodeCursorExpired: the index was rebuilt since; start from the first page.
	CodeCursorExpired = "cursor-expired"
	// CodeLimit: Limit, a facet size or the number of suggestions is out of range. Params: limit.
	CodeLimit = "query-limit"
	// CodeSort: unknown Sort. Params: sort.
	CodeSort = "query-sort"
	// CodeFacet: unknown Facet. Params: facet.
	CodeFacet = "query-facet"
)

// QueryError says what is wrong with a query. It is the asker's fault, not the
// engine's. Code is one of the Code constants, Params fill a text for people.
type QueryError struct {
	Code   string
	Params map[string]string
}

// Error is a short English text for logs.
func (e *QueryError) Error() string {
	if len(e.Params) == 0 {
		return "search: " + e.Code
	}
	return fmt.Sprintf("search: %s %v", e.Code, e.Params)
}

func queryErr(code string, kv ...string) *QueryError {
	e := &QueryError{Code: code}
	if len(kv) > 0 {
		e.Params = make(map[string]string, len(kv)/2)
		for i := 0; i+1 < len(kv); i += 2 {
			e.Params[kv[i]] = kv[i+1]
		}
	}
	return e
}
