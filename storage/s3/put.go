package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/minio/minio-go/v7"

	"evb/storage"
)

const checksumHeader = "x-amz-checksum-sha256"

// Put implements storage.Store.
func (s *Store) Put(ctx context.Context, key storage.Key, r io.Reader, size int64, opts storage.PutOptions) (info storage.Info, err error) {
	start, attempts := s.cfg.Now(), 1
	defer func() { s.observe("put", start, size, attempts, err) }()
	if err := key.Validate(); err != nil {
		return storage.Info{}, fmt.Errorf("put: %w", err)
	}
	if len(opts.SHA256) != sha256.Size || size < 0 {
		return storage.Info{}, fmt.Errorf("put %s: a SHA-256 of 32 bytes and a size are required", key)
	}
	if opts.Lock != nil {
		if err := opts.Lock.Validate(); err != nil {
			return storage.Info{}, fmt.Errorf("put %s: %w", key, err)
		}
	}
	body, err := newBody(r, size, opts.SHA256)
	if err != nil {
		return storage.Info{}, fmt.Errorf("put %s: %w", key, err)
	}
	p := &put{s: s, key: key, body: body, size: size, opts: opts, conditional: true}
	limit := s.cfg.CallTimeout + time.Duration(size/slowest)*time.Second
	attempts, err = s.call(ctx, "put", key, limit, body.seeker != nil, p.attempt)
	if err != nil {
		return storage.Info{}, err
	}
	if opts.Lock != nil && (p.info.Existed || s.lockAfterPut.Load()) {
		// A crash before this leaves the object without its lock and the put
		// unacknowledged; the repeated put comes through here again.
		if err := s.strengthen(ctx, &p.info, *opts.Lock); err != nil {
			return storage.Info{}, err
		}
	}
	return p.info, nil
}

// put is one Put with all its attempts.
type put struct {
	s           *Store
	key         storage.Key
	body        *body
	size        int64
	opts        storage.PutOptions
	conditional bool
	info        storage.Info
}

func (p *put) attempt(ctx context.Context) error {
	if p.size >= singleMax {
		return p.large(ctx)
	}
	err := p.single(ctx)
	if err == nil {
		return nil
	}
	if f := classify(err); f.kind != errExists {
		return err
	}
	err = p.existing(ctx)
	if errors.Is(err, storage.ErrNotFound) && p.conditional {
		// 412 over a delete marker: the name is free, the server counts the
		// marker. Keys of content fix their bytes, so no condition is needed.
		p.conditional = false
		return p.single(ctx)
	}
	return err
}

func (p *put) single(ctx context.Context) error {
	if err := p.body.rewind(); err != nil {
		return err
	}
	o := p.options()
	o.DisableMultipart = true
	// The digest goes into the signature instead of a signature per chunk.
	o.DisableContentSha256 = true
	o.UserMetadata = map[string]string{checksumHeader: base64.StdEncoding.EncodeToString(p.opts.SHA256)}
	if p.conditional {
		o.SetMatchETagExcept("*")
	}
	up, err := p.s.main.PutObject(ctx, p.s.cfg.Bucket, string(p.key), p.body, p.size, "", hex.EncodeToString(p.opts.SHA256), o)
	if bad := p.body.err(); bad != nil {
		return bad // the sender's own bytes are wrong, whatever the server said
	}
	if err != nil {
		return err
	}
	if up.ChecksumSHA256 != "" && up.ChecksumSHA256 != base64.StdEncoding.EncodeToString(p.opts.SHA256) {
		return &fault{kind: storage.ErrCorrupt, err: fmt.Errorf("server reports SHA-256 %s", up.ChecksumSHA256)}
	}
	p.stored(up, p.opts.SHA256)
	return nil
}

func (p *put) large(ctx context.Context) error {
	// Conditions are not honoured on multipart uploads everywhere, so ask.
	// This also finds what an attempt stored whose answer was lost.
	switch err := p.existing(ctx); {
	case err == nil:
		return nil
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	if err := p.body.rewind(); err != nil {
		return err
	}
	o := p.options()
	o.PartSize = partSize
	o.NumThreads = 2
	// Wrong bytes surface as a read error of the body, before the upload is completed.
	up, err := p.s.main.Client.PutObject(ctx, p.s.cfg.Bucket, string(p.key), p.body, p.size, o)
	if bad := p.body.err(); bad != nil {
		return bad
	}
	if err != nil {
		return err
	}
	p.stored(up, nil)
	return nil
}

func (p *put) options() minio.PutObjectOptions {
	o := minio.PutObjectOptions{ContentType: p.opts.ContentType}
	if l := p.opts.Lock; l != nil && !p.s.lockAfterPut.Load() {
		if l.Mode != storage.LockNone {
			o.Mode, o.RetainUntilDate = mode(l.Mode), wholeSeconds(l.Until)
		}
		if l.LegalHold {
			o.LegalHold = minio.LegalHoldEnabled
		}
	}
	return o
}

func (p *put) stored(up minio.UploadInfo, sum []byte) {
	p.info = storage.Info{
		Key: p.key, Size: p.size, SHA256: sum, ETag: up.ETag, VersionID: up.VersionID,
		ModTime: p.s.cfg.Now().UTC(), ContentType: p.opts.ContentType,
	}
	if p.opts.Lock != nil {
		p.info.Lock = *p.opts.Lock
		p.info.Lock.Until = wholeSeconds(p.info.Lock.Until)
	}
}

// existing compares what stands under the key with what is to be stored.
func (p *put) existing(ctx context.Context) error {
	info, err := p.s.stat(ctx, p.key)
	if err != nil {
		return classify(err)
	}
	if info.Size != p.size {
		return &fault{kind: storage.ErrConflict, err: fmt.Errorf("%d bytes are stored, %d were sent", info.Size, p.size)}
	}
	if info.SHA256 == nil {
		// The server keeps no digest (stored in parts): read and see.
		err := p.s.rehash(ctx, p.key, p.opts.SHA256, p.size)
		if errors.Is(err, storage.ErrCorrupt) {
			return &fault{kind: storage.ErrConflict, err: errors.New("the stored bytes have another SHA-256")}
		}
		if err != nil {
			return err
		}
	} else if !bytes.Equal(info.SHA256, p.opts.SHA256) {
		return &fault{kind: storage.ErrConflict, err: fmt.Errorf("SHA-256 %x is stored, %x was sent", info.SHA256, p.opts.SHA256)}
	}
	info.Existed = true
	p.info = info
	// What a sender hands in must be what it says, also when nothing is sent on.
	return p.body.drain()
}

// rehash reads the object and checks its digest.
func (s *Store) rehash(ctx context.Context, key storage.Key, want []byte, size int64) error {
	rc, _, _, err := s.main.GetObject(ctx, s.cfg.Bucket, string(key), minio.GetObjectOptions{})
	if err != nil {
		return classify(err)
	}
	v := storage.NewVerifyingReader(rc, want, size)
	_, err = io.Copy(io.Discard, v)
	return errors.Join(err, v.Close())
}

// strengthen makes the lock of an object at least want.
func (s *Store) strengthen(ctx context.Context, info *storage.Info, want storage.Lock) error {
	have := info.Lock
	if !info.Existed {
		have = storage.Lock{}
	}
	target := have
	want.Until = wholeSeconds(want.Until)
	if want.Mode != storage.LockNone && want.Until.After(have.Until) {
		target.Until = want.Until
		if have.Mode != storage.LockCompliance {
			target.Mode = want.Mode
		}
		// An existing governance period cannot become compliance without
		// bypass; prolong it as it is.
		if have.Mode == storage.LockGovernance {
			target.Mode = storage.LockGovernance
		}
	}
	target.LegalHold = have.LegalHold || want.LegalHold
	if target == have {
		return nil
	}
	if err := s.SetLock(ctx, info.Key, target, false); err != nil {
		return err
	}
	info.Lock = target
	return nil
}

func mode(m storage.LockMode) minio.RetentionMode {
	if m == storage.LockCompliance {
		return minio.Compliance
	}
	return minio.Governance
}

// wholeSeconds rounds up to a second: the protocol carries no more, and a lock
// must never end before it was asked to.
func wholeSeconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	if c := t.Truncate(time.Second); !c.Equal(t) {
		t = c.Add(time.Second)
	}
	return t.UTC().Truncate(time.Second)
}

// errBody is a read error of the caller's body; what the reader said is wrapped.
var errBody = errors.New("read body")

// body reads exactly size bytes of a source, hashing them, and fails at the
// last byte if the digest is wrong, so that a bad body is never sent whole.
type body struct {
	src    io.Reader
	seeker io.Seeker // nil if the source cannot go back
	start  int64
	size   int64
	want   []byte
	used   bool
	n      int64
	hash   hash.Hash
	fail   error
}

func newBody(r io.Reader, size int64, want []byte) (*body, error) {
	b := &body{src: r, size: size, want: want, hash: sha256.New()}
	if sk, ok := r.(io.Seeker); ok {
		at, err := sk.Seek(0, io.SeekCurrent)
		if err == nil { // a pipe is a Seeker by type only
			b.seeker, b.start = sk, at
		}
	}
	if size == 0 {
		// Nobody reads a body of no bytes, so look at it here.
		if b.check(); b.fail != nil {
			return nil, b.fail
		}
	}
	return b, nil
}

func (b *body) rewind() error {
	if !b.used {
		b.used = true
		return nil
	}
	if b.n == 0 && b.fail == nil {
		return nil
	}
	if b.seeker == nil {
		return &fault{kind: storage.ErrUnavailable, err: errors.New("the body cannot be read twice")}
	}
	if _, err := b.seeker.Seek(b.start, io.SeekStart); err != nil {
		return &fault{kind: storage.ErrUnavailable, err: fmt.Errorf("rewind body: %w", err)}
	}
	b.n, b.fail = 0, nil
	b.hash.Reset()
	return nil
}

// Read implements io.Reader for the HTTP client.
func (b *body) Read(p []byte) (int, error) {
	if b.fail != nil {
		return 0, b.fail
	}
	if b.n == b.size {
		return 0, io.EOF
	}
	if int64(len(p)) > b.size-b.n {
		p = p[:b.size-b.n]
	}
	n, err := b.src.Read(p)
	b.hash.Write(p[:n])
	b.n += int64(n)
	switch {
	case b.n == b.size:
		if b.check(); b.fail != nil {
			return 0, b.fail // the last piece is held back
		}
		return n, nil
	case err == io.EOF:
		b.fail = &fault{kind: storage.ErrCorrupt, err: fmt.Errorf("body has %d of %d bytes", b.n, b.size)}
		return 0, b.fail
	case err != nil:
		b.fail = &fault{kind: errBody, err: err}
		return n, b.fail
	}
	return n, nil
}

// check runs once all size bytes are in: digest, and nothing behind them.
func (b *body) check() {
	if sum := b.hash.Sum(nil); !bytes.Equal(sum, b.want) {
		b.fail = &fault{kind: storage.ErrCorrupt, err: fmt.Errorf("body has SHA-256 %x, announced was %x", sum, b.want)}
		return
	}
	var one [1]byte
	for range 100 {
		n, err := b.src.Read(one[:])
		if n > 0 {
			b.fail = &fault{kind: storage.ErrCorrupt, err: fmt.Errorf("body has more than the announced %d bytes", b.size)}
			return
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			b.fail = &fault{kind: errBody, err: err}
			return
		}
	}
}

func (b *body) err() error { return b.fail }

// drain reads what the client left, to know that the digest is right.
func (b *body) drain() error {
	if b.fail != nil {
		return b.fail
	}
	_, err := io.Copy(io.Discard, b)
	return err
}
