package akte_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/idempotency"
	"evb/internal/postgres/pgtest"
)

func TestARequestKeyMakesOneAkteHoweverOftenItComes(t *testing.T) {
	w := aktetest.New(t)
	n := akte.NewAkte{EinheitCode: "61.50", Subject: "Anbau", Aktenzeichen: "61/5-BA-777777/26", Key: idempotency.Key{Name: "once", Digest: [32]byte{1}}}
	akten := make([]akte.Akte, 6)
	first := make([]bool, len(akten))
	var wg sync.WaitGroup
	for i := range akten {
		wg.Go(func() {
			k, replayed, err := w.Akten.CreateAkte(t.Context(), w.Schulz, n)
			if err != nil {
				t.Error(err)
			}
			akten[i], first[i] = k, !replayed
		})
	}
	wg.Wait()
	made := 0
	for i, k := range akten {
		if first[i] {
			made++
		}
		if diff := cmp.Diff(akten[0], k, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("another answer: %s", diff)
		}
	}
	if made != 1 {
		t.Errorf("made %d times", made)
	}
	again, replayed, err := w.Akten.CreateAkte(t.Context(), w.Schulz, n)
	if err != nil || !replayed || again.ID != akten[0].ID {
		t.Errorf("later: %v, %v, %v", again.ID, replayed, err)
	}
	n.Key.Digest = [32]byte{2}
	_, _, err = w.Akten.CreateAkte(t.Context(), w.Schulz, n)
	want(t, err, "idempotency-key-reused")
}

func TestNoKeyIsKeptWithoutItsWork(t *testing.T) {
	w := aktetest.New(t)
	key := idempotency.Key{Name: "v", Digest: [32]byte{1}}
	_, _, err := w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteWohn, Key: key})
	want(t, err, "not-found")
	v, replayed, err := w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteBau, Key: key})
	if err != nil || replayed {
		t.Fatalf("after a failure: %v, %v", replayed, err)
	}
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
		var n int
		err := tx.QueryRow(t.Context(), `SELECT count(*) FROM ingest_request WHERE tenant = evb_tenant() AND record_id = $1`, v.ID).Scan(&n)
		if n != 1 {
			t.Errorf("%d keys of the Vorgang", n)
		}
		return err
	})
}
