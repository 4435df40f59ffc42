package preservation_test

import (
	"testing"

	"github.com/google/uuid"

	"evb/internal/job"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation/preservationtest"
	"evb/signature/cms"
	"evb/storage"
	"evb/storage/s3"
)

func jobOf(subject uuid.UUID) job.Job {
	return job.Job{Tenant: pgtest.Stadt, Subject: subject, Attempt: 1}
}

// newWorldTSA is the anchor of another authority.
func newWorldTSA(t testing.TB) []*cms.Certificate {
	t.Helper()
	anchors, err := cms.ParseCertificates(preservationtest.New(t, nil).CertificatePEM())
	must(t, err)
	return anchors
}

// superExec does what only an attacker with full rights could do.
func (w *world) superExec(sql string) {
	w.T.Helper()
	_, err := pgtest.Super(w.T, w.DB).Exec(w.T.Context(), sql)
	must(w.T, err)
}

// remove takes an object out of the bucket with the credential of the disposal.
func (w *world) remove(key storage.Key) {
	w.T.Helper()
	store, err := s3.New(w.Place.Bucket.Config())
	must(w.T, err)
	defer store.CloseIdle()
	must(w.T, store.DeleteVersions(w.T.Context(), key, true))
}
