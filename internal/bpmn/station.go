package bpmn

import (
	"regexp"
	"strings"
)

// MakeLetter is the action that makes a Dokument of a template.
const MakeLetter = "letter"

// Actions are the built-in actions of a service task: make a letter in the
// Vorgang, seal what is not sealed yet, close the Vorgang.
var Actions = []string{MakeLetter, "seal", "close"}

// StepKinds are what evb:kind can ask of a station (circulation_step.kind).
var StepKinds = []string{"information", "action", "comment", "consult", "co_sign", "final_sign", "dispatch", "follow_up", "file_away"}

// station reads who does a step: evb attributes or element first, else what
// Camunda, Zeebe, Activiti and Flowable write, else the performers of the
// standard (decisions 9.2). What is an expression names nobody.
func (r *reader) station(n *Node, e *element) {
	x := e.extension(evb, "station")
	get := func(name string) string {
		v := e.attrIn(evb, name)
		if v == "" && x != nil {
			v = first(x.attr(name), x.attrIn(evb, name))
		}
		return v
	}
	n.Station = Target{
		User: get("user"), Unit: get("unit"), Function: get("function"), Postkorb: get("postkorb"), Group: get("station"),
		Webhook: get("webhook"), Action: get("action"),
	}
	n.StepKind, n.DueText = get("kind"), first(get("due"), plain(e.attrIn(camunda, "dueDate")))
	if s := e.extension(evb, "form"); s != nil {
		n.Form = strings.TrimSpace(s.text)
	}
	r.letter(n, e)
	if n.Kind == Service || !n.Station.IsZero() {
		return
	}
	assignee, groups, users := e.attrIn(camunda, "assignee"), e.attrIn(camunda, "candidateGroups"), e.attrIn(camunda, "candidateUsers")
	if z := e.extension(zeebe, "assignmentDefinition"); z != nil {
		assignee, groups, users = z.attr("assignee"), z.attr("candidateGroups"), z.attr("candidateUsers")
	}
	n.Station.Group = first(one(groups), one(assignee), one(users), standard(e))
}

// one is the single name that an attribute holds; several, or an expression,
// are none: then somebody has to say which one is meant.
func one(s string) string {
	s = plain(s)
	if strings.ContainsAny(s, ",;") {
		return ""
	}
	return s
}

var (
	feelString = regexp.MustCompile(`^=\s*(?:\[\s*)?"([^"\\]*)"(?:\s*\])?$`)
	juelString = regexp.MustCompile(`^[$#]\{\s*(?:'([^'\\]*)'|"([^"\\]*)")\s*\}$`)
	resource   = regexp.MustCompile(`^(?:user|group)\(([^()]*)\)$`)
)

// plain is the text of a constant: as it stands, or as a FEEL or JUEL string.
// An expression gives "".
func plain(s string) string {
	s = strings.TrimSpace(s)
	if m := feelString.FindStringSubmatch(s); m != nil {
		return strings.TrimSpace(m[1])
	}
	if m := juelString.FindStringSubmatch(s); m != nil {
		return strings.TrimSpace(m[1] + m[2])
	}
	if strings.HasPrefix(s, "=") || strings.ContainsAny(s, "{}") {
		return ""
	}
	return s
}

// standard reads humanPerformer and potentialOwner (BPMN 2.0.2, 10.3.3).
func standard(e *element) string {
	for _, k := range e.kids {
		if k.space != model || k.name != "humanPerformer" && k.name != "potentialOwner" && k.name != "performer" {
			continue
		}
		text := ""
		if ra := k.kid(model, "resourceAssignmentExpression"); ra != nil {
			if text = kidText(ra, "formalExpression"); text == "" {
				text = kidText(ra, "expression")
			}
		}
		if m := resource.FindStringSubmatch(text); m != nil {
			text = m[1]
		}
		if text = one(text); text != "" {
			return text
		}
	}
	return ""
}

// unwrap takes ${...} or = from the name of a variable.
func unwrap(s string) string {
	s = strings.TrimSpace(s)
	if t, ok := strings.CutPrefix(s, "="); ok {
		return strings.TrimSpace(t)
	}
	for _, p := range []string{"${", "#{"} {
		if t, ok := strings.CutPrefix(s, p); ok {
			return strings.TrimSpace(strings.TrimSuffix(t, "}"))
		}
	}
	return s
}
