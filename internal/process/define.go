package process

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

// NewDefinition is a file to be stored.
type NewDefinition struct {
	File     []byte
	FileName string
	Key      idempotency.Key
}

const (
	// The lock gives versions of a key one after the other.
	sqlVersion = `
    SELECT pg_advisory_xact_lock(hashtextextended('process_definition ' || evb_tenant() || ' ' || $1, 0)),
        (SELECT coalesce(max(version), 0) + 1 FROM process_definition WHERE tenant = evb_tenant() AND key = $1)`
	sqlInsertDefinition = `
    INSERT INTO process_definition (tenant, id, key, version, name, exporter, file, file_name, executable, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
)

// Store keeps a BPMN file as a new version of its main process, whether it can
// be executed or not: the report says. Only process designers and
// administrators may. Faults: process-designer-only and those of bpmn.Read.
func (s *Service) Store(ctx context.Context, a access.Actor, n NewDefinition) (d Definition, replayed bool, err error) {
	if err := designs(a); err != nil {
		return d, false, err
	}
	m, err := bpmn.Read(n.File)
	if err != nil {
		return d, false, err
	}
	report, main := m.Check(), m.Main()
	if main == nil {
		return d, false, fault.New("bpmn-empty")
	}
	return idempotency.Once(ctx, s.db, a, n.Key, func(tx pgx.Tx) (Definition, uuid.UUID, error) {
		at := s.now()
		id, err := uuid.NewV7()
		if err != nil {
			return d, uuid.Nil, err
		}
		d = Definition{
			ID: id, Key: main.ID, Name: firstOf(main.Name, main.ID), Exporter: m.Exporter, FileName: n.FileName, Report: report.View(),
			CreatedAt: at, CreatedBy: a.User, RowVersion: 1,
		}
		var lock any
		if err := tx.QueryRow(ctx, sqlVersion, d.Key).Scan(&lock, &d.Version); err != nil {
			return d, uuid.Nil, fmt.Errorf("version of a process: %w", err)
		}
		if _, err := tx.Exec(ctx, sqlInsertDefinition, id, d.Key, d.Version, d.Name, d.Exporter, n.File, n.FileName, report.Executable(), at, a.User); err != nil {
			return d, uuid.Nil, fmt.Errorf("store a process: %w", err)
		}
		return d, uuid.Nil, s.log.Append(ctx, tx, a, at, event.Fact{Kind: DefinitionStored, SubjectKind: "process", Subject: id, Details: map[string]any{
			"key": d.Key, "version": d.Version, "executable": report.Executable(), "unsupported": len(report.Unsupported),
		}})
	})
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" {
			return v
		}
	}
	return ""
}

const (
	sqlDefinition = `
    SELECT d.id, d.key, d.version, d.name, d.exporter, d.file_name, d.created_at, d.created_by, d.row_version,
        a.id, coalesce(a.answers, '{}'), a.activated_at, a.activated_by
    FROM process_definition d
    LEFT JOIN process_activation a ON a.tenant = d.tenant AND a.definition_id = d.id AND a.ended_at = 'infinity'
    WHERE d.tenant = evb_tenant()`
	sqlDefinitionByID = sqlDefinition + ` AND d.id = $1`
	sqlNewest         = sqlDefinition + ` AND d.key = $1 ORDER BY d.version DESC LIMIT 1`
	sqlFiles          = `SELECT id, file FROM process_definition WHERE tenant = evb_tenant() AND id = ANY ($1)`
	sqlDefinitions    = sqlDefinition + ` AND ($1::uuid IS NULL OR d.id < $1) ORDER BY d.id DESC LIMIT $2`
)

// definitions reads definitions with their reports.
func (s *Service) definitions(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]Definition, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	all, err := pgx.CollectRows(rows, scanDefinition)
	if err != nil {
		return nil, fmt.Errorf("processes: %w", err)
	}
	var unread []uuid.UUID
	for i := range all {
		r, ok := s.report(all[i].ID)
		if all[i].Report = r; !ok {
			unread = append(unread, all[i].ID)
		}
	}
	if len(unread) == 0 {
		return all, nil
	}
	if rows, err = q.Query(ctx, sqlFiles, unread); err != nil {
		return nil, fmt.Errorf("files of processes: %w", err)
	}
	made := map[uuid.UUID]bpmn.ReportView{}
	var id uuid.UUID
	var file []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &file}, func() error {
		m, err := bpmn.Read(file)
		if err == nil {
			made[id] = m.Check().View()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("files of processes: %w", err)
	}
	s.keepReports(made)
	for i := range all {
		if r, ok := made[all[i].ID]; ok {
			all[i].Report = r
		}
	}
	return all, nil
}

func scanDefinition(row pgx.CollectableRow) (d Definition, err error) {
	var activation, by *uuid.UUID
	var at *time.Time
	var answers bpmn.Activation
	err = row.Scan(&d.ID, &d.Key, &d.Version, &d.Name, &d.Exporter, &d.FileName, &d.CreatedAt, &d.CreatedBy, &d.RowVersion, &activation, &answers, &at, &by)
	if err != nil {
		return d, err
	}
	d.CreatedAt = d.CreatedAt.UTC()
	if activation != nil {
		d.Activation = &ActivationView{ID: *activation, Answers: answers, ActivatedAt: at.UTC(), ActivatedBy: *by, Unknown: []UnknownStation{}}
	}
	return d, nil
}

func (s *Service) definition(ctx context.Context, q postgres.Querier, sql string, arg any) (Definition, error) {
	all, err := s.definitions(ctx, q, sql, arg)
	switch {
	case err != nil:
		return Definition{}, err
	case len(all) == 0:
		return Definition{}, fault.New("not-found")
	}
	return all[0], nil
}

// Definition gives a definition; what is drawn is no secret inside a tenant.
// Fault: not-found.
func (s *Service) Definition(ctx context.Context, a access.Actor, id uuid.UUID) (d Definition, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		d, err = s.definition(ctx, q, sqlDefinitionByID, id)
		return err
	})
	return d, err
}

// Newest gives the newest version of a process by its key. Fault: not-found.
func (s *Service) Newest(ctx context.Context, a access.Actor, key string) (d Definition, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		d, err = s.definition(ctx, q, sqlNewest, key)
		return err
	})
	return d, err
}

// Definitions lists definitions, newest first. before is the last id of the page
// before; nil UUID: the first page.
func (s *Service) Definitions(ctx context.Context, a access.Actor, before uuid.UUID, limit int) (out []Definition, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = s.definitions(ctx, q, sqlDefinitions, ptr(before), limit)
		return err
	})
	return out, err
}

const sqlFile = `SELECT file, file_name FROM process_definition WHERE tenant = evb_tenant() AND id = $1`

// File gives the file as it was stored, for a screen that draws where an
// instance stands. Fault: not-found.
func (s *Service) File(ctx context.Context, a access.Actor, id uuid.UUID) (file []byte, name string, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		err := q.QueryRow(ctx, sqlFile, id).Scan(&file, &name)
		if missing(err) {
			return fault.New("not-found")
		}
		return err
	})
	return file, name, err
}

const (
	sqlEndActivation    = `UPDATE process_activation SET ended_at = $2 WHERE tenant = evb_tenant() AND definition_id = $1 AND ended_at = 'infinity'`
	sqlInsertActivation = `
    INSERT INTO process_activation (tenant, id, definition_id, answers, activated_at, activated_by) VALUES (evb_tenant(), $1, $2, $3, $4, $5)`
	sqlSecret = `
    WITH made AS (INSERT INTO process_secret (tenant, key, secret, created_at) VALUES (evb_tenant(), $1, $2, $3) ON CONFLICT DO NOTHING RETURNING secret)
    SELECT secret FROM made UNION ALL SELECT secret FROM process_secret WHERE tenant = evb_tenant() AND key = $1 LIMIT 1`
)

// Activate puts a definition to work with what it leaves open. New instances
// take this activation; running ones keep theirs. A station that is not given
// is taken from the lane, where that is somebody's name here. Faults: not-found,
// process-designer-only, process-not-executable, process-needs-open,
// process-activation-invalid, process-station-unknown.
func (s *Service) Activate(ctx context.Context, a access.Actor, id uuid.UUID, answers bpmn.Activation) (d Definition, err error) {
	if err := designs(a); err != nil {
		return d, err
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		file := []byte(nil)
		var name string
		err := tx.QueryRow(ctx, sqlFile, id).Scan(&file, &name)
		if missing(err) {
			return fault.New("not-found")
		}
		if err != nil {
			return err
		}
		m, err := bpmn.Read(file)
		if err != nil {
			return err
		}
		filled, err := fromLanes(ctx, tx, at, m, answers)
		if err != nil {
			return err
		}
		p, err := bpmn.NewPlan(m, filled)
		if err != nil {
			return err
		}
		unknown, err := s.known(ctx, tx, at, p, answers)
		if err != nil {
			return err
		}
		activation, err := uuid.NewV7()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlEndActivation, id, at); err != nil {
			return fmt.Errorf("activate: %w", err)
		}
		if _, err := tx.Exec(ctx, sqlInsertActivation, activation, id, filled, at, a.User); err != nil {
			return fmt.Errorf("activate: %w", err)
		}
		if d, err = s.definition(ctx, tx, sqlDefinitionByID, id); err != nil {
			return err
		}
		d.Activation.Unknown = unknown
		if d.Activation.WebhookSecret, err = s.secretShown(ctx, tx, d.Key, at, p); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: Activated, SubjectKind: "process", Subject: id, Details: map[string]any{
			"key": d.Key, "version": d.Version, "activation_id": activation, "unknown_stations": len(unknown),
		}})
	})
	return d, err
}

// secretShown is the secret of the process, where a webhook is called.
func (s *Service) secretShown(ctx context.Context, tx pgx.Tx, key string, at time.Time, p *bpmn.Plan) (string, error) {
	calls := false
	for _, proc := range p.Model.Processes {
		proc.Scope.Each(func(n *bpmn.Node) {
			for _, t := range p.Stations(n) {
				calls = calls || t.Webhook != ""
			}
		})
	}
	if !calls {
		return "", nil
	}
	secret, err := secretOf(ctx, tx, key, at)
	return "whsec_" + base64.StdEncoding.EncodeToString(secret), err
}

func secretOf(ctx context.Context, tx pgx.Tx, key string, at time.Time) ([]byte, error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	err := tx.QueryRow(ctx, sqlSecret, key, secret, at).Scan(&secret)
	if missing(err) { // another transaction made it between the two
		err = tx.QueryRow(ctx, sqlSecret, key, secret, at).Scan(&secret)
	}
	if err != nil {
		return nil, fmt.Errorf("secret of a process: %w", err)
	}
	return secret, nil
}

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
