-- Why: the state of reading a version, and the knowledge that routes a
-- Dokument, are data of their own: a queue may forget its jobs, and rules change
-- without a new program (decisions 6.2).
-- +goose Up

-- extraction_work: how far the reading of a version is. running without a
-- living worker is what a crash leaves; crashes counts such ends.
CREATE TABLE extraction_work (
    tenant      integer NOT NULL,
    version_id  uuid NOT NULL,
    dokument_id uuid NOT NULL,
    lane        text NOT NULL DEFAULT 'intake' CHECK (lane IN ('intake', 'hostile')),
    state       text NOT NULL CHECK (state IN ('open', 'running', 'waiting', 'done', 'failed')),
    crashes     integer NOT NULL DEFAULT 0,
    failures    integer NOT NULL DEFAULT 0,
    code        text NOT NULL DEFAULT '',
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    PRIMARY KEY (tenant, version_id),
    FOREIGN KEY (tenant, version_id) REFERENCES dokument_version (tenant, id),
    FOREIGN KEY (tenant, dokument_id) REFERENCES dokument (tenant, id)
);
CREATE INDEX extraction_work_hostile ON extraction_work (tenant, version_id) WHERE lane = 'hostile' AND state NOT IN ('done', 'failed');

-- extraction_page: pages of a long version that are read already; gone when the
-- version is done.
CREATE TABLE extraction_page (
    tenant     integer NOT NULL,
    version_id uuid NOT NULL,
    page       integer NOT NULL CHECK (page > 0),
    result     bytea NOT NULL,   -- JSON of text, words and facts
    PRIMARY KEY (tenant, version_id, page),
    FOREIGN KEY (tenant, version_id) REFERENCES extraction_work (tenant, version_id)
);

-- routing_ruleset: one state of the knowledge; the newest is in force, older
-- ones stay because decisions name them.
CREATE TABLE routing_ruleset (
    tenant     integer NOT NULL REFERENCES tenant,
    version    integer NOT NULL CHECK (version > 0),
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    PRIMARY KEY (tenant, version),
    FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id)
);

CREATE TABLE routing_phrase (
    tenant      integer NOT NULL,
    version     integer NOT NULL,
    position    integer NOT NULL CHECK (position > 0),
    postkorb_id uuid NOT NULL,
    place       text NOT NULL CHECK (place IN ('receiver', 'title', 'type', 'sender', 'body')),
    words       text NOT NULL CHECK (words <> ''),
    weight      integer NOT NULL CHECK (weight BETWEEN -100 AND 100 AND weight <> 0),
    PRIMARY KEY (tenant, version, position),
    FOREIGN KEY (tenant, version) REFERENCES routing_ruleset (tenant, version),
    FOREIGN KEY (tenant, postkorb_id) REFERENCES postkorb (tenant, id)
);

-- routing_head: Postkörbe whose items go to the head of their unit alone.
CREATE TABLE routing_head (
    tenant      integer NOT NULL,
    version     integer NOT NULL,
    postkorb_id uuid NOT NULL,
    PRIMARY KEY (tenant, version, postkorb_id),
    FOREIGN KEY (tenant, version) REFERENCES routing_ruleset (tenant, version),
    FOREIGN KEY (tenant, postkorb_id) REFERENCES postkorb (tenant, id)
);

SELECT evb_guard(t) FROM unnest(ARRAY['extraction_work', 'extraction_page', 'routing_ruleset', 'routing_phrase', 'routing_head']::regclass[]) t;
GRANT SELECT, INSERT, UPDATE ON extraction_work TO evb_app;
GRANT SELECT, INSERT, DELETE ON extraction_page TO evb_app;
GRANT SELECT, INSERT ON routing_ruleset, routing_phrase, routing_head TO evb_app;

-- evb_unit_heads: who leads a unit now. The same kind of question as
-- evb_actor_scopes, for deliveries instead of rights.
-- +goose StatementBegin
CREATE FUNCTION evb_unit_heads(unit uuid, at timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT DISTINCT m.user_id FROM membership m
    JOIN app_user u ON u.tenant = m.tenant AND u.id = m.user_id AND u.disabled_at IS NULL
    WHERE m.tenant = evb_tenant() AND m.unit_id = unit AND m.role = 'head' AND m.valid_from <= at AND at < m.valid_to
$$;
-- +goose StatementEnd
