package media_test

import (
	"context"
	"image/png"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/sharedtest"
)

func TestSeparatorsOfOtherProductsSplitInTheirSchemes(t *testing.T) {
	e := mediatest.Engine(t)
	for _, c := range []struct {
		file   string
		scheme media.Scheme
		docs   [][]int // nil: no separator in this scheme
	}{
		{"patch-code-t.pdf", media.SchemePatchT, nil},
		{"patch-code-t-qr.pdf", media.SchemePatchT, nil},
		{"patch-code-t-middle.pdf", media.SchemePatchT, [][]int{{1}, {3}}},
		{"patch-code-t-middle.tiff", media.SchemePatchT, [][]int{{1}, {3}}},
		{"several-patcht-codes.pdf", media.SchemePatchT, [][]int{{1, 2}, {4, 5}, {7}}},
		{"barcode-39-asn-123.pdf", media.SchemeASN, [][]int{{1}}},
		{"split-by-asn-1.pdf", media.SchemeASN, nil},
		{"barcode-128-custom.pdf", media.SchemeEVB, [][]int{{1}}},
		{"patch-code-t-middle.pdf", media.SchemeEVB, [][]int{{1, 2, 3}}},
	} {
		t.Run(c.file+" "+string(c.scheme), func(t *testing.T) {
			path := sharedtest.Path(t, "data", "intake", "barcodes", c.file)
			p, err := e.Probe(context.Background(), path, c.file)
			if err != nil {
				t.Fatal(err)
			}
			infos, err := e.LookAtStream(context.Background(), p.Source(path), p.Pages, media.RuleFor(nil, c.scheme), nil)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := media.PlanBatch(infos, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got [][]int
			for _, d := range plan.Documents {
				got = append(got, d.Pages)
			}
			for _, i := range infos {
				t.Logf("page %d blank %v ink %.4f %+v %+v", i.Page, i.Blank, i.Ink, i.Codes, i.Separator)
			}
			t.Log(got, plan.Findings)
			if c.docs != nil {
				if d := cmp.Diff(c.docs, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestBarCodesOfPhotographsAreRead(t *testing.T) {
	for _, n := range []string{"1", "2", "4", "5"} {
		f, err := os.Open(sharedtest.Path(t, "data", "intake", "barcode-photos", "code128-1__"+n+".png"))
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(sharedtest.Path(t, "data", "intake", "barcode-photos", "code128-1__"+n+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		ok := false
		codes := media.BarCodes(context.Background(), media.ToGray(img))
		for _, c := range codes {
			ok = ok || c.Value == strings.TrimRight(string(want), "\n") || strings.TrimSpace(c.Value) == strings.TrimSpace(string(want))
		}
		if !ok {
			t.Errorf("photograph %s: %+v, want %q", n, codes, want)
		}
	}
}
