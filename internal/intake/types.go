package intake

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
)

// Facts of this package. Their subject is the quarantine row, their record the
// Dokument, where there is one.
const (
	QuarantineAdded    event.Kind = "quarantine.added"
	QuarantineRetried  event.Kind = "quarantine.retried"  // looked at again, still not usable
	QuarantineResolved event.Kind = "quarantine.resolved" // looked at again, usable now
	QuarantineReleased event.Kind = "quarantine.released" // taken in as it is, by a person
	// QuarantineRead stands in the access log: somebody looked at the bytes.
	QuarantineRead event.Kind = "quarantine.content_read"
)

// Meta is what the sender says about a Dokument. All of it may be empty.
type Meta struct {
	Subject      string
	DocumentType string
	Sender       string
	Receiver     string
	Aktenzeichen string
	Remark       string
	FormCode     string
	// Unit is the code of the org unit the sender means; it must exist
	// (fault unit-unknown).
	Unit string
	// ReceivedOn and WrittenOn are local dates as UTC midnight, zero: not said.
	ReceivedOn, WrittenOn time.Time
	// Vorgang files the Dokument at once; the actor must be allowed to.
	Vorgang uuid.UUID
	// Expected are SHA-256 digests of the files in their order, as the sender
	// computed them; zero or missing ones are not compared.
	Expected [][32]byte
	// Data goes into the Dokument's metadata as it is.
	Data map[string]any
}

// Submission is one Dokument to take in.
type Submission struct {
	Meta Meta
	// Files of version 1 in their order, spooled by the caller, who also removes
	// them afterwards. At least one.
	Files []*blob.File
	// Key is the request key, empty for none, KeyDigest what tells a repetition
	// from another request; zero: computed from Meta and Files.
	Key       string
	KeyDigest [32]byte
	// Channel it came by; empty: akte.ChannelAPI.
	Channel akte.Channel

	schema *int // version that Meta.Data["fields"] fit
}

// Receipt is what the sender gets, only when all of it is durable.
type Receipt struct {
	ID        uuid.UUID  `json:"id"`
	VersionID uuid.UUID  `json:"version_id"`
	Version   int        `json:"version"` // number of the version
	SHA256    string     `json:"sha256"`  // of the first file
	Size      int64      `json:"size"`    // of the first file
	MediaType string     `json:"media_type"`
	State     akte.State `json:"state"`
	Files     []FileNote `json:"files"`
	// Duplicates are other Dokumente with one of these files that the sender may
	// see. It is no part of the stored answer.
	Duplicates []uuid.UUID `json:"duplicates,omitempty"`
	// Replayed says that an earlier request with this key did the work.
	Replayed bool `json:"-"`
}

// FileNote is one file of a Receipt.
type FileNote struct {
	Name      string `json:"name"`
	SHA256    string `json:"sha256"`
	Size      int64  `json:"size"`
	MediaType string `json:"media_type"`
	Pages     int    `json:"pages,omitempty"`
	// Code says why the file is in quarantine; Messages say it to people.
	Code         string            `json:"code,omitempty"`
	Messages     map[string]string `json:"messages,omitempty"`
	QuarantineID *uuid.UUID        `json:"quarantine_id,omitempty"`
}

// NewQuarantine is a file, or a part of one, that somebody has to look at.
type NewQuarantine struct {
	// ID is made when it is nil. A caller that may run twice gives the same one:
	// the second time nothing happens.
	ID uuid.UUID
	// Blob holds the original bytes; it is confirmed in the same transaction.
	Blob uuid.UUID
	// Batch, FirstPage, LastPage, Position say which part of a batch it is.
	Batch               uuid.UUID
	FirstPage, LastPage int
	Position            int
	// Dokument in state quarantined, nil UUID: none.
	Dokument uuid.UUID
	FileName string
	Channel  akte.Channel
	// Code stands in the fault catalogue, Params fill its sentence.
	Code   string
	Params map[string]string
	// Step that failed, for example "probe" or "split".
	Step string
}

// QuarantineState says whether somebody has to look at it.
type QuarantineState string

// The states.
const (
	QuarantineOpen     QuarantineState = "open"
	QuarantineRetrying QuarantineState = "retrying"
	QuarantineDone     QuarantineState = "resolved"
	QuarantineOut      QuarantineState = "released"
)

// Quarantine is one entry as people see it.
type Quarantine struct {
	ID         uuid.UUID
	BlobID     *uuid.UUID
	BatchID    *uuid.UUID
	BatchName  *string
	FileName   string
	FirstPage  *int
	LastPage   *int
	Position   *int
	DokumentID *uuid.UUID
	Channel    string
	Code       string
	Params     map[string]string
	Step       string
	State      QuarantineState
	CreatedAt  time.Time
	CreatedBy  uuid.UUID
	ResolvedAt *time.Time
	ResolvedBy *uuid.UUID
	Resolution string
	RowVersion int64
}

// Text says in the language what is wrong with the file.
func (q Quarantine) Text(lang string) string { return fault.Text(lang, q.Code, q.Params) }

// QuarantineFilter narrows a list.
type QuarantineFilter struct {
	// Batch, nil UUID: any.
	Batch uuid.UUID
	// All also lists what is done with.
	All bool
}

// Step is one line of the protocol of a Dokument (intake_step).
type Step struct {
	Dokument    uuid.UUID
	Step        string
	Tool        string
	ToolVersion string
	Result      string // done, failed, waiting
	Code        string
	Detail      json.RawMessage // JSON object, nil: {}
	Duration    time.Duration
}

// senders may bring documents in; a mere reader or auditor may not.
var senders = []access.Role{access.Clerk, access.Head, access.Registry, access.RecordsManager, access.ScanOperator,
	access.QualityChecker, access.Administrator, access.Service}

var lookers = []access.Role{access.ScanOperator, access.QualityChecker, access.Registry, access.RecordsManager, access.Administrator}

var releasers = []access.Role{access.QualityChecker, access.Registry, access.RecordsManager, access.Administrator}
