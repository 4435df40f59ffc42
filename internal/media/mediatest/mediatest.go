// Package mediatest gives tests an engine for foreign files, and our sample
// batches with the truth about them.
package mediatest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"evb/internal/media"
	"evb/internal/sharedtest"
)

// Child says whether this process is a child of an engine; it has then been
// one, and ends with code. The test binary is its own child, as cmd/evb is: a
// package that uses an engine calls it in TestMain.
func Child() (code int, mine bool) {
	if len(os.Args) < 2 || os.Args[1] != media.ChildCommand {
		return 0, false
	}
	return media.ChildMain(os.Args[2:], os.Stdin, os.Stdout), true
}

// CacheDir keeps the compiled PDFium for all test processes of a checkout.
// Without it each one needs seconds to compile it.
func CacheDir() string { return filepath.Join(sharedtest.Root(), ".cache", "pdfium") }

// Engine is an engine with children; it goes with the test.
func Engine(t testing.TB, change ...func(*media.Config)) *media.Engine {
	t.Helper()
	c := media.Config{CacheDir: CacheDir()}
	for _, f := range change {
		f(&c)
	}
	e, err := media.New(c)
	sharedtest.Must(t, err)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// Truth is what stands on the paper of a sample batch.
type Truth struct {
	Batch, File string
	Traps       []string
	Pages       []struct {
		Page int
		Kind string
		Doc  int
		Code string
		Text []string
	}
	Docs []struct {
		Doc      int
		Type     string
		Postkorb string `json:"expected_postkorb"`
		Number   string `json:"aktenzeichen"`
		Subject  string
		Date     string `json:"letter_date"`
		Sender   []string
		Pages    []int
	}
}

// Batches is the folder of the sample batches.
func Batches() string { return filepath.Join(sharedtest.Root(), "testdata", "batches") }

// ReadTruth reads the truth of a sample batch.
func ReadTruth(t testing.TB, batch string) Truth {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Batches(), batch+".truth.json"))
	sharedtest.Must(t, err)
	var tr Truth
	sharedtest.Must(t, json.Unmarshal(b, &tr))
	return tr
}

// Source is the stream of the batch.
func (tr Truth) Source() media.Source {
	src := media.Source{Path: filepath.Join(Batches(), tr.File), Kind: media.KindPDF}
	if filepath.Ext(tr.File) == ".tif" {
		src.Kind = media.KindTIFF
	}
	return src
}

// Recall counts the words of want that got holds.
func Recall(want, got string) (found, all int) {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	}
	have := map[string]int{}
	for _, w := range split(got) {
		have[w]++
	}
	for _, w := range split(want) {
		all++
		if have[w] > 0 {
			have[w]--
			found++
		}
	}
	return found, all
}
