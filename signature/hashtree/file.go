package hashtree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"evb/signature/digest"
)

// ErrFile says that bytes are not a tree file, or a cut-off one.
var ErrFile = errors.New("not a hash tree file")

// The file: 8 bytes magic with version, 16 bytes name of the algorithm padded
// with zeros, arity and number of levels as 32-bit, number of leaves as 64-bit
// big-endian integers, then the levels from the leaves to the root. Everything
// after the leaves can be computed again.
const (
	fileMagic  = "evbtree\x01"
	headerSize = 8 + 16 + 4 + 4 + 8
)

// WriteTo writes the tree with all levels. It implements io.WriterTo.
func (t *Tree) WriteTo(w io.Writer) (int64, error) { return t.write(w, t.levels) }

// WriteLeaves writes the tree without the upper levels, half the size; [Read]
// computes them again, [Open] refuses such a file.
func (t *Tree) WriteLeaves(w io.Writer) (int64, error) { return t.write(w, t.levels[:1]) }

func (t *Tree) write(w io.Writer, levels [][]byte) (int64, error) {
	head := make([]byte, headerSize)
	copy(head, fileMagic)
	copy(head[8:24], t.alg)
	binary.BigEndian.PutUint32(head[24:], uint32(t.arity))
	binary.BigEndian.PutUint32(head[28:], uint32(len(levels)))
	binary.BigEndian.PutUint64(head[32:], uint64(t.Len()))
	var total int64
	for _, part := range append([][]byte{head}, levels...) {
		n, err := w.Write(part)
		total += int64(n)
		if err != nil {
			return total, fmt.Errorf("write hash tree: %w", err)
		}
	}
	return total, nil
}

// File is a tree file of which only what is asked for is read. It is safe for
// concurrent use when its reader is.
type File struct {
	r      io.ReaderAt
	alg    digest.Algorithm
	arity  int
	counts []int   // nodes per level
	starts []int64 // offset of each level
}

// Open reads the header of a file with all levels that has size bytes. Errors:
// ErrFile, and those of r.
func Open(r io.ReaderAt, size int64) (*File, error) {
	head := make([]byte, headerSize)
	if _, err := r.ReadAt(head, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: shorter than its header", ErrFile)
		}
		return nil, fmt.Errorf("read hash tree: %w", err)
	}
	f, levels, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	f.r = r
	if levels != len(f.counts) {
		return nil, fmt.Errorf("%w: %d of %d levels; the upper ones have to be computed", ErrFile, levels, len(f.counts))
	}
	end := f.starts[len(f.starts)-1] + int64(f.counts[len(f.counts)-1])*int64(f.alg.Size())
	if end != size {
		return nil, fmt.Errorf("%w: %d bytes, the header asks for %d", ErrFile, size, end)
	}
	return f, nil
}

func parseHeader(head []byte) (*File, int, error) {
	if len(head) < headerSize || string(head[:8]) != fileMagic {
		return nil, 0, fmt.Errorf("%w: wrong magic", ErrFile)
	}
	name := head[8:24]
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	alg := digest.Algorithm(name)
	arity := binary.BigEndian.Uint32(head[24:])
	levels := binary.BigEndian.Uint32(head[28:])
	leaves := binary.BigEndian.Uint64(head[32:])
	if !alg.Available() {
		return nil, 0, fmt.Errorf("%w: algorithm %q", ErrFile, name)
	}
	if arity < 2 || arity > MaxArity || leaves == 0 || leaves > MaxLeaves || levels == 0 || levels > 32 {
		return nil, 0, fmt.Errorf("%w: arity %d, %d levels, %d leaves", ErrFile, arity, levels, leaves)
	}
	f := &File{alg: alg, arity: int(arity)}
	at := int64(headerSize)
	for n := int(leaves); ; n = (n + f.arity - 1) / f.arity {
		f.counts = append(f.counts, n)
		f.starts = append(f.starts, at)
		at += int64(n) * int64(alg.Size())
		if n == 1 {
			break
		}
	}
	return f, int(levels), nil
}

// Algorithm is the hash function of the tree.
func (f *File) Algorithm() digest.Algorithm { return f.alg }

// Len is the number of leaves.
func (f *File) Len() int { return f.counts[0] }

// Root reads the root.
func (f *File) Root() ([]byte, error) { return f.read(len(f.counts)-1, 0, 1) }

// Leaf reads leaf i. Errors: ErrNoLeaf, ErrFile, and those of the reader.
func (f *File) Leaf(i int) ([]byte, error) {
	if i < 0 || i >= f.Len() {
		return nil, fmt.Errorf("%w: %d of %d", ErrNoLeaf, i, f.Len())
	}
	return f.read(0, i, i+1)
}

// Siblings is [Tree.Siblings] with one read per level.
func (f *File) Siblings(i int) ([]List, error) {
	if i < 0 || i >= f.Len() {
		return nil, fmt.Errorf("%w: %d of %d", ErrNoLeaf, i, f.Len())
	}
	var lists []List
	for level := range len(f.counts) - 1 {
		from, to := span(i, f.arity, f.counts[level])
		if to-from > 1 {
			group, err := f.read(level, from, to)
			if err != nil {
				return nil, err
			}
			lists = append(lists, siblings(group, i-from, f.alg.Size()))
		}
		i /= f.arity
	}
	return lists, nil
}

// Reduced is [Tree.Reduced] with one read per level.
func (f *File) Reduced(i int, members [][]byte) ([]List, error) {
	leaf, err := f.Leaf(i)
	if err != nil {
		return nil, err
	}
	siblings, err := f.Siblings(i)
	if err != nil {
		return nil, err
	}
	return reduced(f.alg, leaf, members, siblings)
}

func (f *File) read(level, from, to int) ([]byte, error) {
	size := f.alg.Size()
	b := make([]byte, (to-from)*size)
	n, err := f.r.ReadAt(b, f.starts[level]+int64(from)*int64(size))
	if n == len(b) {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: cut off", ErrFile)
	}
	return nil, fmt.Errorf("read hash tree: %w", err)
}

// Read reads a whole file, with or without upper levels, and builds the tree
// from its leaves; what the file says about the upper levels is compared with
// what comes out. Errors: ErrFile, and those of r.
func Read(r io.Reader) (*Tree, error) {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, readError(err)
	}
	f, levels, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	want := int64(f.counts[0]) * int64(f.alg.Size())
	// The hint comes from foreign bytes: beyond 64 MiB memory grows only with
	// what is really there.
	hint := int(min(want, 64<<20) / int64(f.alg.Size()))
	t, err := buildFrom(f.alg, io.LimitReader(r, want), hint, f.arity)
	if err != nil {
		if errors.Is(err, ErrEmpty) || errors.Is(err, ErrLeafSize) {
			return nil, fmt.Errorf("%w: %w", ErrFile, err)
		}
		return nil, err
	}
	if t.Len() != f.counts[0] {
		return nil, fmt.Errorf("%w: cut off", ErrFile)
	}
	if levels != 1 && levels != t.Levels() {
		return nil, fmt.Errorf("%w: %d of %d levels", ErrFile, levels, t.Levels())
	}
	for _, level := range t.levels[1:levels] {
		if err := compare(r, level); err != nil {
			return nil, err
		}
	}
	if n, _ := io.ReadFull(r, make([]byte, 1)); n != 0 {
		return nil, fmt.Errorf("%w: bytes after the end", ErrFile)
	}
	return t, nil
}

func compare(r io.Reader, want []byte) error {
	buf := make([]byte, min(len(want), 64<<10))
	for len(want) > 0 {
		b := buf[:min(len(buf), len(want))]
		if _, err := io.ReadFull(r, b); err != nil {
			return readError(err)
		}
		if string(b) != string(want[:len(b)]) {
			return fmt.Errorf("%w: an inner node does not follow from the leaves", ErrFile)
		}
		want = want[len(b):]
	}
	return nil
}

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut off", ErrFile)
	}
	return fmt.Errorf("read hash tree: %w", err)
}
