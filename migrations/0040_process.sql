-- Why: level 4: a process moves the Vorgang on by itself. A definition is a BPMN
-- file as it was drawn, kept with its diagram. An activation says who does what
-- and never changes: an instance keeps the one it began with. What an instance
-- is in is its tokens; everything here is written in the transaction of one
-- step, so nothing exists between two steps. What was done is only added to.
-- +goose Up

CREATE TABLE process_definition (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    key         text NOT NULL CHECK (key <> ''),         -- id of the process that is started
    version     integer NOT NULL CHECK (version > 0),    -- of this key
    name        text NOT NULL,
    exporter    text NOT NULL DEFAULT '',
    file        bytea NOT NULL,
    file_name   text NOT NULL DEFAULT '',
    executable  boolean NOT NULL,
    created_at  timestamptz NOT NULL,
    created_by  uuid NOT NULL,
    row_version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, key, version),
    FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id)
);

-- process_secret signs the webhooks of all versions of a process.
CREATE TABLE process_secret (
    tenant     integer NOT NULL REFERENCES tenant,
    key        text NOT NULL,
    secret     bytea NOT NULL CHECK (length(secret) = 32),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, key)
);

CREATE TABLE process_activation (
    tenant        integer NOT NULL,
    id            uuid NOT NULL,
    definition_id uuid NOT NULL,
    answers       jsonb NOT NULL,          -- stations, conditions, messages
    activated_at  timestamptz NOT NULL,
    activated_by  uuid NOT NULL,
    ended_at      timestamptz NOT NULL DEFAULT 'infinity', -- new instances take another one
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, definition_id) REFERENCES process_definition (tenant, id),
    FOREIGN KEY (tenant, activated_by) REFERENCES app_user (tenant, id)
);
CREATE UNIQUE INDEX process_activation_now ON process_activation (tenant, definition_id) WHERE ended_at = 'infinity';

CREATE TABLE process_instance (
    tenant         integer NOT NULL,
    id             uuid NOT NULL,
    activation_id  uuid NOT NULL,
    definition_id  uuid NOT NULL,
    record_id      uuid NOT NULL,
    process        text NOT NULL,
    state          text NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    outcome        text NOT NULL DEFAULT '',
    next_token     integer NOT NULL,
    variables      jsonb NOT NULL DEFAULT '{}',
    failed         integer NOT NULL DEFAULT 0, -- tokens that wait for a person to look
    circulation_id uuid,                       -- that takes further stations
    started_at     timestamptz NOT NULL,
    started_by     uuid NOT NULL,
    ended_at       timestamptz,
    row_version    bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, activation_id) REFERENCES process_activation (tenant, id),
    FOREIGN KEY (tenant, definition_id) REFERENCES process_definition (tenant, id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id),
    FOREIGN KEY (tenant, circulation_id) REFERENCES circulation (tenant, id),
    FOREIGN KEY (tenant, started_by) REFERENCES app_user (tenant, id),
    CHECK ((state = 'running') = (ended_at IS NULL))
);
CREATE INDEX process_instance_by_definition ON process_instance (tenant, definition_id, id DESC);
CREATE INDEX process_instance_by_record ON process_instance (tenant, record_id, id);
CREATE INDEX process_instance_failed ON process_instance (tenant, id) WHERE failed > 0;

-- process_token: one visit of a node; the number is never used again.
CREATE TABLE process_token (
    tenant         integer NOT NULL,
    instance_id    uuid NOT NULL,
    number         integer NOT NULL CHECK (number > 0),
    node           text NOT NULL,
    wait           text NOT NULL CHECK (wait IN ('task', 'service', 'message', 'timer', 'event', 'join', 'scope', 'failed')),
    reason         text NOT NULL DEFAULT '',
    since          timestamptz NOT NULL,
    detail         jsonb NOT NULL, -- run.Token without what stands in columns
    circulation_id uuid,
    step_number    integer,
    PRIMARY KEY (tenant, instance_id, number),
    FOREIGN KEY (tenant, instance_id) REFERENCES process_instance (tenant, id),
    FOREIGN KEY (tenant, circulation_id, step_number) REFERENCES circulation_step (tenant, circulation_id, number)
);
CREATE UNIQUE INDEX process_token_step ON process_token (tenant, circulation_id, step_number) WHERE circulation_id IS NOT NULL;

CREATE TABLE process_timer (
    tenant      integer NOT NULL,
    instance_id uuid NOT NULL,
    token       integer NOT NULL,
    element     text NOT NULL,
    due_at      timestamptz NOT NULL,
    repeat      jsonb NOT NULL, -- how often after this, and how far apart
    PRIMARY KEY (tenant, instance_id, token, element),
    FOREIGN KEY (tenant, instance_id, token) REFERENCES process_token (tenant, instance_id, number) ON DELETE CASCADE
);
CREATE INDEX process_timer_due ON process_timer (tenant, due_at);

CREATE TABLE process_message (
    tenant        integer NOT NULL,
    instance_id   uuid NOT NULL,
    token         integer NOT NULL,
    element       text NOT NULL,
    record_id     uuid NOT NULL,
    name          text NOT NULL,
    document_type text NOT NULL,
    PRIMARY KEY (tenant, instance_id, token, element),
    FOREIGN KEY (tenant, instance_id, token) REFERENCES process_token (tenant, instance_id, number) ON DELETE CASCADE
);
CREATE INDEX process_message_by_record ON process_message (tenant, record_id, name);

-- process_arrival: a Dokument came into the Vorgang while the instance ran. It
-- is the message of at most one event of it, also of one that waits only later.
CREATE TABLE process_arrival (
    tenant      integer NOT NULL,
    instance_id uuid NOT NULL,
    dokument_id uuid NOT NULL,
    arrived_at  timestamptz NOT NULL,
    element     text, -- whose message it was
    PRIMARY KEY (tenant, instance_id, dokument_id),
    FOREIGN KEY (tenant, instance_id) REFERENCES process_instance (tenant, id),
    FOREIGN KEY (tenant, dokument_id) REFERENCES dokument (tenant, id)
);

-- process_call: a webhook or built-in action. Its id goes with every try.
CREATE TABLE process_call (
    tenant      integer NOT NULL,
    id          uuid NOT NULL,
    instance_id uuid NOT NULL,
    token       integer NOT NULL,
    node        text NOT NULL,
    target      jsonb NOT NULL,
    state       text NOT NULL CHECK (state IN ('open', 'done', 'failed', 'dropped')),
    attempts    integer NOT NULL DEFAULT 0,
    answer      text NOT NULL DEFAULT '', -- of the last try: status or reason
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, instance_id, token),
    FOREIGN KEY (tenant, instance_id) REFERENCES process_instance (tenant, id)
);
CREATE INDEX process_call_open ON process_call (tenant, created_at, id) WHERE state = 'open';

-- process_outbox: messages that an instance sends to others of its Vorgang.
CREATE TABLE process_outbox (
    tenant       integer NOT NULL,
    id           uuid NOT NULL,
    instance_id  uuid NOT NULL,
    node         text NOT NULL,
    name         text NOT NULL,
    sent_at      timestamptz NOT NULL,
    delivered_at timestamptz,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, instance_id) REFERENCES process_instance (tenant, id)
);
CREATE INDEX process_outbox_open ON process_outbox (tenant, sent_at, id) WHERE delivered_at IS NULL;

-- process_step_log: every entry, in order, for ever.
CREATE TABLE process_step_log (
    tenant      integer NOT NULL,
    instance_id uuid NOT NULL,
    number      integer NOT NULL CHECK (number > 0),
    token       integer NOT NULL,
    node        text NOT NULL,
    what        text NOT NULL,
    detail      text NOT NULL DEFAULT '',
    actor_id    uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, instance_id, number),
    FOREIGN KEY (tenant, instance_id) REFERENCES process_instance (tenant, id)
);

SELECT evb_guard(t) FROM unnest(ARRAY['process_definition', 'process_secret', 'process_activation', 'process_instance', 'process_token', 'process_timer',
    'process_message', 'process_arrival', 'process_call', 'process_outbox', 'process_step_log']::regclass[]) t;
GRANT SELECT, INSERT ON process_definition, process_secret, process_step_log TO evb_app;
GRANT SELECT, INSERT, UPDATE ON process_activation, process_instance, process_arrival, process_call, process_outbox TO evb_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON process_token, process_timer, process_message TO evb_app;
