-- Why: evidence outlives its algorithms (RFC 4998 section 5). A renewal is a
-- thing of its own with states, like a seal: it covers many seals with one
-- token, goes on after any kill, and its targets are unique, so nothing is
-- renewed twice. Leaves and levels lie in the bucket; here stand the place of
-- each seal and what was missed.
-- +goose Up

-- renewal: one tree and one token over many seals. kind timestamp: a leaf is the
-- hash of a token (5.2). kind hashtree: a leaf is the root of a seal's tree in
-- the new algorithm (5.3); the objects are read before, as far as read_all or a
-- missing digest asks for it, in the order of their ids.
CREATE TABLE renewal (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    number     integer NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('timestamp', 'hashtree')),
    algorithm  text NOT NULL,
    read_all   boolean NOT NULL DEFAULT false,
    due_only   boolean NOT NULL DEFAULT false,
    planned_at timestamptz NOT NULL,
    planned_by uuid NOT NULL,
    stopped_at timestamptz,                 -- a person stopped it; it waits
    read_after uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    objects    bigint NOT NULL DEFAULT 0,   -- read so far
    bytes      bigint NOT NULL DEFAULT 0,
    bad        bigint NOT NULL DEFAULT 0,   -- of them gone or changed
    seals      integer NOT NULL DEFAULT 0,
    leaves     integer,                     -- NULL until the tree is closed
    root       bytea,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, number),
    CHECK (kind = 'hashtree' OR NOT read_all),
    CHECK ((leaves IS NULL) = (root IS NULL))
);

CREATE TABLE renewal_state (
    tenant     integer NOT NULL,
    renewal_id uuid NOT NULL,
    state      text NOT NULL CHECK (state IN ('planned', 'read', 'bound', 'closed', 'stamped', 'renewed', 'problem')),
    at         timestamptz NOT NULL,
    detail     jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, renewal_id, state),
    FOREIGN KEY (tenant, renewal_id) REFERENCES renewal (tenant, id)
);

-- renewal_seal: what a renewal covers, and the place in the chains that it will
-- fill. The place is unique: two renewals cannot fill one.
CREATE TABLE renewal_seal (
    tenant     integer NOT NULL,
    renewal_id uuid NOT NULL,
    seal_id    uuid NOT NULL,
    chain      integer NOT NULL CHECK (chain > 0),
    position   integer NOT NULL CHECK (position > 0),
    value      bytea,                       -- in the renewal's tree; hashtree: NULL until its own tree is in the bucket
    leaf       integer,                     -- place in the renewal's tree
    versions   integer NOT NULL DEFAULT 0,  -- hashtree: archive versions covered
    missing    integer NOT NULL DEFAULT 0,  -- hashtree: archive versions that could not be
    late       text NOT NULL DEFAULT '' CHECK (late IN ('', 'certificate', 'signature', 'hash')),
    PRIMARY KEY (tenant, renewal_id, seal_id),
    UNIQUE (tenant, seal_id, chain, position),
    FOREIGN KEY (tenant, renewal_id) REFERENCES renewal (tenant, id),
    FOREIGN KEY (tenant, seal_id) REFERENCES seal (tenant, id),
    CHECK (position = 1 OR (versions = 0 AND missing = 0))
);
CREATE INDEX renewal_seal_gap ON renewal_seal (tenant, seal_id) WHERE late <> '' OR missing > 0;

-- How many Dokumente a seal speaks about, for the overview; and those removed since.
ALTER TABLE seal ADD COLUMN documents integer NOT NULL DEFAULT 0;
UPDATE seal l SET documents = (SELECT count(DISTINCT a.dokument_id) FROM archive_version a WHERE a.tenant = l.tenant AND a.seal_id = l.id);
CREATE INDEX archive_version_removed ON archive_version (tenant, seal_id) WHERE removed_at IS NOT NULL AND seal_id IS NOT NULL;

SELECT evb_guard(t) FROM unnest(ARRAY['renewal', 'renewal_state', 'renewal_seal']::regclass[]) t;
GRANT SELECT, INSERT ON renewal, renewal_state, renewal_seal TO evb_app;
GRANT UPDATE (stopped_at, read_after, objects, bytes, bad, seals, leaves, root) ON renewal TO evb_app;
GRANT UPDATE (value, leaf, versions, missing, late) ON renewal_seal TO evb_app;
GRANT DELETE ON renewal_state TO evb_app;
-- A problem that is over is taken back; every other state stays.
-- +goose StatementBegin
CREATE FUNCTION evb_renewal_state_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'problem' THEN
        RAISE EXCEPTION 'a state of a renewal stays' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN OLD;
END $$;
-- +goose StatementEnd
CREATE TRIGGER renewal_state_stays BEFORE DELETE ON renewal_state FOR EACH ROW EXECUTE FUNCTION evb_renewal_state_stays();
-- A closed renewal keeps its tree.
-- +goose StatementBegin
CREATE FUNCTION evb_renewal_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.root IS NOT NULL AND (NEW.root, NEW.leaves) IS DISTINCT FROM (OLD.root, OLD.leaves) THEN
        RAISE EXCEPTION 'a closed renewal is never changed' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER renewal_closed BEFORE UPDATE ON renewal FOR EACH ROW EXECUTE FUNCTION evb_renewal_closed();
