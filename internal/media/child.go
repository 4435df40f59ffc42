package media

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/klippa-app/go-pdfium"
	pdfiumerr "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// ChildCommand is the hidden subcommand that runs ChildMain.
const ChildCommand = "media-child"

// ChildMain is the whole program of a child process: it reads requests from
// stdin and answers on stdout until stdin ends. args are the arguments behind
// ChildCommand. The result is the exit code. The caller's main must do nothing
// before it that a hostile PDF could profit from: open no file, no connection.
func ChildMain(args []string, stdin io.Reader, stdout io.Writer) int {
	var cfg childConfig
	if len(args) != 1 || json.Unmarshal([]byte(args[0]), &cfg) != nil {
		fmt.Fprintln(os.Stderr, "media-child: started by hand; it is a part of evb and not a command")
		return 2
	}
	if err := confine(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "media-child: limits:", err)
		return 2
	}
	c := &child{cfg: cfg}
	defer c.close()
	r, w := bufio.NewReader(stdin), bufio.NewWriterSize(stdout, 1<<20)
	for {
		var q request
		if _, err := readFrame(r, &q); err != nil {
			if errors.Is(err, io.EOF) {
				return 0
			}
			fmt.Fprintln(os.Stderr, "media-child: read:", err)
			return 1
		}
		resp, payload := c.serve(&q)
		if err := writeFrame(w, resp, payload); err != nil {
			return 1
		}
		if resp.Spoiled {
			return 0
		}
	}
}

// confine sets the limits the child cannot raise again. Processor time is
// limited too, so that a child whose parent was killed in the middle of a hostile
// file ends by itself: nobody is left to kill it.
func confine(cfg childConfig) error {
	if cfg.Memory > 0 {
		lim := unix.Rlimit{Cur: cfg.Memory, Max: cfg.Memory}
		if err := unix.Setrlimit(unix.RLIMIT_AS, &lim); err != nil {
			return fmt.Errorf("address space: %w", err)
		}
		debug.SetMemoryLimit(int64(cfg.Memory / 2))
	}
	if s := uint64(cfg.CPU / time.Second); s > 0 {
		lim := unix.Rlimit{Cur: s, Max: s + 5}
		if err := unix.Setrlimit(unix.RLIMIT_CPU, &lim); err != nil {
			return fmt.Errorf("processor time: %w", err)
		}
	}
	core := unix.Rlimit{}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &core); err != nil {
		return fmt.Errorf("core file: %w", err)
	}
	return nil
}

// child holds one PDFium instance and at most one open document.
type child struct {
	cfg   childConfig
	cache wazero.CompilationCache
	pool  pdfium.Pool
	inst  pdfium.Pdfium

	path  string
	mtime time.Time
	size  int64
	file  *os.File
	doc   *references.FPDF_DOCUMENT

	parsed     *pdfTree
	parsedPath string
	parsedSize int64
	parsedTime time.Time
}

func (c *child) serve(q *request) (resp *response, payload []byte) {
	resp = &response{}
	defer func() {
		if p := recover(); p != nil {
			// A panic of a library on foreign bytes: the file is at fault, and
			// the state of this process is unknown.
			resp = &response{Code: CodeDamaged, Cause: fmt.Sprint("panic: ", p), Spoiled: true}
			payload = nil
		}
	}()
	var err error
	switch q.Op {
	case opInspect:
		resp.Inspect, err = c.inspect(q)
	case opRender:
		payload, err = c.render(q, resp)
	case opText:
		resp.Text, err = c.text(q)
	case opSplit:
		err = c.split(q)
	case opImage:
		payload, err = c.pageJPEG(q, resp)
	default:
		err = fmt.Errorf("unknown operation %q", q.Op)
	}
	if err != nil {
		payload = nil
		if isTrap(err) {
			// The guest ran out of its memory or aborted: this instance is gone.
			err = faulty(CodeMemory, err)
			resp.Spoiled = true
		}
		resp.fail(err)
	}
	return resp, payload
}

func isTrap(err error) bool { return strings.Contains(err.Error(), "wasm error") }

// engine starts PDFium once per child, without any file system of the host.
func (c *child) engine() error {
	if c.inst != nil {
		return nil
	}
	rc := wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling).
		WithMemoryLimitPages(uint32(c.cfg.Guest / 65536))
	if c.cfg.CacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(c.cfg.CacheDir)
		if err != nil {
			return fmt.Errorf("compilation cache: %w", err)
		}
		c.cache = cache
		rc = rc.WithCompilationCache(cache)
	}
	pool, err := webassembly.Init(webassembly.Config{
		// The default would mount the whole file system of the host.
		FSConfig:      wazero.NewFSConfig(),
		RuntimeConfig: rc, MaxIdle: 1, MaxTotal: 1, ReuseWorkers: true,
		Stdout: io.Discard, Stderr: io.Discard,
	})
	if err != nil {
		return fmt.Errorf("start PDFium: %w", err)
	}
	c.pool = pool
	inst, err := pool.GetInstance(time.Minute)
	if err != nil {
		return fmt.Errorf("start PDFium: %w", err)
	}
	c.inst = inst
	return nil
}

// open makes the document of the request the open one.
func (c *child) open(q *request) error {
	st, err := os.Stat(q.Path)
	if err != nil {
		return err
	}
	if c.doc != nil && c.path == q.Path && st.Size() == c.size && st.ModTime().Equal(c.mtime) {
		return nil
	}
	c.closeDoc()
	if err := c.engine(); err != nil {
		return err
	}
	f, err := os.Open(q.Path)
	if err != nil {
		return err
	}
	res, err := c.inst.OpenDocument(&requests.OpenDocument{FileReader: f, FileReaderSize: st.Size()})
	if err != nil {
		f.Close()
		switch {
		case isTrap(err):
			return err
		case errors.Is(err, pdfiumerr.ErrPassword), errors.Is(err, pdfiumerr.ErrSecurity):
			return faulty(CodePassword, err)
		default:
			return faulty(CodeDamaged, err)
		}
	}
	c.file, c.doc, c.path, c.size, c.mtime = f, &res.Document, q.Path, st.Size(), st.ModTime()
	return nil
}

func (c *child) closeDoc() {
	if c.doc != nil {
		_, _ = c.inst.FPDF_CloseDocument(&requests.FPDF_CloseDocument{Document: *c.doc})
	}
	if c.file != nil {
		c.file.Close()
	}
	c.doc, c.file, c.path = nil, nil, ""
}

func (c *child) close() {
	// The process ends here; nothing outlives it, so errors say nothing.
	if c.file != nil {
		c.file.Close()
	}
}
