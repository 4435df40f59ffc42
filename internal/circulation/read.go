package circulation

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/preservation"
)

const (
	sqlCirculations = `
    SELECT c.id, c.record_id, o.kind, c.level, c.state, c.instance_id, c.created_at, c.created_by, u.display_name, c.ended_at, c.row_version,
        v.id, coalesce(v.number, 0), coalesce(g.uphold, false)
    FROM circulation c
    JOIN record_object o ON o.tenant = c.tenant AND o.id = c.record_id
    JOIN app_user u ON u.tenant = c.tenant AND u.id = c.created_by
    LEFT JOIN circulation_setting g ON g.tenant = o.tenant AND g.unit_id = o.unit_id
    LEFT JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id
    LEFT JOIN dokument_version v ON v.tenant = d.tenant AND v.dokument_id = d.id AND v.number = d.current_version
    WHERE c.tenant = evb_tenant()`
	// OFFSET 0 keeps the planner from reading whole tables that were small when it
	// made the plan: each step is found by its index, however fast they grow.
	sqlAllSteps = `
    SELECT s.circulation_id, s.id, s.number, s.position, coalesce(s.parallel_group, 0), s.status, s.kind, s.instruction, s.instructed_by, ui.display_name,
        s.instructed_at, s.user_id, coalesce(uu.display_name, ''), coalesce(uu.login, ''), s.unit_id, coalesce(ou.code, ''), s.function_name,
        CASE WHEN s.due_at < 'infinity' THEN s.due_at END, NOT s.second_pair, s.current_since, coalesce(rs.number, 0), coalesce(p.name, '')
    FROM unnest($1::uuid[]) AS want (id)
    CROSS JOIN LATERAL (SELECT t.* FROM circulation_step t WHERE t.tenant = evb_tenant() AND t.circulation_id = want.id OFFSET 0) s
    JOIN app_user ui ON ui.tenant = s.tenant AND ui.id = s.instructed_by
    LEFT JOIN app_user uu ON uu.tenant = s.tenant AND uu.id = s.user_id
    LEFT JOIN org_unit ou ON ou.tenant = s.tenant AND ou.id = s.unit_id
    LEFT JOIN circulation_step rs ON rs.tenant = s.tenant AND rs.id = s.returned_id
    LEFT JOIN LATERAL (
        SELECT t.tenant, t.postkorb_id FROM postkorb_item t WHERE t.tenant = s.tenant AND t.step_id = s.id AND t.state IN ('open', 'claimed', 'waiting') OFFSET 0) i ON true
    LEFT JOIN postkorb p ON p.tenant = i.tenant AND p.id = i.postkorb_id
    ORDER BY s.circulation_id, s.position, s.number`
	sqlAllExecutions = `
    SELECT x.step_id, x.id, x.outcome, x.remark, v.dokument_id, x.version_id, coalesce(v.number, 0), x.archive_version_id, x.actor_id, ua.display_name,
        x.on_behalf_of, coalesce(ub.display_name, ''), x.capacity, x.occurred_at, w.id IS NOT NULL, x.voids_id, x.upholds_id, coalesce(p.name, '')
    FROM unnest($1::uuid[]) AS want (id)
    CROSS JOIN LATERAL (SELECT t.tenant, t.id FROM circulation_step t WHERE t.tenant = evb_tenant() AND t.circulation_id = want.id OFFSET 0) s
    CROSS JOIN LATERAL (SELECT t.* FROM circulation_step_execution t WHERE t.tenant = s.tenant AND t.step_id = s.id OFFSET 0) x
    JOIN app_user ua ON ua.tenant = x.tenant AND ua.id = x.actor_id
    LEFT JOIN app_user ub ON ub.tenant = x.tenant AND ub.id = x.on_behalf_of
    LEFT JOIN dokument_version v ON v.tenant = x.tenant AND v.id = x.version_id
    LEFT JOIN LATERAL (SELECT t.id FROM circulation_step_execution t WHERE t.tenant = x.tenant AND t.voids_id = x.id OFFSET 0) w ON true
    LEFT JOIN postkorb p ON p.tenant = x.tenant AND p.id = x.postkorb_id
    ORDER BY x.occurred_at, x.id`

	sqlByID       = sqlCirculations + ` AND c.id = $1`
	sqlByInstance = sqlCirculations + ` AND c.instance_id = $1 ORDER BY c.created_at, c.id`
)

var (
	sqlSeen     = sqlByID + ` AND ` + visible("c", "o", 2, 3)
	sqlOfRecord = sqlCirculations + ` AND c.record_id = $1 AND ` + visible("c", "o", 2, 3) + ` ORDER BY c.created_at, c.id`
)

// ByID gives a circulation without asking for rights, or the fault not-found.
func ByID(ctx context.Context, q postgres.Querier, id uuid.UUID) (Circulation, error) {
	return one(ctx, q, sqlByID, id)
}

// ByInstance gives the circulations of a process instance, oldest first, without
// asking for rights.
func ByInstance(ctx context.Context, q postgres.Querier, instance uuid.UUID) ([]Circulation, error) {
	return read(ctx, q, sqlByInstance, instance)
}

// Circulation gives a circulation to who sees its object and to who began it,
// else the fault not-found.
func (s *Service) Circulation(ctx context.Context, a access.Actor, id uuid.UUID) (c Circulation, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		c, err = one(ctx, q, sqlSeen, id, a.User, s.now())
		return err
	})
	return c, err
}

// Of lists the circulations of an object that the actor sees, oldest first:
// none for who sees neither object nor circulation. No limit: they are few.
func (s *Service) Of(ctx context.Context, a access.Actor, record uuid.UUID) (out []Circulation, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = read(ctx, q, sqlOfRecord, record, a.User, s.now())
		return err
	})
	return out, err
}

const sqlSigned = `
    SELECT x.id, x.version_id, s.circulation_id, s.number, s.kind, x.outcome, x.actor_id, coalesce(x.on_behalf_of, '00000000-0000-0000-0000-000000000000'), x.occurred_at
    FROM dokument_version v
    JOIN circulation_step_execution x ON x.tenant = v.tenant AND x.version_id = v.id AND x.outcome IN ('agreed', 'upheld')
    JOIN circulation_step s ON s.tenant = x.tenant AND s.id = x.step_id
    WHERE v.tenant = evb_tenant() AND v.dokument_id = $1 ORDER BY x.occurred_at, x.id`

// SignedUnder is for preservation.Options.Agreements: every agreement that was
// ever given to a version of a Dokument, in its order.
func SignedUnder(ctx context.Context, q postgres.Querier, dokument uuid.UUID) ([]preservation.Agreement, error) {
	rows, err := q.Query(ctx, sqlSigned, dokument)
	if err != nil {
		return nil, wrap(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[preservation.Agreement])
	return out, wrap(err)
}

func one(ctx context.Context, q postgres.Querier, sql string, args ...any) (Circulation, error) {
	all, err := read(ctx, q, sql, args...)
	if err != nil {
		return Circulation{}, err
	}
	if len(all) == 0 {
		return Circulation{}, fault.New("not-found")
	}
	return all[0], nil
}

func read(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]Circulation, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("circulations: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Circulation, err error) {
		err = row.Scan(&c.ID, &c.RecordID, &c.RecordKind, &c.Level, &c.State, &c.InstanceID, &c.CreatedAt, &c.CreatedBy, &c.CreatedByName, &c.EndedAt,
			&c.RowVersion, &c.VersionID, &c.Version, &c.Uphold)
		return c, err
	})
	if err != nil || len(all) == 0 {
		return nil, wrap(err)
	}
	ids, at := make([]uuid.UUID, len(all)), map[uuid.UUID]int{}
	for i, c := range all {
		ids[i], at[c.ID] = c.ID, i
	}
	type place struct{ circulation, step int }
	places := map[uuid.UUID]place{}
	if rows, err = q.Query(ctx, sqlAllSteps, ids); err != nil {
		return nil, wrap(err)
	}
	var of uuid.UUID
	var t Step
	var user, unit *uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{
		&of, &t.ID, &t.Number, &t.Position, &t.Group, &t.Status, &t.Kind, &t.Instruction, &t.InstructedBy, &t.InstructedByName, &t.InstructedAt,
		&user, &t.UserName, &t.UserLogin, &unit, &t.UnitCode, &t.To.Function, &t.DueAt, &t.OwnDraft, &t.CurrentSince, &t.ReturnedFrom, &t.Postkorb,
	}, func() error {
		c := &all[at[of]]
		t.To.User, t.To.Unit = deref(user), deref(unit)
		places[t.ID] = place{at[of], len(c.Steps)}
		c.Steps = append(c.Steps, t)
		t, user, unit = Step{}, nil, nil
		return nil
	})
	if err != nil {
		return nil, wrap(err)
	}
	if rows, err = q.Query(ctx, sqlAllExecutions, ids); err != nil {
		return nil, wrap(err)
	}
	var x Execution
	_, err = pgx.ForEachRow(rows, []any{
		&of, &x.ID, &x.Outcome, &x.Remark, &x.DokumentID, &x.VersionID, &x.VersionNumber, &x.ArchiveVersionID, &x.ActorID, &x.ActorName,
		&x.OnBehalfOf, &x.OnBehalfOfName, &x.Capacity, &x.OccurredAt, &x.Void, &x.VoidsID, &x.Upholds, &x.Postkorb,
	}, func() error {
		p := places[of]
		step := &all[p.circulation].Steps[p.step]
		step.Executions = append(step.Executions, x)
		x = Execution{}
		return nil
	})
	return all, wrap(err)
}

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("circulations: %w", err)
	}
	return nil
}
