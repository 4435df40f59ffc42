package postkorb

import (
	"time"

	"github.com/google/uuid"

	"evb/internal/event"
	"evb/internal/fault"
)

// Kinds of Postkörbe (postkorb.kind).
const (
	Personal = "personal"
	Group    = "group"
	Office   = "office"
	Clearing = "clearing"
)

// State of an item.
type State string

// The states of an item.
const (
	Open     State = "open"
	Claimed  State = "claimed"
	Waiting  State = "waiting" // until its follow-up date
	Done     State = "done"
	Returned State = "returned"
)

// Facts of this package. The record is the object, the subject the item.
const (
	ItemDelivered   event.Kind = "item.delivered"
	ItemOpened      event.Kind = "item.opened"
	ItemClaimed     event.Kind = "item.claimed"
	ItemForwarded   event.Kind = "item.forwarded"
	ItemReturned    event.Kind = "item.returned"
	ItemFollowUp    event.Kind = "item.follow_up_set"
	ItemCameBack    event.Kind = "item.came_back"
	ItemDone        event.Kind = "item.done"
	ItemUndone      event.Kind = "item.undone"
	ItemAssigned    event.Kind = "item.assigned"
	ItemDueChanged  event.Kind = "item.due_changed"
	ItemEscalated   event.Kind = "item.escalated"
	ItemMoved       event.Kind = "item.moved"    // a leaver's
	FollowUpSet     event.Kind = "follow_up.set" // on an object; subject: the follow-up
	FollowUpDropped event.Kind = "follow_up.dropped"
	PostkorbCreated event.Kind = "postkorb.created"
	MemberAdded     event.Kind = "postkorb.member_added"
	MemberRemoved   event.Kind = "postkorb.member_removed"
)

// Why says why an item is where it is: a code of the catalogue (why.json) and
// its parameters.
type Why struct {
	Code   string            `json:"code"`
	Params map[string]string `json:"params,omitempty"`
}

// Text is the sentence for people, "de" or "en".
func (w Why) Text(lang string) string { return fault.Text(lang, w.Code, w.Params) }

// Delivery is what Deliver puts into a Postkorb.
type Delivery struct {
	Record   uuid.UUID
	Postkorb uuid.UUID
	Assignee uuid.UUID // nil UUID: for all members
	Due      time.Time // zero: none
	Reason   string    // of the person who delivers; may be empty
	Why      Why
	From     uuid.UUID // person it comes from; nil UUID: none (a rule)
	Step     uuid.UUID // step of a circulation; nil UUID: none
	// Notice shows the line and gives no right to the object.
	Notice bool
	// Misdirected: a desk returned it that nobody had sent it to.
	Misdirected bool
}

// Postkorb is a desk.
type Postkorb struct {
	ID       uuid.UUID
	Name     string
	Kind     string
	UnitID   *uuid.UUID
	UnitCode string
	UserID   *uuid.UUID
	Open     int  // items in state open or claimed, exact
	New      int  // of them not opened yet
	Due      int  // of them with a deadline that ends today, local time, and has not passed
	Overdue  int  // of them past their deadline
	Waiting  int  // items that wait for their follow-up date
	Member   bool // the actor works in it; false: may look only
	Deputy   bool // only for an absent person: lines and counts are without what is protected
}

// Item is one line of a desk.
type Item struct {
	ID               uuid.UUID
	PostkorbID       uuid.UUID
	PostkorbName     string
	RecordID         uuid.UUID
	RecordKind       string
	DokumentID       *uuid.UUID // the record, when it is a Dokument
	VorgangID        *uuid.UUID // the record when it is a Vorgang, else the Dokument's
	Subject          string
	Aktenzeichen     string
	DocumentType     string
	Sender           string
	ReceivedOn       *time.Time // of the Dokument
	FromName         string     // person, or empty
	FromPostkorbName string
	FromPostkorbID   *uuid.UUID
	StepID           *uuid.UUID // the station of a circulation that it is
	CirculationID    *uuid.UUID
	StepNumber       int    // 0: no station
	StepKind         string // co_sign, information ...
	Reason           string
	FollowUpReason   string // of the follow-up by which it came back last
	Why              Why
	State            State
	AssigneeID       *uuid.UUID
	AssigneeName     string
	ClaimedBy        *uuid.UUID
	ClaimedByName    string
	ReceivedAt       time.Time
	DueAt            *time.Time // nil: none
	ReturnsAt        *time.Time // date of the follow-up, when waiting
	OpenedAt         *time.Time
	FinishedAt       *time.Time
	EscalatedAt      *time.Time // when its passed deadline was told to the head
	Misdirected      bool
	Notice           bool
	Content          bool // the actor may read the object itself
	RowVersion       int64
}
