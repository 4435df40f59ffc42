package circulation_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"evb/internal/akte"
	"evb/internal/circulation"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
)

const sqlCoSigned = `
    SELECT coalesce(string_agg(v.number || ':' || jsonb_array_length(m.body::jsonb->'agreements') || ':' || (m.body::jsonb->'agreements'->-1->>'outcome'), ' ' ORDER BY a.number), '')
    FROM archive_version a JOIN archive_metadata m ON m.tenant = a.tenant AND m.archive_version_id = a.id
    JOIN dokument_version v ON v.tenant = a.tenant AND v.id = a.version_id WHERE a.dokument_id = $1 AND a.cause = 'co_sign'`

func TestAnAgreementNamesTheArchiveVersionAndIsSealedWithTheVersion(t *testing.T) {
	w := newOffice(t)
	ctx := t.Context()
	proof := preservation.New(w.DB, w.Log, w.Akten, nil, preservation.Options{Now: w.Now, Agreements: circulation.SignedUnder})
	doc := w.filed("Bescheid")
	read := func() {
		t.Helper()
		d, err := w.Akten.Dokument(ctx, w.Schulz, doc)
		w.ok(err)
		w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) error {
			return w.Akten.SetExtraction(ctx, tx, w.System(), w.Now(), doc, d.VersionID, akte.ExtractionDone, "")
		})
		pgtest.Exec(t, w.DB, `INSERT INTO blob_digest (tenant, blob_id, algorithm, value) SELECT tenant, id, 'sha256', sha256 FROM blob UNION ALL SELECT tenant, id, 'sha512', sha512(sha256) FROM blob ON CONFLICT DO NOTHING`)
		w.ok(proof.CollectRecord(ctx, pgtest.Stadt, doc))
	}
	read()
	archived := pgtest.One[string](t, w.DB, `SELECT id::text FROM archive_version WHERE dokument_id = $1`, doc)
	c := w.start(w.Schulz, doc, circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign}, circulation.NewStep{To: person(w.Yilmaz), Kind: circulation.FinalSign})
	c = w.complete(w.Koch, c.ID, 1, circulation.Agreed)
	if x := last(c.Steps[0]); x.ArchiveVersionID == nil || x.ArchiveVersionID.String() != archived {
		t.Fatalf("%+v", x)
	}
	sealed := func(want string) {
		t.Helper()
		for range 2 { // any number of times
			w.ok(proof.CollectRecord(ctx, pgtest.Stadt, doc))
		}
		if got := pgtest.One[string](t, w.DB, sqlCoSigned, doc); got != want {
			t.Errorf("sealed %q, want %q", got, want)
		}
	}
	sealed("1:1:agreed")
	_, err := w.s.SetSetting(ctx, w.Yilmaz, w.Bauordnung, true, 0)
	w.ok(err)
	w.ok(w.version(w.Schulz, doc))
	read()
	_, err = w.s.Uphold(ctx, w.Yilmaz, c.ID, nil, "Tippfehler", 0)
	w.ok(err)
	sealed("1:1:agreed 2:1:upheld")
	w.complete(w.Yilmaz, c.ID, 2, circulation.Agreed)
	sealed("1:1:agreed 2:1:upheld 2:2:agreed")
}

func TestAnAgreementIsVoidAlsoWhereTheDokumentHasMovedOn(t *testing.T) {
	w := newOffice(t)
	doc := w.filed("Anordnung")
	c := w.start(w.Schulz, w.home, circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign}, circulation.NewStep{To: person(w.Roth)})
	w.complete(w.Koch, c.ID, 1, circulation.Agreed)
	_, err := w.Akten.Move(t.Context(), w.Schulz, doc, akte.FileRequest{VorgangID: w.vorgang(), Reason: "falscher Vorgang"})
	w.ok(err)
	w.ok(w.version(w.Schulz, doc))
	c, err = w.s.Circulation(t.Context(), w.Schulz, c.ID)
	w.ok(err)
	if got := statuses(c); got[1] != circulation.Current || !c.Steps[0].Executions[0].Void {
		t.Errorf("%v", got)
	}
}
