package media

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OCRResult is the recognised text of one page.
type OCRResult struct {
	// Text has one line per line of the page and an empty one between blocks.
	Text string
	// Words have their places in pixels of the raster that was given, whatever
	// way it was turned for recognition.
	Words []Word
	// Confidence is the mean of the words' confidences, 0 to 100, and 0 for a
	// page without words.
	Confidence float64
	// Turned says by how many degrees clockwise the page had to be turned to be
	// upright, Straightened by how many degrees it leaned.
	Turned       int
	Straightened float64
	// Tool is program and version, for the protocol of the document.
	Tool string
}

const (
	// lowConfidence is where a page may lie on its side: turned text gives a
	// few words of rubbish below it, upright text on bad scans stays above.
	lowConfidence = 60
	// minSkew is the angle from which straightening gains more than it blurs.
	minSkew = 0.6
)

// OCRVersion gives program and version, or a *ToolError (ErrToolMissing) when
// Tesseract or the language is not installed.
func (e *Engine) OCRVersion(ctx context.Context) (string, error) {
	out, err := e.tesseract(ctx, nil, "--list-langs")
	if err != nil {
		return "", err
	}
	has := strings.Fields(string(out))
	for l := range strings.SplitSeq(e.cfg.Language, "+") {
		if !slices.Contains(has, l) {
			return "", &ToolError{Tool: e.cfg.Tesseract, Detail: "language " + l}
		}
	}
	out, err = e.tesseract(ctx, nil, "--version")
	if err != nil {
		return "", err
	}
	return firstLine(string(out)), nil
}

// OCR recognises the text of one page raster of the given resolution (0 when
// unknown, then 300 is assumed for large rasters and 200 else). The page is
// straightened for it, and turned when the first run gives little and the
// orientation of the letters says so. Time and memory of each run are limited:
// CodeTimeout and CodeMemory are the page's fault. A missing program is a
// *ToolError; the page can wait.
func (e *Engine) OCR(ctx context.Context, img *image.Gray, dpi float64) (res OCRResult, err error) {
	defer e.observe("ocr", time.Now(), &err)
	img = tight(img)
	w, h := img.Rect.Dx(), img.Rect.Dy()
	if w < 8 || h < 8 {
		return OCRResult{}, nil
	}
	if int64(w)*int64(h) > e.cfg.Limits.Pixels {
		return OCRResult{}, faulty(CodeTooManyPixels, nil, "found", fmt.Sprintf("%d x %d", w, h))
	}
	if dpi < 50 {
		dpi = 200
		if max(w, h) > 3000 {
			dpi = 300
		}
	}
	res, err = e.recognise(ctx, img, dpi, 0)
	if err != nil {
		return OCRResult{}, err
	}
	if res.Confidence < lowConfidence || len(res.Words) < 4 {
		turn, err := e.orientation(ctx, img, dpi)
		if err != nil {
			return OCRResult{}, err
		}
		if turn != 0 {
			other, err := e.recognise(ctx, img, dpi, turn)
			if err != nil {
				return OCRResult{}, err
			}
			if weight(other) > weight(res) {
				res = other
			}
		}
	}
	if res.Tool, err = e.toolName(ctx); err != nil {
		return OCRResult{}, err
	}
	return res, nil
}

// weight compares two readings of one page: letters that are believed.
func weight(r OCRResult) float64 {
	s := 0.0
	for _, w := range r.Words {
		s += w.Confidence / 100 * float64(len(w.Text))
	}
	return s * r.Confidence
}

func (e *Engine) toolName(ctx context.Context) (string, error) {
	e.toolMu.Lock()
	defer e.toolMu.Unlock()
	if e.tool == "" {
		v, err := e.OCRVersion(ctx)
		if err != nil {
			return "", err
		}
		e.tool = v + " " + e.cfg.Language
	}
	return e.tool, nil
}

// recognise runs Tesseract once on the page turned and straightened, with
// further options.
func (e *Engine) recognise(ctx context.Context, img *image.Gray, dpi float64, turn int, options ...string) (OCRResult, error) {
	work := Turn(img, turn)
	skew := Skew(work)
	if math.Abs(skew) >= minSkew {
		work = Straighten(work, skew)
	} else {
		skew = 0
	}
	args := append([]string{"stdin", "stdout", "-l", e.cfg.Language, "--dpi", strconv.Itoa(int(dpi))}, options...)
	out, err := e.tesseract(ctx, work, append(args, "tsv")...)
	if err != nil {
		return OCRResult{}, err
	}
	res := readTSV(out)
	res.Turned, res.Straightened = turn, skew
	back := placing{w: work.Rect.Dx(), h: work.Rect.Dy(), turn: turn, skew: skew}
	for i := range res.Words {
		back.word(&res.Words[i])
	}
	return res, nil
}

// orientation asks Tesseract's orientation detection by how much the page is to
// be turned clockwise; 0 when it cannot tell.
func (e *Engine) orientation(ctx context.Context, img *image.Gray, dpi float64) (int, error) {
	out, err := e.tesseract(ctx, img, "stdin", "stdout", "--psm", "0", "-l", "osd", "--dpi", strconv.Itoa(int(dpi)))
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) || errors.Is(err, ErrToolMissing) {
			return 0, nil // too few letters, or the osd data are not installed
		}
		return 0, err
	}
	for _, l := range strings.Split(string(out), "\n") {
		if v, ok := strings.CutPrefix(l, "Rotate: "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if err == nil && (n == 90 || n == 180 || n == 270) {
				return n, nil
			}
		}
	}
	return 0, nil
}

// tesseract runs the program with the page on stdin as PGM, which it reads
// without decoding anything foreign, and gives its stdout.
func (e *Engine) tesseract(ctx context.Context, img *image.Gray, args ...string) ([]byte, error) {
	select {
	case e.ocr <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-e.ocr }()
	run, cancel := context.WithTimeout(ctx, e.cfg.Limits.OCRTime)
	defer cancel()
	cmd := exec.CommandContext(run, e.cfg.Tesseract, args...)
	// More than one thread a process loses: the work is spread over pages.
	cmd.Env = append(cmd.Environ(), "OMP_THREAD_LIMIT=1", "LC_ALL=C.UTF-8")
	if e.cfg.TessdataDir != "" {
		cmd.Env = append(cmd.Env, "TESSDATA_PREFIX="+e.cfg.TessdataDir)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	stderr := &tail{}
	cmd.Stdout, cmd.Stderr = &out, stderr
	var in io.WriteCloser
	if img != nil {
		var err error
		if in, err = cmd.StdinPipe(); err != nil {
			return nil, fmt.Errorf("media: tesseract: %w", err)
		}
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, syscall.ENOENT) {
			return nil, &ToolError{Tool: e.cfg.Tesseract, Detail: "program", Err: err}
		}
		return nil, fmt.Errorf("media: tesseract: %w", err)
	}
	lim := unix.Rlimit{Cur: e.cfg.Limits.OCRMemory, Max: e.cfg.Limits.OCRMemory}
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_AS, &lim, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("media: tesseract: limit: %w", err)
	}
	if in != nil {
		bw := bufio.NewWriterSize(in, 1<<20)
		fmt.Fprintf(bw, "P5\n%d %d\n255\n", img.Rect.Dx(), img.Rect.Dy())
		_, _ = bw.Write(img.Pix[:img.Rect.Dx()*img.Rect.Dy()])
		// A program that ended early closes the pipe; its exit code says why.
		_ = bw.Flush()
		_ = in.Close()
	}
	err := cmd.Wait()
	words := stderr.String()
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case run.Err() != nil:
		return nil, faulty(CodeTimeout, err, "limit", e.cfg.Limits.OCRTime.String())
	case strings.Contains(words, "Error opening data file"), strings.Contains(words, "Failed loading language"):
		return nil, &ToolError{Tool: e.cfg.Tesseract, Detail: "language " + e.cfg.Language, Err: errors.New(firstLine(words))}
	case strings.Contains(words, "bad_alloc"), strings.Contains(words, "annot allocate"):
		return nil, faulty(CodeMemory, err)
	}
	return nil, fmt.Errorf("media: tesseract: %w: %s", err, firstLine(words))
}

// readTSV reads Tesseract's table: level, page, block, paragraph, line, word,
// left, top, width, height, confidence, text; words have level 5.
func readTSV(b []byte) OCRResult {
	var res OCRResult
	var text strings.Builder
	sum := 0.0
	last, block, line := "", "", -1
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(make([]byte, 1<<16), 1<<20)
	for s.Scan() {
		c := strings.Split(s.Text(), "\t")
		if len(c) != 12 || c[0] != "5" || strings.TrimSpace(c[11]) == "" {
			continue
		}
		var n [5]float64
		ok := true
		for i := range n {
			v, err := strconv.ParseFloat(c[6+i], 64)
			ok = ok && err == nil
			n[i] = v
		}
		if !ok {
			continue
		}
		switch at := strings.Join(c[1:5], "."); {
		case at == last:
			text.WriteByte(' ')
		default:
			if line >= 0 {
				text.WriteByte('\n')
				if c[2] != block {
					text.WriteByte('\n')
				}
			}
			last, block = at, c[2]
			line++
		}
		w := strings.ToValidUTF8(c[11], "\uFFFD")
		text.WriteString(w)
		conf := math.Max(0, math.Min(100, n[4]))
		sum += conf
		res.Words = append(res.Words, Word{Text: w, X0: n[0], Y0: n[1], X1: n[0] + n[2], Y1: n[1] + n[3], Confidence: conf, Line: line})
	}
	res.Text = text.String()
	if len(res.Words) > 0 {
		res.Confidence = sum / float64(len(res.Words))
	}
	return res
}

// placing maps boxes of the recognised raster (w by h) back onto the page as it
// was given.
type placing struct {
	w, h, turn int
	skew       float64
}

func (p placing) word(w *Word) {
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, c := range [4][2]float64{{w.X0, w.Y0}, {w.X1, w.Y0}, {w.X0, w.Y1}, {w.X1, w.Y1}} {
		x, y := p.point(c[0], c[1])
		x0, y0, x1, y1 = math.Min(x0, x), math.Min(y0, y), math.Max(x1, x), math.Max(y1, y)
	}
	w.X0, w.Y0, w.X1, w.Y1 = math.Round(x0), math.Round(y0), math.Round(x1), math.Round(y1)
}

func (p placing) point(x, y float64) (float64, float64) {
	if p.skew != 0 {
		// The same mapping by which Straighten fetched each pixel.
		sin, cos := math.Sincos(p.skew * math.Pi / 180)
		cx, cy := float64(p.w-1)/2, float64(p.h-1)/2
		x, y = cx+(x-cx)*cos-(y-cy)*sin, cy+(x-cx)*sin+(y-cy)*cos
	}
	switch p.turn {
	case 90:
		return y, float64(p.w) - x
	case 180:
		return float64(p.w) - x, float64(p.h) - y
	case 270:
		return float64(p.h) - y, x
	}
	return x, y
}
