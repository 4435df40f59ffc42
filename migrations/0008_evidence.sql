-- Why: the sealed unit is an archive version: all primary files of a Version,
-- one canonical metadata object and a salt, as one data object group
-- (decisions 5). A leaf is a group, not a blob. A seal row is never changed:
-- its states are rows of their own.
-- +goose Up

-- metadata_pack: canonical metadata objects go to the bucket in packs, so that
-- the bucket alone is enough to rebuild everything.
CREATE TABLE metadata_pack (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('versions', 'snapshot')),
    object_key  text NOT NULL,
    sha256      bytea NOT NULL,
    size        bigint NOT NULL,
    entries     integer NOT NULL,
    written_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, object_key)
);

CREATE TABLE archive_version (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    dokument_id uuid,            -- NULL only for leaves that are no Dokument (log heads)
    version_id  uuid,
    number      integer NOT NULL CHECK (number > 0),
    cause       text NOT NULL CHECK (cause IN ('intake', 'filed', 'closed', 'validation', 'co_sign', 'text', 'log_head', 'annotation')),
    created_at  timestamptz NOT NULL,
    seal_id     uuid,            -- set once, when its seal closes
    leaf        integer,
    removed_at  timestamptz,     -- removal before (no leaf) or after the seal (anonymous leaf stays)
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, dokument_id) REFERENCES dokument (tenant, id),
    FOREIGN KEY (tenant, version_id) REFERENCES dokument_version (tenant, id),
    CHECK ((seal_id IS NULL) = (leaf IS NULL)),
    CHECK ((dokument_id IS NULL) = (cause = 'log_head'))
);
CREATE UNIQUE INDEX archive_version_number ON archive_version (tenant, dokument_id, number) WHERE dokument_id IS NOT NULL;
CREATE INDEX archive_version_collecting ON archive_version (tenant, id) WHERE seal_id IS NULL AND removed_at IS NULL;
CREATE INDEX archive_version_by_version ON archive_version (tenant, version_id) WHERE version_id IS NOT NULL;

-- archive_metadata: the erasable side of an archive version: the canonical
-- metadata object (RFC 8785) and the salt. Goes with the Dokument.
CREATE TABLE archive_metadata (
    tenant             integer NOT NULL,
    archive_version_id uuid NOT NULL,
    salt               bytea NOT NULL CHECK (octet_length(salt) = 32),
    body               text NOT NULL,
    pack_id            uuid,
    PRIMARY KEY (tenant, archive_version_id),
    FOREIGN KEY (tenant, archive_version_id) REFERENCES archive_version (tenant, id),
    FOREIGN KEY (tenant, pack_id) REFERENCES metadata_pack (tenant, id)
);
CREATE INDEX archive_metadata_unpacked ON archive_metadata (tenant, archive_version_id) WHERE pack_id IS NULL;

-- group_member: the objects of the group. kind blob: a primary file by its
-- blob; metadata and salt follow from archive_metadata; external: a digest of
-- something we do not hold.
CREATE TABLE group_member (
    tenant             integer NOT NULL,
    archive_version_id uuid NOT NULL,
    position           integer NOT NULL CHECK (position > 0),
    kind               text NOT NULL CHECK (kind IN ('blob', 'metadata', 'salt', 'external')),
    blob_id            uuid,
    digest_algorithm   text NOT NULL DEFAULT '',
    digest             bytea,
    canonicalisation   text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, archive_version_id, position),
    FOREIGN KEY (tenant, archive_version_id) REFERENCES archive_version (tenant, id),
    FOREIGN KEY (tenant, blob_id) REFERENCES blob (tenant, id),
    CHECK ((kind = 'blob') = (blob_id IS NOT NULL)),
    CHECK ((kind = 'external') = (digest IS NOT NULL))
);
CREATE INDEX group_member_by_blob ON group_member (tenant, blob_id) WHERE blob_id IS NOT NULL;

-- seal: one tree and one token. The leaf list lies in S3 before this row is
-- written (closed).
CREATE TABLE seal (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    number     integer NOT NULL,
    algorithm  text NOT NULL,
    leaves     integer NOT NULL CHECK (leaves > 0),
    root       bytea NOT NULL,
    leaves_key text NOT NULL,
    leaves_sha256 bytea NOT NULL,
    reason     text NOT NULL CHECK (reason IN ('period', 'size', 'request')),
    closed_at  timestamptz NOT NULL,
    closed_by  uuid NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, number)
);
ALTER TABLE archive_version ADD FOREIGN KEY (tenant, seal_id) REFERENCES seal (tenant, id);
CREATE UNIQUE INDEX archive_version_leaf ON archive_version (tenant, seal_id, leaf) WHERE seal_id IS NOT NULL;

CREATE TABLE seal_state (
    tenant  integer NOT NULL,
    seal_id uuid NOT NULL,
    state   text NOT NULL CHECK (state IN ('closed', 'stamped', 'sealed', 'problem')),
    at      timestamptz NOT NULL,
    detail  jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, seal_id, state),
    FOREIGN KEY (tenant, seal_id) REFERENCES seal (tenant, id)
);

-- stamp_request: written before a TSA is asked, so that a lost answer is known
-- and costs at most one further request.
CREATE TABLE stamp_request (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    purpose    text NOT NULL CHECK (purpose IN ('seal', 'timestamp_renewal', 'hashtree_renewal')),
    subject_id uuid NOT NULL,
    algorithm  text NOT NULL,
    imprint    bytea NOT NULL,
    nonce      bytea NOT NULL,
    tsa        text NOT NULL,
    asked_at   timestamptz NOT NULL,
    answered_at timestamptz,
    outcome    text NOT NULL DEFAULT '' CHECK (outcome IN ('', 'granted', 'refused', 'lost', 'invalid')),
    detail     text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, id)
);
CREATE INDEX stamp_request_by_subject ON stamp_request (tenant, subject_id, asked_at);

-- time_stamp_token: exactly one per seal or renewal, byte for byte as it is
-- hashed later, with the revocation data that belongs to it.
CREATE TABLE time_stamp_token (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    subject_id uuid NOT NULL,
    algorithm  text NOT NULL,
    imprint    bytea NOT NULL,
    token      bytea NOT NULL,
    revocation jsonb NOT NULL DEFAULT '{}',  -- {crls: [base64], ocsps: [base64], certificates: [base64]}
    tsa        text NOT NULL,
    gen_time   timestamptz NOT NULL,
    signature_algorithm text NOT NULL,
    key_bits   integer NOT NULL,
    certificate_not_after timestamptz NOT NULL,
    final_at   timestamptz,                  -- revocation data complete: only then does the token count
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, subject_id)
);

-- ats: the archive time-stamps of a seal in chain order (RFC 4998 section 5).
-- A renewal token covers many seals: each gets its own row with its path.
CREATE TABLE ats (
    tenant     integer NOT NULL,
    seal_id    uuid NOT NULL,
    chain      integer NOT NULL CHECK (chain > 0),
    position   integer NOT NULL CHECK (position > 0),
    token_id   uuid NOT NULL,
    leaf       integer,                      -- of the renewal tree; NULL for the first
    PRIMARY KEY (tenant, seal_id, chain, position),
    FOREIGN KEY (tenant, seal_id) REFERENCES seal (tenant, id),
    FOREIGN KEY (tenant, token_id) REFERENCES time_stamp_token (tenant, id)
);

-- signature_report: validation reports made at intake.
CREATE TABLE signature_report (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    version_id  uuid NOT NULL,
    primary_file_id uuid NOT NULL,
    blob_id     uuid,
    indication  text NOT NULL,
    sub_indication text NOT NULL DEFAULT '',
    report      jsonb NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, version_id) REFERENCES dokument_version (tenant, id),
    FOREIGN KEY (tenant, primary_file_id) REFERENCES primary_file (tenant, id),
    FOREIGN KEY (tenant, blob_id) REFERENCES blob (tenant, id)
);

ALTER TABLE circulation_step_execution ADD FOREIGN KEY (tenant, archive_version_id) REFERENCES archive_version (tenant, id);

SELECT evb_guard(t) FROM unnest(ARRAY['metadata_pack', 'archive_version', 'archive_metadata', 'group_member', 'seal', 'seal_state',
    'stamp_request', 'time_stamp_token', 'ats', 'signature_report']::regclass[]) t;
GRANT SELECT, INSERT ON metadata_pack, archive_version, archive_metadata, group_member, seal, seal_state, stamp_request,
    time_stamp_token, ats, signature_report TO evb_app;
GRANT UPDATE (seal_id, leaf, removed_at) ON archive_version TO evb_app;
GRANT UPDATE (pack_id) ON archive_metadata TO evb_app;
GRANT DELETE ON archive_metadata, group_member TO evb_app;
GRANT UPDATE (answered_at, outcome, detail) ON stamp_request TO evb_app;
GRANT UPDATE (token, revocation, final_at) ON time_stamp_token TO evb_app;

-- A leaf is given once; a final token is never touched again.
-- +goose StatementBegin
CREATE FUNCTION evb_leaf_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.seal_id IS NOT NULL AND (NEW.seal_id, NEW.leaf) IS DISTINCT FROM (OLD.seal_id, OLD.leaf) THEN
        RAISE EXCEPTION 'a leaf is given once' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER leaf_once BEFORE UPDATE ON archive_version FOR EACH ROW EXECUTE FUNCTION evb_leaf_once();
-- +goose StatementBegin
CREATE FUNCTION evb_token_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.final_at IS NOT NULL THEN
        RAISE EXCEPTION 'a final token is never changed' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER token_final BEFORE UPDATE ON time_stamp_token FOR EACH ROW EXECUTE FUNCTION evb_token_final();
