package indexing_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/indexing"
	"evb/internal/indexing/indextest"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
	"evb/search"
	"evb/storage/s3"
)

func TestMain(m *testing.M) { worldtest.Main(m) }

// broken is an engine whose Apply can be made to fail, before or after it has
// worked: a process that dies there leaves the same.
type broken struct {
	search.Engine
	mu     sync.Mutex
	before int // so many calls fail before they do anything
	after  int // so many calls fail after they have done everything
	ops    []int
	puts   []string
}

var errBroken = errors.New("broken on purpose")

func (b *broken) Apply(ctx context.Context, ops []search.Op, cursor []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before > 0 {
		b.before--
		return errBroken
	}
	if err := b.Engine.Apply(ctx, ops, cursor); err != nil {
		return err
	}
	b.ops = append(b.ops, len(ops))
	for _, op := range ops {
		b.puts = append(b.puts, op.Doc.ID)
	}
	if b.after > 0 {
		b.after--
		return errBroken
	}
	return nil
}

// all lists what the index holds of a tenant, without the order of the engine.
func all(t *testing.T, e search.Engine, tenant access.Tenant) []search.Item {
	t.Helper()
	q := search.Query{Principal: search.Principal{Tenant: indexing.TenantKey(tenant), ReadAll: true}, Limit: search.MaxLimit, Sort: search.SortOldest}
	var items []search.Item
	for {
		p, err := e.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, p.Items...)
		if p.Next == "" {
			break
		}
		q.Cursor = p.Next
	}
	slices.SortFunc(items, func(a, b search.Item) int { return strings.Compare(a.ID, b.ID) })
	return items
}

func has(t *testing.T, e search.Engine, word string) int {
	t.Helper()
	where, err := search.Parse(word)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Search(t.Context(), search.Query{Principal: search.Principal{Tenant: "1", ReadAll: true}, Where: where, Exact: true})
	if err != nil {
		t.Fatal(err)
	}
	return p.Total
}

func TestARebuildEqualsWhatWasFollowedAndBothAreWhatPostgresHolds(t *testing.T) {
	w := indextest.New(t)
	w.Sync()
	for i := range 12 {
		d := w.LetterOf(fmt.Sprintf("Bauantrag %d", i), fmt.Sprintf("Gartenzaun Nummer%d", i), func(n *akte.NewDokument) {
			n.Sender, n.DocumentType, n.Aktenzeichen = "Muster GmbH", "Antrag", "61/5-BA-000001/26"
			if i%2 == 0 {
				n.ReceivedOn = time.Time{}
			}
		})
		w.Sync()
		w.Deliver(d.ID, w.Desk, uuid.Nil)
		if i%3 == 0 {
			w.End(d.ID)
			w.File(d.ID, aktetest.NumberBau)
		}
		w.Sync()
	}
	followed := all(t, w.Engine, pgtest.Stadt)
	if len(followed) != 12 {
		t.Fatalf("%d documents", len(followed))
	}
	if err := w.Engine.Rebuild(t.Context(), w.Follower); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(followed, all(t, w.Engine, pgtest.Stadt)); diff != "" {
		t.Error(diff)
	}
	if f, n, err := w.Follower.Check(t.Context(), w.System()); err != nil || n != 12 || len(f) != 0 {
		t.Errorf("check: %d, %+v, %v", n, f, err)
	}
	// What the index says about a Dokument is what the e-file says.
	for _, it := range followed {
		d, err := w.Akten.Dokument(t.Context(), w.System(), uuid.MustParse(it.ID))
		if err != nil {
			t.Fatal(err)
		}
		if it.Subject != d.Subject || it.DocumentType != d.DocumentType || it.State != string(d.State) || len(it.Aktenzeichen) == 0 ||
			it.Aktenzeichen[0] != d.Aktenzeichen || it.Sender != d.Sender || it.Unit != "FB61" || it.Year != 2026 {
			t.Errorf("index %+v\ne-file %+v", it, d)
		}
	}
}

func TestNothingIsLostWhenTheProcessDiesAtAnyPlaceOfAGroup(t *testing.T) {
	w := indextest.New(t)
	w.Sync()
	b := &broken{Engine: w.Engine}
	for round := range 6 {
		d := w.Letter(fmt.Sprintf("Absturz %d", round), fmt.Sprintf("Absturzwort%d", round))
		w.Deliver(d.ID, w.Desk, uuid.Nil)
		w.Number()
		w.Follow(b, func(o *indexing.Options) { o.GroupDocs = 2 })
		b.before, b.after = round%2, (round+1)%2
		if _, err := w.Follower.Step(t.Context()); !errors.Is(err, errBroken) {
			t.Fatalf("round %d: %v", round, err)
		}
		// The next process: a new handle on the same folder.
		if err := w.Engine.Close(); err != nil {
			t.Fatal(err)
		}
		w.OpenIndex()
		b.Engine = w.Engine
		w.Sync()
		if n := has(t, w.Engine, fmt.Sprintf("absturzwort%d", round)); n != 1 {
			t.Errorf("round %d: %d hits", round, n)
		}
	}
	if f, n, err := w.Follower.Check(t.Context(), w.System()); err != nil || n != 6 || len(f) != 0 {
		t.Errorf("check: %d, %+v, %v", n, f, err)
	}
}

func TestManyFactsAboutOneDokumentAreOneOperation(t *testing.T) {
	w := indextest.New(t)
	w.Sync()
	b := &broken{Engine: w.Engine}
	w.Follow(b)
	d := w.Letter("Viel bewegt", "Wanderdüne")
	for range 20 {
		w.Deliver(d.ID, w.Desk, uuid.Nil)
	}
	w.Sync()
	if len(b.puts) != 1 || b.puts[0] != d.ID.String() {
		t.Errorf("puts: %v", b.puts)
	}
	// Opening an item changes neither words nor rights.
	w.Tx(func(tx pgx.Tx) error {
		return w.Log.Append(t.Context(), tx, w.Schulz, w.Now(), event.Fact{Kind: "item.opened", Record: d.ID})
	})
	w.Sync()
	if len(b.puts) != 1 {
		t.Errorf("puts after opening: %v", b.puts)
	}
}

func TestAFactAboutAnAkteReachesEveryDokumentInGroupsOfBoundedSize(t *testing.T) {
	w := indextest.New(t)
	w.Sync()
	for i := range 9 {
		w.LetterAs(w.Schulz, fmt.Sprintf("Anlage %d", i), strings.Repeat("wort ", 100))
	}
	w.Sync()
	b := &broken{Engine: w.Engine}
	w.Follow(b, func(o *indexing.Options) { o.GroupDocs, o.GroupBytes = 4, 1200 })
	w.Tx(func(tx pgx.Tx) error {
		return w.Log.Append(t.Context(), tx, w.System(), w.Now(), event.Fact{Kind: akte.AkteChanged, Record: w.AkteBau})
	})
	w.Sync()
	slices.Sort(b.puts)
	if len(slices.Compact(b.puts)) != 9 {
		t.Errorf("%d documents put", len(b.puts))
	}
	for _, n := range b.ops {
		if n > 2 {
			t.Errorf("a group of %d documents, 500 bytes each, limit 1200 bytes: %v", n, b.ops)
		}
	}
}

func TestANewNumberOfAnAkteIsFoundForWhatLiesInIt(t *testing.T) {
	w := indextest.New(t)
	w.Sync()
	d := w.LetterAs(w.Schulz, "Altaktenzeichen", "Umzug der Registratur")
	w.Tx(func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `INSERT INTO number_register (tenant, id, normal_form, written, record_id, kind)
			VALUES (evb_tenant(), $1, '63ALT77', '63-ALT-77', $2, 'former')`, uuid.Must(uuid.NewV7()), w.AkteBau); err != nil {
			return err
		}
		return w.Log.Append(t.Context(), tx, w.System(), w.Now(), event.Fact{Kind: akte.AkteChanged, Record: w.AkteBau})
	})
	w.Sync()
	p := w.Ask(w.Schulz, "63-ALT-77")
	if p.Total != 1 || p.Items[0].DokumentID != d || p.Items[0].Aktenzeichen != aktetest.NumberBau {
		t.Errorf("%+v", p)
	}
}

func TestWordsThatWereErasedAreGone(t *testing.T) {
	w := indextest.New(t)
	d := w.Letter("Vernichtet", "Löschwort")
	w.Sync()
	if has(t, w.Engine, "löschwort") != 1 {
		t.Fatal("not indexed")
	}
	w.Tx(func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `DELETE FROM record_metadata WHERE tenant = evb_tenant() AND record_id = $1`, d.ID); err != nil {
			return err
		}
		return w.Log.Append(t.Context(), tx, w.System(), w.Now(), event.Fact{Kind: "disposal.destroyed", Record: d.ID})
	})
	w.Sync()
	if n := len(all(t, w.Engine, pgtest.Stadt)); n != 0 {
		t.Errorf("%d documents left", n)
	}
}

func TestTroubleWithTheBucketRepeatsTheRoundAndLosesNothing(t *testing.T) {
	w := indextest.New(t, func(o *worldtest.Options) {
		o.OwnServer, o.Store = true, func(c *s3.Config) { c.CallTimeout, c.Attempts = 5*time.Second, 2 }
	})
	w.Sync()
	w.Letter("Ohne Ablage", "Ausfallwort")
	w.Number()
	w.Must(w.Server.Stop(t.Context()))
	_, err := w.Follower.Step(t.Context())
	if fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("the bucket is away: %v", err)
	}
	raw, err := w.Engine.AppliedCursor(t.Context())
	if err != nil || !strings.Contains(string(raw), `"1":`) {
		t.Fatalf("cursor %s, %v", raw, err)
	}
	if n := has(t, w.Engine, "ablage"); n != 0 {
		t.Errorf("indexed without its text: %d", n)
	}
}

func TestTextThatIsMissingDoesNotHoldTheOthersUp(t *testing.T) {
	w := indextest.New(t)
	w.Sync()
	lost := w.Dokument(t, "Text verloren")
	w.Tx(func(tx pgx.Tx) error {
		id, err := aktetest.Blob(t.Context(), tx) // a row without bytes
		if err != nil {
			return err
		}
		return w.Akten.ReplaceRendition(t.Context(), tx, w.System(), w.Now(), akte.NewRendition{
			ID: uuid.Must(uuid.NewV7()), VersionID: lost.VersionID, Kind: akte.Text, Tool: "test", ToolVersion: "1",
			Files: []akte.NewFile{{Blob: id, Name: "text.txt", MediaType: "text/plain"}},
		})
	})
	w.Letter("Danach", "Nachfolger")
	w.Sync()
	if has(t, w.Engine, "verloren") != 1 || has(t, w.Engine, "nachfolger") != 1 {
		t.Error("one lost text holds up the index")
	}
}

func TestRunCatchesUpRebuildsAStaleIndexAndTellsItsState(t *testing.T) {
	w := indextest.New(t)
	for i := range 5 {
		w.Letter(fmt.Sprintf("Vorher %d", i), "Altbestand")
	}
	w.Number()
	ctx, stop := context.WithCancel(t.Context())
	w.Numbers.OnNumbered = w.Follower.Wake
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Numbers.Run(ctx) })
	wg.Go(func() {
		if err := w.Follower.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer stop()
	head := func() (seq int64) {
		w.Read(func(q postgres.Querier) (err error) {
			seq, _, err = event.Last(t.Context(), q, event.Events)
			return err
		})
		return seq
	}
	if !w.Follower.WaitFor(t.Context(), pgtest.Stadt, head(), 20*time.Second) || has(t, w.Engine, "altbestand") != 5 {
		t.Fatal("not caught up")
	}
	admin := access.Actor{Tenant: pgtest.Stadt, User: w.Nobody.User, Memberships: []access.Membership{{Role: access.Administrator}}}
	state := func() indexing.State {
		s, err := w.Follower.StateOf(t.Context(), admin)
		w.Must(err)
		return s
	}
	// The place is told before the state.
	sharedtest.Eventually(t, "a full index", func() bool { return state().State != indexing.Filling })
	before := state()
	if before.State != indexing.Ready || before.Documents != 5 || before.IndexedUntil == nil {
		t.Fatalf("state %+v", before)
	}
	if err := w.Follower.Rebuild(t.Context(), w.Schulz); !fault.Is(err, "forbidden") {
		t.Errorf("a clerk rebuilds: %v", err)
	}
	if _, err := w.Follower.StateOf(t.Context(), w.Schulz); !fault.Is(err, "forbidden") {
		t.Errorf("a clerk looks: %v", err)
	}
	if err := w.Follower.Rebuild(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	w.Letter("Währenddessen", "Zwischenzeit")
	sharedtest.Eventually(t, "a new index", func() bool {
		now := state()
		return now.State == indexing.Ready && now.Generation != before.Generation
	})
	if !w.Follower.WaitFor(t.Context(), pgtest.Stadt, head(), 20*time.Second) || has(t, w.Engine, "zwischenzeit") != 1 || has(t, w.Engine, "altbestand") != 5 {
		t.Error("the rebuilt index is not at the head of the feed")
	}
	var seq int64
	w.Read(func(q postgres.Querier) error {
		return q.QueryRow(t.Context(), `SELECT seq FROM index_node WHERE tenant = evb_tenant() AND node = 'local'`).Scan(&seq)
	})
	if seq == 0 {
		t.Error("no row of the node")
	}
}

func TestAnIndexOfAnotherVersionIsRebuiltByRun(t *testing.T) {
	w := indextest.New(t)
	w.Letter("Versionswechsel", "Fortschritt")
	w.Sync()
	w.Must(w.Engine.Close())
	// An index that was made without extraction of IBANs is stale for a program with it.
	e, err := search.Open(t.Context(), search.Options{Dir: w.Dir, IBAN: true, AllowStale: true, LockTimeout: 5 * time.Second})
	w.Must(err)
	w.Engine = e
	w.Follow(e)
	if _, err := w.Follower.Step(t.Context()); !errors.Is(err, search.ErrRebuildNeeded) {
		t.Fatalf("stale: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.Follower.Run(ctx) })
	defer wg.Wait()
	defer stop()
	sharedtest.Eventually(t, "a rebuilt index", func() bool {
		s, err := e.Stats(t.Context())
		return err == nil && !s.Stale
	})
	if has(t, e, "fortschritt") != 1 {
		t.Error("lost by the rebuild")
	}
}

func TestTheQueriesOfTheCorpusFindTheirSection(t *testing.T) {
	dir := sharedtest.Path(t, "data", "corpus-de")
	laws, err := os.Open(filepath.Join(dir, "laws.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = laws.Close() }()
	type query struct {
		Kind, Q string
		Rel     []string
	}
	wanted, queries := map[string]bool{}, []query{}
	b, err := os.ReadFile(filepath.Join(dir, "queries-dev.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var q query
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			t.Fatal(err)
		}
		if q.Kind != "title" && q.Kind != "kw3" && q.Kind != "umlaut" || len(queries) >= 90 {
			continue
		}
		queries = append(queries, q)
		for _, id := range q.Rel {
			wanted[id] = true
		}
	}
	z, err := gzip.NewReader(laws)
	if err != nil {
		t.Fatal(err)
	}
	w := indextest.New(t)
	ids := map[string]uuid.UUID{}
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 32<<20)
	others, left := 0, len(wanted)
	for sc.Scan() && left > 0 {
		var law struct{ ID, Title, Text, Type string }
		if err := json.Unmarshal(sc.Bytes(), &law); err != nil {
			t.Fatal(err)
		}
		if !wanted[law.ID] {
			if others++; others > 100 {
				continue
			}
		} else {
			left--
		}
		d := w.LetterOf(law.Title, law.Text, func(n *akte.NewDokument) { n.DocumentType = law.Type })
		ids[law.ID] = d.ID
		w.Deliver(d.ID, w.Desk, uuid.Nil)
	}
	w.Sync()
	found := 0
	for _, q := range queries {
		p := w.Ask(w.Schulz, q.Q)
		top := p.Items[:min(5, len(p.Items))]
		if slices.ContainsFunc(q.Rel, func(id string) bool {
			for _, it := range top {
				if it.DokumentID == ids[id] {
					return true
				}
			}
			return false
		}) {
			found++
		} else {
			t.Logf("%s %q is not among the first five", q.Kind, q.Q)
		}
	}
	t.Logf("%d of %d queries find their section among the first five of %d", found, len(queries), len(ids))
	if found*10 < len(queries)*9 {
		t.Errorf("only %d of %d queries find their section", found, len(queries))
	}
}
