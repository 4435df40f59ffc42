package media_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pdfcpu/pdfcpu/pkg/api"

	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/sharedtest"
)

// streams gives the digests of all image data of a PDF as its bytes stand in the
// file, found by a pattern and not by the code under test.
func streams(t *testing.T, b []byte) [][32]byte {
	t.Helper()
	var out [][32]byte
	for _, m := range regexp.MustCompile(`(?s)/Subtype ?/Image[^>]*>>\s*stream\r?\n`).FindAllIndex(b, -1) {
		head := b[bytes.LastIndex(b[:m[0]], []byte("obj")):m[1]]
		l := regexp.MustCompile(`/Length (\d+)`).FindSubmatch(head)
		if l == nil {
			t.Fatal("a stream without a length")
		}
		n, _ := strconv.Atoi(string(l[1]))
		out = append(out, sha256.Sum256(b[m[1]:m[1]+n]))
	}
	return out
}

func split(t *testing.T, e *media.Engine, src media.Source, pages ...[]int) [][]byte {
	t.Helper()
	dir := t.TempDir()
	var parts []media.Part
	for i, p := range pages {
		parts = append(parts, media.Part{Pages: p, Out: filepath.Join(dir, strconv.Itoa(i))})
	}
	if err := e.Split(context.Background(), src, parts); err != nil {
		t.Fatal(err)
	}
	out := make([][]byte, len(parts))
	for i, p := range parts {
		var err error
		if out[i], err = os.ReadFile(p.Out); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != len(parts) {
		t.Errorf("%d files after %d parts: %v", len(left), len(parts), err)
	}
	return out
}

func TestSplitPDFKeepsImageStreamsAndIsDeterministic(t *testing.T) {
	e := mediatest.Engine(t)
	path := filepath.Join(mediatest.Batches(), "dev-a.pdf")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	source := streams(t, whole)
	if len(source) != 12 {
		t.Fatalf("%d images in the source", len(source))
	}
	src := media.Source{Path: path, Kind: media.KindPDF}
	first := split(t, e, src, []int{2}, []int{4, 6}, []int{12, 1})
	second := split(t, mediatest.Engine(t), src, []int{2}, []int{4, 6}, []int{12, 1})
	for i := range first {
		if !bytes.Equal(first[i], second[i]) {
			t.Errorf("part %d: two runs give different bytes", i)
		}
	}
	for i, pages := range [][]int{{2}, {4, 6}, {12, 1}} {
		got := streams(t, first[i])
		var want [][32]byte
		for _, p := range pages {
			want = append(want, source[p-1])
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("part %d: streams differ: %s", i, d)
		}
	}
	// A second reader has to be content with the result.
	api.DisableConfigDir()
	for i, b := range first {
		if err := api.Validate(bytes.NewReader(b), nil); err != nil {
			t.Errorf("part %d: %v", i, err)
		}
	}
}

func TestSplitPartsShowTheirPagesAndPassTheProbe(t *testing.T) {
	e := mediatest.Engine(t)
	for _, c := range []struct {
		file string
		page int
	}{
		{"born-digital/GeoTopo-komprimiert.pdf", 17},
		{"born-digital/tagged.pdf", 2},
		{"born-digital/pdflatex-4-pages.pdf", 3},
		{"scans/multi-page-mixed.pdf", 4},
		{"scans/cardinal.pdf", 2},
		{"pdfa/XRECHNUNG_Einfach.pdf", 2},
		{"tiff/multi-page-images.tiff", 2},
		{"barcodes/patch-code-t-middle.tiff", 2},
		{"batches/dev-b.tif", 7},
	} {
		t.Run(c.file, func(t *testing.T) {
			path := sharedtest.Path(t, "data", "intake", c.file)
			p, err := e.Probe(context.Background(), path, c.file)
			if err != nil {
				t.Fatal(err)
			}
			src := p.Source(path)
			before, err := e.Render(context.Background(), src, c.page, media.Box{Width: 600, Height: 600}, false)
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "part"+filepath.Ext(c.file))
			if err := e.Split(context.Background(), src, []media.Part{{Pages: []int{c.page}, Out: out}}); err != nil {
				t.Fatal(err)
			}
			q, err := e.Probe(context.Background(), out, out)
			if err != nil || q.Pages != 1 || q.Verdict != media.Accept {
				t.Fatalf("the part: %+v, %v", q, err)
			}
			after, err := e.Render(context.Background(), q.Source(out), 1, media.Box{Width: 600, Height: 600}, false)
			if err != nil {
				t.Fatal(err)
			}
			if !before.Gray.Rect.Eq(after.Gray.Rect) || !bytes.Equal(before.Gray.Pix, after.Gray.Pix) {
				t.Error("the page looks different after the split")
			}
			a, err := e.PageText(context.Background(), src, c.page)
			if err != nil {
				t.Fatal(err)
			}
			b, err := e.PageText(context.Background(), q.Source(out), 1)
			if err != nil {
				t.Fatal(err)
			}
			if a.Text != b.Text {
				t.Errorf("text differs: %s", cmp.Diff(a.Text, b.Text))
			}
		})
	}
}

func TestSplitTIFFKeepsStripsAndIsDeterministic(t *testing.T) {
	e := mediatest.Engine(t)
	src := media.Source{Path: filepath.Join(mediatest.Batches(), "dev-b.tif"), Kind: media.KindTIFF}
	a, b := split(t, e, src, []int{3, 7}), split(t, e, src, []int{3, 7})
	if !bytes.Equal(a[0], b[0]) {
		t.Error("two runs give different bytes")
	}
	// The part of a part is the part of the whole.
	path := filepath.Join(t.TempDir(), "a.tif")
	if err := os.WriteFile(path, a[0], 0o600); err != nil {
		t.Fatal(err)
	}
	x := split(t, e, src, []int{7})[0]
	y := split(t, e, media.Source{Path: path, Kind: media.KindTIFF}, []int{2})[0]
	if !bytes.Equal(x, y) {
		t.Error("cutting twice differs from cutting once")
	}
}

func TestSplitRefusesAFileOnWhosePagesTwoReadersDisagree(t *testing.T) {
	e := mediatest.Engine(t)
	out := filepath.Join(t.TempDir(), "out")
	err := e.Split(context.Background(), media.Source{Path: sharedtest.Path(t, "data", "intake", "broken", "invalid_pdf.pdf"), Kind: media.KindPDF},
		[]media.Part{{Pages: []int{1}, Out: out}})
	if media.CodeOf(err) != media.CodeDamaged {
		t.Errorf("%v", err)
	}
}

func TestSplitRefusesPagesThatAreNotThere(t *testing.T) {
	e := mediatest.Engine(t)
	for _, c := range []struct {
		file string
		kind media.Kind
	}{{"dev-a.pdf", media.KindPDF}, {"dev-b.tif", media.KindTIFF}} {
		out := filepath.Join(t.TempDir(), "out")
		err := e.Split(context.Background(), media.Source{Path: filepath.Join(mediatest.Batches(), c.file), Kind: c.kind},
			[]media.Part{{Pages: []int{99}, Out: out}})
		if media.CodeOf(err) != media.CodeNoSuchPage {
			t.Errorf("%s: %v", c.file, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a file was left behind", c.file)
		}
	}
}
