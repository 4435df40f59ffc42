-- Why: a number that is never to be given is void, with a reason and a name, so
-- that the register explains every number there is. A Vorgang says where its
-- paper part is, as the Akte does; rows from before are asked when they change
-- or close.
-- +goose Up
ALTER TABLE number_register
    ALTER COLUMN record_id DROP NOT NULL,
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN given_by uuid, -- who made it void
    ADD FOREIGN KEY (tenant, given_by) REFERENCES app_user (tenant, id);
ALTER TABLE number_register DROP CONSTRAINT number_register_kind_check;
ALTER TABLE number_register
    ADD CONSTRAINT number_register_kind_check CHECK (kind IN ('current', 'former', 'foreign', 'void')),
    ADD CONSTRAINT number_register_void CHECK (CASE WHEN kind = 'void' THEN record_id IS NULL AND reason <> '' AND given_by IS NOT NULL ELSE record_id IS NOT NULL END);
ALTER TABLE vorgang ADD COLUMN paper_location text NOT NULL DEFAULT '';
ALTER TABLE vorgang ADD CONSTRAINT vorgang_paper CHECK (medium = '001' OR paper_location <> '') NOT VALID;
