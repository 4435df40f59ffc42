package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Index is the Engine on Bleve. Its methods are safe for concurrent use.
type Index struct {
	opt     Options
	words   *Dictionary // for new generations
	digest  string      // of words
	log     *slog.Logger
	metrics *metrics
	lock    *os.File

	// applying is held by Apply and by the swap of a rebuild: one writer at a time.
	applying sync.Mutex
	// rebuilding is held while a rebuild runs.
	rebuilding sync.Mutex

	// mu guards what follows.
	mu     sync.RWMutex
	gen    *generation   // nil only if stale and not readable at all
	stale  *VersionError // not nil: only Rebuild helps
	closed bool
}

var _ Engine = (*Index)(nil)

// Open opens the index in opt.Dir or creates an empty one. Errors: ErrLocked if
// another process has it, *VersionError (ErrRebuildNeeded) if it was made by
// another version and AllowStale is not set. What a crashed rebuild left is
// removed.
func Open(ctx context.Context, opt Options) (_ *Index, err error) {
	if opt.Dir == "" {
		return nil, errors.New("search: Options.Dir is empty")
	}
	if opt.Shards < 0 || opt.Shards > maxShards {
		return nil, fmt.Errorf("search: %d shards, allowed are 0 to %d", opt.Shards, maxShards)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.SearchTimeout <= 0 {
		opt.SearchTimeout = 10 * time.Second
	}
	x := &Index{opt: opt, words: opt.Dictionary, log: opt.Logger}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	if x.words == nil {
		if x.words, err = ShippedDictionary(); err != nil {
			return nil, err
		}
	}
	x.digest = x.words.WordsDigest()
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, err
	}
	if x.lock, err = lockDir(ctx, opt.Dir, opt.LockTimeout); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			if x.gen != nil {
				_ = x.gen.close()
			}
			_ = x.lock.Close()
		}
	}()
	id, err := readCurrent(opt.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := x.sweep(""); err != nil {
			return nil, err
		}
		if x.gen, err = x.create(x.words); err != nil {
			return nil, err
		}
		if err := x.publish(x.gen); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if err := x.sweep(id); err != nil {
			return nil, err
		}
		if x.gen, err = openGeneration(opt.Dir, id); err != nil && !errors.As(err, &x.stale) {
			return nil, err
		}
		if x.gen != nil {
			x.stale = x.check(x.gen.meta)
		}
		if x.stale != nil && !opt.AllowStale {
			return nil, x.stale
		}
	}
	if x.metrics, err = newMetrics(x, opt.Registerer); err != nil {
		return nil, err
	}
	return x, nil
}

// check compares a generation with what this program would make.
func (x *Index) check(m genMeta) *VersionError {
	e := &VersionError{Dir: x.opt.Dir}
	switch {
	case m.Mapping != mappingVersion:
		e.Property, e.Have, e.Want = "mapping", strconv.Itoa(m.Mapping), strconv.Itoa(mappingVersion)
	case m.Words != x.digest:
		e.Property, e.Have, e.Want = "dictionary", short(m.Words), short(x.digest)
	case m.IBAN != x.opt.IBAN:
		e.Property, e.Have, e.Want = "iban", strconv.FormatBool(m.IBAN), strconv.FormatBool(x.opt.IBAN)
	case x.opt.Shards != 0 && m.Shards != x.opt.Shards:
		e.Property, e.Have, e.Want = "shards", strconv.Itoa(m.Shards), strconv.Itoa(x.opt.Shards)
	default:
		return nil
	}
	return e
}

func short(digest string) string { return digest[:min(12, len(digest))] }

// lockDir takes the lock of the folder. The kernel releases it when the process
// ends, however it ends.
func lockDir(ctx context.Context, dir string, timeout time.Duration) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
			}
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// sweep removes generations other than keep: what a crash in a rebuild left.
func (x *Index) sweep(keep string) error {
	entries, err := os.ReadDir(x.opt.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		left := strings.HasPrefix(e.Name(), genPrefix) && e.Name() != keep || strings.HasPrefix(e.Name(), snapPrefix)
		if e.IsDir() && left {
			x.log.Info("remove what an interrupted rebuild or snapshot left", "folder", e.Name())
			if err := os.RemoveAll(filepath.Join(x.opt.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *Index) create(dict *Dictionary) (*generation, error) {
	return createGeneration(x.opt.Dir, genMeta{
		Format: formatNow, Mapping: mappingVersion, Words: x.digest, IBAN: x.opt.IBAN,
		Shards: max(1, x.opt.Shards), Created: x.opt.Now().UTC(),
	}, dict)
}

// publish names g in CURRENT. Before it, a crash leaves the old generation in
// use and g to be swept; after it, g is in use and the old one is swept.
func (x *Index) publish(g *generation) error {
	if err := syncDir(g.dir); err != nil {
		return err
	}
	return writeDurably(filepath.Join(x.opt.Dir, fileCurrent), []byte(g.id+"\n"))
}

// with runs f on the generation in use, which is kept open meanwhile.
func (x *Index) with(f func(g *generation) error) error {
	x.mu.RLock()
	if x.closed {
		x.mu.RUnlock()
		return ErrClosed
	}
	if x.stale != nil {
		defer x.mu.RUnlock()
		return x.stale
	}
	g := x.gen
	g.use.RLock()
	x.mu.RUnlock()
	defer g.use.RUnlock()
	return f(g)
}

// Apply implements Engine. More than MaxOps operations are an error.
func (x *Index) Apply(ctx context.Context, ops []Op, cursor []byte) error {
	if len(ops) > MaxOps {
		return fmt.Errorf("search: %d operations in one Apply, at most %d", len(ops), MaxOps)
	}
	x.applying.Lock()
	defer x.applying.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return x.with(func(g *generation) error {
		start := time.Now()
		if err := g.apply(ctx, ops, cursor); err != nil {
			return err
		}
		x.metrics.applied(len(ops), time.Since(start))
		return nil
	})
}

// AppliedCursor implements Engine.
func (x *Index) AppliedCursor(ctx context.Context) (c []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = x.with(func(g *generation) error {
		c, err = g.cursor()
		return err
	})
	return c, err
}

// Stats implements Engine. It works on a stale index, too.
func (x *Index) Stats(ctx context.Context) (Stats, error) {
	if err := ctx.Err(); err != nil {
		return Stats{}, err
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		return Stats{}, ErrClosed
	}
	s := Stats{Stale: x.stale != nil}
	g := x.gen
	if g == nil {
		return s, nil
	}
	var err error
	s.Generation, s.Shards, s.Mapping, s.Dictionary, s.Created = g.id, g.meta.Shards, g.meta.Mapping, g.meta.Words, g.meta.Created
	if s.Documents, err = g.docCount(); err != nil {
		return Stats{}, err
	}
	s.DiskBytes, err = g.diskBytes()
	return s, err
}

// Close implements Engine. Closing twice is fine.
func (x *Index) Close() error {
	// Wait for the writer, so that nothing acknowledged is being written.
	x.applying.Lock()
	x.mu.Lock()
	was := x.closed
	x.closed = true
	g := x.gen
	x.mu.Unlock()
	x.applying.Unlock()
	if was {
		return nil
	}
	x.metrics.unregister()
	var err error
	if g != nil {
		err = g.close()
	}
	// A rebuild notices closed before it swaps; wait for it, so the folder is
	// released with nobody writing to it.
	x.rebuilding.Lock()
	defer x.rebuilding.Unlock()
	return errors.Join(err, x.lock.Close())
}
