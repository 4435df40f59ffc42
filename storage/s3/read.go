package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"evb/storage"
)

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, key storage.Key) (info storage.Info, err error) {
	start, attempts := s.cfg.Now(), 1
	defer func() { s.observe("stat", start, 0, attempts, err) }()
	if err := key.Validate(); err != nil {
		return storage.Info{}, fmt.Errorf("stat: %w", err)
	}
	attempts, err = s.call(ctx, "stat", key, s.cfg.CallTimeout, true, func(ctx context.Context) error {
		var err error
		info, err = s.stat(ctx, key)
		return err
	})
	return info, err
}

func (s *Store) stat(ctx context.Context, key storage.Key) (storage.Info, error) {
	o, err := s.main.StatObject(ctx, s.cfg.Bucket, string(key), minio.StatObjectOptions{Checksum: true})
	if err != nil {
		return storage.Info{}, err
	}
	return toInfo(key, o)
}

// toInfo reads the lock from the headers: GetObjectRetention of minio-go does
// not understand every server's XML.
func toInfo(key storage.Key, o minio.ObjectInfo) (storage.Info, error) {
	info := storage.Info{
		Key: key, Size: o.Size, ETag: o.ETag, VersionID: o.VersionID,
		ModTime: o.LastModified.UTC(), ContentType: o.ContentType,
	}
	if sum, err := base64.StdEncoding.DecodeString(o.ChecksumSHA256); err == nil && len(sum) == 32 {
		info.SHA256 = sum // "…-3" of a multipart object does not decode and is no digest of the bytes
	}
	h := o.Headers
	switch m := h.Get("X-Amz-Object-Lock-Mode"); strings.ToUpper(m) {
	case "":
	case "GOVERNANCE":
		info.Lock.Mode = storage.LockGovernance
	case "COMPLIANCE":
		info.Lock.Mode = storage.LockCompliance
	default:
		return storage.Info{}, fmt.Errorf("unknown lock mode %q", m)
	}
	if info.Lock.Mode != storage.LockNone {
		t, err := time.Parse(time.RFC3339, h.Get("X-Amz-Object-Lock-Retain-Until-Date"))
		if err != nil {
			return storage.Info{}, fmt.Errorf("lock of %s: %w", key, err)
		}
		info.Lock.Until = t.UTC()
	}
	info.Lock.LegalHold = strings.EqualFold(h.Get("X-Amz-Object-Lock-Legal-Hold"), "ON")
	return info, nil
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key storage.Key, rng storage.Range) (rc io.ReadCloser, info storage.Info, err error) {
	start, attempts := s.cfg.Now(), 1
	defer func() { s.observe("get", start, info.Size, attempts, err) }()
	if err := key.Validate(); err != nil {
		return nil, storage.Info{}, fmt.Errorf("get: %w", err)
	}
	if rng.Offset < 0 || rng.Length < 0 {
		return nil, storage.Info{}, fmt.Errorf("get %s: range %d+%d is negative", key, rng.Offset, rng.Length)
	}
	var o minio.GetObjectOptions
	if rng != (storage.Range{}) {
		end := int64(-1)
		if rng.Length > 0 {
			end = rng.Offset + rng.Length - 1
		}
		o.Set("Range", rangeHeader(rng.Offset, end))
	}
	o.Checksum = true
	attempts, err = s.call(ctx, "get", key, s.cfg.CallTimeout, true, func(context.Context) error {
		// The stream outlives this function, so it has a context of its own
		// with a watch on progress instead of the time limit of the call.
		sctx, cancel := context.WithCancelCause(ctx)
		watch := time.AfterFunc(s.cfg.CallTimeout, func() { cancel(errStalled) })
		body, oi, hdr, err := s.main.GetObject(sctx, s.cfg.Bucket, string(key), o)
		watch.Stop() // until the first read the consumer may take its time
		if err != nil {
			cancel(nil)
			var r minio.ErrorResponse
			if errors.As(err, &r) && (r.StatusCode == http.StatusRequestedRangeNotSatisfiable || r.Code == "InvalidRange") {
				return errRange
			}
			return err
		}
		if info, err = toInfo(key, oi); err != nil {
			cancel(nil)
			_ = body.Close()
			return err
		}
		left := info.Size
		if total, ok := totalOf(hdr.Get("Content-Range")); ok {
			info.Size = total
		}
		rc = &stream{ctx: sctx, parent: ctx, cancel: cancel, watch: watch, idle: s.cfg.CallTimeout, body: body, left: left, key: key}
		return nil
	})
	if errors.Is(err, errRange) {
		info, err = s.Stat(ctx, key)
		if err != nil {
			return nil, storage.Info{}, err
		}
		return http.NoBody, info, nil
	}
	if err != nil {
		return nil, storage.Info{}, err
	}
	return rc, info, nil
}

var (
	errStalled = errors.New("no byte arrived within the time limit")
	errRange   = &fault{kind: errors.New("range behind the end"), err: errors.New("416")}
)

func rangeHeader(from, to int64) string {
	if to < 0 {
		return "bytes=" + strconv.FormatInt(from, 10) + "-"
	}
	return "bytes=" + strconv.FormatInt(from, 10) + "-" + strconv.FormatInt(to, 10)
}

// totalOf reads the size of the whole object from a Content-Range header.
func totalOf(h string) (int64, bool) {
	_, total, ok := strings.Cut(h, "/")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(total, 10, 64)
	return n, err == nil && n >= 0
}

// stream is an open object. A timer cancels the request when a read takes too long.
type stream struct {
	ctx    context.Context
	parent context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
	idle   time.Duration
	body   io.ReadCloser
	left   int64 // bytes still announced
	key    storage.Key
	end    error
}

// Read implements io.Reader.
func (r *stream) Read(p []byte) (int, error) {
	if r.end != nil {
		return 0, r.end
	}
	r.watch.Reset(r.idle)
	n, err := r.body.Read(p)
	r.watch.Stop() // the consumer may take its time
	r.left -= int64(n)
	switch {
	case err == nil:
		return n, nil
	case r.parent.Err() != nil:
		r.end = r.parent.Err()
	case err == io.EOF && r.left == 0:
		r.end = io.EOF
	case err == io.EOF:
		r.end = fmt.Errorf("read %s: stream ended %d bytes early: %w", r.key, r.left, storage.ErrUnavailable)
	case r.left == 0 && strings.HasPrefix(err.Error(), "checksum mismatch"):
		// minio-go compares with the digest the server keeps, and names its
		// error by text only. All bytes came: they are others than were stored.
		r.end = fmt.Errorf("read %s: %w: %w", r.key, storage.ErrCorrupt, err)
	default:
		if cause := context.Cause(r.ctx); cause != nil {
			err = cause
		}
		r.end = fmt.Errorf("read %s: %w: %w", r.key, storage.ErrUnavailable, err)
	}
	return n, r.end
}

// Close ends the request.
func (r *stream) Close() error {
	r.watch.Stop()
	r.cancel(nil)
	return r.body.Close()
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, prefix string, after storage.Key) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		start := s.cfg.Now()
		last, fails, pause := after, 0, firstPause
		var n int64
		for {
			before := last
			err, stopped := s.listFrom(ctx, prefix, &last, &n, yield)
			if stopped || err == nil {
				s.observe("list", start, n, fails+1, nil)
				return
			}
			if last != before {
				fails, pause = 0, firstPause // progress was made
			}
			fails++
			c := classify(err)
			if ctx.Err() != nil {
				err = fmt.Errorf("list %s: %w", prefix, ctx.Err())
			} else if c.retry && fails < s.cfg.Attempts {
				if s.cfg.Sleep(ctx, time.Duration(float64(pause)*(0.5+s.cfg.Rand()/2))) == nil {
					pause = min(2*pause, longestPause)
					continue
				}
				err = fmt.Errorf("list %s: %w", prefix, ctx.Err())
			} else {
				err = fmt.Errorf("list %s (attempt %d): %w", prefix, fails, c)
			}
			s.observe("list", start, n, fails, err)
			yield(storage.Info{}, err)
			return
		}
	}
}

func (s *Store) listFrom(ctx context.Context, prefix string, last *storage.Key, n *int64, yield func(storage.Info, error) bool) (err error, stopped bool) {
	lctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(s.cfg.CallTimeout, func() { cancel(errStalled) })
	defer watch.Stop()
	opts := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: string(*last)}
	for o := range s.main.ListObjectsIter(lctx, s.cfg.Bucket, opts) {
		if o.Err != nil {
			return o.Err, false
		}
		if o.Key <= string(*last) || strings.HasSuffix(o.Key, "/") {
			continue
		}
		watch.Stop() // the consumer may take its time
		*last = storage.Key(o.Key)
		*n++
		if !yield(storage.Info{Key: *last, Size: o.Size, ETag: o.ETag, VersionID: o.VersionID, ModTime: o.LastModified.UTC()}, nil) {
			return nil, true
		}
		watch.Reset(s.cfg.CallTimeout)
	}
	return context.Cause(lctx), false
}
