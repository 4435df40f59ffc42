package rules

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"evb/internal/akte"
)

// Names is what the tenant has today of what rules name. A nil *Names leaves
// names unchecked: then there is only the text of the set.
type Names struct {
	// Units, Postkoerbe and People that there are, by code, name and login.
	Units      map[string]bool
	Postkoerbe map[string]Box
	People     map[string]bool
	// Akten are the numbers that the set names.
	Akten map[string]akte.Number
	// Circulation and Process say that such targets can be started here.
	Circulation, Process bool
}

// Box is a Postkorb as far as rules are concerned.
type Box struct {
	Personal bool
	HasHead  bool // its unit has a head today
}

// Check says what is wrong with a set, in visible order. Errors keep it from
// being activated; warnings name rules that never come to their turn or never
// hold, and questions that may have no answer. Nothing is changed. What is found
// about the logic is certain; that nothing is found does not mean that there is
// nothing.
func (l *Language) Check(s Set, names *Names) []Finding {
	c, compile := l.Compile(s)
	out := s.form(names)
	for _, r := range c.rules {
		for _, f := range compile {
			if f.Rule == r.ID {
				out = append(out, f)
			}
		}
		compile = slices.DeleteFunc(compile, func(f Finding) bool { return f.Rule == r.ID })
		out = append(out, r.Target.check(r.ID, names)...)
		if r.ast != nil {
			out = append(out, unguarded(r)...)
		}
	}
	return append(out, c.logic()...)
}

// form looks at what every set needs.
func (s Set) form(names *Names) (out []Finding) {
	if strings.TrimSpace(s.Name) == "" {
		out = append(out, problem("finding-set-name-missing"))
	}
	if s.Unit != "" && names != nil && !names.Units[s.Unit] {
		out = append(out, problem("finding-set-unit-unknown", "unit", s.Unit))
	}
	if len(s.Rules) == 0 {
		out = append(out, problem("finding-set-empty"))
	}
	ids, orders := map[string]bool{}, map[int]string{}
	for i, r := range s.Rules {
		switch {
		case strings.TrimSpace(r.ID) == "":
			out = append(out, problem("finding-rule-id-missing", "position", strconv.Itoa(i+1)))
		case ids[r.ID]:
			out = append(out, problem("finding-rule-id-twice", "id", r.ID).of(r.ID))
		}
		ids[r.ID] = true
		if other, twice := orders[r.Order]; twice {
			out = append(out, problem("finding-rule-order-twice", "order", strconv.Itoa(r.Order), "other", other).of(r.ID))
		}
		orders[r.Order] = r.ID
	}
	return out
}

// check looks at a target: its form, and what it names.
func (t Target) check(rule string, names *Names) (out []Finding) {
	add := func(code string, kv ...string) { out = append(out, problem(code, kv...).of(rule)) }
	switch n := t.kinds(); {
	case n == 0:
		add("finding-rule-target-missing")
		return out
	case n > 1:
		add("finding-rule-target-several")
		return out
	}
	if t.Assign != "" && t.Postkorb == "" {
		add("finding-rule-assign-alone")
	}
	if t.HasCirculation() {
		if what := circulationForm(t.Circulation); what != "" {
			add("finding-rule-circulation-invalid", "what", what)
		}
		if names != nil && !names.Circulation {
			add("finding-rule-circulation-off")
		}
	}
	if t.HasProcess() {
		if processName(t.Process) == "" {
			add("finding-rule-process-invalid")
		}
		if names != nil && !names.Process {
			add("finding-rule-process-off")
		}
	}
	if names == nil {
		return out
	}
	if t.Postkorb != "" {
		switch box, there := names.Postkoerbe[t.Postkorb]; {
		case !there:
			add("finding-rule-postkorb-unknown", "postkorb", t.Postkorb)
		case t.Assign != "" && box.Personal:
			add("finding-rule-assign-personal", "postkorb", t.Postkorb)
		case t.Assign == AssignHead && !box.HasHead:
			add("finding-rule-no-head", "postkorb", t.Postkorb)
		case t.Assign != "" && t.Assign != AssignHead && !names.People[t.Assign]:
			add("finding-rule-person-unknown", "user", t.Assign)
		}
	}
	if t.Akte != "" && t.Akte != OfDokument && names.Akten[t.Akte].State != akte.Known {
		add("finding-rule-akte-unknown", "aktenzeichen", t.Akte)
	}
	return out
}

// circulationForm says what is wrong with the steps of a circulation target;
// empty: nothing that can be seen here.
func circulationForm(raw json.RawMessage) string {
	var c struct {
		Steps []struct {
			To struct {
				User     string `json:"user"`
				Unit     string `json:"unit"`
				Function string `json:"function"`
			} `json:"to"`
		} `json:"steps"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return oneLine(err.Error())
	}
	if len(c.Steps) == 0 {
		return "steps"
	}
	for i, s := range c.Steps {
		if s.To.User == "" && s.To.Unit == "" && s.To.Function == "" {
			return "steps[" + strconv.Itoa(i) + "].to"
		}
	}
	return ""
}

// unguarded names fields that a Dokument may lack and that the condition uses
// without having asked for them: then it cannot be evaluated, and the Dokument
// goes to clearing.
func unguarded(r line) (out []Finding) {
	root := r.ast.NativeRep().Expr()
	guarded := map[string]bool{}
	visit(root, func(e ast.Expr) {
		if e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly() {
			if name, ok := docField(e.AsSelect().Operand()); ok && name == "fields" {
				guarded["fields."+e.AsSelect().FieldName()] = true
			}
		}
		if isCall(e, operators.In) {
			args := e.AsCall().Args()
			key, isText := value(args[0])
			if name, ok := docField(args[1]); ok && name == "fields" && isText {
				guarded["fields."+strings.TrimPrefix(key, "s:")] = true
			}
		}
	})
	visit(root, func(e ast.Expr) {
		p, ok := path(e)
		if !ok || !strings.HasPrefix(p, "fields.") || guarded[p] {
			return
		}
		guarded[p] = true
		f := warning("finding-rule-field-unguarded", "field", strings.TrimPrefix(p, "fields.")).of(r.ID)
		f.Line, f.Column = position(r.condition, e)
		out = append(out, f)
	})
	return out
}

// maxComparisons bounds what logic looks at: far more than any set that people
// write needs.
const maxComparisons = 3_000_000

// logic names rules that never hold and rules that never come to their turn.
func (c *Compiled) logic() (out []Finding) {
	var earlier []struct {
		id    string
		terms []term
	}
	left := maxComparisons
	for _, r := range c.rules {
		if r.ast == nil {
			continue
		}
		ts := c.lang.terms(r.condition)
		if len(ts) == 0 {
			if what := c.lang.contradiction(r.condition); what != "" {
				out = append(out, warning("finding-rule-contradictory", "what", what).of(r.ID))
			} else {
				out = append(out, warning("finding-rule-never").of(r.ID))
			}
			continue
		}
		var by []string
		covered := 0
		for _, t := range ts {
			for _, e := range earlier {
				hit := slices.ContainsFunc(e.terms, func(s term) bool {
					left -= 1 + len(s.facts)*len(t.facts)
					return left > 0 && s.covers(t)
				})
				if hit {
					covered++
					if !slices.Contains(by, e.id) {
						by = append(by, e.id)
					}
					break
				}
			}
		}
		if covered == len(ts) {
			code := "finding-rule-unreachable"
			for _, e := range earlier {
				if e.id == by[0] && len(by) == 1 {
					switch {
					case always(e.terms):
						code = "finding-rule-behind-always"
					case alikeTerms(e.terms, ts):
						code = "finding-rule-identical"
					}
				}
			}
			f := warning(code).of(r.ID)
			f.Params = map[string]string{"earlier": strings.Join(by[:min(len(by), 10)], ", ")}
			out = append(out, f)
		}
		earlier = append(earlier, struct {
			id    string
			terms []term
		}{r.ID, ts})
	}
	if left <= 0 {
		out = append(out, warning("finding-set-not-compared"))
	}
	return out
}
