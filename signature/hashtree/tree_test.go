package hashtree_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"evb/signature/digest"
	"evb/signature/hashtree"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func leaf(i int) []byte {
	s := sha256.Sum256(fmt.Appendf(nil, "leaf %d", i))
	return s[:]
}

func leaves(n int) [][]byte {
	l := make([][]byte, n)
	for i := range l {
		l[i] = leaf(i)
	}
	return l
}

func TestRootFollowsTheRulesOfSection42(t *testing.T) {
	a, b, c := leaf(1), leaf(2), leaf(3)
	father := func(x, y []byte) []byte {
		if bytes.Compare(x, y) > 0 {
			x, y = y, x
		}
		s := sha256.Sum256(append(bytes.Clone(x), y...))
		return s[:]
	}
	for _, tc := range []struct {
		name   string
		leaves [][]byte
		want   []byte
	}{
		{"a single leaf is the root", [][]byte{a}, a},
		{"two leaves are sorted", [][]byte{b, a}, father(a, b)},
		{"a leaf left over moves up unchanged", [][]byte{a, b, c}, father(father(a, b), c)},
		{"duplicates keep their places", [][]byte{a, a}, father(a, a)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree, err := hashtree.Build(digest.SHA256, tc.leaves, 2)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(hex.EncodeToString(tc.want), hex.EncodeToString(tree.Root())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBadInputIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		alg    digest.Algorithm
		leaves [][]byte
		arity  int
		want   error
	}{
		{"no leaves", digest.SHA256, nil, 2, hashtree.ErrEmpty},
		{"short leaf", digest.SHA256, [][]byte{{1}}, 2, hashtree.ErrLeafSize},
		{"arity one", digest.SHA256, leaves(2), 1, hashtree.ErrArity},
		{"unknown algorithm", "crc32", leaves(2), 2, hashtree.ErrAlgorithm},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := hashtree.Build(tc.alg, tc.leaves, tc.arity); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestGroupOfOneIsNotHashedAgain(t *testing.T) {
	g, err := hashtree.Group(digest.SHA256, leaves(1))
	if err != nil || !bytes.Equal(g, leaf(0)) {
		t.Errorf("got %x, %v", g, err)
	}
}

func TestReducedTreeOfAGroupStartsWithExactlyItsMembers(t *testing.T) {
	members := [][]byte{leaf(9), leaf(5), leaf(7)}
	g, err := hashtree.Group(digest.SHA256, members)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := hashtree.Build(digest.SHA256, [][]byte{leaf(0), g, leaf(2)}, 2)
	if err != nil {
		t.Fatal(err)
	}
	lists, err := tree.Reduced(1, members)
	if err != nil {
		t.Fatal(err)
	}
	if len(lists) != 3 || len(lists[0]) != 3 || len(lists[1]) != 1 {
		t.Errorf("lists %v", lists)
	}
	if _, err := tree.Reduced(1, members[:2]); !errors.Is(err, hashtree.ErrNotMember) {
		t.Errorf("a missing member: got %v", err)
	}
}

func TestEveryReducedTreeLeadsToTheRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		alg := rapid.SampledFrom([]digest.Algorithm{digest.SHA256, digest.SHA512, digest.SHA384}).Draw(t, "alg")
		arity := rapid.IntRange(2, 7).Draw(t, "arity")
		n := rapid.OneOf(rapid.IntRange(1, 9), rapid.IntRange(1, 300)).Draw(t, "n")
		distinct := rapid.IntRange(1, n).Draw(t, "distinct")
		l := make([][]byte, n)
		for i := range l {
			l[i] = digest.Of(alg, fmt.Appendf(nil, "%d", i%distinct)).Value
		}
		tree, err := hashtree.Build(alg, l, arity)
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if _, err := tree.WriteTo(&file); err != nil {
			t.Fatal(err)
		}
		f, err := hashtree.Open(bytes.NewReader(file.Bytes()), int64(file.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			lists, err := tree.Reduced(i, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := hashtree.Recompute(alg, lists)
			if err != nil || !bytes.Equal(got, tree.Root()) {
				t.Fatalf("leaf %d of %d: %x, %v", i, n, got, err)
			}
			fromFile, err := f.Reduced(i, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lists, fromFile); diff != "" {
				t.Fatalf("leaf %d from the file: %s", i, diff)
			}
		}
	})
}

func TestAFlippedBitInAReducedTreeMissesTheRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "n")
		tree, err := hashtree.Build(digest.SHA256, leaves(n), rapid.IntRange(2, 4).Draw(t, "arity"))
		if err != nil {
			t.Fatal(err)
		}
		lists, err := tree.Reduced(rapid.IntRange(0, n-1).Draw(t, "leaf"), nil)
		if err != nil {
			t.Fatal(err)
		}
		l := lists[rapid.IntRange(0, len(lists)-1).Draw(t, "list")]
		v := l[rapid.IntRange(0, len(l)-1).Draw(t, "value")]
		v[rapid.IntRange(0, len(v)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		got, err := hashtree.Recompute(digest.SHA256, lists)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(got, tree.Root()) {
			t.Fatal("the root is still reached")
		}
	})
}

func TestFilesWithAndWithoutUpperLevelsGiveTheSameTree(t *testing.T) {
	tree, err := hashtree.Build(digest.SHA256, leaves(13), 3)
	if err != nil {
		t.Fatal(err)
	}
	var whole, only bytes.Buffer
	if _, err := tree.WriteTo(&whole); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteLeaves(&only); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"whole": whole.Bytes(), "leaves": only.Bytes()} {
		got, err := hashtree.Read(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(got.Root(), tree.Root()) || got.Len() != 13 {
			t.Errorf("%s: another tree", name)
		}
		for cut := range len(b) {
			if _, err := hashtree.Read(bytes.NewReader(b[:cut])); !errors.Is(err, hashtree.ErrFile) {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
		}
	}
	broken := bytes.Clone(whole.Bytes())
	broken[len(broken)-1] ^= 1
	if _, err := hashtree.Read(bytes.NewReader(broken)); !errors.Is(err, hashtree.ErrFile) {
		t.Errorf("changed root: %v", err)
	}
	if _, err := hashtree.Open(bytes.NewReader(only.Bytes()), int64(only.Len())); !errors.Is(err, hashtree.ErrFile) {
		t.Errorf("file without levels: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, n := range []int{1, 2, 3, 5} {
		tree, err := hashtree.Build(digest.SHA256, leaves(n), 2)
		if err != nil {
			f.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := tree.WriteTo(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := hashtree.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		lists, err := tree.Reduced(tree.Len()-1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if root, err := hashtree.Recompute(tree.Algorithm(), lists); err != nil || !bytes.Equal(root, tree.Root()) {
			t.Fatalf("%x, %v", root, err)
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	const n = 1_000_000
	flat := make([]byte, 0, n*32)
	for i := range n {
		flat = append(flat, leaf(i)...)
	}
	b.Run("tree", func(b *testing.B) {
		for b.Loop() {
			if _, err := hashtree.BuildFlat(digest.SHA256, flat, 2); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		for b.Loop() {
			for i := range n - 1 {
				_ = sha256.Sum256(flat[i/2*64 : i/2*64+64])
			}
		}
	})
}

func Example() {
	// Three documents, the second one with an attachment.
	one := digest.Of(digest.SHA256, []byte("Antrag"))
	group, _ := hashtree.Group(digest.SHA256, [][]byte{
		digest.Of(digest.SHA256, []byte("Bescheid")).Value,
		digest.Of(digest.SHA256, []byte("Anlage")).Value,
	})
	three := digest.Of(digest.SHA256, []byte("Widerspruch"))
	tree, _ := hashtree.Build(digest.SHA256, [][]byte{one.Value, group, three.Value}, 2)
	lists, _ := tree.Reduced(2, nil)
	fmt.Println(tree.Levels(), "levels,", len(lists), "lists for the third document")
	// Output: 3 levels, 2 lists for the third document
}
