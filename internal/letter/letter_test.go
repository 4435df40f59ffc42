package letter_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/bpmn"
	"evb/internal/intake"
	"evb/internal/letter"
	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/process"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

func TestMain(m *testing.M) { worldtest.Main(m, mediatest.Child) }

var must, wantFault = sharedtest.Must, sharedtest.WantFault

type office struct {
	*worldtest.World
	engine  *media.Engine
	in      *intake.Service
	vorgang akte.Vorgang
}

func newOffice(t *testing.T) *office {
	t.Helper()
	w := &office{World: worldtest.New(t, func(o *worldtest.Options) { o.Now = time.Now })}
	var err error
	w.engine, err = media.New(media.Config{CacheDir: mediatest.CacheDir()})
	must(t, err)
	t.Cleanup(func() { _ = w.engine.Close() })
	w.in = intake.New(w.DB, w.Log, w.Akten, w.Blobs, w.engine, intake.Options{})
	w.vorgang, _, err = w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteBau, Subject: "Anbau Wintergarten"})
	must(t, err)
	return w
}

func (w *office) maker() *letter.Maker { return letter.New(w.DB, w.Spool, w.in) }

var notice = bpmn.Letter{
	DocumentType: "Bescheid", Subject: "Ihr Antrag „{{ vorgang.subject }}“", To: "{{ applicant }}\nAm Markt 1\n12345 Musterstadt",
	Text: "Guten Tag,\n\nfür {{ vorgang.reference }} setzen wir {{ amount }} Euro fest, befreit: {{ free }}.\nDatum: {{ today }}.\n\nMit freundlichen Grüßen",
}

func (w *office) call(t *testing.T, l bpmn.Letter) process.Call {
	t.Helper()
	c, err := bpmn.NewComposer(l)
	must(t, err)
	return process.Call{
		ID: uuid.Must(uuid.NewV7()), Instance: uuid.Must(uuid.NewV7()), Vorgang: w.vorgang.ID, Element: "letter", Letter: c, At: time.Date(2026, 11, 25, 23, 30, 0, 0, time.UTC),
		Variables: map[string]any{"applicant": "Familie Yağmur-Řezníček", "amount": 1250.5, "free": false},
	}
}

const sqlBlob = `
    SELECT f.blob_id FROM dokument_version v JOIN rendition r ON r.tenant = v.tenant AND r.version_id = v.id
    JOIN primary_file f ON f.tenant = r.tenant AND f.rendition_id = r.id WHERE v.dokument_id = $1`

func TestALetterIsADokumentOfTheVorgangMadeOnce(t *testing.T) {
	w := newOffice(t)
	c := w.call(t, notice)
	made, err := w.maker().Make(t.Context(), w.System(), c)
	must(t, err)
	id := uuid.MustParse(made["letter_id"].(string))
	d, err := w.Akten.Dokument(t.Context(), w.Schulz, id)
	must(t, err)
	if d.Subject != "Ihr Antrag „Anbau Wintergarten“" || d.DocumentType != "Bescheid" || d.VorgangReference != w.vorgang.Reference || d.Channel != akte.ChannelProcess ||
		d.State == akte.Quarantined || d.WrittenOn == nil || d.WrittenOn.Format(time.DateOnly) != "2026-11-26" {
		t.Errorf("%+v", d)
	}
	pdf := filepath.Join(t.TempDir(), "letter.pdf")
	must(t, os.WriteFile(pdf, w.Content(w.Schulz, worldtest.One[uuid.UUID](w.World, sqlBlob, id)), 0o600))
	page, err := w.engine.PageText(t.Context(), media.Source{Path: pdf, Kind: media.KindPDF}, 1)
	must(t, err)
	for _, want := range []string{"Familie Yağmur-Řezníček", "Am Markt 1", "Unser Zeichen:", w.vorgang.Reference, "26. November 2026", "Ihr Antrag „Anbau Wintergarten“", "setzen wir 1250,5 Euro fest, befreit: nein.", "Mit freundlichen Grüßen"} {
		if !strings.Contains(page.Text, want) {
			t.Errorf("%q is not in the letter: %s", want, page.Text)
		}
	}
	// Tries after a kill, side by side, with what the variables have become: it is
	// the same letter.
	c.Variables["amount"] = 99.0
	var tries sync.WaitGroup
	for range 4 {
		tries.Go(func() {
			if again, err := w.maker().Make(t.Context(), w.System(), c); err != nil || again["letter_id"] != made["letter_id"] {
				t.Errorf("%v, %v", again, err)
			}
		})
	}
	tries.Wait()
	if n := w.Count("dokument"); n != 1 {
		t.Errorf("%d Dokumente", n)
	}
	next, err := w.maker().Make(t.Context(), w.System(), w.call(t, notice))
	must(t, err)
	if next["letter_id"] == made["letter_id"] {
		t.Error("another step finds the letter of the first one")
	}
	w.Consistent()
}

func TestALetterThatCannotBeMadeSaysWhy(t *testing.T) {
	w := newOffice(t)
	c := w.call(t, notice)
	delete(c.Variables, "amount")
	_, err := w.maker().Make(t.Context(), w.System(), c)
	wantFault(t, err, "process-letter-unfilled")
	if !strings.Contains(err.Error(), "amount") {
		t.Errorf("%v", err)
	}
	c.Letter = nil
	_, err = w.maker().Make(t.Context(), w.System(), c)
	wantFault(t, err, "process-letter-missing")
	c = w.call(t, notice)
	_, err = w.Akten.CloseVorgang(t.Context(), w.Schulz, w.vorgang.ID, "erledigt", 0)
	must(t, err)
	_, err = w.maker().Make(t.Context(), w.System(), c)
	wantFault(t, err, "vorgang-closed")
	if n := w.Count("dokument"); n != 0 {
		t.Errorf("%d Dokumente", n)
	}
	_, err = w.Akten.ReopenVorgang(t.Context(), w.System(), w.vorgang.ID, "weiter", 0)
	must(t, err)
	_, err = w.maker().Make(t.Context(), w.System(), c) // a retry by a person
	must(t, err)
}
