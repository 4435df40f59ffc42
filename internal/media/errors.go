package media

import (
	"errors"
	"fmt"
)

// Code is the stable, machine-readable name of what is wrong with a file, or of
// what a person should know about it. The catalogue of texts is keyed by it.
type Code string

// Codes of an Error. The comment names the verdict each one leads to.
const (
	// CodeEmpty: the file has no bytes. Reject.
	CodeEmpty Code = "file-empty"
	// CodeTypeMismatch: the content is of another type than the name says. Reject.
	CodeTypeMismatch Code = "type-mismatch"
	// CodeUnsupported: the content is of a type that has no pages here. Reject.
	CodeUnsupported Code = "type-unsupported"
	// CodeNoDocument: the header of a PDF with nothing behind it. Reject.
	CodeNoDocument Code = "no-document"
	// CodeDamaged: truncated or damaged beyond reading. Quarantine.
	CodeDamaged Code = "file-damaged"
	// CodeTruncated: the file ends before its structure does. Quarantine.
	CodeTruncated Code = "file-truncated"
	// CodePassword: cannot be opened without a password. Quarantine.
	CodePassword Code = "password-needed"
	// CodeTooLarge: more bytes than Limits.FileBytes. Reject.
	CodeTooLarge Code = "file-too-large"
	// CodeTooManyPixels: an image of more pixels than Limits.Pixels. Quarantine.
	CodeTooManyPixels Code = "too-many-pixels"
	// CodePageRing: the chain or tree of pages points back to itself. Quarantine.
	CodePageRing Code = "page-ring"
	// CodeTooManyPages: more pages than Limits.Pages. Quarantine.
	CodeTooManyPages Code = "too-many-pages"
	// CodePageTooLarge: a page longer than Limits.PagePoints. Quarantine.
	CodePageTooLarge Code = "page-too-large"
	// CodeActiveContent: JavaScript, Launch, XFA, embedded programs. Quarantine.
	CodeActiveContent Code = "active-content"
	// CodePolyglot: the file is valid as a second format as well. Quarantine.
	CodePolyglot Code = "polyglot"
	// CodeExpansion: a few bytes inflate beyond Limits.InflatedBytes, or drawing
	// operations multiply beyond Limits.Operations. Quarantine.
	CodeExpansion Code = "expansion-too-large"
	// CodeTimeout: looking at the file took longer than allowed. Quarantine.
	CodeTimeout Code = "time-limit"
	// CodeMemory: looking at the file took more memory than allowed. Quarantine.
	CodeMemory Code = "memory-limit"
	// CodePagesMissing: pages that stand in the page tree do not load. Quarantine.
	CodePagesMissing Code = "pages-missing"
	// CodeNoSuchPage: the file has no page of that number. A wrong call.
	CodeNoSuchPage Code = "no-such-page"
)

// Codes of a Finding: worth telling, but the file is taken in.
const (
	// CodeRepaired: damaged structure, read by repair.
	CodeRepaired Code = "structure-repaired"
	// CodeTrailingData: bytes behind the end of the document.
	CodeTrailingData Code = "trailing-data"
	// CodeLeadingData: the header is not at byte 0, which counts as repaired.
	CodeLeadingData Code = "leading-data"
	// CodeEncryptedReadable: encrypted with an owner password only.
	CodeEncryptedReadable Code = "encrypted-readable"
	// CodeAttachments: the document carries files.
	CodeAttachments Code = "has-attachments"
	// CodeSigned: the document carries signatures and must not be rewritten.
	CodeSigned Code = "has-signatures"
	// CodeForm: the document carries a fillable form.
	CodeForm Code = "has-form"
	// CodeSendsForm: a button would send the form's values to an address. Listed
	// as active content, but harmless in an archive that never presses it.
	CodeSendsForm Code = "form-submits"
	// CodeExtension: the name has no or an unknown ending; the content decided.
	CodeExtension Code = "extension-unknown"
)

// Verdict is what happens with a file of the intake.
type Verdict string

// The verdicts, in the words of the test data.
const (
	// Accept takes the file in as it is.
	Accept Verdict = "accept"
	// Repair takes it in and shows a finding.
	Repair Verdict = "repair"
	// Quarantine puts it before a person.
	Quarantine Verdict = "quarantine"
	// Reject refuses it: there is no document in it.
	Reject Verdict = "reject"
)

// VerdictOf says what a code leads to when it stands in an Error. Codes of
// findings lead to Repair for CodeRepaired and CodeLeadingData, else Accept.
func VerdictOf(c Code) Verdict {
	switch c {
	case CodeEmpty, CodeTypeMismatch, CodeUnsupported, CodeNoDocument, CodeTooLarge:
		return Reject
	case CodeRepaired, CodeLeadingData:
		return Repair
	case CodeTrailingData, CodeSendsForm, CodeEncryptedReadable, CodeAttachments, CodeSigned, CodeForm, CodeExtension:
		return Accept
	default:
		return Quarantine
	}
}

// Error says that a file is at fault. It is permanent: the same file gives the
// same Error again (timeouts and memory within the noise of the machine).
type Error struct {
	// Code is stable and keys the texts for people.
	Code Code
	// Page is the page at fault, 0 when it is the whole file.
	Page int
	// Params are values for the text, such as "limit", "found", "type", "what".
	Params map[string]string
	// Err is the cause for the log, or nil.
	Err error
}

// Error tells it in English for the log.
func (e *Error) Error() string {
	s := "media: " + string(e.Code)
	if e.Page > 0 {
		s += fmt.Sprintf(" on page %d", e.Page)
	}
	for _, k := range []string{"what", "type", "named", "found", "limit"} {
		if v, ok := e.Params[k]; ok {
			s += fmt.Sprintf(" %s=%q", k, v)
		}
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Verdict says what the code leads to.
func (e *Error) Verdict() Verdict { return VerdictOf(e.Code) }

// Is reports two Errors as the same if their codes are.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// CodeOf gives the code of the *Error in err, or "" when the file is not at fault.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// ErrToolMissing says that a program of the system (Tesseract, or its language
// data) is not installed. The work waits; it does not fail.
var ErrToolMissing = errors.New("media: a program is not installed")

// ErrClosed says that the Engine was closed.
var ErrClosed = errors.New("media: engine is closed")

// ToolError names the missing program or language. It is ErrToolMissing.
type ToolError struct {
	// Tool is the program, such as "tesseract".
	Tool string
	// Detail is what is missing about it, such as "language deu".
	Detail string
	// Err is the cause, or nil.
	Err error
}

// Error tells it in English for the log.
func (e *ToolError) Error() string {
	return fmt.Sprintf("media: %s is missing (%s)", e.Tool, e.Detail)
}

// Unwrap gives ErrToolMissing and the cause.
func (e *ToolError) Unwrap() []error { return []error{ErrToolMissing, e.Err} }

func faulty(c Code, err error, kv ...string) *Error {
	e := &Error{Code: c, Err: err}
	for i := 0; i+1 < len(kv); i += 2 {
		if e.Params == nil {
			e.Params = map[string]string{}
		}
		e.Params[kv[i]] = kv[i+1]
	}
	return e
}
