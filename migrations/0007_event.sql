-- Why: one append-only log is audit and feed (decisions 6.1). Writers insert a
-- row and a pending mark; one elected sequencer gives committed rows a
-- gap-free number and the chain hash. evb_app cannot change or remove a row.
-- +goose Up

CREATE TABLE event (
    tenant       integer NOT NULL REFERENCES tenant,
    id           uuid NOT NULL,
    kind         text NOT NULL,
    record_id    uuid,
    subject_kind text NOT NULL DEFAULT '',
    subject_id   uuid,
    actor_id     uuid NOT NULL,
    on_behalf_of uuid,
    capacity     text NOT NULL DEFAULT '',
    via          text NOT NULL DEFAULT '',
    reason       text NOT NULL DEFAULT '',
    request_id   text NOT NULL DEFAULT '',
    occurred_at  timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL,
    payload_hash bytea NOT NULL CHECK (octet_length(payload_hash) = 32), -- H(salt || payload)
    salt         bytea,                                                  -- both NULL after disposal
    payload      text,                                                   -- RFC 8785 JSON of everything above and the details
    PRIMARY KEY (tenant, recorded_at, id),
    CHECK ((salt IS NULL) = (payload IS NULL))
) PARTITION BY RANGE (recorded_at);
CREATE INDEX event_by_record ON event (tenant, record_id, recorded_at) WHERE record_id IS NOT NULL;
CREATE INDEX event_time ON event USING brin (recorded_at);

CREATE TABLE access_log (
    tenant       integer NOT NULL REFERENCES tenant,
    id           uuid NOT NULL,
    kind         text NOT NULL,
    record_id    uuid,
    subject_kind text NOT NULL DEFAULT '',
    subject_id   uuid,
    actor_id     uuid NOT NULL,
    on_behalf_of uuid,
    capacity     text NOT NULL DEFAULT '',
    via          text NOT NULL DEFAULT '',
    reason       text NOT NULL DEFAULT '',
    request_id   text NOT NULL DEFAULT '',
    occurred_at  timestamptz NOT NULL,
    recorded_at  timestamptz NOT NULL,
    payload_hash bytea NOT NULL CHECK (octet_length(payload_hash) = 32),
    salt         bytea,
    payload      text,
    PRIMARY KEY (tenant, recorded_at, id),
    CHECK ((salt IS NULL) = (payload IS NULL))
) PARTITION BY RANGE (recorded_at);
CREATE INDEX access_log_by_record ON access_log (tenant, record_id, recorded_at) WHERE record_id IS NOT NULL;
CREATE INDEX access_log_time ON access_log USING brin (recorded_at);

-- Partitions: a default one is always there, so no insert ever fails;
-- evb_event_partitions makes the month's own partitions ahead of time.
CREATE TABLE event_default PARTITION OF event DEFAULT;
CREATE TABLE access_log_default PARTITION OF access_log DEFAULT;
-- +goose StatementBegin
CREATE FUNCTION evb_event_partitions(months integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public AS $$
DECLARE
    base text; start date; made integer := 0; name text;
BEGIN
    FOREACH base IN ARRAY ARRAY['event', 'access_log'] LOOP
        FOR i IN 0..months LOOP
            start := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i))::date;
            name := format('%s_%s', base, to_char(start, 'YYYYMM'));
            IF to_regclass(name) IS NULL THEN
                BEGIN
                    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, base,
                        start::text || ' 00:00:00+00', (start + interval '1 month')::date::text || ' 00:00:00+00');
                    made := made + 1;
                EXCEPTION WHEN check_violation THEN NULL; -- rows of that month already lie in the default partition
                END;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;
-- +goose StatementEnd
GRANT EXECUTE ON FUNCTION evb_event_partitions(integer) TO evb_app;

-- log_pending marks rows that have no number yet; the sequencer empties it.
CREATE TABLE log_pending (
    tenant      integer NOT NULL,
    stream      text NOT NULL CHECK (stream IN ('event', 'access')),
    id          uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, stream, id)
);

-- log_sequence: the gap-free number and the chain. chain = H(0x45 || previous
-- chain || seq as 8 bytes || payload_hash), the first previous being 32 zero bytes.
CREATE TABLE log_sequence (
    tenant      integer NOT NULL,
    stream      text NOT NULL CHECK (stream IN ('event', 'access')),
    seq         bigint NOT NULL CHECK (seq > 0),
    id          uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    chain       bytea NOT NULL CHECK (octet_length(chain) = 32),
    PRIMARY KEY (tenant, stream, seq)
);
CREATE UNIQUE INDEX log_sequence_by_id ON log_sequence (tenant, stream, id);

-- log_head: heads written outside the database under Object Lock.
CREATE TABLE log_head (
    tenant     integer NOT NULL,
    id         uuid NOT NULL,
    stream     text NOT NULL CHECK (stream IN ('event', 'access')),
    seq        bigint NOT NULL,
    chain      bytea NOT NULL,
    written_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, stream, seq)
);

SELECT evb_guard(t) FROM unnest(ARRAY['event', 'access_log', 'event_default', 'access_log_default', 'log_pending', 'log_sequence', 'log_head']::regclass[]) t;
GRANT SELECT, INSERT ON event, access_log, log_sequence, log_head TO evb_app;
GRANT SELECT, INSERT, DELETE ON log_pending TO evb_app;
SELECT evb_event_partitions(3);
