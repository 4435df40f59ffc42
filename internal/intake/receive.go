package intake

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/media"
	"evb/internal/postgres"
)

// maxTries bounds how often Receive starts again at step 3.
const maxTries = 6

// Receive takes one Dokument in, steps 1 (its check) to 7 of the package
// comment. It returns only when everything is durable, and is safe to repeat
// with the same Key.
//
// Faults: no-files, document-too-many-files, file-name-unsafe, field-too-long,
// unit-unknown, fields-invalid, hash-differs, the codes of package media for files without a
// document, idempotency-key-reused, read-only-role, and those of the blob
// service and the database. A file that somebody has to look at is no fault:
// the Dokument is taken in as quarantined.
func (s *Service) Receive(ctx context.Context, a access.Actor, sub Submission) (Receipt, error) {
	if a.User != access.SystemUser && !a.Has(senders...) {
		return Receipt{}, fault.New("read-only-role")
	}
	if err := s.validate(ctx, a, &sub); err != nil {
		return Receipt{}, err
	}
	if sub.Key != "" {
		if sub.KeyDigest == ([32]byte{}) {
			var err error
			if sub.KeyDigest, err = sub.Digest(s.o.DigestKey); err != nil {
				return Receipt{}, err
			}
		}
		rec, err := s.answered(ctx, a, sub)
		if err != nil || rec != nil {
			return deref(rec), err
		}
	}
	if err := s.checkFields(ctx, a, &sub); err != nil {
		return Receipt{}, err
	}
	afterLook.Hit()
	looks, err := s.look(ctx, sub)
	if err != nil {
		return Receipt{}, err
	}
	m, rec, err := s.prepare(a, sub, looks)
	if err != nil {
		return Receipt{}, err
	}
	return s.commit(ctx, a, sub, m, rec)
}

// commit is steps 3 to 7.
func (s *Service) commit(ctx context.Context, a access.Actor, sub Submission, m member, rec Receipt) (Receipt, error) {
	for try := 1; ; try++ {
		staged, err := s.blobs.Stage(ctx, a, sub.Files...)
		if err != nil {
			return Receipt{}, err
		}
		existed := false
		for i, st := range staged {
			m.blobs[i] = st.ID
			existed = existed || st.Existed
		}
		out, err := s.commits.Do(ctx, m)
		if fault.Is(err, "commit-unknown") {
			// Step 7. Found: the answer below. Not found: the same ids again.
			afterUnknown.Hit()
			s.m.unknown.Inc()
			var there bool
			if there, err = s.settled(ctx, a, rec.VersionID); err == nil && !there {
				err = errAgain
			}
		}
		if postgres.Constraint(err) == "record_object_pkey" {
			// Our own rows of an earlier try, committed after all.
			var there bool
			if there, err = s.settled(ctx, a, rec.VersionID); err == nil && !there {
				err = errAgain
			}
		}
		switch {
		case err == nil && out == outcomeTaken:
			rec, err := s.answered(ctx, a, sub)
			if err != nil || rec != nil {
				return deref(rec), err
			}
			// The other request's answer is gone again: nobody holds the key.
		case err == nil && out == outcomeDone:
			s.m.received.WithLabelValues(string(rec.State)).Inc()
			if existed {
				rec.Duplicates, err = s.duplicates(ctx, a, rec.ID, m.blobs)
				if err != nil {
					// The Dokument is safe; not knowing its twins is no reason to
					// deny that.
					s.o.Log.WarnContext(ctx, "duplicates not looked up", "dokument_id", rec.ID, "err", err)
				}
			}
			return rec, nil
		case err != nil && !errors.Is(err, errAgain) && !errors.Is(err, blob.ErrAgain):
			return Receipt{}, err
		}
		if try == maxTries {
			return Receipt{}, fault.Wrap(err, "blob-busy")
		}
	}
}

var errAgain = errors.New("not committed: start again at step 3")

// answered gives the stored answer of the request's key, nil if there is none.
func (s *Service) answered(ctx context.Context, a access.Actor, sub Submission) (*Receipt, error) {
	var ans *idempotency.Answer
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var err error
		ans, err = idempotency.Look(ctx, q, a, sub.Key, sub.KeyDigest)
		return err
	})
	if err != nil || ans == nil {
		return nil, err
	}
	rec := Receipt{Replayed: true}
	if err := json.Unmarshal(ans.Response, &rec); err != nil {
		return nil, fmt.Errorf("stored answer of key: %w", err)
	}
	return &rec, nil
}

// settled asks over a new connection whether the version is there, and its
// Dokument with it.
func (s *Service) settled(ctx context.Context, a access.Actor, version uuid.UUID) (bool, error) {
	// The sender may be gone; the question stays.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.Settle)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		var there bool
		err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
			return q.QueryRow(ctx, sqlReceived, version).Scan(&there)
		})
		if err == nil {
			return there, nil
		}
		select {
		case <-ctx.Done():
			// Still unknown: the sender repeats with his key.
			return false, fault.Wrap(err, "commit-unknown")
		case <-time.After(pause):
		}
	}
}

// Digest tells a repetition of the request from another one: what the sender
// says and sends, in one HMAC.
func (sub Submission) Digest(key []byte) ([32]byte, error) {
	type file struct {
		Name string
		Sum  [32]byte
	}
	all := struct {
		Meta    Meta
		Channel akte.Channel
		Files   []file
	}{Meta: sub.Meta, Channel: sub.Channel}
	for _, f := range sub.Files {
		all.Files = append(all.Files, file{f.Name, f.SHA256})
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return [32]byte{}, fault.Wrap(err, "metadata-invalid")
	}
	return idempotency.Digest(key, raw), nil
}

// maxName is the longest file name in characters.
const maxName = 255

// checkFields checks the fields that came along against the schema of the kind of
// Dokument. What brings none is taken in: paper knows no fields.
func (s *Service) checkFields(ctx context.Context, a access.Actor, sub *Submission) error {
	given, there := sub.Meta.Data["fields"]
	if !there {
		return nil
	}
	fields, ok := given.(map[string]any)
	if !ok {
		return fault.New("fields-invalid").With("/fields", "form-type", "got", fmt.Sprintf("%T", given), "want", "object")
	}
	return s.db.Read(ctx, a.Tenant, func(q postgres.Querier) (err error) {
		sub.schema, err = akte.CheckNewFields(ctx, q, sub.Meta.DocumentType, sub.Meta.Vorgang, sub.Meta.Unit, fields)
		return err
	})
}

func (s *Service) validate(ctx context.Context, a access.Actor, sub *Submission) error {
	if len(sub.Files) == 0 {
		return fault.New("no-files")
	}
	if len(sub.Files) > s.o.MaxFiles {
		return fault.New("document-too-many-files", "most", s.o.MaxFiles)
	}
	if sub.Key != "" {
		if err := idempotency.ValidKey(sub.Key); err != nil {
			return err
		}
	}
	for _, t := range []struct {
		name, value string
		most        int
	}{{"subject", sub.Meta.Subject, fault.MaxText}, {"document_type", sub.Meta.DocumentType, fault.MaxText}, {"sender", sub.Meta.Sender, fault.MaxText},
		{"receiver", sub.Meta.Receiver, fault.MaxText}, {"aktenzeichen", sub.Meta.Aktenzeichen, fault.MaxText}, {"form_code", sub.Meta.FormCode, fault.MaxText},
		{"unit", sub.Meta.Unit, fault.MaxText}, {"remark", sub.Meta.Remark, fault.MaxRemark}} {
		if err := fault.CheckText(t.name, t.value, t.most); err != nil {
			return err
		}
	}
	for i, f := range sub.Files {
		if err := SafeName(f.Name); err != nil {
			return err.With(fmt.Sprintf("/files/%d", i), err.Code, "name", media.CleanName(f.Name))
		}
		if i < len(sub.Meta.Expected) && sub.Meta.Expected[i] != ([32]byte{}) && sub.Meta.Expected[i] != f.SHA256 {
			name := media.CleanName(f.Name)
			return fault.New("hash-differs", "file", name).With(fmt.Sprintf("/files/%d", i), "hash-differs", "file", name)
		}
	}
	if sub.Channel == "" {
		sub.Channel = akte.ChannelAPI
	}
	if sub.Meta.Unit == "" {
		return nil
	}
	return s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var there bool
		if err := q.QueryRow(ctx, sqlUnit, sub.Meta.Unit, s.o.Now().UTC()).Scan(&there); err != nil {
			return fmt.Errorf("unit: %w", err)
		}
		if !there {
			return fault.New("unit-unknown", "unit", sub.Meta.Unit).With("/unit", "unit-unknown", "unit", sub.Meta.Unit)
		}
		return nil
	})
}

// SafeName reports the fault file-name-unsafe for a name that tries to leave
// its folder (".." as a part, an absolute path, a drive) or holds characters
// that no name has. Folders in front of a name are no fault: they are cut off.
func SafeName(name string) *fault.Error {
	p := strings.ReplaceAll(name, `\`, "/")
	drive := len(p) >= 2 && p[1] == ':'
	if drive || path.IsAbs(p) || slices.Contains(strings.Split(p, "/"), "..") || strings.ContainsRune(p, 0) ||
		!utf8.ValidString(p) || utf8.RuneCountInString(p) > 4*maxName {
		return fault.New("file-name-unsafe", "name", media.CleanName(name))
	}
	return nil
}

// looked is what the look at one file found.
type looked struct {
	probe media.Probe
	name  string
	bad   *media.Error // nil: usable
	took  time.Duration
}

// look probes all files. A file without a document in it is the fault of its
// code; nothing was stored then.
func (s *Service) look(ctx context.Context, sub Submission) ([]looked, error) {
	out := make([]looked, len(sub.Files))
	for i, f := range sub.Files {
		start := time.Now()
		out[i].name = media.CleanName(f.Name)
		p, err := s.engine.Probe(ctx, f.Path, f.Name)
		out[i].probe, out[i].took = p, time.Since(start)
		if err == nil {
			continue
		}
		var bad *media.Error
		switch {
		case !errors.As(err, &bad):
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fault.Wrap(err, "file-check-unavailable")
		case bad.Verdict() == media.Reject:
			s.m.refused.WithLabelValues(string(media.Reject), string(bad.Code)).Inc()
			return nil, FileFault(bad, out[i].name).With(fmt.Sprintf("/files/%d", i), string(bad.Code), pairs(bad, out[i].name)...)
		}
		s.m.refused.WithLabelValues(string(media.Quarantine), string(bad.Code)).Inc()
		out[i].bad = bad
	}
	return out, nil
}

// FileFault is the fault people see of what is wrong with a file.
func FileFault(e *media.Error, name string) *fault.Error {
	return fault.Wrap(e, string(e.Code), pairs(e, name)...)
}

// FileParams are the parameters of a file's code for its sentence.
func FileParams(e *media.Error, name string) map[string]string {
	out := map[string]string{}
	kv := pairs(e, name)
	for i := 0; i+1 < len(kv); i += 2 {
		out[fmt.Sprint(kv[i])] = fmt.Sprint(kv[i+1])
	}
	return out
}

func pairs(e *media.Error, name string) []any {
	kv := []any{"file", name}
	if e.Page > 0 {
		kv = append(kv, "page", e.Page)
	}
	for k, v := range e.Params {
		kv = append(kv, k, v)
	}
	return kv
}

// prepare makes everything that step 5 writes, but the blobs.
func (s *Service) prepare(a access.Actor, sub Submission, looks []looked) (member, Receipt, error) {
	var ids [2]uuid.UUID
	for i := range ids {
		id, err := uuid.NewV7()
		if err != nil {
			return member{}, Receipt{}, err
		}
		ids[i] = id
	}
	m := member{actor: a, key: sub.Key, digest: sub.KeyDigest, blobs: make([]uuid.UUID, len(sub.Files)), looks: looks}
	rec := Receipt{ID: ids[0], VersionID: ids[1], Version: 1, State: akte.Captured}
	data := sub.Meta.Data
	if sub.Meta.Unit != "" {
		data = map[string]any{"unit": sub.Meta.Unit}
		for k, v := range sub.Meta.Data {
			data[k] = v
		}
	}
	m.doc = akte.NewDokument{
		ID: ids[0], VersionID: ids[1], Channel: sub.Channel, Subject: sub.Meta.Subject, DocumentType: sub.Meta.DocumentType,
		Sender: sub.Meta.Sender, Receiver: sub.Meta.Receiver, Remark: sub.Meta.Remark, FormCode: sub.Meta.FormCode,
		Aktenzeichen: sub.Meta.Aktenzeichen, ReceivedOn: sub.Meta.ReceivedOn, WrittenOn: sub.Meta.WrittenOn, Vorgang: sub.Meta.Vorgang, Data: data,
		SchemaVersion: sub.schema,
	}
	if a.User != access.SystemUser {
		m.doc.SubmittedBy = a.User
	}
	var err error
	if m.doc.Files, rec.Files, m.quarantine, err = noted(sub, looks, rec.ID); err != nil {
		return member{}, Receipt{}, err
	}
	if len(m.quarantine) > 0 {
		rec.State = akte.Quarantined
	}
	switch {
	case rec.State == akte.Quarantined:
		// A quarantined Dokument lies nowhere: its Vorgang is for later.
		m.doc.Vorgang = uuid.Nil
	case m.doc.Vorgang != uuid.Nil:
		rec.State = akte.Registered
	}
	m.doc.State = rec.State
	rec.SHA256, rec.Size, rec.MediaType = rec.Files[0].SHA256, rec.Files[0].Size, rec.Files[0].MediaType
	m.answer, err = answerOf(rec)
	return m, rec, err
}

// answerOf is what the sender of a repeated request gets.
func answerOf(rec Receipt) (idempotency.Answer, error) {
	raw, err := json.Marshal(rec)
	return idempotency.Answer{Status: http.StatusCreated, Response: raw, Record: rec.ID}, err
}

// noted makes of the files and what was seen in them: the rows of the version,
// the lines of the receipt, and the quarantine rows of those that somebody has
// to look at.
func noted(sub Submission, looks []looked, dokument uuid.UUID) (files []akte.NewFile, notes []FileNote, quarantine []placed, err error) {
	for i, f := range sub.Files {
		l := looks[i]
		note := FileNote{Name: l.name, SHA256: hex.EncodeToString(f.SHA256[:]), Size: f.Size, MediaType: mediaType(l.probe), Pages: l.probe.Pages}
		nf := akte.NewFile{Name: l.name, MediaType: note.MediaType, Pages: l.probe.Pages, SignatureEmbedded: l.probe.Signed}
		if len(l.probe.Findings) > 0 {
			nf.Findings = l.probe.Findings
		}
		if l.bad != nil {
			id, err := uuid.NewV7()
			if err != nil {
				return nil, nil, nil, err
			}
			nf.Pages, note.Pages = 0, 0
			nf.Findings = []media.Finding{{Code: l.bad.Code, Page: l.bad.Page}}
			q := NewQuarantine{ID: id, Dokument: dokument, FileName: l.name, Channel: sub.Channel, Code: string(l.bad.Code),
				Params: FileParams(l.bad, l.name), Step: stepProbe}
			note.Code, note.QuarantineID = q.Code, &id
			note.Messages = map[string]string{"de": fault.Text("de", q.Code, q.Params), "en": fault.Text("en", q.Code, q.Params)}
			quarantine = append(quarantine, placed{q, i})
		}
		files, notes = append(files, nf), append(notes, note)
	}
	return files, notes, quarantine, nil
}

func mediaType(p media.Probe) string {
	if p.MediaType == "" {
		return "application/octet-stream"
	}
	return p.MediaType
}

func deref(r *Receipt) Receipt {
	if r == nil {
		return Receipt{}
	}
	return *r
}
