package extract

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/job"
	"evb/internal/media"
	"evb/internal/postgres"
)

// Service reads versions. Safe for concurrent use.
type Service struct {
	db     *postgres.DB
	log    *event.Log
	blobs  *blob.Service
	akten  *akte.Service
	engine *media.Engine
	o      Options
}

// New makes the service. It starts nothing.
func New(db *postgres.DB, log *event.Log, blobs *blob.Service, akten *akte.Service, engine *media.Engine, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{db: db, log: log, blobs: blobs, akten: akten, engine: engine, o: o}
}

// Jobs are the kinds of work of this package.
func (s *Service) Jobs() []job.Definition { return nil }

// Status tells whether text recognition is there, and what waits for it.
func (s *Service) Status(ctx context.Context) (Status, error) { return Status{}, nil }

// Text is the text of the current version of a Dokument that the actor sees.
// Faults: not-found, text-not-ready, text-not-available.
func (s *Service) Text(ctx context.Context, a access.Actor, dokument uuid.UUID) (DocumentText, error) {
	return s.TextOf(ctx, a, dokument, 0)
}

// TextOf is Text of a version by its number, 0 for the current one.
func (s *Service) TextOf(ctx context.Context, a access.Actor, dokument uuid.UUID, version int) (DocumentText, error) {
	return DocumentText{}, nil
}

// PageImage is the image of a page of the current version. The caller closes
// the reader; ctx must live as long as it. The etag is quoted, as HTTP has it.
// Faults: not-found, page-not-found, page-not-ready (a try later may find it).
func (s *Service) PageImage(ctx context.Context, a access.Actor, dokument uuid.UUID, page int) (r io.ReadCloser, mediaType, etag string, err error) {
	return s.PageImageOf(ctx, a, dokument, 0, page)
}

// PageImageOf is PageImage of a version by its number, 0 for the current one.
func (s *Service) PageImageOf(ctx context.Context, a access.Actor, dokument uuid.UUID, version, page int) (r io.ReadCloser, mediaType, etag string, err error) {
	return nil, "", "", nil
}

// Words are the words of a page with their places, for marking what was found.
// Faults as of Text, and page-not-found.
func (s *Service) Words(ctx context.Context, a access.Actor, dokument uuid.UUID, version, page int) (PageWords, error) {
	return PageWords{}, nil
}
