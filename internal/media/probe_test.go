package media_test

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/sharedtest"
)

type manifestLine struct {
	file, kind, expect string
	pages              int
}

func manifest(t *testing.T) []manifestLine {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, "data", "intake", "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []manifestLine
	for s := bufio.NewScanner(f); s.Scan(); {
		c := strings.Split(s.Text(), "\t")
		if c[0] == "file" {
			continue
		}
		n, _ := strconv.Atoi(c[5])
		out = append(out, manifestLine{c[0], c[1], c[2], n})
	}
	return out
}

func TestProbeDecidesAsTheManifestExpects(t *testing.T) {
	e := mediatest.Engine(t)
	kinds := []string{"scans", "tiff", "born-digital", "pdfa", "broken", "hostile", "fuzz", "barcodes", "batches"}
	for _, l := range manifest(t) {
		if !slices.Contains(kinds, l.kind) {
			continue
		}
		switch strings.ToLower(filepath.Ext(l.file)) {
		case ".pdf", ".tif", ".tiff", ".jpg", ".png":
		default:
			continue // unpacking archives and mail is not the matter of pages
		}
		t.Run(l.file, func(t *testing.T) {
			start := time.Now()
			p, err := e.Probe(context.Background(), filepath.Join(sharedtest.Path(t, "data", "intake"), l.file), l.file)
			if err != nil && media.CodeOf(err) == "" {
				t.Fatalf("the machine is at fault: %v", err)
			}
			t.Logf("%v %s %d pages %v %v: %v", time.Since(start).Round(time.Millisecond), p.Verdict, p.Pages, p.ActiveContent, p.Findings, err)
			var want []media.Verdict
			switch {
			case l.kind == "fuzz" || strings.Contains(l.file, "fuzzed"):
				want = []media.Verdict{media.Quarantine, media.Repair}
			case strings.HasPrefix(l.expect, "accept"):
				want = []media.Verdict{media.Accept}
			default:
				want = []media.Verdict{media.Verdict(l.expect)}
			}
			if !slices.Contains(want, p.Verdict) {
				t.Errorf("verdict %s, want %v", p.Verdict, want)
			}
			if strings.Contains(l.file, "smile-") {
				l.pages = 1 // the second is a thumbnail beside the page, not a page
			}
			if l.pages > 0 && err == nil && l.kind != "fuzz" && p.Pages != l.pages {
				t.Errorf("%d pages, want %d", p.Pages, l.pages)
			}
		})
	}
}
