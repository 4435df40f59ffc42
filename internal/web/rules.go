package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/lists"
	"evb/internal/routing"
	"evb/internal/rules"
)

// ruleSetView is one version of a rule set.
type ruleSetView struct {
	ID          uuid.UUID         `json:"id"`
	Name        string            `json:"name"`
	Unit        *string           `json:"unit"` // null: the whole tenant
	Rules       []rules.Rule      `json:"rules"`
	Version     int               `json:"version"`
	State       rules.State       `json:"state"`
	OK          bool              `json:"ok"` // the last check found no error
	Findings    []ruleFindingView `json:"findings"`
	Restores    *int              `json:"restores"` // the version a rollback brought back
	Reason      string            `json:"reason"`
	CreatedAt   time.Time         `json:"created_at"`
	CreatedBy   string            `json:"created_by"`
	CheckedAt   *time.Time        `json:"checked_at"`
	ActivatedAt *time.Time        `json:"activated_at"`
	ActivatedBy string            `json:"activated_by"`
	RetiredAt   *time.Time        `json:"retired_at"`
	RowVersion  int64             `json:"row_version"`
}

func newRuleSetView(v rules.Version) ruleSetView {
	w := ruleSetView{
		ID: v.ID, Name: v.Set.Name, Rules: mapped(v.Set.Rules, func(r rules.Rule) rules.Rule { return r }), Version: v.Number, State: v.State,
		OK: v.CheckedAt != nil && !rules.Blocked(v.Findings), Findings: mapped(v.Findings, newRuleFindingView), Reason: v.Reason, CreatedAt: v.CreatedAt.UTC(),
		CreatedBy: v.CreatedName, CheckedAt: utc(v.CheckedAt), ActivatedAt: utc(v.ActivatedAt), ActivatedBy: v.ActivatedBy, RetiredAt: utc(v.RetiredAt), RowVersion: v.RowVersion,
	}
	if v.Set.Unit != "" {
		w.Unit = &v.Set.Unit
	}
	if v.Restore != 0 {
		w.Restores = &v.Restore
	}
	return w
}

type ruleFindingView struct {
	Code     string            `json:"code"`
	Severity rules.Severity    `json:"severity"`
	Rule     string            `json:"rule"`
	Line     int               `json:"line"`
	Column   int               `json:"column"`
	Text     textView          `json:"text"`
	Params   map[string]string `json:"params,omitempty"`
}

func newRuleFindingView(f rules.Finding) ruleFindingView {
	return ruleFindingView{Code: strings.TrimPrefix(f.Code, "finding-"), Severity: f.Severity, Rule: f.Rule, Line: f.Line, Column: f.Column,
		Text: textView{DE: f.Text("de"), EN: f.Text("en")}, Params: f.Params}
}

func ruleSetAnswer(w http.ResponseWriter, v rules.Version) error {
	return writeVersioned(w, http.StatusOK, v.RowVersion, newRuleSetView(v))
}

func (s *Server) postRuleDraft(w http.ResponseWriter, r *http.Request) error {
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, set rules.Set) (made, error) {
		v, replayed, err := s.p.Rules.Draft(ctx, a, set, key)
		return made{v.RowVersion, newRuleSetView(v), "/api/v1/rules/drafts/" + v.ID.String(), replayed}, err
	})
}

func (s *Server) getRuleSets(w http.ResponseWriter, r *http.Request) error {
	all, err := s.p.Rules.Active(r.Context(), actorOf(r))
	return ruleSetList(w, all, err)
}

func (s *Server) getRuleDrafts(w http.ResponseWriter, r *http.Request) error {
	all, err := s.p.Rules.Open(r.Context(), actorOf(r))
	return ruleSetList(w, all, err)
}

func (s *Server) getRuleVersions(w http.ResponseWriter, r *http.Request) error {
	all, err := s.p.Rules.Versions(r.Context(), actorOf(r), pathVar(r, "name"))
	return ruleSetList(w, all, err)
}

func ruleSetList(w http.ResponseWriter, all []rules.Version, err error) error {
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(all, newRuleSetView, "", count(len(all))))
}

// ruleCheckView is what a check of a set says that is not kept.
type ruleCheckView struct {
	OK       bool              `json:"ok"`
	Findings []ruleFindingView `json:"findings"`
}

func (s *Server) postRuleCheck(w http.ResponseWriter, r *http.Request) error {
	var set rules.Set
	if err := decode(r, &set); err != nil {
		return err
	}
	findings, err := s.p.Rules.CheckSet(r.Context(), actorOf(r), set)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, ruleCheckView{!rules.Blocked(findings), mapped(findings, newRuleFindingView)})
}

// rehearseBody: a date, which means the begin of that local day, or a moment.
type rehearseBody struct {
	Since string `json:"since"`
}

type rehearsalView struct {
	Documents      int            `json:"documents"`
	PerTarget      map[string]int `json:"per_target"`
	Changed        []changeView   `json:"changed"` // at most 1,000
	ChangedTotal   int            `json:"changed_total"`
	Conflicts      []troubleView  `json:"conflicts"`
	ConflictsTotal int            `json:"conflicts_total"`
	Errors         []troubleView  `json:"errors"`
	ErrorsTotal    int            `json:"errors_total"`
	LeftOut        int            `json:"left_out"` // protected, not visible to the actor
}

type changeView struct {
	DokumentID   uuid.UUID `json:"dokument_id"`
	From         string    `json:"from"`
	To           string    `json:"to"`
	Rule         string    `json:"rule"`
	RuleSet      string    `json:"rule_set"`
	FromAssignee string    `json:"from_assignee,omitempty"`
	ToAssignee   string    `json:"to_assignee,omitempty"`
}

type troubleView struct {
	DokumentID uuid.UUID `json:"dokument_id"`
	Rules      []string  `json:"rules"`
	What       string    `json:"what"`
}

func newTroubleView(t routing.Trouble) troubleView {
	return troubleView{DokumentID: t.Dokument, Rules: t.Rules, What: t.What}
}

func (s *Server) rehearseRules(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var body rehearseBody
	if err := decode(r, &body); err != nil {
		return err
	}
	since, err := s.since(r, body.Since)
	if err != nil {
		return err
	}
	x, err := s.p.Routing.Rehearse(r.Context(), actorOf(r), id, since)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, rehearsalView{
		Documents: x.Documents, PerTarget: x.PerTarget, ChangedTotal: x.ChangedTotal, ConflictsTotal: x.ConflictsTotal, ErrorsTotal: x.ErrorsTotal, LeftOut: x.LeftOut,
		Changed: mapped(x.Changed, func(c routing.Change) changeView {
			return changeView{DokumentID: c.Dokument, From: c.From, To: c.To, Rule: c.Rule, RuleSet: c.Set, FromAssignee: c.FromAssignee, ToAssignee: c.ToAssignee}
		}),
		Conflicts: mapped(x.Conflicts, newTroubleView), Errors: mapped(x.Errors, newTroubleView),
	})
}

// since reads a moment, or a date as the begin of that day in the tenant's zone.
func (s *Server) since(r *http.Request, v string) (time.Time, error) {
	if v == "" {
		return time.Time{}, fault.New("field-required", "field", "since").With("/since", "field-required", "field", "since")
	}
	if t, err := time.Parse(time.RFC3339, v); err == nil {
		return t.UTC(), nil
	}
	day, err := time.Parse(time.DateOnly, v)
	if err != nil {
		return time.Time{}, fault.New("date-invalid", "value", v)
	}
	c, err := s.calendar(r)
	if err != nil {
		return time.Time{}, err
	}
	return c.Midnight(day), nil
}

// rollbackBody names the version to bring back; 0: the one before.
type rollbackBody struct {
	Version int    `json:"version,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

func (s *Server) rollbackRules(w http.ResponseWriter, r *http.Request) error {
	var body rollbackBody
	if err := decode(r, &body); err != nil {
		return err
	}
	v, err := s.p.Rules.Rollback(r.Context(), actorOf(r), pathVar(r, "name"), body.Version, body.Reason)
	if err != nil {
		return err
	}
	return ruleSetAnswer(w, v)
}

func (s *Server) retireRules(w http.ResponseWriter, r *http.Request) error {
	var body reasonBody
	if err := decode(r, &body); err != nil {
		return err
	}
	v, err := s.p.Rules.Retire(r.Context(), actorOf(r), pathVar(r, "name"), body.Reason)
	if err != nil {
		return err
	}
	return ruleSetAnswer(w, v)
}

type routedView struct {
	Decided   int     `json:"decided"`
	Delivered int     `json:"delivered"`
	Clearing  int     `json:"clearing"`
	Corrected int     `json:"corrected"`
	Coverage  float64 `json:"coverage"`
	Precision float64 `json:"precision"`
}

type routedSetView struct {
	RuleSet string `json:"rule_set"` // empty: numbers and words
	routedView
}

type routedDayView struct {
	Day string `json:"day"`
	routedView
	Sets []routedSetView `json:"sets"`
}

type routingReportView struct {
	From  string          `json:"from"`
	To    string          `json:"to"`
	Total routedView      `json:"total"`
	Days  []routedDayView `json:"days"`
}

func newRoutedView(r lists.Routed) routedView {
	return routedView{Decided: r.Decided, Delivered: r.Delivered, Clearing: r.Decided - r.Delivered, Corrected: r.Corrected, Coverage: r.Coverage(), Precision: r.Precision()}
}

// getRoutingReport is about the last thirty days where the request names none.
func (s *Server) getRoutingReport(w http.ResponseWriter, r *http.Request) error {
	from, err := queryTime(r, "from")
	if err != nil {
		return err
	}
	to, err := queryTime(r, "to")
	if err != nil {
		return err
	}
	if to.IsZero() {
		to = s.o.Now().UTC()
	}
	to = to.Truncate(24 * time.Hour)
	if from.IsZero() {
		from = to.AddDate(0, 0, -29)
	}
	from = from.Truncate(24 * time.Hour)
	days, total, err := s.p.Lists.Routed(r.Context(), actorOf(r), from, to)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, routingReportView{
		From: from.Format(time.DateOnly), To: to.Format(time.DateOnly), Total: newRoutedView(total),
		Days: mapped(days, func(d lists.RoutedDay) routedDayView {
			return routedDayView{Day: d.Day.Format(time.DateOnly), routedView: newRoutedView(d.Routed), Sets: mapped(d.Sets, func(x lists.RoutedSet) routedSetView {
				return routedSetView{x.Name, newRoutedView(x.Routed)}
			})}
		}),
	})
}
