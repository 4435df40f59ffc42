package extract

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// seen finds a version of a Dokument that the actor sees, and one of its
// renditions. current tells whether it is the current version.
func (s *Service) seen(ctx context.Context, a access.Actor, dokument uuid.UUID, version int, kind string) (d akte.Dokument, v akte.Version, r akte.Rendition, ok bool, err error) {
	if d, err = s.akten.Dokument(ctx, a, dokument); err != nil {
		return d, v, r, false, err
	}
	if version == 0 {
		version = d.VersionNumber
	}
	for _, one := range d.Versions {
		if one.Number == version {
			v = one
		}
	}
	if v.ID == uuid.Nil {
		return d, v, r, false, fault.New("version-not-found", "version", version)
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		r, ok, err = akte.RenditionOf(ctx, q, v.ID, kind)
		return err
	})
	return d, v, r, ok, err
}

// notThere is the fault for a text that does not exist (yet).
func notThere(d akte.Dokument, v akte.Version) error {
	if v.Number == d.VersionNumber && d.Extraction == akte.ExtractionFailed {
		return fault.New("text-not-available", "reason", fault.Text("de", d.ExtractionReason, nil))
	}
	return fault.New("text-not-ready")
}

// Text is the text of the current version of a Dokument that the actor sees.
// Faults: not-found, text-not-ready (a try later may find it),
// text-not-available.
func (s *Service) Text(ctx context.Context, a access.Actor, dokument uuid.UUID) (DocumentText, error) {
	return s.TextOf(ctx, a, dokument, 0)
}

// TextOf is Text of a version by its number, 0 for the current one.
func (s *Service) TextOf(ctx context.Context, a access.Actor, dokument uuid.UUID, version int) (DocumentText, error) {
	d, v, r, ok, err := s.seen(ctx, a, dokument, version, akte.Text)
	if err != nil {
		return DocumentText{}, err
	}
	if !ok {
		return DocumentText{}, notThere(d, v)
	}
	out := DocumentText{Dokument: dokument, Version: v.Number, ETag: `"` + r.ID.String() + `"`}
	if err := json.Unmarshal(r.Facts, &out.Facts); err != nil {
		return DocumentText{}, fmt.Errorf("facts of text: %w", err)
	}
	if len(r.Files) == 0 {
		return out, nil
	}
	b, err := s.all(ctx, a, r.Files[0].Blob)
	if err != nil {
		return DocumentText{}, err
	}
	out.Text = string(b)
	out.Pages = strings.Split(out.Text, "\f")
	out.ETag = `"` + hex.EncodeToString(r.Files[0].SHA256[:min(16, len(r.Files[0].SHA256))]) + `"`
	return out, nil
}

func (s *Service) all(ctx context.Context, a access.Actor, id uuid.UUID) ([]byte, error) {
	f, _, err := s.blobs.Open(ctx, a, id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// PageImage is the image of a page of the current version. The caller closes
// the reader; ctx must live as long as it. The etag is quoted, as HTTP has it.
// Faults: not-found, page-not-found, page-not-ready (a try later may find it).
func (s *Service) PageImage(ctx context.Context, a access.Actor, dokument uuid.UUID, page int) (r io.ReadCloser, mediaType, etag string, err error) {
	return s.PageImageOf(ctx, a, dokument, 0, page)
}

// PageImageOf is PageImage of a version by its number, 0 for the current one.
func (s *Service) PageImageOf(ctx context.Context, a access.Actor, dokument uuid.UUID, version, page int) (r io.ReadCloser, mediaType, etag string, err error) {
	d, v, images, _, err := s.seen(ctx, a, dokument, version, akte.PageImage)
	if err != nil {
		return nil, "", "", err
	}
	for _, f := range images.Files {
		if pageOfName(f.Name) != page {
			continue
		}
		body, _, err := s.blobs.Open(ctx, a, f.Blob)
		if err != nil {
			return nil, "", "", err
		}
		return body, f.MediaType, `"` + hex.EncodeToString(f.SHA256[:min(16, len(f.SHA256))]) + `"`, nil
	}
	open := v.Number == d.VersionNumber && (d.Extraction == akte.ExtractionPending || d.Extraction == akte.ExtractionWaiting)
	if page > 0 && open && mayHave(v, page) {
		return nil, "", "", fault.New("page-not-ready", "page", page)
	}
	return nil, "", "", fault.New("page-not-found", "page", page)
}

// mayHave says whether a version can have a page, by the counts of its files as
// far as they are known.
func mayHave(v akte.Version, page int) bool {
	n := 0
	for _, f := range v.Files {
		if f.Pages == 0 {
			return true
		}
		n += f.Pages
	}
	return page <= n
}

// Words are the words of a page with their places, for marking what was found.
// A page without words gives none. Faults as of Text, and page-not-found.
func (s *Service) Words(ctx context.Context, a access.Actor, dokument uuid.UUID, version, page int) (PageWords, error) {
	d, v, r, ok, err := s.seen(ctx, a, dokument, version, akte.Words)
	if err != nil {
		return PageWords{}, err
	}
	if !ok || len(r.Files) == 0 {
		if v.Number == d.VersionNumber && d.Extraction != akte.ExtractionDone {
			return PageWords{}, notThere(d, v)
		}
		return PageWords{Page: page, Unit: "pt"}, nil
	}
	b, err := s.all(ctx, a, r.Files[0].Blob)
	if err != nil {
		return PageWords{}, err
	}
	var all WordsFile
	if err := json.Unmarshal(b, &all); err != nil {
		return PageWords{}, fmt.Errorf("words: %w", err)
	}
	for _, p := range all.Pages {
		if p.Page == page {
			return p, nil
		}
	}
	if page < 1 || page > 1<<20 {
		return PageWords{}, fault.New("page-not-found", "page", page)
	}
	return PageWords{Page: page, Unit: "pt"}, nil
}
