package rules

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Compiled is a rule set ready to decide. Safe for concurrent use.
type Compiled struct {
	ID      uuid.UUID // of the version; nil UUID: a set that is not stored
	Number  int       // of the version
	Set     Set
	UnitID  uuid.UUID // nil UUID: the whole tenant
	rules   []line    // in visible order
	lang    *Language
	blocked bool
}

type line struct {
	Rule
	condition
}

// Compile reads the conditions of a set; names of Postkörbe, people and Akten
// are not looked at. A set with findings of severity Error matches nothing and
// gives an error when it is asked.
func (l *Language) Compile(s Set) (*Compiled, []Finding) {
	c := &Compiled{Set: s, lang: l}
	var findings []Finding
	for _, r := range s.Rules {
		cond, found := l.compile(r.When)
		for _, f := range found {
			findings = append(findings, f.of(r.ID))
		}
		c.rules = append(c.rules, line{r, cond})
	}
	c.blocked = Blocked(findings)
	slices.SortStableFunc(c.rules, func(a, b line) int { return a.Order - b.Order })
	return c, findings
}

// Match is the rule that decides.
type Match struct {
	Rule Rule
	// Evidence are the words of the Dokument that the rule speaks of.
	Evidence []string
	// Claims says that some of them are about the letter itself: a rule that
	// matches without any, such as "everything else", does not make a letter of
	// nobody its unit's.
	Claims bool
}

// Failure is a condition that could not be evaluated: which one and why.
type Failure struct {
	Rule string
	What string
}

// Error implements error, for the log.
func (f *Failure) Error() string { return "rule " + f.Rule + ": " + f.What }

var errBlocked = errors.New("the rule set does not compile")

// Match gives the first rule, by visible order, that matches; ok false when none
// does. A condition that cannot be evaluated ends the search with a *Failure:
// the rules behind it might be meant for other letters. At most timeLimit long.
func (c *Compiled) Match(ctx context.Context, p Prepared) (m Match, ok bool, err error) {
	if c.blocked {
		return m, false, &Failure{What: errBlocked.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	for _, r := range c.rules {
		yes, err := r.ask(ctx, p)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return m, false, &Failure{Rule: r.ID, What: oneLine(err.Error())}
		}
		if yes {
			m.Rule = r.Rule
			m.Evidence, m.Claims = c.lang.evidence(r.condition, p)
			return m, true, nil
		}
	}
	return m, false, nil
}

// Postkoerbe are the names of the Postkörbe the set sends to, each once.
func (s Set) Postkoerbe() []string {
	var out []string
	for _, r := range s.Rules {
		if r.Target.Postkorb != "" && !slices.Contains(out, r.Target.Postkorb) {
			out = append(out, r.Target.Postkorb)
		}
	}
	return out
}

// People are the logins the set assigns to, each once.
func (s Set) People() []string {
	var out []string
	for _, r := range s.Rules {
		if a := r.Target.Assign; a != "" && a != AssignHead && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// Quote writes evidence as people read it: „Beschwerde“, „Lärm…“.
func Quote(evidence []string) string {
	var out []string
	for _, w := range evidence {
		out = append(out, "„"+strings.ReplaceAll(w, "*", "…")+"“")
	}
	return strings.Join(out, ", ")
}
