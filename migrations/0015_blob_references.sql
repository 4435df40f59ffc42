-- Why: what nothing refers to is removed from the bucket, so one function says
-- what refers to a blob, with an index for each way (its table's key alone
-- would be read whole for every left-over blob). Locks that run out and the
-- share of blobs that is due to be read back are found by index too.
-- +goose Up

CREATE INDEX batch_file_by_blob ON batch_file (tenant, blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX signature_report_by_blob ON signature_report (tenant, blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX exchange_message_by_blob ON exchange_message (tenant, blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX blob_lock_due ON blob (tenant, lock_wanted_until) WHERE state = 'present';
CREATE INDEX blob_fixity_due ON blob (tenant, checked_at NULLS FIRST, id) WHERE state = 'present';
CREATE INDEX blob_problem ON blob (tenant, id) WHERE problem <> '';

-- evb_blob_referenced: a table that gets a foreign key to blob gets a line here
-- (a test compares). It is volatile on purpose: it must see what was committed
-- while its caller waited for the row's lock.
-- +goose StatementBegin
CREATE FUNCTION evb_blob_referenced(t integer, b uuid) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM primary_file r WHERE r.tenant = t AND r.blob_id = b)
        OR EXISTS (SELECT FROM batch_file r WHERE r.tenant = t AND r.blob_id = b)
        OR EXISTS (SELECT FROM quarantine r WHERE r.tenant = t AND r.blob_id = b)
        OR EXISTS (SELECT FROM group_member r WHERE r.tenant = t AND r.blob_id = b)
        OR EXISTS (SELECT FROM signature_report r WHERE r.tenant = t AND r.blob_id = b)
        OR EXISTS (SELECT FROM exchange_message r WHERE r.tenant = t AND r.blob_id = b)
$$;
-- +goose StatementEnd
