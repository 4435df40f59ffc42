// Package postkorbtest makes the Postkörbe of the town of aktetest.
package postkorbtest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte/aktetest"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
)

// Make makes a Postkorb that has been there for a month, with its members.
func Make(t testing.TB, w *aktetest.Town, s *postkorb.Service, n postkorb.NewPostkorb, members ...access.Actor) (id uuid.UUID) {
	t.Helper()
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
		ctx, since := t.Context(), w.Now().AddDate(0, -1, 0)
		if id, err = s.EnsurePostkorb(ctx, tx, w.System(), since, n); err != nil {
			return err
		}
		for _, m := range members {
			if err := s.EnsureMember(ctx, tx, w.System(), since, id, m.User); err != nil {
				return err
			}
		}
		return nil
	})
	return id
}

// Town are the desks that stand in the town of nearly every test.
type Town struct{ Bau, Wohn, Clearing uuid.UUID }

// MakeTown makes them: FB61 (Schulz, Koch, Yilmaz), FB64 (Meier), Klaerung
// (Roth).
func MakeTown(t testing.TB, w *aktetest.Town, s *postkorb.Service) Town {
	t.Helper()
	return Town{
		Bau:      Make(t, w, s, postkorb.NewPostkorb{Name: "FB61-Bauordnung", Kind: postkorb.Group, Unit: w.Bauordnung}, w.Schulz, w.Koch, w.Yilmaz),
		Wohn:     Make(t, w, s, postkorb.NewPostkorb{Name: "FB64-Wohngeld", Kind: postkorb.Group, Unit: w.Wohngeld}, w.Meier),
		Clearing: Make(t, w, s, postkorb.NewPostkorb{Name: "Klaerung", Kind: postkorb.Clearing}, w.Roth),
	}
}

// Personal makes the Postkorb of a person alone.
func Personal(t testing.TB, w *aktetest.Town, s *postkorb.Service, a access.Actor) uuid.UUID {
	t.Helper()
	return Make(t, w, s, postkorb.NewPostkorb{Name: a.Login, Kind: postkorb.Personal, User: a.User})
}
