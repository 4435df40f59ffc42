package scan_test

import (
	"context"
	"strings"
	"testing"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/scan"
)

func TestAPersonBringsABatchToItsEnd(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	a := w.page("dev-a.pdf", 2)
	b := filesBatch(t, "post-9", []string{"1;a.pdf;1;;;;;", "2;nie.pdf;2;;;;;"}, map[string][]byte{"a.pdf": a, "zuviel.pdf": w.page("dev-a.pdf", 4)})
	book := w.through(system, b)
	if book.State != scan.Attention {
		t.Fatalf("book: %s", encode(book))
	}
	checker := w.person("pruefung", access.QualityChecker)
	for name, c := range map[string]struct {
		actor   access.Actor
		reason  string
		version int64
		want    string
	}{
		"auditor":   {w.person("revision", access.Auditor), "egal", 0, "read-only-role"},
		"admin":     {w.person("betrieb", access.Administrator), "egal", 0, "forbidden"},
		"stranger":  {w.person("sachbearbeitung", access.Clerk), "egal", 0, "not-found"},
		"no reason": {checker, " \n", 0, "resolve-reason-missing"},
		"too long":  {checker, strings.Repeat("ä", 2001), 0, "field-too-long"},
		"stale":     {checker, "egal", book.RowVersion + 1, "stale-version"},
	} {
		if _, err := w.scans.Resolve(ctx, c.actor, book.ID, c.reason, c.version); !fault.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}

	// A missing file that has come meanwhile is not waived behind its sender's back.
	must(t, w.put(system, book.ID, "nie.pdf", a))
	if _, err := w.scans.Resolve(ctx, checker, book.ID, "lag nicht bei", 0); !fault.Is(err, "batch-files-waiting") {
		t.Errorf("with a file that waits: %v", err)
	}

	c := filesBatch(t, "post-10", []string{"1;a.pdf;1;;;;;", "2;nie.pdf;2;;;;;"}, map[string][]byte{"a.pdf": a, "zuviel.pdf": w.page("dev-a.pdf", 4)})
	book = w.through(system, c)
	done, err := w.scans.Resolve(ctx, checker, book.ID, " Dokument 2 lag nicht im Stapel ", book.RowVersion)
	must(t, err)
	balances(t, done)
	if done.State != scan.Balanced || done.BalancedAt == nil || done.Resolution != "Dokument 2 lag nicht im Stapel" || done.ResolvedBy == nil || *done.ResolvedBy != checker.User {
		t.Errorf("book: %s", encode(done))
	}
	for _, f := range done.Findings {
		if f.Attention && !f.Resolved {
			t.Errorf("still open: %+v", f)
		}
	}
	if done.Dokumente[1].State != "waived" || done.Documents != 2 {
		t.Errorf("positions: %s", encode(done.Dokumente))
	}
	if got := w.query(`SELECT reason FROM event WHERE tenant = evb_tenant() AND kind = 'batch.resolved'`); len(got) != 1 || got[0] != "Dokument 2 lag nicht im Stapel" {
		t.Errorf("facts: %q", got)
	}

	// The end is the end: the late file is refused with a clear word, and a
	// second resolution, too; the hand-over repeated gives the same book.
	if err := w.put(system, done.ID, "nie.pdf", a); !fault.Is(err, "batch-submitted") {
		t.Errorf("a late file: %v", err)
	}
	if up, err := w.scans.Offset(ctx, system, done.ID, "nie.pdf"); err != nil || up.Complete {
		t.Errorf("a waived file counts as stored: %+v, %v", up, err)
	}
	if _, err := w.scans.Resolve(ctx, checker, done.ID, "noch einmal", 0); !fault.Is(err, "batch-not-attention") {
		t.Errorf("again: %v", err)
	}
	if books, err := w.scans.HandOver(ctx, system, c.Dir); err != nil || len(books) != 1 || books[0].State != scan.Balanced {
		t.Errorf("handed over again: %v, %s", err, encode(books))
	}
}
