-- Why: the version of a Dokument that was signed off stays so when its Vorgang is
-- closed and opened again; only reopening the Dokument itself lets a further
-- version come. So which version that is stands beside the state.
-- +goose Up
ALTER TABLE dokument ADD COLUMN final_version integer CHECK (final_version > 0);
-- +goose StatementBegin
DO $$
DECLARE t integer;
BEGIN
    FOR t IN SELECT id FROM tenant LOOP
        PERFORM set_config('evb.tenant', t::text, true);
        UPDATE dokument SET final_version = current_version WHERE state = 'final';
    END LOOP;
    PERFORM set_config('evb.tenant', '', true);
END $$;
-- +goose StatementEnd
ALTER TABLE dokument ADD CONSTRAINT dokument_final CHECK (state <> 'final' OR final_version IS NOT NULL);
