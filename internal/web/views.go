package web

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/intake"
	"evb/internal/lists"
	"evb/internal/postkorb"
	"evb/internal/preservation"
)

// fileView is one primary file of a version.
type fileView struct {
	ID        uuid.UUID       `json:"id"`
	Position  int             `json:"position"`
	Name      string          `json:"name"`
	MediaType string          `json:"media_type"`
	Size      int64           `json:"size"`
	SHA256    string          `json:"sha256"`
	Pages     *int            `json:"pages"`
	Findings  json.RawMessage `json:"findings,omitempty"`
}

func newFileView(f akte.PrimaryFile) fileView {
	v := fileView{ID: f.ID, Position: f.Position, Name: f.Name, MediaType: f.MediaType, Size: f.Size, SHA256: hex.EncodeToString(f.SHA256), Findings: f.Findings}
	if f.Pages > 0 {
		v.Pages = &f.Pages
	}
	return v
}

type versionView struct {
	ID        uuid.UUID  `json:"id"`
	Number    int        `json:"number"`
	Origin    string     `json:"origin"`
	Comment   string     `json:"comment"`
	CreatedAt time.Time  `json:"created_at"`
	CreatedBy string     `json:"created_by"`
	FrozenAt  *time.Time `json:"frozen_at"`
	Files     []fileView `json:"files"`
}

func newVersionView(v akte.Version) versionView {
	return versionView{ID: v.ID, Number: v.Number, Origin: v.Origin, Comment: v.Comment, CreatedAt: v.CreatedAt.UTC(), CreatedBy: v.CreatedByName, FrozenAt: utc(v.FrozenAt), Files: mapped(v.Files, newFileView)}
}

type dokumentView struct {
	ID               uuid.UUID       `json:"id"`
	Subject          string          `json:"subject"`
	Aktenzeichen     string          `json:"aktenzeichen"`
	VorgangReference string          `json:"vorgang_reference"`
	AktenzeichenRead string          `json:"aktenzeichen_recognised"`
	AktenzeichenSaid string          `json:"aktenzeichen_given"`
	DocumentType     string          `json:"document_type"`
	Sender           string          `json:"sender"`
	Receiver         string          `json:"receiver"`
	Remark           string          `json:"remark"`
	FormCode         string          `json:"form_code"`
	ReceivedOn       *string         `json:"received_on"`
	WrittenOn        *string         `json:"written_on"`
	State            akte.State      `json:"state"`
	Channel          akte.Channel    `json:"channel"`
	Extraction       akte.Extraction `json:"extraction"`
	ExtractionReason string          `json:"extraction_reason"`
	Unit             string          `json:"unit"`
	VorgangID        *uuid.UUID      `json:"vorgang_id"`
	AkteID           *uuid.UUID      `json:"akte_id"`
	VersionID        uuid.UUID       `json:"version_id"`
	Version          int             `json:"version"`
	// Of the first file of the current version; absent in lists.
	SHA256    string     `json:"sha256,omitempty"`
	Size      int64      `json:"size,omitempty"`
	MediaType string     `json:"media_type,omitempty"`
	Files     []fileView `json:"files,omitempty"`
	// Of a Dokument made from a scan batch.
	BatchID       string          `json:"batch_id,omitempty"`
	BatchUUID     *uuid.UUID      `json:"batch_uuid,omitempty"`
	Position      int             `json:"position,omitempty"`
	SeparatorCode string          `json:"separator_code,omitempty"`
	FirstPage     *int            `json:"first_page,omitempty"`
	LastPage      *int            `json:"last_page,omitempty"`
	CheckOut      *checkOutView   `json:"check_out"` // null: nobody has it in work
	Fields        map[string]any  `json:"fields,omitempty"`
	SchemaVersion *int            `json:"schema_version"` // the fields were checked with
	Data          json.RawMessage `json:"data,omitempty"`
	CreatedAt     time.Time       `json:"created_at"`
	ChangedAt     time.Time       `json:"changed_at"`
	RowVersion    int64           `json:"row_version"`
}

func newDokumentView(d akte.Dokument) dokumentView {
	v := dokumentView{
		ID: d.ID, Subject: d.Subject, Aktenzeichen: d.Aktenzeichen, VorgangReference: d.VorgangReference, AktenzeichenRead: d.Recognised,
		AktenzeichenSaid: d.Given, DocumentType: d.DocumentType, Sender: d.Sender, Receiver: d.Receiver, Remark: d.Remark, FormCode: d.FormCode,
		ReceivedOn: dateText(d.ReceivedOn), WrittenOn: dateText(d.WrittenOn), State: d.State, Channel: d.Channel, Extraction: d.Extraction,
		ExtractionReason: d.ExtractionReason, Unit: d.UnitCode, VorgangID: d.VorgangID, AkteID: d.AkteID, VersionID: d.VersionID,
		Version: d.VersionNumber, CheckOut: newCheckOutView(d.CheckOut), Fields: akte.FieldsOf(d.Data), SchemaVersion: d.SchemaVersion, Data: d.Data, CreatedAt: d.CreatedAt.UTC(), ChangedAt: d.ChangedAt.UTC(), RowVersion: d.RowVersion,
	}
	if b := d.Batch; b != nil {
		v.BatchID, v.BatchUUID, v.Position, v.SeparatorCode, v.FirstPage, v.LastPage = b.BatchName, &b.BatchID, b.Position, b.SeparatorCode, b.FirstPage, b.LastPage
	}
	if version, ok := versionOf(d, 0); ok {
		v.Files = mapped(version.Files, newFileView)
		if len(v.Files) > 0 {
			v.SHA256, v.Size, v.MediaType = v.Files[0].SHA256, v.Files[0].Size, v.Files[0].MediaType
		}
	}
	return v
}

// versionOf is a version by number; 0: the current one.
func versionOf(d akte.Dokument, number int) (akte.Version, bool) {
	for _, v := range d.Versions {
		if v.Number == number || number == 0 && v.ID == d.VersionID {
			return v, true
		}
	}
	return akte.Version{}, false
}

type akteView struct {
	ID                 uuid.UUID      `json:"id"`
	Aktenzeichen       string         `json:"aktenzeichen"`
	Subject            string         `json:"subject"`
	Type               string         `json:"type"`
	Remark             string         `json:"remark"`
	AktenplaneinheitID uuid.UUID      `json:"aktenplaneinheit_id"`
	Aktenplaneinheit   string         `json:"aktenplaneinheit"`
	Unit               string         `json:"unit"`
	Lifecycle          akte.Lifecycle `json:"lifecycle"`
	Medium             string         `json:"medium"`
	PaperLocation      string         `json:"paper_location"`
	ClosedOn           *string        `json:"closed_on"`
	RetentionYears     *int           `json:"retention_years"`
	DisposalType       string         `json:"disposal_type"`
	RetentionEnd       *string        `json:"retention_end"`
	Vorgaenge          int            `json:"vorgaenge"`
	OpenVorgaenge      int            `json:"open_vorgaenge"`
	CreatedAt          time.Time      `json:"created_at"`
	ChangedAt          time.Time      `json:"changed_at"`
	RowVersion         int64          `json:"row_version"`
}

func newAkteView(x akte.Akte) akteView {
	return akteView{
		ID: x.ID, Aktenzeichen: x.Aktenzeichen, Subject: x.Subject, Type: x.Type, Remark: x.Remark, AktenplaneinheitID: x.AktenplaneinheitID,
		Aktenplaneinheit: x.EinheitCode, Unit: x.UnitCode, Lifecycle: x.Lifecycle, Medium: x.Medium, PaperLocation: x.PaperLocation,
		ClosedOn: dateText(x.ClosedOn), RetentionYears: x.RetentionYears, DisposalType: x.DisposalType, RetentionEnd: dateText(x.RetentionEnd),
		Vorgaenge: x.Vorgaenge, OpenVorgaenge: x.OpenVorgaenge, CreatedAt: x.CreatedAt.UTC(), ChangedAt: x.ChangedAt.UTC(), RowVersion: x.RowVersion,
	}
}

type vorgangView struct {
	ID            uuid.UUID      `json:"id"`
	AkteID        uuid.UUID      `json:"akte_id"`
	Aktenzeichen  string         `json:"aktenzeichen"`
	Reference     string         `json:"reference"`
	Number        int            `json:"number"`
	Subject       string         `json:"subject"`
	Type          string         `json:"type"`
	Remark        string         `json:"remark"`
	Unit          string         `json:"unit"`
	Medium        string         `json:"medium"`
	PaperLocation string         `json:"paper_location"`
	Lifecycle     akte.Lifecycle `json:"lifecycle"`
	ClosedOn      *string        `json:"closed_on"`
	RetentionEnd  *string        `json:"retention_end"`
	DisposalType  string         `json:"disposal_type"`
	Dokumente     int            `json:"dokumente"`
	CreatedAt     time.Time      `json:"created_at"`
	ChangedAt     time.Time      `json:"changed_at"`
	RowVersion    int64          `json:"row_version"`
}

func newVorgangView(x akte.Vorgang) vorgangView {
	return vorgangView{
		ID: x.ID, AkteID: x.AkteID, Aktenzeichen: x.Aktenzeichen, Reference: x.Reference, Number: x.Number, Subject: x.Subject, Type: x.Type,
		Remark: x.Remark, Unit: x.UnitCode, Medium: x.Medium, PaperLocation: x.PaperLocation, Lifecycle: x.Lifecycle, ClosedOn: dateText(x.ClosedOn), RetentionEnd: dateText(x.RetentionEnd),
		DisposalType: x.DisposalType, Dokumente: x.Dokumente, CreatedAt: x.CreatedAt.UTC(), ChangedAt: x.ChangedAt.UTC(), RowVersion: x.RowVersion,
	}
}

type nodeView struct {
	ID             uuid.UUID  `json:"id"`
	ParentID       *uuid.UUID `json:"parent_id"`
	Code           string     `json:"code"`
	Title          string     `json:"title"`
	Unit           string     `json:"unit"`
	RetentionYears *int       `json:"retention_years"`
	DisposalType   string     `json:"disposal_type"`
	Closed         bool       `json:"closed"`
	Depth          int        `json:"depth"`
	Akten          int64      `json:"akten"`
	Children       int        `json:"children"`
}

func newNodeView(n lists.Node) nodeView {
	return nodeView{
		ID: n.ID, ParentID: n.ParentID, Code: n.Code, Title: n.Title, Unit: n.UnitCode, RetentionYears: n.RetentionYears,
		DisposalType: n.DisposalType, Closed: n.Closed, Depth: n.Depth, Akten: n.Akten, Children: n.Children,
	}
}

type postkorbView struct {
	ID      uuid.UUID `json:"id"`
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`
	Unit    string    `json:"unit"`
	Open    int       `json:"open"`
	New     int       `json:"new"`
	Due     int       `json:"due"` // today
	Overdue int       `json:"overdue"`
	Waiting int       `json:"waiting"`
	Member  bool      `json:"member"`
	Deputy  bool      `json:"deputy"` // only for an absent person
}

func newPostkorbView(p postkorb.Postkorb) postkorbView {
	return postkorbView{ID: p.ID, Name: p.Name, Kind: p.Kind, Unit: p.UnitCode, Open: p.Open, New: p.New, Due: p.Due, Overdue: p.Overdue, Waiting: p.Waiting, Member: p.Member, Deputy: p.Deputy}
}

// textView is a sentence in both languages.
type textView struct {
	DE string `json:"de"`
	EN string `json:"en"`
}

type itemView struct {
	ID           uuid.UUID         `json:"id"`
	PostkorbID   uuid.UUID         `json:"postkorb_id"`
	Postkorb     string            `json:"postkorb"`
	RecordID     uuid.UUID         `json:"record_id"`
	RecordKind   string            `json:"record_kind"`
	DokumentID   *uuid.UUID        `json:"dokument_id"`
	VorgangID    *uuid.UUID        `json:"vorgang_id"`
	Subject      string            `json:"subject"`
	Aktenzeichen string            `json:"aktenzeichen"`
	DocumentType string            `json:"document_type"`
	Sender       string            `json:"sender"`
	ReceivedOn   *string           `json:"received_on"`
	From         string            `json:"from"`
	FromPostkorb string            `json:"from_postkorb"`
	Circulation  *uuid.UUID        `json:"circulation_id"` // of a station: to be completed there
	Step         int               `json:"step,omitempty"`
	StepKind     string            `json:"step_kind,omitempty"`
	Reason       string            `json:"reason"`
	FollowUp     string            `json:"follow_up_reason"` // why it came back, after a follow-up
	Why          string            `json:"why"`
	WhyText      textView          `json:"why_text"`
	WhyParams    map[string]string `json:"why_params,omitempty"`
	State        postkorb.State    `json:"state"`
	AssigneeID   *uuid.UUID        `json:"assignee_id"`
	Assignee     string            `json:"assignee"`
	ClaimedByID  *uuid.UUID        `json:"claimed_by_id"`
	ClaimedBy    string            `json:"claimed_by"`
	ReceivedAt   time.Time         `json:"received_at"`
	DueAt        *time.Time        `json:"due_at"`
	ReturnsAt    *time.Time        `json:"returns_at"`
	OpenedAt     *time.Time        `json:"opened_at"`
	FinishedAt   *time.Time        `json:"finished_at"`
	EscalatedAt  *time.Time        `json:"escalated_at"` // when the head was told that its deadline has passed
	Misdirected  bool              `json:"misdirected"`
	Notice       bool              `json:"notice"` // shows its line, gives no right to the object
	Content      bool              `json:"content"`
	RowVersion   int64             `json:"row_version"`
}

func newItemView(i postkorb.Item) itemView {
	why := because(i.Why)
	return itemView{
		ID: i.ID, PostkorbID: i.PostkorbID, Postkorb: i.PostkorbName, RecordID: i.RecordID, RecordKind: i.RecordKind, DokumentID: i.DokumentID,
		VorgangID: i.VorgangID, Subject: i.Subject, Aktenzeichen: i.Aktenzeichen, DocumentType: i.DocumentType, Sender: i.Sender,
		ReceivedOn: dateText(i.ReceivedOn), From: i.FromName, FromPostkorb: i.FromPostkorbName, Reason: i.Reason, FollowUp: i.FollowUpReason, Why: why.Code,
		Circulation: i.CirculationID, Step: i.StepNumber, StepKind: i.StepKind,
		WhyText: why.Text, WhyParams: why.Params, State: i.State, AssigneeID: i.AssigneeID, Assignee: i.AssigneeName,
		ClaimedByID: i.ClaimedBy, ClaimedBy: i.ClaimedByName, ReceivedAt: i.ReceivedAt.UTC(), DueAt: utc(i.DueAt), ReturnsAt: utc(i.ReturnsAt),
		OpenedAt: utc(i.OpenedAt), FinishedAt: utc(i.FinishedAt), EscalatedAt: utc(i.EscalatedAt), Misdirected: i.Misdirected, Notice: i.Notice, Content: i.Content, RowVersion: i.RowVersion,
	}
}

// becauseView says why: a code, its sentence, and what fills it.
type becauseView struct {
	Code   string            `json:"code"`
	Text   textView          `json:"text"`
	Params map[string]string `json:"params,omitempty"`
}

// because is the code as the house speaks of it: akte-unknown, not
// why-akte-unknown as it stands in the catalogue.
func because(w postkorb.Why) becauseView {
	return becauseView{Code: strings.TrimPrefix(w.Code, "why-"), Text: textView{DE: w.Text("de"), EN: w.Text("en")}, Params: w.Params}
}

type whyView struct {
	ItemID uuid.UUID `json:"item_id"`
	becauseView
	Steps []whyStepView `json:"steps"`
}

type whyStepView struct {
	ItemID     uuid.UUID `json:"item_id"`
	Postkorb   string    `json:"postkorb"`
	ReceivedAt time.Time `json:"received_at"`
	From       string    `json:"from"`
	Reason     string    `json:"reason"`
	becauseView
}

func newWhyStepView(s postkorb.WhyStep) whyStepView {
	return whyStepView{ItemID: s.ItemID, Postkorb: s.Postkorb, ReceivedAt: s.ReceivedAt.UTC(), From: s.From, Reason: s.Reason, becauseView: because(s.Why)}
}

type historyView struct {
	ID         uuid.UUID `json:"id"`
	At         time.Time `json:"at"`
	Kind       string    `json:"kind"`
	ActorID    uuid.UUID `json:"actor_id"`
	Actor      string    `json:"actor"`
	OnBehalfOf string    `json:"on_behalf_of"`
	Capacity   string    `json:"capacity"`
	Text       textView  `json:"text"`
	Reason     string    `json:"reason"`
	// The object of the fact: the one asked about, or one in it.
	RecordID    uuid.UUID        `json:"record_id"`
	RecordKind  string           `json:"record_kind"`
	Record      string           `json:"record"`
	Particulars []particularView `json:"particulars"` // details with names and local times
	Details     map[string]any   `json:"details,omitempty"`
}

type particularView struct {
	Label textView `json:"label"`
	Value string   `json:"value"`
}

func newParticularView(p lists.Particular) particularView {
	return particularView{Label: textView{DE: p.DE, EN: p.EN}, Value: p.Value}
}

func newHistoryView(h lists.HistoryLine) historyView {
	return historyView{ID: h.ID, At: h.At.UTC(), Kind: h.Kind, ActorID: h.ActorID, Actor: h.Actor, OnBehalfOf: h.OnBehalfOf, Capacity: h.Capacity, Text: textView{DE: h.DE, EN: h.EN}, Reason: h.Reason, Details: h.Details,
		RecordID: h.RecordID, RecordKind: h.RecordKind, Record: h.Record, Particulars: mapped(h.Particulars, newParticularView)}
}

type explanationView struct {
	User    uuid.UUID  `json:"user"`
	Object  uuid.UUID  `json:"object"`
	Sees    bool       `json:"sees"`
	Changes bool       `json:"changes"`
	Rules   []ruleView `json:"rules"`
}

type ruleView struct {
	Grants bool `json:"grants"`
	becauseView
}

func newRuleView(r lists.Rule) ruleView {
	return ruleView{Grants: r.Grants, becauseView: becauseView{Code: r.Code, Text: textView{DE: r.DE, EN: r.EN}, Params: r.Params}}
}

type quarantineView struct {
	ID         uuid.UUID              `json:"id"`
	File       string                 `json:"file"`
	Code       string                 `json:"code"`
	Reason     string                 `json:"reason"`
	Messages   textView               `json:"messages"`
	Params     map[string]string      `json:"params,omitempty"`
	Step       string                 `json:"step"`
	State      intake.QuarantineState `json:"state"`
	Channel    string                 `json:"channel"`
	BatchUUID  *uuid.UUID             `json:"batch_uuid"`
	BatchID    *string                `json:"batch_id"`
	Position   *int                   `json:"position"`
	FirstPage  *int                   `json:"first_page"`
	LastPage   *int                   `json:"last_page"`
	DokumentID *uuid.UUID             `json:"dokument_id"`
	CreatedAt  time.Time              `json:"created_at"`
	ResolvedAt *time.Time             `json:"resolved_at"`
	Resolution string                 `json:"resolution"`
	RowVersion int64                  `json:"row_version"`
}

func newQuarantineView(q intake.Quarantine) quarantineView {
	return quarantineView{
		ID: q.ID, File: q.FileName, Code: q.Code, Reason: q.Text("de"), Messages: textView{DE: q.Text("de"), EN: q.Text("en")}, Params: q.Params,
		Step: q.Step, State: q.State, Channel: q.Channel, BatchUUID: q.BatchID, BatchID: q.BatchName, Position: q.Position, FirstPage: q.FirstPage,
		LastPage: q.LastPage, DokumentID: q.DokumentID, CreatedAt: q.CreatedAt.UTC(), ResolvedAt: utc(q.ResolvedAt), Resolution: q.Resolution, RowVersion: q.RowVersion,
	}
}

type evidenceView struct {
	State           preservation.EvidenceState `json:"state"`
	SealID          *uuid.UUID                 `json:"seal_id"`
	SealedAt        *time.Time                 `json:"sealed_at"`
	Algorithms      []string                   `json:"algorithms"`
	RenewBefore     *time.Time                 `json:"renew_before"`
	Reason          string                     `json:"reason,omitempty"`
	ArchiveVersions []archiveVersionView       `json:"archive_versions"`
}

type archiveVersionView struct {
	ID        uuid.UUID                  `json:"id"`
	VersionID *uuid.UUID                 `json:"version_id"`
	Number    int                        `json:"number"`
	Cause     preservation.Cause         `json:"cause"`
	CreatedAt time.Time                  `json:"created_at"`
	State     preservation.EvidenceState `json:"state"`
	SealID    *uuid.UUID                 `json:"seal_id"`
	SealedAt  *time.Time                 `json:"sealed_at"`
}

func newEvidenceView(e preservation.Evidence) evidenceView {
	return evidenceView{
		State: e.State, SealID: idOrNil(e.SealID), SealedAt: timeOrNil(e.SealedAt), Algorithms: mapped(e.Algorithms, func(s string) string { return s }),
		RenewBefore: timeOrNil(e.RenewBefore), Reason: e.Reason,
		ArchiveVersions: mapped(e.ArchiveVersions, func(v preservation.EvidenceVersion) archiveVersionView {
			return archiveVersionView{ID: v.ID, VersionID: idOrNil(v.VersionID), Number: v.Number, Cause: v.Cause, CreatedAt: v.CreatedAt.UTC(), State: v.State, SealID: idOrNil(v.SealID), SealedAt: timeOrNil(v.SealedAt)}
		}),
	}
}

type sealView struct {
	ID                  uuid.UUID              `json:"id"`
	Number              int                    `json:"number"`
	State               preservation.SealState `json:"state"`
	Problem             bool                   `json:"problem"`
	Detail              string                 `json:"detail,omitempty"`
	Algorithm           string                 `json:"algorithm"`
	Leaves              int                    `json:"leaves"`
	Root                string                 `json:"root"`
	Reason              string                 `json:"reason"`
	ClosedAt            time.Time              `json:"closed_at"`
	SealedAt            *time.Time             `json:"sealed_at"`
	GenTime             *time.Time             `json:"gen_time"`
	TSA                 string                 `json:"tsa"`
	Signer              string                 `json:"signer"`
	SignatureAlgorithm  string                 `json:"signature_algorithm"`
	KeyBits             int                    `json:"key_bits"`
	CertificateNotAfter *time.Time             `json:"certificate_not_after"`
	RenewBefore         *time.Time             `json:"renew_before"`
	HashAlgorithm       string                 `json:"hash_algorithm"`
	Chains              int                    `json:"chains"`
	Renewals            int                    `json:"renewals"`
	Documents           int                    `json:"documents"`
	Requests            int                    `json:"requests"`
	Lost                int                    `json:"lost"`
}

func newSealView(s preservation.SealInfo) sealView {
	return sealView{
		ID: s.ID, Number: s.Number, State: s.State, Problem: s.Problem, Detail: s.Detail, Algorithm: string(s.Algorithm), Leaves: s.Leaves,
		Root: hex.EncodeToString(s.Root.Value), Reason: s.Reason, ClosedAt: s.ClosedAt.UTC(), SealedAt: timeOrNil(s.SealedAt), GenTime: timeOrNil(s.GenTime),
		TSA: s.TSA, Signer: s.Signer, SignatureAlgorithm: s.SignatureAlgorithm, KeyBits: s.KeyBits, CertificateNotAfter: timeOrNil(s.CertificateNotAfter),
		RenewBefore: timeOrNil(s.RenewBefore), Requests: s.Requests, Lost: s.Lost,
		HashAlgorithm: string(s.Hash), Chains: s.Chains, Renewals: s.Renewals, Documents: s.Documents,
	}
}
