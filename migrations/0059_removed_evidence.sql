-- Why: when a Dokument goes, its metadata object and salt go with it. They lie in
-- packs with those of others: a pack that holds something removed is written
-- anew without it, then its object is deleted, then its row.
-- +goose Up
ALTER TABLE metadata_pack ADD COLUMN stale_at timestamptz; -- since when it holds what has to go
CREATE INDEX metadata_pack_stale ON metadata_pack (tenant, id) WHERE stale_at IS NOT NULL;
CREATE INDEX archive_metadata_by_pack ON archive_metadata (tenant, pack_id) WHERE pack_id IS NOT NULL;
GRANT UPDATE (stale_at), DELETE ON metadata_pack TO evb_app;
-- +goose StatementBegin
CREATE FUNCTION evb_pack_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.stale_at IS NULL THEN
        RAISE EXCEPTION 'a pack in use stays' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END $$;
-- +goose StatementEnd
CREATE TRIGGER pack_stays BEFORE DELETE ON metadata_pack FOR EACH ROW EXECUTE FUNCTION evb_pack_stays();
