-- Why: every byte stream is a blob, named by its SHA-256 and written once.
-- The blob row is the only place (with digest and group rows) where a digest
-- stands (decisions 4, 5.3). Step numbers are those of internal/intake/doc.go.
-- +goose Up

CREATE TABLE blob (
    tenant       integer NOT NULL REFERENCES tenant,
    id           uuid NOT NULL,
    sha256       bytea NOT NULL CHECK (octet_length(sha256) = 32),  -- of the plaintext; the content name
    size         bigint NOT NULL CHECK (size >= 0),
    state        text NOT NULL CHECK (state IN ('staged', 'present', 'deleting')),
    problem      text NOT NULL DEFAULT '' CHECK (problem IN ('', 'missing', 'corrupt')),
    encoding     text NOT NULL DEFAULT 'plain' CHECK (encoding IN ('plain', 'aes256gcm-frames')),
    key_id       text NOT NULL DEFAULT '',
    etag         text NOT NULL DEFAULT '',
    lease_until  timestamptz,
    lock_wanted_mode  text NOT NULL DEFAULT 'GOVERNANCE' CHECK (lock_wanted_mode IN ('', 'GOVERNANCE', 'COMPLIANCE')),
    lock_wanted_until timestamptz,
    lock_wanted_hold  boolean NOT NULL DEFAULT false,
    lock_actual_mode  text NOT NULL DEFAULT '',
    lock_actual_until timestamptz,
    lock_actual_hold  boolean NOT NULL DEFAULT false,
    checked_at   timestamptz,       -- last full re-hash (fixity)
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, sha256),
    CHECK (state <> 'staged' OR lease_until IS NOT NULL)
);
CREATE INDEX blob_staged ON blob (lease_until) WHERE state = 'staged';
CREATE INDEX blob_deleting ON blob (tenant, id) WHERE state = 'deleting';
CREATE INDEX blob_lock_open ON blob (tenant, id)
    WHERE state = 'present' AND (lock_actual_until IS DISTINCT FROM lock_wanted_until
        OR lock_actual_mode <> lock_wanted_mode OR lock_actual_hold <> lock_wanted_hold);

-- blob_digest: every digest beside the content name. SHA-512 today; a third
-- algorithm is a row, not a column.
CREATE TABLE blob_digest (
    tenant    integer NOT NULL,
    blob_id   uuid NOT NULL,
    algorithm text NOT NULL,
    value     bytea NOT NULL,
    PRIMARY KEY (tenant, blob_id, algorithm),
    FOREIGN KEY (tenant, blob_id) REFERENCES blob (tenant, id) ON DELETE CASCADE
);

-- dokument_version is immutable once written; its number is never reused.
CREATE TABLE dokument_version (
    tenant      integer NOT NULL,
    id          uuid NOT NULL,
    dokument_id uuid NOT NULL,
    number      integer NOT NULL CHECK (number > 0),
    origin      text NOT NULL CHECK (origin IN ('scan', 'api', 'upload', 'mail', 'edit', 'signature', 'import', 'rescan')),
    comment     text NOT NULL DEFAULT '',
    frozen_at   timestamptz,
    created_at  timestamptz NOT NULL,
    created_by  uuid NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, dokument_id, number),
    FOREIGN KEY (tenant, dokument_id) REFERENCES dokument (tenant, id),
    FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id)
);
ALTER TABLE annotation ADD FOREIGN KEY (tenant, version_id) REFERENCES dokument_version (tenant, id);

-- rendition: one form of a version. 'original' is what came in; all others
-- are derived, replaceable, and name their tool and source.
CREATE TABLE rendition (
    tenant       integer NOT NULL,
    id           uuid NOT NULL,
    version_id   uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('original', 'text', 'words', 'page_image', 'thumbnail', 'pdfa', 'report')),
    format_code  text NOT NULL DEFAULT '',
    format_version text NOT NULL DEFAULT '',
    tool         text NOT NULL DEFAULT '',
    tool_version text NOT NULL DEFAULT '',
    source_id    uuid,
    facts        jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, version_id) REFERENCES dokument_version (tenant, id),
    FOREIGN KEY (tenant, source_id) REFERENCES rendition (tenant, id),
    CHECK ((kind = 'original') = (source_id IS NULL))
);
CREATE UNIQUE INDEX rendition_one_of_a_kind ON rendition (tenant, version_id, kind) WHERE kind IN ('original', 'text', 'words', 'page_image', 'thumbnail', 'pdfa');
CREATE INDEX rendition_by_version ON rendition (tenant, version_id);

CREATE TABLE primary_file (
    tenant        integer NOT NULL,
    id            uuid NOT NULL,
    rendition_id  uuid NOT NULL,
    position      integer NOT NULL CHECK (position > 0),
    blob_id       uuid NOT NULL,
    file_name     text NOT NULL,
    media_type    text NOT NULL,
    pages         integer CHECK (pages >= 0),
    created_by_name text NOT NULL DEFAULT '',
    file_changed_at timestamptz,
    signature_embedded boolean NOT NULL DEFAULT false,
    findings      jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, rendition_id, position),
    FOREIGN KEY (tenant, rendition_id) REFERENCES rendition (tenant, id),
    FOREIGN KEY (tenant, blob_id) REFERENCES blob (tenant, id)
);
CREATE INDEX primary_file_by_blob ON primary_file (tenant, blob_id);

SELECT evb_guard(t) FROM unnest(ARRAY['blob', 'blob_digest', 'dokument_version', 'rendition', 'primary_file']::regclass[]) t;
GRANT SELECT, INSERT, UPDATE, DELETE ON blob TO evb_app;
GRANT SELECT, INSERT ON blob_digest, dokument_version, rendition, primary_file TO evb_app;
GRANT UPDATE (frozen_at) ON dokument_version TO evb_app;
GRANT DELETE ON blob_digest TO evb_app;
-- Derived renditions may be replaced; the original's rows may not go (trigger).
GRANT DELETE ON rendition, primary_file TO evb_app;
-- +goose StatementBegin
CREATE FUNCTION evb_keep_original() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'rendition' AND OLD.kind = 'original'
       OR TG_TABLE_NAME = 'primary_file' AND EXISTS (
            SELECT FROM rendition r WHERE r.tenant = OLD.tenant AND r.id = OLD.rendition_id AND r.kind = 'original') THEN
        IF current_user <> 'evb_owner' THEN
            RAISE EXCEPTION 'an original is never deleted by the program' USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    RETURN OLD;
END $$;
-- +goose StatementEnd
CREATE TRIGGER keep_original BEFORE DELETE ON rendition FOR EACH ROW EXECUTE FUNCTION evb_keep_original();
CREATE TRIGGER keep_original BEFORE DELETE ON primary_file FOR EACH ROW EXECUTE FUNCTION evb_keep_original();
