package media_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"evb/internal/media"
	"evb/internal/media/batchindex"
	"evb/internal/media/mediatest"
)

func readIndex(t testing.TB, id string) *batchindex.Index {
	t.Helper()
	var got [2]*batchindex.Index
	for i, end := range []string{".index.csv", ".index.xml"} {
		f, err := os.Open(filepath.Join(mediatest.Batches(), id+end))
		if err != nil {
			t.Fatal(err)
		}
		got[i], err = batchindex.Read(end, f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := batchindex.Agree(got[0], got[1]); err != nil {
		t.Fatal(err)
	}
	return got[1]
}

func TestEachPageOfTheBatchesGetsTheFateOfTheTruth(t *testing.T) {
	for _, id := range []string{"dev-a", "dev-b", "dev-c", "dev-d"} {
		t.Run(id, func(t *testing.T) {
			e := mediatest.Engine(t)
			tr, index := mediatest.ReadTruth(t, id), readIndex(t, id)
			path := filepath.Join(mediatest.Batches(), tr.File)
			p, err := e.Probe(context.Background(), path, tr.File)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			infos, err := e.LookAtStream(context.Background(), p.Source(path), p.Pages, media.RuleFor(index), nil)
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			plan, err := media.PlanBatch(infos, index)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d pages, %.1f pages/s, findings %+v", p.Pages, float64(p.Pages)/took.Seconds(), plan.Findings)
			var got, want []string
			for i, q := range plan.Pages {
				num := 0
				if q.Fate == media.FateContent {
					num = plan.Documents[q.Position-1].Announced.Number
				}
				got = append(got, fmt.Sprint(q.Page, q.Fate, q.Code, num))
				w := tr.Pages[i]
				if w.Kind != "content" {
					w.Doc = 0
				}
				want = append(want, fmt.Sprint(w.Page, w.Kind, w.Code, w.Doc))
				t.Logf("page %d ink %.4f skew %.1f %+v", q.Page, infos[i].Ink, infos[i].Skew, infos[i].Separator)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("fates (-truth +plan):\n%s", d)
			}
			if id == "dev-d" {
				if !slices.ContainsFunc(plan.Findings, func(f media.PlanFinding) bool {
					return f.Code == media.CodePageCountDiffers && f.Separator == "DO-DEV-D-003" && f.Announced == 2 && f.Found == 1
				}) {
					t.Error("the wrong page count of the index was not found")
				}
			} else if len(plan.Findings) != 0 || plan.Attention {
				t.Errorf("findings on a sound batch: %+v", plan.Findings)
			}
		})
	}
}

func TestRecognisedTextHoldsTheWordsOfTheTruth(t *testing.T) {
	e := mediatest.Engine(t)
	if _, err := e.OCRVersion(context.Background()); err != nil {
		t.Fatalf("text recognition is needed by this test: %v", err)
	}
	for _, c := range []struct {
		id     string
		recall float64
	}{{"dev-a", 0.9}, {"dev-b", 0.9}, {"dev-c", 0.9}, {"dev-d", 0.5}} {
		tr := mediatest.ReadTruth(t, c.id)
		src := tr.Source()
		found, all, n := 0, 0, 0
		start := time.Now()
		for _, p := range tr.Pages {
			if p.Kind != "content" {
				continue
			}
			r, err := e.Text(context.Background(), src, p.Page)
			if err != nil {
				t.Fatal(err)
			}
			n++
			f, a := mediatest.Recall(strings.Join(p.Text, " "), r.Text)
			found, all = found+f, all+a
			t.Logf("%s page %d: %d of %d words, confidence %.0f", c.id, p.Page, f, a, r.Confidence)
		}
		share := float64(found) / float64(all)
		t.Logf("%s: word recall %.3f, %.1f pages/s", c.id, share, float64(n)/time.Since(start).Seconds())
		if share < c.recall {
			t.Errorf("%s: word recall %.3f, below %.2f", c.id, share, c.recall)
		}
	}
}
