-- Why: evb_keep_original named a column that only one of its two tables has in
-- one expression, so every delete of a derived file failed. Nested conditions
-- read the column only where it is.
-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION evb_keep_original() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE original boolean;
BEGIN
    IF TG_TABLE_NAME = 'rendition' THEN
        original := OLD.kind = 'original';
    ELSE
        original := EXISTS (SELECT FROM rendition r WHERE r.tenant = OLD.tenant AND r.id = OLD.rendition_id AND r.kind = 'original');
    END IF;
    IF original AND current_user <> 'evb_owner' THEN
        RAISE EXCEPTION 'an original is never deleted by the program' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END $$;
-- +goose StatementEnd
