-- Why: who has what on the desk. A Postkorb holds items; an item points to a
-- record object, never the other way round. One circulation serves the levels
-- 2 to 4 (decisions 2.8); executed steps are never changed.
-- +goose Up

CREATE TABLE postkorb (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    name        text NOT NULL CHECK (name <> ''),
    kind        text NOT NULL CHECK (kind IN ('personal', 'group', 'office', 'clearing')),
    unit_id     uuid,
    user_id     uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    closed_at   timestamptz,
    row_version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id),
    CHECK ((kind = 'personal') = (user_id IS NOT NULL))
);
CREATE UNIQUE INDEX postkorb_central_clearing ON postkorb (tenant) WHERE kind = 'clearing' AND unit_id IS NULL;

CREATE TABLE postkorb_member (
    tenant      integer NOT NULL,
    postkorb_id uuid NOT NULL,
    user_id     uuid NOT NULL,
    valid_from  timestamptz NOT NULL DEFAULT now(),
    valid_to    timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (tenant, postkorb_id, user_id, valid_from),
    FOREIGN KEY (tenant, postkorb_id) REFERENCES postkorb (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id),
    CHECK (valid_from < valid_to)
);
CREATE INDEX postkorb_member_by_user ON postkorb_member (tenant, user_id);

CREATE TABLE substitution_postkorb (
    tenant          integer NOT NULL,
    substitution_id uuid NOT NULL,
    postkorb_id     uuid NOT NULL,
    PRIMARY KEY (tenant, substitution_id, postkorb_id),
    FOREIGN KEY (tenant, substitution_id) REFERENCES substitution (tenant, id),
    FOREIGN KEY (tenant, postkorb_id) REFERENCES postkorb (tenant, id)
);

CREATE TABLE circulation (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    record_id   uuid NOT NULL,
    level       integer NOT NULL CHECK (level BETWEEN 2 AND 4),
    state       text NOT NULL CHECK (state IN ('running', 'done', 'recalled')),
    instance_id uuid,
    created_at  timestamptz NOT NULL,
    created_by  uuid NOT NULL,
    row_version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id)
);
CREATE INDEX circulation_by_record ON circulation (tenant, record_id);

-- circulation_step: future and current stations. What was done stands in
-- circulation_step_execution and is never changed.
CREATE TABLE circulation_step (
    tenant         integer NOT NULL,
    id             uuid NOT NULL,
    circulation_id uuid NOT NULL,
    number         integer NOT NULL CHECK (number > 0),
    parallel_group integer,
    status         text NOT NULL CHECK (status IN ('future', 'current', 'done', 'skipped')),
    kind           text NOT NULL DEFAULT 'action' CHECK (kind IN ('information', 'action', 'comment', 'co_sign', 'final_sign', 'dispatch', 'follow_up', 'file_away')),
    instruction    text NOT NULL DEFAULT '',
    instructed_by  uuid NOT NULL,
    instructed_at  timestamptz NOT NULL,
    user_id        uuid,
    unit_id        uuid,
    function_name  text NOT NULL DEFAULT '',
    due_at         timestamptz NOT NULL DEFAULT 'infinity',
    note           text NOT NULL DEFAULT '',
    row_version    bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, circulation_id, number),
    FOREIGN KEY (tenant, circulation_id) REFERENCES circulation (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    CHECK (num_nonnulls(user_id, unit_id, nullif(function_name, '')) >= 1)
);

CREATE TABLE circulation_step_execution (
    tenant       integer NOT NULL,
    id           uuid NOT NULL,
    step_id      uuid NOT NULL,
    outcome      text NOT NULL CHECK (outcome IN ('done', 'agreed', 'refused', 'forwarded', 'skipped', 'recalled', 'voided')),
    remark       text NOT NULL DEFAULT '',
    version_id   uuid,
    archive_version_id uuid,
    actor_id     uuid NOT NULL,
    on_behalf_of uuid,
    capacity     text NOT NULL DEFAULT '',
    via          text NOT NULL DEFAULT '',
    reason       text NOT NULL DEFAULT '',
    request_id   text NOT NULL DEFAULT '',
    occurred_at  timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, step_id) REFERENCES circulation_step (tenant, id),
    FOREIGN KEY (tenant, version_id) REFERENCES dokument_version (tenant, id),
    FOREIGN KEY (tenant, actor_id) REFERENCES app_user (tenant, id),
    CHECK (outcome NOT IN ('agreed') OR version_id IS NOT NULL)
);
CREATE INDEX circulation_step_execution_by_step ON circulation_step_execution (tenant, step_id);

CREATE TABLE postkorb_item (
    tenant       integer NOT NULL,
    id           uuid NOT NULL,
    postkorb_id  uuid NOT NULL,
    record_id    uuid NOT NULL,
    step_id      uuid,
    state        text NOT NULL CHECK (state IN ('open', 'claimed', 'waiting', 'done', 'returned')),
    assignee_id  uuid,           -- set: content for this person alone (decisions 1.4)
    claimed_by   uuid,
    from_user_id uuid,
    from_postkorb_id uuid,
    previous_id  uuid,           -- the item it was forwarded or returned from
    reason       text NOT NULL DEFAULT '',
    why          jsonb NOT NULL, -- {code, params}: rule and version, or person
    received_at  timestamptz NOT NULL,
    due_at       timestamptz NOT NULL DEFAULT 'infinity',
    opened_at    timestamptz,
    finished_at  timestamptz,
    row_version  bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, postkorb_id) REFERENCES postkorb (tenant, id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id),
    FOREIGN KEY (tenant, step_id) REFERENCES circulation_step (tenant, id),
    FOREIGN KEY (tenant, assignee_id) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, claimed_by) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, from_user_id) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, from_postkorb_id) REFERENCES postkorb (tenant, id),
    FOREIGN KEY (tenant, previous_id) REFERENCES postkorb_item (tenant, id),
    CHECK ((state = 'claimed') = (claimed_by IS NOT NULL AND finished_at IS NULL)),
    CHECK ((state IN ('done', 'returned')) = (finished_at IS NOT NULL))
);
-- An item is in exactly one place per addressee.
CREATE UNIQUE INDEX postkorb_item_once ON postkorb_item (tenant, postkorb_id, record_id)
    WHERE state IN ('open', 'claimed', 'waiting');
CREATE INDEX postkorb_item_desk ON postkorb_item (tenant, postkorb_id, due_at, id)
    WHERE state IN ('open', 'claimed', 'waiting');
CREATE INDEX postkorb_item_by_record ON postkorb_item (tenant, record_id)
    WHERE state IN ('open', 'claimed', 'waiting');
CREATE INDEX postkorb_item_history ON postkorb_item (tenant, record_id, received_at);
CREATE INDEX postkorb_item_sent ON postkorb_item (tenant, from_user_id, received_at DESC, id) WHERE from_user_id IS NOT NULL;

CREATE TABLE follow_up (
    tenant      integer NOT NULL,
    id          uuid NOT NULL,
    record_id   uuid NOT NULL,
    postkorb_id uuid NOT NULL,
    item_id     uuid,
    due_at      timestamptz NOT NULL,
    reason      text NOT NULL,
    fired_at    timestamptz,
    created_at  timestamptz NOT NULL,
    created_by  uuid NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id),
    FOREIGN KEY (tenant, postkorb_id) REFERENCES postkorb (tenant, id),
    FOREIGN KEY (tenant, item_id) REFERENCES postkorb_item (tenant, id)
);
CREATE INDEX follow_up_due ON follow_up (tenant, due_at) WHERE fired_at IS NULL;

-- routing_decision: every automatic delivery with its rule and words.
CREATE TABLE routing_decision (
    tenant       integer NOT NULL,
    id           uuid NOT NULL,
    dokument_id  uuid NOT NULL,
    rule         text NOT NULL,
    rule_version integer NOT NULL,
    target       jsonb NOT NULL,
    why          jsonb NOT NULL,
    decided_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, dokument_id) REFERENCES dokument (tenant, id)
);
CREATE UNIQUE INDEX routing_decision_once ON routing_decision (tenant, dokument_id);

SELECT evb_guard(t) FROM unnest(ARRAY['postkorb', 'postkorb_member', 'substitution_postkorb', 'circulation', 'circulation_step',
    'circulation_step_execution', 'postkorb_item', 'follow_up', 'routing_decision']::regclass[]) t;
GRANT SELECT, INSERT, UPDATE ON postkorb, postkorb_member, substitution_postkorb, circulation, circulation_step, postkorb_item, follow_up TO evb_app;
GRANT SELECT, INSERT ON circulation_step_execution, routing_decision TO evb_app;
GRANT DELETE ON substitution_postkorb TO evb_app;

-- A step that was executed is closed for ever.
-- +goose StatementBegin
CREATE FUNCTION evb_keep_executed_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IN ('done', 'skipped') THEN
        RAISE EXCEPTION 'an executed step is never changed' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER keep_executed BEFORE UPDATE ON circulation_step FOR EACH ROW EXECUTE FUNCTION evb_keep_executed_step();

-- evb_actor_scopes: the access scopes an actor reads now: a role in the owning
-- unit (not for protected scopes), or a grant to the person or to a unit where
-- the person has a role. This function and evb_sees are the one predicate of
-- all lists (decisions 3.3); internal/access wraps them.
-- +goose StatementBegin
CREATE FUNCTION evb_actor_scopes(actor uuid, at timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT s.id FROM membership m
    JOIN access_scope s ON s.tenant = m.tenant AND s.unit_id = m.unit_id AND s.protection_class = ''
    WHERE m.tenant = evb_tenant() AND m.user_id = actor AND m.valid_from <= at AND at < m.valid_to
      AND m.role IN ('clerk', 'head', 'registry', 'records_manager', 'reader', 'auditor', 'service')
    UNION
    SELECT g.scope_id FROM access_grant g
    WHERE g.tenant = evb_tenant() AND g.user_id = actor AND g.valid_from <= at AND at < g.valid_to
    UNION
    SELECT g.scope_id FROM membership m
    JOIN access_grant g ON g.tenant = m.tenant AND g.unit_id = m.unit_id AND g.valid_from <= at AND at < g.valid_to
    WHERE m.tenant = evb_tenant() AND m.user_id = actor AND m.valid_from <= at AND at < m.valid_to
$$;
-- +goose StatementEnd

-- evb_actor_postkoerbe: the Postkörbe an actor works in now.
-- +goose StatementBegin
CREATE FUNCTION evb_actor_postkoerbe(actor uuid, at timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pm.postkorb_id FROM postkorb_member pm
    WHERE pm.tenant = evb_tenant() AND pm.user_id = actor AND pm.valid_from <= at AND at < pm.valid_to
    UNION
    SELECT p.id FROM postkorb p WHERE p.tenant = evb_tenant() AND p.user_id = actor AND p.closed_at IS NULL
    UNION
    SELECT sp.postkorb_id FROM substitution s
    JOIN substitution_postkorb sp ON sp.tenant = s.tenant AND sp.substitution_id = s.id
    WHERE s.tenant = evb_tenant() AND s.deputy_id = actor AND s.valid_from <= at AND at < s.valid_to
$$;
-- +goose StatementEnd

-- evb_reads_all: an unconditional right to read the whole tenant.
-- +goose StatementBegin
CREATE FUNCTION evb_reads_all(actor uuid, at timestamptz) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT EXISTS (SELECT FROM membership m
        WHERE m.tenant = evb_tenant() AND m.user_id = actor AND m.unit_id IS NULL
          AND m.role IN ('auditor', 'reader') AND m.valid_from <= at AND at < m.valid_to)
$$;
-- +goose StatementEnd

-- evb_actor_write_scopes: the scopes whose objects an actor may change.
-- Auditors and readers change nothing.
-- +goose StatementBegin
CREATE FUNCTION evb_actor_write_scopes(actor uuid, at timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT s.id FROM membership m
    JOIN access_scope s ON s.tenant = m.tenant AND s.unit_id = m.unit_id AND s.protection_class = ''
    WHERE m.tenant = evb_tenant() AND m.user_id = actor AND m.valid_from <= at AND at < m.valid_to
      AND m.role IN ('clerk', 'head', 'registry', 'records_manager', 'service')
    UNION
    SELECT g.scope_id FROM access_grant g
    WHERE g.tenant = evb_tenant() AND g.user_id = actor AND g.access = 'write' AND g.valid_from <= at AND at < g.valid_to
    UNION
    SELECT g.scope_id FROM membership m
    JOIN access_grant g ON g.tenant = m.tenant AND g.unit_id = m.unit_id AND g.access = 'write' AND g.valid_from <= at AND at < g.valid_to
    WHERE m.tenant = evb_tenant() AND m.user_id = actor AND m.valid_from <= at AND at < m.valid_to
      AND m.role IN ('clerk', 'head', 'registry', 'records_manager', 'service')
$$;
-- +goose StatementEnd
