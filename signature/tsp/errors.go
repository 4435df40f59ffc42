package tsp

import (
	"errors"
	"fmt"
	"strings"
)

// String is the name of RFC 3161.
func (s Status) String() string {
	names := [...]string{"granted", "grantedWithMods", "rejection", "waiting", "revocationWarning", "revocationNotification"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("status %d", int(s))
	}
	return names[s]
}

// String is the name of RFC 3161, "" for none.
func (f FailureInfo) String() string {
	switch f {
	case FailNone:
		return ""
	case FailBadAlg:
		return "badAlg"
	case FailBadRequest:
		return "badRequest"
	case FailBadDataFormat:
		return "badDataFormat"
	case FailTimeNotAvailable:
		return "timeNotAvailable"
	case FailUnacceptedPolicy:
		return "unacceptedPolicy"
	case FailUnacceptedExtension:
		return "unacceptedExtension"
	case FailAddInfoNotAvailable:
		return "addInfoNotAvailable"
	case FailSystemFailure:
		return "systemFailure"
	default:
		return fmt.Sprintf("failure %d", int(f))
	}
}

// RefusedError is an answer without a token. It is ErrRefused.
type RefusedError struct {
	Status  Status
	Failure FailureInfo
	// Text is what the authority says to people.
	Text string
}

// Error is one line.
func (e *RefusedError) Error() string {
	s := ErrRefused.Error() + ": " + e.Status.String()
	if e.Failure != FailNone {
		s += ", " + e.Failure.String()
	}
	if e.Text != "" {
		s += fmt.Sprintf(" (%q)", e.Text)
	}
	return s
}

// Is makes it an ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// FailedAttempt is a request and why it brought no token.
type FailedAttempt struct {
	Attempt
	Err error
}

// StampError says what became of every request. errors.Is finds the error of
// each of them.
type StampError struct {
	Attempts []FailedAttempt
}

// Error names every authority with its reason.
func (e *StampError) Error() string {
	parts := make([]string, len(e.Attempts))
	for i, a := range e.Attempts {
		parts[i] = a.URL + ": " + a.Err.Error()
	}
	return "no time-stamp: " + strings.Join(parts, "; ")
}

// Unwrap gives the errors of the attempts.
func (e *StampError) Unwrap() []error {
	out := make([]error, len(e.Attempts))
	for i, a := range e.Attempts {
		out[i] = a.Err
	}
	return out
}

// Unreachable reports whether no authority answered at all: the part is missing,
// rather than unwilling or wrong.
func (e *StampError) Unreachable() bool {
	for _, a := range e.Attempts {
		if !errors.Is(a.Err, ErrUnreachable) && !errors.Is(a.Err, ErrLost) {
			return false
		}
	}
	return true
}
