package preservation

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/event"
)

// extraAgreements is the field of the metadata object that holds who has signed
// a version (cause co_sign). Part of the format: docs/evidence-format.md.
const extraAgreements = "agreements"

// Agreement is what a person has signed under a version, as it is sealed beside
// it: ids and times, no words.
type Agreement struct {
	ID          uuid.UUID // of the execution
	Version     uuid.UUID
	Circulation uuid.UUID
	Step        int    // number of the station
	Kind        string // of the station
	Outcome     string // agreed or upheld
	Actor       uuid.UUID
	OnBehalfOf  uuid.UUID // nil UUID: for oneself
	At          time.Time
}

func (g Agreement) metadata() map[string]any {
	m := map[string]any{
		"id": g.ID.String(), "circulation_id": g.Circulation.String(), "step": g.Step, "kind": g.Kind, "outcome": g.Outcome,
		"actor_id": g.Actor.String(), "occurred_at": g.At.UTC().Format(event.TimeFormat),
	}
	if g.OnBehalfOf != uuid.Nil {
		m["on_behalf_of"] = g.OnBehalfOf.String()
	}
	return m
}

// missingAgreements is an archive version for each version with a signature that
// none holds yet. Those that are sealed stay sealed: a signature that has become
// void is one that was given all the same.
func missingAgreements(signed []Agreement, versions []akte.Version, have []existing, want []made) ([]made, error) {
	sealed := map[string]bool{}
	for _, e := range have {
		if e.Cause != CauseCoSign {
			continue
		}
		md, err := e.metadata()
		if err != nil {
			return nil, fmt.Errorf("archive version %s: %w", e.ID, err)
		}
		if md == nil { // gone with its words
			continue
		}
		list, _ := md.Extra[extraAgreements].([]any)
		for _, g := range list {
			if m, ok := g.(map[string]any); ok {
				if id, ok := m["id"].(string); ok {
					sealed[id] = true
				}
			}
		}
	}
	var out []made
	for _, v := range versions {
		collected := func(version uuid.UUID, c Cause) bool { return version == v.ID && c == CauseIntake }
		if !slices.ContainsFunc(have, func(e existing) bool { return collected(e.Version, e.Cause) }) &&
			!slices.ContainsFunc(want, func(m made) bool { return collected(m.version, m.cause) }) {
			continue // its intake is running; the next collection takes both
		}
		fresh := false
		var list []any
		for _, g := range signed {
			if g.Version == v.ID {
				list, fresh = append(list, g.metadata()), fresh || !sealed[g.ID.String()]
			}
		}
		if fresh {
			out = append(out, made{version: v.ID, cause: CauseCoSign, files: v.Files, extra: map[string]any{extraAgreements: list}})
		}
	}
	return out, nil
}
