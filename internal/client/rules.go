package client

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// Rehearsal is what a draft of rules would do to past mail.
type Rehearsal struct {
	Documents    int            `json:"documents"`
	PerTarget    map[string]int `json:"per_target"`
	ChangedTotal int            `json:"changed_total"`
	Changed      []struct {
		DokumentID string `json:"dokument_id"`
		From       string `json:"from"`
		To         string `json:"to"`
		Rule       string `json:"rule"`
	} `json:"changed"`
	Conflicts      []RehearsalTrouble `json:"conflicts"`
	ConflictsTotal int                `json:"conflicts_total"`
	Errors         []RehearsalTrouble `json:"errors"`
	ErrorsTotal    int                `json:"errors_total"`
}

// RehearsalTrouble is a letter that the rules could not place.
type RehearsalTrouble struct {
	DokumentID string   `json:"dokument_id"`
	Rules      []string `json:"rules"`
	What       string   `json:"what"`
}

// Targets are the names of PerTarget in order.
func (r Rehearsal) Targets() []string { return slices.Sorted(maps.Keys(r.PerTarget)) }

// RulesCheck has a rule set checked with the names the server knows.
func (c *Client) RulesCheck(ctx context.Context, set json.RawMessage) (json.RawMessage, error) {
	var raw json.RawMessage
	_, err := c.call(ctx, request{method: "POST", path: "/api/v1/rules/check", want: ok200}, set, &raw)
	return raw, err
}

// RulesRehearse rehearses a draft on the mail since a day or moment.
func (c *Client) RulesRehearse(ctx context.Context, draft, since string) (Rehearsal, json.RawMessage, error) {
	var r Rehearsal
	var raw json.RawMessage
	q := request{method: "POST", path: "/api/v1/rules/drafts/" + url.PathEscape(draft) + "/rehearse", want: []int{http.StatusOK}}
	if _, err := c.call(ctx, q, map[string]string{"since": since}, &raw); err != nil {
		return r, nil, err
	}
	return r, raw, json.Unmarshal(raw, &r)
}
