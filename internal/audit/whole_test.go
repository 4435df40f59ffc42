package audit_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/audit"
	"evb/internal/event"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
	"evb/internal/preservation/preservationtest"
	"evb/internal/worldtest"
)

func TestHeadsThatPreservationWritesAndSealsAreUnderstood(t *testing.T) {
	w := newWorld(t)
	w.at = time.Now()
	akten := akte.New(w.db, w.log, akte.Options{})
	proof := preservation.New(w.db, w.log, akten, w.store, preservationtest.Options(preservationtest.New(t, nil).URL, nil))
	w.facts(event.Events, 5)
	w.facts(event.Access, 2)
	system := access.System(pgtest.Stadt, "stadt") // heads lie under the tenant's own slug
	// Heads alone are no reason for a stamp: they go with the next Dokument.
	must(t, w.db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		d := aktetest.Draft(t, tx, "Brief")
		if _, err := tx.Exec(t.Context(), `INSERT INTO blob_digest (tenant, blob_id, algorithm, value)
            SELECT tenant, id, 'sha256', sha256 FROM blob WHERE tenant = evb_tenant() UNION ALL
            SELECT tenant, id, 'sha512', sha512(sha256) FROM blob WHERE tenant = evb_tenant()`); err != nil {
			return err
		}
		return akten.InsertDokumente(t.Context(), tx, system, w.at, d)
	}))
	worldtest.Number(t, w.db)
	_, err := proof.SealNow(t.Context(), system)
	must(t, err)
	worldtest.Number(t, w.db)
	must(t, proof.WriteHeads(t.Context(), pgtest.Stadt))
	r, err := w.s.Verify(t.Context(), system)
	must(t, err)
	if !r.Valid {
		t.Fatalf("%+v", r.First)
	}
	events, accesses := r.Streams[0], r.Streams[1]
	// The seal's own facts came after the head that it holds.
	if events.Sealed != 6 || events.Head <= 6 || events.Tail != 0 || accesses.Sealed != 2 || accesses.Head != 2 {
		t.Errorf("events %+v\naccesses %+v", events, accesses)
	}
	// What was sealed is not to be exchanged in the database either.
	w.exec(`UPDATE archive_metadata m SET body = replace(body, '"seq":6', '"seq":5') FROM archive_version v
        WHERE v.tenant = 1 AND v.cause = 'log_head' AND m.archive_version_id = v.id AND m.body LIKE '%"seq":6%'`)
	r, err = w.s.Verify(t.Context(), system)
	must(t, err)
	if r.Valid || r.First.Code != audit.SealDiffers {
		t.Errorf("%+v", r.First)
	}
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	w.s = audit.New(w.db, w.log, w.store, audit.Options{})
	const n = 100_000
	for range n / 2000 {
		facts := make([]event.Fact, 2000)
		for i := range facts {
			facts[i] = event.Fact{Kind: "dokument.test", Record: auditorID, Details: map[string]any{"n": i}}
		}
		must(b, w.db.InTx(b.Context(), pgtest.Stadt, func(tx pgx.Tx) error { return w.log.Append(b.Context(), tx, w.a, w.at, facts...) }))
		w.at = w.at.Add(time.Minute)
		worldtest.Number(b, w.db)
	}
	w.head(event.Events)
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if r := w.verify(); !r.Valid {
				b.Fatalf("%+v", r.First)
			}
		}
		b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if _, err := w.s.List(b.Context(), w.a, audit.Filter{}, "", 50); err != nil {
				b.Fatal(err)
			}
		}
	})
}
