package lists_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/lists"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

// A list finds its lines by other ways than the predicate that decides; both
// must come to the same. And no list needs to read a table that grows with the
// archive from end to end.
func TestListsOfACity(t *testing.T) {
	name := pgtest.Database(t)
	c := cityIn(t, pgtest.AppDSN(name), pgtest.SuperDSN(name), whole(2000))
	read := lists.New(c.db, lists.Options{Now: func() time.Time { return cityNow }})
	ctx := t.Context()
	for who, a := range c.actors() {
		sees := func(kind, order string) []uuid.UUID {
			t.Helper()
			out := []uuid.UUID{}
			must(t, c.db.Read(ctx, tenant, func(q postgres.Querier) error {
				rows, err := q.Query(ctx, `SELECT o.id FROM record_object o LEFT JOIN akte k ON k.tenant = o.tenant AND k.id = o.id
                    WHERE o.tenant = evb_tenant() AND o.kind = '`+kind+`' AND `+access.Sees("o", 1, 2)+` ORDER BY `+order, a.User, cityNow)
				if err != nil {
					return err
				}
				out, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
				return err
			}))
			return out
		}
		dokumente := sees("dokument", "o.id DESC")
		got := []uuid.UUID{}
		for cursor, more := "", true; more; more = cursor != "" {
			p, err := read.Dokumente(ctx, a, lists.DokumenteFilter{}, cursor, 170, true)
			must(t, err)
			if int(*p.Total) != len(dokumente) {
				t.Fatalf("%s: %d dokumente counted, %d seen", who, *p.Total, len(dokumente))
			}
			got = append(got, ids(p.Items, func(d akte.Dokument) uuid.UUID { return d.ID })...)
			cursor = p.NextCursor
		}
		if diff := cmp.Diff(dokumente, got); diff != "" {
			t.Errorf("%s: dokumente\n%s", who, diff)
		}
		akten := sees("akte", "k.aktenzeichen, o.id")
		got = []uuid.UUID{}
		for cursor, more := "", true; more; more = cursor != "" {
			p, err := read.Akten(ctx, a, lists.AktenFilter{}, cursor, 7)
			must(t, err)
			if int(*p.Total) != len(akten) {
				t.Fatalf("%s: %d akten counted, %d seen", who, *p.Total, len(akten))
			}
			got = append(got, ids(p.Items, func(k akte.Akte) uuid.UUID { return k.ID })...)
			cursor = p.NextCursor
		}
		if diff := cmp.Diff(akten, got); diff != "" {
			t.Errorf("%s: akten\n%s", who, diff)
		}
		vorgaenge := sees("vorgang", "o.id")
		got = []uuid.UUID{}
		for cursor, more := "", true; more; more = cursor != "" {
			p, err := read.AllVorgaenge(ctx, a, cursor, 7, true)
			must(t, err)
			if int(*p.Total) != len(vorgaenge) {
				t.Fatalf("%s: %d vorgänge counted, %d seen", who, *p.Total, len(vorgaenge))
			}
			got = append(got, ids(p.Items, func(v akte.Vorgang) uuid.UUID { return v.ID })...)
			cursor = p.NextCursor
		}
		if diff := cmp.Diff(vorgaenge, got); diff != "" {
			t.Errorf("%s: vorgänge\n%s", who, diff)
		}
		nodes, err := read.Aktenplan(ctx, a)
		must(t, err)
		var n int64
		for _, x := range nodes {
			n += x.Akten
		}
		if int(n) != len(akten) {
			t.Errorf("%s: the plan counts %d akten of %d", who, n, len(akten))
		}
		// The narrowed lists are parts of the whole one.
		for name, f := range map[string]lists.DokumenteFilter{"vorgang": {Vorgang: c.Vorgang}, "akte": {Akte: c.Akte}, "batch": {Batch: c.Batch},
			"unfiled": {Unfiled: true}, "captured": {State: akte.Captured}, "filed": {State: akte.Filed}} {
			p, err := read.Dokumente(ctx, a, f, "", 200, true)
			must(t, err)
			if int(*p.Total) < len(p.Items) || len(p.Items) < min(int(*p.Total), 200) {
				t.Errorf("%s: %s: %d lines of %d", who, name, len(p.Items), *p.Total)
			}
			for _, d := range p.Items {
				if !slices.Contains(dokumente, d.ID) {
					t.Errorf("%s: %s shows %s", who, name, d.ID)
				}
			}
		}
	}
	for _, l := range c.lists() {
		for who, a := range c.actors() {
			if who == "reader" {
				continue // what a reader counts is everything
			}
			c.plans(t, func() error { _, err := l.run(context.WithoutCancel(ctx), a); return missing(err) }, true, l.whole)
		}
	}
}
