package scan

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/media"
	"evb/internal/media/batchindex"
	"evb/internal/postgres"
)

var afterCreate = failpoint.New("scan-1-created", "batch, files and announced documents are rows; client not told")

// Create announces a batch, or finds it: the same id with the same index
// continues or gives the same receipt. Faults: index-invalid (with a field per
// mistake; the index is in quarantine then), batch-index-changed,
// batch-name-differs, batch-index-missing, batch-scheme-unknown,
// idempotency-key-reused, forbidden.
func (s *Service) Create(ctx context.Context, a access.Actor, nb NewBatch) (Receipt, error) {
	if err := handOver(a); err != nil {
		return Receipt{}, err
	}
	if nb.Scheme == "" {
		nb.Scheme = string(s.o.Scheme)
	}
	if err := nb.check(); err != nil {
		return Receipt{}, err
	}
	if nb.Key != "" {
		err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
			_, err := idempotency.Look(ctx, q, a, nb.Key, nb.KeyDigest)
			return err // the batch itself remembers the answer
		})
		if err != nil {
			return Receipt{}, err
		}
	}
	index, err := nb.read()
	var mistakes *indexError
	switch {
	case errors.As(err, &mistakes):
		if qerr := s.keepBadIndex(ctx, a, mistakes); qerr != nil {
			return Receipt{}, qerr
		}
		return Receipt{}, mistakes.fault()
	case err != nil:
		return Receipt{}, err
	}
	if nb.Name != "" && nb.Name != index.BatchID {
		return Receipt{}, fault.New("batch-name-differs", "given", nb.Name, "found", index.BatchID)
	}
	sum := nb.digest()
	for range 3 {
		known, err := s.find(ctx, a, index.BatchID)
		if err == nil {
			return s.again(ctx, a, known, sum)
		}
		if !fault.Is(err, "not-found") {
			return Receipt{}, err
		}
		id, err := s.insert(ctx, a, nb, index, sum)
		if err == nil {
			afterCreate.Hit()
			book, err := s.Batch(ctx, a, id)
			return Receipt{Created: true, Book: book}, err
		}
		// Somebody announced the batch, or used the key, a moment before us.
		if c := postgres.Constraint(err); c != "batch_tenant_name_key" && !errors.Is(err, idempotency.ErrTaken) {
			return Receipt{}, err
		}
	}
	return Receipt{}, fault.New("batch-busy", "batch", index.BatchID)
}

func (nb *NewBatch) check() error {
	if len(nb.CSV) == 0 && len(nb.XML) == 0 {
		return fault.New("batch-index-missing")
	}
	if nb.CSVName = media.CleanName(nb.CSVName); nb.CSVName == "Datei" {
		nb.CSVName = "index.csv"
	}
	if nb.XMLName = media.CleanName(nb.XMLName); nb.XMLName == "Datei" {
		nb.XMLName = "index.xml"
	}
	if nb.Source == "" {
		nb.Source = "scan"
	}
	if !slices.Contains([]media.Scheme{media.SchemeEVB, media.SchemePatchT, media.SchemeASN}, media.Scheme(nb.Scheme)) {
		return fault.New("batch-scheme-unknown", "value", nb.Scheme)
	}
	return nil
}

// digest is the hash of the index in use: the XML where there is one.
func (nb *NewBatch) digest() [32]byte {
	if len(nb.XML) > 0 {
		return sha256.Sum256(nb.XML)
	}
	return sha256.Sum256(nb.CSV)
}

// indexError is what is wrong with one file of the index.
type indexError struct {
	file  string
	bytes []byte
	errs  batchindex.Errors
}

func (e *indexError) Error() string { return e.file + ": " + e.errs.Error() }
func (e *indexError) Unwrap() error { return e.errs }

// read reads what there is; both forms must agree (decisions 8.4).
func (nb *NewBatch) read() (*batchindex.Index, error) {
	var csv, xml *batchindex.Index
	var err error
	if len(nb.CSV) > 0 {
		if csv, err = batchindex.ReadCSV(bytes.NewReader(nb.CSV)); err != nil {
			return nil, badIndex(nb.CSVName, nb.CSV, err)
		}
	}
	if len(nb.XML) > 0 {
		if xml, err = batchindex.ReadXML(bytes.NewReader(nb.XML)); err != nil {
			return nil, badIndex(nb.XMLName, nb.XML, err)
		}
	}
	if csv != nil && xml != nil {
		if err := batchindex.Agree(csv, xml); err != nil {
			return nil, badIndex(nb.CSVName, nb.CSV, err)
		}
	}
	if xml != nil {
		return xml, nil
	}
	return csv, nil
}

func badIndex(name string, b []byte, err error) error {
	var es batchindex.Errors
	if errors.As(err, &es) && len(es) > 0 {
		return &indexError{file: name, bytes: b, errs: es}
	}
	return err
}

// fault tells every mistake with its line and field.
func (e *indexError) fault() error {
	f := fault.Wrap(e, "index-invalid", "file", e.file, "count", len(e.errs))
	for _, x := range e.errs {
		p := "/" + pointer(e.file)
		if x.Line > 0 {
			p += "/" + strconv.Itoa(x.Line)
		}
		if x.Field != "" {
			p += "/" + pointer(x.Field)
		}
		f = f.With(p, string(x.Code), "line", lineOf(x), "field", orDash(x.Field), "value", orDash(x.Value))
	}
	return f
}

// pointer escapes a token of a JSON pointer (RFC 6901).
func pointer(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
}

func lineOf(x *batchindex.Error) string {
	if x.Line == 0 {
		return "–"
	}
	return strconv.Itoa(x.Line)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// keepBadIndex puts an index that cannot be read into quarantine: it may be the
// only list of what lay in the stack. The same bytes are kept once.
func (s *Service) keepBadIndex(ctx context.Context, a access.Actor, e *indexError) error {
	f, err := s.spool.Take(ctx, bytes.NewReader(e.bytes), 0)
	if err != nil {
		return err
	}
	defer f.Remove()
	first := e.errs[0]
	return s.blobs.Store(ctx, a, []*blob.File{f}, func(tx pgx.Tx, st []blob.Staged) error {
		return s.quarantine(ctx, tx, a, setAside{
			blob: st[0].ID, file: e.file, code: string(first.Code), step: "index",
			params: map[string]string{"line": lineOf(first), "field": orDash(first.Field), "value": orDash(first.Value)},
		})
	})
}

// again answers for a batch that is known.
func (s *Service) again(ctx context.Context, a access.Actor, id uuid.UUID, sum [32]byte) (Receipt, error) {
	var was []byte
	var name string
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, `SELECT index_digest, name FROM batch WHERE tenant = evb_tenant() AND id = $1`, id).Scan(&was, &name)
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("batch %s: %w", id, err)
	}
	if !bytes.Equal(was, sum[:]) {
		return Receipt{}, fault.New("batch-index-changed", "batch", name)
	}
	book, err := s.Batch(ctx, a, id)
	book.Replayed = book.SubmittedAt != nil
	return Receipt{Book: book}, err
}

const sqlInsertBatch = `
    INSERT INTO batch (tenant, id, name, index_digest, source, scheme, state, form, scanner, operator_name, checker_name,
        paper_box, paper_until, scanned_from, scanned_to, announced, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, 'receiving', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`

const sqlInsertFile = `
    INSERT INTO batch_file (tenant, batch_id, name, role, size, expected_sha256, blob_id, media_type, state)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8)`

const sqlInsertDocument = `
    INSERT INTO batch_document (tenant, batch_id, position, announced_pages, separator_code, barcode, document_type,
        received_on, file_name, transfer_note)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9)`

// insert is step 1.
func (s *Service) insert(ctx context.Context, a access.Actor, nb NewBatch, x *batchindex.Index, sum [32]byte) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, err
	}
	type part struct {
		name, mediaType string
		bytes           []byte
	}
	var parts []part
	if len(nb.CSV) > 0 {
		parts = append(parts, part{nb.CSVName, "text/csv", nb.CSV})
	}
	if len(nb.XML) > 0 {
		parts = append(parts, part{nb.XMLName, "application/xml", nb.XML})
	}
	var files []*blob.File
	for _, p := range parts {
		f, err := s.spool.Take(ctx, bytes.NewReader(p.bytes), 0)
		if err != nil {
			return uuid.Nil, err
		}
		defer f.Remove()
		files = append(files, f)
	}
	announced, err := json.Marshal(x)
	if err != nil {
		return uuid.Nil, err
	}
	form := Files
	if x.Stream {
		form = Stream
	}
	at := s.now()
	err = s.blobs.Store(ctx, a, files, func(tx pgx.Tx, staged []blob.Staged) error {
		var b pgx.Batch
		b.Queue(sqlInsertBatch, id, x.BatchID, sum[:], nb.Source, nb.Scheme, form, nb.Scanner, nb.Operator, nb.Checker,
			nb.PaperBox, day(nb.PaperUntil), stamp(nb.ScannedFrom), stamp(nb.ScannedTo), announced, at, a.User)
		for i, p := range parts {
			b.Queue(sqlInsertFile, id, p.name, RoleIndex, len(p.bytes), nil, staged[i].ID, p.mediaType, "done")
		}
		if x.Stream && x.File != "" {
			b.Queue(sqlInsertFile, id, x.File, RoleStream, 0, nil, nil, "", "expected")
		}
		for _, d := range x.Documents {
			if d.File != "" {
				b.Queue(sqlInsertFile, id, d.File, RoleDocument, 0, hexBytes(d.SHA256), nil, "", "expected")
			}
			b.Queue(sqlInsertDocument, id, d.Number, atLeastOne(d.Pages), d.Separator, d.Barcode, d.Type, day(d.Received), d.File,
				map[string]string{"operator": firstOf(d.Operator, nb.Operator)})
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("insert batch: %w", err)
		}
		if nb.Key != "" {
			answer := idempotency.Answer{Status: 201, Response: json.RawMessage(fmt.Sprintf(`{"id":%q}`, id))}
			if err := idempotency.Keep(ctx, tx, a, nb.Key, nb.KeyDigest, answer); err != nil {
				return err
			}
		}
		return s.facts.Append(ctx, tx, a, at, event.Fact{
			Kind: BatchCreated, SubjectKind: SubjectBatch, Subject: id,
			Details: map[string]any{"batch": x.BatchID, "form": form, "documents": len(x.Documents), "pages": announcedPages(x)},
		})
	})
	return id, err
}

// announcedPages is what the index says the batch has, 0 when nothing.
func announcedPages(x *batchindex.Index) int {
	if x.TotalPages > 0 {
		return x.TotalPages
	}
	n := 0
	for _, d := range x.Documents {
		n += d.Pages
	}
	return n
}

func day(t time.Time) *time.Time { return stamp(t) }

func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

func atLeastOne(n int) *int {
	if n < 1 {
		return nil
	}
	return &n
}

func firstOf(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}
