package search_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/sharedtest"
	"evb/search"
)

func TestASecondOwnerIsRefused(t *testing.T) {
	dir := t.TempDir()
	x := open(t, search.Options{Dir: dir})
	if _, err := search.Open(context.Background(), search.Options{Dir: dir}); !errors.Is(err, search.ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	y := open(t, search.Options{Dir: dir})
	if err := y.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnIndexSurvivesClosing(t *testing.T) {
	dir := t.TempDir()
	x := open(t, search.Options{Dir: dir, Shards: 2})
	put(t, x, search.Doc{ID: "d", Text: "Zaun"})
	if err := x.Apply(context.Background(), nil, []byte("42")); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, search.Options{Dir: dir})
	defer x.Close()
	if c, err := x.AppliedCursor(context.Background()); err != nil || string(c) != "42" {
		t.Fatalf("cursor %q, %v", c, err)
	}
	if p := ask(t, x, "zaun", true); p.Total != 1 {
		t.Fatalf("total %d", p.Total)
	}
}

type source []search.Op

func (s source) Replay(ctx context.Context, cursor []byte, do func(context.Context, []search.Op, []byte) error) error {
	at, _ := strconv.Atoi(string(cursor))
	if at >= len(s) {
		return nil
	}
	return do(ctx, s[at:], []byte(strconv.Itoa(len(s))))
}

func TestAnotherVersionAsksForARebuild(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	x := open(t, search.Options{Dir: dir})
	put(t, x, search.Doc{ID: "d", Text: "Zaun"})
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	for name, opt := range map[string]search.Options{
		"iban":   {IBAN: true},
		"shards": {Shards: 3},
	} {
		opt.Dir = dir
		_, err := search.Open(ctx, opt)
		var ve *search.VersionError
		if !errors.Is(err, search.ErrRebuildNeeded) || !errors.As(err, &ve) || ve.Property != name {
			t.Fatalf("%s: %v", name, err)
		}
	}
	x = open(t, search.Options{Dir: dir, Shards: 3, AllowStale: true})
	defer x.Close()
	if _, err := x.Search(ctx, search.Query{Principal: reader}); !errors.Is(err, search.ErrRebuildNeeded) {
		t.Fatalf("search: %v", err)
	}
	if err := x.Apply(ctx, nil, []byte("1")); !errors.Is(err, search.ErrRebuildNeeded) {
		t.Fatalf("apply: %v", err)
	}
	if s, err := x.Stats(ctx); err != nil || !s.Stale {
		t.Fatalf("stats %+v, %v", s, err)
	}
	src := source{search.PutOp(search.Doc{Tenant: "stadt", ID: "d", Text: "Zaun", Scopes: []string{"s1"}})}
	if err := x.Rebuild(ctx, src); err != nil {
		t.Fatal(err)
	}
	if p := ask(t, x, "zaun", true); p.Total != 1 {
		t.Fatalf("total %d", p.Total)
	}
	if s, err := x.Stats(ctx); err != nil || s.Stale || s.Shards != 3 {
		t.Fatalf("stats %+v, %v", s, err)
	}
	if c, _ := x.AppliedCursor(ctx); string(c) != "1" {
		t.Fatalf("cursor %q", c)
	}
}

func TestARebuildThatIsInterruptedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	x := open(t, search.Options{Dir: dir})
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"g-halfdone", "snap-123"} {
		if err := os.MkdirAll(filepath.Join(dir, left, "shard-000"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	x = open(t, search.Options{Dir: dir})
	defer x.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 { // LOCK, CURRENT and the generation
		t.Fatalf("left: %v", entries)
	}
}

func TestARebuildLearnsItsStatisticsFromTheIndex(t *testing.T) {
	ctx := context.Background()
	x := open(t, search.Options{Dir: t.TempDir()})
	defer x.Close()
	// "Zebrastreifen" is common here and rare in the shipped statistics; the
	// other way round for "Verordnung".
	var src source
	for i := range 1200 {
		text := "Zebrastreifen"
		if i == 7 {
			text = "Verordnung"
		}
		src = append(src, search.PutOp(search.Doc{Tenant: "stadt", ID: fmt.Sprintf("d%04d", i), Text: text + " Gemeinde", Scopes: []string{"s1"}}))
	}
	if err := x.Apply(ctx, src, []byte("1200")); err != nil {
		t.Fatal(err)
	}
	first := func() string {
		n, err := search.Parse("Zebrastreifen Verordnung")
		if err != nil {
			t.Fatal(err)
		}
		p, err := x.Search(ctx, search.Query{Principal: reader, Where: n})
		if err != nil || !p.Relaxed || p.Total != 1200 {
			t.Fatalf("%+v, %v", p.Total, err)
		}
		return p.Items[0].ID
	}
	if got := first(); got == "d0007" {
		t.Fatal("the shipped statistics take Verordnung for rare")
	}
	if err := x.Rebuild(ctx, src); err != nil {
		t.Fatal(err)
	}
	if got := first(); got != "d0007" {
		t.Fatalf("after a rebuild %s is first", got)
	}
}

// dirSink writes a snapshot to a folder.
// A run of letters that is no word, such as an image in text form, stands in
// the index as one term. It must not make the learnt statistics unreadable.
func TestWhatIsNoWordIsNotLearnt(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	x := open(t, search.Options{Dir: dir})
	var src source
	for i := range 1003 {
		text := "Gemeinde"
		if i < 3 {
			text = strings.Repeat("iVBORw", 12_000)
		}
		src = append(src, search.PutOp(search.Doc{Tenant: "stadt", ID: fmt.Sprintf("d%04d", i), Text: text, Scopes: []string{"s1"}}))
	}
	if err := x.Apply(ctx, src, []byte("1003")); err != nil {
		t.Fatal(err)
	}
	if err := x.Rebuild(ctx, src); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, search.Options{Dir: dir})
	defer x.Close()
	if p := ask(t, x, "gemeinde", true); p.Total != 1000 {
		t.Fatalf("total %d", p.Total)
	}
}

// Whoever sees little must not make the engine try every word of the others.
func TestSuggestionsTryABoundedNumberOfWords(t *testing.T) {
	ctx := context.Background()
	x := open(t, search.Options{Dir: t.TempDir()})
	defer x.Close()
	ops := []search.Op{search.PutOp(search.Doc{Tenant: "stadt", ID: "own", Subject: "Zzzaun", Scopes: []string{"s1"}})}
	for i := range 10 {
		var words strings.Builder
		for k := range 500 {
			fmt.Fprintf(&words, "zz%c%c%c%c ", 'a'+i, 'a'+k/100, 'a'+k/10%10, 'a'+k%10)
		}
		ops = append(ops, search.PutOp(search.Doc{Tenant: "stadt", ID: fmt.Sprint(i), Subject: words.String(), Scopes: []string{"other"}}))
	}
	if err := x.Apply(ctx, ops, nil); err != nil {
		t.Fatal(err)
	}
	me := search.Principal{Tenant: "stadt", Scopes: []string{"s1"}}
	for prefix, want := range map[string]int{"zz": 0, "zzz": 1} {
		got, err := x.Suggest(ctx, me, prefix, 5)
		if err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", prefix, got, err)
		}
	}
}

type dirSink string

func (d dirSink) Create(_ context.Context, name string) (io.WriteCloser, error) {
	p := filepath.Join(string(d), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return nil, err
	}
	return os.Create(p)
}

func TestASnapshotTakenWhileLoadingOpens(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(strconv.Itoa(shards), func(t *testing.T) {
			ctx := context.Background()
			x := open(t, search.Options{Dir: t.TempDir(), Shards: shards})
			defer x.Close()
			applied := make(chan int, 200)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					op := search.PutOp(search.Doc{Tenant: "stadt", ID: fmt.Sprintf("d%05d", i), Text: "Zaun", Scopes: []string{"s1"}})
					if err := x.Apply(ctx, []search.Op{op}, []byte(strconv.Itoa(i+1))); err != nil {
						t.Error(err)
						return
					}
					select {
					case applied <- i:
					default:
					}
				}
			})
			for range 30 {
				<-applied
			}
			to := t.TempDir()
			info, err := x.Snapshot(ctx, dirSink(to))
			close(stop)
			wg.Wait()
			if err != nil {
				t.Fatal(err)
			}
			restored := filepath.Join(t.TempDir(), "index")
			if err := search.Restore(ctx, restored, os.DirFS(to)); err != nil {
				t.Fatal(err)
			}
			if err := search.Restore(ctx, restored, os.DirFS(to)); !errors.Is(err, search.ErrNotEmpty) {
				t.Fatalf("second restore: %v", err)
			}
			y := open(t, search.Options{Dir: restored})
			defer y.Close()
			have, err := y.AppliedCursor(ctx)
			if err != nil {
				t.Fatal(err)
			}
			promised, _ := strconv.Atoi(string(info.Cursor))
			got, _ := strconv.Atoi(string(have))
			if p := ask(t, y, "zaun", true); promised < 30 || got < promised || p.Total < got {
				t.Fatalf("cursor promised %d, in the copy %d, documents %d", promised, got, p.Total)
			}
			put(t, y, search.Doc{ID: "new", Text: "Hecke"})
			if p := ask(t, y, "hecke", true); p.Total != 1 {
				t.Fatal("a restored index cannot be written")
			}
		})
	}
}

const loadDir = "EVB_TEST_LOAD_DIR"

// TestLoaderProcess is the child of TestKillWhileLoadingLosesNothing.
func TestLoaderProcess(t *testing.T) {
	dir := os.Getenv(loadDir)
	if dir == "" {
		return
	}
	ctx := context.Background()
	x := open(t, search.Options{Dir: dir, Shards: 2})
	at := 0
	if c, err := x.AppliedCursor(ctx); err != nil {
		t.Fatal(err)
	} else if c != nil {
		at, _ = strconv.Atoi(string(c))
	}
	for ; ; at += 5 {
		var ops []search.Op
		for i := at; i < at+5; i++ {
			ops = append(ops, search.PutOp(search.Doc{Tenant: "stadt", ID: fmt.Sprintf("d%06d", i), Text: "Zaun " + strconv.Itoa(i), Scopes: []string{"s1"}}))
		}
		if err := x.Apply(ctx, ops, []byte(strconv.Itoa(at+5))); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("applied %d\n", at+5)
	}
}

func TestKillWhileLoadingLosesNothing(t *testing.T) {
	dir := t.TempDir()
	rounds := 4
	if sharedtest.Prove() {
		rounds = 100
	}
	acked := 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLoaderProcess$", "-test.count=1")
		cmd.Env = append(os.Environ(), loadDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(out)
		for n := 0; sc.Scan(); {
			v, ok := strings.CutPrefix(sc.Text(), "applied ")
			if !ok {
				continue
			}
			acked, err = strconv.Atoi(v)
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 7+round*5%23 {
				break
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// What it acknowledged before the signal reached it counts, too.
		for sc.Scan() {
			if v, ok := strings.CutPrefix(sc.Text(), "applied "); ok {
				if n, err := strconv.Atoi(v); err == nil {
					acked = n
				}
			}
		}
		_ = cmd.Wait()
		x := open(t, search.Options{Dir: dir})
		c, err := x.AppliedCursor(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		cursor, _ := strconv.Atoi(string(c))
		p := ask(t, x, "zaun", true)
		if cursor < acked || p.Total < cursor || p.Total > cursor+5 {
			t.Fatalf("round %d: %d acknowledged, cursor %d, %d documents", round, acked, cursor, p.Total)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acked < rounds*7*5 {
		t.Fatalf("only %d documents were acknowledged", acked)
	}
}

func TestMetricsAreThereAndGoWithTheIndex(t *testing.T) {
	reg := prometheus.NewRegistry()
	x := open(t, search.Options{Dir: t.TempDir(), Registerer: reg})
	put(t, x, search.Doc{ID: "d", Text: "Zaun"})
	ask(t, x, "zaun", true)
	fams, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range fams {
		got[f.GetName()] = true
		if f.GetName() == "evb_search_documents" && f.GetMetric()[0].GetGauge().GetValue() != 1 {
			t.Errorf("documents: %v", f)
		}
	}
	for _, want := range []string{"evb_search_operations_total", "evb_search_apply_duration_seconds", "evb_search_duration_seconds", "evb_search_documents", "evb_search_rebuilds_total"} {
		if !got[want] {
			t.Errorf("no metric %s", want)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if fams, err = reg.Gather(); err != nil || len(fams) != 0 {
		t.Fatalf("%d metrics after close, %v", len(fams), err)
	}
}
