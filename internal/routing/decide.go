package routing

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/postkorb"
	"evb/internal/rules"
)

// JudgeByRules is Judge and then the rule sets: those of the whole tenant, then those
// of the unit whose letter it is. When no unit is known, those of all units are
// asked, and one of them claims the letter by words that stand in it; a rule for
// "everything else" of a unit claims nothing that may be another's. doc is
// what the sets are asked about; Aktenzeichen and AkteKnown are filled in here, and
// Unit, which the sender may have named, where number or words know better. It changes nothing; doc must not be used by others meanwhile.
func JudgeByRules(ctx context.Context, lang *rules.Language, f Facts, t Tables, doc rules.Document) Decision {
	base := Judge(f, t)
	if base.final || len(t.Sets) == 0 {
		return base
	}
	if base.unit == uuid.Nil && doc.Unit != "" {
		// Nothing else says whose it is: then whom the sender means.
		for _, c := range t.Sets {
			if c.Set.Unit == doc.Unit {
				base.unit, base.unitCode = c.UnitID, doc.Unit
			}
		}
	} else {
		doc.Unit = base.unitCode
	}
	doc.Aktenzeichen, doc.AkteKnown = base.number.Aktenzeichen, base.number.State == akte.Known
	p := lang.Prepare(&doc)
	var tenant, unit []*rules.Compiled
	for _, c := range t.Sets {
		switch {
		case c.UnitID == uuid.Nil:
			tenant = append(tenant, c)
		case base.unit == uuid.Nil || c.UnitID == base.unit:
			unit = append(unit, c)
		}
	}
	asked := false
	for _, sets := range [][]*rules.Compiled{tenant, unit} {
		if d, decided := t.ask(ctx, sets, p, base); decided {
			return d
		}
		asked = asked || len(sets) > 0
	}
	if c, ok := t.ClearingOf[base.unit]; ok && asked && (base.Rule == RuleWords || base.Rule == RuleUnreadable) {
		d := base
		d.Rule, d.Target = RuleNone, c.target()
		d.Why = why("why-no-rule", "postkorb", base.Target.PostkorbName, "unit", base.unitCode)
		return d
	}
	return base
}

// claim is a rule that wants the letter.
type claim struct {
	set   *rules.Compiled
	match rules.Match
}

// ask asks the sets of one level. Sets that name different targets are a
// conflict: neither is above the other.
func (t Tables) ask(ctx context.Context, sets []*rules.Compiled, p rules.Prepared, base Decision) (Decision, bool) {
	var claims []claim
	for _, c := range sets {
		m, ok, err := c.Match(ctx, p)
		var failure *rules.Failure
		if errors.As(err, &failure) {
			return t.fall(base, RuleError, c, why("why-rule-error", "rule", failure.Rule, "set", c.Set.Name, "version", strconv.Itoa(c.Number), "what", failure.What)), true
		}
		if ok && (m.Claims || c.UnitID == uuid.Nil || c.UnitID == base.unit) {
			claims = append(claims, claim{c, m})
		}
	}
	if len(claims) == 0 {
		return base, false
	}
	first := claims[0]
	for _, c := range claims[1:] {
		if !sameTarget(c.match.Rule.Target, first.match.Rule.Target) {
			d := t.fall(base, RuleConflict, nil, why("why-rules-conflict", "first", first.name(), "second", c.name()))
			return d, true
		}
	}
	return t.follow(first, p, base), true
}

func (c claim) name() string { return c.set.Set.Name + "/" + c.match.Rule.ID }

func sameTarget(a, b rules.Target) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// fall is where a letter goes that the rule sets could not place: the clearing
// of its unit, else the unit's Postkorb, else the central clearing.
func (t Tables) fall(base Decision, rule string, c *rules.Compiled, w postkorb.Why) Decision {
	d := base
	d.Rule, d.Why = rule, w
	if c != nil {
		d.RuleSet, d.RuleVersion = c.Set.Name, c.Number
	}
	if own, ok := t.ClearingOf[base.unit]; ok && base.unit != uuid.Nil {
		d.Target = own.target()
	}
	return d
}

// follow turns the target of a rule into a decision.
func (t Tables) follow(c claim, p rules.Prepared, base Decision) Decision {
	r, set := c.match.Rule, c.set
	params := []string{"rule", r.ID, "set", set.Set.Name, "version", strconv.Itoa(set.Number)}
	refuse := func(code string, more ...string) Decision {
		return t.fall(base, RuleRefused, set, why(code, append(more, params...)...))
	}
	d := base
	d.Rule, d.RuleSet, d.RuleVersion = c.name(), set.Set.Name, set.Number
	evidence := rules.Quote(c.match.Evidence)
	because := func(code string, more ...string) postkorb.Why {
		all := append(more, params...)
		if r.Reason != "" {
			all = append(all, "reason", r.Reason)
		}
		if evidence == "" {
			return why(code+"-plain", all...)
		}
		return why(code, append(all, "evidence", evidence)...)
	}
	// A number without an Akte never leads to a person (decisions 1.3).
	toPerson := base.number.State == akte.AkteUnknown
	switch target := r.Target; {
	case target.Postkorb != "":
		desk, ok := t.Boxes[target.Postkorb]
		if !ok {
			return refuse("why-rule-target-gone", "target", target.Postkorb)
		}
		d.Target = desk.target()
		d.Why = because("why-rule", "postkorb", desk.Name)
		switch {
		case toPerson && (desk.Personal || target.Assign != "" && target.Assign != rules.AssignHead):
			d = base
			d.Rule, d.RuleSet, d.RuleVersion = RuleRefused, set.Set.Name, set.Number
			d.Why = why("why-rule-needs-akte", append(params, "number", base.number.Aktenzeichen)...)
		case target.Assign == rules.AssignHead:
			if desk.Head == uuid.Nil {
				return refuse("why-rule-no-head", "postkorb", desk.Name)
			}
			d.Target.Assignee = desk.Head
			d.Why = because("why-rule-head", "postkorb", desk.Name)
		case target.Assign != "":
			person, ok := t.People[target.Assign]
			if !ok {
				return refuse("why-rule-target-gone", "target", target.Assign)
			}
			d.Target.Assignee = person
			d.Why = because("why-rule-person", "postkorb", desk.Name, "person", target.Assign)
		}
	case target.Akte != "":
		number := target.Akte
		if number == rules.OfDokument {
			if !p.Document().AkteKnown {
				return refuse("why-rule-without-akte")
			}
			number = base.number.Written
		}
		d.Target = Target{Akte: number, Name: target.Label()}
		d.Why = because("why-rule-filed", "number", number)
	default:
		d.Target = Target{Name: target.Label(), start: &target, fields: &p.Document().Fields}
		d.Why = because("why-rule-started", "target", target.Label())
	}
	if d.Target.Postkorb == uuid.Nil {
		other := refuse("why-rule-refused", "target", d.Target.Name, "what", "")
		d.otherwise = &other
	}
	return d
}
