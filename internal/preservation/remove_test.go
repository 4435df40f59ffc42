package preservation_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/blob"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
	"evb/internal/preservation/preservationtest"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
	"evb/storage"
	"evb/storage/s3"
)

// disposal is the bucket with the credential that overrides locks.
func (w *world) disposal() storage.Store {
	w.T.Helper()
	store, err := s3.New(w.Place.Bucket.Config())
	must(w.T, err)
	w.T.Cleanup(store.CloseIdle)
	return store
}

// destroy removes Dokumente as a disposal does: evidence, files, words, index of
// blobs, objects.
func (w *world) destroy(p *preservation.Service, docs ...uuid.UUID) {
	w.T.Helper()
	w.Tx(func(tx pgx.Tx) error {
		_, err := p.Remove(w.T.Context(), tx, stadt, docs...)
		return err
	})
	list := make([]string, len(docs))
	for i, d := range docs {
		list[i] = "'" + d.String() + "'"
	}
	of := `(SELECT r.id FROM rendition r JOIN dokument_version v ON v.tenant = r.tenant AND v.id = r.version_id WHERE v.dokument_id IN (` + strings.Join(list, ",") + `))`
	w.superExec(`SET session_replication_role = replica;
        DELETE FROM primary_file WHERE rendition_id IN ` + of + `;
        DELETE FROM rendition WHERE id IN ` + of + `;
        UPDATE blob SET lease_until = now() - interval '1 second';
        SET session_replication_role = DEFAULT`)
	blobs := w.Bytes(func(o *blob.Options) { o.Grace, o.Disposal = 1, w.disposal() })
	freed, err := blobs.Reconcile(w.T.Context(), pgtest.Stadt)
	must(w.T, err)
	swept, err := blobs.Sweep(w.T.Context(), pgtest.Stadt)
	must(w.T, err)
	if swept.Removed == 0 || swept.Waiting > 0 {
		w.T.Fatalf("blobs: %+v, %+v", freed, swept)
	}
	if _, err := p.Repack(w.T.Context(), pgtest.Stadt); err != nil {
		w.T.Fatal(err)
	}
}

func TestRemovalLeavesAllOtherRecordsAndNoDigest(t *testing.T) {
	w := newWorld(t)
	p := w.service(func(o *preservation.Options) { o.Disposal = w.disposal() })
	var docs []uuid.UUID
	for i := range 6 {
		docs = append(docs, w.letter("Betreff "+fmt.Sprint(i), "Brief "+noise(20), "Anlage "+noise(20)))
	}
	w.sealNow(w.p)
	unsealed := w.letter("vor dem Siegel", noise(30))
	must(t, w.p.CollectRecord(t.Context(), pgtest.Stadt, unsealed))
	if _, err := w.p.PackNow(t.Context(), pgtest.Stadt); err != nil {
		t.Fatal(err)
	}
	gone, kept := append([]uuid.UUID{unsealed}, docs[:2]...), docs[2:]
	var traces [][]byte
	for _, d := range gone {
		for _, g := range w.groups(d) {
			traces = append(traces, g.Salt)
			for _, m := range g.Members {
				for _, k := range m.Digests {
					traces = append(traces, k.Value)
				}
			}
		}
	}
	before := map[uuid.UUID][]byte{}
	for _, d := range kept {
		before[d] = w.groups(d)[0].Record
	}

	w.destroy(p, gone...)

	ver := w.verifier()
	same := func() {
		t.Helper()
		for _, d := range kept {
			g := w.groups(d)[0]
			w.mustVerify(ver, g)
			if !bytes.Equal(g.Record, before[d]) {
				t.Errorf("the record of another Dokument changed")
			}
		}
	}
	same()
	for _, d := range gone {
		if g := w.groups(d); len(g) != 0 {
			t.Errorf("%d archive versions of a removed Dokument", len(g))
		}
	}
	w.wantNoTrace(traces)
	w.sealNow(w.p) // nothing of the unsealed one is sealed
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM archive_version WHERE tenant = evb_tenant() AND removed_at IS NOT NULL AND seal_id IS NOT NULL`); n != 2 {
		t.Errorf("%d removed leaves, want 2", n)
	}
	w.mustCheck()
	// And the next renewals of both kinds leave it out.
	w.renew(w.p, preservation.RenewOrder{Kind: preservation.TimestampRenewal})
	i := w.renew(w.p, preservation.RenewOrder{Kind: preservation.HashtreeRenewal})[0]
	if i.Missing != 0 {
		t.Errorf("renewal counts removed ones as missing: %+v", i)
	}
	for _, d := range kept {
		g := w.groups(d)[0]
		w.mustVerify(ver, g)
		wantStamps(t, g.Record, 2, 1)
	}
	w.wantNoTrace(traces)
	st, err := w.p.Status(t.Context(), stadt)
	must(t, err)
	documents := 0
	for _, u := range st.Seals {
		documents += u.Documents
	}
	if documents != len(kept) {
		t.Errorf("status counts %d Dokumente, %d are there", documents, len(kept))
	}
}

func TestKilledWhileRepackingNothingIsLostAndNothingStays(t *testing.T) {
	w := newWorld(t)
	p := w.service(func(o *preservation.Options) { o.Disposal = w.disposal() })
	for _, point := range []string{"removal-repacked", "removal-pack-deleted"} {
		t.Run(point, func(t *testing.T) {
			kept, gone := w.letter("bleibt", noise(30)), w.letter("geht", noise(30))
			w.sealNow(w.p)
			g := w.groups(gone)[0]
			w.Tx(func(tx pgx.Tx) error { _, err := p.Remove(t.Context(), tx, stadt, gone); return err })
			out, err := worldtest.Command(t, "repacker", order{Place: w.Place, TSA: w.url}, point).CombinedOutput()
			if !worldtest.Killed(err) {
				t.Fatalf("not killed: %v\n%s", err, out)
			}
			// The session of the dead process holds the election for a moment.
			sharedtest.Eventually(t, "the pack is gone", func() bool {
				n, err := p.Repack(t.Context(), pgtest.Stadt)
				must(t, err)
				return n > 0
			})
			w.mustVerify(w.verifier(), w.groups(kept)[0])
			w.wantNoTrace([][]byte{g.Salt, []byte(base64.StdEncoding.EncodeToString(g.Salt))})
			w.mustCheck()
			found, err := preservation.ReadBucket(t.Context(), w.Store, "stadt")
			must(t, err)
			if text := fmt.Sprintf("%+v", found); strings.Contains(text, gone.String()) || !strings.Contains(text, kept.String()) {
				t.Error("the bucket does not say what is there")
			}
		})
	}
	held := w.letter("gesperrt", noise(30))
	w.sealNow(w.p)
	hold := id()
	w.Exec(`INSERT INTO hold (tenant, id, reason, placed_by, placed_at) VALUES (evb_tenant(), $1, 'Klage', $2, now())`, hold, id())
	w.Exec(`INSERT INTO hold_target (tenant, hold_id, record_id) VALUES (evb_tenant(), $1, $2)`, hold, held)
	err := w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error { _, err := p.Remove(t.Context(), tx, stadt, held); return err })
	wantFault(t, err, "evidence-held")
}

// repacker is a worker of the disposal.
func repacker(ctx context.Context, o order) error {
	var parts worldtest.Options
	options(&parts)
	w, err := worldtest.Join(ctx, o.Place, parts)
	if err != nil {
		return err
	}
	defer w.DB.Close()
	po := preservationtest.Options(o.TSA, w.Now)
	disposal, err := s3.New(o.Place.Bucket.Config())
	if err != nil {
		return err
	}
	po.Disposal = disposal
	_, err = preservation.New(w.DB, w.Log, w.Akten, w.Store, po).Repack(ctx, pgtest.Stadt)
	return errors.Join(err, w.Close())
}

// wantNoTrace looks for values, raw and in hexadecimal, in every table and every
// object.
func (w *world) wantNoTrace(traces [][]byte) {
	w.T.Helper()
	ctx := w.T.Context()
	var tables []string
	super := pgtest.Super(w.T, w.DB)
	rows, err := super.Query(ctx, `SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1`)
	must(w.T, err)
	tables, err = pgx.CollectRows(rows, pgx.RowTo[string])
	must(w.T, err)
	for _, table := range tables {
		rows, err := super.Query(ctx, `SELECT x::text FROM `+pgx.Identifier{table}.Sanitize()+` x`)
		must(w.T, err)
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(w.T, err)
		all := strings.Join(texts, "\n")
		for _, v := range traces {
			if strings.Contains(all, hex.EncodeToString(v)) {
				w.T.Errorf("table %s keeps %x", table, v)
			}
		}
	}
	for info, err := range w.Store.List(ctx, "", "") {
		must(w.T, err)
		r, _, err := w.Store.Get(ctx, info.Key, storage.Range{})
		must(w.T, err)
		b, err := io.ReadAll(r)
		must(w.T, err)
		must(w.T, r.Close())
		b = append(b, string(info.Key)...)
		for _, v := range traces {
			if bytes.Contains(b, v) || bytes.Contains(b, []byte(hex.EncodeToString(v))) {
				w.T.Errorf("object %s keeps %x", info.Key, v)
			}
		}
	}
}
