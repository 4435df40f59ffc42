package web

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/intake"
	"evb/internal/lists"
	"evb/internal/postgres"
)

// ContentRead is the fact in the access log: somebody who may read all looked
// at content.
const ContentRead event.Kind = "dokument.content_read"

// dokumentBody is the part "metadata" of POST /dokumente.
type dokumentBody struct {
	Subject      string         `json:"subject,omitempty"`
	DocumentType string         `json:"document_type,omitempty"`
	Sender       string         `json:"sender,omitempty"`
	Receiver     string         `json:"receiver,omitempty"`
	Remark       string         `json:"remark,omitempty"`
	FormCode     string         `json:"form_code,omitempty"`
	Aktenzeichen string         `json:"aktenzeichen,omitempty"`
	Unit         string         `json:"unit,omitempty"`
	VorgangID    *uuid.UUID     `json:"vorgang_id,omitempty"`
	ReceivedOn   date           `json:"received_on,omitzero"`
	WrittenOn    date           `json:"written_on,omitzero"`
	SHA256       []string       `json:"sha256,omitempty"` // of the files, as the sender computed them
	Data         map[string]any `json:"data,omitempty"`
	// Fields are those of the kind of Dokument (GET /document-types); they stand in
	// data as fields.
	Fields map[string]any `json:"fields,omitempty"`
}

func (b dokumentBody) meta() (intake.Meta, error) {
	m := intake.Meta{
		Subject: b.Subject, DocumentType: b.DocumentType, Sender: b.Sender, Receiver: b.Receiver, Remark: b.Remark, FormCode: b.FormCode,
		Aktenzeichen: b.Aktenzeichen, Unit: b.Unit, ReceivedOn: b.ReceivedOn.day, WrittenOn: b.WrittenOn.day, Data: b.Data,
		Vorgang: idOf(b.VorgangID),
	}
	if b.Fields != nil {
		if _, twice := b.Data["fields"]; twice {
			return m, fault.New("part-twice", "name", "fields")
		}
		m.Data = map[string]any{"fields": b.Fields}
		maps.Copy(m.Data, b.Data)
	}
	var err error
	m.Expected, err = digests(b.SHA256)
	return m, err
}

// digests reads what the sender computed of the files; an empty one is none.
func digests(hexes []string) (sums [][32]byte, err error) {
	for i, s := range hexes {
		var sum [32]byte
		if s != "" {
			raw, err := hex.DecodeString(s)
			// All zeros would mean "not given" further on; nothing has that digest.
			if err != nil || len(raw) != 32 || [32]byte(raw) == sum {
				return nil, fault.New("parameter-invalid", "name", "sha256", "value", s).With("/sha256/"+strconv.Itoa(i), "parameter-invalid", "name", "sha256", "value", s)
			}
			sum = [32]byte(raw)
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

// received is a multipart body taken apart: its files lie in the spool.
type received struct {
	metadata []byte
	files    []*blob.File
}

func (u *received) remove() {
	for _, f := range u.files {
		f.Remove()
	}
}

// receive streams a multipart body into the spool. Parts may come in any
// order; on an error nothing stays behind.
func (s *Server) receive(r *http.Request) (u *received, err error) {
	u = &received{}
	defer func() {
		if err != nil {
			u.remove()
		}
	}()
	reader, err := r.MultipartReader()
	if err != nil {
		return u, fault.Wrap(err, "body-unsupported", "wanted", "multipart/form-data")
	}
	seen := false
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return u, nil
		}
		if err != nil {
			return u, s.brokenOff(r, err)
		}
		switch part.FormName() {
		case "metadata":
			if seen {
				return u, fault.New("part-twice", "name", "metadata")
			}
			seen = true
			if u.metadata, err = io.ReadAll(http.MaxBytesReader(nil, part, s.o.MaxBody)); err != nil {
				return u, s.brokenOff(r, err)
			}
		case "file":
			if len(u.files) == s.o.MaxFiles {
				return u, fault.New("too-many-files", "most", s.o.MaxFiles)
			}
			f, err := s.p.Blobs.Spool().Take(r.Context(), part, s.o.MaxUpload)
			if err != nil {
				return u, s.brokenOff(r, err)
			}
			f.Name = rawFileName(part)
			u.files = append(u.files, f)
		default:
			return u, fault.New("part-unexpected", "name", part.FormName())
		}
	}
}

// rawFileName is the name as it was sent: the standard library would cut its
// folders off, and with them the attempt to leave one.
func rawFileName(p *multipart.Part) string {
	_, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
	if err != nil || params["filename"] == "" {
		return "datei"
	}
	return params["filename"]
}

// brokenOff tells the end of the connection from what is wrong with the body.
func (s *Server) brokenOff(r *http.Request, err error) error {
	if r.Context().Err() != nil {
		return r.Context().Err()
	}
	return bodyFault(err)
}

// postDokument takes one Dokument in: 201 only when all of it is durable.
func (s *Server) postDokument(w http.ResponseWriter, r *http.Request) error {
	return takeIn(s, w, r, func(body dokumentBody, u *received, key string) (intake.Receipt, string, error) {
		meta, err := body.meta()
		if err != nil {
			return intake.Receipt{}, "", err
		}
		receipt, err := s.p.Intake.Receive(r.Context(), actorOf(r), intake.Submission{Meta: meta, Files: u.files, Key: key, Channel: akte.ChannelAPI})
		return receipt, "", err
	})
}

// versionBody is the part "metadata" of POST /dokumente/{id}/versions.
type versionBody struct {
	Comment string   `json:"comment,omitempty"`
	SHA256  []string `json:"sha256,omitempty"` // of the files, as the sender computed them
}

// postVersion takes a further version of a Dokument in.
func (s *Server) postVersion(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ifVersion, err := ifMatch(r)
	if err != nil {
		return err
	}
	return takeIn(s, w, r, func(body versionBody, u *received, key string) (intake.Receipt, string, error) {
		expected, err := digests(body.SHA256)
		if err != nil {
			return intake.Receipt{}, "", err
		}
		receipt, err := s.p.Intake.AddVersion(r.Context(), actorOf(r), intake.NewVersion{
			Dokument: id, IfVersion: ifVersion, Comment: body.Comment, Expected: expected, Files: u.files, Key: key,
		})
		return receipt, "/content?version=" + strconv.Itoa(receipt.Version), err
	})
}

// takeIn answers a POST of files with metadata; the use case gives the receipt
// and what follows the address of the Dokument in that of the new thing.
func takeIn[T any](s *Server, w http.ResponseWriter, r *http.Request, use func(body T, u *received, key string) (intake.Receipt, string, error)) error {
	key, err := keyOf(r, false)
	if err != nil {
		return err
	}
	u, err := s.receive(r)
	if err != nil {
		return err
	}
	defer u.remove()
	var body T
	if err := unmarshal(u.metadata, &body); err != nil {
		return err
	}
	receipt, below, err := use(body, u, key)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/v1/dokumente/"+receipt.ID.String()+below)
	replayed(w, receipt.Replayed)
	return writeJSON(w, http.StatusCreated, receipt)
}

func (s *Server) dokument(r *http.Request) (akte.Dokument, error) {
	id, err := pathID(r)
	if err != nil {
		return akte.Dokument{}, err
	}
	return s.p.Akten.Dokument(r.Context(), actorOf(r), id)
}

func dokumentAnswer(w http.ResponseWriter, d akte.Dokument) error {
	return writeVersioned(w, http.StatusOK, d.RowVersion, newDokumentView(d))
}

func (s *Server) getDokumente(w http.ResponseWriter, r *http.Request) error {
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	var f lists.DokumenteFilter
	var counted bool
	for _, step := range []func() error{
		func() (err error) { f.Vorgang, err = queryID(r, "vorgang_id"); return },
		func() (err error) { f.Akte, err = queryID(r, "akte_id"); return },
		func() (err error) { f.Batch, err = queryID(r, "batch_uuid"); return },
		func() (err error) {
			f.State, err = queryOneOf(r, "state", akte.Captured, akte.Quarantined, akte.Registered, akte.InWork, akte.Final, akte.Filed)
			return
		},
		func() (err error) { f.Unfiled, err = queryBool(r, "unfiled"); return },
		func() (err error) { counted, err = queryBool(r, "count"); return },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	p, err := s.p.Lists.Dokumente(r.Context(), actorOf(r), f, cursor, limit, counted)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, newDokumentView, p.NextCursor, p.Total))
}

// dokumentPatch names what is to change; an absent field stays as it is.
type dokumentPatch struct {
	Subject      *string `json:"subject,omitempty"`
	DocumentType *string `json:"document_type,omitempty"`
	Sender       *string `json:"sender,omitempty"`
	Receiver     *string `json:"receiver,omitempty"`
	Remark       *string `json:"remark,omitempty"`
	ReceivedOn   *date   `json:"received_on,omitempty"`
	WrittenOn    *date   `json:"written_on,omitempty"`
	// Fields replace all there are; null takes them away.
	Fields json.RawMessage `json:"fields,omitempty"`
}

func (s *Server) changeDokument(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b dokumentPatch) (akte.Dokument, error) {
	p := akte.DokumentPatch{Subject: b.Subject, DocumentType: b.DocumentType, Sender: b.Sender, Receiver: b.Receiver, Remark: b.Remark}
	if b.ReceivedOn != nil {
		p.ReceivedOn = &b.ReceivedOn.day
	}
	if b.WrittenOn != nil {
		p.WrittenOn = &b.WrittenOn.day
	}
	if b.Fields != nil {
		p.Fields = new(map[string]any)
		if err := json.Unmarshal(b.Fields, p.Fields); err != nil {
			return akte.Dokument{}, fault.Wrap(err, "fields-invalid").With("/fields", "form-type", "got", "", "want", "object")
		}
	}
	return s.p.Akten.ChangeDokument(ctx, a, id, p, version)
}

// fileBody says where a Dokument is filed to: one of the two.
type fileBody struct {
	VorgangID    *uuid.UUID `json:"vorgang_id,omitempty"`
	Aktenzeichen string     `json:"aktenzeichen,omitempty"`
	Reason       string     `json:"reason,omitempty"`
}

func (b fileBody) request() akte.FileRequest {
	return akte.FileRequest{VorgangID: idOf(b.VorgangID), Aktenzeichen: b.Aktenzeichen, Reason: b.Reason}
}

// postFile files a Dokument. If-Match is honoured and not obligatory: filing
// twice to the same place changes nothing.
func (s *Server) postFile(w http.ResponseWriter, r *http.Request) error {
	return s.filing(w, r, s.p.Akten.File)
}

func (s *Server) postMove(w http.ResponseWriter, r *http.Request) error {
	return s.filing(w, r, s.p.Akten.Move)
}

func (s *Server) filing(w http.ResponseWriter, r *http.Request, use func(context.Context, access.Actor, uuid.UUID, akte.FileRequest) (akte.Dokument, error)) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var body fileBody
	if err := decode(r, &body); err != nil {
		return err
	}
	request := body.request()
	if request.IfVersion, err = ifMatchGiven(r); err != nil {
		return err
	}
	d, err := use(r.Context(), actorOf(r), id, request)
	if err != nil {
		return err
	}
	return dokumentAnswer(w, d)
}

func versionsAnswer(w http.ResponseWriter, d akte.Dokument) error {
	return writeJSON(w, http.StatusOK, newList(d.Versions, newVersionView, "", count(len(d.Versions))))
}

// getSignatures answers the validation reports made at intake. As long as no
// part of the program makes any, that is truthfully none.
func (s *Server) getSignatures(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.dokument(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList([]json.RawMessage{}, func(m json.RawMessage) json.RawMessage { return m }, "", count(0)))
}

func (s *Server) version(r *http.Request, d akte.Dokument) (akte.Version, error) {
	n, err := queryInt(r, "version", 0)
	if err != nil {
		return akte.Version{}, err
	}
	v, ok := versionOf(d, n)
	if !ok {
		return v, fault.New("not-found")
	}
	return v, nil
}

// getText answers the text of a version; pages are separated by form feeds.
func (s *Server) getText(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	version, err := queryInt(r, "version", 0)
	if err != nil {
		return err
	}
	text, err := s.p.Extract.TextOf(r.Context(), actorOf(r), id, version)
	if err != nil {
		return err
	}
	if err := s.noteRead(r, ContentRead, id); err != nil {
		return err
	}
	if s.contentHeaders(w, r, text.ETag, "text/plain; charset=utf-8", "inline", id.String()+".txt") {
		return nil
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(text.Text)))
	_, err = io.WriteString(w, text.Text)
	return err
}

// getPage answers the image of a page, in the type it was drawn in.
func (s *Server) getPage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(pathVar(r, "n"))
	if err != nil {
		return fault.New("parameter-invalid", "name", "n", "value", pathVar(r, "n"))
	}
	version, err := queryInt(r, "version", 0)
	if err != nil {
		return err
	}
	image, mediaType, tag, err := s.p.Extract.PageImageOf(r.Context(), actorOf(r), id, version, n)
	if err != nil {
		return err
	}
	defer func() { _ = image.Close() }() // reading only
	if err := s.noteRead(r, ContentRead, id); err != nil {
		return err
	}
	if s.contentHeaders(w, r, tag, mediaType, "inline", "seite-"+strconv.Itoa(n)+".png") {
		return nil
	}
	_, err = io.Copy(w, image)
	return err
}

// getContent answers the bytes of a primary file, unchanged: ?version= and
// ?file= choose, the first file of the current version otherwise.
func (s *Server) getContent(w http.ResponseWriter, r *http.Request) error {
	d, err := s.dokument(r)
	if err != nil {
		return err
	}
	v, err := s.version(r, d)
	if err != nil {
		return err
	}
	n, err := queryInt(r, "file", 1)
	if err != nil {
		return err
	}
	if n < 1 || n > len(v.Files) {
		return fault.New("not-found")
	}
	if err := s.noteRead(r, ContentRead, d.ID); err != nil {
		return err
	}
	f := v.Files[n-1]
	disposition := "inline"
	if download, err := queryBool(r, "download"); err != nil {
		return err
	} else if download || !inlineSafe(f.MediaType) {
		disposition = "attachment"
	}
	return s.sendFile(w, r, f, f.MediaType, disposition, f.Name)
}

// inlineSafe are the types that a browser shows without running anything of
// them; all else is saved.
func inlineSafe(mediaType string) bool {
	switch mediaType, _, _ := strings.Cut(mediaType, ";"); mediaType {
	case "application/pdf", "image/png", "image/jpeg", "image/webp", "image/gif", "text/plain":
		return true
	}
	return false
}

// sendFile answers a file of the archive, or the part that a Range asks for,
// straight from the store. A whole file is compared with its digest on the way,
// and the connection is cut if it is not what it should be; a part has no
// digest, only its length is looked at.
func (s *Server) sendFile(w http.ResponseWriter, r *http.Request, f akte.PrimaryFile, mediaType, disposition, name string) error {
	tag := `"` + hex.EncodeToString(f.SHA256) + `"`
	if s.contentHeaders(w, r, tag, mediaType, disposition, name) {
		return nil
	}
	h := w.Header()
	h.Set("Accept-Ranges", "bytes")
	part, status := span{length: f.Size}, http.StatusOK
	if cond := r.Header.Get("If-Range"); cond == "" || cond == tag {
		asked, ok, err := rangeAsked(r.Header.Get("Range"), f.Size)
		if err != nil {
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(f.Size, 10))
			return err
		}
		if ok {
			part, status = asked, http.StatusPartialContent
			h.Set("Content-Range", part.contentRange(f.Size))
		}
	}
	h.Set("Content-Length", strconv.FormatInt(part.length, 10))
	if r.Method == http.MethodHead {
		w.WriteHeader(status)
		return nil
	}
	body, err := s.openSpan(r, f, part, status)
	if err != nil {
		return err
	}
	return stream(w, status, body)
}

// stream answers bytes and closes them. What is wrong from the first one on is
// still told as a problem; later the connection is cut.
func stream(w http.ResponseWriter, status int, body io.ReadCloser) error {
	defer func() { _ = body.Close() }() // reading only
	buffered := bufio.NewReaderSize(body, 64<<10)
	if _, err := buffered.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	w.WriteHeader(status)
	_, err := io.Copy(w, buffered)
	return err
}

func (s *Server) openSpan(r *http.Request, f akte.PrimaryFile, part span, status int) (body io.ReadCloser, err error) {
	if status == http.StatusOK {
		body, _, err = s.p.Blobs.Open(r.Context(), actorOf(r), f.Blob)
		return body, err
	}
	body, _, err = s.p.Blobs.OpenRange(r.Context(), actorOf(r), f.Blob, part.first, part.length)
	return body, err
}

// contentHeaders sets what every content has; true: the client has it already
// and was told so.
func (s *Server) contentHeaders(w http.ResponseWriter, r *http.Request, tag, mediaType, disposition, name string) bool {
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": name}))
	// Rights may end, so every use asks again; unchanged content costs a 304.
	h.Set("Cache-Control", "private, no-cache")
	if !matchesAny(r.Header.Get("If-None-Match"), tag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

func matchesAny(header, tag string) bool {
	for _, v := range strings.Split(header, ",") {
		if v = strings.TrimPrefix(strings.TrimSpace(v), "W/"); v == tag || v == "*" {
			return true
		}
	}
	return false
}

// noteRead accounts for a look at content by somebody who may read all, and by
// anybody at what is protected (decisions 6.1): before the first byte leaves the
// house.
func (s *Server) noteRead(r *http.Request, kind event.Kind, record uuid.UUID) error {
	a := actorOf(r)
	noted := a.Has(access.Auditor, access.Reader, access.Administrator)
	if !noted {
		err := s.p.DB.Read(r.Context(), a.Tenant, func(q postgres.Querier) (err error) {
			noted, err = akte.Protected(r.Context(), q, record)
			return err
		})
		if err != nil || !noted {
			return err
		}
	}
	return s.p.DB.InTx(r.Context(), a.Tenant, func(tx pgx.Tx) error {
		return s.p.Facts.AppendAccess(r.Context(), tx, a, s.o.Now(), event.Fact{Kind: kind, Record: record})
	})
}
