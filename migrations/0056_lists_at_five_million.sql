-- Why: what was measured with 5,000,000 Dokumente, 250,000 Akten and 1,000,000
-- open items. A list of Akten counted and sorted whatever its reader reaches, at
-- every page: now an Akte carries the access scope of its record object, an index
-- gives those of a scope in the order of their numbers, and their number stands
-- ready per scope. Akten that somebody reaches by an item alone were looked for
-- among all items of all desks: they are few and have an index of their own.
-- +goose Up

-- evb_reader_roles: the roles that read the whole tenant, in a form that becomes a
-- part of the statement that asks; evb_reads_all is planned at every call.
-- +goose StatementBegin
CREATE FUNCTION evb_reader_roles(actor uuid, at timestamptz) RETURNS SETOF text
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT m.role FROM membership m
    WHERE m.tenant = evb_tenant() AND m.user_id = actor AND m.unit_id IS NULL
      AND m.role IN ('auditor', 'reader') AND m.valid_from <= at AND at < m.valid_to
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION evb_reads_all(actor uuid, at timestamptz) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT EXISTS (SELECT FROM evb_reader_roles(actor, at))
$$;
-- +goose StatementEnd
GRANT EXECUTE ON FUNCTION evb_reader_roles(uuid, timestamptz) TO evb_app;

ALTER TABLE akte ADD COLUMN access_scope_id uuid;
ALTER TABLE postkorb_item ADD COLUMN of_akte boolean NOT NULL DEFAULT false;

-- akte_count: the Akten of a scope. Kept by the trigger on akte, one row a
-- statement and scope.
CREATE TABLE akte_count (
    tenant          integer NOT NULL REFERENCES tenant,
    access_scope_id uuid NOT NULL,
    akten           bigint NOT NULL CHECK (akten >= 0),
    PRIMARY KEY (tenant, access_scope_id),
    FOREIGN KEY (tenant, access_scope_id) REFERENCES access_scope (tenant, id) ON DELETE CASCADE
) WITH (fillfactor = 50);
SELECT evb_guard('akte_count');
GRANT SELECT, INSERT, UPDATE ON akte_count TO evb_app;

-- +goose StatementBegin
DO $$
DECLARE t integer;
BEGIN
    FOR t IN SELECT id FROM tenant LOOP
        PERFORM set_config('evb.tenant', t::text, true);
        UPDATE akte k SET access_scope_id = o.access_scope_id FROM record_object o WHERE o.tenant = k.tenant AND o.id = k.id;
        UPDATE postkorb_item i SET of_akte = true FROM record_object o WHERE o.tenant = i.tenant AND o.id = i.record_id AND o.kind IN ('akte', 'teilakte');
        INSERT INTO akte_count (tenant, access_scope_id, akten) SELECT tenant, access_scope_id, count(*) FROM akte GROUP BY 1, 2;
    END LOOP;
    PERFORM set_config('evb.tenant', '', true);
END $$;
-- +goose StatementEnd
ALTER TABLE akte ALTER COLUMN access_scope_id SET NOT NULL;
CREATE INDEX akte_by_scope ON akte (tenant, access_scope_id, aktenzeichen, id);
CREATE INDEX postkorb_item_of_akte ON postkorb_item (tenant, postkorb_id, record_id) WHERE of_akte AND state IN ('open', 'claimed', 'waiting');
-- Only what lies nowhere yet is its submitter's.
DROP INDEX record_object_submitted;
CREATE INDEX record_object_submitted ON record_object (tenant, submitted_by, kind, id) WHERE submitted_by IS NOT NULL AND parent_id IS NULL;

-- The scope of an Akte is that of its record object, whatever is written.
-- +goose StatementBegin
CREATE FUNCTION evb_akte_scope() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT o.access_scope_id INTO NEW.access_scope_id FROM record_object o WHERE o.tenant = NEW.tenant AND o.id = NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER akte_scope BEFORE INSERT OR UPDATE OF access_scope_id ON akte FOR EACH ROW EXECUTE FUNCTION evb_akte_scope();

CREATE FUNCTION evb_akte_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE akte SET access_scope_id = NEW.access_scope_id WHERE tenant = NEW.tenant AND id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER record_object_akte_moved AFTER UPDATE OF access_scope_id ON record_object FOR EACH ROW
    WHEN (NEW.kind IN ('akte', 'teilakte') AND OLD.access_scope_id IS DISTINCT FROM NEW.access_scope_id) EXECUTE FUNCTION evb_akte_moved();

CREATE FUNCTION evb_item_of_akte() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.of_akte := EXISTS (SELECT FROM record_object o WHERE o.tenant = NEW.tenant AND o.id = NEW.record_id AND o.kind IN ('akte', 'teilakte'));
    RETURN NEW;
END $$;
CREATE TRIGGER postkorb_item_of_akte BEFORE INSERT OR UPDATE OF record_id, of_akte ON postkorb_item FOR EACH ROW EXECUTE FUNCTION evb_item_of_akte();

-- Rows of akte_count are taken in the order of their scopes: two statements that
-- touch several never wait for each other in a circle.
CREATE FUNCTION evb_count_akten() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    FOR r IN EXECUTE CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT tenant, access_scope_id, count(*) AS n FROM after_rows GROUP BY 1, 2 ORDER BY 1, 2'
        WHEN 'DELETE' THEN 'SELECT tenant, access_scope_id, -count(*) AS n FROM before_rows GROUP BY 1, 2 ORDER BY 1, 2'
        ELSE 'SELECT tenant, access_scope_id, sum(x.n) AS n FROM (SELECT tenant, access_scope_id, 1 AS n FROM after_rows UNION ALL SELECT tenant, access_scope_id, -1 FROM before_rows) x
              GROUP BY 1, 2 HAVING sum(x.n) <> 0 ORDER BY 1, 2' END
    LOOP
        INSERT INTO akte_count AS c (tenant, access_scope_id, akten) VALUES (r.tenant, r.access_scope_id, greatest(r.n, 0))
        ON CONFLICT (tenant, access_scope_id) DO UPDATE SET akten = c.akten + r.n;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER akte_counted_new AFTER INSERT ON akte REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION evb_count_akten();
CREATE TRIGGER akte_counted_gone AFTER DELETE ON akte REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION evb_count_akten();
CREATE TRIGGER akte_counted_moved AFTER UPDATE ON akte REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION evb_count_akten();
-- +goose StatementEnd
