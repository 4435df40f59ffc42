package circulation

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"evb/internal/event"
	"evb/internal/idempotency"
)

// State of a circulation (circulation.state).
type State string

// The states of a circulation.
const (
	Running  State = "running"
	Done     State = "done"
	Recalled State = "recalled"
)

// Status of a step (circulation_step.status).
type Status string

// The statuses of a step.
const (
	Future   Status = "future"
	Current  Status = "current" // lies in a Postkorb
	Executed Status = "done"
	Skipped  Status = "skipped" // also what a recall left over
)

// Kind is what a station is asked for (circulation_step.kind). The words of the
// instruction are free text beside it.
type Kind string

// The kinds of steps.
const (
	Information Kind = "information" // z. K.
	Action      Kind = "action"      // z. w. V., zur Bearbeitung
	Comment     Kind = "comment"     // zur Stellungnahme
	Consult     Kind = "consult"     // zur Rücksprache
	CoSign      Kind = "co_sign"     // Mitzeichnung
	FinalSign   Kind = "final_sign"  // Schlusszeichnung
	Dispatch    Kind = "dispatch"    // Reinschrift und Versand
	FollowUp    Kind = "follow_up"   // Wiedervorlage
	FileAway    Kind = "file_away"   // z. d. A.
)

// Kinds are all there are.
var Kinds = []Kind{Information, Action, Comment, Consult, CoSign, FinalSign, Dispatch, FollowUp, FileAway}

// Outcome is how an execution went (circulation_step_execution.outcome).
type Outcome string

// The outcomes. Complete takes Finished, Agreed, Refused and Forwarded; the
// others are made by acts of their own.
const (
	Finished  Outcome = "done"
	Agreed    Outcome = "agreed"    // to one version
	Refused   Outcome = "refused"   // goes back to who began the circulation
	Forwarded Outcome = "forwarded" // the step stays current, elsewhere
	WasSkip   Outcome = "skipped"
	WasRecall Outcome = "recalled"
	Voided    Outcome = "voided" // an agreement or refusal, by a new version
	Upheld    Outcome = "upheld" // an agreement, over a new version, by the final signer
)

// Facts of this package. The record is the object, the subject the circulation.
const (
	Started          event.Kind = "circulation.started"
	StepAdded        event.Kind = "circulation.step_added"
	StepDone         event.Kind = "circulation.step_done"
	StepAgreed       event.Kind = "circulation.step_agreed" // subject: the version
	StepRefused      event.Kind = "circulation.step_refused"
	StepForwarded    event.Kind = "circulation.step_forwarded"
	StepSkipped      event.Kind = "circulation.step_skipped"
	FinalSigned      event.Kind = "circulation.final_signed" // subject: the version
	AgreementVoided  event.Kind = "circulation.agreement_voided"
	AgreementUpheld  event.Kind = "circulation.agreement_upheld"
	CirculationEnded event.Kind = "circulation.ended"
	WasRecalled      event.Kind = "circulation.recalled"
	SettingChanged   event.Kind = "circulation.setting_changed" // subject: the unit
)

// Longest routes, and the highest number of a group.
const (
	MaxNew   = 100 // steps of a new circulation
	MaxSteps = 500 // steps of a circulation with all that were added
	MaxGroup = 1_000_000
)

// Station is who a step is for: a person, a unit (its Postkorb), or a function
// in a unit: the name of a role (clerk, head, registry ...) or of a
// responsibility. A function without a unit is one in the unit that owns the
// object.
type Station struct {
	User     uuid.UUID `json:"user_id,omitzero"`
	Unit     uuid.UUID `json:"unit_id,omitzero"`
	Function string    `json:"function,omitempty"`
}

// NewStep is one step to be made.
type NewStep struct {
	To          Station
	Kind        Kind // empty: Action
	Instruction string
	// Group: steps with the same number become current together, and what
	// comes after them waits for all; 0: none.
	Group int
	Due   time.Time // zero: none
	// OwnDraft lets also those sign who wrote the version or have signed
	// before: no second pair of eyes is asked for.
	OwnDraft bool
	// After is the number of the step it follows in the route; 0: at the end.
	// For added steps alone.
	After int
}

// NewCirculation is a circulation to be started.
type NewCirculation struct {
	Record uuid.UUID // Dokument, Vorgang or Akte
	Level  int       // of automation, 2 to 4; 0: 2
	// Instance is the process instance of level 4: its steps become current as
	// they are added, and End alone ends the circulation.
	Instance uuid.UUID
	Steps    []NewStep // at least one; with an Instance also none
	Key      idempotency.Key
}

// Completion is what a station answers.
type Completion struct {
	Outcome Outcome // Finished, Agreed, Refused or Forwarded; empty: Finished
	Remark  string  // a reason where it is Refused
	// To is where a Forwarded step goes.
	To Station
	// Dokument is what an Agreed step of a Vorgang or Akte agrees to; nil UUID:
	// the Dokument of the circulation, or the only one of the Vorgang.
	Dokument uuid.UUID
	// Data goes to the process of level 4 (fields of a form) and is not kept
	// here; nil: none.
	Data json.RawMessage
}

// Completed is what Options.Completed is told of a step that was executed in a
// circulation with an instance.
type Completed struct {
	Circulation uuid.UUID
	Instance    uuid.UUID
	Record      uuid.UUID
	Step        uuid.UUID
	Number      int
	Kind        Kind
	// Outcome is Finished, Agreed, Refused, WasSkip or WasRecall.
	Outcome    Outcome
	Remark     string    // or the reason of a skip or recall
	OnBehalfOf uuid.UUID // nil UUID: for oneself
	Dokument   uuid.UUID // what was Agreed or Refused; nil UUID: nothing
	Version    uuid.UUID
	Data       json.RawMessage
	// Again: the step was executed before, and a new version has made that void.
	// The process has gone on since, or waits here once more; it may say nothing.
	Again bool
}

// Circulation is one route of one object with everything that was done on it.
type Circulation struct {
	ID            uuid.UUID
	RecordID      uuid.UUID
	RecordKind    string
	Level         int
	State         State
	InstanceID    *uuid.UUID
	CreatedAt     time.Time
	CreatedBy     uuid.UUID
	CreatedByName string
	EndedAt       *time.Time // first end; stays when a new version begins it anew
	RowVersion    int64
	// VersionID and Version are the current version of a Dokument.
	VersionID *uuid.UUID
	Version   int
	// Uphold: the unit allows the final signer to uphold agreements.
	Uphold bool
	Steps  []Step // in the order of the route
}

// Step finds a step by its number.
func (c Circulation) Step(number int) (Step, bool) {
	i := slices.IndexFunc(c.Steps, func(s Step) bool { return s.Number == number })
	if i < 0 {
		return Step{}, false
	}
	return c.Steps[i], true
}

// Step is one station of a circulation. Its number stays as it is; its position
// is its place in the route.
type Step struct {
	ID               uuid.UUID
	Number           int
	Position         int
	Group            int // 0: none
	Status           Status
	Kind             Kind
	Instruction      string
	InstructedBy     uuid.UUID
	InstructedByName string
	InstructedAt     time.Time
	To               Station
	UserName         string
	UserLogin        string
	UnitCode         string
	DueAt            *time.Time
	OwnDraft         bool
	CurrentSince     *time.Time
	// ReturnedFrom is the number of the refused step that made this one; 0: none.
	ReturnedFrom int
	Postkorb     string // where it lies, while it is current
	Executions   []Execution
}

// Execution is what was done at a station. It is never changed.
type Execution struct {
	ID               uuid.UUID
	Outcome          Outcome
	Remark           string
	DokumentID       *uuid.UUID
	VersionID        *uuid.UUID
	VersionNumber    int
	ArchiveVersionID *uuid.UUID
	ActorID          uuid.UUID
	ActorName        string
	OnBehalfOf       *uuid.UUID
	OnBehalfOfName   string
	Capacity         string
	OccurredAt       time.Time
	// Void: a new version came after it. What it says holds for its version and
	// for no other.
	Void     bool
	VoidsID  *uuid.UUID // the execution that this one makes void
	Upholds  *uuid.UUID // the agreement that this one upholds
	Postkorb string     // Forwarded: where to
}
