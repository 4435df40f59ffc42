package run

import (
	"errors"
	"maps"
	"slices"
	"time"

	"evb/internal/bpmn"
)

// Wait says what a token waits for.
type Wait string

// What a token waits for; see the package comment.
const (
	Task    Wait = "task"
	Service Wait = "service"
	Message Wait = "message"
	Timer   Wait = "timer"
	Watch   Wait = "condition"
	Event   Wait = "event"
	Join    Wait = "join"
	Scope   Wait = "scope"
	Guard   Wait = "guard"
	Failed  Wait = "failed"
)

// Waits are all there are.
var Waits = []Wait{Task, Service, Message, Timer, Watch, Event, Join, Scope, Guard, Failed}

// Status of an instance.
type Status string

// The statuses of an instance. Ended ones are never left.
const (
	Running   Status = "running"
	Done      Status = "done"
	Cancelled Status = "cancelled"
)

// State is all there is about an instance. It is a value: Step copies it.
type State struct {
	Process string         `json:"process"`
	Next    int            `json:"next"` // number of the next token
	Tokens  []Token        `json:"tokens"`
	Vars    map[string]any `json:"vars"`
	Status  Status         `json:"status"`
	// Outcome is the end event that ended it; "error: CODE" for an error that
	// nothing catches.
	Outcome string `json:"outcome,omitempty"`
}

// Token is one visit of a node.
type Token struct {
	ID     int        `json:"id"`
	Node   string     `json:"node"`
	Scope  int        `json:"scope,omitempty"` // token of the sub-process it is in; 0: none
	Wait   Wait       `json:"wait"`
	Flow   string     `json:"flow,omitempty"`  // by which it came to a join
	Forks  []int      `json:"forks,omitempty"` // inclusive splits it is in
	Index  int        `json:"index,omitempty"` // of a multi-instance activity, from 1
	Round  int        `json:"round,omitempty"` // of a standard loop: how often it was done before
	True   []string   `json:"true,omitempty"`  // conditional events whose condition held last
	Item   any        `json:"item,omitempty"`
	Loop   *Loop      `json:"loop,omitempty"`
	Timers []TimerSet `json:"timers,omitempty"`
	Since  time.Time  `json:"since"`

	// Of a failed token: why, and what a retry does.
	Reason string `json:"reason,omitempty"`
	Again  Again  `json:"again,omitempty"`
}

// Again is what a retry does.
type Again string

// What a retry does: enter the node anew, go on from it, or call anew.
const (
	Enter Again = "enter"
	Leave Again = "leave"
	Call  Again = "call"
	Open  Again = "open" // of an instance of a multi-instance activity: begin it anew
)

// Loop is how far a multi-instance activity is.
type Loop struct {
	Items   []any `json:"items"`
	Started int   `json:"started"`
	Done    int   `json:"done"`
}

// TimerSet is a timer that is running.
type TimerSet struct {
	Element string      `json:"element"`
	Due     time.Time   `json:"due"`
	Left    int         `json:"left"` // times after this one; -1: for ever
	Every   bpmn.Period `json:"every"`
	Days    bool        `json:"days,omitempty"`
}

// ErrStale says that the input fits no token: it came twice, or too late.
var ErrStale = errors.New("the step is not waiting for this")

// Token finds a token by its number.
func (s *State) Token(id int) (Token, bool) {
	i := s.index(id)
	if i < 0 {
		return Token{}, false
	}
	return s.Tokens[i], true
}

func (s *State) index(id int) int {
	i, ok := slices.BinarySearchFunc(s.Tokens, id, func(t Token, id int) int { return t.ID - id })
	if !ok {
		return -1
	}
	return i
}

func (s State) clone() State {
	s.Tokens = slices.Clone(s.Tokens)
	for i, t := range s.Tokens {
		if t.Loop != nil {
			l := *t.Loop
			s.Tokens[i].Loop = &l
		}
		s.Tokens[i].Timers, s.Tokens[i].True = slices.Clone(t.Timers), slices.Clone(t.True)
	}
	s.Vars = maps.Clone(s.Vars)
	if s.Vars == nil {
		s.Vars = map[string]any{}
	}
	return s
}

// Kind of an effect.
type Kind string

// What has to be done in the world.
const (
	OpenTask   Kind = "open-task"   // put the step at its station
	CloseTask  Kind = "close-task"  // take it back: nobody has to do it any more
	CallOut    Kind = "call"        // call the webhook or do the action
	Send       Kind = "send"        // a message to other instances of the Vorgang, and a fact
	InstanceOK Kind = "instance-ok" // it has come to its end
)

// Effect is something to do together with keeping the new state.
type Effect struct {
	Kind   Kind
	Token  int
	Node   *bpmn.Node
	Target bpmn.Target // OpenTask, CallOut
	Index  int         // OpenTask of a multi-instance activity
	Item   any
	Local  map[string]any // CallOut: variables of the multi-instance activities around it
	Due    time.Time      // OpenTask; zero: none
}

// What an entry of the log says.
const (
	Started   = "started"
	Entered   = "entered"
	Completed = "completed"
	Passed    = "passed" // a gateway or event that does not wait
	Fired     = "fired"  // a boundary event or an event behind a gateway
	Dropped   = "cancelled"
	Broken    = "failed"
	Retried   = "retried"
	Ended     = "ended"
	Sent      = "sent"
	Moved     = "migrated"
)

// Entry is one line of the step log.
type Entry struct {
	Token  int
	Node   string // id; empty: the instance
	What   string
	Detail string
}

// Input is what happened.
type Input struct {
	Kind  InputKind
	Token int
	// Element is the event that fired: the node of the token, an event behind
	// its gateway or a boundary event on it.
	Element string
	Vars    map[string]any // are set before anything else
	Outcome string         // of a task, e.g. agreed
	Code    string         // of a BPMN error
	Reason  string
}

// InputKind is what kind of thing happened.
type InputKind string

// The kinds of input.
const (
	TaskDone      InputKind = "task-done"
	TaskError     InputKind = "task-error" // a person or the business raises a BPMN error or, uncaught, fails
	ServiceDone   InputKind = "service-done"
	ServiceError  InputKind = "service-error"  // the other side answers with a BPMN error
	ServiceFailed InputKind = "service-failed" // no answer after all tries
	TimerFired    InputKind = "timer"
	MessageCame   InputKind = "message"
	Retry         InputKind = "retry"
	Cancel        InputKind = "cancel"
)

// Result of a step.
type Result struct {
	State   State
	Effects []Effect
	Entries []Entry
}
