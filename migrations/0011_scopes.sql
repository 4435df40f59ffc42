-- Why: every org unit has exactly one access scope of its own from its first
-- moment, and its id is the unit's id; the scope of unfiled objects has one
-- fixed id. So nobody looks a scope up before an insert, and two of a kind
-- cannot exist. A scope made by grants carries the id of its object.
-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION evb_unit_scope() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO access_scope (tenant, id, kind, unit_id) VALUES (NEW.tenant, NEW.id, 'unit', NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER unit_scope AFTER INSERT ON org_unit FOR EACH ROW EXECUTE FUNCTION evb_unit_scope();

-- Units that are there already. The guard holds for the owner too, so this
-- goes tenant by tenant.
-- +goose StatementBegin
DO $$
DECLARE t integer;
BEGIN
    FOR t IN SELECT id FROM tenant LOOP
        PERFORM set_config('evb.tenant', t::text, true);
        INSERT INTO access_scope (tenant, id, kind, unit_id) SELECT tenant, id, 'unit', id FROM org_unit ON CONFLICT DO NOTHING;
    END LOOP;
    PERFORM set_config('evb.tenant', '', true);
END $$;
-- +goose StatementEnd
ALTER TABLE access_scope ADD CONSTRAINT access_scope_fixed_id CHECK (
    kind = 'unit' AND id = unit_id OR kind = 'unfiled' AND id = '00000000-0000-7000-8000-000000000002' OR kind = 'object');
