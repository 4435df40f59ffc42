-- Why: more of what was measured at 5,000,000 Dokumente. Items of Akten and
-- Vorgänge are found by the kind of what they are about, among a million items
-- that are mostly about Dokumente. The Vorgänge of an Akte are counted from an
-- index alone, those of a clerk's desks no longer by a look at all desks.
-- +goose Up
DROP TRIGGER postkorb_item_of_akte ON postkorb_item;
DROP FUNCTION evb_item_of_akte();
DROP INDEX postkorb_item_of_akte;
ALTER TABLE postkorb_item DROP COLUMN of_akte;
ALTER TABLE postkorb_item ADD COLUMN record_kind text NOT NULL DEFAULT 'dokument';
-- +goose StatementBegin
DO $$
DECLARE t integer;
BEGIN
    FOR t IN SELECT id FROM tenant LOOP
        PERFORM set_config('evb.tenant', t::text, true);
        UPDATE postkorb_item i SET record_kind = o.kind FROM record_object o WHERE o.tenant = i.tenant AND o.id = i.record_id AND o.kind <> 'dokument';
    END LOOP;
    PERFORM set_config('evb.tenant', '', true);
END $$;
-- The kind is that of the record object, whatever is written.
CREATE FUNCTION evb_item_kind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT o.kind INTO NEW.record_kind FROM record_object o WHERE o.tenant = NEW.tenant AND o.id = NEW.record_id;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER postkorb_item_kind BEFORE INSERT OR UPDATE OF record_id, record_kind ON postkorb_item FOR EACH ROW EXECUTE FUNCTION evb_item_kind();
CREATE INDEX postkorb_item_by_kind ON postkorb_item (tenant, postkorb_id, record_kind, record_id)
    WHERE record_kind <> 'dokument' AND state IN ('open', 'claimed', 'waiting');
CREATE INDEX record_object_vorgaenge ON record_object (tenant, parent_id, access_scope_id, lifecycle) WHERE kind = 'vorgang' AND parent_id IS NOT NULL;
CREATE INDEX postkorb_by_user ON postkorb (tenant, user_id) WHERE user_id IS NOT NULL;
