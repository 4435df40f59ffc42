-- Why: nothing can be stored before the scope of unfiled objects is there, so
-- every tenant gets it with its row, by whatever way the tenant comes in. The
-- lists of the registry read by these indexes: Akten of a unit in the order of
-- their numbers, unfiled Dokumente, Vorgänge of an Akte, finished items for undo.
-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION evb_unfiled_scope() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE before text := current_setting('evb.tenant', true);
BEGIN
    -- The guard lets a row of this tenant through only under its number.
    PERFORM set_config('evb.tenant', NEW.id::text, true);
    INSERT INTO access_scope (tenant, id, kind) VALUES (NEW.id, '00000000-0000-7000-8000-000000000002', 'unfiled') ON CONFLICT DO NOTHING;
    PERFORM set_config('evb.tenant', coalesce(before, ''), true);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER unfiled_scope AFTER INSERT ON tenant FOR EACH ROW EXECUTE FUNCTION evb_unfiled_scope();

-- +goose StatementBegin
DO $$
DECLARE t integer;
BEGIN
    FOR t IN SELECT id FROM tenant LOOP
        PERFORM set_config('evb.tenant', t::text, true);
        INSERT INTO access_scope (tenant, id, kind) VALUES (t, '00000000-0000-7000-8000-000000000002', 'unfiled') ON CONFLICT DO NOTHING;
    END LOOP;
    PERFORM set_config('evb.tenant', '', true);
END $$;
-- +goose StatementEnd

CREATE INDEX vorgang_by_akte ON vorgang (tenant, akte_id, number);
CREATE INDEX postkorb_item_next ON postkorb_item (tenant, previous_id) WHERE previous_id IS NOT NULL;
CREATE INDEX aktenplaneinheit_by_parent ON aktenplaneinheit (tenant, parent_id, code);
