package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	bleve "github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/mapping"
	index "github.com/blevesearch/bleve_index_api"
	"golang.org/x/sync/errgroup"
)

const (
	fileCurrent = "CURRENT"
	fileLock    = "LOCK"
	fileMeta    = "meta.json"
	fileDict    = "dict.gz"
	genPrefix   = "g-"
	formatNow   = 1
	maxShards   = 64
)

// cursorKey is where the cursor of the feed stands in the first shard.
var cursorKey = []byte("evb-cursor")

// genMeta is the file meta.json of a generation.
type genMeta struct {
	Format  int       `json:"format"`
	Mapping int       `json:"mapping"`
	Words   string    `json:"dictionary"` // digest of the splitter's words
	IBAN    bool      `json:"iban"`
	Shards  int       `json:"shards"`
	Created time.Time `json:"created"`
}

// generation is one complete index: frozen dictionary and shards.
type generation struct {
	id     string
	dir    string
	meta   genMeta
	an     *germanAnalysis
	shards []bleve.Index
	alias  bleve.IndexAlias

	// use is read-locked by every search; closing takes it for writing, so a
	// generation lives until its last search has ended.
	use sync.RWMutex
	// see orders Apply against Search where an operation touches several
	// shards: no search sees a document in none or in two of them.
	see sync.RWMutex
}

func genConfig() map[string]any {
	// The default of the library waits a second for another process that has
	// the index open; ours has its own lock, so it never should.
	return map[string]any{"bolt_timeout": "2s"}
}

func indexMapping() mapping.IndexMapping {
	m := bleve.NewIndexMapping()
	// Documents come with their fields made (build); nothing is mapped.
	m.DefaultMapping = bleve.NewDocumentStaticMapping()
	return m
}

// createGeneration makes an empty generation. A crash leaves a folder that
// CURRENT does not name.
func createGeneration(root string, meta genMeta, dict *Dictionary) (*generation, error) {
	id := genPrefix + strconv.FormatInt(meta.Created.UnixNano(), 36)
	dir := filepath.Join(root, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, fileDict))
	if err != nil {
		return nil, err
	}
	_, err = dict.WriteTo(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := writeDurably(filepath.Join(dir, fileMeta), append(b, '\n')); err != nil {
		return nil, err
	}
	g := &generation{id: id, dir: dir, meta: meta}
	if g.an, err = newAnalysis(dict, meta.IBAN); err != nil {
		return nil, err
	}
	for i := range meta.Shards {
		s, err := bleve.NewUsing(shardDir(dir, i), indexMapping(), scorch.Name, scorch.Name, genConfig())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("create shard %d: %w", i, err), g.close())
		}
		g.shards = append(g.shards, s)
	}
	g.alias = bleve.NewIndexAlias(g.shards...)
	return g, nil
}

func shardDir(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("shard-%03d", i)) }

// openGeneration opens what createGeneration made. A meta.json of another
// format gives a *VersionError and no generation.
func openGeneration(root, id string) (*generation, error) {
	dir := filepath.Join(root, id)
	b, err := os.ReadFile(filepath.Join(dir, fileMeta))
	if err != nil {
		return nil, err
	}
	g := &generation{id: id, dir: dir}
	if err := json.Unmarshal(b, &g.meta); err != nil {
		return nil, fmt.Errorf("read %s: %w", fileMeta, err)
	}
	if g.meta.Format != formatNow {
		return nil, &VersionError{Dir: root, Property: "format", Have: strconv.Itoa(g.meta.Format), Want: strconv.Itoa(formatNow)}
	}
	if g.meta.Shards < 1 || g.meta.Shards > maxShards {
		return nil, fmt.Errorf("read %s: %d shards", fileMeta, g.meta.Shards)
	}
	if b, err = os.ReadFile(filepath.Join(dir, fileDict)); err != nil {
		return nil, err
	}
	dict, err := LoadDictionary(b)
	if err != nil {
		return nil, fmt.Errorf("generation %s: %w", id, err)
	}
	if g.an, err = newAnalysis(dict, g.meta.IBAN); err != nil {
		return nil, err
	}
	for i := range g.meta.Shards {
		s, err := bleve.OpenUsing(shardDir(dir, i), genConfig())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open shard %d of generation %s: %w", i, id, err), g.close())
		}
		g.shards = append(g.shards, s)
	}
	g.alias = bleve.NewIndexAlias(g.shards...)
	return g, nil
}

// close waits for searches that still run in the generation.
func (g *generation) close() error {
	g.use.Lock()
	defer g.use.Unlock()
	var errs []error
	for _, s := range g.shards {
		errs = append(errs, s.Close())
	}
	g.shards, g.alias = nil, nil
	return errors.Join(errs...)
}

func (g *generation) shardOf(d *Doc) int {
	if len(g.shards) == 1 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(shardKey(d)))
	return int(h.Sum64() % uint64(len(g.shards)))
}

// apply writes ops and cursor. The first shard goes last and alone carries the
// cursor: a crash before it leaves operations that will be applied once more.
func (g *generation) apply(ctx context.Context, ops []Op, cursor []byte) error {
	// The last operation on a document wins; with one operation a document the
	// order inside the batch is of no account.
	last := make(map[string]int, len(ops))
	for i := range ops {
		d := &ops[i].Doc
		if err := checkKey(d); err != nil {
			return err
		}
		if k := ops[i].Kind; k != Put && k != Delete {
			return fmt.Errorf("%w: operation of kind %d", ErrDoc, k)
		}
		last[docKey(d.Tenant, d.ID)] = i
	}
	docs := make([]*document.Document, len(ops))
	var eg errgroup.Group
	eg.SetLimit(max(1, runtime.GOMAXPROCS(0)))
	for _, i := range last {
		if ops[i].Kind == Put {
			eg.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				docs[i] = g.an.build(&ops[i].Doc)
				return nil
			})
		}
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	batches := make([]*bleve.Batch, len(g.shards))
	for i, s := range g.shards {
		batches[i] = s.NewBatch()
	}
	for key, i := range last {
		home := -1
		if docs[i] != nil {
			home = g.shardOf(&ops[i].Doc)
			if err := batches[home].IndexAdvanced(docs[i]); err != nil {
				return fmt.Errorf("%w: %w", ErrDoc, err)
			}
		}
		for j, b := range batches {
			// Filing moves a document to the shard of its Akte.
			if j != home {
				b.Delete(key)
			}
		}
	}
	if cursor != nil {
		batches[0].SetInternal(cursorKey, cursor)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(g.shards) > 1 {
		g.see.Lock()
		defer g.see.Unlock()
	}
	for i := len(batches) - 1; i >= 0; i-- {
		if batches[i].Size() == 0 {
			continue
		}
		if err := g.shards[i].Batch(batches[i]); err != nil {
			return fmt.Errorf("write batch to shard %d: %w", i, err)
		}
	}
	return nil
}

func (g *generation) cursor() ([]byte, error) {
	b, err := g.shards[0].GetInternal(cursorKey)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return append([]byte(nil), b...), nil
}

func (g *generation) docCount() (uint64, error) {
	var n uint64
	for _, s := range g.shards {
		c, err := s.DocCount()
		if err != nil {
			return 0, err
		}
		n += c
	}
	return n, nil
}

// readers opens a reader of every shard and passes them to f.
func (g *generation) readers(f func([]index.IndexReader) error) (err error) {
	rs := make([]index.IndexReader, 0, len(g.shards))
	defer func() {
		for _, r := range rs {
			err = errors.Join(err, r.Close())
		}
	}()
	for _, s := range g.shards {
		adv, err := s.Advanced()
		if err != nil {
			return err
		}
		r, err := adv.Reader()
		if err != nil {
			return err
		}
		rs = append(rs, r)
	}
	return f(rs)
}

func (g *generation) diskBytes() (int64, error) {
	var n int64
	err := filepath.WalkDir(g.dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // merged away while we looked
			}
			return err
		}
		if i, err := e.Info(); err == nil && i.Mode().IsRegular() {
			n += i.Size()
		}
		return nil
	})
	return n, err
}

// writeDurably replaces a file so that after a crash it holds the old or the
// new bytes, and the name is on disk when it returns.
func writeDurably(name string, b []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readCurrent is the name in CURRENT; fs.ErrNotExist if there is no index.
func readCurrent(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, fileCurrent))
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(b))
	if !strings.HasPrefix(id, genPrefix) || filepath.Base(id) != id {
		return "", fmt.Errorf("read %s: %q is not a generation", fileCurrent, id)
	}
	return id, nil
}
