package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"evb/storage"
)

// errExists is the 412 of a conditional put.
var errExists = errors.New("an object stands under the key")

// fault is a classified error of one attempt.
type fault struct {
	kind  error // sentinel
	retry bool
	err   error
}

func (f *fault) Error() string { return f.kind.Error() + ": " + f.err.Error() }

// Unwrap gives sentinel and cause.
func (f *fault) Unwrap() []error { return []error{f.kind, f.err} }

// classify turns an error of minio-go or the network into a fault.
func classify(err error) *fault {
	var done *fault
	if errors.As(err, &done) {
		return done
	}
	if errors.Is(err, storage.ErrCorrupt) {
		return &fault{kind: storage.ErrCorrupt, err: err}
	}
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		// No answer: refused, cut, timed out. What the server did is unknown.
		return &fault{kind: storage.ErrUnavailable, retry: true, err: err}
	}
	text := strings.ToLower(r.Message)
	switch {
	case r.StatusCode == http.StatusPreconditionFailed || r.Code == "PreconditionFailed":
		return &fault{kind: errExists, err: err}
	case r.StatusCode == http.StatusInsufficientStorage || r.Code == "InsufficientStorage" || r.Code == "XMinioStorageFull" ||
		strings.Contains(r.Code, "QuotaExceeded"):
		return &fault{kind: storage.ErrNoSpace, err: err}
	case r.Code == "NoSuchBucket":
		return &fault{kind: storage.ErrUnavailable, err: err}
	case r.Code == "NoSuchKey" || r.Code == "NoSuchVersion" || r.StatusCode == http.StatusNotFound,
		// The newest version is a delete marker, asked for by HEAD.
		r.StatusCode == http.StatusMethodNotAllowed && (r.Code == "MethodNotAllowed" || r.Code == ""):
		return &fault{kind: storage.ErrNotFound, err: err}
	case r.Code == "BadDigest" || r.Code == "InvalidDigest" || r.Code == "XAmzContentSHA256Mismatch" ||
		r.Code == "XAmzContentChecksumMismatch" || r.Code == "InvalidChecksum":
		// The sender's side was checked while reading, so the bytes were
		// changed on the way: once more may well succeed.
		return &fault{kind: storage.ErrCorrupt, retry: true, err: err}
	case r.Code == "ObjectLocked" || strings.Contains(text, "object lock") && strings.Contains(text, "protected") || strings.Contains(text, "worm protected"):
		return &fault{kind: storage.ErrLocked, err: err}
	case r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden:
		return &fault{kind: storage.ErrDenied, err: err}
	case r.StatusCode == http.StatusNotImplemented:
		return &fault{kind: storage.ErrUnavailable, err: err}
	case r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout || r.StatusCode == http.StatusConflict,
		r.Code == "RequestTimeout" || r.Code == "SlowDown" || r.Code == "IncompleteBody" || r.StatusCode == 0:
		return &fault{kind: storage.ErrUnavailable, retry: true, err: err}
	}
	// A 4xx that no other case names: the request itself is refused. Trying
	// again cannot help.
	return &fault{kind: storage.ErrUnavailable, err: err}
}

// call runs f up to cfg.Attempts times, each with its own time limit, and
// pauses in between. The result is nil or wraps a sentinel of package storage;
// when ctx itself ended, it is ctx's error.
func (s *Store) call(ctx context.Context, op string, key storage.Key, limit time.Duration, again bool, f func(context.Context) error) (attempts int, err error) {
	pause := firstPause
	for n := 1; ; n++ {
		if ctx.Err() != nil {
			return n, fmt.Errorf("%s %s: %w", op, key, ctx.Err())
		}
		one, cancel := context.WithTimeout(ctx, limit)
		err := f(one)
		cancel()
		if err == nil {
			return n, nil
		}
		if ctx.Err() != nil {
			return n, fmt.Errorf("%s %s: %w", op, key, ctx.Err())
		}
		c := classify(err)
		if !c.retry || !again || n >= s.cfg.Attempts {
			return n, fmt.Errorf("%s %s (attempt %d): %w", op, key, n, c)
		}
		// Full jitter between half and all of the pause.
		if err := s.cfg.Sleep(ctx, time.Duration(float64(pause)*(0.5+s.cfg.Rand()/2))); err != nil {
			return n, fmt.Errorf("%s %s: %w", op, key, err)
		}
		pause = min(2*pause, longestPause)
	}
}

func (s *Store) observe(op string, start time.Time, bytes int64, attempts int, err error) {
	if s.cfg.Observe != nil {
		s.cfg.Observe(Observation{Op: op, Duration: s.cfg.Now().Sub(start), Bytes: bytes, Attempts: attempts, Err: err})
	}
}
