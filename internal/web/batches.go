package web

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/intake"
	"evb/internal/scan"
)

// batchBody is the part "metadata" of POST /batches; all of it may be empty.
type batchBody struct {
	BatchID  string `json:"batch_id,omitempty"`
	Source   string `json:"source,omitempty"`
	Scheme   string `json:"scheme,omitempty"`
	Scanner  string `json:"scanner,omitempty"`
	Operator string `json:"operator,omitempty"`
	Checker  string `json:"checker,omitempty"`
	PaperBox string `json:"paper_box,omitempty"`
}

const maxIndex = 64 << 20

// postBatch announces a batch by its index: one or two parts "index" (CSV,
// XML) and perhaps "metadata".
func (s *Server) postBatch(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(r, true)
	if err != nil {
		return err
	}
	nb, metadata, err := s.batchParts(r)
	if err != nil {
		return err
	}
	var body batchBody
	if err := unmarshal(metadata, &body); err != nil {
		return err
	}
	nb.Name, nb.Source, nb.Scheme, nb.Scanner, nb.Operator, nb.Checker, nb.PaperBox = body.BatchID, body.Source, body.Scheme, body.Scanner, body.Operator, body.Checker, body.PaperBox
	nb.Key, nb.KeyDigest = key, idempotency.Digest(s.o.DigestKey, metadata, nb.CSV, nb.XML)
	receipt, err := s.p.Scan.Create(r.Context(), actorOf(r), nb)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if receipt.Created {
		status = http.StatusCreated
	}
	w.Header().Set("Location", "/api/v1/batches/"+receipt.Book.ID.String())
	return writeVersioned(w, status, receipt.Book.RowVersion, receipt.Book)
}

func (s *Server) batchParts(r *http.Request) (nb scan.NewBatch, metadata []byte, err error) {
	reader, err := r.MultipartReader()
	if err != nil {
		return nb, nil, fault.Wrap(err, "body-unsupported", "wanted", "multipart/form-data")
	}
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nb, nil, s.brokenOff(r, err)
		}
		body, err := io.ReadAll(http.MaxBytesReader(nil, part, maxIndex))
		if err != nil {
			return nb, nil, s.brokenOff(r, err)
		}
		name := rawFileName(part)
		switch {
		case part.FormName() == "metadata" && metadata == nil:
			metadata = body
		case part.FormName() == "index" && strings.HasSuffix(strings.ToLower(name), ".xml") && nb.XML == nil:
			nb.XML, nb.XMLName = body, name
		case part.FormName() == "index" && nb.CSV == nil:
			nb.CSV, nb.CSVName = body, name
		case part.FormName() == "index" || part.FormName() == "metadata":
			return nb, nil, fault.New("part-twice", "name", part.FormName())
		default:
			return nb, nil, fault.New("part-unexpected", "name", part.FormName())
		}
	}
	if nb.CSV == nil && nb.XML == nil {
		return nb, nil, fault.New("part-missing", "name", "index")
	}
	return nb, metadata, nil
}

// batchID finds the batch that the path names: by UUID or by the id that the
// scan centre gave it.
func (s *Server) batchID(r *http.Request) (uuid.UUID, error) {
	return s.p.Scan.Find(r.Context(), actorOf(r), pathVar(r, "id"))
}

// Content-Range of a piece, and of the empty piece at the end of a file.
var (
	contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$`)
	contentEnd   = regexp.MustCompile(`^bytes \*/(\d{1,18})$`)
)

// rangeOf reads Content-Range; without one the body is the whole file.
func rangeOf(r *http.Request) (p scan.Part, err error) {
	value := r.Header.Get("Content-Range")
	if value == "" {
		return scan.Part{Length: r.ContentLength, Total: r.ContentLength}, nil
	}
	if m := contentEnd.FindStringSubmatch(value); m != nil {
		// All bytes are there and only the answer was lost: the last part again.
		total, _ := strconv.ParseInt(m[1], 10, 64)
		return scan.Part{Offset: total, Length: 0, Total: total}, nil
	}
	m := contentRange.FindStringSubmatch(value)
	if m == nil {
		return p, fault.New("content-range-invalid", "value", value)
	}
	first, _ := strconv.ParseInt(m[1], 10, 64) // digits only, 18 at most
	last, _ := strconv.ParseInt(m[2], 10, 64)
	total := int64(-1)
	if m[3] != "*" {
		total, _ = strconv.ParseInt(m[3], 10, 64)
	}
	if last < first || total >= 0 && last >= total {
		return p, fault.New("content-range-invalid", "value", value)
	}
	return scan.Part{Offset: first, Length: last - first + 1, Total: total}, nil
}

// wholeDigest reads the digest of the whole file that the sender computed:
// Repr-Digest or Content-Digest (RFC 9530), or X-Content-Sha256 in hex.
func wholeDigest(r *http.Request) ([]byte, error) {
	for _, name := range []string{"Repr-Digest", "Digest"} {
		value := r.Header.Get(name)
		for _, field := range strings.Split(value, ",") {
			algorithm, text, ok := strings.Cut(strings.TrimSpace(field), "=")
			if !ok || !strings.EqualFold(algorithm, "sha-256") {
				continue
			}
			sum, err := base64.StdEncoding.DecodeString(strings.Trim(text, ":"))
			if err != nil || len(sum) != 32 {
				return nil, fault.New("parameter-invalid", "name", name, "value", value)
			}
			return sum, nil
		}
	}
	if value := r.Header.Get("X-Content-Sha256"); value != "" {
		sum, err := hex.DecodeString(value)
		if err != nil || len(sum) != 32 {
			return nil, fault.New("parameter-invalid", "name", "X-Content-Sha256", "value", value)
		}
		return sum, nil
	}
	return nil, nil
}

// putBatchFile takes a file or a piece of it. What arrived before a broken
// connection stays; HEAD tells where to go on.
func (s *Server) putBatchFile(w http.ResponseWriter, r *http.Request) error {
	id, err := s.batchID(r)
	if err != nil {
		return err
	}
	part, err := rangeOf(r)
	if err != nil {
		return err
	}
	if part.SHA256, err = wholeDigest(r); err != nil {
		return err
	}
	u, err := s.p.Scan.PutPart(r.Context(), actorOf(r), id, pathVar(r, "name"), part, r.Body)
	if err != nil {
		if f, ok := fault.As(err); ok && f.Params["offset"] != "" {
			w.Header().Set("Upload-Offset", f.Params["offset"])
		}
		return err
	}
	s.uploadHeaders(w, u)
	return writeJSON(w, http.StatusOK, u)
}

func (s *Server) headBatchFile(w http.ResponseWriter, r *http.Request) error {
	id, err := s.batchID(r)
	if err != nil {
		return err
	}
	u, err := s.p.Scan.Offset(r.Context(), actorOf(r), id, pathVar(r, "name"))
	if err != nil {
		return err
	}
	s.uploadHeaders(w, u)
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return writeJSON(w, http.StatusOK, u)
}

func (s *Server) uploadHeaders(w http.ResponseWriter, u scan.Upload) {
	w.Header().Set("Upload-Offset", strconv.FormatInt(u.Offset, 10))
	if u.Size >= 0 {
		w.Header().Set("Upload-Length", strconv.FormatInt(u.Size, 10))
	}
	w.Header().Set("Upload-Complete", map[bool]string{true: "?1", false: "?0"}[u.Complete])
}

func (s *Server) submitBatch(w http.ResponseWriter, r *http.Request) error {
	id, err := s.batchID(r)
	if err != nil {
		return err
	}
	book, err := s.p.Scan.Submit(r.Context(), actorOf(r), id)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/v1/batches/"+id.String())
	return writeVersioned(w, http.StatusAccepted, book.RowVersion, book)
}

func (s *Server) getBatch(w http.ResponseWriter, r *http.Request) error {
	id, err := s.batchID(r)
	if err != nil {
		return err
	}
	book, err := s.p.Scan.Batch(r.Context(), actorOf(r), id)
	if err != nil {
		return err
	}
	return writeVersioned(w, http.StatusOK, book.RowVersion, book)
}

func (s *Server) getBatches(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	var after uuid.UUID
	if cursor != "" {
		if after, err = parseID(cursor); err != nil {
			return fault.New("parameter-invalid", "name", "cursor", "value", cursor)
		}
	}
	var states []scan.State
	for _, v := range r.URL.Query()["state"] {
		state, err := oneOf("state", scan.State(v), []scan.State{scan.Receiving, scan.Processing, scan.Attention, scan.Balanced, scan.Rejected})
		if err != nil {
			return err
		}
		states = append(states, state)
	}
	books, err := s.p.Scan.List(r.Context(), actorOf(r), states, after, limit)
	if err != nil {
		return err
	}
	next := ""
	if len(books) == limit {
		next = fmt.Sprint(books[limit-1].ID)
	}
	total, err := countedOn(r, func() (int64, error) { return s.p.Scan.Count(r.Context(), actorOf(r), states) })
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(books, func(b scan.Book) scan.Book { return b }, next, total))
}

func (s *Server) getQuarantine(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	state, err := queryOneOf(r, "state", "open", "all")
	if err != nil {
		return err
	}
	f := intake.QuarantineFilter{All: state == "all"}
	if f.Batch, err = queryID(r, "batch_uuid"); err != nil {
		return err
	}
	rows, next, err := s.p.Intake.QuarantineList(r.Context(), actorOf(r), f, cursor, limit)
	if err != nil {
		return err
	}
	total, err := countedOn(r, func() (int64, error) { return s.p.Intake.QuarantineCount(r.Context(), actorOf(r), f) })
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(rows, newQuarantineView, next, total))
}

func quarantineAnswer(w http.ResponseWriter, q intake.Quarantine) error {
	return writeVersioned(w, http.StatusOK, q.RowVersion, newQuarantineView(q))
}

func (s *Server) retryQuarantined(ctx context.Context, a access.Actor, id uuid.UUID, version int64, _ reasonBody) (intake.Quarantine, error) {
	return s.p.Intake.Retry(ctx, a, id, version)
}

// getQuarantineContent answers the original bytes of an entry. They are what
// nobody could use, so a browser saves them and shows nothing.
func (s *Server) getQuarantineContent(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	body, q, size, err := s.p.Intake.QuarantineContent(r.Context(), actorOf(r), id)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": q.FileName}))
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return body.Close()
	}
	return stream(w, http.StatusOK, body)
}

// resolveBatch ends a batch that needs attention.
func (s *Server) resolveBatch(w http.ResponseWriter, r *http.Request) error {
	id, err := s.batchID(r)
	if err != nil {
		return err
	}
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	var body reasonBody
	if err := decode(r, &body); err != nil {
		return err
	}
	book, err := s.p.Scan.Resolve(r.Context(), actorOf(r), id, body.Reason, version)
	if err != nil {
		return err
	}
	return writeVersioned(w, http.StatusOK, book.RowVersion, book)
}
