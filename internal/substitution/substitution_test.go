package substitution_test

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
	"evb/internal/postkorb/postkorbtest"
	"evb/internal/sharedtest"
	"evb/internal/substitution"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// town has the desks of FB61 (Schulz, Yilmaz), FB64 (Meier) and those of Schulz
// and Koch alone. Koch works in FB61's unit and not in its Postkorb.
type town struct {
	*aktetest.Town
	t                        *testing.T
	s                        *substitution.Service
	post                     *postkorb.Service
	bau, wohn, schulz, kochs uuid.UUID
	admin                    access.Actor
}

func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{Town: aktetest.New(t), t: t}
	w.s = substitution.NewService(w.DB, w.Log, substitution.Options{Now: w.Now})
	w.post = postkorb.New(w.DB, w.Log, postkorb.Options{Now: w.Now})
	w.admin = w.Nobody
	w.admin.Memberships = []access.Membership{{Role: access.Administrator}}
	w.bau = postkorbtest.Make(t, w.Town, w.post, postkorb.NewPostkorb{Name: "FB61-Bauordnung", Kind: postkorb.Group, Unit: w.Bauordnung}, w.Schulz, w.Yilmaz)
	w.wohn = postkorbtest.Make(t, w.Town, w.post, postkorb.NewPostkorb{Name: "FB64-Wohngeld", Kind: postkorb.Group, Unit: w.Wohngeld}, w.Meier)
	w.schulz, w.kochs = postkorbtest.Personal(t, w.Town, w.post, w.Schulz), postkorbtest.Personal(t, w.Town, w.post, w.Koch)
	return w
}

func (w *town) ok(err error) {
	w.t.Helper()
	sharedtest.Must(w.t, err)
}

func (w *town) want(err error, code string) {
	w.t.Helper()
	sharedtest.WantFault(w.t, err, code)
}

func (w *town) enter(a access.Actor, n substitution.New) substitution.Substitution {
	w.t.Helper()
	sub, _, err := w.s.Create(w.t.Context(), a, n)
	w.ok(err)
	return sub
}

func (w *town) deliver(record, desk, assignee uuid.UUID) (item uuid.UUID) {
	w.t.Helper()
	w.Tx(w.t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
		item, err = w.post.Deliver(w.t.Context(), tx, w.System(), w.Now(), postkorb.Delivery{Record: record, Postkorb: desk, Assignee: assignee, Why: postkorb.Why{Code: "why-by-hand"}})
		return err
	})
	return item
}

func (w *town) protect(record uuid.UUID, class string) {
	w.t.Helper()
	w.Tx(w.t, pgtest.Stadt, func(tx pgx.Tx) error {
		_, err := tx.Exec(w.t.Context(), `UPDATE record_object SET protection_class = $2 WHERE tenant = evb_tenant() AND id = $1`, record, class)
		return err
	})
}

// deputy is the actor as a request of that moment has it.
func deputy(a access.Actor) access.Actor { a.Deputy = true; return a }

func (w *town) tokens(a access.Actor) map[string]bool {
	w.t.Helper()
	var list []string
	var all bool
	w.ok(w.DB.Read(w.t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		return q.QueryRow(w.t.Context(), access.SQLActorTokens, a.User, w.Now()).Scan(&list, &all)
	}))
	out := map[string]bool{}
	for _, x := range list {
		out[x] = true
	}
	return out
}

func (w *town) found(a access.Actor, record uuid.UUID) bool {
	w.t.Helper()
	var list []string
	w.ok(w.DB.Read(w.t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		return q.QueryRow(w.t.Context(), access.SQLDocumentTokens, record).Scan(&list)
	}))
	mine := w.tokens(a)
	for _, x := range list {
		if mine[x] {
			return true
		}
	}
	return false
}

func TestADeputyHasWhatTheAbsentPersonHasUntilTheLastSecond(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	open, assigned, secret := w.Dokument(t, "offen").ID, w.Dokument(t, "persönlich zugewiesen").ID, w.Dokument(t, "Personalsache").ID
	elsewhere := w.Dokument(t, "an Yilmaz").ID
	w.protect(secret, "personal")
	item := w.deliver(open, w.bau, uuid.Nil)
	hers := w.deliver(assigned, w.bau, w.Schulz.User)
	closed := w.deliver(secret, w.bau, uuid.Nil)
	w.deliver(elsewhere, w.bau, w.Yilmaz.User)

	from, to := w.Now().Add(time.Hour), w.Now().Add(3*time.Hour)
	sub := w.enter(w.Schulz, substitution.New{For: w.Schulz.User, Deputy: w.Meier.User, From: from, To: to, Postkoerbe: []uuid.UUID{w.bau}})
	if sub.State != "planned" || sub.DeputyName != "Dora Meier" || len(sub.Postkoerbe) != 1 {
		t.Errorf("entered: %+v", sub)
	}
	reaches := func(yes bool) {
		t.Helper()
		for record, sees := range map[uuid.UUID]bool{open: yes, assigned: yes, secret: false, elsewhere: false} {
			_, err := w.Akten.Dokument(ctx, w.Meier, record)
			if (err == nil) != sees || err != nil && !fault.Is(err, "not-found") {
				t.Errorf("content: %v", err)
			}
			if w.found(w.Meier, record) != sees {
				t.Errorf("search: %v, want %v", !sees, sees)
			}
		}
		page, err := w.post.Items(ctx, w.Meier, w.bau, postkorb.Filter{}, "", 0)
		if !yes {
			w.want(err, "not-found")
			return
		}
		w.ok(err)
		p, err := w.post.Postkorb(ctx, w.Meier, w.bau)
		w.ok(err)
		if page.Total != 3 || len(page.Items) != 3 || p.Open != 3 || p.New != 3 || !p.Deputy || !p.Member {
			t.Errorf("lines %d of %d, desk %+v", len(page.Items), page.Total, p)
		}
		_, err = w.post.Item(ctx, w.Meier, closed)
		w.want(err, "not-found")
		_, err = w.post.Claim(ctx, w.Meier, closed, 0)
		w.want(err, "not-found")
		if list, err := w.post.ItemsOf(ctx, w.Meier, secret); err != nil || len(list) != 0 {
			t.Errorf("where it lies: %v %v", list, err)
		}
	}
	reaches(false)
	w.Pass(time.Hour - time.Second)
	reaches(false)
	w.Pass(time.Second)
	reaches(true)

	// Both names, on the desk and beside it.
	me := deputy(w.Meier)
	_, err := w.post.Claim(ctx, me, item, 0)
	w.ok(err)
	_, err = w.post.Done(ctx, me, hers, 0, "")
	w.ok(err)
	subject := "in Vertretung benannt"
	_, err = w.Akten.ChangeDokument(ctx, me, open, akte.DokumentPatch{Subject: &subject}, 0)
	w.ok(err)
	w.ok(w.DB.Read(ctx, pgtest.Stadt, func(q postgres.Querier) error {
		for record, kinds := range map[uuid.UUID]int{open: 2, assigned: 1} {
			all, err := event.History(ctx, q, 100, record)
			if err != nil {
				return err
			}
			n := 0
			for _, e := range all {
				if e.Actor == w.Meier.User {
					n++
					if e.OnBehalfOf == nil || *e.OnBehalfOf != w.Schulz.User {
						t.Errorf("%s names %v", e.Kind, e.OnBehalfOf)
					}
				}
			}
			if n != kinds {
				t.Errorf("%d acts of the deputy, want %d", n, kinds)
			}
		}
		return nil
	}))
	var capacities int
	w.ok(w.DB.Read(ctx, pgtest.Stadt, func(q postgres.Querier) error {
		return q.QueryRow(ctx, `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND actor_id = $1 AND capacity = 'substitute'`, w.Meier.User).Scan(&capacities)
	}))
	if capacities != 3 {
		t.Errorf("%d facts in the capacity of a deputy", capacities)
	}
	// The end, to the second; what the deputy had taken is free again.
	w.Pass(2*time.Hour - time.Second)
	_, err = w.post.Item(ctx, w.Meier, item)
	w.ok(err)
	w.Pass(time.Second)
	reaches(false)
	_, err = w.post.Done(ctx, w.Meier, item, 0, "")
	w.want(err, "not-found")
	_, err = w.post.Claim(ctx, w.Schulz, item, 0)
	w.ok(err)
}

func TestThereAreNoChains(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	to := w.Now().Add(time.Hour)
	doc := w.Dokument(t, "Schreiben").ID
	w.deliver(doc, w.bau, uuid.Nil)
	w.enter(w.Schulz, substitution.New{For: w.Schulz.User, Deputy: w.Koch.User, To: to, Postkoerbe: []uuid.UUID{w.bau}})
	_, _, err := w.s.Create(ctx, w.Koch, substitution.New{For: w.Koch.User, Deputy: w.Meier.User, To: to, Postkoerbe: []uuid.UUID{w.bau}})
	w.want(err, "substitution-postkorb-foreign")
	all := w.enter(w.Koch, substitution.New{For: w.Koch.User, Deputy: w.Meier.User, To: to})
	if len(all.Postkoerbe) != 1 || all.Postkoerbe[0].ID != w.kochs {
		t.Errorf("all of Koch's: %+v", all.Postkoerbe)
	}
	_, err = w.Akten.Dokument(ctx, w.Koch, doc)
	w.ok(err)
	_, err = w.Akten.Dokument(ctx, w.Meier, doc)
	w.want(err, "not-found")
	// The absent person leaves the Postkorb: the deputy, too.
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		return w.post.EndMember(ctx, tx, w.System(), w.Now(), w.bau, w.Schulz.User)
	})
	_, err = w.Akten.Dokument(ctx, w.Koch, doc)
	w.want(err, "not-found")
}

func TestEveryRefusalOfASubstitutionChangesNothing(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	to := w.Now().Add(24 * time.Hour)
	base := substitution.New{For: w.Schulz.User, Deputy: w.Meier.User, To: to, Postkoerbe: []uuid.UUID{w.bau}}
	with := func(change func(*substitution.New)) substitution.New {
		n := base
		change(&n)
		return n
	}
	first := w.enter(w.Schulz, with(func(n *substitution.New) { n.From, n.To = w.Now().Add(10*time.Hour), w.Now().Add(12*time.Hour) }))
	for _, test := range []struct {
		name string
		who  access.Actor
		n    substitution.New
		code string
	}{
		{"a colleague", w.Koch, base, "substitution-not-yours"},
		{"the head of another unit", w.Roth, base, "substitution-not-yours"},
		{"oneself", w.Schulz, with(func(n *substitution.New) { n.Deputy = w.Schulz.User }), "substitution-self"},
		{"nobody there", w.Schulz, with(func(n *substitution.New) { n.Deputy = uuid.New() }), "user-not-found"},
		{"for nobody", w.admin, with(func(n *substitution.New) { n.For = uuid.New() }), "user-not-found"},
		{"a service", w.Schulz, with(func(n *substitution.New) { n.Deputy = access.SystemUser }), "deputy-unfit"},
		{"backwards", w.Schulz, with(func(n *substitution.New) { n.From = to.Add(time.Second) }), "substitution-period"},
		{"over already", w.Schulz, with(func(n *substitution.New) { n.From, n.To = w.Now().Add(-time.Hour), w.Now() }), "substitution-period"},
		{"a foreign Postkorb", w.Schulz, with(func(n *substitution.New) { n.Postkoerbe = []uuid.UUID{w.bau, w.wohn} }), "substitution-postkorb-foreign"},
		{"no such Postkorb", w.Schulz, with(func(n *substitution.New) { n.Postkoerbe = []uuid.UUID{uuid.New()} }), "postkorb-unknown"},
		{"no Postkorb at all", w.admin, with(func(n *substitution.New) { n.For, n.Postkoerbe = w.Nobody.User, nil }), "substitution-no-postkorb"},
		{"overlap", w.Schulz, base, "substitution-overlap"},
		{"overlap with another deputy", w.Yilmaz, with(func(n *substitution.New) { n.Deputy = w.Koch.User }), "substitution-overlap"},
	} {
		if _, _, err := w.s.Create(ctx, test.who, test.n); !fault.Is(err, test.code) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	w.want(w.s.End(ctx, w.Koch, first.ID, 0), "not-found")
	w.want(w.s.End(ctx, w.Meier, first.ID, 0), "substitution-not-yours")
	w.want(w.s.End(ctx, w.Schulz, first.ID, 9), "stale-version")
	list, err := w.s.List(ctx, w.Schulz, true)
	w.ok(err)
	if len(list) != 1 {
		t.Errorf("%d substitutions", len(list))
	}
	if list, _ := w.s.List(ctx, w.Koch, true); len(list) != 0 {
		t.Errorf("a colleague sees %+v", list)
	}
	if list, _ := w.s.List(ctx, w.Meier, false); len(list) != 1 {
		t.Errorf("the deputy sees %+v", list)
	}
	// Another Postkorb in the same time, and the same after it.
	w.enter(w.Yilmaz, with(func(n *substitution.New) { n.Deputy, n.Postkoerbe = w.Koch.User, []uuid.UUID{w.schulz} }))
	w.enter(w.admin, with(func(n *substitution.New) { n.From = w.Now().Add(12 * time.Hour) }))
	w.ok(w.s.End(ctx, w.Yilmaz, first.ID, first.RowVersion))
	w.want(w.s.End(ctx, w.Schulz, first.ID, 0), "substitution-over")
	w.enter(w.Schulz, with(func(n *substitution.New) { n.To = w.Now().Add(time.Hour) }))
}

func TestTwoAtOnceAndTheSameTwiceAreOne(t *testing.T) {
	w := newTown(t)
	n := substitution.New{For: w.Schulz.User, Deputy: w.Meier.User, To: w.Now().Add(time.Hour), Postkoerbe: []uuid.UUID{w.bau}}
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() { _, _, errs[i] = w.s.Create(t.Context(), w.Schulz, n) })
	}
	wg.Wait()
	entered := 0
	for _, err := range errs {
		if err == nil {
			entered++
		} else if !fault.Is(err, "substitution-overlap") {
			t.Error(err)
		}
	}
	if entered != 1 {
		t.Errorf("%d entered", entered)
	}
	n.Postkoerbe, n.Key = []uuid.UUID{w.schulz}, idempotency.Key{Name: "urlaub"}
	one, _, err := w.s.Create(t.Context(), w.Schulz, n)
	w.ok(err)
	two, replayed, err := w.s.Create(t.Context(), w.Schulz, n)
	w.ok(err)
	if !replayed || one.ID != two.ID {
		t.Errorf("again: %+v", two)
	}
}
