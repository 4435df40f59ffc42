package extract

import (
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/event"
	"evb/internal/media"
)

// Kinds of jobs. The subject is a version.
const (
	// Text reads a version.
	Text = "extract.text"
	// TextHard reads a version that broke workers, in a lane of its own.
	TextHard = "extract.text_hard"
)

// VersionHard is the fact that reading a version failed or ended a worker
// several times. Its subject is the version; TextHard follows from it.
const VersionHard event.Kind = "dokument.version_hard"

// Codes of dokument.extraction_reason that are not codes of package media.
const (
	// CodeNoPages: done, but the format has no pages here (office, mail, archive).
	CodeNoPages = "format-without-pages"
	// CodeToolMissing: waiting, Tesseract or its language is not installed.
	CodeToolMissing = "ocr-missing"
	// CodeGaveUp: failed, every try broke the worker or met an error.
	CodeGaveUp = "extraction-gave-up"
	// CodeOriginalMissing: failed, the stored original is missing or damaged.
	CodeOriginalMissing = "original-unreadable"
)

// Options of New. Zero values are sound.
type Options struct {
	// Now is the clock of business time, default time.Now.
	Now func() time.Time
	// Log gets what people of operations should know, default none.
	Log *slog.Logger
	// Registerer takes the metrics, default none.
	Registerer prometheus.Registerer
	// DPI is the resolution of page images, default 120.
	DPI int
	// Slice is the most time one run of a job reads pages, default 4 minutes.
	Slice time.Duration
	// SlicePages is the most pages of one run, default 100.
	SlicePages int
	// Retry is how long a version waits for a missing program, default 1 minute.
	Retry time.Duration
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.DPI <= 0 {
		o.DPI = 120
	}
	if o.Slice <= 0 {
		o.Slice = 4 * time.Minute
	}
	if o.SlicePages <= 0 {
		o.SlicePages = 100
	}
	if o.Retry <= 0 {
		o.Retry = time.Minute
	}
	return o
}

// TextFacts are the facts of the rendition text.
type TextFacts struct {
	// Format is the version of this record, 1.
	Format int `json:"format"`
	// Pages are the pages in order; empty for files without pages.
	Pages []PageFacts `json:"pages"`
	// OCR is true when the text of at least one page was recognised.
	OCR bool `json:"ocr"`
	// Confidence is the mean of the pages with text, by letters; 100 for text
	// that was not recognised but read.
	Confidence float64 `json:"confidence"`
	// Quality is Confidence in a word.
	Quality Quality `json:"quality"`
	// Letter is what stands in the head of the first page.
	Letter Letter `json:"letter"`
	// Findings are codes a person should know, such as page-unreadable.
	Findings []media.Finding `json:"findings,omitempty"`
}

// PageFacts tells about one page of the text.
type PageFacts struct {
	// Offset and Length are bytes of the text rendition, without the form feed.
	Offset int `json:"offset"`
	Length int `json:"length"`
	// OCR is true when the text was recognised.
	OCR bool `json:"ocr,omitempty"`
	// Confidence is 0 to 100.
	Confidence float64 `json:"confidence"`
	// Width and Height are the size of the page in points, 0 when unknown.
	Width  float64 `json:"width,omitempty"`
	Height float64 `json:"height,omitempty"`
	// Problem is the code that kept the page from being read.
	Problem media.Code `json:"problem,omitempty"`
}

// Quality says how far a text can be trusted.
type Quality string

// The qualities.
const (
	QualityRead Quality = "read" // text of the file itself
	QualityGood Quality = "good" // recognised, confidence 80 and more
	QualityFair Quality = "fair" // 60 to 80
	QualityPoor Quality = "poor" // below
	QualityNone Quality = "none" // no text at all
)

// WordsFile is the content of the rendition words.
type WordsFile struct {
	Format int         `json:"format"`
	Pages  []PageWords `json:"pages"`
}

// PageWords are the words of one page with their places, from the upper left
// corner.
type PageWords struct {
	Page int `json:"page"`
	// Unit is "pt" or, where the size of the page is unknown, "px".
	Unit string `json:"unit"`
	// Width and Height are the size of the page in that unit.
	Width  float64      `json:"width"`
	Height float64      `json:"height"`
	Words  []media.Word `json:"words"`
}

// DocumentText is the text of a version, for people.
type DocumentText struct {
	Dokument uuid.UUID
	Version  int
	// Pages has the text of each page. A file without pages has one.
	Pages []string
	// Text is Pages joined by form feeds.
	Text  string
	Facts TextFacts
	// ETag changes when the text does.
	ETag string
}

// Status tells what the step can do on this node and what waits for it.
type Status struct {
	// OCR is true when Tesseract and its language are there.
	OCR bool
	// Tool is program and version.
	Tool string
	// Code and Detail tell what is missing; empty when OCR is true.
	Code, Detail string
	// Waiting counts the Dokumente of all tenants that wait for it, Failed those
	// that could not be read, Pending those not read yet.
	Waiting, Failed, Pending int64
}
