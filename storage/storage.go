package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Errors of every Store. They are wrapped with the key and the call, so test
// with errors.Is.
var (
	// ErrNotFound says that there is no object under the key (also when its
	// newest version is a delete marker).
	ErrNotFound = errors.New("object not found")
	// ErrConflict says that other bytes already stand under the key. It is
	// never healed by trying again.
	ErrConflict = errors.New("other bytes are stored under this key")
	// ErrLocked says that a retention period or a legal hold forbids the call,
	// or that the credential in use may not override it.
	ErrLocked = errors.New("object is locked")
	// ErrUnavailable says that the server did not answer, answered too late or
	// with a fault of its own (5xx). Bounded retries were made already; the
	// caller may try later. The outcome of a Put is open.
	ErrUnavailable = errors.New("object storage is unavailable")
	// ErrNoSpace says that the server has no room (HTTP 507 or its like). The
	// object was not stored; reading goes on.
	ErrNoSpace = errors.New("object storage is full")
	// ErrCorrupt says that bytes do not agree with their SHA-256 or size:
	// on Put those sent, on reading those received.
	ErrCorrupt = errors.New("object bytes do not match their digest")
	// ErrBadKey says that a key is empty or not of the form [Key.Validate] asks for.
	ErrBadKey = errors.New("malformed object key")
	// ErrDenied says that the server refused the credential (401, 403) for a
	// reason other than a lock.
	ErrDenied = errors.New("object storage refused the credential")
)

// MaxKeyBytes is the greatest length of a Key in bytes (S3 allows 1024; file
// systems below a server often stop at 255 for one part).
const MaxKeyBytes = 512

// Key is the name of an object. Only package storage/layout builds keys; the
// zero value is no key and refused with ErrBadKey.
type Key string

// Validate reports ErrBadKey unless k is 1 to MaxKeyBytes bytes of lower-case
// letters, digits, '-', '_', '.' in parts separated by single slashes, with no
// part empty, longer than 200 bytes or starting with a dot. Safe on file
// systems and in URLs without escaping.
func (k Key) Validate() error {
	if k == "" || len(k) > MaxKeyBytes {
		return fmt.Errorf("key of %d bytes: %w", len(k), ErrBadKey)
	}
	part := 0
	for i := range len(k) {
		switch c := k[i]; {
		case c == '/':
			if part == 0 {
				return fmt.Errorf("key %q: empty part: %w", string(k), ErrBadKey)
			}
			part = 0
			continue
		case c == '.' && part == 0:
			return fmt.Errorf("key %q: part starts with a dot: %w", string(k), ErrBadKey)
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("key %q: character %q: %w", string(k), c, ErrBadKey)
		}
		if part++; part > 200 {
			return fmt.Errorf("key %q: part too long: %w", string(k), ErrBadKey)
		}
	}
	if part == 0 {
		return fmt.Errorf("key %q: ends with a slash: %w", string(k), ErrBadKey)
	}
	return nil
}

// LockMode is the mode of a retention period (S3 Object Lock).
type LockMode string

// The lock modes. The zero value means no retention period.
const (
	// LockNone is the absence of a retention period.
	LockNone LockMode = ""
	// LockGovernance can be shortened or overridden by the bypass credential.
	LockGovernance LockMode = "governance"
	// LockCompliance can be shortened by nobody before its end.
	LockCompliance LockMode = "compliance"
)

// Lock is what forbids the deletion of an object.
type Lock struct {
	// Mode of the retention period; LockNone for none.
	Mode LockMode
	// Until is the end of the retention period in UTC, whole seconds; zero
	// exactly when Mode is LockNone.
	Until time.Time
	// LegalHold forbids deletion without an end, besides the period.
	LegalHold bool
}

// Validate reports an error for an unknown mode, a period without an end or an
// end without a mode.
func (l Lock) Validate() error {
	switch l.Mode {
	case LockNone:
		if !l.Until.IsZero() {
			return errors.New("lock has an end but no mode")
		}
	case LockGovernance, LockCompliance:
		if l.Until.IsZero() {
			return fmt.Errorf("lock of mode %s has no end", l.Mode)
		}
	default:
		return fmt.Errorf("unknown lock mode %q", l.Mode)
	}
	return nil
}

// PutOptions go with a Put.
type PutOptions struct {
	// SHA256 is the digest of the bytes, 32 bytes, required. The store
	// compares it with what it read and, where the server can, has the server
	// check it too.
	SHA256 []byte
	// Lock is set in the same call as the bytes; nil for none. When the same
	// bytes exist already, their lock is strengthened up to this one where it
	// is weaker, and never weakened. Either way it is in force when Put returns.
	Lock *Lock
	// ContentType is the media type; empty means application/octet-stream.
	ContentType string
}

// Range is a part of an object in bytes. The zero value means all of it.
type Range struct {
	// Offset is the first byte, from 0.
	Offset int64
	// Length is the number of bytes; 0 means up to the end. A range reaching
	// over the end is cut there.
	Length int64
}

// Info describes a stored object.
type Info struct {
	// Key is the object's name.
	Key Key
	// Size in bytes.
	Size int64
	// SHA256 as the server keeps it, 32 bytes; nil where the server keeps
	// none (multipart objects). It is the server's word, not a proof: read
	// through a VerifyingReader for that.
	SHA256 []byte
	// ETag as the server gives it, without quotes. Opaque.
	ETag string
	// VersionID of the newest version; empty on servers without versions.
	VersionID string
	// ModTime is the server's time of storing, UTC.
	ModTime time.Time
	// ContentType as given at Put.
	ContentType string
	// Lock as it is in force. List leaves it zero.
	Lock Lock
	// Existed is set by Put when the same bytes were there before.
	Existed bool
}

// Store is a write-once object store. All methods are safe for concurrent use,
// keep to the context and have time limits of their own besides.
type Store interface {
	// Put stores size bytes of r under key, or finds that they are there.
	//
	// It is create-only and atomic: no reader ever sees a part, and existing
	// bytes are never replaced. Identical bytes under the key are success with
	// Info.Existed; other bytes are ErrConflict. So Put is idempotent, and of
	// several concurrent calls with the same bytes all succeed.
	//
	// On transient faults Put tries again within bounds if r is an io.Seeker
	// (it goes back to where r stood at the call), else not. r is not closed.
	// Fewer or more bytes than size, or bytes that do not match
	// opts.SHA256, are ErrCorrupt and nothing stays stored that was not there.
	//
	// Errors: ErrBadKey, ErrConflict, ErrCorrupt, ErrNoSpace, ErrDenied,
	// ErrUnavailable.
	Put(ctx context.Context, key Key, r io.Reader, size int64, opts PutOptions) (Info, error)

	// Get opens a part of the object, or all of it. The caller closes the
	// reader. Faults while opening are retried, faults while reading are
	// returned by Read as errors of this package (ErrUnavailable if the
	// stream breaks off; a short read without an error does not happen). The
	// bytes are not verified: wrap the reader with NewVerifyingReader where
	// they leave the house. An Offset at or past the end gives an empty
	// stream. The context must live as long as the reader is in use.
	//
	// Errors: ErrBadKey, ErrNotFound, ErrDenied, ErrUnavailable.
	Get(ctx context.Context, key Key, rng Range) (io.ReadCloser, Info, error)

	// Stat describes the object with its lock. It is repeatable and retried.
	//
	// Errors: ErrBadKey, ErrNotFound, ErrDenied, ErrUnavailable.
	Stat(ctx context.Context, key Key) (Info, error)

	// SetLock brings period and legal hold to the given lock. Mode LockNone
	// leaves the period as it is; LegalHold is set or lifted as told. A period
	// can always be prolonged; shortening a governance period or making it a
	// compliance period needs bypass, and a compliance period can only be
	// prolonged. It is repeatable; period and hold are two calls to the
	// server, hold first when it is set and last when it is lifted, so a crash
	// in between leaves the object locked at least as much as one of the two
	// states. Read it back with Stat.
	//
	// Errors: ErrBadKey, ErrNotFound, ErrLocked, ErrDenied, ErrUnavailable.
	SetLock(ctx context.Context, key Key, lock Lock, bypass bool) error

	// DeleteVersions removes every version of the object and every delete
	// marker, so that nothing is left under the key. No object is success: the
	// call is repeatable and a crash in between is healed by repeating it.
	// With bypass the governance period is overridden, if the store was given
	// the credential for that; compliance and legal hold never are. Only the
	// disposal path and the sweeper of unreferenced objects call it with bypass.
	//
	// Errors: ErrBadKey, ErrLocked (nothing or a part of the versions is
	// gone), ErrDenied, ErrUnavailable.
	DeleteVersions(ctx context.Context, key Key, bypass bool) error

	// List yields the newest version of each object whose key starts with
	// prefix and is greater than after, in byte order of the keys, pages
	// fetched as they are used. Key, Size, ETag and ModTime are filled. Objects
	// put or deleted meanwhile may or may not appear. The first error ends the
	// sequence; go on with the last key seen as after.
	//
	// Errors: ErrDenied, ErrUnavailable.
	List(ctx context.Context, prefix string, after Key) iter.Seq2[Info, error]
}
