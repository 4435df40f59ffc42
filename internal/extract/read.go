package extract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/media"
	"evb/internal/postgres"
)

const (
	sqlPages     = `SELECT page, result FROM extraction_page WHERE tenant = evb_tenant() AND version_id = $1 ORDER BY page`
	sqlKeepPage  = `INSERT INTO extraction_page (tenant, version_id, page, result) VALUES (evb_tenant(), $1, $2, $3) ON CONFLICT DO NOTHING`
	sqlDropPages = `DELETE FROM extraction_page WHERE tenant = evb_tenant() AND version_id = $1`
)

// maxText is the most bytes of a text file that are read.
const maxText = 8 << 20

// pageResult is what was found on one page. Image is the page image, nil when
// there is none; Kept is its blob when an earlier slice stored it.
type pageResult struct {
	Text       string       `json:"text"`
	Words      []media.Word `json:"words,omitempty"`
	OCR        bool         `json:"ocr,omitempty"`
	Confidence float64      `json:"confidence"`
	Tool       string       `json:"tool,omitempty"`
	Width      float64      `json:"width,omitempty"`
	Height     float64      `json:"height,omitempty"`
	Problem    media.Code   `json:"problem,omitempty"`
	HasImage   bool         `json:"has_image,omitempty"`

	image *blob.File
	kept  uuid.UUID
}

// place is a page of one of the files of the original.
type place struct {
	src  media.Source
	page int
	text string // of a text file, which is one page
}

// original is the version's files, looked at.
type original struct {
	files    []*blob.File
	places   []place
	findings []media.Finding
}

func (o *original) remove() {
	for _, f := range o.files {
		f.Remove()
	}
}

// read is one slice. more says that pages are left.
func (s *Service) read(ctx context.Context, a access.Actor, t task) (more bool, err error) {
	started := time.Now()
	var source akte.Rendition
	var images akte.Rendition
	var done []pageResult
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var ok bool
		if source, ok, err = akte.RenditionOf(ctx, q, t.version, akte.Original); err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("version %s has no original", t.version)
		}
		if done, err = keptPages(ctx, q, t.version); err != nil || len(done) == 0 {
			return err
		}
		images, _, err = akte.RenditionOf(ctx, q, t.version, akte.PageImage)
		return err
	})
	if err != nil {
		return false, err
	}
	done = withImages(done, images.Files)
	o, err := s.open(ctx, a, source.Files)
	defer o.remove()
	if err != nil {
		return false, err
	}
	if len(done) > len(o.places) {
		done = done[:len(o.places)]
	}
	patterns, err := s.patterns(ctx, a)
	if err != nil {
		return false, err
	}
	results, err := s.pages(ctx, o, len(done), started, patterns)
	defer func() {
		for _, r := range results {
			if r.image != nil {
				r.image.Remove()
			}
		}
	}()
	if err != nil {
		return false, err
	}
	all := append(done, results...)
	if len(all) < len(o.places) {
		return true, s.keep(ctx, a, t, source, all, len(done))
	}
	return false, s.finish(ctx, a, t, source, o, all, patterns, time.Since(started))
}

func keptPages(ctx context.Context, q postgres.Querier, version uuid.UUID) ([]pageResult, error) {
	rows, err := q.Query(ctx, sqlPages, version)
	if err != nil {
		return nil, err
	}
	var out []pageResult
	for rows.Next() {
		var n int
		var raw []byte
		if err := rows.Scan(&n, &raw); err != nil {
			return nil, err
		}
		if n != len(out)+1 {
			break
		}
		var p pageResult
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("kept page %d: %w", n, err)
		}
		out = append(out, p)
	}
	rows.Close()
	return out, rows.Err()
}

// withImages joins kept pages with their images; a page whose image is not
// there, and all behind it, are read again.
func withImages(pages []pageResult, files []akte.PrimaryFile) []pageResult {
	byPage := map[int]uuid.UUID{}
	for _, f := range files {
		if n := pageOfName(f.Name); n > 0 {
			byPage[n] = f.Blob
		}
	}
	for i := range pages {
		if !pages[i].HasImage {
			continue
		}
		id, ok := byPage[i+1]
		if !ok {
			return pages[:i]
		}
		pages[i].kept = id
	}
	return pages
}

// open copies the files of the original into the spool and looks at them.
func (s *Service) open(ctx context.Context, a access.Actor, files []akte.PrimaryFile) (*original, error) {
	o := &original{}
	paged := false
	var bad error // of one file of several, which does not keep the others back
	for _, f := range files {
		local, err := s.blobs.ToFile(ctx, a, f.Blob)
		if err != nil {
			return o, err
		}
		o.files = append(o.files, local)
		p, err := s.engine.Probe(ctx, local.Path, f.Name)
		switch media.CodeOf(err) {
		case "":
			if err != nil {
				return o, err
			}
		case media.CodeActiveContent, media.CodePolyglot:
			// Somebody released it in spite of that: reading runs nothing of it.
			o.findings = append(o.findings, media.Finding{Code: media.CodeOf(err)})
			if p.Pages == 0 {
				return o, err
			}
		case media.CodeUnsupported:
			o.findings = append(o.findings, media.Finding{Code: CodeNoPages, Detail: f.MediaType})
			continue
		default:
			if bad == nil {
				bad = err
			}
			o.findings = append(o.findings, media.Finding{Code: media.CodeOf(err), Detail: f.MediaType})
			continue
		}
		o.findings = append(o.findings, p.Findings...)
		switch {
		case p.Kind.HasPages():
			paged = true
			src := p.Source(local.Path)
			for n := range p.Pages {
				o.places = append(o.places, place{src: src, page: n + 1})
			}
		case p.Kind == media.KindText:
			text, cut, err := readTextFile(local.Path)
			if err != nil {
				return o, err
			}
			if cut {
				o.findings = append(o.findings, media.Finding{Code: "text-cut"})
			}
			o.places = append(o.places, place{text: text})
		default:
			o.findings = append(o.findings, media.Finding{Code: CodeNoPages, Detail: p.MediaType})
		}
	}
	if len(o.places) == 0 && bad != nil {
		return o, bad
	}
	if l := s.engine.Limits().Pages; paged && len(o.places) > l {
		return o, &media.Error{Code: media.CodeTooManyPages}
	}
	return o, nil
}

// pages reads pages behind the first done ones until the slice is full. The
// results are without a gap. A page at fault is a result with a Problem.
func (s *Service) pages(ctx context.Context, o *original, done int, started time.Time, patterns []akte.Pattern) ([]pageResult, error) {
	todo := o.places[done:]
	if len(todo) > s.o.SlicePages {
		todo = todo[:s.o.SlicePages]
	}
	results := make([]pageResult, len(todo))
	n := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, p := range todo {
		if i > 0 && time.Since(started) > s.o.Slice {
			break
		}
		n++
		g.Go(func() error { return s.page(gctx, p, &results[i], patterns) })
	}
	err := g.Wait()
	return results[:n], err
}

// parallel is how many pages of one file are read at a time: while Tesseract
// reads one, PDFium draws the next.
const parallel = 2

func (s *Service) page(ctx context.Context, p place, r *pageResult, patterns []akte.Pattern) error {
	if p.src.Path == "" {
		r.Text, r.Confidence, r.Tool = p.text, 100, "evb"
		return nil
	}
	defer s.observe(time.Now())
	t, err := s.engine.Text(ctx, p.src, p.page)
	if err == nil {
		err = s.reread(ctx, p, &t, patterns)
	}
	switch code := media.CodeOf(err); {
	case err == nil:
		r.Text, r.OCR, r.Confidence, r.Tool, r.Width, r.Height = clean(t.Text), t.OCR, t.Confidence, t.Tool, t.WidthPoints, t.HeightPoints
		r.Words = cleanWords(t.Words)
	case code == media.CodeNoSuchPage:
		return &media.Error{Code: media.CodePagesMissing, Page: p.page}
	case code != "":
		r.Problem = code
	default:
		return err
	}
	raster, err := s.engine.Render(ctx, p.src, p.page, media.BoxForDPI(s.o.DPI), true)
	if code := media.CodeOf(err); code != "" {
		if r.Problem == "" {
			r.Problem = code
		}
		return nil
	}
	if err != nil {
		return err
	}
	if r.Width == 0 && len(r.Words) == 0 {
		r.Width, r.Height = raster.WidthPoints, raster.HeightPoints
	}
	if r.image, err = s.writeImage(ctx, raster); err != nil {
		return err
	}
	r.HasImage = true
	return nil
}

func (s *Service) writeImage(ctx context.Context, raster media.Raster) (*blob.File, error) {
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.DefaultCompression}).Encode(&b, viewImage(raster)); err != nil {
		return nil, fmt.Errorf("page image: %w", err)
	}
	return s.blobs.Spool().Take(ctx, &b, 0)
}

// keep stores a slice of a long version (step 3).
func (s *Service) keep(ctx context.Context, a access.Actor, t task, source akte.Rendition, all []pageResult, before int) error {
	files, place := imageFiles(all)
	return s.store(ctx, a, files, func(tx pgx.Tx, staged []blob.Staged) error {
		at := s.now()
		if err := s.replaceImages(ctx, tx, a, at, t, source, all, place, staged); err != nil {
			return err
		}
		for i := before; i < len(all); i++ {
			raw, err := json.Marshal(all[i])
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, sqlKeepPage, t.version, i+1, raw); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, sqlProgress, t.version)
		return err
	})
}

// store is blob.Store that also serves the case without files.
func (s *Service) store(ctx context.Context, a access.Actor, files []*blob.File, fn func(tx pgx.Tx, staged []blob.Staged) error) error {
	if len(files) == 0 {
		return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error { return fn(tx, nil) })
	}
	return s.blobs.Store(ctx, a, files, fn)
}

// imageFiles lists the new images and where each page's stands in the list.
func imageFiles(all []pageResult) (files []*blob.File, place map[int]int) {
	place = map[int]int{}
	for i, p := range all {
		if p.image != nil {
			place[i] = len(files)
			files = append(files, p.image)
		}
	}
	return files, place
}

func (s *Service) replaceImages(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, t task, source akte.Rendition,
	all []pageResult, place map[int]int, staged []blob.Staged) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	r := akte.NewRendition{
		ID: id, VersionID: t.version, Kind: akte.PageImage, Tool: "evb", ToolVersion: imageFormat, Source: source.ID, Format: "png",
		Facts: map[string]any{"dpi": s.o.DPI, "pages": len(all)},
	}
	for i, p := range all {
		blobID := p.kept
		if n, ok := place[i]; ok {
			blobID = staged[n].ID
		}
		if blobID != uuid.Nil {
			r.Files = append(r.Files, akte.NewFile{Blob: blobID, Name: pageName(i + 1), MediaType: "image/png", Pages: 1})
		}
	}
	if len(r.Files) == 0 {
		return nil
	}
	return s.akten.ReplaceRendition(ctx, tx, a, at, r)
}

// finish writes everything about a version in one transaction (step 4).
func (s *Service) finish(ctx context.Context, a access.Actor, t task, source akte.Rendition, o *original, all []pageResult, patterns []akte.Pattern, took time.Duration) error {
	if len(all) > 0 && !anyReadable(all) {
		return &media.Error{Code: all[0].Problem, Page: 1}
	}
	text, words, facts := assemble(all, o.findings)
	found := recognise(text, facts, patterns)
	files, place := imageFiles(all)
	textAt, wordsAt := -1, -1
	extra := func(b []byte, at *int) error {
		f, err := s.blobs.Spool().Take(ctx, bytes.NewReader(b), 0)
		if err != nil {
			return err
		}
		*at = len(files)
		files = append(files, f)
		return nil
	}
	defer func() {
		for _, at := range []int{textAt, wordsAt} {
			if at >= 0 {
				files[at].Remove()
			}
		}
	}()
	if len(all) > 0 {
		if err := extra([]byte(text), &textAt); err != nil {
			return err
		}
	}
	if len(words.Pages) > 0 {
		raw, err := json.Marshal(words)
		if err != nil {
			return err
		}
		if err := extra(raw, &wordsAt); err != nil {
			return err
		}
	}
	reason := ""
	if len(all) == 0 {
		reason = CodeNoPages
	}
	tool := toolOf(all)
	err := s.store(ctx, a, files, func(tx pgx.Tx, staged []blob.Staged) error {
		at := s.now()
		if err := s.replaceImages(ctx, tx, a, at, t, source, all, place, staged); err != nil {
			return err
		}
		ids := [2]uuid.UUID{}
		for i := range ids {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			ids[i] = id
		}
		name, version := splitTool(tool)
		tr := akte.NewRendition{ID: ids[0], VersionID: t.version, Kind: akte.Text, Tool: name, ToolVersion: version, Source: source.ID, Format: "txt", Facts: facts}
		if textAt >= 0 {
			tr.Files = []akte.NewFile{{Blob: staged[textAt].ID, Name: "text.txt", MediaType: "text/plain; charset=utf-8", Pages: len(all)}}
		}
		if err := s.akten.ReplaceRendition(ctx, tx, a, at, tr); err != nil {
			return err
		}
		if wordsAt >= 0 {
			wr := akte.NewRendition{ID: ids[1], VersionID: t.version, Kind: akte.Words, Tool: name, ToolVersion: version, Source: source.ID, Format: "json",
				Files: []akte.NewFile{{Blob: staged[wordsAt].ID, Name: "words.json", MediaType: "application/json", Pages: len(words.Pages)}}}
			if err := s.akten.ReplaceRendition(ctx, tx, a, at, wr); err != nil {
				return err
			}
		}
		if err := s.akten.SetRecognised(ctx, tx, t.dokument, found); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlEnd, t.version, "done", reason, at, 0); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlDropPages, t.version); err != nil {
			return err
		}
		detail := map[string]any{"pages": len(all), "recognised": countOCR(all), "confidence": int(facts.Confidence), "quality": facts.Quality}
		if err := s.step(ctx, tx, t, "text", tool, "done", reason, detail, took, at); err != nil {
			return err
		}
		return s.akten.SetExtraction(ctx, tx, a, at, t.dokument, t.version, akte.ExtractionDone, reason)
	})
	if err == nil {
		s.count("done")
	}
	return err
}

func (s *Service) patterns(ctx context.Context, a access.Actor) (p []akte.Pattern, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		p, err = akte.Patterns(ctx, q)
		return err
	})
	return p, err
}

func anyReadable(all []pageResult) bool {
	for _, p := range all {
		if p.Problem == "" || p.HasImage {
			return true
		}
	}
	return false
}

func countOCR(all []pageResult) int {
	n := 0
	for _, p := range all {
		if p.OCR {
			n++
		}
	}
	return n
}

// toolOf names the tool that read most for the protocol: a recognised page
// counts before a text layer.
func toolOf(all []pageResult) string {
	tool := "evb 1"
	for _, p := range all {
		if p.OCR && p.Tool != "" {
			return p.Tool
		}
		if p.Tool != "" && p.Tool != "evb" {
			tool = p.Tool
		}
	}
	return tool
}

func splitTool(s string) (name, version string) {
	name, version, _ = strings.Cut(s, " ")
	return name, version
}

func readTextFile(path string) (text string, cut bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	b := make([]byte, maxText+1)
	n, err := readFull(f, b)
	if err != nil && !errors.Is(err, errShort) {
		return "", false, err
	}
	cut = n > maxText
	return clean(decodeText(b[:min(n, maxText)])), cut, nil
}
