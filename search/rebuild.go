package search

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	bleve "github.com/blevesearch/bleve/v2"
	index "github.com/blevesearch/bleve_index_api"
)

const (
	snapPrefix = "snap-"
	// minLearnDocs is how many documents an index must hold before a rebuild
	// learns its term statistics from it instead of the shipped dictionary.
	minLearnDocs = 1000
	maxStems     = 300_000
)

// Rebuild implements Engine. Term statistics for scoring are learnt from the
// old generation, if it is readable and large enough, and then frozen. Only one
// rebuild runs at a time: ErrRebuilding. If it fails or ctx ends, the old
// generation stays in use and the new one is removed.
func (x *Index) Rebuild(ctx context.Context, src Source) (err error) {
	if !x.rebuilding.TryLock() {
		return ErrRebuilding
	}
	defer x.rebuilding.Unlock()
	dict, err := x.learn(ctx)
	if err != nil {
		return err
	}
	g, err := x.create(dict)
	if err != nil {
		return err
	}
	swapped := false
	defer func() {
		if !swapped {
			err = errors.Join(err, g.close(), os.RemoveAll(g.dir))
		}
	}()
	start := time.Now()
	var at []byte
	apply := func(ctx context.Context, ops []Op, cursor []byte) error {
		if x.isClosed() {
			return ErrClosed
		}
		for part := range slices.Chunk(ops, MaxOps) {
			if err := g.apply(ctx, part, nil); err != nil {
				return err
			}
		}
		if err := g.apply(ctx, nil, cursor); err != nil {
			return err
		}
		at = bytes.Clone(cursor)
		return nil
	}
	// The first run takes long; the second catches up with what came meanwhile
	// and is short.
	for range 2 {
		if err := src.Replay(ctx, at, apply); err != nil {
			return fmt.Errorf("replay: %w", err)
		}
	}
	x.applying.Lock()
	defer x.applying.Unlock()
	x.mu.RLock()
	old, stale, closed := x.gen, x.stale, x.closed // Close waits for applying
	x.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	if old != nil && stale == nil {
		have, err := old.cursor()
		if err != nil {
			return err
		}
		if !bytes.Equal(have, at) {
			// Apply is held up: now nothing can come between.
			if err := src.Replay(ctx, at, apply); err != nil {
				return fmt.Errorf("replay: %w", err)
			}
		}
	}
	// A crash before this line leaves the old generation, after it the new one.
	if err := x.publish(g); err != nil {
		return err
	}
	swapped = true
	x.mu.Lock()
	x.gen, x.stale = g, nil
	x.mu.Unlock()
	x.metrics.rebuilds.Inc()
	x.log.InfoContext(ctx, "search index rebuilt", "generation", g.id, "duration", time.Since(start))
	if old != nil {
		if err := old.close(); err != nil {
			x.log.WarnContext(ctx, "close old index generation", "err", err)
		}
		// What cannot be removed now is swept at the next Open.
		if err := os.RemoveAll(old.dir); err != nil {
			x.log.WarnContext(ctx, "remove old index generation", "err", err)
		}
	}
	return nil
}

func (x *Index) isClosed() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.closed
}

// learn is the dictionary of the next generation: the words of the program's
// dictionary, and the term statistics of the generation in use.
func (x *Index) learn(ctx context.Context) (*Dictionary, error) {
	dict := x.words
	err := x.with(func(g *generation) error {
		docs, err := g.docCount()
		if err != nil || docs < minLearnDocs {
			return err
		}
		stems := map[string]uint32{}
		err = g.readers(func(rs []index.IndexReader) error {
			for _, r := range rs {
				d, err := r.FieldDict(fText)
				if err != nil {
					return err
				}
				for e, err := d.Next(); e != nil || err != nil; e, err = d.Next() {
					if err == nil {
						err = ctx.Err()
					}
					if err != nil {
						return errors.Join(err, d.Close())
					}
					if len(e.Term) <= maxStemBytes {
						stems[e.Term] += uint32(min(e.Count, 1<<30))
					}
				}
				if err := d.Close(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for least := uint32(minStemDF); ; least *= 2 {
			prune(stems, least)
			if len(stems) <= maxStems {
				break
			}
		}
		dict = dict.withStems(stems, uint32(min(docs, 1<<31)))
		return nil
	})
	if errors.Is(err, ErrRebuildNeeded) {
		return dict, nil
	}
	return dict, err
}

// Snapshot implements Engine. It needs free space for one copy in the folder of
// the index. Following the feed from SnapshotInfo.Cursor after Restore loses
// nothing; operations after it may already be in the copy, which is harmless.
func (x *Index) Snapshot(ctx context.Context, sink SnapshotSink) (info SnapshotInfo, err error) {
	tmp, err := os.MkdirTemp(x.opt.Dir, snapPrefix)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	err = x.with(func(g *generation) error {
		info.Generation = g.id
		dir := filepath.Join(tmp, g.id)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if info.Cursor, err = g.cursor(); err != nil {
			return err
		}
		// The first shard first: it holds the cursor, and the others must not be
		// older than it.
		for i, s := range g.shards {
			if err := ctx.Err(); err != nil {
				return err
			}
			c, ok := s.(bleve.IndexCopyable)
			if !ok {
				return errors.New("search: index cannot be copied")
			}
			if err := c.CopyTo(bleve.FileSystemDirectory(shardDir(dir, i))); err != nil {
				return fmt.Errorf("copy shard %d: %w", i, err)
			}
		}
		for _, name := range []string{fileMeta, fileDict} {
			b, err := os.ReadFile(filepath.Join(g.dir, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(tmp, fileCurrent), []byte(g.id+"\n"), 0o600)
	})
	if err != nil {
		return info, err
	}
	err = filepath.WalkDir(tmp, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(tmp, path)
		if err != nil {
			return err
		}
		n, err := send(ctx, sink, path, filepath.ToSlash(name))
		info.Files++
		info.Bytes += n
		return err
	})
	return info, err
}

func send(ctx context.Context, sink SnapshotSink, path, name string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w, err := sink.Create(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("snapshot %s: %w", name, err)
	}
	n, err := io.Copy(w, f)
	if err = errors.Join(err, w.Close()); err != nil {
		return n, fmt.Errorf("snapshot %s: %w", name, err)
	}
	return n, nil
}

// Restore writes a snapshot to dir, which must not hold an index, and makes it
// durable. Open it afterwards. A crash leaves a folder that Open takes for empty.
func Restore(ctx context.Context, dir string, src fs.FS) error {
	if _, err := os.Stat(filepath.Join(dir, fileCurrent)); err == nil {
		return fmt.Errorf("%w: %s", ErrNotEmpty, dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := lockDir(ctx, dir, 0)
	if err != nil {
		return err
	}
	defer lock.Close()
	current, err := fs.ReadFile(src, fileCurrent)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	err = fs.WalkDir(src, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case name == fileCurrent || name == fileLock:
			return nil
		case e.IsDir():
			return os.MkdirAll(to, 0o700)
		case !e.Type().IsRegular():
			return fmt.Errorf("snapshot: %s is no file", name)
		}
		in, err := src.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
			return err
		}
		return syncDir(filepath.Dir(to))
	})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return writeDurably(filepath.Join(dir, fileCurrent), current)
}
