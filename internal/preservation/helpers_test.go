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
