package intake_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/postgres/pgtest"
	"evb/internal/worldtest"
	"evb/storage"
	"evb/storage/layout"
)

func TestAHoldOnADokumentReachesTheObject(t *testing.T) {
	w := newWorld(t)
	body := picture(7, 3000)
	rec, err := w.send(w.Schulz, "", "a.png", body)
	must(t, err)
	key := layout.Content("stadt", sha256.Sum256(body))
	exec := func(sql string, args ...any) {
		t.Helper()
		must(t, w.DB.InTx(context.Background(), pgtest.Stadt, func(tx pgx.Tx) error {
			_, err := tx.Exec(context.Background(), sql, args...)
			return err
		}))
	}
	held := func() bool {
		t.Helper()
		_, err := w.Blobs.Lock(t.Context(), pgtest.Stadt)
		must(t, err)
		info, err := w.Store.Stat(t.Context(), key)
		must(t, err)
		return info.Lock.LegalHold
	}
	if held() {
		t.Fatal("held by nobody")
	}
	hold := uuid.New()
	exec(`INSERT INTO hold (tenant, id, reason, placed_by, placed_at) VALUES (evb_tenant(), $1, 'Klage', $2, now())`, hold, access.SystemUser)
	exec(`INSERT INTO hold_target (tenant, hold_id, record_id) VALUES (evb_tenant(), $1, $2)`, hold, rec.ID)
	if !held() {
		t.Fatal("not held")
	}
	if err := w.Store.DeleteVersions(t.Context(), key, true); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("deleted against the hold: %v", err)
	}
	exec(`UPDATE hold SET released_at = now(), released_by = $2 WHERE tenant = evb_tenant() AND id = $1`, hold, access.SystemUser)
	if held() {
		t.Error("still held")
	}
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM blob WHERE tenant = evb_tenant() AND lock_actual_hold <> lock_wanted_hold`); n != 0 {
		t.Errorf("%d not recorded", n)
	}
}
