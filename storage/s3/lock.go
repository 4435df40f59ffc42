package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/minio/minio-go/v7"

	"evb/storage"
)

// credential picks the client; bypass without that credential is ErrDenied.
func (s *Store) credential(bypass bool) (*minio.Core, error) {
	if !bypass {
		return s.main, nil
	}
	if s.bypass == nil {
		return nil, fmt.Errorf("no credential to override locks is configured: %w", storage.ErrDenied)
	}
	return s.bypass, nil
}

// SetLock implements storage.Store.
func (s *Store) SetLock(ctx context.Context, key storage.Key, lock storage.Lock, bypass bool) (err error) {
	start, attempts := s.cfg.Now(), 1
	defer func() { s.observe("lock", start, 0, attempts, err) }()
	if err := key.Validate(); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if err := lock.Validate(); err != nil {
		return fmt.Errorf("lock %s: %w", key, err)
	}
	c, err := s.credential(bypass)
	if err != nil {
		return fmt.Errorf("lock %s: %w", key, err)
	}
	lock.Until = wholeSeconds(lock.Until)
	attempts, err = s.call(ctx, "lock", key, s.cfg.CallTimeout, true, func(ctx context.Context) error {
		have, err := s.stat(ctx, key)
		if err != nil {
			return err
		}
		if lock.LegalHold && !have.Lock.LegalHold {
			if err := s.hold(ctx, c, key, minio.LegalHoldEnabled); err != nil {
				return err
			}
		}
		if lock.Mode != storage.LockNone && (lock.Mode != have.Lock.Mode || !lock.Until.Equal(have.Lock.Until)) {
			m, until := mode(lock.Mode), lock.Until
			err := c.PutObjectRetention(ctx, s.cfg.Bucket, string(key), minio.PutObjectRetentionOptions{
				Mode: &m, RetainUntilDate: &until, GovernanceBypass: bypass,
			})
			if err != nil {
				return weakening(err, have.Lock, lock)
			}
		}
		if !lock.LegalHold && have.Lock.LegalHold {
			return s.hold(ctx, c, key, minio.LegalHoldDisabled)
		}
		return nil
	})
	return err
}

func (s *Store) hold(ctx context.Context, c *minio.Core, key storage.Key, st minio.LegalHoldStatus) error {
	return c.PutObjectLegalHold(ctx, s.cfg.Bucket, string(key), minio.PutObjectLegalHoldOptions{Status: &st})
}

// weakening tells a lock's refusal from a missing permission: servers use the
// same code for both, but only a weaker lock is refused for the lock's sake.
func weakening(err error, have, want storage.Lock) error {
	f := classify(err)
	weaker := have.Mode != storage.LockNone && (want.Until.Before(have.Until) || want.Mode != have.Mode)
	if weaker && !f.retry {
		return &fault{kind: storage.ErrLocked, err: err}
	}
	return f
}

// DeleteVersions implements storage.Store.
func (s *Store) DeleteVersions(ctx context.Context, key storage.Key, bypass bool) (err error) {
	start, attempts := s.cfg.Now(), 1
	defer func() { s.observe("delete", start, 0, attempts, err) }()
	if err := key.Validate(); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	c, err := s.credential(bypass)
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	attempts, err = s.call(ctx, "delete", key, s.cfg.CallTimeout, true, func(ctx context.Context) error {
		return s.deleteAll(ctx, c, key, bypass)
	})
	return err
}

// deleteAll removes versions, newest first, until none is listed. A crash in
// between leaves older versions, with the same bytes under a content key.
func (s *Store) deleteAll(ctx context.Context, c *minio.Core, key storage.Key, bypass bool) error {
	var versions []string
	opts := minio.ListObjectsOptions{Prefix: string(key), Recursive: true, WithVersions: true}
	for o := range c.ListObjectsIter(ctx, s.cfg.Bucket, opts) {
		if o.Err != nil {
			return o.Err
		}
		if o.Key != string(key) {
			break // in byte order the key itself comes first
		}
		versions = append(versions, o.VersionID)
	}
	if ctx.Err() != nil {
		return ctx.Err() // the iterator ends silently then
	}
	for _, v := range versions {
		err := c.RemoveObject(ctx, s.cfg.Bucket, string(key), minio.RemoveObjectOptions{VersionID: v, GovernanceBypass: bypass})
		if err == nil {
			continue
		}
		f := classify(err)
		if errors.Is(f, storage.ErrNotFound) {
			continue
		}
		if errors.Is(f, storage.ErrDenied) {
			// Servers answer a locked object with plain 403 too.
			if info, serr := s.stat(ctx, key); serr == nil &&
				(info.Lock.LegalHold || info.Lock.Mode != storage.LockNone && info.Lock.Until.After(s.cfg.Now())) {
				return &fault{kind: storage.ErrLocked, err: err}
			}
		}
		return f
	}
	return nil
}
