package routing

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/rules"
)

// Bounds of a rehearsal.
const (
	rehearsalBatch = 200  // Dokumente read with one question
	readers        = 6    // texts fetched at once
	MaxChanged     = 1000 // lines of each list; the totals are exact
)

// Rehearsal is what a rule set would do to letters that have been routed.
type Rehearsal struct {
	Documents int
	PerTarget map[string]int // by Target.Label
	// Changed are the first MaxChanged that would go elsewhere than they went.
	Changed      []Change
	ChangedTotal int
	// Conflicts and Errors are letters that would go to clearing because two sets
	// want them, or because a condition cannot be evaluated.
	Conflicts      []Trouble
	ConflictsTotal int
	Errors         []Trouble
	ErrorsTotal    int
	// LeftOut counts protected letters that the actor does not see.
	LeftOut int
}

// Change is one letter that would go elsewhere.
type Change struct {
	Dokument                 uuid.UUID
	From, To                 string
	FromAssignee, ToAssignee string // logins; empty: for all members
	Set, Rule                string // that decide; Set empty: no rule set
	fromID, toID             uuid.UUID
}

// Trouble is one letter that the rules could not place.
type Trouble struct {
	Dokument uuid.UUID
	Rules    []string // <set>/<rule>
	What     string
}

// The past: letters that were routed and not handed over for a Vorgang. Of those
// that are protected now only what the actor sees.
var sqlPast = akte.SQLDokument + `
    JOIN routing_decision r ON r.tenant = o.tenant AND r.dokument_id = o.id AND r.rule <> 'filed'
    WHERE o.tenant = evb_tenant() AND o.id > $1 AND o.created_at >= $2 AND d.state <> 'quarantined' AND ` + rehearsed + `
    ORDER BY o.id LIMIT $6`

var rehearsed = `($5 AND o.protection_class = '' AND EXISTS (SELECT FROM access_scope sc WHERE sc.tenant = o.tenant AND sc.id = o.access_scope_id AND sc.protection_class = '')
        OR ` + access.Sees("o", 3, 4) + `)`

var sqlLeftOut = `
    SELECT count(*) FROM record_object o JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id
    JOIN routing_decision r ON r.tenant = o.tenant AND r.dokument_id = o.id AND r.rule <> 'filed'
    WHERE o.tenant = evb_tenant() AND o.id > $1 AND o.created_at >= $2 AND d.state <> 'quarantined' AND NOT ` + rehearsed

const (
	sqlTargets = `SELECT dokument_id, target FROM routing_decision WHERE tenant = evb_tenant() AND dokument_id = ANY ($1)`
	sqlLogins  = `SELECT id, login FROM app_user WHERE tenant = evb_tenant() AND id = ANY ($1)`
)

// Rehearse says where the letters that came in since a moment would go if this
// version were in force in the place of the one of its name, all other sets and
// the numbers being as they are today. It changes nothing, but the access log
// tells who rehearsed what: a rule can ask about any text. Whoever may not
// answer for the unit rehearses with the letters that are visible to that
// person. Faults: not-found, rules-findings (an error that needs no names).
func (s *Service) Rehearse(ctx context.Context, a access.Actor, version uuid.UUID, since time.Time) (out Rehearsal, err error) {
	v, err := s.o.Rules.Version(ctx, a, version)
	if err != nil {
		return out, err
	}
	for _, f := range s.o.Rules.Language().Check(v.Set, nil) {
		if f.Severity == rules.Error {
			return out, fault.New("rules-findings", "what", f.Rule+": "+f.Text("de"))
		}
	}
	r := rehearsal{s: s, a: a, since: since, all: rules.MayRehearseAll(a, v), out: Rehearsal{PerTarget: map[string]int{}}}
	if err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error { return r.prepare(ctx, q, v) }); err != nil {
		return out, err
	}
	for after := beforeFirst(since); ; {
		last, n, err := r.batch(ctx, after)
		if err != nil {
			return out, err
		}
		if n < rehearsalBatch {
			break
		}
		after = last
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		if err := r.logins(ctx, tx); err != nil {
			return err
		}
		return s.log.AppendAccess(ctx, tx, a, s.now(), event.Fact{Kind: rules.Rehearsed, SubjectKind: "rule_set", Subject: v.ID, Details: map[string]any{
			"name": v.Set.Name, "version": v.Number, "since": since.UTC().Format(time.RFC3339), "documents": r.out.Documents, "changed": r.out.ChangedTotal,
		}})
	})
	return r.out, err
}

// beforeFirst is an id before those of a moment; ids of Dokumente tell when they
// were made, by the clock of their node: an hour is left for it.
func beforeFirst(t time.Time) uuid.UUID {
	if t.Unix() < 3600 {
		return uuid.Nil
	}
	return firstID(t.Add(-time.Hour))
}

// rehearsal is one run.
type rehearsal struct {
	s        *Service
	a        access.Actor
	since    time.Time
	all      bool
	patterns []akte.Pattern
	tables   Tables
	out      Rehearsal
}

// prepare reads what is the same for all letters.
func (r *rehearsal) prepare(ctx context.Context, q postgres.Querier, v rules.Version) (err error) {
	if r.patterns, err = akte.Patterns(ctx, q); err != nil {
		return err
	}
	if r.tables.Rules, err = Rules(ctx, q); err != nil {
		return err
	}
	active, err := r.s.o.Rules.InForce(ctx, q)
	if err != nil {
		return err
	}
	for _, c := range active {
		if c.Set.Name != v.Set.Name {
			r.tables.Sets = append(r.tables.Sets, c)
		}
	}
	r.tables.Sets = append(r.tables.Sets, r.s.o.Rules.Compile(v))
	units, err := org.Units(ctx, q, r.s.now())
	if err != nil {
		return err
	}
	var ids []uuid.UUID
	for _, u := range units {
		ids = append(ids, u.ID)
	}
	if err := r.s.desks(ctx, q, &r.tables, ids); err != nil {
		return err
	}
	return q.QueryRow(ctx, sqlLeftOut, beforeFirst(r.since), r.since, r.a.User, r.s.now(), r.all).Scan(&r.out.LeftOut)
}

// past is one letter of a batch.
type past struct {
	input
	target Target // where it went
	gathered
	decision Decision
}

// batch rehearses the letters after an id: a few questions to the database for
// all of them, their texts side by side.
func (r *rehearsal) batch(ctx context.Context, after uuid.UUID) (last uuid.UUID, n int, err error) {
	var letters []*past
	if err := r.s.db.Read(ctx, r.a.Tenant, func(q postgres.Querier) error {
		letters, err = r.read(ctx, q, after)
		return err
	}); err != nil || len(letters) == 0 {
		return last, 0, err
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, p := range letters {
		group.Go(func() error {
			text, err := r.s.known(inner, r.a, p.text)
			if err != nil {
				return err
			}
			p.gathered, err = gather(p.input, text, r.patterns)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return last, 0, err
	}
	var written []string
	for _, p := range letters {
		written = append(written, p.written()...)
	}
	var numbers map[string]akte.Number
	if err := r.s.db.Read(ctx, r.a.Tenant, func(q postgres.Querier) error {
		numbers, err = akte.ResolveAll(ctx, q, r.patterns, written)
		return err
	}); err != nil {
		return last, 0, err
	}
	group, inner = errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range letters {
		group.Go(func() error {
			p.decision = r.s.judge(inner, p.facts(numbers), r.tables, p.doc)
			p.gathered = gathered{} // its text
			return inner.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return last, 0, err
	}
	for _, p := range letters {
		r.count(p)
	}
	return letters[len(letters)-1].dokument.ID, len(letters), nil
}

func (r *rehearsal) read(ctx context.Context, q postgres.Querier, after uuid.UUID) ([]*past, error) {
	rows, err := q.Query(ctx, sqlPast, after, r.since, r.a.User, r.s.now(), r.all, rehearsalBatch)
	if err != nil {
		return nil, fmt.Errorf("past letters: %w", err)
	}
	docs, err := pgx.CollectRows(rows, akte.ScanDokument)
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	var ids, versions []uuid.UUID
	for _, d := range docs {
		ids, versions = append(ids, d.ID), append(versions, d.VersionID)
	}
	texts, err := akte.RenditionsOfKind(ctx, q, versions, akte.Text)
	if err != nil {
		return nil, err
	}
	all, err := akte.VersionsOf(ctx, q, ids...)
	if err != nil {
		return nil, err
	}
	of := map[uuid.UUID][]akte.Version{}
	for _, v := range all {
		of[v.DokumentID] = append(of[v.DokumentID], v)
	}
	if rows, err = q.Query(ctx, sqlTargets, ids); err != nil {
		return nil, fmt.Errorf("past decisions: %w", err)
	}
	went := map[uuid.UUID]Target{}
	var id uuid.UUID
	var raw []byte
	if _, err := pgx.ForEachRow(rows, []any{&id, &raw}, func() error {
		var t Target
		err := json.Unmarshal(raw, &t)
		went[id] = t
		return err
	}); err != nil {
		return nil, fmt.Errorf("past decisions: %w", err)
	}
	out := make([]*past, 0, len(docs))
	for _, d := range docs {
		d.Versions = of[d.ID]
		p := &past{input: input{dokument: d}, target: went[d.ID]}
		p.dokument.VorgangID = nil // that somebody filed it since does not count
		if d.Extraction == akte.ExtractionDone {
			p.text = texts[d.VersionID]
		}
		out = append(out, p)
	}
	return out, nil
}

// known reads a text whose row was read before; a text that is lost counts as
// empty here: the check of the store tells of it.
func (s *Service) known(ctx context.Context, a access.Actor, r akte.Rendition) (string, error) {
	if len(r.Files) == 0 {
		return "", nil
	}
	f := r.Files[0]
	info := blob.Info{ID: f.Blob, Size: f.Size}
	copy(info.SHA256[:], f.SHA256)
	rc, err := s.blobs.OpenKnown(ctx, a, info)
	if fault.Is(err, "content-missing") {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer rc.Close()
	return readText(rc)
}

func (r *rehearsal) count(p *past) {
	o, d := &r.out, p.decision
	o.Documents++
	to := d.Target.Label()
	o.PerTarget[to]++
	set, rule := d.RuleSet, strings.TrimPrefix(d.Rule, d.RuleSet+"/")
	switch d.Rule {
	case RuleConflict:
		o.ConflictsTotal++
		if len(o.Conflicts) < MaxChanged {
			o.Conflicts = append(o.Conflicts, Trouble{Dokument: p.dokument.ID, Rules: []string{d.Why.Params["first"], d.Why.Params["second"]}, What: d.Why.Text("de")})
		}
	case RuleError:
		o.ErrorsTotal++
		rule = d.Why.Params["rule"]
		if len(o.Errors) < MaxChanged {
			o.Errors = append(o.Errors, Trouble{Dokument: p.dokument.ID, Rules: []string{set + "/" + rule}, What: d.Why.Params["what"]})
		}
	case RuleRefused:
		rule = d.Why.Params["rule"]
	}
	if to == p.target.Label() && d.Target.Assignee == p.target.Assignee {
		return
	}
	o.ChangedTotal++
	if len(o.Changed) < MaxChanged {
		o.Changed = append(o.Changed, Change{Dokument: p.dokument.ID, From: p.target.Label(), To: to, Set: set, Rule: rule, fromID: p.target.Assignee, toID: d.Target.Assignee})
	}
}

// logins fills the names of those to whom letters were or would be assigned.
func (r *rehearsal) logins(ctx context.Context, q postgres.Querier) error {
	people := map[uuid.UUID]string{}
	for _, c := range r.out.Changed {
		people[c.fromID], people[c.toID] = "", ""
	}
	delete(people, uuid.Nil)
	ids := make([]uuid.UUID, 0, len(people))
	for id := range people {
		ids = append(ids, id)
	}
	rows, err := q.Query(ctx, sqlLogins, ids)
	if err != nil {
		return fmt.Errorf("logins: %w", err)
	}
	var id uuid.UUID
	var login string
	if _, err := pgx.ForEachRow(rows, []any{&id, &login}, func() error {
		people[id] = login
		return nil
	}); err != nil {
		return fmt.Errorf("logins: %w", err)
	}
	for i := range r.out.Changed {
		c := &r.out.Changed[i]
		c.FromAssignee, c.ToAssignee = people[c.fromID], people[c.toID]
	}
	return nil
}
