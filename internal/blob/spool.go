package blob

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"evb/internal/failpoint"
	"evb/internal/fault"
)

var afterSpool = failpoint.New("intake-1-spooled", "body in the spool, hashed; nothing else")

// Spool is a private folder for bodies on their way in and for the files that
// tools make of them. What lies in it is nobody's: a crash leaves it behind and
// the next NewSpool on the folder removes it. Safe for concurrent use.
type Spool struct {
	dir  string
	lock *os.File
}

const lockName = "lock"

// NewSpool makes a spool below dir. Several processes may share dir: each gets
// a folder of its own, held by a lock that ends with the process, and removes
// the folders whose lock is free.
func NewSpool(dir string) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	root, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	defer func() { _ = root.Close() }()
	// One process at a time makes and removes folders, so none is taken for
	// left over between its making and its locking.
	if err := flock(root, syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	if err := removeLeftOver(dir); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	own, err := os.MkdirTemp(dir, "p-")
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(own, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := flock(lock, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("spool %s: %w", own, err)
	}
	return &Spool{dir: own, lock: lock}, nil
}

func removeLeftOver(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "p-*"))
	if err != nil {
		return err
	}
	for _, p := range old {
		l, err := os.OpenFile(filepath.Join(p, lockName), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			continue // not ours to judge
		}
		free := flock(l, syscall.LOCK_EX|syscall.LOCK_NB) == nil
		if free {
			err = os.RemoveAll(p)
		}
		_ = l.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Dir is the process's own folder of the spool.
func (s *Spool) Dir() string { return s.dir }

// Close removes the folder with all that lies in it.
func (s *Spool) Close() error {
	err := os.RemoveAll(s.dir)
	return errors.Join(err, s.lock.Close())
}

// Make makes an empty file for the output of a tool; pattern as for
// os.CreateTemp. Its maker removes it, or hands it to Adopt.
func (s *Spool) Make(pattern string) (string, error) {
	f, err := os.CreateTemp(s.dir, pattern)
	if err != nil {
		return "", spoolFault(err)
	}
	return f.Name(), f.Close()
}

// File is a body in the spool with its digests.
type File struct {
	Path string
	// Name is the name it came under, for people; never a path to open.
	Name   string
	Size   int64
	SHA256 [32]byte
	SHA512 [64]byte
}

// Open opens the body for reading.
func (f *File) Open() (*os.File, error) { return os.Open(f.Path) }

// Remove removes the body. Removing twice, or what is gone, is no error; it is
// meant for defer. The bytes in the bucket are not touched.
func (f *File) Remove() {
	if f != nil && f.Path != "" {
		_ = os.Remove(f.Path)
	}
}

// buffers are reused: a body passes through one of them on its way to disk and
// to both hash functions.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// Take reads a body to its end into the spool and hashes it meanwhile (step 1).
// A limit above 0 is the most bytes it may have: more is the fault
// upload-too-large. A full disk is the fault spool-full. An error of r, or the
// end of ctx, is returned as it is; nothing stays in the spool then.
//
// A crash here leaves a temporary file, which the next start removes.
func (s *Spool) Take(ctx context.Context, r io.Reader, limit int64) (_ *File, err error) {
	out, err := os.CreateTemp(s.dir, "b-*")
	if err != nil {
		return nil, spoolFault(err)
	}
	f := &File{Path: out.Name()}
	defer func() {
		if cerr := out.Close(); err == nil && cerr != nil {
			err = spoolFault(cerr)
		}
		if err != nil {
			f.Remove()
		}
	}()
	if err := f.pour(ctx, r, out, limit); err != nil {
		return nil, err
	}
	afterSpool.Hit()
	return f, nil
}

// pour reads r to its end into w and gives f size and digests of what it read.
func (f *File) pour(ctx context.Context, r io.Reader, w io.Writer, limit int64) error {
	short, long := sha256.New(), sha512.New()
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	for end := false; !end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, rerr := fill(r, *bp)
		end = rerr == io.EOF //nolint:errorlint // a wrapped EOF is a fault of the reader, not the end
		if rerr != nil && !end {
			return rerr
		}
		f.Size += int64(n)
		if limit > 0 && f.Size > limit {
			return fault.New("upload-too-large", "limit", limit)
		}
		if _, err := w.Write((*bp)[:n]); err != nil {
			return spoolFault(err)
		}
		short.Write((*bp)[:n])
		long.Write((*bp)[:n])
	}
	short.Sum(f.SHA256[:0])
	long.Sum(f.SHA512[:0])
	return nil
}

// fill reads until buf is full or r ends. Other than io.ReadFull it keeps apart
// the end of r and an r that was cut off (io.ErrUnexpectedEOF).
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// Adopt hashes a file of the spool that a tool made. A path outside of the
// spool is an error.
func (s *Spool) Adopt(ctx context.Context, path string) (*File, error) {
	if rel, err := filepath.Rel(s.dir, path); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return nil, fmt.Errorf("%s does not lie in the spool", path)
	}
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("adopt: %w", err)
	}
	defer func() { _ = in.Close() }()
	f := &File{Path: path, Name: filepath.Base(path)}
	if err := f.pour(ctx, in, io.Discard, 0); err != nil {
		return nil, fmt.Errorf("adopt: %w", err)
	}
	return f, nil
}

// spoolFault tells a full disk from other trouble of the spool.
func spoolFault(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Wrap(err, "spool-full")
	}
	return fmt.Errorf("spool: %w", err)
}
