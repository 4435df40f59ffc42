package process

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

const (
	sqlInstances = `
    SELECT i.id, i.definition_id, i.activation_id, d.key, d.version, i.process, i.record_id, i.state, i.outcome, i.failed, i.variables, i.started_at,
        i.started_by, i.ended_at, i.row_version
    FROM process_instance i
    JOIN process_definition d ON d.tenant = i.tenant AND d.id = i.definition_id
    JOIN record_object o ON o.tenant = i.tenant AND o.id = i.record_id
    WHERE i.tenant = evb_tenant()`
	sqlByID = sqlInstances + ` AND i.id = $1`
	sqlAt   = `
    SELECT t.instance_id, t.number, t.node, t.wait, t.reason, t.since, t.circulation_id, t.step_number,
        (SELECT min(x.due_at) FROM process_timer x WHERE x.tenant = t.tenant AND x.instance_id = t.instance_id AND x.token = t.number)
    FROM process_token t WHERE t.tenant = evb_tenant() AND t.instance_id = ANY ($1) AND t.wait <> 'guard' ORDER BY t.instance_id, t.number`
	sqlAwaiting = `
    SELECT instance_id, token, element, name, document_type FROM process_message WHERE tenant = evb_tenant() AND instance_id = ANY ($1) ORDER BY token, element`
	sqlLog = `
    SELECT number, token, node, what, detail, actor_id, occurred_at FROM process_step_log
    WHERE tenant = evb_tenant() AND instance_id = $1 ORDER BY number DESC LIMIT 1000`
)

var (
	sqlSeen         = sqlByID + ` AND ` + access.Sees("o", 2, 3)
	sqlOfDefinition = sqlInstances + ` AND i.definition_id = $1 AND ($4::uuid IS NULL OR i.id < $4) AND ($5 = '' OR i.state = $5 OR $5 = 'failed' AND i.failed > 0)
        AND ` + access.Sees("o", 2, 3) + ` ORDER BY i.id DESC LIMIT $6`
	sqlOfVorgang = sqlInstances + ` AND i.record_id = $1 AND ` + access.Sees("o", 2, 3) + ` ORDER BY i.id DESC LIMIT 200`
)

// instances reads instances with where they stand.
func (s *Service) instances(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]Instance, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("instances: %w", err)
	}
	at := map[uuid.UUID]int{}
	var found []uuid.UUID
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (i Instance, err error) {
		var vars []byte
		err = row.Scan(&i.ID, &i.DefinitionID, &i.ActivationID, &i.Key, &i.Version, &i.Process, &i.VorgangID, &i.State, &i.Outcome, &i.Failed, &vars,
			&i.StartedAt, &i.StartedBy, &i.EndedAt, &i.RowVersion)
		if err != nil {
			return i, err
		}
		i.StartedAt, i.Steps = i.StartedAt.UTC(), []Step{}
		if i.EndedAt != nil {
			e := i.EndedAt.UTC()
			i.EndedAt = &e
		}
		at[i.ID] = len(found)
		found = append(found, i.ID)
		i.Variables, err = variables(vars)
		return i, err
	})
	if err != nil || len(all) == 0 {
		return all, err
	}
	if rows, err = q.Query(ctx, sqlAt, found); err != nil {
		return nil, fmt.Errorf("steps of instances: %w", err)
	}
	var of uuid.UUID
	var t Step
	_, err = pgx.ForEachRow(rows, []any{&of, &t.Token, &t.Element, &t.Waits, &t.Reason, &t.Since, &t.CirculationID, &t.Number, &t.DueAt}, func() error {
		t.Since = t.Since.UTC()
		i := &all[at[of]]
		i.Steps = append(i.Steps, t)
		t = Step{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("steps of instances: %w", err)
	}
	if rows, err = q.Query(ctx, sqlAwaiting, found); err != nil {
		return nil, fmt.Errorf("messages of instances: %w", err)
	}
	var token int
	var m Awaited
	_, err = pgx.ForEachRow(rows, []any{&of, &token, &m.Element, &m.Name, &m.DocumentType}, func() error {
		steps := all[at[of]].Steps
		for k := range steps {
			if steps[k].Token == token {
				steps[k].Messages = append(steps[k].Messages, m)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("messages of instances: %w", err)
	}
	for k := range all { // names are in the file, which is compiled already
		p, err := s.plan(ctx, q, all[k].ActivationID)
		if err != nil {
			return nil, err
		}
		for n := range all[k].Steps {
			st := &all[k].Steps[n]
			if node := p.Model.Node(st.Element); node != nil {
				st.Type, st.Name = node.Element, node.Name
			}
			if st.DueAt != nil {
				d := st.DueAt.UTC()
				st.DueAt = &d
			}
		}
	}
	return all, nil
}

func one(ctx context.Context, q postgres.Querier, s *Service, sql string, args ...any) (Instance, error) {
	all, err := s.instances(ctx, q, sql, args...)
	if err != nil {
		return Instance{}, err
	}
	if len(all) == 0 {
		return Instance{}, fault.New("not-found")
	}
	return all[0], nil
}

// Instance gives an instance with the last 1,000 lines of its log to who sees
// its Vorgang, else the fault not-found.
func (s *Service) Instance(ctx context.Context, a access.Actor, id uuid.UUID) (i Instance, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if i, err = one(ctx, q, s, sqlSeen, id, a.User, s.now()); err != nil {
			return err
		}
		rows, err := q.Query(ctx, sqlLog, id)
		if err != nil {
			return err
		}
		i.Log, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l LogLine, err error) {
			err = row.Scan(&l.Number, &l.Token, &l.Element, &l.What, &l.Detail, &l.ActorID, &l.OccurredAt)
			l.OccurredAt = l.OccurredAt.UTC()
			return l, err
		})
		for k, n := 0, len(i.Log)-1; k < n; k, n = k+1, n-1 {
			i.Log[k], i.Log[n] = i.Log[n], i.Log[k]
		}
		return err
	})
	return i, err
}

// InstancesOf lists the instances of a definition that the actor sees, newest
// first. state is running, done, cancelled, failed (running, with a failed step)
// or empty. Fault: not-found when there is no such definition.
func (s *Service) InstancesOf(ctx context.Context, a access.Actor, definitionID uuid.UUID, state string, before uuid.UUID, limit int) (out []Instance, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var activation *uuid.UUID
		var key string
		if err := q.QueryRow(ctx, sqlActivation, definitionID).Scan(&activation, &key); missing(err) {
			return fault.New("not-found")
		} else if err != nil {
			return err
		}
		out, err = s.instances(ctx, q, sqlOfDefinition, definitionID, a.User, s.now(), ptr(before), state, limit)
		return err
	})
	return out, err
}

// Of lists the instances of a Vorgang that the actor sees, newest first.
func (s *Service) Of(ctx context.Context, a access.Actor, vorgang uuid.UUID) (out []Instance, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = s.instances(ctx, q, sqlOfVorgang, vorgang, a.User, s.now())
		return err
	})
	return out, err
}
