package client

import (
	"encoding/json"
	"time"
)

// ServerFile is DIR/server.json, by which commands with --data find the server
// that runs on that folder. It holds a token and has mode 0600.
type ServerFile struct {
	URL string `json:"url"`
	// AdminToken is the token of the local administrator: whoever can read the
	// data folder has every right anyway.
	AdminToken string `json:"admin_token"`
	PID        int    `json:"pid"`
}

// TokenRequest is the body of POST /api/v1/tokens.
type TokenRequest struct {
	User  string `json:"user"`
	Label string `json:"label,omitempty"`
	// TTLSeconds is how long the token works; 0: without end.
	TTLSeconds int64 `json:"ttl_seconds,omitempty"`
}

// TokenAnswer is its answer.
type TokenAnswer struct {
	Token string `json:"token"`
}

// Pages count the pages of a batch by their fate.
type Pages struct {
	In          int `json:"in"`
	Filed       int `json:"filed"`
	Separator   int `json:"separator"`
	Blank       int `json:"blank"`
	Quarantined int `json:"quarantined"`
	Attached    int `json:"attached"`
	Open        int `json:"open"`
}

// Quarantined is one file, or part of a stream, that was set aside.
type Quarantined struct {
	ID       string `json:"id,omitempty"`
	File     string `json:"file"`
	Reason   string `json:"reason"`
	ReasonEN string `json:"reason_en,omitempty"`
	Code     string `json:"code"`
	Position int    `json:"position,omitempty"`
	First    int    `json:"first_page,omitempty"`
	Last     int    `json:"last_page,omitempty"`
	// State is open, or tells that somebody has dealt with it: resolved, released.
	State string `json:"state,omitempty"`
}

// Open reports whether it is still in quarantine.
func (q Quarantined) Open() bool { return q.State != "resolved" && q.State != "released" }

// Finding is something about a batch a person should know.
type Finding struct {
	Code      string            `json:"code"`
	Position  int               `json:"position,omitempty"`
	Page      int               `json:"page,omitempty"`
	Params    map[string]string `json:"params,omitempty"`
	Text      string            `json:"text"`
	TextEN    string            `json:"text_en,omitempty"`
	Attention bool              `json:"attention"`
	Resolved  bool              `json:"resolved"`
}

// BatchFile is one file of a batch and how far its upload is.
type BatchFile struct {
	Name   string `json:"name"`
	Role   string `json:"role"`
	State  string `json:"state"`
	Size   int64  `json:"size"`
	Offset int64  `json:"offset"`
	Pages  int    `json:"pages"`
}

// Book is a batch as GET /batches/{id} shows it.
type Book struct {
	ID         string        `json:"id"`
	BatchID    string        `json:"batch_id"`
	State      string        `json:"state"`
	Documents  int           `json:"documents"`
	Announced  int           `json:"announced"`
	Pages      Pages         `json:"pages"`
	Quarantine []Quarantined `json:"quarantine"`
	Duplicates int           `json:"duplicates"`
	Replayed   bool          `json:"replayed"`
	Findings   []Finding     `json:"findings"`
	Files      []BatchFile   `json:"files"`
	Problem    string        `json:"problem"`
	Reason     string        `json:"reason"`
}

// States of a batch (decisions 1.5).
const (
	StateReceiving  = "receiving"
	StateProcessing = "processing"
	StateAttention  = "attention"
	StateBalanced   = "balanced"
	StateRejected   = "rejected"
)

// Settled reports whether nothing more happens to the batch by itself.
func (b Book) Settled() bool {
	return b.State == StateAttention || b.State == StateBalanced || b.State == StateRejected
}

// Index describes the search index (GET /api/v1/index).
type Index struct {
	State        string     `json:"state"` // ready, filling, rebuilding, failed
	Generation   string     `json:"generation"`
	Documents    uint64     `json:"documents"`
	IndexedUntil *time.Time `json:"indexed_until"`
	Error        string     `json:"error"`
}

// CheckReport is the answer of POST /api/v1/check.
type CheckReport struct {
	Checked  []CheckPart    `json:"checked"`
	Findings []CheckFinding `json:"findings"`
}

// CheckPart is one part that was compared and how many things it had.
type CheckPart struct {
	Part  string `json:"part"`
	Count int64  `json:"count"`
}

// CheckFinding is one disagreement.
type CheckFinding struct {
	Part     string `json:"part,omitempty"`
	Code     string `json:"code"`
	DE       string `json:"de"`
	EN       string `json:"en"`
	Harmless bool   `json:"harmless"`
}

// Audit is what the command reads of GET /api/v1/audit/verify; Raw is all of it.
type Audit struct {
	Valid  bool            `json:"valid"`
	Text   string          `json:"text"`
	TextEN string          `json:"text_en"`
	Raw    json.RawMessage `json:"-"`
}

// SearchPage is what the command reads of GET /api/v1/search.
type SearchPage struct {
	Total int `json:"total"`
	Items []struct {
		DokumentID   string   `json:"dokument_id"`
		Subject      string   `json:"subject"`
		Aktenzeichen string   `json:"aktenzeichen"`
		Highlights   []string `json:"highlights"`
	} `json:"items"`
	NextCursor   *string   `json:"next_cursor"`
	IndexedUntil time.Time `json:"indexed_until"`
	Behind       bool      `json:"behind"`
}
