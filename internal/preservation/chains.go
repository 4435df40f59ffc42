package preservation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/hashtree"
	"evb/storage"
	"evb/storage/layout"
)

// record builds the record of a sealed archive version and names the tokens in
// it: those of its seal, without the chains that do not cover it.
func (s *Service) record(ctx context.Context, a access.Actor, open *trees, v ArchiveVersion, leaf int, tokens []Token) ([]byte, []Token, error) {
	chains, used, err := s.chains(ctx, a, open, v.Seal, leaf, tokens, func(alg digest.Algorithm) ([][]byte, error) {
		out := make([][]byte, len(v.Members))
		for i, m := range v.Members {
			value, ok := m.in(alg)
			if !ok {
				return nil, fmt.Errorf("no %s digest of %s", alg, m.Name)
			}
			out[i] = value
		}
		return out, nil
	})
	if err != nil {
		return nil, nil, err
	}
	er, err := ers.FromChains(chains)
	if err != nil {
		return nil, nil, err
	}
	return er.Raw, used, nil
}

// chains cuts the archive time-stamps of one leaf out of the trees in the bucket
// (RFC 4998 sections 4.2, 5.2, 5.3). Each is checked on the way: the reduced tree
// begins with what has to be proven and leads to the imprint of the token.
// digests gives the digests of the members of the group.
//
//   - first: the tree of the seal.
//   - time-stamp renewal: the leaf is the hash of the token before, in the tree of
//     the renewal.
//   - hash-tree renewal: the tree of the seal in the new algorithm, whose root is
//     a leaf of the tree of the renewal. A leaf of zeros says that the archive
//     version was not there to be renewed; the chain is left out then.
func (s *Service) chains(ctx context.Context, a access.Actor, open *trees, sealID uuid.UUID, leaf int, tokens []Token, digests func(digest.Algorithm) ([][]byte, error)) ([][]ers.ArchiveTimestamp, []Token, error) {
	if len(tokens) == 0 {
		return nil, nil, fmt.Errorf("seal %s has no final token", sealID)
	}
	var chains [][]ers.ArchiveTimestamp
	var used []Token
	skip := 0
	for _, t := range tokens {
		if t.Chain == skip {
			continue
		}
		alg := t.Imprint.Algorithm
		var lists []hashtree.List
		if t.Position > 1 {
			tree, err := s.tree(ctx, open, layout.RenewalLevels(a.TenantSlug, t.subject), layout.RenewalLeaves(a.TenantSlug, t.subject))
			if err != nil {
				return nil, nil, err
			}
			before := chains[len(chains)-1]
			if lists, err = tree.Reduced(t.leaf, [][]byte{ers.TimestampLeaf(alg, before[len(before)-1].Token)}); err != nil {
				return nil, nil, fmt.Errorf("tree of renewal %s: %w", t.subject, err)
			}
		} else {
			var err error
			if lists, err = s.firstOfChain(ctx, a, open, sealID, leaf, t, chains, digests); err != nil {
				return nil, nil, err
			}
			if lists == nil {
				skip = t.Chain
				continue
			}
			chains = append(chains, nil)
		}
		stamp, err := open.stamp(t)
		if err != nil {
			return nil, nil, err
		}
		ts, err := stamp.Timestamp(alg, lists)
		if err != nil {
			return nil, nil, fmt.Errorf("chain %d, time-stamp %d: %w", t.Chain, t.Position, err)
		}
		chains[len(chains)-1] = append(chains[len(chains)-1], ts)
		used = append(used, t)
	}
	return chains, used, nil
}

// firstOfChain gives the reduced tree of the first archive time-stamp of a
// chain, nil where the chain does not cover the leaf.
func (s *Service) firstOfChain(ctx context.Context, a access.Actor, open *trees, sealID uuid.UUID, leaf int, t Token, before [][]ers.ArchiveTimestamp, digests func(digest.Algorithm) ([][]byte, error)) ([]hashtree.List, error) {
	alg := t.Imprint.Algorithm
	levels, leaves := layout.SealLevels(a.TenantSlug, sealID), layout.SealLeaves(a.TenantSlug, sealID)
	if t.Chain > 1 {
		levels, leaves = layout.ChainLevels(a.TenantSlug, sealID, t.Chain), layout.ChainLeaves(a.TenantSlug, sealID, t.Chain)
	}
	own, err := s.tree(ctx, open, levels, leaves)
	if err != nil {
		return nil, err
	}
	if t.Chain > 1 {
		value, err := own.Leaf(leaf)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", levels, err)
		}
		if vacant(value) {
			return nil, nil
		}
	}
	members, err := digests(alg)
	if err != nil {
		return nil, err
	}
	if t.Chain > 1 {
		if members, err = ers.RehashLeaves(alg, before, members); err != nil {
			return nil, err
		}
	}
	lists, err := own.Reduced(leaf, members)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", levels, err)
	}
	if t.Chain > 1 {
		top, err := s.tree(ctx, open, layout.RenewalLevels(a.TenantSlug, t.subject), layout.RenewalLeaves(a.TenantSlug, t.subject))
		if err != nil {
			return nil, err
		}
		above, err := top.Siblings(t.leaf)
		if err != nil {
			return nil, fmt.Errorf("tree of renewal %s: %w", t.subject, err)
		}
		lists = append(lists, above...)
	}
	return lists, nil
}

// vacant says whether a leaf stands for nothing: zeros, which nothing hashes to.
func vacant(leaf []byte) bool {
	for _, b := range leaf {
		if b != 0 {
			return false
		}
	}
	return true
}

// wholeTree is the size up to which a tree file is read at once: one call to the
// store instead of one a level.
const wholeTree = 256 << 10

// reducer cuts the path of a leaf out of a tree.
type reducer interface {
	Leaf(i int) ([]byte, error)
	Siblings(i int) ([]hashtree.List, error)
	Reduced(leaf int, digests [][]byte) ([]hashtree.List, error)
}

// trees are those that one call has opened, with the tokens it has read: a
// thousand Dokumente share a seal. Not safe for concurrent use.
type trees struct {
	open   map[storage.Key]reducer
	stamps map[uuid.UUID]*ers.Stamp
	// inOrder reads ahead: all leaves of a tree will be asked for, one after the
	// other.
	inOrder bool
}

func newTrees() *trees {
	return &trees{open: map[storage.Key]reducer{}, stamps: map[uuid.UUID]*ers.Stamp{}}
}

func (o *trees) stamp(t Token) (*ers.Stamp, error) {
	st := o.stamps[t.subject]
	if st == nil {
		var err error
		if st, err = ers.NewStamp(t.DER); err != nil {
			return nil, err
		}
		o.stamps[t.subject] = st
	}
	return st, nil
}

// tree opens a tree: a small file is read at once, of a large one a range a
// level and leaf. A tree file that is gone is built again from the leaf list.
func (s *Service) tree(ctx context.Context, o *trees, levels, leaves storage.Key) (reducer, error) {
	if t := o.open[levels]; t != nil {
		return t, nil
	}
	info, err := s.store.Stat(ctx, levels)
	if errors.Is(err, storage.ErrNotFound) {
		t, err := s.treeFromLeaves(ctx, leaves)
		if err != nil {
			return nil, err
		}
		o.open[levels] = t
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	var r io.ReaderAt = &objectReader{ctx: ctx, store: s.store, key: levels}
	switch {
	case info.Size <= s.wholeTree:
		b, err := readAll(ctx, s.store, levels)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	case o.inOrder:
		r = &readAhead{r: r, size: info.Size}
	}
	f, err := hashtree.Open(r, info.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", levels, err)
	}
	o.open[levels] = f
	return f, nil
}

func (s *Service) treeFromLeaves(ctx context.Context, key storage.Key) (*hashtree.Tree, error) {
	r, _, err := s.store.Get(ctx, key, storage.Range{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	t, err := hashtree.Read(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return t, nil
}

// readAhead keeps blocks of a tree file. Whoever goes through the leaves in
// order reads each level in order too: a block a level is enough.
type readAhead struct {
	r      io.ReaderAt
	size   int64
	blocks map[int64][]byte
	used   []int64 // oldest first
}

const (
	blockSize  = 64 << 10
	blockCount = 48 // levels are 32 at most; 3 MiB
)

// ReadAt implements io.ReaderAt.
func (b *readAhead) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= b.size {
			return n, io.EOF
		}
		block, err := b.block(at / blockSize)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], block[at%blockSize:])
	}
	return n, nil
}

func (b *readAhead) block(i int64) ([]byte, error) {
	if block := b.blocks[i]; block != nil {
		return block, nil
	}
	block := make([]byte, min(blockSize, b.size-i*blockSize))
	if n, err := b.r.ReadAt(block, i*blockSize); n < len(block) {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	if b.blocks == nil {
		b.blocks = map[int64][]byte{}
	}
	if len(b.used) == blockCount {
		delete(b.blocks, b.used[0])
		b.used = b.used[1:]
	}
	b.blocks[i], b.used = block, append(b.used, i)
	return block, nil
}

// objectReader reads ranges of a stored object. The bytes are not verified here:
// a wrong one gives a reduced tree that does not lead to the stamped root, which
// ers.NewTimestamp refuses.
type objectReader struct {
	ctx   context.Context //nolint:containedctx // lives as long as one call
	store storage.Store
	key   storage.Key
}

// ReadAt implements io.ReaderAt.
func (o *objectReader) ReadAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r, _, err := o.store.Get(o.ctx, o.key, storage.Range{Offset: off, Length: int64(len(p))})
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	n, err := io.ReadFull(r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
