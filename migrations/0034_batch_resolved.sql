-- Why: a batch that needs attention is brought to an end by a person. What was
-- announced and never came is waived, which the balance of the book must not
-- take for missing, and the batch says who ended it and why. The column
-- transfer was never written: the notes stand with the documents.
-- +goose Up

ALTER TABLE batch
    DROP COLUMN transfer,
    ADD COLUMN resolved_by uuid,
    ADD COLUMN resolution  text NOT NULL DEFAULT '',
    ADD CONSTRAINT batch_tenant_resolved_by_fkey FOREIGN KEY (tenant, resolved_by) REFERENCES app_user (tenant, id),
    ADD CONSTRAINT batch_resolution CHECK ((resolved_by IS NULL) = (resolution = ''));

ALTER TABLE batch_document DROP CONSTRAINT batch_document_state_check;
ALTER TABLE batch_document ADD CONSTRAINT batch_document_state_check
    CHECK (state IN ('planned', 'filed', 'quarantined', 'missing', 'waived'));

ALTER TABLE batch_file DROP CONSTRAINT batch_file_state_check, DROP CONSTRAINT batch_file_check;
ALTER TABLE batch_file ADD CONSTRAINT batch_file_state_check
    CHECK (state IN ('expected', 'stored', 'planned', 'done', 'quarantined', 'waived'));
ALTER TABLE batch_file ADD CONSTRAINT batch_file_check CHECK (state IN ('expected', 'waived') OR blob_id IS NOT NULL);

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION evb_batch_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'balanced' AND OLD.state <> 'balanced' AND (
        EXISTS (SELECT FROM batch_page p WHERE p.tenant = NEW.tenant AND p.batch_id = NEW.id AND p.fate = 'open')
        OR EXISTS (SELECT FROM batch_file f WHERE f.tenant = NEW.tenant AND f.batch_id = NEW.id AND f.role <> 'index'
            AND f.state NOT IN ('done', 'quarantined', 'waived'))
        OR EXISTS (SELECT FROM batch_document d WHERE d.tenant = NEW.tenant AND d.batch_id = NEW.id AND d.state IN ('planned', 'missing'))
        OR EXISTS (SELECT FROM batch_file f WHERE f.tenant = NEW.tenant AND f.batch_id = NEW.id AND f.role <> 'index' AND f.state <> 'waived'
            AND f.pages IS DISTINCT FROM (SELECT count(*) FROM batch_page p WHERE p.tenant = f.tenant AND p.batch_id = f.batch_id AND p.file_name = f.name))
    ) THEN
        RAISE EXCEPTION 'the book of batch % does not balance', NEW.name USING ERRCODE = 'check_violation', CONSTRAINT = 'batch_book_balances';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
