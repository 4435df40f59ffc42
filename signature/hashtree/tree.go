package hashtree

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"evb/signature/digest"
)

// Limits of a tree.
const (
	// MaxLeaves is the largest number of leaves, 2^31-1.
	MaxLeaves = 1<<31 - 1
	// MaxArity is the largest number of nodes under one father.
	MaxArity = 4096
)

// Errors of this package; compare with errors.Is.
var (
	// ErrEmpty says that there is no leaf to build on.
	ErrEmpty = errors.New("hash tree without leaves")
	// ErrLeafSize says that a leaf has not the length of the algorithm.
	ErrLeafSize = errors.New("leaf has the wrong length")
	// ErrArity says that the arity is not within 2 to MaxArity.
	ErrArity = errors.New("arity out of range")
	// ErrTooLarge says that there are more than MaxLeaves leaves.
	ErrTooLarge = errors.New("too many leaves")
	// ErrNoLeaf says that there is no leaf with that number.
	ErrNoLeaf = errors.New("no such leaf")
	// ErrAlgorithm says that the hash function cannot be computed.
	ErrAlgorithm = errors.New("hash algorithm not available")
)

// List is one partial hash tree: values of equal length in ascending order
// (RFC 4998 section 4.1, PartialHashtree).
type List [][]byte

// Tree is a complete hash tree in memory.
type Tree struct {
	alg    digest.Algorithm
	size   int // of a value in bytes
	arity  int
	levels [][]byte // levels[0] are the leaves, the last one is the root
}

// Group returns the leaf of a data object group: the hash of the only member, or
// H over the ascending concatenation of several (RFC 4998 section 4.2 step 2).
// The members are not changed. It returns ErrEmpty without members.
func Group(alg digest.Algorithm, members [][]byte) ([]byte, error) {
	if !alg.Available() {
		return nil, fmt.Errorf("%w: %s", ErrAlgorithm, alg)
	}
	for _, m := range members {
		if len(m) != alg.Size() {
			return nil, fmt.Errorf("%w: %d bytes, %s has %d", ErrLeafSize, len(m), alg, alg.Size())
		}
	}
	switch len(members) {
	case 0:
		return nil, ErrEmpty
	case 1:
		return bytes.Clone(members[0]), nil
	}
	return Node(alg.New(), members), nil
}

// Node hashes values in ascending order: the father of the given values. h is
// reset first. The slice of values is not reordered.
func Node(h hash.Hash, values [][]byte) []byte {
	sorted := slices.Clone(values)
	slices.SortFunc(sorted, bytes.Compare)
	h.Reset()
	for _, v := range sorted {
		h.Write(v)
	}
	return h.Sum(nil)
}

// Build makes a tree over leaves, which are copied. arity is 2 where there is no
// reason for another. Errors: ErrEmpty, ErrLeafSize, ErrArity, ErrAlgorithm,
// ErrTooLarge.
func Build(alg digest.Algorithm, leaves [][]byte, arity int) (*Tree, error) {
	if err := checkShape(alg, arity); err != nil {
		return nil, err
	}
	size := alg.Size()
	flat := make([]byte, 0, len(leaves)*size)
	for i, l := range leaves {
		if len(l) != size {
			return nil, fmt.Errorf("%w: leaf %d has %d bytes, %s has %d", ErrLeafSize, i, len(l), alg, size)
		}
		flat = append(flat, l...)
	}
	return BuildFlat(alg, flat, arity)
}

// BuildFlat makes a tree over leaves that lie one after the other in flat. The
// tree keeps flat: the caller must not change it afterwards. This is the form
// with the least memory. Errors as for Build.
func BuildFlat(alg digest.Algorithm, flat []byte, arity int) (*Tree, error) {
	if err := checkShape(alg, arity); err != nil {
		return nil, err
	}
	size := alg.Size()
	if len(flat)%size != 0 {
		return nil, fmt.Errorf("%w: %d bytes are no multiple of %d", ErrLeafSize, len(flat), size)
	}
	n := len(flat) / size
	if n == 0 {
		return nil, ErrEmpty
	}
	if n > MaxLeaves {
		return nil, ErrTooLarge
	}
	t := &Tree{alg: alg, size: size, arity: arity, levels: [][]byte{flat}}
	h := alg.New()
	for level := flat; len(level) > size; {
		level = fathers(h, level, size, arity)
		t.levels = append(t.levels, level)
	}
	return t, nil
}

// buildFrom reads leaves one after the other from r until io.EOF and builds a
// tree. hint is the expected number of leaves, 0 when unknown; it only saves
// memory. A rest shorter than a leaf is ErrLeafSize. Other errors as for Build,
// and those of r.
func buildFrom(alg digest.Algorithm, r io.Reader, hint, arity int) (*Tree, error) {
	if err := checkShape(alg, arity); err != nil {
		return nil, err
	}
	if hint < 0 || hint > MaxLeaves {
		return nil, ErrTooLarge
	}
	var flat []byte
	if hint > 0 {
		// One byte more than expected lets the final read see the end of the
		// stream without growing the slice.
		flat = make([]byte, 0, hint*alg.Size()+1)
	}
	for {
		if len(flat) == cap(flat) {
			flat = slices.Grow(flat, max(64<<10, len(flat)/4))
		}
		n, err := r.Read(flat[len(flat):cap(flat)])
		flat = flat[:len(flat)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read leaves: %w", err)
		}
		if len(flat)/alg.Size() > MaxLeaves {
			return nil, ErrTooLarge
		}
	}
	return BuildFlat(alg, flat, arity)
}

func checkShape(alg digest.Algorithm, arity int) error {
	if !alg.Available() {
		return fmt.Errorf("%w: %q", ErrAlgorithm, string(alg))
	}
	if arity < 2 || arity > MaxArity {
		return fmt.Errorf("%w: %d", ErrArity, arity)
	}
	return nil
}

// fathers computes the next level.
func fathers(h hash.Hash, level []byte, size, arity int) []byte {
	n := len(level) / size
	up := make([]byte, 0, (n+arity-1)/arity*size)
	group := make([][]byte, 0, arity)
	for from := 0; from < n; from += arity {
		to := min(n, from+arity)
		if to-from == 1 {
			up = append(up, level[from*size:to*size]...)
			continue
		}
		h.Reset()
		if to-from == 2 {
			a, b := level[from*size:(from+1)*size], level[(from+1)*size:to*size]
			if bytes.Compare(a, b) > 0 {
				a, b = b, a
			}
			h.Write(a)
			h.Write(b)
		} else {
			group = group[:0]
			for i := from; i < to; i++ {
				group = append(group, level[i*size:(i+1)*size])
			}
			slices.SortFunc(group, bytes.Compare)
			for _, v := range group {
				h.Write(v)
			}
		}
		up = h.Sum(up)
	}
	return up
}

// Algorithm is the hash function of the tree.
func (t *Tree) Algorithm() digest.Algorithm { return t.alg }

// Len is the number of leaves.
func (t *Tree) Len() int { return len(t.levels[0]) / t.size }

// Levels is the number of levels, leaves and root included: 1 for a single leaf.
func (t *Tree) Levels() int { return len(t.levels) }

// Root is the value to be time-stamped. The slice is a copy.
func (t *Tree) Root() []byte { return bytes.Clone(t.levels[len(t.levels)-1]) }

// Leaf returns a copy of leaf i, or ErrNoLeaf.
func (t *Tree) Leaf(i int) ([]byte, error) {
	if i < 0 || i >= t.Len() {
		return nil, fmt.Errorf("%w: %d of %d", ErrNoLeaf, i, t.Len())
	}
	return bytes.Clone(t.levels[0][i*t.size : (i+1)*t.size]), nil
}

// Siblings returns the lists of the reduced hash tree of leaf i from the second
// list on, from the leaf upwards: the values that share a father with the node
// on the way to the root. A tree of one leaf has none. Error: ErrNoLeaf.
func (t *Tree) Siblings(i int) ([]List, error) {
	if i < 0 || i >= t.Len() {
		return nil, fmt.Errorf("%w: %d of %d", ErrNoLeaf, i, t.Len())
	}
	var lists []List
	for _, level := range t.levels[:len(t.levels)-1] {
		from, to := span(i, t.arity, len(level)/t.size)
		if l := siblings(level[from*t.size:to*t.size], i-from, t.size); len(l) > 0 {
			lists = append(lists, l)
		}
		i /= t.arity
	}
	return lists, nil
}

// Reduced returns the whole reduced hash tree of leaf i: first the hashes of the
// members of its group in ascending order, then Siblings. members must be those
// whose [Group] is the leaf; nil stands for the leaf itself as only member.
// Errors: ErrNoLeaf, and ErrNotMember when the members do not give the leaf.
func (t *Tree) Reduced(i int, members [][]byte) ([]List, error) {
	leaf, err := t.Leaf(i)
	if err != nil {
		return nil, err
	}
	siblings, err := t.Siblings(i)
	if err != nil {
		return nil, err
	}
	return reduced(t.alg, leaf, members, siblings)
}

// ErrNotMember says that the given members do not hash to the leaf.
var ErrNotMember = errors.New("members do not give the leaf")

func reduced(alg digest.Algorithm, leaf []byte, members [][]byte, siblings []List) ([]List, error) {
	if members == nil {
		members = [][]byte{leaf}
	}
	node, err := Group(alg, members)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(node, leaf) {
		return nil, ErrNotMember
	}
	first := make(List, len(members))
	for k, m := range members {
		first[k] = bytes.Clone(m)
	}
	slices.SortFunc(first, bytes.Compare)
	return append([]List{first}, siblings...), nil
}

// Recompute returns the root that a reduced hash tree leads to: the first list
// is one value or hashed, every further list is hashed together with the value
// so far (RFC 4998 section 4.3, list of one not hashed again). It returns
// ErrEmpty when there is no list or a list is empty.
func Recompute(alg digest.Algorithm, lists []List) ([]byte, error) {
	if !alg.Available() {
		return nil, fmt.Errorf("%w: %q", ErrAlgorithm, string(alg))
	}
	var h []byte
	hash := alg.New()
	for _, l := range lists {
		if len(l) == 0 {
			return nil, ErrEmpty
		}
		if h == nil {
			h = l[0]
			if len(l) > 1 {
				h = Node(hash, l)
			}
			continue
		}
		h = Node(hash, append(slices.Clone(l), h))
	}
	if h == nil {
		return nil, ErrEmpty
	}
	return h, nil
}

// span is the range of nodes under the father of node i on a level of n nodes.
func span(i, arity, n int) (from, to int) {
	from = i / arity * arity
	return from, min(n, from+arity)
}

// siblings returns copies of all values of a flat group but number self, sorted.
func siblings(group []byte, self, size int) List {
	n := len(group) / size
	if n < 2 {
		return nil
	}
	l := make(List, 0, n-1)
	for k := range n {
		if k != self {
			l = append(l, bytes.Clone(group[k*size:(k+1)*size]))
		}
	}
	slices.SortFunc(l, bytes.Compare)
	return l
}
