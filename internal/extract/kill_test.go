package extract_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/extract"
	"evb/internal/extract/extracttest"
	"evb/internal/job"
	"evb/internal/media"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/storage/s3"
)

func TestMain(m *testing.M) {
	os.Exit(extracttest.Main(m, extracttest.Children{"victim": victim}))
}

const victimEnv = "EVB_EXTRACT_TEST_VICTIM"

// order tells a victim what to do.
type order struct {
	DSN, Spool string
	S3         address
	Version    uuid.UUID
}

// address is what another process needs of a store's configuration.
type address struct {
	Endpoint, Region, Bucket string
	Credential, Bypass       s3.Credential
}

// victim reads one version in a process of its own, to be killed.
func victim() int {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(victimEnv)), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx := context.Background()
	db, err := postgres.Open(ctx, o.DSN, postgres.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	p, err := extracttest.NewParts(db, s3.Config{Endpoint: o.S3.Endpoint, Region: o.S3.Region, Bucket: o.S3.Bucket, Credential: o.S3.Credential, Bypass: o.S3.Bypass}, extracttest.Config{
		Spool: o.Spool, Media: media.Config{CacheDir: extracttest.CacheDir()}, Extract: extract.Options{SlicePages: 2}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Println("ready")
	for _, d := range p.Extract.Jobs() {
		if d.Kind == extract.Text {
			if err := d.Run(ctx, job.Job{Tenant: pgtest.Stadt, Subject: o.Version, Attempt: 1}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
	}
	return 0
}

// Killed at any moment, a version is read by whoever comes next, once.
func TestAKilledWorkerLeavesNothingHalf(t *testing.T) {
	w := extracttest.New(t)
	exe, err := os.Executable()
	w.Must(err)
	tr := extracttest.ReadTruth(t, "dev-b")
	d := w.Insert(nil, w.Cut(tr)[:3]...)
	c := w.S3.Config(true)
	raw, err := json.Marshal(order{DSN: pgtest.AppDSN(pgtest.NameOf(w.DB)), Spool: filepath.Join(t.TempDir(), "spool"), S3: address{c.Endpoint, c.Region, c.Bucket, c.Credential, c.Bypass}, Version: d.VersionID})
	w.Must(err)
	killed := 0
	for _, after := range []time.Duration{0, 700 * time.Millisecond} {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), extracttest.ChildEnv+"=victim", victimEnv+"="+string(raw))
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		w.Must(err)
		w.Must(cmd.Start())
		b := make([]byte, 6)
		_, _ = out.Read(b)
		time.Sleep(after)
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err != nil {
			killed++
		}
	}
	t.Logf("%d of 2 were killed at work", killed)
	for range 5 {
		if w.Dokument(d.ID).Extraction == akte.ExtractionDone {
			break
		}
		_ = w.Run(extract.Text, d.VersionID)
	}
	text, err := w.Extract.Text(t.Context(), w.System, d.ID)
	w.Must(err)
	if len(text.Pages) != 3 || len(renditions(w, d)[akte.PageImage].Files) != 3 {
		t.Errorf("%d pages", len(text.Pages))
	}
	w.Read(func(q postgres.Querier) error {
		var facts, pages int
		if err := q.QueryRow(t.Context(), `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND record_id = $1 AND kind = 'dokument.extracted'`, d.ID).Scan(&facts); err != nil {
			return err
		}
		if err := q.QueryRow(t.Context(), `SELECT count(*) FROM extraction_page WHERE tenant = evb_tenant()`).Scan(&pages); err != nil {
			return err
		}
		if facts != 1 || pages != 0 {
			t.Errorf("%d facts, %d pages left over", facts, pages)
		}
		return nil
	})
}
