package media

import (
	"image"
	"time"
)

// Kind is the family of a file, found by its content.
type Kind string

// The kinds. Only the first four have pages here.
const (
	KindPDF     Kind = "pdf"
	KindTIFF    Kind = "tiff"
	KindJPEG    Kind = "jpeg"
	KindPNG     Kind = "png"
	KindOffice  Kind = "office"
	KindMail    Kind = "mail"
	KindZIP     Kind = "zip"
	KindText    Kind = "text"
	KindUnknown Kind = "unknown"
)

// HasPages reports whether pages of this kind can be drawn and cut.
func (k Kind) HasPages() bool {
	return k == KindPDF || k == KindTIFF || k == KindJPEG || k == KindPNG
}

// Limits bound what one file may cost. The zero value of a field means its
// default; a negative value is not allowed.
type Limits struct {
	// FileBytes is the largest file, default 200 MB.
	FileBytes int64
	// Pages is the most pages a file may have, default 5,000.
	Pages int
	// Pixels is the most pixels of one image before decoding, default 150 million.
	Pixels int64
	// PagePoints is the longest side of a PDF page in points, default 14,400.
	PagePoints float64
	// InflatedBytes is the most a single PDF stream may inflate to, default 256 MiB.
	InflatedBytes int64
	// Operations is the most form invocations one page may lead to, default 100,000.
	Operations int
	// PageTime is the most processor time for one page in one step, default
	// 10 s; by the clock it may take six times that on a busy machine.
	PageTime time.Duration
	// FileTime is the most processor time for looking at one file as a whole,
	// default 60 s; by the clock six times that.
	FileTime time.Duration
	// OCRTime is the most time Tesseract may take for one page, default 60 s.
	OCRTime time.Duration
	// OCRMemory is the address space of one Tesseract in bytes, default 2 GiB.
	OCRMemory uint64
	// ChildMemory is the address space of a child in bytes, default 4 GiB;
	// it covers code, compiler and reserve, the pages themselves live in
	// GuestMemory.
	ChildMemory uint64
	// GuestMemory is the memory PDFium may use in bytes, default 512 MiB.
	GuestMemory uint64
	// RecycleAfter is the number of documents after which a child is replaced,
	// default 50.
	RecycleAfter int
}

func (l Limits) withDefaults() Limits {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.FileBytes, 200_000_000)
	def(&l.Pixels, 150_000_000)
	def(&l.InflatedBytes, 256<<20)
	if l.Pages == 0 {
		l.Pages = 5000
	}
	if l.PagePoints == 0 {
		l.PagePoints = 14_400
	}
	if l.Operations == 0 {
		l.Operations = 100_000
	}
	if l.PageTime == 0 {
		l.PageTime = 10 * time.Second
	}
	if l.FileTime == 0 {
		l.FileTime = time.Minute
	}
	if l.OCRTime == 0 {
		l.OCRTime = time.Minute
	}
	if l.OCRMemory == 0 {
		l.OCRMemory = 2 << 30
	}
	if l.ChildMemory == 0 {
		l.ChildMemory = 4 << 30
	}
	if l.GuestMemory == 0 {
		l.GuestMemory = 512 << 20
	}
	if l.RecycleAfter == 0 {
		l.RecycleAfter = 50
	}
	return l
}

// Source names a file of the spool and what it is. The Engine only reads it.
type Source struct {
	// Path is the local path.
	Path string
	// Kind is what Probe found.
	Kind Kind
}

// Finding is something a person should know about a file that is taken in.
type Finding struct {
	// Code is stable and keys the texts for people.
	Code Code `json:"code"`
	// Page is the page it is about, 0 for the whole file.
	Page int `json:"page,omitempty"`
	// Detail is a short value for the text: a name, a number; never content.
	Detail string `json:"detail,omitempty"`
}

// Probe is what a look at a file found.
type Probe struct {
	// Kind is the family by content.
	Kind Kind
	// MediaType is the type by content, without parameters.
	MediaType string
	// Size is the length in bytes.
	Size int64
	// Pages is the number of pages that can be loaded, 0 for kinds without pages.
	Pages int
	// Encrypted is true for a PDF with any encryption.
	Encrypted bool
	// Signed is true for a PDF that carries at least one signature.
	Signed bool
	// ActiveContent lists what could run, in PDF's own words, sorted.
	ActiveContent []string
	// Attachments are the cleaned names of embedded files.
	Attachments []string
	// Findings are sorted by page and code.
	Findings []Finding
	// Verdict is Accept or Repair when Probe returns no error.
	Verdict Verdict
}

// Source joins the kind with a path.
func (p Probe) Source(path string) Source { return Source{Path: path, Kind: p.Kind} }

// Box is the largest size of a drawn page in pixels; the page keeps its shape
// and fits inside. A zero side means the default of 2,500 by 3,600.
type Box struct{ Width, Height int }

// BoxForDPI is a Box that holds an A4 page at the given resolution either way
// round, and is the Box to use for text recognition (300) or page views (110).
func BoxForDPI(dpi int) Box { return Box{Width: dpi * 12, Height: dpi * 12} }

// Raster is one page as pixels.
type Raster struct {
	// Gray holds the page when it was asked for in grey.
	Gray *image.Gray
	// Color holds it otherwise.
	Color image.Image
	// DPI is the resolution of this raster, or 0 when the file does not say.
	DPI float64
	// WidthPoints and HeightPoints are the size of the page, 0 when unknown.
	WidthPoints, HeightPoints float64
}

// Word is one word with its place in pixels of the recognised raster, or in
// points from the top left corner for words of a PDF.
type Word struct {
	Text string `json:"t"`
	// X0, Y0 is the upper left and X1, Y1 the lower right corner.
	X0 float64 `json:"x0"`
	Y0 float64 `json:"y0"`
	X1 float64 `json:"x1"`
	Y1 float64 `json:"y1"`
	// Confidence is 0 to 100, and 100 for text of a PDF.
	Confidence float64 `json:"c"`
	// Line numbers the line within the page, from 0.
	Line int `json:"l"`
}

// PageText is the text layer of one PDF page.
type PageText struct {
	// Text has one line per line of the page.
	Text string
	// Usable is false when the page must be recognised: too few letters, or
	// letters without a mapping to Unicode.
	Usable bool
	// Words carry their places in points from the upper left corner.
	Words []Word
	// WidthPoints and HeightPoints are the size of the page as displayed.
	WidthPoints, HeightPoints float64
}

// Part is one document cut out of a stream.
type Part struct {
	// Pages are the page numbers in the order they shall have; none twice.
	Pages []int
	// Out is the path of the new file. It is written under a temporary name
	// beside it and renamed: a crash leaves no half file under this name.
	Out string
}
