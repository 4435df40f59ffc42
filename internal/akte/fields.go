package akte

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/form"
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

// TypeSchema is one version of what an office lays down about the fields of a
// kind of Dokument. Versions count through all units of a type.
type TypeSchema struct {
	DocumentType string          `json:"document_type"`
	Version      int             `json:"version"`
	UnitID       *uuid.UUID      `json:"unit_id"` // null: all units that have none of their own
	Unit         string          `json:"unit"`
	Title        string          `json:"title"`
	Schema       json.RawMessage `json:"schema"` // JSON Schema, draft 2020-12 where it names none
	CreatedAt    time.Time       `json:"created_at"`
	CreatedByID  uuid.UUID       `json:"created_by_id"`
	CreatedBy    string          `json:"created_by"`
}

// NewTypeSchema is the next version of one.
type NewTypeSchema struct {
	DocumentType string
	UnitID       uuid.UUID // nil UUID: the tenant
	Title        string
	Schema       json.RawMessage
	Replaces     int // the version the author saw; 0: any
	Key          idempotency.Key
}

// SchemaSet is the fact: the fields of a kind of Dokument were laid down anew.
const SchemaSet event.Kind = "document_type.schema_set"

const (
	sqlSchemas = `
    SELECT s.document_type, s.version, s.unit_id, coalesce(u.code, ''), s.title, s.json_schema, s.created_at, s.created_by, coalesce(p.display_name, '')
    FROM document_type_schema s
    LEFT JOIN org_unit u ON u.tenant = s.tenant AND u.id = s.unit_id
    LEFT JOIN app_user p ON p.tenant = s.tenant AND p.id = s.created_by
    WHERE s.tenant = evb_tenant()`
	sqlSchemaVersions = sqlSchemas + ` AND s.document_type = $1 ORDER BY s.version DESC LIMIT 200`
	sqlSchemasInForce = sqlSchemas + `
      AND s.version = (SELECT max(x.version) FROM document_type_schema x
        WHERE x.tenant = s.tenant AND x.document_type = s.document_type AND x.unit_id IS NOT DISTINCT FROM s.unit_id)
    ORDER BY s.document_type, u.code NULLS FIRST`
	sqlSchemaVersion = sqlSchemas + ` AND s.document_type = $1 AND s.version = $2`
	// The unit's own before the tenant's, the newest of them.
	sqlSchemaFor = sqlSchemas + ` AND s.document_type = $1 AND (s.unit_id = $2 OR s.unit_id IS NULL)
    ORDER BY s.unit_id NULLS LAST, s.version DESC LIMIT 1`
	sqlLastSchema = `
    SELECT coalesce(max(version), 0), coalesce(max(version) FILTER (WHERE unit_id IS NOT DISTINCT FROM $2), 0)
    FROM document_type_schema WHERE tenant = evb_tenant() AND document_type = $1`
	sqlLockSchemas  = `SELECT pg_advisory_xact_lock(hashtextextended('document_type_schema/' || evb_tenant() || '/' || $1, 0))`
	sqlInsertSchema = `
    INSERT INTO document_type_schema (tenant, document_type, version, unit_id, title, json_schema, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7)`
)

func scanSchema(row pgx.CollectableRow) (TypeSchema, error) {
	s, err := pgx.RowToStructByPos[TypeSchema](row)
	s.CreatedAt = s.CreatedAt.UTC()
	return s, err
}

// SetTypeSchema writes the next version of the schema of a kind of Dokument: the
// head, the records management or a process designer of the unit, and an
// administrator; for the whole tenant those of the tenant. Older Dokumente stay
// as they are and readable (Unfit lists those that no longer fit). Faults:
// field-required, schema-forbidden, schema-changed, form-schema-broken,
// form-schema-too-large, and those of package idempotency.
func (s *Service) SetTypeSchema(ctx context.Context, a access.Actor, n NewTypeSchema) (out TypeSchema, replayed bool, err error) {
	n.DocumentType = strings.TrimSpace(n.DocumentType)
	if n.DocumentType == "" {
		return out, false, fault.New("field-required", "field", "document_type")
	}
	if len(n.Schema) == 0 || string(n.Schema) == "null" {
		return out, false, fault.New("field-required", "field", "schema").With("/schema", "field-required", "field", "schema")
	}
	if err := cmp.Or(fault.CheckText("document_type", n.DocumentType, fault.MaxText), fault.CheckText("title", n.Title, fault.MaxText)); err != nil {
		return out, false, err
	}
	if _, err := form.Compile(n.Schema); err != nil {
		return out, false, err
	}
	if !isSystem(a) && !a.HasIn(n.UnitID, access.Head, access.RecordsManager, access.ProcessDesigner) && !a.HasIn(uuid.Nil, access.Administrator) {
		return out, false, fault.New("schema-forbidden")
	}
	return idempotency.Once(ctx, s.db, a, n.Key, func(tx pgx.Tx) (out TypeSchema, none uuid.UUID, err error) {
		at := s.now()
		if _, err := tx.Exec(ctx, sqlLockSchemas, n.DocumentType); err != nil { // two authors come one after the other
			return out, none, err
		}
		var last, own int
		if err := tx.QueryRow(ctx, sqlLastSchema, n.DocumentType, ptr(n.UnitID)).Scan(&last, &own); err != nil {
			return out, none, err
		}
		if n.Replaces != 0 && n.Replaces != own {
			return out, none, fault.New("schema-changed", "version", own)
		}
		if _, err := tx.Exec(ctx, sqlInsertSchema, n.DocumentType, last+1, ptr(n.UnitID), n.Title, string(n.Schema), at, a.User); err != nil {
			return out, none, fmt.Errorf("set a schema: %w", err)
		}
		found, err := schemas(ctx, tx, sqlSchemaVersion, n.DocumentType, last+1)
		if err != nil {
			return out, none, err
		}
		return found[0], none, s.log.Append(ctx, tx, a, at, event.Fact{Kind: SchemaSet, SubjectKind: "document_type", Details: map[string]any{
			"document_type": n.DocumentType, "version": last + 1, "unit_id": ptr(n.UnitID), "replaces": own,
		}})
	})
}

func schemas(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]TypeSchema, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("schemas: %w", err)
	}
	return pgx.CollectRows(rows, scanSchema)
}

// TypeSchemas lists the schemas in force, by type; those of the tenant first.
// Everybody in the tenant may read them.
func (s *Service) TypeSchemas(ctx context.Context, a access.Actor) (out []TypeSchema, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = schemas(ctx, q, sqlSchemasInForce)
		return err
	})
	return out, err
}

// SchemaVersions lists the versions of a type, newest first, at most 200.
func (s *Service) SchemaVersions(ctx context.Context, a access.Actor, documentType string) (out []TypeSchema, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = schemas(ctx, q, sqlSchemaVersions, documentType)
		return err
	})
	return out, err
}

func schemaFor(ctx context.Context, q postgres.Querier, documentType string, unit *uuid.UUID) (*TypeSchema, error) {
	found, err := schemas(ctx, q, sqlSchemaFor, documentType, unit)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// CheckFields checks the fields of a Dokument of a type and unit against the
// schema in force and gives its version; nil where none is. Fault:
// fields-invalid, with a pointer (below /fields) for each that does not fit.
func CheckFields(ctx context.Context, q postgres.Querier, documentType string, unit *uuid.UUID, fields map[string]any) (*int, error) {
	schema, err := schemaFor(ctx, q, documentType, unit)
	if err != nil || schema == nil {
		return nil, err
	}
	problems, err := schema.check(fields)
	if err != nil {
		return nil, err
	}
	return &schema.Version, form.Fault("fields-invalid", "/fields", problems)
}

func (t TypeSchema) check(fields map[string]any) ([]form.Problem, error) {
	compiled, err := form.Compile(t.Schema)
	if err != nil {
		return nil, err
	}
	return compiled.Check(fields)
}

const sqlNewUnit = `
    SELECT coalesce((SELECT o.unit_id FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $1),
        (SELECT u.id FROM org_unit u WHERE u.tenant = evb_tenant() AND u.code = $2 ORDER BY u.valid_from DESC LIMIT 1))`

// CheckNewFields is CheckFields for a Dokument on its way in: the unit is that
// of its Vorgang, else the one whose code the sender named.
func CheckNewFields(ctx context.Context, q postgres.Querier, documentType string, vorgang uuid.UUID, unitCode string, fields map[string]any) (*int, error) {
	var unit *uuid.UUID
	if err := q.QueryRow(ctx, sqlNewUnit, ptr(vorgang), unitCode).Scan(&unit); err != nil {
		return nil, fmt.Errorf("unit of fields: %w", err)
	}
	return CheckFields(ctx, q, documentType, unit, fields)
}

// FieldsOf are the fields in the data of a Dokument; nil: none.
func FieldsOf(data json.RawMessage) map[string]any {
	var d struct {
		Fields map[string]any `json:"fields"`
	}
	_ = json.Unmarshal(data, &d) // of another shape: none
	return d.Fields
}

// Fit says how the fields of a Dokument stand to the schema in force.
type Fit struct {
	Dokument Dokument
	Schema   *TypeSchema // in force for its type and unit; nil: none
	Problems []form.Problem
}

// FieldsFit says how the fields of a Dokument stand to the schema in force for
// it. Fault: not-found.
func (s *Service) FieldsFit(ctx context.Context, a access.Actor, id uuid.UUID) (f Fit, err error) {
	if f.Dokument, err = s.Dokument(ctx, a, id); err != nil {
		return f, err
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if f.Schema, err = schemaFor(ctx, q, f.Dokument.DocumentType, f.Dokument.UnitID); err != nil || f.Schema == nil {
			return err
		}
		f.Problems, err = f.Schema.check(orEmpty(FieldsOf(f.Dokument.Data)))
		return err
	})
	return f, err
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// unfitLook is how many Dokumente one page of Unfit looks at.
const unfitLook = 500

var sqlWithFields = `
    SELECT o.id FROM record_metadata m JOIN record_object o ON o.tenant = m.tenant AND o.id = m.record_id
    WHERE m.tenant = evb_tenant() AND m.document_type = $3 AND m.data ? 'fields' AND o.kind = 'dokument' AND o.id > $4 AND ` + access.Sees("o", 1, 2) + `
    ORDER BY m.record_id LIMIT $5`

// Unfit lists Dokumente of a type that the actor sees and whose fields do not fit
// the schema in force for their unit any more, by id. A page looks at 500
// Dokumente and may be empty; next is the nil UUID when there are no more.
func (s *Service) Unfit(ctx context.Context, a access.Actor, documentType string, after uuid.UUID) (out []Fit, next uuid.UUID, err error) {
	var ids []uuid.UUID
	var all []TypeSchema
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlWithFields, a.User, s.now(), documentType, after, unfitLook)
		if err != nil {
			return fmt.Errorf("dokumente with fields: %w", err)
		}
		if ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
			return err
		}
		all, err = schemas(ctx, q, sqlSchemasInForce)
		return err
	})
	if err != nil || len(ids) == 0 {
		return nil, uuid.Nil, err
	}
	if len(ids) == unfitLook {
		next = ids[len(ids)-1]
	}
	docs, err := s.Dokumente(ctx, a, ids)
	if err != nil {
		return nil, uuid.Nil, err
	}
	compiled := map[int]form.Schema{}
	for _, d := range docs {
		schema := inForce(all, documentType, d.UnitID)
		if schema == nil {
			continue
		}
		c, ok := compiled[schema.Version]
		if !ok {
			if c, err = form.Compile(schema.Schema); err != nil {
				return nil, uuid.Nil, err
			}
			compiled[schema.Version] = c
		}
		problems, err := c.Check(orEmpty(FieldsOf(d.Data)))
		if err != nil {
			return nil, uuid.Nil, err
		}
		if len(problems) > 0 {
			out = append(out, Fit{Dokument: d, Schema: schema, Problems: problems})
		}
	}
	return out, next, nil
}

func inForce(all []TypeSchema, documentType string, unit *uuid.UUID) (found *TypeSchema) {
	for i, s := range all {
		switch {
		case s.DocumentType != documentType:
		case s.UnitID == nil && found == nil:
			found = &all[i]
		case s.UnitID != nil && unit != nil && *s.UnitID == *unit:
			return &all[i]
		}
	}
	return found
}

const sqlFieldsNow = `
    SELECT document_type, data->'fields' FROM record_metadata WHERE tenant = evb_tenant() AND record_id = $1`

// patchedFields are the fields that a change writes, as JSON, and the version of
// the schema that they and the type fit then.
func patchedFields(ctx context.Context, tx pgx.Tx, o object, p DokumentPatch) (filled *string, version *int, err error) {
	if p.Fields == nil && p.DocumentType == nil {
		return nil, nil, nil
	}
	var documentType string
	var raw []byte
	if err := tx.QueryRow(ctx, sqlFieldsNow, o.id).Scan(&documentType, &raw); err != nil {
		return nil, nil, fmt.Errorf("fields: %w", err)
	}
	var fields map[string]any
	if raw != nil {
		_ = json.Unmarshal(raw, &fields) // of another shape: none
	}
	if p.Fields != nil {
		fields = *p.Fields
	}
	if p.DocumentType != nil {
		documentType = *p.DocumentType
	}
	if fields == nil {
		return nil, nil, nil
	}
	b, err := json.Marshal(fields)
	if err != nil {
		return nil, nil, fmt.Errorf("fields: %w", err)
	}
	if len(b) > form.MaxData {
		return nil, nil, fault.New("fields-invalid").With("/fields", "form-too-large", "most", form.MaxData)
	}
	if version, err = CheckFields(ctx, tx, documentType, o.unit, fields); err != nil {
		return nil, nil, err
	}
	text := string(b)
	return &text, version, nil
}
