package postkorb_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/org"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
)

func TestARegistryWithoutAUnitReadsWhatLiesInItsPostkorbAndNothingElse(t *testing.T) {
	w := newDesk(t)
	a := access.Actor{Tenant: pgtest.Stadt, TenantSlug: "stadt", Login: "r.egistratur", DisplayName: "Rita Registratur", Via: "test"}
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
		since := w.Now().AddDate(0, -1, 0)
		if a.User, err = w.Org.EnsureUser(t.Context(), tx, w.System(), since, org.NewUser{Login: a.Login, DisplayName: a.DisplayName}); err != nil {
			return err
		}
		if err := w.Org.EnsureMembership(t.Context(), tx, w.System(), since, a.User, uuid.Nil, access.Registry); err != nil {
			return err
		}
		return w.s.EnsureMember(t.Context(), tx, w.System(), since, w.clear, a.User)
	})
	lies, elsewhere := w.Dokument(t, "in der Klärung").ID, w.Dokument(t, "in FB61").ID
	item := w.deliver(t, postkorb.Delivery{Record: lies, Postkorb: w.clear})
	w.deliver(t, postkorb.Delivery{Record: elsewhere, Postkorb: w.bau})

	_, err := w.Akten.Dokument(t.Context(), a, lies)
	ok(t, err)
	_, err = w.Akten.Dokument(t.Context(), a, elsewhere)
	want(t, err, "not-found")
	_, err = w.Akten.Akte(t.Context(), a, w.AkteBau)
	want(t, err, "not-found")
	_, err = w.Akten.File(t.Context(), a, lies, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	want(t, err, "akte-unknown")

	_, err = w.s.Forward(t.Context(), a, item, 0, postkorb.To{Postkorb: w.bau}, "")
	ok(t, err)
	if n := w.open(t, w.Schulz, w.bau); n != 2 {
		t.Errorf("%d items in FB61", n)
	}
	_, err = w.Akten.Dokument(t.Context(), a, lies)
	want(t, err, "not-found")
}
