package process

import (
	"time"

	"github.com/google/uuid"

	"evb/internal/bpmn"
	"evb/internal/event"
)

// Facts of this package. The record is the Vorgang, the subject the instance;
// of a definition there is no record.
const (
	DefinitionStored event.Kind = "process.definition_stored"
	Activated        event.Kind = "process.activated"
	Started          event.Kind = "process.started"
	Ended            event.Kind = "process.ended"
	WasCancelled     event.Kind = "process.cancelled"
	StepFailed       event.Kind = "process.step_failed"
	StepRetried      event.Kind = "process.step_retried"
	MessageSent      event.Kind = "process.message_sent"
	MessageTaken     event.Kind = "process.message_taken"
	Migrated         event.Kind = "process.migrated"
	Called           event.Kind = "process.called"
)

// Kinds of jobs.
const (
	JobDue     = "process.due"     // subject: instance
	JobTimers  = "process.timers"  // periodic
	JobArrived = "process.arrived" // subject: Dokument
	JobDeliver = "process.deliver" // subject: message of the outbox
	JobCall    = "process.call"    // subject: call
)

// Definition is a stored BPMN file.
type Definition struct {
	ID         uuid.UUID       `json:"id"`
	Key        string          `json:"key"`
	Version    int             `json:"version"`
	Name       string          `json:"name"`
	Exporter   string          `json:"exporter"`
	FileName   string          `json:"file_name"`
	Report     bpmn.ReportView `json:"report"`
	CreatedAt  time.Time       `json:"created_at"`
	CreatedBy  uuid.UUID       `json:"created_by"`
	Activation *ActivationView `json:"activation"` // of new instances; null: none
	RowVersion int64           `json:"row_version"`
}

// ActivationView is an activation as it is shown.
type ActivationView struct {
	ID          uuid.UUID       `json:"id"`
	Answers     bpmn.Activation `json:"answers"`
	ActivatedAt time.Time       `json:"activated_at"`
	ActivatedBy uuid.UUID       `json:"activated_by"`
	// Stations that the file names and nobody here goes by: their steps go to the
	// unit of the Vorgang.
	Unknown []UnknownStation `json:"unknown_stations"`
	// WebhookSecret signs webhooks ("whsec_" and base64); shown by Activate alone.
	WebhookSecret string `json:"webhook_secret,omitempty"`
}

// UnknownStation is a name in a file that is nobody's here.
type UnknownStation struct {
	ID      string `json:"id"`
	Station string `json:"station"`
}

// Instance is one run as it is shown.
type Instance struct {
	ID           uuid.UUID      `json:"id"`
	DefinitionID uuid.UUID      `json:"definition_id"`
	ActivationID uuid.UUID      `json:"activation_id"`
	Key          string         `json:"key"`
	Version      int            `json:"version"`
	Process      string         `json:"process_id"`
	VorgangID    uuid.UUID      `json:"vorgang_id"`
	State        string         `json:"state"`
	Outcome      string         `json:"outcome"`
	Failed       int            `json:"failed"` // steps that wait for somebody to look
	Variables    map[string]any `json:"variables"`
	Steps        []Step         `json:"steps"` // where it stands
	StartedAt    time.Time      `json:"started_at"`
	StartedBy    uuid.UUID      `json:"started_by"`
	EndedAt      *time.Time     `json:"ended_at"`
	RowVersion   int64          `json:"row_version"`
	// Log is given with a single instance.
	Log []LogLine `json:"log,omitempty"`
}

// Step is one token: where an instance stands.
type Step struct {
	Token         int        `json:"token"`
	Element       string     `json:"element"` // id in the file
	Type          string     `json:"type"`    // XML element, e.g. userTask
	Name          string     `json:"name"`
	Waits         string     `json:"waits"`
	Since         time.Time  `json:"since"`
	Reason        string     `json:"reason,omitempty"`
	CirculationID *uuid.UUID `json:"circulation_id,omitempty"`
	Number        *int       `json:"step,omitempty"` // of the circulation
	Messages      []Awaited  `json:"messages,omitempty"`
	DueAt         *time.Time `json:"due_at,omitempty"` // first timer
}

// Awaited is a message that a step waits for.
type Awaited struct {
	Element      string `json:"element"`
	Name         string `json:"name"`
	DocumentType string `json:"document_type"`
}

// LogLine is one line of the step log.
type LogLine struct {
	Number     int       `json:"number"`
	Token      int       `json:"token"`
	Element    string    `json:"element"`
	What       string    `json:"what"`
	Detail     string    `json:"detail,omitempty"`
	ActorID    uuid.UUID `json:"actor_id"`
	OccurredAt time.Time `json:"occurred_at"`
}
