package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/minio/minio-go/v7"

	"evb/storage"
	"evb/storage/layout"
)

// probeLock is how long a probe object stays locked when nobody may override it.
const probeLock = time.Minute

// Capabilities is what a server was seen to do, not what it says it does.
type Capabilities struct {
	// Versioning is enabled on the bucket.
	Versioning bool
	// ObjectLock is enforced: deleting a locked version was refused.
	ObjectLock bool
	// LockOnPut says that the lock headers of a put take effect. Without it
	// the store sets the lock in a second call.
	LockOnPut bool
	// ConditionalPut says that If-None-Match: * is honoured.
	ConditionalPut bool
	// Checksum says that a wrong SHA-256 was refused and a right one is kept
	// and shown.
	Checksum bool
	// Separation says that the ordinary credential could not override a
	// governance lock. Not tested (false) without ObjectLock.
	Separation bool
}

// Lack is one ability that a server does not have.
type Lack struct {
	// Code is stable, for machines.
	Code string
	// Fatal says that an archive must not run on such a bucket.
	Fatal bool
	// DE and EN say what is missing and what follows from it.
	DE, EN string
}

// Missing lists what the server lacks, fatal ones first.
func (c Capabilities) Missing() []Lack {
	var out []Lack
	for _, x := range []struct {
		ok bool
		l  Lack
	}{
		{c.ObjectLock, Lack{"s3-no-object-lock", true, "Der Objektspeicher schützt gesperrte Objekte nicht vor dem Löschen (Object Lock fehlt). Ein Archiv darf darauf nicht laufen.", "The object storage does not protect locked objects from deletion (no Object Lock). An archive must not run on it."}},
		{c.Versioning, Lack{"s3-no-versioning", true, "Für den Bucket sind keine Versionen eingeschaltet. Schalten Sie die Versionierung ein.", "Versioning is not enabled on the bucket. Enable it."}},
		{c.ConditionalPut, Lack{"s3-no-conditional-put", false, "Der Objektspeicher beachtet If-None-Match nicht. Gleiche Inhalte können mehrere Versionen erhalten.", "The object storage ignores If-None-Match. Equal content may get several versions."}},
		{c.Checksum, Lack{"s3-no-checksum", false, "Der Objektspeicher führt keine SHA-256-Prüfsummen. Vorhandene Objekte werden zum Vergleich gelesen.", "The object storage keeps no SHA-256 checksums. Existing objects are read to compare them."}},
		{c.LockOnPut, Lack{"s3-no-lock-on-put", false, "Der Objektspeicher sperrt nicht beim Speichern. Die Sperre wird in einem zweiten Schritt gesetzt.", "The object storage does not lock while storing. The lock is set in a second step."}},
		{c.Separation || !c.ObjectLock, Lack{"s3-no-separation", false, "Der gewöhnliche Zugang kann Sperren aufheben. Richten Sie einen Zugang ohne s3:BypassGovernanceRetention ein.", "The ordinary credential can override locks. Set up one without s3:BypassGovernanceRetention."}},
	} {
		if !x.ok {
			out = append(out, x.l)
		}
	}
	return out
}

// Err is an error naming the first fatal lack, or nil.
func (c Capabilities) Err() error {
	for _, l := range c.Missing() {
		if l.Fatal {
			return errors.New(l.EN)
		}
	}
	return nil
}

// Probe tries the server out with objects below _probe/ and reports what it
// can; it also makes the store fit itself to a server that does not lock on
// put. Run it once at start. Objects left by earlier probes are removed as far
// as their locks allow; those of this probe go at once if the bypass
// credential is there, else at a later probe.
//
// An error means that the probe could not be made (storage.ErrUnavailable,
// storage.ErrDenied, storage.ErrNoSpace), not that something is missing.
func (s *Store) Probe(ctx context.Context) (Capabilities, error) {
	var c Capabilities
	s.sweepProbes(ctx)
	_, err := s.call(ctx, "probe", "versioning", s.cfg.CallTimeout, true, func(ctx context.Context) error {
		v, err := s.main.GetBucketVersioning(ctx, s.cfg.Bucket)
		c.Versioning = v.Enabled()
		return err
	})
	if err != nil {
		return c, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return c, fmt.Errorf("probe: %w", err)
	}
	key := layout.Probe(id)
	data := id[:]
	sum := sha256.Sum256(data)
	lock := storage.Lock{Mode: storage.LockGovernance, Until: wholeSeconds(s.cfg.Now().Add(probeLock))}
	s.lockAfterPut.Store(false)
	var up minio.UploadInfo
	_, err = s.call(ctx, "probe", key, s.cfg.CallTimeout, true, func(ctx context.Context) error {
		var err error
		up, err = s.probePut(ctx, key, data, sum[:], &lock, "")
		if err != nil && !classify(err).retry && classify(err).kind == storage.ErrUnavailable {
			// A server or bucket without Object Lock refuses the headers.
			up, err = s.probePut(ctx, key, data, sum[:], nil, "")
		}
		if err != nil && classify(err).kind == errExists {
			// The answer of an earlier attempt was lost.
			info, err := s.stat(ctx, key)
			up.VersionID = info.VersionID
			return err
		}
		return err
	})
	if err != nil {
		return c, err
	}
	defer s.sweepProbes(context.WithoutCancel(ctx))
	info, err := s.Stat(ctx, key)
	if err != nil {
		return c, err
	}
	c.LockOnPut = info.Lock == lock
	c.Checksum = bytes.Equal(info.SHA256, sum[:])
	if !c.LockOnPut {
		s.lockAfterPut.Store(true)
		if err := s.SetLock(ctx, key, lock, false); err != nil && errors.Is(err, storage.ErrUnavailable) && ctx.Err() != nil {
			return c, err
		} // a server without locks refuses; the deletion below shows it
	}
	if err := s.probeRefusals(ctx, &c, key, data, sum[:]); err != nil {
		return c, err
	}
	return c, s.probeDeletion(ctx, &c, key, up.VersionID)
}

// probeRefusals asks for what must be refused: a second put, a wrong digest.
func (s *Store) probeRefusals(ctx context.Context, c *Capabilities, key storage.Key, data, sum []byte) error {
	refused := func(key storage.Key, wrong string) (bool, error) {
		ok := false
		_, err := s.call(ctx, "probe", key, s.cfg.CallTimeout, true, func(ctx context.Context) error {
			_, err := s.probePut(ctx, key, data, sum, nil, wrong)
			if err == nil {
				ok = false
				return nil
			}
			f := classify(err)
			if f.kind == errExists || errors.Is(f, storage.ErrCorrupt) || !f.retry {
				ok = true
				return nil
			}
			return err
		})
		return ok, err
	}
	var err error
	if c.ConditionalPut, err = refused(key, ""); err != nil {
		return err
	}
	other, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	wrong := sha256.Sum256(sum)
	ok, err := refused(layout.Probe(other), base64.StdEncoding.EncodeToString(wrong[:]))
	c.Checksum = c.Checksum && ok
	return err
}

// probeDeletion asks for the deletion of the locked version, first as anybody,
// then with the override that the ordinary credential should not have.
func (s *Store) probeDeletion(ctx context.Context, c *Capabilities, key storage.Key, version string) error {
	gone := func(bypass bool) (bool, error) {
		_, err := s.call(ctx, "probe", key, s.cfg.CallTimeout, true, func(ctx context.Context) error {
			err := s.main.RemoveObject(ctx, s.cfg.Bucket, string(key), minio.RemoveObjectOptions{VersionID: version, GovernanceBypass: bypass})
			if err != nil && classify(err).retry {
				return err
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		_, err = s.Stat(ctx, key)
		if errors.Is(err, storage.ErrNotFound) {
			return true, nil
		}
		return false, err
	}
	lost, err := gone(false)
	if err != nil || lost {
		return err
	}
	c.ObjectLock = true
	lost, err = gone(true)
	c.Separation = err == nil && !lost
	return err
}

func (s *Store) probePut(ctx context.Context, key storage.Key, data, sum []byte, lock *storage.Lock, checksum string) (minio.UploadInfo, error) {
	if checksum == "" {
		checksum = base64.StdEncoding.EncodeToString(sum)
	}
	o := minio.PutObjectOptions{
		DisableMultipart: true, DisableContentSha256: true,
		UserMetadata: map[string]string{checksumHeader: checksum},
	}
	o.SetMatchETagExcept("*")
	if lock != nil {
		o.Mode, o.RetainUntilDate = mode(lock.Mode), lock.Until
	}
	return s.main.PutObject(ctx, s.cfg.Bucket, string(key), bytes.NewReader(data), int64(len(data)), "", hex.EncodeToString(sum), o)
}

// sweepProbes removes probe objects; what is still locked stays for the next time.
func (s *Store) sweepProbes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	for info, err := range s.List(ctx, "_probe/", "") {
		if err != nil {
			return
		}
		if s.DeleteVersions(ctx, info.Key, s.bypass != nil) != nil && ctx.Err() != nil {
			return
		}
	}
}
