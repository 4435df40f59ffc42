package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/bpmn/run"
	"evb/internal/calendar"
	"evb/internal/circulation"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/job"
)

// held is an instance whose rows a transaction holds.
type held struct {
	id, activation, definition, record uuid.UUID
	key                                string
	circulation                        *uuid.UUID
	logged                             int
	version                            int64 // row version
	timers, messages                   bool  // there are rows of them
	state                              run.State
	stations                           map[int]stationOf // of tokens at stations
	plan                               *bpmn.Plan
}

type stationOf struct {
	circulation uuid.UUID
	number      int
}

const (
	sqlRecordOf = `SELECT record_id FROM process_instance WHERE tenant = evb_tenant() AND id = $1`
	sqlHold     = `
    SELECT i.id, i.activation_id, i.definition_id, i.record_id, d.key, i.process, i.state, i.outcome, i.next_token, i.variables, i.circulation_id, i.row_version,
        (SELECT coalesce(max(l.number), 0) FROM process_step_log l WHERE l.tenant = i.tenant AND l.instance_id = i.id)
    FROM process_instance i JOIN process_definition d ON d.tenant = i.tenant AND d.id = i.definition_id
    WHERE i.tenant = evb_tenant() AND i.id = $1 FOR NO KEY UPDATE OF i`
	sqlTokens = `
    SELECT number, node, wait, reason, since, detail, circulation_id, step_number FROM process_token
    WHERE tenant = evb_tenant() AND instance_id = $1 ORDER BY number`
	sqlTimers = `
    SELECT token, element, due_at, repeat FROM process_timer WHERE tenant = evb_tenant() AND instance_id = $1 ORDER BY token, element`
)

// detail is what of a token stands in one column.
type detail struct {
	Scope int       `json:"scope,omitempty"`
	Flow  string    `json:"flow,omitempty"`
	Forks []int     `json:"forks,omitempty"`
	Index int       `json:"index,omitempty"`
	Round int       `json:"round,omitempty"`
	True  []string  `json:"true,omitempty"`
	Item  any       `json:"item,omitempty"`
	Loop  *run.Loop `json:"loop,omitempty"`
	Again run.Again `json:"again,omitempty"`
}

type repeat struct {
	Left  int         `json:"left"`
	Every bpmn.Period `json:"every"`
	Days  bool        `json:"days,omitempty"`
}

// hold takes the record object and then the instance, and reads where it is.
// Fault: not-found.
func (s *Service) hold(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID) (*held, error) {
	var record uuid.UUID
	err := tx.QueryRow(ctx, sqlRecordOf, id).Scan(&record)
	if missing(err) {
		return nil, fault.New("not-found")
	}
	if err != nil {
		return nil, fmt.Errorf("hold an instance: %w", err)
	}
	if _, err := s.akten.HoldKnown(ctx, tx, a, at, record); err != nil {
		return nil, err
	}
	return s.read(ctx, tx, id)
}

func (s *Service) read(ctx context.Context, tx pgx.Tx, id uuid.UUID) (*held, error) {
	h := &held{stations: map[int]stationOf{}}
	var vars []byte
	err := tx.QueryRow(ctx, sqlHold, id).Scan(&h.id, &h.activation, &h.definition, &h.record, &h.key, &h.state.Process, &h.state.Status, &h.state.Outcome,
		&h.state.Next, &vars, &h.circulation, &h.version, &h.logged)
	if missing(err) {
		return nil, fault.New("not-found")
	}
	if err != nil {
		return nil, fmt.Errorf("hold an instance: %w", err)
	}
	if h.state.Vars, err = variables(vars); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, sqlTokens, id)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	h.state.Tokens, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (run.Token, error) {
		var t run.Token
		var raw []byte
		var c *uuid.UUID
		var n *int
		if err := row.Scan(&t.ID, &t.Node, &t.Wait, &t.Reason, &t.Since, &raw, &c, &n); err != nil {
			return t, err
		}
		var d detail
		if err := numbers(raw, &d); err != nil {
			return t, err
		}
		t.Since, t.Scope, t.Flow, t.Forks, t.Index, t.Item, t.Loop, t.Again = t.Since.UTC(), d.Scope, d.Flow, d.Forks, d.Index, native(d.Item), d.Loop, d.Again
		t.Round, t.True = d.Round, d.True
		if t.Loop != nil {
			for i := range t.Loop.Items {
				t.Loop.Items[i] = native(t.Loop.Items[i])
			}
		}
		if c != nil && n != nil {
			h.stations[t.ID] = stationOf{*c, *n}
		}
		return t, nil
	})
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	if rows, err = tx.Query(ctx, sqlTimers, id); err != nil {
		return nil, fmt.Errorf("timers: %w", err)
	}
	var token int
	var t run.TimerSet
	var r repeat
	_, err = pgx.ForEachRow(rows, []any{&token, &t.Element, &t.Due, &r}, func() error {
		h.timers = true
		t.Due, t.Left, t.Every, t.Days = t.Due.UTC(), r.Left, r.Every, r.Days
		for i := range h.state.Tokens {
			if h.state.Tokens[i].ID == token {
				h.state.Tokens[i].Timers = append(h.state.Tokens[i].Timers, t)
			}
		}
		t, r = run.TimerSet{}, repeat{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("timers: %w", err)
	}
	if h.plan, err = s.plan(ctx, tx, h.activation); err != nil {
		return nil, err
	}
	h.messages = len(run.Subscriptions(h.plan, h.state)) > 0
	return h, nil
}

// options of a step of a tenant at a moment: days by the clock of the place, and
// a deadline that was counted in days ends on a working day (§ 193 BGB).
func options(ctx context.Context, tx pgx.Tx, at time.Time) (run.Options, error) {
	c, err := calendar.Of(ctx, tx)
	if err != nil {
		return run.Options{}, err
	}
	return run.Options{Now: at.In(c.Zone), WorkingDay: func(t time.Time) time.Time {
		l := t.In(c.Zone)
		if c.Working(l) {
			return t
		}
		d := c.Next(l)
		return time.Date(d.Year(), d.Month(), d.Day(), l.Hour(), l.Minute(), l.Second(), l.Nanosecond(), c.Zone)
	}}, nil
}

// step gives an instance one input, in the caller's transaction, and what
// follows from Dokumente that are there already. run.ErrStale: nothing has
// changed.
func (s *Service) step(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, h *held, in run.Input) error {
	o, err := options(ctx, tx, at)
	if err != nil {
		return err
	}
	r, err := run.Step(h.plan, h.state, in, o)
	if err != nil {
		return err
	}
	if err := s.keep(ctx, tx, a, at, h, r, in.Reason); err != nil {
		return err
	}
	return s.takeArrived(ctx, tx, a, at, h)
}

// keep does the effects of a step and writes where the instance is now.
func (s *Service) keep(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, h *held, r run.Result, reason string) error {
	h.state = r.State
	var items []job.Item
	var facts []event.Fact
	for _, e := range r.Effects {
		switch e.Kind {
		case run.OpenTask:
			entry, err := s.open(ctx, tx, s.system(a), at, h, e)
			if err != nil {
				return err
			}
			r.Entries = append(r.Entries, entry...)
		case run.CloseTask:
			if st, ok := h.stations[e.Token]; ok {
				if err := s.routes.SkipTx(ctx, tx, s.system(a), at, st.circulation, st.number, firstOf(reason, "process: another way was taken")); err != nil {
					return err
				}
			}
		case run.CallOut:
			call, err := s.callOut(ctx, tx, at, h, e)
			if err != nil {
				return err
			}
			items = append(items, job.Item{Kind: JobCall, Subject: call})
		case run.Send:
			message, err := s.send(ctx, tx, at, h, e)
			if err != nil {
				return err
			}
			items = append(items, job.Item{Kind: JobDeliver, Subject: message})
			facts = append(facts, h.fact(MessageSent, "", map[string]any{"element": e.Node.ID, "name": e.Node.MessageName}))
		}
	}
	for _, e := range r.Entries {
		switch e.What {
		case run.Broken:
			facts = append(facts, h.fact(StepFailed, e.Detail, map[string]any{"element": e.Node, "token": e.Token}))
		case run.Ended:
			kind := Ended
			if h.state.Status == run.Cancelled {
				kind = WasCancelled
			}
			facts = append(facts, h.fact(kind, reason, map[string]any{"outcome": h.state.Outcome}))
		}
	}
	if err := s.write(ctx, tx, a, at, h, r.Entries); err != nil {
		return err
	}
	if h.state.Status != run.Running {
		if err := s.endRoutes(ctx, tx, s.system(a), at, h); err != nil {
			return err
		}
	}
	for _, al := range run.Alarms(h.state) {
		if al.Due.Before(at.Add(time.Hour)) { // later ones are found by the sweep
			items = append(items, job.Item{Kind: JobDue, Subject: h.id, RunAt: time.Now().Add(al.Due.Sub(at))})
		}
	}
	if err := s.enqueue(ctx, tx, a.Tenant, items...); err != nil {
		return err
	}
	return s.log.Append(ctx, tx, a, at, facts...)
}

func (h *held) fact(kind event.Kind, reason string, details map[string]any) event.Fact {
	details["instance_id"], details["key"] = h.id, h.key
	return event.Fact{Kind: kind, Record: h.record, SubjectKind: "process_instance", Subject: h.id, Reason: reason, Details: details}
}

// system is who brings a step to its station: the process, on no person's order.
func (s *Service) system(a access.Actor) access.Actor {
	sys := access.System(a.Tenant, a.TenantSlug)
	sys.RequestID = a.RequestID
	return sys
}

// open puts a step at its station, in the circulation of the instance. A station
// that nobody can work at now is a failed step, not a failed act of whoever
// finished the step before.
func (s *Service) open(ctx context.Context, tx pgx.Tx, sys access.Actor, at time.Time, h *held, e run.Effect) ([]run.Entry, error) {
	to, err := station(ctx, tx, at, e.Target)
	if fault.Is(err, "process-station-unknown") && len(h.plan.Activation.Stations[e.Node.ID]) == 0 {
		// Drawn, and told at activation: the unit of the Vorgang has it.
		if err = tx.QueryRow(ctx, sqlUnitOf, h.record).Scan(&to.Unit); missing(err) {
			err = fault.New("process-station-unknown", "station", e.Target.String())
		}
	}
	if err == nil {
		var number int
		if number, err = s.add(ctx, tx, sys, at, h, newStep(e, to)); err == nil {
			h.stations[e.Token] = stationOf{*h.circulation, number}
			return nil, nil
		}
	}
	f, ok := fault.As(err)
	if !ok || f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		return nil, err
	}
	for i := range h.state.Tokens {
		if t := &h.state.Tokens[i]; t.ID == e.Token {
			t.Wait, t.Again, t.Reason, t.Timers = run.Failed, run.Enter, f.Text("de"), nil
			if t.Index > 0 {
				t.Again = run.Open
			}
			for _, x := range f.Fields {
				t.Reason = fault.Text("de", x.Code, x.Params)
			}
			return []run.Entry{{Token: t.ID, Node: t.Node, What: run.Broken, Detail: t.Reason}}, nil
		}
	}
	return nil, nil
}

const (
	sqlUnitOf = `SELECT unit_id FROM record_object WHERE tenant = evb_tenant() AND id = $1 AND unit_id IS NOT NULL`
	sqlRoute  = `UPDATE process_instance SET circulation_id = $2 WHERE tenant = evb_tenant() AND id = $1`
)

func newStep(e run.Effect, to circulation.Station) circulation.NewStep {
	n := circulation.NewStep{To: to, Kind: circulation.Kind(e.Node.StepKind), Instruction: firstOf(e.Node.Name, e.Node.ID), Due: e.Due}
	if item, ok := e.Item.(string); ok && item != "" {
		n.Instruction += ": " + item
	}
	if e.Node.Doc != "" {
		n.Instruction += "\n" + e.Node.Doc
	}
	if r := []rune(n.Instruction); len(r) > 1000 {
		n.Instruction = string(r[:1000])
	}
	return n
}

// add adds a step to the circulation of the instance. One that is full is
// followed by another one; so is one that somebody ended.
func (s *Service) add(ctx context.Context, tx pgx.Tx, sys access.Actor, at time.Time, h *held, n circulation.NewStep) (int, error) {
	for fresh := false; ; fresh = true {
		if h.circulation == nil || fresh {
			id, err := s.routes.StartTx(ctx, tx, sys, at, circulation.NewCirculation{Record: h.record, Level: 4, Instance: h.id})
			if err != nil {
				return 0, err
			}
			if _, err := tx.Exec(ctx, sqlRoute, h.id, id); err != nil {
				return 0, fmt.Errorf("circulation of an instance: %w", err)
			}
			h.circulation = &id
		}
		number, err := s.routes.AddStepTx(ctx, tx, sys, at, *h.circulation, n)
		if !fresh && (fault.Is(err, "circulation-too-long") || fault.Is(err, "circulation-ended")) {
			continue
		}
		return number, err
	}
}

const sqlRoutes = `
    SELECT id FROM circulation WHERE tenant = evb_tenant() AND instance_id = $1 AND state = 'running' ORDER BY id`

func (s *Service) endRoutes(ctx context.Context, tx pgx.Tx, sys access.Actor, at time.Time, h *held) error {
	rows, err := tx.Query(ctx, sqlRoutes, h.id)
	if err != nil {
		return fmt.Errorf("circulations of an instance: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("circulations of an instance: %w", err)
	}
	for _, id := range ids { // one, but for very long instances
		if err := s.routes.EndTx(ctx, tx, sys, at, id); err != nil {
			return err
		}
	}
	return nil
}

const (
	sqlDropTokens  = `DELETE FROM process_token WHERE tenant = evb_tenant() AND instance_id = $1 AND number <> ALL ($2)`
	sqlWriteTokens = `
    INSERT INTO process_token (tenant, instance_id, number, node, wait, reason, since, detail, circulation_id, step_number)
    SELECT evb_tenant(), $1, x.number, x.node, x.wait, x.reason, x.since, x.detail, x.circulation, x.step
    FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::jsonb[], $8::uuid[], $9::int[])
        AS x (number, node, wait, reason, since, detail, circulation, step)
    ON CONFLICT (tenant, instance_id, number) DO UPDATE SET node = excluded.node, wait = excluded.wait, reason = excluded.reason, detail = excluded.detail,
        circulation_id = excluded.circulation_id, step_number = excluded.step_number
    WHERE (process_token.node, process_token.wait, process_token.reason, process_token.detail, process_token.circulation_id, process_token.step_number)
        IS DISTINCT FROM (excluded.node, excluded.wait, excluded.reason, excluded.detail, excluded.circulation_id, excluded.step_number)`
	sqlDropTimers  = `DELETE FROM process_timer WHERE tenant = evb_tenant() AND instance_id = $1`
	sqlWriteTimers = `
    INSERT INTO process_timer (tenant, instance_id, token, element, due_at, repeat)
    SELECT evb_tenant(), $1, x.token, x.element, x.due, x.repeat FROM unnest($2::int[], $3::text[], $4::timestamptz[], $5::jsonb[]) AS x (token, element, due, repeat)`
	sqlDropMessages  = `DELETE FROM process_message WHERE tenant = evb_tenant() AND instance_id = $1`
	sqlWriteMessages = `
    INSERT INTO process_message (tenant, instance_id, token, element, record_id, name, document_type)
    SELECT evb_tenant(), $1, x.token, x.element, $2, x.name, x.type FROM unnest($3::int[], $4::text[], $5::text[], $6::text[]) AS x (token, element, name, type)`
	sqlWriteLog = `
    INSERT INTO process_step_log (tenant, instance_id, number, token, node, what, detail, actor_id, occurred_at)
    SELECT evb_tenant(), $1, x.number, x.token, x.node, x.what, x.detail, $2, $3
    FROM unnest($4::int[], $5::int[], $6::text[], $7::text[], $8::text[]) AS x (number, token, node, what, detail)`
	sqlWriteInstance = `
    UPDATE process_instance SET activation_id = $2, definition_id = $3, process = $4, state = $5, outcome = $6, next_token = $7, variables = $8, failed = $9,
        ended_at = CASE WHEN $5 <> 'running' THEN coalesce(ended_at, $10::timestamptz) END, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1`
	sqlDropCalls = `
    UPDATE process_call SET state = 'dropped' WHERE tenant = evb_tenant() AND instance_id = $1 AND state IN ('open', 'failed') AND token <> ALL ($2)`
)

func (s *Service) write(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, h *held, entries []run.Entry) error {
	vars, err := json.Marshal(h.state.Vars)
	if err != nil {
		return fmt.Errorf("variables: %w", err)
	}
	if len(vars) > maxVars {
		return fault.New("process-variables-too-large", "limit", maxVars>>10)
	}
	n := len(h.state.Tokens)
	number, node, wait, reason, since, details := make([]int, n), make([]string, n), make([]string, n), make([]string, n), make([]time.Time, n), make([]string, n)
	routes, steps, live := make([]*uuid.UUID, n), make([]*int, n), []int{}
	failed := 0
	var tTokens, mTokens []int
	var tElements, tRepeat, mElements, mNames, mTypes []string
	var tDue []time.Time
	for i, t := range h.state.Tokens {
		d, err := json.Marshal(detail{Scope: t.Scope, Flow: t.Flow, Forks: t.Forks, Index: t.Index, Round: t.Round, True: t.True, Item: t.Item, Loop: t.Loop, Again: t.Again})
		if err != nil {
			return err
		}
		number[i], node[i], wait[i], reason[i], since[i], details[i] = t.ID, t.Node, string(t.Wait), t.Reason, t.Since, string(d)
		if st, ok := h.stations[t.ID]; ok && t.Wait == run.Task {
			routes[i], steps[i] = &st.circulation, &st.number
		}
		if t.Wait == run.Failed {
			failed++
		}
		if t.Wait == run.Service || t.Wait == run.Failed {
			live = append(live, t.ID)
		}
		for _, x := range t.Timers {
			rep, err := json.Marshal(repeat{Left: x.Left, Every: x.Every, Days: x.Days})
			if err != nil {
				return err
			}
			tTokens, tElements, tDue, tRepeat = append(tTokens, t.ID), append(tElements, x.Element), append(tDue, x.Due), append(tRepeat, string(rep))
		}
	}
	for _, m := range run.Subscriptions(h.plan, h.state) {
		mTokens, mElements, mNames, mTypes = append(mTokens, m.Token), append(mElements, m.Element), append(mNames, m.Name), append(mTypes, m.DocumentType)
	}
	var b pgx.Batch
	b.Queue(sqlWriteInstance, h.id, h.activation, h.definition, h.state.Process, h.state.Status, h.state.Outcome, h.state.Next, string(vars), failed, at)
	b.Queue(sqlDropTokens, h.id, number)
	b.Queue(sqlWriteTokens, h.id, number, node, wait, reason, since, details, routes, steps)
	if h.timers {
		b.Queue(sqlDropTimers, h.id)
	}
	if len(tTokens) > 0 {
		b.Queue(sqlWriteTimers, h.id, tTokens, tElements, tDue, tRepeat)
	}
	if h.messages {
		b.Queue(sqlDropMessages, h.id)
	}
	if len(mTokens) > 0 {
		b.Queue(sqlWriteMessages, h.id, h.record, mTokens, mElements, mNames, mTypes)
	}
	h.timers, h.messages = len(tTokens) > 0, len(mTokens) > 0
	b.Queue(sqlDropCalls, h.id, live)
	if k := len(entries); k > 0 {
		numbers, tokens, nodes, whats, texts := make([]int, k), make([]int, k), make([]string, k), make([]string, k), make([]string, k)
		for i, e := range entries {
			h.logged++
			numbers[i], tokens[i], nodes[i], whats[i], texts[i] = h.logged, e.Token, e.Node, e.What, e.Detail
		}
		b.Queue(sqlWriteLog, h.id, a.User, at, numbers, tokens, nodes, whats, texts)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("write an instance: %w", err)
	}
	return nil
}

// maxVars bounds the variables of an instance, in bytes of JSON.
const maxVars = 256 << 10

// variables reads JSON with whole numbers as whole numbers.
func variables(raw []byte) (map[string]any, error) {
	var m map[string]any
	if err := numbers(raw, &m); err != nil {
		return nil, err
	}
	if m == nil {
		m = map[string]any{}
	}
	for k, v := range m {
		m[k] = native(v)
	}
	return m, nil
}

func numbers(raw []byte, into any) error {
	if len(raw) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(into)
}

func native(v any) any {
	switch t := v.(type) {
	case json.Number:
		if i, err := t.Int64(); err == nil {
			return i
		}
		if f, err := t.Float64(); err == nil {
			return f
		}
		return t.String() // beyond every number: JSON could not say it again
	case map[string]any:
		for k, x := range t {
			t[k] = native(x)
		}
	case []any:
		for i, x := range t {
			t[i] = native(x)
		}
	}
	return v
}

// stale says that a step came too late or twice.
func stale(err error) bool { return errors.Is(err, run.ErrStale) }
