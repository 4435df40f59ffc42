package rules

import (
	"slices"

	"evb/internal/fault"
)

// Severity says whether a finding keeps a set from being activated.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // it does: the set would not do what it says
	Warning Severity = "warning" // somebody should look; the set can be activated
)

// Finding is something that Check found.
type Finding struct {
	Code     string   `json:"code"` // of the catalogue
	Severity Severity `json:"severity"`
	// Rule is the id of the rule; empty: the set itself.
	Rule string `json:"rule"`
	// Line and Column of the condition, from 1; 0: the rule as a whole.
	Line   int               `json:"line"`
	Column int               `json:"column"`
	Params map[string]string `json:"params,omitempty"`
}

// Text is the sentence for people, "de" or "en".
func (f Finding) Text(lang string) string { return fault.Text(lang, f.Code, f.Params) }

func problem(code string, kv ...string) Finding {
	f := Finding{Code: code, Severity: Error}
	for i := 0; i+1 < len(kv); i += 2 {
		if f.Params == nil {
			f.Params = map[string]string{}
		}
		f.Params[kv[i]] = kv[i+1]
	}
	return f
}

func warning(code string, kv ...string) Finding {
	f := problem(code, kv...)
	f.Severity = Warning
	return f
}

func (f Finding) of(rule string) Finding {
	f.Rule = rule
	return f
}

// Blocked says that one of the findings is an error.
func Blocked(fs []Finding) bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Severity == Error })
}
