-- Why: level 3. An office writes rules on the Dokument, a second person puts them
-- in force, and every delivery names the version that decided. What a version
-- says is never changed; it only moves through its states.
-- +goose Up

-- rule_set: a name belongs to one unit, or to the whole tenant, for ever.
CREATE TABLE rule_set (
    tenant     integer NOT NULL REFERENCES tenant,
    name       text NOT NULL CHECK (name <> ''),
    unit_id    uuid,
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id)
);

CREATE TABLE rule_set_version (
    tenant       integer NOT NULL,
    id           uuid NOT NULL,
    name         text NOT NULL,
    version      integer NOT NULL CHECK (version > 0),
    state        text NOT NULL CHECK (state IN ('draft', 'checked', 'active', 'retired')),
    content      jsonb NOT NULL,               -- the rule set as people write it
    findings     jsonb NOT NULL DEFAULT '[]',  -- of the last check
    restores     integer,                      -- the version that a rollback brought back
    installed    boolean NOT NULL DEFAULT false, -- came with the set-up of the tenant
    reason       text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL,
    created_by   uuid NOT NULL,
    checked_at   timestamptz,
    activated_at timestamptz,
    activated_by uuid,
    retired_at   timestamptz,
    retired_by   uuid,
    row_version  bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name, version),
    FOREIGN KEY (tenant, name) REFERENCES rule_set (tenant, name),
    FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, activated_by) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, retired_by) REFERENCES app_user (tenant, id),
    CHECK ((state IN ('active', 'retired')) = (activated_at IS NOT NULL)),
    CHECK ((activated_at IS NULL) = (activated_by IS NULL)),
    CHECK ((state = 'retired') = (retired_at IS NOT NULL)),
    CHECK ((retired_at IS NULL) = (retired_by IS NULL)),
    -- Four eyes: nobody puts their own draft in force. A rollback brings back what
    -- two persons have seen; the set-up is the administrator's.
    CONSTRAINT rule_set_second_person CHECK (activated_by <> created_by OR restores IS NOT NULL OR installed)
);
CREATE UNIQUE INDEX rule_set_version_active ON rule_set_version (tenant, name) WHERE state = 'active';
CREATE INDEX rule_set_version_open ON rule_set_version (tenant, id) WHERE state IN ('draft', 'checked');

-- Which set decided, for the report; '' where no rule of a set did.
ALTER TABLE routing_decision ADD COLUMN rule_set text NOT NULL DEFAULT '';
CREATE INDEX routing_decision_by_time ON routing_decision (tenant, decided_at);

SELECT evb_guard(t) FROM unnest(ARRAY['rule_set', 'rule_set_version']::regclass[]) t;
GRANT SELECT, INSERT ON rule_set, rule_set_version TO evb_app;
GRANT UPDATE (state, findings, reason, checked_at, activated_at, activated_by, retired_at, retired_by, row_version) ON rule_set_version TO evb_app;
