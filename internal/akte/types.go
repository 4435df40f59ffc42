package akte

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"evb/internal/event"
)

// State is where a Dokument is in its life (dokument.state).
type State string

// The states of a Dokument.
const (
	Captured    State = "captured"    // bytes safe, not filed
	Quarantined State = "quarantined" // unusable as it is; somebody has to look
	Registered  State = "registered"  // filed into a Vorgang
	InWork      State = "in_work"     // checked out; never stored, see Dokument.AsOf
	Final       State = "final"       // its version is frozen
	Filed       State = "filed"       // its Vorgang is closed
)

// Channel is how a Dokument came in (dokument.channel).
type Channel string

// The channels.
const (
	ChannelScan    Channel = "scan"
	ChannelAPI     Channel = "api"
	ChannelUpload  Channel = "upload"
	ChannelMail    Channel = "mail"
	ChannelImport  Channel = "import"
	ChannelProcess Channel = "process"
)

// Lifecycle is where an Akte or Vorgang is in its life
// (record_object.lifecycle).
type Lifecycle string

// The stations of a record object's life.
const (
	Planned     Lifecycle = "planned"
	Open        Lifecycle = "open"
	Closed      Lifecycle = "closed" // z. d. A.
	Stored      Lifecycle = "stored"
	Due         Lifecycle = "due"
	Offered     Lifecycle = "offered"
	Appraised   Lifecycle = "appraised"
	Transferred Lifecycle = "transferred"
	Destroyed   Lifecycle = "destroyed"
)

// Extraction says how far the text of the current version is.
type Extraction string

// The states of extraction (dokument.extraction).
const (
	ExtractionPending Extraction = "pending"
	ExtractionDone    Extraction = "done"
	ExtractionFailed  Extraction = "failed"  // for good, with a reason
	ExtractionWaiting Extraction = "waiting" // for something that is not there yet
)

// Kinds of record objects.
const (
	KindAkte     = "akte"
	KindVorgang  = "vorgang"
	KindDokument = "dokument"
)

// Kinds of renditions. Original is what came in; all others are derived.
const (
	Original  = "original"
	Text      = "text"
	Words     = "words"
	PageImage = "page_image" // position of the file = number of the page
	Thumbnail = "thumbnail"
	PDFA      = "pdfa"
	Report    = "report"
)

// Facts of this package. The record of the fact is the object; where a version
// is the subject of the jobs that follow, it is the fact's subject.
const (
	DokumentReceived         event.Kind = "dokument.received"      // subject: version
	DokumentQuarantined      event.Kind = "dokument.quarantined"   // subject: version; instead of received or version_added
	DokumentReleased         event.Kind = "dokument.released"      // subject: version; out of quarantine
	DokumentVersionAdded     event.Kind = "dokument.version_added" // subject: version
	DokumentFinal            event.Kind = "dokument.final"         // subject: version, frozen
	DokumentReopened         event.Kind = "dokument.reopened"
	DokumentCheckedOut       event.Kind = "dokument.checked_out"
	DokumentCheckedIn        event.Kind = "dokument.checked_in"
	DokumentCheckOutReturned event.Kind = "dokument.check_out_returned" // by the head, or because the person leaves
	DokumentExtracted        event.Kind = "dokument.extracted"          // subject: Dokument
	DokumentExtractionFailed event.Kind = "dokument.extraction_failed"  // subject: Dokument
	DokumentFiled            event.Kind = "dokument.filed"
	DokumentMoved            event.Kind = "dokument.moved"
	DokumentChanged          event.Kind = "dokument.changed"
	AkteCreated              event.Kind = "akte.created"
	AkteChanged              event.Kind = "akte.changed"
	AkteNamed                event.Kind = "akte.named" // a person for a protected one
	AkteClosed               event.Kind = "akte.closed"
	AkteReopened             event.Kind = "akte.reopened"
	VorgangCreated           event.Kind = "vorgang.created"
	VorgangChanged           event.Kind = "vorgang.changed"
	VorgangClosed            event.Kind = "vorgang.closed"
	VorgangReopened          event.Kind = "vorgang.reopened"
	VorgangMoved             event.Kind = "vorgang.moved"         // to another Akte
	AkteVorgangLeft          event.Kind = "akte.vorgang_left"     // beside vorgang.moved, for the Akte it was in
	VorgangDokumentLeft      event.Kind = "vorgang.dokument_left" // beside dokument.moved, for the Vorgang it was in
	AktenplanCreated         event.Kind = "aktenplan.created"
	EinheitCreated           event.Kind = "aktenplan.einheit_created"
	PatternCreated           event.Kind = "aktenplan.pattern_created"
)

// NewFile is one stream of a new version or rendition; its blob is durable.
type NewFile struct {
	Blob              uuid.UUID
	Name              string
	MediaType         string
	Pages             int // 0: not known
	SignatureEmbedded bool
	Findings          any // JSON array of the look at the file; nil: none
}

// NewDokument is what InsertDokumente writes. ID and VersionID are UUIDv7 made
// by the caller, so that a repeated request can name them.
type NewDokument struct {
	ID, VersionID uuid.UUID
	State         State   // Captured or Quarantined; with a Vorgang: Registered
	Channel       Channel // how it came in
	Origin        string  // dokument_version.origin; empty: from the channel
	Subject       string  // empty: recognition may fill it, as all words here
	DocumentType  string
	Sender        string
	Receiver      string
	Remark        string
	FormCode      string
	Aktenzeichen  string    // as given by the sender of the request; not resolved here
	ReceivedOn    time.Time // UTC midnight; zero: not known
	WrittenOn     time.Time
	Vorgang       uuid.UUID // nil UUID: unfiled
	SubmittedBy   uuid.UUID // nil UUID: nobody reads it as its submitter
	Data          map[string]any
	SchemaVersion *int // that Data["fields"] fit; nil: none was asked
	Files         []NewFile
}

// NewVersion is what InsertVersion writes.
type NewVersion struct {
	ID         uuid.UUID
	DokumentID uuid.UUID
	Origin     string // dokument_version.origin
	Comment    string
	// Quarantined: somebody has to look at its files before anything follows.
	Quarantined bool
	// CheckIn ends the check-out of the Dokument with it.
	CheckIn bool
	Files   []NewFile
}

// NewRendition is what ReplaceRendition writes.
type NewRendition struct {
	ID          uuid.UUID
	VersionID   uuid.UUID
	Kind        string // any but Original
	Tool        string
	ToolVersion string
	Source      uuid.UUID // rendition it was made from; nil UUID: the original
	Format      string    // format_code; may be empty
	Facts       any       // JSON object; nil: {}
	Files       []NewFile // in order of position
}

// Recognised is what extraction found in the text of a Dokument.
type Recognised struct {
	Subject      string
	Sender       string
	Receiver     string
	Aktenzeichen string
	DocumentType string
	FormCode     string
	WrittenOn    time.Time
	// Fields of its kind of letter by name, texts and numbers; rules can ask about
	// them. What was given goes before.
	Fields map[string]any
}

// BatchPlace says which part of a scan batch a Dokument was.
type BatchPlace struct {
	BatchID       uuid.UUID `json:"batch_id"`
	BatchName     string    `json:"batch"`
	Position      int       `json:"position"`
	SeparatorCode string    `json:"separator_code"`
	FirstPage     *int      `json:"first_page"`
	LastPage      *int      `json:"last_page"`
}

// Dokument is the logical document as people see it. Dates are local dates as
// UTC midnight. Versions is filled by Dokument and DokumentByID, not in lists.
type Dokument struct {
	ID               uuid.UUID
	Subject          string
	Aktenzeichen     string // of the Akte it is filed to, else as given, else as recognised
	VorgangReference string // <Aktenzeichen>-01; empty: not in a Vorgang
	Given            string // the Aktenzeichen the request or the index named
	Recognised       string // the Aktenzeichen found in the text
	DocumentType     string
	Sender           string
	Receiver         string
	Remark           string
	FormCode         string
	ForeignReference string
	ReceivedOn       *time.Time
	WrittenOn        *time.Time
	State            State
	Channel          Channel
	Extraction       Extraction
	ExtractionReason string
	IntakeCompleteAt *time.Time
	VersionNumber    int       // of the current version
	VersionID        uuid.UUID // of the current version
	UnitID           *uuid.UUID
	UnitCode         string
	VorgangID        *uuid.UUID
	AkteID           *uuid.UUID
	ScopeID          uuid.UUID
	SubmittedBy      *uuid.UUID
	Batch            *BatchPlace
	CheckOut         *CheckOut // who has it in work; nil: nobody
	SchemaVersion    *int      // the fields were checked with; nil: with none
	Data             json.RawMessage
	CreatedAt        time.Time
	ChangedAt        time.Time
	RowVersion       int64
	Versions         []Version
}

// Version is one immutable state of a Dokument.
type Version struct {
	ID            uuid.UUID
	DokumentID    uuid.UUID
	Number        int
	Origin        string
	Comment       string
	FrozenAt      *time.Time
	CreatedAt     time.Time
	CreatedBy     uuid.UUID
	CreatedByName string
	Files         []PrimaryFile // of the original
}

// Rendition is one form of a version.
type Rendition struct {
	ID          uuid.UUID
	VersionID   uuid.UUID
	Kind        string
	Format      string
	Tool        string
	ToolVersion string
	Source      *uuid.UUID
	Facts       json.RawMessage
	CreatedAt   time.Time
	Files       []PrimaryFile // by position
}

// PrimaryFile is one stream of a rendition.
type PrimaryFile struct {
	ID                uuid.UUID
	RenditionID       uuid.UUID
	Position          int
	Blob              uuid.UUID
	SHA256            []byte // content name, from the blob's row
	Size              int64
	Name              string
	MediaType         string
	Pages             int // 0: not known
	SignatureEmbedded bool
	Findings          json.RawMessage
}

// Akte is one file of the registry.
type Akte struct {
	ID                 uuid.UUID
	Aktenzeichen       string
	Subject            string
	Remark             string
	Type               string
	AktenplaneinheitID uuid.UUID
	EinheitCode        string
	EinheitTitle       string
	UnitID             *uuid.UUID
	UnitCode           string
	Lifecycle          Lifecycle
	Medium             string
	PaperLocation      string
	ProtectionClass    string
	PeriodFrom         *time.Time
	PeriodTo           *time.Time
	ClosedOn           *time.Time
	RetentionYears     *int
	DisposalType       string
	RetentionEnd       *time.Time
	TransferDue        *time.Time
	CreatedAt          time.Time
	ChangedAt          time.Time
	RowVersion         int64
	Vorgaenge          int // how many Vorgänge it has
	OpenVorgaenge      int
}

// Vorgang is one piece of business in an Akte.
type Vorgang struct {
	ID              uuid.UUID
	AkteID          uuid.UUID
	Aktenzeichen    string // of the Akte
	Reference       string // <Aktenzeichen>-01
	Number          int
	Subject         string
	Remark          string
	Type            string
	UnitID          *uuid.UUID
	UnitCode        string
	Lifecycle       Lifecycle
	Medium          string
	PaperLocation   string
	AutomationLevel int
	PeriodFrom      *time.Time
	PeriodTo        *time.Time
	ClosedOn        *time.Time
	RetentionYears  *int
	DisposalType    string
	RetentionEnd    *time.Time
	TransferDue     *time.Time
	CreatedAt       time.Time
	ChangedAt       time.Time
	RowVersion      int64
	Dokumente       int
}

// Aktenplaneinheit is one node of the Aktenplan.
type Aktenplaneinheit struct {
	ID              uuid.UUID
	AktenplanID     uuid.UUID
	ParentID        *uuid.UUID
	Code            string
	Title           string
	ShortTitle      string
	UnitID          *uuid.UUID
	UnitCode        string
	RetentionYears  *int // nil: unlimited
	DisposalType    string
	TransferYears   int
	Closed          bool
	ProtectionClass string
	ValidFrom       time.Time
	ValidTo         *time.Time // nil: no end
	RowVersion      int64
}
