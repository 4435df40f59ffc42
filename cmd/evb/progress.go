package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"evb/internal/client"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progressEvery is how often a line is written where there is no terminal.
const progressEvery = 30 * time.Second

// progress shows people how a long command gets on: a bar on a terminal, else a
// line every 30 seconds. Safe for concurrent use.
type progress struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex
	bar   *progressbar.ProgressBar
	name  string
	bytes int64 // uploaded
	total int64
	said  time.Time
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd())), said: time.Now()}
}

// upload begins the hand-over of a batch of total bytes.
func (p *progress) upload(name string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.name, p.bytes, p.total = name, 0, total
	if p.terminal && total > 0 {
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.out), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription("Übergabe "+name), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
}

// file gives the function that is told how many bytes of one file are there.
func (p *progress) file() func(int64) {
	var before int64
	return func(now int64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.bytes += now - before
		before = now
		if p.bar != nil {
			_ = p.bar.Set64(min(p.bytes, p.total))
		}
		p.line("Stapel %s: %d von %d MB übergeben / handed over", p.name, p.bytes>>20, p.total>>20)
	}
}

// pages shows how many pages of a batch have their fate.
func (p *progress) pages(name string, b client.Book) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fated := b.Pages.In - b.Pages.Open
	if p.terminal && b.Pages.In > 0 {
		if p.bar == nil || p.name != "pages "+name {
			p.end()
			p.name = "pages " + name
			p.bar = progressbar.NewOptions(b.Pages.In, progressbar.OptionSetWriter(p.out), progressbar.OptionShowCount(),
				progressbar.OptionSetDescription("Stapel "+name), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		}
		p.bar.ChangeMax(b.Pages.In)
		_ = p.bar.Set(fated)
	}
	waiting := ""
	if b.Reason != "" {
		waiting = ": " + b.Reason
	}
	p.line("Stapel %s: %d von %d Seiten / pages%s", name, fated, b.Pages.In, waiting)
}

// note tells something without spoiling the bar.
func (p *progress) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintln(p.out, text)
}

// done ends the bar of a batch.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}

func (p *progress) line(format string, args ...any) {
	if p.terminal || time.Since(p.said) < progressEvery {
		return
	}
	p.said = time.Now()
	fmt.Fprintf(p.out, format+"\n", args...)
}
