package scan

import (
	"time"

	"github.com/google/uuid"

	"evb/internal/event"
)

// Facts of this package. Record is the nil UUID except for dokument facts,
// which package akte writes; Subject is the batch.
const (
	// BatchCreated: a batch was announced.
	BatchCreated event.Kind = "batch.created"
	// BatchSubmitted: everything was handed over; scan.process follows.
	BatchSubmitted event.Kind = "batch.submitted"
	// BatchBalanced: every page has its fate, the book balances.
	BatchBalanced event.Kind = "batch.balanced"
	// BatchAttention: taken apart, but a person has to look.
	BatchAttention event.Kind = "batch.attention"
	// BatchResolved: a person looked and brought it to its end, with a reason.
	BatchResolved event.Kind = "batch.resolved"
)

// SubjectBatch is the SubjectKind of the facts of this package.
const SubjectBatch = "batch"

// State of a batch (decisions 1.5).
type State string

// The states.
//
//	receiving ──► processing ──► balanced
//	    │             └────────► attention ──► processing (a missing file came)
//	    │                                 └──► balanced (a person says so: Resolve)
//	    └───────► rejected
const (
	Receiving  State = "receiving"
	Processing State = "processing"
	Attention  State = "attention"
	Balanced   State = "balanced"
	Rejected   State = "rejected"
)

// Settled reports whether nothing more happens by itself.
func (s State) Settled() bool { return s == Attention || s == Balanced || s == Rejected }

// Form says how the documents of a batch lie in its files.
type Form string

// The forms.
const (
	Stream Form = "stream" // one file with separator sheets
	Files  Form = "files"  // one file per document
)

// Role of a file in a batch.
type Role string

// The roles.
const (
	RoleIndex    Role = "index"
	RoleStream   Role = "stream"
	RoleDocument Role = "document"
)

// NewBatch announces a batch. At least one of CSV and XML must be there; if
// both are, they must agree and the XML is used.
type NewBatch struct {
	// Name is the id of the batch as the caller knows it, "" to take it from
	// the index. A name that the index contradicts is a fault.
	Name string
	// CSV and XML are the bytes of the index as they stand in the folder.
	CSV, XML []byte
	// CSVName and XMLName are their file names, "" for index.csv and index.xml.
	CSVName, XMLName string
	// Source names the scanner or channel, "" for "scan".
	Source string
	// Scheme is the separator scheme of the source: evb (default), patcht, asn.
	Scheme string
	// Scanner, Operator, Checker, PaperBox describe how it was made; they may
	// be empty and stand in the transfer note of each Dokument.
	Scanner, Operator, Checker, PaperBox string
	// PaperUntil is the day until which the paper is kept, zero unknown.
	PaperUntil time.Time
	// ScannedFrom and ScannedTo bound the time of scanning, zero unknown.
	ScannedFrom, ScannedTo time.Time
	// Key is the Idempotency-Key of the request and KeyDigest the digest of
	// what it came with; an empty Key is not looked up.
	Key       string
	KeyDigest [32]byte
}

// Receipt is the answer to Create.
type Receipt struct {
	// Created is true when the batch was not known before.
	Created bool
	// Book is the batch as it stands; its Replayed says whether it had been
	// submitted before.
	Book Book
}

// Upload is how far the upload of one file is.
type Upload struct {
	Name string `json:"name"`
	// Offset is the number of bytes the server has; the next part starts there.
	Offset int64 `json:"offset"`
	// Size is the size of the whole file, -1 as long as nobody said it.
	Size int64 `json:"size"`
	// Complete is true when the file is durable.
	Complete bool `json:"complete"`
}

// Part is one piece of a file.
type Part struct {
	// Offset is where the piece starts. It must be the Offset of the Upload.
	Offset int64
	// Length is the number of bytes that follow, -1 when only the end of the
	// stream tells. A piece that ends early is kept as far as it came.
	Length int64
	// Total is the size of the whole file, -1 when it is not known yet; then a
	// later part says it.
	Total int64
	// SHA256 is the digest of the whole file that the sender computed, nil when
	// not given. When it does not match, the upload starts again: the line is
	// at fault. (A digest in the index that does not match is the file's fault
	// and ends in quarantine.)
	SHA256 []byte
}

// Book is a scan batch as people and programs see it: what came in and what
// became of it. The JSON is that of the contract.
type Book struct {
	ID      uuid.UUID `json:"id"`
	BatchID string    `json:"batch_id"`
	State   State     `json:"state"`
	Form    Form      `json:"form"`
	Scheme  string    `json:"scheme"`
	// Documents is the number of Dokumente made.
	Documents int `json:"documents"`
	// Announced is the number of documents of the index.
	Announced  int               `json:"announced"`
	Pages      Pages             `json:"pages"`
	Quarantine []QuarantineEntry `json:"quarantine"`
	// Duplicates is the number of documents whose bytes were stored before, as
	// far as the reader may see both (decisions 3.4).
	Duplicates int  `json:"duplicates"`
	Replayed   bool `json:"replayed"`
	// Findings is what a person should know; Dokumente and Files the details.
	Findings  []Finding   `json:"findings"`
	Dokumente []Position  `json:"dokumente"`
	Files     []FileState `json:"files"`
	// Problem is the code of what processing waits for, "" for nothing; Reason
	// is its German sentence.
	Problem string `json:"problem,omitempty"`
	Reason  string `json:"reason,omitempty"`

	CreatedAt   time.Time  `json:"created_at"`
	SubmittedAt *time.Time `json:"submitted_at"`
	BalancedAt  *time.Time `json:"balanced_at"`
	// Resolution is the reason of the person who brought it to its end, "" when
	// nobody had to; ResolvedBy is that person.
	Resolution string     `json:"resolution,omitempty"`
	ResolvedBy *uuid.UUID `json:"resolved_by,omitempty"`
	// RowVersion is for If-Match.
	RowVersion int64 `json:"row_version"`
}

// Pages counts the pages of a batch by their fate. In a book that balances
// In is the sum of the others; Open is 0 then.
type Pages struct {
	In          int `json:"in"`
	Filed       int `json:"filed"`
	Separator   int `json:"separator"`
	Blank       int `json:"blank"`
	Quarantined int `json:"quarantined"`
	Attached    int `json:"attached"`
	Open        int `json:"open"`
}

// QuarantineEntry is one file, or part of a stream, that was set aside.
type QuarantineEntry struct {
	ID   uuid.UUID `json:"id"`
	File string    `json:"file"`
	// Reason is the German sentence of Code, ReasonEN the English one.
	Reason   string            `json:"reason"`
	ReasonEN string            `json:"reason_en"`
	Code     string            `json:"code"`
	Params   map[string]string `json:"params,omitempty"`
	Position int               `json:"position,omitempty"`
	First    int               `json:"first_page,omitempty"`
	Last     int               `json:"last_page,omitempty"`
	State    string            `json:"state"`
}

// Finding is something about a batch a person should know.
type Finding struct {
	Code     string            `json:"code"`
	Position int               `json:"position,omitempty"`
	Page     int               `json:"page,omitempty"`
	Params   map[string]string `json:"params,omitempty"`
	Text     string            `json:"text"`
	TextEN   string            `json:"text_en"`
	// Attention is true when the finding keeps the batch open for a person.
	Attention bool `json:"attention"`
	Resolved  bool `json:"resolved"`
}

// Position is one document of a batch.
type Position struct {
	Position      int        `json:"position"`
	State         string     `json:"state"` // planned, filed, quarantined, missing, waived
	DokumentID    *uuid.UUID `json:"dokument_id"`
	SeparatorCode string     `json:"separator_code"`
	File          string     `json:"file"`
	FirstPage     int        `json:"first_page"`
	LastPage      int        `json:"last_page"`
	ReceivedOn    string     `json:"received_on"` // 2006-01-02 or ""
	Announced     bool       `json:"announced"`
}

// FileState is one file of a batch.
type FileState struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// State is expected, stored, planned, done, quarantined or waived.
	State  string `json:"state"`
	Size   int64  `json:"size"`
	Offset int64  `json:"offset"`
	Pages  int    `json:"pages"`
}
