package intake_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/intake"
	"evb/internal/job"
	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/postgres"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

func TestMain(m *testing.M) {
	worldtest.Main(m, mediatest.Child, worldtest.Victim("victim", victim))
}

var must, wantFault = sharedtest.Must, sharedtest.WantFault

// textJob stands in for the extraction: a job that follows from what came in.
const textJob = "extract.text"

// world is a town with intake; without people where another process joins it.
type world struct {
	*worldtest.World
	jobs   *job.Client
	engine *media.Engine
	in     *intake.Service
}

type config struct {
	blob   blob.Options
	intake intake.Options
	media  media.Config
	db     *postgres.DB // nil: one of its own
}

// options are those of the parts below: real time, since jobs and leases have it.
func options(c config) worldtest.Options {
	return worldtest.Options{
		Now: time.Now, DB: c.db,
		Flow: event.Flow{akte.DokumentReceived: {textJob}, akte.DokumentReleased: {textJob}},
		Blob: func(o *blob.Options) {
			disposal := o.Disposal
			if *o = c.blob; o.Disposal == nil {
				o.Disposal = disposal
			}
		},
	}
}

// with makes the services under test on the parts below.
func with(below *worldtest.World, c config) (*world, error) {
	w := &world{World: below}
	c.media.CacheDir = mediatest.CacheDir()
	var err error
	if w.engine, err = media.New(c.media); err != nil {
		return nil, err
	}
	w.in = intake.New(w.DB, w.Log, w.Akten, w.Blobs, w.engine, c.intake)
	defs := append(w.in.Jobs(), job.Definition{Kind: textJob, Queue: job.Intake, Run: func(context.Context, job.Job) error { return nil }})
	if w.jobs, err = job.New(w.DB, slog.New(slog.DiscardHandler), append(defs, w.Blobs.Jobs()...), job.Options{}); err != nil {
		return nil, err
	}
	w.Log.Attach(w.jobs)
	return w, nil
}

func newWorld(t testing.TB, change ...func(*config)) *world {
	t.Helper()
	var c config
	for _, f := range change {
		f(&c)
	}
	w, err := with(worldtest.New(t, func(o *worldtest.Options) { *o = options(c) }), c)
	must(t, err)
	t.Cleanup(func() { _ = w.engine.Close() })
	return w
}

// beside is a second set of services on the place of w, as another process has
// them, over a database that is already open.
func (w *world) beside(t testing.TB, db *postgres.DB, c config) *world {
	t.Helper()
	p := w.Place
	p.Spool = t.TempDir()
	below, err := worldtest.On(db, p, options(c))
	must(t, err)
	t.Cleanup(func() { must(t, below.Close()) })
	o, err := with(below, c)
	must(t, err)
	t.Cleanup(func() { _ = o.engine.Close() })
	return o
}

func (w *world) file(name string, body []byte) *blob.File {
	w.T.Helper()
	return w.File(name, bytes.NewReader(body))
}

// send is a person's upload of one file.
func (w *world) send(a access.Actor, key, name string, body []byte) (intake.Receipt, error) {
	w.T.Helper()
	return w.in.Receive(w.T.Context(), a, intake.Submission{
		Meta: intake.Meta{Subject: "Brief"}, Files: []*blob.File{w.file(name, body)}, Key: key})
}

// pdf is a valid PDF of one page; words make it another content, size pads it.
func pdf(words string, size int) []byte {
	var b bytes.Buffer
	var at []int
	obj := func(s string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), s)
	}
	b.WriteString("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
	obj("<< /Type /Catalog /Pages 2 0 R >>")
	obj("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	obj("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>")
	text := "BT /F1 12 Tf 72 720 Td (" + strings.NewReplacer("(", "", ")", "", `\`, "").Replace(words) + ") Tj ET\n"
	if pad := size - b.Len() - len(text) - 500; pad > 0 {
		text += "%" + strings.Repeat(words+" ", pad/(len(words)+1)) + "\n"
	}
	obj(fmt.Sprintf("<< /Length %d >>\nstream\n%sendstream", len(text), text))
	obj("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, o := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, xref)
	return b.Bytes()
}
