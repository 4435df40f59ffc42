package extract_test

import (
	"strings"
	"testing"

	"evb/internal/extract"
	"evb/internal/extract/extracttest"
	"evb/internal/media/mediatest"
)

// The first reading of this letter has a digit too many in its Aktenzeichen, the
// second reading of the line has not.
func TestANumberThatRecognitionSpoiltIsReadAgain(t *testing.T) {
	w := extracttest.New(t)
	d := w.Insert(nil, w.Cut(mediatest.ReadTruth(t, "dev-a"))[0])
	w.Must(w.Run(extract.Text, d.VersionID))
	text, err := w.Extract.Text(t.Context(), w.System(), d.ID)
	w.Must(err)
	if !strings.Contains(text.Text, "61/5-BA-338202/24") || strings.Contains(text.Text, "61/5-BA-3382021/24") {
		t.Errorf("%q", text.Text)
	}
	if got := w.Dokument(d.ID); got.Aktenzeichen != "61/5-BA-338202/24" {
		t.Errorf("Aktenzeichen %q", got.Aktenzeichen)
	}
}
