package extract_test

import (
	"bytes"
	"image/png"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/extract"
	"evb/internal/extract/extracttest"
	"evb/internal/media/mediatest"
	"evb/internal/postgres"
	"evb/internal/sharedtest"
)

func sharedFile(w *extracttest.World, path ...string) *blob.File {
	w.T.Helper()
	f, err := os.Open(sharedtest.Path(w.T, append([]string{"data", "intake"}, path...)...))
	w.Must(err)
	defer f.Close()
	return w.File(path[len(path)-1], f)
}

var wantFault = sharedtest.WantFault

func renditions(w *extracttest.World, d akte.NewDokument) map[string]akte.Rendition {
	w.T.Helper()
	out := map[string]akte.Rendition{}
	w.Read(func(q postgres.Querier) error {
		all, err := akte.RenditionsOf(w.T.Context(), q, d.VersionID)
		for _, r := range all {
			out[r.Kind] = r
		}
		return err
	})
	return out
}

func TestTextWordsAndImagesOfABornDigitalLetter(t *testing.T) {
	w := extracttest.New(t)
	d := w.Insert(nil, sharedFile(w, "born-digital", "pdflatex-4-pages.pdf"))
	_, err := w.Extract.Text(t.Context(), w.System(), d.ID)
	wantFault(t, err, "text-not-ready")
	_, _, _, err = w.Extract.PageImage(t.Context(), w.System(), d.ID, 4)
	wantFault(t, err, "page-not-ready")
	_, _, _, err = w.Extract.PageImage(t.Context(), w.System(), d.ID, 5)
	wantFault(t, err, "page-not-found")

	w.Must(w.Run(extract.Text, d.VersionID))
	text, err := w.Extract.Text(t.Context(), w.System(), d.ID)
	w.Must(err)
	if len(text.Pages) != 4 || text.Facts.Quality != extract.QualityRead || text.Facts.Confidence != 100 {
		t.Errorf("%d pages, %+v", len(text.Pages), text.Facts)
	}
	for i, p := range text.Facts.Pages {
		if text.Text[p.Offset:p.Offset+p.Length] != text.Pages[i] || p.OCR || p.Width < 500 {
			t.Errorf("page %d: %+v", i+1, p)
		}
	}
	words, err := w.Extract.Words(t.Context(), w.System(), d.ID, 0, 2)
	w.Must(err)
	if len(words.Words) < 5 || words.Unit != "pt" || words.Words[0].X1 <= words.Words[0].X0 {
		t.Errorf("words: %+v", words)
	}
	image, mediaType, etag, err := w.Extract.PageImage(t.Context(), w.System(), d.ID, 4)
	w.Must(err)
	defer image.Close()
	b, err := io.ReadAll(image)
	w.Must(err)
	cfg, err := png.DecodeConfig(bytes.NewReader(b))
	w.Must(err)
	if mediaType != "image/png" || !strings.HasPrefix(etag, `"`) || cfg.Width < 900 || cfg.Height > 1500 {
		t.Errorf("%s %s %+v", mediaType, etag, cfg)
	}
	if got := w.Dokument(d.ID); got.Extraction != akte.ExtractionDone {
		t.Errorf("extraction %q", got.Extraction)
	}

	// Somebody without rights finds nothing at all.
	_, err = w.Extract.Text(t.Context(), w.Nobody, d.ID)
	wantFault(t, err, "not-found")
	_, _, _, err = w.Extract.PageImage(t.Context(), w.Nobody, d.ID, 1)
	wantFault(t, err, "not-found")
	_, err = w.Extract.Words(t.Context(), w.Nobody, d.ID, 0, 1)
	wantFault(t, err, "not-found")
	_, err = w.Extract.TextOf(t.Context(), w.System(), d.ID, 2)
	wantFault(t, err, "version-not-found")

	// Running again changes nothing; a second Dokument of the same bytes shares
	// every object.
	before := renditions(w, d)
	w.Must(w.Run(extract.Text, d.VersionID))
	if after := renditions(w, d); after[akte.Text].ID != before[akte.Text].ID {
		t.Error("read twice")
	}
	d2 := w.Insert(nil, sharedFile(w, "born-digital", "pdflatex-4-pages.pdf"))
	w.Must(w.Run(extract.Text, d2.VersionID))
	for kind, r := range renditions(w, d2) {
		for i, f := range r.Files {
			if f.Blob != before[kind].Files[i].Blob {
				t.Errorf("%s %d: other bytes of the same input", kind, i)
			}
		}
	}
}

func TestALongVersionIsReadInSlices(t *testing.T) {
	w := extracttest.New(t, func(c *extracttest.Config) { c.Extract.SlicePages = 3 })
	d := w.Insert(nil, sharedFile(w, "born-digital", "pdflatex-4-pages.pdf"), w.File("anlage.txt", strings.NewReader("Die Anlage.\fEnde\r\n")))
	if err := w.Run(extract.Text, d.VersionID); err == nil {
		t.Fatal("the first slice is not all")
	}
	image, _, _, err := w.Extract.PageImage(t.Context(), w.System(), d.ID, 3)
	w.Must(err)
	_ = image.Close()
	_, _, _, err = w.Extract.PageImage(t.Context(), w.System(), d.ID, 4)
	wantFault(t, err, "page-not-ready")
	w.Must(w.Run(extract.Text, d.VersionID))
	text, err := w.Extract.Text(t.Context(), w.System(), d.ID)
	w.Must(err)
	if len(text.Pages) != 5 || text.Pages[4] != "Die Anlage.\nEnde\n" {
		t.Errorf("%d pages, last %q", len(text.Pages), text.Pages[len(text.Pages)-1])
	}
	if n := len(renditions(w, d)[akte.PageImage].Files); n != 4 {
		t.Errorf("%d images", n)
	}

	// One slice gives the same.
	one := extracttest.New(t)
	d1 := one.Insert(nil, sharedFile(one, "born-digital", "pdflatex-4-pages.pdf"), one.File("anlage.txt", strings.NewReader("Die Anlage.\fEnde\r\n")))
	one.Must(one.Run(extract.Text, d1.VersionID))
	a, b := renditions(w, d), renditions(one, d1)
	for _, kind := range []string{akte.Text, akte.Words, akte.PageImage} {
		for i := range b[kind].Files {
			if !bytes.Equal(a[kind].Files[i].SHA256, b[kind].Files[i].SHA256) {
				t.Errorf("%s %d differs", kind, i)
			}
		}
	}
}

func TestWithoutTesseractDokumenteWaitAndThenGoOn(t *testing.T) {
	w := extracttest.New(t, func(c *extracttest.Config) {
		c.Media.Tesseract = "/nonexistent/tesseract"
		c.Extract.Retry = time.Millisecond
	})
	d := w.Insert(nil, sharedFile(w, "scans", "phototest.tif"))
	text := w.Insert(nil, sharedFile(w, "born-digital", "letter-de.pdf"))
	for range 3 {
		if err := w.Run(extract.Text, d.VersionID); err == nil {
			t.Fatal("the job ended instead of waiting")
		}
	}
	if got := w.Dokument(d.ID); got.Extraction != akte.ExtractionWaiting || got.ExtractionReason != extract.CodeToolMissing {
		t.Errorf("%s %s", got.Extraction, got.ExtractionReason)
	}
	w.Must(w.Run(extract.Text, text.VersionID)) // needs none
	st, err := w.Extract.Status(t.Context())
	w.Must(err)
	if st.OCR || st.Code != extract.CodeToolMissing || st.Waiting != 1 || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
	// Installed: the same service on another engine.
	w.Extract = extract.New(w.DB, w.Log, w.Blobs, w.Akten, mediatest.Engine(t), extract.Options{})
	w.Must(w.Run(extract.Text, d.VersionID))
	got, err := w.Extract.Text(t.Context(), w.System(), d.ID)
	w.Must(err)
	if !strings.Contains(got.Text, "quick brown") || got.Facts.Quality == extract.QualityRead {
		t.Errorf("%+v %q", got.Facts, got.Text)
	}
}

func TestBadFilesFailWithTheirCodeAndFormatsWithoutPagesAreDone(t *testing.T) {
	w := extracttest.New(t)
	for _, c := range []struct {
		path   []string
		state  akte.Extraction
		reason string
	}{
		{[]string{"hostile", "bomb-flate-1gib.pdf"}, akte.ExtractionFailed, ""},
		{[]string{"hostile", "bomb-image-60k.pdf"}, akte.ExtractionFailed, ""},
		{[]string{"hostile", "bomb-30k.png"}, akte.ExtractionFailed, "too-many-pixels"},
		{[]string{"hostile", "huge-dims.tif"}, akte.ExtractionFailed, "too-many-pixels"},
		{[]string{"hostile", "ifd-loop.tif"}, akte.ExtractionFailed, "page-ring"},
		{[]string{"hostile", "page-tree-loop.pdf"}, akte.ExtractionFailed, "page-ring"},
		{[]string{"hostile", "xobject-fan-out.pdf"}, akte.ExtractionFailed, ""},
		{[]string{"hostile", "huge-mediabox.pdf"}, akte.ExtractionFailed, "page-too-large"},
		{[]string{"hostile", "empty.pdf"}, akte.ExtractionFailed, "file-empty"},
		{[]string{"broken", "libreoffice-writer-password.pdf"}, akte.ExtractionFailed, "password-needed"},
		{[]string{"hostile", "nested-24.eml"}, akte.ExtractionDone, extract.CodeNoPages},
		{[]string{"hostile", "zip-slip.zip"}, akte.ExtractionDone, extract.CodeNoPages},
	} {
		d := w.Insert(nil, sharedFile(w, c.path...))
		started := time.Now()
		if err := w.Run(extract.Text, d.VersionID); err != nil {
			t.Errorf("%v: %v", c.path, err)
			continue
		}
		got := w.Dokument(d.ID)
		t.Logf("%-32s %-7s %-20s %v", c.path[1], got.Extraction, got.ExtractionReason, time.Since(started).Round(time.Millisecond))
		if got.Extraction != c.state || c.reason != "" && got.ExtractionReason != c.reason || c.state == akte.ExtractionFailed && got.ExtractionReason == "" {
			t.Errorf("%v: %s %q, want %s %q", c.path, got.Extraction, got.ExtractionReason, c.state, c.reason)
		}
		_, err := w.Extract.Text(t.Context(), w.System(), d.ID)
		if c.state == akte.ExtractionFailed {
			wantFault(t, err, "text-not-available")
		} else {
			w.Must(err)
		}
	}
}

func TestAFileThatBreaksWorkersGetsALaneOfItsOwnAndThenFails(t *testing.T) {
	w := extracttest.New(t)
	d := w.Insert(nil, sharedFile(w, "born-digital", "letter-de.pdf"))
	// An engine that is closed is an error without a code: nobody knows whose
	// fault it is.
	w.Must(w.Engine.Close())
	for i := range 3 {
		if err := w.Run(extract.Text, d.VersionID); err == nil {
			t.Fatalf("try %d did not fail", i+1)
		}
	}
	w.Must(w.Run(extract.Text, d.VersionID)) // moves on
	facts := func(kind string) (n int) {
		w.Read(func(q postgres.Querier) error {
			return q.QueryRow(t.Context(), `SELECT count(*) FROM event WHERE tenant = evb_tenant() AND record_id = $1 AND kind = $2`, d.ID, kind).Scan(&n)
		})
		return n
	}
	if facts(string(extract.VersionHard)) != 1 {
		t.Fatal("the version did not move to the other lane")
	}
	w.Must(w.Run(extract.Text, d.VersionID)) // no longer this lane's
	n := 0
	for ; n < 30 && w.Dokument(d.ID).Extraction == akte.ExtractionPending; n++ {
		_ = w.Run(extract.TextHard, d.VersionID)
	}
	if got := w.Dokument(d.ID); got.Extraction != akte.ExtractionFailed || got.ExtractionReason != extract.CodeGaveUp || n != 11 {
		t.Errorf("after %d tries: %s %s", n, got.Extraction, got.ExtractionReason)
	}
	if facts("dokument.extraction_failed") != 1 {
		t.Error("no fact")
	}
}
