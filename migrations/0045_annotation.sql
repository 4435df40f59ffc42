-- Why: annotations get what they lacked to be written: the text they stand at,
-- who may read them (a word instead of a scope: a private note would have
-- needed a scope each), who took them away and why, and every wording before
-- the present one. Nothing has ever written the table before.
-- +goose Up
DROP TABLE annotation;
CREATE TABLE annotation (
    tenant       integer NOT NULL REFERENCES tenant,
    id           uuid NOT NULL,
    dokument_id  uuid NOT NULL,
    version_id   uuid NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('note', 'mark')),
    visibility   text NOT NULL CHECK (visibility IN ('private', 'unit', 'all')),
    unit_id      uuid,
    page         integer CHECK (page > 0),
    rect         jsonb, -- {x, y, width, height}, parts of the page from its upper left
    quote        text NOT NULL DEFAULT '',
    quote_from   integer CHECK (quote_from >= 0), -- characters of the text of the page
    quote_to     integer,
    body         text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL,
    created_by   uuid NOT NULL,
    on_behalf_of uuid,
    changed_at   timestamptz NOT NULL,
    removed_at   timestamptz,
    removed_by   uuid,
    removed_for  text NOT NULL DEFAULT '',
    row_version  bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, dokument_id) REFERENCES record_object (tenant, id),
    FOREIGN KEY (tenant, version_id) REFERENCES dokument_version (tenant, id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, on_behalf_of) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, removed_by) REFERENCES app_user (tenant, id),
    CHECK ((visibility = 'unit') = (unit_id IS NOT NULL)),
    CHECK ((quote_from IS NULL) = (quote_to IS NULL) AND quote_from < quote_to),
    CHECK ((removed_at IS NULL) = (removed_by IS NULL))
);
CREATE INDEX annotation_by_dokument ON annotation (tenant, dokument_id, created_at, id);
CREATE INDEX annotation_by_version ON annotation (tenant, version_id);

-- annotation_revision: what an annotation said before it was changed.
CREATE TABLE annotation_revision (
    tenant        integer NOT NULL REFERENCES tenant,
    annotation_id uuid NOT NULL,
    number        bigint NOT NULL CHECK (number > 0), -- row version it had
    body          text NOT NULL,
    visibility    text NOT NULL,
    written_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, annotation_id, number),
    FOREIGN KEY (tenant, annotation_id) REFERENCES annotation (tenant, id)
);
SELECT evb_guard(t) FROM unnest(ARRAY['annotation', 'annotation_revision']::regclass[]) t;
GRANT SELECT, INSERT, UPDATE ON annotation TO evb_app;
GRANT SELECT, INSERT ON annotation_revision TO evb_app;
