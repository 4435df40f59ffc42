-- Why: what was measured at a million Dokumente. Unfiled Dokumente and those
-- still at work are few beside the archive and are listed by indexes of their
-- own; deleting a derived rendition or file asked two tables, row by row, who
-- still names it.
-- +goose Up
CREATE INDEX record_object_unfiled ON record_object (tenant, id) WHERE kind = 'dokument' AND parent_id IS NULL;
CREATE INDEX dokument_at_work ON dokument (tenant, state, id) WHERE state <> 'filed';
CREATE INDEX rendition_by_source ON rendition (tenant, source_id) WHERE source_id IS NOT NULL;
CREATE INDEX signature_report_by_file ON signature_report (tenant, primary_file_id);
