-- Why: a batch is an object with a book: in = filed + separators + blanks +
-- attached + quarantined, per page, enforced here and not only in code
-- (decisions 8). Requests are remembered, so that a repeated call gets its
-- first answer.
-- +goose Up

CREATE TABLE ingest_request (
    tenant      integer NOT NULL REFERENCES tenant,
    principal   uuid NOT NULL,
    key         text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    body_digest bytea NOT NULL CHECK (octet_length(body_digest) = 32), -- HMAC of the request, not a content digest
    status      integer NOT NULL,
    response    jsonb NOT NULL,
    record_id   uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, principal, key),
    FOREIGN KEY (tenant, principal) REFERENCES app_user (tenant, id)
);
CREATE INDEX ingest_request_age ON ingest_request (created_at);

CREATE TABLE batch (
    tenant        integer NOT NULL REFERENCES tenant,
    id            uuid NOT NULL,
    name          text NOT NULL CHECK (name <> ''),         -- the id the scan centre gave it
    index_digest  bytea NOT NULL CHECK (octet_length(index_digest) = 32),
    source        text NOT NULL DEFAULT 'scan',
    scheme        text NOT NULL DEFAULT 'evb' CHECK (scheme IN ('evb', 'patcht', 'asn')),
    state         text NOT NULL CHECK (state IN ('receiving', 'processing', 'attention', 'balanced', 'rejected')),
    form          text NOT NULL CHECK (form IN ('stream', 'files')),
    scanner       text NOT NULL DEFAULT '',
    operator_name text NOT NULL DEFAULT '',
    checker_name  text NOT NULL DEFAULT '',
    paper_box     text NOT NULL DEFAULT '',
    paper_until   date,
    scanned_from  timestamptz,
    scanned_to    timestamptz,
    announced     jsonb NOT NULL DEFAULT '{}',              -- the index as read
    submitted_at  timestamptz,
    balanced_at   timestamptz,
    released_at   timestamptz,
    created_at    timestamptz NOT NULL,
    created_by    uuid NOT NULL,
    row_version   bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name),
    FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id)
);

-- batch_file: what was handed over, with the state of its upload.
CREATE TABLE batch_file (
    tenant     integer NOT NULL,
    batch_id   uuid NOT NULL,
    name       text NOT NULL,
    role       text NOT NULL CHECK (role IN ('index', 'stream', 'document')),
    size       bigint NOT NULL CHECK (size >= 0),
    expected_sha256 bytea,
    blob_id    uuid,                                         -- set when the bytes are durable
    media_type text NOT NULL DEFAULT '',
    pages      integer CHECK (pages >= 0),
    state      text NOT NULL DEFAULT 'expected' CHECK (state IN ('expected', 'stored', 'planned', 'done', 'quarantined')),
    PRIMARY KEY (tenant, batch_id, name),
    FOREIGN KEY (tenant, batch_id) REFERENCES batch (tenant, id),
    FOREIGN KEY (tenant, blob_id) REFERENCES blob (tenant, id),
    CHECK (state = 'expected' OR blob_id IS NOT NULL)
);

-- batch_document: one position of the batch. It is there from the plan on;
-- the Dokument follows when its bytes are durable.
CREATE TABLE batch_document (
    tenant         integer NOT NULL,
    batch_id       uuid NOT NULL,
    position       integer NOT NULL CHECK (position > 0),
    announced      boolean NOT NULL DEFAULT true,
    announced_pages integer CHECK (announced_pages >= 0),
    separator_code text NOT NULL DEFAULT '',
    barcode        text NOT NULL DEFAULT '',
    document_type  text NOT NULL DEFAULT '',
    received_on    date,
    file_name      text NOT NULL DEFAULT '',
    first_page     integer,
    last_page      integer,
    dokument_id    uuid,
    transfer_note  jsonb NOT NULL DEFAULT '{}',
    state          text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'filed', 'quarantined', 'missing')),
    PRIMARY KEY (tenant, batch_id, position),
    FOREIGN KEY (tenant, batch_id) REFERENCES batch (tenant, id),
    FOREIGN KEY (tenant, dokument_id) REFERENCES dokument (tenant, id),
    CHECK ((state = 'filed') = (dokument_id IS NOT NULL))
);
CREATE UNIQUE INDEX batch_document_dokument ON batch_document (tenant, dokument_id) WHERE dokument_id IS NOT NULL;

-- batch_page is the book: a row per page that came in, with its one fate.
CREATE TABLE batch_page (
    tenant      integer NOT NULL,
    batch_id    uuid NOT NULL,
    file_name   text NOT NULL,
    page        integer NOT NULL CHECK (page > 0),
    fate        text NOT NULL DEFAULT 'open' CHECK (fate IN ('open', 'filed', 'separator', 'blank', 'attached', 'quarantined')),
    position    integer,                                     -- of the document it belongs to
    version_page integer CHECK (version_page > 0),           -- page of the Dokument's version
    side        text NOT NULL DEFAULT '' CHECK (side IN ('', 'front', 'back')),
    code        text NOT NULL DEFAULT '',
    reason      text NOT NULL DEFAULT '',
    image_digest bytea,                                      -- of the page image, to suspect second scans
    PRIMARY KEY (tenant, batch_id, file_name, page),
    FOREIGN KEY (tenant, batch_id, file_name) REFERENCES batch_file (tenant, batch_id, name),
    FOREIGN KEY (tenant, batch_id, position) REFERENCES batch_document (tenant, batch_id, position),
    CHECK (fate NOT IN ('filed', 'attached') OR (position IS NOT NULL AND version_page IS NOT NULL)),
    CHECK (fate <> 'quarantined' OR reason <> '')
);
CREATE INDEX batch_page_open ON batch_page (tenant, batch_id) WHERE fate = 'open';

CREATE TABLE batch_finding (
    tenant     integer NOT NULL,
    batch_id   uuid NOT NULL,
    id         uuid NOT NULL,
    code       text NOT NULL,
    position   integer,
    page       integer,
    params     jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    resolved_at timestamptz,
    PRIMARY KEY (tenant, id),
    UNIQUE NULLS NOT DISTINCT (tenant, batch_id, code, position, page),
    FOREIGN KEY (tenant, batch_id) REFERENCES batch (tenant, id)
);

-- The book must balance: a batch becomes 'balanced' only when every stored
-- file is done with, no page is open and no announced document is missing.
-- +goose StatementBegin
CREATE FUNCTION evb_batch_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'balanced' AND OLD.state <> 'balanced' AND (
        EXISTS (SELECT FROM batch_page p WHERE p.tenant = NEW.tenant AND p.batch_id = NEW.id AND p.fate = 'open')
        OR EXISTS (SELECT FROM batch_file f WHERE f.tenant = NEW.tenant AND f.batch_id = NEW.id AND f.role <> 'index' AND f.state NOT IN ('done', 'quarantined'))
        OR EXISTS (SELECT FROM batch_document d WHERE d.tenant = NEW.tenant AND d.batch_id = NEW.id AND d.state IN ('planned', 'missing'))
        OR EXISTS (SELECT FROM batch_file f WHERE f.tenant = NEW.tenant AND f.batch_id = NEW.id AND f.role <> 'index'
            AND f.pages IS DISTINCT FROM (SELECT count(*) FROM batch_page p WHERE p.tenant = f.tenant AND p.batch_id = f.batch_id AND p.file_name = f.name))
    ) THEN
        RAISE EXCEPTION 'the book of batch % does not balance', NEW.name USING ERRCODE = 'check_violation', CONSTRAINT = 'batch_book_balances';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER book_balances BEFORE UPDATE OF state ON batch FOR EACH ROW EXECUTE FUNCTION evb_batch_balance();

-- quarantine: the one place of every intake error, with the original bytes.
CREATE TABLE quarantine (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    blob_id     uuid,
    batch_id    uuid,
    file_name   text NOT NULL,
    first_page  integer,
    last_page   integer,
    position    integer,
    dokument_id uuid,
    channel     text NOT NULL,
    code        text NOT NULL,
    params      jsonb NOT NULL DEFAULT '{}',
    step        text NOT NULL,
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retrying', 'released', 'resolved')),
    created_at  timestamptz NOT NULL,
    created_by  uuid NOT NULL,
    resolved_at timestamptz,
    resolved_by uuid,
    resolution  text NOT NULL DEFAULT '',
    row_version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, blob_id) REFERENCES blob (tenant, id),
    FOREIGN KEY (tenant, batch_id) REFERENCES batch (tenant, id),
    FOREIGN KEY (tenant, dokument_id) REFERENCES dokument (tenant, id)
);
CREATE INDEX quarantine_open ON quarantine (tenant, created_at, id) WHERE state IN ('open', 'retrying');
CREATE INDEX quarantine_by_batch ON quarantine (tenant, batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX quarantine_by_blob ON quarantine (tenant, blob_id) WHERE blob_id IS NOT NULL;

-- intake_step is the protocol of a Dokument: step, tool, version, result.
CREATE TABLE intake_step (
    tenant       integer NOT NULL,
    id           uuid NOT NULL,
    dokument_id  uuid NOT NULL,
    step         text NOT NULL,
    tool         text NOT NULL DEFAULT '',
    tool_version text NOT NULL DEFAULT '',
    result       text NOT NULL CHECK (result IN ('done', 'failed', 'waiting')),
    code         text NOT NULL DEFAULT '',
    detail       jsonb NOT NULL DEFAULT '{}',
    duration_ms  integer NOT NULL DEFAULT 0,
    at           timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, dokument_id) REFERENCES dokument (tenant, id)
);
CREATE INDEX intake_step_by_dokument ON intake_step (tenant, dokument_id, at);

SELECT evb_guard(t) FROM unnest(ARRAY['ingest_request', 'batch', 'batch_file', 'batch_document', 'batch_page', 'batch_finding',
    'quarantine', 'intake_step']::regclass[]) t;
GRANT SELECT, INSERT, UPDATE ON batch, batch_file, batch_document, batch_page, batch_finding, quarantine TO evb_app;
GRANT SELECT, INSERT, DELETE ON ingest_request TO evb_app;
GRANT SELECT, INSERT ON intake_step TO evb_app;
