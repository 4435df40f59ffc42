-- Why: holds, disposal and messages have their tables from the first day, so
-- that the issues that fill them need no rewrite (decisions 2.5, 2.6).
-- +goose Up

CREATE TABLE hold (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    reason     text NOT NULL CHECK (reason <> ''),
    placed_by  uuid NOT NULL,
    placed_at  timestamptz NOT NULL,
    released_by uuid,
    released_at timestamptz,
    PRIMARY KEY (tenant, id),
    CHECK ((released_by IS NULL) = (released_at IS NULL))
);

CREATE TABLE hold_target (
    tenant    integer NOT NULL,
    hold_id   uuid NOT NULL,
    record_id uuid NOT NULL,
    PRIMARY KEY (tenant, hold_id, record_id),
    FOREIGN KEY (tenant, hold_id) REFERENCES hold (tenant, id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id)
);
CREATE INDEX hold_target_by_record ON hold_target (tenant, record_id);

-- effective_hold: a hold binds its object and all below it, down to the blobs
-- of every version.
CREATE VIEW effective_hold WITH (security_invoker = true) AS
    WITH RECURSIVE held AS (
        SELECT h.tenant, h.id AS hold_id, t.record_id
        FROM hold h JOIN hold_target t ON t.tenant = h.tenant AND t.hold_id = h.id
        WHERE h.released_at IS NULL
        UNION
        SELECT p.tenant, p.hold_id, c.id
        FROM held p JOIN record_object c ON c.tenant = p.tenant AND c.parent_id = p.record_id
    )
    SELECT held.tenant, held.hold_id, held.record_id, pf.blob_id
    FROM held
    LEFT JOIN dokument_version v ON v.tenant = held.tenant AND v.dokument_id = held.record_id
    LEFT JOIN rendition r ON r.tenant = v.tenant AND r.version_id = v.id
    LEFT JOIN primary_file pf ON pf.tenant = r.tenant AND pf.rendition_id = r.id;

CREATE TABLE disposal_run (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('offer', 'transfer', 'destroy', 'batch_stream')),
    state       text NOT NULL CHECK (state IN ('proposed', 'released', 'running', 'done', 'cancelled')),
    proposed_by uuid NOT NULL,
    proposed_at timestamptz NOT NULL,
    released_by uuid,
    released_at timestamptz,
    finished_at timestamptz,
    reason      text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, id),
    CHECK (released_by IS NULL OR released_by <> proposed_by),
    CHECK ((released_by IS NULL) = (released_at IS NULL)),
    CHECK (state NOT IN ('released', 'running', 'done') OR released_by IS NOT NULL)
);

CREATE TABLE disposal_item (
    tenant    integer NOT NULL,
    run_id    uuid NOT NULL,
    record_id uuid NOT NULL,
    decision  text NOT NULL DEFAULT '' CHECK (decision IN ('', 'A', 'V', 'B')),
    state     text NOT NULL CHECK (state IN ('proposed', 'excluded', 'done', 'failed')),
    reason    text NOT NULL DEFAULT '',
    archive_reference text NOT NULL DEFAULT '',
    done_at   timestamptz,
    PRIMARY KEY (tenant, run_id, record_id),
    FOREIGN KEY (tenant, run_id) REFERENCES disposal_run (tenant, id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id)
);

CREATE TABLE exchange_message (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    process_id uuid NOT NULL,
    message_id uuid NOT NULL,
    direction  text NOT NULL CHECK (direction IN ('in', 'out')),
    type       text NOT NULL,
    standard   text NOT NULL DEFAULT 'xdomea',
    version    text NOT NULL DEFAULT '',
    origin_message_id uuid,
    number_in_type integer,
    total_in_type  integer,
    blob_id    uuid,
    sent_or_received_at timestamptz NOT NULL,
    state      text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'clearing', 'failed')),
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, direction, message_id),
    FOREIGN KEY (tenant, blob_id) REFERENCES blob (tenant, id)
);
CREATE INDEX exchange_message_by_process ON exchange_message (tenant, process_id);

CREATE TABLE exchange_result (
    tenant     integer NOT NULL,
    exchange_id uuid NOT NULL,
    record_id  uuid NOT NULL,
    success    boolean NOT NULL,
    detail     text NOT NULL DEFAULT '',
    archive_reference text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, exchange_id, record_id),
    FOREIGN KEY (tenant, exchange_id) REFERENCES exchange_message (tenant, id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id)
);

CREATE TABLE external_ref (
    tenant     integer NOT NULL REFERENCES tenant,
    system     text NOT NULL,
    repository text NOT NULL DEFAULT '',
    ext_id     text NOT NULL,
    component  text NOT NULL DEFAULT '',
    record_id  uuid NOT NULL,
    version_id uuid,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, system, repository, ext_id, component),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id),
    FOREIGN KEY (tenant, version_id) REFERENCES dokument_version (tenant, id)
);
CREATE INDEX external_ref_by_record ON external_ref (tenant, record_id);

-- index_cursor: how far the search index of each node follows the feed.
CREATE TABLE index_node (
    tenant     integer NOT NULL REFERENCES tenant,
    node       text NOT NULL,
    generation text NOT NULL,
    seq        bigint NOT NULL,
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, node)
);

SELECT evb_guard(t) FROM unnest(ARRAY['hold', 'hold_target', 'disposal_run', 'disposal_item', 'exchange_message', 'exchange_result',
    'external_ref', 'index_node']::regclass[]) t;
GRANT SELECT, INSERT, UPDATE ON hold, disposal_run, disposal_item, exchange_message, index_node TO evb_app;
GRANT SELECT, INSERT ON hold_target, exchange_result, external_ref TO evb_app;
GRANT SELECT ON effective_hold TO evb_app;
