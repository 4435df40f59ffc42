package intake_test

import (
	"bytes"
	"io"
	"testing"

	"evb/internal/worldtest"
)

// The bytes of an entry are read by whoever sees the entry, and each reading
// stands in the access log.
func TestTheBytesOfAQuarantineEntryAreReadAndLogged(t *testing.T) {
	w := newWorld(t)
	rec, err := w.send(w.Schulz, "plan", "plan.tif", hugeTIFF())
	must(t, err)
	id := *rec.Files[0].QuarantineID
	rc, q, size, err := w.in.QuarantineContent(t.Context(), w.Roth, id)
	must(t, err)
	got, err := io.ReadAll(rc)
	must(t, err)
	must(t, rc.Close())
	if !bytes.Equal(got, hugeTIFF()) || size != int64(len(got)) || q.FileName != "plan.tif" {
		t.Errorf("%d bytes of %d of %q", len(got), size, q.FileName)
	}
	_, _, _, err = w.in.QuarantineContent(t.Context(), w.Meier, id)
	wantFault(t, err, "not-found")
	if n := worldtest.One[int](w.World, `SELECT count(*) FROM access_log WHERE tenant = evb_tenant() AND kind = 'quarantine.content_read' AND subject_id = $1`, id); n != 1 {
		t.Errorf("%d readings in the log", n)
	}
}
