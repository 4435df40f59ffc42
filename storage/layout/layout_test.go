package layout_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"evb/storage"
	"evb/storage/layout"
)

var id = uuid.MustParse("019a5b2c-7d3e-7f00-8123-456789abcdef")

func ExampleContent() {
	fmt.Println(layout.Content("stadt", sha256.Sum256([]byte("Brief"))))
	// Output: stadt/ac/40/ac40ae1e8d41291c59c7f09640725d31f88930b2074aad8adb17959d97bc1497
}

func ExamplePack() {
	fmt.Println(layout.Pack("stadt", id))
	// Output: stadt/packs/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef.json
}

func ExampleHead() {
	fmt.Println(layout.Head("stadt", "event", 12345678))
	// Output: stadt/heads/event/0000000000012/0000000000012345678.json
}

func ExampleSealLeaves() {
	fmt.Println(layout.SealLeaves("stadt", id))
	// Output: stadt/seals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/leaves
}

func ExampleSealLevels() {
	fmt.Println(layout.SealLevels("stadt", id))
	// Output: stadt/seals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/levels
}

func ExampleSealToken() {
	fmt.Println(layout.SealToken("stadt", id, 1))
	// Output: stadt/seals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/tokens/000001.tst
}

func ExampleSealRevocation() {
	fmt.Println(layout.SealRevocation("stadt", id, 1))
	// Output: stadt/seals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/revocation/000001.der
}

func ExampleChainLeaves() {
	fmt.Println(layout.ChainLeaves("stadt", id, 2))
	// Output: stadt/seals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/chains/000002/leaves
}

func ExampleChainLevels() {
	fmt.Println(layout.ChainLevels("stadt", id, 2))
	// Output: stadt/seals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/chains/000002/levels
}

func ExampleRenewalLeaves() {
	fmt.Println(layout.RenewalLeaves("stadt", id))
	// Output: stadt/renewals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/leaves
}

func ExampleRenewalLevels() {
	fmt.Println(layout.RenewalLevels("stadt", id))
	// Output: stadt/renewals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/levels
}

func ExampleRenewalToken() {
	fmt.Println(layout.RenewalToken("stadt", id))
	// Output: stadt/renewals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/token.tst
}

func ExampleRenewalRevocation() {
	fmt.Println(layout.RenewalRevocation("stadt", id))
	// Output: stadt/renewals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/revocation.der
}

func ExampleReceipt() {
	fmt.Println(layout.Receipt("stadt", id))
	// Output: stadt/receipts/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef.json
}

func ExampleSnapshot() {
	fmt.Println(layout.Snapshot("stadt", "aktenplan", id))
	// Output: stadt/snapshots/aktenplan/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef.json
}

func ExampleIndexSnapshot() {
	fmt.Println(layout.IndexSnapshot("dokumente", id, 3, "root.bolt"))
	// Output: _index/dokumente/019a5b2c-7d3e-7f00-8123-456789abcdef/0003/root.bolt
}

func ExampleProbe() {
	fmt.Println(layout.Probe(id))
	// Output: _probe/019a5b2c-7d3e-7f00-8123-456789abcdef
}

func ExampleContentPrefix() {
	fmt.Println(layout.ContentPrefix("stadt", 0x0f))
	// Output: stadt/0f/
}

func ExampleParse() {
	n, err := layout.Parse("stadt/seals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/tokens/000001.tst")
	fmt.Println(n.Kind, n.Tenant, n.N, err)
	// Output: seal-token stadt 1 <nil>
}

func genName(t *rapid.T) layout.Name {
	word := rapid.StringMatching(`[a-z][a-z0-9-]{0,20}`)
	n := layout.Name{Kind: rapid.SampledFrom([]layout.Kind{
		layout.KindContent, layout.KindPack, layout.KindHead, layout.KindSealLeaves, layout.KindSealLevels, layout.KindSealToken,
		layout.KindSealRevocation, layout.KindChainLeaves, layout.KindChainLevels, layout.KindRenewalLeaves, layout.KindRenewalLevels,
		layout.KindRenewalToken, layout.KindRenewalRevocation, layout.KindReceipt, layout.KindSnapshot, layout.KindIndexSnapshot, layout.KindProbe,
	}).Draw(t, "kind")}
	var b [32]byte
	copy(b[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes"))
	if n.Kind == layout.KindContent {
		n.SHA256 = b
	} else if n.Kind != layout.KindHead {
		copy(n.ID[:], b[:])
	}
	if n.Kind != layout.KindProbe && n.Kind != layout.KindIndexSnapshot {
		// Short and nasty slugs: they must not be taken for a folder of another kind.
		n.Tenant = rapid.OneOf(word, rapid.SampledFrom([]string{"aa", "ab", "packs", "seals", "renewals", "heads", "a"})).Draw(t, "tenant")
	}
	switch n.Kind {
	case layout.KindHead:
		n.Label, n.N = word.Draw(t, "stream"), rapid.Int64Min(0).Draw(t, "seq")
	case layout.KindSnapshot:
		n.Label = word.Draw(t, "kind of snapshot")
	case layout.KindSealToken, layout.KindSealRevocation, layout.KindChainLeaves, layout.KindChainLevels:
		n.N = int64(rapid.Int32Min(0).Draw(t, "n"))
	case layout.KindIndexSnapshot:
		n.Label, n.N = word.Draw(t, "index"), int64(rapid.Int32Min(0).Draw(t, "shard"))
		n.File = rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,20}`).Draw(t, "file")
	}
	return n
}

func TestParseIsTheInverseOfKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := genName(t)
		k := n.Key()
		if err := k.Validate(); err != nil {
			t.Fatalf("%+v: %v", n, err)
		}
		got, err := layout.Parse(k)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(n, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestNoKeyIsAFolderOfAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genName(t).Key(), genName(t).Key()
		if strings.HasPrefix(string(b), string(a)+"/") {
			t.Fatalf("%s is a folder of %s", a, b)
		}
	})
	// No key at all has a proper folder that itself parses.
	rapid.Check(t, func(t *rapid.T) {
		parts := strings.Split(string(genName(t).Key()), "/")
		for i := 1; i < len(parts); i++ {
			if k := storage.Key(strings.Join(parts[:i], "/")); k != "" {
				if _, err := layout.Parse(k); err == nil {
					t.Fatalf("folder %s is a key too", k)
				}
			}
		}
	})
}

func TestMalformedPartsGiveNoKey(t *testing.T) {
	sum := sha256.Sum256(nil)
	for name, k := range map[string]storage.Key{
		"empty tenant":         layout.Content("", sum),
		"upper case":           layout.Content("Stadt", sum),
		"slash":                layout.Content("a/b", sum),
		"dots":                 layout.Content("..", sum),
		"underscore":           layout.Pack("_index", id),
		"long":                 layout.Pack(strings.Repeat("a", 64), id),
		"stream with slash":    layout.Head("stadt", "a/b", 1),
		"negative":             layout.Head("stadt", "event", -1),
		"negative token":       layout.SealToken("stadt", id, -1),
		"file with slash":      layout.IndexSnapshot("i", id, 0, "a/b"),
		"file starts with dot": layout.IndexSnapshot("i", id, 0, ".."),
		"unknown kind":         layout.Name{Kind: "x", Tenant: "stadt"}.Key(),
	} {
		if k != "" {
			t.Errorf("%s: %q", name, k)
		}
		if !errors.Is(k.Validate(), storage.ErrBadKey) {
			t.Errorf("%s: the empty key must not validate", name)
		}
	}
	if layout.TenantPrefix("..") != "" || layout.ContentPrefix("A", 1) != "" || layout.HeadPrefix("stadt", "") != "" || layout.IndexPrefix("/") != "" {
		t.Error("malformed prefixes must be empty")
	}
}

func TestParseRefusesOtherSpellings(t *testing.T) {
	h := strings.Repeat("ab", 32)
	for _, k := range []storage.Key{
		"", "x", "stadt/", "stadt/ab/ab/" + storage.Key(strings.ToUpper(h)), "stadt/aa/bb/" + storage.Key(h), "stadt/ab/ab/" + storage.Key(h[:62]),
		"stadt/packs/019a5/019A5B2C-7d3e-7f00-8123-456789abcdef.json", "stadt/packs/00000/019a5b2c-7d3e-7f00-8123-456789abcdef.json",
		"stadt/packs/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef", "stadt/heads/event/0000000000012/12345678.json", "stadt/heads/event/0/+1.json",
		"stadt/seals/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef/tokens/1.tst", "_probe/urn:uuid:019a5b2c-7d3e-7f00-8123-456789abcdef", "_index/i/x/0/f",
	} {
		if n, err := layout.Parse(k); !errors.Is(err, layout.ErrUnknown) {
			t.Errorf("%q: %+v, %v", k, n, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("stadt/packs/019a5/019a5b2c-7d3e-7f00-8123-456789abcdef.json")
	f.Add("_index/dokumente/019a5b2c-7d3e-7f00-8123-456789abcdef/0003/root.bolt")
	f.Add("stadt/heads/event/0000000000012/0000000000012345678.json")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := layout.Parse(storage.Key(s))
		if err == nil && string(n.Key()) != s {
			t.Fatalf("%q parsed to %+v, which is %q", s, n, n.Key())
		}
	})
}
