-- Why: whoever does not read everything finds unfiled Dokumente scope by scope.
-- They are few, so one index serves that and those who read all.
-- +goose Up
DROP INDEX record_object_unfiled;
CREATE INDEX record_object_unfiled ON record_object (tenant, access_scope_id, id) WHERE kind = 'dokument' AND parent_id IS NULL;
