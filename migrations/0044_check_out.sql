-- Why: a Dokument that somebody writes at is checked out: to one person, until
-- a moment, from a version. Nothing has to run when that moment comes: every
-- statement compares it with the business time. For whom a deputy has taken it
-- stands beside, since that person may bring it back too.
-- +goose Up
ALTER TABLE dokument
    ADD COLUMN checked_out_for uuid, -- the absent person
    ADD COLUMN checked_out_at timestamptz,
    ADD COLUMN checked_out_version integer CHECK (checked_out_version > 0),
    ADD FOREIGN KEY (tenant, checked_out_for) REFERENCES app_user (tenant, id),
    ADD CONSTRAINT dokument_checked_out CHECK (
        (checked_out_by IS NULL) = (checked_out_at IS NULL) AND (checked_out_by IS NULL) = (checked_out_version IS NULL)
        AND (checked_out_for IS NULL OR checked_out_by IS NOT NULL));
CREATE INDEX dokument_by_check_out ON dokument (tenant, checked_out_by, checked_out_until) WHERE checked_out_by IS NOT NULL;
