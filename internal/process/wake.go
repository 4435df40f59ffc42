package process

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/bpmn/run"
	"evb/internal/job"
	"evb/internal/postgres"
)

// Jobs of this package.
func (s *Service) Jobs() []job.Definition {
	return []job.Definition{
		{Kind: JobDue, Queue: job.Interactive, Run: func(ctx context.Context, j job.Job) error { return s.Wake(ctx, j.Tenant, j.Subject) }},
		{Kind: JobTimers, Queue: job.Interactive, Every: 30 * time.Second, Timeout: 10 * time.Minute, Run: func(ctx context.Context, j job.Job) error { return s.Sweep(ctx, j.Tenant) }},
		{Kind: JobArrived, Queue: job.Interactive, Run: func(ctx context.Context, j job.Job) error { return s.Arrived(ctx, j.Tenant, j.Subject) }},
		{Kind: JobDeliver, Queue: job.Interactive, Open: openMessages, Run: func(ctx context.Context, j job.Job) error { return s.Deliver(ctx, j.Tenant, j.Subject) }},
		{Kind: JobCall, Queue: job.Interactive, MaxAttempts: maxCalls, Open: openCalls, Run: s.runCall},
	}
}

const (
	sqlDueInstances = `
    SELECT instance_id FROM process_timer WHERE tenant = evb_tenant() AND due_at <= $1 AND instance_id <> ALL ($2)
    GROUP BY instance_id ORDER BY min(due_at), instance_id LIMIT 500`
	sqlOpenMessages = `SELECT id FROM process_outbox WHERE tenant = evb_tenant() AND delivered_at IS NULL ORDER BY sent_at, id LIMIT $1`
	sqlOpenCalls    = `SELECT id FROM process_call WHERE tenant = evb_tenant() AND state = 'open' ORDER BY created_at, id LIMIT $1`
)

func openMessages(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
	return ids(ctx, q, sqlOpenMessages, limit)
}

func openCalls(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
	return ids(ctx, q, sqlOpenCalls, limit)
}

func ids(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// Sweep wakes every instance of a tenant with a timer that is due. One that
// cannot be woken does not hold up the others; the error names it. Repeatable.
func (s *Service) Sweep(ctx context.Context, tenant access.Tenant) error {
	stuck := []uuid.UUID{}
	var first error
	for {
		var due []uuid.UUID
		err := s.db.Read(ctx, tenant, func(q postgres.Querier) (err error) {
			due, err = ids(ctx, q, sqlDueInstances, s.now(), stuck)
			return err
		})
		if err != nil {
			return err
		}
		if len(due) == 0 {
			return first
		}
		for _, id := range due {
			err := s.Wake(ctx, tenant, id)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				stuck = append(stuck, id)
				s.slog.ErrorContext(ctx, "timer of a process", "instance_id", id, "err", err)
				if first == nil {
					first = fmt.Errorf("wake instance %s: %w", id, err)
				}
			}
		}
	}
}

const sqlDropTimer = `DELETE FROM process_timer WHERE tenant = evb_tenant() AND instance_id = $1 AND token = $2 AND element = $3`

// Wake fires the timers of an instance that are due, the earliest first, each in
// a transaction of its own. Repeatable.
func (s *Service) Wake(ctx context.Context, tenant access.Tenant, id uuid.UUID) error {
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return err
	}
	for more := true; more; {
		err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
			more = false
			at := s.now()
			h, err := s.hold(ctx, tx, a, at, id)
			if err != nil {
				return err
			}
			var next *run.Alarm
			for _, al := range run.Alarms(h.state) {
				if !al.Due.After(at) && (next == nil || al.Due.Before(next.Due)) {
					next = &al
				}
			}
			if next == nil {
				return nil
			}
			more = true
			err = s.step(ctx, tx, a, at, h, run.Input{Kind: run.TimerFired, Token: next.Token, Element: next.Element})
			if stale(err) { // an event that another version of the process does not have
				_, err = tx.Exec(ctx, sqlDropTimer, id, next.Token, next.Element)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	// Rows of instances that are ended meanwhile do no harm.
	sqlArrive = `
    INSERT INTO process_arrival (tenant, instance_id, dokument_id, arrived_at)
    SELECT i.tenant, i.id, o.id, $2 FROM record_object o
    JOIN process_instance i ON i.tenant = o.tenant AND i.record_id = o.parent_id AND i.state = 'running'
    WHERE o.tenant = evb_tenant() AND o.id = $1
    ON CONFLICT DO NOTHING`
	sqlArrivedAt = `
    SELECT i.id FROM process_instance i JOIN process_arrival x ON x.tenant = i.tenant AND x.instance_id = i.id
    WHERE i.tenant = evb_tenant() AND x.dokument_id = $1 AND x.element IS NULL AND i.state = 'running' ORDER BY i.id`
	sqlAwaited = `
    SELECT m.token, m.element, x.dokument_id, d.document_type
    FROM process_message m
    JOIN process_arrival x ON x.tenant = m.tenant AND x.instance_id = m.instance_id AND x.element IS NULL
    JOIN record_metadata d ON d.tenant = x.tenant AND d.record_id = x.dokument_id AND d.document_type <> '' AND lower(d.document_type) = lower(m.document_type)
    WHERE m.tenant = evb_tenant() AND m.instance_id = $1 ORDER BY x.arrived_at, x.dokument_id, m.token, m.element LIMIT 1`
	sqlTaken = `UPDATE process_arrival SET element = $3 WHERE tenant = evb_tenant() AND instance_id = $1 AND dokument_id = $2`
)

// Arrived tells the running instances of its Vorgang that a Dokument is there.
// It waits for an event that wants its type, and is the message of one alone.
// Repeatable.
func (s *Service) Arrived(ctx context.Context, tenant access.Tenant, dokument uuid.UUID) error {
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return err
	}
	var waiting []uuid.UUID
	err = s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlArrive, dokument, s.now()); err != nil {
			return fmt.Errorf("arrival: %w", err)
		}
		waiting, err = ids(ctx, tx, sqlArrivedAt, dokument)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range waiting {
		err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
			at := s.now()
			h, err := s.hold(ctx, tx, a, at, id)
			if err != nil || h.state.Status != run.Running {
				return err
			}
			return s.takeArrived(ctx, tx, a, at, h)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// maxTaken bounds what one transaction takes of what has arrived.
const maxTaken = 50

// takeArrived gives Dokumente that are there to events that wait for them.
func (s *Service) takeArrived(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, h *held) error {
	for range maxTaken {
		if h.state.Status != run.Running || len(run.Subscriptions(h.plan, h.state)) == 0 {
			return nil
		}
		var token int
		var element, docType string
		var dokument uuid.UUID
		err := tx.QueryRow(ctx, sqlAwaited, h.id).Scan(&token, &element, &dokument, &docType)
		if missing(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("what arrived: %w", err)
		}
		if _, err := tx.Exec(ctx, sqlTaken, h.id, dokument, element); err != nil {
			return fmt.Errorf("what arrived: %w", err)
		}
		if err := s.log.Append(ctx, tx, a, at, h.fact(MessageTaken, "", map[string]any{"element": element, "dokument_id": dokument, "document_type": docType})); err != nil {
			return err
		}
		o, err := options(ctx, tx, at)
		if err != nil {
			return err
		}
		r, err := run.Step(h.plan, h.state, run.Input{Kind: run.MessageCame, Token: token, Element: element, Vars: map[string]any{
			"dokument_id": dokument.String(), "document_type": docType,
		}}, o)
		if err != nil {
			return err
		}
		if err := s.keep(ctx, tx, a, at, h, r, ""); err != nil {
			return err
		}
	}
	return nil
}

const (
	sqlSend = `
    INSERT INTO process_outbox (tenant, id, instance_id, node, name, sent_at) VALUES (evb_tenant(), $1, $2, $3, $4, $5)`
	sqlSent = `
    SELECT b.name, b.node, b.instance_id, i.record_id FROM process_outbox b JOIN process_instance i ON i.tenant = b.tenant AND i.id = b.instance_id
    WHERE b.tenant = evb_tenant() AND b.id = $1 AND b.delivered_at IS NULL`
	// Who waits for the name, or in another pool of the same file for the element at
	// the end of the message flow.
	sqlReceivers = `
    SELECT DISTINCT m.instance_id FROM process_message m JOIN process_instance i ON i.tenant = m.tenant AND i.id = m.instance_id
    WHERE m.tenant = evb_tenant() AND m.record_id = $1 AND (m.name = $2 OR m.element = ANY ($4) AND i.definition_id = $5) AND ($6 OR m.instance_id <> $3)
    ORDER BY m.instance_id`
	sqlDelivered = `UPDATE process_outbox SET delivered_at = $2 WHERE tenant = evb_tenant() AND id = $1 AND delivered_at IS NULL`
)

// send puts a message into the outbox.
func (s *Service) send(ctx context.Context, tx pgx.Tx, at time.Time, h *held, e run.Effect) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return id, err
	}
	if _, err := tx.Exec(ctx, sqlSend, id, h.id, e.Node.ID, e.Node.MessageName, at); err != nil {
		return id, fmt.Errorf("send a message: %w", err)
	}
	return id, nil
}

// Deliver brings a message to the other instances of the Vorgang that wait for
// it now, to one event of each; a signal to every event of all, its own instance
// included; in one transaction. Repeatable.
func (s *Service) Deliver(ctx context.Context, tenant access.Tenant, message uuid.UUID) error {
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		at := s.now()
		var name, node string
		var from, record uuid.UUID
		err := tx.QueryRow(ctx, sqlSent, message).Scan(&name, &node, &from, &record)
		if missing(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("deliver a message: %w", err)
		}
		if _, err := s.akten.HoldKnown(ctx, tx, a, at, record); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, sqlDelivered, message, at)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		sender, err := s.read(ctx, tx, from)
		if err != nil {
			return err
		}
		var signal bool
		var flows []string
		if n := sender.plan.Model.Node(node); n != nil {
			signal, flows = n.Trigger == bpmn.Signal, n.SentTo
		}
		receivers, err := ids(ctx, tx, sqlReceivers, record, name, from, flows, sender.definition, signal)
		if err != nil {
			return err
		}
		for _, id := range receivers {
			h, err := s.read(ctx, tx, id)
			if err != nil {
				return err
			}
			for _, m := range run.Subscriptions(h.plan, h.state) {
				aimed := m.Name == name || h.definition == sender.definition && slices.Contains(flows, m.Element)
				if m.Signal != signal || !aimed {
					continue
				}
				err := s.step(ctx, tx, a, at, h, run.Input{Kind: run.MessageCame, Token: m.Token, Element: m.Element})
				if stale(err) { // another event of the same signal has taken its token away
					continue
				}
				if err != nil {
					return err
				}
				if !signal {
					break
				}
			}
		}
		return nil
	})
}
