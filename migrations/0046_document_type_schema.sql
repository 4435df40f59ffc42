-- Why: an office lays down which fields a kind of Dokument has, and changes it.
-- A Dokument names the schema its fields were checked with; the number counted
-- nothing before, so it is a new column, empty for what no schema has seen. The
-- newest schema of a unit, else of the tenant, is asked for often.
-- +goose Up
ALTER TABLE record_metadata DROP COLUMN schema_version;
ALTER TABLE record_metadata ADD COLUMN schema_version integer;
ALTER TABLE document_type_schema
    ADD CHECK (document_type <> ''),
    ADD FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id);
CREATE INDEX document_type_schema_newest ON document_type_schema (tenant, document_type, unit_id, version DESC);
CREATE INDEX record_metadata_with_fields ON record_metadata (tenant, document_type, record_id) WHERE data ? 'fields';
