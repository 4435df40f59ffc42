package akte_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
)

func TestWhatIsSignedOffStaysSoUntilTheDokumentIsReopened(t *testing.T) {
	w := aktetest.New(t)
	ctx := t.Context()
	d, err := w.Akten.File(ctx, w.System(), w.Dokument(t, "Bescheid").ID, akte.FileRequest{Aktenzeichen: aktetest.NumberBau})
	sharedtest.Must(t, err)
	freeze := func() error {
		return w.DB.InTx(ctx, pgtest.Stadt, func(tx pgx.Tx) error { return w.Akten.Freeze(ctx, tx, w.Yilmaz, w.Now(), d.ID) })
	}
	version := func() error {
		return w.DB.InTx(ctx, pgtest.Stadt, func(tx pgx.Tx) error {
			_, err := w.Akten.VersionAllowed(ctx, tx, w.Schulz, w.Now(), d.ID, 0)
			return err
		})
	}
	_, err = w.Akten.ReopenDokument(ctx, w.Yilmaz, d.ID, "zu früh", 0)
	want(t, err, "dokument-not-final")
	for range 2 {
		sharedtest.Must(t, freeze())
	}
	want(t, version(), "dokument-final")

	// Closing and opening the Vorgang does not undo it.
	_, err = w.Akten.CloseVorgang(ctx, w.Schulz, *d.VorgangID, "", 0)
	sharedtest.Must(t, err)
	want(t, freeze(), "dokument-closed")
	_, err = w.Akten.ReopenDokument(ctx, w.Yilmaz, d.ID, "Rechenfehler", 0)
	want(t, err, "dokument-closed")
	_, err = w.Akten.ReopenVorgang(ctx, w.Roth, *d.VorgangID, "Nachtrag", 0)
	sharedtest.Must(t, err)
	want(t, version(), "dokument-final")

	_, err = w.Akten.ReopenDokument(ctx, w.Yilmaz, d.ID, " ", 0)
	want(t, err, "reason-needed")
	_, err = w.Akten.ReopenDokument(ctx, w.Meier, d.ID, "Rechenfehler", 0)
	want(t, err, "not-found")
	_, err = w.Akten.ReopenDokument(ctx, w.Schulz, d.ID, "Rechenfehler", 0)
	want(t, err, "reopening-forbidden")
	_, err = w.Akten.ReopenDokument(ctx, w.Yilmaz, d.ID, "Rechenfehler", 99)
	want(t, err, "stale-version")
	d, err = w.Akten.ReopenDokument(ctx, w.Yilmaz, d.ID, "Rechenfehler", 0)
	sharedtest.Must(t, err)
	if d.State != akte.Registered || d.Versions[0].FrozenAt == nil {
		t.Errorf("%s, frozen %v", d.State, d.Versions[0].FrozenAt)
	}
	sharedtest.Must(t, version())
}
