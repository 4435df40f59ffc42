package process

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/bpmn"
	"evb/internal/bpmn/run"
	"evb/internal/circulation"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
)

// NewInstance is an instance to be started.
type NewInstance struct {
	Definition uuid.UUID
	Vorgang    uuid.UUID
	Process    string // of the file; empty: the main one
	Start      string // start event; empty: the first
	Variables  map[string]any
	Key        idempotency.Key
}

const (
	sqlActivation = `
    SELECT a.id, d.key FROM process_definition d
    LEFT JOIN process_activation a ON a.tenant = d.tenant AND a.definition_id = d.id AND a.ended_at = 'infinity'
    WHERE d.tenant = evb_tenant() AND d.id = $1`
	sqlInsertInstance = `
    INSERT INTO process_instance (tenant, id, activation_id, definition_id, record_id, process, state, next_token, started_at, started_by)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, 'running', 1, $6, $7)`
)

// Start begins an instance for a Vorgang that the actor may change, and goes to
// its first stations. A repeated request with the same key gets the first
// answer. Faults: not-found, read-only-role, process-not-active,
// process-record-unfit, process-start-unknown, process-variables-too-large.
func (s *Service) Start(ctx context.Context, a access.Actor, n NewInstance) (i Instance, replayed bool, err error) {
	return idempotency.Once(ctx, s.db, a, n.Key, func(tx pgx.Tx) (Instance, uuid.UUID, error) {
		id, err := s.StartTx(ctx, tx, a, s.now(), n)
		if err != nil {
			return i, uuid.Nil, err
		}
		i, err = one(ctx, tx, s, sqlByID, id)
		return i, n.Vorgang, err
	})
}

// StartTx is Start in the caller's transaction, for rules (level 3); the system
// actor is asked for no rights, and the key is not looked at.
func (s *Service) StartTx(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n NewInstance) (uuid.UUID, error) {
	o, err := s.akten.Hold(ctx, tx, a, at, n.Vorgang)
	switch {
	case err != nil:
		return uuid.Nil, err
	case o.Kind != akte.KindVorgang || o.Lifecycle != akte.Open:
		return uuid.Nil, fault.New("process-record-unfit")
	case !o.Changes:
		return uuid.Nil, fault.New("read-only-role")
	}
	h := &held{definition: n.Definition, record: n.Vorgang, stations: map[int]stationOf{}}
	var activation *uuid.UUID
	err = tx.QueryRow(ctx, sqlActivation, n.Definition).Scan(&activation, &h.key)
	switch {
	case missing(err):
		return uuid.Nil, fault.New("not-found")
	case err != nil:
		return uuid.Nil, fmt.Errorf("start: %w", err)
	case activation == nil:
		return uuid.Nil, fault.New("process-not-active")
	}
	h.activation = *activation
	if h.plan, err = s.plan(ctx, tx, h.activation); err != nil {
		return uuid.Nil, err
	}
	process := firstOf(n.Process, h.plan.Model.Main().ID)
	opts, err := options(ctx, tx, at)
	if err != nil {
		return uuid.Nil, err
	}
	vars, err := clean(n.Variables)
	if err != nil {
		return uuid.Nil, err
	}
	r, err := run.Start(h.plan, process, n.Start, vars, opts)
	if err != nil {
		return uuid.Nil, fault.Wrap(err, "process-start-unknown", "process", process, "start", n.Start)
	}
	if h.id, err = uuid.NewV7(); err != nil {
		return uuid.Nil, err
	}
	if _, err := tx.Exec(ctx, sqlInsertInstance, h.id, h.activation, h.definition, h.record, process, at, a.User); err != nil {
		return uuid.Nil, fmt.Errorf("start: %w", err)
	}
	h.state.Process = process
	if err := s.log.Append(ctx, tx, a, at, h.fact(Started, "", map[string]any{"process": process})); err != nil {
		return uuid.Nil, err
	}
	return h.id, s.keep(ctx, tx, a, at, h, r, "")
}

// clean brings variables into the form that conditions read.
func clean(vars map[string]any) (map[string]any, error) {
	raw, err := json.Marshal(vars)
	if err != nil {
		return nil, err
	}
	return variables(raw)
}

const sqlTokenOf = `
    SELECT number FROM process_token WHERE tenant = evb_tenant() AND instance_id = $1 AND circulation_id = $2 AND step_number = $3 AND wait = 'task'`

// refused is the code of the error that a refusal is, for a boundary event.
const refused = "refused"

// Completed is for circulation.Options.Completed: a person has executed a
// station, and the token goes on in the same transaction. What the person
// filled in becomes variables. A step that comes back because its agreement is
// void, or that was left by another way, says nothing. Faults:
// process-data-invalid, process-variables-too-large.
func (s *Service) Completed(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, c circulation.Completed) error {
	h, err := s.read(ctx, tx, c.Instance)
	if err != nil {
		return err
	}
	var token int
	err = tx.QueryRow(ctx, sqlTokenOf, h.id, c.Circulation, c.Number).Scan(&token)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("token of a station: %w", err)
	}
	if c.Outcome == circulation.WasRecall { // the route is gone, and the process with it
		return s.step(ctx, tx, a, at, h, run.Input{Kind: run.Cancel, Reason: c.Remark})
	}
	t, _ := h.state.Token(token)
	node := h.plan.Model.Node(t.Node)
	data, err := variables(c.Data)
	if err != nil {
		return fault.Wrap(err, "process-data-invalid").With("/data", "process-data-invalid")
	}
	if c.Outcome != circulation.WasSkip {
		if err := fits(node, data); err != nil {
			return err
		}
	}
	in := run.Input{Kind: run.TaskDone, Token: token, Outcome: string(c.Outcome), Vars: data, Reason: c.Remark}
	if c.Outcome == circulation.Refused && catches(node) {
		in.Kind, in.Code = run.TaskError, refused
	}
	if err := s.step(ctx, tx, a, at, h, in); err != nil && !stale(err) {
		return err
	}
	return nil
}

func catches(n *bpmn.Node) bool {
	for _, b := range n.Boundary {
		if b.Trigger == bpmn.Error && (b.Code == refused || b.Code == "") {
			return true
		}
	}
	return false
}

// act runs one act of a person on an instance that the person may change.
func (s *Service) act(ctx context.Context, a access.Actor, id uuid.UUID, ifVersion int64, fn func(tx pgx.Tx, at time.Time, h *held) error) (i Instance, err error) {
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		seen, err := one(ctx, tx, s, sqlSeen, id, a.User, at)
		if err != nil {
			return err
		}
		o, err := s.akten.Hold(ctx, tx, a, at, seen.VorgangID)
		switch {
		case err != nil:
			return err
		case !o.Changes && designs(a) != nil:
			return fault.New("read-only-role")
		}
		h, err := s.read(ctx, tx, id)
		if err != nil {
			return err
		}
		if ifVersion != 0 && ifVersion != h.version {
			return fault.New("stale-version")
		}
		if h.state.Status != run.Running {
			return fault.New("process-ended")
		}
		if err := fn(tx, at, h); err != nil {
			return err
		}
		i, err = one(ctx, tx, s, sqlByID, id)
		return err
	})
	return i, err
}

// Retry lets failed steps try again, all of them when token is 0, after setting
// variables. Faults: not-found, read-only-role, stale-version, process-ended,
// process-step-not-failed, process-variables-too-large.
func (s *Service) Retry(ctx context.Context, a access.Actor, id uuid.UUID, token int, vars map[string]any, ifVersion int64) (Instance, error) {
	return s.act(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, h *held) error {
		set, err := clean(vars)
		if err != nil {
			return err
		}
		var facts []event.Fact
		for _, t := range append([]run.Token(nil), h.state.Tokens...) {
			if t.Wait != run.Failed || token != 0 && t.ID != token {
				continue
			}
			facts = append(facts, h.fact(StepRetried, "", map[string]any{"element": t.Node, "token": t.ID}))
			if err := s.step(ctx, tx, a, at, h, run.Input{Kind: run.Retry, Token: t.ID, Vars: set}); err != nil && !stale(err) {
				return err
			}
		}
		if len(facts) == 0 {
			return fault.New("process-step-not-failed")
		}
		return s.log.Append(ctx, tx, a, at, facts...)
	})
}

// Cancel ends an instance, with a reason: what is at stations leaves the desks.
// Faults: not-found, read-only-role, stale-version, process-ended, reason-needed.
func (s *Service) Cancel(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Instance, error) {
	if strings.TrimSpace(reason) == "" {
		return Instance{}, fault.New("reason-needed").With("/reason", "reason-needed")
	}
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return Instance{}, err
	}
	return s.act(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, h *held) error {
		return s.step(ctx, tx, a, at, h, run.Input{Kind: run.Cancel, Reason: reason})
	})
}

// Message brings a message from outside to an instance: the first event that
// waits for that name, or for an element of that id. Faults: not-found,
// read-only-role, stale-version, process-ended, process-message-unawaited,
// process-variables-too-large.
func (s *Service) Message(ctx context.Context, a access.Actor, id uuid.UUID, name string, vars map[string]any, ifVersion int64) (Instance, error) {
	return s.act(ctx, a, id, ifVersion, func(tx pgx.Tx, at time.Time, h *held) error {
		set, err := clean(vars)
		if err != nil {
			return err
		}
		for _, m := range run.Subscriptions(h.plan, h.state) {
			if m.Name != name && m.Element != name {
				continue
			}
			if err := s.log.Append(ctx, tx, a, at, h.fact(MessageTaken, "", map[string]any{"element": m.Element, "name": m.Name})); err != nil {
				return err
			}
			return s.step(ctx, tx, a, at, h, run.Input{Kind: run.MessageCame, Token: m.Token, Element: m.Element, Vars: set})
		}
		return fault.New("process-message-unawaited", "name", name)
	})
}

const (
	sqlNamed = `
    SELECT d.id FROM process_definition d
    JOIN process_activation a ON a.tenant = d.tenant AND a.definition_id = d.id AND a.ended_at = 'infinity'
    WHERE d.tenant = evb_tenant() AND (d.key = $1 OR d.name = $1 OR d.id::text = $1) ORDER BY d.key = $1 DESC, d.version DESC, d.id DESC LIMIT 1`
	sqlVorgangOf = `
    SELECT p.id FROM record_object o JOIN record_object p ON p.tenant = o.tenant AND p.id = o.parent_id AND p.kind = 'vorgang'
    WHERE o.tenant = evb_tenant() AND o.id = $1`
)

// StartFor begins a process for the Vorgang that a Dokument lies in, in the
// caller's transaction, for rules (level 3): the newest version that is active
// of a process of that key, name or id. Its variables tell the Dokument. Faults:
// process-not-active, process-record-unfit (also when the Dokument is not
// filed), and those of Start.
func (s *Service) StartFor(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID, name string, vars map[string]any) (uuid.UUID, error) {
	n := NewInstance{Variables: map[string]any{"dokument_id": dokument.String()}}
	for k, v := range vars {
		n.Variables[k] = v
	}
	if err := tx.QueryRow(ctx, sqlNamed, name).Scan(&n.Definition); missing(err) {
		return uuid.Nil, fault.New("process-not-active")
	} else if err != nil {
		return uuid.Nil, fmt.Errorf("process by name: %w", err)
	}
	if err := tx.QueryRow(ctx, sqlVorgangOf, dokument).Scan(&n.Vorgang); missing(err) {
		return uuid.Nil, fault.New("process-record-unfit")
	} else if err != nil {
		return uuid.Nil, fmt.Errorf("vorgang of a dokument: %w", err)
	}
	return s.StartTx(ctx, tx, a, at, n)
}
