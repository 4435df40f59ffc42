package extract_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/extract"
	"evb/internal/extract/extracttest"
	"evb/internal/media/mediatest"
	"evb/internal/postgres"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

func TestMain(m *testing.M) {
	worldtest.Main(m, mediatest.Child, worldtest.Victim("victim", victim))
}

// order tells a victim what to do.
type order struct {
	Place   worldtest.Place
	Version uuid.UUID
}

// victim reads one version in a process of its own, to be killed.
func victim(ctx context.Context, o order) error {
	var p worldtest.Options
	extracttest.Options(&p)
	below, err := worldtest.Join(ctx, o.Place, p)
	if err != nil {
		return err
	}
	s, err := extracttest.On(below, extracttest.Config{Extract: extract.Options{SlicePages: 2}})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return extracttest.Run(ctx, s.Extract, extract.Text, o.Version)
}

// Killed at any moment, a version is read by whoever comes next, once.
func TestAKilledWorkerLeavesNothingHalf(t *testing.T) {
	w := extracttest.New(t)
	tr := mediatest.ReadTruth(t, "dev-b")
	d := w.Insert(nil, w.Cut(tr)[:3]...)
	o := order{Place: w.Place, Version: d.VersionID}
	o.Place.Spool = t.TempDir()
	killed := 0
	for _, when := range []struct {
		what string
		come func() bool
	}{
		{"nothing", func() bool { return true }},
		{"the first pages", func() bool {
			return w.Count("extraction_page") > 0 || w.Dokument(d.ID).Extraction == akte.ExtractionDone
		}},
	} {
		cmd := worldtest.Command(t, "victim", o, "")
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		w.Must(err)
		w.Must(cmd.Start())
		_, err = io.ReadFull(out, make([]byte, len("ready")))
		w.Must(err)
		sharedtest.Eventually(t, when.what, when.come)
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err != nil {
			killed++
		}
	}
	if killed == 0 {
		t.Error("no victim was killed at work")
	}
	t.Logf("%d of 2 were killed at work", killed)
	for range 5 {
		if w.Dokument(d.ID).Extraction == akte.ExtractionDone {
			break
		}
		_ = w.Run(extract.Text, d.VersionID)
	}
	text, err := w.Extract.Text(t.Context(), w.System(), d.ID)
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
