package preservation_test

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/job"
	"evb/internal/postgres/pgtest"
	"evb/signature/cms"
	"evb/signature/tsa"
	"evb/storage"
	"evb/storage/s3"
)

func jobOf(subject uuid.UUID) job.Job {
	return job.Job{Tenant: pgtest.Stadt, Subject: subject, Attempt: 1}
}

type pgxTx = pgx.Tx

// newWorldTSA is the anchor of another authority.
func newWorldTSA(t testing.TB) []*cms.Certificate {
	t.Helper()
	s, err := tsa.Open(filepath.Join(t.TempDir(), "other"), tsa.Options{})
	must(t, err)
	anchors, err := cms.ParseCertificates(s.CertificatePEM())
	must(t, err)
	return anchors
}

// superExec does what only an attacker with full rights could do.
func (w *world) superExec(sql string) {
	w.t.Helper()
	ctx := w.t.Context()
	conn, err := pgx.Connect(ctx, pgtest.SuperDSN(pgtest.NameOf(w.db)))
	must(w.t, err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	must(w.t, err)
}

// remove takes an object out of the bucket with the credential of the disposal.
func (w *world) remove(key storage.Key) {
	w.t.Helper()
	cfg := w.s3
	cfg.Bypass = shared.srv.Bypass()
	store, err := s3.New(cfg)
	must(w.t, err)
	defer store.CloseIdle()
	must(w.t, store.DeleteVersions(w.t.Context(), key, true))
}
