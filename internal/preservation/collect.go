package preservation

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/evidence"
)

var pointCollected = failpoint.New("preservation-collect-committed", "archive versions of a Dokument are made, nothing in the bucket yet")

// CollectRecord makes the archive versions that a Dokument lacks; of a Vorgang
// or an Akte those of every Dokument in it. It may run any number of times, also
// twice at once: what is there already is not made again. A record that is not
// there (any more) is no error.
func (s *Service) CollectRecord(ctx context.Context, tenant access.Tenant, record uuid.UUID) error {
	var ids []uuid.UUID
	err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		var err error
		ids, err = dokumenteBelow(ctx, q, record)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := s.collect(ctx, tenant, id, false); err != nil {
			return err
		}
	}
	return nil
}

// collect makes what one Dokument lacks and returns how many archive versions
// that were. With force an intake that is still running is taken as it is.
func (s *Service) collect(ctx context.Context, tenant access.Tenant, id uuid.UUID, force bool) (int, error) {
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return 0, err
	}
	var made []made
	err = s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		var err error
		made, err = s.collectTx(ctx, tx, a, id, force)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("collect %s: %w", id, err)
	}
	if len(made) > 0 {
		pointCollected.Hit()
	}
	for _, m := range made {
		s.m.made.WithLabelValues(string(m.cause)).Inc()
	}
	return len(made), nil
}

// made is one archive version to write.
type made struct {
	id, version uuid.UUID
	number      int
	cause       Cause
	files       []akte.PrimaryFile
	extra       map[string]any
}

// existing is an archive version that is there.
type existing struct {
	ID      uuid.UUID
	Version uuid.UUID
	Number  int
	Cause   Cause
	Body    *string // nil after disposal
	Blobs   []uuid.UUID
}

// Names of further fields of the metadata object (evidence.Metadata.Extra).
// They are part of the format: docs/evidence-format.md.
const (
	extraIntake   = "intake"    // "incomplete": made before routing had decided
	extraClosedOn = "closed_on" // of the Vorgang, cause closed
)

func (e existing) metadata() (*evidence.Metadata, error) {
	if e.Body == nil {
		return nil, nil
	}
	return evidence.ParseMetadata([]byte(*e.Body))
}

func (s *Service) collectTx(ctx context.Context, tx pgx.Tx, a access.Actor, id uuid.UUID, force bool) ([]made, error) {
	// The lock makes two collectors of one Dokument take turns.
	st, err := lockDokument(ctx, tx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if st.State == string(akte.Quarantined) || st.Erased {
		return nil, nil // comes back when it is released
	}
	d, err := akte.DokumentByID(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	versions, err := akte.VersionsOf(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(versions, func(a, b akte.Version) int { return a.Number - b.Number })
	have, err := archiveVersionsOf(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	now := s.now()
	want, complete, err := s.missing(ctx, tx, st, d, versions, have, now, force)
	if err != nil {
		return nil, err
	}
	if complete && d.IntakeCompleteAt == nil {
		if err := s.akten.SetIntakeComplete(ctx, tx, id, now); err != nil {
			return nil, err
		}
	}
	if len(want) == 0 {
		return nil, nil
	}
	next := 1
	for _, e := range have {
		next = max(next, e.Number+1)
	}
	for i := range want {
		want[i].number = next + i
		if err := s.write(ctx, tx, a, st, d, versions, &want[i], now); err != nil {
			return nil, err
		}
	}
	facts := make([]event.Fact, len(want))
	for i, m := range want {
		facts[i] = event.Fact{Kind: ArchiveVersionMade, Record: id, SubjectKind: "archive_version", Subject: m.id,
			Details: map[string]any{"number": m.number, "cause": string(m.cause), "version_id": m.version.String()}}
	}
	return want, s.log.Append(ctx, tx, a, now, facts...)
}

// missing decides which archive versions there should be and are not, and
// whether the intake of the Dokument is over.
func (s *Service) missing(ctx context.Context, q postgres.Querier, st dokumentState, d akte.Dokument, versions []akte.Version,
	have []existing, now time.Time, force bool,
) (want []made, complete bool, err error) {
	extracted := d.Extraction == akte.ExtractionFailed || d.Extraction == akte.ExtractionDone && (st.Routed || d.VorgangID != nil)
	overdue := func(v akte.Version) bool { return now.Sub(v.CreatedAt) >= s.o.CollectAfter }
	for i, v := range versions {
		newest := i == len(versions)-1
		// A version that a newer one follows changes no more.
		done := !newest || extracted
		complete = done || overdue(v)
		if !complete && !force {
			continue
		}
		sealed, provisional := false, false
		for _, e := range have {
			if e.Version != v.ID || e.Cause != CauseIntake {
				continue
			}
			md, err := e.metadata()
			if err != nil {
				return nil, false, fmt.Errorf("archive version %s: %w", e.ID, err)
			}
			if md != nil && md.Extra[extraIntake] == "incomplete" {
				provisional = true
			} else {
				sealed = true
			}
		}
		switch {
		case sealed, provisional && !done:
		case done:
			want = append(want, made{version: v.ID, cause: CauseIntake, files: v.Files})
		default:
			want = append(want, made{version: v.ID, cause: CauseIntake, files: v.Files, extra: map[string]any{extraIntake: "incomplete"}})
		}
		text, err := missingText(ctx, q, v, have)
		if err != nil {
			return nil, false, err
		}
		want = append(want, text...)
	}
	if len(versions) == 0 {
		return want, complete, nil
	}
	more, err := missingState(st, d, versions[len(versions)-1], have, want)
	if err != nil || s.o.Agreements == nil {
		return append(want, more...), complete, err
	}
	want = append(want, more...)
	signed, err := s.o.Agreements(ctx, q, d.ID)
	if err != nil {
		return nil, false, err
	}
	more, err = missingAgreements(signed, versions, have, want)
	return append(want, more...), complete, err
}

// missingText is an archive version for recognised text that none holds yet.
// The text of a born-digital file is no original of anything and is not sealed.
func missingText(ctx context.Context, q postgres.Querier, v akte.Version, have []existing) ([]made, error) {
	rs, err := akte.RenditionsOf(ctx, q, v.ID)
	if err != nil {
		return nil, err
	}
	for _, r := range rs {
		if r.Kind != akte.Text || len(r.Files) == 0 || !recognised(r) {
			continue
		}
		blobs := blobsOf(r.Files)
		if !slices.ContainsFunc(have, func(e existing) bool {
			return e.Version == v.ID && e.Cause == CauseText && slices.Equal(e.Blobs, blobs)
		}) {
			return []made{{version: v.ID, cause: CauseText, files: r.Files, extra: map[string]any{
				"rendition": map[string]any{"kind": r.Kind, "tool": r.Tool, "tool_version": r.ToolVersion},
			}}}, nil
		}
	}
	return nil, nil
}

// recognised reports whether a text rendition comes from text recognition.
func recognised(r akte.Rendition) bool {
	var facts struct {
		OCR *bool `json:"ocr"`
	}
	_ = json.Unmarshal(r.Facts, &facts)
	if facts.OCR != nil {
		return *facts.OCR
	}
	return strings.Contains(strings.ToLower(r.Tool), "tesseract")
}

// missingState compares where the Dokument is filed with what was last sealed
// about it.
func missingState(st dokumentState, d akte.Dokument, newest akte.Version, have []existing, want []made) ([]made, error) {
	var last *evidence.Metadata
	closed := map[string]bool{}
	for _, e := range have { // in the order of their numbers
		if e.Cause != CauseIntake && e.Cause != CauseFiled && e.Cause != CauseClosed {
			continue
		}
		md, err := e.metadata()
		if err != nil {
			return nil, fmt.Errorf("archive version %s: %w", e.ID, err)
		}
		if md == nil {
			continue
		}
		last = md
		if on, ok := md.Extra[extraClosedOn].(string); ok {
			closed[md.VorgangID+" "+on] = true
		}
	}
	intake := slices.ContainsFunc(want, func(m made) bool { return m.cause == CauseIntake && m.version == newest.ID })
	if last == nil && !intake || d.VorgangID == nil {
		return nil, nil
	}
	var out []made
	if !intake && last.VorgangID != d.VorgangID.String() {
		out = append(out, made{version: newest.ID, cause: CauseFiled, files: newest.Files})
	}
	if st.ClosedOn != nil && st.Lifecycle != string(akte.Open) && st.Lifecycle != string(akte.Planned) {
		on := st.ClosedOn.Format(time.DateOnly)
		if !closed[d.VorgangID.String()+" "+on] {
			out = append(out, made{version: newest.ID, cause: CauseClosed, files: newest.Files, extra: map[string]any{extraClosedOn: on}})
		}
	}
	return out, nil
}

// write makes the rows of one archive version.
func (s *Service) write(ctx context.Context, tx pgx.Tx, a access.Actor, st dokumentState, d akte.Dokument, versions []akte.Version, m *made, now time.Time) error {
	var err error
	if m.id, err = uuid.NewV7(); err != nil {
		return err
	}
	blobs := blobsOf(m.files)
	digests, err := blob.Digests(ctx, tx, blobs)
	if err != nil {
		return err
	}
	v := versions[slices.IndexFunc(versions, func(v akte.Version) bool { return v.ID == m.version })]
	md, err := describe(a.TenantSlug, st, d, v, *m, digests, now)
	if err != nil {
		return err
	}
	body, err := md.Canonical()
	if err != nil {
		return err
	}
	return insertArchiveVersion(ctx, tx, archiveRow{
		ID: m.id, Dokument: &d.ID, Version: &m.version, Number: m.number, Cause: m.cause, At: now, Blobs: blobs, Body: body,
	})
}

// archiveRow is what insertArchiveVersion writes.
type archiveRow struct {
	ID                uuid.UUID
	Dokument, Version *uuid.UUID
	Number            int
	Cause             Cause
	At                time.Time
	Blobs             []uuid.UUID
	Body              []byte
}

func newSalt() ([]byte, error) {
	salt := make([]byte, evidence.SaltSize)
	_, err := rand.Read(salt)
	return salt, err
}

// blobsOf lists the distinct blobs of files in their order: a group is a set.
func blobsOf(files []akte.PrimaryFile) []uuid.UUID {
	var out []uuid.UUID
	for _, f := range files {
		if !slices.Contains(out, f.Blob) {
			out = append(out, f.Blob)
		}
	}
	return out
}

// describe makes the metadata object of an archive version: enough to rebuild
// the Dokument from the bucket alone.
func describe(tenant string, st dokumentState, d akte.Dokument, v akte.Version, m made, digests map[uuid.UUID][]digest.Digest, now time.Time) (evidence.Metadata, error) {
	md := evidence.Metadata{
		Tenant: tenant, DokumentID: d.ID.String(), VersionID: v.ID.String(), ArchiveVersion: m.id.String(), Reason: string(m.cause),
		Aktenzeichen: d.Aktenzeichen, AkteID: idText(d.AkteID), VorgangID: idText(d.VorgangID), Subject: d.Subject, DocumentType: d.DocumentType,
		Sender: d.Sender, ReceivedOn: dateText(d.ReceivedOn), CreatedAt: now, Extra: map[string]any{
			"archive_version_number": m.number,
			"version": map[string]any{
				"number": v.Number, "origin": v.Origin, "comment": v.Comment, "created_at": v.CreatedAt.UTC().Format(event.TimeFormat), "created_by": v.CreatedBy.String(),
			},
			"channel": string(d.Channel), "state": string(d.State), "access_scope_id": d.ScopeID.String(), "registered_at": d.CreatedAt.UTC().Format(event.TimeFormat),
		},
	}
	optional := map[string]string{
		"receiver": d.Receiver, "remark": d.Remark, "form_code": d.FormCode, "foreign_reference": d.ForeignReference, "written_on": dateText(d.WrittenOn),
		"unit_id": idText(d.UnitID), "vorgang_reference": d.VorgangReference, "aktenzeichen_given": d.Given, "aktenzeichen_recognised": d.Recognised,
		"submitted_by": idText(d.SubmittedBy),
	}
	for name, value := range optional {
		if value != "" {
			md.Extra[name] = value
		}
	}
	if len(d.Data) > 0 && string(d.Data) != "{}" && string(d.Data) != "null" {
		md.Extra["data"] = d.Data
	}
	for name, value := range m.extra {
		md.Extra[name] = value
	}
	if d.Batch != nil {
		md.Batch = &evidence.Batch{BatchID: d.Batch.BatchName, Position: d.Batch.Position, SeparatorCode: d.Batch.SeparatorCode}
		md.Extra["batch_uuid"] = d.Batch.BatchID.String()
		if d.Batch.FirstPage != nil && d.Batch.LastPage != nil {
			md.Batch.FirstPage, md.Batch.LastPage = *d.Batch.FirstPage, *d.Batch.LastPage
		}
		if len(st.TransferNote) > 2 { // more than {}
			var note evidence.TransferNote
			if err := json.Unmarshal(st.TransferNote, &note); err != nil {
				return md, fmt.Errorf("transfer note: %w", err)
			}
			md.TransferNote = &note
		}
	}
	names := map[string]bool{}
	for i, f := range m.files {
		mf := evidence.MemberFile{File: uniqueName(names, f.Name, i+1), Size: f.Size, MediaType: f.MediaType}
		for _, dg := range digests[f.Blob] {
			switch dg.Algorithm {
			case digest.SHA256:
				mf.SHA256 = dg.Hex()
			case digest.SHA512:
				mf.SHA512 = dg.Hex()
			}
		}
		md.Members = append(md.Members, mf)
	}
	return md, nil
}

// uniqueName gives every member a name of its own, as the sealed list demands.
func uniqueName(taken map[string]bool, name string, n int) string {
	if name == "" {
		name = fmt.Sprintf("datei-%d", n)
	}
	out := name
	for i := 2; taken[out]; i++ {
		stem, ext := name, ""
		if dot := strings.LastIndexByte(name, '.'); dot > 0 {
			stem, ext = name[:dot], name[dot:]
		}
		out = fmt.Sprintf("%s (%d)%s", stem, i, ext)
	}
	taken[out] = true
	return out
}

func idText(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}

func dateText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.DateOnly)
}
