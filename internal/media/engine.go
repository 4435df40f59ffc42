package media

import (
	"context"
	"fmt"
	"image"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config sets up an Engine. Zero fields mean their defaults.
type Config struct {
	// Limits bound what one file may cost.
	Limits Limits
	// Child is the command line of a child, the config is appended. Default:
	// this program with ChildCommand.
	Child []string
	// Children is the most child processes at a time, default 2.
	Children int
	// CacheDir keeps the compiled PDFium; without it a child needs 3 s of
	// processor time to start instead of 0.1 s. It must not be writable by
	// others: what lies in it is executed.
	CacheDir string
	// Tesseract is the program, default "tesseract".
	Tesseract string
	// Language is Tesseract's language, default "deu"; several with "+".
	Language string
	// TessdataDir is the folder of the language files, default the program's own.
	TessdataDir string
	// OCRProcesses is the most Tesseract processes at a time, default one a core.
	OCRProcesses int
	// Logger is the place of the log, default none.
	Logger *slog.Logger
	// Registerer takes the metrics, default none.
	Registerer prometheus.Registerer
}

// Engine works on files of the spool. It is safe for concurrent use; requests
// about PDFs wait for a free child.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	children *children
	ocr      chan struct{}
	seconds  *prometheus.HistogramVec
	faults   *prometheus.CounterVec

	toolMu sync.Mutex
	tool   string // name and version of Tesseract, once asked
}

// New sets up an Engine. It starts nothing: the first PDF does. Close it.
func New(cfg Config) (*Engine, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if len(cfg.Child) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("media: own program: %w", err)
		}
		cfg.Child = []string{self, ChildCommand}
	}
	if cfg.Children <= 0 {
		cfg.Children = 2
	}
	if cfg.Tesseract == "" {
		cfg.Tesseract = "tesseract"
	}
	if cfg.Language == "" {
		cfg.Language = "deu"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.CacheDir != "" {
		if err := os.MkdirAll(cfg.CacheDir, 0o700); err != nil {
			return nil, fmt.Errorf("media: cache folder: %w", err)
		}
	}
	if cfg.OCRProcesses <= 0 {
		cfg.OCRProcesses = runtime.NumCPU()
	}
	e := &Engine{cfg: cfg, log: cfg.Logger, ocr: make(chan struct{}, cfg.OCRProcesses)}
	e.children = &children{
		argv: cfg.Child, limits: cfg.Limits, slots: make(chan struct{}, cfg.Children),
		config: childConfig{
			CacheDir: cfg.CacheDir, Memory: cfg.Limits.ChildMemory, Guest: cfg.Limits.GuestMemory,
			// One child may look at many large files; this is for orphans only.
			CPU: time.Duration(cfg.Limits.RecycleAfter) * 10 * cfg.Limits.FileTime,
		},
	}
	e.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "evb_media_step_duration_seconds", Help: "Time of one step on one page or file.",
		Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30, 60},
	}, []string{"step"})
	e.faults = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evb_media_file_faults_total", Help: "Files or pages that were at fault, by code.",
	}, []string{"code"})
	if cfg.Registerer != nil {
		for _, c := range []prometheus.Collector{e.seconds, e.faults} {
			if err := cfg.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("media: metrics: %w", err)
			}
		}
	}
	return e, nil
}

// Close ends the idle children and, when their requests end, the others. It may
// be called once; requests after it fail with ErrClosed.
func (e *Engine) Close() error {
	e.children.close()
	return nil
}

// Limits are the limits in force.
func (e *Engine) Limits() Limits { return e.cfg.Limits }

// observe counts one step; use it as defer e.observe("step", time.Now(), &err).
func (e *Engine) observe(step string, since time.Time, err *error) {
	e.seconds.WithLabelValues(step).Observe(time.Since(since).Seconds())
	if c := CodeOf(*err); c != "" {
		e.faults.WithLabelValues(string(c)).Inc()
	}
}

// Render draws one page into a box, in colour when asked for. The errors are
// *Error for the file and others for the machine. The page is drawn by its box
// and never by a resolution, so a page of 5 km costs no more than a letter.
func (e *Engine) Render(ctx context.Context, src Source, page int, box Box, inColor bool) (r Raster, err error) {
	defer e.observe("render", time.Now(), &err)
	if box.Width <= 0 {
		box.Width = 2500
	}
	if box.Height <= 0 {
		box.Height = 3600
	}
	if int64(box.Width)*int64(box.Height) > e.cfg.Limits.Pixels {
		return Raster{}, faulty(CodeTooManyPixels, nil, "found", fmt.Sprintf("%d x %d", box.Width, box.Height))
	}
	if src.Kind != KindPDF {
		return e.renderImage(ctx, src, page, box, inColor)
	}
	resp, pix, err := e.children.do(ctx, e.cfg.Limits.PageTime, &request{
		Op: opRender, Path: src.Path, Page: page, Width: box.Width, Height: box.Height, Color: inColor,
	})
	if err != nil {
		return Raster{}, onPage(err, page)
	}
	r.WidthPoints, r.HeightPoints = resp.WPoints, resp.HPoints
	if resp.WPoints > 0 {
		r.DPI = float64(resp.Width) / resp.WPoints * 72
	}
	rect := image.Rect(0, 0, resp.Width, resp.Height)
	per := 1
	if inColor {
		per = 4
	}
	if rect.Dx() <= 0 || rect.Dy() <= 0 || len(pix) != rect.Dx()*rect.Dy()*per {
		return Raster{}, fmt.Errorf("media: child answered %d bytes for %v", len(pix), rect)
	}
	if inColor {
		r.Color = &image.RGBA{Pix: pix, Stride: rect.Dx() * 4, Rect: rect}
	} else {
		r.Gray = &image.Gray{Pix: pix, Stride: rect.Dx(), Rect: rect}
	}
	return r, nil
}

// onPage names the page in an error about the whole file.
func onPage(err error, page int) error {
	if e, ok := err.(*Error); ok && e.Page == 0 {
		e.Page = page
	}
	return err
}

// PageText reads the text layer of a PDF page. Files of other kinds have none:
// the result is empty and not usable.
func (e *Engine) PageText(ctx context.Context, src Source, page int) (t PageText, err error) {
	defer e.observe("text", time.Now(), &err)
	if src.Kind != KindPDF {
		return PageText{}, nil
	}
	resp, _, err := e.children.do(ctx, e.cfg.Limits.PageTime, &request{Op: opText, Path: src.Path, Page: page})
	if err != nil {
		return PageText{}, onPage(err, page)
	}
	return *resp.Text, nil
}

// Split cuts pages out of a PDF or TIFF into new files of the same kind. Image
// data are copied byte for byte, and the same pages of the same file give the
// same bytes. The parts are written one after the other; after an error those
// written stay. A JPEG or PNG has one page and is copied.
func (e *Engine) Split(ctx context.Context, src Source, parts []Part) (err error) {
	defer e.observe("split", time.Now(), &err)
	switch src.Kind {
	case KindPDF:
		n := 0
		for _, p := range parts {
			n += len(p.Pages)
		}
		// Writing is quick, reading the file is not: the limit of the file, and a
		// tenth of a second for each page.
		limit := e.cfg.Limits.FileTime + time.Duration(n)*100*time.Millisecond
		_, _, err = e.children.do(ctx, limit, &request{Op: opSplit, Path: src.Path, Parts: parts})
		return err
	case KindTIFF:
		return e.splitTIFF(ctx, src, parts)
	case KindJPEG, KindPNG:
		return copySingle(src, parts)
	}
	return faulty(CodeUnsupported, nil, "type", string(src.Kind))
}
