package postkorb_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
)

// What a leaver put away lies with the successor already: the date still comes.
func TestTheDateOfALeaversItemIsKeptWhereTheSuccessorHasTheObjectAlready(t *testing.T) {
	w := newDesk(t)
	ctx := t.Context()
	koch := w.alone(t, w.Koch)
	doc := w.Dokument(t, "Schreiben").ID
	theirs := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: koch})
	own := w.deliver(t, postkorb.Delivery{Record: doc, Postkorb: w.schulz})
	_, err := w.s.FollowUp(ctx, w.Koch, theirs, 0, w.Now().Add(time.Hour), "prüfen")
	ok(t, err)
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		items, follows, err := w.s.MoveWork(ctx, tx, w.Yilmaz, w.Now(), w.Koch.User, w.Schulz.User, "ausgeschieden")
		if err == nil && (items != 1 || follows != 1) {
			t.Errorf("%d items, %d follow-ups", items, follows)
		}
		return err
	})
	_, err = w.s.FollowUp(ctx, w.Schulz, own, 0, w.Now().Add(24*time.Hour), "")
	ok(t, err)
	w.Pass(2 * time.Hour)
	n, err := w.s.FireFollowUps(ctx, pgtest.Stadt)
	ok(t, err)
	lines := w.lines(t, w.Schulz, w.schulz)
	if n != 1 || len(lines) != 1 || lines[0].ID != own || lines[0].OpenedAt != nil {
		t.Errorf("%d came back: %+v", n, lines)
	}
}
