package preservation

import (
	"time"

	"github.com/google/uuid"

	"evb/internal/event"
	"evb/signature/digest"
)

// Facts of this package. None holds a digest (decisions 5.3).
const (
	ArchiveVersionMade event.Kind = "archive_version.made" // Record: the Dokument
	SealClosed         event.Kind = "seal.closed"          // Subject: the seal
	SealStamped        event.Kind = "seal.stamped"
	SealSealed         event.Kind = "seal.sealed"
	SealProblem        event.Kind = "seal.problem"
)

// Cause says why an archive version was made.
type Cause string

// The causes. Validation and Annotation are made by later parts of the program.
const (
	CauseIntake     Cause = "intake"
	CauseText       Cause = "text"
	CauseFiled      Cause = "filed"
	CauseClosed     Cause = "closed"
	CauseLogHead    Cause = "log_head"
	CauseValidation Cause = "validation"
	CauseCoSign     Cause = "co_sign"
	CauseAnnotation Cause = "annotation"
)

// EvidenceState is what a person is told about the evidence of a Dokument.
type EvidenceState string

// The states of the evidence.
const (
	Pending EvidenceState = "pending" // not collected, or its seal is not complete
	Sealed  EvidenceState = "sealed"
	Problem EvidenceState = "problem" // its seal needs a person
)

// SealState is how far a seal has come.
type SealState string

// The states of a seal.
const (
	StateClosed  SealState = "closed"
	StateStamped SealState = "stamped"
	StateSealed  SealState = "sealed"
	StateProblem SealState = "problem"
	StateRenewed SealState = "renewed" // of a renewal
)

// MemberKind says what a member of a data object group is.
type MemberKind string

// The kinds of members.
const (
	MemberBlob     MemberKind = "blob"
	MemberMetadata MemberKind = "metadata"
	MemberSalt     MemberKind = "salt"
	MemberExternal MemberKind = "external"
)

// Member is one object of a data object group.
type Member struct {
	Kind MemberKind
	// Blob is the nil UUID unless Kind is MemberBlob.
	Blob uuid.UUID
	// Name is for people: the file's name in the metadata object.
	Name      string
	MediaType string
	Size      int64
	// Digests hold SHA-256 and SHA-512 of the bytes, and what renewals asked for.
	Digests []digest.Digest

	own []byte // the bytes of metadata and salt
}

// Token is one time-stamp token of a record, oldest first.
type Token struct {
	// Chain and Position count from 1.
	Chain, Position int
	// DER is the token byte for byte as it stands in the record.
	DER     []byte
	Imprint digest.Digest
	GenTime time.Time
	TSA     string
	// CRLs, OCSPs and Certificates are DER: what belongs to the token, whether it
	// is inside or not.
	CRLs, OCSPs, Certificates [][]byte

	subject uuid.UUID // the seal or renewal it was asked for
	leaf    int       // in the tree of the renewal
}

// ArchiveVersion is one data object group with its proof, as an export needs it.
type ArchiveVersion struct {
	ID        uuid.UUID
	VersionID uuid.UUID
	Number    int
	Cause     Cause
	CreatedAt time.Time
	// Members are the primary files, then the metadata object, then the salt.
	Members []Member
	// Metadata is the canonical metadata object, Salt the salt object.
	Metadata []byte
	Salt     []byte
	// Seal is the nil UUID while it is being collected.
	Seal     uuid.UUID
	SealedAt time.Time // zero while pending
	// Record is the RFC 4998 EvidenceRecord in DER, nil while pending.
	Record []byte
	Tokens []Token
}

// Evidence is the state of the evidence of a Dokument. The fields of the first
// part are those of the contract; the state is that of the first archive
// version of the newest Version.
type Evidence struct {
	State EvidenceState
	// SealID and SealedAt are zero while pending.
	SealID   uuid.UUID
	SealedAt time.Time
	// Algorithms are those the proof rests on: "sha256", "ecdsa P-256".
	Algorithms []string
	// RenewBefore is when a renewal is due at the latest; zero while pending.
	RenewBefore time.Time
	// Reason says in German what is wrong, for the state problem.
	Reason string

	ArchiveVersions []EvidenceVersion
}

// EvidenceVersion is the state of one archive version.
type EvidenceVersion struct {
	ID        uuid.UUID
	VersionID uuid.UUID
	Number    int
	Cause     Cause
	CreatedAt time.Time
	State     EvidenceState
	SealID    uuid.UUID
	SealedAt  time.Time
}

// SealInfo is one seal.
type SealInfo struct {
	ID        uuid.UUID
	Number    int
	State     SealState
	Problem   bool // a person was asked for help; goes away when sealed
	Detail    string
	Algorithm digest.Algorithm
	Leaves    int
	Root      digest.Digest
	Reason    string // period, size, request
	ClosedAt  time.Time
	// SealedAt, GenTime and the rest are zero until the token is there.
	SealedAt            time.Time
	GenTime             time.Time
	TSA                 string
	Signer              string
	SignatureAlgorithm  string
	KeyBits             int
	CertificateNotAfter time.Time
	RenewBefore         time.Time
	// Hash is the algorithm of its newest chain, Chains how many it has, Renewals
	// how many time-stamps follow the first.
	Hash             digest.Algorithm
	Chains, Renewals int
	// Documents is how many Dokumente its archive versions belonged to when it closed.
	Documents int
	// Requests is how many requests were sent for it, Lost how many of them
	// brought no answer.
	Requests, Lost int
}

// SealReport is the answer to SealNow.
type SealReport struct {
	// Seals are those that were completed or are still open, oldest first.
	Seals []SealInfo
	// Documents and ArchiveVersions count what stands in these seals.
	Documents       int
	ArchiveVersions int
	// Waiting is set when a seal waits for the end of the grace period of the
	// authority; Until says when it goes on by itself.
	Waiting bool
	Until   time.Time
}

// StatusReport says what rests on which algorithm and until when.
type StatusReport struct {
	// Policy is the list of suitability dates.
	Policy string
	At     time.Time
	// Open counts archive versions that no tree holds yet; Oldest is zero
	// without any. NextClose is when the period of the oldest ends.
	Open      int
	Oldest    time.Time
	NextClose time.Time
	// InIntake counts Dokumente without an archive version.
	InIntake int
	// Unpacked counts metadata objects that are not in the bucket yet.
	Unpacked int
	Seals    []AlgorithmUse
	// Unfinished are closed seals that are not sealed.
	Unfinished []SealInfo
	LastSeal   *SealInfo
	Heads      []HeadInfo
	// Renewals are those that are not done.
	Renewals []RenewalInfo
	// Gaps are the first 100 of GapCount.
	Gaps     []Gap
	GapCount int
}

// AlgorithmUse is a set of seals whose newest time-stamps rest on the same
// algorithms, key size and certificates.
type AlgorithmUse struct {
	Hash      digest.Algorithm
	Signature string // "ecdsa P-256 sha256", "rsa-pkcs1 3072 sha256"
	KeyBits   int
	TSA       string
	Signer    string
	Seals     int
	// Leaves are archive versions that are still there, Documents the Dokumente
	// they belong to, counted once in each seal.
	Leaves, Documents int
	// HashUntil and SignatureUntil are the dates of the list, zero for no end;
	// CertificateUntil is the earliest end of the certificates.
	HashUntil        time.Time
	SignatureUntil   time.Time
	CertificateUntil time.Time
	// Until is the earliest of them, Action the renewal that is needed before, and
	// RenewBefore Until minus the lead time. Due says that this has come.
	Until       time.Time
	Action      RenewalKind
	RenewBefore time.Time
	Due         bool
	// Lapsed says what ended without a renewal ("certificate", "signature",
	// "hash"): the proof has a gap. Empty: none.
	Lapsed string
}

// Gap is a seal whose proof was interrupted.
type Gap struct {
	Seal          uuid.UUID
	SealNumber    int
	Renewal       uuid.UUID
	RenewalNumber int
	// Reason is what had ended when the renewal came ("certificate", "signature",
	// "hash"), or "missing": archive versions that a hash-tree renewal could not
	// cover, because their bytes are gone or changed.
	Reason string
	// Versions is how many archive versions are concerned.
	Versions int
}

// HeadInfo is the newest head of an event stream outside the database.
type HeadInfo struct {
	Stream    event.Stream
	Seq       int64
	WrittenAt time.Time
	// Tail counts numbered entries after it.
	Tail int64
}

// Finding is something that Check found not to be as it should.
type Finding struct {
	// Code is stable, of the fault catalogue ("check-pack-missing"); Params fill
	// its sentences.
	Code   string
	Params map[string]string
	// Harmless findings need nobody: what a crash left behind.
	Harmless bool
}
