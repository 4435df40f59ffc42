-- Why: everything in this database belongs to a tenant, and everything that
-- acts is a user with roles in org units. This file makes the tenant guard
-- (row-level security on evb.tenant, decisions 3.2) and the organisation.
-- Runs as evb_owner; the program connects as evb_app and owns nothing.
-- +goose Up

-- evb_tenant is the tenant of the running transaction (SET LOCAL evb.tenant).
-- Without one it is NULL, and no row of any tenant table is visible.
-- +goose StatementBegin
CREATE FUNCTION evb_tenant() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('evb.tenant', true), '')::integer;
-- +goose StatementEnd

-- evb_guard puts the tenant guard on a table: every statement of evb_app and
-- of the owner alike sees and writes rows of evb_tenant() alone.
-- +goose StatementBegin
CREATE FUNCTION evb_guard(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant_guard ON %s USING (tenant = evb_tenant()) WITH CHECK (tenant = evb_tenant())', t);
END $$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION evb_guard(regclass) FROM PUBLIC;

-- tenant is the one table without the guard: it says which tenants there are
-- (slug and host names, nothing else) so that a login and the background work
-- can choose one.
CREATE TABLE tenant (
    id         integer PRIMARY KEY CHECK (id > 0),
    slug       text NOT NULL UNIQUE CHECK (slug ~ '^[a-z][a-z0-9-]{0,30}$'),
    name       text NOT NULL,
    hosts      text[] NOT NULL DEFAULT '{}',
    zone       text NOT NULL DEFAULT 'Europe/Berlin',
    lock_mode  text NOT NULL DEFAULT 'GOVERNANCE' CHECK (lock_mode IN ('GOVERNANCE', 'COMPLIANCE')),
    settings   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT ON tenant TO evb_app;

CREATE TABLE org_unit (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    code       text NOT NULL,
    name       text NOT NULL,
    parent_id  uuid,
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_to   timestamptz NOT NULL DEFAULT 'infinity',
    successor  uuid,
    row_version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, code),
    FOREIGN KEY (tenant, parent_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, successor) REFERENCES org_unit (tenant, id),
    CHECK (valid_from < valid_to)
);

CREATE TABLE app_user (
    tenant        integer NOT NULL REFERENCES tenant,
    id            uuid NOT NULL,
    login         text NOT NULL CHECK (login ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    display_name  text NOT NULL,
    kind          text NOT NULL DEFAULT 'person' CHECK (kind IN ('person', 'service')),
    password_hash text,
    disabled_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    row_version   bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, login)
);

-- membership is a role in a unit, or in the whole tenant when unit_id is NULL.
CREATE TABLE membership (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    user_id    uuid NOT NULL,
    unit_id    uuid,
    role       text NOT NULL CHECK (role IN ('clerk', 'head', 'registry', 'records_manager', 'scan_operator',
                   'quality_checker', 'auditor', 'administrator', 'reader', 'process_designer', 'service')),
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_to   timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    UNIQUE NULLS NOT DISTINCT (tenant, user_id, unit_id, role, valid_from),
    CHECK (valid_from < valid_to)
);
CREATE INDEX membership_by_unit ON membership (tenant, unit_id, role);

-- responsibility names who owns a kind of matter in a unit.
CREATE TABLE responsibility (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    unit_id    uuid NOT NULL,
    user_id    uuid,
    matter     text NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_to   timestamptz NOT NULL DEFAULT 'infinity',
    successor  uuid,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, successor) REFERENCES responsibility (tenant, id),
    CHECK (valid_from < valid_to)
);

CREATE TABLE substitution (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    user_id    uuid NOT NULL,
    deputy_id  uuid NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz NOT NULL,
    successor  uuid,
    reason     text NOT NULL DEFAULT '',
    row_version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, deputy_id) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, successor) REFERENCES substitution (tenant, id),
    CHECK (valid_from < valid_to), CHECK (user_id <> deputy_id)
);

-- api_token and session keep the SHA-256 of the secret, never the secret.
CREATE TABLE api_token (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    user_id    uuid NOT NULL,
    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    label      text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid NOT NULL,
    expires_at timestamptz NOT NULL DEFAULT 'infinity',
    revoked_at timestamptz,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, secret_sha256),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);

CREATE TABLE session (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    user_id    uuid NOT NULL,
    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, secret_sha256),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id)
);
CREATE INDEX session_expiry ON session (expires_at);

-- login_attempt slows guessing down; it holds no password.
CREATE TABLE login_attempt (
    tenant   integer NOT NULL REFERENCES tenant,
    login    text NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    last_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, login)
);

SELECT evb_guard(t) FROM unnest(ARRAY['org_unit', 'app_user', 'membership', 'responsibility', 'substitution',
    'api_token', 'session', 'login_attempt']::regclass[]) t;
GRANT SELECT, INSERT, UPDATE ON org_unit, app_user, membership, responsibility, substitution, api_token, session, login_attempt TO evb_app;
GRANT DELETE ON session, login_attempt TO evb_app;
